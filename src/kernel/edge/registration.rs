//! How an operation waits if its waker is not the running task's own, as inside of some combinators: the operation registers
//! the waker itself, and removes it when the operation is dropped.

use std::mem::{self, ManuallyDrop};
use std::task::{Context, Waker};

use super::line::Ticket;
use crate::kernel::reactor::Direction;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Waiter;
use crate::kernel::timers::TimerKey;
use crate::kernel::wait::{SourceId, Wait, WaitFor};

const ELSEWHERE: &str = "an operation that waits for a socket or a time is polled on a thread without a scheduler, which \
    would wake it: wait for it in a task, inside `wouldblock::run(|| ..)`";

/// The place of a waker that an operation has registered. Dropping this removes the waker.
#[derive(Debug, Default)]
pub(crate) enum Registration {
    #[default]
    None,
    /// A timer in the run with this number.
    Timer(u32, TimerKey),
    /// A place in a socket's line, in the run with this number.
    Place(u32, SourceId, Direction, Ticket),
}

impl Registration {
    /// Registers `cx.waker()` for what `wait` says, in place of what was registered before.
    ///
    /// # Panics
    ///
    /// On a thread without a scheduler.
    pub(crate) fn renew(&mut self, cx: &Context<'_>, wait: Wait) {
        self.cancel();
        let waker = cx.waker().clone();
        Scheduler::with(|scheduler| {
            let scheduler = scheduler.expect(ELSEWHERE);
            match wait.what {
                WaitFor::Turn => waker.wake(),
                WaitFor::Readable(id) => self.stand(scheduler, id, Direction::Read, waker),
                WaitFor::Writable(id) => self.stand(scheduler, id, Direction::Write, waker),
                _ => {
                    let tick = wait.deadline.and_then(|end| scheduler.clock.tick_after(end));
                    let Some(tick) = tick else { return };
                    let key = scheduler.timers.borrow_mut().insert(tick, Waiter::waker(waker));
                    *self = Registration::Timer(scheduler.home.run, key);
                }
            }
        });
    }

    fn stand(&mut self, scheduler: &Scheduler, id: SourceId, direction: Direction, waker: Waker) {
        let stood = scheduler.reactor.borrow_mut().stand(id, direction, Waiter::waker(waker));
        match stood {
            Ok(ticket) => *self = Registration::Place(scheduler.home.run, id, direction, ticket),
            Err(waiter) => scheduler.wake_waiter(waiter),
        }
    }

    fn cancel(&mut self) {
        let old = ManuallyDrop::new(mem::take(self));
        // On a thread that has not entered the run, the registration stays there, and causes a spurious wake.
        let waiter = match *old {
            Registration::Timer(run, key) => {
                Scheduler::of_run(run, |s| s.timers.borrow_mut().remove(key))
            }
            Registration::Place(run, id, direction, ticket) => {
                Scheduler::of_run(run, |s| s.reactor.borrow_mut().leave(id, direction, ticket))
            }
            Registration::None => None,
        };
        drop(waiter); // Only now, when nothing is borrowed any more: its destructor may be user code.
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !matches!(self, Registration::None) {
            self.cancel();
        }
    }
}
