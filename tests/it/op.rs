//! What is made of operations: `op::join`. (`select` and `timeout` have their tests beside what they are mostly used
//! with, in `sync_queues.rs` and `timers.rs`.)

use std::future::{pending, ready};

use crate::util::*;
use wouldblock::green;
use wouldblock::op::{Either, join, select};
use wouldblock::sync::{Mutex, channel};
use wouldblock::time::{now, sleeping};

#[test]
fn two_that_are_joined_wait_at_the_same_time_in_all_eras() {
    for era in ERAS {
        run(|| {
            let start = now();
            let a = async { sleeping(3 * SECOND).await };
            let both = join(a, async {
                sleeping(SECOND).await;
                "second"
            });
            let task = spawn_waiting(era, both, ());
            assert_eq!(task.join().unwrap(), ((), "second"));
            assert_eq!(now() - start, 3 * SECOND);
        });
    }
}

#[test]
fn one_of_two_may_need_what_the_other_does() {
    run(|| {
        let (sender, receiver) = channel::bounded(1);
        let sends = async {
            sender.sending(1).await.unwrap();
            sender.sending(2).await.unwrap();
        };
        let receives = async { (receiver.receiving().await, receiver.receiving().await) };
        assert_eq!(green::wait(join(sends, receives)).1, (Ok(1), Ok(2)));
        let handles = join(green::spawn(|| 1), green::spawn(|| "two"));
        let (one, two) = green::wait(handles);
        assert_eq!((one.unwrap(), two.unwrap()), (1, "two"));
    });
}

#[test]
fn two_that_are_joined_are_dropped_together() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let held = |name| {
                let guard = trace.at_drop(name);
                async move {
                    let _guard = guard;
                    pending::<()>().await;
                }
            };
            let task = spawn_waiting(era, join(held("first"), held("second")), ());
            green::yield_now();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            let mut dropped = trace.take();
            dropped.sort_unstable();
            assert_eq!(dropped, ["first", "second"]);
        });
    }
}

/// What was taken by the one that is ready is given back when the other is given up.
#[test]
fn the_output_of_one_that_is_ready_is_dropped_with_the_other() {
    run(|| {
        let mutex = Mutex::new(());
        let both = join(mutex.locking(), pending::<()>());
        let Either::Second(()) = green::wait(select(both, sleeping(SECOND))) else {
            panic!("the second is never ready");
        };
        assert!(mutex.try_lock().is_some());
        let (guard, ()) = green::wait(join(mutex.locking(), ready(())));
        assert!(mutex.try_lock().is_none());
        drop(guard);
    });
}

#[test]
fn a_join_outside_of_a_run_is_a_future_like_any() {
    let both = join(ready(1), async { 2 });
    assert_eq!(futures_lite::future::block_on(both), (1, 2));
}
