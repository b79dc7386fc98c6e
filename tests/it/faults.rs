//! What goes wrong with connections, in each era: resets, closed peers, slow readers, no descriptors left,
//! urgent data, and thousands of connections of which nothing must stay. (A socket that is closed while
//! another task waits for it, several acceptors on one listener, and data that comes together with the end
//! are in `traps.rs`; half-closed connections in `tcp.rs`.)

use std::fs::{self, File};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::util::*;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use wouldblock::net::TcpStream;
use wouldblock::net::unix::UnixStream;
use wouldblock::time::now;
use wouldblock::{JoinHandle, future, generator, green, group::gather, stats};

/// Reads to the end, or to an error: what came, and how it ended.
type Ended = (Vec<u8>, Result<(), ErrorKind>);

/// Reads `[generator, greenlet, future]` each to its end.
fn readers(streams: [TcpStream; 3]) -> [JoinHandle<Ended>; 3] {
    let [a, mut b, mut c] = streams;
    [
        generator::spawn(move |y| {
            let (mut text, mut buf) = (Vec::new(), [0; 1000]);
            loop {
                match a.try_read(&mut buf) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => y.wait(a.readable()).unwrap(),
                    Err(e) => return (text, Err(e.kind())),
                    Ok(0) => return (text, Ok(())),
                    Ok(n) => text.extend_from_slice(&buf[..n]),
                }
            }
        }),
        green::spawn(move || {
            let mut text = Vec::new();
            let end = Read::read_to_end(&mut b, &mut text);
            (text, end.map(drop).map_err(|e| e.kind()))
        }),
        future::spawn(async move {
            let mut text = Vec::new();
            let end = AsyncReadExt::read_to_end(&mut c, &mut text).await;
            (text, end.map(drop).map_err(|e| e.kind()))
        }),
    ]
}

#[test]
fn a_reset_in_mid_body_comes_after_what_came_before_it() {
    bounded(|| {
        let pairs = [half_pair(), half_pair(), half_pair()];
        let [(a, to_a), (b, to_b), (c, to_c)] = pairs;
        let readers = readers([a, b, c]);
        settle();
        for theirs in [to_a, to_b, to_c] {
            send(&theirs, b"the first half");
            settle();
            let theirs = socket2::Socket::from(theirs);
            theirs.set_linger(Some(Duration::ZERO)).unwrap();
            drop(theirs);
        }
        for reader in readers {
            let expected = (b"the first half".to_vec(), Err(ErrorKind::ConnectionReset));
            assert_eq!(join(reader), expected);
        }
    });
}

// Urgent data.

#[test]
fn urgent_data_neither_gets_into_the_stream_nor_holds_it_up() {
    bounded(|| {
        let pairs = [half_pair(), half_pair(), half_pair()];
        let [(a, to_a), (b, to_b), (c, to_c)] = pairs;
        let readers = readers([a, b, c]);
        settle();
        for theirs in [to_a, to_b, to_c] {
            let theirs = socket2::Socket::from(theirs);
            let urgent = || assert_eq!(theirs.send_out_of_band(b"!").unwrap(), 1);
            let ordinary = |text| assert_eq!(theirs.send(text).unwrap(), text.len());
            urgent(); // to somebody who waits
            settle();
            ordinary(b"one ");
            settle();
            // A read ends at the mark, short, with more behind it.
            ordinary(b"two ");
            urgent();
            ordinary(b"three");
            settle();
        }
        for reader in readers {
            assert_eq!(join(reader), (b"one two three".to_vec(), Ok(())));
        }
    });
}

#[test]
fn urgent_data_ends_the_wait_of_each_reader() {
    bounded(|| {
        let (ours, theirs) = half_pair();
        let ours = Rc::new(ours);
        let waits = |_| {
            let ours = ours.clone();
            green::spawn(move || green::wait(ours.readable()))
        };
        let waiters: Vec<_> = (0..3).map(waits).collect();
        settle();
        assert_eq!(socket2::Socket::from(theirs).send_out_of_band(b"!").unwrap(), 1);
        for waiter in waiters {
            join(waiter).unwrap();
        }
    });
}

// A closed peer.

/// Writes until it fails, which it does at the second write at the latest that somebody has answered.
#[track_caller]
fn fails(mut write: impl FnMut() -> std::io::Result<usize>) {
    let error = (0..1000).find_map(|_| {
        green::yield_now();
        write().err()
    });
    let kind = error.expect("nobody is there").kind();
    assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind:?}");
}

