//! Running: how a run is set up, begun, driven and ended; how tasks are spawned and joined.
//!
//! Read it after the kernel, in this order: `stack_size`, `join_error` and `join` (results of tasks), `spawn` (what the
//! eras share), `runtime` (a scheduler driven by hand, and the end of a run), `builder`, `stats`, `may_wait`; then, after
//! the eras, `root` (`run` itself, whose root is a greenlet) and `handle` (a run as other threads see it).
//! `tests/tidy.rs` has the exact order, in which files of `inspect` and `task` lie between.

pub(crate) mod builder;
pub(crate) mod handle;
pub(crate) mod join;
pub(crate) mod join_error;
pub(crate) mod may_wait;
pub(crate) mod root;
pub(crate) mod runtime;
pub(crate) mod spawn;
pub(crate) mod stack_size;
pub(crate) mod stats;
