//! What this thread does at the moment: which scheduler it has entered, and which task has its turn. (The task is kept
//! in `edge/running.rs`, for the files that come before this one.)

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr;

use super::edge::forever::forever;
use super::edge::pulse::Pulse;
use super::edge::running::running;
use super::task::{Local, Task, TaskRef};

pub(crate) struct Here {
    /// The `Scheduler` that the thread has entered; it does not move while the pointer is set. Null: none.
    pub(crate) scheduler: Cell<*const ()>,
    /// What the watchdog sees of the thread's turns.
    pub(crate) pulse: Pulse,
}

thread_local! {
    static HERE: Here = const {
        Here {
            scheduler: Cell::new(ptr::null()),
            pulse: Pulse::new(),
        }
    };
}

#[inline]
pub(crate) fn here() -> &'static Here {
    // SAFETY: a `Here` has `Cell`s, so it is not `Sync`.
    unsafe { forever(&HERE) }
}

/// The address of the task whose turn it is; null if there is none, and while foreign code runs (`edge/foreign.rs`).
/// The task lives as long as its address is set here.
#[inline]
pub(crate) fn running_task() -> *const Task {
    running().task.get().cast()
}

/// The task whose turn it is, if one has its turn on this thread.
#[inline]
pub(crate) fn current() -> Option<TaskRef> {
    with_task(TaskRef::clone)
}

/// Calls `f` with the task whose turn it is.
#[inline]
pub(crate) fn with_task<R>(f: impl FnOnce(&TaskRef) -> R) -> Option<R> {
    let task = running_task();
    // SAFETY: `Scheduler::turn` holds a `TaskRef` while the task is set, and `f` is a part of that turn; that one's
    // count is neither taken nor given back here.
    let borrowed = || ManuallyDrop::new(unsafe { TaskRef::from_raw(task) });
    (!task.is_null()).then(|| f(&borrowed()))
}

/// Whether a task has its turn on this thread, so that there is something to suspend.
#[inline]
pub(crate) fn in_task() -> bool {
    !running_task().is_null()
}

/// Calls `f` with the home thread's part of the task whose turn it is.
#[inline]
pub(crate) fn with_local<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    with_task(|task| f(task.local()))
}
