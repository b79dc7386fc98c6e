//! How far the end of a run has come: `ending.rs` brings it about.

use std::cell::{Cell, OnceCell};
use std::io;

#[derive(Debug, Default)]
pub(crate) struct End {
    /// New tasks are refused.
    pub(crate) closing: Cell<bool>,
    /// How many tasks are `Abandoned`.
    pub(crate) abandoned: Cell<usize>,
    /// The first error of an operating system that refuses events.
    pub(crate) refused: OnceCell<io::Error>,
    /// All tasks have been cancelled for that.
    pub(crate) without_events: Cell<bool>,
}
