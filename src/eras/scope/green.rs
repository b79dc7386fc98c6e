//! The green scope: tasks on stacks of their own that borrow from the stack of the task that opened the scope.
//!
//! [`scope`] and [`try_scope`] return or unwind only when the code of all their tasks has ended and is dropped. The task that waits in them
//! may be leaked with its stack, but then what was borrowed is leaked too.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::members::{First, Members};
use crate::kernel::cancel;
use crate::kernel::door;
use crate::kernel::edge::unwinding;
use crate::kernel::here::current;
use crate::run::join::{JoinError, JoinHandle};

/// Where tasks are spawned that may borrow whatever outlives the call of [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    state: Rc<State>,
    /// As std's: neither lifetime may shrink or grow.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Opens a scope for tasks that borrow, and waits for all of them before it returns.
///
/// ```
/// use wouldblock::green;
///
/// wouldblock::run(|| {
///     let words = ["a", "few", "words"];
///     let total: usize = green::scope(|s| {
///         let tasks: Vec<_> = words.iter().map(|word| s.spawn(move || word.len())).collect();
///         tasks.into_iter().map(|task| task.join().unwrap()).sum()
///     });
///     assert_eq!(total, 9);
/// });
/// ```
///
/// (Code that may panic gives an error in its place by `green::scope(|s| s.spawn(code).join())`.)
///
/// # Panics
///
/// With whatever `body` panics with, after its tasks were cancelled and have ended; when a task panicked, or had
/// no stack to run on, and was not joined; outside of a task.
///
/// # Cancellation
///
/// When the calling task is cancelled, or a time limit around the scope passes, all tasks of the scope are
/// cancelled; the stack unwinds from here when they have ended.
#[track_caller]
pub fn scope<'env, F, T>(body: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope::new(Members::of(WHAT), false);
    let value = scope.state.members.enclose(|| body(&scope));
    scope.state.panic_if_failed();
    value
}

/// As [`scope`], for tasks that fail together: the first error, of a task or of `body`, cancels the other tasks,
/// and `body` where it waits; when all have ended, it is returned.
///
/// A proxy, of which each direction ends the other when it fails:
///
/// ```
/// use std::io::{self, Read, Write};
/// use std::net::Shutdown;
/// use wouldblock::{green, net::{TcpListener, TcpStream}};
///
/// fn proxy(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
///     green::try_scope(|s| {
///         s.spawn(|| pump(client, server));
///         pump(server, client)
///     })
/// }
///
/// fn pump(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
///     io::copy(&mut from, &mut to)?;
///     to.shutdown(Shutdown::Write)
/// }
///
/// # fn main() -> io::Result<()> { wouldblock::run(|| {
/// # let server = TcpListener::bind("127.0.0.1:0")?;
/// # let server_address = server.local_addr()?;
/// # let echo = green::spawn(move || pump_back(&server.accept()?.0));
/// # fn pump_back(stream: &TcpStream) -> io::Result<()> { pump(stream, stream) }
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let proxied = green::spawn(move || {
///     let (client, _) = listener.accept()?;
///     proxy(&client, &TcpStream::connect(server_address)?)
/// });
/// let mut stream = TcpStream::connect(address)?;
/// stream.write_all(b"there and back")?;
/// stream.shutdown(Shutdown::Write)?;
/// let mut text = String::new();
/// stream.read_to_string(&mut text)?;
/// assert_eq!(text, "there and back");
/// proxied.join()?
/// # .and(echo.join()?) }) }
/// ```
///
/// A task that has failed, joined by another, is a task that
/// [was cancelled](JoinError::is_cancelled): its error belongs to the scope. (Python's and trio's nurseries give
/// all errors; so does [`Group`](crate::group::Group), whose tasks do not borrow.)
///
/// # Errors
///
/// The first error. Later ones, of tasks that fail while they are cancelled, are dropped.
///
/// # Panics
///
/// As [`scope`]. A panic of a task cancels the others as an error does, also when the task was joined.
///
/// # Cancellation
///
/// As [`scope`].
#[track_caller]
pub fn try_scope<'env, F, T, E: 'env>(body: F) -> Result<T, E>
where
    F: for<'scope> FnOnce(&'scope TryScope<'scope, 'env, E>) -> Result<T, E>,
{
    let scope = Scope::new(Members::failing_with(current(), WHAT), true);
    let scope = TryScope { scope, failure: First::new() };
    let state = &*scope.scope.state;
    let what = "`green::try_scope`, whose tasks belong to the task that resumed it";
    let value = state.members.enclose_together(what, || body(&scope), |error| scope.fail(error));
    state.panic_if_failed();
    match scope.failure.take() {
        Some(error) => Err(error),
        None => Ok(value.expect("a body is stopped by a failure")),
    }
}

/// What reports call the tasks of a scope.
const WHAT: &&str = &"the tasks of its scope";

/// What a scope shares with its tasks and their handles.
struct State {
    members: Members,
    /// A task that panics, or has no stack, stops the scope, whether or not it is joined.
    fail_together: bool,
    panicked: Cell<usize>,
    without_stack: Cell<usize>,
}

/// Why a task has no value, if it was not cancelled.
#[derive(Clone, Copy)]
enum Failure {
    Panicked,
    NoStack,
}

impl State {
    /// How many tasks have failed in this way, less those that were forgiven.
    fn count(&self, failure: Failure) -> &Cell<usize> {
        match failure {
            Failure::Panicked => &self.panicked,
            Failure::NoStack => &self.without_stack,
        }
    }

    fn fail(&self, failure: Failure) {
        let count = self.count(failure);
        count.set(count.get() + 1);
        if self.fail_together {
            self.members.stop();
        }
    }

    /// A join has returned this failure.
    fn forgive(&self, failure: Failure) {
        if !self.fail_together {
            let count = self.count(failure);
            count.set(count.get() - 1);
        }
    }

    #[track_caller]
    fn panic_if_failed(&self) {
        assert!(self.panicked.get() == 0, "a scoped task panicked");
        assert!(self.without_stack.get() == 0, "a scoped task had no stack to run on");
    }
}

impl Scope<'_, '_> {
    fn new(members: Members, fail_together: bool) -> Self {
        let (panicked, without_stack) = (Cell::new(0), Cell::new(0));
        let state = Rc::new(State { members, fail_together, panicked, without_stack });
        Scope { state, scope: PhantomData, env: PhantomData }
    }

    /// Cancels all tasks of the scope, those to come as well.
    pub fn cancel(&self) {
        self.state.members.cancel();
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({} tasks)", self.state.members.len())
    }
}

/// Where tasks are spawned that may borrow whatever outlives the call of [`try_scope`], and that fail together.
pub struct TryScope<'scope, 'env, E: 'env> {
    pub(crate) scope: Scope<'scope, 'env>,
    failure: First<E>,
}

