//! `File`.

use std::fmt;
use std::fs::{self, FileTimes, Metadata, Permissions};
use std::io::{self, IoSlice, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};

use super::call::{at, call};
use super::lock::{TryLockError, flock, try_flock, wait_for};
use crate::whole::{read_whole, write_whole};

/// The most bytes that one read or write moves. It bounds what a `write_all` of a large buffer copies.
const MOST: usize = 1 << 20;

/// An open file: [`std::fs::File`] that suspends the task where that one blocks the thread.
///
/// What is read or written crosses to the other thread in a buffer of its own, at most 1 MiB in one call.
/// The hand-over costs some 40 µs, so read and write much at once: small reads go through a
/// [`BufReader`](io::BufReader), small writes through a [`BufWriter`](io::BufWriter), as with std's file.
/// `read_to_end` and `read_to_string` hand over once, whatever the size.
///
/// A write returns its own error, and nothing is left to be flushed. A task that reads, one that writes and
/// one that asks for the length may do so at once, over `&File`, as threads do with std's.
///
/// ```
/// use std::io;
/// use std::path::Path;
/// use wouldblock::{fs::File, future, green};
///
/// fn write(path: &Path) -> io::Result<()> {
///     use green::prelude::*;
///     let mut file = File::create(path)?;
///     file.write_all(b"one\ntwo\n")
/// }
///
/// async fn read(path: &Path) -> io::Result<String> {
///     use future::prelude::*;
///     let mut text = String::new();
///     File::open(path)?.read_to_string(&mut text).await?;
///     Ok(text)
/// }
///
/// # fn main() -> io::Result<()> { wouldblock::run(|| {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("notes");
/// write(&path)?;
/// let task = future::spawn(async move { read(&path).await });
/// assert_eq!(task.join().unwrap()?, "one\ntwo\n");
/// # Ok(()) }) }
/// ```
///
/// # In an async fn
///
/// To the kernel a file is always ready: `epoll` refuses it, and `read` blocks. So each `poll_read` of this
/// file is ready, and it is the task that waits in it, the green way. Nothing is left half done between
/// two polls, and so no error comes late; but two such polls in one task (`join!`, `select!`) take turns,
/// and a `timeout(d, file.read(..))` sees the time only when the read is through. What has to run beside
/// something else is a task of its own; what needs a time limit (the read of a FIFO) goes into
/// [`green::timeout`](crate::green::timeout).
///
/// # Cancellation
///
/// A call that was under way goes on to its end on its thread, and its result is dropped: a read has moved the cursor
/// and its bytes are lost; whether a write, or any other change, has happened is unknown. Code that goes on with the
/// file seeks first, or uses `read_at` and `write_at` of [`FileExt`], which have no cursor.
///
/// # Blocking
///
/// Every call suspends the task, except for `try_clone` and the conversions; outside of a task it blocks the
/// thread. Dropping the file closes it, on this thread, as soon as no call is under way.
pub struct File(pub(super) Arc<fs::File>);

impl File {
    /// Opens a file for reading: [`std::fs::File::open`].
    ///
    /// # Errors
    ///
    /// std's: it is not there, or may not be read.
    #[track_caller]
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<File> {
        at(path, fs::File::open).map(File::from)
    }

    /// Opens a file for writing, and makes or empties it: [`std::fs::File::create`].
    ///
    /// # Errors
    ///
    /// std's: its folder is not there, or it may not be written.
    #[track_caller]
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<File> {
        at(path, fs::File::create).map(File::from)
    }

