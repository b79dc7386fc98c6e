//! Prefork: a supervisor that binds, and worker processes that serve. (gunicorn's way.)
//!
//!     cargo run --release --example prefork                                     the demonstration
//!     cargo run --release --example prefork -- --serve 127.0.0.1:8080           the server
//!
//! The supervisor binds the listener and starts the workers: this program again, with the listener as standard input
//! (as inetd hands it over) and one end of a pair of sockets, the *line*, as standard output. All workers accept from
//! the one listener, whose backlog belongs to none of them: what waits there survives each worker.
//!
//! * **The line** is all that the two have to talk through. The worker writes a byte when it is about to accept. When
//!   the supervisor's side is shut down, or the supervisor is gone, the worker stops gracefully; when the worker's side
//!   is closed, the worker is dead. Neither can miss the end of the other, since the kernel closes the line.
//! * **A worker that dies** is started again: at once if it has served for a second, else after a pause that doubles
//!   from 10 ms to 5 s.
//! * **SIGHUP** reloads one worker after the other: the new one is accepting before the old one stops, and a new one
//!   that does not become ready leaves the old one in place. No connection is refused and no request fails.
//! * **SIGTERM** or **SIGINT** stops all workers gracefully: requests that have begun are answered. After `--limit`
//!   seconds, or at a second signal, workers that are left are killed.
//!
//! A worker that stops answers the next request of each kept connection with `connection: close`, and closes a
//! connection that stays idle for a second. A client whose request crosses that on the wire has no byte of an answer,
//! and may send it again (RFC 9112, section 9.3.1).
//!
//! Workers are made by starting the program anew, never by `fork(2)` alone: threads, locks and event queues do not
//! survive a fork.
//!
//! Reading order: this file, `worker.rs`, `supervisor.rs`, `demo.rs`.

mod demo;
mod supervisor;
mod worker;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// A server of several processes; without arguments, a demonstration of it.
#[derive(Parser)]
struct Arguments {
    /// Serves there, instead of the demonstration.
    #[arg(long, value_name = "ADDR")]
    serve: Option<String>,
    /// How many workers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
    /// How long a worker that is to stop may take, before it is killed.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    limit: u64,
    /// In the demonstration, how many workers are killed.
    #[arg(long, default_value_t = 8)]
    kills: u32,
    /// And how many requests are answered between one kill and the next. (Workers that live for less than a second are
    /// started again after longer and longer pauses.)
    #[arg(long, default_value_t = 40, value_name = "ANSWERS")]
    between: u64,
    /// Is a worker: see `worker.rs`.
    #[arg(long, hide = true)]
    worker: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let limit = Duration::from_secs(arguments.limit);
    let done: Result<(), Box<dyn Error>> = match &arguments.serve {
        _ if arguments.worker => worker::work(limit).map_err(Into::into),
        Some(address) => supervisor::supervise(address, arguments.workers, limit),
        None => demo::show(arguments.workers, arguments.kills, arguments.between),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("prefork[{}]: {error}", std::process::id());
            ExitCode::FAILURE
        }
    }
}
