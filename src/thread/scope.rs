//! Greenlets that borrow, under std's names.

use std::fmt;
use std::panic::{Location, RefUnwindSafe};
use std::thread::Result;

use super::join::{begin, payload};
use super::park::Thread;
use crate::eras::scope::green as scoped;
use crate::run::spawn::check_spawn;
use crate::task;

/// Where greenlets are spawned that may borrow what outlives the call of [`scope()`]: [`std::thread::Scope`].
#[repr(transparent)]
pub struct Scope<'scope, 'env>(scoped::Scope<'scope, 'env>);

/// Opens a scope for greenlets that borrow, and waits for all of them before it returns: [`std::thread::scope`].
///
/// # Panics
///
/// With whatever `body` panics with, after its greenlets were cancelled and have ended; when one of them panicked
/// and was not joined; outside of a task.
///
/// # Cancellation
///
/// When the calling task is cancelled, or a time limit around the scope passes, all greenlets of the scope are
/// cancelled; the stack unwinds from here when they have ended.
#[track_caller]
pub fn scope<'env, F, T>(body: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    scoped::scope(|scope| body(Scope::of(scope)))
}

impl<'scope, 'env> Scope<'scope, 'env> {
    fn of(scope: &'scope scoped::Scope<'scope, 'env>) -> &'scope Scope<'scope, 'env> {
        let scope = std::ptr::from_ref(scope).cast::<Scope<'scope, 'env>>();
        // SAFETY: it is `repr(transparent)`, so that it is the same in memory, and the lifetimes are the same.
        unsafe { &*scope }
    }

    /// Starts a greenlet of the scope, that may borrow what outlives it.
    ///
    /// # Panics
    ///
    /// As [`spawn`](super::spawn).
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, body: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        self.begin(task::Builder::new().at(Location::caller()), body)
    }

    #[track_caller]
    pub(super) fn begin<T: 'scope>(
        &'scope self,
        builder: task::Builder,
        body: impl FnOnce() -> T + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        check_spawn();
        let mut thread = None;
        let task = self.0.adopt(
            |()| body(),
            |code| {
                let begun = begin(builder, move || code(&()));
                thread = Some(begun.thread);
                begun.task
            },
        );
        ScopedJoinHandle { task, thread: thread.expect("the scope has spawned it") }
    }
}

/// As std's: what unwinds out of a scope has waited for its greenlets.
impl RefUnwindSafe for Scope<'_, '_> {}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A greenlet of a [`Scope`]: [`std::thread::ScopedJoinHandle`]. Dropping it detaches the greenlet, which the scope
/// still waits for.
pub struct ScopedJoinHandle<'scope, T> {
    task: scoped::ScopedJoinHandle<'scope, T>,
    thread: Thread,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the greenlet is done.
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`](super::JoinHandle::join).
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// The result is lost; the scope still waits for the greenlet.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        let ScopedJoinHandle { task, thread } = self;
        drop(thread); // As in `JoinHandle::join`.
        task.join().map_err(payload)
    }

    /// Whether the greenlet is done.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Which greenlet it is.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.fmt(f)
    }
}
