//! The suspected deadlock: a warning after a time in which nothing moved, which the run sets.

use std::future::poll_fn;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::util::{self, MS, logged};
use log::Level;
use wouldblock::{Builder, green};

/// Waits until `outside`, on a thread of its own, wakes the task with its waker.
fn wait_for_a_thread(outside: impl FnOnce(Waker) + Send + 'static) {
    let mut outside = Some(outside);
    green::wait(poll_fn(|cx| {
        let Some(outside) = outside.take() else { return Poll::Ready(()) };
        let waker = cx.waker().clone();
        thread::spawn(|| outside(waker));
        Poll::Pending
    }));
}

/// A run that is woken when its warning is out, and not before.
fn suspected(limit: Duration) {
    // A signal, as that of a profiler, ends each sleep in the kernel early.
    // SAFETY: what is called in the handler does nothing. The thread is this one, and waits for that.
    let thread = unsafe {
        signal_hook::low_level::register(libc::SIGUSR2, || ()).unwrap();
        libc::pthread_self()
    };
    let (done, is_done) = mpsc::channel::<()>();
    let interrupts = thread::spawn(move || {
        while is_done.recv_timeout(MS) == Err(mpsc::RecvTimeoutError::Timeout) {
            // SAFETY: as above.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
        }
    });
    let start = Instant::now();
    let messages = logged(|| {
        Builder::new().deadlock_warning(Some(limit)).run(|| {
            wait_for_a_thread(|waker| {
                util::await_logged(|all| {
                    all.iter().any(|text| text.starts_with("deadlock? For 0.25 s"))
                });
                waker.wake();
            });
        });
    });
    assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
    drop(done);
    interrupts.join().unwrap();
    let warnings: Vec<_> = messages.iter().filter(|(level, _)| *level == Level::Warn).collect();
    assert_eq!(warnings.len(), 1, "{messages:?}");
    let expected = "deadlock? For 0.25 s, nothing has moved: 1 task waits for code that keeps a waker, \
                    which may be one of them\n  task 1 \"root\" (green, spawned at tests/it/patience.rs:";
    assert!(warnings[0].1.starts_with(expected), "{}", warnings[0].1);
    let site = warnings[0].1.split_once(" waits to be woken, at tests/it/patience.rs:");
    assert!(site.is_some(), "{}", warnings[0].1);
}

#[test]
fn a_deadlock_is_suspected_after_the_time_that_the_run_sets_and_not_where_that_is_off() {
    // While one run waits until it is suspected of a deadlock, another, in which nothing moves either, is not.
    let (sender, suspected_run) = mpsc::channel();
    let messages = logged(|| {
        Builder::new().deadlock_warning(None).run(|| {
            wait_for_a_thread(move |waker| {
                sender.send(thread::spawn(|| suspected(250 * MS)).join()).unwrap();
                waker.wake();
            });
        });
    });
    suspected_run.recv().unwrap().unwrap();
    assert!(messages.is_empty(), "{messages:?}");
}

#[test]
fn the_time_is_ten_seconds_at_first() {
    let builder = format!("{:?}", Builder::new());
    util::assert_contains(&builder, &["deadlock_warning: Some(10s)"]);
}
