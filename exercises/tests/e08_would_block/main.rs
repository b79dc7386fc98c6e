//! The tests of 08 would_block, on the student's own 07.

mod exercise;
#[path = "../e07_scheduler/exercise.rs"]
#[allow(dead_code)]
mod scheduler;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use exercise::{Sockets, echo, echo_server};
use kit::{
    Answer, Does, Id, Interest, Job, Op, Outside, Polled, before_poll, check, check_within, does,
    draw_jobs, fail, grouped, interest, job, jobs_made, last_poll, polls, spawned_as, step,
    text_of,
};
use scheduler::Scheduler;
use wouldblock::Wait;
use wouldblock::generator::Yielder;
use wouldblock::net::unix::UnixStream;
use wouldblock::net::{TcpListener, TcpStream};

type Y = Yielder<Op, Answer>;

/// What takes some milliseconds hangs after this.
const SOON: Duration = Duration::from_secs(4);

/// What is wrong with a scheduler that never took a socket.
const NOT_RESUMED: &str = "waits for its socket, and `run` returned before it was resumed: does your 07 hand each job that \
    yielded `Op::Wait` to `outside.sleep`, and resume those that `sleep` returns?";

/// The last step of a client.
const HAS_ENDED: &str = "the client has sent all, and ended what it sends, or will soon: from then on `try_read` returns 0, which is the end";

/// As long as a client waits for its server, that sends so many bytes. (`poll` sleeps for 5 s at most, and a check runs for
/// 8 s at most.)
fn patience(bytes: usize) -> Duration {
    Duration::from_secs(if bytes < 1000 { 3 } else { 6 })
}

#[test]
fn t01_now_is_in_milliseconds() {
    check_within(SOON, "`now` is the time in milliseconds since `Sockets` was made", || {
        let before = Instant::now();
        let sockets = Sockets::new();
        let after = Instant::now();
        while after.elapsed() < Duration::from_millis(5) {}
        let ms = |since: Instant| since.elapsed().as_millis();
        let (at_least, now, at_most) = (ms(after), u128::from(sockets.now()), ms(before));
        assert!(
            now >= at_least,
            "{at_least} ms after `Sockets::new`, `now` is {now}: it counts MILLISECONDS, and goes on by itself"
        );
        assert!(
            now <= at_most,
            "{at_most} ms after `Sockets::new`, `now` is {now}: it counts MILLISECONDS, from when this `Sockets` was made"
        );
    });
}

#[test]
fn t02_a_job_sleeps() {
    check_within(SOON, "a job sleeps for 20 ms, and then for 10 ms: the thread does too", || {
        draw_jobs("a sleeper");
        let mut scheduler = Scheduler::new();
        let nap = job("nap", 3, |y: &Y| {
            for ms in [20, 10] {
                y.yield_(Op::Sleep(ms));
            }
        });
        spawned_as("nap", scheduler.spawn("nap", nap));
        let mut sockets = Watched(Sockets::new());
        scheduler.run(&mut sockets).expect("the job can end");
        let now = sockets.now();
        assert!(now >= 30, "the job slept for 20 ms and for 10 ms, and `now` is {now}");
    });
}

#[test]
fn t03_a_sleeper_may_be_overdue() {
    check_within(
        SOON,
        "a job sleeps for 1 ms, and another keeps the thread for longer than that",
        || {
            draw_jobs("a sleeper that is overdue");
            let mut scheduler = Scheduler::new();
            let nap = job("nap", 2, |y: &Y| drop(y.yield_(Op::Sleep(1))));
            let busy = job("busy", 1, |_: &Y| {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(5) {}
            });
            spawned_as("nap", scheduler.spawn("nap", nap));
            spawned_as("busy", scheduler.spawn("busy", busy));
            scheduler.run(&mut Watched(Sockets::new())).expect("the jobs can end");
        },
    );
}

