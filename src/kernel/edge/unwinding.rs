//! A stack that is unwinding is never suspended.
//!
//! *What std does.* It counts panics per thread, not per stack. If a destructor that runs during an unwinding suspended its
//! task, `thread::panicking()` would be true in every task that runs meanwhile; and if one of those panicked, std would
//! take that for a panic inside of a destructor and abort the process.
//!
//! *What is refused.* Code that would suspend while its stack unwinds: it aborts the process here, with a text that
//! says why. Only a wait for a socket goes on: it blocks the thread ([`block_thread`]).
//!
//! *A thread that is panicking already* may drop a runtime in a destructor, or use and drop generators there. On the
//! stacks that run then, `thread::panicking()` tells nothing: it is true, and they may be suspended all the same, until a
//! cancellation unwinds them. So [`unwind_with`] marks the fiber, from the raise of a cancellation until the code that has
//! caught its payload drops that ([`Open::unwinding_serial`]). (A panic of the code on such a stack is not recognised.)
//!
//! [`Open::unwinding_serial`]: crate::kernel::edge::open::Open::unwinding_serial

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::thread;
use std::time::Duration;

use super::entered::now;
use super::foreign::{Boundary, Unwind};
use super::source::{EVENTS, poll_one};
use super::warn;
use crate::kernel::coroutine::{suspend_base, with_open};
use crate::kernel::here::{current, running_task, with_local};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Local, State};
use crate::kernel::wait::{Wait, WaitCell, this_turn};

/// How often code may catch the unwinding to one boundary and wait again.
pub(crate) const MOST_RAISED: u16 = 1000;

/// Unwinds the running stack with `payload`: a new one, or one that was caught ([`catch`]).
pub(crate) fn unwind_with(mut payload: Box<dyn Any + Send>) -> ! {
    // On a thread that is not panicking, `thread::panicking()` shows this unwinding from now on. (A payload of another
    // crate gets no serial: nothing would show when it is caught.)
    if thread::panicking()
        && let Some(unwind) = payload.downcast_mut::<Unwind>()
    {
        unwind.serial = Boundary::serial();
        with_open(|open| open.unwinding_serial.set(unwind.serial));
    }
    panic::resume_unwind(payload)
}

/// Code that has caught the payload drops it: then the stack is no longer unwinding.
impl Drop for Unwind {
    fn drop(&mut self) {
        if self.serial != 0 {
            with_open(|open| {
                if open.unwinding_serial.get() == self.serial {
                    open.unwinding_serial.set(0);
                }
            });
        }
    }
}

/// Calls `f`, and catches what unwinds it. Until the caller raises the payload again ([`unwind_with`]), the stack
/// counts as it did before `f`.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> thread::Result<T> {
    let before = with_open(|open| open.unwinding_serial.get());
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    with_open(|open| open.unwinding_serial.set(before.unwrap_or_default()));
    result
}

/// Whether the running stack is unwinding, so that it must not be suspended.
#[inline]
pub(crate) fn unwinds() -> bool {
    let before = || Scheduler::with(|s| s.is_some_and(|s| s.was_panicking.get()));
    thread::panicking() && stack_unwinds(before())
}

/// Whether the running stack of a panicking thread is unwinding. If the thread was panicking `before` it entered this
/// stack, only the serial of a cancellation shows it.
fn stack_unwinds(before: bool) -> bool {
    !before || with_open(|open| open.unwinding_serial.get() != 0) == Some(true)
}

/// Called before a stack is suspended: aborts the process if it is unwinding. A task whose runtime is dropped by a panicking
/// thread is abandoned instead, if its cleanup would suspend.
#[inline]
pub(crate) fn refuse_while_unwinding() {
    if thread::panicking() {
        refuse();
    }
}

/// As [`refuse_while_unwinding`], for a generator. `before`: the thread was panicking when it resumed the generator.
#[inline]
pub(crate) fn refuse_to_yield(before: bool) {
    if thread::panicking() && stack_unwinds(before) {
        refuse();
    }
}

#[cold]
fn refuse() {
    // Only the thread is panicking, and this stack does not unwind.
    if !unwinds() && !running_task().is_null() {
        if with_local(|local| local.raised.get()) == Some(0)
            && with_local(Local::is_to_stop) == Some(true)
        {
            return; // It has not been raised yet: the caller raises it next.
        }
        if !Scheduler::with(|s| s.is_some_and(|s| s.end.closing.get())) {
            return; // A panicking thread drives a runtime whose tasks go on: their stacks are not unwinding.
        }
        let task = describe_running();
        warn::error(format_args!(
            "{task} has to wait in its cleanup, where its runtime is dropped by a panicking thread: it is abandoned \
             where it waits"
        ));
        abandon();
    }
    // This stack unwinds, or runs a panic hook.
    warn::print(format_args!(
        "{} has to wait in a destructor while its stack unwinds, or in a panic hook, which would leave the thread \
         panicking for all other tasks; aborting. Do not wait in `drop`; use `green::finally`. In a panic hook, use \
         std's locks and calls, which block the thread.",
        describe_running()
    ));
    process::abort();
}

/// For a wait while the stack unwinds, or in a panic hook. If it is a wait for a socket, blocks the thread until the socket is
/// ready or the deadline has passed, for 100 ms at most, and returns `true`: the caller tries its system call again. A
/// virtual clock, which stands still meanwhile, is moved by the time that has passed in vain, so that the deadline comes.
/// Returns `false` for all other waits.
#[cold]
pub(crate) fn block_thread(store: impl Fn(&WaitCell)) -> bool {
    let wait = WaitCell::parked();
    store(&wait);
    let Some((id, direction)) = wait.what.get().socket() else { return false };
    let left = wait.deadline.get().map(|end| end.saturating_duration_since(now()));
    let ms = left.map_or(100, |left| left.as_micros().div_ceil(1000).min(100) as u16);
    // An error of the socket shows in the next try too.
    if let Ok(false) = poll_one(id.fd(), EVENTS[direction as usize], ms.into()) {
        let passed = Duration::from_millis(ms.into());
        Scheduler::with(|scheduler| scheduler.iter().for_each(|s| s.clock.pass(passed)));
    }
    true
}

/// Counts that `boundary` is raised once more. Above [`MOST_RAISED`], aborts the process; but if the run is ending, returns
/// `true`, and the caller must abandon the running task.
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
        warn::error(format_args!("{text}; the run is over, and the task is abandoned where it is"));
        return true;
    }
    warn::print(format_args!(
        "{text}; aborting. Let the payload of a `catch_unwind` around a wait go on \
         (`resume_unwind`), and return when `try_yield` says `Exit`."
    ));
    process::abort();
}

/// Abandons the running task: it is never resumed, and its frames are leaked.
pub(crate) fn abandon() -> ! {
    with_local(|local| local.state.set(State::Abandoned));
    this_turn().wait.set(Wait::PARKED);
    suspend_base();
    unreachable!("an abandoned task is not resumed");
}

/// The running task, for a message.
pub(crate) fn describe_running() -> String {
    current().map_or_else(|| "code outside of any task".into(), |task| task.to_string())
}
