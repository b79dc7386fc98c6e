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

use crate::kernel::door;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Wait;
use crate::kernel::waker::Outside;

/// An operation that gives what `work` returns, run on another thread. The work begins at once, whether or
/// not anybody waits for it yet.
///
/// ```
/// use wouldblock::{future, generator, green, offload};
///
/// fn sum_to(n: u64) -> u64 {
///     (1..=n).sum() // imagine something that takes long
/// }
///
/// wouldblock::run(|| {
///     let a = generator::spawn(|y| y.wait(offload(|| sum_to(10))));
///     let b = green::spawn(|| green::wait(offload(|| sum_to(100))));
///     let c = future::spawn(async { offload(|| sum_to(1000)).await });
///     let sums = [a, b, c].map(|task| task.join().unwrap());
///     assert_eq!(sums, [55, 5050, 500_500]);
/// });
/// ```
///
/// Any number may be under way; those for which there is no thread wait in line. So work must not block for
/// other work that may stand behind it. Files have calls of their own, in [`fs`](crate::fs).
///
/// It needs no scheduler: any executor may poll it.
///
/// # Panics
///
/// Waiting for it panics with whatever `work` panics with. Polling it again after it was ready panics too.
///
/// # Cancellation
///
/// Work that has not begun never begins. Work that has begun cannot be stopped: it runs to its end, and
/// its result, or its panic, is dropped on its thread. Nobody waits for it then: not whoever is cancelled,
/// not the end of the run, and not the end of `main`, which stops it where it is.
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
        let polled = Pin::new(&mut self.0).poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            door::leave(cx, Wait::named(&"work on another thread")); // for whoever asks
        }
        polled
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
