//! What the code on one fiber has begun and not yet ended.

use std::cell::Cell;
use std::ptr;

/// Each fiber has its own, so that a switch of fibers needs to save nothing, and a job begins with nothing open.
#[derive(Debug)]
pub(crate) struct Open {
    /// The innermost poll of an operation: a `wait::Record` in a frame of this fiber (`wait.rs` explains it; no
    /// generator yields meanwhile).
    pub(crate) poll: Cell<*const ()>,
    /// How many time limits are in force, and the name of the innermost, for errors.
    pub(crate) limits: Cell<u32>,
    pub(crate) limit: Cell<&'static str>,
    /// Pieces of cleanup that hold off a task's cancellation.
    pub(crate) shields: Cell<u32>,
    /// Scopes whose tasks borrow from this fiber's frames.
    pub(crate) scopes: Cell<u32>,
    /// The number of the cancellation that unwinds this stack, if the thread was unwinding already (see
    /// `edge/unwinding.rs`); 0: none.
    pub(crate) unwinds: Cell<u64>,
}

impl Default for Open {
    fn default() -> Open {
        Open {
            poll: Cell::new(ptr::null()),
            limits: Cell::default(),
            limit: Cell::default(),
            shields: Cell::default(),
            scopes: Cell::default(),
            unwinds: Cell::default(),
        }
    }
}
