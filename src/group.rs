//! Waiting for several tasks.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::join::{JoinError, JoinHandle};

/// An operation that waits for all of `handles` and gives their results in the order of the handles, a
/// failure at its place like a success. (gevent's `joinall`, asyncio's
/// `gather(return_exceptions=True)`.)
///
/// ```
/// use wouldblock::{gather, green};
///
/// wouldblock::run(|| {
///     let tasks = (0..3).map(|n| green::spawn(move || 6 / n));
///     let results = green::wait(gather(tasks));
///     assert!(results[0].as_ref().unwrap_err().is_panic(), "a division by zero");
///     assert_eq!(results[1..].iter().flatten().collect::<Vec<_>>(), [&6, &3]);
/// });
/// ```
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
    /// The tasks run whether or not anybody waits for them, so one after the other will do.
    handles: std::vec::IntoIter<JoinHandle<T>>,
    now: Option<JoinHandle<T>>,
}

impl<T> Unpin for Gather<T> {}

impl<T> Future for Gather<T> {
    type Output = Vec<Result<T, JoinError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
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
    }
}

impl<T> fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gather({} done)", self.results.len())
    }
}
