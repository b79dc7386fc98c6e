//! What the tests of behaviour share: runs on virtual time, the three eras as values, a trace of what
//! happened, recorders for panics and log messages, and processes of their own for what aborts.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::env;
use std::future::IntoFuture;
use std::os::unix::process::ExitStatusExt;
use std::panic;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::{Condvar, Mutex, Once};
use std::time::Duration;

pub use crate::basics::*;
use log::{Level, LevelFilter, Log, Metadata, Record};
use wouldblock::{Builder, Era, JoinHandle, future, generator, green, group::gather};

pub const SECOND: Duration = Duration::from_secs(1);

pub const ERAS: [Era; 3] = [Era::Generator, Era::Green, Era::Future];

/// A run on virtual time, in which an hour is soon over.
#[track_caller]
pub fn run<T>(root: impl FnOnce() -> T) -> T {
    Builder::new().virtual_clock().run(root)
}

/// As [`run`], with strict turns whatever `WOULDBLOCK_SEED` says.
#[track_caller]
pub fn run_in_order<T>(root: impl FnOnce() -> T) -> T {
    Builder::new().virtual_clock().round_robin().run(root)
}

/// A task of `era` that holds `held`, and does nothing but wait for `operation`.
#[track_caller]
pub fn spawn_waiting<O>(era: Era, operation: O, held: impl Sized + 'static) -> JoinHandle<O::Output>
where
    O: IntoFuture<Output: 'static> + 'static,
{
    match era {
        Era::Generator => generator::spawn(move |y| {
            let _held = held;
            y.wait(operation)
        }),
        Era::Green => green::spawn(move || {
            let _held = held;
            green::wait(operation)
        }),
        Era::Future => future::spawn(async move {
            let _held = held;
            operation.await
        }),
    }
}

/// A task of `era` that runs `body`, which may wait the green way.
#[track_caller]
pub fn spawn_running<T: 'static>(era: Era, body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    match era {
        Era::Generator => generator::spawn(move |_| body()),
        Era::Green => green::spawn(body),
        Era::Future => future::spawn(async move { body() }),
    }
}

/// Lets every other task come as far as it can without time passing: with at most three turns to take.
pub fn let_others_run() {
    for _ in 0..4 {
        green::yield_now();
    }
}

/// Waits for tasks that are expected to succeed, and gives what they returned.
#[track_caller]
pub fn all<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    green::wait(gather(tasks)).into_iter().map(|result| result.unwrap()).collect()
}

/// What is said of the deadlock that `root` is to run into.
#[track_caller]
pub fn deadlock_text(root: impl FnOnce()) -> String {
    let result = Builder::new().virtual_clock().round_robin().try_run(root);
    result.expect_err("a deadlock").to_string()
}

/// What happened, in order. Its clones are the same trace.
#[derive(Clone, Default)]
pub struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub fn new() -> Trace {
        Trace::default()
    }

    pub fn say(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    /// Says `what` when it is dropped.
    pub fn at_drop(&self, what: impl Into<String>) -> AtDrop {
        AtDrop { trace: self.clone(), what: what.into() }
    }

    /// All that was said since the last time this was called.
    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

pub struct AtDrop {
    trace: Trace,
    what: String,
}

impl Drop for AtDrop {
    fn drop(&mut self) {
        self.trace.say(std::mem::take(&mut self.what));
    }
}

/// Calls a closure when it is dropped.
pub struct Defer<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[track_caller]
pub fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

/// How often a panic hook is called on this thread while `f` runs.
pub fn panics_hooked(f: impl FnOnce()) -> usize {
    thread_local!(static HOOKED: Cell<usize> = const { Cell::new(0) });
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            HOOKED.set(HOOKED.get() + 1);
            before(info);
        }));
    });
    let before = HOOKED.get();
    f();
    HOOKED.get() - before
}

/// What is logged on this thread, as a warning or worse, while `f` runs.
pub fn logged(f: impl FnOnce()) -> Vec<(Level, String)> {
    struct Recorder;
    thread_local!(static RECORDS: RefCell<Vec<(Level, String)>> = RefCell::default());

    impl Log for Recorder {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.level() <= Level::Warn
        }

        fn log(&self, record: &Record<'_>) {
            RECORDS.with_borrow_mut(|all| all.push((record.level(), record.args().to_string())));
            *ANY_LOGGED.0.lock().unwrap() = true;
            ANY_LOGGED.1.notify_all();
        }

        fn flush(&self) {}
    }

    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&Recorder).expect("no other logger in a test");
        log::set_max_level(LevelFilter::Warn);
    });
    RECORDS.take();
    f();
    RECORDS.take()
}

static ANY_LOGGED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Blocks the thread until something has been [`logged`], on any thread.
pub fn await_log() {
    let mut any = ANY_LOGGED.0.lock().unwrap();
    while !*any {
        any = ANY_LOGGED.1.wait(any).unwrap();
    }
}

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
#[track_caller]
pub fn in_child<F: FnOnce()>(body: F) -> Ended {
    const CHILD: &str = "WOULDBLOCK_TEST_CHILD";
    let path = type_name::<F>();
    let (_, name) = path.split_once("::").expect("a path in this crate");
    let test = name.split("::{{closure}}").next().expect("split gives a first part");
    if env::var(CHILD).is_ok_and(|child| child == test) {
        leave_no_core_file();
        body();
        // Not by `process::exit`: from another thread than the main one, std then takes the stack for handlers from
        // the main thread, and a signal that still comes would find none.
        // SAFETY: ends this process.
        unsafe { libc::_exit(0) };
    }
    let mut again = again(test);
    again.env(CHILD, test).stdin(Stdio::null());
    let output = run_again(again);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ended { status: output.status, stderr }
}

fn leave_no_core_file() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: lowers a limit of this process, and reads a struct on this stack.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
}
