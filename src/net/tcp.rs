//! TCP: `TcpStream` and `TcpListener`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

use super::addr::{Lookup, ToSocketAddrs};
use super::socket::{Readiness, Socket};
use crate::kernel::door;
use crate::kernel::reactor::Direction::{Read as Reading, Write as Writing};
use crate::kernel::scheduler::in_task;

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
    read_timeout: TimeLimit,
    write_timeout: TimeLimit,
}

impl TcpStream {
    /// Connects to the first address of `address` that accepts; names are looked up on another thread.
    ///
    /// # Errors
    ///
    /// That of the last address tried, or of the look-up.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread.
    ///
    /// # Cancellation
    ///
    /// The attempt is given up.
    pub fn connect<A: ToSocketAddrs>(address: A) -> io::Result<TcpStream> {
        if in_task() {
            return door::wait(TcpStream::connecting(address));
        }
        let addresses = futures_lite::future::block_on(address.to_socket_addrs())?;
        TcpStream::from_std(net::TcpStream::connect(&addresses[..])?)
    }

    /// As [`connect`](TcpStream::connect), to one address and for at most `limit`.
    ///
    /// # Errors
    ///
    /// The kind is `TimedOut` if the time passes first, `InvalidInput` if `limit` is zero.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread.
    ///
    /// # Cancellation
    ///
    /// The attempt is given up.
    pub fn connect_timeout(address: &SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        if !in_task() {
            return TcpStream::from_std(net::TcpStream::connect_timeout(address, limit)?);
        }
        if limit.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a time limit of zero"));
        }
        door::wait(crate::time::timeout(limit, TcpStream::connecting(address)))?
    }

    /// The operation of connecting: `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// As [`connect`](TcpStream::connect).
    ///
    /// # Cancellation
    ///
    /// The attempt is given up.
    pub fn connecting<A: ToSocketAddrs>(address: A) -> Connecting {
        Connecting(Box::pin(connect(address.to_socket_addrs())))
    }

    /// Makes std's stream one of ours; it is put into non-blocking mode, and so are its duplicates.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream::nonblocking(stream))
    }

    fn nonblocking(stream: net::TcpStream) -> TcpStream {
        TcpStream {
            socket: Socket::new(stream),
            read_timeout: TimeLimit::none(),
            write_timeout: TimeLimit::none(),
        }
    }

    /// Makes it std's, in blocking mode; and so are its clones then, which must not be used on a scheduler's
    /// thread any more: the kernel keeps the mode with the connection.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn into_std(self) -> io::Result<net::TcpStream> {
        let stream = self.socket.into_io();
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    /// Reads what is there, up to the length of `buf`, into its beginning; 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, when nothing is there yet: wait for [`readable`](TcpStream::readable). The same when
    /// the task has had its share of this turn; the wait then only gives the others theirs.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.try_io(Reading, |mut s| s.read(buf));
        read.inspect(|&n| self.socket.took(n, buf.len()))
    }

    /// Writes what there is room for from the beginning of `buf`, and says how many bytes that was.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, when there is no room: wait for [`writable`](TcpStream::writable). The same when
    /// the task has had its share of this turn; the wait then only gives the others theirs.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.try_io(Writing, |mut s| s.write(buf))
    }

    /// The operation of waiting until there may be something to read.
    pub fn readable(&self) -> Readiness<'_> {
        self.socket.ready(Reading)
    }

    /// The operation of waiting until there may be room to write.
    pub fn writable(&self) -> Readiness<'_> {
        self.socket.ready(Writing)
    }

    /// Reads as [`try_read`](TcpStream::try_read) does; `Pending`, `cx` is woken when it is worth another
    /// try. Over this and [`poll_write`](TcpStream::poll_write), any runtime's I/O traits are a few lines.
    ///
    /// As with every `poll_read`, one reader at a time: of several with wakers of their own, the last is
    /// woken. Several tasks that read one stream wait for [`readable`](TcpStream::readable).
    ///
    /// # Errors
    ///
    /// Those of the connection; never `WouldBlock`.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.socket.poll_io(cx, Reading, |mut s| s.read(buf));
        read.map_ok(|n| {
            self.socket.took(n, buf.len());
            n
        })
    }

    /// Writes as [`try_write`](TcpStream::try_write) does; `Pending`, `cx` is woken when it is worth another
    /// try.
    ///
    /// # Errors
    ///
    /// Those of the connection; never `WouldBlock`.
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_io(cx, Writing, |mut s| s.write(buf))
    }

    /// Reads without taking: the next read gives the same bytes.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    ///
    /// # Blocking
    ///
    /// Suspends the task until there is something; outside of one, blocks the thread.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.blocking_io(Reading, self.read_timeout.get(), |s| s.peek(buf))
    }

    /// How long a green read may wait before it fails as `TimedOut`; `None`, the default: for ever.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a limit of zero.
    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.read_timeout.set(limit)
    }

    /// How long a green write may wait before it fails as `TimedOut`; `None`, the default: for ever.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a limit of zero.
    pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.write_timeout.set(limit)
    }

    /// The limit on a green read.
    ///
    /// # Errors
    ///
    /// None; a `Result` because std's is.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.read_timeout.get())
    }

    /// The limit on a green write.
    ///
    /// # Errors
    ///
    /// None; a `Result` because std's is.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.write_timeout.get())
    }

    /// A second handle to the same connection.
    ///
    /// # Errors
    ///
    /// The kernel's: too many descriptors.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        let clone = TcpStream::nonblocking(self.socket.io().try_clone()?);
        clone.read_timeout.set(self.read_timeout.get())?;
        clone.write_timeout.set(self.write_timeout.get())?;
        Ok(clone)
    }

    /// Whether the connection is still there and silent: the other side has neither closed it nor sent
    /// anything. Never waits.
    pub fn is_idle(&self) -> bool {
        let peeked = self.socket.io().peek(&mut [0]);
        matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// The address of the other side.
    ///
    /// # Errors
    ///
    /// The kernel's: not connected any more.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io().peer_addr()
    }

    /// The address of this side.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io().local_addr()
    }

    /// Closes one or both directions.
    ///
    /// # Errors
    ///
    /// The kernel's: not connected any more.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.io().shutdown(how)
    }

    /// Sends small writes at once instead of gathering them (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.io().set_nodelay(nodelay)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.io().nodelay()
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.blocking_io(Reading, self.read_timeout.get(), |mut s| s.read(buf));
        read.inspect(|&n| self.socket.took(n, buf.len()))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let limit = self.read_timeout.get();
        let read = self.socket.blocking_io(Reading, limit, |mut s| s.read_vectored(bufs));
        read.inspect(|&n| self.socket.took(n, bufs.iter().map(|buf| buf.len()).sum()))
    }
}

