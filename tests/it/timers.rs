//! Sleeping and time limits: when who wakes, on the virtual clock wherever that will do.

use std::cell::Cell;
use std::io::{Read, Write};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::util::*;
use futures::FutureExt;
use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use wouldblock::net::TcpStream;
use wouldblock::op::timeout;
use wouldblock::time::{Elapsed, now, sleeping, sleeping_until};
use wouldblock::{Builder, future, generator, green, group::gather, offload, stats};

// The order in which sleepers wake.

#[test]
fn sleepers_of_all_eras_wake_in_the_order_of_their_deadlines() {
    let log = Log::new();
    virtually(|| {
        let tasks = [90, 20, 50, 10, 40, 70, 30, 80, 60].into_iter().enumerate().map(|(n, ms)| {
            let log = log.clone();
            match n % 3 {
                0 => generator::spawn(move |y| {
                    y.wait(sleeping(ms * MS));
                    log.push(ms);
                }),
                1 => green::spawn(move || {
                    green::sleep(ms * MS);
                    log.push(ms);
                }),
                _ => future::spawn(async move {
                    sleeping(ms * MS).await;
                    log.push(ms);
                }),
            }
        });
        green::wait(gather(tasks));
    });
    assert_eq!(log.take(), [10, 20, 30, 40, 50, 60, 70, 80, 90]);
}

