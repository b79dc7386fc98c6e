//! Several worker processes on one machine, and the process that keeps them.
//!
//! A worker is this program again. Its standard input is the line to the keeper: when that ends, because the keeper
//! wants it or is dead, the worker finishes what it has begun and ends. Its standard error is read by the keeper,
//! who passes it on and keeps the last line: the worker's last words, if it dies.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use wouldblock::net::unix::UnixStream;
use wouldblock::sync::Event;
use wouldblock::{green, offload};

use crate::redis_queue::RedisQueue;
use crate::server::Server;

/// How long a worker may take to finish what it has begun.
const LIMIT: Duration = Duration::from_secs(60);

/// A worker that has lived for so long is started anew at once when it dies.
const LIVED: Duration = Duration::from_secs(1);

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// In a worker: sets `stop` when the line to the keeper ends.
///
/// # Errors
///
/// When standard input is no line to a keeper.
pub fn until_the_keeper_is_gone(stop: &Event) -> io::Result<()> {
    let line = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Whatever this returns, the keeper says nothing more.
    let _ = UnixStream::from_std(line)?.read(&mut [0]);
    stop.set();
    Ok(())
}

/// Keeps so many workers, each started by `command` with a name, until they end by themselves or a signal stops them.
///
/// # Errors
///
/// Those of the operating system.
pub fn keep(
    server: &Server,
    name: &str,
    count: u16,
    command: &dyn Fn(&str) -> io::Result<Command>,
) -> io::Result<()> {
    let signals = stop_signals()?;
    let queue = &RedisQueue::open(server, name, None)?;
    let stop = &Event::new();
    green::scope(|scope| {
        let watch = scope.spawn(|| {
            if green::wait(signals.recv()).is_ok() {
                stop.set();
            }
        });
        let kept = green::try_scope(|places| {
            for place in 0..count {
                drop(
                    places
                        .spawn(move || keep_one(queue, &format!("{name}-{place}"), stop, command)),
                );
            }
            Ok(())
        });
        watch.cancel();
        kept
    })
}

/// The signals that end the program, by way of a thread.
fn stop_signals() -> io::Result<async_channel::Receiver<i32>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (sender, receiver) = async_channel::unbounded();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            if sender.send_blocking(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// One place: a worker, and the next one when it dies.
fn keep_one(
    queue: &RedisQueue,
    place: &str,
    stop: &Event,
    command: &dyn Fn(&str) -> io::Result<Command>,
) -> io::Result<()> {
    let mut pause = Duration::ZERO;
    for number in 0.. {
        // A name of its own: what is known of a death belongs to one process.
        let name = format!("{place}-{number}");
        let begun = Instant::now();
        let (status, last) = run_one(command(&name)?, stop)?;
        if status.success() || stop.is_set() {
            break;
        }
        eprintln!("fleet: worker {name} died: {status}");
        let last = if last.is_empty() { String::new() } else { format!("; it said: {last}") };
        queue.keep_words(&name, &format!("{status}{last}"))?;
        pause = match begun.elapsed() >= LIVED {
            true => Duration::ZERO,
            false => (pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
        };
        if stop.wait_timeout(pause).is_ok() {
            break;
        }
    }
    Ok(())
}

/// One process, to its end. Returns how it ended, and the last line that it wrote.
fn run_one(mut command: Command, stop: &Event) -> io::Result<(ExitStatus, String)> {
    let (line, its_line) = StdUnixStream::pair()?;
    let (words, its_words) = StdUnixStream::pair()?;
    command.stdin(Stdio::from(OwnedFd::from(its_line)));
    command.stderr(Stdio::from(OwnedFd::from(its_words)));
    command.process_group(0); // Ctrl-C reaches the keeper alone.
    let process = green::wait(offload(move || command.spawn()))?;
    let pid = process.id();
    let line = UnixStream::from_std(line)?;
    let words = UnixStream::from_std(words)?;
    let last = Cell::new(String::new());
    green::scope(|scope| {
        let stopping = scope.spawn(|| {
            stop.wait();
            let _ = line.shutdown(Shutdown::Both);
            green::sleep(LIMIT);
            eprintln!("fleet: worker {pid} is killed: it has not finished in {LIMIT:?}");
            let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        });
        for text in BufReader::new(&words).lines().map_while(Result::ok) {
            eprintln!("{text}");
            last.set(text);
        }
        let mut process = process;
        let status = green::wait(offload(move || process.wait()))?;
        stopping.cancel();
        Ok((status, last.take()))
    })
}
