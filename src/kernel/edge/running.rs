//! Which task has its turn on this thread, and [`while_no_task_runs`], which calls user code as code of no task.

use std::cell::Cell;
use std::ptr;

use super::forever::forever;

/// What this thread runs.
pub(crate) struct Running {
    /// The `Task` that has its turn; null if there is none, and while foreign code runs. The task lives while this is set
    /// (`Scheduler::turn` holds a `TaskRef`).
    pub(crate) task: Cell<*const ()>,
    /// The `Task` on whose stack foreign code runs; null if there is none.
    pub(crate) host: Cell<*const ()>,
    /// A task of this thread was abandoned (`State::Abandoned`): only then may a line of waiters contain one.
    pub(crate) has_abandoned: Cell<bool>,
    /// An observer has what the task does noted (`notes.rs`).
    pub(crate) is_noted: Cell<bool>,
}

thread_local! {
    static RUNNING: Running = const {
        Running {
            task: Cell::new(ptr::null()),
            host: Cell::new(ptr::null()),
            has_abandoned: Cell::new(false),
            is_noted: Cell::new(false),
        }
    };
}

#[inline]
pub(crate) fn running() -> &'static Running {
    // SAFETY: a `Running` has `Cell`s, so it is not `Sync`.
    unsafe { forever(&RUNNING) }
}

/// Calls `f` with no task running, and restores the running task when `f` returns or unwinds.
#[inline]
pub(crate) fn while_no_task_runs<R>(f: impl FnOnce() -> R) -> R {
    struct Restore([*const (); 2]);
    impl Drop for Restore {
        fn drop(&mut self) {
            running().task.set(self.0[0]);
            running().host.set(self.0[1]);
        }
    }
    let Running { task, host, .. } = running();
    if task.get().is_null() {
        return f(); // If `f` drives a runtime, no task is running after its turns either: nothing is to be restored.
    }
    let _restore = Restore([task.get(), host.get()]);
    host.set(task.replace(ptr::null()));
    f()
}
