//! The suspected deadlock: told after ten seconds in which nothing moved, so this test takes them.

mod basics;
mod util;

use std::future::poll_fn;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Instant;

use log::Level;
use util::{MS, SECOND, logged};
use wouldblock::{Builder, green};

#[test]
fn a_suspected_deadlock_is_told_once_and_the_run_goes_on() {
    // A signal, as that of a profiler, ends each sleep in the kernel early.
    // SAFETY: what is called in the handler does nothing. The thread is this one, and waits for that.
    let thread = unsafe {
        signal_hook::low_level::register(libc::SIGUSR2, || ()).unwrap();
        libc::pthread_self()
    };
    let (done, is_done) = mpsc::channel::<()>();
    let interrupts = thread::spawn(move || {
        while is_done.recv_timeout(10 * MS) == Err(mpsc::RecvTimeoutError::Timeout) {
            // SAFETY: as above.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
        }
    });
    let start = Instant::now();
    let messages = logged(|| {
        Builder::new().run(|| {
            let mut thread = None;
            green::wait(poll_fn(|cx| {
                if thread.is_some() {
                    return Poll::Ready(());
                }
                let waker = cx.waker().clone();
                // Somebody outside: wakes the task when the warning is out, and not before.
                thread = Some(thread::spawn(move || {
                    util::await_log();
                    waker.wake();
                }));
                Poll::Pending
            }));
        });
    });
    assert!(start.elapsed() >= 10 * SECOND, "{:?}", start.elapsed());
    drop(done);
    interrupts.join().unwrap();
    let warnings: Vec<_> = messages.iter().filter(|(level, _)| *level == Level::Warn).collect();
    assert_eq!(warnings.len(), 1, "{messages:?}");
    let expected = "deadlock? For 10 s, nothing has moved: 1 task waits for somebody who keeps a waker, \
                    which may be one of them\n  task 1 \"root\" (green, spawned at tests/patience.rs:";
    assert!(warnings[0].1.starts_with(expected), "{}", warnings[0].1);
    assert!(warnings[0].1.ends_with("waits for somebody to wake it"), "{}", warnings[0].1);
}
