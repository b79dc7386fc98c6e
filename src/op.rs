//! What is made of operations: the first of several, both of two, one within a time limit.
//!
//! Each takes operations (any future, a [`JoinHandle`] too) and is itself one, for each era:
//!
//! | | ready | what becomes of the others |
//! |---|---|---|
//! | [`select`]`(a, b)` | with the first of the two | it is dropped |
//! | [`select_all`]`(operations)` | with the first of any number | they are dropped |
//! | [`join`]`(a, b)` | with both outputs | |
//! | [`timeout`]`(duration, a)` | with its output, or when the time has passed | it is dropped |
//!
//! To drop a handle is to detach its task, which runs on: what waits for tasks, and cancels those that have lost, is in
//! [`group`](crate::group). A time limit on a piece of straight-line code is [`green::timeout`](crate::green::timeout).

use std::cell::Cell;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::kernel::scheduler::Scheduler;
use crate::kernel::{door, wait};
use crate::run::join::{JoinError, JoinHandle};
use crate::time::{Elapsed, Sleeping, until};

impl<T> JoinHandle<T> {
    /// Waits for the task, for `limit` at most: the green era's way. (In the others, it is [`timeout`] of `&mut handle`.)
    ///
    /// # Errors
    ///
    /// [`Elapsed`], if the time has passed first; the task runs on. Inside, what [`join`](JoinHandle::join) returns.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the handle can be joined later.
    #[track_caller]
    pub fn join_timeout(&mut self, limit: Duration) -> Result<Result<T, JoinError>, Elapsed> {
        door::wait(timeout(limit, self))
    }
}

/// Which operation of a [`select`] was ready first, with its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Either<A, B> {
    /// The first operation's output.
    First(A),
    /// The second operation's output.
    Second(B),
}

/// An operation that is ready with whichever of the two is ready first; the other is dropped.
///
/// If both are ready, one is chosen at random, so that neither starves; the choices are the same in each run, and
/// others with another [`Builder::seed`](crate::Builder::seed). For any number of operations of one type, there is
/// [`select_all`].
///
/// ```
/// use wouldblock::op::{Either, select};
/// use wouldblock::sync::{Event, channel};
/// use wouldblock::{green, task};
///
/// wouldblock::run(|| {
///     let (sender, receiver) = channel::unbounded();
///     let stop = Event::new();
///     sender.send("job").unwrap();
///     let mut done = Vec::new();
///     while let Either::First(Ok(job)) = green::wait(select(receiver.receiving(), stop.waiting())) {
///         done.push(job);
///         stop.set();
///     }
///     assert_eq!(done, ["job"]);
/// });
/// ```
///
/// The first of three is a `select` in a `select`, and so on. (Where all three are ready, the one outside is chosen half of
/// the time.)
///
/// ```
/// use std::time::Duration;
/// use Either::{First, Second};
/// use wouldblock::op::{Either, select};
/// use wouldblock::sync::{Event, channel::{self, Receiver}};
/// use wouldblock::{Builder, green, time::sleeping};
///
/// /// Why it has ended.
/// fn work(jobs: &Receiver<&str>, stop: &Event, done: &mut Vec<String>) -> &'static str {
///     loop {
///         let idle = sleeping(Duration::from_secs(60));
///         match green::wait(select(jobs.receiving(), select(stop.waiting(), idle))) {
///             First(Ok(job)) => done.push(job.to_owned()),
///             First(Err(_)) => return "no more jobs will come",
///             Second(First(())) => return "stopped",
///             Second(Second(())) => return "none came for a minute",
///         }
///     }
/// }
///
/// Builder::new().virtual_clock().run(|| {
///     let ((sender, jobs), stop, mut done) = (channel::unbounded(), Event::new(), Vec::new());
///     sender.send("job").unwrap();
///     assert_eq!(work(&jobs, &stop, &mut done), "none came for a minute");
///     stop.set();
///     assert_eq!(work(&jobs, &stop, &mut done), "stopped");
///     stop.clear();
///     drop(sender);
///     assert_eq!(work(&jobs, &stop, &mut done), "no more jobs will come");
///     assert_eq!(done, ["job"]);
/// });
/// ```
///
/// # Cancellation
///
/// Both are dropped. What that loses, and what dropping the later one of the two loses, is in the documentation of the
/// operation under this heading; receiving, locking and acquiring lose nothing. To keep an operation for the next time,
/// select over `&mut` of it.
pub fn select<A: IntoFuture, B: IntoFuture>(
    first: A,
    second: B,
) -> Select<A::IntoFuture, B::IntoFuture> {
    Select { first: first.into_future(), second: second.into_future() }
}

/// See [`select`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Select<A, B> {
    first: A,
    second: B,
}

impl<A: Future, B: Future> Future for Select<A, B> {
    type Output = Either<A::Output, B::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: neither is moved out of its place, here or anywhere else.
        let (mut first, mut second) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.first), Pin::new_unchecked(&mut this.second))
        };
        wait::poll_within_budget(cx, |cx| {
            let start = draw(2);
            for n in start..start + 2 {
                let polled = match n % 2 {
                    0 => first.as_mut().poll(cx).map(Either::First),
                    _ => second.as_mut().poll(cx).map(Either::Second),
                };
                if polled.is_ready() {
                    return polled;
                }
            }
            Poll::Pending
        })
    }
}

