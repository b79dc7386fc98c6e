//! What every test may need: units of time, one poll, what a closure panics with, and a process of its own.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::any::Any;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::process::{Command, Output};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub const MS: Duration = Duration::from_millis(1);
pub const HOUR: Duration = Duration::from_secs(3600);

/// Polls once, with a waker that wakes nobody.
pub fn poll_once<F: Future + Unpin>(operation: &mut F) -> Poll<F::Output> {
    Pin::new(operation).poll(&mut Context::from_waker(Waker::noop()))
}

/// What `f` panics with.
#[track_caller]
pub fn caught<T>(f: impl FnOnce() -> T) -> Box<dyn Any + Send> {
    match panic::catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("this was to panic"),
        Err(payload) => payload,
    }
}

/// The text that `f` panics with.
#[track_caller]
pub fn panic_text<T>(f: impl FnOnce() -> T) -> String {
    text(&*caught(f))
}

/// The text in the payload of a panic.
#[track_caller]
pub fn text(payload: &(dyn Any + Send)) -> String {
    let str = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    str.or_else(|| payload.downcast_ref::<String>().cloned()).expect("a payload that is text")
}

/// This test binary once more, to run `test` alone.
pub fn again(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this test"));
    command.args(["--exact", test, "--nocapture"]);
    command.env("RUST_BACKTRACE", "0"); // A backtrace maps all debug symbols: too much under a limit on memory.
    command
}

/// Runs a test [`again`]. That it exists is made sure of: libtest finds it well to run none.
#[track_caller]
pub fn run_again(mut again: Command) -> Output {
    let output = again.output().expect("a test that starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.is_empty(), "libtest says which tests it runs: {output:?}");
    assert!(!said.contains("running 0 tests"), "there is no such test: {again:?}");
    output
}
