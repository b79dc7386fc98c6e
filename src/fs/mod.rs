//! Files and folders with std's names, which suspend the task where those block the thread.
//!
//! The operating system has no "not yet" for a file: `epoll` refuses it, and a read blocks for as long as the disk
//! takes. So each call here is made on another thread, by [`offload()`](crate::offload()), while the task
//! waits and the others run. There is no colour: generators and async fns call the same functions, and
//! porting is changing `std::fs` to `wouldblock::fs`. For an operation (for `timeout`, `gather`, `select`), offload
//! std's function; there is no second name for it. What a library does in a destructor is std's, too, and blocks the
//! thread: of a `tempfile::TempDir`, `offload(move || drop(folder))`.
//!
//! | | generator | green | future |
//! |---|---|---|---|
//! | read a whole file | `y.wait(offload(\|\| std::fs::read(p)))` | `fs::read(p)` | `offload(\|\| std::fs::read(p)).await` |
//! | the same, no colour | `fs::read(p)` | `fs::read(p)` | `fs::read(p)` |
//! | read an open file | `f.read(buf)` ([`std::io::Read`]) | `f.read(buf)` ([`std::io::Read`]) | `f.read(buf).await` ([`futures_io::AsyncRead`]) |
//!
//! ```
//! use wouldblock::{fs, green};
//!
//! # fn main() -> std::io::Result<()> { wouldblock::run(|| {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! fs::write(folder.join("a"), "one")?;
//! let copy = green::spawn({
//!     let (from, to) = (folder.join("a"), folder.join("b"));
//!     move || fs::copy(from, to)
//! });
//! assert_eq!(copy.join().unwrap()?, 3);
//! for entry in fs::read_dir(folder)? {
//!     assert_eq!(fs::read_to_string(entry?.path())?, "one");
//! }
//! # Ok(()) }) }
//! ```
//!
//! What holds for every function here:
//!
//! # Errors
//!
//! Those of std's function of the same name, with their kind and number.
//!
//! # Blocking
//!
//! Suspends the task; outside of one, blocks the thread. So it does while a cancelled task is torn down (a
//! stack unwinds, a future is dropped), where nothing can be suspended: a destructor may remove its temporary
//! file.
//!
//! Files have threads of their own, up to 64; further calls wait in line. A call that blocks for long, such as
//! opening a FIFO whose other end is not open, or reading from one, occupies a thread even when its task is
//! cancelled; when calls wait in line and all threads have been busy for ten seconds, a warning says so. Where there is
//! no thread, and the system starts none (a limit on threads or memory, a sandbox), the call is made on the
//! scheduler's thread. The other tasks have a turn before each such call, and a warning is logged once.
//!
//! The hand-over to the other thread and back costs some 40 µs, where a read that is cached takes less than
//! one. The functions of [`Path`] that ask the file system (`exists`, `metadata`) block the thread; use those
//! here.
//!
//! # Cancellation
//!
//! A call that has begun goes on to its end on its thread, and its result is dropped: whether a file has
//! been written, or a folder removed, is then unknown. A task that is to stop already begins none.

use std::io;
use std::path::{Path, PathBuf};

pub use std::fs::{FileTimes, FileType, Metadata, Permissions};

use call::at;
pub use dir::{DirBuilder, DirEntry, ReadDir};
pub use file::File;
pub use lock::TryLockError;
pub use options::OpenOptions;

mod call;
mod convert;
mod dir;
mod file;
mod lock;
mod options;

/// The real, absolute path of what is at `path`, with no link in it: [`std::fs::canonicalize`].
///
/// # Errors
///
/// std's: there is nothing at `path`.
#[track_caller]
pub fn canonicalize<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    at(path, std::fs::canonicalize)
}

/// Copies the content and the permissions of a file over another, and gives the number of bytes:
/// [`std::fs::copy`].
///
/// # Errors
///
/// std's: `from` is no file, or one of them may not be opened.
#[track_caller]
pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    let to = to.as_ref().to_owned();
    at(from, move |from| std::fs::copy(from, to))
}

