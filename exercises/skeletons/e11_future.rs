//! 11 future: what `.await` is.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is `Pending` as often as its number says, and then `Ready`.
pub struct Countdown(pub u32);

impl Future for Countdown {
    type Output = &'static str;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<&'static str> {
        todo!("Countdown::poll: {} more times pending; wake {:?}", self.0, cx.waker())
    }
}

/// Runs a future on this thread, which sleeps while the future waits. Returns its output, and how often it was polled.
pub fn block_on<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = std::pin::pin!(future);
    todo!("block_on: poll the future at {:p}", &mut future)
}

/// Waits for both: polls each until it is ready, and none after that.
pub async fn join2<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (a, b) = (std::pin::pin!(a), std::pin::pin!(b));
    todo!("join2: poll those at {:p} and {:p}", &a, &b)
}
