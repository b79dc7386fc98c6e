//! One contender in one case, in a process of its own: starting it, and measuring inside it.
//!
//! The parent starts `benches child BENCH CONTENDER SIZE`. The child runs the contender and prints one
//! line of JSON, the sample: a flat object of numbers. In it: `ops`, `wall_ns`, `cpu_ns` (user + system,
//! of all threads, by `getrusage`), the same two per operation, `peak_rss` in bytes, and whatever else
//! the bench measures. A contender in Python replaces the child by the interpreter, with a script that
//! prints the same line.

use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Instant;

/// A run that takes longer than this is ended by `SIGALRM`.
const LONGEST_RUN_SECONDS: u32 = 180;

/// What one run has measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(BTreeMap<String, f64>);

impl Sample {
    /// A sample of `ops` operations that took this long.
    pub(crate) fn new(ops: u64, wall_ns: f64, cpu_ns: f64) -> Sample {
        let sample = Sample::default().with("ops", ops as f64);
        let sample = sample.with("wall_ns", wall_ns).with("cpu_ns", cpu_ns);
        let sample = sample.with("wall_ns_per_op", wall_ns / ops as f64);
        sample
            .with("cpu_ns_per_op", cpu_ns / ops as f64)
            .with("peak_rss", status_bytes(std::process::id(), "VmHWM"))
    }

    pub(crate) fn with(mut self, key: &str, value: f64) -> Sample {
        self.0.insert(key.into(), value);
        self
    }

    pub(crate) fn get(&self, key: &str) -> Option<f64> {
        self.0.get(key).copied()
    }

    pub(crate) fn print(&self) {
        println!("{}", self.to_json());
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        self.0.iter().map(|(key, value)| (key.clone(), serde_json::json!(value))).collect()
    }

    fn parse(line: &str) -> Option<Sample> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let fields = value.as_object()?.iter();
        let fields = fields.map(|(key, value)| Some((key.clone(), value.as_f64()?)));
        fields.collect::<Option<_>>().map(Sample)
    }
}

/// Wall clock and CPU time since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: Instant,
    cpu_ns: f64,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { wall: Instant::now(), cpu_ns: own_cpu_ns() }
    }

    /// A sample of what this process has used since the start.
    pub(crate) fn stop(self, ops: u64) -> Sample {
        let (cpu_ns, wall) = (own_cpu_ns() - self.cpu_ns, self.wall.elapsed());
        Sample::new(ops, wall.as_nanos() as f64, cpu_ns)
    }
}

fn own_cpu_ns() -> f64 {
    // SAFETY: `rusage` is plain data, for which zero is a value; `getrusage` fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    cpu_ns(&usage)
}

/// User + system.
fn cpu_ns(usage: &libc::rusage) -> f64 {
    let ns = |t: libc::timeval| t.tv_sec as f64 * 1e9 + t.tv_usec as f64 * 1e3;
    ns(usage.ru_utime) + ns(usage.ru_stime)
}

/// What a process has used from its beginning to its end.
pub(crate) struct Usage {
    pub(crate) cpu_ns: f64,
    /// In bytes.
    pub(crate) peak_rss: f64,
}

/// Waits for the end of a process, which must be a success.
pub(crate) fn wait(process: Child) -> Result<Usage, String> {
    // SAFETY: the process is a child that nobody has waited for; the rest as in `own_cpu_ns`.
    let (usage, status) = unsafe {
        let (mut usage, mut status) = (std::mem::zeroed::<libc::rusage>(), 0);
        libc::wait4(process.id() as i32, &mut status, 0, &mut usage);
        (usage, ExitStatus::from_raw(status))
    };
    if !status.success() {
        return Err(status.to_string());
    }
    Ok(Usage { cpu_ns: cpu_ns(&usage), peak_rss: usage.ru_maxrss as f64 * 1024.0 })
}

/// A line of `/proc/PID/status` that counts kB, in bytes; 0 where there is none.
pub(crate) fn status_bytes(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kb = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kb.unwrap_or(0.0) * 1024.0
}

/// Ends this process, and what it becomes, after [`LONGEST_RUN_SECONDS`].
pub(crate) fn limit_run_time() {
    // SAFETY: no handler is installed, so that the signal ends the process.
    unsafe { libc::alarm(LONGEST_RUN_SECONDS) };
}

/// Runs one contender once.
pub(crate) fn run(bench: &str, contender: &str, size: u64) -> Result<Sample, String> {
    let size = size.to_string();
    let output = this_program(&["child", bench, contender, &size])
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot start: {e}"))?;
    sample(&output)
}

/// What a process that measured has printed.
pub(crate) fn sample(output: &Output) -> Result<Sample, String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let sample = text.lines().last().and_then(Sample::parse);
    sample.filter(|_| output.status.success()).ok_or_else(|| failure(output))
}

/// This very program, to be started again.
pub(crate) fn this_program(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(args);
    command
}

/// How a child ended, and the first words that it said about it.
fn failure(output: &Output) -> String {
    let how = match (output.status.signal(), output.status.code()) {
        (Some(libc::SIGALRM), _) => format!("still running after {LONGEST_RUN_SECONDS} s"),
        (Some(signal), _) => format!("killed by signal {signal}"),
        (None, Some(0)) => "printed no sample".into(),
        (None, code) => format!("exit code {}", code.unwrap_or(-1)),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let python = said.starts_with("Traceback");
    let line = if python { lines.next_back() } else { lines.find(|l| !l.starts_with("thread '")) };
    format!("{how}: {}", line.unwrap_or("(said nothing)").chars().take(120).collect::<String>())
}

/// Why a contender cannot run here; `None`: it can.
pub(crate) fn missing(contender: &str) -> Option<String> {
    if contender == "curl" {
        let tried = Command::new("curl").arg("--version").output();
        return tried.err().map(|e| format!("curl cannot be started: {e}"));
    }
    script(contender)?;
    let import = format!("import {contender}");
    let tried = Command::new("python3").args(["-c", &import]).output();
    match tried {
        Err(e) => Some(format!("python3 cannot be started: {e}")),
        Ok(output) if output.status.success() => None,
        Ok(_) => Some(format!("python3 has no module {contender}: pip install {contender}")),
    }
}

/// The program of a contender that is written in Python.
fn script(contender: &str) -> Option<&'static str> {
    match contender {
        "asyncio" => {
            Some(concat!(include_str!("peers/measure.py"), include_str!("peers/asyncio_peer.py")))
        }
        "gevent" => {
            Some(concat!(include_str!("peers/measure.py"), include_str!("peers/gevent_peer.py")))
        }
        "aiohttp" => {
            Some(concat!(include_str!("peers/measure.py"), include_str!("peers/aiohttp_peer.py")))
        }
        _ => None,
    }
}

/// The interpreter with a contender's script, if it has one.
pub(crate) fn python(contender: &str, bench: &str, size: u64) -> Option<Command> {
    let mut command = Command::new("python3");
    command.args(["-c", script(contender)?, bench, &size.to_string()]);
    Some(command)
}

/// For a contender that is not one of the Rust ones: becomes its interpreter. Returns only to panic.
pub(crate) fn become_python(contender: &str, bench: &str, size: u64) -> ! {
    match python(contender, bench, size) {
        Some(mut command) => panic!("cannot become python3: {}", command.exec()),
        None => panic!("{contender} does not take part in {bench}"),
    }
}

/// Lets `may` have one worker thread, not bound to a core of its choice, as its peers here do.
pub(crate) fn one_may_worker() {
    may::config().set_workers(1);
    may::config().set_worker_pin(false);
}
