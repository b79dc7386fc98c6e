//! `green::deadline`: socket calls fail when the time has passed, and nothing is lost.

use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net;
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::util::*;
use futures::future::{Either, select};
use wouldblock::generator::{Generator, GeneratorState, Yielder};
use wouldblock::net::unix::{UnixDatagram, UnixListener, UnixStream};
use wouldblock::net::{TcpStream, ToSocketAddrs, UdpSocket};
use wouldblock::op::timeout;
use wouldblock::sync::Mutex;
use wouldblock::time::{now, sleeping};
use wouldblock::{Wait, future, generator, green};

#[track_caller]
fn assert_timed_out<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.expect_err("the time has passed");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
}

// Nothing is lost.

#[test]
fn a_line_that_comes_in_two_parts_is_read_whole_after_a_deadline() {
    virtually(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut reader, mut line) = (BufReader::new(ours), String::new());
        theirs.write_all(b"hel").unwrap();
        assert_timed_out(green::deadline(5 * MS, || reader.read_line(&mut line)));
        theirs.write_all(b"lo\n").unwrap();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
    });
}

/// What the documentation of `net` has about half lines.
#[test]
fn a_half_line_is_kept_by_read_until_and_lost_by_what_reads_text() {
    fn half(part: &[u8]) -> (BufReader<UnixStream>, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(part).unwrap();
        (BufReader::new(ours), theirs)
    }
    let (within_a_character, rest) = (b"gr\xc3", b"\xbc\xc3\x9fe\n");
    virtually(|| {
        for by_socket in [false, true] {
            let ((mut reader, mut theirs), mut line) = (half(within_a_character), Vec::new());
            if by_socket {
                reader.get_ref().set_read_timeout(Some(5 * MS)).unwrap();
                assert_timed_out(reader.read_until(b'\n', &mut line));
            } else {
                assert_timed_out(green::deadline(5 * MS, || reader.read_until(b'\n', &mut line)));
            }
            theirs.write_all(rest).unwrap();
            reader.read_until(b'\n', &mut line).unwrap();
            assert_eq!(line, "grüße\n".as_bytes());
        }

        let ((mut reader, mut theirs), mut line) = (half(within_a_character), String::new());
        assert_timed_out(green::deadline(5 * MS, || reader.read_line(&mut line)));
        assert_eq!(line, "", "std's drops it");
        theirs.write_all(rest).unwrap();
        assert_eq!(reader.read_line(&mut line).unwrap_err().kind(), ErrorKind::InvalidData);

        let (mut reader, mut theirs) = half(b"hel");
        assert_timed_out(green::deadline(5 * MS, || reader.by_ref().lines().next().unwrap()));
        theirs.write_all(b"lo\n").unwrap();
        assert_eq!(reader.lines().next().unwrap().unwrap(), "lo");
    });
}

#[test]
fn a_half_line_of_futures_is_kept_by_read_until_and_lost_by_read_line() {
    use futures::io::{AsyncBufReadExt, BufReader};
    virtually(|| {
        let task = future::spawn(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (mut reader, mut line) = (BufReader::new(ours), Vec::new());
            theirs.write_all(b"hel").unwrap();
            assert!(timeout(5 * MS, reader.read_until(b'\n', &mut line)).await.is_err());
            theirs.write_all(b"lo\n").unwrap();
            reader.read_until(b'\n', &mut line).await.unwrap();
            assert_eq!(line, b"hello\n");

            let mut line = String::new();
            theirs.write_all(b"hel").unwrap();
            assert!(timeout(5 * MS, reader.read_line(&mut line)).await.is_err());
            theirs.write_all(b"lo\n").unwrap();
            reader.read_line(&mut line).await.unwrap();
            assert_eq!(line, "lo\n");
        });
        task.join().unwrap();
    });
}

/// What the documentation of `green::timeout` warns of.
#[test]
fn a_line_that_comes_in_two_parts_loses_the_first_after_a_timeout() {
    virtually(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut reader, mut line) = (BufReader::new(ours), String::new());
        theirs.write_all(b"hel").unwrap();
        green::timeout(5 * MS, || reader.read_line(&mut line)).unwrap_err();
        theirs.write_all(b"lo\n").unwrap();
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "lo\n");
    });
}

