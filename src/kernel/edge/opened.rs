//! Marks what a fiber has open, as long as it is: see [`Open`].

use std::cell::Cell;

use super::open::Open;
use crate::kernel::coroutine::with_open;

/// Counts something that the running fiber has open, as long as this lives. (PEP 789: a generator that yields out
/// of it would leave it in force for the code that resumed it.)
pub(crate) struct Opened(fn(&Open) -> &Cell<u32>);

impl Opened {
    pub(crate) fn one(count: fn(&Open) -> &Cell<u32>) -> Opened {
        with_open(|open| count(open).set(count(open).get() + 1));
        Opened(count)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        with_open(|open| (self.0)(open).set((self.0)(open).get() - 1));
    }
}

/// Counts a time limit that the running fiber has open, as [`Opened`] does, under the name of what has set it.
pub(crate) struct OpenedLimit {
    around: Option<&'static str>,
    _opened: Opened,
}

impl OpenedLimit {
    pub(crate) fn new(what: &'static str) -> OpenedLimit {
        let around = with_open(|open| open.limit.replace(what));
        OpenedLimit { around, _opened: Opened::one(|open| &open.limits) }
    }
}

impl Drop for OpenedLimit {
    fn drop(&mut self) {
        with_open(|open| open.limit.set(self.around.unwrap_or_default()));
    }
}
