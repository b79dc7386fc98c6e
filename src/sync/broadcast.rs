//! A channel of which each receiver gets each item: a chat, a feed of events.
//!
//! ```
//! use wouldblock::{future, green, sync::broadcast};
//!
//! wouldblock::run(|| {
//!     let (sender, mut ann) = broadcast::channel(16);
//!     let mut bob = sender.subscribe();
//!     let green = green::spawn(move || ann.iter().collect::<Vec<_>>());
//!     let future = future::spawn(async move { vec![bob.receiving().await.unwrap()] });
//!     sender.send("hello");
//!     sender.send("bye");
//!     drop(sender);
//!     assert_eq!(green.join().unwrap(), ["hello", "bye"]);
//!     assert_eq!(future.join().unwrap(), ["hello"]);
//! });
//! ```
//!
//! A send never waits: a receiver that is slow holds up no other. One that falls behind by more items than the channel's
//! capacity loses the oldest of them, and [`lost`](Receiver::lost) counts these. Where none may be lost, give each receiver a
//! [`channel`](super::channel) of its own, whose senders wait; or, with `try_send`, end the receiver that is slow. (A full channel alone does not show that: many tasks may have sent before the receiver had a
//! turn. It is slow if it also waits to write to its client.)
//!
//! (tokio's `broadcast`, Go's and gevent's list of queues.)

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::mpsc::{RecvError, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::chan::recv_timeout;
use super::feed::Feed;
use crate::kernel::door;

/// A channel that keeps `capacity` items for each receiver.
///
/// # Panics
///
/// A capacity of 0.
#[track_caller]
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a broadcast without any room: each receiver would lose each item");
    let shared = Rc::new(Shared {
        capacity,
        boxes: RefCell::default(),
        feed: Feed::new(&"an item of a broadcast"),
    });
    let sender = Sender(shared);
    let receiver = sender.subscribe();
    (sender, receiver)
}

struct Shared<T> {
    capacity: usize,
    /// Of the receivers that are there.
    boxes: RefCell<Vec<Rc<Mailbox<T>>>>,
    feed: Feed,
}

struct Mailbox<T> {
    items: RefCell<VecDeque<T>>,
    lost: Cell<u64>,
}

/// The end that sends.
pub struct Sender<T>(Rc<Shared<T>>);

impl<T: Clone> Sender<T> {
    /// Sends a clone to each receiver that is there, and returns how many are. This never waits.
    pub fn send(&self, item: T) -> usize {
        let boxes = self.0.boxes.borrow().clone(); // None is borrowed while items are cloned and dropped.
        for mailbox in &boxes {
            let item = item.clone();
            let mut items = mailbox.items.borrow_mut();
            let oldest = if items.len() < self.0.capacity { None } else { items.pop_front() };
            items.push_back(item);
            drop(items);
            if oldest.is_some() {
                mailbox.lost.set(mailbox.lost.get() + 1);
            }
        }
        self.0.feed.wake();
        boxes.len()
    }

    /// A further receiver, of what is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        let mailbox = Rc::new(Mailbox { items: RefCell::default(), lost: Cell::new(0) });
        self.0.boxes.borrow_mut().push(mailbox.clone());
        Receiver { shared: self.0.clone(), mailbox }
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.0.boxes.borrow().len()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.feed.add_sender();
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.feed.remove_sender();
    }
}

/// The end that receives.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    mailbox: Rc<Mailbox<T>>,
}

impl<T> Receiver<T> {
    /// Receives the next item: the green era's way.
    ///
    /// # Errors
    ///
    /// The last sender is gone, and all that it has sent was received.
    ///
    /// # Blocking
    ///
    /// The task waits until an item is sent. Where one has come already, it goes on, but may give the other tasks a turn
    /// first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: an item that was not returned is received next.
    #[track_caller]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        door::wait(self.receiving())
    }

    /// [`recv`](Receiver::recv), now or not at all.
    ///
    /// # Errors
    ///
    /// No item has come; or, as [`recv`](Receiver::recv), none will.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let item = self.mailbox.items.borrow_mut().pop_front();
        item.ok_or_else(|| self.shared.feed.nothing())
    }

    /// As [`recv`](Receiver::recv), for `limit` at most.
    ///
    /// # Errors
    ///
    /// The time has passed first; or as [`recv`](Receiver::recv).
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`recv`](Receiver::recv).
    #[track_caller]
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<T, RecvTimeoutError> {
        recv_timeout(limit, self.receiving())
    }

    /// The operation behind [`recv`](Receiver::recv): `y.wait(receiver.receiving())`, `receiver.receiving().await`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv).
    ///
    /// # Cancellation
    ///
    /// As [`recv`](Receiver::recv).
    pub async fn receiving(&mut self) -> Result<T, RecvError> {
        let shared = self.shared.clone();
        shared.feed.receiving(|| self.try_recv()).await
    }

    /// The items, until the last sender is gone.
    pub fn iter(&mut self) -> impl Iterator<Item = T> {
        Iter(self)
    }

    /// How many items this receiver has lost so far, since it had fallen behind by more than the channel's capacity.
    pub fn lost(&self) -> u64 {
        self.mailbox.lost.get()
    }

    /// How many items have come and were not received yet.
    pub fn len(&self) -> usize {
        self.mailbox.items.borrow().len()
    }

    /// Returns `true` if no item has come that was not received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut boxes = self.shared.boxes.borrow_mut();
        boxes.retain(|mailbox| !Rc::ptr_eq(mailbox, &self.mailbox)); // This has it still: no item is dropped here.
    }
}

/// See [`Receiver::iter`].
struct Iter<'a, T>(&'a mut Receiver<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

/// As std's: unwinding through a task that has it leaves it whole.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}
