//! What a fiber has open: see [`Open`].

use std::cell::Cell;

use crate::kernel::coroutine::{Open, with_open};

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
