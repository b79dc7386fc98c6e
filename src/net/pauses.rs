//! Pauses between tries at something that no event announces: room in another socket's queue, a free descriptor, the
//! end of a child process.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use super::turn::can_suspend;
use crate::deadline;
use crate::kernel::door;
use crate::time::{Sleeping, sleeping};

/// Pauses of 1 ms, 2, 4, .. and then 100 ms each. So what comes soon is met soon, what comes later is met a tenth of a
/// second late at most, and the tries cost next to nothing.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    under_way: Option<Sleeping>,
}

impl Pauses {
    const FIRST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(100);

    pub(crate) fn new() -> Pauses {
        Pauses { next: Pauses::FIRST, under_way: None }
    }

    /// Whether there has been none.
    pub(super) fn is_unused(&self) -> bool {
        self.next == Pauses::FIRST
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (2 * pause).min(Pauses::LONGEST);
        pause
    }

    /// Begins the next pause: [`poll_over`](Pauses::poll_over) waits for its end.
    ///
    /// # Errors
    ///
    /// The deadline in force has passed.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.under_way = Some(pausing(self.next())?);
        Ok(())
    }

    /// Ready if no pause is under way.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.under_way {
            ready!(Pin::new(pause).poll(cx));
            self.under_way = None;
        }
        Poll::Ready(())
    }
}

/// Suspends the task until the pause is over; where no task can be suspended, blocks the thread.
///
/// # Errors
///
/// The deadline in force has passed.
#[track_caller]
pub(super) fn pause(duration: Duration) -> io::Result<()> {
    let duration = until_deadline(duration)?;
    match can_suspend() {
        true => door::wait(sleeping(duration)),
        false => thread::sleep(duration),
    }
    Ok(())
}

/// The operation of pausing, until the deadline in force at the latest.
///
/// # Errors
///
/// The deadline has passed.
pub(crate) fn pausing(duration: Duration) -> io::Result<Sleeping> {
    Ok(sleeping(until_deadline(duration)?))
}

fn until_deadline(pause: Duration) -> io::Result<Duration> {
    deadline::check()?;
    Ok(deadline::left().map_or(pause, |(left, _)| pause.min(left)))
}
