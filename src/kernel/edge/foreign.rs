//! *Foreign code*: user code that runs outside of tasks. Also the panics that are caught there, and the payloads that
//! unwind a cancelled stack, which are no panics.
//!
//! Foreign code is wakers of other executors, callbacks, observers, errands from other threads, and the destructors of a task
//! that had no stack. It is called by the scheduler between two turns, or by a task in the middle of an operation. It may
//! wake and cancel, and, except for observers, spawn. It must not wait, since it has no stack of its own to suspend. It is
//! called through [`aside`]: no task runs meanwhile, so a wait panics, and any panic ends there. (The program's logger is
//! called in the same way by `warn.rs`. A waker that a future calls while it is polled is code of that future's task.)

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

/// Calls `f`, which is foreign code (see the top of this file), with no task running. If it panics, logs the panic with
/// `what` as its subject, and returns `false`.
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

/// Calls `f` and returns its value. If it unwinds, drops the payload and returns `None`. (A panic was reported by the
/// panic hook; a cancellation is dropped in silence, and raised again at the next wait.)
pub(crate) fn contain<R>(f: impl FnOnce() -> R) -> Option<R> {
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(discard).ok()
}

/// The payload with which a stack is unwound from a wait. It never reaches a panic hook.
#[derive(Debug)]
pub(crate) struct Unwind {
    pub(crate) boundary: Boundary,
    /// Identifies this unwinding if the thread was panicking before it began (see `unwinding.rs`); else 0.
    pub(crate) serial: u64,
}

/// Where an unwinding ends. Each boundary is unique in the process, so a payload that code keeps and raises again elsewhere
/// matches no boundary there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// The root of a task: the number of its run, and its own.
    Task(u32, u64),
    /// A time limit.
    Limit(u64),
    /// The root of a generator that is closed.
    Generator(u64),
}

impl Boundary {
    /// Returns a number that is not 0 and was not returned before.
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

/// A waker that an operation keeps, of a task of this crate or of any other executor. It is woken and dropped [`aside`],
/// since both may be user code.
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
        // SAFETY: the waker is taken once: `this` is not used again, and `ManuallyDrop` keeps it from being dropped.
        let waker = unsafe { ManuallyDrop::take(&mut this.0) };
        aside(format_args!("a waker"), || waker.wake());
    }
}

impl Drop for KeptWaker {
    fn drop(&mut self) {
        // SAFETY: the waker is taken once: `drop` is called once, and not after `wake`.
        let waker = unsafe { ManuallyDrop::take(&mut self.0) };
        aside(format_args!("the destructor of a waker"), || drop(waker));
    }
}
