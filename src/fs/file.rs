//! `File` and `OpenOptions`.

use std::fmt;
use std::fs::{self, FileTimes, Metadata, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};

use super::call::{at, call};

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
/// A call that was under way goes on to its end on its thread, and its result is dropped: a read has
/// moved the cursor and its bytes are lost; whether a write, or any other change, has happened is unknown.
/// Whoever goes on with the file seeks first, or uses `read_at` and `write_at` of
/// [`FileExt`], which have no cursor.
///
/// # Blocking
///
/// Every call suspends the task, except for `try_clone` and the conversions; outside of a task it blocks the
/// thread. Dropping the file closes it, on this thread, as soon as no call is under way.
pub struct File(Arc<fs::File>);

impl File {
    /// Opens a file for reading: [`std::fs::File::open`].
    ///
    /// # Errors
    ///
    /// std's: it is not there, or may not be read.
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<File> {
        at(path, fs::File::open).map(File::from)
    }

    /// Opens a file for writing, and makes or empties it: [`std::fs::File::create`].
    ///
    /// # Errors
    ///
    /// std's: its folder is not there, or it may not be written.
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<File> {
        at(path, fs::File::create).map(File::from)
    }

    /// Makes a file that was not there, for reading and writing: [`std::fs::File::create_new`].
    ///
    /// # Errors
    ///
    /// std's; `AlreadyExists` if it was there.
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        at(path, fs::File::create_new).map(File::from)
    }

    /// How else to open a file.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Makes it std's; its calls block the thread.
    ///
    /// # Errors
    ///
    /// The kernel's, too many descriptors: while a call that was given up is still under way, that call has
    /// the descriptor and the caller gets a duplicate.
    pub fn into_std(self) -> io::Result<fs::File> {
        Arc::try_unwrap(self.0).or_else(|shared| shared.try_clone())
    }

    /// A second handle to the same open file, with the same cursor.
    ///
    /// # Errors
    ///
    /// The kernel's: too many descriptors.
    pub fn try_clone(&self) -> io::Result<File> {
        self.0.try_clone().map(File::from)
    }

    /// Writes what the kernel holds of the file, and what is known about it, to the disk.
    ///
    /// # Errors
    ///
    /// The disk's, perhaps of earlier writes.
    pub fn sync_all(&self) -> io::Result<()> {
        self.call(fs::File::sync_all)
    }

    /// As [`sync_all`](File::sync_all), without what is not needed to read the content again (its times).
    ///
    /// # Errors
    ///
    /// The disk's, perhaps of earlier writes.
    pub fn sync_data(&self) -> io::Result<()> {
        self.call(fs::File::sync_data)
    }

    /// Cuts the file to `size` bytes, or fills it up with zeros. The cursor stays where it is.
    ///
    /// # Errors
    ///
    /// std's: not open for writing, or larger than a file can be.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        self.call(move |file| file.set_len(size))
    }

    /// What is known about the file: its length, times, permissions.
    ///
    /// # Errors
    ///
    /// std's.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.call(fs::File::metadata)
    }

    /// Says who may do what with the file.
    ///
    /// # Errors
    ///
    /// std's: it belongs to somebody else.
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.call(move |file| file.set_permissions(permissions))
    }

    /// Sets when the file was last read and changed.
    ///
    /// # Errors
    ///
    /// std's: it belongs to somebody else.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.call(move |file| file.set_times(times))
    }

    /// Sets when the file was last changed.
    ///
    /// # Errors
    ///
    /// std's: it belongs to somebody else.
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.call(move |file| file.set_modified(time))
    }

    fn call<T: Send + 'static>(&self, function: impl FnOnce(&fs::File) -> T + Send + 'static) -> T {
        let file = Arc::clone(&self.0);
        call(move || function(&file))
    }

    /// Reads into the beginning of `buf` through a buffer that the other thread may keep.
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
    fn write_by(
        &self,
        buf: &[u8],
        write: impl FnOnce(&fs::File, &[u8]) -> io::Result<usize> + Send + 'static,
    ) -> io::Result<usize> {
        let bytes = buf[..buf.len().min(MOST)].to_vec();
        self.call(move |file| write(file, &bytes))
    }
}

impl FileExt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_by(buf, move |file, buf| file.read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.write_by(buf, move |file, buf| file.write_at(buf, offset))
    }
}

/// The traits of both eras, for all that stands for a file.
macro_rules! read_write_seek {
    ($($file:ty),*) => {$(
        impl Read for $file {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.read_by(buf, |mut file, buf| file.read(buf))
            }

            fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
                let (mut rest, result) = self.read_rest(|mut file, rest| file.read_to_end(rest));
                buf.append(&mut rest);
                result
            }

            fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
                let (rest, result) = self.read_rest(|mut file, rest| file.read_to_string(rest));
                buf.push_str(&rest);
                result
            }
        }

        impl Write for $file {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.write_by(buf, |mut file, buf| file.write(buf))
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Seek for $file {
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

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How to open a file: [`std::fs::OpenOptions`].
///
/// `mode` and `custom_flags` are in [`OpenOptionsExt`], as with std's.
#[derive(Clone, Debug)]
pub struct OpenOptions(fs::OpenOptions);

impl OpenOptions {
    /// Options that are all off.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std's has none either")]
    pub fn new() -> OpenOptions {
        OpenOptions(fs::OpenOptions::new())
    }

    /// For reading.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.0.read(read);
        self
    }

    /// For writing, over what is there.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.0.write(write);
        self
    }

    /// For writing, each write at the end.
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.0.append(append);
        self
    }

    /// Empties the file.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.0.truncate(truncate);
        self
    }

    /// Makes the file if it is not there.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.0.create(create);
        self
    }

    /// Makes the file, which must not be there.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.0.create_new(create_new);
        self
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    ///
    /// std's; `InvalidInput` for options that contradict each other.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread. A FIFO is open when its other end is.
    ///
    /// # Cancellation
    ///
    /// The file may have been made or emptied.
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let options = self.0.clone();
        at(path, move |path| options.open(path)).map(File::from)
    }
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.0.mode(mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.0.custom_flags(flags);
        self
    }
}

impl From<fs::OpenOptions> for OpenOptions {
    fn from(options: fs::OpenOptions) -> OpenOptions {
        OpenOptions(options)
    }
}
