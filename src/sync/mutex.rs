//! A lock that tasks wait for without stopping the thread.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::wait_queue::Key;
use super::waiters::Waiters;
use crate::inspect::holders::{Kind, LastUse, Trail};
use crate::kernel::door;
use crate::kernel::wait;
use crate::op::timeout;
use crate::run::may_wait::may_take;
use crate::time::Elapsed;

/// [`std::sync::Mutex`] for the tasks of one thread: one task at a time has what is inside, and the others wait
/// for it without stopping the thread.
///
/// On one thread, a `RefCell` will do as long as no task waits while it is borrowed. A mutex is for what must stay as
/// it is *across* waits: a connection in the middle of a request, a file that is being rewritten.
///
/// ```
/// use std::rc::Rc;
/// use wouldblock::{future, generator, green, group::gather, sync::Mutex};
///
/// wouldblock::run(|| {
///     let account = Rc::new(Mutex::new(0));
///     let [a, b, c] = [account.clone(), account.clone(), account.clone()];
///     let tasks = [
///         generator::spawn(move |y| { let mut sum = y.wait(a.locking()); y.yield_now(); *sum += 1 }),
///         green::spawn(move || { let mut sum = b.lock(); green::yield_now(); *sum += 1 }),
///         future::spawn(async move { let mut sum = c.locking().await; future::yield_now().await; *sum += 1 }),
///     ];
///     green::wait(gather(tasks));
///     assert_eq!(*account.lock(), 3);
/// });
/// ```
///
/// **It is fair.** Unlocking hands the lock to the task that has waited longest, and none overtakes.
///
/// **It is not poisoned.** A guard that is dropped while its stack unwinds, because the task was cancelled or
/// panicked, unlocks; so `lock` gives the guard itself, and code that is moved here from std loses an
/// `unwrap`. What a cancelled task leaves half done is for its destructors, or
/// [`green::finally`](crate::green::finally), to put right before the guard is dropped.
///
/// A task that locks twice waits for itself. The report of the deadlock says so.
///
/// It stays on its thread; between threads, use another crate's channel or lock:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<wouldblock::sync::Mutex<i32>>();
/// ```
#[derive(Default)]
pub struct Mutex<T: ?Sized> {
    lock: Lock,
    value: RefCell<T>,
}

/// Whether it is locked, by which task, and which tasks wait.
struct Lock {
    /// Stays `true` while the lock is handed from one task to the next.
    locked: Cell<bool>,
    /// Each waiter brings what reports contain of it once the lock is handed to it, which may be long before its next
    /// turn.
    line: Waiters<Option<LastUse>>,
    trail: Trail,
}

const KIND: Kind = Kind { what: "a mutex", how: "held by" };

impl<T> Mutex<T> {
    /// An unlocked mutex around `value`.
    pub const fn new(value: T) -> Mutex<T> {
        let lock =
            Lock { locked: Cell::new(false), line: Waiters::new(), trail: Trail::new(&KIND) };
        Mutex { lock, value: RefCell::new(value) }
    }

    /// What was inside.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock: the green era's way, under std's name.
    ///
    /// # Blocking
    ///
    /// The task waits until all tasks that came before have unlocked. A lock that is free is taken, but
    /// the other tasks may be given a turn first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: a lock that was just handed over goes to the next in line.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let site = Location::caller();
        if may_take()
            && let Some(guard) = self.lock_now(site)
        {
            wait::spend();
            return guard;
        }
        self.wait_to_lock()
    }

    #[inline(never)] // So that a free lock needs no frame.
    #[track_caller]
    fn wait_to_lock(&self) -> MutexGuard<'_, T> {
        door::wait(self.locking())
    }

    /// The lock, if it is free.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.lock_now(Location::caller())
    }

    /// As [`lock`](Mutex::lock), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Elapsed`], if the time has passed first. A lock that is handed over by then wins.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`lock`](Mutex::lock).
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> Result<MutexGuard<'_, T>, Elapsed> {
        door::wait(timeout(limit, self.locking()))
    }

    /// The operation behind [`lock`](Mutex::lock): `y.wait(mutex.locking())`, `mutex.locking().await`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn locking(&self) -> Locking<'_, T> {
        self.locking_at(Location::caller())
    }

    /// What is inside, which has no other borrow.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn locking_at(&self, site: &'static Location<'static>) -> Locking<'_, T> {
        Locking { mutex: self, site, place: None }
    }

    #[inline]
    fn lock_now(&self, site: &'static Location<'static>) -> Option<MutexGuard<'_, T>> {
        (!self.lock.locked.replace(true)).then(|| self.locked(site))
    }

    /// The guard of the task that has got the lock.
    #[inline]
    fn locked(&self, site: &'static Location<'static>) -> MutexGuard<'_, T> {
        self.lock.trail.step(Some(site));
        MutexGuard { mutex: self, value: self.value.borrow_mut(), _lock: Unlock(&self.lock) }
    }
}

