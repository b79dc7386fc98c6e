//! Greenlets under std's handle.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::thread::Result;

use super::park::{OWN, Own, Parker, Thread};
use crate::run::join::{JoinError, JoinHandle as TaskHandle};
use crate::task;

/// Spawns a greenlet with a [`Parker`], which the handle has too.
#[track_caller]
pub(super) fn begin<T: 'static>(
    builder: task::Builder,
    body: impl FnOnce() -> T + 'static,
) -> JoinHandle<T> {
    let parker = Arc::new(Parker::default());
    let own = Own::of(&parker);
    let task = builder.spawn(move || {
        OWN.set(own);
        body()
    });
    JoinHandle { thread: Thread::of(&task.task, parker), task }
}

/// A greenlet that was spawned: [`std::thread::JoinHandle`]. Dropping it detaches the greenlet, which runs on.
///
/// For the other eras, there is [`joining`](JoinHandle::joining).
pub struct JoinHandle<T> {
    pub(super) task: TaskHandle<T>,
    pub(super) thread: Thread,
}

impl<T> JoinHandle<T> {
    /// Waits until the greenlet is done.
    ///
    /// # Errors
    ///
    /// The payload of its panic, as std's; or, in the same place, a [`JoinError`] that says why there is no result:
    /// it was cancelled, had no stack, or is the one that calls.
    ///
    /// ```
    /// use wouldblock::{JoinError, thread};
    ///
    /// wouldblock::run(|| {
    ///     let endless = thread::spawn(|| thread::park());
    ///     endless.cancel();
    ///     let payload = endless.join().unwrap_err();
    ///     assert!(payload.downcast_ref::<JoinError>().unwrap().is_cancelled());
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// The result is lost; the greenlet runs on.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        let JoinHandle { task, thread } = self;
        drop(thread); // So that the report of a deadlock is certain: nothing unparks the task through this handle.
        task.join().map_err(payload)
    }

    /// The operation behind [`join`](JoinHandle::join), for all eras: the handle that
    /// [`green::spawn`](crate::green::spawn) gives. Its error is the [`JoinError`].
    ///
    /// # Cancellation
    ///
    /// The result is lost; the greenlet runs on.
    pub fn joining(self) -> TaskHandle<T> {
        self.task
    }

    /// Asks the greenlet to stop where it waits, now or next: see [`JoinHandle::cancel`](TaskHandle::cancel). (std
    /// has no such thing.)
    pub fn cancel(&self) {
        self.task.cancel();
    }

    /// Whether the greenlet is done, so that `join` would return at once.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Which greenlet it is.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.fmt(f)
    }
}

/// What std's `join` fails with.
pub(super) fn payload(error: JoinError) -> Box<dyn Any + Send> {
    error.into_panic().unwrap_or_else(|error| Box::new(error))
}
