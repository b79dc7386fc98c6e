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
//! that has to wait, behind a [`shield`]. Each boundary counts how often it has been raised: code that swallows it
//! a thousand times and waits again would do so for ever, and ends the process; when the run itself is ending, the
//! task is left instead, and its frames are leaked.
//!
//! While a stack unwinds, nothing suspends: the thread counts as panicking, for every task that would run
//! meanwhile, and a second unwinding would abort the process without a word. So this file prints one first.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::ptr;
use std::time::Instant;

use super::coroutine::{Open, suspend_base, with_open};
use super::edge::foreign::{Boundary, Unwind};
use super::edge::warn;
use super::scheduler::{Scheduler, current, here, now, running_task, with_local, with_task};
use super::task::{Local, State, Wait, earliest};

/// How often a boundary may be raised, swallowed, and met by a further wait.
const MOST_RAISED: u16 = 1000;

/// Called before a task gives up its turn: unwinds if it is to stop; else returns the earliest time limit in force.
#[inline]
pub(crate) fn check(local: &Local) -> Option<Instant> {
    match local.cancelled.get() || !local.limits.get().is_null() {
        true => raise_or_limit(),
        false => None,
    }
}

#[cold]
fn raise_or_limit() -> Option<Instant> {
    check_cancelled();
    let now = now();
    let (mut passed, mut first) = (None, None);
    let mut limit = limits().cast::<Limit<'_>>();
    // SAFETY: each limit lies in the frame of a `Limit::hold` further down this stack, which takes it
    // out of the list before it ends.
    while let Some(this) = unsafe { limit.as_ref() } {
        let deadline = this.deadline.get();
        if deadline.is_some_and(|deadline| deadline <= now) {
            passed = Some(this); // The outermost that has passed is found last.
        }
        first = earliest(first, deadline);
        limit = this.outer;
    }
    if let Some(limit) = passed {
        raise(&limit.raised, Boundary::Limit(limit.serial));
    }
    first
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
    // SAFETY: the task is alive while it is set, and has its turn on its home thread only.
    let local = unsafe { running_task().as_ref().map(|task| task.local()) };
    raise(&local.expect("a task runs").raised, root().expect("a task runs"))
}

/// The root of the running task.
pub(crate) fn root() -> Option<Boundary> {
    with_task(|task| Boundary::Task(task.home.run, task.id))
}

/// Whether `payload` unwinds to the root of the running task.
pub(crate) fn is_to_root(payload: &(dyn Any + Send)) -> bool {
    let boundary = payload.downcast_ref::<Unwind>().map(|unwind| unwind.boundary);
    boundary.is_some() && boundary == root()
}

fn raise(raised: &Cell<u16>, boundary: Boundary) -> ! {
    if count(raised) {
        leave();
    }
    unwind_to(boundary)
}

/// Unwinds, without being counted.
pub(crate) fn unwind_to(boundary: Boundary) -> ! {
    panic::resume_unwind(Box::new(Unwind { boundary }))
}

/// Counts that the root of the running task is raised. Returns `true` if the task is to be left: it has swallowed
/// that too often, and the run is ending.
pub(crate) fn count_root() -> bool {
    with_local(|local| count(&local.raised)) == Some(true)
}

/// Once more. Aborts after too often, unless the run is ending: then this returns `true`.
fn count(raised: &Cell<u16>) -> bool {
    raised.set(raised.get() + 1);
    if raised.get() <= MOST_RAISED {
        return false;
    }
    let text =
        format!("{} has caught its cancellation {MOST_RAISED} times and waited again", running());
    if Scheduler::with(|s| s.is_some_and(Scheduler::is_closing)) {
        warn::error(format_args!("{text}; the run is over, and the task is left where it is"));
        return true;
    }
    warn::print(format_args!(
        "{text}; aborting. Let the payload of a `catch_unwind` around a wait go on \
         (`resume_unwind`), and return when `try_yield` says `Exit`."
    ));
    process::abort();
}

/// Leaves the running task where it is, for ever.
fn leave() -> ! {
    mark_left();
    suspend_base();
    unreachable!("a task that is left is not resumed");
}

/// Has the running task left when it gives up its turn, which it does at once.
pub(crate) fn mark_left() {
    with_local(|local| local.state.set(State::Left));
    here().wait.set(Wait::PARKED);
}

