//! Whether the caller can be suspended, whether a call failed as `WouldBlock`, and operations that cannot begin.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use crate::kernel::edge::unwinding;
use crate::kernel::here::in_task;
use crate::kernel::wait;

/// An operation that cannot begin, and fails with `error`: within the task's budget for this turn, like any other.
pub(super) async fn failed<T>(error: io::Error) -> io::Result<T> {
    let mut error = Some(error);
    let fail = |error: &mut Option<_>| Poll::Ready(error.take().expect("polled until it is ready"));
    Err(poll_fn(|cx| wait::poll_within_budget(cx, |_| fail(&mut error))).await)
}

/// Whether there is a task that can be suspended. None can while its stack unwinds or its panic hook runs, since
/// the thread would stay panicking for all other tasks: what has to wait then blocks the thread, as std's calls do.
#[inline]
pub(crate) fn can_suspend() -> bool {
    in_task() && !unwinding::unwinds()
}

pub(crate) fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
