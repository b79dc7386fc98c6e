//! The front page's table with both preludes in scope: what can be written as it stands there, and where it has
//! to be said which era is meant.
#![allow(unused_qualifications, reason = "it takes names that two preludes have for those of one")]

use std::io::{self, BufReader};

use crate::util::{self, MS, bounded, join, listener, virtually};
// Both at once, as in a program that is on its way from one era to the next. What both have under one name
// (`spawn`, `yield_now`) is ambiguous only if it is used without its era: `green::spawn`, `future::spawn`.
#[allow(unused_imports, reason = "the names that no test uses must not clash either")]
use wouldblock::future::prelude::*;
#[allow(unused_imports, reason = "as above")]
use wouldblock::green::prelude::*;
use wouldblock::net::TcpStream;
use wouldblock::op::timeout;
use wouldblock::time::sleeping;
use wouldblock::{future, generator, green, group::gather, offload};

/// Where a connection gets `hello`, and is closed.
fn greeter() -> std::net::SocketAddr {
    let (listener, address) = listener();
    drop(green::spawn(move || {
        for stream in listener.incoming() {
            // A socket has `write_all` of both eras: the trait says which one is meant.
            Write::write_all(&mut stream.unwrap(), b"hello").unwrap();
        }
    }));
    address
}

#[test]
fn the_verbs_of_all_eras_stand_side_by_side() {
    virtually(|| {
        let a = generator::spawn(|y| {
            y.wait(sleeping(MS));
            y.yield_now();
            y.wait(offload(|| 1))
        });
        let b = green::spawn(|| {
            wait(sleeping(MS)); // only the green prelude has a `wait`
            green::yield_now();
            wait(offload(|| 2))
        });
        let c = future::spawn(async {
            sleeping(MS).await;
            future::yield_now().await;
            offload(|| 3).await
        });
        let values = wait(gather([a, b, c])).into_iter().map(Result::unwrap);
        assert_eq!(values.collect::<Vec<_>>(), [1, 2, 3]);
        assert!(green::timeout(MS, || green::sleep(60_000 * MS)).is_err());
        assert!(wait(timeout(MS, sleeping(60_000 * MS))).is_err());
    });
}

#[test]
fn a_socket_is_read_by_the_trait_of_the_era_that_is_meant() {
    bounded(|| {
        let address = greeter();
        let green = green::spawn(move || {
            let mut stream = TcpStream::connect(address)?;
            let mut text = String::new();
            Read::read_to_string(&mut stream, &mut text)?;
            Ok::<_, io::Error>(text)
        });
        let future = future::spawn(async move {
            let mut stream = TcpStream::connecting(address).await?;
            let mut text = String::new();
            AsyncReadExt::read_to_string(&mut stream, &mut text).await?;
            Ok::<_, io::Error>(text)
        });
        let generator = generator::spawn(move |y| {
            let stream = y.wait(TcpStream::connecting(address))?;
            let mut buf = [0; 64];
            loop {
                // These are the socket's own: no trait, and nothing to be confused with.
                match stream.try_read(&mut buf) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => y.wait(stream.readable())?,
                    result => return result.map(|n| String::from_utf8_lossy(&buf[..n]).into()),
                }
            }
        });
        for task in [green, future, generator] {
            assert_eq!(join(task).unwrap(), "hello");
        }
    });
}

#[test]
fn a_function_that_imports_one_era_only_writes_as_the_table_does() {
    mod one {
        pub(super) mod green {
            use std::io::{Read, Write};
            use wouldblock::green::spawn;
            use wouldblock::net::TcpStream;

            pub(in super::super) fn converse(stream: TcpStream) -> wouldblock::JoinHandle<Vec<u8>> {
                spawn(move || {
                    let mut stream = stream;
                    let mut buf = [0; 4];
                    stream.read_exact(&mut buf).unwrap();
                    stream.write_all(&buf).unwrap();
                    buf.to_vec()
                })
            }
        }
        pub(super) mod future {
            use wouldblock::future::prelude::*;
            use wouldblock::net::TcpStream;

            pub(in super::super) fn converse(stream: TcpStream) -> wouldblock::JoinHandle<Vec<u8>> {
                spawn(async move {
                    let mut stream = stream;
                    stream.write_all(b"ping").await.unwrap();
                    let mut buf = vec![0; 4];
                    stream.read_exact(&mut buf).await.unwrap();
                    yield_now().await;
                    buf
                })
            }
        }
    }
    bounded(|| {
        let (near, far) = util::pair();
        let tasks = [one::green::converse(near), one::future::converse(far)];
        assert_eq!(tasks.map(join), [b"ping", b"ping"]);
    });
}

#[test]
fn readers_and_writers_that_are_of_one_era_only_need_no_name() {
    virtually(|| {
        // What is only `std::io`'s is not confused with what is only async, nor the other way round.
        let mut text = String::new();
        BufReader::new(&b"one\ntwo\n"[..]).read_line(&mut text).unwrap();
        assert_eq!(text, "one\n");
        let mut sink = futures_lite::io::Cursor::new(Vec::new());
        wait(futures_lite::io::copy(&b"three"[..], &mut sink)).unwrap();
        assert_eq!(sink.into_inner(), b"three");
    });
}
