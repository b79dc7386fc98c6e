//! A chat server: a thread for each client reads lines, and one hub writes them to all clients.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

enum Message {
    Line(String),
    Gone(usize),
}

type Clients = Arc<Mutex<Vec<(usize, TcpStream)>>>;

fn read_lines(id: usize, stream: TcpStream, hub: Sender<Message>) {
    let mut lines = BufReader::new(stream).lines();
    let name = lines.next().unwrap().unwrap();
    hub.send(Message::Line(format!("* {name} has come"))).unwrap();
    for line in lines {
        match line.unwrap().as_str() {
            "/quit" => break,
            text => hub.send(Message::Line(format!("{name}: {text}"))).unwrap(),
        }
    }
    hub.send(Message::Line(format!("* {name} has gone"))).unwrap();
    hub.send(Message::Gone(id)).unwrap();
}

fn distribute(messages: Receiver<Message>, clients: &Clients) -> Vec<String> {
    let mut log = Vec::new();
    for message in messages {
        match message {
            Message::Line(line) => {
                for (_, stream) in clients.lock().unwrap().iter_mut() {
                    writeln!(stream, "{line}").unwrap();
                }
                log.push(line);
            }
            Message::Gone(id) => clients.lock().unwrap().retain(|(client, _)| *client != id),
        }
    }
    log
}

/// Serves so many clients, and gives what they have said.
pub fn main(clients: usize, ready: impl FnOnce(SocketAddr)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ready(listener.local_addr().unwrap());
    let (hub, messages) = mpsc::channel();
    let connected: Clients = Arc::default();
    let count = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&connected);
    let distributor = thread::spawn(move || distribute(messages, &shared));
    let mut readers = Vec::new();
    for id in 0..clients {
        let (stream, _) = listener.accept().unwrap();
        connected.lock().unwrap().push((id, stream.try_clone().unwrap()));
        let (hub, count) = (hub.clone(), Arc::clone(&count));
        readers.push(thread::spawn(move || {
            read_lines(id, stream, hub);
            count.fetch_add(1, Ordering::Relaxed);
        }));
    }
    drop(hub);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let log = distributor.join().unwrap();
    assert!(connected.lock().unwrap().is_empty());
    format!("{} clients\n{}", count.load(Ordering::Relaxed), log.join("\n"))
}
