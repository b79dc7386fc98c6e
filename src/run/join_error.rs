//! Why a task has no result: [`JoinError`].

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use crate::kernel::edge::foreign::message;
use crate::kernel::edge::warn;
use crate::kernel::task::SharedTask;

/// Why a task has no result.
pub struct JoinError(Box<Failure>);

/// Boxed, so that a result is no larger for a failure, which is rare.
struct Failure {
    /// `None`: there never was one.
    task: Option<SharedTask>,
    reason: Reason,
}

pub(crate) enum Reason {
    Cancelled,
    /// Behind a lock only so that the error is `Sync`, and `?` can box it.
    Panicked(Mutex<Box<dyn Any + Send>>),
    /// The handle was polled again after it had given the result.
    Taken,
    /// The run is over, and the task had not ended by then.
    Abandoned,
    /// A task waits for its own end.
    Itself,
    /// The task belongs to another runtime of this thread.
    Elsewhere,
    NoStack(io::Error),
}

impl JoinError {
    pub(crate) fn new(task: SharedTask, reason: Reason) -> JoinError {
        JoinError(Box::new(Failure { task: Some(task), reason }))
    }

    /// The run has ended before the task could be spawned.
    pub(crate) fn never_began() -> JoinError {
        JoinError(Box::new(Failure { task: None, reason: Reason::Cancelled }))
    }

    /// The task was cancelled.
    pub(crate) fn cancelled(task: SharedTask) -> JoinError {
        JoinError::new(task, Reason::Cancelled)
    }

    /// Logs a failure that no task will join to get.
    pub(crate) fn log_if_lost(&self) {
        if matches!(self.0.reason, Reason::Panicked(_) | Reason::NoStack(_)) {
            warn::error(format_args!("{self}, and no task joined it to get the error"));
        }
    }

    /// The task was cancelled before it had a result.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.reason, Reason::Cancelled)
    }

    /// The task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.reason, Reason::Panicked(_))
    }

    /// The payload of the task's panic, as `std::thread::JoinHandle::join` gives it; else the error
    /// itself.
    ///
    /// # Errors
    ///
    /// `self`, if the task did not panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.0.reason {
            Reason::Panicked(payload) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            reason => Err(JoinError(Box::new(Failure { reason, ..*self.0 }))),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(task) = &self.0.task else {
            return f
                .write_str("a task that another thread ordered never began: the run has ended");
        };
        match &self.0.reason {
            Reason::Cancelled => write!(f, "{task} was cancelled"),
            Reason::Panicked(payload) => {
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                write!(f, "{} panicked: {}", task, message(&**payload))
            }
            Reason::NoStack(error) => write!(f, "{task} could not run: {error}"),
            Reason::Elsewhere => {
                write!(f, "{task} belongs to another runtime, and is joined in that one")
            }
            Reason::Itself => {
                write!(f, "{task} joins itself, which would wait for ever")
            }
            Reason::Abandoned => {
                write!(f, "{task} had not ended when its run did, and was abandoned")
            }
            Reason::Taken => write!(f, "the result of {task} was already taken"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(error)
    }
}