// What fails.

/// Asserts that `call` fails within a deadline, whether it begins before or after the end of it.
#[track_caller]
fn fails<T: std::fmt::Debug>(mut call: impl FnMut() -> io::Result<T>) {
    let start = now();
    green::deadline(5 * MS, || {
        assert_timed_out(call());
        assert!(now() - start >= 5 * MS);
        assert_timed_out(call());
    });
    green::deadline(Duration::ZERO, || assert_timed_out(call()));
}

fn fill(mut stream: &UnixStream) {
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[0; 4096]).is_ok() {}
    stream.set_nonblocking(false).unwrap();
}

#[test]
fn all_green_calls_fail_when_the_time_has_passed() {
    virtually(|| {
        let ((tcp, _tcp_peer), (unix, _unix_peer)) = (pair(), UnixStream::pair().unwrap());
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (listener, _) = listener();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let unix_listener = UnixListener::bind(&path).unwrap();
        let mut byte = [0];
        fails(|| (&tcp).read(&mut byte));
        fails(|| (&tcp).read_vectored(&mut [IoSliceMut::new(&mut byte)]));
        fails(|| tcp.peek(&mut byte));
        fails(|| listener.accept());
        fails(|| (&unix).read(&mut byte));
        fails(|| unix_listener.accept());
        fails(|| udp.recv_from(&mut byte));
        fails(|| udp.recv(&mut byte));
        fails(|| udp.peek_from(&mut byte));
        fill(&unix);
        fails(|| (&unix).write(&[0; 1 << 20]));
        fails(|| (&unix).write_vectored(&[IoSlice::new(&[0; 1 << 20])]));
        fails(|| green::wait(tcp.readable()));
        fails(|| green::wait(listener.readable()));
        fails(|| green::wait(unix.writable()));
        fails(|| green::wait(listener.accepting()));
        fails(|| green::wait(udp.receiving(&mut byte)));
        fails(|| {
            green::wait(async { future::prelude::AsyncReadExt::read(&mut &tcp, &mut byte).await })
        });
    });
}

#[test]
fn a_full_datagram_socket_fails_when_the_time_has_passed() {
    virtually(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        while sender.try_send_to(&[0; 1000], &path).is_ok() || wouldblock_spent() {}
        fails(|| sender.send_to(&[0; 1000], &path));
        fails(|| green::wait(sender.sending_to(&[0; 1000], &path)));
    });
}

/// Lets the turn end, so that the next try is one; gives `false` when the queue is full for sure.
fn wouldblock_spent() -> bool {
    thread_local!(static TRIES: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    green::yield_now();
    TRIES.set(TRIES.get() + 1);
    TRIES.get() < 20
}

#[test]
fn connecting_fails_when_the_time_has_passed() {
    bounded(|| {
        let (address, _sockets) = silent();
        fails(|| TcpStream::connect(address));
        fails(|| green::wait(TcpStream::connecting(address)));
        let two = [address, address];
        fails(|| TcpStream::connect(&two[..]));
    });
}

#[test]
fn a_unix_listener_whose_backlog_is_full_fails_when_the_time_has_passed() {
    virtually(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = |_| socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let listener = socket(0).unwrap();
        let address = socket2::SockAddr::unix(&path).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let filler = socket(1).unwrap();
        filler.connect(&address).unwrap();
        fails(|| UnixStream::connect(&path));
        fails(|| green::wait(UnixStream::connecting(&path)));
    });
}

