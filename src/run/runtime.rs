//! A runtime, which is a scheduler that is driven by hand; and the loop and the end of every run.

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
/// Dropping a runtime cancels its tasks, the newest first, and gives them the turns in which they clean up. This blocks
/// the thread, even inside of another run. If the thread is panicking, a task whose cleanup waits is abandoned, and an
/// error is logged. A runtime stays on its thread, as its tasks do:
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

    /// Calls `f` as code of this runtime, outside of any task: `f` can spawn tasks, but cannot wait.
    ///
    /// # Panics
    ///
    /// Panics if the thread has entered a runtime already, or if `f` panics.
    #[track_caller]
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        refuse_nesting("a runtime is entered inside of a run, or of another runtime");
        self.scheduler.enter(f)
    }

    /// Gives one turn to the first task in the queue. If no task is ready, this first polls the operating system and the
    /// clock, without waiting. Returns `false` if no task is ready after that.
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

    /// Gives turns until `done` returns `true`, and sleeps while no task is ready. `done` is called before each turn.
    /// (With `|| task.is_finished()`, this is asyncio's `run_until_complete`.)
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
    /// Returns a [`Deadlock`], with all tasks and what each waits for, if they wait, nothing can ever wake any of them,
    /// and `done` returns `false`. The tasks are not cancelled.
    ///
    /// # Panics
    ///
    /// As [`enter`](Runtime::enter).
    #[track_caller]
    pub fn run_until(&self, done: impl Fn() -> bool) -> Result<(), Deadlock> {
        self.enter(|| drive(self, "", done).map_or(Ok(()), Err))
    }

    /// Returns the descriptor that another event loop has to watch: when it is readable, call [`turn`](Runtime::turn).
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.scheduler.reactor.borrow().as_raw_fd();
        // SAFETY: the reactor's descriptor is open as long as the scheduler is.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// Returns the time at which to call [`turn`](Runtime::turn) even if the [descriptor](Runtime::as_fd) does not become
    /// readable; `None` if no task waits for a time.
    ///
    /// With a virtual clock, that is a time of this clock, which stands still between two calls: do not wait for it, but
    /// call [`turn`](Runtime::turn) again. If nothing else happens, the clock moves to it there.
    pub fn next_deadline(&self) -> Option<Instant> {
        let Scheduler { timers, clock, .. } = &self.scheduler;
        let (tick, now) = (timers.borrow().next_tick()?, clock.now());
        Some(now + clock.until(tick, now))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.scheduler.end.closing.get() {
            let budget = this_turn().budget.get(); // If a task drops this, the turn is that task's.
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

/// Gives turns until `done` returns `true`. Returns the deadlock if there is one before that. A warning of a suspected
/// deadlock begins with `when`.
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

/// Ends a run: cancels all tasks that are not done, and gives turns until they have ended. Tasks in a deadlock are
/// abandoned, and an error is logged. No task of the run has a turn after this.
pub(crate) fn close(runtime: &Runtime) {
    let scheduler = &runtime.scheduler;
    scheduler.patience.set(runtime.patience);
    scheduler.cancel_all();
    let when = "the run is over, but not the cleanup of its tasks: ";
    if let Some(report) = drive(runtime, when, || scheduler.is_cleaned_up()) {
        warn::error(format_args!(
            "the run is over, but not the cleanup of its tasks, which are abandoned: {report}"
        ));
        scheduler.clear_queue();
        let tasks = scheduler.tasks.borrow().by_age();
        scheduler.abandon(&tasks); // Their stacks are leaked.
    }
    scheduler.close();
    stack_size::trim();
}