    /// Makes a file that was not there, for reading and writing: [`std::fs::File::create_new`].
    ///
    /// # Errors
    ///
    /// std's; `AlreadyExists` if it was there.
    #[track_caller]
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        at(path, fs::File::create_new).map(File::from)
    }

    /// Makes it std's; its calls block the thread.
    ///
    /// # Errors
    ///
    /// The kernel's, too many descriptors: while a call that was given up is still under way, that call has
    /// the descriptor and the caller gets a duplicate.
    #[track_caller]
    pub fn into_std(self) -> io::Result<fs::File> {
        Arc::try_unwrap(self.0).or_else(|shared| shared.try_clone())
    }

    /// A second handle to the same open file, with the same cursor.
    ///
    /// # Errors
    ///
    /// The kernel's: too many descriptors.
    #[track_caller]
    pub fn try_clone(&self) -> io::Result<File> {
        self.0.try_clone().map(File::from)
    }

    /// Writes what the kernel holds of the file, and what is known about it, to the disk.
    ///
    /// # Errors
    ///
    /// The disk's, perhaps of earlier writes.
    #[track_caller]
    pub fn sync_all(&self) -> io::Result<()> {
        self.call(fs::File::sync_all)
    }

    /// As [`sync_all`](File::sync_all), without what is not needed to read the content again (its times).
    ///
    /// # Errors
    ///
    /// The disk's, perhaps of earlier writes.
    #[track_caller]
    pub fn sync_data(&self) -> io::Result<()> {
        self.call(fs::File::sync_data)
    }

    /// Cuts the file to `size` bytes, or fills it up with zeros. The cursor stays where it is.
    ///
    /// # Errors
    ///
    /// std's: not open for writing, or larger than a file can be.
    #[track_caller]
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        self.call(move |file| file.set_len(size))
    }

    /// What is known about the file: its length, times, permissions.
    ///
    /// # Errors
    ///
    /// std's.
    #[track_caller]
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.call(fs::File::metadata)
    }

    /// Says who may do what with the file.
    ///
    /// # Errors
    ///
    /// std's: it belongs to another user.
    #[track_caller]
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.call(move |file| file.set_permissions(permissions))
    }

    /// Sets when the file was last read and changed.
    ///
    /// # Errors
    ///
    /// std's: it belongs to another user.
    #[track_caller]
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.call(move |file| file.set_times(times))
    }

    /// Sets when the file was last changed.
    ///
    /// # Errors
    ///
    /// std's: it belongs to another user.
    #[track_caller]
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.call(move |file| file.set_modified(time))
    }

    /// Takes the file's lock for this handle alone, and waits while another one has it: `std::fs::File::lock`.
    ///
    /// It is `flock(2)`: advisory, among all that lock the file in this way, in this process or another; it belongs
    /// to the open file, of which a [`try_clone`](File::try_clone) is another handle. It is given back by
    /// [`unlock`](File::unlock), or when the last handle is dropped. A handle that has a lock of the other kind gives
    /// that back first.
    ///
    /// # Errors
    ///
    /// The kernel's.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread. A task waits by trying again, after 1, 2, 4 ms and so on,
    /// up to 50 ms, by the clock of the run: a lock cannot be given up while `flock` blocks a thread for it. So the
    /// lock goes to the handle that tries first, and one that wants it alone may wait for long while others share it.
    /// Tasks of one run take turns better by a [`sync::Mutex`](crate::sync::Mutex).
    ///
    /// # Cancellation
    ///
    /// The lock is not taken. (One of the other kind that the handle had is given back already.)
    #[track_caller]
    pub fn lock(&self) -> io::Result<()> {
        wait_for(&self.0, libc::LOCK_EX)
    }

    /// As [`lock`](File::lock), but other handles may have the lock in this way too: `std::fs::File::lock_shared`.
    ///
    /// # Errors
    ///
    /// The kernel's.
    ///
    /// # Cancellation
    ///
    /// As [`lock`](File::lock).
    #[track_caller]
    pub fn lock_shared(&self) -> io::Result<()> {
        wait_for(&self.0, libc::LOCK_SH)
    }

    /// Takes the file's lock for this handle alone, if it is free. This never waits.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`], if another handle has it; else the kernel's.
    #[track_caller]
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        try_flock(&self.0, libc::LOCK_EX)
    }

    /// As [`try_lock`](File::try_lock), but other handles may have the lock in this way too.
    ///
    /// # Errors
    ///
    /// As [`try_lock`](File::try_lock).
    #[track_caller]
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        try_flock(&self.0, libc::LOCK_SH)
    }

    /// Gives back all locks that this handle has. This never waits.
    ///
    /// # Errors
    ///
    /// The kernel's.
    #[track_caller]
    pub fn unlock(&self) -> io::Result<()> {
        flock(&self.0, libc::LOCK_UN)
    }

    /// Whether it is a terminal: [`std::io::IsTerminal`], which other crates cannot implement.
    #[must_use]
    #[track_caller]
    pub fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }

    #[track_caller]
    fn call<T: Send + 'static>(&self, function: impl FnOnce(&fs::File) -> T + Send + 'static) -> T {
        let file = Arc::clone(&self.0);
        call(move || function(&file))
    }

    /// Reads into the beginning of `buf` through a buffer that the other thread may keep.
    #[track_caller]
    fn read_by(
        &self,
        buf: &mut [u8],
        read: impl FnOnce(&fs::File, &mut [u8]) -> io::Result<usize> + Send + 'static,
    ) -> io::Result<usize> {
        let mut bytes = vec![0; buf.len().min(MOST)];
        let bytes = self.call(move |file| {
            let n = read(file, &mut bytes)?;
            bytes.truncate(n);
            Ok::<_, io::Error>(bytes)
        })?;
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Reads all the rest. What was read before an error counts.
    #[track_caller]
    fn read_rest<B: Default + Send + 'static>(
        &self,
        read: impl FnOnce(&fs::File, &mut B) -> io::Result<usize> + Send + 'static,
    ) -> (B, io::Result<usize>) {
        self.call(|file| {
            let mut rest = B::default();
            let result = read(file, &mut rest);
            (rest, result)
        })
    }

    /// Writes the beginning of `buf`, from a copy that the other thread may keep.
    #[track_caller]
    fn write_by(
        &self,
        buf: &[u8],
        write: impl FnOnce(&fs::File, &[u8]) -> io::Result<usize> + Send + 'static,
    ) -> io::Result<usize> {
        self.write_bytes(buf[..buf.len().min(MOST)].to_vec(), write)
    }

    #[track_caller]
    fn write_bytes(
        &self,
        bytes: Vec<u8>,
        write: impl FnOnce(&fs::File, &[u8]) -> io::Result<usize> + Send + 'static,
    ) -> io::Result<usize> {
        self.call(move |file| write(file, &bytes))
    }
}

