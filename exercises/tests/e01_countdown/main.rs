//! The tests of 01 countdown.

mod exercise;

use exercise::countdown;
use kit::{Log, check, picture};
use wouldblock::generator::{Generator, GeneratorState};

#[test]
fn t01_nothing_runs_before_the_first_resume() {
    check("a generator is made, and its code has not begun", || {
        let log = Log::new("countdown");
        picture(log.clone());
        let countdown = countdown(3, log.clone());
        let lines = log.lines();
        assert!(
            lines.is_empty(),
            "the log has {lines:?}, and nothing has resumed the generator yet: this code ran before it was resumed; \
             put it inside of the closure"
        );
        drop(countdown);
        assert!(log.lines().is_empty(), "a generator that is dropped before it began never runs");
    });
}

#[test]
fn t02_it_stops_at_each_yield() {
    check(
        "the log alternates: you resume, it writes a number and yields, you have the thread again",
        || {
            let log = Log::new("countdown");
            picture(log.clone());
            let you = log.of("you");
            let mut countdown = countdown(3, log.clone());
            for wanted in [3, 2, 1] {
                you.say("resume");
                expect_yield(countdown.resume(), wanted);
                you.say(format!("got {wanted}"));
                expect_log(&log, wanted);
            }
        },
    );
}

#[test]
fn t03_it_ends_with_lift_off() {
    check("after 1 comes the end: the generator returns \"lift-off\"", || {
        let log = Log::new("countdown");
        picture(log.clone());
        let mut countdown = countdown(2, log.clone());
        expect_yield(countdown.resume(), 2);
        expect_yield(countdown.resume(), 1);
        expect_end(&mut countdown, "1");
        assert_eq!(log.row("countdown"), ["2", "1"], "each number stands in the log once");
    });
}

#[test]
fn t04_two_countdowns_interleave() {
    check("two generators of the same code each have their own numbers: 3 2 2 1 1", || {
        let log = Log::new("you");
        picture(log.clone());
        let (mut a, mut b) = (countdown(3, log.of("a")), countdown(2, log.of("b")));
        expect_yield(a.resume(), 3);
        expect_yield(b.resume(), 2);
        expect_yield(a.resume(), 2);
        expect_yield(b.resume(), 1);
        expect_yield(a.resume(), 1);
        expect_end(&mut b, "1");
        expect_end(&mut a, "1");
        assert_eq!(
            log.lines(),
            ["a: 3", "b: 2", "a: 2", "b: 1", "a: 1"],
            "each wrote its own numbers, in the order in which they were resumed"
        );
    });
}

#[test]
fn t05_zero_is_lift_off_at_once() {
    check("a countdown from 0 yields nothing", || {
        let log = Log::new("countdown");
        let mut countdown = countdown(0, log.clone());
        expect_end(&mut countdown, "nothing");
        assert!(log.lines().is_empty(), "it wrote {:?}, and has no number to write", log.lines());
    });
}

#[track_caller]
fn expect_yield(state: GeneratorState<u32, &str>, wanted: u32) {
    match state {
        GeneratorState::Yielded(n) if n == wanted => {}
        GeneratorState::Yielded(1) if wanted == 3 => {
            panic!("the first number was 1, and should be 3: it counts DOWN")
        }
        GeneratorState::Yielded(n) => panic!("it yielded {n}, and should yield {wanted}"),
        GeneratorState::Complete(text) => {
            panic!("it returned {text:?}, and should yield {wanted} before that")
        }
    }
}

#[track_caller]
fn expect_end(countdown: &mut Generator<u32, (), &'static str>, last: &str) {
    match countdown.resume() {
        GeneratorState::Complete("lift-off") => {}
        GeneratorState::Complete(text) => {
            panic!("it returned {text:?}, and should return \"lift-off\"")
        }
        GeneratorState::Yielded(0) if last == "1" => {
            panic!("it yielded 0 too: stop after 1, and return \"lift-off\"")
        }
        GeneratorState::Yielded(n) if last == "nothing" => panic!(
            "a countdown from 0 has no number, and it yielded {n}: look whether a number is left BEFORE the first yield"
        ),
        GeneratorState::Yielded(n) => {
            panic!("after {last}, it yielded {n}; it should return \"lift-off\" there")
        }
    }
}

/// The log, when the caller has just got `n` of 3, 2, 1.
#[track_caller]
fn expect_log(log: &Log, n: u32) {
    let wrote: Vec<u32> = log.row("countdown").iter().filter_map(|n| n.parse().ok()).collect();
    let wanted: Vec<u32> = (n..=3).rev().collect();
    match &wrote[..] {
        wrote if *wrote == wanted => {}
        [.., 1 | 0] if n > 1 => {
            panic!(
                "the log has {wrote:?} when {n} was yielded: it counted to the end before its first yield"
            )
        }
        wrote if wrote.len() + 1 == wanted.len() => {
            panic!("{n} was yielded, and is not in the log yet: log first, then yield")
        }
        [first, second, ..] if first == second => panic!(
            "when {n} was yielded, the log had {wrote:?}, and should have {wanted:?}: each number is written once, before its yield"
        ),
        wrote => panic!("when {n} was yielded, the log had {wrote:?}, and should have {wanted:?}"),
    }
}
