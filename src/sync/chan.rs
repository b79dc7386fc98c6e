//! What channels and queues are made of: a buffer, a line of putters, and a line of getters.
//!
//! ```text
//!   putters, each with its item             buffer                      getters
//!     [e] [f] ─── room: moves in ──▶ [d] [c] │ [b] [a] ─── granted ──▶  (R) (S)
//!                                     free      promised
//! ```
//!
//! When an item comes while a getter waits, the getter is granted one, and one item more is *promised*: it stays in the
//! buffer, so that the order is kept, until the getter has its turn and takes it. If the getter is gone by then, the
//! promise goes to the next in line. A waiting putter has brought its item along; the task that makes room moves the
//! item into the buffer, and that completes the put.
//!
//! While a getter waits, there is no free item, and no putter waits. With a capacity of 0, an item moves into the
//! buffer only when a task takes one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
use std::task::{Context, Poll};
use std::time::Duration;

use super::wait_queue::Key;
use super::waiters::Waiters;
use crate::inspect::holders::{Kind, Trail};
use crate::kernel::door;
use crate::kernel::wait;
use crate::op::timeout;
use crate::run::may_wait::may_take;

pub(crate) struct Chan<T> {
    items: RefCell<VecDeque<T>>,
    /// How many of the items are promised to getters.
    promised: Cell<usize>,
    capacity: usize,
    /// How many items have ever been accepted.
    accepted: Cell<u64>,
    /// No item is accepted any more.
    refuses: Cell<bool>,
    /// No item will ever be put again: once the buffer is empty, it stays so.
    ended: Cell<bool>,
    putters: Waiters<T>,
    getters: Waiters<()>,
    /// The last putter, for reports on waiting getters; `got` is the other way round.
    put: Trail,
    got: Trail,
}

/// Unwinding through a task that has it leaves it whole: no user code runs while its items are borrowed.
impl<T> UnwindSafe for Chan<T> {}
impl<T> RefUnwindSafe for Chan<T> {}

impl<T> Chan<T> {
    pub(crate) const fn new(capacity: usize, kinds: &'static [Kind; 2]) -> Chan<T> {
        Chan {
            items: RefCell::new(VecDeque::new()),
            promised: Cell::new(0),
            capacity,
            accepted: Cell::new(0),
            refuses: Cell::new(false),
            ended: Cell::new(false),
            putters: Waiters::new(),
            getters: Waiters::new(),
            put: Trail::new(&kinds[0]),
            got: Trail::new(&kinds[1]),
        }
    }

    /// Items that are promised to no task.
    pub(crate) fn len(&self) -> usize {
        self.items.borrow().len() - self.promised.get()
    }

    /// How many items it can hold; `None`: any number.
    pub(crate) fn capacity(&self) -> Option<usize> {
        Some(self.capacity).filter(|&capacity| capacity < usize::MAX)
    }

