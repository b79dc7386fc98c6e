//! How an operation waits if its waker is not the running task's own, as inside of some combinators: the operation registers
//! the waker itself, and removes it when the operation is dropped.

use std::task::Context;

use super::line::Ticket;
use crate::kernel::reactor::Direction;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Waiter;
use crate::kernel::timers::TimerKey;
use crate::kernel::wait::{SourceId, Wait, WaitFor};

const ELSEWHERE: &str = "an operation that waits for a socket or a time is polled on a thread without a scheduler, which \
    would wake it: wait for it in a task, inside `wouldblock::run(|| ..)`";

/// A waker that an operation which could not record its wait has left with a timer, in a socket's line, or both. Dropping
/// this takes it back.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    /// The number of the run where it is left.
    run: u32,
    timer: Option<TimerKey>,
    place: Option<(SourceId, Direction, Ticket)>,
}

impl Registration {
    /// Registers `cx.waker()` for `wait`, in place of what was registered before.
    ///
    /// # Panics
    ///
    /// On a thread without a scheduler.
    pub(crate) fn renew(&mut self, cx: &Context<'_>, wait: Wait) {
        self.cancel();
        let waiter = || Waiter::waker(cx.waker().clone()); // User code: called while nothing is borrowed.
        Scheduler::with(|scheduler| {
            let scheduler = scheduler.expect(ELSEWHERE);
            self.run = scheduler.home.run;
            let tick = wait.deadline.and_then(|end| scheduler.clock.tick_after(end));
            self.timer = tick.map(|tick| {
                let waiter = waiter();
                scheduler.timers.borrow_mut().insert(tick, waiter)
            });
            let (id, direction) = match wait.what {
                WaitFor::Readable(id) => (id, Direction::Read),
                WaitFor::Writable(id) => (id, Direction::Write),
                WaitFor::Turn => return cx.waker().wake_by_ref(),
                _ => return,
            };
            let waiter = waiter();
            let stood = scheduler.reactor.borrow_mut().stand(id, direction, waiter);
            match stood {
                Ok(ticket) => self.place = Some((id, direction, ticket)),
                Err(waiter) => scheduler.wake_waiter(waiter),
            }
        });
    }

    fn cancel(&mut self) {
        let (timer, place) = (self.timer.take(), self.place.take());
        if timer.is_none() && place.is_none() {
            return;
        }
        // From a thread that has not entered the run, it cannot be removed: it stays, and causes one spurious wake.
        let removed = Scheduler::of_run(self.run, |s| {
            let leave =
                |(id, direction, ticket)| s.reactor.borrow_mut().leave(id, direction, ticket);
            (timer.map(|key| s.timers.borrow_mut().remove(key)), place.map(leave))
        });
        drop(removed); // Only now, when nothing is borrowed any more: its destructor may be user code.
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cancel();
    }
}
