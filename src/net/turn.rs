//! Whether the caller can be suspended, and its share of a turn.

use std::task::{Context, Poll};

use crate::kernel::door;
use crate::kernel::edge::unwinding;
use crate::kernel::here::{here, in_task};

/// Whether there is a task that can be suspended. None can while its stack unwinds or its panic hook runs, since
/// the thread would stay panicking for all other tasks: what has to wait then blocks the thread, as std's calls do.
#[inline]
pub(crate) fn can_suspend() -> bool {
    in_task() && !unwinding::unwinds()
}

/// Whether the task has had its share of this turn. It then gives the others a turn before it goes on.
#[inline]
pub(super) fn spent() -> bool {
    can_suspend() && here().budget.get() == 0
}

/// Counts a call that has completed without waiting. (One that waits is not counted: an operation that is polled
/// beside a hundred others has to be able to say that it waits.)
#[inline]
pub(super) fn spend() {
    if can_suspend() {
        let budget = &here().budget;
        budget.set(budget.get().saturating_sub(1));
    }
}

/// An operation's way to begin: is pending, and gives the others a turn, where the task has had its share.
#[inline]
pub(super) fn share(cx: &Context<'_>) -> Poll<()> {
    match spent() {
        true => door::share_is_spent(cx),
        false => Poll::Ready(()),
    }
}