#[test]
fn t04_a_sleeper_wakes_beside_sockets() {
    check_within(
        SOON,
        "three jobs wait for a socket each; another sleeps, and writes to one, and then to both others at once",
        || {
            draw_jobs("a sleeper, and readers that it writes to");
            let mut scheduler = Scheduler::new();
            let were_read = Rc::new(Cell::new(0));
            let writers = ["reader 1", "reader 2", "reader 3"].map(|name| {
                let (here, there) = UnixStream::pair().expect("a pair of sockets");
                let read = were_read.clone();
                let reader = job(name, 3, move |y: &Y| {
                    let mut buf = [0; 8];
                    while let Err(e) = here.try_read(&mut buf) {
                        assert!(e.kind() == io::ErrorKind::WouldBlock, "a read failed: {e}");
                        y.wait(here.readable()).expect("it can wait");
                    }
                    read.set(read.get() + 1);
                });
                spawned_as(name, scheduler.spawn(name, reader));
                there
            });
            let sleeper = job("sleeper", 3, move |y: &Y| {
                let [one, two, three] = writers;
                for writers in [&[one][..], &[two, three]] {
                    y.yield_(Op::Sleep(10));
                    for there in writers {
                        there.try_write(b"hello").expect("there is room");
                    }
                }
            });
            spawned_as("sleeper", scheduler.spawn("sleeper", sleeper));
            scheduler.run(&mut Watched(Sockets::new())).expect("the jobs can end");
            let read = were_read.get();
            assert!(read == 3, "{read} of 3 readers were resumed: `reader` {NOT_RESUMED}");
        },
    );
}

#[test]
fn t05_a_client_that_has_come_is_accepted() {
    check_within(
        SOON,
        "a client is connected before `echo_server` begins, and is accepted",
        || {
            let (listener, address) = kit::small_listener().expect("a port");
            let mut client = std::net::TcpStream::connect(address).expect("it listens");
            let _ = client.write(b"abc").expect("there is room");
            client.shutdown(Shutdown::Write).expect("it is connected");
            has_come(&listener);
            step(HAS_ENDED);
            let watch = job("client", 21, move |y: &Y| {
                for _ in 0..20 {
                    if matches!(does("server"), Some((Does::Ended, _))) {
                        return;
                    }
                    y.yield_(Op::Sleep(1));
                }
                fail(format!(
                    "`echo_server` was to accept 1 client, which has come, and has not returned ({})",
                    told("server")
                ));
            });
            Server::on(listener, address, "a client that has come already", 1)
                .run_beside(Some(watch));
            let is_made = jobs_made().contains(&"echo");
            let is_served = client.read(&mut [0; 3]).is_ok_and(|n| n > 0);
            assert!(
                is_made || is_served,
                "a client was connected before `echo_server(y, listener, 1)` began, and it returned, and has accepted none: it \
                 accepts as many as `clients` says, `for _ in 0..clients`"
            );
        },
    );
}

#[test]
fn t06_one_client_step_by_step() {
    check_within(
        SOON,
        "one client connects, sends three letters, then more than its socket takes, and ends",
        || {
            let (listener, address) = kit::small_listener().expect("a port");
            let server = Server::on(listener, address, "one client, step by step", 1);
            let steps = job("client", 1000, move |y: &Y| step_by_step(y, address));
            server.run_beside(Some(steps));
        },
    );
}

