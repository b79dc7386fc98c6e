//! What bounds a piece of green code: a time limit that unwinds it, and cleanup that may wait after it.

use std::cell::Cell;
use std::time::Duration;

use crate::deadline;
use crate::kernel::cancel::{self, Limit};
use crate::kernel::edge::entered::now;
use crate::kernel::edge::unwinding;
use crate::kernel::here::in_task;
use crate::run::may_wait::within_budget;
use crate::time::Elapsed;

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
/// What `body` has done so far is lost, but for what its destructors keep. Around a buffered read, that may be bytes
/// that the reader has taken from the connection and keeps on its stack: the next read then begins in the middle,
/// without an error. std's `read_line`, `read_until`, `read_to_string`, `read_exact`, `lines` and `write_all` lose such
/// bytes, and so does code that reads a message in several steps (tungstenite's `read`, many clients of databases). A
/// single `read` loses none. Around such code, use [`green::deadline`](crate::green::deadline), with which the read
/// fails instead, or close the connection when the time has passed.
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
/// cancellation and time limits held off, and lets the unwinding go on. (Python's `finally`, in trio's
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
/// With whatever `body` or `cleanup` panics with; if both panic, with the panic of `cleanup`.
///
/// # Cancellation
///
/// `cleanup` is not cancelled, and no time limit around this ends it. Keep it short, or put a time limit inside of it.
pub fn finally<T>(body: impl FnOnce() -> T, cleanup: impl FnOnce()) -> T {
    let result = unwinding::catch(body);
    cancel::shield(|| deadline::without(cleanup));
    result.unwrap_or_else(|payload| unwinding::unwind_with(payload))
}
