//! Code of the user's that runs outside of tasks; panics that are caught here; and the payloads of cancellation,
//! which are no panics.
//!
//! Wakers of other executors, callbacks, observers, orders from other threads, and what is left of a task that had
//! no stack: the scheduler calls them between two turns, or a task in the middle of an operation. Such code may
//! panic, spawn (but for observers), wake and cancel; it must not wait, since the stack that it runs on is not its own.
//! All of it goes through [`aside`], during which no task runs: a wait there panics, and that panic ends there too.

use std::any::Any;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Waker};

pub(crate) use super::running::{Running, running, while_no_task_runs};
use super::warn;
pub(crate) use super::warn::discard;

/// Calls `f`, which is code of no task's: see the top of this file. A panic is logged with `what` as its subject.
/// Returns `false` if there was one.
#[inline]
pub(crate) fn aside(what: fmt::Arguments<'_>, f: impl FnOnce()) -> bool {
    while_no_task_runs(|| match panic::catch_unwind(AssertUnwindSafe(f)) {
        Ok(()) => true,
        Err(payload) => {
            has_panicked(what, payload);
            false
        }
    })
}

#[cold]
fn has_panicked(what: fmt::Arguments<'_>, payload: Box<dyn Any + Send>) {
    let text = format!("{what} panicked: {}", message(&*payload));
    discard(payload);
    warn::error(format_args!("{text}"));
}

/// Calls `f`, and drops the panic that it may end with, which the hook has reported.
pub(crate) fn contain<R>(f: impl FnOnce() -> R) -> Option<R> {
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(discard).ok()
}

/// The payload with which a stack is unwound from a wait. It never reaches a panic hook.
#[derive(Debug)]
pub(crate) struct Unwind {
    pub(crate) boundary: Boundary,
    /// Names this unwinding, where the thread was unwinding before: see `unwinding.rs`. Else 0.
    pub(crate) serial: u64,
}

/// Where an unwinding ends. Each is unique in the process. So a payload that is kept and raised again elsewhere
/// matches no boundary there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// The root of the task with this number, of the run with this number.
    Task(u32, u64),
    /// A time limit.
    Limit(u64),
    /// The root of a generator that is closed.
    Generator(u64),
}

impl Boundary {
    /// A number that no other limit or generator has, and that is not 0.
    pub(crate) fn serial() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Relaxed)
    }
}

/// The text of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    if payload.is::<Unwind>() {
        return "(the payload of a cancellation or time limit that was over, kept and raised again)";
    }
    warn::text_of(payload)
}

/// A waker that is no task's of this crate, kept until what it waits for has happened. It is woken and dropped
/// [`aside`].
pub(crate) struct KeptWaker(ManuallyDrop<Waker>);

impl KeptWaker {
    pub(crate) fn new(waker: Waker) -> KeptWaker {
        KeptWaker(ManuallyDrop::new(waker))
    }

    /// The waker that an operation is polled with.
    pub(crate) fn of(cx: &Context<'_>) -> KeptWaker {
        KeptWaker::new(cx.waker().clone())
    }

    pub(crate) fn wake(self) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither used nor dropped after this.
        let waker = unsafe { ManuallyDrop::take(&mut this.0) };
        aside(format_args!("a waker"), || waker.wake());
    }
}

impl Drop for KeptWaker {
    fn drop(&mut self) {
        // SAFETY: this is the drop.
        let waker = unsafe { ManuallyDrop::take(&mut self.0) };
        aside(format_args!("the destructor of a waker"), || drop(waker));
    }
}
