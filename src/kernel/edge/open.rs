//! What the code on one fiber has begun and not yet ended: polls, time limits, cleanup, scopes.

use std::cell::Cell;
use std::ptr;

/// Each fiber has its own `Open`. So a switch of fibers has nothing to save, and a job begins with nothing open.
#[derive(Debug)]
pub(crate) struct Open {
    /// The innermost poll of an operation: a `wait::Record` in a frame of this fiber (see `wait.rs`); null if there is
    /// none. While it is set, no generator on this fiber yields.
    pub(crate) poll: Cell<*const ()>,
    /// How many time limits are in force.
    pub(crate) limits: Cell<u32>,
    /// What has set the innermost of them, for error messages.
    pub(crate) limit_name: Cell<&'static str>,
    /// How many pieces of cleanup hold off a task's cancellation.
    pub(crate) shields: Cell<u32>,
    /// How many scopes have tasks that may borrow from this fiber's frames.
    pub(crate) scopes: Cell<u32>,
    /// The serial of the cancellation that unwinds this stack, if the thread was panicking before it was raised (see
    /// `edge/unwinding.rs`); else 0.
    pub(crate) unwinding_serial: Cell<u64>,
}

impl Default for Open {
    fn default() -> Open {
        Open {
            poll: Cell::new(ptr::null()),
            limits: Cell::default(),
            limit_name: Cell::default(),
            shields: Cell::default(),
            scopes: Cell::default(),
            unwinding_serial: Cell::default(),
        }
    }
}
