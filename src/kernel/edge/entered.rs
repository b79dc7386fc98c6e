//! The scheduler that this thread has entered. A runtime that is dropped inside of a run is entered until its tasks
//! have ended; so entered schedulers may nest.

use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::foreign::while_no_task_runs;
use crate::kernel::coroutine::as_root;
use crate::kernel::here::here;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Home;

/// The time, by the clock of this thread's scheduler.
pub(crate) fn now() -> Instant {
    Scheduler::with(|s| s.map_or_else(Instant::now, |s| s.clock.now()))
}

impl Scheduler {
    /// Calls `f` with the scheduler of this thread, if one is running.
    #[inline]
    pub(crate) fn with<R>(f: impl FnOnce(Option<&Scheduler>) -> R) -> R {
        let scheduler = here().scheduler.get().cast::<Scheduler>();
        // SAFETY: `enter` sets the pointer to a scheduler that outlives the time it is set.
        f(unsafe { scheduler.as_ref() })
    }

    /// Calls `f` with the scheduler of this thread, if that is its home.
    #[inline]
    pub(crate) fn at<R>(home: *const Home, f: impl FnOnce(Option<&Scheduler>) -> R) -> R {
        Scheduler::with(|here| f(here.filter(|here| Arc::as_ptr(&here.home) == home)))
    }

    /// Calls `f` with the scheduler of that run, if the thread has entered it: also where a runtime is dropped inside of
    /// the run, and is the scheduler of the thread meanwhile.
    pub(crate) fn of_run<R>(run: u32, f: impl FnOnce(&Scheduler) -> R) -> Option<R> {
        let mut at = here().scheduler.get().cast::<Scheduler>();
        // SAFETY: `enter` keeps a scheduler, and the one around it, in place while it is set.
        while let Some(scheduler) = unsafe { at.as_ref() } {
            if scheduler.home.run == run {
                return Some(f(scheduler));
            }
            at = scheduler.outer.get();
        }
        None
    }

    /// Makes this the scheduler of the thread while `f` runs, outside of any task and fiber; then everything is as
    /// it was, however `f` ends.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(*const ());
        impl Drop for Restore {
            fn drop(&mut self) {
                here().scheduler.set(self.0);
            }
        }
        let outer = here().scheduler.replace(ptr::from_ref(self).cast());
        let _restore = Restore(outer);
        self.outer.set(outer.cast());
        self.unwinding.set(thread::panicking());
        while_no_task_runs(|| as_root(f))
    }
}

/// Panics where the thread has entered a scheduler already.
#[track_caller]
pub(crate) fn refuse_nesting(what: &str) {
    assert!(
        Scheduler::with(|here| here.is_none()),
        "{what}: this thread has a scheduler already; spawn a task instead"
    );
}

const OUTSIDE: &str = "a wait outside of any task: there is nothing to suspend. \
    Call it inside `wouldblock::run(|| ..)` or in a task spawned there; on another thread, and in `offload`ed code, use \
    std's call, which blocks the thread";

const ASIDE: &str = "a wait outside of any task, in code of a run that belongs to none: in `Runtime::enter`, a logger, an \
    observer, a waker, a callback, a destructor. It may not wait; let it wake or spawn a task that does \
    (`wouldblock::run(|| ..)` runs its closure as one)";

#[cold]
pub(crate) fn outside() -> &'static str {
    Scheduler::with(|entered| if entered.is_none() { OUTSIDE } else { ASIDE })
}
