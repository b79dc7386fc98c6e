//! Cancellation: the stack of a task is unwound from where it waits. (A generator is closed, which unwinds its stack;
//! a future is polled once more and dropped: `yield_to_scheduler` in `eras/pep342.rs`, `poll` in `eras/future.rs`.)
//!
//! A cancelled task is not interrupted. It is resumed, and the wait that it was in *raises* the cancellation: the stack
//! is unwound from there, and destructors run, up to a *boundary*. That is the root of the task, for
//! `JoinHandle::cancel`, or a [`Limit`], for `green::timeout` (or the root of a generator that is closed: `pep342.rs`):
//!
//! ```text
//!   root ── limit A (10 s) ── limit B (1 s) ── read ── wait
//!    ▲          ▲                 ▲                     │ B has passed: unwind to B
//!    │          └─────────────────│─────────────────────┤ A has passed too: unwind to A
//!    └────────────────────────────│─────────────────────┘ the task was cancelled: unwind to the root
//! ```
//!
//! As in trio, a cancellation is raised again and again: if code catches the unwinding before the boundary, the next
//! wait unwinds the stack once more. Only cleanup inside of a [`shield`] may wait. A root and a limit count their
//! unwindings. Code that catches the unwinding a thousand times and waits again would never stop: then the process is
//! aborted, or, if the run is ending, the task is abandoned and its frames leak.
//!
//! While a stack unwinds, nothing suspends: see `edge/unwinding.rs`.

use std::any::Any;
use std::cell::Cell;
use std::mem::replace;
use std::ptr;
use std::time::Instant;

use super::edge::entered::now;
use super::edge::foreign::{Boundary, Unwind};
use super::edge::open_guard::{LimitGuard, OpenGuard};
use super::edge::unwinding::{abandon, catch, count, unwind_with};
use super::here::{with_local, with_task};
use super::task::{Local, TaskRef};
use super::wait::{WaitCell, earliest, is_spent};

/// Called before a task gives up its turn. Unwinds if the task is to stop, or a time limit in force has passed; else
/// returns the earliest limit in force.
#[inline]
pub(crate) fn check(local: &Local) -> Option<Instant> {
    match local.cancelled.get() || !local.limits.get().is_null() {
        true => raise_or_limit(),
        false => None,
    }
}

#[cold]
fn raise_or_limit() -> Option<Instant> {
    if is_cancelled() {
        raise_cancelled();
    }
    if let Some(limit) = passed() {
        raise(&limit.raised, Boundary::Limit(limit.serial));
    }
    limits_in_force().fold(None, |first, limit| earliest(first, limit.deadline.get()))
}

/// The outermost time limit that has passed.
fn passed<'a>() -> Option<&'a Limit<'a>> {
    let now = now();
    limits_in_force().filter(|limit| limit.deadline.get().is_some_and(|end| end <= now)).last()
}

/// As [`check`], for a turn that is given up only because its budget is used up. The first call only notes that the
/// task is to stop, so that the next operation wins if it is ready; the second unwinds, so that a loop of these ends.
pub(crate) fn check_between_operations() {
    if is_cancelled() && notice() {
        raise_cancelled();
    }
    if let Some(limit) = passed().filter(|limit| limit.noticed.replace(true)) {
        raise(&limit.raised, Boundary::Limit(limit.serial));
    }
}

/// The future's [`check`], after a poll that waits for this. If it returns `true`, the future is dropped; where it only
/// gives up the turn for its budget, that is the second time, as in [`check_between_operations`].
pub(crate) fn check_future(wait: &WaitCell) -> bool {
    is_cancelled() && !(wait.is_turn() && is_spent() && !notice())
}

/// Notes that the running task is to stop. Returns `true` if that was noted before.
fn notice() -> bool {
    with_local(|local| local.extras.with(|extras| replace(&mut extras.noticed, true))) == Some(true)
}

/// Whether the running task is to stop.
#[inline]
pub(crate) fn is_cancelled() -> bool {
    with_local(Local::is_to_stop) == Some(true)
}

