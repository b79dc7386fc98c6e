//! Unix sockets in three eras, and where the kernel does not tell that there is room again. What std
//! documents is in `like_std.rs`.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as std_unix;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::util::*;
use wouldblock::net::unix::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use wouldblock::op::timeout;
use wouldblock::time::now;
use wouldblock::{JoinHandle, future, generator, green, stats};

/// A path at which nothing is, in a folder that is removed when it is dropped.
fn path() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    (folder, path)
}

// Streams.

#[test]
fn a_conversation_in_all_eras() {
    bounded(|| {
        let (_folder, path) = path();
        let listener = Arc::new(UnixListener::bind(&path).unwrap());
        let (a, b, c) = (listener.clone(), listener.clone(), listener);
        let servers = [
            generator::spawn(move |y| y.wait(a.accepting()).unwrap().0),
            green::spawn(move || b.accept().unwrap().0),
            future::spawn(async move { c.accepting().await.unwrap().0 }),
        ]
        .map(|server| {
            green::spawn(move || {
                let mut stream = join(server);
                let mut text = Vec::new();
                stream.read_to_end(&mut text).unwrap();
                stream.write_all(&text).unwrap();
            })
        });
        let text: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        let (to, said) = (path.clone(), text.clone());
        let generator = generator::spawn(move |y| {
            let stream = y.wait(UnixStream::connecting(to)).unwrap();
            let mut left = &said[..];
            while !left.is_empty() {
                match stream.try_write(left) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        y.wait(stream.writable()).unwrap();
                    }
                    result => left = &left[result.unwrap()..],
                }
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let (mut answer, mut buf) = (Vec::new(), [0; 1000]);
            loop {
                match stream.try_read(&mut buf) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        y.wait(stream.readable()).unwrap();
                    }
                    Ok(0) => break answer,
                    result => answer.extend_from_slice(&buf[..result.unwrap()]),
                }
            }
        });
        let (to, said) = (path.clone(), text.clone());
        let greenlet = green::spawn(move || {
            let mut stream = UnixStream::connect(to).unwrap();
            stream.write_all(&said).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        });
        let said = text.clone();
        let future = future::spawn(async move {
            use futures_lite::{AsyncReadExt, AsyncWriteExt};
            let mut stream = UnixStream::connecting(path).await.unwrap();
            AsyncWriteExt::write_all(&mut stream, &said).await.unwrap();
            AsyncWriteExt::close(&mut stream).await.unwrap();
            let mut answer = Vec::new();
            AsyncReadExt::read_to_end(&mut stream, &mut answer).await.unwrap();
            answer
        });
        for client in [generator, greenlet, future] {
            assert!(join(client) == text);
        }
        servers.into_iter().for_each(join);
    });
}

#[test]
fn nobody_there_is_an_error_in_all_eras() {
    bounded(|| {
        let (_folder, path) = path();
        let errors = in_each_era(|| UnixStream::connecting(path.clone()));
        assert!(errors.iter().all(|e| e.as_ref().unwrap_err().kind() == ErrorKind::NotFound));
        drop(std_unix::UnixListener::bind(&path).unwrap());
        let errors = in_each_era(|| UnixStream::connecting(path.clone()));
        let refused = |e: &std::io::Error| e.kind() == ErrorKind::ConnectionRefused;
        assert!(errors.iter().all(|e| refused(e.as_ref().unwrap_err())));
    });
}

/// A listener at `path` whose backlog is full of what is given with it.
fn full(path: &Path) -> (UnixListener, Vec<socket2::Socket>) {
    let new = || {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let address = socket2::SockAddr::unix(path).unwrap();
    let listener = new();
    listener.bind(&address).unwrap();
    listener.listen(1).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = new();
        match socket.connect(&address) {
            Ok(()) => waiting.push(socket),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::WouldBlock);
                return (OwnedFd::from(listener).into(), waiting);
            }
        }
    }
}

/// Tasks of the three eras that connect to `path`.
fn connect_to(path: &Path) -> [JoinHandle<UnixStream>; 3] {
    let (a, b, c) = (path.to_owned(), path.to_owned(), path.to_owned());
    [
        generator::spawn(move |y| y.wait(UnixStream::connecting(a)).unwrap()),
        green::spawn(move || UnixStream::connect(b).unwrap()),
        future::spawn(async move { UnixStream::connecting(c).await.unwrap() }),
    ]
}

#[test]
fn connecting_waits_for_room_in_the_backlog_without_spinning() {
    virtually(|| {
        let (_folder, path) = path();
        let (listener, waiting) = full(&path);
        let clients = connect_to(&path);
        let turns = stats().turns;
        green::sleep(10_000 * MS);
        let turns = stats().turns - turns;
        // Each tries after 1, 3, 7, .. 127, 227, 327, .. ms.
        assert!((300..400).contains(&turns), "{turns} turns in 10 s");
        assert!(!clients.iter().any(JoinHandle::is_finished));
        let start = now();
        for _ in 0..waiting.len() + 3 {
            listener.accept().unwrap();
        }
        clients.into_iter().for_each(|client| drop(join(client)));
        assert!(now() - start <= 300 * MS, "as soon as there is room");
    });
}

