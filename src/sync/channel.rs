//! Channels between the tasks of one thread: bounded, unbounded, or without any room, where sender and
//! receiver meet.
//!
//! Both ends can be cloned. An item goes to one receiver; they are served in the order in which they came, and
//! items arrive in the order in which they were sent. The errors are std's, and give the message back.
//!
//! ```
//! use wouldblock::{future, generator, green, sync::channel};
//!
//! wouldblock::run(|| {
//!     let (sender, receiver) = channel::bounded(2);
//!     let sends = sender.clone();
//!     generator::spawn(move |y| for n in 0..3 { y.wait(sends.sending(n)).unwrap() });
//!     let sends = sender;
//!     future::spawn(async move { for n in 3..6 { sends.sending(n).await.unwrap() } });
//!     let mut all: Vec<_> = receiver.iter().collect(); // until both senders are gone
//!     all.sort_unstable();
//!     assert_eq!(all, [0, 1, 2, 3, 4, 5]);
//! });
//! ```
//!
//! # Closing
//!
//! With the last sender gone, receivers get what is still in the channel, and then an error. With the last
//! receiver gone, what is in the channel is dropped, and senders get their message back.

use std::cell::Cell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use super::chan::Chan;
use crate::inspect::holders::Kind;

pub use super::chan::{Receiving, SendTimeoutError, Sending};
pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

const KINDS: [Kind; 2] = [
    Kind { what: "an item of a channel", how: "last sent to by" },
    Kind { what: "room in a channel", how: "last received from by" },
];

/// A channel that holds `capacity` items; then senders wait.
///
/// With a capacity of 0, a send completes when the item has been handed to a receiver. If that receiver's operation is
/// dropped before it has seen the item, the item goes to the next one, or stays in the channel for one.
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (senders, receivers) = (Cell::new(1), Cell::new(1));
    let shared = Rc::new(Shared { chan: Chan::new(capacity, &KINDS), senders, receivers });
    (Sender(shared.clone()), Receiver(shared))
}

/// A channel in which no task ever waits to send. It grows as long as it is filled faster than emptied.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

struct Shared<T> {
    chan: Chan<T>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
}

/// The end of a channel that sends.
pub struct Sender<T>(Rc<Shared<T>>);

impl<T> Sender<T> {
    /// Sends, and waits while there is no room: the green era's way, under std's name.
    ///
    /// # Errors
    ///
    /// The last receiver is gone. The error has the item.
    ///
    /// # Blocking
    ///
    /// The task waits until there is room and all tasks that came before have sent. Where there is room, it
    /// goes on, but may give the other tasks a turn first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// The item, if it has not been sent, is dropped.
    #[inline]
    #[track_caller]
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.0.chan.put(item)
    }

    /// Sends if there is room, or a task waits for an item.
    ///
    /// # Errors
    ///
    /// There is no room, or the last receiver is gone. The error has the item. (No room may only mean that many tasks have
    /// sent before the receiver had a turn, and not that the receiver is slow.)
    #[inline]
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.0.chan.try_put(item)
    }

    /// As [`send`](Sender::send), for `limit` at most.
    ///
    /// # Errors
    ///
    /// The time has passed first, or the last receiver is gone. The error has the item.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`send`](Sender::send).
    #[track_caller]
    pub fn send_timeout(&self, item: T, limit: Duration) -> Result<(), SendTimeoutError<T>> {
        self.0.chan.put_timeout(item, limit)
    }

    /// The operation behind [`send`](Sender::send): `y.wait(sender.sending(item))`,
    /// `sender.sending(item).await`.
    ///
    /// # Cancellation
    ///
    /// The item, if it has not been sent, is dropped; [`Sending::give_back`] saves it.
    pub fn sending(&self, item: T) -> Sending<'_, T> {
        self.0.chan.sending(item)
    }

    /// How many items are in the channel.
    pub fn len(&self) -> usize {
        self.0.chan.len()
    }

    /// Whether nothing is in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room: a send would wait, unless a receiver waits for an item. A channel without any room
    /// is always full.
    pub fn is_full(&self) -> bool {
        self.0.chan.is_full()
    }

    /// Whether `other` is an end of the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// How many items it can hold; `None`: any number.
    pub fn capacity(&self) -> Option<usize> {
        self.0.chan.capacity()
    }

    /// Whether the last receiver is gone.
    pub fn is_disconnected(&self) -> bool {
        self.0.chan.refuses()
    }
}

/// As std's: unwinding through a task that has it leaves it whole.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.senders.set(self.0.senders.get() + 1);
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0 {
            self.0.chan.end();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({} items)", self.len())
    }
}

/// The end of a channel that receives.
pub struct Receiver<T>(Rc<Shared<T>>);

impl<T> Receiver<T> {
    /// Takes an item, and waits while there is none: the green era's way, under std's name.
    ///
    /// # Errors
    ///
    /// The channel is empty, and the last sender is gone.
    ///
    /// # Blocking
    ///
    /// The task waits until there is an item and all tasks that came before have theirs. Where there is one, it
    /// goes on, but may give the other tasks a turn first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// The channel loses nothing. An item that was handed over before the cancellation is received: this returns it, and
    /// the task stops at its next wait, with the item. An operation that is dropped instead, as one that has lost in a
    /// `select`, leaves its item to the next in line, or in the channel.
    #[inline]
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.chan.get()
    }

    /// Takes an item if there is one that is promised to no task.
    ///
    /// # Errors
    ///
    /// There is none; or none any more, since the last sender is gone.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.chan.try_get()
    }

    /// As [`recv`](Receiver::recv), for `limit` at most. If the time has passed, nothing was taken.
    ///
    /// # Errors
    ///
    /// The time has passed first; or the channel is empty, and the last sender is gone.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`recv`](Receiver::recv).
    #[track_caller]
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, RecvTimeoutError> {
        self.0.chan.get_timeout(limit)
    }

    /// The operation behind [`recv`](Receiver::recv): `y.wait(receiver.receiving())`,
    /// `receiver.receiving().await`.
    ///
    /// # Cancellation
    ///
    /// As [`recv`](Receiver::recv).
    pub fn receiving(&self) -> Receiving<'_, T> {
        self.0.chan.receiving()
    }

    /// Waits for each item in turn, as [`recv`](Receiver::recv) does, until the last sender is gone.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// What is in the channel, without waiting for more.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter(self)
    }

    /// How many items are in the channel.
    pub fn len(&self) -> usize {
        self.0.chan.len()
    }

    /// Whether nothing is in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room: a send would wait, unless a receiver waits for an item. A channel without any room
    /// is always full.
    pub fn is_full(&self) -> bool {
        self.0.chan.is_full()
    }

    /// Whether `other` is an end of the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// How many items it can hold; `None`: any number.
    pub fn capacity(&self) -> Option<usize> {
        self.0.chan.capacity()
    }

    /// Whether the last sender is gone. Items may be left.
    pub fn is_disconnected(&self) -> bool {
        self.0.chan.has_ended()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.0.receivers.set(self.0.receivers.get() + 1);
        Receiver(self.0.clone())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.receivers.set(self.0.receivers.get() - 1);
        if self.0.receivers.get() == 0 {
            self.0.chan.refuse();
            drop(self.0.chan.clear());
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({} items)", self.len())
    }
}

/// See [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T>(&'a Receiver<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

/// See [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T>(&'a Receiver<T>);

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

/// As [`Iter`], and keeps the receiver.
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}
