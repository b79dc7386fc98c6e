//! Chapter 6: greenlets, whose stacks make every function one that may wait.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Write};
use std::time::Duration;

use wouldblock::net::unix::UnixStream;
use wouldblock::testing::assert_turns;
use wouldblock::{green, task};

use crate::stage::{drawn, panic_of, plain, quick};

pub fn run() {
    drawn("two_readers", two_readers);
    quick("fifty_deep", fifty_deep);
    quick("an_innocent_call", an_innocent_call);
    plain("no_wait_here", || println!("{}", panic_of(no_wait_here)));
}

fn count_words(stream: UnixStream) -> io::Result<usize> {
    BufReader::new(stream).lines().map(|line| Ok(line?.split_whitespace().count())).sum()
}

fn two_readers() {
    let readers = ["ann", "bob"].map(|name| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let reader = task::Builder::new().name(name).spawn(move || {
            println!("{name} has counted {} words", count_words(ours).unwrap());
        });
        let writer = task::Builder::new().name(format!("for {name}")).spawn(move || {
            for part in ["one two\nthr", "ee four\n", "five"] {
                green::sleep(Duration::from_millis(10));
                theirs.write_all(part.as_bytes()).unwrap();
            }
        });
        (reader, writer)
    });
    for (reader, writer) in readers {
        writer.join().unwrap();
        reader.join().unwrap();
    }
}

fn descend(levels: u32) -> u32 {
    if levels == 0 {
        green::sleep(Duration::from_millis(10)); // no function on the way knows of it
        return 0;
    }
    descend(levels - 1) + 1
}

fn fifty_deep() {
    let tasks = [descend as fn(u32) -> u32; 2].map(|descend| green::spawn(move || descend(50)));
    for task in tasks {
        println!("waited {} calls deep", task.join().unwrap());
    }
}

fn log(_text: &str) {
    green::sleep(Duration::from_millis(1)); // stands for writing to a log server
}

fn an_innocent_call() {
    let (ann, bob) = (Cell::new(100), Cell::new(0));
    green::scope(|s| {
        s.spawn(|| {
            ann.set(ann.get() - 30);
            log("ann has paid 30");
            bob.set(bob.get() + 30);
        });
        s.spawn(|| println!("together they have {}", ann.get() + bob.get()));
    });
    println!("and at the end {}", ann.get() + bob.get());
}

fn no_wait_here() {
    wouldblock::Builder::new().virtual_clock().run(|| {
        let (ann, bob) = (Cell::new(100), Cell::new(0));
        assert_turns(0, || {
            ann.set(ann.get() - 30);
            log("ann has paid 30");
            bob.set(bob.get() + 30);
        });
    });
}
