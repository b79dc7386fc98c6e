//! The crate's own warnings and errors. All of them go through this file, and appear even if the program has no logger:
//!
//! | the program's logger | an error | an alarm | a warning |
//! |---|---|---|---|
//! | none (`log::max_level()` is `Off`) | standard error | standard error | standard error |
//! | takes errors only (`env_logger` without `RUST_LOG`) | to the logger | to the logger, as an error | dropped |
//! | takes warnings | to the logger | to the logger, as a warning | to the logger |
//!
//! A debug line goes to a logger that takes debug lines, and never to standard error.
//!
//! An alarm is a warning that the program may hang: a task has kept the thread for a second, or nothing has moved for
//! ten. All records have the target `wouldblock`, for loggers that filter by target.
//!
//! On standard error, each text is written in one piece and begins with `wouldblock: `.
//!
//! A logger is user code, and may be called in the middle of a turn or between two turns. It is called as code of no task,
//! so a wait in it panics. Any panic of a logger ends here: the text then goes to standard error, with the panic's message.
//! While the logger runs, the crate's errors and warnings go to standard error too, since logging them would call the
//! logger again.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe};

use log::{Level, LevelFilter, Record};

use super::running::while_no_task_runs;
use super::signal;

thread_local!(static LOGGING: Cell<bool> = const { Cell::new(false) });

/// Reports that something has failed or is lost.
#[cold]
pub(crate) fn error(text: fmt::Arguments<'_>) {
    report(Level::Error, text);
}

/// Reports a possible mistake.
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

/// Logs an event that is no fault, but may surprise. It never goes to standard error.
#[cold]
pub(crate) fn debug(text: fmt::Arguments<'_>) {
    if log::max_level() >= LevelFilter::Debug {
        report(Level::Debug, text);
    }
}

/// Aborts the process when it is dropped. It guards the job of a coroutine, which must not unwind: forget the guard when the
/// job has returned.
pub(crate) struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        print(format_args!("a coroutine's job unwound past its end; this is a bug in wouldblock"));
        std::process::abort();
    }
}

/// Drops the payload of a panic. If its destructor panics, the payload of that panic is dropped in the same way, up to a
/// hundred times; then the last one is leaked.
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
    let most = log::max_level();
    if most == LevelFilter::Off {
        return print(text);
    }
    if level > most {
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

/// Writes to standard error without a logger, as before an abort. (`eprintln` would panic where standard error accepts
/// nothing.)
pub(crate) fn print(text: fmt::Arguments<'_>) {
    let _ = signal::write_to_stderr(format!("wouldblock: {text}\n").as_bytes());
}
