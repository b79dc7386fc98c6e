//! `fleet`: downloads spread over any number of worker processes on any number of machines, by Redis Streams.
//!
//! ```text
//! fleet run --local URL..          here and now, without any server
//! fleet add --urls FILE            into the queue
//! fleet work --processes 2         on each machine that is to help
//! fleet status --watch
//! fleet results --json
//! fleet retry-failed
//! fleet simulate --workers 1000    a fleet on paper
//! ```
//!
//! Reading order: `queue.rs` (what a queue promises), `download.rs`, `worker.rs`, `local.rs`; then `server.rs` (where
//! Redis is), `connection.rs` (Redis on wouldblock's sockets), `redis_queue.rs`, `processes.rs`; and `simulation.rs`.

mod connection;
mod download;
mod local;
mod processes;
mod queue;
mod redis_queue;
mod server;
mod simulation;
mod worker;

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use wouldblock::sync::Event;
use wouldblock::{green, time};

use download::Http;
use local::{LocalQueue, Store};
use queue::Counts;
use redis_queue::RedisQueue;
use server::Server;
use worker::Manner;

/// How long a command that is not a worker tries to reach Redis.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at the queue.
const INTERVAL: Duration = Duration::from_secs(1);

/// Downloads by a fleet of workers.
#[derive(Parser)]
struct Cli {
    /// The Redis server: HOST:PORT, or redis://USER:PASSWORD@HOST:PORT/DATABASE, without what is not needed; with
    /// rediss://, by TLS. In the environment, a password is not seen by the machine's other users.
    #[arg(
        long,
        global = true,
        default_value = "127.0.0.1:6379",
        env = "FLEET_REDIS",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    redis: String,
    /// A file with the certificates, PEM, that Redis's has to come from, in place of Mozilla's list.
    #[arg(long, global = true, env = "FLEET_REDIS_CA", value_name = "FILE")]
    redis_ca: Option<PathBuf>,
    #[command(subcommand)]
    command: Order,
}

#[derive(Subcommand)]
enum Order {
    /// Adds URLs to the queue.
    Add(Urls),
    /// Downloads what is in the queue, until a signal stops it.
    Work {
        /// How many processes.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        processes: u16,
        #[command(flatten)]
        how: How,
        /// Ends when no job is left, with any worker.
        #[arg(long)]
        until_empty: bool,
        /// Is one of the processes, of this name.
        #[arg(long, hide = true)]
        name: Option<String>,
    },
    /// Shows how many jobs are where.
    Status {
        /// Again each second, until no job is left.
        #[arg(long)]
        watch: bool,
    },
    /// Prints the result of each URL that has ended.
    Results {
        /// A JSON object on each line, and not a line of text.
        #[arg(long)]
        json: bool,
    },
    /// Puts URLs that have failed, or have killed workers, back into the queue.
    RetryFailed,
    /// Simulates a fleet on a virtual clock: workers that die, servers that fail, downloads that take long.
    Simulate(simulation::Setting),
    /// Downloads here, in one process, with a queue in its memory: no server is needed.
    Run {
        /// So that no one takes it for the fleet.
        #[arg(long, required = true)]
        local: bool,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        urls: Urls,
    },
}

#[derive(Args)]
struct Urls {
    #[arg(value_name = "URL", required_unless_present = "urls")]
    given: Vec<String>,
    /// A file with a URL on each line; `-`: standard input. It is read as it is sent, and may be of any length.
    #[arg(long, value_name = "FILE")]
    urls: Option<PathBuf>,
}