#[test]
fn the_look_up_of_a_name_fails_when_the_time_has_passed() {
    bounded(|| {
        // The thread that looks it up may be faster, but not always.
        let look_up = || "localhost:80".to_socket_addrs();
        let late = (0..1000).find_map(|_| green::deadline(Duration::ZERO, look_up).err());
        assert_eq!(late.unwrap().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn what_is_never_empty_fails_too_when_the_time_has_passed() {
    bounded(|| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let writer = green::spawn(move || while (&theirs).write(&[0; 4096]).is_ok() {});
        let read = green::deadline(20 * MS, || io::copy(&mut &ours, &mut io::sink()));
        assert_timed_out(read);
        drop(ours);
        writer.join().unwrap();
    });
}

#[test]
fn operations_that_never_wait_fail_too_when_the_time_has_passed() {
    bounded(|| {
        let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = ours.local_addr().unwrap();
        green::deadline(Duration::ZERO, || while green::wait(ours.sending_to(b"x", to)).is_ok() {});
        let (ours, _theirs) = UnixStream::pair().unwrap();
        green::deadline(Duration::ZERO, || {
            let write = async || future::prelude::AsyncWriteExt::write(&mut &ours, b"x").await;
            green::wait(async { while write().await.is_ok() {} });
        });
        assert_eq!((&ours).write(b"x").unwrap(), 1);
    });
}

/// Returns when the system has something to read. The sockets of the crate do not notice.
fn has_come(socket: &impl AsFd) {
    let mut byte = [MaybeUninit::uninit()];
    while socket2::SockRef::from(socket).peek(&mut byte).is_err() {
        thread::yield_now();
    }
}

#[test]
fn a_late_call_takes_what_is_there_without_waiting() {
    bounded(|| {
        let (mut tcp, mut tcp_peer) = pair();
        let (mut unix, mut unix_peer) = UnixStream::pair().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = udp.local_addr().unwrap();
        let mut buffer = [0; 8];
        let read = async |mut s: &TcpStream, b: &mut [u8]| {
            future::prelude::AsyncReadExt::read(&mut s, b).await
        };
        // More often than a turn has operations. Each short read of TCP leaves the guess that nothing is left.
        for _ in 0..100 {
            tcp_peer.write_all(b"x").unwrap();
            has_come(&tcp);
            assert_eq!(green::deadline(Duration::ZERO, || tcp.read(&mut buffer)).unwrap(), 1);
            assert_timed_out(green::deadline(Duration::ZERO, || tcp.read(&mut buffer)));
            tcp_peer.write_all(b"x").unwrap();
            has_come(&tcp);
            green::deadline(Duration::ZERO, || green::wait(tcp.readable())).unwrap();
            let late = green::deadline(Duration::ZERO, || green::wait(tcp.peeking(&mut buffer)));
            assert_eq!(late.unwrap(), 1);
            let late = green::deadline(Duration::ZERO, || green::wait(read(&tcp, &mut buffer)));
            assert_eq!(late.unwrap(), 1);
            unix_peer.write_all(b"x").unwrap();
            assert_eq!(green::deadline(Duration::ZERO, || unix.read(&mut buffer)).unwrap(), 1);
            assert_eq!(green::deadline(Duration::ZERO, || udp.send_to(b"x", to)).unwrap(), 1);
            has_come(&udp);
            assert_eq!(green::deadline(Duration::ZERO, || udp.recv(&mut buffer)).unwrap(), 1);
        }
        green::deadline(Duration::ZERO, || green::wait(unix.writable())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let stream = green::deadline(Duration::ZERO, || UnixStream::connect(&path)).unwrap();
        green::deadline(Duration::ZERO, || listener.accept()).unwrap();
        drop(stream);
    });
}

#[test]
fn code_that_makes_late_calls_for_ever_starves_no_other_task() {
    virtually(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let other = green::spawn(green::yield_now);
        green::deadline(Duration::ZERO, || {
            while !other.is_finished() {
                assert_timed_out((&ours).read(&mut [0]));
            }
        });
    });
}

#[test]
fn the_error_names_what_has_set_the_limit() {
    virtually(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let late = green::deadline(5 * MS, || (&ours).read(&mut [0]).unwrap_err());
        let text = "timed out after 5ms, which `green::deadline` has set";
        assert_eq!(late.to_string(), text);
        let late = green::deadline(5 * MS, || green::wait(ours.readable()).unwrap_err());
        assert_eq!(late.to_string(), text);
    });
}

#[test]
fn what_is_there_when_the_time_passes_is_taken() {
    virtually_strictly(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let writer = green::spawn(move || {
            green::sleep(5 * MS);
            theirs.write_all(b"x").unwrap();
            theirs
        });
        settle(); // It sleeps, and wakes first of those that wake at one time.
        let read = green::deadline(5 * MS, || (&ours).read(&mut [0; 8]));
        assert_eq!(read.unwrap(), 1);
        drop(writer.join());
    });
}

#[test]
fn an_operation_in_a_combinator_fails_when_the_time_has_passed() {
    virtually(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (other, _peer) = UnixStream::pair().unwrap();
        green::deadline(5 * MS, || {
            let (hour, readable) = (pin!(sleeping(HOUR)), pin!(ours.readable()));
            let first = green::wait(select(hour, readable));
            let Either::Right((result, _)) = first else { panic!("an hour has passed") };
            assert_timed_out(result);
        });
        green::deadline(5 * MS, || {
            let (one, two) = (pin!(other.readable()), pin!(ours.readable()));
            let first = green::wait(select(one, two));
            let Either::Left((result, _)) = first else { panic!("the second is first") };
            assert_timed_out(result);
        });
    });
}

