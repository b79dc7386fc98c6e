//! draft
#![deny(unreachable_pub)]
#[cfg(windows)]
compile_error!(
    "wouldblock waits for sockets as Unix does (epoll, kqueue); Windows is not supported"
);

mod eras;
mod group;
#[cfg(feature = "ureq")]
pub mod http;
mod kernel;
pub mod net;
mod offload;
mod runtime;
pub mod time;

pub use eras::{future, generator, green};
pub use green::run;
pub use group::{Gather, gather};
pub use kernel::reactor::SourceId;
pub use kernel::task::{Wait, WaitKind};
pub use offload::{Offload, offload};
pub use runtime::{Builder, Era, JoinError, JoinHandle, Stats, stats};
