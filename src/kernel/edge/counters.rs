//! What `stats()` counts in a run.

use std::cell::Cell;

/// Counts of events since the start of the run.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) would_block: Cell<u64>,
    /// How often the operating system was polled.
    pub(crate) polls: Cell<u64>,
    pub(crate) wakes: Cell<u64>,
    pub(crate) spawned: Cell<u64>,
    pub(crate) finished: Cell<u64>,
    pub(crate) panicked: Cell<u64>,
    pub(crate) cancelled: Cell<u64>,
}
