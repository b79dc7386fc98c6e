//! A time limit that fails instead of unwinding: `green::deadline`.
//!
//! A task keeps the one in force in its extras, and a thread keeps one for its code outside of any task. A socket looks
//! at it in two places: where a call begins ([`begin`]), and where it would wait.

use std::cell::Cell;
use std::io;
use std::task::Context;
use std::time::Duration;

use crate::kernel::edge::entered::now;
use crate::kernel::edge::extras::Deadline;
use crate::kernel::edge::open_guard::LimitGuard;
use crate::kernel::here::{in_task, with_local};
use crate::kernel::wait::{self, BUDGET, Wait};

thread_local! {
    static OUTSIDE: Cell<Option<Deadline>> = const { Cell::new(None) };
    /// How many deadlines have begun on this thread and not ended: mostly none, so that socket calls look no further.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// How many calls are tried after the time has passed. Without a bound, code that reads from a peer which always sends,
/// and so never waits, would never fail.
const MOST_LATE: u32 = BUDGET;

/// Puts `deadline` in the place of the one in force, which is returned.
fn replace(deadline: Option<Deadline>) -> Option<Deadline> {
    let of_task = with_local(|local| match deadline {
        Some(_) => local.extras.with(|extras| std::mem::replace(&mut extras.deadline, deadline)),
        None => local.extras.if_any(|extras| extras.deadline.take()),
    });
    of_task.unwrap_or_else(|| OUTSIDE.replace(deadline))
}

/// Calls `f` with the one in force, if there is one.
#[inline]
fn in_force<R>(f: impl FnOnce(&mut Deadline) -> R) -> Option<R> {
    if OPEN.get() == 0 { None } else { find(f) }
}

#[cold]
fn find<R>(f: impl FnOnce(&mut Deadline) -> R) -> Option<R> {
    if in_task() {
        return with_local(|local| local.extras.if_any(|extras| extras.deadline.as_mut().map(f)))?;
    }
    let mut deadline = OUTSIDE.get();
    let result = deadline.as_mut().map(f);
    OUTSIDE.set(deadline);
    result
}

/// How long it is until the one in force, and the limit that was set.
#[inline]
pub(crate) fn left() -> Option<(Duration, Duration)> {
    in_force(|deadline| (deadline.at.saturating_duration_since(now()), deadline.limit))
}

/// What a call fails with when the time has passed.
pub(crate) fn too_late(limit: Duration) -> io::Error {
    let text = format!("timed out after {limit:?}, which `green::deadline` has set");
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// Called as a socket call begins. Returns `true` if the time has passed: the call is tried, and must not wait.
///
/// # Errors
///
/// The time has passed, and [`MOST_LATE`] calls have begun since.
#[inline]
pub(crate) fn begin() -> io::Result<bool> {
    let begun = in_force(|deadline| {
        if now() < deadline.at {
            return Ok(false);
        }
        deadline.late = deadline.late.saturating_add(1);
        if deadline.late > MOST_LATE { Err(too_late(deadline.limit)) } else { Ok(true) }
    });
    begun.unwrap_or(Ok(false))
}

/// Called where a call would wait.
///
/// # Errors
///
/// The time has passed.
#[inline]
pub(crate) fn check() -> io::Result<()> {
    match left() {
        Some((Duration::ZERO, limit)) => Err(too_late(limit)),
        _ => Ok(()),
    }
}

/// As [`check`], for an operation that returns `Pending`: it is polled again when the time has passed.
///
/// # Errors
///
/// The time has passed.
pub(crate) fn pending(cx: &Context<'_>) -> io::Result<()> {
    check()?;
    if let Some(at) = in_force(|deadline| deadline.at) {
        wait::record(cx, Wait::until(at));
    }
    Ok(())
}

/// Puts back what was in force, however the code inside ends.
struct Restore(Option<Deadline>);

impl Drop for Restore {
    fn drop(&mut self) {
        replace(self.0);
    }
}

/// Counts a deadline as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Counted {
        OPEN.set(OPEN.get() + 1);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.set(OPEN.get() - 1);
    }
}

/// Calls `f` with none in force.
pub(crate) fn without<T>(f: impl FnOnce() -> T) -> T {
    let _restore = Restore(replace(None));
    f()
}