/// Makes a folder, in one that is there: [`std::fs::create_dir`].
///
/// # Errors
///
/// std's; `AlreadyExists` if something is there.
#[track_caller]
pub fn create_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    at(path, std::fs::create_dir)
}

/// Makes a folder, and those on the way to it that are not there: [`std::fs::create_dir_all`].
///
/// # Errors
///
/// std's: something on the way is no folder, or may not be written.
#[track_caller]
pub fn create_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    at(path, std::fs::create_dir_all)
}

/// Whether there is something at `path`: [`std::fs::exists`].
///
/// # Errors
///
/// std's: it cannot be known, since a folder on the way may not be searched.
#[track_caller]
pub fn exists<P: AsRef<Path>>(path: P) -> io::Result<bool> {
    at(path, std::fs::exists)
}

/// Gives a file a second name: [`std::fs::hard_link`].
///
/// # Errors
///
/// std's; `AlreadyExists` if something is at `link`.
#[track_caller]
pub fn hard_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    let link = link.as_ref().to_owned();
    at(original, move |original| std::fs::hard_link(original, link))
}

/// What is known about a file or folder; of a link, about what it leads to: [`std::fs::metadata`].
///
/// # Errors
///
/// std's: it is not there.
#[track_caller]
pub fn metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    at(path, std::fs::metadata)
}

/// Reads a whole file: [`std::fs::read`].
///
/// # Errors
///
/// std's: it is not there, or may not be read.
#[track_caller]
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    at(path, std::fs::read)
}

/// The entries of a folder: [`std::fs::read_dir`].
///
/// # Errors
///
/// std's: it is no folder, or may not be read.
#[track_caller]
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    at(path, std::fs::read_dir).map(ReadDir::new)
}

/// Where a symbolic link leads: [`std::fs::read_link`].
///
/// # Errors
///
/// std's; `InvalidInput` if it is no link.
#[track_caller]
pub fn read_link<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    at(path, std::fs::read_link)
}

/// Reads a whole file that is UTF-8: [`std::fs::read_to_string`].
///
/// # Errors
///
/// std's; `InvalidData` if it is not UTF-8.
#[track_caller]
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    at(path, std::fs::read_to_string)
}

/// Removes an empty folder: [`std::fs::remove_dir`].
///
/// # Errors
///
/// std's; `DirectoryNotEmpty` if it is not empty.
#[track_caller]
pub fn remove_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    at(path, std::fs::remove_dir)
}

/// Removes a folder and all that is in it, and follows no links: [`std::fs::remove_dir_all`].
///
/// # Errors
///
/// std's; what could be removed before is gone.
#[track_caller]
pub fn remove_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    at(path, std::fs::remove_dir_all)
}

/// Removes a file or a link: [`std::fs::remove_file`].
///
/// # Errors
///
/// std's: it is not there, or is a folder.
#[track_caller]
pub fn remove_file<P: AsRef<Path>>(path: P) -> io::Result<()> {
    at(path, std::fs::remove_file)
}

/// Gives a file or folder another name, in place of what had that name: [`std::fs::rename`].
///
/// # Errors
///
/// std's: `to` is in another file system, or is a folder and not empty.
#[track_caller]
pub fn rename<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<()> {
    let to = to.as_ref().to_owned();
    at(from, move |from| std::fs::rename(from, to))
}

/// Says who may do what with a file or folder: [`std::fs::set_permissions`].
///
/// # Errors
///
/// std's: it belongs to another user.
#[track_caller]
pub fn set_permissions<P: AsRef<Path>>(path: P, permissions: Permissions) -> io::Result<()> {
    at(path, move |path| std::fs::set_permissions(path, permissions))
}

/// As [`metadata`]; of a link, about the link: [`std::fs::symlink_metadata`].
///
/// # Errors
///
/// std's: it is not there.
#[track_caller]
pub fn symlink_metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    at(path, std::fs::symlink_metadata)
}

/// Writes a whole file, in place of what it held: [`std::fs::write`]. The other thread gets a copy of
/// `contents`.
///
/// # Errors
///
/// std's: it may not be written, or the disk is full; then part of it may be there.
#[track_caller]
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let contents = contents.as_ref().to_vec();
    at(path, move |path| std::fs::write(path, contents))
}
