//! The tests of 06 trampoline.

mod exercise;

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use exercise::{Routine, Step, Task, Value};
use kit::{check, fail, letter_rows, picture, text_of};
use wouldblock::generator::{Generator, Yielder};

type Y = Yielder<Step, Value>;

#[test]
fn t01_a_value_returns_to_its_caller() {
    check("level 3 returns 3 to level 2, which returns 7 to level 1, which returns 17", || {
        let stack = Stack::new();
        let mut task = Task::new(tower(&stack, 0));
        assert_result(stack.turn(&mut task), &Ok(17));
    });
}

#[test]
fn t02_a_pause_comes_from_any_depth() {
    check("level 3 pauses twice; each time it is level 3 that goes on", || {
        let stack = Stack::new();
        let mut task = Task::new(tower(&stack, 2));
        for round in 1..=2 {
            if let Some(value) = stack.turn(&mut task) {
                panic!(
                    "turn {round} was to end with a `Pause` of level 3, and `turn` returned {value:?}"
                );
            }
            stack.turn_ends();
        }
        assert_result(stack.turn(&mut task), &Ok(17));
    });
}

#[test]
fn t03_an_error_is_the_callers() {
    check("a callee returns an error; its caller is sent it, and mends it", || {
        let page: fn(&Y) -> Value = |_| Err("there is no such page".into());
        let mut task = Task::new(Generator::new(move |y: &Y| {
            match y.yield_(Step::Call(Generator::new(page))) {
                Err(why) if why == "there is no such page" => Ok(404),
                other => {
                    fail(format!("the callee returned an error, and its caller got {other:?}"))
                }
            }
        }));
        match turn(&mut task) {
            Some(Err(_)) => panic!(
                "the callee's error ended the whole task: the caller was to be told, and would have mended it"
            ),
            other => assert_result(other, &Ok(404)),
        }
    });
}

#[test]
fn t04_two_tasks_interleave() {
    check("two tasks that pause in callees take turns: a b a b a b", || {
        let turns: Rc<RefCell<Vec<&str>>> = Rc::default();
        let task = |name: &'static str| {
            let turns = turns.clone();
            Task::new(Generator::new(move |y: &Y| {
                let mut sum = 0;
                for page in 1..=3 {
                    let turns = turns.clone();
                    sum += y.yield_(Step::Call(Generator::new(move |y: &Y| {
                        turns.borrow_mut().push(name);
                        y.yield_(Step::Pause).ok();
                        Ok(page)
                    })))?;
                }
                Ok(sum)
            }))
        };
        let mut tasks = [task("a"), task("b")];
        for round in 1..=4 {
            for (task, name) in tasks.iter_mut().zip(["a", "b"]) {
                match (round, turn(task)) {
                    (1..=3, None) => {}
                    (4, ended) => assert_result(ended, &Ok(6)),
                    (_, ended) => panic!(
                        "`{name}` was to pause in turn {round}, and `turn` returned {ended:?}"
                    ),
                }
            }
        }
        picture(letter_rows(&turns.borrow()));
        assert_eq!(*turns.borrow(), ["a", "b", "a", "b", "a", "b"], "the tasks were to take turns");
    });
}

#[test]
fn t05_a_thousand_deep() {
    check("a routine that calls itself a thousand times, and pauses at the bottom", || {
        fn sum(n: u64) -> Routine {
            Generator::new(move |y: &Y| match n {
                0 => {
                    y.yield_(Step::Pause).ok();
                    Ok(0)
                }
                _ => Ok(n + y.yield_(Step::Call(sum(n - 1)))?),
            })
        }
        let mut task = Task::new(sum(1000));
        assert!(
            turn(&mut task).is_none(),
            "the routine at the bottom was to pause, and the task ended"
        );
        assert_result(turn(&mut task), &Ok(500_500));
    });
}

/// Level 1 calls level 2, which calls level 3, which pauses so many times.
fn tower(stack: &Stack, pauses: usize) -> Routine {
    picture(stack.clone());
    let stack = stack.clone();
    Generator::new(move |y: &Y| {
        stack.runs(1);
        let value = y.yield_(Step::Call(level_2(stack.clone(), pauses)));
        stack.returned_to(1, &value, 7);
        Ok(value? + 10)
    })
}

fn level_2(stack: Stack, pauses: usize) -> Routine {
    Generator::new(move |y: &Y| {
        stack.runs(2);
        let value = y.yield_(Step::Call(level_3(stack.clone(), pauses)));
        stack.returned_to(2, &value, 3);
        stack.0.borrow_mut().returned[2] = true;
        Ok(value? + 4)
    })
}

