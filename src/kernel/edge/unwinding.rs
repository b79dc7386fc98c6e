//! While a stack unwinds, nothing suspends.
//!
//! Until the unwinding ends, std counts the whole thread as panicking, and would do so for every task that ran
//! meanwhile; and a panic in one of them could not be distinguished from a second one in a destructor, which ends the
//! process. Code that has to wait in a destructor then aborts the process here, with a text that explains it; only a
//! wait for a socket goes on, by blocking the thread.
//!
//! A thread that unwinds already may drop a runtime, or use and drop generators: their stacks do not unwind for that, and
//! are resumed. That a cancellation unwinds one of *these* is kept with its fiber ([`Open`]), until the code that has
//! caught the payload drops it. (A panic of these stacks' own code on such a thread does not show.)
//!
//! [`Open`]: crate::kernel::edge::open::Open

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::thread;
use std::time::Instant;

use super::foreign::{Boundary, Unwind};
use super::source::{EVENTS, poll_one};
use super::warn;
use crate::kernel::coroutine::{suspend_base, with_open};
use crate::kernel::here::{current, running_task, with_local};
use crate::kernel::reactor::Direction;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Local, State};
use crate::kernel::wait::{Wait, WaitCell, WaitFor, this_turn};

/// How often a boundary may be raised, swallowed, and met by a further wait.
pub(crate) const MOST_RAISED: u16 = 1000;

/// Unwinds the stack that runs, with what has unwound another.
pub(crate) fn unwind_with(mut payload: Box<dyn Any + Send>) -> ! {
    // Where the thread does not unwind already, that it does from now on shows that this stack does. (When a payload that
    // is not this crate's is caught does not show.)
    if thread::panicking()
        && let Some(unwind) = payload.downcast_mut::<Unwind>()
    {
        unwind.serial = Boundary::serial();
        with_open(|open| open.unwinds.set(unwind.serial));
    }
    panic::resume_unwind(payload)
}

/// The payload of an unwinding is dropped by the code that has caught it.
impl Drop for Unwind {
    fn drop(&mut self) {
        if self.serial != 0 {
            with_open(|open| {
                if open.unwinds.get() == self.serial {
                    open.unwinds.set(0);
                }
            });
        }
    }
}

/// Calls `f`. What has unwound `f` is caught: the stack unwinds again once it goes on ([`unwind_with`]).
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> thread::Result<T> {
    let before = with_open(|open| open.unwinds.get());
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    with_open(|open| open.unwinds.set(before.unwrap_or_default()));
    result
}

/// Whether the stack that runs is unwinding, so that it cannot be suspended.
#[inline]
pub(crate) fn unwinds() -> bool {
    let before = || Scheduler::with(|s| s.is_some_and(|s| s.unwinding.get()));
    thread::panicking() && stack_unwinds(before())
}

/// As [`unwinds`], of a thread that is panicking. Where it was so `before` it came to this stack, what shows is that a
/// cancellation was raised here.
fn stack_unwinds(before: bool) -> bool {
    !before || with_open(|open| open.unwinds.get() != 0) == Some(true)
}

/// Aborts the process, or leaves the task, if the stack that runs is unwinding: for all that would suspend. (A task whose
/// runtime is dropped by a thread that unwinds is unwound first, and left when its cleanup would suspend.)
#[inline]
pub(crate) fn refuse_while_unwinding() {
    if thread::panicking() {
        refuse();
    }
}

/// As [`refuse_while_unwinding`], for a generator; `before`: the thread was unwinding already where it was resumed.
#[inline]
pub(crate) fn refuse_to_yield(before: bool) {
    if thread::panicking() && stack_unwinds(before) {
        refuse();
    }
}

#[cold]
fn refuse() {
    if !unwinds() && !running_task().is_null() {
        if with_local(|local| local.raised.get()) == Some(0)
            && with_local(Local::is_to_stop) == Some(true)
        {
            return; // It is raised next.
        }
        if !Scheduler::with(|s| s.is_some_and(|s| s.end.closing.get())) {
            return; // A runtime that is driven by a thread that unwinds: its tasks do not.
        }
        let task = describe_running();
        warn::error(format_args!(
            "{task} has to wait in its cleanup, where its runtime is dropped by a thread that unwinds: it is left \
             where it is"
        ));
        abandon();
    }
    warn::print(format_args!(
        "{} has to wait in a destructor while its stack unwinds, or in a panic hook, which would leave the thread \
         panicking for all other tasks; aborting. Do not wait in `drop`; use `green::finally`. In a panic hook, use \
         std's locks and calls, which block the thread.",
        describe_running()
    ));
    process::abort();
}

/// While a stack unwinds, and in a panic hook, a wait for a socket blocks the thread, as std's calls do. Returns `false`
/// for all other waits.
#[cold]
pub(crate) fn block_thread(wait: &WaitCell) -> bool {
    let (id, direction) = match wait.what.get() {
        WaitFor::Readable(id) => (id, Direction::Read),
        WaitFor::Writable(id) => (id, Direction::Write),
        _ => return false,
    };
    let left = wait.deadline.get().map(|end| end.saturating_duration_since(Instant::now()));
    let ms = left.map_or(100, |left| left.as_millis().min(100) as i32);
    let _ = poll_one(id.fd(), EVENTS[direction as usize], ms); // The next try shows the same.
    true
}

/// Counts that a boundary is raised once more. Aborts after too often, unless the run is ending: then this returns `true`,
/// and the running task is to be left.
pub(crate) fn count(raised: &Cell<u16>, boundary: Boundary) -> bool {
    raised.set(raised.get() + 1);
    if raised.get() <= MOST_RAISED {
        return false;
    }
    let what = match boundary {
        Boundary::Limit(_) => "the unwinding of a time limit that has passed",
        Boundary::Task(..) | Boundary::Generator(_) => "its cancellation",
    };
    let text =
        format!("{} has caught {what} {MOST_RAISED} times and waited again", describe_running());
    if Scheduler::with(|s| s.is_some_and(|s| s.end.closing.get())) {
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
pub(crate) fn abandon() -> ! {
    mark_abandoned();
    suspend_base();
    unreachable!("a task that is left is not resumed");
}

/// Marks the running task as left. It must give up its turn right after this.
pub(crate) fn mark_abandoned() {
    with_local(|local| local.state.set(State::Abandoned));
    this_turn().wait.set(Wait::PARKED);
}

pub(crate) fn describe_running() -> String {
    current().map_or_else(|| "code outside of any task".into(), |task| task.to_string())
}
