//! How a task's result gets out: a [`Promise`] inside, a [`JoinHandle`] outside, a [`JoinError`] where there
//! is none. The result itself lies behind the task, in the same block of memory.

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
use crate::kernel::task::{Local, State, Task, TaskRef};
use crate::kernel::wait::{self, Wait, WaitFor};
use crate::run::join_error::Reason;

pub use crate::run::join_error::JoinError;

/// A task that was spawned: wait for it, in any era, to get what its code returned.
///
/// It is an operation. `join` waits for it in the green era, `y.wait(handle)` in a generator,
/// `handle.await` in a future. Dropping it detaches the task, which runs on.
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
/// If you are cancelled while you wait for it, the handle is dropped: the task runs on, its result is
/// lost. Keep the handle, and wait for `&mut handle`, where that matters.
pub struct JoinHandle<T> {
    /// It begins a [`Packet`] with a `T`.
    pub(crate) task: TaskRef,
    stays: PhantomData<Rc<Cell<T>>>,
}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// The task begins a `Packet<T>`, this is its home thread, and this is counted by its `takers`.
    pub(crate) unsafe fn of(task: TaskRef) -> JoinHandle<T> {
        JoinHandle { task, stays: PhantomData }
    }

    /// The result, if there is one and no other code has taken it.
    pub(crate) fn result(&self) -> &Cell<Option<Result<T, JoinError>>> {
        // SAFETY: by `of`, this is its type; the task, and so the whole block, is kept.
        unsafe { &(*self.task.as_ptr().cast::<Packet<T>>()).result }
    }

    fn local(&self) -> &Local {
        // SAFETY: a handle is not `Send`.
        unsafe { self.task.local() }
    }

    /// Waits until the task is done: the green era's verb, under its name in std.
    ///
    /// # Errors
    ///
    /// The task panicked (the error has the payload), was cancelled, or is the one that calls.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        door::wait(self)
    }

    /// Asks the task to stop where it waits, now or next: a future is dropped, a generator closed, a stack unwound.
    /// Its destructors run, and the task that joins it gets a [`JoinError`] that
    /// [`is_cancelled`](JoinError::is_cancelled). A task that is done stays done.
    ///
    /// This does not wait for the task to have stopped; join it for that.
    pub fn cancel(&self) {
        self.canceller().cancel();
    }

    /// Has `callback` called with the result when the task is done: once, by the scheduler, between two turns; after
    /// the callbacks that were added before it, and before the task that joins this one goes on. If the task is done
    /// already, it is called at once.
    ///
    /// It is given a reference to the result, which the task that joins then gets. A callback may spawn, cancel and
    /// wake; it belongs to no task, so it must not wait: spawn a task that does. (gevent's `link`, asyncio's
    /// `add_done_callback`.)
    ///
    /// A callback that panics stops no other: the panic is logged as an error, and the next one is called. A result
    /// that no task joins is dropped after the last of them, where its destructor must not wait either.
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
    /// A task that is cancelled is done when it has unwound: its callbacks get the [`JoinError`]. Dropping
    /// the handle takes back no callback.
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

    /// Has `call` called with the result when the task is done: see [`Canceller::at_end`]. If no other code wants the
    /// result, it is dropped there, and not on the task's stack.
    pub(crate) fn at_end(&self, call: impl FnOnce(&JoinHandle<T>) + 'static)
    where
        T: 'static,
    {
        self.local().takers.set(self.local().takers.get() + 1);
        // SAFETY: of the same type, on the same thread, and just counted.
        let done = unsafe { JoinHandle::<T>::of(self.task.clone()) };
        self.canceller().at_end(move || call(&done));
    }

    /// The result of the task, which has ended or is left.
    pub(crate) fn take(&self) -> Result<T, JoinError> {
        self.result().take().unwrap_or_else(|| match self.local().state.get() {
            State::Abandoned => Err(JoinError::new(self.task.clone(), Reason::Abandoned)),
            _ => Err(JoinError::new(self.task.clone(), Reason::Taken)),
        })
    }

    /// Whether the task is done, so that waiting for it would return at once. A task that was left unfinished when its run
    /// ended is not done; waiting for it returns an error at once.
    pub fn is_finished(&self) -> bool {
        self.canceller().is_finished()
    }

    /// The part of the handle that knows nothing of the result.
    pub(crate) fn canceller(&self) -> Canceller {
        // SAFETY: a handle is not `Send`.
        unsafe { Canceller::of(self.task.clone()) }
    }

    /// Whether the task belongs to another runtime of this thread.
    pub(crate) fn is_elsewhere(&self) -> bool {
        Scheduler::with(|s| s.is_some_and(|s| !Arc::ptr_eq(&s.home, &self.task.home)))
    }
}

/// A task that can be cancelled: it does not leave its thread.
pub(crate) struct Canceller {
    task: TaskRef,
    stays: PhantomData<Rc<()>>,
}

impl Canceller {
    /// # Safety
    ///
    /// This is called on the task's home thread.
    pub(crate) unsafe fn of(task: TaskRef) -> Canceller {
        Canceller { task, stays: PhantomData }
    }

    /// See [`JoinHandle::cancel`].
    pub(crate) fn cancel(&self) {
        Scheduler::at(Arc::as_ptr(&self.task.home), |here| match here {
            Some(here) if here.mark_cancelled(&self.task) => here.observe_cancelled(&self.task),
            Some(_) => {}
            // SAFETY: this was made on the task's home thread, and is not `Send`.
            None => unsafe { self.task.local() }.cancelled.set(true),
        });
        waker::wake(self.task.clone());
    }

