//! TCP on this crate's sockets, in all eras and outside of any task; over loopback. What std documents of
//! its own sockets is in `like_std.rs`, what goes wrong with connections in `faults.rs`.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{
    self, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::util::*;
use wouldblock::generator::Yielder;
use wouldblock::net::{TcpListener, TcpStream, ToSocketAddrs, looking_up};
use wouldblock::op::timeout;
use wouldblock::time::now;
use wouldblock::{JoinHandle, Wait, future, generator, green, group::gather, stats};

// One program, in three eras: a client that says something, half-closes, and reads the answer to its end.

/// Retries a call that would block, as the generator era does.
fn retry<T>(
    y: &Yielder<Wait>,
    mut call: impl FnMut() -> io::Result<T>,
    mut wait: impl FnMut(&Yielder<Wait>) -> io::Result<()>,
) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::WouldBlock => wait(y)?,
            result => return result,
        }
    }
}

fn ask_as_generator(address: SocketAddr, text: Vec<u8>) -> JoinHandle<io::Result<Vec<u8>>> {
    generator::spawn(move |y| {
        let stream = y.wait(TcpStream::connecting(address))?;
        let mut left = &text[..];
        while !left.is_empty() {
            let n = retry(y, || stream.try_write(left), |y| y.wait(stream.writable()))?;
            left = &left[n..];
        }
        stream.shutdown(Shutdown::Write)?;
        let (mut answer, mut buf) = (Vec::new(), [0; 1000]);
        loop {
            match retry(y, || stream.try_read(&mut buf), |y| y.wait(stream.readable()))? {
                0 => return Ok(answer),
                n => answer.extend_from_slice(&buf[..n]),
            }
        }
    })
}

fn ask_as_greenlet(address: SocketAddr, text: Vec<u8>) -> JoinHandle<io::Result<Vec<u8>>> {
    green::spawn(move || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&text)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    })
}

fn ask_as_future(address: SocketAddr, text: Vec<u8>) -> JoinHandle<io::Result<Vec<u8>>> {
    future::spawn(async move {
        let mut stream = TcpStream::connecting(address).await?;
        futures_lite::AsyncWriteExt::write_all(&mut stream, &text).await?;
        futures_lite::AsyncWriteExt::close(&mut stream).await?;
        let mut answer = Vec::new();
        futures_lite::AsyncReadExt::read_to_end(&mut stream, &mut answer).await?;
        Ok(answer)
    })
}

/// The three, with texts of their own.
fn ask(
    address: SocketAddr,
    text: impl Fn(&str) -> Vec<u8>,
) -> [JoinHandle<io::Result<Vec<u8>>>; 3] {
    [
        ask_as_generator(address, text("generator")),
        ask_as_greenlet(address, text("greenlet")),
        ask_as_future(address, text("future")),
    ]
}

/// Reads each connection to its end, a task for each, and answers with all it has read.
fn answering_server() -> SocketAddr {
    let (listener, address) = listener();
    drop(green::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            drop(green::spawn(move || {
                let mut text = Vec::new();
                stream.read_to_end(&mut text).unwrap();
                stream.write_all(&text).unwrap();
            }));
        }
    }));
    address
}

#[test]
fn what_is_sent_arrives_and_a_half_closed_connection_still_answers() {
    bounded(|| {
        let address = answering_server();
        let answers = ask(address, |era| format!("from the {era}").into_bytes()).map(join);
        let answers = answers.map(|answer| String::from_utf8(answer.unwrap()).unwrap());
        assert_eq!(answers, ["from the generator", "from the greenlet", "from the future"]);
    });
}

#[test]
fn nothing_at_all_is_an_end_at_once() {
    bounded(|| {
        let address = answering_server();
        let answers = ask(address, |_| Vec::new()).map(join);
        assert!(answers.into_iter().all(|answer| answer.unwrap().is_empty()));
    });
}

#[test]
fn a_megabyte_each_way_arrives_in_order() {
    bounded(|| {
        let address = answering_server();
        let text: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        for answer in ask(address, |_| text.clone()).map(join) {
            assert!(answer.unwrap() == text);
        }
    });
}

