//! [`std::thread`] for greenlets: the same names and shapes, so that a program which is ported keeps its code.
//!
//! A *thread* of this module is a task of the [green era](crate::green), one of many on one thread of the operating
//! system. Porting is changing `std::thread` to `wouldblock::thread`, and the body of `main` goes into
//! [`wouldblock::run(|| ..)`](crate::run()).
//!
//! ```
//! use std::time::Duration;
//! use wouldblock::thread;
//!
//! wouldblock::run(|| {
//!     let mut words = vec!["a", "few"];
//!     thread::scope(|s| {
//!         s.spawn(|| words.push("words"));
//!     });
//!     let parked = thread::Builder::new().name("counts".into()).spawn(move || {
//!         thread::park();
//!         words.len()
//!     }).unwrap();
//!     thread::sleep(Duration::from_millis(1));
//!     parked.thread().unpark();
//!     assert_eq!(parked.join().unwrap(), 3);
//! });
//! ```
//!
//! What differs from std's:
//!
//! * What is spawned stays on its thread, so bodies and results need not be `Send`.
//! * Nothing is preempted: a greenlet that computes, or calls what blocks the thread, stops all others.
//! * **A wait may unwind**: where a task is cancelled or the run ends, a wait raises a payload that is no panic. A
//!   `catch_unwind` around one sees it, has to let it go on (`resume_unwind`), and a `join` gives it as an `Err`
//!   with a [`JoinError`]. So at the end of [`run()`](crate::run()), detached greenlets are unwound, where the threads
//!   of a process just stop.
//! * **`thread_local!` is shared** by all greenlets of the thread, also across waits; a value of one's own is made by
//!   [`task_local!`](crate::task_local).
//! * The root's name is `root`, not `main`.
//!
//! [`panicking`], [`available_parallelism`], [`Result`], [`LocalKey`] and [`AccessError`] are std's own.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::eras::scope::green as scoped;
use crate::kernel::door;
use crate::kernel::edge::foreign::ForeignWaker;
use crate::kernel::here::current as current_task;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::TaskRef;
use crate::kernel::wait::{self, Wait};
use crate::op::timeout;
use crate::run::join::{JoinError, JoinHandle as TaskHandle};
use crate::run::spawn::check_spawn;
use crate::run::stack_size;
use crate::task::{self, TaskLocal};

pub use std::thread::{AccessError, LocalKey, Result, available_parallelism, panicking};

pub use crate::eras::green::{sleep, yield_now};

/// Starts a greenlet, as [`green::spawn`](crate::green::spawn), with std's [`JoinHandle`]: dropping it detaches the
/// greenlet, and no warning says so.
///
/// # Panics
///
/// Outside of a run, and when the run is ending.
#[track_caller]
pub fn spawn<F, T>(body: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    begin(task::Builder::new().at(Location::caller()), body)
}

/// Spawns with a [`Parker`] that the handle knows too.
#[track_caller]
fn begin<T: 'static>(builder: task::Builder, body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let parker = Arc::new(Parker::default());
    let own = Own::of(&parker);
    let task = builder.spawn(move || {
        OWN.set(own);
        body()
    });
    JoinHandle { thread: Thread::of(&task.task, parker), task }
}

/// How a greenlet is set up: [`std::thread::Builder`]. In the other eras, this is [`task::Builder`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it spawns"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
}

impl Builder {
    /// A greenlet without a name, with a stack of the size set for the run.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// What reports, errors and timelines call it.
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// The usable bytes of its stack, rounded up to whole pages; less than 32 KiB is 32 KiB, which a panic with a backtrace
    /// needs.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Starts a greenlet: see [`spawn`].
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a stack of 4 GiB or more. (Where there is no memory for the stack, `join` gives the error.)
    ///
    /// # Panics
    ///
    /// As [`spawn`]; and if the name has a NUL in it.
    #[track_caller]
    pub fn spawn<F, T>(self, body: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        Ok(begin(self.task()?, body))
    }

    /// Starts a greenlet of a [`scope`], that may borrow what outlives it.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        body: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        Ok(scope.begin(self.task()?, body))
    }

    #[track_caller]
    fn task(self) -> io::Result<task::Builder> {
        let mut builder = task::Builder::new().at(Location::caller());
        if let Some(name) = self.name {
            builder = builder.name(name);
        }
        if let Some(bytes) = self.stack_size {
            if u32::try_from(bytes).is_err() {
                let what = format!("a stack of {bytes} bytes: it has to be smaller than 4 GiB");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            builder = builder.stack_size(bytes.max(stack_size::SMALLEST));
        }
        Ok(builder)
    }
}

/// A greenlet that was spawned: [`std::thread::JoinHandle`]. Dropping it detaches the greenlet, which runs on.
///
/// For the other eras, there is [`joining`](JoinHandle::joining).
pub struct JoinHandle<T> {
    task: TaskHandle<T>,
    thread: Thread,
}

