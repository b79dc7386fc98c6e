//! Chapter 2: who ends a turn, and what may happen between two lines.

use std::cell::Cell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::thread;

use wouldblock::sync::Mutex;
use wouldblock::testing::assert_turns;
use wouldblock::{green, task};

use crate::stage::{drawn, plain, quick};

pub fn run() {
    plain("two_threads", two_threads);
    quick("two_tasks", two_tasks);
    drawn("a_wait_between", a_wait_between);
    quick("locked", locked);
    drawn("round_robin", round_robin);
}

fn two_threads() {
    let account = AtomicI32::new(100);
    let both_have_read = Barrier::new(2);
    let withdraw = || {
        let balance = account.load(SeqCst);
        both_have_read.wait(); // the operating system may switch here; now it does
        account.store(balance - 30, SeqCst);
    };
    thread::scope(|s| {
        s.spawn(withdraw);
        s.spawn(withdraw);
    });
    println!("100 - 30 - 30 = {}", account.load(SeqCst));
}

fn two_tasks() {
    let account = Cell::new(100);
    let withdraw = || {
        let balance = account.get();
        account.set(balance - 30);
    };
    green::scope(|s| {
        s.spawn(withdraw);
        s.spawn(withdraw);
    });
    println!("100 - 30 - 30 = {}", account.get());
}

fn a_wait_between() {
    let account = Cell::new(100);
    let withdraw = || {
        let balance = account.get();
        green::yield_now(); // or any other wait: a read, a lock, a message
        account.set(balance - 30);
    };
    green::scope(|s| {
        s.spawn(withdraw);
        s.spawn(withdraw);
    });
    println!("100 - 30 - 30 = {}", account.get());
}

fn locked() {
    let account = Mutex::new(100);
    let withdraw = || {
        let mut balance = account.lock();
        green::yield_now();
        assert_turns(0, || *balance -= 30); // panics if a wait gets in here
    };
    green::scope(|s| {
        s.spawn(withdraw);
        s.spawn(withdraw);
    });
    println!("100 - 30 - 30 = {}", account.into_inner());
}

fn round_robin() {
    let tasks = [("ann", 2), ("bob", 4), ("cat", 3)].map(|(name, turns)| {
        task::Builder::new().name(name).spawn(move || {
            for turn in 1..=turns {
                println!("{name}, turn {turn}");
                green::yield_now();
            }
        })
    });
    for task in tasks {
        task.join().unwrap();
    }
}