/// Every way to write, of all eras, to a stream whose peer is gone.
macro_rules! every_write_fails {
    ($new:expr) => {
        let parts = [IoSlice::new(b"x"), IoSlice::new(b"y")];
        let closed = $new;
        fails(|| closed.try_write(b"x"));
        let closed = $new;
        fails(|| closed.try_write_vectored(&parts));
        let closed = $new;
        fails(|| Write::write(&mut &closed, b"x"));
        let closed = $new;
        fails(|| Write::write_vectored(&mut &closed, &parts));
        let closed = $new;
        fails(|| green::wait(AsyncWriteExt::write(&mut &closed, b"x")));
        let closed = $new;
        fails(|| green::wait(AsyncWriteExt::write_vectored(&mut &closed, &parts)));
    };
}

#[test]
fn a_write_to_a_closed_peer_is_an_error_and_never_a_signal() {
    let ended = in_child_in_order(|| {
        // Rust's programs ignore the signal; what is linked into one of another language does not.
        // SAFETY: no handler is installed; the kernel's own action is.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        bounded(|| {
            every_write_fails!(half_pair().0);
            every_write_fails!(UnixStream::pair().unwrap().0);
        });
    });
    ended.assert_fine();
}

// A slow reader.

#[test]
fn a_slow_reader_holds_up_its_writer_and_nobody_else() {
    const BYTES: usize = 8 << 20; // more than fits in the kernel's buffers
    virtually(|| {
        let [(a, to_a), (b, to_b), (c, to_c)] = [pair(), pair(), pair()];
        let writers = [
            generator::spawn(move |y| {
                let block = vec![b'x'; BYTES];
                let mut left = &block[..];
                while !left.is_empty() {
                    match a.try_write(left) {
                        Err(e) if e.kind() == ErrorKind::WouldBlock => {
                            y.wait(a.writable()).unwrap();
                        }
                        n => left = &left[n.unwrap()..],
                    }
                }
            }),
            green::spawn(move || Write::write_all(&mut &b, &vec![b'x'; BYTES]).unwrap()),
            future::spawn(async move {
                AsyncWriteExt::write_all(&mut &c, &vec![b'x'; BYTES]).await.unwrap();
            }),
        ];
        let readers = [to_a, to_b, to_c].map(|mut slow| {
            green::spawn(move || {
                let (mut buf, mut read) = (vec![0; 1 << 16], 0);
                loop {
                    green::sleep(50 * MS);
                    match Read::read(&mut slow, &mut buf).unwrap() {
                        0 => return read,
                        n => read += n,
                    }
                }
            })
        });
        green::sleep(MS);
        let (near, far) = pair();
        for _ in 0..1000 {
            Write::write_all(&mut &near, b"ping").unwrap();
            Read::read_exact(&mut &far, &mut [0; 4]).unwrap();
        }
        assert!(!writers.iter().any(JoinHandle::is_finished), "the buffers are full");
        writers.into_iter().for_each(join);
        assert_eq!(readers.map(join), [BYTES; 3]);
    });
}

// The limit on descriptors.

/// Opens files until no more may be opened.
fn take_all_descriptors() -> Vec<File> {
    let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
    // SAFETY: it reads a `rlimit` of this frame.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let mut taken = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(e) if e.raw_os_error() == Some(libc::EMFILE) => return taken,
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn accepting_waits_at_the_descriptor_limit_and_recovers() {
    let ended = in_child_in_order(|| {
        virtually(|| {
            let (listener, address) = listener();
            let listener = Rc::new(listener);
            let clients = [(); 5].map(|()| TcpStream::connect(address).unwrap());
            let mut taken = take_all_descriptors();

            // Who does not wait is told.
            let at_once = listener.try_accept().unwrap_err();
            assert_eq!(at_once.raw_os_error(), Some(libc::EMFILE));
            listener.set_nonblocking(true).unwrap();
            assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(libc::EMFILE));
            listener.set_nonblocking(false).unwrap();

            let [a, b, c, d] = [(); 4].map(|()| listener.clone());
            let acceptors = [
                generator::spawn(move |y| y.wait(a.accepting()).unwrap().0),
                green::spawn(move || b.accept().unwrap().0),
                green::spawn(move || c.incoming().next().unwrap().unwrap()),
                future::spawn(async move { d.accepting().await.unwrap().0 }),
            ];
            let turns = stats().turns;
            green::sleep(10_000 * MS);
            let turns = stats().turns - turns;
            // Each tries after 1, 3, 7, .. 127, 227, 327, .. ms.
            assert!((400..500).contains(&turns), "{turns} turns in 10 s");
            assert!(!acceptors.iter().any(JoinHandle::is_finished));

            let [a, b] = [(); 2].map(|()| listener.clone());
            let cancelled = [
                green::spawn(move || drop(a.accept().unwrap())),
                future::spawn(async move { drop(b.accepting().await.unwrap()) }),
            ];
            green::sleep(MS);
            for task in cancelled {
                task.cancel();
                assert!(task.join().unwrap_err().is_cancelled());
            }

            let start = now();
            taken.truncate(taken.len() - 5);
            let mut accepted = Vec::from(acceptors.map(join));
            assert!(now() - start <= 100 * MS, "as soon as there are descriptors");
            accepted
                .push(listener.accept().expect("those who were cancelled have taken nothing").0);
            let sorted = |mut addresses: Vec<SocketAddr>| {
                addresses.sort_unstable();
                addresses
            };
            let accepted = accepted.iter().map(|stream| stream.peer_addr().unwrap()).collect();
            let clients = clients.iter().map(|stream| stream.local_addr().unwrap()).collect();
            assert_eq!(sorted(accepted), sorted(clients));
        });
    });
    ended.assert_fine();
    let text = &ended.stderr;
    assert_eq!(text.matches("cannot accept: Too many open files").count(), 1, "{text}");
    assert!(text.contains("127.0.0.1:"), "which listener: {text}");
}

