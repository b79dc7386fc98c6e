//! A queue whose least item comes out first.

use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use super::semaphore::Semaphore;
use crate::inspect::holders::Kind;
use crate::kernel::door;
use crate::op::timeout;
use crate::time::Elapsed;

const ITEMS: Kind = Kind { what: "an item of a priority queue", how: "" };

/// A queue of any length of which the least item comes out first, and of equal ones the one that was put in first.
/// ([`Reverse`] makes it the greatest; Python's `PriorityQueue`.)
///
/// ```
/// use wouldblock::{generator, sync::PriorityQueue};
///
/// wouldblock::run(|| {
///     let jobs = std::rc::Rc::new(PriorityQueue::new());
///     for job in [(2, "sweep"), (1, "repair"), (2, "dust")] {
///         jobs.put(job);
///     }
///     assert_eq!(jobs.get(), (1, "repair"));
///     let task = generator::spawn(move |y| [y.wait(jobs.getting()).1, y.wait(jobs.getting()).1]);
///     assert_eq!(task.join().unwrap(), ["dust", "sweep"]); // the tuples differ, and are compared whole
/// });
/// ```
pub struct PriorityQueue<T> {
    items: RefCell<BinaryHeap<Reverse<Entry<T>>>>,
    /// How many items were ever put in.
    put: Cell<u64>,
    /// A permit for each item.
    there: Semaphore,
}

struct Entry<T> {
    item: T,
    number: u64,
}

impl<T: Ord> PriorityQueue<T> {
    /// An empty queue.
    pub fn new() -> PriorityQueue<T> {
        let items = RefCell::new(BinaryHeap::new());
        PriorityQueue { items, put: Cell::new(0), there: Semaphore::of(0, &ITEMS) }
    }

    /// Puts an item in. This never waits.
    ///
    /// # Panics
    ///
    /// With the panic of the items' comparison; and if that uses this queue.
    pub fn put(&self, item: T) {
        let number = self.put.replace(self.put.get() + 1);
        self.items.borrow_mut().push(Reverse(Entry { item, number }));
        self.there.release(1);
    }

    /// Waits for an item, and takes the least out: the green era's way.
    ///
    /// # Blocking
    ///
    /// The task waits until there is an item that no task before it takes. Where there is one, it goes on, but may give the
    /// other tasks a turn first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task; and as [`put`](PriorityQueue::put).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn get(&self) -> T {
        self.there.acquire().forget();
        self.take()
    }

    /// [`get`](PriorityQueue::get), now or not at all.
    ///
    /// # Errors
    ///
    /// The queue is empty, or other tasks wait for what is in it.
    pub fn try_get(&self) -> Result<T, TryRecvError> {
        self.there.try_acquire().ok_or(TryRecvError::Empty)?.forget();
        Ok(self.take())
    }

    /// As [`get`](PriorityQueue::get), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Elapsed`], if the time has passed first.
    ///
    /// # Panics
    ///
    /// Outside of a task; and as [`put`](PriorityQueue::put).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<T, Elapsed> {
        door::wait(timeout(limit, self.getting()))
    }

    /// The operation behind [`get`](PriorityQueue::get): `y.wait(queue.getting())`, `queue.getting().await`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn getting(&self) -> T {
        self.there.acquiring().await.forget();
        self.take()
    }

    /// How many items are in it.
    pub fn len(&self) -> usize {
        self.items.borrow().len()
    }

    /// Returns `true` if it has no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take(&self) -> T {
        let least = self.items.borrow_mut().pop();
        least.expect("there are as many items as permits").0.item
    }
}

impl<T: Ord> Default for PriorityQueue<T> {
    fn default() -> PriorityQueue<T> {
        PriorityQueue::new()
    }
}

/// As std's: unwinding through a task that has it leaves it whole.
impl<T> UnwindSafe for PriorityQueue<T> {}
impl<T> RefUnwindSafe for PriorityQueue<T> {}

impl<T> fmt::Debug for PriorityQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PriorityQueue").field("there", &self.there).finish_non_exhaustive()
    }
}

impl<T: Ord> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.item.cmp(&other.item).then(self.number.cmp(&other.number))
    }
}

impl<T: Ord> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Entry<T> {}
