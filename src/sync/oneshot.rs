//! One value, from one task to another: an answer.
//!
//! ```
//! use wouldblock::{green, sync::oneshot};
//!
//! wouldblock::run(|| {
//!     let (sender, receiver) = oneshot::channel();
//!     green::spawn(move || sender.send(42).unwrap());
//!     assert_eq!(receiver.recv(), Ok(42)); // or y.wait(receiver), or receiver.await
//! });
//! ```

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError};
use std::task::{Context, Poll};
use std::time::Duration;

use super::chan::recv_timeout;
use crate::kernel::door;
use crate::kernel::edge::waker::wake_waiter;
use crate::kernel::task::Waiter;
use crate::kernel::wait::{self, Wait};
use crate::run::may_wait::may_take;

/// A channel for one value.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Slot { value: Cell::new(None), waiter: Cell::new(None), given_up: Cell::new(false) };
    let slot = Rc::new(slot);
    (Sender(slot.clone()), Receiver(slot))
}

struct Slot<T> {
    value: Cell<Option<T>>,
    waiter: Cell<Option<Waiter>>,
    /// By its sender.
    given_up: Cell<bool>,
}

/// The end that sends.
pub struct Sender<T>(Rc<Slot<T>>);

impl<T> Sender<T> {
    /// Sends the value. This never waits.
    ///
    /// # Errors
    ///
    /// The receiver is gone. The error has the value.
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        if self.is_disconnected() {
            return Err(SendError(value));
        }
        self.0.value.set(Some(value));
        Ok(())
    }

    /// Whether the receiver is gone, so that the value is not wanted.
    pub fn is_disconnected(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

/// As std's: unwinding through a task that has it leaves it whole.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.given_up.set(true);
        if let Some(waiter) = self.0.waiter.take() {
            wake_waiter(waiter);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("oneshot::Sender")
    }
}

/// The end that receives: an operation.
///
/// # Errors
///
/// The sender is gone without having sent.
///
/// # Cancellation
///
/// The receiver is dropped, and with it the value. Wait for `&mut receiver` where that matters.
#[must_use = "an operation does nothing until it is waited for"]
pub struct Receiver<T>(Rc<Slot<T>>);

impl<T> Receiver<T> {
    /// Waits for the value: the green era's way.
    ///
    /// # Errors
    ///
    /// The sender is gone without having sent.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// The value is lost.
    #[track_caller]
    pub fn recv(mut self) -> Result<T, RecvError> {
        if may_take()
            && let Ok(value) = self.try_recv()
        {
            wait::spend();
            return Ok(value);
        }
        door::wait(self)
    }

    /// The value, if it has been sent.
    ///
    /// # Errors
    ///
    /// It has not; or it never will be.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.0.value.take() {
            Some(value) => Ok(value),
            None if self.0.given_up.get() => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// As [`recv`](Receiver::recv), for `limit` at most. It may be tried again.
    ///
    /// # Errors
    ///
    /// The time has passed first; or the sender is gone without having sent.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<T, RecvTimeoutError> {
        recv_timeout(limit, self)
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        wait::poll_within_budget(cx, |cx| match self.try_recv() {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(TryRecvError::Disconnected) => Poll::Ready(Err(RecvError)),
            Err(TryRecvError::Empty) => {
                self.0.waiter.set(Some(door::waiter(cx)));
                wait::record(cx, Wait::named(&"the answer of a oneshot"));
                Poll::Pending
            }
        })
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        drop(self.0.waiter.take());
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("oneshot::Receiver")
    }
}