fn level_3(stack: Stack, pauses: usize) -> Routine {
    Generator::new(move |y: &Y| {
        stack.runs(3);
        for _ in 0..pauses {
            y.yield_(Step::Pause).ok();
            stack.runs(3);
        }
        stack.0.borrow_mut().returned[3] = true;
        Ok(3)
    })
}

/// Which level had the thread, one after the other. Prints as the stack over time.
#[derive(Clone)]
struct Stack(Rc<RefCell<Levels>>);

#[derive(Default)]
struct Levels {
    /// 0: the end of a turn.
    ran: Vec<usize>,
    returned: [bool; 4],
}

impl Stack {
    fn new() -> Stack {
        Stack(Rc::default())
    }

    fn runs(&self, level: usize) {
        self.0.borrow_mut().ran.push(level);
    }

    /// A turn. An error of the crate's is another one where the level that was called has not begun.
    #[track_caller]
    fn turn(&self, task: &mut Task) -> Option<Value> {
        let turn = catch_unwind(AssertUnwindSafe(|| turn(task)));
        turn.unwrap_or_else(|payload| {
            // Each level calls the next one as the first that it does.
            let deepest = self.0.borrow().ran.iter().copied().max().unwrap_or_default();
            if matches!(deepest, 1 | 2) && text_of(&*payload).contains(PRIMED) {
                panic!(
                    "level {deepest} called level {}, which has not begun, and level {deepest} itself was resumed again: the routine that \
                     was called LAST goes on, and it is at the end of the stack (`last_mut`)",
                    deepest + 1
                );
            }
            resume_unwind(payload)
        })
    }

    fn turn_ends(&self) {
        self.0.borrow_mut().ran.push(0);
    }

    /// A level goes on after a call: with what the callee has returned, if that has returned.
    fn returned_to(&self, level: usize, value: &Value, wanted: u64) {
        self.runs(level);
        let callee = level + 1;
        let (ran, ended) =
            (self.0.borrow().ran.contains(&callee), self.0.borrow().returned[callee]);
        match value {
            _ if !ran => fail(format!(
                "level {level} called level {callee}, which never ran, and level {level} went on: what `prime()` returns is the first \
                 step of a routine, here this call, and is looked at like what `send` returns"
            )),
            _ if !ended => fail(format!(
                "`Pause` came from level 3; level {level} was resumed, whose call has not returned"
            )),
            Ok(value) if *value == wanted => {}
            Ok(value) => fail(format!("level {callee} returned {wanted}, its caller got {value}")),
            Err(why) => {
                fail(format!("level {callee} returned {wanted}, its caller got the error {why:?}"))
            }
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the stack over time; █ runs, ░ waits for its callee, | a turn ends")?;
        for level in (1..=3).rev() {
            write!(f, "level {level}  ")?;
            for ran in &self.0.borrow().ran {
                f.write_str(match ran {
                    0 => "|",
                    ran if *ran == level => "█",
                    ran if *ran > level => "░",
                    _ => " ",
                })?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

/// What a second `prime` comes to.
const PRIMED: &str = "a routine was primed that has begun already";

/// A turn of a task. An error of the crate about a `prime` or a `send` that does not fit is put in the words of this exercise.
#[track_caller]
fn turn(task: &mut Task) -> Option<Value> {
    let turn = catch_unwind(AssertUnwindSafe(|| task.turn()));
    turn.unwrap_or_else(|payload| {
        let text = text_of(&*payload);
        match () {
            () if text.contains("`prime` it first") => panic!(
                "a routine that has not begun was sent a value, as its first resume: the routine that was just CALLED has \
                 nothing to be sent, so `prime` it first"
            ),
            () if text.contains("has not begun") => panic!(
                "{PRIMED}: `prime` is for the first resume only. A caller goes on with what \
                 its callee has returned, and one that has paused with any value: both are sent"
            ),
            () if text.contains("resumed after it had finished") => panic!(
                "a routine was resumed after it had returned: then it is taken off the stack, and its CALLER goes on"
            ),
            () if text.contains("there is no such page") => panic!(
                "the callee returned Err(\"there is no such page\"), and `turn` panicked with it: an error is sent to the caller \
                 like any other value"
            ),
            () => resume_unwind(payload),
        }
    })
}

/// Compares what `turn` has returned at the end of a task.
#[track_caller]
fn assert_result(got: Option<Value>, wanted: &Value) {
    match got {
        Some(value) if value == *wanted => {}
        Some(value) => panic!("the task returned {value:?}, and was to return {wanted:?}"),
        None => panic!(
            "`turn` returned `None` though no routine has paused: a call is not a pause, so go on with the callee, and \
             when it returns, with its caller"
        ),
    }
}
