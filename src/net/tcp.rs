//! TCP: `TcpStream` and `TcpListener`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

use super::addr::{ToSocketAddrs, cannot, first_of, resolve};
use super::common::{limits, shutdown, socket, stds, three_eras};
use super::connect::{self, Connect};
use super::link::Readiness;
use super::listener::{AtLimit, listen_at, listener, unless_aborted};
use super::pauses::pause;
use super::socket::Socket;
use super::stream::{receive, send, send_vectored, stream, total};
use super::turn::{can_suspend, would_block};
use crate::deadline;
use crate::kernel::door;
use crate::kernel::reactor::Direction;
use crate::kernel::wait;
use crate::op::timeout;
use crate::whole::{read_whole, write_whole};

/// A TCP connection: [`std::net::TcpStream`] that suspends the task where that one blocks the thread.
///
/// Reading and writing, in the three eras:
///
/// ```
/// use std::io;
/// use wouldblock::net::{TcpListener, TcpStream};
/// use wouldblock::{generator, green, future};
///
/// # fn main() -> io::Result<()> { wouldblock::run(|| {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
///
/// green::spawn(move || { // an echo server, in the style of std
///     use std::io::{Read, Write};
///     for stream in listener.incoming() {
///         let mut stream = stream.unwrap();
///         let mut buf = [0; 64];
///         let n = stream.read(&mut buf).unwrap();
///         stream.write_all(&buf[..n]).unwrap();
///     }
/// });
///
/// let a = generator::spawn(move |y| {
///     let stream = y.wait(TcpStream::connecting(address))?;
///     stream.try_write(b"ping")?; // a fresh connection has room for four bytes
///     let mut buf = [0; 64];
///     let n = loop {
///         match stream.try_read(&mut buf) {
///             Err(e) if e.kind() == io::ErrorKind::WouldBlock => y.wait(stream.readable())?,
///             result => break result?,
///         }
///     };
///     Ok::<_, io::Error>(buf[..n].to_vec())
/// });
/// let b = green::spawn(move || {
///     use std::io::{Read, Write};
///     let mut stream = TcpStream::connect(address)?;
///     stream.write_all(b"ping")?;
///     let mut text = Vec::new();
///     stream.read_to_end(&mut text)?;
///     Ok::<_, io::Error>(text)
/// });
/// let c = future::spawn(async move {
///     use wouldblock::future::prelude::*;
///     let mut stream = TcpStream::connecting(address).await?;
///     stream.write_all(b"ping").await?;
///     let mut text = Vec::new();
///     stream.read_to_end(&mut text).await?;
///     Ok::<_, io::Error>(text)
/// });
/// for handle in [a, b, c] {
///     assert_eq!(handle.join().unwrap()?, b"ping");
/// }
/// # Ok(()) }) }
/// ```
///
/// # Cancellation
///
/// A read or write that has moved bytes returns; what is cancelled has moved none. `read_exact`,
/// `write_all` and the like are several of them: cancelled in between, what the earlier ones moved is
/// lost with the buffer, and the connection is at an unknown place.
pub struct TcpStream {
    socket: Socket<net::TcpStream>,
}

socket!(TcpStream, net::TcpStream, SocketAddr);
stream!(TcpStream, SocketAddr, short_read_drains: true);

impl TcpStream {
    /// Reads as `Read` does, by `read`, which is called for each try: the memory that it takes and gives back is not held
    /// while the task waits. It returns how many bytes came, and for how many there was room.
    #[cfg(feature = "ureq")]
    #[track_caller]
    pub(crate) fn read_by(
        &self,
        read: impl FnMut(&net::TcpStream) -> io::Result<(usize, usize)>,
    ) -> io::Result<usize> {
        let (n, len) = self.socket.green(Direction::Read, read)?;
        self.note(Ok(n), len)
    }

