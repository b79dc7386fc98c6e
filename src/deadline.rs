//! A time limit that fails instead of unwinding: `green::deadline`.
//!
//! A task keeps the nearest one in its extras; code outside of any task has one of its thread's. Sockets ask for it
//! where they would wait.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use crate::kernel::door;
use crate::kernel::edge::entered::now;
use crate::kernel::edge::extras::Deadline;
use crate::kernel::edge::opened::OpenedLimit;
use crate::kernel::here::with_local;
use crate::time::{Elapsed, timeout};

thread_local! {
    static OUTSIDE: Cell<Option<Deadline>> = const { Cell::new(None) };
    /// How many bodies of `green::deadline` have begun on this thread and not ended: mostly none, so that socket calls
    /// look no further.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// Puts `deadline` in the place of the one in force, which is returned.
fn replace(deadline: Option<Deadline>) -> Option<Deadline> {
    let of_task = with_local(|local| match deadline {
        Some(_) => local.extras.with(|extras| std::mem::replace(&mut extras.deadline, deadline)),
        None => local.extras.if_any(|extras| extras.deadline.take()),
    });
    of_task.unwrap_or_else(|| OUTSIDE.replace(deadline))
}

/// The one in force: when socket calls fail, and the limit that was set.
#[inline]
pub(crate) fn current() -> Option<Deadline> {
    if OPEN.get() == 0 { None } else { nearest() }
}

#[cold]
fn nearest() -> Option<Deadline> {
    with_local(|local| local.extras.if_any(|extras| extras.deadline))
        .unwrap_or_else(|| OUTSIDE.get())
}

/// How long it is until then, and the limit that was set.
#[inline]
pub(crate) fn left() -> Option<(Duration, Duration)> {
    current().map(|(at, limit)| (at.saturating_duration_since(now()), limit))
}

/// # Errors
///
/// `TimedOut`, once the limit in force has passed.
#[inline]
pub(crate) fn check() -> io::Result<()> {
    match left() {
        Some((Duration::ZERO, limit)) => Err(Elapsed::new(limit).into()),
        _ => Ok(()),
    }
}

/// Waits for `operation`, in a task, until the limit in force has passed.
pub(crate) fn wait<T>(operation: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match left() {
        Some((left, limit)) => {
            door::wait(timeout(left, operation)).unwrap_or_else(|_| Err(Elapsed::new(limit).into()))
        }
        None => door::wait(operation),
    }
}

/// Sets a time limit for the socket calls that `body` makes: when it has passed, they fail as
/// [`TimedOut`](io::ErrorKind::TimedOut), and nothing unwinds.
///
/// [`green::timeout`](crate::green::timeout) unwinds the stack, with the buffers on it, and a reader that keeps what
/// it has read in a local variable loses that. This gives the reader an error, after which std's and most others
/// can go on: [`BufReader`](io::BufReader) keeps what it has read, and so does the line that `read_line` appends to.
/// (Go's `SetDeadline`, for all sockets that a piece of code uses.)
///
/// ```
/// use std::io::{BufRead, BufReader, ErrorKind, Write};
/// use std::time::Duration;
/// use wouldblock::{green, net::unix::UnixStream};
///
/// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
/// let (ours, mut theirs) = UnixStream::pair()?;
/// let (mut reader, mut line) = (BufReader::new(ours), String::new());
/// theirs.write_all(b"hel")?;
/// let late = green::deadline(Duration::from_millis(5), || reader.read_line(&mut line));
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
/// theirs.write_all(b"lo\n")?;
/// reader.read_line(&mut line)?; // it goes on where it was
/// assert_eq!(line, "hello\n");
/// # Ok(()) }) }
/// ```
///
/// # What it holds for
///
/// What waits for a socket of this crate (TCP, UDP, Unix): the green calls, which read, write, peek, accept and
/// connect, with the look-up of a name; [`green::wait`](crate::green::wait) for an operation of a socket's, such as
/// [`readable`](crate::net::TcpStream::readable); and what is built on these, such as
/// ureq. A call that is waiting when the time passes is tried once more, so that what is there by then is taken; a
/// green call that is made later fails at once. Of this and the socket's own time limit (`set_read_timeout`), the
/// one that ends first counts; of limits inside one another too.
///
/// It holds for this task, and not for those that `body` spawns. It ends with `body`, however that ends, and
/// [`green::finally`](crate::green::finally) holds it off in its cleanup.
///
/// Other waits are not affected: locks, channels, [`join`](crate::JoinHandle::join), [`sleep`](crate::green::sleep),
/// files, [`offload`](crate::offload()). Of a single one, [`time::timeout`](timeout) makes an operation with a limit;
/// where nothing is lost by unwinding, `green::timeout` limits them all. `try_` calls never wait, and ignore it. An
/// executor inside of the task that polls with wakers of its own (`FuturesUnordered`) is not woken when the time passes.
///
/// In the other eras, a single operation gets a limit: `y.wait(timeout(limit, op))`, `timeout(limit, op).await`.
/// Such an operation is dropped when the time passes, and has lost what it says under "Cancellation".
///
/// # Errors
///
/// None of its own: `body` gets those of its calls, with the text "timed out after ..", and returns what it likes.
///
/// # Panics
///
/// With whatever `body` panics with; and a [`Generator`](crate::generator::Generator) panics that yields inside of
/// `body`, as the limit would go on for the code that has resumed it.
///
/// # Blocking
///
/// Outside of a task, where socket calls block the thread, the limit holds for them too; not for the look-up of a
/// name, nor for connecting a Unix socket.
///
/// # Cancellation
///
/// A cancellation, or a `green::timeout` around this, unwinds as ever.
#[track_caller]
pub fn deadline<T>(limit: Duration, body: impl FnOnce() -> T) -> T {
    /// What was in force around `body`.
    struct Restore(Option<Deadline>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OPEN.set(OPEN.get() - 1);
            replace(self.0);
        }
    }
    let new = now().checked_add(limit).map(|at| (at, limit));
    let around = current();
    let _opened = OpenedLimit::new("`green::deadline`; use `y.wait(timeout(..))`");
    let nearest = around.into_iter().chain(new).min_by_key(|(at, _)| *at);
    let _restore = Restore(replace(nearest));
    OPEN.set(OPEN.get() + 1);
    body()
}
