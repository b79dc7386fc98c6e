//! Marks what a fiber has open, as long as it is: see [`Open`].

use std::cell::Cell;

use super::open::Open;
use crate::kernel::coroutine::with_open;

/// Counts something that the running fiber has open, as long as this lives. (PEP 789: a generator that yields out
/// of it would leave it in force for the code that resumed it.)
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

/// Counts a time limit that the running fiber has open, as [`OpenGuard`] does, under the name of what has set it.
pub(crate) struct LimitGuard {
    around: Option<&'static str>,
    _opened: OpenGuard,
}

impl LimitGuard {
    pub(crate) fn new(what: &'static str) -> LimitGuard {
        let around = with_open(|open| open.limit.replace(what));
        LimitGuard { around, _opened: OpenGuard::one(|open| &open.limits) }
    }
}

impl Drop for LimitGuard {
    fn drop(&mut self) {
        with_open(|open| open.limit.set(self.around.unwrap_or_default()));
    }
}