#[test]
fn a_thousand_connections_are_served_at_once() {
    const CLIENTS: usize = 1000;
    if !may_open(3000) {
        return println!("skipped: this process may not open 3000 descriptors (`ulimit -Hn`)");
    }
    bounded(|| {
        let (listener, address) = listener();
        let open = Rc::new(Cell::new(0));
        let (most, counter) = (Rc::new(Cell::new(0)), open.clone());
        let peak = most.clone();
        drop(future::spawn(async move {
            loop {
                let (mut stream, _) = listener.accepting().await.unwrap();
                let (open, most) = (counter.clone(), peak.clone());
                drop(future::spawn(async move {
                    open.set(open.get() + 1);
                    most.set(most.get().max(open.get()));
                    let mut buf = [0; 16];
                    loop {
                        match futures_lite::AsyncReadExt::read(&mut stream, &mut buf).await.unwrap()
                        {
                            0 => break open.set(open.get() - 1),
                            n => futures_lite::AsyncWriteExt::write_all(&mut stream, &buf[..n])
                                .await
                                .unwrap(),
                        }
                    }
                }));
            }
        }));
        // All are connected before the first goes on; no more at a time than the listener's backlog holds.
        let (go, started) = async_channel::bounded::<()>(1);
        let mut clients = Vec::new();
        while clients.len() < CLIENTS {
            for n in 0..100 {
                let started = started.clone();
                clients.push(green::spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    green::wait(started.recv()).unwrap_err();
                    let text = format!("{n:08}");
                    for _ in 0..3 {
                        stream.write_all(text.as_bytes()).unwrap();
                        let mut echo = [0; 8];
                        stream.read_exact(&mut echo).unwrap();
                        assert_eq!(echo, text.as_bytes());
                    }
                }));
            }
            while open.get() < clients.len() {
                green::sleep(MS);
            }
        }
        drop(go);
        assert!(green::wait(gather(clients)).iter().all(Result::is_ok));
        assert_eq!(most.get(), CLIENTS);
    });
}

#[test]
fn ten_megabytes_go_both_ways_at_once() {
    const BYTES: usize = 10 << 20;
    bounded(|| {
        let (near, far) = pair();
        let ends = [Arc::new(near), Arc::new(far)];
        let tasks = ends.iter().flat_map(|end| {
            let (writer, reader) = (end.clone(), end.clone());
            [
                green::spawn(move || {
                    let block = vec![b'x'; 1 << 16];
                    let blocks = BYTES / block.len();
                    (0..blocks).for_each(|_| Write::write_all(&mut &*writer, &block).unwrap());
                    writer.shutdown(Shutdown::Write).unwrap();
                    BYTES
                }),
                future::spawn(async move {
                    let (mut read, mut buf) = (0, vec![0; 1 << 16]);
                    loop {
                        match futures_lite::AsyncReadExt::read(&mut &*reader, &mut buf)
                            .await
                            .unwrap()
                        {
                            0 => return read,
                            n => read += n,
                        }
                    }
                }),
            ]
        });
        let tasks: Vec<_> = tasks.collect();
        let counts: Vec<_> = green::wait(gather(tasks)).into_iter().map(Result::unwrap).collect();
        assert_eq!(counts, [BYTES; 4]);
        assert!(stats().would_block > 0, "more than fits in the kernel's buffers");
    });
}

// Reading.

#[test]
fn is_idle_tells_an_open_silent_connection() {
    bounded(|| {
        let (ours, theirs) = half_pair();
        assert!(ours.is_idle());
        send(&theirs, b"x");
        assert!(!ours.is_idle(), "something has come");
        (&ours).read_exact(&mut [0]).unwrap();
        assert!(ours.is_idle());
        drop(theirs);
        assert!(!ours.is_idle(), "closed");
    });
}

/// Whoever asks in a turn that takes long does not get the answer of its beginning.
#[test]
fn is_idle_notices_what_has_come_since_the_turn_began() {
    bounded(|| {
        let (ours, theirs) = after_a_short_read();
        drop(theirs);
        let begin = Instant::now();
        while ours.is_idle() {
            assert!(begin.elapsed() < Duration::from_secs(30), "it is closed");
        }
    });
}

