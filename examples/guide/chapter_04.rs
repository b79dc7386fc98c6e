//! Chapter 4: a socket that has nothing yet, and the scheduler that runs other tasks meanwhile.

use std::io::{ErrorKind::WouldBlock, Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use wouldblock::generator::{Generator, GeneratorState, GeneratorState::*, Yielder};
use wouldblock::net::unix::UnixStream;
use wouldblock::time::sleeping;
use wouldblock::{Wait, WaitFor, green, group::gather, stats, task};

use crate::stage::{drawn, plain, quick};

pub fn run() {
    plain("would_block", would_block);
    plain("asking_again", asking_again);
    quick("by_hand", by_hand);
    drawn("by_the_scheduler", by_the_scheduler);
}

fn would_block() {
    let (mut ours, mut theirs) = StdStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut buffer = [0; 64];
    println!("{:?}", ours.read(&mut buffer).map_err(|error| error.kind()));
    theirs.write_all(b"hello").unwrap();
    println!("{:?}", ours.read(&mut buffer).map_err(|error| error.kind()));
}

fn asking_again() {
    let (mut ours, _theirs) = StdStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut calls = 0;
    while calls < 100_000 && ours.read(&mut [0; 64]).is_err() {
        calls += 1;
    }
    println!("{calls} system calls, and no byte");
}

fn read_some(y: &Yielder<Wait>, stream: &UnixStream) -> String {
    let mut buffer = [0; 64];
    loop {
        match stream.try_read(&mut buffer) {
            Err(error) if error.kind() == WouldBlock => y.wait(stream.readable()).unwrap(),
            result => return String::from_utf8_lossy(&buffer[..result.unwrap()]).into_owned(),
        }
    }
}

fn by_hand() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut reader = Generator::new(move |y: &Yielder<Wait>| read_some(y, &ours));
    println!("{}", describe(reader.resume()));
    println!("{}", describe(reader.resume())); // too early: nothing is written yet
    theirs.write_all(b"hello").unwrap();
    let Yielded(wait) = reader.resume() else { panic!("the scheduler has not looked yet") };
    green::wait(wait); // now it looks: this returns when the socket can be read
    println!("{}", describe(reader.resume()));
}

fn describe(state: GeneratorState<Wait, String>) -> String {
    match state {
        Yielded(Wait { what: WaitFor::Readable(_), .. }) => "it waits until it can read".into(),
        Yielded(wait) => wait.what.to_string(),
        Complete(text) => format!("it has read {text:?}"),
    }
}

fn by_the_scheduler() {
    let mut theirs = Vec::new();
    let readers = ["a", "b", "c"].map(|name| {
        let (ours, peer) = UnixStream::pair().unwrap();
        theirs.push(peer);
        task::Builder::new().name(name).spawn_generator(move |y| {
            println!("{name} has read {:?}", read_some(y, &ours));
        })
    });
    let writer = task::Builder::new().name("writer").spawn_generator(move |y| {
        while let Some(mut peer) = theirs.pop() {
            y.wait(sleeping(Duration::from_millis(10)));
            peer.write_all(b"hello").unwrap();
        }
    });
    green::wait(gather(readers));
    writer.join().unwrap();
    println!("{} times, a socket had nothing", stats().would_block);
}
