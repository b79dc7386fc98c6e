//! Marking tasks cancelled, and the end of a run: the tasks that are not done are cancelled, the newest first.

use super::foreign::aside;
use super::observe::{Actor, EventKind, Outcome};
use super::warn;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{State, Task, TaskRef};

impl Scheduler {
    /// Marks a task of this scheduler cancelled: when it is next woken, it stops where it waits. Returns `false` if it was
    /// marked already, or is done.
    pub(crate) fn mark_cancelled(&self, task: &TaskRef) -> bool {
        let local = task.local();
        local.state.get() != State::Done && !local.cancelled.replace(true)
    }

    /// Emits the event of a task that [`mark_cancelled`](Scheduler::mark_cancelled) has cancelled.
    pub(crate) fn observe_cancelled(&self, task: &Task) {
        self.observe(task, || EventKind::Cancelled(self.observers.cause(&self.home)));
    }

    /// Sets how the task whose turn it is ends, if that is not by a value: it was cancelled, or has panicked.
    pub(crate) fn set_outcome(&self, outcome: Outcome) {
        let counters = &self.counters;
        let count =
            if outcome == Outcome::Cancelled { &counters.cancelled } else { &counters.panicked };
        count.set(count.get() + 1);
        self.outcome.set(outcome);
    }

    /// Called before each turn, but in `cancel_all`, where all tasks are cancelled anyway. If the operating system
    /// refuses to give events, the run cannot go on, and all its tasks are cancelled. Their cleanup may still wait for
    /// sockets, which are then tried again and again.
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
        let tasks = self.tasks.borrow().by_age();
        self.observers.on_behalf_of(Actor::End, || {
            for task in tasks {
                if self.mark_cancelled(&task) {
                    self.observe_cancelled(&task);
                    self.wake(task);
                }
            }
        });
    }

    /// The error of an operating system that gives no events any more, as a text.
    pub(crate) fn refusal(&self) -> Option<String> {
        let text =
            |e| format!("the system refuses to say which sockets are ready (epoll_wait): {e}");
        self.end.refused.get().map(text)
    }

    /// Refuses new tasks, and cancels all that are not done, the newest first. Returns when each is done, or its cleanup
    /// waits or yields.
    pub(crate) fn cancel_all(&self) {
        self.end.closing.set(true);
        let left = self.tasks.borrow().by_age();
        // All tasks are marked before any of them runs. Observers are called after that, since they may wake tasks.
        self.clear_queue();
        let cancelled: Vec<_> = left.iter().filter(|task| self.mark_cancelled(task)).collect();
        self.observers.on_behalf_of(Actor::End, || {
            cancelled.iter().for_each(|task| self.observe_cancelled(task));
        });
        // Then each task is woken when the one before it has had its turn: is done, or waits in its cleanup, or yields there
        // (it may yield until a task that is woken later has ended).
        for task in left.iter().rev() {
            let local = task.local();
            let turns = local.turns.get();
            self.observers.on_behalf_of(Actor::End, || self.wake(task.clone()));
            self.run_until(|| local.state.get() != State::Ready || local.turns.get() != turns);
        }
    }

    /// Takes all tasks out of the run queue, and makes them waiting.
    pub(crate) fn clear_queue(&self) {
        while let Some(task) = self.queue.pop() {
            task.local().state.set(State::Waiting);
        }
    }

    /// Whether all tasks are done but those that were abandoned.
    pub(crate) fn is_cleaned_up(&self) -> bool {
        self.tasks.borrow().len() == self.end.abandoned.get()
    }

    /// Refuses further wakes and errands from other threads: no task will run here any more.
    pub(crate) fn close(&self) {
        for task in self.home.inbox.close() {
            task.notified.clear();
        }
        for errand in self.home.errands.close() {
            aside(format_args!("an errand of another thread, or its destructor,"), || {
                errand(false);
            });
        }
    }
}
