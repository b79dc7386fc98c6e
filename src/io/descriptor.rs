//! Any descriptor that the operating system can watch: readiness, and calls that are tried again, in three eras.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use crate::kernel::reactor::Direction;
use crate::net::Readiness;
use crate::net::socket::Socket;
use crate::whole::{read_whole, write_whole};

/// A descriptor that tasks wait for: a pipe, a FIFO, a terminal, a serial line, a pidfd, an inotify or timer descriptor,
/// or the connection of a C library. (tokio's `AsyncFd`, gevent's `wait_read`, asyncio's `add_reader`.)
///
/// `T` owns the descriptor, or names it. A call on `T` that fails as `WouldBlock` is made again when the descriptor is
/// ready. Of std's pipes and of a [`File`] (a FIFO, a terminal, a serial line), this is `Read`, `Write`, `AsyncRead` and
/// `AsyncWrite`, as they are.
///
/// ```
/// use std::io::{Read, Write};
/// use wouldblock::{green, io::Descriptor};
///
/// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
/// let (reader, writer) = std::io::pipe()?;
/// let (mut reader, mut writer) = (Descriptor::new(reader)?, Descriptor::new(writer)?);
/// let sender = green::spawn(move || writer.write_all(b"hello"));
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?; // suspends the task; the thread goes on with others
/// assert_eq!(text, "hello");
/// sender.join().unwrap()
/// # }) }
/// ```
///
/// A library that has its own way to read, and names its descriptor: wait until it is ready, call the library, and have
/// an answer "not yet" be `WouldBlock`.
///
/// ```
/// use std::io::ErrorKind::WouldBlock;
/// use std::os::fd::AsRawFd;
/// use wouldblock::io::Descriptor;
/// # struct Connection(std::os::unix::net::UnixStream);
/// # impl Connection {
/// #     fn socket(&self) -> i32 { self.0.as_raw_fd() }
/// #     fn consume_input(&self) -> Option<u8> { Some(7) }
/// # }
///
/// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
/// # let connection = Connection(std::os::unix::net::UnixStream::pair()?.0);
/// let socket = Descriptor::keeping_mode(connection.socket());
/// let answer = socket.read_with(|_| connection.consume_input().ok_or(WouldBlock.into()))?;
/// assert_eq!(answer, 7);
/// # Ok(()) }) }
/// ```
///
/// # Errors
///
/// The operating system watches no regular files or folders: a call that would wait fails as `PermissionDenied`. (Theirs
/// never would: use [`fs`](crate::fs).)
///
/// # Threads
///
/// As a [socket](crate::net#threads), it may be sent to and shared with other threads where `T` may be.
pub struct Descriptor<T: AsRawFd> {
    inner: Socket<T>,
    /// It was in blocking mode before.
    was_blocking: bool,
}

impl<T: AsRawFd> Descriptor<T> {
    /// Puts the descriptor into non-blocking mode, and its duplicates with it, in other processes too: the operating
    /// system keeps the mode with what the descriptor stands for. (So this is not for standard input, which the shell
    /// shares: see [`Stdin`](super::Stdin).) It stays in that mode, unless [`into_inner`](Self::into_inner) ends this.
    ///
    /// # Errors
    ///
    /// The operating system's: the descriptor is not open.
    pub fn new(io: T) -> io::Result<Descriptor<T>> {
        let was_blocking = set_blocking(io.as_raw_fd(), false)?;
        Ok(Descriptor { inner: Socket::new(io), was_blocking })
    }

    /// Leaves the mode of the descriptor as it is: for one that another library reads and writes, or that is only waited
    /// for. Calls on it must not block when it is not ready: in blocking mode, they would keep the thread.
    pub fn keeping_mode(io: T) -> Descriptor<T> {
        Descriptor { inner: Socket::new(io), was_blocking: false }
    }

    /// What it was made of.
    pub fn get_ref(&self) -> &T {
        self.inner.std()
    }

    /// What it was made of, in the mode that it had before.
    ///
    /// # Errors
    ///
    /// The operating system's: the descriptor is not open any more.
    pub fn into_inner(self) -> io::Result<T> {
        let io = self.inner.into_std();
        if self.was_blocking {
            set_blocking(io.as_raw_fd(), true)?;
        }
        Ok(io)
    }

    /// The operation of waiting until there may be something to read, an end, or an error. It stays ready until a
    /// call by way of this meets `WouldBlock`, or `poll(2)` shows that nothing is left.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn readable(&self) -> Readiness<'_> {
        self.inner.ready(Direction::Read)
    }

    /// The operation of waiting until there may be room to write, or an error.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn writable(&self) -> Readiness<'_> {
        self.inner.ready(Direction::Write)
    }
}