/// What has come meanwhile (over loopback, at once) shows that nobody has looked; and the wait is for it.
#[test]
fn after_a_short_read_the_next_try_is_spared_and_the_wait_is_not() {
    bounded(|| {
        let (ours, theirs) = after_a_short_read();
        send(&theirs, b"y");
        let spared = ours.try_read(&mut [0; 64]);
        assert_eq!(spared.unwrap_err().kind(), ErrorKind::WouldBlock);
        green::wait(ours.readable()).unwrap();
        assert_eq!(ours.try_read(&mut [0; 64]).unwrap(), 1);
    });
}

/// In the middle of a large body, more has come meanwhile.
#[test]
fn after_a_short_read_of_much_the_next_one_is_made() {
    bounded(|| {
        let (ours, theirs) = after_a_short_read();
        send(&theirs, &[0; 20_000]);
        let mut buf = vec![0; 100_000];
        while ours.peek(&mut buf).unwrap() < 20_000 {}
        assert_eq!((&ours).read(&mut buf).unwrap(), 20_000);
        send(&theirs, b"y");
        while ours.is_idle() {}
        assert_eq!(ours.try_read(&mut buf).unwrap(), 1);
    });
}

/// A short read saves the next one where somebody would wait for the event, and nowhere else.
#[test]
fn after_a_short_read_in_a_run_a_read_outside_of_it_gets_what_is_there() {
    let (ours, theirs) = bounded(after_a_short_read);
    send(&theirs, b"y");
    while ours.is_idle() {}
    assert_eq!(ours.try_read(&mut [0; 64]).unwrap(), 1);
}

/// The first 1024, as std: and what a read of as many leaves is not taken for nothing.
#[test]
fn of_many_slices_each_era_takes_as_many_as_the_kernel_does() {
    use futures::{AsyncReadExt, AsyncWriteExt};
    let text = [b'x'; 2000];
    let check = |mut near: TcpStream, mut far: TcpStream, await_both: bool| {
        let parts = text.chunks(1).map(io::IoSlice::new).collect::<Vec<_>>();
        let mut buf = [0; 2000];
        let written = match await_both {
            true => green::wait(AsyncWriteExt::write_vectored(&mut near, &parts)),
            false => near.try_write_vectored(&parts),
        };
        assert_eq!(written.unwrap(), 1024);
        Write::write_all(&mut near, &text[..476]).unwrap();
        while far.try_peek(&mut [0; 1500]).ok() != Some(1500) {
            green::yield_now();
        }
        let mut read = || {
            let mut buf = buf.chunks_mut(1).map(io::IoSliceMut::new).collect::<Vec<_>>();
            if await_both {
                return green::wait(AsyncReadExt::read_vectored(&mut far, &mut buf));
            }
            loop {
                match far.try_read_vectored(&mut buf) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => green::wait(far.readable())?,
                    read => break read,
                }
            }
        };
        assert_eq!([read().unwrap(), read().unwrap()], [1024, 476]);
    };
    bounded(|| {
        for await_both in [false, true] {
            let (near, far) = pair();
            check(near, far, await_both);
        }
    });
}

#[test]
fn shutting_down_reading_is_an_end_and_leaves_writing() {
    bounded(|| {
        let (mut ours, mut theirs) = half_pair();
        ours.shutdown(Shutdown::Read).unwrap();
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        ours.write_all(b"still").unwrap();
        theirs.read_exact(&mut [0; 5]).unwrap();
    });
}

// Writing.

#[test]
fn a_writer_waits_for_room() {
    bounded(|| {
        let (ours, mut theirs) = half_pair();
        let log = Log::new();
        let inside = log.clone();
        let writer = green::spawn(move || {
            Write::write_all(&mut &ours, &vec![b'x'; 16 << 20]).unwrap();
            inside.push("written");
        });
        green::sleep(MS);
        assert_eq!(log.len(), 0, "more than fits in the kernel's buffers");
        let reader = thread::spawn(move || io::copy(&mut theirs, &mut io::sink()).unwrap());
        join(writer);
        assert_eq!(reader.join().unwrap(), 16 << 20);
    });
}

// Time limits and options.