#[derive(Args, Clone)]
struct How {
    /// Downloads at once, in each process.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Downloads at once from one host, in the whole fleet.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    per_host: Option<u32>,
    /// Attempts after the first one.
    #[arg(long, default_value_t = 5)]
    retries: u32,
    /// The folder for the files.
    #[arg(long, default_value = "downloads", value_name = "DIR")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Order::Simulate(setting) => simulation::show(setting),
        _ => wouldblock::run(|| carry_out(&cli)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS, // `| head`
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(cli: &Cli) -> io::Result<()> {
    let server = || Server::new(&cli.redis, cli.redis_ca.as_deref());
    let open = || RedisQueue::open(&server()?, "", Some(PATIENCE));
    match &cli.command {
        Order::Add(urls) => {
            println!("added {}", open()?.add(urls.each()?)?);
        }
        Order::Work { how, until_empty, name: Some(name), .. } => {
            let queue = RedisQueue::open(&server()?, name, None)?;
            let (web, stop) = (Http::into(&how.out)?, &Event::new());
            green::scope(|scope| {
                let watch = scope.spawn(|| processes::until_the_keeper_is_gone(stop));
                let worked = worker::work(&queue, &web, &how.manner(*until_empty), stop);
                watch.cancel();
                worked
            })?;
        }
        Order::Work { processes, name: None, .. } => {
            let nodename = rustix::system::uname().nodename().to_string_lossy().into_owned();
            let fleet = format!("{nodename}-{}", std::process::id());
            processes::keep(&server()?, &fleet, *processes, &|name| {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(std::env::args_os().skip(1)).args(["--name", name]);
                Ok(command)
            })?;
        }
        Order::Status { watch } => {
            let queue = open()?;
            let mut before = (queue.counts()?, time::now());
            loop {
                green::sleep(INTERVAL);
                let now = (queue.counts()?, time::now());
                let seconds = (now.1 - before.1).as_secs_f64();
                writeln!(io::stdout(), "{}", line(&before.0, &now.0, seconds))?;
                if !watch || now.0.left() == 0 {
                    return Ok(());
                }
                before = now;
            }
        }
        Order::Results { json } => {
            let queue = open()?;
            let mut out = io::BufWriter::new(io::stdout().lock());
            for list in ["done", "failed", "dead"] {
                queue.results(list, |url, result| print(&mut out, *json, list, url, result))?;
            }
            out.flush()?;
        }
        Order::RetryFailed => println!("added {}", open()?.retry_failed()?),
        Order::Simulate(_) => unreachable!("it has a run of its own"),
        Order::Run { how, urls, .. } => {
            let store = Store::of(urls.each()?)?;
            let queue = LocalQueue { store: store.clone(), worker: "here".into() };
            worker::work(&queue, &Http::into(&how.out)?, &how.manner(true), &Event::new())?;
            let mut failed = 0;
            for (url, outcome) in store.results() {
                failed += usize::from(outcome.list() != "done");
                let result = outcome.to_json("here").to_string();
                print(&mut io::stdout(), false, outcome.list(), &url, &result)?;
            }
            if failed > 0 {
                return Err(io::Error::other(format!("{failed} downloads have failed")));
            }
        }
    }
    Ok(())
}

/// One line of `status`.
fn line(before: &Counts, now: &Counts, seconds: f64) -> String {
    let Counts { waiting, running, done, failed, dead, ended } = now;
    let workers: Vec<String> =
        running.iter().map(|(name, jobs)| format!("{name} {jobs}")).collect();
    let rate = ended.saturating_sub(before.ended) as f64 / seconds;
    let left = match now.left() {
        0 => String::from("nothing left"),
        _ if rate == 0.0 => String::from("time left unknown"),
        left => format!("{:.0} s left", left as f64 / rate),
    };
    let of_all = running.values().sum::<u64>();
    format!(
        "waiting {waiting}, running {of_all} ({}), done {done}, failed {failed}, dead {dead}; {rate:.1} a second, {left}",
        workers.join(", ")
    )
}

/// One line of `results`.
fn print(
    out: &mut impl Write,
    as_json: bool,
    list: &str,
    url: &str,
    result: &str,
) -> io::Result<()> {
    let mut result: Value = serde_json::from_str(result)?;
    if as_json {
        let fields = result.as_object_mut().ok_or(ErrorKind::InvalidData)?;
        fields.insert("url".into(), json!(url));
        fields.insert("status".into(), json!(list));
        return writeln!(out, "{result}");
    }
    let what = result["path"].as_str().or(result["error"].as_str()).unwrap_or_default();
    writeln!(out, "{list:6} {url} {what}")
}

impl How {
    fn manner(&self, until_empty: bool) -> Manner {
        Manner {
            concurrency: self.concurrency.into(),
            per_host: self.per_host,
            retries: self.retries,
            until_empty,
        }
    }
}

impl Urls {
    /// Each URL, read when it is asked for; blank lines and those that begin with `#` are left out.
    fn each(&self) -> io::Result<impl Iterator<Item = io::Result<String>>> {
        let file: Option<Box<dyn BufRead>> = match &self.urls {
            None => None,
            Some(path) if path.as_os_str() == "-" => Some(Box::new(io::stdin().lock())),
            Some(path) => {
                let file = File::open(path);
                let file =
                    file.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
                Some(Box::new(BufReader::new(file)))
            }
        };
        let lines = file.into_iter().flat_map(BufRead::lines);
        let is_url = |line: &String| !line.trim().is_empty() && !line.trim().starts_with('#');
        let lines = lines.map(|line| line.map(|line| line.trim().to_owned()));
        let lines = lines.filter(move |line| line.as_ref().map_or(true, is_url));
        Ok(self.given.clone().into_iter().map(Ok).chain(lines))
    }
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::queue::Counts;

    #[test]
    fn the_rate_counts_urls_that_were_added_again() {
        let before = Counts { waiting: 40, done: 5, ended: 10, ..Counts::default() };
        let running = [("a".to_owned(), 2)].into();
        let now = Counts { waiting: 28, running, ended: 20, ..before.clone() };
        let line = line(&before, &now, 2.0);
        assert_eq!(
            line,
            "waiting 28, running 2 (a 2), done 5, failed 0, dead 0; 5.0 a second, 6 s left"
        );
    }
}
