//! UDP: `UdpSocket`.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::addr::{ToSocketAddrs, first_of, resolve};
use super::common::{limits, socket, stds, three_eras};
use super::datagram::datagram;
use super::link::Readiness;
use super::socket::Socket;
use super::turn::failed;
use crate::kernel::reactor::Direction;

/// A UDP socket: [`std::net::UdpSocket`] that suspends the task where that one blocks the thread.
///
/// ```
/// use std::io;
/// use wouldblock::{future, generator, green, net::UdpSocket};
///
/// # fn main() -> io::Result<()> { wouldblock::run(|| {
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// let address = socket.local_addr()?;
/// let asked = green::spawn(move || {
///     let mut buf = [0; 64];
///     for _ in 0..3 {
///         let (n, from) = socket.recv_from(&mut buf)?; // in the style of std
///         socket.send_to(&buf[..n], from)?;
///     }
///     Ok::<_, io::Error>(())
/// });
///
/// let new = || UdpSocket::bind("127.0.0.1:0");
/// let (a, b, c) = (new()?, new()?, new()?);
/// let answers = [
///     generator::spawn(move |y| {
///         y.wait(a.sending_to(b"ping", address))?;
///         let mut buf = [0; 64];
///         y.wait(a.receiving_from(&mut buf))
///     }),
///     green::spawn(move || {
///         b.send_to(b"ping", address)?;
///         b.recv_from(&mut [0; 64])
///     }),
///     future::spawn(async move {
///         c.sending_to(b"ping", address).await?;
///         c.receiving_from(&mut [0; 64]).await
///     }),
/// ];
/// for answer in answers {
///     assert_eq!(answer.join().unwrap()?, (4, address));
/// }
/// asked.join().unwrap()
/// # }) }
/// ```
///
/// # Cancellation
///
/// Nothing is lost: a datagram is received and given, or stays; it is sent whole, or not.
pub struct UdpSocket {
    socket: Socket<net::UdpSocket>,
}

socket!(UdpSocket, net::UdpSocket, SocketAddr);
datagram!(UdpSocket, SocketAddr);

impl UdpSocket {
    /// A socket at the first address of `address` that can be bound; port 0 is one the system chooses.
    ///
    /// # Errors
    ///
    /// That of the look-up, or those of all addresses, each with its address: the text names them, and the kind is
    /// that of the last. (`raw_os_error` is `None`.)
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
    pub fn bind<A: ToSocketAddrs>(address: A) -> io::Result<UdpSocket> {
        let bind = |address| UdpSocket::from_std(net::UdpSocket::bind(address)?);
        first_of("bind", &resolve(address)?, bind)
    }

    /// Sets the address that [`send`](UdpSocket::send) sends to, and from which alone datagrams are received: the first
    /// address of `address` that there is a way to.
    ///
    /// # Errors
    ///
    /// That of the look-up, or those of all addresses, each with its address: the text names them, and the kind is
    /// that of the last. (`raw_os_error` is `None`.)
    ///
    /// # Blocking
    ///
    /// A name suspends the task while it is looked up; outside of one, and [while a stack unwinds](super#blocking),
    /// it blocks the thread.
    ///
    /// # Cancellation
    ///
    /// The socket is connected as before.
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(&self, address: A) -> io::Result<()> {
        self.connect_to_first(&resolve(address)?)
    }

