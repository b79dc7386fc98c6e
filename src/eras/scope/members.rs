//! The tasks of a scope, a group or a pool, its *members*: counted, cancelled together, and waited for together. If
//! they fail together, the first failure cancels all members, and stops the *body*, which is the code that spawned
//! them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::Location;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::kernel::cancel::{self, Limit};
use crate::kernel::door;
use crate::kernel::edge::entered::now;
use crate::kernel::edge::open_guard::OpenGuard;
use crate::kernel::edge::{unwinding, waker, warn};
use crate::kernel::here::in_task;
use crate::kernel::task::{TaskRef, Waiter};
use crate::kernel::wait::{self, Wait};
use crate::run::join::BareHandle;

pub(crate) struct Members {
    /// What reports call the members.
    what: &'static &'static str,
    running: Cell<usize>,
    /// How many members may still run when `waiter` is woken: 1 if the task that waits is itself a member, else 0.
    rest: Cell<usize>,
    cancelled: Cell<bool>,
    /// When a member or the body last failed, if they fail together: the body is under a `cancel::Limit` with this as its
    /// deadline, so that it unwinds at its next wait. `None`: none has failed.
    stopped: Cell<Option<Instant>>,
    /// The task that runs the body, if a failure unwinds the body: it is woken for that.
    owner: Option<TaskRef>,
    waiter: Cell<Option<Waiter>>,
    /// All members that were spawned; those that are done are removed now and then.
    tasks: Cell<Vec<BareHandle>>,
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

    /// Members that fail together. `owner`: the task that calls [`enclose_together`](Members::enclose_together).
    pub(crate) fn failing_with(owner: Option<TaskRef>, what: &'static &'static str) -> Members {
        Members { owner, ..Members::of(what) }
    }

    pub(crate) fn len(&self) -> usize {
        self.running.get()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.get() == 0
    }

    /// Counts one member more, until it [`leave`](Members::leave)s.
    pub(crate) fn enter(&self) {
        self.running.set(self.running.get() + 1);
    }

    pub(crate) fn leave(&self) {
        self.running.set(self.running.get() - 1);
        if self.have_ended() {
            self.wake();
        }
    }

    /// Wakes the task that waits for the end of the members.
    pub(crate) fn wake(&self) {
        if let Some(waiter) = self.waiter.take() {
            waker::wake_waiter(waiter);
        }
    }

    /// Keeps `task`, to cancel it with the others.
    pub(crate) fn keep(&self, task: BareHandle) {
        if self.cancelled.get() {
            task.cancel();
        }
        let mut tasks = self.tasks.take();
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
            tasks.reserve(tasks.len() + 1); // The next sweep comes when as many have been added as remain now.
        }
        tasks.push(task);
        self.tasks.set(tasks);
    }

    /// Cancels all members, also those that are spawned later.
    pub(crate) fn cancel(&self) {
        self.cancelled.set(true);
        self.cancel_present();
    }

    /// Cancels all members that there are now.
    pub(crate) fn cancel_present(&self) {
        let tasks = self.tasks.take();
        tasks.iter().for_each(BareHandle::cancel);
        self.tasks.set(tasks);
    }

    /// A member or the body has failed: cancels all members, also later ones, and unwinds the body where it waits.
    pub(crate) fn stop(&self) {
        self.cancel();
        if self.stopped.replace(Some(now())).is_none() {
            self.wake();
            self.owner.iter().for_each(|owner| waker::wake_waiter(Waiter::Task(owner.clone())));
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get().is_some()
    }

    /// Registers the task that polls, to be woken when the last member has ended, or by [`wake`](Members::wake).
    pub(crate) fn watch(&self, cx: &Context<'_>) {
        self.waiter.set(Some(door::waiter(cx)));
        wait::record(cx, Wait::named(self.what));
    }

    /// Whether no member runs, or only the one that waits for the others.
    fn have_ended(&self) -> bool {
        self.running.get() <= self.rest.get()
    }

    /// Ready when the members [have ended](Members::have_ended).
    pub(crate) fn poll_empty(&self, cx: &Context<'_>) -> Poll<()> {
        if self.have_ended() {
            return Poll::Ready(());
        }
        self.watch(cx);
        Poll::Pending
    }

    /// Waits until the members [have ended](Members::have_ended).
    fn wait(&self, site: &'static Location<'static>) {
        door::wait_at(site, poll_fn(|cx| self.poll_empty(cx)));
    }

    /// Cancels all members, and waits, shielded, until they have ended; but not for the running task, if that is a
    /// member: it would wait for its own end.
    pub(crate) fn cancel_and_await_others(&self) {
        self.cancel();
        let tasks = self.tasks.take();
        self.rest.set(tasks.iter().any(BareHandle::is_current).into());
        self.tasks.set(tasks);
        cancel::shield(|| self.wait(Location::caller()));
    }

    /// Calls `body`, and returns or unwinds when no member runs any more. The members are cancelled if `body` unwinds,
    /// or if the task is to unwind while it waits here.
    ///
    /// On this rests that members may borrow from the caller's frame: where this cannot wait for them, it aborts (`Bomb`);
    /// and a member that is abandoned never leaves, so that this never returns: then the frame is leaked with its stack,
    /// or, if it is the root's, `Root` aborts.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    #[track_caller]
    pub(crate) fn enclose<T>(&self, body: impl FnOnce() -> T) -> T {
        let site = Location::caller();
        unwinding::refuse_while_unwinding();
        assert!(in_task(), "a scope outside of any task: call it inside `wouldblock::run(|| ..)`");
        let _open = OpenGuard::one(|open| &open.scopes);
        let result = unwinding::catch(body);
        let waited = match &result {
            Ok(_) => unwinding::catch(|| self.wait(site)),
            Err(_) => Ok(()),
        };
        if result.is_err() || waited.is_err() {
            self.cancel();
            let bomb = Bomb;
            if !self.is_empty() {
                cancel::shield(|| self.wait(site));
            }
            std::mem::forget(bomb);
        }
        if let Err(payload) = waited {
            drop(result); // Only now, when no member runs: the destructor of the result may unwind as well.
            unwinding::unwind_with(payload);
        }
        result.unwrap_or_else(|payload| unwinding::unwind_with(payload))
    }

    /// As [`enclose`](Members::enclose), for a body that fails together with the members: its error is passed to
    /// `fail`, which calls [`stop`](Members::stop). Returns `None` if the body has failed, or was stopped.
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

/// The first error of members that fail together.
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

/// Aborts the process: a scope that cannot wait for its tasks must not end, since they borrow from the frames below it.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        warn::print(format_args!(
            "a scope is left while its tasks run, where it cannot wait for them; aborting"
        ));
        std::process::abort();
    }
}
