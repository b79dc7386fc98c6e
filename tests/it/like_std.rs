//! The loopback behaviour of std's sockets, case by case, as their documentation states it. Each case is
//! written once and run three times: on std's sockets, on ours outside of any task, and on ours in a
//! greenlet, with greenlets in place of threads. That is all that differs: the imports.

/// Instantiates the cases. A case may use all of `std::net`, `unix`, and `spawn`.
macro_rules! cases {
    ($($(#[$doc:meta])* fn $name:ident() $body:block)*) => {
        mod on_stds_sockets {
            use std::net::*;
            use std::os::unix::net as unix;
            use std::thread::spawn;
            use super::common::*;
            $($(#[$doc])* #[test] fn $name() $body)*
        }

        mod outside_of_any_task {
            use std::thread::spawn;
            use wouldblock::net::{self, *};
            use net::unix;
            use super::common::*;
            $($(#[$doc])* #[test] fn $name() $body)*
        }

        mod in_a_greenlet {
            use wouldblock::green::spawn;
            use wouldblock::net::{self, *};
            use net::unix;
            use super::common::*;
            $($(#[$doc])* #[test] fn $name() { crate::util::bounded(|| $body) })*
        }
    };
}

/// What the cases use besides sockets.
mod common {
    pub(crate) use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
    pub(crate) use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
    pub(crate) use std::os::linux::net::SocketAddrExt;
    pub(crate) use std::time::Duration;

    pub(crate) const LOOPBACK: &str = "127.0.0.1:0";

    /// A listener, a connection to it, and its other end.
    macro_rules! tcp_pair {
        () => {{
            let listener = TcpListener::bind(LOOPBACK).unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (far, _) = listener.accept().unwrap();
            (listener, near, far)
        }};
    }

    /// What `set_read_timeout` and the like say, for any socket and a call that would wait for ever.
    macro_rules! limited {
        ($socket:expr, $call:expr) => {{
            let socket = $socket;
            assert_eq!(socket.read_timeout().unwrap(), None);
            assert_eq!(socket.write_timeout().unwrap(), None);
            let zero = socket.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
            assert_eq!(zero.kind(), ErrorKind::InvalidInput);
            let zero = socket.set_write_timeout(Some(Duration::ZERO)).unwrap_err();
            assert_eq!(zero.kind(), ErrorKind::InvalidInput);
            socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            assert_eq!(socket.write_timeout().unwrap(), Some(Duration::from_secs(1)));
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            assert_eq!(socket.read_timeout().unwrap(), Some(Duration::from_millis(20)));
            let clone = socket.try_clone().unwrap();
            assert_eq!(clone.read_timeout().unwrap(), Some(Duration::from_millis(20)));
            let error = $call.unwrap_err();
            assert!(timed_out(&error), "{error:?}");
            clone.set_read_timeout(None).unwrap();
            assert_eq!(socket.read_timeout().unwrap(), None);
        }};
    }

    /// What a stream does with more slices than the kernel takes at once, and with empty ones.
    macro_rules! many_slices {
        ($near:ident, $far:ident) => {{
            let text = [b'x'; 2000];
            let parts = text.chunks(1).map(IoSlice::new).collect::<Vec<_>>();
            assert_eq!($near.write_vectored(&parts).unwrap(), 1024);
            assert_eq!($near.write_vectored(&parts[..476]).unwrap(), 476);
            let mut buf = [0; 2000];
            let mut parts = buf.chunks_mut(1).map(IoSliceMut::new).collect::<Vec<_>>();
            assert_eq!($far.read_vectored(&mut parts).unwrap(), 1024);
            assert_eq!($far.read_vectored(&mut parts).unwrap(), 476);
            assert!(buf[..1024].iter().all(|&byte| byte == b'x'));

            let mut parts = vec![IoSlice::new(b""); 1023];
            parts.extend([IoSlice::new(b"x"), IoSlice::new(b"y")]);
            assert_eq!($near.write_vectored(&parts).unwrap(), 1);
            parts.insert(0, IoSlice::new(b""));
            assert_eq!($near.write_vectored(&parts).unwrap(), 0);
            assert_eq!($near.write_vectored(&[]).unwrap(), 0);
            let (mut empty, mut buf) = ([(); 1000].map(|()| []), [0; 2]);
            let mut parts = empty.iter_mut().map(|part| IoSliceMut::new(part)).collect::<Vec<_>>();
            parts.push(IoSliceMut::new(&mut buf));
            assert_eq!($far.read_vectored(&mut parts).unwrap(), 1);
        }};
    }

    pub(crate) use {limited, many_slices, tcp_pair};

    /// "Platforms may return a different error code whenever a read times out."
    pub(crate) fn timed_out(error: &io::Error) -> bool {
        matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
    }

    /// Calls until it would not block. (Each failure gives others a turn.)
    pub(crate) fn poll<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match call() {
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                result => return result,
            }
        }
    }

    pub(crate) fn kind<T>(result: io::Result<T>) -> ErrorKind {
        result.err().expect("an error").kind()
    }

    pub(crate) fn has_ipv6() -> bool {
        let bound = std::net::UdpSocket::bind("[::1]:0");
        if let Err(e) = &bound {
            println!("skipped: this machine has no IPv6 loopback ({e})");
        }
        bound.is_ok()
    }

    pub(crate) fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }
}

cases! {
    // TCP: listeners.

    fn port_0_is_a_port_that_the_system_assigns() {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        assert_ne!(listener.local_addr().unwrap().port(), 0);
    }

    fn a_listener_is_bound_to_the_first_address_that_can_be() {
        let other = TcpListener::bind(LOOPBACK).unwrap();
        let taken = other.local_addr().unwrap();
        assert_eq!(kind(TcpListener::bind(taken)), ErrorKind::AddrInUse);
        let listener = TcpListener::bind(&[taken, LOOPBACK.parse().unwrap()][..]).unwrap();
        assert_ne!(listener.local_addr().unwrap(), taken);
        assert_eq!(kind(TcpListener::bind(&[][..] as &[SocketAddr])), ErrorKind::InvalidInput);
    }

    fn accept_gives_the_stream_and_the_address_of_the_peer() {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let client = spawn(move || TcpStream::connect(address).unwrap().local_addr().unwrap());
        let (stream, from) = listener.accept().unwrap();
        assert_eq!((stream.local_addr().unwrap(), client.join().unwrap()), (address, from));
    }

    fn incoming_gives_the_streams_and_never_ends() {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let client = spawn(move || {
            for n in 0..3_u8 {
                TcpStream::connect(address).unwrap().write_all(&[n]).unwrap();
            }
        });
        let mut bytes = Vec::new();
        for stream in listener.incoming().take(3) {
            stream.unwrap().read_to_end(&mut bytes).unwrap();
        }
        assert_eq!(bytes, [0, 1, 2]);
        client.join().unwrap();
    }

    fn a_cloned_listener_is_the_same_socket() {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let clone = listener.try_clone().unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(clone.local_addr().unwrap(), address);
        drop(listener);
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(clone.accept().unwrap().1, client.local_addr().unwrap());
    }

    fn a_non_blocking_listener_would_block() {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(kind(listener.accept()), ErrorKind::WouldBlock);
        assert_eq!(kind(listener.incoming().next().unwrap()), ErrorKind::WouldBlock);
        let clone = listener.try_clone().unwrap();
        assert_eq!(kind(clone.accept()), ErrorKind::WouldBlock);
        let address = listener.local_addr().unwrap();
        let client = spawn(move || TcpStream::connect(address).unwrap());
        let (mut stream, _) = poll(|| listener.accept()).unwrap();
        // What it accepts is in blocking mode.
        let reader = spawn(move || stream.read(&mut [0; 8]).unwrap());
        client.join().unwrap().write_all(b"hello").unwrap();
        assert_eq!(reader.join().unwrap(), 5);
    }

    fn a_listener_has_options() {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        listener.set_ttl(100).unwrap();
        assert_eq!(listener.ttl().unwrap(), 100);
        assert!(listener.take_error().unwrap().is_none());
        assert!(format!("{listener:?}").starts_with("TcpListener { addr: 127.0.0.1:"));
    }

    // TCP: connecting.

    fn a_stream_connects_to_the_first_address_that_accepts() {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let open = listener.local_addr().unwrap();
        let (closed, _reserved) = crate::util::refusing();
        let stream = TcpStream::connect(&[closed, open, closed][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        let refused = TcpStream::connect(&[closed, closed][..]);
        assert_eq!(kind(refused), ErrorKind::ConnectionRefused);
        assert_eq!(kind(TcpStream::connect(&[][..] as &[SocketAddr])), ErrorKind::InvalidInput);
        assert_eq!(kind(TcpStream::connect("127.0.0.1")), ErrorKind::InvalidInput);
        assert_eq!(kind(TcpStream::connect("127.0.0.1:99999")), ErrorKind::InvalidInput);
    }

    fn a_name_is_looked_up() {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = TcpStream::connect(("localhost", port)).unwrap();
        assert_eq!(stream.peer_addr().unwrap().port(), port);
        TcpStream::connect(format!("localhost:{port}")).unwrap();
    }

    fn connect_timeout_has_a_limit() {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let open = listener.local_addr().unwrap();
        TcpStream::connect_timeout(&open, Duration::from_secs(10)).unwrap();
        let zero = TcpStream::connect_timeout(&open, Duration::ZERO);
        assert_eq!(kind(zero), ErrorKind::InvalidInput);
        let (silent, _sockets) = crate::util::silent();
        let late = TcpStream::connect_timeout(&silent, Duration::from_millis(20));
        assert_eq!(kind(late), ErrorKind::TimedOut);
    }

    fn ipv6_is_like_ipv4() {
        if !has_ipv6() {
            return;
        }
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut near = TcpStream::connect(address).unwrap();
        let (mut far, from) = listener.accept().unwrap();
        assert!(address.is_ipv6() && from.is_ipv6());
        near.write_all(b"six").unwrap();
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 3);
    }

    // TCP: streams.

    fn the_addresses_of_both_ends_agree() {
        let (_listener, near, far) = tcp_pair!();
        assert_eq!(near.local_addr().unwrap(), far.peer_addr().unwrap());
        assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
    }

    fn a_dropped_stream_is_closed() {
        let (_listener, mut near, far) = tcp_pair!();
        drop(far);
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
    }

    fn shutting_down_writing_is_the_peers_end() {
        let (_listener, mut near, mut far) = tcp_pair!();
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(far.read(&mut [0]).unwrap(), 0);
        assert_eq!(kind(near.write(b"x")), ErrorKind::BrokenPipe);
        far.write_all(b"still").unwrap();
        assert_eq!(near.read(&mut [0; 8]).unwrap(), 5);
    }

    fn shutting_down_ends_pending_and_future_reads() {
        let (_listener, mut near, _far) = tcp_pair!();
        let clone = near.try_clone().unwrap();
        let reader = spawn(move || (near.read(&mut [0]).unwrap(), near.read(&mut [0]).unwrap()));
        clone.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reader.join().unwrap(), (0, 0));
    }

    fn a_clone_is_the_same_stream() {
        let (_listener, near, mut far) = tcp_pair!();
        let mut clone = near.try_clone().unwrap();
        drop(near);
        clone.write_all(b"hello").unwrap();
        let mut buf = [0; 5];
        far.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"hello");
    }

    fn a_clone_has_the_same_options() {
        let (_listener, near, _far) = tcp_pair!();
        let clone = near.try_clone().unwrap();
        near.set_nodelay(true).unwrap();
        near.set_nonblocking(true).unwrap();
        assert!(clone.nodelay().unwrap());
        assert_eq!(kind((&clone).read(&mut [0])), ErrorKind::WouldBlock);
    }

    fn peeking_gives_the_same_data_again() {
        let (_listener, mut near, mut far) = tcp_pair!();
        far.write_all(b"hello").unwrap();
        let mut buf = [0; 3];
        for _ in 0..2 {
            assert_eq!(near.peek(&mut buf).unwrap(), 3);
            assert_eq!(&buf, b"hel");
        }
        let mut buf = [0; 5];
        near.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"hello");
    }

    fn a_stream_has_options() {
        let (_listener, near, _far) = tcp_pair!();
        assert!(!near.nodelay().unwrap());
        near.set_nodelay(true).unwrap();
        assert!(near.nodelay().unwrap());
        near.set_ttl(100).unwrap();
        assert_eq!(near.ttl().unwrap(), 100);
        assert!(near.take_error().unwrap().is_none());
        assert!(format!("{near:?}").starts_with("TcpStream { addr: 127.0.0.1:"));
    }

    fn a_streams_time_limits_hold() {
        let (_listener, near, _far) = tcp_pair!();
        limited!(&near, (&near).read(&mut [0]));
        near.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(timed_out(&near.peek(&mut [0]).unwrap_err()));
        near.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let block = vec![0; 1 << 20];
        let error = (0..64).find_map(|_| (&near).write_all(&block).err()).unwrap();
        assert!(timed_out(&error), "{error:?}");
    }

    fn a_non_blocking_stream_would_block() {
        let (_listener, near, far) = tcp_pair!();
        near.set_nonblocking(true).unwrap();
        assert_eq!(kind((&near).read(&mut [0])), ErrorKind::WouldBlock);
        assert_eq!(kind(near.peek(&mut [0])), ErrorKind::WouldBlock);
        let block = vec![0; 1 << 20];
        let written = (0..).map_while(|_| (&near).write(&block).ok()).sum::<usize>();
        let reader = spawn(move || io::copy(&mut &far, &mut io::sink()).unwrap());
        assert!(poll(|| (&near).write(&block)).is_ok());
        near.set_nonblocking(false).unwrap();
        (&near).write_all(&block).unwrap();
        drop(near);
        assert!(reader.join().unwrap() > (written + block.len()) as u64);
    }

    fn several_buffers_are_read_and_written_at_once() {
        let (_listener, mut near, mut far) = tcp_pair!();
        let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!(near.write_vectored(&parts).unwrap(), 7);
        let (mut a, mut b) = ([0; 3], [0; 10]);
        let mut parts = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!(far.read_vectored(&mut parts).unwrap(), 7);
        assert_eq!((&a, &b[..4]), (b"one", &b" two"[..]));
    }

    fn of_many_slices_a_stream_takes_as_many_as_the_kernel_does() {
        let (_listener, mut near, mut far) = tcp_pair!();
        many_slices!(near, far);
    }

    fn a_stream_is_read_and_written_at_once_through_references() {
        const BYTES: usize = 4 << 20;
        let (_listener, near, far) = tcp_pair!();
        let (near, far) = (std::sync::Arc::new(near), std::sync::Arc::new(far));
        let tasks = [&near, &far].map(|end| {
            let (writer, reader) = (end.clone(), end.clone());
            let writer = spawn(move || {
                (&*writer).write_all(&vec![b'x'; BYTES]).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            (writer, spawn(move || io::copy(&mut &*reader, &mut io::sink()).unwrap()))
        });
        for (writer, reader) in tasks {
            writer.join().unwrap();
            assert_eq!(reader.join().unwrap(), BYTES as u64);
        }
    }

    fn a_reset_connection_is_an_error() {
        let (_listener, near, mut far) = tcp_pair!();
        far.write_all(b"unread").unwrap();
        assert_eq!(near.peek(&mut [0]).unwrap(), 1);
        drop(near); // closed with something unread: a reset
        assert_eq!(kind(far.read(&mut [0])), ErrorKind::ConnectionReset);
        assert_eq!(kind(far.write(b"x")), ErrorKind::BrokenPipe);
    }

    fn a_stream_becomes_a_descriptor_and_a_stream_again() {
        let (listener, near, mut far) = tcp_pair!();
        let number = near.as_raw_fd();
        assert_eq!(near.as_fd().as_raw_fd(), number);
        let fd: OwnedFd = near.into();
        assert_eq!(fd.as_raw_fd(), number);
        let raw = TcpStream::from(fd).into_raw_fd();
        // SAFETY: it was just made raw.
        let mut near = unsafe { TcpStream::from_raw_fd(raw) };
        let writer = spawn(move || near.write_all(b"hello").unwrap());
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 5);
        writer.join().unwrap();
        let listener = TcpListener::from(OwnedFd::from(listener));
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().unwrap();
    }

    // UDP.

    fn a_datagram_arrives_with_its_origin() {
        let (near, far) = (UdpSocket::bind(LOOPBACK).unwrap(), UdpSocket::bind(LOOPBACK).unwrap());
        let (from, to) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        let mut buf = [0; 10];
        assert_eq!(near.send_to(b"hello", to).unwrap(), 5);
        assert_eq!(far.recv_from(&mut buf).unwrap(), (5, from));
        assert_eq!(&buf[..5], b"hello");
        let sender = spawn(move || near.send_to(b"", ("localhost", to.port())).unwrap());
        assert_eq!(far.recv_from(&mut buf).unwrap(), (0, from));
        assert_eq!(sender.join().unwrap(), 0);
    }

    fn excess_bytes_of_a_datagram_are_lost() {
        let socket = UdpSocket::bind(LOOPBACK).unwrap();
        let me = socket.local_addr().unwrap();
        socket.send_to(b"too long", me).unwrap();
        socket.send_to(b"next", me).unwrap();
        let mut buf = [0; 3];
        assert_eq!((socket.recv_from(&mut buf).unwrap(), &buf), ((3, me), b"too"));
        assert_eq!((socket.recv(&mut buf).unwrap(), &buf), (3, b"nex"));
    }

    fn a_datagram_is_peeked_at() {
        let socket = UdpSocket::bind(LOOPBACK).unwrap();
        let me = socket.local_addr().unwrap();
        socket.connect(me).unwrap();
        socket.send(b"one").unwrap();
        socket.send(b"other").unwrap();
        let mut buf = [0; 8];
        for _ in 0..2 {
            assert_eq!((socket.peek_from(&mut buf).unwrap(), &buf[..3]), ((3, me), &b"one"[..]));
            assert_eq!(socket.peek(&mut buf).unwrap(), 3);
        }
        assert_eq!(socket.recv(&mut buf).unwrap(), 3);
        assert_eq!(socket.peek(&mut buf).unwrap(), 5);
    }

    fn a_connected_socket_hears_its_peer_alone() {
        let new = || UdpSocket::bind(LOOPBACK).unwrap();
        let (near, far, other) = (new(), new(), new());
        let me = near.local_addr().unwrap();
        assert_eq!(kind(near.peer_addr()), ErrorKind::NotConnected);
        assert_eq!(near.send(b"x").unwrap_err().raw_os_error(), Some(libc::EDESTADDRREQ));
        near.connect(far.local_addr().unwrap()).unwrap();
        assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
        other.send_to(b"from another", me).unwrap();
        far.send_to(b"hello", me).unwrap();
        assert_eq!(near.recv(&mut [0; 20]).unwrap(), 5);
        near.connect(other.local_addr().unwrap()).unwrap();
        near.send(b"for another").unwrap();
        assert_eq!(other.recv(&mut [0; 20]).unwrap(), 11);
    }

    fn udp_addresses_are_taken_as_documented() {
        let taken = UdpSocket::bind(LOOPBACK).unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(kind(UdpSocket::bind(address)), ErrorKind::AddrInUse);
        let socket = UdpSocket::bind(&[address, LOOPBACK.parse().unwrap()][..]).unwrap();
        let none = &[][..] as &[SocketAddr];
        assert_eq!(kind(socket.send_to(b"x", none)), ErrorKind::InvalidInput);
        assert_eq!(kind(socket.connect(none)), ErrorKind::InvalidInput);
        assert_eq!(kind(UdpSocket::bind(none)), ErrorKind::InvalidInput);
        let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 1));
        assert!(socket.send_to(b"x", &[six, address][..]).is_err(), "only the first is tried");
        socket.connect(&[six, address][..]).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
    }

    fn a_datagram_that_nobody_takes_is_refused() {
        let near = UdpSocket::bind(LOOPBACK).unwrap();
        let deaf = UdpSocket::bind(LOOPBACK).unwrap();
        deaf.connect(deaf.local_addr().unwrap()).unwrap(); // it hears itself alone
        near.connect(deaf.local_addr().unwrap()).unwrap();
        near.send(b"x").unwrap();
        assert_eq!(kind(near.recv(&mut [0])), ErrorKind::ConnectionRefused);
        near.send(b"x").unwrap();
        assert_eq!(near.take_error().unwrap().unwrap().kind(), ErrorKind::ConnectionRefused);
        assert!(near.take_error().unwrap().is_none());
    }

    fn a_datagram_that_is_too_long_is_an_error() {
        let socket = UdpSocket::bind(LOOPBACK).unwrap();
        let error = socket.send_to(&[0; 70_000], socket.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    }

    fn a_udp_socket_has_options() {
        let socket = UdpSocket::bind(LOOPBACK).unwrap();
        for on in [true, false] {
            socket.set_broadcast(on).unwrap();
            assert_eq!(socket.broadcast().unwrap(), on);
            socket.set_multicast_loop_v4(on).unwrap();
            assert_eq!(socket.multicast_loop_v4().unwrap(), on);
        }
        socket.set_ttl(100).unwrap();
        socket.set_multicast_ttl_v4(7).unwrap();
        assert_eq!((socket.ttl().unwrap(), socket.multicast_ttl_v4().unwrap()), (100, 7));
        assert!(socket.take_error().unwrap().is_none());
        assert!(format!("{socket:?}").starts_with("UdpSocket { addr: 127.0.0.1:"));
    }

    fn a_udp_socket_has_options_for_ipv6() {
        if !has_ipv6() {
            return;
        }
        let six = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        for on in [true, false] {
            six.set_multicast_loop_v6(on).unwrap();
            assert_eq!(six.multicast_loop_v6().unwrap(), on);
        }
    }

    fn multicast_groups_are_joined_and_left() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let (group, here) = (Ipv4Addr::new(239, 1, 2, 3), Ipv4Addr::LOCALHOST);
        socket.join_multicast_v4(&group, &here).unwrap();
        assert_eq!(kind(socket.join_multicast_v4(&group, &here)), ErrorKind::AddrInUse);
        socket.leave_multicast_v4(&group, &here).unwrap();
        assert_eq!(kind(socket.leave_multicast_v4(&group, &here)), ErrorKind::AddrNotAvailable);
    }

    fn multicast_groups_of_ipv6_are_joined_and_left() {
        if !has_ipv6() {
            return;
        }
        let six = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let loopback = 1; // the index that Linux gives it
        let group = "ff01::1:2:3".parse().unwrap();
        six.join_multicast_v6(&group, loopback).unwrap();
        six.leave_multicast_v6(&group, loopback).unwrap();
        assert_eq!(kind(six.leave_multicast_v6(&group, loopback)), ErrorKind::AddrNotAvailable);
    }

    fn a_udp_sockets_time_limits_hold() {
        let socket = UdpSocket::bind(LOOPBACK).unwrap();
        limited!(&socket, socket.recv_from(&mut [0]));
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(timed_out(&socket.recv(&mut [0]).unwrap_err()));
        assert!(timed_out(&socket.peek(&mut [0]).unwrap_err()));
        assert!(timed_out(&socket.peek_from(&mut [0]).unwrap_err()));
    }

    fn a_non_blocking_udp_socket_would_block() {
        let socket = UdpSocket::bind(LOOPBACK).unwrap();
        let me = socket.local_addr().unwrap();
        let clone = socket.try_clone().unwrap();
        clone.set_nonblocking(true).unwrap();
        for result in [socket.recv_from(&mut [0]), socket.peek_from(&mut [0])] {
            assert_eq!(kind(result), ErrorKind::WouldBlock);
        }
        let sender = spawn(move || clone.send_to(b"hello", me).unwrap());
        assert_eq!(poll(|| socket.recv_from(&mut [0; 8])).unwrap(), (5, me));
        sender.join().unwrap();
        let again = UdpSocket::from(OwnedFd::from(socket));
        again.send_to(b"x", me).unwrap();
        assert_eq!(poll(|| again.recv(&mut [0; 8])).unwrap(), 1);
    }

    // Unix streams.

    fn a_unix_stream_connects_to_a_path() {
        let folder = folder();
        let path = folder.path().join("socket");
        assert_eq!(kind(unix::UnixStream::connect(&path)), ErrorKind::NotFound);
        let listener = unix::UnixListener::bind(&path).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
        assert_eq!(kind(unix::UnixListener::bind(&path)), ErrorKind::AddrInUse);
        let to = path.clone();
        let client = spawn(move || {
            let mut stream = unix::UnixStream::connect(&to).unwrap();
            assert_eq!(stream.peer_addr().unwrap().as_pathname(), Some(&*to));
            assert!(stream.local_addr().unwrap().is_unnamed());
            stream.write_all(b"ping").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let (mut stream, from) = listener.accept().unwrap();
        assert!(from.is_unnamed());
        io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
        drop(stream);
        assert_eq!(client.join().unwrap(), "ping");
        drop(listener);
        assert_eq!(kind(unix::UnixStream::connect(&path)), ErrorKind::ConnectionRefused);
        assert!(path.exists(), "the file stays");
    }

    fn a_path_that_is_no_address_is_invalid() {
        for path in ["nul\0inside".into(), "x".repeat(108)] {
            assert_eq!(kind(unix::UnixStream::connect(&path)), ErrorKind::InvalidInput);
            assert_eq!(kind(unix::UnixListener::bind(&path)), ErrorKind::InvalidInput);
            assert_eq!(kind(unix::UnixDatagram::bind(&path)), ErrorKind::InvalidInput);
            let socket = unix::UnixDatagram::unbound().unwrap();
            assert_eq!(kind(socket.connect(&path)), ErrorKind::InvalidInput);
            assert_eq!(kind(socket.send_to(b"x", &path)), ErrorKind::InvalidInput);
        }
    }

    fn an_abstract_address_needs_no_file() {
        let name = format!("wouldblock {} {}", std::process::id(), module_path!());
        let address = unix::SocketAddr::from_abstract_name(&name).unwrap();
        let listener = unix::UnixListener::bind_addr(&address).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
        let stream = unix::UnixStream::connect_addr(&address).unwrap();
        assert_eq!(stream.peer_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
        listener.accept().unwrap();
        let unnamed = stream.local_addr().unwrap();
        assert_eq!(kind(unix::UnixStream::connect_addr(&unnamed)), ErrorKind::InvalidInput);
    }

    fn a_pair_of_unix_streams_is_connected() {
        let (mut near, mut far) = unix::UnixStream::pair().unwrap();
        assert!(near.local_addr().unwrap().is_unnamed() && near.peer_addr().unwrap().is_unnamed());
        let parts = [IoSlice::new(b"hel"), IoSlice::new(b"lo")];
        assert_eq!(near.write_vectored(&parts).unwrap(), 5);
        let mut buf = [0; 5];
        far.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"hello");
        assert!(near.take_error().unwrap().is_none());
        assert!(format!("{near:?}").starts_with("UnixStream { fd: "));
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(far.read(&mut buf).unwrap(), 0);
        drop(near);
        assert_eq!(kind(far.write(b"x")), ErrorKind::BrokenPipe);
        assert_eq!(kind(far.write_vectored(&parts)), ErrorKind::BrokenPipe);
    }

    fn of_many_slices_a_unix_stream_takes_as_many_as_the_kernel_does() {
        let (mut near, mut far) = unix::UnixStream::pair().unwrap();
        many_slices!(near, far);
    }

    fn megabytes_go_through_a_unix_stream() {
        let (mut near, mut far) = unix::UnixStream::pair().unwrap();
        let writer = spawn(move || near.write_all(&vec![b'x'; 4 << 20]).unwrap());
        assert_eq!(io::copy(&mut far, &mut io::sink()).unwrap(), 4 << 20);
        writer.join().unwrap();
    }

    fn a_unix_streams_time_limits_hold() {
        let (near, _far) = unix::UnixStream::pair().unwrap();
        limited!(&near, (&near).read(&mut [0]));
        near.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let error = (&near).write_all(&vec![0; 16 << 20]).unwrap_err();
        assert!(timed_out(&error), "{error:?}");
    }

    fn a_non_blocking_unix_stream_would_block() {
        let (near, mut far) = unix::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        assert_eq!(kind((&near).read(&mut [0])), ErrorKind::WouldBlock);
        let writer = spawn(move || far.write_all(b"hello").unwrap());
        assert_eq!(poll(|| (&near).read(&mut [0; 8])).unwrap(), 5);
        writer.join().unwrap();
    }

    fn a_unix_listener_is_iterated_over() {
        let folder = folder();
        let path = folder.path().join("socket");
        let listener = unix::UnixListener::bind(&path).unwrap();
        let clone = listener.try_clone().unwrap();
        assert!(listener.take_error().unwrap().is_none());
        let clients = spawn(move || {
            for n in 0..4_u8 {
                unix::UnixStream::connect(&path).unwrap().write_all(&[n]).unwrap();
            }
        });
        let mut bytes = Vec::new();
        for stream in (&listener).into_iter().take(2).chain(clone.incoming().take(2)) {
            stream.unwrap().read_to_end(&mut bytes).unwrap();
        }
        assert_eq!(bytes, [0, 1, 2, 3]);
        clients.join().unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(kind(clone.accept()), ErrorKind::WouldBlock);
    }

    fn a_unix_stream_becomes_a_descriptor_and_a_stream_again() {
        let (near, mut far) = unix::UnixStream::pair().unwrap();
        let mut near = unix::UnixStream::from(OwnedFd::from(near));
        let writer = spawn(move || near.write_all(b"hello").unwrap());
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 5);
        writer.join().unwrap();
    }

    // Unix datagrams.

    fn a_unix_datagram_arrives_with_its_origin() {
        let folder = folder();
        let [near, far] = ["near", "far"].map(|name| folder.path().join(name));
        let (from, to) = (near.clone(), far.clone());
        let near = unix::UnixDatagram::bind(&near).unwrap();
        assert_eq!(kind(near.send_to(b"x", &far)), ErrorKind::NotFound);
        let far = unix::UnixDatagram::bind(&far).unwrap();
        let sender = spawn(move || near.send_to(b"hello", &to).unwrap());
        let mut buf = [0; 3];
        let (n, sent_by) = far.recv_from(&mut buf).unwrap();
        assert_eq!((n, &buf, sent_by.as_pathname()), (3, b"hel", Some(&*from)));
        assert_eq!(sender.join().unwrap(), 5);
        let address = far.local_addr().unwrap();
        let nobody = unix::UnixDatagram::unbound().unwrap();
        assert_eq!(nobody.send_to_addr(b"", &address).unwrap(), 0);
        let (n, sent_by) = far.recv_from(&mut buf).unwrap();
        assert!(n == 0 && sent_by.is_unnamed());
        assert_eq!(kind(unix::UnixDatagram::bind_addr(&address)), ErrorKind::AddrInUse);
    }

    fn a_connected_unix_datagram_socket_knows_its_peer() {
        let folder = folder();
        let path = folder.path().join("socket");
        let far = unix::UnixDatagram::bind(&path).unwrap();
        let near = unix::UnixDatagram::unbound().unwrap();
        assert_eq!(kind(near.peer_addr()), ErrorKind::NotConnected);
        assert_eq!(kind(near.send(b"x")), ErrorKind::NotConnected);
        near.connect(&path).unwrap();
        assert_eq!(near.peer_addr().unwrap().as_pathname(), Some(&*path));
        near.connect_addr(&far.local_addr().unwrap()).unwrap();
        near.send(b"hello").unwrap();
        assert_eq!(far.recv(&mut [0; 8]).unwrap(), 5);
        drop(far);
        assert_eq!(kind(near.send(b"x")), ErrorKind::ConnectionRefused);
    }

    fn a_pair_of_unix_datagram_sockets_is_connected() {
        let (near, far) = unix::UnixDatagram::pair().unwrap();
        near.send(b"one").unwrap();
        near.try_clone().unwrap().send(b"other").unwrap();
        assert_eq!(far.recv(&mut [0; 8]).unwrap(), 3);
        assert_eq!(far.recv(&mut [0; 8]).unwrap(), 5);
        assert!(near.take_error().unwrap().is_none());
        let near = unix::UnixDatagram::from(OwnedFd::from(near));
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(kind(near.send(b"x")), ErrorKind::BrokenPipe);
    }

    fn a_unix_datagram_sockets_time_limits_hold() {
        let (near, _far) = unix::UnixDatagram::pair().unwrap();
        limited!(&near, near.recv(&mut [0]));
        near.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(timed_out(&near.recv_from(&mut [0]).unwrap_err()));
        near.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let error = (0..10_000).find_map(|_| near.send(b"x").err()).unwrap();
        assert!(timed_out(&error), "{error:?}");
    }

    fn a_full_queue_holds_up_whoever_sends_to_it() {
        let folder = folder();
        let path = folder.path().join("socket");
        let far = unix::UnixDatagram::bind(&path).unwrap();
        let near = unix::UnixDatagram::unbound().unwrap();
        near.set_nonblocking(true).unwrap();
        let sent = (0..).take_while(|_| near.send_to(b"x", &path).is_ok()).count();
        assert_eq!(kind(near.send_to(b"x", &path)), ErrorKind::WouldBlock);
        near.set_nonblocking(false).unwrap();
        near.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let error = near.send_to(b"x", &path).unwrap_err();
        assert!(timed_out(&error), "{error:?}");
        near.set_write_timeout(None).unwrap();
        let sender = spawn(move || near.send_to(b"last", &path).unwrap());
        for _ in 0..sent {
            assert_eq!(far.recv(&mut [0; 8]).unwrap(), 1);
        }
        assert_eq!((far.recv(&mut [0; 8]).unwrap(), sender.join().unwrap()), (4, 4));
    }

    fn a_non_blocking_unix_datagram_socket_would_block() {
        let (near, far) = unix::UnixDatagram::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        assert_eq!(kind(near.recv(&mut [0])), ErrorKind::WouldBlock);
        assert_eq!(kind(near.recv_from(&mut [0])), ErrorKind::WouldBlock);
        let sender = spawn(move || far.send(b"hello").unwrap());
        assert_eq!(poll(|| near.recv(&mut [0; 8])).unwrap(), 5);
        sender.join().unwrap();
    }
}

// What the compiler knows of the types.

/// What is found where an inherent constant of this name does not apply.
trait Fallback {
    const HOLDS: bool = false;
}

impl<T: ?Sized> Fallback for T {}

/// The auto traits of a type, of these: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe.
macro_rules! auto_traits {
    ($type:ty) => {{
        macro_rules! holds {
            ($auto:path) => {{
                struct Is<T: ?Sized>(std::marker::PhantomData<T>);
                #[allow(dead_code, reason = "where the bound does not hold, the fallback is taken")]
                impl<T: ?Sized + $auto> Is<T> {
                    const HOLDS: bool = true;
                }
                Is::<$type>::HOLDS
            }};
        }
        use std::panic::{RefUnwindSafe, UnwindSafe};
        [holds!(Send), holds!(Sync), holds!(Unpin), holds!(UnwindSafe), holds!(RefUnwindSafe)]
    }};
}

#[test]
fn our_types_have_the_auto_traits_of_stds() {
    use std::net as std_net;
    use std::os::unix::net as std_unix;
    use wouldblock::net::{self, unix};
    macro_rules! same {
        ($($ours:ty = $stds:ty;)*) => {$(
            assert_eq!(auto_traits!($ours), auto_traits!($stds), stringify!($ours));
        )*};
    }
    same! {
        net::TcpStream = std_net::TcpStream;
        net::TcpListener = std_net::TcpListener;
        net::UdpSocket = std_net::UdpSocket;
        net::Incoming<'_> = std_net::Incoming<'_>;
        unix::UnixStream = std_unix::UnixStream;
        unix::UnixListener = std_unix::UnixListener;
        unix::UnixDatagram = std_unix::UnixDatagram;
        unix::Incoming<'_> = std_unix::Incoming<'_>;
    }
}

/// Operations, which std has not.
#[test]
fn operations_may_be_sent_to_and_shared_with_other_threads() {
    use wouldblock::net::{self, unix};
    assert_eq!(auto_traits!(std::cell::Cell<*const u8>), [false, false, true, true, false]);
    let plain = [true, true, true];
    assert_eq!(auto_traits!(net::Readiness<'_>)[..3], plain);
    assert_eq!(auto_traits!(net::Accepting<'_>)[..3], plain);
    assert_eq!(auto_traits!(unix::Accepting<'_>)[..3], plain);
    assert_eq!(auto_traits!(unix::Connecting)[..3], plain);
    assert_eq!(auto_traits!(net::Connecting), auto_traits!(net::LookingUp));
    assert_eq!(auto_traits!(net::LookingUp)[0..3], plain);
}

/// Those that have no name: `.await` on a thread pool's task asks for `Send`.
#[test]
fn operations_without_a_name_may_be_sent_to_other_threads() {
    use wouldblock::net::{UdpSocket, unix::UnixDatagram};
    fn is_send<T: Send>(operation: T) {
        drop(operation);
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    is_send(udp.connecting(address));
    is_send(udp.sending(b"x"));
    is_send(udp.sending_to(b"x", address));
    is_send(udp.sending_to(b"x", std::rc::Rc::new(address).as_ref()));
    is_send(udp.receiving(&mut [0]));
    is_send(udp.receiving_from(&mut [0]));
    is_send(udp.peeking(&mut [0]));
    is_send(udp.peeking_from(&mut [0]));
    let (unix, _) = UnixDatagram::pair().unwrap();
    is_send(unix.sending(b"x"));
    is_send(unix.sending_to(b"x", "path"));
    is_send(unix.sending_to_addr(b"x", &unix.local_addr().unwrap()));
    is_send(unix.receiving(&mut [0]));
    is_send(unix.receiving_from(&mut [0]));
}
