//! How a task's result gets out: a [`Promise`] inside, a [`JoinHandle`] outside, a [`JoinError`] where there
//! is none.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use crate::kernel::cancel;
use crate::kernel::door;
use crate::kernel::observe::Outcome;
use crate::kernel::scheduler::{Scheduler, current};
use crate::kernel::task::{State, Task, Unwind, Wait};
use crate::kernel::waker;

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
#[must_use = "dropping the handle detaches the task; its result is lost"]
pub struct JoinHandle<T> {
    pub(crate) task: Arc<Task>,
    pub(crate) packet: Rc<Packet<T>>,
}

impl<T> JoinHandle<T> {
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

    /// Asks the task to stop where it waits, now or next: a future is dropped, a generator closed, a
    /// stack unwound. Its destructors run, and whoever joins it gets a [`JoinError`] that
    /// [`is_cancelled`](JoinError::is_cancelled). A task that is done stays done.
    ///
    /// This does not wait for the task to have stopped; join it for that.
    pub fn cancel(&self) {
        Scheduler::with(|here| {
            let its = |here: &&Scheduler| Arc::ptr_eq(&here.home, &self.task.home);
            here.filter(its).inspect(|here| here.tell_cancelled(&self.task));
        });
        // SAFETY: a handle is not `Send`, so this is the task's home thread.
        unsafe { self.task.local() }.cancelled.set(true);
        waker::wake(self.task.clone());
    }

    /// Whether the task is done, so that waiting for it would return at once.
    pub fn is_finished(&self) -> bool {
        // SAFETY: a handle is not `Send`, so this is the task's home thread.
        unsafe { self.task.local() }.state.get() == State::Done
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_shared(cx)
    }
}

impl<T> JoinHandle<T> {
    pub(crate) fn poll_shared(&self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        match self.packet.result.take() {
            // They are being cancelled together: that is no news to wake up for, but the end of the wait.
            Some(Err(error)) if error.is_cancelled() && cancel::is_cancelled() => {
                self.packet.result.set(Some(Err(error)));
                return Poll::Pending;
            }
            Some(result) => return Poll::Ready(result),
            None => {}
        }
        // SAFETY: a handle is not `Send`, so this is the task's home thread.
        let local = unsafe { self.task.local() };
        if Scheduler::with(|s| s.is_some_and(|s| !Arc::ptr_eq(&s.home, &self.task.home))) {
            return Poll::Ready(Err(JoinError::elsewhere(self.task.clone())));
        }
        match local.state.get() {
            State::Done => Poll::Ready(Err(JoinError::taken(self.task.clone()))),
            State::Running | State::Woken => Poll::Ready(Err(JoinError::itself(self.task.clone()))),
            State::Ready | State::Waiting => {
                local.joiner.set(Some(door::waiter(cx)));
                door::leave(cx, Wait::join(&self.task));
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({})", self.task)
    }
}

/// Why a task has no result.
pub struct JoinError(Box<Failure>);

/// Behind a pointer, so that a result has no room to keep for a failure that seldom comes.
struct Failure {
    task: Arc<Task>,
    reason: Reason,
}

enum Reason {
    Cancelled,
    /// Behind a lock only so that the error is `Sync`, and `?` can box it.
    Panicked(Mutex<Box<dyn Any + Send>>),
    Taken,
    Itself,
    Elsewhere,
    NoStack(io::Error),
}

impl JoinError {
    fn new(task: Arc<Task>, reason: Reason) -> JoinError {
        JoinError(Box::new(Failure { task, reason }))
    }

    /// The handle was polled again after it had given the result.
    pub(crate) fn taken(task: Arc<Task>) -> JoinError {
        JoinError::new(task, Reason::Taken)
    }

    /// The task belongs to another runtime of this thread.
    pub(crate) fn elsewhere(task: Arc<Task>) -> JoinError {
        JoinError::new(task, Reason::Elsewhere)
    }

    /// A task waits for its own end.
    pub(crate) fn itself(task: Arc<Task>) -> JoinError {
        JoinError::new(task, Reason::Itself)
    }

    /// The task was cancelled before it had a result.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.reason, Reason::Cancelled)
    }

    /// The task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.reason, Reason::Panicked(_))
    }

