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
use std::task::{Context, Poll};

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
    Offload { work: blocking::unblock(work), outside: None }
}

/// See [`offload`].
#[must_use = "dropping the operation gives up the work if it has not begun"]
pub struct Offload<T> {
    work: blocking::Task<T>,
    /// While somebody waits for it: whoever looks for a deadlock is to know that a wake will come.
    outside: Option<Outside>,
}

impl<T> Future for Offload<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let result = Pin::new(&mut self.work).poll(cx);
        match result {
            Poll::Ready(_) => self.outside = None,
            Poll::Pending if self.outside.is_none() => self.outside = Scheduler::with(Outside::of),
            Poll::Pending => {}
        }
        result
    }
}

impl<T> fmt::Debug for Offload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offload")
    }
}
