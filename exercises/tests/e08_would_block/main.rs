//! The tests of 08 would_block, on the student's own 07.

mod exercise;
#[path = "../e07_scheduler/exercise.rs"]
#[allow(dead_code)]
mod scheduler;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use exercise::{Sockets, echo, echo_server};
use kit::{
    Answer, Job, Op, Outside, check, draw_jobs, fail, grouped, job, jobs_made, polls, spawned_as,
};
use scheduler::Scheduler;
use wouldblock::generator::Yielder;
use wouldblock::net::unix::UnixStream;
use wouldblock::net::{TcpListener, TcpStream};

type Y = Yielder<Op, Answer>;

/// What is wrong with a scheduler that never took a socket.
const NOT_RESUMED: &str = "waits for its socket, and `run` returned before it was resumed: does your 07 hand each job that \
    yielded `Op::Wait` to `outside.sleep`, and resume those that `sleep` returns?";

/// As long as a client waits for its server, that sends so many bytes. (`poll` sleeps for 5 s at most, and a check runs for
/// 8 s at most.)
fn patience(bytes: usize) -> Duration {
    Duration::from_secs(if bytes < 1000 { 3 } else { 6 })
}

#[test]
fn it_sleeps() {
    check("a job sleeps for 100 ms: the thread does too, in one `poll`", || {
        draw_jobs("a sleeper");
        let mut scheduler = Scheduler::new();
        let nap = job("nap", 2, |y: &Y| drop(y.yield_(Op::Sleep(100))));
        spawned_as("nap", scheduler.spawn("nap", nap));
        let mut sockets = Sockets::new();
        scheduler.run(&mut sockets).expect("the job can end");
        let (now, polls) = (sockets.now(), polls());
        assert!(now >= 100, "the job slept for 100 ms, and `now` is {now}");
        assert!(polls > 0, "`sleep` is to be `kit::poll`");
        assert!(
            polls < 5,
            "polled {polls} times without an event, for one sleep: the limit for `poll` is the time until the earliest sleeper \
             is due, and not 0"
        );
    });
}

#[test]
fn a_sleeper_wakes_beside_a_socket() {
    check("one job waits for a socket, another sleeps and then writes to it", || {
        draw_jobs("a sleeper, and a reader that it writes to");
        let mut scheduler = Scheduler::new();
        let (here, there) = UnixStream::pair().expect("a pair of sockets");
        let was_read = Rc::new(Cell::new(false));
        let read = was_read.clone();
        let reader = job("reader", 3, move |y: &Y| {
            let mut buf = [0; 8];
            while let Err(e) = here.try_read(&mut buf) {
                assert!(e.kind() == io::ErrorKind::WouldBlock, "a read failed: {e}");
                y.wait(here.readable()).expect("it can wait");
            }
            read.set(true);
        });
        let sleeper = job("sleeper", 2, move |y: &Y| {
            y.yield_(Op::Sleep(20));
            there.try_write(b"hello").expect("there is room");
        });
        spawned_as("reader", scheduler.spawn("reader", reader));
        spawned_as("sleeper", scheduler.spawn("sleeper", sleeper));
        scheduler.run(&mut Sockets::new()).expect("the jobs can end");
        assert!(was_read.get(), "`reader` {NOT_RESUMED}");
    });
}

#[test]
fn one_client() {
    check("one client sends three letters, and gets them back", || {
        let server = Server::start("one client", 1, None);
        // The client comes when the server has had a turn, and has found none.
        let address = server.address;
        let (begun, client) = mpsc::channel();
        let begin = job("client", 1, move |_: &Y| {
            let client = thread::spawn(move || exchange(1, address, b"abc"));
            begun.send(client).expect("the test waits for it");
        });
        server.run_beside(Some(begin));
        let client = client.try_recv().expect("each job has a turn");
        done(&[client.join().expect("the client ends")]);
    });
}

#[test]
fn a_silent_client() {
    check("a client that sends nothing holds up no other", || {
        let server = Server::start("client 1 is silent", 3, None);
        let mut silent = std::net::TcpStream::connect(server.address).expect("it listens");
        let (answered, others_are_answered) = mpsc::channel();
        let others = [2, 3].map(|n| {
            let (client, answered) = (server.client(n, b"abc".to_vec()), answered.clone());
            thread::spawn(move || {
                let outcome = client.join().expect("the client ends");
                answered.send(()).ok();
                outcome
            })
        });
        // It closes when the others have their answer, or have lost patience.
        let silent = thread::spawn(move || {
            others_are_answered.iter().take(2).for_each(drop);
            silent.shutdown(Shutdown::Write)?;
            silent.read(&mut [0])
        });
        server.run();
        silent.join().expect("the client ends").ok();
        let others = others.map(|client| client.join().expect("the client ends"));
        if others.iter().any(|other| other.is_late) {
            let jobs = jobs_made().iter().filter(|name| **name == "echo").count();
            match jobs {
                0 => panic!(
                    "clients 2 and 3 got no answer while client 1 was connected, and sent nothing: `echo_server` is to spawn \
                     a job \"echo\" for each client, and to accept the next"
                ),
                _ => panic!(
                    "clients 2 and 3 got no answer while client 1 sent nothing: an `echo` kept the thread. On `WouldBlock`, \
                     wait: y.wait(stream.readable())"
                ),
            }
        }
        done(&others);
    });
}