#[test]
fn equal_deadlines_are_first_come_first_served() {
    let log = Log::new();
    virtually_strictly(|| {
        let deadline = now() + 5 * MS;
        let tasks = (0..30).map(|n| {
            let log = log.clone();
            match n % 3 {
                0 => generator::spawn(move |y| {
                    y.wait(sleeping_until(deadline));
                    log.push(n);
                }),
                1 => green::spawn(move || {
                    green::wait(sleeping_until(deadline));
                    log.push(n);
                }),
                _ => future::spawn(async move {
                    sleeping_until(deadline).await;
                    log.push(n);
                }),
            }
        });
        green::wait(gather(tasks));
    });
    assert_eq!(log.take(), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_combinators_sleeps_wake_in_the_order_of_their_deadlines() {
    let orders = virtually(|| {
        in_each_era(|| {
            let sleeps = [30, 10, 20, 0, 40].map(|ms| sleeping(ms * MS).map(move |()| ms));
            sleeps.into_iter().collect::<FuturesUnordered<_>>().collect::<Vec<_>>()
        })
    });
    assert_eq!(orders, [[0, 10, 20, 30, 40]; 3].map(Vec::from));
}

#[test]
fn a_hundred_thousand_sleeps_each_end_in_their_millisecond() {
    virtually(|| {
        let start = now();
        let last = Rc::new(Cell::new(start));
        let tasks = (0..100_000).map(|n| {
            let (last, duration) = (last.clone(), (n * 7919 % 100 + 1) * MS);
            future::spawn(async move {
                sleeping(duration).await;
                assert!(now() >= last.get(), "time goes back");
                last.set(now());
                now() - start == duration
            })
        });
        let on_time = green::wait(gather(tasks)).into_iter().filter_map(Result::ok);
        assert_eq!(on_time.filter(|on_time| *on_time).count(), 100_000);
        assert_eq!(now() - start, 100 * MS);
    });
}

// How long a sleep is.

#[test]
fn nobody_wakes_early_on_the_machines_clock() {
    bounded(|| {
        let sleepers = (0..60).map(|n| {
            future::spawn(async move {
                let duration = Duration::from_micros(100 * n);
                let start = Instant::now();
                sleeping(duration).await;
                let slept = start.elapsed();
                assert!(slept >= duration, "{slept:?} instead of {duration:?}");
            })
        });
        assert!(green::wait(gather(sleepers)).iter().all(Result::is_ok));
    });
}

#[test]
fn the_virtual_clock_stands_still_but_for_sleeps() {
    virtually(|| {
        let start = now();
        for _ in 0..1000 {
            green::yield_now();
        }
        assert_eq!(now(), start);
        green::sleep(HOUR);
        assert_eq!(now(), start + HOUR);
        in_each_era(|| sleeping(HOUR));
        assert_eq!(now(), start + 2 * HOUR, "three sleeps at once");
    });
}

#[test]
fn times_are_rounded_up_to_milliseconds() {
    virtually(|| {
        let start = now();
        green::sleep(Duration::from_nanos(1));
        assert_eq!(now() - start, MS);
        green::sleep(Duration::from_micros(1001));
        assert_eq!(now() - start, 3 * MS);
    });
}

#[test]
fn no_time_at_all_and_the_past_are_over_at_once() {
    virtually(|| {
        green::sleep(10 * MS);
        let start = now();
        in_each_era(|| sleeping(Duration::ZERO));
        in_each_era(|| sleeping_until(start));
        in_each_era(|| sleeping_until(start - 10 * MS));
        in_each_era(|| sleeping_until(start - HOUR)); // before the run
        assert_eq!(now(), start);
    });
}

#[test]
fn the_longest_duration_is_for_ever() {
    virtually(|| {
        let results = in_each_era(|| timeout(HOUR, sleeping(Duration::MAX)));
        assert!(results.iter().all(Result::is_err));
        assert!(green::timeout(HOUR, || green::sleep(Duration::MAX)).is_err());
        assert_eq!(green::timeout(Duration::MAX, || 7), Ok(7));
        assert_eq!(green::wait(timeout(Duration::MAX, async { 7 })), Ok(7));
    });
}

/// Durations that the clock can just about say: 292 years and 146 thousand million of them.
#[test]
fn very_long_durations_neither_end_nor_spin() {
    for seconds in [i64::MAX as u64 / 1_000_000_000, 1 << 55, 1 << 60, 1 << 62] {
        let runtime = Builder::new().virtual_clock().build().unwrap();
        let long = Duration::from_secs(seconds);
        let [forever, soon] =
            runtime.enter(|| [long, HOUR].map(|d| green::spawn(move || green::sleep(d))));
        let mut turns = 0;
        while turns < 100 && !soon.is_finished() {
            assert!(runtime.turn());
            turns += 1;
        }
        assert!(turns < 100, "sleeping {seconds} s keeps everybody busy");
        assert!(!forever.is_finished(), "{seconds} s were over early");
    }
}

// Time limits.

#[test]
fn an_operation_that_is_ready_when_the_time_is_over_wins() {
    virtually(|| {
        let results = in_each_era(|| timeout(5 * MS, sleeping(5 * MS)));
        assert_eq!(results, [Ok(()); 3]);
        assert_eq!(green::timeout(5 * MS, || green::sleep(5 * MS)), Ok(()));
        let results = in_each_era(|| timeout(5 * MS, timeout(5 * MS, sleeping(5 * MS))));
        assert_eq!(results, [Ok(Ok(())); 3]);
        assert_eq!(in_each_era(|| timeout(Duration::ZERO, async { 7 })), [Ok(7); 3]);
    });
}

#[test]
fn a_limit_that_passes_says_how_long_it_was() {
    virtually(|| {
        for result in in_each_era(|| timeout(5 * MS, sleeping(6 * MS))) {
            assert_eq!(result.unwrap_err().to_string(), "timed out after 5ms");
        }
        let elapsed: Elapsed = green::timeout(5 * MS, || green::sleep(6 * MS)).unwrap_err();
        assert_eq!(elapsed.to_string(), "timed out after 5ms");
        assert_eq!(std::io::Error::from(elapsed).kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn of_nested_limits_each_fires_at_its_own_time() {
    virtually(|| {
        let start = now();
        let inner_first = in_each_era(|| timeout(10 * MS, timeout(5 * MS, sleeping(HOUR))));
        assert!(inner_first.iter().all(|r| matches!(r, Ok(Err(_)))), "{inner_first:?}");
        assert_eq!(now() - start, 5 * MS);
        let outer_first = in_each_era(|| timeout(5 * MS, timeout(10 * MS, sleeping(HOUR))));
        assert!(outer_first.iter().all(Result::is_err), "{outer_first:?}");
        assert_eq!(now() - start, 10 * MS);
        let mixed = green::timeout(7 * MS, || {
            let inner = green::wait(timeout(3 * MS, sleeping(HOUR)));
            assert!(inner.is_err());
            green::sleep(HOUR);
        });
        assert!(mixed.is_err());
        assert_eq!(now() - start, 17 * MS);
    });
}

#[test]
fn a_limit_counts_from_the_call_that_made_it() {
    virtually(|| {
        let limited = timeout(5 * MS, sleeping(HOUR));
        green::sleep(20 * MS);
        let start = now();
        assert!(green::wait(limited).is_err());
        assert_eq!(now(), start, "it had passed already");
    });
}

#[test]
fn a_sleep_that_is_asked_again_and_again_keeps_its_deadline() {
    virtually(|| {
        let start = now();
        let ends = in_each_era(|| async {
            let mut long = pin!(sleeping(25 * MS));
            let mut ticks = 0;
            loop {
                match select(long.as_mut(), sleeping(10 * MS)).await {
                    Either::Left(_) => return (ticks, now()),
                    Either::Right(_) => ticks += 1,
                }
            }
        });
        assert_eq!(ends, [(2, start + 25 * MS); 3]);
    });
}

// What is left behind.

#[test]
fn a_dropped_sleep_leaves_nothing_behind() {
    let runtime = Builder::new().virtual_clock().build().unwrap();
    let start = runtime.enter(now);
    let tasks = runtime.enter(|| {
        let selects = || async {
            drop(select(sleeping(HOUR), sleeping(5 * MS)).await);
            timeout(HOUR, sleeping(5 * MS)).await.unwrap();
            let mut unordered: FuturesUnordered<_> =
                [HOUR, 5 * MS].map(sleeping).into_iter().collect();
            unordered.next().await;
            drop(unordered);
            std::future::pending::<()>().await;
        };
        let (a, b, c) = (selects(), selects(), selects());
        [
            generator::spawn(move |y| y.wait(a)),
            green::spawn(move || green::wait(b)),
            future::spawn(c),
        ]
    });
    while runtime.turn() {}
    assert_eq!(runtime.enter(now) - start, 15 * MS, "nothing wakes later than is needed");
    assert_eq!(runtime.next_deadline(), None);
    drop(tasks);
}

#[test]
fn limits_that_do_not_pass_leave_nothing_behind() {
    let runtime = Builder::new().virtual_clock().build().unwrap();
    let task = runtime.enter(|| {
        green::spawn(|| {
            for _ in 0..1000 {
                assert!(green::timeout(HOUR, green::yield_now).is_ok());
                assert!(green::timeout(HOUR, || green::sleep(MS)).is_ok());
                assert!(green::wait(timeout(HOUR, sleeping(MS))).is_ok());
                assert!(green::wait(timeout(HOUR, future::yield_now())).is_ok());
            }
            green::wait(std::future::pending::<()>());
        })
    });
    while runtime.turn() {}
    assert_eq!(runtime.next_deadline(), None);
    assert!(!task.is_finished());
}

#[test]
fn a_cancelled_sleeper_leaves_nothing_behind() {
    let runtime = Builder::new().virtual_clock().round_robin().build().unwrap();
    let start = runtime.enter(now);
    let tasks = runtime.enter(|| {
        let sleepers = [
            generator::spawn(|y| y.wait(sleeping(HOUR))),
            green::spawn(|| green::sleep(HOUR)),
            future::spawn(sleeping(HOUR)),
        ];
        green::spawn(move || {
            sleepers.iter().for_each(wouldblock::JoinHandle::cancel);
            sleepers.map(|s| s.join().unwrap_err().is_cancelled())
        })
    });
    while runtime.turn() {}
    assert!(tasks.is_finished());
    assert_eq!((runtime.next_deadline(), runtime.enter(now)), (None, start));
}

// The virtual clock and the world outside.

#[test]
fn on_the_virtual_clock_sockets_work_and_take_no_time() {
    virtually(|| {
        let start = now();
        let (listener, address) = listener();
        let server = green::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buf = [0; 4];
            for _ in 0..10 {
                stream.read_exact(&mut buf).unwrap();
                green::sleep(50 * MS);
                stream.write_all(&buf).unwrap();
            }
        });
        let mut stream = TcpStream::connect(address).unwrap();
        for _ in 0..10 {
            stream.write_all(b"ping").unwrap();
            let mut buf = [0; 4];
            stream.read_exact(&mut buf).unwrap();
            assert_eq!(&buf, b"ping");
        }
        join(server);
        assert_eq!(now() - start, 500 * MS);
    });
}

#[test]
fn the_virtual_clock_stands_still_while_work_is_done_on_other_threads() {
    virtually(|| {
        let work = || offload(|| (0..1000).for_each(|_| std::thread::yield_now()));
        let start = now();
        let results = in_each_era(|| timeout(MS, work()));
        assert_eq!((results, now()), ([Ok(()); 3], start));
        // Also while another task sleeps, and with a waker that is not the task's own.
        let sleeper = green::spawn(|| green::sleep(MS));
        let mut unordered: FuturesUnordered<_> = (0..3).map(|_| work()).collect();
        while green::wait(unordered.next()).is_some() {
            assert_eq!(now(), start);
        }
        join(sleeper);
        assert_eq!(now(), start + MS);
    });
}

#[test]
fn the_virtual_clock_goes_on_when_the_work_is_given_up() {
    virtually(|| {
        let (tx, rx) = std::sync::mpsc::channel::<()>();
        let start = now();
        let mut work = offload(move || rx.recv());
        assert!(poll_once(&mut work).is_pending());
        drop(work); // it goes on, on its thread; nobody here waits for it
        green::sleep(HOUR);
        assert_eq!(now(), start + HOUR);
        drop(tx);
    });
}

#[test]
fn while_all_sleep_nobody_has_a_turn() {
    virtually(|| {
        let tasks: Vec<_> = (0..10).map(|_| green::spawn(|| green::sleep(HOUR))).collect();
        green::sleep(MS);
        let before = stats().turns;
        green::sleep(HOUR / 2);
        assert_eq!(stats().turns - before, 1, "that of the root");
        green::wait(gather(tasks));
    });
}

#[test]
fn outside_of_a_run_now_is_the_machines() {
    let before = Instant::now();
    assert!(now() >= before);
    Builder::new().virtual_clock().run(|| green::sleep(100 * HOUR));
    assert!(now() < before + 100 * HOUR);
}

#[test]
fn sleeping_outside_of_a_run_is_a_clear_error() {
    let text = panic_text(|| green::sleep(MS));
    assert!(text.contains("a wait outside of any task"), "{text}");
}
