//! How far the end of a run has come. `ending.rs` ends runs; the scheduler reads this.

use std::cell::{Cell, OnceCell};
use std::io;

#[derive(Debug, Default)]
pub(crate) struct End {
    /// All tasks are being cancelled, and new ones are refused.
    pub(crate) closing: Cell<bool>,
    /// How many tasks are `Abandoned`.
    pub(crate) abandoned: Cell<usize>,
    /// The first error with which the operating system refused to give events.
    pub(crate) refused: OnceCell<io::Error>,
    /// All tasks have been cancelled because of `refused`.
    pub(crate) without_events: Cell<bool>,
}
