//! Warnings and errors of the crate's own: they reach a user whatever logger there is, if any; and what is said where
//! the operating system, or the build, refuses what the crate needs.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::FromRawFd;
use std::path::Path;
use std::process::Command;
use std::sync::{Condvar, Mutex};

use crate::util::{HOUR, MS, in_child, let_others_run};
use log::{Level, LevelFilter, Log, Metadata, Record};
use wouldblock::{Builder, future, generator, green, task};

/// Makes standard error a pipe, and gives the other end of it.
fn pipe_of_stderr() -> BufReader<File> {
    let mut ends = [0; 2];
    // SAFETY: the descriptors are new; the second takes the place of standard error.
    let end = unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        assert_eq!(libc::dup2(ends[1], 2), 2);
        libc::close(ends[1]);
        File::from_raw_fd(ends[0])
    };
    BufReader::new(end)
}

/// Blocks this thread until a line is said that contains this; gives the line.
fn await_line(said: &mut impl BufRead, part: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(said.read_line(&mut line).unwrap() > 0);
        if line.contains(part) {
            return line;
        }
    }
}

/// A run in which a task keeps the thread until that was told of on standard error; the exit status tells of it.
fn keep_the_thread_until_it_is_told_of() {
    let mut said = pipe_of_stderr();
    Builder::new().watchdog(Some(20 * MS)).run(move || {
        let greedy = task::Builder::new().name("greedy").spawn(move || {
            let line = await_line(&mut said, "has kept the thread for 0.");
            let start = "wouldblock: task 2 \"greedy\" (green, spawned at tests/it/diagnosis.rs:";
            assert!(line.starts_with(start), "{line}");
            assert!(line.contains("It is blocked in the operating system"), "{line}");
            await_line_of_back(said)
        });
        let said = greedy.join().unwrap();
        green::wait(wouldblock::offload(said));
    });
}

/// What waits on another thread for the second message.
fn await_line_of_back(mut said: BufReader<File>) -> impl FnOnce() + Send {
    move || {
        let line = await_line(&mut said, "gave the thread back after 0.");
        assert!(line.starts_with("wouldblock: task 2 \"greedy\" (green, spawned at "), "{line}");
    }
}

#[test]
fn without_a_logger_the_watchdog_warns_on_standard_error() {
    let ended = in_child(|| {
        keep_the_thread_until_it_is_told_of(); // The test's name is taken from this closure.
    });
    ended.assert_fine();
}

#[test]
fn without_a_logger_other_warnings_go_to_standard_error_too() {
    struct Spawns;
    impl Drop for Spawns {
        fn drop(&mut self) {
            drop(green::spawn(|| ()));
        }
    }
    let ended = in_child(|| {
        wouldblock::run(|| {
            let _late = green::spawn(|| {
                let _spawns = Spawns;
                green::sleep(HOUR);
            });
            let_others_run();
        });
    });
    ended.assert_fine();
    let warning = "\nwouldblock: spawn after the root has returned: the run is ending: task 3 (green, spawned at";
    assert!(format!("\n{}", ended.stderr).contains(warning), "{}", ended.stderr);
}

/// A level, a target and a text.
type Logged = (Level, String, String);

static RECORDS: (Mutex<Vec<Logged>>, Condvar) = (Mutex::new(Vec::new()), Condvar::new());

struct Recorder;

impl Log for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (level, target) = (record.level(), record.target().to_owned());
        RECORDS.0.lock().unwrap().push((level, target, record.args().to_string()));
        RECORDS.1.notify_all();
    }

    fn flush(&self) {}
}

/// As of `env_logger` without `RUST_LOG`. The first warning, at the limit, is dropped; a second later it is an error.
#[test]
fn a_logger_that_takes_errors_only_gets_to_know_of_a_stall_of_a_second() {
    let ended = in_child(|| {
        log::set_logger(&Recorder).unwrap();
        log::set_max_level(LevelFilter::Error);
        Builder::new().watchdog(Some(20 * MS)).run(|| {
            let records = RECORDS.0.lock().unwrap();
            drop(RECORDS.1.wait_while(records, |records| records.is_empty()).unwrap());
        });
        let records = RECORDS.0.lock().unwrap();
        let (level, target, text) = &records[0];
        assert_eq!((*level, &**target), (Level::Error, "wouldblock"));
        assert!(text.contains("has kept the thread for 1.0"), "{text}");
    });
    ended.assert_fine();
    assert_eq!(ended.stderr, "");
}

struct Panics;

impl Log for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &Record<'_>) {
        panic!("a logger that panics");
    }

    fn flush(&self) {}
}

#[test]
fn what_a_logger_panics_at_goes_to_standard_error() {
    let ended = in_child(|| {
        log::set_logger(&Panics).unwrap();
        log::set_max_level(LevelFilter::Warn);
        keep_the_thread_until_it_is_told_of();
    });
    ended.assert_fine();
}

