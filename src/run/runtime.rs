//! A scheduler that is driven by hand, and how a run is driven to its end.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::inspect::deadlock::Deadlock;
use crate::kernel::edge::entered::refuse_nesting;
use crate::kernel::edge::warn;
use crate::kernel::scheduler::{Scheduler, Stall};
use crate::kernel::wait::this_turn;
use crate::run::stack_size;

/// A scheduler that is driven by hand.
///
/// ```
/// use wouldblock::{Builder, green};
///
/// let runtime = Builder::new().build().unwrap();
/// let task = runtime.enter(|| green::spawn(|| { green::yield_now(); 42 }));
/// let mut turns = 0;
/// while runtime.turn() {
///     turns += 1;
/// }
/// assert_eq!((turns, task.is_finished()), (2, true));
/// ```
///
/// Dropping it cancels its tasks, the newest first, and gives them the turns in which they clean up; this blocks the
/// thread, also inside of another run. Where the thread unwinds already, cleanup that waits is left instead, with
/// an error in the log. It stays on its thread, as its tasks do:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<wouldblock::Runtime>();
/// ```
pub struct Runtime {
    pub(crate) scheduler: Scheduler,
    /// See [`Builder::deadlock_warning`](crate::Builder::deadlock_warning).
    patience: Option<Duration>,
    stays: PhantomData<*const ()>,
}

impl Runtime {
    pub(crate) fn new(scheduler: Scheduler, patience: Option<Duration>) -> Runtime {
        scheduler.patience.set(patience);
        Runtime { scheduler, patience, stays: PhantomData }
    }

    /// Runs `f` as code of this runtime, outside of any task: it can spawn tasks, not wait.
    ///
    /// # Panics
    ///
    /// Where the thread has a runtime entered already; and with whatever `f` panics with.
    #[track_caller]
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        refuse_nesting("a runtime is entered inside of a run, or of another runtime");
        self.scheduler.enter(f)
    }

    /// Gives one turn to the task that is first in the queue. If none is ready, polls the operating system and the
    /// clock first, without waiting. Returns `false` if no task was ready then.
    ///
    /// # Panics
    ///
    /// As [`enter`](Runtime::enter). A task that panics does not make this panic.
    #[track_caller]
    pub fn turn(&self) -> bool {
        let scheduler = &self.scheduler;
        self.enter(|| {
            scheduler.check_events();
            scheduler.one_turn()
                || (scheduler.poll(Some(Duration::ZERO), true) && scheduler.one_turn())
        })
    }

    /// Gives turns until `done`, and sleeps when no task is ready. `done` is called before each turn. (asyncio's
    /// `run_until_complete`, with `|| task.is_finished()`.)
    ///
    /// ```
    /// use std::time::Duration;
    /// use wouldblock::{Builder, green};
    ///
    /// let runtime = Builder::new().virtual_clock().build().unwrap();
    /// let task = runtime.enter(|| green::spawn(|| green::sleep(Duration::from_secs(60))));
    /// runtime.run_until(|| task.is_finished()).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Tasks wait, nothing can ever wake any of them, and it is not `done`: the [`Deadlock`] has the tasks and what
    /// each waits for. They go on waiting.
    ///
    /// # Panics
    ///
    /// As [`enter`](Runtime::enter).
    #[track_caller]
    pub fn run_until(&self, done: impl Fn() -> bool) -> Result<(), Deadlock> {
        self.enter(|| drive(self, "", done).map_or(Ok(()), Err))
    }

    /// The descriptor to watch from another event loop: when it is readable, [`turn`](Runtime::turn) has
    /// something to do.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.scheduler.reactor.borrow().as_raw_fd();
        // SAFETY: the reactor's descriptor is open as long as the scheduler is.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// When [`turn`](Runtime::turn) should be called at the latest, though nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let Scheduler { timers, clock, .. } = &self.scheduler;
        let (tick, now) = (timers.borrow().next_tick()?, clock.now());
        Some(now + clock.until(tick, now))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.scheduler.end.closing.get() {
            let budget = this_turn().budget.get(); // Of the task that drops this, if one does.
            self.scheduler.enter(|| close(self));
            this_turn().budget.set(budget);
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

/// Runs until `done`; `Some` if it never will be. A warning that it may not begins with `when`.
pub(crate) fn drive(runtime: &Runtime, when: &str, done: impl Fn() -> bool) -> Option<Deadlock> {
    let scheduler = &runtime.scheduler;
    loop {
        let done = || {
            scheduler.check_events();
            done()
        };
        match scheduler.run_until(done) {
            None => return None,
            Some(Stall::Deadlock) => return Some(Deadlock::of(scheduler, None)),
            Some(Stall::Quiet) => {
                warn::alarm(format_args!("{when}{}", Deadlock::of(scheduler, runtime.patience)));
            }
        }
    }
}

/// Cancels what is left; what does not end is left where it is, with an error in the log. Nothing runs here
/// afterwards.
pub(crate) fn close(runtime: &Runtime) {
    let scheduler = &runtime.scheduler;
    scheduler.patience.set(runtime.patience);
    scheduler.cancel_all();
    let when = "the run is over, but not the cleanup of its tasks: ";
    if let Some(report) = drive(runtime, when, || scheduler.is_cleaned_up()) {
        // It is left where it is, and its stacks are leaked.
        warn::error(format_args!(
            "the run is over, but not the cleanup of its tasks, which is left: {report}"
        ));
        scheduler.clear_queue();
        let left = scheduler.tasks.borrow().by_age();
        scheduler.abandon(&left);
    }
    scheduler.close();
    stack_size::trim();
}