#[test]
fn a_read_timeout_is_timed_out() {
    virtually(|| {
        let (mut ours, theirs) = half_pair();
        assert_eq!(ours.read_timeout().unwrap(), None);
        ours.set_read_timeout(Some(50 * MS)).unwrap();
        assert_eq!(ours.read_timeout().unwrap(), Some(50 * MS));
        let start = now();
        let error = ours.read(&mut [0]).unwrap_err();
        assert_eq!((error.kind(), now() - start), (ErrorKind::TimedOut, 50 * MS));
        assert_eq!(error.to_string(), "timed out after 50ms");
        assert_eq!(ours.peek(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        // `read_exact` does not take it for a reason to try again.
        send(&theirs, b"half");
        let error = ours.read_exact(&mut [0; 8]).unwrap_err();
        assert_eq!((error.kind(), now() - start), (ErrorKind::TimedOut, 150 * MS));
        // It is over when it is taken back.
        ours.set_read_timeout(None).unwrap();
        let writer = green::spawn(move || {
            green::sleep(HOUR);
            send(&theirs, b"x");
        });
        assert_eq!(ours.read(&mut [0]).unwrap(), 1);
        join(writer);
    });
}

#[test]
fn a_write_timeout_is_timed_out() {
    virtually(|| {
        let (mut ours, _theirs) = half_pair();
        ours.set_write_timeout(Some(50 * MS)).unwrap();
        assert_eq!(ours.write_timeout().unwrap(), Some(50 * MS));
        let error = ours.write_all(&vec![b'x'; 16 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_time_limit_of_zero_is_refused_as_std_does() {
    let (ours, theirs) = half_pair();
    let zero = Some(Duration::ZERO);
    for error in [
        ours.set_read_timeout(zero).unwrap_err(),
        ours.set_write_timeout(zero).unwrap_err(),
        theirs.set_read_timeout(zero).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    ours.set_read_timeout(Some(Duration::MAX)).unwrap();
    virtually(|| {
        send(&theirs, b"x");
        assert_eq!((&ours).read(&mut [0]).unwrap(), 1);
    });
}

#[test]
fn a_clone_is_the_same_connection() {
    bounded(|| {
        let (ours, mut theirs) = half_pair();
        ours.set_read_timeout(Some(HOUR)).unwrap();
        let clone = ours.try_clone().unwrap();
        assert_eq!(clone.read_timeout().unwrap(), Some(HOUR));
        let reader = green::spawn(move || (&clone).read(&mut [0; 8]).unwrap());
        settle();
        (&ours).write_all(b"x").unwrap();
        drop(ours); // the connection stays: the clone has it
        theirs.read_exact(&mut [0]).unwrap();
        send(&theirs, b"hello");
        assert_eq!(join(reader), 5);
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "now it is closed");
    });
}

#[test]
fn a_cloned_listener_accepts_from_the_same_backlog() {
    bounded(|| {
        let (listener, address) = listener();
        let clone = listener.try_clone().unwrap();
        assert_eq!(clone.local_addr().unwrap(), address);
        let acceptors =
            [listener, clone].map(|listener| green::spawn(move || listener.accept().unwrap()));
        green::sleep(MS);
        let clients = [(); 2].map(|()| TcpStream::connect(address).unwrap().local_addr().unwrap());
        let mut accepted = acceptors.map(|task| join(task).1);
        accepted.sort_unstable();
        let mut clients = clients;
        clients.sort_unstable();
        assert_eq!(accepted, clients);
    });
}

// Accepting.

#[test]
fn connections_are_accepted_in_all_eras() {
    bounded(|| {
        let (listener, address) = listener();
        let listener = Arc::new(listener);
        let (a, b, c) = (listener.clone(), listener.clone(), listener.clone());
        let tasks = [
            generator::spawn(move |y| {
                let (_, first) = y.wait(a.accepting())?;
                let (_, second) = retry(y, || a.try_accept(), |y| y.wait(a.readable()))?;
                Ok::<_, io::Error>([first, second])
            }),
            green::spawn(move || Ok([b.accept()?.1, b.accept()?.1])),
            future::spawn(async move { Ok([c.accepting().await?.1, c.accepting().await?.1]) }),
        ];
        let clients: Vec<_> = (0..6).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut accepted: Vec<_> = tasks.map(join).into_iter().flat_map(Result::unwrap).collect();
        let mut expected: Vec<_> = clients.iter().map(|c| c.local_addr().unwrap()).collect();
        accepted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(accepted, expected);
        assert_eq!(listener.try_accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn incoming_never_ends() {
    bounded(|| {
        let (listener, address) = listener();
        let clients = green::spawn(move || {
            for n in 0..10_u8 {
                Write::write_all(&mut TcpStream::connect(address).unwrap(), &[n]).unwrap();
                green::yield_now();
            }
        });
        let mut bytes = Vec::new();
        for stream in listener.incoming().take(10) {
            Read::read_to_end(&mut stream.unwrap(), &mut bytes).unwrap();
        }
        assert_eq!(bytes, (0..10).collect::<Vec<_>>());
        join(clients);
        let more = green::timeout(5 * MS, || listener.incoming().next().is_some());
        assert!(more.is_err(), "it waits");
    });
}

// Connecting.

#[test]
fn a_refused_connection_is_refused_in_all_eras() {
    bounded(|| {
        let (address, _socket) = refusing();
        let tasks = [
            generator::spawn(move |y| y.wait(TcpStream::connecting(address)).unwrap_err().kind()),
            green::spawn(move || TcpStream::connect(address).unwrap_err().kind()),
            future::spawn(async move { TcpStream::connecting(address).await.unwrap_err().kind() }),
            green::spawn(move || TcpStream::connect_timeout(&address, HOUR).unwrap_err().kind()),
        ];
        assert_eq!(tasks.map(join), [ErrorKind::ConnectionRefused; 4]);
    });
}

#[test]
fn of_several_addresses_the_first_that_accepts_is_taken() {
    bounded(|| {
        let (refusing, _socket) = refusing();
        let (_listener, listening) = listener();
        let addresses = [refusing, listening, refusing];
        let stream = TcpStream::connect(&addresses[..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listening);
        let refused = TcpStream::connect(&[refusing, refusing][..]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let none = TcpStream::connect(&[][..] as &[SocketAddr]).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
        assert!(none.to_string().contains("no address"), "{none}");
    });
}

/// RFC 8305: an attempt goes on for 250 ms before the next one joins it.
#[test]
fn a_silent_address_holds_up_no_connection_in_any_era() {
    virtually(|| {
        let (silent, _sockets) = silent();
        let (_listener, listening) = listener();
        for silent_ones in 1..=3 {
            let mut addresses = vec![silent; silent_ones];
            addresses.push(listening);
            let start = now();
            for stream in in_each_era(|| TcpStream::connecting(&addresses[..])) {
                assert_eq!(stream.unwrap().peer_addr().unwrap(), listening);
            }
            assert_eq!(now() - start, silent_ones as u32 * 250 * MS);
        }
        let start = now();
        TcpStream::connect(&[silent, listening][..]).unwrap();
        assert_eq!(now() - start, 250 * MS);
    });
}

#[test]
fn an_attempt_that_fails_ends_none_that_is_under_way() {
    virtually(|| {
        let (silent, _sockets) = silent();
        let (refusing, _socket) = refusing();
        let start = now();
        let addresses = [refusing, silent, refusing];
        let all = in_each_era(|| timeout(1000 * MS, TcpStream::connecting(&addresses[..])));
        assert!(all.iter().all(Result::is_err), "{all:?}");
        assert_eq!(now() - start, 1000 * MS);
    });
}

#[test]
fn where_no_address_can_be_connected_to_each_is_named_with_its_error() {
    let ((one, _one), (other, _other)) = (refusing(), refusing());
    let check = |error: io::Error| {
        let refused = "Connection refused (os error 111)";
        let expected =
            format!("cannot connect to {one}: {refused}; cannot connect to {other}: {refused}");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::ConnectionRefused, expected));
    };
    let addresses = [one, other];
    check(TcpStream::connect(&addresses[..]).unwrap_err());
    bounded(|| {
        check(TcpStream::connect(&addresses[..]).unwrap_err());
        for result in in_each_era(|| TcpStream::connecting(&addresses[..])) {
            check(result.unwrap_err());
        }
        let text = TcpStream::connect_timeout(&one, HOUR).unwrap_err().to_string();
        assert_eq!(text, format!("cannot connect to {one}: Connection refused (os error 111)"));
    });
}

#[test]
fn what_cannot_be_bound_is_named_with_its_error() {
    let check = || {
        let (_listener, taken) = listener();
        let text = "Address already in use (os error 98)";
        let error = TcpListener::bind(taken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert_eq!(error.to_string(), format!("cannot bind {taken}: {text}"));
        let error = TcpListener::bind(&[taken, taken][..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let expected = format!("cannot bind {taken}: {text}; cannot bind {taken}: {text}");
        assert_eq!(error.to_string(), expected);
    };
    check();
    bounded(check);
}

/// std's is 128, at which the next one waits for a second.
#[test]
fn a_backlog_holds_two_hundred_connections() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    if most.trim().parse::<u32>().unwrap() < 200 {
        println!("skipped: this kernel's backlogs are shorter ({most})");
        return;
    }
    virtually(|| {
        let (_listener, address) = listener();
        let start = now();
        let connected = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
        assert_eq!((connected.len(), now()), (200, start), "no time has had to pass");
    });
}

#[test]
fn connecting_to_who_does_not_answer_times_out() {
    virtually(|| {
        let (address, _sockets) = silent();
        let start = now();
        let error = TcpStream::connect_timeout(&address, 50 * MS).unwrap_err();
        assert_eq!((error.kind(), now() - start), (ErrorKind::TimedOut, 50 * MS));
        let results = in_each_era(|| timeout(50 * MS, TcpStream::connecting(address)));
        assert!(results.iter().all(Result::is_err));
        assert!(green::timeout(50 * MS, || TcpStream::connect(address)).is_err());
        assert_eq!(now() - start, 150 * MS);
        let zero = TcpStream::connect_timeout(&address, Duration::ZERO).unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn connect_timeout_connects_who_answers() {
    bounded(|| {
        let (_listener, address) = listener();
        let stream = TcpStream::connect_timeout(&address, Duration::MAX).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
    });
}

#[test]
fn other_tasks_run_while_one_connects() {
    virtually(|| {
        let (address, _sockets) = silent();
        let ticks = Rc::new(Cell::new(0));
        let counter = ticks.clone();
        drop(green::spawn(move || {
            loop {
                green::sleep(MS);
                counter.set(counter.get() + 1);
            }
        }));
        drop(TcpStream::connect_timeout(&address, 50 * MS));
        assert!(ticks.get() >= 49);
    });
}

// Addresses.

#[test]
fn whatever_std_takes_for_an_address_is_one() {
    fn addresses(what: impl ToSocketAddrs) -> Vec<SocketAddr> {
        let found = what.to_socket_addrs().unwrap().collect::<Vec<_>>();
        assert_eq!(green::wait(looking_up(what)).unwrap(), found);
        found
    }
    bounded(|| {
        let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let (a4, a6) = (SocketAddrV4::new(v4, 80), SocketAddrV6::new(v6, 80, 0, 0));
        let (four, six) = (SocketAddr::from(a4), SocketAddr::from(a6));
        assert_eq!(addresses(four), [four]);
        assert_eq!(addresses(a4), [four]);
        assert_eq!(addresses(a6), [six]);
        assert_eq!(addresses((IpAddr::from(v6), 80)), [six]);
        assert_eq!(addresses((v4, 80)), [four]);
        assert_eq!(addresses((v6, 80)), [six]);
        assert_eq!(addresses(&[four, six][..]), [four, six]);
        assert_eq!(addresses("127.0.0.1:80"), [four]);
        assert_eq!(addresses("[::1]:80"), [six]);
        assert_eq!(addresses(String::from("127.0.0.1:80")), [four]);
        assert_eq!(addresses(("127.0.0.1", 80)), [four]);
        assert_eq!(addresses(("::1", 80)), [six]);
        assert_eq!(addresses((String::from("127.0.0.1"), 80)), [four]);
        for local in [addresses("localhost:80"), addresses(("localhost", 80))] {
            assert!(!local.is_empty());
            assert!(local.iter().all(|a| a.ip().is_loopback() && a.port() == 80), "{local:?}");
        }
    });
}

#[test]
fn what_is_no_address_is_a_clear_error_in_a_task_and_outside() {
    let cases = [
        ("localhost", "no port in the address \"localhost\": write host:port"),
        ("", "no port in the address \"\": write host:port"),
        ("localhost:http", "invalid port in the address \"localhost:http\""),
        ("localhost:65536", "invalid port in the address \"localhost:65536\""),
    ];
    let check = || {
        for (address, expected) in cases {
            for error in
                [TcpStream::connect(address).unwrap_err(), TcpListener::bind(address).unwrap_err()]
            {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert_eq!(error.to_string(), expected);
            }
        }
    };
    check();
    bounded(check);
}

/// No name: its first part is longer than any may be, so that nobody is asked for it.
fn impossible_host() -> String {
    format!("{}.example", "x".repeat(64))
}

#[test]
fn a_host_that_is_not_found_is_named() {
    let host = impossible_host();
    let check = || {
        for error in [
            TcpStream::connect((host.as_str(), 80)).unwrap_err(),
            TcpStream::connect(format!("{host}:80")).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.starts_with(&format!("cannot look up the host {host:?}: ")), "{text}");
        }
    };
    check();
    bounded(check);
    bounded(|| {
        let lookups = in_each_era(|| looking_up((impossible_host(), 80)));
        assert!(lookups.iter().all(Result::is_err));
    });
}

#[test]
fn ipv6_works_where_the_machine_has_it() {
    let listener = match TcpListener::bind("[::1]:0") {
        Ok(listener) => listener,
        Err(e) => return println!("skipped: this machine has no IPv6 loopback ({e})"),
    };
    bounded(|| {
        let address = listener.local_addr().unwrap();
        let server = green::spawn(move || {
            let (mut stream, from) = listener.accept().unwrap();
            assert!(from.is_ipv6());
            io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap()
        });
        let answer = join(ask_as_future(address, b"hello".into())).unwrap();
        assert_eq!((answer, join(server)), (b"hello".into(), 5));
    });
}

// Outside of any task: as std.

#[test]
fn outside_of_any_task_everything_blocks_the_thread() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        stream.write_all(&text).unwrap();
        from
    });
    let mut stream = TcpStream::connect(address).unwrap();
    let text: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    stream.write_all(&text).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut first = [0];
    assert_eq!(stream.peek(&mut first).unwrap(), 1);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer == text);
    assert_eq!(server.join().unwrap(), stream.local_addr().unwrap());
}

#[test]
fn outside_of_any_task_time_limits_hold() {
    let (mut ours, _theirs) = half_pair();
    ours.set_read_timeout(Some(2 * MS)).unwrap();
    assert_eq!(ours.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    ours.set_write_timeout(Some(2 * MS)).unwrap();
    let error = ours.write_all(&vec![b'x'; 16 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let (address, _sockets) = silent();
    let error = TcpStream::connect_timeout(&address, 2 * MS).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

/// A run's clock is one thing, and a thread that waits in `poll(2)` another.
#[test]
fn outside_of_any_task_time_limits_hold_also_where_a_virtual_clock_is_ahead() {
    let runtime = wouldblock::Builder::new().virtual_clock().build().unwrap();
    let sleeper = runtime.enter(|| green::spawn(|| green::sleep(HOUR)));
    while runtime.turn() {}
    assert!(sleeper.is_finished());
    let (mut ours, theirs) = half_pair();
    ours.set_read_timeout(Some(2 * MS)).unwrap();
    let shared = Arc::new(theirs);
    let (tx, rx) = std::sync::mpsc::channel::<()>();
    let late = shared.clone();
    // Ends the read, so that the test fails instead of hanging, if the limit does not.
    let guard = thread::spawn(move || {
        if rx.recv_timeout(Duration::from_secs(5)).is_err() {
            send(&late, b"too late");
        }
    });
    let result = runtime.enter(|| ours.read(&mut [0; 8]));
    let _ = tx.send(());
    guard.join().unwrap();
    assert_eq!(result.map_err(|e| e.kind()), Err(ErrorKind::TimedOut));
    drop(shared);
}

#[test]
fn outside_of_any_task_connections_are_refused_as_ever() {
    let (address, _socket) = refusing();
    let error = TcpStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let (_listener, listening) = listener();
    TcpStream::connect(&[address, listening][..]).unwrap();
}

#[test]
fn stds_sockets_are_converted_both_ways() {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = bounded(move || {
        let listener = TcpListener::from_std(listener).unwrap();
        let client = green::spawn(move || {
            let std = net::TcpStream::connect(address).unwrap();
            let mut stream = TcpStream::from_std(std).unwrap();
            stream.write_all(b"hello").unwrap();
        });
        let mut text = String::new();
        Read::read_to_string(&mut listener.accept().unwrap().0, &mut text).unwrap();
        join(client);
        assert_eq!(text, "hello");
        listener
    });
    let listener = listener.into_std().unwrap();
    let client = thread::spawn(move || TcpStream::connect(address).unwrap().into_std().unwrap());
    let (_, from) = listener.accept().unwrap();
    assert_eq!(client.join().unwrap().local_addr().unwrap(), from);
}

// A task gives up its turn also where nothing keeps it waiting.

/// Calls what completes at once more often than a turn may do.
#[track_caller]
fn takes_turns(mut call: impl FnMut()) {
    let turns = stats().turns;
    (0..400).for_each(|_| call());
    assert!(stats().turns - turns >= 3, "400 are more than one turn's");
}

#[test]
fn what_completes_at_once_spends_the_turn_too() {
    use futures::{AsyncReadExt, AsyncWriteExt};
    bounded(|| {
        let (ours, theirs) = half_pair();
        send(&theirs, &[0; 2000]);
        takes_turns(|| green::wait(ours.readable()).unwrap());
        takes_turns(|| green::wait(ours.writable()).unwrap());
        takes_turns(|| assert_eq!(green::wait(ours.peeking(&mut [0])).unwrap(), 1));
        takes_turns(|| assert_eq!(ours.peek(&mut [0]).unwrap(), 1));
        takes_turns(|| {
            assert_eq!(green::wait(AsyncReadExt::read(&mut &ours, &mut [0])).unwrap(), 1);
        });
        takes_turns(|| {
            let mut byte = [0];
            let mut part = [io::IoSliceMut::new(&mut byte)];
            assert_eq!(green::wait(AsyncReadExt::read_vectored(&mut &ours, &mut part)).unwrap(), 1);
        });
        takes_turns(|| assert_eq!(green::wait(AsyncWriteExt::write(&mut &ours, b"x")).unwrap(), 1));
        let part = [io::IoSlice::new(b"x")];
        takes_turns(|| assert_eq!(Write::write_vectored(&mut &ours, &part).unwrap(), 1));
        takes_turns(|| drop(green::wait(looking_up("127.0.0.1:80")).unwrap()));
        let (listener, address) = listener();
        takes_turns(|| drop(TcpStream::connect(address).unwrap()));
        takes_turns(|| drop(listener.accept().unwrap()));
        takes_turns(|| drop(green::wait(TcpStream::connecting(address)).unwrap()));
        takes_turns(|| drop(green::wait(listener.accepting()).unwrap()));
    });
}

/// A combinator polls many operations in one turn; those that wait spend nothing of it.
#[test]
fn more_operations_than_a_turns_share_may_wait_in_one_task() {
    bounded(|| {
        let pairs = (0..100).map(|_| half_pair()).collect::<Vec<_>>();
        let last = pairs[99].1.try_clone().unwrap();
        let sender = green::spawn(move || {
            green::sleep(5 * MS);
            send(&last, b"x");
        });
        let turns = stats().turns;
        let all = pairs.iter().map(|(ours, _)| ours.readable());
        let (ready, which, _) = green::wait(futures::future::select_all(all));
        assert_eq!((ready.is_ok(), which), (true, 99));
        assert!(stats().turns - turns < 20, "it has slept meanwhile");
        join(sender);
    });
}
