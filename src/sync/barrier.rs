//! Tasks that wait for one another.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::wait_queue::Key;
use super::waiters::Waiters;
use crate::kernel::door;
use crate::kernel::wait::{self, Wait};
use crate::op::timeout;
use crate::time::Elapsed;

/// [`std::sync::Barrier`] for the tasks of one thread: opens when so many tasks have come, and closes again behind
/// them.
///
/// ```
/// use std::rc::Rc;
/// use wouldblock::{green, group::gather, sync::Barrier};
///
/// wouldblock::run(|| {
///     let barrier = Rc::new(Barrier::new(3));
///     let tasks = (0..3).map(|_| {
///         let barrier = barrier.clone();
///         green::spawn(move || barrier.wait().is_leader())
///     });
///     let leaders = green::wait(gather(tasks)).into_iter().filter(|is| *is.as_ref().unwrap()).count();
///     assert_eq!(leaders, 1);
/// });
/// ```
#[derive(Debug)]
pub struct Barrier {
    size: usize,
    line: Waiters<()>,
}

impl Barrier {
    /// A barrier for so many. With 0 or 1, no task ever waits.
    pub const fn new(size: usize) -> Barrier {
        Barrier { size, line: Waiters::new() }
    }

    /// Waits until all have come: the green era's way, under std's name.
    ///
    /// # Blocking
    ///
    /// The task waits until there are as many as the barrier is for. The last of them goes on without giving
    /// up its turn.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// A task that is cancelled while it waits has not come: the others wait for one more. (As in asyncio.)
    #[track_caller]
    pub fn wait(&self) -> BarrierWaitResult {
        door::wait(self.waiting())
    }

    /// As [`wait`](Barrier::wait), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Elapsed`], if the time has passed first: the task has not come, and the others wait for one more.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Barrier::wait).
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<BarrierWaitResult, Elapsed> {
        door::wait(timeout(limit, self.waiting()))
    }

    /// The operation behind [`wait`](Barrier::wait): `y.wait(barrier.waiting())`,
    /// `barrier.waiting().await`. One comes when it is first polled.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Barrier::wait).
    pub fn waiting(&self) -> BarrierWaiting<'_> {
        BarrierWaiting { barrier: self, place: None }
    }
}

/// What each task gets for which a [`Barrier`] has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    is_leader: bool,
}

impl BarrierWaitResult {
    /// Whether this is the task that came last: `true` for one of them only.
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }
}

/// See [`Barrier::waiting`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct BarrierWaiting<'a> {
    barrier: &'a Barrier,
    place: Option<Key>,
}

impl Future for BarrierWaiting<'_> {
    type Output = BarrierWaitResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        wait::poll_within_budget(cx, |cx| {
            let Barrier { size, line } = self.barrier;
            let wait = || Wait::named(&"the others at a barrier");
            if self.place.is_some() {
                let opened = line.poll(&mut self.place, cx, wait);
                return opened.map(|()| BarrierWaitResult { is_leader: false });
            }
            if line.len() + 1 >= *size {
                line.grant_all();
                return Poll::Ready(BarrierWaitResult { is_leader: true });
            }
            self.place = Some(line.stand(cx, wait(), ()));
            Poll::Pending
        })
    }
}

impl Drop for BarrierWaiting<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.place {
            self.barrier.line.leave(key);
        }
    }
}
