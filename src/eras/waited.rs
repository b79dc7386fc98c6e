//! A [`Wait`] as an operation: code that drives a generator by hand waits for what the generator yields.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::kernel::door;
use crate::kernel::edge::entered::now;
use crate::kernel::edge::registration::Registration;
use crate::kernel::wait::{self, Wait};

/// A [`Wait`] is ready when what it describes may have happened, and from then on.
///
/// ```
/// use wouldblock::{generator::{Generator, GeneratorState, Yielder}, Wait, green, time};
///
/// wouldblock::run(|| {
///     let mut inner = Generator::new(|y: &Yielder<Wait>| {
///         y.wait(time::sleeping(std::time::Duration::from_millis(1)));
///     });
///     // A trampoline, by hand:
///     while let GeneratorState::Yielded(wait) = inner.resume() {
///         green::wait(wait);
///     }
/// });
/// ```
impl IntoFuture for Wait {
    type Output = ();
    type IntoFuture = Waited;

    fn into_future(self) -> Waited {
        Waited { wait: Some(self), registration: Registration::default() }
    }
}

/// How long to wait for a wake of the task where the waker of the poll is not the task's own (in a combinator of another
/// crate). After that, the generator is resumed, and polls its operation again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// See [`Wait`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Waited {
    wait: Option<Wait>,
    registration: Registration,
}

impl Future for Waited {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        wait::poll_within_budget(cx, |cx| {
            let Some(wait) = self.wait.take() else { return Poll::Ready(()) };
            if wait.what.ends_by_wake_only() && wait.created_by != door::creator() {
                // The wake has come since the `Wait` was created, or will go to another task.
                return Poll::Ready(());
            }
            match wait::record(cx, wait) {
                true => {}
                // The wake will be one of the task: a `FuturesUnordered` that polls this has lent another waker.
                false if wait.what.ends_by_wake_only() => {
                    let again = Wait::until(now() + LOOK_AGAIN);
                    self.registration.renew(cx, again);
                }
                false => self.registration.renew(cx, wait),
            }
            Poll::Pending
        })
    }
}
