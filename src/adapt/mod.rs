//! What other crates want of this one's types: a file for each, behind the feature of its name; but for streams, whose
//! crate is there anyway.

#[cfg(feature = "hyper")]
pub mod hyper;
mod stream;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(feature = "tracing")]
pub mod tracing;