/// A client that knows after each step what the server's jobs should do. It is a job beside them: what is ready when it
/// looks is exact, and no thread races.
fn step_by_step(y: &Y, address: SocketAddr) {
    let turns = |y: &Y| (0..4).for_each(|_| drop(y.yield_(Op::Turn)));
    step("no client has come yet: `try_accept` says `WouldBlock`, until the listener is readable");
    turns(y);
    expect_wait(
        "server",
        Interest::Readable,
        "no client has come yet",
        "`try_accept` said `WouldBlock`",
    );
    step(
        "a client is connected, and has sent nothing: `try_read` says `WouldBlock`, until the stream is readable. (It is writable)",
    );
    let mut client = kit::small_client(address).expect("it listens");
    for _ in 0..20 {
        if matches!(does("echo"), Some((Does::Waits(..) | Does::Ended, _))) {
            break;
        }
        y.yield_(Op::Sleep(1));
    }
    match (does("echo"), does("server")) {
        (None, Some((Does::Ended, _))) => {
            fail("a client is connected, and `echo_server` returned without a job \"echo\"")
        }
        (None, _) => fail(
            "a client is connected, and there is no job \"echo\": `echo_server` is to spawn a job \"echo\" for each client, and \
             to accept the next",
        ),
        (Some((Does::Ready, None)), _) => fail(
            "the job \"echo\" was made, and never had a turn: `y.yield_(Op::Spawn(\"echo\", job))` hands it to the scheduler",
        ),
        _ => {}
    }
    turns(y);
    let situation = "the client has sent nothing yet";
    expect_wait("echo", Interest::Readable, situation, "`try_read` said `WouldBlock`");

    step("the client has sent \"abc\", and waits for it");
    let _ = client.write(b"abc").expect("there is room");
    let mut back = Vec::new();
    for _ in 0..20 {
        y.yield_(Op::Sleep(1));
        read_all(&mut client, &mut back);
        if back == b"abc" {
            break;
        }
    }
    if back.is_empty() && !matches!(does("echo"), Some((Does::Ended, _))) {
        fail(
            "the client sent \"abc\", and waits for it before it sends more, and nothing came back: `echo` writes what it has \
             read before it reads on, and keeps nothing up to the end",
        );
    }
    if back.len() > 3 {
        fail(format!(
            "the client sent \"abc\", and {} bytes came back: `try_read` returns how many bytes it has read, and only these, at \
             the beginning of the buffer, are the client's",
            grouped(back.len())
        ));
    }
    if back != b"abc" {
        let state = told("echo");
        fail(format!(
            "the client sent \"abc\", and {:?} came back; {state}",
            String::from_utf8_lossy(&back)
        ));
    }
    turns(y);
    if let Some((Does::Ended, _)) = does("echo") {
        fail(
            "the client sent \"abc\", got it back, and is connected still, and `echo` has ended: it goes on until it reads 0 \
             bytes, which is when the client ends what it sends",
        );
    }
    let situation = "the client sent \"abc\", got it back, and is connected still";
    expect_wait("echo", Interest::Readable, situation, "`try_read` said `WouldBlock`");
    // Now it sends and does not read, until no more is taken.
    let sent: Vec<u8> = numbered(7, 24_000);
    step(
        "the client sends more than it reads: when no more is taken, `try_write` says `WouldBlock`, until the stream is \
         writable. (It is readable)",
    );
    let mut taken = 0;
    let mut rounds = 0;
    while rounds < 50 && !is_waiting("echo", Interest::Writable) {
        let before = taken;
        while taken < sent.len() {
            let Ok(n) = client.write(&sent[taken..]) else { break };
            taken += n;
        }
        rounds = if taken > before { 0 } else { rounds + 1 };
        y.yield_(Op::Sleep(1));
    }
    turns(y);
    if taken == sent.len() && !is_waiting("echo", Interest::Writable) {
        fail(format!(
            "the client has sent {} bytes and read none; the sockets hold a few thousand, and all were taken ({}): what \
             `try_write` does not take is to be kept, and written when it takes more",
            grouped(taken),
            told("echo")
        ));
    }
    expect_wait(
        "echo",
        Interest::Writable,
        "the client has sent more than it reads, until nothing more was taken",
        "`try_write` said `WouldBlock`",
    );
    step(HAS_ENDED);
    let mut back = Vec::new();
    let mut rounds = 0;
    let mut ended = false;
    while rounds < 1000 && !ended && sent.starts_with(&back) {
        let before = (taken, back.len());
        while taken < sent.len() {
            let Ok(n) = client.write(&sent[taken..]) else { break };
            taken += n;
        }
        if taken == sent.len() {
            client.shutdown(Shutdown::Write).ok();
        }
        ended = read_all(&mut client, &mut back);
        rounds = if (taken, back.len()) == before { rounds + 1 } else { 0 };
        if !ended {
            y.yield_(Op::Sleep(1));
        }
    }
    let what =
        format!("the client sent {} bytes, came back {}", grouped(taken), grouped(back.len()));
    let state = told("echo");
    match () {
        () if !sent.starts_with(&back) => fail(format!("{what}{}", difference(&back, &sent))),
        () if ended && back.len() < taken => fail(format!(
            "{what}, and then the connection ended ({state}): `echo` goes on until the client ends what it sends, and all is written. (A read into a buffer without room returns 0 too)"
        )),
        () if !ended && back.len() < taken => fail(format!("{what}, and then nothing ({state})")),
        () if !ended => fail(format!(
            "{what}, all of it, and the client sends no more; {state}: a read of 0 bytes is the end, at which `echo` returns"
        )),
        () => {}
    }
    turns(y);
    if !matches!(does("server"), Some((Does::Ended, _))) {
        fail(format!(
            "`echo_server` was to accept 1 client, which was served, and has not returned ({})",
            told("server")
        ));
    }
}