    /// The operation of [`connect`](UdpSocket::connect): `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// As [`connect`](UdpSocket::connect).
    ///
    /// # Cancellation
    ///
    /// The socket is connected as before.
    pub fn connecting<A: ToSocketAddrs>(
        &self,
        address: A,
    ) -> impl Future<Output = io::Result<()>> + use<'_, A> {
        let lookup = address.looking_up();
        async { self.connect_to_first(&lookup.await?) }
    }

    fn connect_to_first(&self, addresses: &[SocketAddr]) -> io::Result<()> {
        first_of("connect to", addresses, |address| self.socket.std().connect(address))
    }

    /// Sends a datagram to the first address of `address`; it is sent whole or not at all.
    ///
    /// # Errors
    ///
    /// The socket's, or that of the look-up; `TimedOut` if its time limit passes first.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, and [while a stack unwinds](super#blocking), blocks the thread.
    ///
    /// # Cancellation
    ///
    /// Nothing is sent.
    #[track_caller]
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], address: A) -> io::Result<usize> {
        let to = first(&resolve(address)?)?;
        self.socket.green(Direction::Write, |s| s.send_to(buf, to))
    }

    /// As [`send_to`](UdpSocket::send_to), without a wait; so it takes no name, which might have to be
    /// looked up.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, when it would have to wait: wait for [`writable`](UdpSocket::writable). The same when the
    /// budget of the task for this turn is used up; the wait then only gives the other tasks a turn.
    pub fn try_send_to(&self, buf: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.socket.attempt(Direction::Write, |s| s.send_to(buf, address))
    }

    /// The operation of [`send_to`](UdpSocket::send_to): `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// The socket's, or that of the look-up.
    ///
    /// # Cancellation
    ///
    /// Nothing is sent.
    pub fn sending_to<'a, A: ToSocketAddrs>(
        &'a self,
        buf: &'a [u8],
        address: A,
    ) -> impl Future<Output = io::Result<usize>> + use<'a, A> {
        let mut lookup = address.looking_up();
        async {
            let known = lookup.known(); // What costs no look-up is no operation of its own.
            let to = match known {
                Some(found) => found.and_then(|addresses| first(&addresses)),
                None => first(&lookup.await?),
            };
            let to = match to {
                Ok(to) => to,
                Err(e) => return failed(e).await,
            };
            self.socket.operation(Direction::Write, |s| s.send_to(buf, to)).await
        }
    }

    three_eras! {
        /// Receives without taking, from the connected address: the next call gets the same datagram.
        Read: peek, try_peek, peeking(buf: &mut [u8]) -> usize
            = move |s| s.peek(buf);

        /// As [`peek`](UdpSocket::peek), from any sender, and returns the sender's address.
        Read: peek_from, try_peek_from, peeking_from(buf: &mut [u8]) -> (usize, SocketAddr)
            = move |s| s.peek_from(buf);
    }

    stds! {
        /// Lets datagrams go to a broadcast address (`SO_BROADCAST`).
        fn set_broadcast(broadcast: bool);
        /// Whether datagrams may go to a broadcast address.
        fn broadcast() -> bool;
        /// Sets how many routers a datagram may pass (`IP_TTL`).
        fn set_ttl(ttl: u32);
        /// How many routers a datagram may pass.
        fn ttl() -> u32;
        /// Gives this machine its own multicast datagrams, too (`IP_MULTICAST_LOOP`).
        fn set_multicast_loop_v4(multicast_loop_v4: bool);
        /// Whether this machine gets its own multicast datagrams.
        fn multicast_loop_v4() -> bool;
        /// Sets how many routers a multicast datagram may pass (`IP_MULTICAST_TTL`); 1, the default, keeps
        /// it in the local network.
        fn set_multicast_ttl_v4(multicast_ttl_v4: u32);
        /// How many routers a multicast datagram may pass.
        fn multicast_ttl_v4() -> u32;
        /// Gives this machine its own IPv6 multicast datagrams, too (`IPV6_MULTICAST_LOOP`).
        fn set_multicast_loop_v6(multicast_loop_v6: bool);
        /// Whether this machine gets its own IPv6 multicast datagrams.
        fn multicast_loop_v6() -> bool;
        /// Receives what is sent to a multicast group, on the interface that has this address;
        /// `UNSPECIFIED`: one that the system chooses.
        fn join_multicast_v4(multiaddr: &Ipv4Addr, interface: &Ipv4Addr);
        /// Receives what is sent to a multicast group, on the interface of this index; 0: any.
        fn join_multicast_v6(multiaddr: &Ipv6Addr, interface: u32);
        /// Undoes [`join_multicast_v4`](UdpSocket::join_multicast_v4).
        fn leave_multicast_v4(multiaddr: &Ipv4Addr, interface: &Ipv4Addr);
        /// Undoes [`join_multicast_v6`](UdpSocket::join_multicast_v6).
        fn leave_multicast_v6(multiaddr: &Ipv6Addr, interface: u32);
    }
}

fn first(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::InvalidInput, "no address to send to");
    addresses.first().copied().ok_or_else(none)
}
