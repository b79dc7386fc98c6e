//! A queue of work that knows when all of it has been done.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::chan::{Chan, Receiving, SendTimeoutError, Sending};
use super::channel::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
use super::wait_queue::Key;
use super::waiters::Waiters;
use crate::inspect::holders::Kind;
use crate::kernel::door;
use crate::kernel::wait::{self, Wait};
use crate::op::timeout;
use crate::run::may_wait::may_take;
use crate::time::Elapsed;

/// Python's `Queue` (of `queue`, `gevent.queue`, `asyncio`): one object for both ends, a count of what is not
/// done yet, and a shutdown.
///
/// ```
/// use std::rc::Rc;
/// use wouldblock::{green, sync::Queue};
///
/// wouldblock::run(|| {
///     let queue = Rc::new(Queue::bounded(4));
///     for _ in 0..3 {
///         let queue = queue.clone();
///         drop(green::spawn(move || while let Ok(job) = queue.get() {
///             let _: i32 = job;
///             green::yield_now(); // the work
///             queue.task_done();
///         }));
///     }
///     for job in 0..10 {
///         queue.put(job).unwrap();
///     }
///     queue.join(); // all ten are done
///     queue.shutdown(); // the three workers return
/// });
/// ```
pub struct Queue<T> {
    chan: Chan<T>,
    done: Cell<u64>,
    joiners: Waiters<()>,
}

const KINDS: [Kind; 2] = [
    Kind { what: "an item of a queue", how: "last put into by" },
    Kind { what: "room in a queue", how: "last got from by" },
];

impl<T> Queue<T> {
    /// A queue that holds `capacity` items; then putters wait. With 0, a put completes when the item has been handed to
    /// a getter. (In Python, 0 means any number.)
    pub const fn bounded(capacity: usize) -> Queue<T> {
        Queue { chan: Chan::new(capacity, &KINDS), done: Cell::new(0), joiners: Waiters::new() }
    }

    /// A queue that holds any number of items.
    pub const fn unbounded() -> Queue<T> {
        Queue::bounded(usize::MAX)
    }

    /// Puts an item in, and waits while there is no room: the green era's way.
    ///
    /// # Errors
    ///
    /// The queue is shut down. The error has the item.
    ///
    /// # Blocking
    ///
    /// The task waits until there is room and all tasks that came before have put. Where there is room, it
    /// goes on, but may give the other tasks a turn first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// The item, if it has not been put, is dropped.
    #[inline]
    #[track_caller]
    pub fn put(&self, item: T) -> Result<(), SendError<T>> {
        self.chan.put(item)
    }

    /// Puts an item in if there is room, or a task waits for one.
    ///
    /// # Errors
    ///
    /// There is no room, or the queue is shut down. The error has the item.
    #[inline]
    pub fn try_put(&self, item: T) -> Result<(), TrySendError<T>> {
        self.chan.try_put(item)
    }

    /// As [`put`](Queue::put), for `limit` at most.
    ///
    /// # Errors
    ///
    /// The time has passed first, or the queue is shut down. The error has the item.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`put`](Queue::put).
    #[track_caller]
    pub fn put_timeout(&self, item: T, limit: Duration) -> Result<(), SendTimeoutError<T>> {
        self.chan.put_timeout(item, limit)
    }