impl<T> JoinHandle<T> {
    /// Waits until the greenlet is done.
    ///
    /// # Errors
    ///
    /// The payload of its panic, as std's; or, in the same place, a [`JoinError`] that says why there is no result:
    /// it was cancelled, had no stack, or is the one that calls.
    ///
    /// ```
    /// use wouldblock::{JoinError, thread};
    ///
    /// wouldblock::run(|| {
    ///     let endless = thread::spawn(|| thread::park());
    ///     endless.cancel();
    ///     let payload = endless.join().unwrap_err();
    ///     assert!(payload.downcast_ref::<JoinError>().unwrap().is_cancelled());
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// The result is lost; the greenlet runs on.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        let JoinHandle { task, thread } = self;
        drop(thread); // Of a deadlock, the report is to know that nothing unparks the task through it.
        task.join().map_err(payload)
    }

    /// The operation behind [`join`](JoinHandle::join), for all eras: the handle that
    /// [`green::spawn`](crate::green::spawn) gives. Its error is the [`JoinError`].
    ///
    /// # Cancellation
    ///
    /// The result is lost; the greenlet runs on.
    pub fn joining(self) -> TaskHandle<T> {
        self.task
    }

    /// Asks the greenlet to stop where it waits, now or next: see [`JoinHandle::cancel`](TaskHandle::cancel). (std
    /// has no such thing.)
    pub fn cancel(&self) {
        self.task.cancel();
    }

    /// Whether the greenlet is done, so that `join` would return at once.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Which greenlet it is.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.fmt(f)
    }
}

fn payload(error: JoinError) -> Box<dyn Any + Send> {
    error.into_panic().unwrap_or_else(|error| Box::new(error))
}

/// Where greenlets are spawned that may borrow what outlives the call of [`scope`]: [`std::thread::Scope`].
#[repr(transparent)]
pub struct Scope<'scope, 'env>(scoped::Scope<'scope, 'env>);

/// Opens a scope for greenlets that borrow, and waits for all of them before it returns: [`std::thread::scope`].
///
/// # Panics
///
/// With whatever `body` panics with, after its greenlets were cancelled and have ended; when one of them panicked
/// and was not joined; outside of a task.
///
/// # Cancellation
///
/// When the calling task is cancelled, or a time limit around the scope passes, all greenlets of the scope are
/// cancelled; the stack unwinds from here when they have ended.
#[track_caller]
pub fn scope<'env, F, T>(body: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    scoped::scope(|scope| body(Scope::of(scope)))
}

impl<'scope, 'env> Scope<'scope, 'env> {
    fn of(scope: &'scope scoped::Scope<'scope, 'env>) -> &'scope Scope<'scope, 'env> {
        let scope = std::ptr::from_ref(scope).cast::<Scope<'scope, 'env>>();
        // SAFETY: it is `repr(transparent)`, so that it is the same in memory, and the lifetimes are the same.
        unsafe { &*scope }
    }

    /// Starts a greenlet of the scope, that may borrow what outlives it.
    ///
    /// # Panics
    ///
    /// As [`spawn`].
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, body: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        self.begin(task::Builder::new().at(Location::caller()), body)
    }

    #[track_caller]
    fn begin<T: 'scope>(
        &'scope self,
        builder: task::Builder,
        body: impl FnOnce() -> T + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        check_spawn();
        let mut thread = None;
        let task = self.0.adopt(
            |()| body(),
            |code| {
                let begun = begin(builder, move || code(&()));
                thread = Some(begun.thread);
                begun.task
            },
        );
        ScopedJoinHandle { task, thread: thread.expect("the scope has spawned it") }
    }
}

