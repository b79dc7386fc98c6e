//! The end of a check that does not end: who has the thread, where, and what waits.

use std::backtrace::Backtrace;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::check::{Doing, Situation, grouped, is_reported, locked, report};

/// The exit status of a process whose test did not end.
pub const HUNG: i32 = 4;

/// The thread of a check: its number as `pthread_self` has it, and as the system has it. 0: not known yet.
#[derive(Default)]
pub(crate) struct Thread {
    pthread: AtomicU64,
    id: AtomicU64,
}

impl Thread {
    /// It is the calling thread.
    pub(crate) fn set(&self) {
        // SAFETY: they only return a number.
        let (pthread, id) = unsafe { (libc::pthread_self() as u64, libc::gettid()) };
        self.id.store(id.unsigned_abs().into(), Ordering::SeqCst);
        self.pthread.store(pthread, Ordering::SeqCst);
    }

    /// Whether it sleeps, each time that one looks. `None`: the system does not say.
    fn sleeps(&self) -> Option<bool> {
        let stat = format!("/proc/self/task/{}/stat", self.id.load(Ordering::SeqCst));
        for _ in 0..20 {
            // `12 (a name) S ..`, where a name may have brackets in it.
            let stat = std::fs::read_to_string(&stat).ok()?;
            if stat.rsplit_once(") ")?.1.starts_with('R') {
                return Some(false);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Some(true)
    }
}

/// Prints what is known, and ends the process.
pub(crate) fn end(situation: &Situation) -> ! {
    let sleeps = situation.thread.sleeps(); // Before a signal wakes it.
    let place = place(situation);
    let message = describe(situation, place.as_ref(), sleeps);
    let at = place.map_or_else(
        || situation.site.to_string(),
        |place| place.line.split(" (").next().unwrap_or(&place.line).to_owned(),
    );
    let ms = situation.limit.as_millis().to_string();
    report(&["hang", &situation.name, &ms, &at, &message, ""]);
    let text = format!("\n{}: {}\n  at {at}\n\n{message}\n", situation.name, situation.what);
    if !is_reported() {
        std::io::stderr().write_all(text.as_bytes()).ok();
    }
    // SAFETY: it ends the process at once: the thread of the check cannot be ended by itself.
    unsafe { libc::_exit(HUNG) }
}

/// Where a thread is.
struct Place {
    /// The line of the student's file, and its function.
    line: String,
    /// What it calls there is std's `thread::sleep`.
    is_sleep: bool,
}

fn describe(situation: &Situation, place: Option<&Place>, sleeps: Option<bool>) -> String {
    let mut text = format!("it has not ended after {} s. ", situation.limit.as_secs());
    let jobs = locked(&situation.jobs);
    let running = jobs.values().find(|(_, doing)| *doing == Doing::Running);
    let is_ready = jobs.values().any(|(_, doing)| *doing == Doing::Ready);
    let all_wait = !is_ready && jobs.values().any(|(_, doing)| matches!(doing, Doing::Waits(_)));
    text += &match (running, place.map(|place| &place.line)) {
        (Some((job, _)), Some(place)) => format!("`{job}` has the thread, at {place}: "),
        (Some((job, _)), None) => format!("`{job}` has the thread: "),
        (None, Some(place)) => format!("Your own code has the thread, at {place}: "),
        (None, None) if all_wait => "No task has the thread: ".to_owned(),
        (None, None) => "Your own code has the thread, or waits outside of all jobs: ".to_owned(),
    };
    text += match (place, sleeps) {
        (Some(Place { is_sleep: true, .. }), _) => {
            "std's `thread::sleep`, which stops the thread, and with it all that runs on it. In 07 and 08 it is `outside.sleep` that \
             sleeps, and from 10 on `green::sleep`."
        }
        (None, _) if running.is_none() && all_wait => {
            "all of them wait, each for what none of them does, or for what has been done already. What each waits for stands below."
        }
        (_, Some(true)) => "a call that blocks, in which the thread sleeps.",
        (_, Some(false)) => "a loop that does not end; the thread does not sleep.",
        (_, None) => "a loop that does not end, or a call that blocks.",
    };
    if let Some(step) = *locked(&situation.step) {
        text += &format!(" At that time: {step}");
    }
    text.push('\n');
    for (what, n) in locked(&situation.counts).iter() {
        text += &format!("  {what} {} times\n", grouped(*n));
    }
    for (job, doing) in jobs.values().filter(|(_, doing)| *doing != Doing::Ended).take(30) {
        text += &match doing {
            Doing::Running => format!("  `{job}` has the thread\n"),
            Doing::Ready => format!("  `{job}` is ready, and waits for its turn\n"),
            Doing::Waits(what) => format!("  `{job}` {what}\n"),
            Doing::Ended => continue,
        };
    }
    text.trim_end().to_owned()
}

static TRACE: Mutex<Option<String>> = Mutex::new(None);

/// The line of the student's file at which the thread of the check is.
fn place(situation: &Situation) -> Option<Place> {
    extern "C" fn trace(_: libc::c_int) {
        // Not async-signal-safe. The process ends anyway: where this blocks, the line is not printed.
        *locked(&TRACE) = Some(Backtrace::force_capture().to_string());
    }
    let thread = situation.thread.pthread.load(Ordering::SeqCst);
    if thread == 0 {
        return None;
    }
    // SAFETY: the handler is a function of the right type, and the mask is initialised.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = trace as extern "C" fn(libc::c_int) as usize;
        libc::sigemptyset(&mut action.sa_mask);
        if libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()) != 0 {
            return None;
        }
    }
    // Some instructions have no line. The next look finds the thread at another one.
    let begun = Instant::now();
    for _ in 0..20 {
        // SAFETY: the thread has not been joined, so that its number is its own.
        if unsafe { libc::pthread_kill(thread as libc::pthread_t, libc::SIGUSR2) } != 0 {
            return None;
        }
        let trace = loop {
            if let Some(trace) = locked(&TRACE).take() {
                break trace;
            }
            if begun.elapsed() > Duration::from_secs(5) {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        };
        if let Some((line, is_sleep)) = students_line(&trace) {
            return Some(Place {
                line: format!("{}{line}", folder(situation.site.file())),
                is_sleep,
            });
        }
    }
    None
}

/// What a path within the workspace begins with: `exercises/`; nothing, where the package is built by itself.
fn folder(file: &str) -> &str {
    file.find("tests/").map_or("", |at| &file[..at])
}

/// The innermost frame that is in a file of an exercise but its tests: `tests/e05_round_robin/exercise.rs:12:9 (round_robin)`;
/// and whether what it has called is std's `thread::sleep`.
fn students_line(trace: &str) -> Option<(String, bool)> {
    let lines: Vec<&str> = trace.lines().map(str::trim).collect();
    let is_sleep = |line: &&str| line.contains(": std::thread::") && line.ends_with("::sleep");
    lines.windows(2).enumerate().find_map(|(n, pair)| {
        let place = pair[1].strip_prefix("at ")?;
        let at = place.rfind("/tests/")?;
        let file = place[at..].split(':').next()?;
        if file.ends_with("/main.rs") {
            return None;
        }
        let function = pair[0].split_once(": ").map_or(pair[0], |(_, name)| name);
        let function = function.split("::{{closure}}").next().unwrap_or(function);
        let function = function.split('<').next().unwrap_or(function).trim_end_matches("::");
        let line = format!("{} ({})", &place[at + 1..], function.rsplit("::").next()?);
        Some((line, lines[..n].iter().any(is_sleep)))
    })
}
