//! Streams of bytes, TCP's and Unix's: reading and writing in three eras.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use socket2::SockRef;

use crate::kernel::edge::notes;

/// A write to a peer that has gone is an error and never the signal `SIGPIPE`, also in a program that does not ignore
/// that signal.
#[cfg(not(target_vendor = "apple"))]
const FLAGS: libc::c_int = libc::MSG_NOSIGNAL;
/// On Apple's systems, std sets this when it makes a socket.
#[cfg(target_vendor = "apple")]
const FLAGS: libc::c_int = 0;

/// Slices that the operating system takes in one call (`IOV_MAX`). Of more, the first so many are read into or written,
/// as std does.
const MOST_SLICES: usize = 1024;

pub(super) fn send(stream: &impl AsFd, buf: &[u8]) -> io::Result<usize> {
    SockRef::from(stream).send_with_flags(buf, FLAGS).inspect(|n| notes::writes(*n))
}

pub(super) fn send_vectored(stream: &impl AsFd, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let first = &bufs[..bufs.len().min(MOST_SLICES)];
    SockRef::from(stream).send_vectored_with_flags(first, FLAGS).inspect(|n| notes::writes(*n))
}

pub(super) fn receive(stream: &impl AsFd, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    SockRef::from(stream).recv(buf)
}

/// How many bytes a read into `bufs` takes at most.
pub(super) fn total(bufs: &[IoSliceMut<'_>]) -> usize {
    bufs.iter().take(MOST_SLICES).map(|buf| buf.len()).sum()
}

/// What a stream has besides what every [`socket`](super::common::socket) has. `$drains`: a short read has
/// taken all there was. (That of a Unix stream may have stopped where a descriptor was sent along.)
macro_rules! stream {
    ($Stream:ident, $Address:ty, short_read_drains: $drains:literal) => {
        impl $Stream {
            limits!($Address);

            /// Records the result of a read into a buffer of `len` bytes.
            fn note(&self, read: io::Result<usize>, len: usize) -> io::Result<usize> {
                if let Ok(n) = read {
                    $crate::kernel::edge::notes::reads(n);
                    if $drains {
                        self.socket.took(n, len);
                    }
                }
                read
            }

            /// Reads what is there, up to the length of `buf`, into its beginning; 0 is the end of the
            /// stream.
            ///
            /// # Errors
            ///
            /// `WouldBlock`, when nothing is there yet: wait for [`readable`](Self::readable). The same when the budget
            /// of the task for this turn is used up; the wait then only gives the other tasks a turn. In a task, the
            /// first try after a read of TCP that did not fill its buffer fails so without a system call: the wait then
            /// ends if something has come since.
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                let read = self.socket.attempt(Direction::Read, |mut s| s.read(buf));
                self.note(read, buf.len())
            }

            /// As [`try_read`](Self::try_read), into several buffers, one after the other.
            ///
            /// # Errors
            ///
            /// As [`try_read`](Self::try_read).
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                let read = self.socket.attempt(Direction::Read, |mut s| s.read_vectored(bufs));
                self.note(read, total(bufs))
            }

            /// Writes what there is room for from the beginning of `buf`, and returns how many bytes that was.
            ///
            /// # Errors
            ///
            /// `WouldBlock`, when there is no room: wait for [`writable`](Self::writable). The same when the budget of
            /// the task for this turn is used up; the wait then only gives the other tasks a turn.
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.socket.attempt(Direction::Write, |s| send(s, buf))
            }

            /// As [`try_write`](Self::try_write), from several buffers, one after the other.
            ///
            /// # Errors
            ///
            /// As [`try_write`](Self::try_write).
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.socket.attempt(Direction::Write, |s| send_vectored(s, bufs))
            }

            /// Reads as [`try_read`](Self::try_read) does; `Pending`, `cx` is woken when it is worth
            /// another try. Over this and [`poll_write`](Self::poll_write), any runtime's I/O traits are a
            /// few lines.
            ///
            /// As with every `poll_read`, one reader at a time: of several with wakers of their own, the
            /// last is woken. Several tasks that read one stream wait for [`readable`](Self::readable).
            ///
            /// # Errors
            ///
            /// Those of the connection; never `WouldBlock`. `Unsupported`, if it is not ready and this thread has
            /// no scheduler: the future that polls it was moved to another thread or executor.
            pub fn poll_read(
                &self,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let read = self.socket.poll(cx, Direction::Read, |mut s| s.read(buf));
                read.map(|read| self.note(read, buf.len()))
            }

            /// As [`poll_read`](Self::poll_read), into memory that need not be initialised: the first so
            /// many bytes of `buf` are, afterwards. For traits that read into such (tokio's, hyper's).
            ///
            /// # Errors
            ///
            /// As [`poll_read`](Self::poll_read).
            pub fn poll_read_uninit(
                &self,
                cx: &mut Context<'_>,
                buf: &mut [MaybeUninit<u8>],
            ) -> Poll<io::Result<usize>> {
                let read = self.socket.poll(cx, Direction::Read, |s| receive(s, buf));
                read.map(|read| self.note(read, buf.len()))
            }

            /// Writes as [`try_write`](Self::try_write) does; `Pending`, `cx` is woken when it is worth
            /// another try.
            ///
            /// # Errors
            ///
            /// As [`poll_read`](Self::poll_read).
            pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.socket.poll(cx, Direction::Write, |s| send(s, buf))
            }

            shutdown!();
        }

        stream!(@io $Stream, $Stream);
        stream!(@io $Stream, &$Stream);
    };

    (@io $Stream:ident, $Self:ty) => {
        impl Read for $Self {
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let read = self.socket.green(Direction::Read, |mut s| s.read(buf));
                self.note(read, buf.len())
            }

            #[track_caller]
            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                let read = self.socket.green(Direction::Read, |mut s| s.read_vectored(bufs));
                self.note(read, total(bufs))
            }

            read_whole!();
        }

        impl Write for $Self {
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.socket.green(Direction::Write, |s| send(s, buf))
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.socket.green(Direction::Write, |s| send_vectored(s, bufs))
            }

            write_whole!();

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl AsyncRead for $Self {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                $Stream::poll_read(&self, cx, buf)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                let read = self.socket.poll(cx, Direction::Read, |mut s| s.read_vectored(bufs));
                read.map(|read| self.note(read, total(bufs)))
            }
        }

        impl AsyncWrite for $Self {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                $Stream::poll_write(&self, cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.socket.poll(cx, Direction::Write, |s| send_vectored(s, bufs))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                wait::poll_within_budget(cx, |_| Poll::Ready(Ok(())))
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                wait::poll_within_budget(cx, |_| Poll::Ready(self.shutdown(Shutdown::Write)))
            }
        }
    };
}

pub(super) use stream;
