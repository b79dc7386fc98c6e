//! A group of tasks that fail together.
//!
//! The failure of one is the end of all, and the group returns what each of them failed with. A group's tasks are
//! of any era, and do not borrow. Those of [`green::try_scope`](crate::green::try_scope) and
//! [`future::try_scope`](crate::future::try_scope()) borrow, and the first error is the one that is returned; in
//! a [`green::scope`](crate::green::scope), the failure of a task concerns only the code that joins it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt::{self, Debug, Display};
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::eras::pep342::Yielder;
use crate::eras::scope::members::Members;
use crate::kernel::cancel;
use crate::kernel::edge::unwinding;
use crate::kernel::edge::warn;
use crate::kernel::here::{current, in_task};
use crate::kernel::task::TaskRef;
use crate::kernel::wait::{self, Wait};
use crate::run::join::{JoinError, JoinHandle};
use crate::task;

/// Tasks that fail together: the first one to fail has the others cancelled, and nothing outlives the group.
///
/// A task fails by returning an `Err` or by panicking; so does the body, the closure that opened the group.
/// Then every other task of the group is cancelled, and the body too, where it waits; when all have ended,
/// the group returns what each of them failed with. (Being cancelled is not a failure.) This is asyncio's
/// `TaskGroup`, with its `ExceptionGroup` (PEP 654), and trio's nursery.
///
/// [`run`](Group::run) opens one the green way; in the other eras [`running`](Group::running) is the
/// operation. A panic becomes an `E` by way of `From<JoinError>`, which [`JoinError`] itself,
/// [`std::io::Error`] and `Box<dyn Error>` have.
///
/// ```
/// use std::{io, time::Duration};
/// use wouldblock::{Builder, green, group::Group, time};
///
/// Builder::new().virtual_clock().run(|| {
///     let sum = Group::run(|group| {
///         let a = group.spawn(|| Ok(1));
///         let b = group.spawn_future(async { Ok(2) });
///         let c = group.spawn_generator(|y| { y.yield_now(); io::Result::Ok(3) });
///         Ok([a, b, c].map(|task| task.join().unwrap()).iter().sum::<i32>())
///     });
///     assert_eq!(sum.unwrap(), 6);
///
///     let failures = Group::<io::Error>::run(|group| {
///         group.spawn(|| { green::sleep(Duration::from_secs(1)); Err::<(), _>(io::ErrorKind::NotFound.into()) });
///         group.spawn_future(async { Ok(time::sleeping(Duration::from_secs(3600)).await) });
///         Ok(())
///     }).unwrap_err();
///     assert_eq!(failures.errors().map(io::Error::kind).collect::<Vec<_>>(), [io::ErrorKind::NotFound]);
/// });
/// ```
///
/// Its clones are the same group: a task may have one, and spawn beside itself.
pub struct Group<E>(Rc<Shared<E>>);

struct Shared<E> {
    members: Members,
    failures: RefCell<Vec<Failure<E>>>,
    /// What the conversion of a panic to an `E` has panicked with.
    panic: Cell<Option<Box<dyn Any + Send>>>,
    over: Cell<bool>,
}

struct Failure<E> {
    /// `None`: the error names it.
    task: Option<TaskRef>,
    error: E,
}

