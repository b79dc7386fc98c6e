//! Guards that count what a fiber has open: see [`Open`].

use std::cell::Cell;

use super::open::Open;
use crate::kernel::coroutine::with_open;

/// Adds one to a count of the running fiber as long as it lives. A generator that other code drives does not yield while
/// its fiber has something open: a time limit, for one, would stay in force for that code (PEP 789). (One that is a task
/// does not yield in a poll or in a time limit.)
pub(crate) struct OpenGuard(fn(&Open) -> &Cell<u32>);

impl OpenGuard {
    pub(crate) fn one(count: fn(&Open) -> &Cell<u32>) -> OpenGuard {
        with_open(|open| count(open).set(count(open).get() + 1));
        OpenGuard(count)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        with_open(|open| (self.0)(open).set((self.0)(open).get() - 1));
    }
}

/// Counts a time limit of the running fiber, as [`OpenGuard`] does, and sets the name of the innermost.
pub(crate) struct LimitGuard {
    around: Option<&'static str>,
    _opened: OpenGuard,
}

impl LimitGuard {
    pub(crate) fn new(what: &'static str) -> LimitGuard {
        let around = with_open(|open| open.limit_name.replace(what));
        LimitGuard { around, _opened: OpenGuard::one(|open| &open.limits) }
    }
}

impl Drop for LimitGuard {
    fn drop(&mut self) {
        with_open(|open| open.limit_name.set(self.around.unwrap_or_default()));
    }
}
