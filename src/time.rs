//! Sleeping, and the time as tasks see it. (A time limit on an operation is [`op::timeout`](crate::op::timeout).)
//!
//! Times are rounded up to whole milliseconds: no task is woken early.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::kernel::door;
use crate::kernel::edge::entered;
use crate::kernel::edge::registration::Registration;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::wait::{self, Wait, this_turn};

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
///     green::wait(time::sleeping(ms(1)));                                  // or green::sleep(ms(1))
///     generator::spawn(move |y| y.wait(time::sleeping(ms(1)))).join().unwrap();
///     future::spawn(async move { time::sleeping(ms(1)).await }).join().unwrap();
/// });
/// ```
///
/// # Cancellation
///
/// Nothing is lost.
#[track_caller]
pub fn sleeping(duration: Duration) -> Sleeping {
    let first = match duration.is_zero() {
        true => First::Turn,
        false => First::WaitIn(this_turn().number.get()),
    };
    Sleeping { first, ..until(duration) }
}

/// `duration` from now.
#[track_caller]
pub(crate) fn until(duration: Duration) -> Sleeping {
    Sleeping::until(now().checked_add(duration))
}

/// An operation that is ready at `deadline`, by the clock of [`now`].
///
/// # Cancellation
///
/// Nothing is lost.
#[track_caller]
pub fn sleeping_until(deadline: Instant) -> Sleeping {
    Sleeping::until(Some(deadline))
}

/// See [`sleeping`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Sleeping {
    /// `None`: so far in the future that the clock cannot represent it.
    deadline: Option<Instant>,
    first: First,
    registration: Registration,
    /// Where it was made.
    site: &'static Location<'static>,
}

/// What the next poll of a [`Sleeping`] begins with.
#[derive(Debug)]
enum First {
    /// It gives a turn, whatever the time is.
    Turn,
    /// In the turn with this number, in which it was made, it waits, which saves a reading of the clock: its time has begun a
    /// moment ago. (If the turn takes longer than the sleep, the scheduler wakes the task when it next looks at the clock.)
    WaitIn(u32),
    /// It looks whether the time has passed.
    Look,
}

impl Sleeping {
    #[inline]
    #[track_caller]
    fn until(deadline: Option<Instant>) -> Sleeping {
        let registration = Registration::default();
        Sleeping { deadline, first: First::Look, registration, site: Location::caller() }
    }
}

impl Future for Sleeping {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let First::Turn = self.first {
            self.first = First::Look;
            return wait::another_turn(cx);
        }
        // (Nothing is recorded for one that never ends: what the task waits for besides is what a report should show.)
        let Some(deadline) = self.deadline else { return Poll::Pending };
        wait::poll_within_budget(cx, |cx| {
            let first = std::mem::replace(&mut self.first, First::Look);
            let just_made =
                matches!(first, First::WaitIn(turn) if turn == this_turn().number.get());
            if !just_made && entered::has_passed(deadline) {
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

/// Ticks: one each `period`, the first one period from now.
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{Builder, time};
///
/// Builder::new().virtual_clock().run(|| {
///     let start = time::now();
///     let mut ticks = time::interval(Duration::from_secs(60));
///     for n in 1..=3 {
///         assert_eq!(ticks.tick(), start + n * Duration::from_secs(60));
///     }
/// });
/// ```
///
/// Work between two ticks does not shift the later ones. Where it takes longer than a period, the ticks that have
/// passed meanwhile come as one. (Go's `Ticker`.)
///
/// # Panics
///
/// A period of zero.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval of zero: to give the others a turn, use `yield_now`");
    Interval { period, next: now().checked_add(period) }
}

/// See [`interval`].
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    period: Duration,
    /// `None`: so far in the future that the clock cannot represent it.
    next: Option<Instant>,
}

impl Interval {
    /// Waits for the next tick, and returns the time at which it was due.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the next wait is for the same tick.
    #[track_caller]
    pub fn tick(&mut self) -> Instant {
        door::wait(self.ticking())
    }

    /// [`tick`](Interval::tick) as an operation: `y.wait(..)` or `.await` it.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the next wait is for the same tick.
    pub async fn ticking(&mut self) -> Instant {
        Sleeping::until(self.next).await;
        let due = self.next.expect("a sleep without an end does not end");
        let missed = now().saturating_duration_since(due).as_nanos() / self.period.as_nanos();
        let periods = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
        self.next = self.period.checked_mul(periods).and_then(|later| due.checked_add(later));
        due
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
