//! The green era: stackful coroutines, in plain straight-line code.
//!
//! gevent's answer, and Stackless Python's and Lua's before it: give each task a stack of its own, and it can wait
//! anywhere, at any depth, in functions that know nothing of it. The yield is invisible in the code.
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
/// It is put at the end of the queue and begins when its turn comes.
///
/// # Panics
///
/// Outside of a run, and when the run is ending; but in a destructor, while a stack is being unwound then, the
/// task is cancelled before it begins, and a warning says so.
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
/// Suspends the task. This is what stands in place of the `block_on` of another executor (`futures`, `pollster`,
/// tokio), which blocks the *thread*: no other task runs meanwhile, no timer ends, and no socket is looked at. Where
/// the future waits for one of these, it waits for ever, and only the [watchdog](crate::Builder::watchdog) has a word
/// on it. Code that cannot be changed to call `wait`, such as that of a library, belongs in
/// [`offload`](crate::offload()), whose thread it may block; a future of this crate that waits for a time or a socket
/// panics there, since that thread has no scheduler.
///
/// # Panics
///
/// Outside of a task.
///
/// # Cancellation
///
/// If the task is cancelled, or a [`timeout`] around this passes, the operation is dropped and the stack
/// unwinds from here. An operation that is ready by then is returned all the same.
#[track_caller]
pub fn wait<O: IntoFuture>(operation: O) -> O::Output {
    door::wait(operation)
}

/// Gives each other ready task a turn.
///
/// # Panics
///
/// Outside of a task.
///
/// # Cancellation
///
/// If the task is cancelled, or a [`timeout`] around this has passed, the stack unwinds from here.
#[inline(always)] // A function less to return from after the switch: see `kernel/coroutine.rs`.
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
    if duration.is_zero() { yield_now() } else { wait(time::sleeping(duration)) } // One turn, whatever the budget.
}

/// The traits of this era: `use wouldblock::green::prelude::*`.
pub mod prelude {
    pub use super::{spawn, wait, yield_now};
    pub use std::io::{BufRead, Read, Write};
}
