//! Sleeping, time limits, and the time as tasks see it.
//!
//! Times are rounded up to whole milliseconds: no task is woken early.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::kernel::edge::entered;
use crate::kernel::edge::registration::Registration;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::wait::{self, Wait};

/// The time by the clock of this run, which may be [virtual](crate::Builder::virtual_clock); outside of a
/// run, the machine's.
pub fn now() -> Instant {
    entered::now()
}

/// An operation that is ready when `duration` has passed since this call. `Duration::ZERO` gives each other ready
/// task a turn, as in gevent and asyncio.
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{future, generator, green, time};
///
/// let ms = Duration::from_millis;
/// wouldblock::run(move || {
///     green::wait(time::sleep(ms(1)));                                  // or green::sleep(ms(1))
///     generator::spawn(move |y| y.wait(time::sleep(ms(1)))).join().unwrap();
///     future::spawn(async move { time::sleep(ms(1)).await }).join().unwrap();
/// });
/// ```
///
/// # Cancellation
///
/// Nothing is lost.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    Sleep { gives_turn: duration.is_zero(), ..until(duration) }
}

/// `duration` from now.
#[track_caller]
fn until(duration: Duration) -> Sleep {
    Sleep::until(now().checked_add(duration))
}

/// An operation that is ready at `deadline`, by the clock of [`now`].
///
/// # Cancellation
///
/// Nothing is lost.
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::until(Some(deadline))
}

/// See [`sleep`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Sleep {
    /// `None`: so far in the future that the clock cannot represent it.
    deadline: Option<Instant>,
    /// It gives a turn first.
    gives_turn: bool,
    registration: Registration,
    /// Where it was made.
    site: &'static Location<'static>,
}

impl Sleep {
    #[track_caller]
    fn until(deadline: Option<Instant>) -> Sleep {
        let registration = Registration::None;
        Sleep { deadline, gives_turn: false, registration, site: Location::caller() }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.gives_turn) {
            return wait::another_turn(cx);
        }
        let Some(deadline) = self.deadline else { return Poll::Pending };
        wait::poll_within_budget(cx, |cx| {
            if now() >= deadline {
                return Poll::Ready(());
            }
            let wait = Wait::until(deadline);
            if !wait::record(cx, wait) {
                assert!(
                    Scheduler::with(|here| here.is_some()),
                    "a sleep or time limit, made at {}, is polled on a thread without a scheduler, which would wake \
                     it: wait for it in a task, inside `wouldblock::run(|| ..)`",
                    self.site
                );
                self.registration.renew(cx, wait);
            }
            Poll::Pending
        })
    }
}

/// `operation` with a time limit of `duration` from this call.
///
/// For a limit on a whole piece of straight-line code, see [`green::timeout`](crate::green::timeout).
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{green, time::{sleep, timeout}};
///
/// wouldblock::run(|| {
///     let slow = green::wait(timeout(Duration::from_millis(1), sleep(Duration::from_secs(60))));
///     assert_eq!(slow.unwrap_err().to_string(), "timed out after 1ms");
/// });
/// ```
///
/// # Errors
///
/// [`Elapsed`], if the time passes first. An operation that is ready by then wins.
///
/// # Cancellation
///
/// When the time passes, `operation` is dropped: what is lost is what it says under this heading.
#[track_caller]
pub fn timeout<O: IntoFuture>(duration: Duration, operation: O) -> Timeout<O::IntoFuture> {
    Timeout { operation: operation.into_future(), limit: until(duration), duration }
}

/// See [`timeout`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Timeout<F> {
    operation: F,
    limit: Sleep,
    duration: Duration,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `operation` is not moved out of its place, here or anywhere else; `limit` is `Unpin`.
        let (mut operation, limit, duration) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.operation), Pin::new(&mut this.limit), this.duration)
        };
        wait::poll_within_budget(cx, |cx| {
            if let Poll::Ready(value) = operation.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            ready!(limit.poll(cx));
            // It may be pending only since the budget of this turn is used up: the last look is with some of it left.
            if wait::is_spent() {
                return wait::budget_is_spent(cx);
            }
            Poll::Ready(match operation.poll(cx) {
                Poll::Ready(value) => Ok(value),
                Poll::Pending => Err(Elapsed::new(duration)),
            })
        })
    }
}

/// The time has passed.
///
/// It converts into a [`std::io::Error`] of the kind `TimedOut`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    limit: Duration,
}

impl Elapsed {
    pub(crate) fn new(limit: Duration) -> Elapsed {
        Elapsed { limit }
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {:?}", self.limit)
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}