impl<E: From<JoinError> + Display + 'static> Group<E> {
    /// Opens a group, calls `body` with it, and returns what that returns when all tasks of the group have
    /// ended: the green era's verb.
    ///
    /// # Errors
    ///
    /// All that a task, or `body`, failed with, in the order in which they did.
    ///
    /// # Panics
    ///
    /// Outside of a task; and with whatever `body`, or the conversion of a task's panic to an `E`, panics with,
    /// when the tasks were cancelled and have ended.
    ///
    /// # Cancellation
    ///
    /// When the calling task is cancelled, or a time limit around this passes, all tasks of the group are
    /// cancelled; the stack unwinds from here when they have ended. What they have failed with is logged.
    #[track_caller]
    pub fn run<T>(body: impl FnOnce(&Group<E>) -> Result<T, E>) -> Result<T, Failures<E>> {
        let group = Group::new(current());
        let shared = &group.0;
        let _lost = Lost(&shared.failures);
        let fail = |error| shared.fail(current(), error);
        let what = "`Group::run`; use `y.wait(Group::running(..))`";
        let value = shared.members.enclose_together(what, || body(&group), fail);
        shared.end(value)
    }

    /// An operation that opens a group, and is ready when `body` and all tasks of the group have ended.
    ///
    /// ```
    /// use std::io;
    /// use wouldblock::{future, generator, group::Group};
    ///
    /// wouldblock::run(|| {
    ///     let task = generator::spawn(|y| y.wait(Group::running(async |group| {
    ///         let task = group.spawn(|| io::Result::Ok("hello"));
    ///         Ok(task.await.unwrap())
    ///     })));
    ///     assert_eq!(task.join().unwrap().unwrap(), "hello");
    /// });
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Group::run).
    ///
    /// # Panics
    ///
    /// With whatever `body` panics with; its tasks are cancelled. So it is when the conversion of a task's panic
    /// to an `E` panics.
    ///
    /// # Cancellation
    ///
    /// `body` is dropped, and the tasks are cancelled; where this is dropped, by an async task that is
    /// cancelled or by a `select`, it waits until they have ended; where one of them drops it, until the others
    /// have. Where it is dropped because a stack unwinds, which must not wait, they end in their next turns:
    /// greenlets and generators that may be cancelled use [`run`](Group::run).
    pub async fn running<T>(
        body: impl AsyncFnOnce(&Group<E>) -> Result<T, E>,
    ) -> Result<T, Failures<E>> {
        let group = Group::new(None);
        let shared = &group.0;
        let _lost = Lost(&shared.failures);
        let _closing = Closing(&shared.members);
        let result = {
            let mut body = pin!(body(&group));
            let mut polled = |cx: &mut Context<'_>| match body.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending if shared.members.is_stopped() => Poll::Ready(None),
                Poll::Pending => {
                    shared.members.watch(cx);
                    Poll::Pending
                }
            };
            poll_fn(|cx| wait::poll_within_budget(cx, &mut polled)).await
        };
        let value = match result {
            Some(Ok(value)) => Some(value),
            Some(Err(error)) => {
                shared.fail(current(), error);
                None
            }
            None => None, // It was stopped.
        };
        poll_fn(|cx| shared.members.poll_empty(cx)).await;
        shared.end(value)
    }

    fn new(owner: Option<TaskRef>) -> Group<E> {
        Group(Rc::new(Shared {
            members: Members::failing_with(owner, &"the tasks of its group"),
            failures: RefCell::default(),
            panic: Cell::new(None),
            over: Cell::new(false),
        }))
    }

    /// Starts a greenlet of the group.
    ///
    /// The handle gives its value. A task that joins it after it has failed gets a [`JoinError`] that
    /// [`is_cancelled`](JoinError::is_cancelled): the group returns what it failed with.
    ///
    /// # Panics
    ///
    /// When the group is over, and as [`green::spawn`](crate::green::spawn).
    #[track_caller]
    pub fn spawn<T: 'static>(
        &self,
        body: impl FnOnce() -> Result<T, E> + 'static,
    ) -> JoinHandle<T> {
        self.with(task::Builder::new()).spawn(body)
    }

    /// Starts a generator of the group: see [`spawn`](Group::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Group::spawn).
    #[track_caller]
    pub fn spawn_generator<T: 'static>(
        &self,
        body: impl FnOnce(&Yielder<Wait>) -> Result<T, E> + 'static,
    ) -> JoinHandle<T> {
        self.with(task::Builder::new()).spawn_generator(body)
    }

    /// Starts a future of the group: see [`spawn`](Group::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Group::spawn).
    #[track_caller]
    pub fn spawn_future<T: 'static>(
        &self,
        future: impl Future<Output = Result<T, E>> + 'static,
    ) -> JoinHandle<T> {
        self.with(task::Builder::new()).spawn_future(future)
    }

    /// For a task of the group with a name, or a stack of a size of its own.
    ///
    /// ```
    /// use wouldblock::{group::Group, task};
    ///
    /// wouldblock::run(|| {
    ///     let name = Group::run(|group| {
    ///         let parser = task::Builder::new().name("parser").stack_size(1 << 20);
    ///         let task = group.with(parser).spawn(|| Ok(task::current().unwrap().name().unwrap().to_owned()));
    ///         task.join()
    ///     });
    ///     assert_eq!(name.unwrap(), "parser");
    /// });
    /// ```
    pub fn with(&self, task: task::Builder) -> With<'_, E> {
        With { group: self, task }
    }

    #[track_caller]
    fn shared(&self) -> Rc<Shared<E>> {
        assert!(!self.0.over.get(), "a spawn in a group that is over");
        self.0.clone()
    }

    fn enter<T: 'static>(&self, handle: JoinHandle<T>) -> JoinHandle<T> {
        let (shared, task) = (self.0.clone(), handle.task.clone());
        shared.members.enter();
        shared.members.keep(handle.bare());
        let group = shared.clone();
        handle.at_end(move |done| match done.result().take() {
            Some(Err(error)) if !error.is_cancelled() => {
                done.result().set(Some(Err(JoinError::cancelled(task.into_shared()))));
                match panic::catch_unwind(AssertUnwindSafe(|| error.into())) {
                    Ok(error) => group.fail(None, error),
                    Err(payload) => {
                        group.panic.set(Some(payload));
                        group.members.stop();
                    }
                }
            }
            result => done.result().set(result),
        });
        // By itself: that a destructor panics must not keep the group open.
        handle.bare().at_end(move || shared.members.leave());
        handle
    }

    /// Cancels all tasks of the group, those to come as well; the body goes on.
    pub fn cancel(&self) {
        self.0.members.cancel();
    }
}

