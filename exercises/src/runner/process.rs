//! Running the tests of a program: with limits, and with nothing left behind.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a test came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
    Hang,
    Crash,
    Compile,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Hang => "hang",
            Verdict::Crash => "crash",
            Verdict::Compile => "compile",
        }
    }
}

/// A test's result.
#[derive(Clone, Debug)]
pub struct Tested {
    pub name: String,
    pub verdict: Verdict,
    pub ms: u64,
    pub place: String,
    pub message: String,
    pub picture: String,
    /// What it has printed.
    pub output: String,
}

impl Tested {
    /// A result of a test that has not run.
    pub fn without_run(name: &str, verdict: Verdict, message: &str) -> Tested {
        Tested {
            name: name.to_owned(),
            verdict,
            ms: 0,
            place: String::new(),
            message: message.to_owned(),
            picture: String::new(),
            output: String::new(),
        }
    }
}

/// How long a process may run, and how much memory it may have.
const TIME: Duration = Duration::from_secs(60);
const MEMORY: u64 = 1 << 30;
/// So many tests of an exercise may hang; those after them are not run.
const MOST_HANGS: usize = 3;
/// How long a file may become that it writes, its output among them.
const FILE: u64 = 64 << 20;

/// Runs these tests of a program, which is a test binary with the kit. Where the process ends in the middle, the tests that
/// have not begun are run one by one, if `every` is set; otherwise they have no result: they stand after it in the file.
/// `stop` is asked now and then whether to give up.
pub fn run(
    program: &Path,
    folder: &Path,
    tests: &[String],
    every: bool,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Tested>, String> {
    run_for_pages(program, folder, tests, every, None, stop)
}

/// As [`run`]; each test that has a timeline writes a page into the folder `pages`.
pub fn run_for_pages(
    program: &Path,
    folder: &Path,
    tests: &[String],
    every: bool,
    pages: Option<&Path>,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Tested>, String> {
    let once = |only| once(program, folder, only, pages, stop);
    let mut results = once(None)?;
    results.retain(|result| tests.contains(&result.name));
    for test in tests {
        let is_missing = |results: &[Tested]| !results.iter().any(|result| result.name == *test);
        if !every || !is_missing(&results) || stop() {
            continue;
        }
        if results.iter().filter(|result| result.verdict == Verdict::Hang).count() >= MOST_HANGS {
            let why = "it was not run: three tests of this exercise had not ended before";
            results.push(Tested::without_run(test, Verdict::Hang, why));
            continue;
        }
        results.extend(once(Some(test))?);
        if is_missing(&results) {
            let why = "the program ended before this test began";
            results.push(Tested::without_run(test, Verdict::Crash, why));
        }
    }
    results.sort_by_key(|result| tests.iter().position(|test| *test == result.name));
    Ok(results)
}

/// Calls `f` with each item, on so many threads. Returns the results in the order of the items.
pub fn in_parallel<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    f: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let items = Mutex::new(items.into_iter().enumerate());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = items.lock().expect("no thread panics with it").next();
                    let Some((place, item)) = next else { break };
                    let result = f(item);
                    results.lock().expect("no thread panics with it").push((place, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panics with it");
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// One process.
fn once(
    program: &Path,
    folder: &Path,
    only: Option<&str>,
    pages: Option<&Path>,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Tested>, String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let scratch = std::env::temp_dir().join(format!("course-{}-{number}", std::process::id()));
    fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    let result = watched(program, folder, only, pages, stop, &scratch);
    fs::remove_dir_all(&scratch).ok();
    result
}

fn watched(
    program: &Path,
    folder: &Path,
    only: Option<&str>,
    pages: Option<&Path>,
    stop: &dyn Fn() -> bool,
    scratch: &Path,
) -> Result<Vec<Tested>, String> {
    let failed = |e: io::Error| format!("cannot run {}: {e}", program.display());
    let (report, output) = (scratch.join("report"), scratch.join("output"));
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args(["--test-threads=1", "--nocapture"])
        .args(only.iter().flat_map(|t| ["--exact", t]));
    command.env("COURSE_REPORT", &report).env("TMPDIR", scratch).env_remove("RUST_BACKTRACE");
    command.envs(pages.map(|pages| ("COURSE_HTML", pages)));
    let file = File::create(&output).map_err(failed)?;
    command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
    command.process_group(0);
    // SAFETY: between fork and exec, only `setrlimit` is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            for (what, limit) in [(libc::RLIMIT_FSIZE, FILE), (libc::RLIMIT_CORE, 0)] {
                let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
                if libc::setrlimit(what, &limit) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(failed)?;
    let begun = Instant::now();
    let mut killed = None;
    while !has_ended(child.id()) {
        if killed.is_none() {
            killed = match () {
                () if begun.elapsed() > TIME => Some("it ran for 60 s"),
                () if resident(child.id()) > MEMORY => Some("it took more than 1 GiB of memory"),
                () if stop() => Some("it was stopped"),
                () => None,
            };
            if killed.is_some() {
                kill_group(child.id());
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    // Before it is reaped, so that the number is still its own.
    kill_group(child.id());
    let status = child.wait().map_err(failed)?;
    let lines = fs::read(&report).unwrap_or_default();
    let output = fs::read(&output).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    Ok(results(&String::from_utf8_lossy(&lines), status, killed, &output))
}

/// What the lines of the report say, and, of a test that began and has no end, how the process ended.
fn results(
    report: &str,
    status: ExitStatus,
    killed: Option<&'static str>,
    output: &str,
) -> Vec<Tested> {
    let mut results: Vec<Tested> = Vec::new();
    let mut begun = Vec::new();
    for line in report.lines() {
        let fields: Vec<String> = line.split('\t').map(unescaped).collect();
        let field = |n: usize| fields.get(n).cloned().unwrap_or_default();
        let verdict = match fields[0].as_str() {
            "start" => {
                begun.push(field(1));
                continue;
            }
            "pass" => Verdict::Pass,
            "hang" => Verdict::Hang,
            _ => Verdict::Fail,
        };
        begun.retain(|name| *name != field(1));
        results.push(Tested {
            name: field(1),
            verdict,
            ms: field(2).parse().unwrap_or_default(),
            place: field(3),
            message: field(4),
            picture: field(5),
            output: printed(output, &field(1)),
        });
    }
    for name in begun {
        let verdict =
            if killed == Some("it ran for 60 s") { Verdict::Hang } else { Verdict::Crash };
        let how = match (killed, status.code(), status.signal()) {
            (Some(why), ..) => format!("the process was ended in this test: {why}"),
            (_, Some(code), _) => format!(
                "the process ended in the middle of this test, with status {code}: a test passes by returning, and nothing \
                 in it may end the process"
            ),
            (_, _, Some(libc::SIGXFSZ)) => {
                "the process was ended in this test: it printed, or wrote, more than 64 MiB"
                    .to_owned()
            }
            (_, _, signal) => {
                format!("the process was ended in this test by signal {}", signal.unwrap_or(0))
            }
        };
        // What the crate says as it aborts: of a stack that has overflowed, of a wait in a destructor.
        let said = output.rfind("wouldblock: ").map_or("", |at| output[at..].trim_end());
        let message = if said.is_empty() { how } else { format!("{said}\n{how}") };
        let printed = printed(output, &name);
        results.push(Tested { output: printed, ..Tested::without_run(&name, verdict, &message) });
    }
    results
}

/// The end of what a test has printed, between the marks of the kit.
fn printed(output: &str, test: &str) -> String {
    const MARK: &str = "\u{1}kit: ";
    const MOST: usize = 30;
    let mut lines = output.lines().skip_while(|line| line.strip_prefix(MARK) != Some(test)).skip(1);
    let lines: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with(MARK)).collect();
    let text = lines[lines.len().saturating_sub(MOST)..].join("\n");
    text.trim_matches('\n').to_owned()
}

fn unescaped(field: &str) -> String {
    let mut text = String::new();
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                other => other.unwrap_or('\\'),
            },
            c => c,
        });
    }
    text
}

/// Ends a process and all that it has started.
pub fn kill_group(leader: u32) {
    // SAFETY: it takes two numbers; the group is that of a child that is not reaped yet.
    unsafe { libc::kill(-(leader as libc::pid_t), libc::SIGKILL) };
}

/// Whether a child is over; it is not reaped by this.
fn has_ended(child: u32) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: zeros are a valid `siginfo_t`, which the call fills in; where the call finds no child that has ended, its
    // field for the process stays 0.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, child, &mut info, flags) == 0 && info.si_pid() != 0
    }
}

/// How much memory a process has, in bytes.
fn resident(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    // SAFETY: it takes and returns a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.unwrap_or(0) * u64::try_from(page).unwrap_or(4096)
}
