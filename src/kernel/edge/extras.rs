//! What few tasks have: values of their own, and callbacks for their end.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Behind one pointer, which is null in most tasks.
#[derive(Default)]
pub(crate) struct ExtrasCell(Cell<Option<Box<Extras>>>);

#[derive(Default)]
pub(crate) struct Extras {
    /// Task-local values.
    pub(crate) values: Vec<Value>,
    /// What is called when the task is done, in this order.
    pub(crate) callbacks: VecDeque<Callback>,
    /// It was cancelled, and gave up a turn since for lack of budget, without being unwound: see
    /// `check_between_operations`.
    pub(crate) noticed: bool,
    /// The deadline of socket calls, if one is set.
    pub(crate) deadline: Option<Deadline>,
}

/// When socket calls fail: see `green::deadline`.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// What was set.
    pub(crate) limit: Duration,
    /// How many calls have begun after `at`.
    pub(crate) late: u32,
}

/// A value that the task has for itself.
#[derive(Clone)]
pub(crate) struct Value {
    /// The address of the static that it is the value of.
    pub(crate) key: usize,
    pub(crate) value: Rc<dyn Any>,
    /// How tasks that this one spawns get theirs, if they do.
    pub(crate) copy: Option<CopyValue>,
}

pub(crate) type CopyValue = fn(&dyn Any) -> Rc<dyn Any>;

/// It is called [`aside`](super::foreign::aside), on the scheduler's own stack: a panic of it is logged.
pub(crate) type Callback = Box<dyn FnOnce()>;

impl ExtrasCell {
    /// Calls `f`, which runs no code of the user's, with the extras; makes them if there are none.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Extras) -> R) -> R {
        let mut extras = self.0.take().unwrap_or_default();
        let result = f(&mut extras);
        self.0.set(Some(extras));
        result
    }

    /// As [`with`](ExtrasCell::with), but makes none.
    pub(crate) fn if_any<R: Default>(&self, f: impl FnOnce(&mut Extras) -> R) -> R {
        let Some(mut extras) = self.0.take() else { return R::default() };
        let result = f(&mut extras);
        self.0.set(Some(extras));
        result
    }
}