/// No result says so, and no panic.
#[test]
fn a_detached_task_that_never_began_is_logged_for_those_who_debug() {
    let ended = in_child(|| {
        log::set_logger(&Recorder).unwrap();
        log::set_max_level(LevelFilter::Debug);
        Builder::new().round_robin().run(|| {
            let cancelled = green::spawn(|| ());
            cancelled.cancel();
            drop(cancelled);
            let joined = green::spawn(|| ());
            joined.cancel();
            assert!(joined.join().is_err());
            let began = green::spawn(|| green::sleep(HOUR));
            green::yield_now();
            drop(began);
            drop(green::spawn(|| ()));
            drop(generator::spawn(|_| ()));
            drop(future::spawn(async {}));
        });
        let said: Vec<_> = RECORDS.0.lock().unwrap().drain(..).collect();
        let is_said = |task: &str, when: &str| {
            let mut said = said.iter().map(|(level, _, text)| (*level, text));
            said.any(|(level, text)| {
                level == Level::Debug && text.starts_with(task) && text.ends_with(when)
            })
        };
        assert!(is_said(
            "task 2 (green",
            ", whose handle was dropped, was cancelled before it began"
        ));
        for (task, era) in [(5, "green"), (6, "generator"), (7, "future")] {
            let when = ", whose handle was dropped, had not begun when its run ended";
            assert!(is_said(&format!("task {task} ({era}"), when), "{said:?}");
        }
        assert_eq!(said.len(), 4, "{said:?}");
    });
    ended.assert_fine();
}

/// Waits as a task would, or has the crate log more.
struct Waits(fn());

impl Log for Waits {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &Record<'_>) {
        (self.0)();
    }

    fn flush(&self) {}
}

/// In a run whose tasks go on, has the crate log that a panic got lost.
fn lose_a_panic_with(logger: &'static Waits) {
    log::set_logger(logger).unwrap();
    log::set_max_level(LevelFilter::Error);
    wouldblock::run(|| {
        let _guard = HELD.with(|held| held.try_lock().unwrap());
        lose_a_panic();
        green::spawn(|| green::sleep(MS)).join().unwrap();
    });
}

fn lose_a_panic() {
    drop(green::spawn(|| panic!("lost")));
    green::yield_now();
}

thread_local! {
    static HELD: &'static wouldblock::sync::Mutex<()> = Box::leak(Box::default());
}

/// What is said of a lost panic that a logger has waited at.
const REFUSED: &[&str] = &[
    "\nwouldblock: task 2 (green, spawned at tests/it/diagnosis.rs:",
    "panicked: lost",
    "(the program's logger panicked when it was to log this: a wait outside of any task, in",
];

#[test]
fn a_logger_that_sleeps_is_refused_and_the_text_goes_to_standard_error() {
    let ended = in_child(|| lose_a_panic_with(&Waits(|| green::sleep(MS))));
    ended.assert_fine();
    ended.assert_says(REFUSED);
}

#[test]
fn a_logger_that_waits_for_a_lock_is_refused_and_the_text_goes_to_standard_error() {
    let ended = in_child(|| lose_a_panic_with(&Waits(|| HELD.with(|held| drop(held.lock())))));
    ended.assert_fine();
    ended.assert_says(REFUSED);
}

#[test]
fn what_the_crate_logs_while_its_text_is_logged_goes_to_standard_error() {
    let ended = in_child(|| lose_a_panic_with(&Waits(panic_in_a_generator_that_is_closed)));
    ended.assert_fine();
    let nested = "\nwouldblock: a generator panicked while it was being dropped: once more";
    assert_eq!(ended.stderr.matches(nested).count(), 1, "{}", ended.stderr);
}

/// Of this, the crate logs an error.
fn panic_in_a_generator_that_is_closed() {
    let mut generator = generator::Generator::<i32>::new(|y: &generator::Yielder<i32>| {
        let _closed = y.try_yield(1);
        panic!("once more");
    });
    generator.resume();
}

// What the operating system refuses.

/// From now on, the kernel answers `EPERM` to whoever sets or asks for a handler of that signal.
fn forbid_handlers_of(signal: i32) {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let is = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let give = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, skip, k| libc::sock_filter { code, jt: 0, jf: skip, k };
    filter_calls(&mut [
        step(load, 0, 0), // the number of the call
        step(is, 3, libc::SYS_rt_sigaction as u32),
        step(load, 0, 16), // its first argument
        step(is, 1, signal as u32),
        step(give, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(give, 0, libc::SECCOMP_RET_ALLOW),
    ]);
}

/// From now on, each system call of this process goes through that program.
fn filter_calls(filter: &mut [libc::sock_filter]) {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the program.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let result =
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program);
        assert_eq!(result, 0);
    }
}

