//! What only some tasks have: task-local values, callbacks for their end, a deadline for socket calls.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Display;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::foreign::aside;

/// A pointer to the extras, which is null in most tasks.
#[derive(Default)]
pub(crate) struct ExtrasCell(Cell<Option<Box<Extras>>>);

#[derive(Default)]
pub(crate) struct Extras {
    /// Task-local values.
    pub(crate) values: Vec<Value>,
    /// The callbacks to call when the task is done, in this order.
    pub(crate) callbacks: VecDeque<Callback>,
    /// One of them is being called. It may have the result of the task on loan.
    pub(crate) calls_back: bool,
    /// Since the task was cancelled, it has once given up its turn only because its budget was used up. The next time unwinds
    /// it: see `cancel::check_between_operations`.
    pub(crate) noticed: bool,
    /// The deadline of socket calls, if one is set.
    pub(crate) deadline: Option<Deadline>,
}

/// When socket calls fail: see `green::deadline`.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// The duration that user code has set, for error messages.
    pub(crate) limit: Duration,
    /// How many calls have begun after `at`.
    pub(crate) late: u32,
}

/// A task-local value.
#[derive(Clone)]
pub(crate) struct Value {
    /// The address of the `task_local!` static.
    pub(crate) key: usize,
    pub(crate) value: Rc<dyn Any>,
    /// Copies the value for a task that this one spawns; `None` if such tasks do not inherit it.
    pub(crate) copy: Option<CopyValue>,
}

pub(crate) type CopyValue = fn(&dyn Any) -> Rc<dyn Any>;

/// A callback is called [`aside`], on the scheduler's own stack. If it panics, the panic is logged.
pub(crate) type Callback = Box<dyn FnOnce()>;

impl ExtrasCell {
    /// Whether there are neither values nor callbacks.
    pub(crate) fn is_plain(&self) -> bool {
        !self.if_any(|extras| !extras.values.is_empty() || !extras.callbacks.is_empty())
    }

    /// Calls the callbacks of `task`, one by one: a callback may add another, which is called after those before it. If they
    /// are being called already, this does nothing.
    pub(crate) fn call_callbacks(&self, task: &dyn Display) {
        if self.if_any(|extras| extras.calls_back) {
            return;
        }
        let next = |extras: &mut Extras| {
            let next = extras.callbacks.pop_front();
            extras.calls_back = next.is_some();
            next
        };
        while let Some(callback) = self.if_any(next) {
            aside(format_args!("a callback at the end of {task}"), callback);
        }
    }

    /// Calls `f` with the extras, which are made if there are none. `f` runs no user code, which would find no extras.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Extras) -> R) -> R {
        let mut extras = self.0.take().unwrap_or_default();
        let result = f(&mut extras);
        self.0.set(Some(extras));
        result
    }

    /// As [`with`](ExtrasCell::with), but if there are no extras, does not call `f`, and returns the default.
    pub(crate) fn if_any<R: Default>(&self, f: impl FnOnce(&mut Extras) -> R) -> R {
        let Some(mut extras) = self.0.take() else { return R::default() };
        let result = f(&mut extras);
        self.0.set(Some(extras));
        result
    }
}
