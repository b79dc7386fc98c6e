//! cores: the same work in one run, and in two runs on two threads, which share nothing.
//!
//! In each run, tasks in pairs send each other a message through a pair of Unix sockets: turns, waits for sockets,
//! and the kernel's event queue. Where the runs do not disturb each other, a message takes as much CPU time with two
//! runs as with one, and two cores do twice the work of one; the wall clock shows it only on a machine at rest.

use std::io::{Read, Write};
use std::sync::Barrier;
use std::thread;

use wouldblock::net::unix::UnixStream;
use wouldblock::{green, group::gather};

use crate::child::{Clock, Sample};
use crate::{Bench, Case};

pub(crate) const BENCH: Bench = Bench {
    name: "cores",
    what: "a message between two tasks of a run, in 1 or 2 runs: CPU ns",
    figure: "cpu_ns_per_op",
    reference: "wouldblock-1-run",
    contenders: &["wouldblock-1-run", "wouldblock-2-runs"],
    cases: &[Case { name: "100 pairs in each run", size: 100, big: false }],
    columns: &[("wall_ns_per_op", "wall ns")],
    run,
};

/// Messages of one pair, there and back.
const ROUND_TRIPS: u64 = 4_000;

fn run(contender: &str, pairs: u64) -> Sample {
    let runs = match contender {
        "wouldblock-1-run" => 1,
        "wouldblock-2-runs" => 2,
        other => panic!("{other} does not take part in cores"),
    };
    // The clock starts when each run has made its tasks and warmed them up.
    let (begun, done) = (&Barrier::new(runs + 1), &Barrier::new(runs + 1));
    thread::scope(|threads| {
        for _ in 0..runs {
            threads.spawn(move || {
                wouldblock::run(|| {
                    exchange(pairs, ROUND_TRIPS / 10);
                    begun.wait();
                    exchange(pairs, ROUND_TRIPS);
                    done.wait();
                });
            });
        }
        begun.wait();
        let clock = Clock::start();
        done.wait();
        clock.stop(runs as u64 * pairs * ROUND_TRIPS * 2)
    })
}

/// So many pairs of tasks exchange so many messages.
fn exchange(pairs: u64, round_trips: u64) {
    let tasks = (0..pairs).flat_map(|_| {
        let (mut one, mut other) = UnixStream::pair().expect("a pair of sockets");
        let asks = green::spawn(move || {
            for _ in 0..round_trips {
                one.write_all(&[1; 64]).expect("room for a message");
                one.read_exact(&mut [0; 64]).expect("a message");
            }
        });
        let answers = green::spawn(move || {
            for _ in 0..round_trips {
                other.read_exact(&mut [0; 64]).expect("a message");
                other.write_all(&[2; 64]).expect("room for a message");
            }
        });
        [asks, answers]
    });
    for task in green::wait(gather(tasks)) {
        task.expect("a task that does not panic");
    }
}
