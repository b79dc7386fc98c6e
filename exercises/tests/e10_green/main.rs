//! The tests of 10 green.

mod exercise;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use exercise::{ask, depth, serve};
use kit::{check, lesson, lesson_on_real_clock, step};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{green, group::gather, stats, task, time};

/// What a call that blocks is here.
const NO_STD: &str = "the server and its clients are tasks of one thread: a socket of std's blocks it, and with it every task";

/// After so long, a client gives up; where one has given up already, the next has less patience.
fn patience() -> Duration {
    Duration::from_millis(if GAVE_UP.load(Ordering::Relaxed) { 500 } else { 3000 })
}

static GAVE_UP: AtomicBool = AtomicBool::new(false);

#[test]
fn t01_ask_gets_all_of_the_answer() {
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
            step(NO_STD);
            let Ok(answer) = patiently(move || ask(address, "hello")) else {
                panic!(
                    "`ask` gets no answer: the server reads to the end of what `ask` sends, and waits for this end \
                     (`shutdown`)"
                )
            };
            let answer = answer.expect("`ask` gets an answer");
            assert!(
                !answer.is_empty(),
                "the server sent \"abcdef\" in three parts, and nothing came back: end what `ask` sends, and only that \
                 (`Shutdown::Write`), and then read up to the end"
            );
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
fn t02_the_server_echoes() {
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
fn t03_a_silent_client_holds_up_no_other() {
    check("client 1 is connected and silent; client 2 is answered meanwhile", || {
        lesson_on_real_clock(|| {
            let address = server();
            let before = stats().alive;
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
            assert!(
                stats().alive > before,
                "client 1 is connected, and no task of this thread waits for it: is it on a thread of the system? A greenlet is \
                 spawned with `green::spawn`"
            );
            drop(silent);
        });
    });
}

#[test]
fn t04_a_client_that_fails_ends_no_other() {
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
fn t05_serve_ends_with_its_listener() {
    check("when `accept` itself fails, `serve` returns the error", || {
        lesson_on_real_clock(|| {
            step("`accept` fails, each time: `serve` is to return its error");
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            // Linux: a listener that is shut down accepts no more.
            let descriptor = listener.as_raw_fd();
            let server = named("serve", move || serve(listener));
            green::yield_now();
            // SAFETY: it takes numbers; `serve` has the listener, and is not done with it.
            unsafe { libc::shutdown(descriptor, libc::SHUT_RD) };
            let ended = patiently(|| server.join());
            assert!(
                matches!(ended, Ok(Ok(Err(_)))),
                "`accept` fails, and `serve` goes on: it is to return its error"
            );
        });
    });
}

#[test]
fn t06_a_hundred_clients() {
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
                client.unwrap().unwrap_or_else(|e| {
                    panic!(
                        "a client of 10 kB got an error before its answer was whole: {e}: does `serve` send back ALL that comes, up \
                         to its end?"
                    )
                });
            }
            let blocked = stats().would_block;
            assert!(blocked > 0, "no socket of the crate has ever answered `WouldBlock`");
        });
    });
}

#[test]
fn t07_depth_of_plain_bytes() {
    check("`depth` is plain code: it reads from memory as well", || {
        for (text, wanted) in [("", 0), ("()", 1), ("a(b)(c)(d)", 1), ("((x)(y(z)))()", 3)] {
            let got = depth(&mut text.as_bytes()).unwrap();
            assert!(
                got == wanted,
                "the depth of {text:?} is {wanted}, and not {got}: how deep brackets are nested, and not how many there are"
            );
        }
        let mut deep = Stacked { text: b"(((((((((((((((((((((((((((((((())", places: Vec::new() };
        depth(&mut deep).unwrap();
        let spread = deep.places.iter().max().unwrap() - deep.places.iter().min().unwrap();
        let reads = deep.places.len();
        assert!(
            reads >= 33,
            "33 bytes were taken in {reads} reads: of a socket, more than one byte may be another's; it reads byte by byte"
        );
        assert!(
            spread > 32 * 16,
            "32 brackets deep, `depth` reads from the same place on its stack as at the beginning: it is to call ITSELF at each \
             `(`. A loop that counts gives the same number; that a wait may come from any depth of calls is what this is about"
        );
        let mut input = "(a))rest".as_bytes();
        let got = depth(&mut input).unwrap();
        let left = String::from_utf8_lossy(input).into_owned();
        assert!(
            (got, &left[..]) == (1, "rest"),
            "of \"(a))rest\", `depth` returned {got} and left {left:?}, and should return 1 and leave \"rest\": it reads byte by \
             byte, and returns at a `)` that it has not opened"
        );
    });
}

#[test]
fn t08_depth_waits_fifty_deep() {
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
fn t09_nothing_is_asked_of_a_server_that_is_not_there() {
    check("an error of `connect` is returned", || {
        lesson(|| {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let answer = ask(address, "hello");
            assert!(answer.is_err(), "there is no server, and `ask` returned {answer:?}");
        });
    });
}

/// Bytes in memory, that note where on the stack they were read.
struct Stacked {
    text: &'static [u8],
    places: Vec<usize>,
}

impl Read for Stacked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let here = 0;
        self.places.push((&raw const here).addr());
        self.text.read(buf)
    }
}

fn named<T: 'static>(name: &str, body: impl FnOnce() -> T + 'static) -> wouldblock::JoinHandle<T> {
    task::Builder::new().name(name).spawn(body)
}

/// Starts your server. Returns where it listens.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    step(NO_STD);
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