impl Lock {
    /// Hands the lock to the first task in the line; without one, it is free.
    #[inline]
    fn unlock(&self) {
        if self.line.is_empty() {
            self.locked.set(false);
        } else {
            self.hand_over();
        }
    }

    #[inline(never)] // So that the common case needs no frame.
    fn hand_over(&self) {
        if !self.line.grant(|last_use| self.trail.set_last(last_use)) {
            self.locked.set(false);
        }
    }

    /// An operation that stands in the line is dropped.
    #[inline(never)] // As `hand_over`.
    fn leave(&self, key: Key) {
        if self.line.leave(key).is_none() {
            self.unlock(); // It was handed over to an operation that no longer wants it.
        }
    }
}

/// As std's has: a guard that is dropped while its stack unwinds unlocks, and the mutex is as good as before.
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}
impl<T: ?Sized> UnwindSafe for MutexGuard<'_, T> {}
impl<T: ?Sized> RefUnwindSafe for MutexGuard<'_, T> {}

impl Default for Lock {
    fn default() -> Lock {
        Mutex::new(()).lock
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mutex");
        // Locked meanwhile, as std's is: what shows the value, or writes it somewhere, may wait.
        match self.try_lock() {
            Some(value) => shown.field("value", &&*value),
            None => shown.field("value", &format_args!("<locked>")),
        };
        shown.field("line", &self.lock.line).finish()
    }
}

/// See [`Mutex::locking`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Locking<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    site: &'static Location<'static>,
    place: Option<Key>,
}

impl<'a, T: ?Sized> Future for Locking<'a, T> {
    type Output = MutexGuard<'a, T>;

    #[inline(always)] // Into the verb: else what a free lock costs is mostly the call.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MutexGuard<'a, T>> {
        wait::poll_within_budget(cx, |cx| {
            let (mutex, site) = (self.mutex, self.site);
            if self.place.is_none()
                && let Some(guard) = mutex.lock_now(site)
            {
                return Poll::Ready(guard);
            }
            self.poll_in_line(cx).map(|()| mutex.locked(site))
        })
    }
}

impl<T: ?Sized> Locking<'_, T> {
    #[inline(never)] // As `Lock::hand_over`.
    fn poll_in_line(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Lock { line, trail, .. } = &self.mutex.lock;
        if self.place.is_some() {
            return line.poll(&mut self.place, cx, || trail.wait());
        }
        self.place = Some(line.stand(cx, trail.wait(), LastUse::here(Some(self.site))));
        Poll::Pending
    }
}

impl<T: ?Sized> Drop for Locking<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(key) = self.place.take() {
            self.mutex.lock.leave(key);
        }
    }
}

impl<T: ?Sized> fmt::Debug for Locking<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locking").field("waits", &self.place.is_some()).finish()
    }
}

/// The lock, held: gives what is inside of the [`Mutex`], and unlocks when it is dropped, which never waits.
#[must_use = "dropping the guard unlocks the mutex"]
pub struct MutexGuard<'a, T: ?Sized> {
    // The order is that in which they are dropped: no task is woken while the value is still borrowed.
    value: RefMut<'a, T>,
    _lock: Unlock<'a>,
    mutex: &'a Mutex<T>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Whose guard it is.
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

struct Unlock<'a>(&'a Lock);

impl Drop for Unlock<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.unlock();
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
