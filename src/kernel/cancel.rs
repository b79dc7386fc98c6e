//! Cancellation: being unwound from where one waits.
//!
//! A cancelled task is not interrupted. It is resumed, and the wait that it was in raises: the stack is
//! unwound from there, destructors run, up to a *boundary*. A boundary is the root of the task, for
//! `JoinHandle::cancel`, or a [`Limit`], for `green::timeout`:
//!
//! ```text
//!   root ── limit A (10 s) ── limit B (1 s) ── read ── wait
//!    ▲          ▲                 ▲                     │ B has passed: unwind to B
//!    │          └─────────────────│─────────────────────┤ A has passed too: unwind to A
//!    └────────────────────────────│─────────────────────┘ the task was cancelled: unwind to the root
//! ```
//!
//! It is level-triggered, as in trio: until the boundary is reached, each further wait raises it again, so
//! that code which swallows the unwinding cannot go on as if nothing had been. The exception is cleanup
//! that has to wait, behind a [`shield`].
//!
//! While a stack unwinds, nothing suspends: the thread counts as panicking, for every task that would run
//! meanwhile, and a second unwinding would abort the process without a word. So that says a word first.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::ptr;
use std::time::Instant;

use super::scheduler::{current, here, now, with_local};
use super::task::{Local, Unwind};

/// How often a task may swallow the unwinding and wait again, before it is taken to be in a loop that
/// would never end.
const MOST_RAISED: u16 = 1000;

/// What the door asks before it suspends a task: unwinds if the task is to stop; else sees to it that the
/// wait ends with the earliest time limit in force.
#[inline]
pub(crate) fn check(local: &Local) {
    if local.cancelled.get() || !local.limits.get().is_null() {
        raise_or_limit();
    }
}

#[cold]
fn raise_or_limit() {
    check_cancelled();
    let now = now();
    let mut passed = None;
    let mut limit = limits().cast::<Limit<'_>>();
    // SAFETY: each limit lies in the frame of a `Limit::hold` further down this stack, which takes it
    // out of the list before it ends.
    while let Some(Limit { deadline, outer }) = unsafe { limit.as_ref() } {
        let deadline = deadline.get();
        if deadline.is_some_and(|deadline| deadline <= now) {
            passed = Some(limit); // The outermost that has passed is found last.
        }
        here().said.limit(deadline);
        limit = *outer;
    }
    if let Some(boundary) = passed {
        unwind_to(boundary.cast());
    }
}

/// Whether the running task is to stop.
pub(crate) fn is_cancelled() -> bool {
    with_local(|local| local.cancelled.get() && local.shields.get() == 0) == Some(true)
}

/// Unwinds if the running task is to stop; of code that has not begun, only what it has captured is then
/// dropped.
pub(crate) fn check_cancelled() {
    if is_cancelled() {
        raise_cancelled();
    }
}

/// Unwinds to the root of the running task.
pub(crate) fn raise_cancelled() -> ! {
    unwind_to(ptr::null())
}

/// Unwinds to the root of a generator that is being closed.
pub(crate) fn raise_closed() -> ! {
    panic::resume_unwind(Box::new(Unwind { boundary: ptr::null() }))
}

fn unwind_to(boundary: *const ()) -> ! {
    count_raise();
    panic::resume_unwind(Box::new(Unwind { boundary }))
}

/// Once more, the running task is told to stop; aborts if it has been told too often.
pub(crate) fn count_raise() {
    let raised = with_local(|local| local.raised.replace(local.raised.get() + 1)).unwrap_or(0);
    if raised >= MOST_RAISED {
        let task = running();
        eprintln!(
            "wouldblock: {task} has caught its cancellation {raised} times and waited again; aborting. \
             Let the payload of a `catch_unwind` around a wait go on (`resume_unwind`), and return when \
             `try_yield` says `Exit`."
        );
        process::abort();
    }
}

/// Aborts if a stack is unwinding: for all that would suspend.
#[inline]
pub(crate) fn refuse_while_unwinding() {
    if std::thread::panicking() {
        abort_while_unwinding();
    }
}

#[cold]
fn abort_while_unwinding() -> ! {
    eprintln!(
        "wouldblock: {} has to wait in a destructor while its stack unwinds, which would leave the thread \
         panicking for all other tasks; aborting. Do not wait in `drop`; use `green::finally`.",
        running()
    );
    process::abort();
}

fn running() -> String {
    current().map_or_else(|| "a coroutine".into(), |task| task.to_string())
}

fn limits() -> *const () {
    with_local(|local| local.limits.get()).unwrap_or(ptr::null())
}

/// What is in force for the running task, to be compared with another time's. (PEP 789: a generator that
/// yields out of any of these would leave it in force for whoever resumed it.)
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// The innermost time limit.
    pub(crate) limits: *const (),
    pub(crate) shields: u16,
    /// Open scopes.
    pub(crate) scopes: u16,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { limits: ptr::null(), shields: 0, scopes: 0 }
    }
}

/// The [`Bounds`] here and now.
#[inline]
pub(crate) fn bounds() -> Bounds {
    let bounds = |local: &Local| Bounds {
        limits: local.limits.get(),
        shields: local.shields.get(),
        scopes: local.scopes.get(),
    };
    with_local(bounds).unwrap_or_default()
}

/// A time limit on whatever the running task does in a closure.
pub(crate) struct Limit<'a> {
    /// Whoever moves it nearer wakes the task. `None`: not yet known.
    deadline: &'a Cell<Option<Instant>>,
    outer: *const Limit<'a>,
}

impl Limit<'_> {
    /// Runs `body`; `None` if it was unwound because `deadline` had passed.
    pub(crate) fn hold<T>(deadline: &Cell<Option<Instant>>, body: impl FnOnce() -> T) -> Option<T> {
        let outer = limits();
        let limit = Limit { deadline, outer: outer.cast() };
        let me = (&raw const limit).cast();
        with_local(|local| local.limits.set(me));
        let result = panic::catch_unwind(AssertUnwindSafe(body));
        with_local(|local| local.limits.set(outer));
        match result {
            Ok(value) => Some(value),
            Err(payload) => match payload.downcast_ref::<Unwind>() {
                Some(unwind) if unwind.boundary == me => {
                    with_local(|local| local.raised.set(0));
                    None
                }
                _ => panic::resume_unwind(payload),
            },
        }
    }
}

/// Runs `cleanup` with cancellation, and the time limits around it, held off until it has returned.
pub(crate) fn shield<T>(cleanup: impl FnOnce() -> T) -> T {
    /// The limits outside; `None`: there was no task to shield, and if there is one now (a generator was
    /// resumed in it), it is not the one.
    struct Unshield(Option<*const ()>);
    impl Drop for Unshield {
        fn drop(&mut self) {
            let Some(limits) = self.0 else { return };
            with_local(|local| {
                local.shields.set(local.shields.get() - 1);
                local.limits.set(limits);
            });
        }
    }
    let limits = with_local(|local| {
        local.shields.set(local.shields.get() + 1);
        local.limits.replace(ptr::null())
    });
    let _unshield = Unshield(limits);
    cleanup()
}
