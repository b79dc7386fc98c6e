//! Results in the order in which tasks end: all of them, or the first.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::tasks::TaskSet;
use crate::kernel::door;
use crate::run::join::{JoinError, JoinHandle};

/// The results of `handles` in the order in which the tasks end: a failure at its place like a success.
/// (gevent's `iwait`, asyncio's `as_completed`.)
///
/// It is an iterator, which waits the green way; in the other eras,
/// [`next_result`](AsCompleted::next_result) is the operation. Which task a result belongs to shows in its
/// value, or in its error.
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{Builder, generator, green, group::as_completed};
///
/// Builder::new().virtual_clock().run(|| {
///     let nap = |s| green::spawn(move || { green::sleep(Duration::from_secs(s)); s });
///     let seconds = as_completed([nap(3), nap(1), nap(2)]).map(Result::unwrap);
///     assert_eq!(seconds.collect::<Vec<_>>(), [1, 2, 3]);
///
///     let mut naps = as_completed([nap(2), nap(1)]);
///     let first = generator::spawn(move |y| y.wait(naps.next_result()).unwrap().unwrap());
///     assert_eq!(first.join().unwrap(), 1);
/// });
/// ```
///
/// # Cancellation
///
/// Nothing is lost: a result that was not given yet is given next. When this is dropped, the tasks that are
/// left run on, detached.
pub fn as_completed<T: 'static>(
    handles: impl IntoIterator<Item = JoinHandle<T>>,
) -> AsCompleted<T> {
    AsCompleted(TaskSet::new(handles))
}

/// See [`as_completed`].
#[must_use = "the tasks run on, and their results are lost"]
pub struct AsCompleted<T>(TaskSet<T>);

impl<T: 'static> AsCompleted<T> {
    /// An operation that gives the result of the next task that ends; `None` after the last.
    pub fn next_result(&mut self) -> impl Future<Output = Option<Result<T, JoinError>>> {
        poll_fn(|cx| self.0.poll_next(cx).map(|next| Some(next?.1)))
    }
}

impl<T: 'static> Iterator for AsCompleted<T> {
    type Item = Result<T, JoinError>;

    /// Waits for the next task that ends.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        door::wait(self.next_result())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl<T: 'static> ExactSizeIterator for AsCompleted<T> {}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsCompleted({} left)", self.0.len())
    }
}

/// An operation that gives the result of the first task to end, be it a failure. The others are cancelled
/// then, and have ended when it is ready. (asyncio's `wait(FIRST_COMPLETED)`, with the losers cancelled and
/// awaited, as a trio nursery would.)
///
/// A loser that ends in the same moment loses its result; if it panicked, that is logged.
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{Builder, green, group::race};
///
/// Builder::new().virtual_clock().run(|| {
///     let nap = |s| green::spawn(move || { green::sleep(Duration::from_secs(s)); s });
///     assert_eq!(green::wait(race([nap(3), nap(1), nap(2)])).unwrap(), 1);
/// });
/// ```
///
/// # Panics
///
/// If there are no handles: none would ever be first.
///
/// # Cancellation
///
/// All that have not ended are cancelled, and end in their next turns; the results are lost.
#[track_caller]
pub fn race<T: 'static>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Race<T> {
    let tasks = TaskSet::new(handles);
    assert!(tasks.len() > 0, "a race of no tasks: none would ever be first");
    Race { tasks, first: None }
}

/// See [`race`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Race<T> {
    tasks: TaskSet<T>,
    first: Option<Result<T, JoinError>>,
}

impl<T> Unpin for Race<T> {}

impl<T: 'static> Future for Race<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some((_, result)) = ready!(self.tasks.poll_next(cx)) {
            match (&self.first, result) {
                (None, result) => {
                    self.first = Some(result);
                    self.tasks.cancel();
                }
                (Some(_), Err(error)) => error.log_if_lost(),
                (Some(_), Ok(_)) => {}
            }
        }
        Poll::Ready(self.first.take().expect("a race is not polled once it is ready"))
    }
}

impl<T> Drop for Race<T> {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl<T> fmt::Debug for Race<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Race({} left)", self.tasks.len())
    }
}
