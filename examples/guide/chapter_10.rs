//! Chapter 10: a deadlock, a frozen thread, and tasks that outlive their purpose.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use wouldblock::sync::{Mutex, Queue};
use wouldblock::{Builder, JoinHandle, green, group::race, stats, task};

use crate::stage::{drawn, plain, quick};

pub fn run() {
    plain("a_deadlock", a_deadlock);
    quick("in_one_order", in_one_order);
    quick("a_lock_of_std", a_lock_of_std);
    quick("losers_run_on", losers_run_on);
    drawn("losers_are_cancelled", losers_are_cancelled);
    drawn("a_limit", a_limit);
}

fn transfer(name: &str, from: &Rc<Mutex<i32>>, to: &Rc<Mutex<i32>>) -> JoinHandle<()> {
    let (from, to) = (from.clone(), to.clone());
    task::Builder::new().name(name).spawn(move || {
        let mut from = from.lock();
        green::yield_now();
        let mut to = to.lock();
        *from -= 10;
        *to += 10;
    })
}

fn a_deadlock() {
    let result = Builder::new().virtual_clock().round_robin().try_run(|| {
        let (ann, bob) = (Rc::new(Mutex::new(100)), Rc::new(Mutex::new(100)));
        let there = transfer("there", &ann, &bob);
        let back = transfer("back", &bob, &ann);
        (there.join(), back.join())
    });
    println!("{}", result.unwrap_err());
}

fn in_one_order() {
    let (ann, bob) = (Rc::new(Mutex::new(100)), Rc::new(Mutex::new(100)));
    let there = transfer("there", &ann, &bob);
    let again = transfer("again", &ann, &bob); // ann before bob, as everywhere
    there.join().unwrap();
    again.join().unwrap();
    println!("{} and {}", *ann.lock(), *bob.lock());
}

fn a_lock_of_std() {
    let lock = Arc::new(std::sync::Mutex::new(()));
    let held = lock.clone();
    let holder = green::spawn(move || {
        let _guard = held.lock();
        green::sleep(Duration::from_millis(10)); // with the lock of std held
    });
    green::yield_now();
    match lock.try_lock() {
        Ok(_) => println!("the lock is free"),
        Err(error) => println!("`lock` would stop the whole thread: {error}"),
    }
    holder.join().unwrap();
}

fn mirror(name: &'static str, seconds: u64) -> JoinHandle<&'static str> {
    task::Builder::new().name(name).spawn(move || {
        green::sleep(Duration::from_secs(seconds));
        name
    })
}

fn losers_run_on() {
    let answers = Rc::new(Queue::unbounded());
    for (name, seconds) in [("near", 1), ("far", 60), ("farther", 90)] {
        let answers = answers.clone();
        drop(green::spawn(move || answers.put(mirror(name, seconds).join().unwrap())));
    }
    println!("{} has won", answers.get().unwrap());
    println!("{} tasks are alive besides this one", stats().alive - 1);
}

fn losers_are_cancelled() {
    let mirrors = [mirror("near", 1), mirror("far", 60), mirror("farther", 90)];
    println!("{} has won", green::wait(race(mirrors)).unwrap());
    println!("{} tasks are alive besides this one", stats().alive - 1);
}

fn a_limit() {
    let all = || {
        green::scope(|s| {
            s.spawn(|| green::sleep(Duration::from_secs(60)));
            s.spawn(|| green::sleep(Duration::from_secs(90)));
        });
    };
    println!("{:?}", green::timeout(Duration::from_secs(2), all));
    println!("{} tasks are alive besides this one", stats().alive - 1);
}