/// As [`select`], for any number of operations: gives the index of the one that was ready first, and its
/// output.
///
/// ```
/// use wouldblock::{green, op::select_all, sync::channel};
///
/// wouldblock::run(|| {
///     let channels: Vec<_> = (0..3).map(|_| channel::unbounded()).collect();
///     channels[1].0.send("hello").unwrap();
///     let receiving = channels.iter().map(|(_, receiver)| receiver.receiving());
///     assert_eq!(green::wait(select_all(receiving)), (1, Ok("hello")));
/// });
/// ```
///
/// # Panics
///
/// If there are no operations: none would ever be ready. (As [`race`](crate::group::race()).)
///
/// # Cancellation
///
/// As [`select`].
#[track_caller]
pub fn select_all<O: IntoFuture>(
    operations: impl IntoIterator<Item = O>,
) -> SelectAll<O::IntoFuture> {
    let operations = operations.into_iter().map(|operation| Box::pin(operation.into_future()));
    let operations: Vec<_> = operations.collect();
    assert!(!operations.is_empty(), "a select of no operations: none would ever be ready");
    SelectAll(operations)
}

/// See [`select_all`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct SelectAll<F>(Vec<Pin<Box<F>>>);

impl<F: Future> Future for SelectAll<F> {
    type Output = (usize, F::Output);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let count = self.0.len();
        let (before, after) = self.0.split_at_mut(draw(count));
        let start = before.len();
        let in_turn = after.iter_mut().zip(start..).chain(before.iter_mut().zip(0..));
        wait::poll_within_budget(cx, |cx| {
            for (operation, index) in in_turn {
                if let Poll::Ready(output) = operation.as_mut().poll(cx) {
                    return Poll::Ready((index, output));
                }
            }
            Poll::Pending
        })
    }
}

impl<F> fmt::Debug for SelectAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SelectAll({} operations)", self.0.len())
    }
}

/// An operation that is ready when both are, with both outputs.
///
/// The two take turns within one task. For the results of many tasks, see [`gather`](crate::group::gather()).
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{Builder, green, op, time::{now, sleeping}};
///
/// Builder::new().virtual_clock().run(|| {
///     let start = now();
///     let second = Duration::from_secs(1);
///     let both = op::join(sleeping(2 * second), async { sleeping(3 * second).await; "slept" });
///     assert_eq!(green::wait(both), ((), "slept"));
///     assert_eq!(now() - start, 3 * second);
/// });
/// ```
///
/// # Cancellation
///
/// Both are dropped, and the output of the one that was ready is lost.
pub fn join<A: IntoFuture, B: IntoFuture>(
    first: A,
    second: B,
) -> impl Future<Output = (A::Output, B::Output)> {
    let (first, second) = (first.into_future(), second.into_future());
    async move {
        let (mut first, mut second) = (pin!(first), pin!(second));
        let (mut a, mut b) = (None, None);
        let mut polled = |cx: &mut Context<'_>| {
            if a.is_none()
                && let Poll::Ready(output) = first.as_mut().poll(cx)
            {
                a = Some(output);
            }
            if b.is_none()
                && let Poll::Ready(output) = second.as_mut().poll(cx)
            {
                b = Some(output);
            }
            match (a.take(), b.take()) {
                (Some(a), Some(b)) => Poll::Ready((a, b)),
                one => {
                    (a, b) = one;
                    Poll::Pending
                }
            }
        };
        poll_fn(|cx| wait::poll_within_budget(cx, &mut polled)).await
    }
}

/// `operation` with a time limit of `duration` from this call.
///
/// For a limit on a whole piece of straight-line code, see [`green::timeout`](crate::green::timeout).
///
/// ```
/// use std::time::Duration;
/// use wouldblock::{green, op::timeout, time::sleeping};
///
/// wouldblock::run(|| {
///     let slow = green::wait(timeout(Duration::from_millis(1), sleeping(Duration::from_secs(60))));
///     assert_eq!(slow.unwrap_err().to_string(), "timed out after 1ms");
/// });
/// ```
///
/// # Errors
///
/// [`Elapsed`], if the time passes first. An operation that is ready by then wins.
///
/// # Cancellation
///
/// When the time passes, `operation` is dropped: what that loses is in its documentation under this heading.
#[track_caller]
pub fn timeout<O: IntoFuture>(duration: Duration, operation: O) -> Timeout<O::IntoFuture> {
    Timeout { operation: operation.into_future(), limit: until(duration), duration }
}

/// See [`timeout`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Timeout<F> {
    operation: F,
    limit: Sleeping,
    duration: Duration,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `operation` is not moved out of its place, here or anywhere else; `limit` is `Unpin`.
        let (mut operation, limit, duration) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.operation), Pin::new(&mut this.limit), this.duration)
        };
        wait::poll_within_budget(cx, |cx| {
            if let Poll::Ready(value) = operation.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            ready!(limit.poll(cx));
            // It may be pending only since the budget of this turn is used up: the last look is with some of it left.
            ready!(wait::check_budget(cx));
            Poll::Ready(match operation.poll(cx) {
                Poll::Ready(value) => Ok(value),
                Poll::Pending => Err(Elapsed::new(duration)),
            })
        })
    }
}

/// A random number below `n`; with the same seed, the same numbers come in each run.
fn draw(n: usize) -> usize {
    thread_local! {
        /// Of which scheduler, and the last number.
        static CHANCE: Cell<(u32, u64)> = const { Cell::new((u32::MAX, 0)) };
    }
    let (run, seed) = Scheduler::with(|s| s.map_or((u32::MAX, 0), |s| (s.home.run, s.seed)));
    let (of, last) = CHANCE.get();
    // Knuth's generator; its upper half is the better one.
    let x = if of == run { last } else { seed };
    let x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    CHANCE.set((run, x));
    (x >> 33) as usize % n
}
