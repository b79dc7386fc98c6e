//! A test in a process of its own: where the body aborts, or changes what belongs to the whole process.

use std::any::type_name;
use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use super::assert_contains;

/// How a process of its own has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
}

impl Ended {
    #[track_caller]
    pub fn assert_fine(&self) {
        assert!(self.status.success(), "{}\n{}", self.status, self.stderr);
    }

    #[track_caller]
    pub fn assert_failed(&self) {
        assert!(!self.status.success(), "{}\n{}", self.status, self.stderr);
    }

    #[track_caller]
    pub fn assert_killed_by(&self, signal: i32) {
        assert_eq!(self.status.signal(), Some(signal), "{}\n{}", self.status, self.stderr);
    }

    #[track_caller]
    pub fn assert_says(&self, parts: &[&str]) {
        assert_contains(&self.stderr, parts);
    }
}

/// Runs `body`, which may abort, in a process of its own.
///
/// That process is this test binary once more, with the calling test alone; there, this function runs
/// `body` and exits. (The test's name is taken from the type of `body`, a closure written in the test.)
/// A process that hangs is killed after a minute.
#[track_caller]
pub fn in_child<F: FnOnce()>(body: F) -> Ended {
    in_child_with(&[], body)
}

/// As [`in_child`], first come, first served, whatever `WOULDBLOCK_SEED` says.
#[track_caller]
pub fn in_child_in_order<F: FnOnce()>(body: F) -> Ended {
    in_child_with(&[("WOULDBLOCK_SEED", None)], body)
}

/// As [`in_child`], with these variables of the environment set, or, if `None`, not set. A test that calls
/// this several times gives the same `body` each time.
#[track_caller]
pub fn in_child_with<F: FnOnce()>(environment: &[(&str, Option<&str>)], body: F) -> Ended {
    const CHILD: &str = "WOULDBLOCK_TEST_CHILD";
    let path = type_name::<F>();
    let (_, name) = path.split_once("::").expect("a path in this crate");
    let test = name.split("::{{closure}}").next().expect("split gives a first part");
    if env::var(CHILD).is_ok_and(|child| child == test) {
        leave_no_core_file();
        limit_child(60);
        body();
        // Not by `process::exit`: from another thread than the main one, std then takes the stack for handlers from
        // the main thread, and a signal that still comes would find none.
        // SAFETY: ends this process.
        unsafe { libc::_exit(0) };
    }
    let mut again = again(test);
    again.env(CHILD, test).stdin(Stdio::null());
    for (variable, value) in environment {
        match value {
            Some(value) => again.env(variable, value),
            None => again.env_remove(variable),
        };
    }
    let output = again.output().expect("a test that starts");
    // libtest finds it well to run none.
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.is_empty(), "libtest says which tests it runs: {output:?}");
    assert!(!said.contains("running 0 tests"), "there is no such test: {again:?}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ended { status: output.status, stderr }
}

/// This test binary once more, to run `test` alone.
pub fn again(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this test"));
    command.args(["--exact", test, "--nocapture"]);
    command.env("RUST_BACKTRACE", "0"); // A backtrace maps all debug symbols: too much under a limit on memory.
    command
}

/// Lets the kernel kill this process, should it still be there in so many seconds.
pub fn limit_child(seconds: u32) {
    // SAFETY: `alarm` touches no memory.
    unsafe { libc::alarm(seconds) };
}

fn leave_no_core_file() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: lowers a limit of this process, and reads a struct on this stack.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
}