#[test]
fn connecting_to_a_full_backlog_can_be_cancelled_and_limited() {
    virtually(|| {
        let (_folder, path) = path();
        let (listener, waiting) = full(&path);
        let clients = connect_to(&path);
        green::sleep(MS);
        for client in &clients {
            client.cancel();
        }
        assert!(clients.into_iter().all(|client| client.join().unwrap_err().is_cancelled()));
        let start = now();
        assert!(green::timeout(50 * MS, || UnixStream::connect(&path)).is_err());
        let results = in_each_era(|| timeout(50 * MS, UnixStream::connecting(path.clone())));
        assert!(results.iter().all(Result::is_err));
        assert_eq!(now() - start, 100 * MS);
        waiting.iter().for_each(|_| drop(listener.accept().unwrap()));
        assert_eq!(listener.try_accept().unwrap_err().kind(), ErrorKind::WouldBlock, "given up");
    });
}

// Datagrams.

#[test]
fn datagrams_are_exchanged_in_all_eras() {
    bounded(|| {
        let (folder, path) = path();
        let server = UnixDatagram::bind(&path).unwrap();
        let server = green::spawn(move || {
            let mut buf = [0; 64];
            for _ in 0..3 {
                let (n, from) = server.recv_from(&mut buf).unwrap();
                server.send_to_addr(&buf[..n], &from).unwrap();
            }
        });
        let new = |name| UnixDatagram::bind(folder.path().join(name)).unwrap();
        let (a, b, c) = (new("a"), new("b"), new("c"));
        let to = [path.clone(), path.clone(), path];
        let [to_a, to_b, to_c] = to;
        let clients = [
            generator::spawn(move |y| {
                y.wait(a.sending_to(b"ping", to_a)).unwrap();
                y.wait(a.receiving(&mut [0; 64])).unwrap()
            }),
            green::spawn(move || {
                b.send_to(b"ping", to_b).unwrap();
                b.recv(&mut [0; 64]).unwrap()
            }),
            future::spawn(async move {
                c.sending_to(b"ping", to_c).await.unwrap();
                c.receiving_from(&mut [0; 64]).await.unwrap().0
            }),
        ];
        assert_eq!(clients.map(join), [4; 3]);
        join(server);
    });
}

#[test]
fn a_sender_to_its_peer_is_told_that_there_is_room() {
    virtually(|| {
        let results = in_each_era(|| async {
            let (near, far) = UnixDatagram::pair().unwrap();
            let sent = (0..).take_while(|_| near.try_send(b"x").is_ok()).count();
            let receiver = green::spawn(move || {
                settle();
                (0..=sent).for_each(|_| assert_eq!(far.recv(&mut [0]).unwrap(), 1));
            });
            let start = now();
            near.sending(b"x").await.unwrap();
            receiver.await.unwrap();
            now() - start
        });
        assert_eq!(results, [std::time::Duration::ZERO; 3], "no time has had to pass");
    });
}

#[test]
fn a_sender_to_its_peers_full_queue_is_told_that_there_is_room() {
    virtually(|| {
        let (_folder, path) = path();
        let (receiver, queued) = full_of_others(&path);
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(&path).unwrap();
        let sender = green::spawn(move || sender.send(b"hello").unwrap());
        let turns = stats().turns;
        green::sleep(10_000 * MS);
        assert!(stats().turns - turns < 10, "it tries when there is room, and no sooner");
        let start = now();
        (0..queued).for_each(|_| assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1));
        assert_eq!(join(sender), 5);
        assert_eq!(now(), start, "no time has had to pass");
    });
}

/// A socket at `path` whose queue is full of others' datagrams, and how many these are.
fn full_of_others(path: &Path) -> (UnixDatagram, usize) {
    let socket = UnixDatagram::bind(path).unwrap();
    let other = std_unix::UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    let sent = (0..).take_while(|_| other.send_to(b"x", path).is_ok()).count();
    (socket, sent)
}

/// Tasks of the three eras that send to `path`.
fn send_to(path: &Path) -> [JoinHandle<usize>; 3] {
    let new = || (UnixDatagram::unbound().unwrap(), path.to_owned());
    let ((a, to_a), (b, to_b), (c, to_c)) = (new(), new(), new());
    [
        generator::spawn(move |y| y.wait(a.sending_to(b"hello", to_a)).unwrap()),
        green::spawn(move || b.send_to(b"hello", to_b).unwrap()),
        future::spawn(async move { c.sending_to(b"hello", to_c).await.unwrap() }),
    ]
}