/// Reads what there is. Returns whether the connection has ended.
fn read_all(client: &mut std::net::TcpStream, back: &mut Vec<u8>) -> bool {
    let mut buf = [0; 4096];
    loop {
        match client.read(&mut buf) {
            Ok(0) => return true,
            Ok(n) => back.extend_from_slice(&buf[..n]),
            Err(e) => return e.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

fn is_waiting(name: &str, wanted: Interest) -> bool {
    matches!(does(name), Some((Does::Waits(_, interest), _)) if interest == wanted)
}

/// What a job does, in words.
fn told(name: &str) -> String {
    match does(name) {
        None => format!("there is no job {name:?}"),
        Some((Does::Waits(_, Interest::Readable), _)) => {
            format!("`{name}` waits until it is readable")
        }
        Some((Does::Waits(_, Interest::Writable), _)) => {
            format!("`{name}` waits until it is writable")
        }
        Some((Does::Ended, _)) => format!("`{name}` has ended"),
        Some((_, Some(op))) => format!("`{name}` has yielded `{op}`"),
        Some((_, None)) => format!("`{name}` has not begun"),
    }
}

/// Fails unless the job waits for this. `situation`: what has happened; `why`: what its socket has answered.
#[track_caller]
fn expect_wait(name: &str, wanted: Interest, situation: &str, why: &str) {
    let (right, wrong) = match wanted {
        Interest::Readable => ("readable", "writable"),
        Interest::Writable => ("writable", "readable"),
    };
    let state = told(name);
    match does(name) {
        _ if is_waiting(name, wanted) => {}
        Some((Does::Waits(..), _)) => fail(format!(
            "{situation}, and {state}. {why}: is it to wait until it is {wrong}, or until it is {right}?"
        )),
        Some((Does::Ended, _)) => fail(format!(
            "{situation}, and {state}. {why}, and that is no end: wait until it is {right}, and try again"
        )),
        Some((_, Some(op))) if op.starts_with("Op::Turn") || op.starts_with("Op::Sleep") => {
            fail(format!(
                "{situation}, and {state}, to ask again and again. {why}: wait for the socket, and `poll` says when to try again"
            ))
        }
        _ => fail(format!("{situation}, and {state}, where it was to wait until it is {right}")),
    }
}

/// `Sockets` as the scheduler has it: each `sleep` is compared with the `poll` that it makes.
struct Watched(Sockets);

impl Outside for Watched {
    fn now(&self) -> u64 {
        self.0.now()
    }

    fn sleep(&mut self, until: Option<u64>, waits: &[(Id, Wait)]) -> io::Result<Vec<Id>> {
        let before = self.0.now();
        let (begun, all) = (Instant::now(), waits.to_vec());
        before_poll(move |poll| {
            expect_limit(until, before, begun, poll.limit);
            expect_sockets(&all, poll);
        });
        let (polled, sockets) = (polls(), AssertUnwindSafe(&mut self.0));
        let slept = catch_unwind(move || { sockets }.0.sleep(until, waits));
        let slept = slept.unwrap_or_else(|payload| {
            if let (Some(until), true) = (until, text_of(&*payload).contains("subtract with overflow")) {
                fail(format!(
                    "`sleep` was asked to sleep until {until} ms when it was {before} ms, or later: a sleeper may be overdue, \
                     and then no time is left; `until - now` is less than 0"
                ));
            }
            resume_unwind(payload)
        });
        let Ok(slept) = slept else { return slept };
        let (Some(poll), 1) = (last_poll(), polls() - polled) else {
            fail(format!(
                "`sleep` is to call `kit::poll` once, and called it {} times",
                polls() - polled
            ))
        };
        let ready: Vec<_> = poll.ready.iter().map(|place| poll.sockets[*place]).collect();
        let is_ready =
            |(_, wait): &&(Id, Wait)| interest(wait).is_some_and(|it| ready.contains(&it));
        let mut wanted: Vec<Id> = waits.iter().filter(is_ready).map(|(id, _)| *id).collect();
        let mut got = slept.clone();
        wanted.sort_unstable();
        got.sort_unstable();
        if got != wanted {
            fail(format!(
                "`poll` returned the places {:?} of the {} sockets, which are those of {wanted:?}; `sleep` returned {slept:?}, \
                 and is to return ALL jobs at these places, and no other",
                poll.ready,
                waits.len()
            ));
        }
        Ok(slept)
    }
}

/// `poll` was given the time from now to `until`. `before`: the time when `sleep` was called, which was at `begun`.
fn expect_limit(until: Option<u64>, before: u64, begun: Instant, limit: Option<Duration>) {
    let now = before + begun.elapsed().as_millis() as u64 + 1; // Or less.
    let left = |now| Duration::from_millis(until.unwrap_or_default().saturating_sub(now));
    match (until, limit) {
        (None, Some(limit)) if limit.is_zero() => fail(
            "no job sleeps, and `poll` was given the limit 0, with which it returns without an event: `until` is `None`, and so \
             is the limit",
        ),
        (Some(until), None) => fail(format!(
            "a job sleeps until {until} ms, and `poll` was given no limit: it is to return by then, whatever the sockets do"
        )),
        (Some(until), Some(limit)) if limit > left(before) => fail(format!(
            "it was {before} ms, a job sleeps until {until} ms, and `poll` was given the limit {limit:?}: the limit is how long \
             to sleep from NOW on"
        )),
        (Some(until), Some(limit)) if limit < left(now) => fail(format!(
            "it was {before} ms, a job sleeps until {until} ms, and `poll` was given the limit {limit:?}: it returns without an \
             event before that time, again and again"
        )),
        _ => {}
    }
}

/// `poll` was given all sockets, each with what its job waits for.
fn expect_sockets(waits: &[(Id, Wait)], poll: &Polled) {
    for (id, wait) in waits {
        let Some((descriptor, wanted)) = interest(wait) else { continue };
        if poll.sockets.contains(&(descriptor, wanted)) {
            continue;
        }
        match poll.sockets.iter().any(|(other, _)| *other == descriptor) {
            true => fail(format!(
                "{id:?} waits until its socket is {wanted:?}, and `poll` was asked for the other"
            )),
            false => fail(format!(
                "{id:?} waits for a socket, and `poll` was not given it: it was given {} of {} sockets",
                poll.sockets.len(),
                waits.len()
            )),
        }
    }
}

#[test]
fn t07_try_before_you_wait() {
    check_within(
        SOON,
        "three letters have come, and the system calls the stream readable from 100 bytes on: they are read all the same",
        || {
            let (mut client, stream) = connected();
            let _ = client.write(b"abc").expect("there is room");
            kit::readable_from(&stream, 100);
            client.set_nonblocking(true).expect("a socket can be so");
            let asks = job("client", 30, move |y: &Y| {
                let mut back = Vec::new();
                for _ in 0..20 {
                    if back.len() < 3 {
                        y.yield_(Op::Sleep(1));
                        read_all(&mut client, &mut back);
                    }
                }
                if back != b"abc" {
                    fail(format!(
                        "the client has sent \"abc\", which has come, and nothing came back ({}): TRY first, and wait when the try says \
                         `WouldBlock`, and only then. (Here, the system calls the stream readable from 100 bytes on)",
                        told("echo")
                    ));
                }
                client.shutdown(Shutdown::Write).expect("it is connected");
            });
            let result = ends("echo", |y| echo(y, stream), Some(asks));
            assert!(matches!(result, Some(Ok(()))), "`echo` came to {result:?}");
        },
    );
}

#[test]
fn t08_a_read_that_fails() {
    check_within(SOON, "the client has reset the connection: `echo` returns the error", || {
        let stream = reset(&[]);
        step(
            "the client has reset the connection: `try_read` returns an error that is not `WouldBlock`, and is to be returned",
        );
        let result = ends("echo", |y| echo(y, stream), None);
        expect_error("`try_read`", "echo", result);
    });
}

#[test]
fn t09_a_write_that_fails() {
    check_within(
        SOON,
        "the client has sent three letters, and has reset the connection: `echo` returns the error",
        || {
            let stream = reset(b"abc");
            step(
                "the client has sent \"abc\", and has reset the connection: `try_write` returns an error that is not `WouldBlock`, and \
                 is to be returned",
            );
            let result = ends("echo", |y| echo(y, stream), None);
            expect_error("`try_write`", "echo", result);
        },
    );
}

#[test]
fn t10_an_accept_that_fails() {
    check_within(SOON, "the listener is shut down: `echo_server` returns the error", || {
        let (listener, _) = kit::small_listener().expect("a port");
        // SAFETY: it takes numbers, and the listener has the descriptor.
        unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RD) };
        step(
            "the listener is shut down: `try_accept` returns an error that is not `WouldBlock`, and is to be returned",
        );
        let result = ends("echo_server", |y| echo_server(y, listener, 1), None);
        expect_error("`try_accept`", "echo_server", result);
    });
}

/// A client, and the server's stream to it.
fn connected() -> (std::net::TcpStream, TcpStream) {
    let (listener, address) = kit::small_listener().expect("a port");
    let client = std::net::TcpStream::connect(address).expect("it listens");
    has_come(&listener);
    (client, listener.try_accept().expect("the client has come").0)
}

/// Waits until a client has connected.
fn has_come(listener: &TcpListener) {
    let come = kit::poll(&[(listener.as_raw_fd(), Interest::Readable)], Some(SOON));
    assert_eq!(come.expect("the system can poll"), [0], "the client has come");
}

/// A stream whose client has sent this, and then has reset the connection: there were bytes that it had not read.
fn reset(sent: &[u8]) -> TcpStream {
    let (mut client, stream) = connected();
    stream.try_write(b"hello").expect("there is room");
    client.peek(&mut [0]).expect("it is connected");
    let _ = client.write(sent).expect("there is room");
    drop(client);
    kit::until_it_ends(&stream);
    stream
}

type Ended = Option<io::Result<()>>;

/// Runs a function of the student's as a job, and another job beside it. Returns what the function returned; nothing, if it
/// panicked.
fn ends(
    name: &'static str,
    body: impl FnOnce(&Y) -> io::Result<()> + 'static,
    beside: Option<Job>,
) -> Ended {
    draw_jobs(name);
    let mut scheduler = Scheduler::new();
    let result: Rc<RefCell<Ended>> = Rc::default();
    let returned = result.clone();
    let tested = job(name, 10, move |y: &Y| {
        let result = body(y);
        *returned.borrow_mut() = Some(result);
    });
    spawned_as(name, scheduler.spawn(name, tested));
    if let Some(job) = beside {
        spawned_as("client", scheduler.spawn("client", job));
    }
    scheduler.run(&mut Watched(Sockets::new())).expect("no job joins another");
    result.take()
}

/// `call` has failed within the function of this name.
#[track_caller]
fn expect_error(call: &str, name: &str, result: Ended) {
    match result {
        Some(Err(_)) => {}
        Some(Ok(())) => panic!(
            "{call} failed, not with `WouldBlock`, and `{name}` returned `Ok(())`, as if all had gone well: only `WouldBlock` is a reason \
             to wait, and to try again; any other error is returned (`?`)"
        ),
        None => panic!(
            "{call} failed, not with `WouldBlock`, and `{name}` panicked: it returns the error (`?`), and its caller unwraps it"
        ),
    }
}

#[test]
fn t11_one_client() {
    check("one client sends three letters, and gets them back", || {
        let server = Server::start("one client", 1, None);
        // The client comes when the server has had a turn, and has found none.
        let address = server.address;
        let (begun, client) = mpsc::channel();
        let begin = job("client", 1, move |_: &Y| {
            let client = thread::spawn(move || exchange(1, address, b"abc"));
            begun.send(client).expect("the test waits for it");
        });
        server.run_beside(Some(begin));
        let client = client.try_recv().expect("each job has a turn");
        done(&[client.join().expect("the client ends")]);
    });
}

#[test]
fn t12_a_silent_client() {
    check("a client that sends nothing holds up no other", || {
        let server = Server::start("client 1 is silent", 3, None);
        let mut silent = std::net::TcpStream::connect(server.address).expect("it listens");
        let (answered, others_are_answered) = mpsc::channel();
        let others = [2, 3].map(|n| {
            let (client, answered) = (server.client(n, b"abc".to_vec()), answered.clone());
            thread::spawn(move || {
                let outcome = client.join().expect("the client ends");
                answered.send(()).ok();
                outcome
            })
        });
        // It closes when the others have their answer, or have lost patience.
        let silent = thread::spawn(move || {
            others_are_answered.iter().take(2).for_each(drop);
            silent.shutdown(Shutdown::Write)?;
            silent.read(&mut [0])
        });
        server.run();
        silent.join().expect("the client ends").ok();
        let others = others.map(|client| client.join().expect("the client ends"));
        if others.iter().any(|other| other.is_late) {
            let jobs = jobs_made().iter().filter(|name| **name == "echo").count();
            match jobs {
                0 => panic!(
                    "clients 2 and 3 got no answer while client 1 was connected, and sent nothing: `echo_server` is to spawn \
                     a job \"echo\" for each client, and to accept the next"
                ),
                _ => panic!(
                    "clients 2 and 3 got no answer while client 1 sent nothing: an `echo` kept the thread. On `WouldBlock`, \
                     wait: y.wait(stream.readable())"
                ),
            }
        }
        done(&others);
    });
}

#[test]
fn t13_five_clients() {
    check("five clients send 64 KiB each through small buffers", || {
        clients("five clients", 5, 64 << 10)
    });
}

#[test]
fn t14_twenty_clients() {
    check("twenty clients send 1 MiB each through small buffers", || {
        clients("twenty clients", 20, 1 << 20);
    });
}

#[test]
fn t15_a_poll_that_fails() {
    check_within(SOON, "`kit::poll` fails: `sleep` returns the error", || {
        let mut sockets = Sockets::new();
        kit::next_poll_fails();
        let slept = sockets.sleep(Some(1), &[]);
        assert!(
            slept.is_err(),
            "`poll` returned an error, and `sleep` returned {slept:?}: it passes the error on (`?`)"
        );
    });
}

fn clients(title: &'static str, clients: usize, bytes: usize) {
    let server = Server::start(title, clients, Some(8 << 10));
    let clients: Vec<_> = (1..=clients).map(|n| server.client(n, numbered(n, bytes))).collect();
    server.run();
    let outcomes: Vec<_> =
        clients.into_iter().map(|client| client.join().expect("it ends")).collect();
    done(&outcomes);
}

/// The student's server, on the student's scheduler.
struct Server {
    listener: TcpListener,
    address: SocketAddr,
    clients: usize,
}

impl Server {
    /// Listens; with sockets whose buffers are so small.
    fn start(title: &'static str, clients: usize, buffer: Option<libc::c_int>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        for option in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
            let Some(size) = buffer else { break };
            let length = size_of_val(&size) as libc::socklen_t;
            // SAFETY: the pointer is to an integer of this length, which the call reads.
            let set = unsafe {
                let size = (&raw const size).cast();
                libc::setsockopt(listener.as_raw_fd(), libc::SOL_SOCKET, option, size, length)
            };
            assert_eq!(set, 0, "{}", io::Error::last_os_error());
        }
        let address = listener.local_addr().expect("an address");
        Server::on(listener, address, title, clients)
    }

    fn on(
        listener: TcpListener,
        address: SocketAddr,
        title: &'static str,
        clients: usize,
    ) -> Server {
        draw_jobs(title);
        Server { listener, address, clients }
    }

    /// A client on threads of its own.
    fn client(&self, number: usize, data: Vec<u8>) -> JoinHandle<Outcome> {
        let address = self.address;
        thread::spawn(move || exchange(number, address, &data))
    }

    fn run(self) {
        self.run_beside(None);
    }

    /// Runs it, and another job that is spawned after it.
    fn run_beside(self, other: Option<Job>) {
        let Server { listener, clients, .. } = self;
        let mut scheduler = Scheduler::new();
        let ended = Rc::new(Cell::new(false));
        let end = ended.clone();
        let server = job("server", 3 * clients + 1, move |y: &Y| {
            let result = echo_server(y, listener, clients);
            end.set(true);
            if let Err(e) = result {
                fail(format!("`echo_server` returned an error: {e}{}", explained(&e)));
            }
        });
        spawned_as("server", scheduler.spawn("server", server));
        if let Some(job) = other {
            spawned_as("client", scheduler.spawn("client", job));
        }
        if let Err(stuck) = scheduler.run(&mut Watched(Sockets::new())) {
            panic!("no job joins another here, and `run` returned {stuck:?}");
        }
        assert!(ended.get(), "`server` {NOT_RESUMED}");
    }
}

