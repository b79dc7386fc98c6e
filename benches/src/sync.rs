//! sync: locks, semaphores and channels, among tasks of one thread.
//!
//! Each program is written once, in the macro `programs!`; a contender is a table of what its words for
//! spawning, locking and so on are. `wouldblock-green` uses the methods that a user of that era would.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use wouldblock::sync::{Mutex, Semaphore, channel};

use crate::child::{Clock, Sample, become_python};
use crate::{Bench, Case};

pub(crate) const BENCH: Bench = Bench {
    name: "sync",
    what: "one lock, hand-over, item or permit: CPU ns",
    figure: "cpu_ns_per_op",
    reference: "wouldblock-green",
    contenders: &["wouldblock-green", "wouldblock-generator", "wouldblock-future", "tokio"],
    cases: &[
        Case { name: "lock and unlock", size: LOCK, big: false },
        Case { name: "lock, 100 tasks", size: HAND_OVER, big: false },
        Case { name: "ping-pong", size: PING_PONG, big: false },
        Case { name: "channel, 1 to 1", size: STREAM, big: false },
        Case { name: "channel, 100 to 1", size: MANY_TO_ONE, big: false },
        Case { name: "semaphore of 10, 1 000 tasks", size: SEMAPHORE, big: false },
    ],
    columns: &[("wall_ns_per_op", "wall ns")],
    run,
};

/// What is measured, in the place of a size.
const LOCK: u64 = 0;
const HAND_OVER: u64 = 1;
const PING_PONG: u64 = 2;
const STREAM: u64 = 3;
const MANY_TO_ONE: u64 = 4;
const SEMAPHORE: u64 = 5;

/// Room in a channel that items stream through.
const ROOM: usize = 64;

fn run(contender: &str, what: u64) -> Sample {
    match contender {
        "wouldblock-green" => in_green::run(what),
        "wouldblock-generator" => in_generator::run(what),
        "wouldblock-future" => in_future::run(what),
        "tokio" => in_tokio::run(what),
        other => become_python(other, "sync", what),
    }
}

macro_rules! green {
    (root $y:ident $body:expr) => {
        wouldblock::run(|| wouldblock::green::spawn(move || $body).join().unwrap())
    };
    (spawn $y:ident $body:expr) => {
        wouldblock::green::spawn(move || $body)
    };
    (join $y:ident $task:expr) => {
        $task.join().unwrap()
    };
    (turn $y:ident) => {
        wouldblock::green::yield_now()
    };
    (share $value:expr) => {
        Rc::new($value)
    };
    (mutex) => {
        Mutex::new(0)
    };
    (lock $y:ident $mutex:expr) => {
        $mutex.lock()
    };
    (semaphore $permits:expr) => {
        Semaphore::new($permits)
    };
    (acquire $y:ident $semaphore:expr) => {
        $semaphore.acquire()
    };
    (channel $room:expr) => {
        channel::bounded($room)
    };
    (send $y:ident $sender:ident $item:expr) => {
        $sender.send($item).unwrap()
    };
    (recv $y:ident $receiver:ident) => {
        $receiver.recv().unwrap()
    };
}

macro_rules! generator {
    (root $y:ident $body:expr) => { wouldblock::run(|| wouldblock::generator::spawn(move |$y| $body).join().unwrap()) };
    (spawn $y:ident $body:expr) => { wouldblock::generator::spawn(move |$y| $body) };
    (join $y:ident $task:expr) => { $y.wait($task).unwrap() };
    (turn $y:ident) => { $y.yield_now() };
    (lock $y:ident $mutex:expr) => { $y.wait($mutex.locking()) };
    (acquire $y:ident $semaphore:expr) => { $y.wait($semaphore.acquiring()) };
    (send $y:ident $sender:ident $item:expr) => { $y.wait($sender.sending($item)).unwrap() };
    (recv $y:ident $receiver:ident) => { $y.wait($receiver.receiving()).unwrap() };
    ($($as_green:tt)*) => { green!($($as_green)*) };
}

macro_rules! future {
    (root $y:ident $body:expr) => { wouldblock::run(|| wouldblock::future::spawn(async move { $body }).join().unwrap()) };
    (spawn $y:ident $body:expr) => { wouldblock::future::spawn(async move { $body }) };
    (join $y:ident $task:expr) => { $task.await.unwrap() };
    (turn $y:ident) => { wouldblock::future::yield_now().await };
    (lock $y:ident $mutex:expr) => { $mutex.locking().await };
    (acquire $y:ident $semaphore:expr) => { $semaphore.acquiring().await };
    (send $y:ident $sender:ident $item:expr) => { $sender.sending($item).await.unwrap() };
    (recv $y:ident $receiver:ident) => { $receiver.receiving().await.unwrap() };
    ($($as_green:tt)*) => { green!($($as_green)*) };
}

