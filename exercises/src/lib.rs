//! The kit of the course: what tests and solutions of all exercises use.
//!
//! # For teachers who add an exercise
//!
//! Exercise `NN`, called `name`, is:
//!
//! | file | what |
//! |---|---|
//! | `tests/eNN_name/main.rs` | the tests, and `mod exercise;` |
//! | `tests/eNN_name/exercise.rs` | the student's file, the same as the skeleton until the student edits it |
//! | `tests/eNN_name/README.md`, `README.zh-CN.md` | the text, in both languages |
//! | `tests/eNN_name/HINTS.md`, `HINTS.zh-CN.md` | three hints, which `cargo course hint NN` shows one at a time |
//! | `tests/eNN_name/messages.zh-CN.txt` | the messages of its tests in Chinese; `src/messages.zh-CN.txt` has the kit's |
//! | `skeletons/eNN_name.rs` | compiles without a warning; each function is a `todo!` that uses its arguments; or code to be mended, without any `todo!`, that fails every test |
//! | `solutions/eNN_name.rs` | passes all tests; formatted, without a warning of clippy |
//! | `wrong/eNN_why.rs` | a wrong answer, at least two an exercise; line 1 is `//! says: TEXT` |
//!
//! An exercise with more files of the student's than `exercise.rs` (15) has all of them in folders: `skeletons/eNN_name/`,
//! `solutions/eNN_name/`, `wrong/eNN_why/`; what a folder of `wrong` does not hold is the solution's, and one of the files
//! that it holds begins with `//! says:`. `main.rs` declares all of them. What the tests have beside themselves (15's server)
//! lies in a folder, `given/`.
//!
//! **Tests.** `main.rs` begins with a `//!` line and `mod exercise;`. Each test is an ordinary `#[test]` function whose body
//! is one call of [`check()`], with a sentence of what it is about; the first test in the file is the one that a student
//! should mend first. Their names begin with `t01_`, `t02_` and so on: tests run in the order of their names. The message of a failure is written for the student who made that mistake: it names the job, and
//! what was to come and what came instead, in one sentence or two; code that finds out which mistake it was stands at the
//! end of the file. What is still to be written (`todo!`) fails every test with its own text. Use [`picture`] for what the
//! check has to show: letter rows, a [`Log`], a timeline; it is printed after the message, and by `cargo course show NN`.
//!
//! **No hang is possible**, however wrong a solution is. Jobs that [`job()`] makes, clocks and [`poll()`] count, and fail the
//! check after 10 000; tests of generators take from a generator no more than they need ([`some`]). Exercises on the
//! crate run in [`lesson()`] (virtual clock, at most 100 000 turns; a deadlock is the failure) or [`lesson_on_real_clock`].
//! Threads of a test's own (clients) have time limits on their sockets. What still does not end is ended by `check` after
//! 8 s of the machine's clock, with exit status 4. No test asserts a duration.
//!
//! **Texts.** A README begins with `# NN name` and the line `minutes: N`, the same in both languages; then: what it is
//! about, what to write, what the tests ask, how to run them (`cargo course test NN`), and how to see a hint. In `HINTS.md`
//! are three of them, each folded:
//!
//! ```text
//! <details><summary>Hint 1</summary>
//!
//! TEXT
//!
//! </details>
//! ```
//!
//! (提示 1 in Chinese.) No hint contains a line of the solution. Rust code is the same in both languages.
//!
//! **Wrong answers.** `TEXT` after `says:` must stand in the message of the first test that fails, in the order of the
//! file, and the message must not contain the text of another wrong answer of the exercise. The message of a hang counts.
//! That message is among those in Chinese. `cargo course verify NN --messages` prints all.
//!
//! An exercise that builds on another one's answer has `#[path = "../e07_scheduler/exercise.rs"] mod scheduler;` in its
//! `main.rs`.
//!
//! `cargo course verify NN` checks all of that for one exercise, and `.ci/course` for all. Nothing is to be registered: the
//! folders in `tests/` are the list.

pub mod check;
mod hang;
mod job;
mod lesson;
mod log;
mod poll;
mod small;
mod time;

pub use check::{check, check_within, fail, grouped, picture, step, steps, text_of};
pub use job::{
    Answer, Does, Id, Job, Op, Outside, does, draw_jobs, interest, job, jobs_made, spawned_as,
};
pub use lesson::{
    TURNS, lesson, lesson_on_real_clock, spawned_in, turns_and_sleeps_but_of, warnings,
};
pub use log::{Log, letter_rows};
pub use poll::{Interest, Polled, before_poll, last_poll, next_poll_fails, poll, polls};
pub use small::{readable_from, reset_when_dropped, small_client, small_listener, until_it_ends};
pub use time::{Event, VirtualTime};

use wouldblock::generator::Generator;

/// What a generator yields, up to `most` values; fails the check if it yields more, with `what` as its name.
#[track_caller]
pub fn some<Y: 'static>(what: &str, most: usize, generator: &mut Generator<Y>) -> Vec<Y> {
    let values: Vec<Y> = generator.by_ref().take(most + 1).collect();
    if values.len() > most {
        fail(format!("{what} goes on after {most} values, where it was to end"));
    }
    values
}