/// A copy of the first bytes of `bufs`, as many as one write moves.
fn first_of(bufs: &[IoSlice<'_>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(bufs.iter().map(|buf| buf.len()).sum::<usize>().min(MOST));
    for buf in bufs {
        let room = MOST - bytes.len();
        bytes.extend_from_slice(&buf[..buf.len().min(room)]);
        if bytes.len() == MOST {
            break;
        }
    }
    bytes
}

impl FileExt for File {
    #[track_caller]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_by(buf, move |file, buf| file.read_at(buf, offset))
    }

    #[track_caller]
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.write_by(buf, move |file, buf| file.write_at(buf, offset))
    }
}

/// The traits of both eras, for all that stands for a file.
macro_rules! read_write_seek {
    ($($file:ty),*) => {$(
        impl Read for $file {
            read_whole!(exact);

            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.read_by(buf, |mut file, buf| file.read(buf))
            }

            #[track_caller]
            fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
                let (mut rest, result) = self.read_rest(|mut file, rest| file.read_to_end(rest));
                buf.append(&mut rest);
                result
            }

            #[track_caller]
            fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
                let (rest, result) = self.read_rest(|mut file, rest| file.read_to_string(rest));
                buf.push_str(&rest);
                result
            }
        }

        impl Write for $file {
            write_whole!();

            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.write_by(buf, |mut file, buf| file.write(buf))
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.write_bytes(first_of(bufs), |mut file, buf| file.write(buf))
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Seek for $file {
            #[track_caller]
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                self.call(move |mut file| file.seek(to))
            }
        }

        impl AsyncRead for $file {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                Poll::Ready(self.read(buf))
            }
        }

        impl AsyncWrite for $file {
            fn poll_write(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Poll::Ready(self.write(buf))
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Poll::Ready(self.write_vectored(bufs))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }

        impl AsyncSeek for $file {
            fn poll_seek(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                to: SeekFrom,
            ) -> Poll<io::Result<u64>> {
                Poll::Ready(self.seek(to))
            }
        }
    )*};
}

read_write_seek!(File, &File);

impl From<fs::File> for File {
    fn from(file: fs::File) -> File {
        File(Arc::new(file))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
