//! Connections over loopback, and addresses that refuse them or are silent.

use std::io::{Read, Write};
use std::net;

use wouldblock::green;
use wouldblock::net::{TcpListener, TcpStream};

use super::{join, settle};

/// A listener of ours on loopback, and where it listens.
pub fn listener() -> (TcpListener, net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// A connection over loopback: our end, and one of std's.
pub fn half_pair() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let theirs = net::TcpStream::connect(address).expect("somebody listens");
    let (ours, _) = listener.accept().expect("somebody has connected");
    (TcpStream::from_std(ours).expect("non-blocking mode"), theirs)
}

/// A connection over loopback, both ends ours.
pub fn pair() -> (TcpStream, TcpStream) {
    let (ours, theirs) = half_pair();
    (ours, TcpStream::from_std(theirs).expect("non-blocking mode"))
}

/// Raises this process's limit on open descriptors as far as it may; true if `wanted` of them can be open.
pub fn may_open(wanted: u64) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a `rlimit` of this frame.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_max >= wanted
}

/// Sends all of `bytes` from std's end of a connection.
#[track_caller]
pub fn send(mut stream: &net::TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the other end reads");
}

/// In a task: a connection as from [`half_pair`], of which the last read has taken less than it asked for.
pub fn after_a_short_read() -> (TcpStream, net::TcpStream) {
    let (ours, theirs) = half_pair();
    let poked = theirs.try_clone().expect("another descriptor");
    let poke = green::spawn(move || {
        settle();
        send(&poked, b"x");
    });
    assert_eq!((&ours).read(&mut [0; 64]).expect("a byte"), 1);
    join(poke);
    (ours, theirs)
}

/// An address on loopback that refuses connections for as long as the socket that is given with it lives.
pub fn refusing() -> (net::SocketAddr, socket2::Socket) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any_port: net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any_port.into()).expect("a free port"); // taken, but nobody listens
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (address, socket)
}

/// An address on loopback that neither accepts nor refuses connections while what is given with it lives: its
/// backlog is full.
pub fn silent() -> (net::SocketAddr, Vec<socket2::Socket>) {
    let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any_port: net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = new();
    listener.bind(&any_port.into()).expect("a free port");
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let filler = new();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address); // in progress, for ever at the latest for the last of them
        sockets.push(filler);
    }
    (address.as_socket().unwrap(), sockets)
}
