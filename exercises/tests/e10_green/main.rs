//! The tests of 10 green.

mod exercise;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use exercise::{ask, depth, serve};
use kit::{check, lesson, lesson_on_real_clock};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{green, group::gather, stats, task, time};

/// After so long, a client gives up; where one has given up already, the next has less patience.
fn patience() -> Duration {
    Duration::from_millis(if GAVE_UP.load(Ordering::Relaxed) { 500 } else { 3000 })
}

static GAVE_UP: AtomicBool = AtomicBool::new(false);

#[test]
fn ask_gets_all_of_the_answer() {
    check("a server sends its answer in three parts, and ends", || {
        lesson_on_real_clock(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = named("the test's server", move || {
                let (mut stream, _) = listener.accept()?;
                let mut text = String::new();
                stream.read_to_string(&mut text)?;
                for part in ["ab", "cd", "ef"] {
                    stream.write_all(part.as_bytes())?;
                    // Until the client has taken it.
                    green::sleep(Duration::from_millis(1));
                    for _ in 0..10 {
                        green::yield_now();
                    }
                }
                io::Result::Ok(text)
            });
            let Ok(answer) = patiently(move || ask(address, "hello")) else {
                panic!(
                    "`ask` gets no answer: the server reads to the end of what `ask` sends, and waits for this end \
                     (`shutdown`)"
                )
            };
            let answer = answer.expect("`ask` gets an answer");
            assert!(
                answer == "abcdef",
                "the server sent \"abcdef\" in three parts, and {answer:?} came back: read up to the end"
            );
            let heard = server.join().unwrap().expect("the server hears the client to its end");
            assert!(heard == "hello", "`ask` was to send \"hello\", and sent {heard:?}");
        });
    });
}

#[test]
fn the_server_echoes() {
    check("one client asks, and then another", || {
        lesson_on_real_clock(|| {
            let address = server();
            for text in ["hello", "你好", ""] {
                let answer = limited("a client", move || ask(address, text));
                assert!(answer == text, "the client sent {text:?}, and {answer:?} came back");
            }
        });
    });
}

#[test]
fn a_silent_client_holds_up_no_other() {
    check("client 1 is connected and silent; client 2 is answered meanwhile", || {
        lesson_on_real_clock(|| {
            let address = server();
            let silent = TcpStream::connect(address).unwrap();
            // Its connection is the first to be accepted.
            let asked = Rc::new(Cell::new(false));
            let done = asked.clone();
            let second = named("client 2", move || {
                let answer = ask(address, "two");
                done.set(true);
                answer
            });
            let begun = time::now();
            while !asked.get() && time::now() - begun < patience() {
                green::sleep(Duration::from_millis(1));
            }
            GAVE_UP.fetch_or(!asked.get(), Ordering::Relaxed);
            assert!(
                asked.get(),
                "client 2 was not answered while client 1 was connected and silent: `serve` has to start a task for each \
                 client, and to go on accepting"
            );
            assert_eq!(second.join().unwrap().expect("it is answered"), "two");
            drop(silent);
        });
    });
}

#[test]
fn a_client_that_fails_ends_no_other() {
    check("client 1 hangs up with a reset; client 2 is answered after that", || {
        lesson_on_real_clock(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = named("serve", move || serve(listener));
            for _ in 0..3 {
                // What it was sent back, it has not read: the system resets the connection.
                let Ok(mut rude) = TcpStream::connect(address) else { break };
                if rude.write_all(&[7; 1 << 16]).is_ok() {
                    green::wait(rude.readable()).ok();
                }
                drop(rude);
                green::sleep(Duration::from_millis(1));
            }
            assert!(
                !server.is_finished(),
                "one client had an error, and `serve` ended: the error is that client's own"
            );
            assert_eq!(limited("client 2", move || ask(address, "two")), "two");
        });
    });
}

#[test]
fn a_hundred_clients() {
    check("a hundred clients of 10 kB each, at once, on one thread", || {
        lesson_on_real_clock(|| {
            let address = server();
            let clients = (0..100).map(|n: usize| {
                named("client", move || {
                    let text = format!("{n:04}, ").repeat(1_700);
                    let answer = ask(address, &text)?;
                    assert!(
                        answer == text,
                        "client {n} got {} of {} bytes",
                        answer.len(),
                        text.len()
                    );
                    io::Result::Ok(())
                })
            });
            let clients: Vec<_> = clients.collect();
            let Ok(clients) = patiently(|| green::wait(gather(clients))) else {
                panic!("not all of the clients were answered, or not with all that they sent")
            };
            for client in clients {
                client.unwrap().expect("each client is answered");
            }
            let blocked = stats().would_block;
            assert!(blocked > 0, "no socket of the crate has ever answered `WouldBlock`");
        });
    });
}

#[test]
fn depth_of_plain_bytes() {
    check("`depth` is plain code: it reads from memory as well", || {
        for (text, wanted) in [("", 0), ("()", 1), ("a(b)(c)(d)", 1), ("((x)(y(z)))()", 3)] {
            let got = depth(&mut text.as_bytes()).unwrap();
            assert!(
                got == wanted,
                "the depth of {text:?} is {wanted}, and not {got}: how deep brackets are nested, and not how many there are"
            );
        }
    });
}

#[test]
fn depth_waits_fifty_deep() {
    check(
        "50 calls deep, it waits for the next byte of a slow socket: the other tasks run on",
        || {
            lesson_on_real_clock(|| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                let server = named("the test's server", move || {
                    let (mut stream, _) = listener.accept()?;
                    for byte in "(".repeat(50).chars().chain(")".repeat(50).chars()) {
                        stream.write_all(&[byte as u8])?;
                        for _ in 0..5 {
                            green::yield_now();
                        }
                    }
                    io::Result::Ok(())
                });
                let mut stream = TcpStream::connect(address).unwrap();
                let Ok(got) = patiently(|| depth(&mut stream)) else {
                    panic!("`depth` waits for more than there is: a read of 0 bytes is the end")
                };
                let got = got.expect("no read fails");
                assert!(got == 50, "the depth is 50, and not {got}");
                server.join().unwrap().unwrap();
            });
        },
    );
}

#[test]
fn nothing_is_asked_of_a_server_that_is_not_there() {
    check("an error of `connect` is returned", || {
        lesson(|| {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let answer = ask(address, "hello");
            assert!(answer.is_err(), "there is no server, and `ask` returned {answer:?}");
        });
    });
}

fn named<T: 'static>(name: &str, body: impl FnOnce() -> T + 'static) -> wouldblock::JoinHandle<T> {
    task::Builder::new().name(name).spawn(body)
}

/// Starts your server. Returns where it listens.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(named("serve", move || serve(listener).expect("`accept` does not fail here")));
    address
}

/// What comes of this, unless patience ends first.
fn patiently<T>(body: impl FnOnce() -> T) -> Result<T, time::Elapsed> {
    let result = green::timeout(patience(), body);
    GAVE_UP.fetch_or(result.is_err(), Ordering::Relaxed);
    result
}

/// What a client is answered, within a time limit.
#[track_caller]
fn limited(who: &str, ask: impl FnOnce() -> io::Result<String>) -> String {
    match patiently(ask) {
        Ok(answer) => answer.unwrap_or_else(|e| panic!("{who} got an error: {e}")),
        Err(_) => {
            panic!("{who} was not answered: does `serve` send back what comes, up to its end?")
        }
    }
}