impl<'env, E: 'env> TryScope<'_, 'env, E> {
    fn fail(&self, error: E) {
        let later = self.failure.set(error);
        self.scope.state.members.stop();
        drop(later);
    }

    /// Returns the value that a task's code has returned; unwinds the task if the code has failed.
    pub(crate) fn value_of<T>(&self, result: Result<T, E>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => {
                self.fail(error);
                cancel::raise_cancelled()
            }
        }
    }

    /// Cancels all tasks of the scope, those to come as well; the body goes on.
    pub fn cancel(&self) {
        self.scope.cancel();
    }
}

impl<'env, E: 'env> fmt::Debug for TryScope<'_, 'env, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Try{:?}", self.scope)
    }
}

/// Where a task leaves its value for its handle.
type Value<T> = Rc<Cell<Option<T>>>;

/// The code of a scoped task: a closure or a future. The fields are dropped in this order: the scope may end as soon as
/// `presence` is gone, and by then nothing may be left that borrows what the scope lends.
struct Child<T, F> {
    body: F,
    value: Value<T>,
    presence: Presence,
}

/// Counts the task as a member of the scope until this is dropped.
struct Presence {
    state: Rc<State>,
    /// The code of the task has come to its end, by itself or unwound.
    ended: bool,
    fate: Rc<Fate>,
}

/// What the scope and the handle see of the task.
#[derive(Default)]
struct Fate {
    /// `spawn` has returned: the task exists.
    is_spawned: Cell<bool>,
    failure: Cell<Option<Failure>>,
}

impl Presence {
    fn fail(&self, failure: Failure) {
        self.fate.failure.set(Some(failure));
        self.state.fail(failure);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // The code was not called, and no cancellation shows here: there was no stack. (Such code is dropped `aside`, where
        // no task runs: so a cancelled task without a stack has failed too.)
        if self.fate.is_spawned.get() && !self.ended && !cancel::is_cancelled() {
            self.fail(Failure::NoStack);
        }
        self.state.members.leave();
    }
}

impl Presence {
    /// Calls the code of the task: all of it, or one poll.
    fn run<R>(&mut self, code: impl FnOnce() -> R) -> R {
        unwinding::catch(code).unwrap_or_else(|payload| {
            self.ended = true;
            if !cancel::is_to_root(&*payload) {
                self.fail(Failure::Panicked);
            }
            unwinding::unwind_with(payload)
        })
    }
}