impl Write for &TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.blocking_io(Writing, self.write_timeout.get(), |mut s| s.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.blocking_io(Writing, self.write_timeout.get(), |mut s| s.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! async_io {
    ($($stream:ty),*) => {$(
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                TcpStream::poll_read(&self, cx, buf)
            }
        }

        impl AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                TcpStream::poll_write(&self, cx, buf)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.shutdown(Shutdown::Write))
            }
        }
    )*};
}

async_io!(TcpStream, &TcpStream);

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.io().as_raw_fd()
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.io().as_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

/// See [`TcpStream::connecting`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct Connecting(Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>);

impl Future for Connecting {
    type Output = io::Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connecting")
    }
}

async fn connect(addresses: Lookup) -> io::Result<TcpStream> {
    let mut last = None;
    for address in addresses.await? {
        match connect_one(address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = Some(e),
        }
    }
    Err(last
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to")))
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => return Err(e),
        _ => {}
    }
    let stream = TcpStream::nonblocking(socket.into());
    loop {
        if let Some(error) = stream.socket.io().take_error()? {
            return Err(error);
        }
        match stream.socket.io().peer_addr() {
            Err(e) if e.kind() == io::ErrorKind::NotConnected => stream.writable().await?,
            other => return other.map(|_| stream),
        }
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

impl TcpListener {
    /// Listens on the first address of `address` that can be bound; port 0 is one the system chooses.
    ///
    /// # Errors
    ///
    /// That of the last address tried, or of the look-up.
    ///
    /// # Blocking
    ///
    /// A name suspends the task while it is looked up; outside of one, it blocks the thread.
    ///
    /// # Cancellation
    ///
    /// Nothing is bound.
    pub fn bind<A: ToSocketAddrs>(address: A) -> io::Result<TcpListener> {
        let lookup = address.to_socket_addrs();
        let addresses = match in_task() {
            true => door::wait(lookup)?,
            false => futures_lite::future::block_on(lookup)?,
        };
        TcpListener::from_std(net::TcpListener::bind(&addresses[..])?)
    }

    /// Makes std's listener one of ours; it is put into non-blocking mode, and so are its duplicates.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener { socket: Socket::new(listener) })
    }

    /// Makes it std's, in blocking mode.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn into_std(self) -> io::Result<net::TcpListener> {
        let listener = self.socket.into_io();
        listener.set_nonblocking(false)?;
        Ok(listener)
    }

    /// The next connection, and where it comes from.
    ///
    /// # Errors
    ///
    /// The kernel's: among them, no more descriptors.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the connection stays in the listener's queue.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.blocking_io(Reading, None, accept)
    }

    /// The next connection, if there is one by now.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, when there is none: wait for [`readable`](TcpListener::readable).
    pub fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.try_io(Reading, accept)
    }

    /// The operation of accepting: `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// As [`accept`](TcpListener::accept).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: the connection stays in the listener's queue.
    pub fn accepting(&self) -> Accepting<'_> {
        Accepting { listener: self, readable: self.readable() }
    }

    /// The operation of waiting until there may be a connection to accept.
    pub fn readable(&self) -> Readiness<'_> {
        self.socket.ready(Reading)
    }

    /// The connections, one after the other, without end: [`accept`](TcpListener::accept) as an iterator.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io().local_addr()
    }

    /// A second handle to the same listener.
    ///
    /// # Errors
    ///
    /// The kernel's: too many descriptors.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener { socket: Socket::new(self.socket.io().try_clone()?) })
    }
}

fn accept(listener: &net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, address) = listener.accept()?;
    Ok((TcpStream::from_std(stream)?, address))
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.io().as_raw_fd()
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.io().as_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

/// See [`TcpListener::accepting`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Accepting<'a> {
    listener: &'a TcpListener,
    readable: Readiness<'a>,
}

impl Future for Accepting<'_> {
    type Output = io::Result<(TcpStream, SocketAddr)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.listener.try_accept() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(Pin::new(&mut self.readable).poll(cx))?;
        }
    }
}

/// See [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

/// A time limit that may be set through a shared reference, in nanoseconds; 0 is none.
struct TimeLimit(AtomicU64);

impl TimeLimit {
    const fn none() -> TimeLimit {
        TimeLimit(AtomicU64::new(0))
    }

    fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    fn set(&self, limit: Option<Duration>) -> io::Result<()> {
        let nanos = match limit {
            None => 0,
            Some(Duration::ZERO) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a time limit of zero"));
            }
            Some(limit) => limit.as_nanos().try_into().unwrap_or(u64::MAX),
        };
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }
}
