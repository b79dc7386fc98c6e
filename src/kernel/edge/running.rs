//! Which task has its turn on this thread, and code that runs while none does.
//!
//! A file of its own, since the crate's own warnings (`warn.rs`), which `foreign.rs` uses, need it: a logger is code
//! of the user's that belongs to no task.

use std::cell::Cell;
use std::ptr;

use super::forever::forever;

/// The task that has its turn on this thread: a `Task`, which lives while it is set.
pub(crate) struct Running {
    pub(crate) task: Cell<*const ()>,
    /// The task on whose stack foreign code runs at the moment.
    pub(crate) host: Cell<*const ()>,
    /// A task of this thread was left (`State::Left`): only then may a line of waiters contain one.
    pub(crate) has_left: Cell<bool>,
}

thread_local! {
    static RUNNING: Running = const {
        Running {
            task: Cell::new(ptr::null()),
            host: Cell::new(ptr::null()),
            has_left: Cell::new(false),
        }
    };
}

#[inline]
pub(crate) fn running() -> &'static Running {
    // SAFETY: a `Running` has `Cell`s, so it is not `Sync`.
    unsafe { forever(&RUNNING) }
}

/// Calls `f` while no task runs, and restores the running task however `f` ends.
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
        return f(); // A turn that `f` gives, in a runtime of its own, ends with no task running.
    }
    let _restore = Restore([task.get(), host.get()]);
    host.set(task.replace(ptr::null()));
    f()
}