/// As std's: what unwinds out of a scope has waited for its greenlets.
impl RefUnwindSafe for Scope<'_, '_> {}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A greenlet of a [`Scope`]: [`std::thread::ScopedJoinHandle`]. Dropping it detaches the greenlet, which the scope
/// still waits for.
pub struct ScopedJoinHandle<'scope, T> {
    task: scoped::ScopedJoinHandle<'scope, T>,
    thread: Thread,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the greenlet is done.
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`].
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// The result is lost; the scope still waits for the greenlet.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        let ScopedJoinHandle { task, thread } = self;
        drop(thread); // As in `JoinHandle::join`.
        task.join().map_err(payload)
    }

    /// Whether the greenlet is done.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Which greenlet it is.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.fmt(f)
    }
}

/// Which greenlet a handle stands for, in this process: [`std::thread::ThreadId`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThreadId {
    run: u32,
    task: u64,
}

/// With the number of the task that reports say.
impl fmt::Debug for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThreadId({})", self.task)
    }
}

/// A handle to a greenlet, or to a task of another era that called [`current`]: [`std::thread::Thread`].
///
/// Other threads may have it too, and [`unpark`](Thread::unpark) from there.
#[derive(Clone)]
pub struct Thread(Arc<Inner>);

struct Inner {
    task: TaskRef,
    id: ThreadId,
    parker: Arc<Parker>,
}

/// As std's: a panic leaves the token, and who waits for it, whole.
impl UnwindSafe for Inner {}
impl RefUnwindSafe for Inner {}

/// Returns a handle to the task that calls.
///
/// # Panics
///
/// Outside of a task.
#[must_use]
#[track_caller]
pub fn current() -> Thread {
    let task = current_task().expect(
        "`wouldblock::thread::current` outside of any task: call it inside `wouldblock::run(|| ..)`",
    );
    OWN.with(|own| own.thread(&task))
}

impl Thread {
    /// On the task's thread.
    fn of(task: &TaskRef, parker: Arc<Parker>) -> Thread {
        let run = Scheduler::with(|scheduler| scheduler.map_or(u32::MAX, |here| here.home.run));
        let id = ThreadId { run, task: task.id };
        let inner = Arc::new(Inner { task: task.clone(), id, parker });
        inner.parker.lock().handles += 1;
        Thread(inner)
    }

    /// Which greenlet it is: no two in a process are equal.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        self.0.id
    }

    /// The name that it was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.task.name.as_ref().map(|name| &***name)
    }

    /// Gives the task its token: a [`park`] that waits returns, or else the next one does at once.
    ///
    /// This may be called from any thread, and never waits.
    pub fn unpark(&self) {
        let mut parked = self.0.parker.lock();
        parked.token = true;
        let waker = parked.waker.take();
        drop(parked);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut parked = self.parker.lock();
        parked.handles -= 1;
        // Without any handle, nothing can unpark the task: a report of a deadlock may be certain of it.
        let waker = if parked.handles == 0 { parked.waker.take() } else { None };
        drop(parked);
        drop(waker);
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Thread");
        shown.field("id", &self.id()).field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Waits until another task, or another thread, calls [`unpark`](Thread::unpark) on a handle to this one; returns at
/// once if that has happened since the last time. As std's, it may return without.
///
/// # Panics
///
/// Outside of a task.
///
/// # Cancellation
///
/// Nothing is lost: the token stays for the next call.
#[track_caller]
pub fn park() {
    door::wait(Parking::here());
}

/// As [`park`], for `limit` at most.
///
/// # Panics
///
/// Outside of a task.
///
/// # Cancellation
///
/// Nothing is lost.
#[track_caller]
pub fn park_timeout(limit: Duration) {
    let _elapsed = door::wait(timeout(limit, Parking::here()));
}

/// The token of one task, and how the task is woken when it comes.
#[derive(Default)]
struct Parker(Mutex<Parked>);

#[derive(Default)]
struct Parked {
    token: bool,
    /// Of a task that is parked, and that a handle may unpark.
    waker: Option<ForeignWaker>,
    /// How many [`Inner`]s there are.
    handles: usize,
}

impl Parker {
    fn lock(&self) -> MutexGuard<'_, Parked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a task knows of itself.
struct Own {
    parker: Arc<Parker>,
    /// The handle that was made last.
    thread: RefCell<Weak<Inner>>,
}

static OWN: TaskLocal<Own> = TaskLocal::new(|| Own::of(&Arc::default()));

impl Own {
    fn of(parker: &Arc<Parker>) -> Own {
        Own { parker: parker.clone(), thread: RefCell::default() }
    }

    fn thread(&self, task: &TaskRef) -> Thread {
        let kept = self.thread.borrow().upgrade();
        kept.map(Thread).unwrap_or_else(|| {
            let thread = Thread::of(task, self.parker.clone());
            *self.thread.borrow_mut() = Arc::downgrade(&thread.0);
            thread
        })
    }
}

/// The operation of the running task's own `park`.
struct Parking(Arc<Parker>);

impl Parking {
    #[track_caller]
    fn here() -> Parking {
        assert!(
            current_task().is_some(),
            "`wouldblock::thread::park` outside of any task: call it inside `wouldblock::run(|| ..)`"
        );
        Parking(OWN.with(|own| own.parker.clone()))
    }
}

impl Future for Parking {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        wait::poll_within_budget(cx, |cx| {
            let mut parked = self.0.lock();
            if mem::take(&mut parked.token) {
                return Poll::Ready(());
            }
            // The waker is kept only where something may use it: one that is kept counts as something that may come.
            let waker = (parked.handles > 0).then(|| ForeignWaker::of(cx));
            let before = mem::replace(&mut parked.waker, waker);
            drop(parked);
            drop(before);
            wait::record(cx, Wait::named(&"a call of `unpark`"));
            Poll::Pending
        })
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        let waker = self.0.lock().waker.take();
        drop(waker);
    }
}
