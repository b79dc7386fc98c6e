//! The demonstration: clients that never stop asking, while workers are killed, reloaded, and stopped.
//!
//! It fails where a promise is broken: a request that hangs; while workers are killed, one that is refused; while they
//! are reloaded, one that is not answered at its first attempt; while they are stopped, an answer that is cut.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use wouldblock::net::TcpStream;
use wouldblock::net::unix::UnixStream;
use wouldblock::sync::Condvar;
use wouldblock::{green, group::gather, offload};

const CLIENTS: usize = 16;

const RELOADS: u32 = 2;

/// A request that takes longer hangs.
const HANGS: Duration = Duration::from_secs(30);

/// What has become of the requests of one phase.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    answered: u64,
    /// Attempts that were made again, since the connection ended before an answer began.
    retried: u64,
    /// Answers that began and did not end.
    cut: u64,
    /// Requests for which there was no connection.
    refused: u64,
}

/// Kills, reloads and stops the workers of a server under load, and prints what the clients have seen.
pub fn show(workers: u16, kills: u32, between: u64) -> Result<(), Box<dyn Error>> {
    let (ours, theirs) = StdUnixStream::pair()?;
    let mut supervisor = Command::new(std::env::current_exe()?)
        .args(["--serve", "127.0.0.1:0", "--workers", &workers.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    let pid = supervisor.id();
    wouldblock::run(|| {
        let mut lines = BufReader::new(UnixStream::from_std(ours)?).lines();
        let first = lines.next().ok_or("the supervisor has ended")??;
        let address = first.strip_prefix("listening on ").ok_or(first.clone())?.parse()?;

        let seen = Rc::new(Seen::default());
        let watch = {
            let seen = seen.clone();
            green::spawn(move || lines.try_for_each(|line| line.map(|line| seen.line(&line))))
        };
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let seen = seen.clone();
                green::spawn(move || ask_on_and_on(address, &seen))
            })
            .collect();

        println!("{workers} workers, {CLIENTS} clients");
        println!("{:8}  answered  retried  cut  refused", "phase");
        let mut chance = 1_u32;
        for kill in 1..=kills {
            seen.until(|seen| seen.counts.get().answered >= between * u64::from(kill));
            seen.until(|seen| !seen.ready.borrow().is_empty());
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = chance as usize % seen.ready.borrow().len();
            let worker = seen.ready.borrow_mut().swap_remove(number);
            signal(worker, libc::SIGKILL)?;
        }
        seen.until(|seen| seen.dead.get() == kills && seen.ready.borrow().len() == workers.into());
        let killed = seen.phase("kill -9");

        for reload in 1..=RELOADS {
            let answered = seen.counts.get().answered;
            signal(pid, libc::SIGHUP)?;
            seen.until(|seen| seen.reloads.get() == reload);
            seen.until(|seen| seen.counts.get().answered > answered);
        }
        // Until the last of the old workers has finished what it had begun.
        let ended = kills + RELOADS * u32::from(workers);
        seen.until(|seen| seen.dead.get() == ended);
        let reloaded = seen.phase("reload");

        signal(pid, libc::SIGTERM)?;
        for client in green::wait(gather(clients)) {
            client??;
        }
        let stopped = seen.phase("stop");
        watch.join()??;
        let status = green::wait(offload(move || supervisor.wait()))?;

        let promises = [
            (killed.refused == 0, "no request is refused while workers are killed"),
            (
                reloaded.retried + reloaded.cut + reloaded.refused == 0,
                "while workers are reloaded, each request is answered at its first attempt",
            ),
            (stopped.cut == 0, "no answer is cut while the workers are stopped"),
            (status.success(), "the supervisor ends without an error"),
        ];
        match promises.iter().find(|(kept, _)| !kept) {
            Some((_, promise)) => Err(format!("a promise is broken: {promise}").into()),
            None => Ok(()),
        }
    })
}

/// What has been seen so far, of the supervisor's lines and of the answers.
#[derive(Default)]
struct Seen {
    /// Of this phase.
    counts: Cell<Counts>,
    /// The workers that accept.
    ready: RefCell<Vec<u32>>,
    dead: Cell<u32>,
    reloads: Cell<u32>,
    changed: Condvar,
}

impl Seen {
    fn line(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["worker", pid, "is", "ready"] => {
                self.ready.borrow_mut().push(pid.parse().expect("a number of a process"));
            }
            ["worker", pid, "has", "ended:", ..] => {
                self.ready.borrow_mut().retain(|ready| ready.to_string() != pid);
                self.dead.set(self.dead.get() + 1);
            }
            ["reloaded"] => self.reloads.set(self.reloads.get() + 1),
            _ => {}
        }
        self.changed.notify_all();
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
        self.changed.notify_all();
    }

    /// Waits until it is so.
    fn until(&self, is_so: impl Fn(&Seen) -> bool) {
        let nothing = wouldblock::sync::Mutex::new(());
        let mut guard = nothing.lock();
        while !is_so(self) {
            guard = self.changed.wait(guard);
        }
    }

    /// Prints a row, and begins the next phase.
    fn phase(&self, name: &str) -> Counts {
        let Counts { answered, retried, cut, refused } = self.counts.take();
        println!("{name:8}  {answered:8}  {retried:7}  {cut:3}  {refused:7}");
        Counts { answered, retried, cut, refused }
    }
}

/// A client: one request after the other, on a kept connection, until it gets no connection.
fn ask_on_and_on(address: SocketAddr, seen: &Seen) -> io::Result<()> {
    let mut kept = None;
    loop {
        match green::timeout(HANGS, || ask(&mut kept, address, seen))? {
            Outcome::Answered => seen.count(|counts| counts.answered += 1),
            Outcome::Cut => seen.count(|counts| counts.cut += 1),
            Outcome::Refused => {
                seen.count(|counts| counts.refused += 1);
                return Ok(());
            }
        }
    }
}

enum Outcome {
    Answered,
    Cut,
    Refused,
}

/// Sends one request, and again on another connection as long as no answer has begun.
fn ask(kept: &mut Option<BufReader<TcpStream>>, address: SocketAddr, seen: &Seen) -> Outcome {
    loop {
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => match TcpStream::connect(address) {
                Ok(stream) => BufReader::new(stream),
                Err(_) => return Outcome::Refused,
            },
        };
        let begun = stream
            .get_mut()
            .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .and_then(|()| stream.fill_buf().map(|answer| !answer.is_empty()));
        if !matches!(begun, Ok(true)) {
            seen.count(|counts| counts.retried += 1);
            continue;
        }
        return match answer(&mut stream) {
            Ok(keeps) => {
                *kept = keeps.then_some(stream);
                Outcome::Answered
            }
            Err(_) => Outcome::Cut,
        };
    }
}

/// Reads an answer. Returns whether the server keeps the connection.
fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let (mut length, mut keeps) = (0, true);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
            Some(("connection", value)) => keeps = value != "close",
            _ if line == "\r\n" => break,
            _ => {}
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    Ok(keeps)
}

fn signal(process: u32, signal: i32) -> io::Result<()> {
    let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
    // SAFETY: `kill` touches no memory of this process.
    match unsafe { libc::kill(process, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
