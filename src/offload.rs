//! Blocking work, on other threads.
//!
//! A call that blocks in the kernel (a file, a name look-up, a C library) or computes for long stops
//! every task of the scheduler's thread. `offload` runs it on a thread of a pool, and the task waits.
//!
//! The pool is that of the crate `blocking`: threads are started when there is work for them, up to 500
//! (`BLOCKING_MAX_THREADS`), and end when idle. It is shared with whatever else in the program uses that
//! crate, and its hand-over costs one lock and one wake-up, against which a pool of our own could win
//! nothing that a blocking call would notice.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::kernel::scheduler::Scheduler;
use crate::kernel::waker::Outside;

/// An operation that gives what `work` returns, run on another thread. The work begins at once.
///
/// ```
/// use wouldblock::{green, offload};
///
/// wouldblock::run(|| {
///     let text = green::wait(offload(|| std::fs::read_to_string("Cargo.toml"))).unwrap();
///     assert!(text.contains("wouldblock"));
/// });
/// ```
///
/// # Panics
///
/// Waiting for it panics with whatever `work` panics with.
///
/// # Cancellation
///
/// Work that has not begun never begins. Work that has begun cannot be stopped: it runs to its end, and
/// its result is dropped, on its thread.
pub fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Offload<T> {
    Offload(blocking::unblock(work))
}

/// See [`offload`].
#[must_use = "dropping the operation gives up the work if it has not begun"]
pub struct Offload<T>(blocking::Task<T>);

impl<T> Future for Offload<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let outside = Mutex::new(Scheduler::with(Outside::of));
        let waker = Waker::from(Arc::new(Awaited { waker: cx.waker().clone(), outside }));
        Pin::new(&mut self.0).poll(&mut Context::from_waker(&waker))
    }
}

/// What the work on the other thread wakes. While it is kept there, whoever looks for a deadlock, and a
/// virtual clock, know that a wake will come.
struct Awaited {
    waker: Waker,
    outside: Mutex<Option<Outside>>,
}

impl Wake for Awaited {
    fn wake(self: Arc<Self>) {
        self.waker.wake_by_ref();
        // Only now, when the task is ready or in the inbox, nothing is awaited any more.
        drop(self.outside.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl<T> fmt::Debug for Offload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offload")
    }
}