// What does not.

#[test]
fn other_waits_and_tries_go_on() {
    virtually(|| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mutex = Rc::new(Mutex::new(0));
        let start = now();
        green::deadline(5 * MS, || {
            green::sleep(10 * MS);
            assert_timed_out((&ours).read(&mut [0]));
            assert_eq!(ours.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(theirs.try_write(b"x").unwrap(), 1);
            let holder = green::spawn({
                let mutex = mutex.clone();
                move || {
                    let mut guard = mutex.lock();
                    green::sleep(10 * MS);
                    *guard = 1;
                }
            });
            green::yield_now();
            settle();
            assert_eq!(*mutex.lock(), 1);
            holder.join().unwrap();
        });
        assert!(now() - start >= 20 * MS);
    });
}

#[test]
fn a_task_that_is_spawned_inside_has_none() {
    virtually(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let reader = green::deadline(5 * MS, || {
            green::spawn(move || (&ours).read(&mut [0; 8]).map(|n| (n, now())))
        });
        green::sleep(10 * MS);
        theirs.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap().unwrap().0, 1);
    });
}

#[test]
fn another_task_has_none_meanwhile() {
    virtually(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (silent, _peer) = UnixStream::pair().unwrap();
        let reader = green::spawn(move || (&ours).read(&mut [0; 8]));
        assert_timed_out(green::deadline(5 * MS, || (&silent).read(&mut [0])));
        theirs.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 1);
    });
}

// One in another.

#[test]
fn of_deadlines_in_one_another_the_nearest_counts() {
    virtually(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        // The limit that the error names.
        let read = || {
            let late = (&ours).read(&mut [0]).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
            late.to_string().split([' ', ',']).nth(3).unwrap().to_owned()
        };
        for (outer, inner) in [(HOUR, 5 * MS), (5 * MS, HOUR), (5 * MS, Duration::MAX)] {
            let start = now();
            let named = green::deadline(outer, || green::deadline(inner, read));
            assert_eq!((named.as_str(), now() - start), ("5ms", 5 * MS));
        }
        // The outer one is in force again, and then none.
        green::deadline(20 * MS, || {
            let start = now();
            assert_eq!(green::deadline(5 * MS, read), "5ms");
            assert_eq!(now() - start, 5 * MS);
            assert_eq!(read(), "20ms");
            assert_eq!(now() - start, 20 * MS);
            assert_eq!(green::deadline(5 * MS, read), "20ms");
        });
        assert!(green::timeout(HOUR, read).is_err());
    });
}

#[test]
fn further_ones_inside_do_not_let_late_calls_go_on() {
    bounded(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let write = || green::deadline(HOUR, || (&ours).write(b"x"));
        green::deadline(Duration::ZERO, || while write().is_ok() {});
    });
}

#[test]
fn of_it_and_the_sockets_own_limit_the_nearest_counts() {
    virtually(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let read = || (&ours).read(&mut [0]).unwrap_err().to_string();
        ours.set_read_timeout(Some(5 * MS)).unwrap();
        assert_eq!(green::deadline(20 * MS, read), "timed out after 5ms");
        ours.set_read_timeout(Some(20 * MS)).unwrap();
        let text = "timed out after 5ms, which `green::deadline` has set";
        assert_eq!(green::deadline(5 * MS, read), text);
    });
}

