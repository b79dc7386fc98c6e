//! Child processes: a supervisor that runs so many at a time, each with limits on its time, its memory and its output,
//! and starts again those that fail.
//!
//! A child costs some ten microseconds more than on a thread, of a hundred: its end and its two pipes are three descriptors
//! to be registered with the kernel, where a thread blocks in a call.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use wouldblock::process::{Command, ExitStatus, Stdio};
use wouldblock::signal::SIGTERM;
use wouldblock::{green, group::Pool};

#[derive(Debug)]
struct Ran {
    status: ExitStatus,
    output: Vec<u8>,
    late: bool,
}

/// What a child may use.
const TIME: Duration = Duration::from_millis(300);
const GRACE: Duration = Duration::from_millis(200);
const OUTPUT: u64 = 10_000;

/// Runs a shell command within the limits. One that is out of time is asked to end, and killed if it does not.
fn run(command: &str) -> io::Result<Ran> {
    let limited = format!("ulimit -v 200000; exec sh -c '{command}'");
    let mut child = Command::new("sh")
        .args(["-c", &limited])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true) // When this task is cancelled.
        .spawn()?;
    let mut output = Vec::new();
    let mut pipe = child.stdout.take().expect("piped").take(OUTPUT);
    // `deadline` fails, and keeps what was read; `timeout` would unwind.
    let mut late = false;
    let read = green::deadline(TIME, || {
        pipe.read_to_end(&mut output)?;
        drop(pipe); // A child that writes more meets a broken pipe.
        child.wait()
    });
    let status = match read {
        Err(e) if e.kind() == io::ErrorKind::TimedOut => {
            late = true;
            child.send_signal(SIGTERM)?;
            match green::deadline(GRACE, || child.wait()) {
                Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                    child.kill()?;
                    child.wait()?
                }
                status => status?,
            }
        }
        status => status?,
    };
    Ok(Ran { status, output, late })
}

/// Runs it until it succeeds, so many times at most.
fn supervise(command: &str, times: u32) -> io::Result<Ran> {
    let mut ran = run(command)?;
    for again in 1..times {
        if ran.status.success() {
            break;
        }
        green::sleep(Duration::from_millis(10 << again.min(8))); // Longer each time.
        ran = run(command)?;
    }
    Ok(ran)
}

#[test]
fn children_within_limits() {
    recipes::run(|| {
        let pool = Pool::new(3);
        let commands = [
            ("echo hello", 1),
            ("echo partly; exec sleep 1000", 1),
            ("trap \"\" TERM; while :; do sleep 0.01; done", 1),
            ("yes", 1),
            ("exit 3", 3),
        ];
        let tasks = commands
            .map(|(command, times)| pool.reserve().spawn(move || supervise(command, times)));
        let [hello, late, deaf, endless, failing] = tasks.map(|task| task.join().unwrap().unwrap());
        assert_eq!((hello.output.as_slice(), hello.late), (&b"hello\n"[..], false));
        assert_eq!((late.output.as_slice(), late.late), (&b"partly\n"[..], true));
        assert_eq!(late.status.signal(), Some(SIGTERM));
        assert_eq!((deaf.late, deaf.status.signal()), (true, Some(9)));
        assert_eq!(endless.output.len() as u64, OUTPUT);
        assert_eq!(failing.status.code(), Some(3));
    });
}

#[test]
fn cost_beside_threads() {
    const TASKS: u32 = 4;
    const CHILDREN: u32 = 10;
    recipes::run(|| {
        let ours = || {
            green::scope(|scope| {
                for _ in 0..TASKS {
                    scope.spawn(|| {
                        for _ in 0..CHILDREN {
                            assert!(Command::new("true").output().unwrap().status.success());
                        }
                    });
                }
            });
        };
        let theirs = || {
            std::thread::scope(|scope| {
                for _ in 0..TASKS {
                    scope.spawn(|| {
                        for _ in 0..CHILDREN {
                            let ran = std::process::Command::new("true").output();
                            assert!(ran.unwrap().status.success());
                        }
                    });
                }
            });
        };
        recipes::beside("a child process", TASKS * CHILDREN, ours, "threads", theirs);
    });
}
