//! What other crates want of this one's types: a file for each, behind the feature of its name.

#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(feature = "tracing")]
pub mod tracing;
