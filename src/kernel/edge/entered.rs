//! The scheduler that this thread has entered. Entered schedulers nest in one case: a runtime that is dropped inside of a run
//! is entered until its tasks have ended.

use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::foreign::while_no_task_runs;
use crate::kernel::coroutine::as_root;
use crate::kernel::here::{here, with_task};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Home;

/// The time, by the clock of this thread's scheduler.
pub(crate) fn now() -> Instant {
    Scheduler::with(|s| s.map_or_else(Instant::now, |s| s.clock.now()))
}

/// Whether `deadline` has come, by the same clock.
pub(crate) fn has_passed(deadline: Instant) -> bool {
    Scheduler::with(|s| match s {
        Some(s) => s.clock.has_passed(deadline),
        None => Instant::now() >= deadline,
    })
}

impl Scheduler {
    /// Calls `f` with the scheduler of this thread, if one is running.
    #[inline]
    pub(crate) fn with<R>(f: impl FnOnce(Option<&Scheduler>) -> R) -> R {
        let scheduler = here().scheduler.get().cast::<Scheduler>();
        // SAFETY: `enter` borrows the scheduler for as long as its guard keeps the pointer set. This relies on frames of this
        // crate ending in order: see "What no stackful coroutine can make safe" in `lib.rs`.
        f(unsafe { scheduler.as_ref() })
    }

    /// Calls `f` with the scheduler of this thread if its home is `home`, else with `None`.
    #[inline]
    pub(crate) fn at<R>(home: *const Home, f: impl FnOnce(Option<&Scheduler>) -> R) -> R {
        Scheduler::with(|here| f(here.filter(|here| Arc::as_ptr(&here.home) == home)))
    }

    /// Calls `f` with the scheduler whose home `is` the right one if the thread has entered it, be it the innermost one or
    /// not. (Code whose soundness needs the home thread compares the address of the home: a number comes again.)
    pub(crate) fn entered<R>(
        is: impl Fn(&Home) -> bool,
        f: impl FnOnce(&Scheduler) -> R,
    ) -> Option<R> {
        let mut at = here().scheduler.get().cast::<Scheduler>();
        // SAFETY: as in `with`; and `outer` is the pointer that an enclosing call of `enter` keeps set.
        while let Some(scheduler) = unsafe { at.as_ref() } {
            if is(&scheduler.home) {
                return Some(f(scheduler));
            }
            at = scheduler.outer.get();
        }
        None
    }

    /// Makes this the scheduler of the thread while `f` runs, outside of any task and fiber. When `f` returns or unwinds, the
    /// scheduler before is set again.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(*const ());
        impl Drop for Restore {
            fn drop(&mut self) {
                here().scheduler.set(self.0);
                with_task(|task| here().pulse.begins(task)); // If a task drops a runtime, the rest of the turn is the task's.
            }
        }
        let outer = here().scheduler.replace(ptr::from_ref(self).cast());
        let _restore = Restore(outer);
        self.outer.set(outer.cast());
        self.was_panicking.set(thread::panicking());
        while_no_task_runs(|| as_root(f))
    }
}

/// Panics if the thread has entered a scheduler.
#[track_caller]
pub(crate) fn refuse_nesting(what: &str) {
    assert!(
        Scheduler::with(|here| here.is_none()),
        "{what}: this thread has a scheduler already; spawn a task instead"
    );
}

const OUTSIDE_OF_RUN: &str = "a wait outside of any task: there is nothing to suspend. \
    Call it inside `wouldblock::run(|| ..)` or in a task spawned there; on another thread, and in `offload`ed code, use \
    std's call, which blocks the thread";

const IN_FOREIGN_CODE: &str = "a wait outside of any task, in code of a run that belongs to none: in `Runtime::enter`, a logger, an \
    observer, a waker, a callback, a destructor. It may not wait; let it wake or spawn a task that does \
    (`wouldblock::run(|| ..)` runs its closure as one)";

/// The message of a wait for which there is no task to suspend.
#[cold]
pub(crate) fn no_task_message() -> &'static str {
    Scheduler::with(|entered| if entered.is_none() { OUTSIDE_OF_RUN } else { IN_FOREIGN_CODE })
}