/// A call by way of a closure, in each era.
macro_rules! with {
    ($(
        $direction:ident, $ready:ident, $what:literal: $green:ident, $try:ident, $operation:ident, $poll:ident;
    )*) => {
        impl<T: AsRawFd> Descriptor<T> {$(
            #[doc = concat!("Calls `call`, which ", $what, ", until it fails with something else than `WouldBlock`")]
            #[doc = concat!("or succeeds; waits until the descriptor is ", stringify!($ready), " before it calls it again.")]
            ///
            /// # Errors
            ///
            /// Those of `call`; `TimedOut` if a [`green::deadline`](crate::green::deadline) around this passes first; the
            /// operating system's, if it does not watch such a descriptor.
            ///
            /// # Blocking
            ///
            /// Suspends the task; outside of one, and [while a stack unwinds](crate::net#blocking), blocks the thread.
            /// `call` itself must not block.
            ///
            /// # Cancellation
            ///
            /// Between two calls: nothing is lost but what `call` has kept for the next.
            #[track_caller]
            pub fn $green<R>(&self, call: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
                self.inner.green(Direction::$direction, call)
            }

            #[doc = concat!("[`", stringify!($green), "`](Self::", stringify!($green), "), now or not at all.")]
            ///
            /// # Errors
            ///
            #[doc = concat!("Those of `call`. `WouldBlock`: wait for [`", stringify!($ready), "`](Self::", stringify!($ready), ").")]
            /// The same, without a call, when the task has had its share of this turn.
            pub fn $try<R>(&self, call: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
                self.inner.attempt(Direction::$direction, call)
            }

            #[doc = concat!("[`", stringify!($green), "`](Self::", stringify!($green), ") as an operation: `y.wait(..)`")]
            /// or `.await` it.
            ///
            /// # Errors
            ///
            #[doc = concat!("As [`", stringify!($green), "`](Self::", stringify!($green), "), and those of [`Readiness`].")]
            ///
            /// # Cancellation
            ///
            /// Between two calls: nothing is lost but what `call` has kept for the next.
            pub fn $operation<R>(
                &self,
                call: impl FnMut(&T) -> io::Result<R> + Unpin,
            ) -> impl Future<Output = io::Result<R>> + Unpin {
                self.inner.operation(Direction::$direction, call)
            }

            #[doc = concat!("[`", stringify!($green), "`](Self::", stringify!($green), ") for a `poll_` method of the")]
            /// caller's: `Pending`, `cx` is woken when it is worth another call. Of several wakers, the last is woken.
            ///
            /// # Errors
            ///
            /// Those of `call`, and those of [`Readiness`].
            pub fn $poll<R>(
                &self,
                cx: &Context<'_>,
                call: impl FnMut(&T) -> io::Result<R>,
            ) -> Poll<io::Result<R>> {
                self.inner.poll(cx, Direction::$direction, call)
            }
        )*}
    };
}

with! {
    Read, readable, "reads": read_with, try_read_with, reading_with, poll_read_with;
    Write, writable, "writes": write_with, try_write_with, writing_with, poll_write_with;
}

/// The traits of streams of bytes, for a type and for references to it. (For named types: an impl for each `T` of which
/// `&T` is `Read` would have the compiler look for ever in code that is generic over `&S: Read`.)
macro_rules! reads {
    ($($Self:ty),*) => {$(
        /// # Cancellation
        ///
        /// A read takes bytes and gives them, or takes none.
        impl Read for $Self {
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.read_with(|mut io| io.read(buf))
            }

            read_whole!();
        }

        impl AsyncRead for $Self {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_read_with(cx, |mut io| io.read(buf))
            }
        }
    )*};
}

macro_rules! writes {
    ($($Self:ty),*) => {$(
        /// # Cancellation
        ///
        /// Nothing is written by a call that has waited.
        impl Write for $Self {
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.write_with(|mut io| io.write(buf))
            }

            write_whole!();

            #[track_caller]
            fn flush(&mut self) -> io::Result<()> {
                self.write_with(|mut io| io.flush())
            }
        }

        /// Closing it only flushes it: the descriptor is closed when this is dropped.
        impl AsyncWrite for $Self {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_with(cx, |mut io| io.write(buf))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_write_with(cx, |mut io| io.flush())
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flush(cx)
            }
        }
    )*};
}

reads!(Descriptor<io::PipeReader>, &Descriptor<io::PipeReader>);
reads!(Descriptor<File>, &Descriptor<File>);
writes!(Descriptor<io::PipeWriter>, &Descriptor<io::PipeWriter>);
writes!(Descriptor<File>, &Descriptor<File>);

impl<T: AsRawFd + AsFd> AsFd for Descriptor<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsRawFd> AsRawFd for Descriptor<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.get_ref().as_raw_fd()
    }
}

/// For a child process, in the mode that it had before.
///
/// # Panics
///
/// The descriptor is not open any more.
impl<T: AsRawFd + Into<Stdio>> From<Descriptor<T>> for Stdio {
    fn from(descriptor: Descriptor<T>) -> Stdio {
        descriptor.into_inner().expect("an open descriptor takes a mode").into()
    }
}

impl<T: AsRawFd + fmt::Debug> fmt::Debug for Descriptor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Descriptor").field(self.get_ref()).finish()
    }
}

/// Sets the mode. Returns whether it was blocking before.
fn set_blocking(fd: RawFd, blocking: bool) -> io::Result<bool> {
    // SAFETY: reads a number of the operating system's, which refuses what is no open descriptor.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags == -1 {
        return Err(io::Error::last_os_error());
    }
    let new = if blocking { flags & !libc::O_NONBLOCK } else { flags | libc::O_NONBLOCK };
    // SAFETY: as above, and a number is set.
    if new != flags && unsafe { libc::fcntl(fd, libc::F_SETFL, new) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(flags & libc::O_NONBLOCK == 0)
}
