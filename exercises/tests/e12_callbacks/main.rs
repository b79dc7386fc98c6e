//! The tests of 12 callbacks.

mod exercise;
mod given;

use exercise::{dispatch, picture as make};
use given::{Fate, Image, Studio, TOO_LATE, Why, callbacks};
use kit::{check, fail, lesson, picture};
use wouldblock::{green, group::gather, task};

#[test]
fn t01_a_picture_is_scaled_and_framed() {
    check("all goes well: ann is scaled, and then framed", || {
        let results = yours(&["ann"], &[]).results;
        assert!(
            results[0] != Err(TOO_LATE),
            "the ends of ann's jobs were posted in time, and did not come to her: `dispatch` sends each to the task that waits for it"
        );
        expect("ann", &results[0], Ok("framed small ann"));
    });
}

#[test]
fn t02_each_gets_its_own_image() {
    check("twelve pictures at once; the ends of their jobs are posted in another order", || {
        let names =
            ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal", "ida", "joe", "kim", "leo"];
        let run = yours(&names, &[]);
        for (name, result) in names.iter().zip(&run.results) {
            if result.as_ref().is_ok_and(|image| !image.contains(name)) {
                panic!(
                    "{name} got {result:?}, the image of another picture: send each end to the task that waits for that job"
                );
            }
            expect(name, result, Ok(&format!("framed small {name}")));
        }
        let theirs = with_callbacks(&names, &[]);
        let (ms, wanted) = (run.ms, theirs.ms);
        assert!(
            ms == wanted,
            "it took {ms} ms of virtual time, {wanted} ms suffice: one picture after the other? Only the task that waits for a job \
             stands still"
        );
    });
}

#[test]
fn t03_a_lost_job_is_submitted_again() {
    check("the first job of ann is never posted: after the limit, it is submitted again", || {
        let run = yours(&["ann"], &[("small ann", &[Fate::Lost])]);
        if run.results[0] == Err(TOO_LATE) {
            panic!(
                "ann was given up after one lost job: it was submitted once, and may be submitted again"
            );
        }
        expect("ann", &run.results[0], Ok("framed small ann"));
        run.expect_none_waiting();
        let run = yours(&["ann"], &[("framed small ann", &[Fate::Lost])]);
        expect("ann", &run.results[0], Ok("framed small ann"));
        let scaled = run.log.iter().filter(|line| line.contains("Scale")).count();
        assert!(
            scaled == 1,
            "the frame was lost, and ann was scaled {scaled} times: a picture that is scaled already needs only its frame"
        );
    });
}

#[test]
fn t04_two_failures_are_the_end() {
    check("ann fails twice, bob is lost twice: both are given up, each for its own reason", || {
        let fates: &[(&str, &[Fate])] = &[
            ("small ann", &[Fate::Fails("out of paper"), Fate::Fails("out of ink")]),
            ("framed small bob", &[Fate::Fails("out of wood"), Fate::Lost]),
        ];
        let run = yours(&["ann", "bob"], fates);
        expect("ann", &run.results[0], Err("out of ink"));
        expect("bob", &run.results[1], Err(TOO_LATE));
        run.expect_none_waiting();
    });
}

#[test]
fn t05_what_no_task_waits_for_is_ignored() {
    check("ann comes late, bob twice, and cat under a number that no job has", || {
        let fates: &[(&str, &[Fate])] = &[
            ("small ann", &[Fate::Late]),
            ("small bob", &[Fate::Doubled]),
            ("small cat", &[Fate::Stray]),
        ];
        let names = ["ann", "bob", "cat"];
        let run = yours(&names, fates);
        for (name, result) in names.iter().zip(&run.results) {
            expect(name, result, Ok(&format!("framed small {name}")));
        }
        run.expect_none_waiting();
        let strays = run.log.iter().filter(|line| line.contains("no task waits for it")).count();
        assert!(
            strays == 3,
            "{strays} of 3 posts that no task waits for stand in the log: `studio.stray(id)` writes them there"
        );
    });
}

