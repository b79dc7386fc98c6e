//! Tasks that end before something else does: counted, cancelled together, and waited for together; where they
//! fail together, the first failure cancels them all, and stops the body, which is the code that spawned them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::kernel::cancel::{self, Limit};
use crate::kernel::door;
use crate::kernel::edge::entered::now;
use crate::kernel::edge::open_guard::OpenGuard;
use crate::kernel::edge::unwinding;
use crate::kernel::edge::waker;
use crate::kernel::edge::warn;
use crate::kernel::here::in_task;
use crate::kernel::task::{TaskRef, Waiter};
use crate::kernel::wait::{self, Wait};
use crate::run::join::Canceller;

pub(crate) struct Members {
    /// What reports call them.
    what: &'static &'static str,
    running: Cell<usize>,
    /// `waiter` is woken when only so many are left: 1 if it is a member itself, else 0.
    rest: Cell<usize>,
    cancelled: Cell<bool>,
    /// When the first of them failed, where they fail together.
    stopped: Cell<Option<Instant>>,
    /// The task that the body runs in, where they fail together and that is to be unwound.
    owner: Option<TaskRef>,
    waiter: Cell<Option<Waiter>>,
    /// All that were spawned; those that are done are cleared out now and then.
    tasks: Cell<Vec<Canceller>>,
}

impl Members {
    pub(crate) fn of(what: &'static &'static str) -> Members {
        Members {
            what,
            running: Cell::new(0),
            rest: Cell::new(0),
            cancelled: Cell::new(false),
            stopped: Cell::new(None),
            owner: None,
            waiter: Cell::new(None),
            tasks: Cell::default(),
        }
    }

    /// Those of a body that `owner` calls by [`enclose_together`](Members::enclose_together).
    pub(crate) fn failing_with(owner: Option<TaskRef>, what: &'static &'static str) -> Members {
        Members { owner, ..Members::of(what) }
    }

    pub(crate) fn len(&self) -> usize {
        self.running.get()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.get() == 0
    }

    /// One more, until it [`leave`](Members::leave)s.
    pub(crate) fn enter(&self) {
        self.running.set(self.running.get() + 1);
    }

    pub(crate) fn leave(&self) {
        self.running.set(self.running.get() - 1);
        if self.have_ended() {
            self.wake();
        }
    }

    /// Wakes the task that waits for their end.
    pub(crate) fn wake(&self) {
        if let Some(waiter) = self.waiter.take() {
            waker::wake_waiter(waiter);
        }
    }

    /// Has `task` cancelled with the others.
    pub(crate) fn keep(&self, task: Canceller) {
        if self.cancelled.get() {
            task.cancel();
        }
        let mut tasks = self.tasks.take();
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
            tasks.reserve(tasks.len() + 1); // The next sweep comes when as many tasks have been added as are left now.
        }
        tasks.push(task);
        self.tasks.set(tasks);
    }

    /// Cancels all, those to come as well.
    pub(crate) fn cancel(&self) {
        self.cancelled.set(true);
        self.cancel_present();
    }

    /// Cancels all that are there now.
    pub(crate) fn cancel_present(&self) {
        let tasks = self.tasks.take();
        tasks.iter().for_each(Canceller::cancel);
        self.tasks.set(tasks);
    }

    /// One of them, or the body, has failed: cancels all, those to come as well, and the body where it waits.
    pub(crate) fn stop(&self) {
        self.cancel();
        if self.stopped.replace(Some(now())).is_none() {
            self.wake();
            self.owner.iter().for_each(|owner| waker::wake(owner.clone()));
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get().is_some()
    }

    /// Registers the polling task, to be woken when the last member has left, or by [`wake`](Members::wake).
    pub(crate) fn watch(&self, cx: &Context<'_>) {
        self.waiter.set(Some(door::waiter(cx)));
        wait::record(cx, Wait::named(self.what));
    }

    /// Whether none is left, or none but the member that waits for the others.
    fn have_ended(&self) -> bool {
        self.running.get() <= self.rest.get()
    }

    /// Ready when they [have ended](Members::have_ended).
    pub(crate) fn poll_empty(&self, cx: &Context<'_>) -> Poll<()> {
        if self.have_ended() {
            return Poll::Ready(());
        }
        self.watch(cx);
        Poll::Pending
    }

    /// Waits until they [have ended](Members::have_ended).
    pub(crate) fn wait(&self) {
        door::wait(poll_fn(|cx| self.poll_empty(cx)));
    }

    /// Cancels all, and waits, shielded, until none is left but the running task, if that is one of them: it would
    /// wait for its own end.
    pub(crate) fn cancel_and_await_others(&self) {
        self.cancel();
        let tasks = self.tasks.take();
        self.rest.set(tasks.iter().any(Canceller::is_current).into());
        self.tasks.set(tasks);
        cancel::shield(|| self.wait());
    }

    /// Calls `body`, and returns or unwinds when none is left: they are cancelled if it unwinds, or if the task that
    /// waits here is.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    #[track_caller]
    pub(crate) fn enclose<T>(&self, body: impl FnOnce() -> T) -> T {
        unwinding::refuse_while_unwinding();
        assert!(in_task(), "a scope outside of any task: call it inside `wouldblock::run(|| ..)`");
        let _open = OpenGuard::one(|open| &open.scopes);
        let result = unwinding::catch(body);
        let waited = match &result {
            Ok(_) => unwinding::catch(|| self.wait()),
            Err(_) => Ok(()),
        };
        if result.is_err() || waited.is_err() {
            self.cancel();
            let bomb = Bomb;
            if !self.is_empty() {
                cancel::shield(|| self.wait());
            }
            std::mem::forget(bomb);
        }
        if let Err(payload) = waited {
            drop(result); // Not before none is left: what `body` returned may unwind as well.
            unwinding::unwind_with(payload);
        }
        result.unwrap_or_else(|payload| unwinding::unwind_with(payload))
    }

    /// As [`enclose`](Members::enclose), for a body that fails together with them: `fail`, which calls
    /// [`stop`](Members::stop), gets its error. Returns `None` if the body has failed, or was stopped.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    #[track_caller]
    pub(crate) fn enclose_together<T, E>(
        &self,
        what: &'static str,
        body: impl FnOnce() -> Result<T, E>,
        fail: impl FnOnce(E),
    ) -> Option<T> {
        self.enclose(|| match Limit::hold(what, &self.stopped, body)? {
            Ok(value) => Some(value),
            Err(error) => {
                fail(error);
                None
            }
        })
    }
}

/// The first error of those that fail together.
pub(crate) struct First<E>(RefCell<Option<E>>);

impl<E> First<E> {
    pub(crate) fn new() -> First<E> {
        First(RefCell::new(None))
    }

    /// Keeps `error` if there is none yet; else returns it.
    pub(crate) fn set(&self, error: E) -> Option<E> {
        let mut first = self.0.borrow_mut();
        match *first {
            None => first.replace(error),
            Some(_) => Some(error),
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(crate) fn take(&self) -> Option<E> {
        self.0.take()
    }
}

/// A scope that cannot wait for its tasks may not be left either: they borrow from what lies below.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        warn::print(format_args!(
            "a scope is left while its tasks run, where it cannot wait for them; aborting"
        ));
        std::process::abort();
    }
}