#[test]
fn five_clients() {
    check("five clients send 64 KiB each through small buffers", || {
        clients("five clients", 5, 64 << 10)
    });
}

#[test]
fn twenty_clients() {
    check("twenty clients send 1 MiB each through small buffers", || {
        clients("twenty clients", 20, 1 << 20);
    });
}

fn clients(title: &'static str, clients: usize, bytes: usize) {
    let server = Server::start(title, clients, Some(8 << 10));
    let data = |n: usize| (0..bytes).map(move |at| (at / 3 * n % 251) as u8).collect();
    let clients: Vec<_> = (1..=clients).map(|n| server.client(n, data(n))).collect();
    server.run();
    let outcomes: Vec<_> =
        clients.into_iter().map(|client| client.join().expect("it ends")).collect();
    done(&outcomes);
}

/// The student's server, on the student's scheduler.
struct Server {
    listener: TcpListener,
    address: SocketAddr,
    clients: usize,
}

impl Server {
    /// Listens; with sockets whose buffers are so small.
    fn start(title: &'static str, clients: usize, buffer: Option<libc::c_int>) -> Server {
        draw_jobs(title);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        for option in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
            let Some(size) = buffer else { break };
            let length = size_of_val(&size) as libc::socklen_t;
            // SAFETY: the pointer is to an integer of this length, which the call reads.
            let set = unsafe {
                let size = (&raw const size).cast();
                libc::setsockopt(listener.as_raw_fd(), libc::SOL_SOCKET, option, size, length)
            };
            assert_eq!(set, 0, "{}", io::Error::last_os_error());
        }
        let address = listener.local_addr().expect("an address");
        Server { listener, address, clients }
    }

    /// A client on threads of its own.
    fn client(&self, number: usize, data: Vec<u8>) -> JoinHandle<Outcome> {
        let address = self.address;
        thread::spawn(move || exchange(number, address, &data))
    }

    fn run(self) {
        self.run_beside(None);
    }

    /// Runs it, and another job that is spawned after it.
    fn run_beside(self, other: Option<Job>) {
        let Server { listener, clients, .. } = self;
        let mut scheduler = Scheduler::new();
        let ended = Rc::new(Cell::new(false));
        let end = ended.clone();
        let server = job("server", 3 * clients + 1, move |y: &Y| {
            let result = echo_server(y, listener, clients);
            end.set(true);
            if let Err(e) = result {
                fail(format!("`echo_server` returned an error: {e}{}", explained(&e)));
            }
        });
        spawned_as("server", scheduler.spawn("server", server));
        if let Some(job) = other {
            spawned_as("client", scheduler.spawn("client", job));
        }
        if let Err(stuck) = scheduler.run(&mut Sockets::new()) {
            panic!("no job joins another here, and `run` returned {stuck:?}");
        }
        assert!(ended.get(), "`server` {NOT_RESUMED}");
    }
}

fn explained(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::WouldBlock => {
            ". That is not an error: there is no client yet, so wait until the listener is readable"
        }
        _ => "",
    }
}

/// What a client has seen.
struct Outcome {
    number: usize,
    sent: Vec<u8>,
    back: Vec<u8>,
    is_late: bool,
    error: Option<io::Error>,
}

/// Sends and receives at once, as a client does that does not wait for its answer.
fn exchange(number: usize, address: SocketAddr, data: &[u8]) -> Outcome {
    let mut back = Vec::new();
    let mut receive = || -> io::Result<()> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(patience(data.len())))?;
        stream.set_write_timeout(Some(patience(data.len())))?;
        thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(data).ok();
                stream.shutdown(Shutdown::Write).ok();
            });
            let mut buf = [0; 16 << 10];
            loop {
                match (&stream).read(&mut buf)? {
                    0 => return Ok(()),
                    n => back.extend_from_slice(&buf[..n]),
                }
            }
        })
    };
    let error = receive().err();
    let is_late = error.as_ref().is_some_and(|e| e.kind() == io::ErrorKind::WouldBlock);
    Outcome { number, sent: data.to_vec(), back, is_late, error }
}

/// Fails with what the first client has seen that was not served well.
#[track_caller]
fn done(outcomes: &[Outcome]) {
    for Outcome { number, sent, back, is_late, error } in outcomes {
        if back == sent {
            continue;
        }
        let same = back.iter().zip(sent).take_while(|(back, sent)| back == sent).count();
        let what = format!(
            "client {number} sent {}, came back {}",
            grouped(sent.len()),
            grouped(back.len())
        );
        match () {
            () if *is_late => panic!(
                "{what}, and then nothing for {} s: is each job resumed that waits for a socket?",
                patience(sent.len()).as_secs()
            ),
            () if same == back.len() => panic!(
                "{what}, and then the connection ended{}: `echo` goes on until it reads 0 bytes; `WouldBlock` is no end",
                error.as_ref().map_or(String::new(), |e| format!(" ({e})"))
            ),
            () => panic!(
                "{what}, with a gap after {}: `try_write` returns how many it took",
                grouped(same)
            ),
        }
    }
}

/// `echo` is called by `echo_server` alone; its type is part of the exercise.
const _: fn(&Y, TcpStream) -> io::Result<()> = echo;
