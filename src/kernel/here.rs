//! What this thread is doing at the moment: which scheduler it has entered, and which task has its turn (kept in
//! `edge/running.rs`, for code below this).

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr;

use super::edge::foreign::running;
use super::edge::forever::forever;
use super::edge::pulse::Pulse;
use super::task::{Local, Task, TaskRef};

/// What this thread is doing.
pub(crate) struct Here {
    /// The `Scheduler` that has been entered; it does not move while the pointer is set.
    pub(crate) scheduler: Cell<*const ()>,
    /// What the watchdog sees.
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

/// What this thread is doing.
#[inline]
pub(crate) fn here() -> &'static Here {
    // SAFETY: a `Here` has `Cell`s, so it is not `Sync`.
    unsafe { forever(&HERE) }
}

/// The address of the task whose turn it is; null if there is none, and while foreign code runs. The task lives
/// while it is set.
#[inline]
pub(crate) fn running_task() -> *const Task {
    running().task.get().cast()
}

/// The task whose turn it is, if one has its turn on this thread.
pub(crate) fn current() -> Option<TaskRef> {
    let task = running_task();
    // SAFETY: `turn` holds a `TaskRef` of the task while it is set, which is not dropped here; this makes another.
    (!task.is_null()).then(|| ManuallyDrop::new(unsafe { TaskRef::from_raw(task) }).deref().clone())
}

/// Calls `f` with the task whose turn it is.
#[inline]
pub(crate) fn with_task<R>(f: impl FnOnce(&Task) -> R) -> Option<R> {
    // SAFETY: `turn` holds a `TaskRef` of the task while it is set, and `f` is a part of that turn.
    unsafe { running_task().as_ref() }.map(f)
}

/// Whether a task has its turn on this thread, so that there is something to suspend.
#[inline]
pub(crate) fn in_task() -> bool {
    !running_task().is_null()
}

/// The home part of the task whose turn it is.
#[inline]
pub(crate) fn with_local<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    // SAFETY: a task has its turn on its home thread only.
    with_task(|task| f(unsafe { task.local() }))
}