#[test]
fn a_sender_to_a_full_queue_waits_without_spinning() {
    virtually(|| {
        let (_folder, path) = path();
        let (receiver, queued) = full_of_others(&path);
        let senders = send_to(&path);
        let turns = stats().turns;
        green::sleep(10_000 * MS);
        let turns = stats().turns - turns;
        assert!((300..400).contains(&turns), "{turns} turns in 10 s");
        assert!(!senders.iter().any(JoinHandle::is_finished));
        let start = now();
        (0..queued).for_each(|_| assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1));
        (0..3).for_each(|_| assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 5));
        assert_eq!(senders.map(join), [5; 3]);
        assert!(now() - start <= 100 * MS, "as soon as there is room");
    });
}

#[test]
fn sending_to_a_full_queue_can_be_cancelled_and_limited() {
    virtually(|| {
        let (_folder, path) = path();
        let (receiver, queued) = full_of_others(&path);
        let senders = send_to(&path);
        green::sleep(MS);
        for sender in &senders {
            sender.cancel();
        }
        assert!(senders.into_iter().all(|sender| sender.join().unwrap_err().is_cancelled()));
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_write_timeout(Some(50 * MS)).unwrap();
        let start = now();
        let error = socket.send_to(b"late", &path).unwrap_err();
        assert_eq!((error.kind(), now() - start), (ErrorKind::TimedOut, 50 * MS));
        let limited = green::wait(timeout(50 * MS, socket.sending_to(b"late", &path)));
        assert!(limited.is_err());
        (0..queued).for_each(|_| assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1));
        assert_eq!(receiver.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_sender_whose_turn_is_over_takes_another_and_does_not_pause() {
    virtually(|| {
        let (_folder, path) = path();
        let socket = Rc::new(UnixDatagram::bind(&path).unwrap());
        let (start, turns) = (now(), stats().turns);
        for _ in 0..200 {
            socket.send_to(b"x", &path).unwrap();
            socket.try_recv(&mut [0]).or_else(|_| socket.recv(&mut [0])).unwrap();
        }
        assert!(stats().turns - turns >= 3, "200 of each are more than one turn's");
        in_each_era(|| {
            let (socket, path) = (socket.clone(), path.clone());
            async move {
                for _ in 0..200 {
                    socket.sending_to(b"x", &path).await.unwrap();
                    socket.receiving(&mut [0]).await.unwrap();
                }
            }
        });
        assert_eq!(now(), start, "no time has had to pass");
    });
}

// Readiness, and who else uses the descriptor.

#[test]
fn a_loop_that_waits_for_what_is_ready_starves_nobody() {
    bounded(|| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&theirs).write_all(b"x").unwrap();
        let other = green::spawn(|| green::sleep(MS));
        let waits = (0..10_000_000).take_while(|_| {
            green::wait(ours.readable()).unwrap();
            !other.is_finished()
        });
        assert!(waits.count() < 10_000_000, "the other has had its turns");
    });
}

/// `recv(2)` on a duplicate of a descriptor, as a library in C does.
fn receive_behind(socket: &impl AsRawFd) -> std::io::Result<usize> {
    let mut byte = 0_u8;
    // SAFETY: the call writes one byte, into this frame; the duplicate is closed again.
    let n = unsafe {
        let fd = libc::dup(socket.as_raw_fd());
        let n = libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT);
        let error = std::io::Error::last_os_error();
        libc::close(fd);
        if n < 0 { Err(error) } else { Ok(n) }
    };
    n.map(|n| n as usize)
}

#[test]
fn readiness_that_foreign_code_has_used_up_is_none() {
    virtually(|| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ours = Rc::new(ours);
        for _ in 0..3 {
            (&theirs).write_all(b"x").unwrap();
            green::wait(ours.readable()).unwrap();
            assert_eq!(receive_behind(&*ours).unwrap(), 1);
            assert_eq!(receive_behind(&*ours).unwrap_err().kind(), ErrorKind::WouldBlock);
            let waits = [
                generator::spawn({
                    let ours = ours.clone();
                    move |y| y.wait(timeout(MS, ours.readable())).is_err()
                }),
                green::spawn({
                    let ours = ours.clone();
                    move || green::timeout(MS, || green::wait(ours.readable())).is_err()
                }),
                future::spawn({
                    let ours = ours.clone();
                    async move { timeout(MS, ours.readable()).await.is_err() }
                }),
            ];
            assert_eq!(waits.map(join), [true; 3], "they have waited");
        }
    });
}

/// Writes by a duplicate until there is no room.
fn fill(socket: &UnixStream) {
    let mut foreign = std_unix::UnixStream::from(socket.as_fd().try_clone_to_owned().unwrap());
    while foreign.write(&[0; 4096]).is_ok() {}
}

