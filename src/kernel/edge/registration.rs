//! How an operation waits if its waker is not the running task's own, as inside of some combinators: the operation registers
//! the waker itself, and removes it when the operation is dropped.

use std::task::Context;

use super::line::Ticket;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Waiter;
use crate::kernel::timers::TimerKey;
use crate::kernel::wait::{Wait, WaitFor};

const ELSEWHERE: &str = "an operation that waits for a socket or a time is polled on a thread without a scheduler, which \
    would wake it: wait for it in a task, inside `wouldblock::run(|| ..)`";

/// A waker that an operation which could not record its wait has left with a timer, in a socket's line, or both. Dropping
/// this takes it back.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    /// The number of the run where it is left.
    run: u32,
    timer: Option<TimerKey>,
    /// What it waits for, and its place in the line for that.
    place: Option<(WaitFor, Ticket)>,
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
            if wait.what == WaitFor::Turn {
                return cx.waker().wake_by_ref();
            }
            self.place = scheduler.stand(wait.what, waiter).map(|ticket| (wait.what, ticket));
        });
    }

    #[inline]
    fn cancel(&mut self) {
        if self.timer.is_some() || self.place.is_some() {
            self.take_back();
        }
    }

    #[cold]
    fn take_back(&mut self) {
        let (timer, place) = (self.timer.take(), self.place.take());
        // From a thread that has not entered the run, it cannot be removed: it stays, and causes one spurious wake.
        let removed = Scheduler::entered(
            |home| home.run == self.run,
            |s| {
                let leave = |(what, ticket)| s.leave(what, ticket);
                (timer.map(|key| s.timers.borrow_mut().remove(key)), place.map(leave))
            },
        );
        drop(removed); // Only now, when nothing is borrowed any more: its destructor may be user code.
    }
}

impl Drop for Registration {
    #[inline]
    fn drop(&mut self) {
        self.cancel();
    }
}
