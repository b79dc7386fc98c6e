//! What a file is made from, and what it becomes.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;

use super::file::File;

impl From<OwnedFd> for File {
    fn from(descriptor: OwnedFd) -> File {
        fs::File::from(descriptor).into()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<File> for OwnedFd {
    /// # Panics
    ///
    /// As [`File::into_std`] fails: a call that was given up is still under way, and no descriptor is left for a
    /// duplicate.
    fn from(file: File) -> OwnedFd {
        into_std(file).into()
    }
}

impl From<File> for Stdio {
    /// What a child process reads or writes.
    ///
    /// # Panics
    ///
    /// As the conversion into [`OwnedFd`].
    fn from(file: File) -> Stdio {
        into_std(file).into()
    }
}

impl IntoRawFd for File {
    /// # Panics
    ///
    /// As the conversion into [`OwnedFd`].
    fn into_raw_fd(self) -> RawFd {
        into_std(self).into_raw_fd()
    }
}

impl FromRawFd for File {
    /// # Safety
    ///
    /// As std's: the caller owns the descriptor, which is open.
    unsafe fn from_raw_fd(descriptor: RawFd) -> File {
        // SAFETY: it is the caller's promise, and the same one.
        unsafe { fs::File::from_raw_fd(descriptor) }.into()
    }
}

#[track_caller]
fn into_std(file: File) -> fs::File {
    file.into_std().expect("a second descriptor for a file that a call is still using")
}