    /// Has `call` called [`aside`] when the task is done, at once if it is.
    pub(crate) fn at_end(&self, call: impl FnOnce() + 'static) {
        // SAFETY: as in `cancel`.
        let local = unsafe { self.task.local() };
        local.extras.with(|extras| extras.callbacks.push_back(Box::new(call)));
        if matches!(local.state.get(), State::Done | State::Abandoned) {
            local.extras.call_callbacks(&self.task);
        }
    }

    /// Whether it is the running task.
    pub(crate) fn is_current(&self) -> bool {
        ptr::eq(running_task(), self.task.as_ptr())
    }

    /// See [`JoinHandle::is_finished`].
    pub(crate) fn is_finished(&self) -> bool {
        // SAFETY: as in `cancel`.
        unsafe { self.task.local() }.state.get() == State::Done
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        wait::poll_within_budget(cx, |cx| self.poll_shared(cx))
    }
}

impl<T> JoinHandle<T> {
    pub(crate) fn poll_shared(&self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        match self.result().take() {
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
            return Poll::Ready(Err(JoinError::new(self.task.clone(), Reason::Elsewhere)));
        }
        let waiter = door::waiter(cx); // Before the state is read: the clone of a waker may be user code, too.
        match local.state.get() {
            State::Running | State::Woken => {
                Poll::Ready(Err(JoinError::new(self.task.clone(), Reason::Itself)))
            }
            // While a callback has the result on loan, this waits for that to be given back.
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

/// A task, and its result: the beginning of the block that a task lies in.
#[repr(C)]
pub(crate) struct Packet<T> {
    task: Task,
    /// Stays on the task's home thread. When the last handle is gone, it is empty, or will be when the task is over: what
    /// remains may be freed anywhere.
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
    /// `task` begins a `Packet<T>`, this is its home thread, and none of the methods is called when the task is over.
    pub(crate) unsafe fn of(task: NonNull<Task>) -> Promise<T> {
        Promise(task.cast())
    }

    fn packet(&self) -> &Packet<T> {
        // SAFETY: by `of`, this is its type; and a task that is not over is kept by the table of its scheduler.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn task(&self) -> &Task {
        &self.packet().task
    }

    pub(crate) fn local(&self) -> &Local {
        // SAFETY: by `of`, this is its home thread.
        unsafe { self.task().local() }
    }

    /// Keeps the fiber that the task is suspended on. Called in the job's `Body::begin`, last.
    pub(crate) fn keep(&self, fiber: Fiber) {
        // SAFETY: that is where it is called.
        unsafe { self.local().keep(fiber) };
    }

    /// There is no stack for the task: that is its result. `drop_code` drops its code.
    pub(crate) fn no_stack(&self, error: io::Error, drop_code: impl FnOnce()) {
        let task = current().expect("a body is called in its task's turn");
        aside(format_args!("a destructor of {task}"), || drop_values(&task));
        self.packet().result.set(Some(Err(JoinError::new(task.clone(), Reason::NoStack(error)))));
        aside(format_args!("a destructor of {task}"), drop_code);
        if self.local().takers.get() == 0 {
            discard(&self.packet().result);
        }
        note(Outcome::Panicked);
    }

    /// Runs the task's code from its beginning, as [`fulfil`](Promise::fulfil), unless the task is to stop already.
    pub(crate) fn begin(self, code: impl FnOnce() -> T) {
        if cancel::is_cancelled() {
            self.never_begins();
            return self.fulfil(|| {
                let _dropped = code; // While its stack unwinds, as what a body has captured is.
                cancel::raise_cancelled()
            });
        }
        self.fulfil(code);
    }

    /// The running task is to stop, and has not begun. If its handle was dropped, no result reports that, and a debug
    /// line does.
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

    /// Runs the task's code and keeps what becomes of it: a value, a panic, a cancellation.
    ///
    /// This runs on the task's own stack, and so does the destructor of a result that no task joins.
    pub(crate) fn fulfil(self, code: impl FnOnce() -> T) {
        let mut failure = None;
        let result = unwinding::catch(code).map_err(|payload| {
            let (reason, outcome) = match cancel::is_to_root(&*payload) {
                true => (Reason::Cancelled, Outcome::Cancelled),
                false => (Reason::Panicked(Mutex::new(payload)), Outcome::Panicked),
            };
            failure = Some(outcome);
            JoinError::new(current().expect("a body is called in its task's turn"), reason)
        });
        self.packet().result.set(Some(result));
        let (has_taker, local) = (self.local().takers.get() > 0, self.local());
        if !has_taker || local.extras.if_any(|extras| !extras.values.is_empty()) {
            // A panic in these destructors has been reported by the hook, and no task can join to get it. They may
            // wait, as cleanup does: the cancelled code has ended.
            cancel::shield(|| {
                if !has_taker {
                    contain(|| discard(&self.packet().result));
                }
                drop_values(self.task());
            });
        }
        if let Some(failure) = failure {
            note(failure);
        }
    }
}

/// Drops the values that the running task has for itself.
fn drop_values(task: &Task) {
    // SAFETY: the task runs, so this is its home thread.
    let local = unsafe { task.local() };
    // A destructor may read another value, and so make it.
    while let Some(value) = local.extras.if_any(|extras| extras.values.pop()) {
        contain(|| drop(value));
    }
}

/// Sets how the running task ends, for the scheduler.
fn note(failure: Outcome) {
    Scheduler::with(|scheduler| scheduler.into_iter().for_each(|s| s.set_outcome(failure)));
}
