//! Listeners, TCP's and Unix's: accepting in three eras, and at the descriptor limit.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use super::pauses::Pauses;
use crate::kernel::edge::warn;

/// The pauses of accepting while no descriptor is left: no event shows that one has been closed, least of all in
/// another process. The connection stays in the backlog.
#[derive(Debug)]
pub(super) struct AtLimit(Pauses);

/// The limit was met, and not since has a connection been accepted at the first try.
static WARNED: AtomicBool = AtomicBool::new(false);

impl AtLimit {
    pub(super) fn new() -> AtLimit {
        AtLimit(Pauses::new())
    }

    /// Returns the pauses, the next of which is to come, if `error` is that of the limit. It warns once, until the
    /// limit is no longer met.
    ///
    /// # Errors
    ///
    /// The error itself, if it is another.
    pub(super) fn pauses(
        &mut self,
        error: io::Error,
        listener: &dyn fmt::Debug,
    ) -> io::Result<&mut Pauses> {
        if !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            return Err(error);
        }
        if !WARNED.swap(true, Ordering::Relaxed) {
            warn::warning(format_args!(
                "{listener:?} cannot accept: {error}. It waits until descriptors are closed. Accept \
                 fewer connections at once, or raise the limit (`ulimit -n`)"
            ));
        }
        Ok(&mut self.0)
    }

    /// Ready if no pause is under way.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_over(cx)
    }

    /// A connection was accepted.
    pub(super) fn passed(&self) {
        if self.0.is_unused() && WARNED.load(Ordering::Relaxed) {
            WARNED.store(false, Ordering::Relaxed);
        }
    }
}

/// Connections that may wait to be accepted, unless the operating system's limit (`somaxconn`) is lower. With std's
/// 128, the 129th client that connects at once waits for a second.
const BACKLOG: libc::c_int = 4096;

/// A socket that listens at `address`, in non-blocking mode.
pub(super) fn listen_at(address: &socket2::SockAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(address.domain(), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if !address.is_unix() {
        socket.set_reuse_address(true)?; // As std does: so that a server can be started again at once.
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Calls `accept` again where a connection was reset before it was accepted: the caller need not know of that.
pub(super) fn unless_aborted<R>(mut accept: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match accept() {
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            result => return result,
        }
    }
}

/// What a listener has besides what every [`socket`](super::common::socket) has.
macro_rules! listener {
    ($Listener:ident, $std:ty, $Stream:ident, $Address:ty) => {
        impl $Listener {
            /// The next connection, and where it comes from.
            ///
            /// # Errors
            ///
            /// The operating system's. At the limit on open descriptors it is none (std's fails): a warning is
            /// logged, and accepting is tried again after 1 ms, 2, 4, .. at most every 100 ms, until there
            /// is a descriptor. `TimedOut` if a [`green::deadline`](crate::green::deadline) around this passes first.
            ///
            /// # Blocking
            ///
            /// Suspends the task; outside of one, and [while a stack unwinds](crate::net#blocking), blocks the
            /// thread.
            ///
            /// # Cancellation
            ///
            /// Nothing is lost: the connection stays in the listener's queue.
            #[track_caller]
            pub fn accept(&self) -> io::Result<($Stream, $Address)> {
                let mut limit = AtLimit::new();
                loop {
                    match self.socket.green(Direction::Read, accept) {
                        Err(e) if !self.socket.is_nonblocking() => {
                            pause(limit.pauses(e, self)?.next())?;
                        }
                        result => return result.inspect(|_| limit.passed()),
                    }
                }
            }

            /// The next connection, if there is one by now.
            ///
            /// # Errors
            ///
            /// `WouldBlock`, when there is none: wait for [`readable`](Self::readable). The operating system's,
            /// the limit on open descriptors among them.
            pub fn try_accept(&self) -> io::Result<($Stream, $Address)> {
                self.socket.attempt(Direction::Read, accept)
            }

            /// The operation of accepting: `y.wait(..)` or `.await` it.
            ///
            /// # Errors
            ///
            /// As [`accept`](Self::accept), and those of [`Readiness`].
            ///
            /// # Cancellation
            ///
            /// Nothing is lost: the connection stays in the listener's queue.
            pub fn accepting(&self) -> Accepting<'_> {
                let limit = AtLimit::new();
                Accepting { listener: self, readable: self.readable(), limit }
            }

            /// The connections, one after the other, without end: [`accept`](Self::accept) as an iterator.
            pub fn incoming(&self) -> Incoming<'_> {
                Incoming { listener: self }
            }
        }

        fn accept(listener: &$std) -> io::Result<($Stream, $Address)> {
            let (stream, address) = unless_aborted(|| listener.accept())?;
            Ok(($Stream::from_std(stream)?, address))
        }

        impl<'a> IntoIterator for &'a $Listener {
            type Item = io::Result<$Stream>;
            type IntoIter = Incoming<'a>;

            fn into_iter(self) -> Incoming<'a> {
                self.incoming()
            }
        }

        #[doc = concat!("See [`", stringify!($Listener), "::accepting`].")]
        #[derive(Debug)]
        #[must_use = "an operation does nothing until it is waited for"]
        pub struct Accepting<'a> {
            listener: &'a $Listener,
            readable: Readiness<'a>,
            limit: AtLimit,
        }

        impl Future for Accepting<'_> {
            type Output = io::Result<($Stream, $Address)>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                loop {
                    ready!(self.limit.poll_over(cx));
                    match self.listener.try_accept() {
                        Err(e) if would_block(&e) => {
                            ready!(Pin::new(&mut self.readable).poll(cx))?;
                        }
                        Err(e) => {
                            let listener = self.listener;
                            self.limit.pauses(e, listener)?.begin()?;
                        }
                        accepted => {
                            self.limit.passed();
                            return Poll::Ready(accepted);
                        }
                    }
                }
            }
        }

        #[doc = concat!("See [`", stringify!($Listener), "::incoming`].")]
        #[derive(Debug)]
        #[must_use = "iterators are lazy and do nothing unless consumed"]
        pub struct Incoming<'a> {
            listener: &'a $Listener,
        }

        impl Iterator for Incoming<'_> {
            type Item = io::Result<$Stream>;

            #[track_caller]
            fn next(&mut self) -> Option<io::Result<$Stream>> {
                Some(self.listener.accept().map(|(stream, _)| stream))
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (usize::MAX, None)
            }
        }
    };
}

pub(super) use listener;