fn explained(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::WouldBlock => {
            ". That is not an error: there is no client yet, so wait until the listener is readable"
        }
        _ => "",
    }
}

/// What a client has seen.
struct Outcome {
    number: usize,
    sent: Vec<u8>,
    back: Vec<u8>,
    is_late: bool,
    error: Option<io::Error>,
}

/// Sends and receives at once, as a client does that does not wait for its answer.
fn exchange(number: usize, address: SocketAddr, data: &[u8]) -> Outcome {
    let mut back = Vec::new();
    let mut receive = || -> io::Result<()> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(patience(data.len())))?;
        stream.set_write_timeout(Some(patience(data.len())))?;
        thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(data).ok();
                stream.shutdown(Shutdown::Write).ok();
            });
            let mut buf = [0; 16 << 10];
            loop {
                match (&stream).read(&mut buf)? {
                    0 => return Ok(()),
                    n => back.extend_from_slice(&buf[..n]),
                }
            }
        })
    };
    let error = receive().err();
    let is_late = error.as_ref().is_some_and(|e| e.kind() == io::ErrorKind::WouldBlock);
    Outcome { number, sent: data.to_vec(), back, is_late, error }
}

/// Fails with what the first client has seen that was not served well.
#[track_caller]
fn done(outcomes: &[Outcome]) {
    for Outcome { number, sent, back, is_late, error } in outcomes {
        if back == sent {
            continue;
        }
        let what = format!(
            "client {number} sent {}, came back {}",
            grouped(sent.len()),
            grouped(back.len())
        );
        match () {
            () if *is_late => panic!(
                "{what}, and then nothing for {} s: is each job resumed that waits for a socket?",
                patience(sent.len()).as_secs()
            ),
            () if sent.starts_with(back) => panic!(
                "{what}, and then the connection ended{}: its `echo` has returned, or has failed",
                error.as_ref().map_or(String::new(), |e| format!(" ({e})"))
            ),
            () => panic!("{what}{}", difference(back, sent)),
        }
    }
}

/// Bytes that say where they stand: each four are a number, the next one for the next four.
fn numbered(client: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (((client << 24) | (at / 4)) as u32).to_be_bytes()[at % 4]).collect()
}

/// What is wrong with bytes that came back, where they are not as they were sent.
fn difference(back: &[u8], sent: &[u8]) -> String {
    let same = back.iter().zip(sent).take_while(|(back, sent)| back == sent).count();
    let next = &back[same..back.len().min(same + 16)];
    let n = grouped(same);
    match sent.windows(next.len().max(1)).position(|window| window == next) {
        Some(at) if at < same => format!(
            ", and after {n} came {} AGAIN: when `try_write` has taken a part, go on behind it, also after a wait",
            grouped(same - at)
        ),
        Some(at) => format!(
            ", with a gap of {} after {n}: `try_write` returns how many it has taken, often fewer than there were",
            grouped(at - same)
        ),
        None => format!(", and after {n} came others than were sent"),
    }
}

/// `echo` is called by `echo_server` alone; its type is part of the exercise.
const _: fn(&Y, TcpStream) -> io::Result<()> = echo;
