//! A web server with a pool of threads, in the way of the Rust Book: workers share the end of a channel.

use wouldblock::fs;
use std::io::{BufRead, BufReader, Write};
use wouldblock::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use wouldblock::sync::{Arc, Mutex, mpsc};
use wouldblock::thread;
use std::time::Duration;

type Job = Box<dyn FnOnce() + Send + 'static>;

pub struct ThreadPool {
    workers: Vec<Worker>,
    sender: Option<mpsc::Sender<Job>>,
}

impl ThreadPool {
    pub fn new(size: usize) -> ThreadPool {
        assert!(size > 0);
        let (sender, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let workers = (0..size).map(|id| Worker::new(id, Arc::clone(&receiver))).collect();
        ThreadPool { workers, sender: Some(sender) }
    }

    pub fn execute<F>(&self, job: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.sender.as_ref().unwrap().send(Box::new(job)).unwrap();
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        drop(self.sender.take());
        for worker in self.workers.drain(..) {
            worker.thread.join().unwrap();
        }
    }
}

struct Worker {
    thread: thread::JoinHandle<()>,
}

impl Worker {
    fn new(id: usize, receiver: Arc<Mutex<mpsc::Receiver<Job>>>) -> Worker {
        let builder = thread::Builder::new().name(format!("worker {id}"));
        let work = move || {
            loop {
                let message = receiver.lock().recv();
                match message {
                    Ok(job) => job(),
                    Err(_) => break,
                }
            }
        };
        Worker { thread: builder.spawn(work).unwrap() }
    }
}

fn handle_connection(mut stream: TcpStream, folder: &Path) {
    let request_line = BufReader::new(&stream).lines().next().unwrap().unwrap();
    let (status_line, file) = match request_line.as_str() {
        "GET / HTTP/1.1" => ("HTTP/1.1 200 OK", "hello.html"),
        "GET /slow HTTP/1.1" => {
            thread::sleep(Duration::from_millis(20));
            ("HTTP/1.1 200 OK", "hello.html")
        }
        _ => ("HTTP/1.1 404 NOT FOUND", "404.html"),
    };
    let contents = fs::read_to_string(folder.join(file)).unwrap();
    let length = contents.len();
    let response = format!("{status_line}\r\nContent-Length: {length}\r\n\r\n{contents}");
    stream.write_all(response.as_bytes()).unwrap();
}

/// Serves so many connections.
pub fn main(folder: PathBuf, connections: usize, ready: impl FnOnce(SocketAddr)) -> String {
    wouldblock::run(|| {
        let address = "localhost:0".to_socket_addrs().unwrap().find(SocketAddr::is_ipv4).unwrap();
        let listener = TcpListener::bind(address).unwrap();
        ready(listener.local_addr().unwrap());
        let pool = ThreadPool::new(4);
        for stream in listener.incoming().take(connections) {
            let stream = stream.unwrap();
            let folder = folder.clone();
            pool.execute(move || handle_connection(stream, &folder));
        }
        drop(pool);
        format!("served {connections}")
    })
}