#[test]
fn t06_the_log_is_that_of_the_callbacks() {
    check(
        "eight pictures, all that can go wrong: your log and that of the callbacks are the same",
        || {
            let fates: &[(&str, &[Fate])] = &[
                ("small bob", &[Fate::Lost]),
                ("framed small bob", &[Fate::Late]),
                ("small cat", &[Fate::Doubled]),
                ("framed small dan", &[Fate::Stray]),
                ("small eve", &[Fate::Fails("out of ink")]),
                ("framed small fay", &[Fate::Fails("out of wood"), Fate::Fails("out of nails")]),
                ("small gus", &[Fate::Late, Fate::Lost]),
            ];
            let names = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal"];
            let (mut mine, theirs) = (yours(&names, fates), with_callbacks(&names, fates));
            mine.log.truncate(mine.ended);
            let at = (0..mine.log.len().max(theirs.log.len()))
                .find(|n| mine.log.get(*n) != theirs.log.get(*n));
            if let Some(at) = at {
                let line = |log: &[String]| {
                    log.get(at).map_or("(its end)".to_owned(), |line| line.trim().to_owned())
                };
                panic!(
                    "line {} of your log and that of the callbacks differ. Yours:\n    {}\nthat of the callbacks:\n    {}\nEach thing that \
                     goes wrong is reported to the studio: `failed`, `stray`",
                    at + 1,
                    line(&mine.log),
                    line(&theirs.log)
                );
            }
            let lines = |text: &str| {
                text.lines()
                    .filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//"))
                    .count()
            };
            let (yours, theirs) = (include_str!("exercise.rs"), include_str!("given/callbacks.rs"));
            picture(format!(
                "Lines of code: {} with callbacks, {} of yours",
                lines(theirs),
                lines(yours)
            ));
        },
    );
}

/// What came of some pictures.
struct Run {
    results: Vec<Result<Image, Why>>,
    log: Vec<String>,
    ms: u128,
    /// How long the log was when the last picture had ended.
    ended: usize,
    /// The jobs that are left in `waiting`.
    waiting: Vec<u64>,
}

impl Run {
    #[track_caller]
    fn expect_none_waiting(&self) {
        let Some(id) = self.waiting.first() else { return };
        panic!(
            "job {id} is over, and still stands in `waiting`: when its time is over, take it out"
        );
    }
}

/// Makes pictures with your code: a greenlet for each, and one for `dispatch`.
#[track_caller]
fn yours(names: &[&'static str], fates: &'static [(&'static str, &'static [Fate])]) -> Run {
    let names = names.to_vec();
    lesson(move || {
        let studio = Studio::new(fates);
        let theirs = studio.clone();
        let dispatcher = task::Builder::new().name("dispatch").spawn(move || dispatch(&theirs));
        let tasks = names.iter().map(|name| {
            let (name, studio) = (*name, studio.clone());
            let lost = fates.iter().any(|(image, fates)| {
                image.ends_with(name) && fates.iter().any(|fate| matches!(fate, Fate::Lost))
            });
            let about = if lost { ", a job of which is never posted" } else { "" };
            task::Builder::new().name(format!("{name}{about}")).spawn(move || {
                let result = make(&studio, name);
                studio.ended(name, &result);
                result
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let joined = green::wait(gather(tasks));
        let (ms, ended) = (studio.ms(), studio.log().len());
        // What comes late is awaited too.
        green::sleep(given::LIMIT);
        let early = dispatcher.is_finished();
        studio.posted().shutdown();
        if let Err(error) = dispatcher.join() {
            let why = error.into_panic().map(|payload| kit::text_of(&*payload)).unwrap_or_default();
            fail(format!(
                "`dispatch` panicked (\"{why}\"): what no task waits for is noted, by `studio.stray(id)`, and it goes on"
            ));
        }
        if early && !studio.posted().is_empty() {
            fail(
                "`dispatch` has returned, and there is something in the queue: it goes on until the queue is shut down",
            );
        }
        let results = joined.into_iter().map(unpanicked).collect();
        let waiting = studio.waiting.borrow().keys().copied().collect();
        drawn(Run { results, ms, ended, waiting, log: studio.log() })
    })
}

/// The same with callbacks.
fn with_callbacks(
    names: &[&'static str],
    fates: &'static [(&'static str, &'static [Fate])],
) -> Run {
    let names = names.to_vec();
    lesson(move || {
        let studio = Studio::new(fates);
        let theirs = studio.clone();
        callbacks::pictures(&theirs, &names);
        let ms = studio.ms();
        let log = studio.log();
        drawn(Run { results: Vec::new(), ms, ended: log.len(), waiting: Vec::new(), log })
    })
}

fn drawn(run: Run) -> Run {
    picture(
        run.log.join(
            "
",
        ) + "
",
    );
    run
}

fn unpanicked(result: Result<Result<Image, Why>, wouldblock::JoinError>) -> Result<Image, Why> {
    result.unwrap_or_else(|error| match error.into_panic() {
        Ok(payload) => std::panic::resume_unwind(payload),
        Err(error) => fail(error),
    })
}

#[track_caller]
fn expect(name: &str, result: &Result<Image, Why>, wanted: Result<&str, Why>) {
    let got = result.as_deref().map_err(|why| *why);
    assert!(got == wanted, "the picture {name} came to {result:?}, and should come to {wanted:?}");
}
