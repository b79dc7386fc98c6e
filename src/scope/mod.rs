//! Scopes: tasks that may borrow, because they end before the scope does.
//!
//! `green.rs` joins its tasks in the frame of the function that opened it, as [`std::thread::scope`] does;
//! `future.rs` keeps its tasks inside the future that it is, since a future may be forgotten anywhere. `members.rs` is what counts tasks and cancels them together.

pub(crate) mod future;
pub(crate) mod green;
pub(crate) mod members;
