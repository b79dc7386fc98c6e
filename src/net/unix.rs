//! Sockets between processes of one machine: `UnixStream`, `UnixListener`, `UnixDatagram`.
//!
//! As [`std::os::unix::net`], for all three eras.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

pub use std::os::unix::net::SocketAddr;

use super::addr::cannot;
use super::common::{limits, shutdown, socket, stds, three_eras};
use super::datagram::datagram;
use super::link::Readiness;
use super::listener::{AtLimit, listen_at, listener, unless_aborted};
use super::pauses::{Pauses, pause, pausing};
use super::socket::Socket;
use super::stream::{receive, send, send_vectored, stream, total};
use super::turn::{can_suspend, failed, would_block};
use crate::kernel::door;
use crate::kernel::reactor::Direction;
use crate::kernel::wait;
use crate::whole::{read_whole, write_whole};

/// A connection over a Unix socket: [`std::os::unix::net::UnixStream`] that suspends the task where that
/// one blocks the thread.
///
/// ```
/// use std::io::{self, Read, Write};
/// use wouldblock::{green, net::unix::UnixStream};
///
/// wouldblock::run(|| {
///     let (mut ours, mut theirs) = UnixStream::pair()?;
///     let asked = green::spawn(move || {
///         let mut text = [0; 4];
///         theirs.read_exact(&mut text)?;
///         theirs.write_all(&text)
///     });
///     ours.write_all(b"ping")?;
///     let mut answer = String::new();
///     ours.read_to_string(&mut answer)?;
///     assert_eq!(answer, "ping");
///     asked.join().unwrap()
/// })
/// # .unwrap();
/// ```
///
/// # Cancellation
///
/// As with [`TcpStream`](super::TcpStream): a read or write that is cancelled has moved nothing.
pub struct UnixStream {
    socket: Socket<net::UnixStream>,
}

socket!(UnixStream, net::UnixStream, SocketAddr);
stream!(UnixStream, SocketAddr, short_read_drains: false);

impl UnixStream {
    /// Connects to the socket named `path`.
    ///
    /// The operating system makes a connection at once, or fails since the listener's backlog is full, and never
    /// reports that there is room again. So it is tried again then: after 1 ms, 2, 4, .. and every 100 ms.
    ///
    /// # Errors
    ///
    /// The operating system's: no such path, no socket listens there. The text names the address; `raw_os_error` is
    /// `None`. In a task, `TimedOut` if a [`green::deadline`](crate::green::deadline) around this passes first.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, and [while a stack unwinds](super#blocking), blocks the thread.
    ///
    /// # Cancellation
    ///
    /// The attempt is given up.
    #[track_caller]
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// As [`connect`](UnixStream::connect), to an address, which may be an abstract one.
    ///
    /// # Errors
    ///
    /// As [`connect`](UnixStream::connect).
    ///
    /// # Blocking
    ///
    /// As [`connect`](UnixStream::connect).
    ///
    /// # Cancellation
    ///
    /// The attempt is given up.
    #[track_caller]
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        if can_suspend() {
            return door::wait(UnixStream::connecting_addr(address));
        }
        let connected = net::UnixStream::connect_addr(address);
        UnixStream::from_std(connected.map_err(|e| named("connect to", address, e))?)
    }

    /// The operation of [`connect`](UnixStream::connect): `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// As [`connect`](UnixStream::connect).
    ///
    /// # Cancellation
    ///
    /// The attempt is given up.
    pub fn connecting<P: AsRef<Path>>(path: P) -> Connecting {
        Connecting::to(SocketAddr::from_pathname(path))
    }

    /// The operation of [`connect_addr`](UnixStream::connect_addr): `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// As [`connect`](UnixStream::connect).
    ///
    /// # Cancellation
    ///
    /// The attempt is given up.
    pub fn connecting_addr(address: &SocketAddr) -> Connecting {
        Connecting::to(Ok(address.clone()))
    }

    /// Two sockets without names, connected to each other.
    ///
    /// # Errors
    ///
    /// The operating system's: too many descriptors.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = net::UnixStream::pair()?;
        Ok((UnixStream::from_std(one)?, UnixStream::from_std(other)?))
    }
}

/// See [`UnixStream::connecting`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Connecting {
    /// `None`: it is done.
    address: Option<io::Result<SocketAddr>>,
    socket: Option<socket2::Socket>,
    pauses: Pauses,
}

