//! UDP in three eras, and in the modes that std has not. What std documents is in `like_std.rs`.

use std::io::ErrorKind;
use std::net::{self, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use crate::util::*;
use wouldblock::net::UdpSocket;
use wouldblock::op::timeout;
use wouldblock::time::now;
use wouldblock::{future, generator, green, group::gather, stats};

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

/// A greenlet that sends each datagram back, for ever.
fn echo() -> SocketAddr {
    let (socket, address) = socket();
    drop(green::spawn(move || {
        let mut buf = [0; 64];
        loop {
            let (n, from) = socket.recv_from(&mut buf).unwrap();
            socket.send_to(&buf[..n], from).unwrap();
        }
    }));
    address
}

#[test]
fn datagrams_are_exchanged_in_all_eras() {
    bounded(|| {
        let server = echo();
        let by_hand = generator::spawn(move |y| {
            let (socket, _) = socket();
            socket.try_send_to(b"by hand", server).unwrap();
            let mut buf = [0; 64];
            loop {
                match socket.try_recv_from(&mut buf) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        y.wait(socket.readable()).unwrap();
                    }
                    result => {
                        let (n, from) = result.unwrap();
                        break (buf[..n].to_vec(), from);
                    }
                }
            }
        });
        let operations = generator::spawn(move |y| {
            let (socket, _) = socket();
            y.wait(socket.connecting(server)).unwrap();
            y.wait(socket.sending(b"operations")).unwrap();
            let mut buf = [0; 64];
            assert_eq!(y.wait(socket.peeking(&mut buf)).unwrap(), 10);
            let n = y.wait(socket.receiving(&mut buf)).unwrap();
            (buf[..n].to_vec(), server)
        });
        let greenlet = green::spawn(move || {
            let (socket, _) = socket();
            socket.connect(server).unwrap();
            socket.send(b"greenlet").unwrap();
            let mut buf = [0; 64];
            let n = socket.recv(&mut buf).unwrap();
            (buf[..n].to_vec(), server)
        });
        let future = future::spawn(async move {
            let (socket, _) = socket();
            socket.sending_to(b"future", ("localhost", server.port())).await.unwrap();
            let mut buf = [0; 64];
            let (n, peeked) = socket.peeking_from(&mut buf).await.unwrap();
            let (received, from) = socket.receiving_from(&mut buf).await.unwrap();
            assert_eq!((n, peeked), (received, from));
            (buf[..n].to_vec(), from)
        });
        for (task, text) in [
            (by_hand, "by hand"),
            (operations, "operations"),
            (greenlet, "greenlet"),
            (future, "future"),
        ] {
            assert_eq!(join(task), (text.as_bytes().to_vec(), server));
        }
    });
}

