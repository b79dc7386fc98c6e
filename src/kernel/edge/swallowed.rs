//! How often the code of a task catches its cancellation, or a time limit, and waits again.

use std::cell::Cell;

use super::foreign::{Boundary, Unwind};
use super::unwinding::count;
use crate::kernel::cancel::{limits_in_force, root};
use crate::kernel::here::with_local;

/// Counts that the running generator task has to close. Returns `true` if the caller must abandon the task: its code
/// has caught the cancellation too often, and the run is ending.
pub(crate) fn count_close() -> bool {
    root().and_then(|root| with_local(|local| count(&local.raised, root))) == Some(true)
}

/// Subtracts an unwinding that this crate itself has caught: only those that the task's code catches count.
pub(crate) fn forgive(unwind: &Unwind) {
    let lower = |raised: &Cell<u16>| raised.set(raised.get().saturating_sub(1));
    match unwind.boundary {
        boundary if Some(boundary) == root() => drop(with_local(|local| lower(&local.raised))),
        Boundary::Limit(serial) => {
            let passed = limits_in_force().find(|limit| limit.serial == serial);
            passed.into_iter().for_each(|limit| lower(&limit.raised));
        }
        _ => {}
    }
}
