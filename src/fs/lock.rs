//! Locks of files, by `flock(2)`.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// A lock on its way from the other thread: given back if its task is gone by then.
pub(super) struct Locked(pub(super) Option<Arc<fs::File>>);

impl Locked {
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            let _ = flock(file, libc::LOCK_UN); // It cannot fail for a lock that is held.
        }
    }
}

/// `flock(2)`, until no signal interrupts it.
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
