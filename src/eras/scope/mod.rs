//! Scopes: tasks that may borrow, because they end before the scope does.
//!
//! `green.rs`: the function that opens a scope waits for its tasks before it returns, as [`std::thread::scope`] does.
//! `future.rs`: a scope is a future, and its tasks lie inside of it, since a future may be forgotten anywhere. Each
//! file has a `scope`, where the failure of a task concerns only the code that joins it, and a `try_scope`, where the
//! first error ends all tasks. `spawn.rs` has the green scope's `spawn`s. `members.rs` counts tasks and cancels them
//! together, for scopes, groups and pools.

pub(crate) mod future;
pub(crate) mod green;
pub(crate) mod members;
mod spawn;
