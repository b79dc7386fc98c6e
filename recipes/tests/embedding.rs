//! Embedding: a program that has an event loop of its own (a window system's, a game's, mio's) gives this crate's tasks their
//! turns in between. The loop watches one descriptor of the runtime's beside its own, and wakes for its next deadline.
//!
//! It is not compared with threads, which a program that has a loop of its own does without.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::{SourceFd, pipe};
use mio::{Events, Interest, Poll, Token};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{Builder, green};

const TASKS: Token = Token(0);
const OWN: Token = Token(1);

#[test]
fn tasks_run_inside_of_another_loop() {
    let runtime = Builder::new().build().unwrap();
    let task = runtime.enter(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(green::spawn(move || listener.accept().unwrap().0.write_all(b"hello").unwrap()));
        green::spawn(move || {
            green::sleep(Duration::from_millis(5));
            let mut text = String::new();
            TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
            text
        })
    });

    // The program's own loop, with something of its own to watch.
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(16));
    let (mut sender, mut receiver) = pipe::new().unwrap();
    poll.registry().register(&mut receiver, OWN, Interest::READABLE).unwrap();
    let tasks = runtime.as_fd().as_raw_fd();
    poll.registry().register(&mut SourceFd(&tasks), TASKS, Interest::READABLE).unwrap();
    sender.write_all(b"x").unwrap();
    let mut own_events = 0;
    while !task.is_finished() || own_events == 0 {
        // All turns that are due: the descriptor reports again what comes after that. A program that draws sixty times
        // a second stops after a few milliseconds, and then does not sleep below.
        while runtime.turn() {}
        let sleep = runtime.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let sleep = if task.is_finished() { Some(Duration::ZERO) } else { sleep };
        poll.poll(&mut events, sleep).unwrap();
        own_events += events.iter().filter(|event| event.token() == OWN).count();
    }
    assert_eq!(own_events, 1);
    let joined = runtime.enter(|| green::spawn(move || assert_eq!(task.join().unwrap(), "hello")));
    runtime.run_until(|| joined.is_finished()).unwrap();
}
