//! Tasks that belong together.

mod completed;
mod failing;
mod gather;
mod tasks;

pub use completed::{AsCompleted, Race, as_completed, race};
pub use failing::{Failures, Group};
pub use gather::{Gather, TryGather, gather, try_gather};
