//! The async/await era: a future returns `Pending`, and is polled again when it is woken.
//!
//! While a task waits, only its future is kept, and no stack. The price is a *colour*: each function that may wait is
//! `async`, and is called with `.await`. (So in Python since 3.5, PEP 492, and in Rust.)
//!
//! ```
//! use std::time::Duration;
//! use wouldblock::{future, green, time};
//!
//! async fn nap(ms: u64) -> u64 {
//!     time::sleeping(Duration::from_millis(ms)).await;
//!     ms
//! }
//!
//! wouldblock::run(|| {
//!     let slow = future::spawn(nap(20));
//!     let fast = future::spawn(async { nap(10).await });
//!     let sum = async { slow.await.unwrap() + fast.await.unwrap() };
//!     assert_eq!(green::wait(sum), 30);
//! });
//! ```
//!
//! Here the colour is no barrier. A future is polled on a pooled stack: if code that it calls waits the green way
//! (`std::io::Read` on one of this crate's sockets, ureq, `green::sleep`), that stack stays with the task until the
//! poll returns, and the other tasks run on meanwhile. This costs one switch there and back in each poll, measured in
//! `benches/README.md`. Code of a task that is not `async` can wait for a future, too, with
//! [`green::wait`](crate::green::wait); the `block_on` of another executor would block the thread.

use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};

use crate::kernel::cancel;
use crate::kernel::coroutine::{Fiber, Switch};
use crate::kernel::door;
use crate::kernel::edge::foreign::contain;
use crate::kernel::edge::observe::Era;
use crate::kernel::edge::unwinding;
use crate::kernel::task::TurnEnd;
use crate::kernel::wait::{self, Record};
use crate::run::join::{JoinHandle, Promise};
use crate::run::spawn::{Body, launch, on_poll_fiber};
use crate::task;

pub use crate::eras::scope::future::{Scope, Scoped, TryScope, scope, try_scope};

/// Starts a task that polls `future` until it is ready.
///
/// The task is put at the end of the queue, and first polled when its turn comes.
///
/// # Panics
///
/// Outside of a run; and when the run is ending, unless the thread is unwinding: then the task is spawned, cancelled
/// before it begins, and a warning is logged.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: 'static> + 'static,
{
    task::Builder::new().spawn_future(future)
}

impl task::Builder {
    /// Starts a task that polls `future` until it is ready: see [`future::spawn`](spawn).
    ///
    /// # Panics
    ///
    /// As [`future::spawn`](spawn).
    #[track_caller]
    pub fn spawn_future<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        let (future, begun, is_done) =
            (UnsafeCell::new(Some(future)), Cell::new(false), Cell::new(false));
        launch(self.setup(Era::Future), Polled { future, begun, is_done })
    }
}

/// The body of a future's task.
struct Polled<F> {
    future: UnsafeCell<Option<F>>,
    begun: Cell<bool>,
    is_done: Cell<bool>,
}

impl<F: Future<Output: 'static> + 'static> Body for Polled<F> {
    type Output = F::Output;

    fn begin(&self, promise: Promise<F::Output>) -> TurnEnd {
        let this = ptr::from_ref(self);
        // SAFETY: a body stays in its place until its task is over, and so while the poll lasts.
        let poll = move || unsafe { (*this).poll(promise) };
        // SAFETY: as in `Polled::poll`. The two never overlap: without a stack, `drop_code` is called in place of `poll`.
        let future = || unsafe { Pin::new_unchecked(&mut *self.future.get()) };
        let drop_code = || {
            self.is_done.set(true);
            future().set(None);
        };
        match on_poll_fiber(&promise, poll, drop_code) {
            Switch::Finished if self.is_done.get() => TurnEnd::Over,
            _ => TurnEnd::GivenUp,
        }
    }

    fn end(&self, promise: Promise<F::Output>, fiber: Fiber) -> TurnEnd {
        promise.local().stack.set(0);
        drop(fiber); // It goes back to its pool.
        if self.is_done.get() { TurnEnd::Over } else { TurnEnd::GivenUp }
    }
}

impl<F: Future<Output: 'static> + 'static> Polled<F> {
    /// Polls the future once. If the task is over then, drops the future and fulfils the promise.
    fn poll(&self, promise: Promise<F::Output>) {
        // SAFETY: the future stays in its place until it is dropped there, since a body does not move; and no other
        // code accesses it: only turns of the task come here, one at a time.
        let mut future = unsafe { Pin::new_unchecked(&mut *self.future.get()) };
        let polled = match !self.begun.replace(true) && promise.local().is_to_stop() {
            true => {
                promise.never_begins();
                None
            }
            false => {
                let now = future.as_mut().as_pin_mut().expect("polled until it is ready");
                let record = Record::new();
                match unwinding::catch(|| door::poll(&record, now)) {
                    Ok(Poll::Pending) if cancel::check_future(&record.wait) => None,
                    Ok(Poll::Pending) => return door::store_record(&record),
                    Ok(Poll::Ready(value)) => Some(Ok(value)),
                    Err(payload) => Some(Err(payload)),
                }
            }
        };
        self.is_done.set(true);
        promise.fulfil(move || {
            if let Some(Err(payload)) = polled {
                // The task's panic is the first; a second one, in a destructor, is only reported by the panic hook.
                contain(|| future.set(None));
                unwinding::unwind_with(payload);
            }
            future.set(None);
            match polled {
                Some(Ok(value)) => value,
                _ => cancel::raise_cancelled(),
            }
        });
    }
}

/// Returns an operation that gives every other ready task a turn when it is waited for.
///
/// `y.wait(future::yield_now())` is `y.yield_now()`.
#[must_use = "an operation does nothing until it is waited for"]
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// See [`yield_now`].
#[derive(Debug)]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // If this is polled again after it was ready, it gives another turn, and never completes without one.
        self.yielded = !self.yielded;
        if self.yielded { wait::another_turn(cx) } else { Poll::Ready(()) }
    }
}

/// The functions and traits of this era: `use wouldblock::future::prelude::*`.
pub mod prelude {
    pub use super::{spawn, yield_now};
    pub use futures_lite::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
}
