//! The result of one task, for any number that wait for it.

use std::cell::OnceCell;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::kernel::{door, wait};
use crate::op::timeout;
use crate::run::join::{JoinError, JoinHandle};
use crate::run::may_wait::may_take;
use crate::sync::Event;
use crate::time::Elapsed;

/// Makes a handle that can be cloned: any number of tasks may wait for one task, each as often as it likes. (gevent's
/// `Greenlet.get`, asyncio's `Future`.)
///
/// ```
/// use wouldblock::{future, green, group::share};
///
/// wouldblock::run(|| {
///     let answer = share(green::spawn(|| { green::yield_now(); 42 }));
///     let same = answer.clone();
///     let green = green::spawn(move || *same.join().as_ref().unwrap());
///     let same = answer.clone();
///     let future = future::spawn(async move { *same.joining().await.as_ref().unwrap() });
///     assert_eq!((green.join().unwrap(), future.join().unwrap()), (42, 42));
///     assert_eq!(*answer.join().as_ref().unwrap(), 42); // once more
/// });
/// ```
///
/// When the last clone is dropped, the task runs on, detached.
pub fn share<T: 'static>(handle: JoinHandle<T>) -> Shared<T> {
    let state = Rc::new(State {
        handle,
        result: OnceCell::new(),
        ended: Event::of(&"the end of a task whose handle is shared"),
    });
    let weak = Rc::downgrade(&state);
    state.handle.bare().at_end(move || {
        if let Some(state) = weak.upgrade() {
            state.ended.set();
        }
    });
    Shared(state)
}

/// See [`share`].
pub struct Shared<T>(Rc<State<T>>);

struct State<T> {
    handle: JoinHandle<T>,
    result: OnceCell<Result<T, JoinError>>,
    ended: Event,
}

impl<T: 'static> Shared<T> {
    /// Waits for the task, and returns its result, which all see: the green era's way.
    ///
    /// # Blocking
    ///
    /// The calling task waits until the task has ended.
    ///
    /// # Panics
    ///
    /// In the task itself, and if it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost; the task runs on.
    #[track_caller]
    pub fn join(&self) -> &Result<T, JoinError> {
        match self.try_join().filter(|_| may_take()) {
            Some(result) => {
                wait::spend();
                result
            }
            None => door::wait(self.joining()),
        }
    }

    /// As [`join`](Shared::join), for `limit` at most.
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
    /// Nothing is lost; the task runs on.
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> Result<&Result<T, JoinError>, Elapsed> {
        door::wait(timeout(limit, self.joining()))
    }

    /// The operation behind [`join`](Shared::join): `y.wait(task.joining())`, `task.joining().await`.
    ///
    /// # Panics
    ///
    /// In the task itself.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost; the task runs on.
    pub async fn joining(&self) -> &Result<T, JoinError> {
        let itself = self.0.handle.bare().is_current();
        assert!(!itself, "{:?} waits for itself, which would never end", self.0.handle);
        loop {
            let joined = |cx: &mut Context<'_>| {
                wait::poll_within_budget(cx, |_| Poll::Ready(self.try_join()))
            };
            if let Some(result) = poll_fn(joined).await {
                return result;
            }
            self.0.ended.waiting().await;
        }
    }

    /// The result, if the task has ended. This never waits.
    pub fn try_join(&self) -> Option<&Result<T, JoinError>> {
        let State { handle, result, ended } = &*self.0;
        if result.get().is_none() && ended.is_set() {
            // The task has ended: the handle is ready, and registers no waiter.
            let mut noop = Context::from_waker(Waker::noop());
            if let Poll::Ready(joined) = handle.poll_by_ref(&mut noop) {
                let _ = result.set(joined);
            }
        }
        result.get()
    }

    /// Cancels the task, for all: see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.0.handle.cancel();
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(self.0.clone())
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.0.handle).finish()
    }
}
