//! The green era: stackful coroutines, in plain straight-line code.
//!
//! gevent's answer, and Stackless Python's and Lua's before it: give each task a stack of its own, and it
//! can wait anywhere, at any depth, in functions that know nothing of it. Nobody sees the yield.
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

use std::cell::Cell;
use std::future::IntoFuture;
use std::mem::replace;
use std::time::Duration;

use crate::deadline;
use crate::kernel::cancel::{self, Limit};
use crate::kernel::coroutine::{Fiber, Switch};
use crate::kernel::door;
use crate::kernel::edge::entered::now;
use crate::kernel::edge::observe::Era;
use crate::kernel::edge::unwinding;
use crate::kernel::here::in_task;
use crate::kernel::task::Body;
use crate::run::join::{JoinHandle, Promise};
use crate::run::may_wait::within_budget;
use crate::run::spawn::{fiber, launch};
use crate::task;
use crate::time::{self, Elapsed};

#[doc(inline)]
pub use crate::deadline::deadline;
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
        launch(self.setup(Era::Green), |promise| Greenlet::New(promise, body))
    }
}

/// Whatever is on the stack, the task knows nothing of it: it resumes it.
pub(crate) enum Greenlet<T, F> {
    New(Promise<T>, F),
    Started,
    Running(Fiber),
}

impl<T: 'static, F: FnOnce() -> T + 'static> Body for Greenlet<T, F> {
    fn turn(&mut self) -> Switch {
        match self {
            Greenlet::Running(fiber) => fiber.resume(),
            _ => self.start(),
        }
    }
}

impl<T: 'static, F: FnOnce() -> T + 'static> Greenlet<T, F> {
    #[cold]
    fn start(&mut self) -> Switch {
        let Greenlet::New(promise, _) = self else { unreachable!("a greenlet starts once") };
        // Without a stack, `body` is dropped with this.
        let Some(mut fiber) = fiber(promise) else { return Switch::Finished };
        let Greenlet::New(promise, body) = replace(self, Greenlet::Started) else { unreachable!() };
        let switch = fiber.start(move || {
            promise.begin(body);
        });
        *self = Greenlet::Running(fiber);
        switch
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
/// tokio), which blocks the *thread*: no other task runs meanwhile, no timer ends, and no socket is looked at. Where the
/// future waits for one of these, it waits for ever, and only the [watchdog](crate::Builder::watchdog) has a word on it.
/// Code that cannot be changed to call `wait`, such as that of a library, belongs into
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

/// Sets a time limit for all that `body` does: when it passes, the stack is unwound from wherever `body`
/// waits, back to here.
///
/// Limits nest; each one unwinds to its own `timeout`. Code that never waits is not stopped: a limit is
/// noticed at the next wait. (gevent's `Timeout`, trio's `fail_after`.)
///
/// ```
/// use std::time::Duration;
/// use wouldblock::green;
///
/// wouldblock::run(|| {
///     let slow = green::timeout(Duration::from_millis(5), || green::sleep(Duration::from_secs(60)));
///     assert!(slow.is_err());
///     assert_eq!(green::timeout(Duration::from_secs(60), || 7), Ok(7));
/// });
/// ```
///
/// # Errors
///
/// [`Elapsed`], if the time passed first.
///
/// # Panics
///
/// Outside of a task; and with whatever `body` panics with.
///
/// # Cancellation
///
/// What `body` had done so far is lost but for what its destructors keep. Around a buffered read, these may be bytes that
/// the reader has taken from the connection and keeps on its stack; the next read then begins in the middle, without
/// an error. std's `read_line`, `read_until`, `read_to_string`, `read_exact`, `lines` and `write_all` lose such bytes, and
/// so does code that reads a message in several steps (tungstenite's `read`, many clients of databases). A single
/// `read` loses none. Use [`deadline`] there, which fails instead, or close the connection when the time has passed.
#[track_caller]
pub fn timeout<T>(limit: Duration, body: impl FnOnce() -> T) -> Result<T, Elapsed> {
    assert!(in_task(), "a time limit outside of any task: call it inside `wouldblock::run(|| ..)`");
    let deadline = now().checked_add(limit);
    within_budget(|| match deadline {
        Some(deadline) => {
            let what = "`green::timeout`; use `y.wait(timeout(..))`";
            let deadline = Cell::new(Some(deadline));
            Limit::hold(what, &deadline, body).ok_or_else(|| Elapsed::new(limit))
        }
        None => Ok(body()),
    })
}

/// Runs `body`, and then, whatever becomes of it, `cleanup`, which may wait.
///
/// A destructor must not wait: while a stack unwinds, nothing suspends. Where the end of a piece of work
/// has to wait (say goodbye to a server, join a helper), this catches the unwinding, runs `cleanup` with
/// cancellation and time limits held off, and lets it go on. (Python's `finally`, in trio's
/// `CancelScope(shield=True)`.)
///
/// ```
/// use std::time::Duration;
/// use wouldblock::green;
///
/// wouldblock::run(|| {
///     let task = green::spawn(|| green::finally(
///         || green::sleep(Duration::from_secs(60)),
///         || green::sleep(Duration::from_millis(1)), // a polite goodbye
///     ));
///     green::yield_now();
///     task.cancel();
///     assert!(task.join().unwrap_err().is_cancelled());
/// });
/// ```
///
/// # Panics
///
/// With whatever `body` or `cleanup` panics with; with that of `cleanup` if both do.
///
/// # Cancellation
///
/// `cleanup` is not cancelled: put a time limit inside of `body`, not around this, and keep it short.
pub fn finally<T>(body: impl FnOnce() -> T, cleanup: impl FnOnce()) -> T {
    let result = unwinding::catch(body);
    cancel::shield(|| deadline::without(cleanup));
    result.unwrap_or_else(|payload| unwinding::unwind_with(payload))
}

/// The traits of this era: `use wouldblock::green::prelude::*`.
pub mod prelude {
    pub use super::{spawn, wait, yield_now};
    pub use std::io::{BufRead, Read, Write};
}