    /// Connects to the first address of `address` that accepts; names are looked up on another thread.
    ///
    /// The addresses are tried in order, IPv4 and IPv6 taking turns. One that is silent does not hold up the others:
    /// after 250 ms, the next is tried beside it, and the first to connect is taken. (RFC 8305, "happy eyeballs". When
    /// it blocks the thread, it tries one after the other, as std does.)
    ///
    /// # Errors
    ///
    /// That of the look-up, or those of all addresses, each with its address: the text names them, and the kind is
    /// that of the last. (`raw_os_error` is `None`.) `TimedOut` if a [`green::deadline`](crate::green::deadline) around
    /// this passes first.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, and [while a stack unwinds](super#blocking), blocks the thread.
    ///
    /// # Cancellation
    ///
    /// The attempts are given up.
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(address: A) -> io::Result<TcpStream> {
        if can_suspend() {
            return door::wait(TcpStream::connecting(address));
        }
        let connect = |address: SocketAddr| {
            let connected = match deadline::left() {
                Some((left, limit)) => {
                    let left = left.max(Duration::from_nanos(1)); // std refuses zero.
                    let connected = net::TcpStream::connect_timeout(&address, left);
                    connected.map_err(|e| match e.kind() {
                        io::ErrorKind::TimedOut => deadline::too_late(limit),
                        _ => e,
                    })
                }
                None => net::TcpStream::connect(address),
            };
            TcpStream::from_std(connected?)
        };
        first_of(connect::WHAT, &resolve(address)?, connect)
    }

    /// As [`connect`](TcpStream::connect), to one address and for at most `limit`.
    ///
    /// # Errors
    ///
    /// The kind is `TimedOut` if the time passes first, `InvalidInput` if `limit` is zero.
    ///
    /// # Blocking
    ///
    /// As [`connect`](TcpStream::connect).
    ///
    /// # Cancellation
    ///
    /// The attempt is given up.
    #[track_caller]
    pub fn connect_timeout(address: &SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        if limit.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a time limit of zero"));
        }
        if can_suspend() {
            let connected = door::wait(timeout(limit, TcpStream::connecting(address)));
            return connected.unwrap_or_else(|e| Err(cannot(connect::WHAT, address, &e.into())));
        }
        let connected = net::TcpStream::connect_timeout(address, limit);
        TcpStream::from_std(connected.map_err(|e| cannot(connect::WHAT, address, &e))?)
    }

    /// The operation of [`connect`](TcpStream::connect): `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// As [`connect`](TcpStream::connect), and those of [`Readiness`].
    ///
    /// # Cancellation
    ///
    /// The attempts are given up.
    pub fn connecting<A: ToSocketAddrs>(address: A) -> Connecting {
        Connecting(Connect::new(address.looking_up()))
    }

    three_eras! {
        /// Reads without taking: the next read gives the same bytes.
        Read: peek, try_peek, peeking(buf: &mut [u8]) -> usize = move |s| s.peek(buf);
    }

    /// Whether the connection is still there and silent: the other side has neither closed it nor sent
    /// anything. Never waits. (In a run, what has come in the last millisecond may not be known yet.)
    pub fn is_idle(&self) -> bool {
        self.socket.has_read_all()
            || self.socket.std().peek(&mut [0]).is_err_and(|e| would_block(&e))
    }

    stds! {
        /// Sends small writes at once instead of gathering them (`TCP_NODELAY`).
        fn set_nodelay(nodelay: bool);
        /// Whether small writes are sent at once.
        fn nodelay() -> bool;
        /// Sets how many routers a packet may pass (`IP_TTL`).
        fn set_ttl(ttl: u32);
        /// How many routers a packet may pass.
        fn ttl() -> u32;
    }
}

/// See [`TcpStream::connecting`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Connecting(Connect);

impl Future for Connecting {
    type Output = io::Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_ok(|socket| TcpStream { socket })
    }
}

/// A socket that TCP connections come in by: [`std::net::TcpListener`] that suspends the task where that
/// one blocks the thread.
///
/// Several tasks may accept from one listener; connections go to them in the order in which they came to
/// wait.
pub struct TcpListener {
    socket: Socket<net::TcpListener>,
}

socket!(TcpListener, net::TcpListener, SocketAddr);
listener!(TcpListener, net::TcpListener, TcpStream, SocketAddr);

impl TcpListener {
    /// Listens on the first address of `address` that can be bound; port 0 is one the system chooses.
    /// Up to 4096 connections may wait to be accepted, or as many as the operating system allows.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`]: each address is named with its error.
    ///
    /// # Blocking
    ///
    /// A name suspends the task while it is looked up; outside of one, and [while a stack unwinds](super#blocking),
    /// it blocks the thread.
    ///
    /// # Cancellation
    ///
    /// Nothing is bound.
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(address: A) -> io::Result<TcpListener> {
        first_of("bind", &resolve(address)?, |address| {
            Ok(TcpListener { socket: Socket::new(listen_at(&address.into())?.into()) })
        })
    }

    stds! {
        /// Sets how many routers a packet of its connections may pass (`IP_TTL`).
        fn set_ttl(ttl: u32);
        /// How many routers a packet of its connections may pass.
        fn ttl() -> u32;
    }
}
