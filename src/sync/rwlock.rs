//! A lock that many tasks may have for reading, or one for writing.

use std::cell::{Ref, RefCell, RefMut};
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::semaphore::{Acquiring, Permit, Semaphore};
use crate::inspect::holders::Kind;
use crate::kernel::door;
use crate::op::timeout;
use crate::time::Elapsed;

/// [`std::sync::RwLock`] for the tasks of one thread: any number of tasks read what is inside, or one writes it.
///
/// It is a [`Semaphore`]: a reader has one permit, a writer has all of them.
///
/// ```
/// use std::rc::Rc;
/// use wouldblock::{future, generator, green, group::gather, sync::RwLock};
///
/// wouldblock::run(|| {
///     let config = Rc::new(RwLock::new(String::from("old")));
///     let [a, b, c] = [config.clone(), config.clone(), config.clone()];
///     let tasks = [
///         generator::spawn(move |y| { let text = y.wait(a.reading()); y.yield_now(); text.len() }),
///         green::spawn(move || { let text = b.read(); green::yield_now(); text.len() }),
///         future::spawn(async move { c.writing().await.push_str(", and new"); 0 }),
///     ];
///     let lengths: Vec<_> = green::wait(gather(tasks)).into_iter().map(Result::unwrap).collect();
///     assert_eq!(lengths, [3, 3, 0]);
///     assert_eq!(*config.read(), "old, and new");
/// });
/// ```
///
/// **It is fair.** Tasks are served in the order of arrival: a reader that comes after a waiting writer waits
/// behind it, so that readers do not starve writers. A task that reads, and reads again while a writer waits,
/// therefore waits for itself, as it may with std's lock.
///
/// **It is not poisoned**, as [`Mutex`](super::Mutex) is not: `read` and `write` return the guard itself.
///
/// It stays on its thread.
pub struct RwLock<T: ?Sized> {
    permits: Semaphore,
    value: RefCell<T>,
}

const KIND: Kind = Kind { what: "a reader-writer lock", how: "last locked by" };

/// What a writer takes.
const ALL: usize = usize::MAX;

impl<T> RwLock<T> {
    /// An unlocked lock around `value`.
    pub const fn new(value: T) -> RwLock<T> {
        RwLock { permits: Semaphore::of(ALL, &KIND), value: RefCell::new(value) }
    }

    /// Returns what was inside.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until no task writes: the green era's way, under std's name.
    ///
    /// # Blocking
    ///
    /// The task waits until all writers that came before have unlocked.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: a lock that was just handed over goes to the next in line.
    #[track_caller]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.readable(self.permits.acquire())
    }

    /// Waits until no other task reads or writes: the green era's way, under std's name.
    ///
    /// # Blocking
    ///
    /// The task waits until all that came before have unlocked.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`read`](RwLock::read).
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.writable(self.permits.acquire_many(ALL))
    }

    /// Returns a guard for reading, if no task writes or waits for the lock.
    #[track_caller]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        Some(self.readable(self.permits.try_acquire()?))
    }

    /// Returns the guard for writing, if the lock is free.
    #[track_caller]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        Some(self.writable(self.permits.try_acquire_many(ALL)?))
    }

    /// As [`read`](RwLock::read), for `limit` at most.
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
    /// As [`read`](RwLock::read).
    #[track_caller]
    pub fn read_timeout(&self, limit: Duration) -> Result<RwLockReadGuard<'_, T>, Elapsed> {
        door::wait(timeout(limit, self.reading()))
    }

    /// As [`write`](RwLock::write), for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`read_timeout`](RwLock::read_timeout).
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`read`](RwLock::read).
    #[track_caller]
    pub fn write_timeout(&self, limit: Duration) -> Result<RwLockWriteGuard<'_, T>, Elapsed> {
        door::wait(timeout(limit, self.writing()))
    }

    /// The operation behind [`read`](RwLock::read): `y.wait(lock.reading())`, `lock.reading().await`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn reading(&self) -> Reading<'_, T> {
        Reading { lock: self, acquiring: self.permits.acquiring() }
    }

    /// The operation behind [`write`](RwLock::write): `y.wait(lock.writing())`, `lock.writing().await`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn writing(&self) -> Writing<'_, T> {
        Writing { lock: self, acquiring: self.permits.acquiring_many(ALL) }
    }

    /// Returns what is inside, of which the caller has the only borrow.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn readable<'a>(&'a self, permit: Permit<'a>) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard { value: self.value.borrow(), _permit: permit }
    }

    fn writable<'a>(&'a self, permit: Permit<'a>) -> RwLockWriteGuard<'a, T> {
        RwLockWriteGuard { value: self.value.borrow_mut(), _permit: permit }
    }
}

/// As std's has: a guard that is dropped while its stack unwinds unlocks, and the lock is as good as before.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RwLock");
        match self.try_read() {
            Some(value) => shown.field("value", &&*value),
            None => shown.field("value", &format_args!("<locked>")),
        };
        shown.finish_non_exhaustive()
    }
}

/// See [`RwLock::reading`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Reading<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    acquiring: Acquiring<'a>,
}

impl<'a, T: ?Sized> Future for Reading<'a, T> {
    type Output = RwLockReadGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lock = self.lock;
        Pin::new(&mut self.acquiring).poll(cx).map(|permit| lock.readable(permit))
    }
}

impl<T: ?Sized> fmt::Debug for Reading<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reading").field(&self.acquiring).finish()
    }
}

/// See [`RwLock::writing`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Writing<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    acquiring: Acquiring<'a>,
}

impl<'a, T: ?Sized> Future for Writing<'a, T> {
    type Output = RwLockWriteGuard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lock = self.lock;
        Pin::new(&mut self.acquiring).poll(cx).map(|permit| lock.writable(permit))
    }
}

impl<T: ?Sized> fmt::Debug for Writing<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writing").field(&self.acquiring).finish()
    }
}

/// The lock, held for reading: unlocks when it is dropped, which never waits.
#[must_use = "dropping the guard unlocks the lock"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    // Dropped in this order: no task is woken while the value is still borrowed.
    value: Ref<'a, T>,
    _permit: Permit<'a>,
}

/// The lock, held for writing: unlocks when it is dropped, which never waits.
#[must_use = "dropping the guard unlocks the lock"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    // Dropped in this order: no task is woken while the value is still borrowed.
    value: RefMut<'a, T>,
    _permit: Permit<'a>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

// As std's: a reader sees what was left half done only where it could also see that without a lock.
impl<T: ?Sized + RefUnwindSafe> UnwindSafe for RwLockReadGuard<'_, T> {}
impl<T: ?Sized + RefUnwindSafe> RefUnwindSafe for RwLockReadGuard<'_, T> {}
impl<T: ?Sized> UnwindSafe for RwLockWriteGuard<'_, T> {}
impl<T: ?Sized> RefUnwindSafe for RwLockWriteGuard<'_, T> {}

macro_rules! shows_what_is_inside {
    ($($guard:ident),*) => {$(
        impl<T: ?Sized + fmt::Debug> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<T: ?Sized + fmt::Display> fmt::Display for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    )*};
}

shows_what_is_inside!(RwLockReadGuard, RwLockWriteGuard);
