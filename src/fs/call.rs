//! How a call of `std::fs` leaves the thread.

use std::io;
use std::path::{Path, PathBuf};

use crate::kernel::scheduler::with_local;
use crate::kernel::{cancel, door};
use crate::may_wait::may_wait;
use crate::offload::offload;

/// Makes a call that may block: on another thread, while the task waits. It is made here where there is no
/// task to suspend, or where that is being torn down: a guard that is dropped removes its temporary file.
pub(super) fn call<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    if !may_wait() {
        return call();
    }
    // A task that is to stop raises it before the call is begun, not in the middle.
    with_local(cancel::check);
    door::wait(offload(call))
}

/// [`call`], with a path of its own.
pub(super) fn at<T: Send + 'static>(
    path: impl AsRef<Path>,
    function: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.as_ref().to_owned();
    call(move || function(path))
}
