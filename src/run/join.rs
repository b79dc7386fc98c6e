//! The result of a task: the task's code writes it through a [`Promise`], and other code takes it through a
//! [`JoinHandle`], as a value or as a [`JoinError`]. It lies behind the task, in the same block of memory.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::kernel::cancel;
use crate::kernel::coroutine::Fiber;
use crate::kernel::door;
use crate::kernel::edge::foreign::{aside, contain};
use crate::kernel::edge::observe::Outcome;
use crate::kernel::edge::unwinding;
use crate::kernel::edge::waker;
use crate::kernel::edge::warn;
use crate::kernel::here::{current, running_task};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Local, State, Task, TaskRef, Waiter};
use crate::kernel::wait::{self, Wait, WaitFor};
use crate::run::join_error::Reason;

pub use crate::run::join_error::JoinError;

/// A handle to a spawned task. Waiting for it, in any era, returns what the task's code has returned.
///
/// The handle is an operation: `handle.join()` waits for it in the green era, `y.wait(handle)` in a generator, and
/// `handle.await` in a future. Dropping the handle detaches the task, which goes on.
///
/// ```
/// use wouldblock::{future, generator, green};
///
/// wouldblock::run(|| {
///     let a = generator::spawn(|y| { y.yield_now(); 1 });
///     let b = green::spawn(|| 2);
///     let c = future::spawn(async move { b.await.unwrap() + 1 });
///     assert_eq!((a.join().unwrap(), c.join().unwrap()), (1, 3));
/// });
/// ```
///
/// # Cancellation
///
/// If you are cancelled while you wait for a handle, the handle is dropped. The task goes on, and its result is lost. To
/// keep the result, wait for `&mut handle`.
pub struct JoinHandle<T> {
    /// The task begins a [`Packet`] with a `T`.
    pub(crate) task: TaskRef,
    result: PhantomData<Rc<Cell<T>>>,
}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// The task begins a `Packet<T>`, and its `takers` counts the new handle.
    pub(crate) unsafe fn of(task: TaskRef) -> JoinHandle<T> {
        JoinHandle { task, result: PhantomData }
    }

    /// The result, if the task has one and no code has taken it.
    pub(crate) fn result(&self) -> &Cell<Option<Result<T, JoinError>>> {
        // SAFETY: by `of`, the task begins such a packet; this handle keeps the task, and so the whole block.
        unsafe { &(*self.task.as_ptr().cast::<Packet<T>>()).result }
    }

    fn local(&self) -> &Local {
        self.task.local()
    }

    /// Waits until the task is done: the green era's verb, under its name in std.
    ///
    /// # Errors
    ///
    /// Returns an error if the task panicked (the error has the payload), was cancelled, or joins itself.
    ///
    /// # Panics
    ///
    /// Panics outside of a task.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        door::wait(self)
    }

    /// Cancels the task: it stops where it waits now, or at its next wait. A future is dropped, a generator is closed, and
    /// the stack of a greenlet is unwound. Destructors run, and joining the task returns a [`JoinError`] for which
    /// [`is_cancelled`](JoinError::is_cancelled) returns `true`. This does nothing if the task is done.
    ///
    /// This does not wait until the task has stopped: join it for that.
    pub fn cancel(&self) {
        self.bare().cancel();
    }

    /// Registers a callback for the end of the task. The scheduler calls it once, between two turns, after the callbacks
    /// that were registered before it, and before the task that joins this one goes on. If the task is done already,
    /// `callback` is called at once.
    ///
    /// The callback gets a reference to the result, which a join then still returns. A callback may spawn, cancel and
    /// wake. It is code of no task, so it must not wait; it may spawn a task that does. (gevent's `link`, asyncio's
    /// `add_done_callback`.)
    ///
    /// If a callback panics, the panic is logged as an error, and the next callback is called. A result that no code will
    /// take is dropped after the last callback, where its destructor must not wait either.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use wouldblock::green;
    ///
    /// wouldblock::run(|| {
    ///     let calls = Rc::new(RefCell::new(Vec::new()));
    ///     let task = green::spawn(|| 6 * 7);
    ///     for name in ["first", "second"] {
    ///         let calls = calls.clone();
    ///         task.on_done(move |result| {
    ///             calls.borrow_mut().push((name, *result.as_ref().unwrap()));
    ///         });
    ///     }
    ///     assert_eq!(task.join().unwrap(), 42);
    ///     assert_eq!(*calls.borrow(), [("first", 42), ("second", 42)]);
    /// });
    /// ```
    ///
    /// # Cancellation
    ///
    /// A cancelled task is done when it has unwound; then its callbacks get the [`JoinError`]. Dropping the handle removes
    /// no callback.
    pub fn on_done(&self, callback: impl FnOnce(&Result<T, JoinError>) + 'static)
    where
        T: 'static,
    {
        self.at_end(move |done| {
            let result = done.take();
            let called = panic::catch_unwind(AssertUnwindSafe(|| callback(&result)));
            done.result().set(Some(result));
            called.unwrap_or_else(|payload| panic::resume_unwind(payload));
        });
    }

    /// Registers a callback for the end of the task: see [`BareHandle::at_end`]. It gets a handle of its own. So a
    /// result that no other code will take is dropped there, and not on the task's stack.
    pub(crate) fn at_end(&self, call: impl FnOnce(&JoinHandle<T>) + 'static)
    where
        T: 'static,
    {
        self.local().takers.set(self.local().takers.get() + 1);
        // SAFETY: of the same type, and just counted.
        let done = unsafe { JoinHandle::<T>::of(self.task.clone()) };
        self.bare().at_end(move || call(&done));
    }

    /// Takes the result of a task that is done or abandoned.
    pub(crate) fn take(&self) -> Result<T, JoinError> {
        self.result().take().unwrap_or_else(|| match self.local().state.get() {
            State::Abandoned => Err(self.error(Reason::Abandoned)),
            _ => Err(self.error(Reason::Taken)),
        })
    }

    /// Whether the task is done, so that waiting for it would return at once. A task that was abandoned at the end of its
    /// run is not done, although waiting for it returns an error at once.
    pub fn is_finished(&self) -> bool {
        self.bare().is_finished()
    }

    /// A handle to the same task, without the result.
    pub(crate) fn bare(&self) -> BareHandle {
        BareHandle(self.task.clone())
    }

    fn error(&self, reason: Reason) -> JoinError {
        JoinError::new(self.task.clone().into_shared(), reason)
    }

    /// Whether this thread has entered another runtime than the task's.
    pub(crate) fn is_elsewhere(&self) -> bool {
        Scheduler::with(|s| s.is_some_and(|s| !Arc::ptr_eq(&s.home, &self.task.home)))
    }
}

/// A handle without the result: it cancels the task, compares it with the running one, and calls back at its end.
pub(crate) struct BareHandle(pub(crate) TaskRef);

impl BareHandle {
    /// See [`JoinHandle::cancel`].
    pub(crate) fn cancel(&self) {
        let BareHandle(task) = self;
        let mark = |home: &Scheduler| {
            if home.mark_cancelled(task) {
                home.observe_cancelled(task);
            }
        };
        if Scheduler::entered(|home| ptr::eq(home, &*task.home), mark).is_none() {
            task.local().cancelled.set(true);
        }
        waker::wake_waiter(Waiter::Task(task.clone()));
    }

    /// Registers a callback for the end of the task, which is called [`aside`]; at once if the task is done.
    pub(crate) fn at_end(&self, call: impl FnOnce() + 'static) {
        let local = self.0.local();
        local.extras.with(|extras| extras.callbacks.push_back(Box::new(call)));
        if matches!(local.state.get(), State::Done | State::Abandoned) {
            local.extras.call_callbacks(&self.0);
            if let Some(joiner) = local.joiner.take() {
                // It has joined while a callback had the result on loan. (A task that is done keeps no reference to another.)
                waker::wake_waiter(joiner);
            }
        }
    }

    /// Whether the task is the running one.
    pub(crate) fn is_current(&self) -> bool {
        ptr::eq(running_task(), self.0.as_ptr())
    }

    /// See [`JoinHandle::is_finished`].
    pub(crate) fn is_finished(&self) -> bool {
        self.0.local().state.get() == State::Done
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        wait::poll_within_budget(cx, |cx| self.poll_by_ref(cx))
    }
}

impl<T> JoinHandle<T> {
    /// As `poll`, by a shared reference. Only one waiter is kept, the last.
    pub(crate) fn poll_by_ref(&self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        // Not before: the destructors of its task-local values may wait after the result is set.
        let is_over = matches!(self.local().state.get(), State::Done | State::Abandoned);
        match is_over.then(|| self.result().take()).flatten() {
            // Both tasks are cancelled. The result is put back and the poll is pending, so that the caller unwinds by its
            // own cancellation and not with this error.
            Some(Err(error))
                if error.is_cancelled() && cancel::is_cancelled() && wait::is_own(cx.waker()) =>
            {
                self.result().set(Some(Err(error)));
                return Poll::Pending;
            }
            Some(result) => return Poll::Ready(result),
            None => {}
        }
        let local = self.local();
        if self.is_elsewhere() {
            return Poll::Ready(Err(self.error(Reason::Elsewhere)));
        }
        let waiter = door::waiter(cx); // Before the state is read: cloning a waker may run user code.
        match local.state.get() {
            State::Running | State::Woken => Poll::Ready(Err(self.error(Reason::Itself))),
            // While a callback has the result on loan, this waits until the result is given back.
            State::Done | State::Abandoned if !local.extras.if_any(|extras| extras.calls_back) => {
                Poll::Ready(self.take())
            }
            _ => {
                local.joiner.set(Some(waiter));
                wait::record(cx, Wait::new(WaitFor::Task(self.task.id)));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let takers = &self.local().takers;
        takers.set(takers.get() - 1);
        if takers.get() == 0 {
            discard(self.result());
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({})", self.task)
    }
}

/// A task and its result: the beginning of the block of memory in which a task lies.
#[repr(C)]
pub(crate) struct Packet<T> {
    task: Task,
    /// Only the home thread uses it. It is empty when the last handle is gone and the task is over. So the block may be
    /// freed on any thread.
    result: Cell<Option<Result<T, JoinError>>>,
}

impl<T> Packet<T> {
    pub(crate) fn new(task: Task) -> Packet<T> {
        Packet { task, result: Cell::new(None) }
    }
}

/// Drops a result that no code will take.
fn discard<T>(result: &Cell<Option<Result<T, JoinError>>>) {
    if let Some(Err(error)) = result.take() {
        error.log_if_lost();
    }
}

/// The side of a result that the task writes; a `JoinHandle` is the other.
pub(crate) struct Promise<T>(NonNull<Packet<T>>);

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Promise<T> {
        *self
    }
}

impl<T> Copy for Promise<T> {}

impl<T> Promise<T> {
    /// # Safety
    ///
    /// `task` begins a `Packet<T>`, and the caller is on its home thread. No method is called after the task is over.
    pub(crate) unsafe fn of(task: NonNull<Task>) -> Promise<T> {
        Promise(task.cast())
    }

    fn packet(&self) -> &Packet<T> {
        // SAFETY: by `of`, the task begins such a packet and is not over; so the table of its scheduler keeps it.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn task(&self) -> &Task {
        &self.packet().task
    }

    pub(crate) fn local(&self) -> &Local {
        // SAFETY: by `of`, this is its home thread.
        unsafe { self.task().local() }
    }

    /// Keeps the fiber that the task is suspended on.
    ///
    /// # Safety
    ///
    /// The caller is the task's `Body::begin`, on the scheduler's stack.
    pub(crate) unsafe fn keep(&self, fiber: Fiber) {
        // SAFETY: `Code::begin` calls `Body::begin`.
        unsafe { self.local().keep(fiber) };
    }

    /// Ends a task for which there is no stack: `error` is its result, and `drop_code` drops its code.
    pub(crate) fn no_stack(&self, error: io::Error, drop_code: impl FnOnce()) {
        let task = current().expect("a body is called in its task's turn");
        aside(format_args!("a destructor of {task}"), || drop_values(task.local()));
        let error = JoinError::new(task.clone().into_shared(), Reason::NoStack(error));
        self.packet().result.set(Some(Err(error)));
        aside(format_args!("a destructor of {task}"), drop_code);
        if self.local().takers.get() == 0 {
            discard(&self.packet().result);
        }
        note(Outcome::Panicked);
    }

    /// As [`fulfil`](Promise::fulfil), for code that has not begun: if the task was cancelled, drops the code.
    pub(crate) fn begin(self, code: impl FnOnce() -> T) {
        if cancel::is_cancelled() {
            self.never_begins();
            return self.fulfil(|| {
                let _dropped = code; // It is dropped while the stack unwinds, as the captures of a body are.
                cancel::raise_cancelled()
            });
        }
        self.fulfil(code);
    }

    /// Called if the running task was cancelled before it began. If its handle was dropped, no result reports that, and
    /// this logs a debug line.
    #[cold]
    pub(crate) fn never_begins(&self) {
        if self.local().takers.get() == 0 {
            let is_over =
                Scheduler::with(|scheduler| scheduler.is_some_and(|s| s.end.closing.get()));
            let when = if is_over {
                "had not begun when its run ended"
            } else {
                "was cancelled before it began"
            };
            let task = self.task();
            warn::debug(format_args!("{task}, whose handle was dropped, {when}"));
        }
    }

    /// Runs the task's code, and sets the result: a value, a panic, or a cancellation.
    ///
    /// This runs on the task's own stack, and so does the destructor of a result that no code will take.
    pub(crate) fn fulfil(self, code: impl FnOnce() -> T) {
        let mut failure = None;
        let result = unwinding::catch(code).map_err(|payload| {
            let (reason, outcome) = match cancel::is_to_root(&*payload) {
                true => (Reason::Cancelled, Outcome::Cancelled),
                false => (Reason::Panicked(Mutex::new(payload)), Outcome::Panicked),
            };
            failure = Some(outcome);
            let task = current().expect("a body is called in its task's turn");
            JoinError::new(task.into_shared(), reason)
        });
        self.packet().result.set(Some(result));
        let (has_taker, local) = (self.local().takers.get() > 0, self.local());
        if !has_taker || local.extras.if_any(|extras| !extras.values.is_empty()) {
            // The panic hook reports a panic of these destructors; no join can return it. The destructors may wait, as
            // cleanup may: the cancelled code has ended.
            cancel::shield(|| {
                if !has_taker {
                    contain(|| discard(&self.packet().result));
                }
                drop_values(local);
            });
        }
        if let Some(failure) = failure {
            note(failure);
        }
    }
}

/// Drops the task-local values of the running task.
fn drop_values(local: &Local) {
    // A destructor may read another task-local value, which makes that one.
    while let Some(value) = local.extras.if_any(|extras| extras.values.pop()) {
        contain(|| drop(value));
    }
}

/// Notes in the scheduler how the running task ends.
fn note(failure: Outcome) {
    Scheduler::with(|scheduler| scheduler.into_iter().for_each(|s| s.set_outcome(failure)));
}