impl<T, F> Child<T, F> {
    fn call<A>(self, argument: &A)
    where
        F: FnOnce(&A) -> T,
    {
        let Child { body, value, presence } = self;
        // Variables are dropped in reverse order: `value`, which may be the last reference, before `presence`.
        let mut presence = presence;
        let value = value;
        value.set(Some(presence.run(|| body(argument))));
        presence.ended = true;
    }
}

impl<T, F: Future<Output = T>> Future for Child<T, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `body` is not moved here, and `call`, which moves it, takes a `Child` that is not pinned; the other
        // fields are never pinned.
        let (body, value, presence) = unsafe {
            let Child { body, value, presence } = self.get_unchecked_mut();
            (Pin::new_unchecked(body), value, presence)
        };
        let polled = presence.run(|| body.poll(cx));
        presence.ended |= polled.is_ready();
        polled.map(|output| value.set(Some(output)))
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a task of the scope, whose code is a closure that is called with an `A`. `spawn` is passed that code, as
    /// if it could live for ever.
    pub(crate) fn adopt<A: 'static, T: 'scope>(
        &'scope self,
        body: impl FnOnce(&A) -> T + 'scope,
        spawn: impl FnOnce(Box<dyn FnOnce(&A)>) -> JoinHandle<()>,
    ) -> ScopedJoinHandle<'scope, T> {
        self.enter(body, |child| {
            let code: Box<dyn FnOnce(&A) + 'scope> = Box::new(move |argument| child.call(argument));
            // SAFETY: only the lifetime changes. `Members::enclose`, by which `scope` calls its body, does not return or
            // unwind before every `Presence` is gone (see there); and a `Presence` is the last part of a child to be
            // dropped, whether the child has run or not.
            spawn(unsafe {
                mem::transmute::<Box<dyn FnOnce(&A) + 'scope>, Box<dyn FnOnce(&A)>>(code)
            })
        })
    }

    /// As [`adopt`](Scope::adopt), of a task whose code is a future.
    pub(crate) fn adopt_future<T: 'scope>(
        &'scope self,
        body: impl Future<Output = T> + 'scope,
        spawn: impl FnOnce(Pin<Box<dyn Future<Output = ()>>>) -> JoinHandle<()>,
    ) -> ScopedJoinHandle<'scope, T> {
        type Code<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
        #[expect(
            clippy::redundant_async_block,
            reason = "it drops `body` in the last poll, which sees what its destructor panics with"
        )]
        let body = async { body.await };
        self.enter(body, |child| {
            let code: Code<'scope> = Box::pin(child);
            // SAFETY: as in `adopt`.
            spawn(unsafe { mem::transmute::<Code<'scope>, Code<'static>>(code) })
        })
    }

    fn enter<T, F>(
        &'scope self,
        body: F,
        spawn: impl FnOnce(Child<T, F>) -> JoinHandle<()>,
    ) -> ScopedJoinHandle<'scope, T> {
        let (value, fate) = (Rc::new(Cell::new(None)), Rc::new(Fate::default()));
        let state = self.state.clone();
        state.members.enter();
        let presence = Presence { state: state.clone(), ended: false, fate: fate.clone() };
        let handle = spawn(Child { body, value: value.clone(), presence });
        fate.is_spawned.set(true);
        state.members.keep(handle.bare());
        ScopedJoinHandle { handle, value, fate, state, scope: PhantomData }
    }
}

/// A task of a [`Scope`] or a [`TryScope`], and an operation with its result. Dropping it detaches the task, which the
/// scope still waits for.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<()>,
    value: Value<T>,
    fate: Rc<Fate>,
    state: Rc<State>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the task is done.
    ///
    /// # Errors
    ///
    /// The task panicked, was cancelled, or is the one that calls.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// The result is lost; the scope still waits for the task.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        door::wait(self)
    }

    /// Asks the task to stop: see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Whether the task is done.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

/// As [`join`](ScopedJoinHandle::join), for `y.wait(task)` and `task.await`.
impl<T> Future for ScopedJoinHandle<'_, T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let done = ready!(Pin::new(&mut self.handle).poll(cx));
        Poll::Ready(match (done, self.value.take()) {
            (Ok(()), Some(value)) => Ok(value),
            (Ok(()), None) => unreachable!("a task that returned has left its value"),
            (Err(error), _) => {
                if let Some(failure) = self.fate.failure.take() {
                    self.state.forgive(failure);
                }
                Err(error)
            }
        })
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scoped{:?}", self.handle)
    }
}
