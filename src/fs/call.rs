//! How a call of `std::fs` leaves the thread.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kernel::edge::warn;
use crate::kernel::here::with_local;
use crate::kernel::{cancel, door};
use crate::offload::{Pool, begin};
use crate::run::may_wait::may_wait;

/// More threads than this make no disk faster. A call that blocks for long (a FIFO whose other end is not open)
/// occupies one of them.
static FILES: Pool = Pool::new(
    "wouldblock file",
    64,
    "A call that blocks for long (opening a FIFO whose other end is not open, reading from a FIFO or a terminal, a \
     network file system that does not answer) keeps its thread, also when its task has given it up: make such calls \
     on a thread of their own",
);

/// Makes a call that may block: on another thread, while the task waits. It is made here where there is no
/// task to suspend, or where that is being torn down: a guard that is dropped removes its temporary file.
///
/// It is made here too where the pool has no thread and the system starts none. A file's call is short as a
/// rule, so the other tasks are held up for a moment; an error would leave a program that is out of threads
/// unable to read its files as well.
#[track_caller]
pub(super) fn call<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    if !may_wait() {
        return call();
    }
    // A task that is to stop raises it before the call is begun, not in the middle.
    with_local(cancel::check);
    match begin(&FILES, call) {
        Ok(operation) => door::wait(operation),
        Err((error, call)) => {
            static WARNED: AtomicBool = AtomicBool::new(false);
            if !WARNED.swap(true, Ordering::Relaxed) {
                warn::warning(format_args!(
                    "calls of `fs` are made on the scheduler's thread, and block its tasks: {error}"
                ));
            }
            door::yield_now(); // The others have a turn between two such calls, and time limits are seen.
            call()
        }
    }
}

/// [`call`], with a path of its own.
#[track_caller]
pub(super) fn at<T: Send + 'static>(
    path: impl AsRef<Path>,
    function: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.as_ref().to_owned();
    call(move || function(path))
}
