//! How a green scope starts its tasks. They are greenlets: this is read after `eras/green.rs`.

use std::panic::Location;

use super::green::{Scope, ScopedJoinHandle, TryScope};
use crate::run::spawn::check_spawn;
use crate::task;

impl<'scope> Scope<'scope, '_> {
    /// Starts a task of the scope, that may borrow what outlives it.
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
        let site = Location::caller();
        self.adopt(body, |code| task::Builder::new().at(site).spawn(code))
    }
}

impl<'scope, 'env: 'scope, E: 'env> TryScope<'scope, 'env, E> {
    /// Starts a task of the scope, that may borrow what outlives it, and cancels the others if it fails.
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
}
