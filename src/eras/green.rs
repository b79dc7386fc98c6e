//! The green era: stackful coroutines, in plain straight-line code.
//!
//! Each task has a stack of its own, so that it can wait at any depth, in functions that know nothing of coroutines.
//! The yield is invisible in the code. (So in gevent, and before that in Stackless Python and Lua.)
//!
//! ```
//! use std::time::Duration;
//! use wouldblock::green;
//!
//! fn nap(ms: u64) -> u64 {
//!     green::sleep(Duration::from_millis(ms)); // suspends whichever greenlet calls `nap`
//!     ms
//! }
//!
//! wouldblock::run(|| {
//!     let slow = green::spawn(|| nap(20));
//!     let fast = green::spawn(|| nap(10));
//!     assert_eq!(slow.join().unwrap() + fast.join().unwrap(), 30);
//! });
//! ```

use std::future::IntoFuture;
use std::time::Duration;

use crate::kernel::door;
use crate::kernel::edge::observe::Era;
use crate::run::join::JoinHandle;
use crate::run::spawn::{Stackful, launch};
use crate::task;
use crate::time;

#[doc(inline)]
pub use crate::deadline::deadline;
#[doc(inline)]
pub use crate::eras::limits::{finally, timeout};
pub use crate::eras::scope::green::{Scope, ScopedJoinHandle, TryScope, scope, try_scope};

/// Starts a task that runs `body` on a stack of its own.
///
/// The task is put at the end of the queue, and begins when its turn comes.
///
/// # Panics
///
/// Outside of a run; and when the run is ending, unless the thread is unwinding: then the task is spawned, cancelled
/// before it begins, and a warning is logged.
#[track_caller]
pub fn spawn<T: 'static>(body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    task::Builder::new().spawn(body)
}

impl task::Builder {
    /// Starts a task that runs `body` on a stack of its own: see [`green::spawn`](spawn).
    ///
    /// # Panics
    ///
    /// As [`green::spawn`](spawn).
    #[track_caller]
    pub fn spawn<T: 'static>(self, body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        launch(self.setup(Era::Green), Stackful::new(move |_| body()))
    }
}

/// Waits for an operation: the green era's verb.
///
/// The task gives up its turn, with its stack as it is, and goes on here when the operation is ready. Any
/// future is an operation.
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{green, time};
///
/// wouldblock::run(|| {
///     green::wait(time::sleeping(Duration::from_millis(1)));
///     assert_eq!(green::wait(async { 42 }), 42);
/// });
/// ```
///
/// # Blocking
///
/// Suspends the task. Call this in place of the `block_on` of another executor (`futures`, `pollster`, tokio), which
/// blocks the *thread*: no other task runs meanwhile, no timer ends, and no socket is looked at. A future that waits
/// for one of these there waits for ever, and only the [watchdog](crate::Builder::watchdog) reports it. Code that
/// cannot be changed to call `wait`, such as a library's, belongs in [`offload`](crate::offload()), where it may block
/// a thread; a future of this crate that waits for a time or a socket panics there, since that thread has no scheduler.
///
/// # Panics
///
/// Outside of a task.
///
/// # Cancellation
///
/// If the task is cancelled, or a [`timeout`] around this passes, the operation is dropped and the stack unwinds from
/// here. If the operation is ready by then, this returns its result all the same.
#[track_caller]
pub fn wait<O: IntoFuture>(operation: O) -> O::Output {
    door::wait(operation)
}

/// Gives every other ready task a turn.
///
/// # Panics
///
/// Outside of a task.
///
/// # Cancellation
///
/// If the task is cancelled, or a [`timeout`] around this has passed, the stack unwinds from here.
#[inline(always)] // See `coroutine::suspend_base`.
#[track_caller]
pub fn yield_now() {
    door::yield_now();
}

/// Waits for a time to pass: `wait(time::sleeping(duration))`, under std's name.
///
/// # Panics
///
/// Outside of a task.
///
/// # Cancellation
///
/// Nothing is lost.
#[track_caller]
pub fn sleep(duration: Duration) {
    if duration.is_zero() { yield_now() } else { wait(time::sleeping(duration)) } // Zero: one turn, whatever the budget.
}

/// The verbs and traits of this era: `use wouldblock::green::prelude::*`.
pub mod prelude {
    pub use super::{spawn, wait, yield_now};
    pub use std::io::{BufRead, Read, Write};
}
