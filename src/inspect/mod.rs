//! Looking into a run: what its tasks do, what they wait for, and why nothing moves.
//!
//! Each file reads the kernel from outside, and stands by itself: `place` (where a task waits), `holders` (which task has
//! a lock), `purpose` (what a descriptor is for), `deadlock` (the report), `tree` and `tasks` (the table of tasks),
//! `on_signal` (the table, printed on a signal), `watchdog` (a task
//! that keeps the thread), `overflow` (a stack that is too small), `timeline` (a run, drawn). They import the kernel
//! and one another, in the order that `tests/tidy.rs` has.

pub(crate) mod deadlock;
pub(crate) mod holders;
pub(crate) mod on_signal;
pub(crate) mod overflow;
pub(crate) mod place;
pub(crate) mod purpose;
pub(crate) mod tasks;
pub mod timeline;
pub(crate) mod tree;
pub(crate) mod watchdog;
