//! A [`Wait`] as an operation: code that drives a generator by hand waits for what the generator yields.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::kernel::door;
use crate::kernel::edge::registration::Registration;
use crate::kernel::wait::{self, Wait};

/// A [`Wait`] is ready once, when what it describes may have happened.
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
        Waited { wait: Some(self), registration: Registration::None }
    }
}

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
            if !wait::record(cx, wait) {
                self.registration.renew(cx, wait);
            }
            Poll::Pending
        })
    }
}