#[test]
fn a_hundred_sockets_are_served_at_once() {
    bounded(|| {
        let server = echo();
        let clients = (0..100_u32).map(|n| {
            green::spawn(move || {
                let (socket, _) = socket();
                let mut buf = [0; 4];
                for _ in 0..3 {
                    socket.send_to(&n.to_be_bytes(), server).unwrap();
                    assert_eq!(socket.recv_from(&mut buf).unwrap(), (4, server));
                    assert_eq!(buf, n.to_be_bytes());
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        assert!(green::wait(gather(clients)).iter().all(Result::is_ok));
    });
}

#[test]
fn receivers_are_served_in_the_order_in_which_they_came() {
    let log = Log::new();
    virtually_strictly(|| {
        let (socket, address) = socket();
        let socket = Arc::new(socket);
        let receivers = [0, 1, 2, 3, 4, 5].map(|name| {
            let (socket, log) = (socket.clone(), log.clone());
            match name % 3 {
                0 => generator::spawn(move |y| {
                    let mut buf = [0];
                    y.wait(socket.receiving(&mut buf)).unwrap();
                    log.push((name, buf[0]));
                }),
                1 => green::spawn(move || {
                    let mut buf = [0];
                    socket.recv(&mut buf).unwrap();
                    log.push((name, buf[0]));
                }),
                _ => future::spawn(async move {
                    let mut buf = [0];
                    socket.receiving_from(&mut buf).await.unwrap();
                    log.push((name, buf[0]));
                }),
            }
        });
        for n in 0..6 {
            green::sleep(MS);
            socket.send_to(&[n], address).unwrap();
        }
        receivers.into_iter().for_each(join);
    });
    assert_eq!(log.take(), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
}

#[test]
fn a_cancelled_receiver_leaves_the_datagram() {
    virtually(|| {
        let (socket, address) = socket();
        let socket = Rc::new(socket);
        let (a, b, c) = (socket.clone(), socket.clone(), socket.clone());
        let receivers = [
            generator::spawn(move |y| y.wait(a.receiving(&mut [0; 8])).unwrap()),
            green::spawn(move || b.recv(&mut [0; 8]).unwrap()),
            future::spawn(async move { c.receiving(&mut [0; 8]).await.unwrap() }),
        ];
        settle();
        receivers.iter().for_each(wouldblock::JoinHandle::cancel);
        for receiver in receivers {
            assert!(receiver.join().unwrap_err().is_cancelled());
        }
        socket.send_to(b"hello", address).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 5);
    });
}

#[test]
fn a_refusal_wakes_who_waits_for_an_answer() {
    virtually(|| {
        let (deaf, gone) = socket();
        deaf.connect(gone).unwrap(); // it hears itself alone
        let errors = in_each_era(|| async move {
            let (socket, _) = socket();
            socket.connect(gone).unwrap();
            let mut buf = [0];
            let mut answer = Box::pin(socket.receiving(&mut buf));
            assert!(poll_once(&mut answer).is_pending());
            socket.send(b"anybody?").unwrap();
            answer.await.unwrap_err().kind()
        });
        assert_eq!(errors, [ErrorKind::ConnectionRefused; 3]);
    });
}

#[test]
fn time_limits_are_exact() {
    virtually(|| {
        let (socket, _) = socket();
        socket.set_read_timeout(Some(50 * MS)).unwrap();
        let start = now();
        let error = socket.recv_from(&mut [0]).unwrap_err();
        assert_eq!((error.kind(), now() - start), (ErrorKind::TimedOut, 50 * MS));
        // The limit is for green calls; the other eras have `timeout`.
        let limited = green::wait(timeout(HOUR, socket.receiving(&mut [0])));
        assert_eq!(limited.unwrap_err().to_string(), "timed out after 3600s");
    });
}

#[test]
fn a_loop_that_asks_without_waiting_starves_nobody() {
    strictly(|| {
        let (socket, address) = socket();
        socket.set_nonblocking(true).unwrap();
        let sender = green::spawn(move || {
            (0..10).for_each(|_| green::yield_now());
            net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", address).unwrap();
        });
        let asked = (0..1000).take_while(|_| socket.recv(&mut [0; 8]).is_err()).count();
        assert!((10..1000).contains(&asked), "others have had a turn each time: {asked}");
        join(sender);
    });
}

#[test]
fn non_blocking_mode_still_receives_all_that_has_come() {
    bounded(|| {
        let (socket, address) = socket();
        socket.set_nonblocking(true).unwrap();
        // More than a task may do in one turn.
        (0..200).for_each(|_| assert_eq!(socket.send_to(b"x", address).unwrap(), 1));
        let received = (0..).take_while(|_| socket.recv(&mut [0]).is_ok()).count();
        assert_eq!(received, 200);
        assert!(stats().turns > 1);
    });
}

#[test]
fn a_socket_that_becomes_stds_again_has_the_mode_that_it_was_given() {
    for nonblocking in [true, false] {
        let (socket, _) = socket();
        socket.set_nonblocking(nonblocking).unwrap();
        let socket = net::UdpSocket::try_from(socket).unwrap();
        socket.set_read_timeout(Some(5 * MS)).unwrap();
        let start = std::time::Instant::now();
        assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(nonblocking || start.elapsed() >= 4 * MS, "it has waited");
        UdpSocket::try_from(socket).unwrap();
    }
}

#[test]
fn what_cannot_be_bound_or_connected_to_is_named_with_its_error() {
    let check = || {
        let (socket, taken) = socket();
        let error = UdpSocket::bind(taken).unwrap_err();
        let expected = format!("cannot bind {taken}: Address already in use (os error 98)");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::AddrInUse, expected));
        let error = socket.connect("[::1]:80").unwrap_err();
        assert!(error.to_string().starts_with("cannot connect to [::1]:80: "), "{error}");
        assert_eq!(
            UdpSocket::bind(&[][..] as &[SocketAddr]).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    };
    check();
    bounded(check);
}

#[test]
fn what_completes_at_once_spends_the_turn_too() {
    bounded(|| {
        let (socket, address) = socket();
        // Each call is two operations; no datagram is left in the socket's buffer, which has no room for all.
        let mut calls: Vec<Box<dyn FnMut()>> = vec![
            Box::new(|| {
                assert!(socket.send_to(b"x", address).is_ok());
                assert!(socket.recv(&mut [0]).is_ok());
            }),
            Box::new(|| {
                assert!(green::wait(socket.sending_to(b"x", address)).is_ok());
                assert!(green::wait(socket.receiving_from(&mut [0])).is_ok());
            }),
            Box::new(|| (0..2).for_each(|_| green::wait(socket.connecting(address)).unwrap())),
        ];
        for call in &mut calls {
            let turns = stats().turns;
            (0..200).for_each(|_| call());
            let turns = stats().turns - turns;
            assert!((3..6).contains(&turns), "128 operations are a turn's: {turns}");
        }
    });
}
