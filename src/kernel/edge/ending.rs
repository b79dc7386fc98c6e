//! How tasks are cancelled, and how a run ends: what is left is cancelled, the newest task first.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use super::foreign::aside;
use super::observe::{Actor, EventKind, Outcome};
use super::warn;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{State, Task};

thread_local! {
    /// A task of this thread was left.
    static HAS_LEFT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a task of this thread was ever left: only then may a line contain one.
#[inline]
pub(crate) fn has_left() -> bool {
    HAS_LEFT.get()
}

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
        self.observe(task, || EventKind::Cancelled(self.cause()));
    }

    /// The task whose turn it is has come to an end without a value.
    pub(crate) fn failed(&self, outcome: Outcome) {
        let counters = &self.counters;
        let count =
            if outcome == Outcome::Cancelled { &counters.cancelled } else { &counters.panicked };
        count.set(count.get() + 1);
        self.outcome.set(outcome);
    }

    /// The operating system refuses events: the run cannot go on, and all its tasks are cancelled. Their cleanup goes on
    /// meanwhile, with sockets tried again and again.
    #[cold]
    pub(crate) fn end_without_events(&self, error: &io::Error) {
        if self.refused.borrow().is_some() {
            return;
        }
        let text =
            format!("the system refuses to say which sockets are ready (epoll_wait): {error}");
        warn::error(format_args!("{text}; all tasks of the run are cancelled"));
        *self.refused.borrow_mut() = Some(text);
        self.watch.on_behalf_of(Actor::End, || {
            for task in self.all_tasks() {
                if self.mark_cancelled(&task) {
                    self.observe_cancelled(&task);
                    self.wake(task);
                }
            }
        });
    }

    /// Refuses new tasks and cancels all that are left, the newest first; returns when each is done, or its
    /// cleanup waits.
    pub(crate) fn cancel_all(&self) {
        self.closing.set(true);
        let left = self.tasks.borrow().by_age();
        // All are cancelled before any runs. Observers are called after that, since they may wake tasks.
        self.clear_queue();
        let cancelled: Vec<_> = left.iter().filter(|task| self.mark_cancelled(task)).collect();
        self.watch.on_behalf_of(Actor::End, || {
            cancelled.iter().for_each(|task| self.observe_cancelled(task));
        });
        // Then each is woken when the one before is gone, or its cleanup waits.
        for task in left.iter().rev() {
            // SAFETY: tasks in the table were spawned on this thread.
            let state = unsafe { &task.local().state };
            self.watch.on_behalf_of(Actor::End, || self.wake(task.clone()));
            self.run_until(|| matches!(state.get(), State::Done | State::Waiting | State::Left));
        }
    }

    /// Wakes the task that joins `task`, and calls what is to be called at its end.
    pub(crate) fn report_end(&self, task: &Arc<Task>) {
        // SAFETY: as in `wake`.
        let local = unsafe { task.local() };
        if let Some(joiner) = local.joiner.take() {
            self.wake_waiter(joiner);
        }
        // One by one: a callback may add another.
        while let Some(callback) = local.extras.if_any(|extras| extras.callbacks.pop_front()) {
            aside(format_args!("a callback at the end of {task}"), callback);
        }
    }

    /// Leaves `tasks`, which will not end, where they are: joiners and callbacks are served as if they had ended.
    pub(crate) fn leave(&self, tasks: &[Arc<Task>]) {
        HAS_LEFT.set(HAS_LEFT.get() || !tasks.is_empty());
        // SAFETY: as in `wake`. First all of them, so that none wakes another.
        tasks.iter().for_each(|task| unsafe { task.local() }.state.set(State::Left));
        self.left.set(self.left.get() + tasks.len());
        tasks.iter().for_each(|task| self.report_end(task));
    }

    /// Whether no task is left but those that will never end.
    pub(crate) fn is_cleaned_up(&self) -> bool {
        self.tasks.borrow().len() == self.left.get()
    }

    /// Refuses wakes and orders from other threads from now on: nothing will run here any more.
    pub(crate) fn close(&self) {
        for task in self.home.inbox.close() {
            task.notified.lower();
        }
        for order in self.home.orders.close() {
            aside(format_args!("an order of another thread, or its destructor,"), || order(false));
        }
    }
}
