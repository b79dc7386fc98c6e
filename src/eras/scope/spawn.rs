//! How a green scope starts tasks of each era.

use std::future::Future;
use std::panic::Location;

use super::green::{Scope, ScopedJoinHandle, TryScope};
use crate::eras::pep342::Yielder;
use crate::kernel::wait::Wait;
use crate::run::spawn::check_spawn;
use crate::task;

impl<'scope> Scope<'scope, '_> {
    /// Starts a greenlet of the scope. Its code may borrow what outlives the scope.
    ///
    /// # Panics
    ///
    /// As [`green::spawn`](crate::green::spawn).
    #[track_caller]
    pub fn spawn<T: 'scope>(
        &'scope self,
        body: impl FnOnce() -> T + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        check_spawn();
        let task = task::Builder::new().at(Location::caller());
        self.adopt(|()| body(), |code| task.spawn(move || code(&())))
    }

    /// Starts a generator of the scope: see [`spawn`](Scope::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Scope::spawn).
    #[track_caller]
    pub fn spawn_generator<T: 'scope>(
        &'scope self,
        body: impl FnOnce(&Yielder<Wait>) -> T + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        check_spawn();
        let task = task::Builder::new().at(Location::caller());
        self.adopt(body, |code| task.spawn_generator(code))
    }

    /// Starts a future of the scope: see [`spawn`](Scope::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Scope::spawn).
    #[track_caller]
    pub fn spawn_future<T: 'scope>(
        &'scope self,
        future: impl Future<Output = T> + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        check_spawn();
        let task = task::Builder::new().at(Location::caller());
        self.adopt_future(future, |code| task.spawn_future(code))
    }
}

impl<'scope, 'env: 'scope, E: 'env> TryScope<'scope, 'env, E> {
    /// Starts a greenlet of the scope. Its code may borrow what outlives the scope; if it fails, the others are
    /// cancelled.
    ///
    /// # Panics
    ///
    /// As [`green::spawn`](crate::green::spawn).
    #[track_caller]
    pub fn spawn<T: 'scope>(
        &'scope self,
        body: impl FnOnce() -> Result<T, E> + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        self.scope.spawn(|| self.value_of(body()))
    }

    /// Starts a generator of the scope: see [`spawn`](TryScope::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](TryScope::spawn).
    #[track_caller]
    pub fn spawn_generator<T: 'scope>(
        &'scope self,
        body: impl FnOnce(&Yielder<Wait>) -> Result<T, E> + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        self.scope.spawn_generator(|y| self.value_of(body(y)))
    }

    /// Starts a future of the scope: see [`spawn`](TryScope::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](TryScope::spawn).
    #[track_caller]
    pub fn spawn_future<T: 'scope>(
        &'scope self,
        future: impl Future<Output = Result<T, E>> + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        self.scope.spawn_future(async { self.value_of(future.await) })
    }
}