/// See [`Group::with`].
#[must_use = "it does nothing until it spawns"]
pub struct With<'a, E> {
    group: &'a Group<E>,
    task: task::Builder,
}

impl<E: From<JoinError> + Display + 'static> With<'_, E> {
    /// As [`Group::spawn`].
    ///
    /// # Panics
    ///
    /// As [`Group::spawn`].
    #[track_caller]
    pub fn spawn<T: 'static>(self, body: impl FnOnce() -> Result<T, E> + 'static) -> JoinHandle<T> {
        let shared = self.group.shared();
        self.group.enter(self.task.spawn(move || shared.value_of(body())))
    }

    /// As [`Group::spawn_generator`].
    ///
    /// # Panics
    ///
    /// As [`Group::spawn`].
    #[track_caller]
    pub fn spawn_generator<T: 'static>(
        self,
        body: impl FnOnce(&Yielder<Wait>) -> Result<T, E> + 'static,
    ) -> JoinHandle<T> {
        let shared = self.group.shared();
        self.group.enter(self.task.spawn_generator(move |y| shared.value_of(body(y))))
    }

    /// As [`Group::spawn_future`].
    ///
    /// # Panics
    ///
    /// As [`Group::spawn`].
    #[track_caller]
    pub fn spawn_future<T: 'static>(
        self,
        future: impl Future<Output = Result<T, E>> + 'static,
    ) -> JoinHandle<T> {
        let shared = self.group.shared();
        self.group.enter(self.task.spawn_future(async move { shared.value_of(future.await) }))
    }
}

impl<E> Debug for With<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("With").field("task", &self.task).finish_non_exhaustive()
    }
}

impl<E: From<JoinError> + Display + 'static> Shared<E> {
    /// What a task's code has returned; unwinds the task if it has failed.
    fn value_of<T>(&self, result: Result<T, E>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => {
                self.fail(current(), error);
                cancel::raise_cancelled()
            }
        }
    }

    fn fail(&self, task: Option<TaskRef>, error: E) {
        self.failures.borrow_mut().push(Failure { task, error });
        self.members.stop();
    }

    /// All have ended. `None`: the body has failed, or was stopped.
    fn end<T>(&self, value: Option<T>) -> Result<T, Failures<E>> {
        self.over.set(true);
        if let Some(payload) = self.panic.take() {
            unwinding::unwind_with(payload);
        }
        let failures = self.failures.take();
        match value {
            Some(value) if failures.is_empty() => Ok(value),
            _ => Err(Failures(failures)),
        }
    }
}

impl<E: Display> Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            Some(task) => write!(f, "{task} failed: {}", self.error),
            None => write!(f, "{}", self.error),
        }
    }
}

/// Logs the failures that no caller will get, because a stack unwinds or a future is dropped.
struct Lost<'a, E: Display>(&'a RefCell<Vec<Failure<E>>>);

impl<E: Display> Drop for Lost<'_, E> {
    fn drop(&mut self) {
        for failure in self.0.take() {
            warn::error(format_args!("{failure}, in a group that was given up"));
        }
    }
}

/// Cancels the tasks of a group whose future is dropped, and waits for them where that can be.
struct Closing<'a>(&'a Members);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        match in_task() && !std::thread::panicking() && !self.0.is_empty() {
            true => self.0.cancel_and_await_others(),
            false => self.0.cancel(),
        }
    }
}

impl<E> Clone for Group<E> {
    fn clone(&self) -> Group<E> {
        Group(self.0.clone())
    }
}

impl<E> Debug for Group<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} tasks)", self.0.members.len())
    }
}

/// What the tasks of a [`Group`] failed with, at least one; in the order in which they did.
///
/// Prints as one line for each.
pub struct Failures<E>(Vec<Failure<E>>);

impl<E> Failures<E> {
    /// The errors.
    pub fn errors(&self) -> impl Iterator<Item = &E> {
        self.0.iter().map(|failure| &failure.error)
    }

    /// The errors themselves.
    pub fn into_errors(self) -> impl Iterator<Item = E> {
        self.0.into_iter().map(|failure| failure.error)
    }
}

/// The errors themselves, as [`into_errors`](Failures::into_errors) gives them.
impl<E> IntoIterator for Failures<E> {
    type Item = E;
    type IntoIter = std::vec::IntoIter<E>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_errors().collect::<Vec<_>>().into_iter()
    }
}

impl<E: Display> Display for Failures<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() > 1 {
            write!(f, "{} tasks of a group failed", self.0.len())?;
        }
        for failure in &self.0 {
            if self.0.len() > 1 {
                f.write_str("\n  ")?;
            }
            Display::fmt(failure, f)?;
        }
        Ok(())
    }
}

impl<E: Display> Debug for Failures<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failures({self})")
    }
}

impl<E: Display> std::error::Error for Failures<E> {}
