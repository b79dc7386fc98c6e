//! Running: the [`Builder`], what a spawn gives back, and what can be asked of a run.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::kernel::coroutine::{Fiber, as_root};
use crate::kernel::door;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::stack;
use crate::kernel::task::{Body, Packet, Promise, State, Task, Wait};
use crate::kernel::timers::Clock;

pub use crate::kernel::task::{Era, JoinError};

/// How a run is set up; [`run`](crate::run) is `Builder::new().run(..)`.
///
/// ```
/// use std::time::{Duration, Instant};
/// use wouldblock::{Builder, green};
///
/// let start = Instant::now();
/// Builder::new().virtual_clock().run(|| green::sleep(Duration::from_secs(3600)));
/// assert!(start.elapsed() < Duration::from_secs(3600), "an hour of virtual time is soon over");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `run`"]
pub struct Builder {
    stack_size: usize,
    virtual_clock: bool,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// The defaults: 256 KiB of stack for each task (1 MiB in a debug build), the machine's clock.
    pub fn new() -> Builder {
        Builder { stack_size: stack::DEFAULT_SIZE, virtual_clock: false }
    }

    /// The usable bytes of each task's stack, rounded up to whole pages. Memory is only reserved: a page
    /// costs nothing before it is touched.
    ///
    /// # Panics
    ///
    /// Below 16 KiB, which no Rust program that formats a string can live in.
    #[track_caller]
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        assert!(
            bytes >= 16 << 10,
            "a stack of {bytes} bytes is too small for any Rust code: give it at least 16384"
        );
        self.stack_size = bytes;
        self
    }

    /// Time stands still while there is anything to do, and then jumps to the next deadline: tests of
    /// what happens in an hour take no time, and always take the same course.
    ///
    /// The virtual clock is what [`sleep`](crate::time::sleep), [`timeout`](crate::time::timeout) and
    /// [`now`](crate::time::now) go by. Code that asks `std::time` sees the machine's clock. While tasks
    /// wait for sockets and sleep as well, the sockets are looked at first, but not waited for. (The idea
    /// is trio's autojump clock.)
    pub fn virtual_clock(mut self) -> Builder {
        self.virtual_clock = true;
        self
    }

    /// Makes a scheduler, lets it run the task that `root` makes of `code` until that is done, and cancels
    /// what is left.
    ///
    /// `code` may borrow from the caller.
    pub(crate) fn run_root(
        self,
        era: Era,
        site: &'static Location<'static>,
        code: Box<dyn FnOnce() + '_>,
        root: impl FnOnce(Promise<()>, Box<dyn FnOnce()>) -> Box<dyn Body>,
    ) {
        assert!(
            Scheduler::with(|here| here.is_none()),
            "`run` inside of `run`: this thread has a scheduler already; spawn a task instead"
        );
        door::refuse_while_unwinding();
        let clock = if self.virtual_clock { Clock::virtual_from_now() } else { Clock::real() };
        let scheduler = Scheduler::new(clock, self.stack_size)
            .unwrap_or_else(|e| panic!("cannot make an event queue (epoll): {e}"));
        let promise = Promise::new();
        let packet = promise.0.clone();
        // SAFETY: only the lifetime changes. The code runs in `run_until` below, which returns when the
        // task is done and the code, having been called, is gone. Should the scheduler itself unwind, the
        // task's body is leaked (`Task::drop`) and never resumed, so that it never again looks at what it
        // borrows.
        let code: Box<dyn FnOnce() + 'static> = unsafe { std::mem::transmute(code) };
        scheduler.enter(|| {
            as_root(|| {
                let body = root(promise, code);
                let task = scheduler.spawn(era, site, Some("root".into()), body);
                // SAFETY: the task was spawned on this thread.
                let state = unsafe { &task.local().state };
                scheduler.run_until(|| state.get() == State::Done);
                scheduler.close();
            });
        });
        match packet.result.take().expect("a task that is done has a result") {
            Ok(()) => {}
            Err(error) => match error.into_panic() {
                Ok(payload) => std::panic::resume_unwind(payload),
                Err(error) => panic!("{error}"),
            },
        }
    }
}

/// Adds a task to the run of this thread: what the three `spawn`s share.
#[track_caller]
pub(crate) fn launch<T: 'static, B: Body + 'static>(
    era: Era,
    body: impl FnOnce(Promise<T>) -> B,
) -> JoinHandle<T> {
    let site = Location::caller();
    let promise = Promise::new();
    let packet = promise.0.clone();
    let task = Scheduler::with(|scheduler| {
        let scheduler = scheduler.unwrap_or_else(|| {
            panic!("spawn outside of a run: call it inside `wouldblock::run(|| ..)`")
        });
        assert!(!scheduler.is_closing(), "spawn after the root has returned: the run is ending");
        scheduler.spawn(era, site, None, Box::new(body(promise)))
    });
    JoinHandle { task, packet }
}

/// A fiber for the running task; where the kernel has no room for a stack, that is the task's result.
pub(crate) fn fiber<T>(promise: &Promise<T>) -> Option<Fiber> {
    let size = Scheduler::with(|s| s.map_or(stack::DEFAULT_SIZE, |s| s.stack_size));
    let task = || door::current().expect("a body is called in its task's turn");
    Fiber::take(size).map_err(|e| promise.no_stack(task(), e)).ok()
}

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
    task: Arc<Task>,
    packet: Rc<Packet<T>>,
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
        Scheduler::with(|scheduler| {
            if let Some(scheduler) = scheduler {
                scheduler.cancel(&self.task);
            }
        });
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
        if let Some(result) = self.packet.result.take() {
            return Poll::Ready(result);
        }
        // SAFETY: a handle is not `Send`, so this is the task's home thread.
        let local = unsafe { self.task.local() };
        match local.state.get() {
            State::Done => Poll::Ready(Err(JoinError::taken(self.task.clone()))),
            State::Running | State::Woken => Poll::Ready(Err(JoinError::itself(self.task.clone()))),
            State::Ready | State::Waiting => {
                local.joiner.set(Some(cx.waker().clone()));
                door::leave(cx, Wait::PARKED);
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

/// What has happened so far in the run that this is called in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Turns given: how often a task was resumed.
    pub turns: u64,
    /// How often a socket answered `WouldBlock`.
    pub would_block: u64,
    /// Tasks spawned, the root among them.
    pub spawned: u64,
    /// Tasks that are done.
    pub finished: u64,
}

/// Counts of the present run; all zero outside of one.
///
/// ```
/// let stats = wouldblock::run(|| {
///     wouldblock::green::yield_now();
///     wouldblock::stats()
/// });
/// assert_eq!((stats.turns, stats.spawned), (2, 1));
/// ```
pub fn stats() -> Stats {
    Scheduler::with(|scheduler| {
        let Some(counters) = scheduler.map(|s| &s.counters) else { return Stats::default() };
        Stats {
            turns: counters.turns.get(),
            would_block: counters.would_block.get(),
            spawned: counters.spawned.get(),
            finished: counters.finished.get(),
        }
    })
}
