//! A time limit that is a value: a piece of code that can be cancelled from elsewhere, with a deadline that can be moved.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{IntoFuture, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::kernel::cancel::Limit;
use crate::kernel::edge::entered::now;
use crate::kernel::edge::waker;
use crate::kernel::here;
use crate::kernel::task::{Task, TaskRef, Waiter};
use crate::run::may_wait::within_budget;
use crate::sync::Event;
use crate::time::sleeping_until;

/// A piece of code that can be cancelled from elsewhere, or at a deadline that can be read and moved while the code runs.
///
/// [`JoinHandle::cancel`](crate::JoinHandle::cancel) cancels a whole task, and [`green::timeout`](crate::green::timeout)
/// has a limit that stays as it is. A scope is for what lies between: a task that goes on after a part of it was cancelled, by
/// a user who presses Stop; a limit that begins anew with each sign of life. (trio's `CancelScope`, asyncio's `timeout`
/// with `reschedule`.)
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{Builder, CancelScope, green, time};
///
/// Builder::new().virtual_clock().run(|| {
///     let scope = CancelScope::after(Duration::from_secs(60));
///     let from_elsewhere = scope.clone(); // another handle to the same
///     let start = time::now();
///     let task = green::spawn(move || {
///         let done = scope.run(|| green::sleep(Duration::from_secs(3600)));
///         assert_eq!(done, None); // it was cancelled, and the task goes on
///         start.elapsed()
///     });
///     green::sleep(Duration::from_secs(1));
///     from_elsewhere.set_deadline(None); // for as long as it takes ..
///     green::sleep(Duration::from_secs(100));
///     from_elsewhere.cancel(); // .. or until now
///     task.join().unwrap();
///     assert_eq!(time::now() - start, Duration::from_secs(101));
/// });
/// ```
///
/// Scopes nest, with one another and with `green::timeout`: of several that end, the outermost counts. Several pieces of
/// code, of one task or of several, may run in one scope: they are all cancelled. A scope stays on its thread.
#[derive(Clone)]
pub struct CancelScope(Rc<State>);

struct State {
    /// Cancelling sets it to now, for ever.
    deadline: Cell<Option<Instant>>,
    is_cancelled: Cell<bool>,
    /// The tasks that run green code in it, which are woken when the deadline moves.
    inside: RefCell<Vec<TaskRef>>,
    /// Set and cleared when the deadline moves.
    moved: Event,
}

impl CancelScope {
    /// A scope without a deadline.
    pub fn new() -> CancelScope {
        CancelScope::with(None)
    }

    /// A scope that ends `limit` after this call. A limit beyond what the clock can represent is none.
    pub fn after(limit: Duration) -> CancelScope {
        CancelScope::with(now().checked_add(limit))
    }

    /// A scope that ends at `deadline`, by the clock of [`time::now`](crate::time::now).
    pub fn until(deadline: Instant) -> CancelScope {
        CancelScope::with(Some(deadline))
    }

    fn with(deadline: Option<Instant>) -> CancelScope {
        CancelScope(Rc::new(State {
            deadline: Cell::new(deadline),
            is_cancelled: Cell::new(false),
            inside: RefCell::default(),
            moved: Event::of(&"its cancel scope to move its deadline"),
        }))
    }

    /// Runs `body`: the green era's way. Returns `None` if the scope ended first: the stack is then unwound from wherever
    /// `body` waits, back to here.
    ///
    /// Code that never waits is not stopped: the end is noticed at the next wait. In a scope that has ended already, `body`
    /// runs up to its first wait.
    ///
    /// # Panics
    ///
    /// Outside of a task; and with the panic of `body`.
    ///
    /// # Cancellation
    ///
    /// As [`green::timeout`](crate::green::timeout): what `body` had done so far is lost but for what its destructors keep.
    #[track_caller]
    pub fn run<T>(&self, body: impl FnOnce() -> T) -> Option<T> {
        let task = here::current();
        let task =
            task.expect("a scope outside of any task: run it inside `wouldblock::run(|| ..)`");
        let state = self.0.clone(); // The frame keeps what it borrows.
        let _inside = Inside::enter(&state, task);
        within_budget(|| {
            Limit::hold(
                "`CancelScope::run`; use `y.wait(scope.running(..))`",
                &state.deadline,
                body,
            )
        })
    }

    /// The operation for all eras: waits for `operation`, within the scope. `y.wait(scope.running(operation))`,
    /// `scope.running(operation).await`. Gives `None` if the scope ended first; an operation that is ready wins.
    ///
    /// # Cancellation
    ///
    /// The operation is dropped, also when the scope ends: what is lost then is what it says under this heading.
    pub async fn running<O: IntoFuture>(&self, operation: O) -> Option<O::Output> {
        let mut operation = pin!(operation.into_future());
        loop {
            let mut moved = pin!(self.0.moved.waiting());
            let deadline = self.deadline();
            let mut due = pin!(async {
                match deadline {
                    Some(deadline) => sleeping_until(deadline).await,
                    None => std::future::pending().await,
                }
            });
            let first = poll_fn(|cx| {
                if let Poll::Ready(output) = operation.as_mut().poll(cx) {
                    return Poll::Ready(Some(Some(output)));
                }
                if self.deadline() != deadline {
                    // It has moved before this was registered for it.
                    return Poll::Ready(self.has_ended().then_some(None));
                }
                if due.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(None));
                }
                moved.as_mut().poll(cx).map(|()| None)
            });
            if let Some(ended) = first.await {
                return ended;
            }
        }
    }

    /// Ends the scope now: all that runs in it is cancelled where it waits, and so is all that is run in it later. This
    /// never waits.
    pub fn cancel(&self) {
        if !self.0.is_cancelled.replace(true) {
            self.0.move_to(Some(now()));
        }
    }

    /// Returns `true` if the scope was [cancelled](CancelScope::cancel), or its deadline has passed.
    pub fn has_ended(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now())
    }

    /// When it ends; `None`: not by itself. When it was cancelled, the time of that.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get()
    }

    /// Moves the deadline, also of code that runs. What was cancelled stays so. This never waits.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        if !self.0.is_cancelled.get() {
            self.0.move_to(deadline);
        }
    }
}

impl Default for CancelScope {
    fn default() -> CancelScope {
        CancelScope::new()
    }
}

impl fmt::Debug for CancelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { deadline, is_cancelled, .. } = &*self.0;
        let mut shown = f.debug_struct("CancelScope");
        shown.field("deadline", &deadline.get()).field("is_cancelled", is_cancelled);
        shown.finish_non_exhaustive()
    }
}

impl State {
    fn move_to(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
        // Each waits again, until the new one.
        let inside = self.inside.borrow().clone();
        inside.into_iter().for_each(|task| waker::wake_waiter(Waiter::Task(task)));
        self.moved.pulse();
    }
}

/// Lists a task as long as it runs code in the scope.
struct Inside<'a>(&'a State, *const Task);

impl Inside<'_> {
    fn enter(state: &State, task: TaskRef) -> Inside<'_> {
        let inside = Inside(state, task.as_ptr());
        state.inside.borrow_mut().push(task);
        inside
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut inside = self.0.inside.borrow_mut();
        let at = inside.iter().rposition(|task| task.as_ptr() == self.1);
        let left = at.map(|at| inside.swap_remove(at));
        drop(inside);
        drop(left);
    }
}
