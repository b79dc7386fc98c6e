//! Whether the code that runs may give up its turn, or has to do without.

use crate::kernel::cancel;
use crate::kernel::coroutine::with_open;
use crate::kernel::door;
use crate::kernel::edge::observe::Era;
use crate::kernel::here::{current, in_task};
use crate::kernel::wait::{is_spent, spend, this_turn};

/// Whether there is a running task, and it may be suspended here: not while its thread is panicking (std shows this per
/// thread only, so that a task whose own stack does not unwind is refused too), nor while its cancelled future is
/// dropped. A destructor that locks what is free, sends where there is room, or removes its temporary file is served
/// all the same.
#[inline]
pub(crate) fn may_wait() -> bool {
    in_task() && !std::thread::panicking() && !is_future_dropped()
}

/// Whether a green verb may take what is ready without a wait: the task has some of its budget for this turn left, or cannot
/// wait here. Such a verb spends one of it; where none is left, it waits for its operation, which lets the
/// others run first.
#[inline]
pub(crate) fn may_take() -> bool {
    #[cold] // Out of line: else a free lock needs a frame.
    fn cannot_wait() -> bool {
        !is_spent() || !may_wait()
    }
    this_turn().budget.get() > 0 || cannot_wait()
}

/// Calls the code of a green verb that may complete without any operation, within the task's budget for this turn: where
/// that is used up, each other ready task has a turn first. It uses one of the budget, unless the code has used some.
#[track_caller]
pub(crate) fn within_budget<T>(verb: impl FnOnce() -> T) -> T {
    let within = WithinBudget::begin();
    let value = verb();
    within.end();
    value
}

/// As [`within_budget`], for code that waits: in a closure, its line in the source would be the closure's.
pub(crate) struct WithinBudget {
    at_first: u32,
}

impl WithinBudget {
    pub(crate) fn begin() -> WithinBudget {
        if !may_take() {
            door::give_turn();
        }
        WithinBudget { at_first: this_turn().budget.get() }
    }

    pub(crate) fn end(self) {
        if this_turn().budget.get() == self.at_first {
            spend();
        }
    }
}

/// Subtracts one from the budget for a green call that has completed without an operation; gives up the turn if that
/// was the last.
pub(crate) fn completed() {
    spend();
    if is_spent() {
        door::give_turn();
    }
}

/// Whether the running task's future has been cancelled, and is not polled but dropped.
fn is_future_dropped() -> bool {
    let is_future = || current().is_some_and(|task| task.era == Era::Future);
    let is_polled = || with_open(|open| !open.poll.get().is_null()) == Some(true);
    cancel::is_cancelled() && !is_polled() && is_future()
}
