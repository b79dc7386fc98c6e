//! Whether the caller can be suspended.

use crate::kernel::edge::unwinding;
use crate::kernel::here::in_task;

/// Whether there is a task that can be suspended. None can while its stack unwinds or its panic hook runs, since
/// the thread would stay panicking for all other tasks: what has to wait then blocks the thread, as std's calls do.
#[inline]
pub(crate) fn can_suspend() -> bool {
    in_task() && !unwinding::unwinds()
}
