//! Whether the code that runs may give up its turn, or has to do without.

use crate::kernel::cancel;
use crate::kernel::coroutine::with_open;
use crate::kernel::edge::observe::Era;
use crate::kernel::here::{current, in_task};
use crate::kernel::wait;

/// Whether there is a running task, and it can be suspended here: it cannot while it is torn down, by unwinding or
/// by dropping its future. A destructor that locks what is free, sends where there is room, or removes its
/// temporary file is served all the same.
#[inline]
pub(crate) fn may_wait() -> bool {
    in_task() && !std::thread::panicking() && !is_future_dropped()
}

/// Whether a green verb may take what is ready without a wait: the task has a share of its turn left, or cannot wait
/// here. Such a verb spends one of the share; where it has none left, it waits for its operation, which lets the
/// others run first.
#[inline]
pub(crate) fn may_take() -> bool {
    !wait::is_spent() || !may_wait()
}

/// Whether the running task's future has been cancelled, and is not polled but dropped.
fn is_future_dropped() -> bool {
    let is_future = || current().is_some_and(|task| task.era == Era::Future);
    let is_polled = || with_open(|open| !open.poll.get().is_null()) == Some(true);
    cancel::is_cancelled() && !is_polled() && is_future()
}
