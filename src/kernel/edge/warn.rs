//! The crate's own warnings and errors: each goes through here, and none depends on a logger.
//!
//! | the program's logger | an error | an alarm | a warning |
//! |---|---|---|---|
//! | none (`log::max_level()` is `Off`) | standard error | standard error | standard error |
//! | takes errors only (`env_logger` without `RUST_LOG`) | to the logger | to the logger, as an error | dropped |
//! | takes warnings | to the logger | to the logger, as a warning | to the logger |
//!
//! A debug line is for a logger that takes those, and for nothing else.
//!
//! An alarm is a warning that the program may hang: a task has kept the thread for a second, or nothing has moved for
//! ten. The target of all of them is `wouldblock`, so that a logger that filters by target finds them under one name.
//!
//! On standard error, each is written in one piece and begins with `wouldblock: `. A logger is foreign code, which may
//! be called in the middle of a turn or between two: it runs while no task does, so that it cannot wait. If it does, or
//! panics otherwise, the panic ends here, and the text goes to standard error. So does what the crate has to report
//! while its logger runs, since to log that might lead to more.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe};

use log::{Level, LevelFilter, Record};

use super::running::while_no_task_runs;
use super::signal;

thread_local!(static LOGGING: Cell<bool> = const { Cell::new(false) });

/// Reports that something has failed, or got lost.
#[cold]
pub(crate) fn error(text: fmt::Arguments<'_>) {
    report(Level::Error, text);
}

/// Reports what may be a mistake.
#[cold]
pub(crate) fn warning(text: fmt::Arguments<'_>) {
    report(Level::Warn, text);
}

/// Warns that the program may hang.
#[cold]
pub(crate) fn alarm(text: fmt::Arguments<'_>) {
    let only_errors = log::max_level() == LevelFilter::Error;
    report(if only_errors { Level::Error } else { Level::Warn }, text);
}

/// Logs what is as it should be, and may surprise all the same. Never goes to standard error.
#[cold]
pub(crate) fn debug(text: fmt::Arguments<'_>) {
    if log::max_level() >= LevelFilter::Debug {
        report(Level::Debug, text);
    }
}

/// Aborts the process if it is dropped: for the job of a coroutine, which must not unwind. Forget it when that is over.
pub(crate) struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        print(format_args!("a coroutine's job unwound past its end; this is a bug in wouldblock"));
        std::process::abort();
    }
}

/// Drops the payload of a panic. Its destructor may panic in turn, with a payload of its own; one that does so a
/// hundred times over is leaked.
pub(crate) fn discard(mut payload: Box<dyn Any + Send>) {
    for _ in 0..100 {
        match panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(another) => payload = another,
        }
    }
    mem::forget(payload);
}

fn report(level: Level, text: fmt::Arguments<'_>) {
    let taken = log::max_level();
    if taken == LevelFilter::Off {
        return print(text);
    }
    if level > taken {
        return;
    }
    if LOGGING.replace(true) {
        if level <= Level::Warn {
            print(text);
        }
        return;
    }
    let mut record = Record::builder();
    let record = record.level(level).target("wouldblock").module_path_static(Some("wouldblock"));
    let logged = while_no_task_runs(|| {
        panic::catch_unwind(AssertUnwindSafe(|| log::logger().log(&record.args(text).build())))
    });
    if let Err(payload) = logged {
        print(format_args!(
            "{text} (the program's logger panicked when it was to log this: {})",
            text_of(&*payload)
        ));
        while_no_task_runs(|| discard(payload));
    }
    LOGGING.set(false);
}

/// The text of a panic.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "(a payload that is not text)",
    }
}

/// Writes to standard error, for what cannot wait for a logger, as before an abort. Not by `eprintln`, which panics
/// where standard error takes nothing.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    let _ = signal::write_to_stderr(format!("wouldblock: {text}\n").as_bytes());
}
