//! Which greenlet it is, and the token that `unpark` gives to it and `park` waits for.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::kernel::door;
use crate::kernel::edge::foreign::KeptWaker;
use crate::kernel::here::current as current_task;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{SharedTask, TaskRef};
use crate::kernel::wait::{self, Wait};
use crate::op::timeout;
use crate::task::TaskLocal;

/// Which greenlet a handle stands for, in this process: [`std::thread::ThreadId`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThreadId {
    run: u32,
    task: u64,
}

/// With the number of the task that reports show.
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
    task: SharedTask,
    id: ThreadId,
    parker: Arc<Parker>,
}

/// As std's: a panic leaves the token, and the task that waits for it, whole.
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
    pub(super) fn of(task: &TaskRef, parker: Arc<Parker>) -> Thread {
        let run = Scheduler::with(|scheduler| scheduler.map_or(u32::MAX, |here| here.home.run));
        let id = ThreadId { run, task: task.id };
        let inner = Arc::new(Inner { task: task.clone().into_shared(), id, parker });
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
pub(super) struct Parker(Mutex<Parked>);

#[derive(Default)]
struct Parked {
    token: bool,
    /// Of a task that is parked, and that a handle may unpark.
    waker: Option<KeptWaker>,
    /// How many [`Inner`]s there are.
    handles: usize,
}

impl Parker {
    fn lock(&self) -> MutexGuard<'_, Parked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a task keeps of itself for this module.
pub(super) struct Own {
    parker: Arc<Parker>,
    /// The handle that was made last.
    thread: RefCell<Weak<Inner>>,
}

pub(super) static OWN: TaskLocal<Own> = TaskLocal::new(|| Own::of(&Arc::default()));

impl Own {
    pub(super) fn of(parker: &Arc<Parker>) -> Own {
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
            let waker = (parked.handles > 0).then(|| KeptWaker::of(cx));
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
