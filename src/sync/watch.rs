//! A value that changes, and tasks that look at it: each sees the latest, and need not see each.
//!
//! ```
//! use wouldblock::{future, green, sync::watch};
//!
//! wouldblock::run(|| {
//!     let (sender, mut settings) = watch::channel("slow");
//!     let mut same = settings.clone();
//!     let green = green::spawn(move || (settings.get(), settings.recv())); // waits for the next
//!     let future = future::spawn(async move { (same.get(), same.receiving().await) });
//!     green::yield_now();
//!     sender.send("fast");
//!     for task in [green, future] {
//!         assert_eq!(task.join().unwrap(), ("slow", Ok("fast")));
//!     }
//! });
//! ```
//!
//! No change is missed by a task that takes the value, then looks for work, and then waits for the next value: a value that
//! is sent meanwhile is there at once. So a watch wakes idle workers without a lost wake.
//!
//! (tokio's `watch`, gevent's and asyncio's event with a value. A single value to come is a
//! [`oneshot`](super::oneshot), the result of a task for many a [`group::share`](crate::group::share()).)

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::mpsc::{RecvError, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::chan::recv_timeout;
use super::feed::Feed;
use crate::kernel::door;

/// A value to begin with, which counts as seen by the receiver.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: RefCell::new(Rc::new(value)),
        version: Cell::new(0),
        feed: Feed::new(&"a value of a watch"),
    });
    (Sender(shared.clone()), Receiver { shared, seen: 0 })
}

struct Shared<T> {
    /// Behind an `Rc`, so that nothing is borrowed while it is cloned.
    value: RefCell<Rc<T>>,
    version: Cell<u64>,
    feed: Feed,
}

impl<T> Shared<T> {
    fn latest(&self) -> Rc<T> {
        self.value.borrow().clone()
    }
}

/// The end that sets the value.
pub struct Sender<T>(Rc<Shared<T>>);

impl<T> Sender<T> {
    /// Sets the value, and wakes all who wait for one. This never waits.
    pub fn send(&self, value: T) {
        let before = self.0.value.replace(Rc::new(value));
        self.0.version.set(self.0.version.get() + 1);
        self.0.feed.wake();
        drop(before);
    }

    /// The latest value.
    pub fn get(&self) -> T
    where
        T: Clone,
    {
        T::clone(&self.0.latest())
    }

    /// A further receiver, for which the present value counts as seen.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: self.0.clone(), seen: self.0.version.get() }
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

/// The end that sees the value. A clone has seen what the original has.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// The version that it has seen.
    seen: u64,
}

impl<T: Clone> Receiver<T> {
    /// The latest value, which counts as seen.
    pub fn get(&mut self) -> T {
        self.seen = self.shared.version.get();
        T::clone(&self.shared.latest())
    }

    /// Waits for a value that this receiver has not seen, and returns the latest: the green era's way.
    ///
    /// # Errors
    ///
    /// The last sender is gone, and its last value was seen.
    ///
    /// # Blocking
    ///
    /// The task waits until a value is sent. Where one has come already, it goes on, but may give the other tasks a turn
    /// first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: a value that was not returned counts as not seen.
    #[track_caller]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        door::wait(self.receiving())
    }

    /// [`recv`](Receiver::recv), now or not at all.
    ///
    /// # Errors
    ///
    /// There is no value that was not seen; or, as [`recv`](Receiver::recv), there will be none.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.seen == self.shared.version.get() {
            true => Err(self.shared.feed.nothing()),
            false => Ok(self.get()),
        }
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

    /// The values that come from now on, each the latest, until the last sender is gone.
    pub fn iter(&mut self) -> impl Iterator<Item = T> {
        Iter(self)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver { shared: self.shared.clone(), seen: self.seen }
    }
}

/// See [`Receiver::iter`].
struct Iter<'a, T>(&'a mut Receiver<T>);

impl<T: Clone> Iterator for Iter<'_, T> {
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