/// Unwinds to the root of the running task.
pub(crate) fn raise_cancelled() -> ! {
    with_task(|task| raise(&task.local().raised, root_of(task))).expect("a task runs")
}

/// The root of the running task.
pub(crate) fn root() -> Option<Boundary> {
    with_task(root_of)
}

fn root_of(task: &TaskRef) -> Boundary {
    Boundary::Task(task.home.run, task.id)
}

/// Whether `payload` unwinds to the root of the running task.
pub(crate) fn is_to_root(payload: &(dyn Any + Send)) -> bool {
    let boundary = payload.downcast_ref::<Unwind>().map(|unwind| unwind.boundary);
    boundary.is_some() && boundary == root()
}

fn raise(raised: &Cell<u16>, boundary: Boundary) -> ! {
    if count(raised, boundary) {
        abandon();
    }
    unwind_to(boundary)
}

/// Unwinds to `boundary` without counting that.
pub(crate) fn unwind_to(boundary: Boundary) -> ! {
    unwind_with(Box::new(Unwind { boundary, serial: 0 }))
}

/// The time limits in force, the innermost first.
pub(super) fn limits_in_force<'a>() -> impl Iterator<Item = &'a Limit<'a>> {
    // SAFETY: each limit lies in the frame of a `Limit::hold` further down the task's stacks, which takes the limit out of
    // the list before it ends (frames of this crate end in order: see "What no stackful coroutine can make safe" in
    // `lib.rs`). The callers lie above that frame, and keep no limit.
    let at = |limit: *const Limit<'a>| unsafe { limit.as_ref() };
    std::iter::successors(at(limits().cast()), move |limit| at(limit.outer))
}

fn limits() -> *const () {
    with_local(|local| local.limits.get()).unwrap_or(ptr::null())
}

/// A time limit on all that the running task does in a closure.
pub(crate) struct Limit<'a> {
    /// `None`: no deadline now. `Members::stop` and a `CancelScope` set it while the code runs, and wake the task.
    deadline: &'a Cell<Option<Instant>>,
    outer: *const Limit<'a>,
    pub(super) serial: u64,
    pub(super) raised: Cell<u16>,
    /// `check_between_operations` has noted that the limit has passed.
    noticed: Cell<bool>,
}

impl Limit<'_> {
    /// Runs `body` under the limit `deadline`. Returns `None` if `body` was unwound because that time had passed.
    /// `what` is the name of the limit in errors.
    pub(crate) fn hold<T>(
        what: &'static str,
        deadline: &Cell<Option<Instant>>,
        body: impl FnOnce() -> T,
    ) -> Option<T> {
        let outer = limits();
        let (serial, raised, noticed) = (Boundary::serial(), Cell::new(0), Cell::new(false));
        let limit = Limit { deadline, outer: outer.cast(), serial, raised, noticed };
        with_local(|local| local.limits.set((&raw const limit).cast()));
        let opened = LimitGuard::new(what);
        let result = catch(body);
        drop(opened);
        with_local(|local| local.limits.set(outer));
        match result {
            Ok(value) => Some(value),
            Err(payload) => match payload.downcast_ref::<Unwind>() {
                Some(unwind) if unwind.boundary == Boundary::Limit(serial) => None,
                _ => unwind_with(payload),
            },
        }
    }
}

/// Runs `cleanup`, and holds off cancellation and the time limits around this until `cleanup` has returned.
pub(crate) fn shield<T>(cleanup: impl FnOnce() -> T) -> T {
    /// Lowers the count, and restores these limits.
    struct Unshield(*const ());
    impl Drop for Unshield {
        fn drop(&mut self) {
            with_local(|local| {
                local.shields.set(local.shields.get() - 1);
                local.limits.set(self.0);
            });
        }
    }
    let _open = OpenGuard::one(|open| &open.shields); // So no generator yields in `cleanup`, to go on in another task.
    let limits = with_local(|local| {
        local.shields.set(local.shields.get() + 1);
        local.limits.replace(ptr::null())
    });
    let _unshield = limits.map(Unshield); // `None` outside of any task: nothing is held off.
    cleanup()
}