    /// The payload of the task's panic, as `std::thread::JoinHandle::join` gives it; else the error
    /// itself.
    ///
    /// # Errors
    ///
    /// `self`, if the task did not panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.0.reason {
            Reason::Panicked(payload) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            reason => Err(JoinError::new(self.0.task, reason)),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = &self.0.task;
        match &self.0.reason {
            Reason::Cancelled => write!(f, "{task} was cancelled"),
            Reason::Panicked(payload) => {
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                write!(f, "{} panicked: {}", task, message(&**payload))
            }
            Reason::NoStack(error) => write!(f, "{task} could not run: {error}"),
            Reason::Elsewhere => {
                write!(f, "{task} belongs to another runtime, and is joined in that one")
            }
            Reason::Itself => {
                write!(f, "{task} joins itself, which would wait for ever")
            }
            Reason::Taken => write!(f, "the result of {task} was already taken"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

fn message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "(a payload that is not text)",
    }
}

/// The end of a task that its body fills in; a `JoinHandle` holds the other.
pub(crate) struct Promise<T>(pub(crate) Rc<Packet<T>>);

pub(crate) struct Packet<T> {
    pub(crate) result: Cell<Option<Result<T, JoinError>>>,
}

impl<T> Promise<T> {
    pub(crate) fn new() -> Promise<T> {
        Promise(Rc::new(Packet { result: Cell::new(None) }))
    }

    /// There is no stack for the task: that is its result.
    pub(crate) fn no_stack(&self, task: Arc<Task>, error: io::Error) {
        self.0.result.set(Some(Err(JoinError::new(task, Reason::NoStack(error)))));
        note(Outcome::Panicked);
    }

    /// Runs the task's code and keeps what becomes of it: a value, a panic, a cancellation.
    ///
    /// This runs on the task's own stack, and so does the destructor of a result nobody asked for.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    pub(crate) fn fulfil(self, code: impl FnOnce() -> T) {
        let task = current().expect("a body is called in its task's turn");
        let mut failure = None;
        let result = panic::catch_unwind(AssertUnwindSafe(code)).map_err(|payload| {
            let reason = reason(payload);
            failure = Some(match reason {
                Reason::Cancelled => Outcome::Cancelled,
                _ => Outcome::Panicked,
            });
            JoinError::new(task.clone(), reason)
        });
        self.0.result.set(Some(result));
        // A panic in these destructors has been reported by the hook, and there is nobody to get it.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(self)));
        // SAFETY: code runs on its task's home thread.
        let values = unsafe { &task.local().values };
        // A destructor may ask for another value, and so make it.
        while let Some(values) = values.take() {
            let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(values)));
        }
        if let Some(failure) = failure {
            note(failure);
        }
    }
}

/// Tells the scheduler how the running task ends.
fn note(failure: Outcome) {
    Scheduler::with(|scheduler| scheduler.into_iter().for_each(|s| s.failed(failure)));
}

fn reason(payload: Box<dyn Any + Send>) -> Reason {
    match payload.downcast::<Unwind>() {
        Ok(_) => Reason::Cancelled,
        Err(payload) => Reason::Panicked(Mutex::new(payload)),
    }
}

impl<T> Drop for Packet<T> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.result.get_mut()
            && matches!(error.0.reason, Reason::Panicked(_) | Reason::NoStack(_))
        {
            log::error!("{error}, and nobody joined it to learn of it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_no_room_for_a_failure() {
        assert!(size_of::<Packet<()>>() <= 16, "{}", size_of::<Packet<()>>());
    }
}