#[test]
fn it_is_over_however_its_body_ends() {
    virtually(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut read_late = move || {
            green::sleep(10 * MS);
            theirs.write_all(b"x").unwrap();
            assert!((&ours).read(&mut [0]).is_ok());
        };
        panic_text(|| green::deadline(5 * MS, || panic!("on purpose")));
        read_late();
        green::timeout(MS, || green::deadline(5 * MS, || green::sleep(HOUR))).unwrap_err();
        read_late();
        let task = green::spawn(move || {
            green::finally(|| green::deadline(5 * MS, || green::sleep(HOUR)), read_late);
        });
        settle();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_cleanup_inside_has_none() {
    virtually(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        green::deadline(5 * MS, || {
            green::finally(
                || assert_timed_out((&ours).read(&mut [0])),
                || {
                    theirs.write_all(b"bye").unwrap();
                    let start = now();
                    assert_timed_out(green::deadline(5 * MS, || (&theirs).read(&mut [0])));
                    assert_eq!(now() - start, 5 * MS);
                    theirs.write_all(b"bye").unwrap();
                },
            );
            assert_eq!((&ours).read(&mut [0; 8]).unwrap(), 6);
            assert_timed_out((&ours).read(&mut [0])); // It is in force again.
        });
    });
}

#[test]
fn cancellation_and_timeouts_unwind_from_a_call_inside() {
    virtually(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let read = || green::deadline(HOUR, || (&ours).read(&mut [0]));
        assert!(green::timeout(5 * MS, read).is_err());
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let task = green::spawn(move || green::deadline(HOUR, || (&ours).read(&mut [0])));
        settle();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
    });
}

// Generators, and threads without tasks.

#[test]
fn a_generator_cannot_yield_inside() {
    let yields = |y: &Yielder<Wait>| green::deadline(HOUR, || y.yield_now());
    let text = panic_text(|| Generator::new(yields).resume());
    let expected =
        "a generator cannot yield inside of `green::deadline`; use `y.wait(timeout(..))`";
    assert_eq!(text, expected);
    virtually(move || {
        let error = generator::spawn(yields).join().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    });
}

#[test]
fn a_generator_that_is_resumed_by_hand_inside_has_that_of_the_task() {
    virtually(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut inner = Generator::new(move |y: &Yielder<Wait>| y.wait(ours.readable()));
        let result = green::deadline(5 * MS, || {
            loop {
                match inner.resume() {
                    GeneratorState::Yielded(wait) => green::wait(wait),
                    GeneratorState::Complete(result) => break result,
                }
            }
        });
        assert_timed_out(result);
        let limited = timeout(5 * MS, async { sleeping(HOUR).await });
        assert!(generator::spawn(move |y| y.wait(limited)).join().unwrap().is_err());
    });
}

#[test]
fn it_holds_for_blocking_calls_outside_of_any_task() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (mut reader, mut line) = (BufReader::new(ours), String::new());
    theirs.write_all(b"hel").unwrap();
    green::deadline(5 * MS, || {
        assert_timed_out(reader.read_line(&mut line));
        assert_timed_out(reader.read_line(&mut line));
        // Runs and their tasks are others.
        bounded(|| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"x").unwrap();
            assert!((&ours).read(&mut [0]).is_ok());
        });
        assert_timed_out(reader.read_line(&mut line));
    });
    theirs.write_all(b"lo\n").unwrap();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    let (address, _sockets) = silent();
    green::deadline(5 * MS, || assert_timed_out(TcpStream::connect(address)));
    let socket = UdpSocket::from_std(net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    green::deadline(5 * MS, || assert_timed_out(socket.recv(&mut [0])));
}

#[test]
fn it_holds_in_a_destructor_that_blocks_the_thread() {
    struct Reads(UnixStream);
    impl Drop for Reads {
        fn drop(&mut self) {
            green::deadline(5 * MS, || assert_timed_out((&self.0).read(&mut [0])));
        }
    }
    bounded(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let panicked = green::spawn(move || {
            let _reads = Reads(ours);
            panic!("on purpose");
        });
        panicked.join().unwrap_err();
    });
}
