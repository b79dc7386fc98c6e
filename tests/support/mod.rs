//! What the tests of the runtime share: a log that tasks write to, runs that do not hang, connected sockets,
//! and a test in a process of its own.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::cell::RefCell;
use std::env;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::net;
use std::panic::resume_unwind;
use std::process::Output;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub use crate::basics::*;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{Builder, JoinHandle, future, generator, green};

/// What happened, in the order in which it did.
pub struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Log<T> {
        Log(self.0.clone())
    }
}

impl<T> Log<T> {
    pub fn new() -> Log<T> {
        Log(Rc::default())
    }

    pub fn push(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Takes the entries out.
    pub fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

/// Writes to a log when it is dropped.
pub struct OnDrop<T: Clone>(pub Log<T>, pub T);

impl<T: Clone> Drop for OnDrop<T> {
    fn drop(&mut self) {
        self.0.push(self.1.clone());
    }
}

/// Runs `root` on the machine's clock. Whoever would hang fails instead, after a time that no sound run
/// comes near.
#[track_caller]
pub fn bounded<T>(root: impl FnOnce() -> T) -> T {
    run(Builder::new(), Duration::from_secs(30), root)
}

/// As [`bounded`], first come, first served, whatever `WOULDBLOCK_SEED` says.
#[track_caller]
pub fn strictly<T>(root: impl FnOnce() -> T) -> T {
    run(Builder::new().round_robin(), Duration::from_secs(30), root)
}

/// Runs `root` on a virtual clock. Whoever would hang fails instead, after a virtual day.
#[track_caller]
pub fn virtually<T>(root: impl FnOnce() -> T) -> T {
    run(Builder::new().virtual_clock(), 24 * HOUR, root)
}

/// As [`virtually`], first come, first served, whatever `WOULDBLOCK_SEED` says.
#[track_caller]
pub fn virtually_strictly<T>(root: impl FnOnce() -> T) -> T {
    run(Builder::new().virtual_clock().round_robin(), 24 * HOUR, root)
}

#[track_caller]
fn run<T>(builder: Builder, limit: Duration, root: impl FnOnce() -> T) -> T {
    builder.run(|| green::timeout(limit, root)).expect("it would have waited for ever")
}

/// Runs what `make` makes in all three eras at once, and gives the results: of the generator, the greenlet,
/// and the future.
#[track_caller]
pub fn in_each_era<F>(mut make: impl FnMut() -> F) -> [F::Output; 3]
where
    F: Future<Output: 'static> + 'static,
{
    let (a, b, c) = (make(), make(), make());
    [generator::spawn(move |y| y.wait(a)), green::spawn(move || green::wait(b)), future::spawn(c)]
        .map(join)
}

/// Lets all others go on until they wait, whatever the seed. (With a seed, whoever yields may be the first of
/// the next round.)
pub fn settle() {
    (0..10).for_each(|_| green::yield_now());
}

/// Waits for a task that is expected to succeed.
#[track_caller]
pub fn join<T>(handle: JoinHandle<T>) -> T {
    handle.join().unwrap_or_else(|e| panic!("{e}"))
}

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

/// Work for another thread, whose result is given back when the thread is done.
pub fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(work).join().unwrap_or_else(|payload| resume_unwind(payload))
}

/// The next message, or a failure instead of a hang.
#[track_caller]
pub fn receive<T: Debug>(messages: &mpsc::Receiver<T>) -> T {
    messages.recv_timeout(Duration::from_secs(30)).expect("a message")
}

const CHILD: &str = "WOULDBLOCK_TEST_CHILD";

/// Runs one test of the present file once more, in a process of its own, in which [`is_child`] is true.
/// `environment` is added to that of this process, from which `WOULDBLOCK_SEED` is taken away.
pub fn in_child(test: &str, environment: &[(&str, &str)]) -> Output {
    let mut again = again(test);
    again.arg("--test-threads=1").env(CHILD, "1").env_remove("WOULDBLOCK_SEED");
    again.envs(environment.iter().copied());
    run_again(again)
}

/// Whether this is a process that [`in_child`] has started. One that hangs is killed.
pub fn is_child() -> bool {
    let is_child = env::var_os(CHILD).is_some();
    if is_child {
        limit_child(60);
    }
    is_child
}

/// Lets the kernel kill this process, should it still be there in so many seconds.
pub fn limit_child(seconds: u32) {
    // SAFETY: `alarm` touches no memory.
    unsafe { libc::alarm(seconds) };
}

/// What a process wrote to its standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