    /// The operation behind [`put`](Queue::put): `y.wait(queue.putting(item))`, `queue.putting(item).await`.
    ///
    /// # Cancellation
    ///
    /// The item, if it has not been put, is dropped; [`Sending::give_back`] saves it.
    pub fn putting(&self, item: T) -> Sending<'_, T> {
        self.chan.sending(item)
    }

    /// Takes an item out, and waits while there is none: the green era's way.
    ///
    /// # Errors
    ///
    /// The queue is shut down, and empty.
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
    /// The queue loses nothing. An item that was handed over before the cancellation is taken: this returns it, and the
    /// task stops at its next wait, with the item. An operation that is dropped instead, as one that has lost in a
    /// `select`, leaves its item to the next in line, or in the queue.
    #[inline]
    #[track_caller]
    pub fn get(&self) -> Result<T, RecvError> {
        self.chan.get()
    }

    /// Takes an item out if there is one that is promised to no task.
    ///
    /// # Errors
    ///
    /// There is none; or none any more, since the queue is shut down.
    #[inline]
    pub fn try_get(&self) -> Result<T, TryRecvError> {
        self.chan.try_get()
    }

    /// As [`get`](Queue::get), for `limit` at most. If the time has passed, nothing was taken.
    ///
    /// # Errors
    ///
    /// The time has passed first; or the queue is shut down, and empty.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`get`](Queue::get).
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<T, RecvTimeoutError> {
        self.chan.get_timeout(limit)
    }

    /// The operation behind [`get`](Queue::get): `y.wait(queue.getting())`, `queue.getting().await`.
    ///
    /// # Cancellation
    ///
    /// As [`get`](Queue::get).
    pub fn getting(&self) -> Receiving<'_, T> {
        self.chan.receiving()
    }

    /// Counts one item as done: to be called when the work on an item that was taken out is finished.
    ///
    /// # Panics
    ///
    /// If it is called more often than there were items.
    #[track_caller]
    pub fn task_done(&self) {
        assert!(self.unfinished() > 0, "task_done() is called more often than there were items");
        self.finish(1);
    }

    /// How many items were put in, and are not [done](Queue::task_done) yet.
    pub fn unfinished(&self) -> u64 {
        self.chan.accepted() - self.done.get()
    }

    /// Waits until all that was put in is [done](Queue::task_done): the green era's way.
    ///
    /// # Blocking
    ///
    /// The task waits until nothing is [unfinished](Queue::unfinished). If that is so, it goes
    /// on, but may give the other tasks a turn first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn join(&self) {
        match may_take() && self.unfinished() == 0 {
            true => wait::spend(),
            false => door::wait(self.joining()),
        }
    }

    /// As [`join`](Queue::join), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Elapsed`], if the time has passed first.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> Result<(), Elapsed> {
        door::wait(timeout(limit, self.joining()))
    }

    /// The operation behind [`join`](Queue::join): `y.wait(queue.joining())`, `queue.joining().await`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn joining(&self) -> Joining<'_, T> {
        Joining { queue: self, place: None }
    }

    /// Refuses items from now on. Items that are there can still be taken out. Each task that waits gets an error; that
    /// of a put has the item.
    pub fn shutdown(&self) {
        self.chan.refuse();
        self.chan.end();
    }

    /// Refuses items from now on, and returns those that are there, which count as done. Each task that waits gets an
    /// error, also one that was handed an item and has not had its turn since.
    pub fn shutdown_now(&self) -> Vec<T> {
        self.chan.refuse();
        let items = self.chan.clear();
        self.chan.end();
        self.finish(items.len() as u64);
        items.into()
    }

    /// How many items are in the queue.
    pub fn len(&self) -> usize {
        self.chan.len()
    }

    /// How many items there is room for; `None`: for any number.
    pub fn capacity(&self) -> Option<usize> {
        self.chan.capacity()
    }

    /// Whether there is no room: a put would wait, unless a task waits for an item.
    pub fn is_full(&self) -> bool {
        self.chan.is_full()
    }

    /// Whether nothing is in the queue.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn finish(&self, items: u64) {
        self.done.set(self.done.get() + items);
        if self.unfinished() == 0 {
            self.joiners.grant_all();
        }
    }
}

/// As std's: unwinding through a task that has it leaves it whole.
impl<T> UnwindSafe for Queue<T> {}
impl<T> RefUnwindSafe for Queue<T> {}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} items, {} unfinished)", self.len(), self.unfinished())
    }
}

/// See [`Queue::joining`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Joining<'a, T> {
    queue: &'a Queue<T>,
    place: Option<Key>,
}

impl<T> Future for Joining<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        wait::poll_within_budget(cx, |cx| {
            let Queue { joiners, .. } = self.queue;
            let wait = || Wait::named(&"the items of a queue to be done");
            if self.place.is_some() {
                return joiners.poll(&mut self.place, cx, wait);
            }
            if self.queue.unfinished() == 0 {
                return Poll::Ready(());
            }
            self.place = Some(joiners.stand(cx, wait(), ()));
            Poll::Pending
        })
    }
}

impl<T> Drop for Joining<'_, T> {
    fn drop(&mut self) {
        if let Some(key) = self.place {
            self.queue.joiners.leave(key);
        }
    }
}

impl<T> fmt::Debug for Joining<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joining").field("waits", &self.place.is_some()).finish()
    }
}