// What is left over.

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The slot that the next socket gets with the reactor.
fn next_slot() -> usize {
    use wouldblock::generator::{Generator, GeneratorState, Yielder};
    let (ours, _theirs) = half_pair();
    let mut waiter = Generator::new(move |y: &Yielder<wouldblock::Wait>| y.wait(ours.readable()));
    let GeneratorState::Yielded(wait) = waiter.resume() else { panic!("nothing has come") };
    let text = format!("{wait:?}");
    let (_, index) = text.split_once("index: ").expect("a wait tells its source");
    index.split(',').next().unwrap().parse().unwrap()
}

/// A hundred connections at once, in the three eras: each says a byte, gets it back, and is closed.
fn hundred_connections(address: SocketAddr) {
    let clients = (0..100_u8).map(|n| match n % 3 {
        0 => generator::spawn(move |y| {
            let stream = y.wait(TcpStream::connecting(address)).unwrap();
            assert_eq!(stream.try_write(&[n]).unwrap(), 1);
            let mut buf = [0];
            y.wait(stream.peeking(&mut buf)).unwrap();
            assert_eq!(stream.try_read(&mut buf).unwrap(), 1);
            buf == [n]
        }),
        1 => green::spawn(move || {
            let (mut stream, mut buf) = (TcpStream::connect(address).unwrap(), [0]);
            Write::write_all(&mut stream, &[n]).unwrap();
            Read::read_exact(&mut stream, &mut buf).unwrap();
            buf == [n]
        }),
        _ => future::spawn(async move {
            let (mut stream, mut buf) = (TcpStream::connecting(address).await.unwrap(), [0]);
            AsyncWriteExt::write_all(&mut stream, &[n]).await.unwrap();
            AsyncReadExt::read_exact(&mut stream, &mut buf).await.unwrap();
            buf == [n]
        }),
    });
    let clients: Vec<_> = clients.collect();
    assert!(green::wait(gather(clients)).into_iter().all(|echoed| echoed.unwrap()));
}

#[test]
fn nothing_is_left_of_ten_thousand_connections() {
    let ended = in_child_in_order(|| {
        wouldblock::run(|| {
            let (listener, address) = listener();
            drop(green::spawn(move || {
                for stream in &listener {
                    let mut stream = stream.unwrap();
                    drop(green::spawn(move || {
                        let mut buf = [0];
                        Read::read_exact(&mut stream, &mut buf).unwrap();
                        Write::write_all(&mut stream, &buf).unwrap();
                    }));
                }
            }));
            let left = || {
                while stats().spawned - stats().finished > 2 {
                    green::yield_now(); // until all servers but the listener are done
                }
                let stats = stats();
                (open_descriptors(), stats.stacks_used, stats.stacks_kept, next_slot())
            };
            hundred_connections(address);
            let (descriptors, used, kept, slot) = left();
            (0..100).for_each(|_| hundred_connections(address));
            let after = left();
            assert_eq!((after.0, after.1), (descriptors, used), "descriptors and stacks in use");
            assert!(after.2 <= 2 * kept, "{kept} stacks were kept, and now {}", after.2);
            assert!(slot <= 201 && after.3 <= 201, "slots are used again: {slot}, {}", after.3);
            assert!(stats().spawned >= 20_000);
        });
    });
    ended.assert_fine();
}
