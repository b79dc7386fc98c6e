//! All results, in the order of the tasks: each as it is, or none if one fails.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::tasks::TaskSet;
use crate::kernel::wait;
use crate::run::join::{JoinError, JoinHandle};

/// An operation that waits for all of `handles` and gives their results in the order of the handles, a
/// failure at its place like a success. (gevent's `joinall`, asyncio's
/// `gather(return_exceptions=True)`.)
///
/// ```
/// use wouldblock::{green, group::gather};
///
/// wouldblock::run(|| {
///     let tasks = (0..3).map(|n| green::spawn(move || 6 / n));
///     let results = green::wait(gather(tasks));
///     assert!(results[0].as_ref().unwrap_err().is_panic(), "a division by zero");
///     assert_eq!(results[1..].iter().flatten().collect::<Vec<_>>(), [&6, &3]);
/// });
/// ```
///
/// It waits for one task after the other, in their order: reports and timelines name the first that has not ended.
///
/// In tests, prefer [`try_gather`]: where one task panics, `gather` goes on waiting for the others, which may wait for that
/// one for ever, without a report where they wait for sockets.
///
/// # Cancellation
///
/// The handles are dropped with the results so far: the tasks run on, detached.
pub fn gather<T>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Gather<T> {
    let handles: Vec<_> = handles.into_iter().collect();
    Gather { results: Vec::with_capacity(handles.len()), handles: handles.into_iter(), now: None }
}

/// See [`gather`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Gather<T> {
    results: Vec<Result<T, JoinError>>,
    /// The tasks run whether or not they are waited for, so they may be looked at one after the other.
    handles: std::vec::IntoIter<JoinHandle<T>>,
    now: Option<JoinHandle<T>>,
}

impl<T> Unpin for Gather<T> {}

impl<T> Future for Gather<T> {
    type Output = Vec<Result<T, JoinError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        wait::poll_within_budget(cx, |cx| {
            loop {
                let Some(mut now) = self.now.take().or_else(|| self.handles.next()) else {
                    return Poll::Ready(std::mem::take(&mut self.results));
                };
                match Pin::new(&mut now).poll(cx) {
                    Poll::Ready(result) => self.results.push(result),
                    Poll::Pending => {
                        self.now = Some(now);
                        return Poll::Pending;
                    }
                }
            }
        })
    }
}

impl<T> fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gather({} done)", self.results.len())
    }
}

/// An operation that waits for all of `handles` and gives their values in the order of the handles, or the
/// first error: that of the task that was first to return `Err`, to panic, or to be cancelled. The other
/// tasks are cancelled then, and have ended when it is ready. (asyncio's `gather`, but it leaves no task
/// behind, as a `TaskGroup` does.)
///
/// Further errors are dropped, and panics are logged. A panic and a cancellation become an `E` by way of
/// `From<JoinError>`, which [`JoinError`] itself, [`std::io::Error`] and `Box<dyn Error>` have.
///
/// ```
/// use wouldblock::{green, group::try_gather};
///
/// wouldblock::run(|| {
///     let parse = |text: &'static str| {
///         green::spawn(move || -> Result<i32, Box<dyn std::error::Error>> { Ok(text.parse()?) })
///     };
///     assert_eq!(green::wait(try_gather(["1", "2"].map(parse))).unwrap(), [1, 2]);
///     let error = green::wait(try_gather(["1", "two"].map(parse))).unwrap_err();
///     assert_eq!(error.to_string(), "invalid digit found in string");
/// });
/// ```
///
/// # Cancellation
///
/// All that have not ended are cancelled, and end in their next turns; the results are lost.
pub fn try_gather<T: 'static, E: From<JoinError> + 'static>(
    handles: impl IntoIterator<Item = JoinHandle<Result<T, E>>>,
) -> TryGather<T, E> {
    let tasks = TaskSet::new(handles);
    let values = (0..tasks.len()).map(|_| None).collect();
    TryGather { tasks, values, error: None }
}

/// See [`try_gather`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct TryGather<T, E> {
    tasks: TaskSet<Result<T, E>>,
    values: Vec<Option<T>>,
    error: Option<E>,
}

impl<T, E> Unpin for TryGather<T, E> {}

impl<T: 'static, E: From<JoinError> + 'static> Future for TryGather<T, E> {
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some((index, result)) = ready!(self.tasks.poll_next(cx)) {
            let error = match result {
                Ok(Ok(value)) => {
                    self.values[index] = Some(value);
                    continue;
                }
                Ok(Err(error)) => error,
                Err(error) if self.error.is_some() => {
                    error.log_if_lost();
                    continue;
                }
                Err(error) => error.into(),
            };
            if self.error.is_none() {
                self.error = Some(error);
                self.tasks.cancel();
            }
        }
        match self.error.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(self.values.drain(..).flatten().collect())),
        }
    }
}

impl<T, E> Drop for TryGather<T, E> {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl<T, E> fmt::Debug for TryGather<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TryGather({} left)", self.tasks.len())
    }
}
