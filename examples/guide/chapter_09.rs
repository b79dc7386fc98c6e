//! Chapter 9: work that computes, other threads, and more than one scheduler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use wouldblock::{green, offload, task};

use crate::stage::{live, plain};

pub fn run() {
    live("frozen", frozen);
    live("offloaded", offloaded);
    plain("one_thread", one_thread);
    plain("a_run_for_each_thread", a_run_for_each_thread);
}

/// Computes until it has seen three beats, or until `limit` has passed. Returns
/// `true` if it has seen them.
fn busy(beats: &AtomicU32, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    while beats.load(Relaxed) < 3 && Instant::now() < end {}
    beats.load(Relaxed) >= 3
}

fn heart() -> Arc<AtomicU32> {
    let beats = Arc::new(AtomicU32::new(0));
    let heart = beats.clone();
    drop(task::Builder::new().name("heart").spawn(move || {
        loop {
            green::sleep(Duration::from_millis(1));
            heart.fetch_add(1, Relaxed);
        }
    }));
    beats
}

fn frozen() {
    let beats = heart();
    let builder = task::Builder::new().name("busy");
    let work = builder.spawn(move || busy(&beats, Duration::from_millis(300)));
    println!("three beats during the work: {}", work.join().unwrap());
}

fn offloaded() {
    let beats = heart();
    let work = offload(move || busy(&beats, Duration::from_secs(60)));
    println!("three beats during the work: {}", green::wait(work));
}

fn thread_of_a_task() -> ThreadId {
    green::spawn(|| thread::current().id()).join().unwrap()
}

fn one_thread() {
    wouldblock::run(|| {
        println!("two tasks, one thread: {}", thread_of_a_task() == thread_of_a_task());
    });
}

fn a_run_for_each_thread() {
    let runs = [1, 2].map(|_| thread::spawn(|| wouldblock::run(thread_of_a_task)));
    let [first, second] = runs.map(|run| run.join().unwrap());
    println!("two runs, two threads: {}", first != second);
}
