//! download: many files of one size over HTTP/1.1, a number of them at once, over kept connections.
//!
//! Two processes. The server (`files.rs`, the same for all) is bound to core 0, the client, one contender,
//! to core 1. What is compared is the CPU time of the client's process, all its threads, for a file; its
//! peak memory is shown beside. As many workers as may download at once take one file after another and
//! count its bytes; nothing is written. Connecting, and the making of the workers, is in the figure.
//!
//! Where the server waits 50 ms before each answer, the ideal is concurrency / latency files a second.
//!
//! The clients are in `clients.rs`; `curl` and aiohttp are programs of their own, started from here.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::child::{self, Clock, Sample};
use crate::server::Server;
use crate::{Bench, Case, clients, files};

pub(crate) const BENCH: Bench = Bench {
    name: "download",
    what: "a file over HTTP: CPU ns of the client",
    figure: "cpu_ns_per_op",
    reference: "wouldblock-green",
    contenders: &[
        "wouldblock-green",
        "wouldblock-generator",
        "wouldblock-future",
        "wouldblock-green-minimal",
        "wouldblock-future-minimal",
        "bare-epoll",
        "tokio-minimal",
        "tokio-hyper",
        "ureq-threads",
        "curl",
        "aiohttp",
    ],
    cases: &[
        Case { name: "5 KiB, 5 at once", size: 0, big: false },
        Case { name: "5 KiB, 100 at once", size: 1, big: false },
        Case { name: "5 KiB, 1 000 at once", size: 2, big: false },
        Case { name: "100 KiB, 5 at once", size: 3, big: false },
        Case { name: "100 KiB, 100 at once", size: 4, big: false },
        Case { name: "100 KiB, 1 000 at once", size: 5, big: false },
        Case { name: "5 KiB, 1 000 at once, 50 ms latency", size: 6, big: false },
        Case { name: "5 KiB, 1 000 at once, 50 ms latency, 10 files each", size: 7, big: false },
    ],
    columns: &[("files_per_s", "files/s"), ("peak_mb", "peak MB"), ("ideal_percent", "% of ideal")],
    run,
};

/// What a case downloads; its `size` is the place in here.
struct Load {
    bytes: usize,
    concurrency: usize,
    files: u64,
    latency: Duration,
}

impl Load {
    const fn new(bytes: usize, concurrency: usize, files: u64) -> Load {
        Load { bytes, concurrency, files, latency: Duration::ZERO }
    }
}

const LOADS: [Load; 8] = [
    Load::new(5 * 1024, 5, 10_000),
    Load::new(5 * 1024, 100, 10_000),
    Load::new(5 * 1024, 1_000, 20_000),
    Load::new(100 * 1024, 5, 5_000),
    Load::new(100 * 1024, 100, 5_000),
    Load::new(100 * 1024, 1_000, 10_000),
    Load { latency: Duration::from_millis(50), ..Load::new(5 * 1024, 1_000, 40_000) },
    Load { latency: Duration::from_millis(50), ..Load::new(5 * 1024, 1_000, 10_000) },
];

/// The largest read of a body, where the client has the choice.
pub(crate) const CHUNK: usize = 16 * 1024;

/// curl 7.88 takes at most this `--parallel-max`, and falls back to 50 if told more; 8.17 would take 65 535.
const MOST_OF_CURL: usize = 300;

/// What is to be downloaded, shared by the workers.
pub(crate) struct Job {
    pub(crate) port: u16,
    pub(crate) bytes: usize,
    pub(crate) concurrency: usize,
    files: u64,
    taken: AtomicU64,
}

impl Job {
    /// Takes a file from the heap; false: there is none left.
    pub(crate) fn take(&self) -> bool {
        self.taken.fetch_add(1, Ordering::Relaxed) < self.files
    }

    /// A file is there.
    pub(crate) fn check(&self, got: usize) {
        assert_eq!(got, self.bytes, "bytes of a file");
    }

    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.authority())
    }
}

fn run(contender: &str, case: u64) -> Sample {
    let Load { bytes, concurrency, files, latency } = LOADS[case as usize];
    let (size, wait) = (bytes.to_string(), latency.as_millis().to_string());
    let server = Server::start(child::this_program(&["serve-files", &size, &wait]));
    let job = Job { port: server.port, bytes, concurrency, files, taken: AtomicU64::new(0) };
    let sample = match contender {
        "curl" => run_curl(&job),
        "aiohttp" => run_aiohttp(&job),
        _ => {
            let clock = Clock::start();
            clients::run(contender, Box::leak(Box::new(job))); // tasks want `'static`
            clock.stop(files)
        }
    };
    let get = |key| sample.get(key).expect("every sample has it");
    let (files_per_s, peak) = (1e9 / get("wall_ns_per_op"), get("peak_rss"));
    let sample = sample.with("files_per_s", files_per_s).with("peak_mb", peak / 1e6);
    if latency.is_zero() {
        return sample;
    }
    let ideal = concurrency as f64 / latency.as_secs_f64();
    sample.with("ideal_percent", files_per_s / ideal * 100.0)
}

/// Is the server.
pub(crate) fn serve(bytes: usize, latency_ms: u64) {
    let ended = files::serve(bytes, Duration::from_millis(latency_ms));
    panic!("the server has ended: {ended:?}");
}

/// The whole process is measured, from the outside.
fn run_curl(job: &Job) -> Sample {
    let most = job.concurrency.min(MOST_OF_CURL).to_string();
    let urls = format!("{}[1-{}]", job.url(), job.files);
    let mut curl = Command::new("curl");
    // `-q`: without the user's configuration; `-f`: an answer other than 200 is an error.
    curl.args(["-q", "-sS", "-f", "--no-progress-meter", "--noproxy", "*"]);
    curl.args(["--parallel", "--parallel-immediate", "--parallel-max", &most]);
    curl.args(["-o", "/dev/null", &urls]);
    let start = Instant::now();
    let curl = curl.spawn().expect("curl starts");
    let usage = child::wait(curl).unwrap_or_else(|why| panic!("curl: {why}"));
    Sample::new(job.files, start.elapsed().as_nanos() as f64, usage.cpu_ns)
        .with("peak_rss", usage.peak_rss)
}

/// Measures itself, without the starting of the interpreter.
fn run_aiohttp(job: &Job) -> Sample {
    let mut python = child::python("aiohttp", "download", job.files).expect("it has a script");
    python.args([job.port.into(), job.bytes, job.concurrency, CHUNK].map(|n| n.to_string()));
    let output = python.output().expect("python3 starts");
    child::sample(&output).unwrap_or_else(|why| panic!("aiohttp: {why}"))
}
