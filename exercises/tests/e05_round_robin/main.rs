//! The tests of 05 round_robin.

mod exercise;

use std::cell::Cell;
use std::rc::Rc;

use exercise::round_robin;
use kit::{check, letter_rows, picture};
use wouldblock::generator::{Generator, Yielder};

/// A task that yields its name so many times.
fn task(name: &'static str, times: usize) -> Generator<&'static str> {
    Generator::new(move |y: &Yielder<&'static str>| {
        for _ in 0..times {
            y.yield_(name);
        }
    })
}

#[test]
fn t01_turns_go_round() {
    check("three tasks of two turns each take turns: a b c a b c", || {
        expect(&[("a", 2), ("b", 2), ("c", 2)], &["a", "b", "c", "a", "b", "c"]);
    });
}

#[test]
fn t02_an_end_moves_no_other() {
    check("b ends first, and no other loses its turn by that: a b c a c a", || {
        expect(&[("a", 3), ("b", 1), ("c", 2)], &["a", "b", "c", "a", "c", "a"]);
    });
}

#[test]
fn t03_an_end_moves_not_the_last() {
    check("b ends first, and c and d keep their order: a b c d a c d", || {
        let tasks = [("a", 2), ("b", 1), ("c", 2), ("d", 2)];
        let got = round_robin(tasks.iter().map(|(name, times)| task(name, *times)).collect());
        picture(letter_rows(&got));
        let text = got.join(" ");
        assert!(
            text != "a b c d a d c",
            "the turns were \"{text}\": when `b` ended, `d` came to its place, before `c`; those that are left keep their order"
        );
        compare(&tasks, &got, &["a", "b", "c", "d", "a", "c", "d"]);
    });
}

#[test]
fn t04_a_task_may_yield_nothing() {
    check("a task may end in its first turn", || {
        expect(&[("a", 1), ("none", 0), ("c", 1)], &["a", "c"]);
    });
}

#[test]
fn t05_no_task_is_no_turn() {
    check("without tasks, nothing is yielded", || expect(&[], &[]));
}

#[test]
fn t06_each_task_reaches_its_end() {
    check("a task that has yielded its last value still has to return", || {
        let ended = Rc::new(Cell::new(0));
        let tasks = (0..3).map(|_| {
            let ended = ended.clone();
            Generator::new(move |y: &Yielder<()>| {
                y.yield_(());
                ended.set(ended.get() + 1);
            })
        });
        round_robin(tasks.collect());
        let ended = ended.get();
        assert!(
            ended == 3,
            "{ended} of 3 tasks came to their end: resume each until it is `Complete`"
        );
    });
}

#[test]
fn t07_a_thousand_tasks() {
    check("a thousand tasks of two turns each", || {
        let tasks = (0..1000).map(|n| Generator::new(move |y| (0..2).for_each(|_| y.yield_(n))));
        let values = round_robin(tasks.collect());
        let wanted: Vec<i32> = (0..1000).chain(0..1000).collect();
        let at = values.iter().zip(&wanted).position(|(value, wanted)| value != wanted);
        assert!(at.is_none(), "turn {} was that of another task", at.unwrap_or_default());
        assert!(values.len() == 2000, "{} of 2000 turns were given", values.len());
    });
}

/// Runs tasks of these names and numbers of values, and compares the order.
#[track_caller]
fn expect(tasks: &[(&'static str, usize)], wanted: &[&str]) {
    let got = round_robin(tasks.iter().map(|(name, times)| task(name, *times)).collect());
    picture(letter_rows(&got));
    compare(tasks, &got, wanted);
}

#[track_caller]
fn compare(tasks: &[(&'static str, usize)], got: &[&str], wanted: &[&str]) {
    if got != wanted {
        let (got_text, wanted_text) = (got.join(" "), wanted.join(" "));
        let why = mistake(tasks, got, wanted);
        panic!("the turns were \"{got_text}\", and should be \"{wanted_text}\": {why}");
    }
}

/// Which mistake gives this order.
fn mistake(tasks: &[(&'static str, usize)], got: &[&str], wanted: &[&str]) -> String {
    let count = |name: &str| got.iter().filter(|turn| **turn == name).count();
    for (name, times) in tasks {
        match count(name) {
            n if n < *times => {
                return format!("`{name}` had more to yield when `round_robin` returned");
            }
            n if n > *times => return format!("a value of `{name}` came twice"),
            _ => {}
        }
    }
    let at = got.iter().zip(wanted).position(|(got, wanted)| got != wanted).unwrap_or_default();
    let (name, instead) = (wanted[at], got[at]);
    if at == 0 {
        return format!("`{instead}` came first: take from the FRONT of the queue");
    }
    if let Some(ended) = wanted[..at].iter().rev().find(|before| !wanted[at..].contains(before)) {
        return format!("`{name}` lost its turn when `{ended}` ended");
    }
    match got[at - 1] == instead {
        true => {
            format!("`{instead}` had two turns in a row: one resume, then to the BACK of the queue")
        }
        false => format!("it was `{name}`'s turn, and `{instead}` had it"),
    }
}