    /// Whether there is no room.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.get()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    pub(crate) fn refuses(&self) -> bool {
        self.refuses.get()
    }

    #[inline]
    pub(crate) fn try_put(&self, item: T) -> Result<(), TrySendError<T>> {
        if self.refuses.get() {
            return Err(TrySendError::Disconnected(item));
        }
        let awaited = !self.getters.is_empty();
        if !awaited && self.is_full() {
            return Err(TrySendError::Full(item));
        }
        self.put.serve();
        self.accept(item);
        if awaited {
            self.promise();
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn try_get(&self) -> Result<T, TryRecvError> {
        match self.take() {
            Some(item) => Ok(item),
            None if self.is_over() => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    pub(crate) fn sending(&self, item: T) -> Sending<'_, T> {
        Sending { chan: self, item: Some(item), place: None }
    }

    pub(crate) fn receiving(&self) -> Receiving<'_, T> {
        Receiving { chan: self, place: None }
    }

    /// The green era's put.
    #[inline]
    #[track_caller]
    pub(crate) fn put(&self, item: T) -> Result<(), SendError<T>> {
        if !may_take() {
            return self.wait_to_put(item);
        }
        match self.try_put(item) {
            Ok(()) => {
                wait::spend();
                Ok(())
            }
            Err(TrySendError::Disconnected(item)) => {
                wait::spend();
                Err(SendError(item))
            }
            Err(TrySendError::Full(item)) => self.wait_to_put(item),
        }
    }

    #[inline(never)] // As `Mutex::wait_to_lock`.
    #[track_caller]
    fn wait_to_put(&self, item: T) -> Result<(), SendError<T>> {
        door::wait(self.sending(item))
    }

    #[track_caller]
    pub(crate) fn put_timeout(&self, item: T, limit: Duration) -> Result<(), SendTimeoutError<T>> {
        let mut sending = self.sending(item);
        match door::wait(timeout(limit, &mut sending)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(SendError(item))) => Err(SendTimeoutError::Disconnected(item)),
            Err(_) => Err(SendTimeoutError::Timeout(sending.give_back().expect("it waited"))),
        }
    }

    /// The green era's get.
    #[inline]
    #[track_caller]
    pub(crate) fn get(&self) -> Result<T, RecvError> {
        if !may_take() {
            return self.wait_to_get();
        }
        match self.try_get() {
            Ok(item) => {
                wait::spend();
                Ok(item)
            }
            Err(TryRecvError::Disconnected) => {
                wait::spend();
                Err(RecvError)
            }
            Err(TryRecvError::Empty) => self.wait_to_get(),
        }
    }

    #[inline(never)] // As `Mutex::wait_to_lock`.
    #[track_caller]
    fn wait_to_get(&self) -> Result<T, RecvError> {
        door::wait(self.receiving())
    }

    #[track_caller]
    pub(crate) fn get_timeout(&self, limit: Duration) -> Result<T, RecvTimeoutError> {
        recv_timeout(limit, self.receiving())
    }

    /// Accepts no item any more: each waiting putter gets its item back.
    pub(crate) fn refuse(&self) {
        self.refuses.set(true);
        self.putters.wake_all();
    }

    /// Gives the items that are there, and then errors. Waiting getters are woken, and fail when no item is promised
    /// any more: until then, one that was promised to a getter which is gone may go to them.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        self.getters.wake_all();
    }

    /// Takes all items out of the buffer, the promised ones too. To be called between [`refuse`](Chan::refuse) and
    /// [`end`](Chan::end): so no item is promised again, and a getter to which one was promised gets an error.
    pub(crate) fn clear(&self) -> VecDeque<T> {
        self.promised.set(0);
        self.items.take()
    }

    #[inline]
    fn accept(&self, item: T) {
        self.accepted.set(self.accepted.get() + 1);
        self.items.borrow_mut().push_back(item);
    }

    /// Promises a free item to the first waiting getter, if there is one.
    fn promise(&self) {
        self.getters.grant(|()| self.promised.set(self.promised.get() + 1));
    }

    /// Takes a free item, and moves the item of the first waiting putter into the room that this makes.
    #[inline]
    fn take(&self) -> Option<T> {
        let pop = || self.items.borrow_mut().pop_front();
        let mut item = if self.len() > 0 { pop() } else { None };
        if !self.putters.is_empty()
            && !self.refuses.get()
            && (item.is_none() || self.len() < self.capacity)
        {
            self.putters.grant(|next| {
                self.accept(next);
                item = item.take().or_else(pop); // The oldest, though it was promised: in its place, `next` is there now.
            });
        }
        if item.is_some() {
            self.got.serve();
        }
        item
    }

    /// Whether no item will come for waiting getters: putting has ended, and no promised item can be passed on.
    fn is_over(&self) -> bool {
        self.ended.get() && self.promised.get() == 0
    }

    /// Takes a promised item.
    fn take_promised(&self) -> T {
        self.promised.set(self.promised.get() - 1);
        if self.is_over() {
            self.getters.wake_all();
        }
        self.got.serve();
        self.items.borrow_mut().pop_front().expect("what is promised is there")
    }
}

/// Puts an item into a channel or queue: see [`Sender::sending`](super::channel::Sender::sending) and
/// [`Queue::putting`](super::Queue::putting).
///
/// Wait for `&mut` of it to get the item back if it was not sent: see [`give_back`](Sending::give_back).
#[must_use = "an operation does nothing until it is waited for"]
pub struct Sending<'a, T> {
    chan: &'a Chan<T>,
    /// `None` once it is in the line, or in the buffer.
    item: Option<T>,
    place: Option<Key>,
}

