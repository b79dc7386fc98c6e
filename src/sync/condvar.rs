//! Waiting until what a mutex guards has changed.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::mutex::{Locking, MutexGuard};
use super::wait_queue::Key;
use super::waiters::Waiters;
use crate::kernel::door;
use crate::kernel::wait::{self, Wait};
use crate::op::timeout;
use crate::run::may_wait::WithinBudget;
use crate::time::now;

/// [`std::sync::Condvar`] for the tasks of one thread: gives up a mutex until a task notifies that what it guards has
/// changed.
///
/// As with std's: another task may have changed it again before the lock is back, or the notification may have
/// been meant for one that was cancelled; so wait in a loop, or with [`wait_while`](Condvar::wait_while).
///
/// ```
/// use std::rc::Rc;
/// use wouldblock::{green, sync::{Condvar, Mutex}};
///
/// wouldblock::run(|| {
///     let shared = Rc::new((Mutex::new(0), Condvar::new()));
///     let theirs = shared.clone();
///     drop(green::spawn(move || {
///         let (count, changed) = &*theirs;
///         for _ in 0..3 {
///             *count.lock() += 1;
///             changed.notify_one();
///         }
///     }));
///     let (count, changed) = &*shared;
///     let count = changed.wait_while(count.lock(), |count| *count < 3);
///     assert_eq!(*count, 3);
/// });
/// ```
#[derive(Debug)]
pub struct Condvar {
    line: Waiters<()>,
}

impl Condvar {
    /// A condition variable for which no task waits.
    pub const fn new() -> Condvar {
        Condvar { line: Waiters::new() }
    }

    /// Wakes the task that has waited longest, if any waits.
    pub fn notify_one(&self) {
        self.line.grant(drop);
    }

    /// Wakes the `n` tasks that have waited longest, or all if fewer wait. (Python's `notify(n)`.)
    pub fn notify_n(&self, n: usize) {
        for _ in 0..n.min(self.line.len()) {
            self.notify_one();
        }
    }

    /// Wakes all tasks that wait, in the order in which they came.
    pub fn notify_all(&self) {
        self.line.grant_all();
    }

    /// Unlocks, waits to be notified, and locks again: the green era's way, under std's name.
    ///
    /// # Blocking
    ///
    /// The task waits until it is notified, and then for the lock.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// The lock is given up. A notification that was meant for this task goes to the next in line.
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        door::wait(self.waiting(guard))
    }

    /// Waits as long as `condition` holds.
    ///
    /// # Panics
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Condvar::wait).
    #[track_caller]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let within = WithinBudget::begin();
        while condition(&mut *guard) {
            guard = self.wait(guard);
        }
        within.end();
        guard
    }

    /// As [`wait`](Condvar::wait), but waits for a notification for `limit` at most. The lock is waited for
    /// all the same.
    ///
    /// # Panics
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Condvar::wait).
    #[track_caller]
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> (MutexGuard<'a, T>, WaitTimeoutResult) {
        let mutex = guard.mutex();
        let baton = door::wait(timeout(limit, self.notified(guard))).ok();
        let timed_out = baton.is_none();
        let guard = mutex.lock();
        mem::forget(baton);
        (guard, WaitTimeoutResult(timed_out))
    }

    /// Waits as long as `condition` holds, for `limit` at most in all. If that passes, the result's
    /// [`timed_out`](WaitTimeoutResult::timed_out) is true, and `condition` held when it was last looked at.
    ///
    /// # Panics
    ///
    /// As [`wait`](Condvar::wait).
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Condvar::wait).
    #[track_caller]
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        limit: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> (MutexGuard<'a, T>, WaitTimeoutResult) {
        let begin = now();
        let within = WithinBudget::begin();
        loop {
            let holds = condition(&mut *guard);
            let left = limit.saturating_sub(now().saturating_duration_since(begin));
            if !holds || left.is_zero() {
                within.end();
                return (guard, WaitTimeoutResult(holds));
            }
            guard = self.wait_timeout(guard, left).0;
        }
    }

    /// The operation behind [`wait`](Condvar::wait): `y.wait(condvar.waiting(guard))`,
    /// `condvar.waiting(guard).await`.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Condvar::wait).
    #[track_caller]
    pub fn waiting<'c, 'a, T: ?Sized>(
        &'c self,
        guard: MutexGuard<'a, T>,
    ) -> CondvarWaiting<'c, 'a, T> {
        let locking = guard.mutex().locking();
        CondvarWaiting { notified: self.notified(guard), baton: None, locking }
    }

    fn notified<'c, 'a, T: ?Sized>(&'c self, guard: MutexGuard<'a, T>) -> Notified<'c, 'a, T> {
        Notified { condvar: self, guard: Some(guard), place: None }
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

/// Whether [`Condvar::wait_timeout`] returned because the time had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// The time passed, and the task was not notified.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// The first half of a wait: unlocks, and is ready with the notification.
struct Notified<'c, 'a, T: ?Sized> {
    condvar: &'c Condvar,
    guard: Option<MutexGuard<'a, T>>,
    place: Option<Key>,
}

impl<'c, T: ?Sized> Future for Notified<'c, '_, T> {
    type Output = Baton<'c>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Baton<'c>> {
        wait::poll_within_budget(cx, |cx| {
            let condvar = self.condvar;
            let wait = || Wait::named(&"a condition variable to be notified");
            if self.place.is_some() {
                return condvar.line.poll(&mut self.place, cx, wait).map(|()| Baton(condvar));
            }
            // First in line, then unlocked: a task that gets the lock now may notify.
            self.place = Some(condvar.line.stand(cx, wait(), ()));
            self.guard = None;
            Poll::Pending
        })
    }
}

impl<T: ?Sized> Drop for Notified<'_, '_, T> {
    fn drop(&mut self) {
        if let Some(key) = self.place.take()
            && self.condvar.line.leave(key).is_none()
        {
            self.condvar.notify_one();
        }
    }
}

/// A notification, passed on if the task that has it is gone before it has got the lock back.
struct Baton<'c>(&'c Condvar);

impl Drop for Baton<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// See [`Condvar::waiting`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct CondvarWaiting<'c, 'a, T: ?Sized> {
    notified: Notified<'c, 'a, T>,
    baton: Option<Baton<'c>>,
    locking: Locking<'a, T>,
}

impl<'a, T: ?Sized> Future for CondvarWaiting<'_, 'a, T> {
    type Output = MutexGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MutexGuard<'a, T>> {
        if self.baton.is_none() {
            self.baton = Some(ready!(Pin::new(&mut self.notified).poll(cx)));
        }
        let guard = ready!(Pin::new(&mut self.locking).poll(cx));
        mem::forget(self.baton.take());
        Poll::Ready(guard)
    }
}

impl<T: ?Sized> fmt::Debug for CondvarWaiting<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CondvarWaiting").field("notified", &self.baton.is_some()).finish()
    }
}
