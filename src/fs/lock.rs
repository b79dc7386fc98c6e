//! Locks of files, by `flock(2)`.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::kernel::edge::entered::now;
use crate::kernel::here::with_local;
use crate::kernel::wait::Wait;
use crate::kernel::{cancel, door};
use crate::run::may_wait::{completed, may_wait};

/// How long a task waits between its first two tries. Each further pause is twice as long, up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// `flock(2)`, until no signal interrupts it.
#[track_caller]
pub(super) fn flock(file: &fs::File, operation: libc::c_int) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open as long as `file` is, and the call touches no memory.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// `flock(2)` that does not wait.
#[track_caller]
pub(super) fn try_flock(file: &fs::File, operation: libc::c_int) -> Result<(), TryLockError> {
    flock(file, operation | libc::LOCK_NB).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => TryLockError::WouldBlock,
        _ => TryLockError::Error(error),
    })
}

/// Takes a lock as soon as it is free. A task tries again and again, and blocks no thread of a pool: `flock` cannot be
/// called off, so that tasks which give up their wait would leave one blocked thread each. Outside of a task, this
/// blocks the thread.
#[track_caller]
pub(super) fn wait_for(file: &fs::File, operation: libc::c_int) -> io::Result<()> {
    if !may_wait() {
        return flock(file, operation);
    }
    with_local(cancel::check); // As before each call of a file: a task that is to stop takes no lock.
    completed();
    let mut pause = SHORTEST_PAUSE;
    loop {
        match try_flock(file, operation) {
            Err(TryLockError::WouldBlock) => {}
            tried => return tried.map_err(io::Error::from),
        }
        let wait = Wait::named(&"the lock of a file");
        door::pause(Wait { deadline: Some(now() + pause), ..wait });
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why a lock of a file was not taken: std's, which has it since Rust 1.89.
pub enum TryLockError {
    /// The kernel's.
    Error(io::Error),
    /// Another handle has the lock.
    WouldBlock,
}

impl fmt::Debug for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Error(error) => error.fmt(f),
            TryLockError::WouldBlock => f.write_str("WouldBlock"),
        }
    }
}

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Error(error) => error.fmt(f),
            TryLockError::WouldBlock => {
                f.write_str("the file is locked by another handle: the lock would block")
            }
        }
    }
}

impl Error for TryLockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TryLockError::Error(error) => Some(error),
            TryLockError::WouldBlock => None,
        }
    }
}

impl From<TryLockError> for io::Error {
    fn from(error: TryLockError) -> io::Error {
        match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        }
    }
}
