//! The tests of 04 recorder.

mod exercise;

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use exercise::recorder;
use kit::{Log, check, picture, text_of};
use wouldblock::generator::{Generator, GeneratorState};

type Recorder = Generator<usize, String>;

#[test]
fn t01_lines_are_written() {
    check("two lines are sent, and each is written; the generator yields 0, 1, 2", || {
        let (log, mut recorder) = begin();
        send(&log, &mut recorder, "one", 1);
        send(&log, &mut recorder, "two", 2);
        assert_eq!(wrote(&log), ["one", "two"], "each line stands in the log as it was sent");
    });
}

#[test]
fn t02_it_goes_on_after_an_error() {
    check("an error is thrown into it between two lines", || {
        let (log, mut recorder) = begin();
        send(&log, &mut recorder, "one", 1);
        throw(&log, &mut recorder, "the disk is full", 1);
        send(&log, &mut recorder, "two", 2);
        throw(&log, &mut recorder, "the disk is full again", 2);
        let (got, wanted) = (
            wrote(&log),
            ["one", "error: the disk is full", "two", "error: the disk is full again"],
        );
        assert!(
            !got.concat().contains("given the box"),
            "the recorder wrote {got:?}: `kit::text_of(&*error)` takes what is IN the box, and not the box"
        );
        assert_eq!(got, wanted, "the error stands where it happened");
    });
}

#[test]
fn t03_it_takes_a_formatted_error() {
    check(
        "the error that is thrown is a `String`, as `format!` makes it, and has braces in it",
        || {
            let (log, mut recorder) = begin();
            let error = format!("{{}} of {} 已满", "disk 7");
            log.say("throw");
            let state = catch_unwind(AssertUnwindSafe(|| recorder.throw(Box::new(error.clone()))));
            let wrote = wrote(&log);
            if !matches!(state, Ok(GeneratorState::Yielded(0)))
                || wrote != [format!("error: {error}")]
            {
                panic!(
                    "the error {error:?} was thrown, a `String`, and the recorder wrote {wrote:?}{}: what is thrown may be of any \
                 type; `kit::text_of(&*error)` knows the text of a `&str` and of a `String`",
                    if state.is_err() { ", and panicked" } else { "" }
                );
            }
        },
    );
}

#[test]
fn t04_it_flushes_when_it_is_closed() {
    check("`close` ends it: it writes `flush`, once and last, and yields no more", || {
        let (log, mut recorder) = begin();
        send(&log, &mut recorder, "one", 1);
        log.say("close");
        recorder.close();
        expect_flush(&log, &["one", "flush"], "closed");
        drop(recorder);
        expect_flush(&log, &["one", "flush"], "closed, and then dropped");
    });
}

#[test]
fn t05_it_flushes_when_it_is_dropped() {
    check("dropping it closes it", || {
        let (log, mut recorder) = begin();
        send(&log, &mut recorder, "one", 1);
        throw(&log, &mut recorder, "the disk is full", 1);
        log.say("drop");
        drop(recorder);
        expect_flush(&log, &["one", "error: the disk is full", "flush"], "dropped");
    });
}

#[test]
fn t06_it_flushes_when_its_caller_panics() {
    check("its caller panics, which drops it: it flushes too", || {
        let log = Log::new("you");
        picture(log.clone());
        let callers = log.clone();
        let caller = catch_unwind(AssertUnwindSafe(move || {
            let mut recorder = recorder(callers.of("recorder"));
            recorder.prime();
            send(&callers, &mut recorder, "one", 1);
            callers.say("panic");
            std::panic::resume_unwind(Box::new("the caller's own panic"));
        }));
        match caller {
            Err(payload) if text_of(&*payload) == "the caller's own panic" => {}
            Err(payload) => std::panic::resume_unwind(payload),
            Ok(()) => panic_any("the caller was to panic"),
        }
        expect_flush(&log, &["one", "flush"], "dropped by its caller's panic");
    });
}

#[test]
fn t07_one_that_never_began_writes_nothing() {
    check("a recorder that was never primed has nothing to flush", || {
        let log = Log::new("you");
        picture(log.clone());
        drop(recorder(log.of("recorder")));
        let wrote = wrote(&log);
        assert!(wrote.is_empty(), "it wrote {wrote:?}, and was never resumed");
    });
}

fn begin() -> (Log, Recorder) {
    let log = Log::new("you");
    picture(log.clone());
    let mut recorder = recorder(log.of("recorder"));
    expect(recorder.prime(), 0, "primed");
    (log, recorder)
}

fn wrote(log: &Log) -> Vec<String> {
    log.row("recorder")
}

#[track_caller]
fn send(log: &Log, recorder: &mut Recorder, line: &str, wanted: usize) {
    log.say(format!("send {line}"));
    expect(recorder.send(line.to_owned()), wanted, &format!("sent {line:?}"));
}

#[track_caller]
fn throw(log: &Log, recorder: &mut Recorder, error: &'static str, wanted: usize) {
    log.say("throw");
    let state = catch_unwind(AssertUnwindSafe(|| recorder.throw(Box::new(error))));
    match state {
        Err(payload) if text_of(&*payload) == error => panic!(
            "the error came out of `throw` again: `yield_` unwinds with it, and `try_yield` returns it"
        ),
        Err(payload) => std::panic::resume_unwind(payload),
        Ok(GeneratorState::Complete(())) => {
            panic!(
                "`{error}` was thrown into it, and it ended at the error: write it down, and go on"
            )
        }
        Ok(state) => expect(state, wanted, "an error"),
    }
    let wrote = wrote(log);
    assert!(
        !wrote.contains(&"flush".to_owned()),
        "`{error}` was thrown: this is no end yet, and `flush` was written"
    );
}

#[track_caller]
fn expect(state: GeneratorState<usize, ()>, wanted: usize, after: &str) {
    match state {
        GeneratorState::Yielded(n) if n == wanted => {}
        GeneratorState::Yielded(n) if after == "an error" => {
            panic!("after an error, it yielded {n}, and should yield {wanted}: an error is no line")
        }
        GeneratorState::Yielded(n) => {
            panic!(
                "it was {after} and yielded {n}; {wanted} lines were sent so far, and it yields how many it has written"
            )
        }
        GeneratorState::Complete(()) => {
            panic!("it was {after} and returned: it ends only when it is closed")
        }
    }
}

#[track_caller]
fn expect_flush(log: &Log, wanted: &[&str], how: &str) {
    let wrote = wrote(log);
    let flushes = wrote.iter().filter(|entry| *entry == "flush").count();
    assert!(
        flushes > 0,
        "it was {how} and wrote {wrote:?}: `flush` is missing; when it is closed, `try_yield` gives `Thrown::Exit`"
    );
    assert!(flushes == 1, "it was {how}, and wrote `flush` {flushes} times: {wrote:?}");
    assert_eq!(wrote, wanted, "`flush` stands at the end");
}