#[test]
fn room_that_foreign_code_has_used_up_is_none() {
    virtually(|| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        green::wait(ours.writable()).unwrap();
        fill(&ours);
        assert!(green::timeout(MS, || green::wait(ours.writable())).is_err(), "it has waited");
        let reader = green::spawn(move || {
            green::sleep(MS);
            std::io::copy(&mut &theirs, &mut std::io::sink()).unwrap();
        });
        green::wait(ours.writable()).unwrap();
        ours.shutdown(std::net::Shutdown::Both).unwrap();
        green::wait(ours.writable()).unwrap(); // to find that nothing can be written any more
        join(reader);
    });
}

#[test]
fn writing_that_has_ended_is_worth_a_try_also_without_room() {
    virtually(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        green::wait(ours.writable()).unwrap();
        fill(&ours);
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(green::timeout(HOUR, || green::wait(ours.writable())).is_ok());
    });
}

#[test]
fn what_completes_at_once_spends_the_turn_too() {
    bounded(|| {
        let (_folder, path) = path();
        let _listener = UnixListener::bind(&path).unwrap();
        let mut connections = Vec::new();
        let turns = stats().turns;
        (0..400).for_each(|_| connections.push(UnixStream::connect(&path).unwrap()));
        connections.clear();
        assert!(stats().turns - turns >= 3, "400 are more than one turn's");
        let turns = stats().turns;
        future::spawn(async move {
            for _ in 0..400 {
                connections.push(UnixStream::connecting(&path).await.unwrap());
            }
        })
        .join()
        .unwrap();
        assert!(stats().turns - turns >= 3, "400 are more than one turn's");
    });
}

// Errors, and the backlog.

#[test]
fn what_cannot_be_bound_or_connected_to_is_named_with_its_error() {
    let check = || {
        let (_folder, path) = path();
        let error = UnixStream::connect(&path).unwrap_err();
        let expected =
            format!("cannot connect to {path:?}: No such file or directory (os error 2)");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::NotFound, expected.clone()));
        let socket = UnixDatagram::unbound().unwrap();
        assert_eq!(socket.connect(&path).unwrap_err().to_string(), expected);
        let _listener = UnixListener::bind(&path).unwrap();
        for error in
            [UnixListener::bind(&path).unwrap_err(), UnixDatagram::bind(&path).unwrap_err()]
        {
            let expected = format!("cannot bind {path:?}: Address already in use (os error 98)");
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::AddrInUse, expected));
        }
        let name = format!("wouldblock, errors, {}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let error = socket.connect_addr(&address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&name), "{error}");
    };
    check();
    bounded(check);
}

/// std's is 128.
#[test]
fn a_backlog_holds_two_hundred_connections() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    if most.trim().parse::<u32>().unwrap() < 200 {
        println!("skipped: this kernel's backlogs are shorter ({most})");
        return;
    }
    virtually(|| {
        let (_folder, path) = path();
        let _listener = UnixListener::bind(&path).unwrap();
        let start = now();
        let connected = (0..200).map(|_| UnixStream::connect(&path).unwrap()).collect::<Vec<_>>();
        assert_eq!((connected.len(), now()), (200, start), "no time has had to pass");
    });
}

// Any of them.

#[test]
fn sockets_are_plain_data() {
    fn is_plain<T: Send + Sync + 'static>() {}
    is_plain::<UnixStream>();
    is_plain::<UnixListener>();
    is_plain::<UnixDatagram>();
}

#[test]
fn a_socket_moves_between_a_scheduler_and_a_thread_without() {
    let (mut near, far) = UnixStream::pair().unwrap();
    let thread = std::thread::spawn(move || {
        near.write_all(b"ping").unwrap();
        let mut answer = [0; 4];
        near.read_exact(&mut answer).unwrap();
        answer
    });
    bounded(|| {
        let far = Rc::new(far);
        let mut text = [0; 4];
        (&*far).read_exact(&mut text).unwrap();
        (&*far).write_all(&text).unwrap();
    });
    assert_eq!(&thread.join().unwrap(), b"ping");
}

#[test]
fn stds_sockets_are_converted_both_ways() {
    let (near, mut far) = std_unix::UnixStream::pair().unwrap();
    let near = UnixStream::try_from(near).unwrap();
    let near = bounded(move || {
        let asked = near.try_clone().unwrap();
        let reader = green::spawn(move || (&asked).read(&mut [0; 8]).unwrap());
        settle();
        far.write_all(b"hello").unwrap();
        assert_eq!(join(reader), 5);
        near
    });
    let mut near = std_unix::UnixStream::try_from(near).unwrap();
    near.set_read_timeout(Some(5 * MS)).unwrap();
    assert_eq!(near.read(&mut [0]).unwrap(), 0, "the other end has gone");
}