/// Sets a time limit for the socket calls that `body` makes: when it has passed, they fail as
/// [`TimedOut`](io::ErrorKind::TimedOut), and nothing unwinds.
///
/// [`green::timeout`](crate::green::timeout) unwinds the stack, with the buffers on it, and bytes that a reader keeps
/// in a local variable are lost. This gives the reader an error instead, after which most readers can go on:
/// [`BufReader`](io::BufReader) keeps what it has read, and so does the vector that `read_until` appends to. (`read_line`
/// drops its half line if that ends in the middle of a character of several bytes: see
/// [silent peers and half lines](crate::net#silent-peers-and-half-lines). Go's `SetDeadline`, for all sockets that a piece
/// of code uses.)
///
/// ```
/// use std::io::{BufRead, BufReader, ErrorKind, Write};
/// use std::time::Duration;
/// use wouldblock::{green, net::unix::UnixStream};
///
/// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
/// let (ours, mut theirs) = UnixStream::pair()?;
/// let (mut reader, mut line) = (BufReader::new(ours), Vec::new());
/// theirs.write_all(b"hel")?;
/// let late = green::deadline(Duration::from_millis(5), || reader.read_until(b'\n', &mut line));
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
/// theirs.write_all(b"lo\n")?;
/// reader.read_until(b'\n', &mut line)?; // it goes on where it was
/// assert_eq!(line, b"hello\n");
/// # Ok(()) }) }
/// ```
///
/// # Which calls fail
///
/// Calls on the sockets of this crate (TCP, UDP, Unix), and code that is built on these, such as ureq; and in the same way
/// those on its pipes, other descriptors, child processes and signals:
///
/// * The green calls: read, write, peek, receive, send, accept, connect, and the look-up of a name.
/// * [`green::wait`](crate::green::wait) for an operation of a socket, such as
///   [`readable`](crate::net::TcpStream::readable).
///
/// A call that is waiting when the time passes is tried once more, so that what has come by then is taken. A call that
/// begins later, or under a `limit` of zero, is tried once and does not wait. After 128 late calls, all further calls
/// fail without being tried: so code ends that reads from a peer which never stops sending.
///
/// Of several limits, the one that ends first counts: those of deadlines inside one another, and the socket's own
/// (`set_read_timeout`, `set_write_timeout`).
///
/// The deadline holds for this task, and not for tasks that `body` spawns; also for the code of generators and futures
/// that `body` resumes and polls. It ends with `body`. [`green::finally`](crate::green::finally) holds it off in its
/// cleanup.
///
/// Other waits are not affected: locks, channels, [`join`](crate::JoinHandle::join), [`sleep`](crate::green::sleep),
/// files, [`offload`](crate::offload()). [`op::timeout`](crate::op::timeout) limits one of them, and `green::timeout`
/// all of them, where nothing is lost by unwinding. Calls that begin with `try_` never wait, and have no deadline. An
/// executor inside of the task that polls with wakers of its own (`FuturesUnordered`) is not woken when the time
/// passes.
///
/// In the other eras, an operation gets a limit: `y.wait(timeout(limit, op))`, `timeout(limit, op).await`. Such an
/// operation is dropped when the time passes, with the loss that its documentation names under "Cancellation".
///
/// # Errors
///
/// None of its own: `body` gets the errors of its calls, with the text "timed out after 5ms, which `green::deadline`
/// has set".
///
/// # Panics
///
/// With the panic of `body`. A [`Generator`](crate::generator::Generator) that yields inside of `body` panics, since
/// the deadline would stay in force for the code that has resumed it.
///
/// # Blocking
///
/// Outside of a task, where socket calls block the thread, they fail too; except for the look-up of a name and the
/// connecting of a Unix socket, which block until they are done.
///
/// # Cancellation
///
/// A cancellation, or a `green::timeout` around this, unwinds `body`.
pub fn deadline<T>(limit: Duration, body: impl FnOnce() -> T) -> T {
    let _opened = LimitGuard::new("`green::deadline`; use `y.wait(timeout(..))`");
    let at = now().checked_add(limit);
    let new = at.map(|at| Deadline { at, limit, late: 0 });
    let Some(new) = new.filter(|new| in_force(|around| around.at <= new.at) != Some(true)) else {
        return body(); // It would end after the one in force, or never.
    };
    let _restore = Restore(replace(Some(new)));
    let _open = Counted::new();
    body()
}
