//! Programs run in processes of their own, forked off, so that a crash, an abort or an endless loop is told of
//! and stops nothing.
//!
//! The process that forks has one thread and has never run a program, so the copy begins in a known state. A
//! program is in memory already when the process forks: it needs no form in which it would be handed over.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use std::{fmt, panic, process};

use crate::parts;
use crate::program::Program;
use crate::report::{fail, shared};

/// How a child has ended, if not well.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What kind of failure: two programs of one kind are taken to show one fault.
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text)
    }
}

/// How programs are run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// A program that takes longer hangs.
    pub(crate) patience: Duration,
    /// Panics and log messages go to standard error.
    pub(crate) verbose: bool,
}

/// Runs programs one after the other in one child, until one fails or leaves things behind:
/// `next` gives each, by its number. Returns
/// how many have run, and how the last one has failed.
pub(crate) fn batch(how: How, count: u64, next: impl Fn(u64) -> Program) -> (u64, Option<Failure>) {
    let shared = shared();
    shared.clear();
    let stderr = if how.verbose { None } else { Some(memory_file()) };
    // SAFETY: this process has one thread, so that the child is a whole copy of it.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "cannot fork");
    if pid == 0 {
        prepare(how, stderr.as_ref());
        for number in 0..count {
            let program: &'static Program = Box::leak(Box::new(next(number)));
            let is_clean = parts::run(program);
            if shared.failed() {
                break;
            }
            shared.ended.fetch_add(1, SeqCst);
            if !is_clean {
                break;
            }
        }
        // SAFETY: no destructor of this process is to run twice.
        unsafe { libc::_exit(0) }
    }
    let status = wait(pid, how.patience);
    let ended = shared.ended.load(SeqCst);
    let written = stderr.map(read).unwrap_or_default();
    let failure = judge(status, &written);
    // One that has ended the process as documented has ended.
    let documented = failure.is_none() && status != Some(0);
    (ended + u64::from(documented), failure)
}

/// Runs one program in a child of its own.
pub(crate) fn one(how: How, program: &Program) -> Option<Failure> {
    batch(how, 1, |_| program.clone()).1
}

fn judge(status: Option<libc::c_int>, stderr: &str) -> Option<Failure> {
    let shared = shared();
    let failure = |kind: String, text: String| {
        let said: Vec<_> = stderr.lines().take(16).collect();
        Some(Failure { kind, text: format!("{text}\n{}", said.join("\n")).trim_end().to_owned() })
    };
    if let Some(text) = shared.text() {
        let kind = text.split(':').next().unwrap_or_default().to_owned();
        return failure(kind, text);
    }
    let sanitizer = stderr.split_once("ERROR: AddressSanitizer: ").map(|(_, rest)| {
        let name = rest.split_whitespace().next().unwrap_or_default();
        format!("AddressSanitizer {name}")
    });
    let Some(status) = status else { return failure("hang".into(), "the program hangs".into()) };
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 {
        return None;
    }
    if let Some(kind) = sanitizer {
        return failure(kind.clone(), kind);
    }
    let signal = if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 };
    // Documented: a root that cannot end its cleanup ends the process, with a message. (It may be a task that the root
    // joins in its cleanup that cannot end.)
    let aborted = |line: &str| line.starts_with("wouldblock: the root of a run, task 1 ");
    if signal == libc::SIGABRT && shared.any_is_stuck.load(SeqCst) && stderr.lines().any(aborted) {
        return None;
    }
    let first = gist(stderr.lines().find(|line| !line.is_empty()).unwrap_or_default());
    match signal {
        0 => failure(format!("exit {}", libc::WEXITSTATUS(status)), "the process exits".into()),
        signal => failure(
            format!("signal {signal} {first}"),
            format!("the process dies by signal {signal}"),
        ),
    }
}

/// The beginning of a message, without numbers, names and places.
fn gist(line: &str) -> String {
    let (mut depth, mut quoted) = (0, false);
    let kept = line.chars().filter(|&c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => quoted = !quoted,
            _ => return depth == 0 && !quoted && !c.is_ascii_digit(),
        }
        false
    });
    let kept: String = kept.collect();
    kept.split_whitespace().take(10).collect::<Vec<_>>().join(" ")
}

/// Waits for a child; `None` if no program has ended for so long, and it was killed.
fn wait(pid: libc::pid_t, patience: Duration) -> Option<libc::c_int> {
    // SAFETY: a system call; what it returns is a descriptor of this process's own, or an error.
    let watch = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        assert!(fd >= 0, "pidfd_open fails");
        OwnedFd::from_raw_fd(fd as libc::c_int)
    };
    let (mut last, mut since) = (shared().ended.load(SeqCst), Instant::now());
    let mut hangs = false;
    loop {
        let mut poll = libc::pollfd { fd: watch.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor, which is open.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 200) };
        if ready > 0 {
            break;
        }
        let now = shared().ended.load(SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() > patience && !hangs {
            hangs = true;
            // SAFETY: the child was forked here and has not been waited for, so the number is still its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
    let mut status = 0;
    // SAFETY: the child's number, and a place for its status.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if hangs { None } else { Some(status) }
}

/// What a child does before its first program.
fn prepare(how: How, stderr: Option<&File>) {
    // SAFETY: sets limits of this process, and replaces its standard error.
    unsafe {
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &no_core);
        // 64 stacks of 4 GiB have no room in it.
        let most = address_space() + (64 << 30);
        let space = libc::rlimit { rlim_cur: most, rlim_max: most };
        libc::setrlimit(libc::RLIMIT_AS, &space);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if let Some(file) = stderr {
            libc::dup2(file.as_raw_fd(), 2);
        }
    }
    if !how.verbose {
        panic::set_hook(Box::new(|_| {}));
    }
    static LOGGER: Logger = Logger;
    static VERBOSE: Logger = Logger;
    let _ = log::set_logger(if how.verbose { &VERBOSE } else { &LOGGER });
    log::set_max_level(if how.verbose { log::LevelFilter::Debug } else { log::LevelFilter::Warn });
}

/// Formats each message, which looks at the tasks that it names.
struct Logger;

/// The crate has logged that it leaves cleanup where it is, since a thread unwinds: what it has is leaked.
pub(crate) static LEFT: AtomicBool = AtomicBool::new(false);

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        if text.contains("bug in wouldblock") {
            fail(format_args!("a bug: {text}"));
        }
        if text.contains("its runtime is dropped by a panicking thread") {
            LEFT.store(true, SeqCst);
        }
        if log::max_level() > log::LevelFilter::Warn {
            eprintln!("{}: {text}", record.level());
        }
    }

    fn flush(&self) {}
}

fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn memory_file() -> File {
    // SAFETY: a new descriptor, or an error.
    unsafe {
        let fd = libc::memfd_create(c"stderr".as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0, "no file in memory for process {}", process::id());
        File::from_raw_fd(fd)
    }
}

fn read(mut file: File) -> String {
    let mut bytes = Vec::new();
    let _ = file.seek(SeekFrom::Start(0));
    let _ = file.take(64 << 10).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
