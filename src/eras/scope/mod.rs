//! Scopes: tasks that may borrow, because they end before the scope does.
//!
//! `green.rs` joins its tasks in the frame of the function that opened it, as [`std::thread::scope`] does;
//! `future.rs` keeps its tasks inside the future that it is, since a future may be forgotten anywhere. Each has a
//! `scope`, where the failure of a task concerns only the code that joins it, and a `try_scope`, where the first
//! error ends all. `spawn.rs` has the green scope's `spawn`s. `members.rs` counts tasks and cancels them together,
//! for scopes, groups and pools.

pub(crate) mod future;
pub(crate) mod green;
pub(crate) mod members;
mod spawn;