impl Connecting {
    fn to(address: io::Result<SocketAddr>) -> Connecting {
        Connecting { address: Some(address), socket: None, pauses: Pauses::new() }
    }

    /// Tries once.
    fn attempt(&mut self, address: &SocketAddr) -> io::Result<()> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => {
                let new = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
                new.set_nonblocking(true)?;
                none.insert(new)
            }
        };
        socket.connect(&raw(address)?)
    }
}

impl Future for Connecting {
    type Output = io::Result<UnixStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            ready!(this.pauses.poll_over(cx));
            ready!(wait::check_budget(cx));
            let address = this.address.take().expect("polled until it is ready");
            let address = address.inspect_err(|_| wait::spend())?;
            let connected = match this.attempt(&address) {
                Err(e) if would_block(&e) => {
                    this.pauses.begin().map_err(|e| named("connect to", &address, e))?;
                    this.address = Some(Ok(address));
                    continue;
                }
                connected => connected.map_err(|e| named("connect to", &address, e)),
            };
            wait::spend();
            let socket = this.socket.take();
            return Poll::Ready(connected.map(|()| {
                let socket = OwnedFd::from(socket.expect("it has connected"));
                UnixStream { socket: Socket::new(socket.into()) }
            }));
        }
    }
}

/// An error of the same kind, which names what was attempted with which address.
fn named(what: &str, address: &SocketAddr, error: io::Error) -> io::Error {
    match address.as_pathname() {
        Some(path) => cannot(what, format_args!("{path:?}"), &error),
        None => cannot(what, format_args!("the address {address:?}"), &error),
    }
}

/// The address as socket2 has it, where an abstract name begins with a zero.
fn raw(address: &SocketAddr) -> io::Result<socket2::SockAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(address) {
        use std::os::unix::ffi::OsStrExt;
        return socket2::SockAddr::unix(std::ffi::OsStr::from_bytes(&[b"\0", name].concat()));
    }
    // Without a name it is no address: the operating system refuses it.
    socket2::SockAddr::unix(address.as_pathname().unwrap_or(Path::new("")))
}

/// A socket that connections come in by: [`std::os::unix::net::UnixListener`] that suspends the task where
/// that one blocks the thread.
///
/// Several tasks may accept from one listener; connections go to them in the order in which they came to
/// wait.
pub struct UnixListener {
    socket: Socket<net::UnixListener>,
}

socket!(UnixListener, net::UnixListener, SocketAddr);
listener!(UnixListener, net::UnixListener, UnixStream, SocketAddr);

impl UnixListener {
    /// Listens at `path`, where it makes a socket file. The file stays when the listener is closed. Up to 4096
    /// connections may wait to be accepted, or as many as the operating system allows.
    ///
    /// # Errors
    ///
    /// The operating system's: there is something at `path` already, or it cannot be made. The text names the address;
    /// `raw_os_error` is `None`.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Listens at an address, which may be an abstract one.
    ///
    /// # Errors
    ///
    /// As [`bind`](UnixListener::bind).
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        let listening = raw(address).and_then(|address| listen_at(&address));
        let socket = OwnedFd::from(listening.map_err(|e| named("bind", address, e))?);
        Ok(UnixListener { socket: Socket::new(socket.into()) })
    }
}

/// A datagram socket: [`std::os::unix::net::UnixDatagram`] that suspends the task where that one blocks the
/// thread.
///
/// ```
/// use wouldblock::{green, net::unix::UnixDatagram};
///
/// wouldblock::run(|| {
///     let (ours, theirs) = UnixDatagram::pair()?;
///     let sender = green::spawn(move || theirs.send(b"hello"));
///     let mut buf = [0; 64];
///     assert_eq!(ours.recv(&mut buf)?, 5);
///     sender.join().unwrap()
/// })
/// # .unwrap();
/// ```
///
/// # Cancellation
///
/// Nothing is lost: a datagram is received and given, or stays; it is sent whole, or not.
pub struct UnixDatagram {
    socket: Socket<net::UnixDatagram>,
}

socket!(UnixDatagram, net::UnixDatagram, SocketAddr);
datagram!(UnixDatagram, SocketAddr);

