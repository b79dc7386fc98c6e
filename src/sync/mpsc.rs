//! The channels of [`sync::channel`](super::channel) under the names of [`std::sync::mpsc`], for ported code.
//!
//! ```
//! use wouldblock::sync::mpsc;
//! use wouldblock::thread;
//!
//! wouldblock::run(|| {
//!     let (sender, receiver) = mpsc::channel();
//!     for n in 0..3 {
//!         let sender = sender.clone();
//!         thread::spawn(move || sender.send(n).unwrap());
//!     }
//!     drop(sender);
//!     assert_eq!(receiver.iter().sum::<i32>(), 3);
//! });
//! ```
//!
//! What differs from std's:
//!
//! * The ends stay on their thread: they are not `Send`.
//! * [`Receiver`] can be cloned, and [`SyncSender`] is the same type as [`Sender`], with the methods of both.
//! * With [`sync_channel(0)`](sync_channel), a send is over when the item has been handed to a receiver; std's is
//!   over when the receiver has it.
//! * `send` on a [`channel()`] never waits for room, but may give the other tasks a turn.
//!
//! For the other eras there are [`sending`](Sender::sending) and [`receiving`](Receiver::receiving). The errors are
//! std's.

pub use super::channel::{IntoIter, Iter, Receiver, Sender, Sender as SyncSender, TryIter};
pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

use super::channel;

/// A channel in which no task ever waits for room: [`channel::unbounded`].
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    channel::unbounded()
}

/// A channel that holds `bound` items; then senders wait: [`channel::bounded`].
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    channel::bounded(bound)
}
