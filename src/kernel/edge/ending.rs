//! How tasks are cancelled, and how a run ends: what is left is cancelled, the newest task first.

use super::foreign::aside;
use super::observe::{Actor, EventKind, Outcome};
use super::warn;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{State, Task};

impl Scheduler {
    /// A task of this scheduler is to stop where it waits, when it is next woken. Returns `false` if it was to stop
    /// already, or is done.
    pub(crate) fn mark_cancelled(&self, task: &Task) -> bool {
        // SAFETY: as in `wake`.
        let local = unsafe { task.local() };
        local.state.get() != State::Done && !local.cancelled.replace(true)
    }

    /// Emits the event of a task that [`mark_cancelled`](Scheduler::mark_cancelled) has cancelled.
    pub(crate) fn observe_cancelled(&self, task: &Task) {
        self.observe(task, || EventKind::Cancelled(self.observers.cause(&self.home)));
    }

    /// The task whose turn it is has come to an end without a value.
    pub(crate) fn set_outcome(&self, outcome: Outcome) {
        let counters = &self.counters;
        let count =
            if outcome == Outcome::Cancelled { &counters.cancelled } else { &counters.panicked };
        count.set(count.get() + 1);
        self.outcome.set(outcome);
    }

    /// To be called before each turn. If the operating system refuses events, the run cannot go on, and all its tasks are
    /// cancelled. Their cleanup goes on meanwhile, with sockets tried again and again.
    #[inline]
    pub(crate) fn check_events(&self) {
        if self.end.refused.get().is_some() && !self.end.without_events.get() {
            self.end_without_events();
        }
    }

    #[cold]
    fn end_without_events(&self) {
        self.end.without_events.set(true);
        let refused = self.refusal().unwrap_or_default();
        warn::error(format_args!("{refused}; all tasks of the run are cancelled"));
        self.observers.on_behalf_of(Actor::End, || {
            for task in self.tasks.borrow().by_age() {
                if self.mark_cancelled(&task) {
                    self.observe_cancelled(&task);
                    self.wake(task);
                }
            }
        });
    }

    /// Why the operating system gives no events any more.
    pub(crate) fn refusal(&self) -> Option<String> {
        let text =
            |e| format!("the system refuses to say which sockets are ready (epoll_wait): {e}");
        self.end.refused.get().map(text)
    }

    /// Refuses new tasks and cancels all that are left, the newest first; returns when each is done, or its
    /// cleanup waits.
    pub(crate) fn cancel_all(&self) {
        self.end.closing.set(true);
        let left = self.tasks.borrow().by_age();
        // All are cancelled before any runs. Observers are called after that, since they may wake tasks.
        self.clear_queue();
        let cancelled: Vec<_> = left.iter().filter(|task| self.mark_cancelled(task)).collect();
        self.observers.on_behalf_of(Actor::End, || {
            cancelled.iter().for_each(|task| self.observe_cancelled(task));
        });
        // Then each is woken when the one before is gone, or its cleanup waits.
        for task in left.iter().rev() {
            // SAFETY: tasks in the table were spawned on this thread.
            let state = unsafe { &task.local().state };
            self.observers.on_behalf_of(Actor::End, || self.wake(task.clone()));
            self.run_until(|| matches!(state.get(), State::Done | State::Waiting | State::Left));
        }
    }

    /// Takes all tasks out of the run queue; none of them is ready then.
    pub(crate) fn clear_queue(&self) {
        while let Some(task) = self.queue.pop() {
            // SAFETY: tasks in this queue were spawned on this thread.
            unsafe { task.local() }.state.set(State::Waiting);
        }
    }

    /// Whether no task is left but those that will never end.
    pub(crate) fn is_cleaned_up(&self) -> bool {
        self.tasks.borrow().len() == self.end.left.get()
    }

    /// Refuses wakes and orders from other threads from now on: nothing will run here any more.
    pub(crate) fn close(&self) {
        for task in self.home.inbox.close() {
            task.notified.clear();
        }
        for order in self.home.orders.close() {
            aside(format_args!("an order of another thread, or its destructor,"), || order(false));
        }
    }
}