impl UnixDatagram {
    /// A socket named `path`. The file stays when the socket is closed.
    ///
    /// # Errors
    ///
    /// The operating system's: there is something at `path` already, or it cannot be made. The text names the address;
    /// `raw_os_error` is `None`.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// A socket at an address, which may be an abstract one.
    ///
    /// # Errors
    ///
    /// As [`bind`](UnixDatagram::bind).
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        let bound = net::UnixDatagram::bind_addr(address);
        UnixDatagram::from_std(bound.map_err(|e| named("bind", address, e))?)
    }

    /// A socket without a name.
    ///
    /// # Errors
    ///
    /// The operating system's: too many descriptors.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::unbound()?)
    }

    /// Two sockets without names, connected to each other.
    ///
    /// # Errors
    ///
    /// The operating system's: too many descriptors.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(one)?, UnixDatagram::from_std(other)?))
    }

    /// Sets the address that [`send`](UnixDatagram::send) sends to, and from which alone datagrams are received. Never
    /// waits.
    ///
    /// # Errors
    ///
    /// The operating system's: no such path, no socket receives there. The text names the address; `raw_os_error` is
    /// `None`.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// As [`connect`](UnixDatagram::connect), to an address, which may be an abstract one.
    ///
    /// # Errors
    ///
    /// As [`connect`](UnixDatagram::connect).
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.socket.std().connect_addr(address).map_err(|e| named("connect to", address, e))
    }

    /// Sends a datagram to the socket named `path`; it is sent whole or not at all.
    ///
    /// When the receiver's queue is full, the operating system does not report when there is room (and reports each
    /// failure as room). So it is tried again then: after 1 ms, 2, 4, .. and every 100 ms.
    /// [`send`](UnixDatagram::send), to the connected address, needs no such pauses.
    ///
    /// # Errors
    ///
    /// The socket's: no such path, no socket receives there; `TimedOut` if its time limit passes first.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, and [while a stack unwinds](super#blocking), blocks the thread.
    ///
    /// # Cancellation
    ///
    /// Nothing is sent.
    #[track_caller]
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_addr(buf, &SocketAddr::from_pathname(path)?)
    }

    /// As [`send_to`](UnixDatagram::send_to), to an address, which may be an abstract one.
    ///
    /// # Errors
    ///
    /// As [`send_to`](UnixDatagram::send_to).
    ///
    /// # Blocking
    ///
    /// As [`send_to`](UnixDatagram::send_to).
    ///
    /// # Cancellation
    ///
    /// Nothing is sent.
    #[track_caller]
    pub fn send_to_addr(&self, buf: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.socket.green_with_pauses(Direction::Write, |s| s.send_to_addr(buf, address))
    }

    /// As [`send_to`](UnixDatagram::send_to), without a wait.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, when it would have to wait: try again after a while, since
    /// [`writable`](UnixDatagram::writable) does not show the receiver's queue. The same when the
    /// budget of the task for this turn is used up.
    pub fn try_send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.try_send_to_addr(buf, &SocketAddr::from_pathname(path)?)
    }

    /// As [`send_to_addr`](UnixDatagram::send_to_addr), without a wait.
    ///
    /// # Errors
    ///
    /// As [`try_send_to`](UnixDatagram::try_send_to).
    pub fn try_send_to_addr(&self, buf: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.socket.attempt(Direction::Write, |s| s.send_to_addr(buf, address))
    }

    /// The operation of [`send_to`](UnixDatagram::send_to): `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// The socket's.
    ///
    /// # Cancellation
    ///
    /// Nothing is sent.
    pub fn sending_to<'a, P: AsRef<Path>>(
        &'a self,
        buf: &'a [u8],
        path: P,
    ) -> impl Future<Output = io::Result<usize>> + use<'a, P> {
        let address = SocketAddr::from_pathname(path);
        async {
            match address {
                Ok(address) => self.sending_to_addr(buf, &address).await,
                Err(e) => failed(e).await,
            }
        }
    }

    /// The operation of [`send_to_addr`](UnixDatagram::send_to_addr): `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// The socket's.
    ///
    /// # Cancellation
    ///
    /// Nothing is sent.
    pub async fn sending_to_addr(&self, buf: &[u8], address: &SocketAddr) -> io::Result<usize> {
        let mut pauses = Pauses::new();
        loop {
            poll_fn(|cx| wait::check_budget(cx)).await;
            match self.try_send_to_addr(buf, address) {
                Err(e) if would_block(&e) => pausing(pauses.next())?.await,
                result => return result,
            }
        }
    }

    shutdown!();
}