#[test]
fn where_no_handler_of_faults_is_allowed_runs_go_on() {
    let ended = in_child(|| {
        forbid_handlers_of(libc::SIGSEGV);
        for _ in 0..2 {
            let run = Builder::new().watchdog(None); // Of a busy machine it might have more to say.
            run.run(|| green::spawn(green::yield_now).join().unwrap());
        }
        drop(Builder::new().build().unwrap());
    });
    ended.assert_fine();
    let error = "wouldblock: a stack overflow will not be explained: the operating system refuses a handler of signal \
                 11, which tells of faults: Operation not permitted (os error 1) (a filter of system calls may forbid \
                 `rt_sigaction`)\n";
    assert_eq!(ended.stderr, error);
}

#[test]
fn where_no_handler_of_the_users_signal_is_allowed_runs_go_on_and_the_signal_is_named() {
    let ended = in_child(|| {
        forbid_handlers_of(libc::SIGUSR1);
        let builder = Builder::new().watchdog(None).tasks_on_signal(libc::SIGUSR1);
        assert_eq!(builder.run(|| green::spawn(|| 7).join().unwrap()), 7);
    });
    ended.assert_fine();
    let error = "wouldblock: this run does not answer signal 10 with the table of tasks: the operating system refuses a \
                 handler of that signal, or what it needs: Operation not permitted (os error 1). Let the program have \
                 it (a filter of system calls may forbid `rt_sigaction`), or run without `Builder::tasks_on_signal`\n";
    assert_eq!(ended.stderr, error);
}

// What the build refuses.

/// The compiler, as far as the crate's own `compile_error`s: its dependencies are not given to it.
fn compile(options: &[&str]) -> String {
    let compiler = env::var_os("RUSTC")
        .unwrap_or_else(|| Path::new(env!("CARGO")).with_file_name("rustc").into_os_string());
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let folder = tempfile::tempdir().unwrap();
    let mut compiler = Command::new(compiler);
    compiler.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--out-dir"]);
    let output = compiler.arg(folder.path()).args(options).arg(lib).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_build_that_aborts_on_panics_is_refused_with_the_reason() {
    let reason = "error: wouldblock needs `panic = \"unwind\"`: ";
    let text = compile(&["-Cpanic=abort"]);
    assert!(text.contains(reason), "{text}");
    let text = compile(&["-Cpanic=unwind"]);
    assert!(!text.contains(reason), "{text}");
}

/// From now on, the kernel answers `EPERM` to whoever asks it for events.
fn forbid_asking_for_events() {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let is = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let give = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, hit, miss, k| libc::sock_filter { code, jt: hit, jf: miss, k };
    filter_calls(&mut [
        step(load, 0, 0, 0), // the number of the call
        step(is, 1, 0, libc::SYS_epoll_wait as u32),
        step(is, 0, 1, libc::SYS_epoll_pwait as u32),
        step(give, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]);
}

/// Nothing is certain to wake the root: only a waker is kept.
#[test]
fn a_run_without_events_ends_also_where_it_is_quiet() {
    let ended = in_child(|| {
        let ran = std::panic::catch_unwind(|| {
            Builder::new().deadlock_warning(None).run(|| {
                (0..1000).for_each(|_| green::yield_now()); // Now there is not a poll after each turn.
                forbid_asking_for_events();
                let kept = std::cell::Cell::new(None);
                green::wait(std::future::poll_fn(|cx| {
                    kept.set(Some(cx.waker().clone()));
                    std::task::Poll::<()>::Pending
                }));
            });
        });
        let payload = ran.unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(text.contains("the tasks of the run were cancelled"), "{text}");
    });
    ended.assert_fine();
}

#[test]
fn a_run_that_the_system_refuses_to_give_events_ends_with_a_panic_after_its_cleanup() {
    let ended = in_child(|| {
        for builder in [Builder::new(), Builder::new().virtual_clock()] {
            let cleaned_up = std::cell::Cell::new(0);
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                builder.run(|| {
                    forbid_asking_for_events();
                    let cleanup = || {
                        green::sleep(MS); // Timers go on.
                        cleaned_up.set(cleaned_up.get() + 1);
                    };
                    green::finally(|| green::sleep(HOUR), cleanup);
                });
            }));
            let payload = ran.unwrap_err();
            let text = payload.downcast_ref::<String>().unwrap();
            assert!(
                text.contains("which sockets are ready (epoll_wait): Operation not permitted"),
                "{text}"
            );
            assert!(text.contains("the tasks of the run were cancelled"), "{text}");
            assert_eq!(cleaned_up.get(), 1);
        }
    });
    ended.assert_fine();
    let error = "wouldblock: the system refuses to say which sockets are ready";
    assert_eq!(ended.stderr.matches(error).count(), 2, "{}", ended.stderr);
}
