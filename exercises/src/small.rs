//! Sockets that take few bytes at a time, so that what may come in parts does.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use wouldblock::net::TcpListener;

/// The size of a buffer; the system doubles it, and uses half of it for itself.
const BUFFER: libc::c_int = 2000;
/// The length of a segment, so that a write of some hundred bytes is several.
const SEGMENT: libc::c_int = 88;

/// A listener on the loopback whose streams take no more than some thousand bytes that the other side does not read; a
/// longer write is taken in part.
///
/// # Errors
///
/// The operating system's.
pub fn small_listener() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    make_small(&listener)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// A connection to it that has as small a buffer, and does not block.
///
/// # Errors
///
/// The operating system's.
pub fn small_client(address: SocketAddr) -> io::Result<TcpStream> {
    let SocketAddr::V4(address) = address else { return Err(io::ErrorKind::Unsupported.into()) };
    // SAFETY: it takes and returns numbers.
    let socket = checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) })?;
    // SAFETY: the descriptor was made just now, and is owned by nothing else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    make_small(&socket)?; // Before it is connected: the other side learns of the size when it connects.
    // SAFETY: zeros are a valid `sockaddr_in`.
    let mut name: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    name.sin_family = libc::AF_INET as libc::sa_family_t;
    name.sin_port = address.port().to_be();
    name.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
    let length = size_of_val(&name) as libc::socklen_t;
    // SAFETY: the pointer is to an address of this length, which the call reads.
    checked(unsafe { libc::connect(socket.as_raw_fd(), (&raw const name).cast(), length) })?;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Waits until bytes have come, and has the system call the stream readable from so many bytes on. A read takes fewer.
///
/// # Panics
///
/// If no byte has come after 5 s.
pub fn readable_from(stream: &impl AsRawFd, bytes: libc::c_int) {
    expect_event(stream, libc::POLLIN);
    set(stream, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes).expect("the system knows this option");
}

/// Waits until the other side has ended what it sends, or has reset the connection: what it has sent is all here.
///
/// # Panics
///
/// If that takes more than 5 s.
pub fn until_it_ends(stream: &impl AsRawFd) {
    expect_event(stream, libc::POLLRDHUP);
}

/// Makes a stream one that resets its connection when it is dropped, where others end it.
///
/// # Errors
///
/// The operating system's.
pub fn reset_when_dropped(stream: &impl AsRawFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of_val(&linger) as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_LINGER);
    let value = (&raw const linger).cast();
    // SAFETY: the pointer is to a `linger` of this length, which the call reads.
    checked(unsafe { libc::setsockopt(stream.as_raw_fd(), level, option, value, length) })?;
    Ok(())
}

fn expect_event(stream: &impl AsRawFd, events: libc::c_short) {
    let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events, revents: 0 };
    // SAFETY: the pointer is to one initialised `pollfd`, which the call reads and writes.
    let n = checked(unsafe { libc::poll(&raw mut poll, 1, 5000) });
    assert!(matches!(n, Ok(1)), "what was to come has not: {n:?}");
}

fn make_small(socket: &impl AsRawFd) -> io::Result<()> {
    for (level, option, value) in [
        (libc::SOL_SOCKET, libc::SO_SNDBUF, BUFFER),
        (libc::SOL_SOCKET, libc::SO_RCVBUF, BUFFER),
        (libc::IPPROTO_TCP, libc::TCP_MAXSEG, SEGMENT),
    ] {
        set(socket, level, option, value)?;
    }
    Ok(())
}

fn set(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<libc::c_int> {
    let length = size_of_val(&value) as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: the pointer is to an integer of this length, which the call reads.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) })
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