/// Whether the stack that runs is unwinding, so that it cannot be suspended. Where a runtime is dropped by a thread that
/// unwinds, the stacks of its tasks are taken not to be: see [`refuse_while_unwinding`].
#[inline]
pub(crate) fn unwinds() -> bool {
    std::thread::panicking() && !Scheduler::with(|s| s.is_some_and(|s| s.unwinding.get()))
}

/// Ends here if a stack is unwinding: for all that would suspend. (A task whose runtime is dropped by a thread that
/// unwinds is unwound first, and left when its cleanup would suspend.)
#[inline]
pub(crate) fn refuse_while_unwinding() {
    if std::thread::panicking() {
        refuse();
    }
}

#[cold]
fn refuse() {
    if !unwinds() && !running_task().is_null() {
        if with_local(|local| local.raised.get()) == Some(0) && is_cancelled() {
            return; // It is raised next.
        }
        let task = running();
        warn::error(format_args!(
            "{task} has to wait in its cleanup, where its runtime is dropped by a thread that unwinds: it is left \
             where it is"
        ));
        leave();
    }
    warn::print(format_args!(
        "{} has to wait in a destructor while its stack unwinds, or in a panic hook, which would leave the thread \
         panicking for all other tasks; aborting. Do not wait in `drop`; use `green::finally`. In a panic hook, use \
         std's locks and calls, which block the thread.",
        running()
    ));
    process::abort();
}

fn running() -> String {
    current().map_or_else(|| "code outside of any task".into(), |task| task.to_string())
}

fn limits() -> *const () {
    with_local(|local| local.limits.get()).unwrap_or(ptr::null())
}

/// Counts something that the running fiber has open, as long as this lives. (PEP 789: a generator that yields out
/// of it would leave it in force for the code that resumed it.)
pub(crate) struct Opened(fn(&Open) -> &Cell<u32>);

impl Opened {
    pub(crate) fn one(count: fn(&Open) -> &Cell<u32>) -> Opened {
        with_open(|open| count(open).set(count(open).get() + 1));
        Opened(count)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        with_open(|open| (self.0)(open).set((self.0)(open).get() - 1));
    }
}

/// A time limit on whatever the running task does in a closure.
pub(crate) struct Limit<'a> {
    /// Code that moves it nearer wakes the task. `None`: not yet known.
    deadline: &'a Cell<Option<Instant>>,
    outer: *const Limit<'a>,
    serial: u64,
    raised: Cell<u16>,
}

impl Limit<'_> {
    /// Runs `body`, under the limit that `what` has set; returns `None` if it was unwound because `deadline` had
    /// passed.
    pub(crate) fn hold<T>(
        what: &'static str,
        deadline: &Cell<Option<Instant>>,
        body: impl FnOnce() -> T,
    ) -> Option<T> {
        let outer = limits();
        let (serial, raised) = (Boundary::serial(), Cell::new(0));
        let limit = Limit { deadline, outer: outer.cast(), serial, raised };
        with_local(|local| local.limits.set((&raw const limit).cast()));
        let around = with_open(|open| open.limit.replace(what));
        let opened = Opened::one(|open| &open.limits);
        let result = panic::catch_unwind(AssertUnwindSafe(body));
        drop(opened);
        with_open(|open| open.limit.set(around.unwrap_or_default()));
        with_local(|local| local.limits.set(outer));
        match result {
            Ok(value) => Some(value),
            Err(payload) => match payload.downcast_ref::<Unwind>() {
                Some(unwind) if unwind.boundary == Boundary::Limit(serial) => None,
                _ => panic::resume_unwind(payload),
            },
        }
    }
}

/// Runs `cleanup` with cancellation, and the time limits around it, held off until it has returned.
pub(crate) fn shield<T>(cleanup: impl FnOnce() -> T) -> T {
    /// The limits outside.
    struct Unshield(*const ());
    impl Drop for Unshield {
        fn drop(&mut self) {
            with_local(|local| {
                local.shields.set(local.shields.get() - 1);
                local.limits.set(self.0);
            });
        }
    }
    // Outside of any task, there is none to shield. The cleanup of a generator may begin there and go on in a task.
    let limits = with_local(|local| {
        local.shields.set(local.shields.get() + 1);
        local.limits.replace(ptr::null())
    });
    let _unshield = limits.map(|limits| (Unshield(limits), Opened::one(|open| &open.shields)));
    cleanup()
}