impl<T> Sending<'_, T> {
    /// The item, if it has not been sent.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wouldblock::{green, op, sync::channel};
    ///
    /// wouldblock::run(|| {
    ///     let (sender, _receiver) = channel::bounded(0);
    ///     let mut sending = sender.sending("hello");
    ///     assert!(green::wait(op::timeout(Duration::from_millis(1), &mut sending)).is_err());
    ///     assert_eq!(sending.give_back(), Some("hello"));
    /// });
    /// ```
    pub fn give_back(mut self) -> Option<T> {
        self.item.take().or_else(|| self.leave())
    }

    fn leave(&mut self) -> Option<T> {
        self.place.take().and_then(|key| self.chan.putters.leave(key))
    }
}

impl<T> Unpin for Sending<'_, T> {}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        wait::poll_within_budget(cx, |cx| {
            let chan = self.chan;
            if self.place.is_none() {
                return match chan.try_put(self.item.take().expect("polled until it is ready")) {
                    Ok(()) => Poll::Ready(Ok(())),
                    Err(TrySendError::Disconnected(item)) => Poll::Ready(Err(SendError(item))),
                    Err(TrySendError::Full(item)) => {
                        self.place = Some(chan.putters.stand(cx, chan.got.wait(), item));
                        Poll::Pending
                    }
                };
            }
            if chan.refuses.get() {
                return Poll::Ready(self.leave().map_or(Ok(()), |item| Err(SendError(item))));
            }
            let sent = chan.putters.poll(&mut self.place, cx, || chan.got.wait());
            sent.map(|()| {
                chan.put.serve();
                Ok(())
            })
        })
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("waits", &self.place.is_some()).finish()
    }
}

/// Takes an item out of a channel or queue: see [`Receiver::receiving`](super::channel::Receiver::receiving)
/// and [`Queue::getting`](super::Queue::getting).
#[must_use = "an operation does nothing until it is waited for"]
pub struct Receiving<'a, T> {
    chan: &'a Chan<T>,
    place: Option<Key>,
}

impl<T> Receiving<'_, T> {
    #[inline(never)] // So that one which has not waited is dropped without a frame.
    fn give_up(&mut self) {
        let Chan { promised, .. } = self.chan;
        if self.leave() && promised.get() > 0 {
            promised.set(promised.get() - 1);
            self.chan.promise();
        }
    }

    /// Leaves the line. Returns `true` if an item was promised to it.
    fn leave(&mut self) -> bool {
        self.place.take().is_some_and(|key| self.chan.getters.leave(key).is_none())
    }
}

impl<T> Future for Receiving<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        wait::poll_within_budget(cx, |cx| {
            let chan = self.chan;
            if self.place.is_none() {
                return match chan.try_get() {
                    Ok(item) => Poll::Ready(Ok(item)),
                    Err(TryRecvError::Disconnected) => Poll::Ready(Err(RecvError)),
                    Err(TryRecvError::Empty) => {
                        self.place = Some(chan.getters.stand(cx, chan.put.wait(), ()));
                        Poll::Pending
                    }
                };
            }
            if chan.is_over() {
                self.leave();
                return Poll::Ready(Err(RecvError));
            }
            let granted = chan.getters.poll(&mut self.place, cx, || chan.put.wait());
            granted.map(|()| Ok(chan.take_promised()))
        })
    }
}

impl<T> Drop for Receiving<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.place.is_some() {
            self.give_up();
        }
    }
}

impl<T> fmt::Debug for Receiving<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("waits", &self.place.is_some()).finish()
    }
}

/// Waits for `receiving`, for `limit` at most.
#[track_caller]
pub(super) fn recv_timeout<T>(
    limit: Duration,
    receiving: impl Future<Output = Result<T, RecvError>>,
) -> Result<T, RecvTimeoutError> {
    let received = door::wait(timeout(limit, receiving));
    received.map_err(|_| RecvTimeoutError::Timeout)?.map_err(Into::into)
}

/// What was not sent in time, or not at all, given back. (crossbeam-channel's; std has none.)
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// The time has passed, and there was no room.
    Timeout(T),
    /// No task receives any more.
    Disconnected(T),
}

impl<T> SendTimeoutError<T> {
    /// What was not sent.
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(item) | SendTimeoutError::Disconnected(item) => item,
        }
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "Timeout(..)",
            SendTimeoutError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "timed out sending on a full channel",
            SendTimeoutError::Disconnected(_) => "sending on a closed channel",
        })
    }
}

impl<T> Error for SendTimeoutError<T> {}