macro_rules! tokio {
    (root $y:ident $body:expr) => {{
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { tokio::spawn(async move { $body }).await.unwrap() })
    }};
    (spawn $y:ident $body:expr) => {
        tokio::spawn(async move { $body })
    };
    (join $y:ident $task:expr) => {
        $task.await.unwrap()
    };
    (turn $y:ident) => {
        tokio::task::yield_now().await
    };
    (share $value:expr) => {
        Arc::new($value)
    };
    (mutex) => {
        tokio::sync::Mutex::new(0)
    };
    (lock $y:ident $mutex:expr) => {
        $mutex.lock().await
    };
    (semaphore $permits:expr) => {
        tokio::sync::Semaphore::new($permits)
    };
    (acquire $y:ident $semaphore:expr) => {
        $semaphore.acquire().await.unwrap()
    };
    (channel $room:expr) => {
        tokio::sync::mpsc::channel($room)
    };
    (send $y:ident $sender:ident $item:expr) => {
        $sender.send($item).await.unwrap()
    };
    (recv $y:ident $receiver:ident) => {
        $receiver.recv().await.unwrap()
    };
}

macro_rules! programs {
    ($name:ident, $era:ident) => {
        #[allow(unused_mut, unused_variables, reason = "some receivers are `mut`, some eras have a `y`")]
        #[allow(unused_imports, reason = "some share by `Rc`, some by `Arc`")]
        mod $name {
            use super::*;

            pub(super) fn run(what: u64) -> Sample {
                match what {
                    LOCK => $era!(root y {
                        let mutex = $era!(mutex);
                        let (times, clock) = (10_000_000, Clock::start());
                        for n in 0..times {
                            *$era!(lock y black_box(&mutex)) += n;
                        }
                        clock.stop(times)
                    }),
                    HAND_OVER => $era!(root y {
                        let (count, times) = (100, 10_000);
                        let mutex = $era!(share $era!(mutex));
                        let guard = $era!(lock y mutex);
                        let tasks = (0..count).map(|n| {
                            let mutex = mutex.clone();
                            $era!(spawn y for _ in 0..times {
                                *$era!(lock y mutex) += n; // The others are in line, and come first.
                            })
                        });
                        let tasks: Vec<_> = tasks.collect();
                        for _ in 0..2 {
                            $era!(turn y); // Now they are all in line.
                        }
                        drop(guard);
                        let clock = Clock::start();
                        for task in tasks {
                            $era!(join y task);
                        }
                        clock.stop(count * times)
                    }),
                    PING_PONG => $era!(root y {
                        let (ping, mut pinged) = $era!(channel 1);
                        let (pong, mut ponged) = $era!(channel 1);
                        let (times, clock) = (1_000_000, Clock::start());
                        let task = $era!(spawn y for _ in 0..times {
                            let n: u64 = $era!(recv y pinged);
                            $era!(send y pong n);
                        });
                        for n in 0..times {
                            $era!(send y ping n);
                            assert_eq!($era!(recv y ponged), n);
                        }
                        $era!(join y task);
                        clock.stop(times)
                    }),
                    STREAM => stream(1),
                    MANY_TO_ONE => stream(100),
                    SEMAPHORE => $era!(root y {
                        let (count, times) = (1_000, 1_000);
                        let semaphore = $era!(share $era!(semaphore 10));
                        let clock = Clock::start();
                        let tasks = (0..count).map(|_| {
                            let semaphore = semaphore.clone();
                            $era!(spawn y for _ in 0..times {
                                let permit = $era!(acquire y semaphore);
                                $era!(turn y);
                                drop(permit);
                            })
                        });
                        for task in tasks.collect::<Vec<_>>() {
                            $era!(join y task);
                        }
                        clock.stop(count * times)
                    }),
                    _ => unreachable!("one of the cases"),
                }
            }

            fn stream(senders: u64) -> Sample {
                $era!(root y {
                    let items = 5_000_000 / senders;
                    let (sender, mut receiver) = $era!(channel ROOM);
                    let clock = Clock::start();
                    for _ in 0..senders {
                        let sender = sender.clone();
                        drop($era!(spawn y for n in 0..items {
                            $era!(send y sender n);
                        }));
                    }
                    let mut sum = 0;
                    for _ in 0..items * senders {
                        sum += $era!(recv y receiver);
                    }
                    assert_eq!(sum, senders * (0..items).sum::<u64>());
                    clock.stop(items * senders)
                })
            }
        }
    };
}

programs!(in_green, green);
programs!(in_generator, generator);
programs!(in_future, future);
programs!(in_tokio, tokio);
