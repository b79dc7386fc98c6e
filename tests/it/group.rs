//! Tasks that belong together: `gather`, `try_gather`, `as_completed`, `race`; and what is called when a
//! task is done.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::pending;
use std::io;
use std::panic::{panic_any, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::util::{
    Defer, ERAS, HOUR, MS, SECOND, Trace, assert_contains, let_others_run, logged, panic_text, run,
    run_in_order, spawn_running, spawn_waiting, text,
};
use wouldblock::generator::{Generator, GeneratorState, Yielder};
use wouldblock::{
    Builder, Era, JoinError, JoinHandle, Wait, future, generator, green,
    group::{Failures, Group, as_completed, gather, race, try_gather},
    op, stats, tasks,
    testing::explore,
    time,
};

type Fallible = Result<u32, JoinError>;

/// A task of `era` that sleeps for so many seconds, and returns how many.
fn nap(era: Era, seconds: u32) -> JoinHandle<u32> {
    spawn_running(era, move || {
        green::sleep(seconds * SECOND);
        seconds
    })
}

/// Waits for what `operation` makes, in a task of `era`.
fn wait_in<T: 'static, O>(era: Era, operation: impl FnOnce() -> O + 'static) -> JoinHandle<T>
where
    O: Future<Output = T> + 'static,
{
    spawn_waiting(era, async { operation().await }, ())
}

fn since(start: std::time::Instant) -> u64 {
    (time::now() - start).as_secs()
}

// as_completed

#[test]
fn results_come_in_the_order_of_the_ends() {
    run(|| {
        let naps = [3, 1, 2].into_iter().zip(ERAS).map(|(s, era)| nap(era, s));
        let mut left = as_completed(naps);
        assert_eq!(left.len(), 3);
        let start = time::now();
        for second in 1..=3 {
            assert_eq!(left.next().unwrap().unwrap(), second);
            assert_eq!((since(start), left.len()), (second.into(), 3 - second as usize));
        }
        assert!(left.next().is_none() && left.next().is_none());
        assert!(as_completed(Vec::<JoinHandle<()>>::new()).next().is_none());
    });
}

#[test]
fn each_era_waits_for_the_next_result() {
    run(|| {
        for era in ERAS {
            let collected = wait_in(era, move || async move {
                let mut left = as_completed([nap(era, 3), nap(era, 1), nap(era, 2)]);
                let mut seconds = Vec::new();
                while let Some(result) = left.next_result().await {
                    seconds.push(result.unwrap());
                }
                seconds
            });
            assert_eq!(collected.join().unwrap(), [1, 2, 3], "{era}");
        }
        let by_hand = generator::spawn(|y| {
            let mut left = as_completed([nap(Era::Green, 2), nap(Era::Green, 1)]);
            let first = y.wait(left.next_result()).unwrap().unwrap();
            (first, y.wait(left.next_result()).unwrap().unwrap())
        });
        assert_eq!(by_hand.join().unwrap(), (1, 2));
    });
}

#[test]
fn a_failure_comes_at_its_place_and_those_that_have_ended_come_first() {
    run_in_order(|| {
        let early = nap(Era::Green, 1);
        green::sleep(2 * SECOND);
        let fails = green::spawn(|| -> u32 { panic!("no luck") });
        let never = green::spawn(|| green::wait(pending()));
        never.cancel();
        let mut left = as_completed([nap(Era::Green, 1), never, fails, early]);
        assert_eq!(left.next().unwrap().unwrap(), 1);
        let ends: Vec<_> = left.map(|result| result.map_err(|e| e.to_string())).collect();
        assert_contains(ends[0].as_ref().unwrap_err(), &["panicked: no luck"]);
        assert_contains(ends[1].as_ref().unwrap_err(), &["was cancelled"]);
        assert_eq!(ends[2], Ok(1));
    });
}

#[test]
fn a_time_limit_on_the_next_result_loses_none() {
    run(|| {
        let mut left = as_completed([nap(Era::Green, 2), nap(Era::Future, 4)]);
        let mut got = Vec::new();
        let mut late = 0;
        loop {
            match green::timeout(SECOND, || left.next()) {
                Ok(Some(result)) => got.push(result.unwrap()),
                Ok(None) => break,
                Err(_) => late += 1,
            }
        }
        assert_eq!(got, [2, 4]);
        assert!(late >= 2, "{late}");
    });
}

#[test]
fn the_tasks_of_one_that_is_dropped_run_on() {
    run(|| {
        let trace = Trace::new();
        let say = trace.clone();
        let slow = green::spawn(move || {
            green::sleep(SECOND);
            say.say("ran on");
        });
        drop(as_completed([slow]));
        green::sleep(2 * SECOND);
        assert_eq!(trace.take(), ["ran on"]);
    });
}

#[test]
fn a_panic_whose_result_is_not_asked_for_is_logged() {
    let logs = logged(|| {
        run(|| {
            let mut left = as_completed([
                green::spawn(|| ()),
                green::spawn(|| {
                    green::sleep(SECOND);
                    panic!("nobody asked");
                }),
            ]);
            left.next().unwrap().unwrap();
            green::sleep(2 * SECOND);
        });
    });
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_contains(&logs[0].1, &["panicked: nobody asked", "no task joined it"]);
}

#[test]
fn a_thousand_results_are_each_given_once_whatever_the_order() {
    explore(20, || {
        let naps = (0..1000).map(|n| nap(ERAS[n % 3], n as u32 % 7));
        let got: Vec<_> = as_completed(naps).map(Result::unwrap).collect();
        let mut expected: Vec<_> = (0..1000).map(|n| n % 7).collect();
        expected.sort_unstable();
        assert_eq!(got, expected);
    });
}

#[test]
fn a_task_of_another_runtime_is_refused_and_not_waited_for() {
    let other = Builder::new().build().unwrap();
    let theirs = other.enter(|| green::spawn(|| 1));
    run(|| {
        let error = as_completed([theirs]).next().unwrap().unwrap_err();
        assert_contains(&error.to_string(), &["belongs to another runtime"]);
    });
}

#[test]
fn a_deadlock_says_what_is_waited_for() {
    let stuck = || green::spawn(|| green::wait(pending::<()>()));
    let several = || as_completed([stuck(), stuck()]).next().is_some();
    let report = Builder::new().try_run(several).unwrap_err().to_string();
    assert_contains(&report, &["waits for the next of its tasks to end"]);
    let one = || as_completed([stuck()]).next().is_some();
    let report = Builder::new().try_run(one).unwrap_err().to_string();
    assert_contains(&report, &["waits for task 2"]);
}

// race

#[test]
fn the_first_wins_and_the_losers_have_ended_when_it_returns() {
    run(|| {
        for era in ERAS {
            let trace = Trace::new();
            let start = time::now();
            let losers = trace.clone();
            let won = wait_in(era, move || {
                race([3, 1, 2].map(|s| {
                    let trace = losers.clone();
                    spawn_running(era, move || {
                        let goodbye = || {
                            green::sleep(SECOND / 2);
                            if s != 1 {
                                trace.say("gone");
                            }
                        };
                        green::finally(|| green::sleep(s * SECOND), goodbye);
                        s
                    })
                }))
            });
            assert_eq!(won.join().unwrap().unwrap(), 1, "{era}");
            assert_eq!(trace.take(), ["gone", "gone"], "{era}: their cleanup was waited for");
            assert_eq!((time::now() - start), 2 * SECOND, "{era}");
        }
    });
}

#[test]
fn a_failure_wins_too() {
    run(|| {
        let fails = green::spawn(|| -> u32 { panic!("first of all") });
        let error = green::wait(race([nap(Era::Green, 1), fails])).unwrap_err();
        assert_eq!(text(&*error.into_panic().unwrap()), "first of all");
    });
}

#[test]
fn a_race_of_none_is_refused() {
    let text = panic_text(|| run(|| drop(race(Vec::<JoinHandle<()>>::new()))));
    assert_contains(&text, &["a race of no tasks"]);
}

#[test]
fn a_loser_that_panics_as_it_is_cancelled_is_logged() {
    let logs = logged(|| {
        run(|| {
            let loser = green::spawn(|| {
                green::finally(|| green::sleep(HOUR), || panic!("sore loser"));
            });
            green::wait(race([loser, green::spawn(|| green::sleep(SECOND))])).unwrap();
        });
    });
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_contains(&logs[0].1, &["sore loser", "no task joined"]);
}

#[test]
fn whoever_races_is_cancelled_and_all_racers_with_it() {
    explore(50, || {
        for era in ERAS {
            let trace = Trace::new();
            let racers = trace.clone();
            let judge = wait_in(era, move || {
                race([1, 2].map(|_| spawn_waiting(era, pending::<()>(), racers.at_drop("ended"))))
            });
            green::sleep(SECOND);
            judge.cancel();
            assert!(judge.join().unwrap_err().is_cancelled());
            let_others_run();
            assert_eq!(trace.take(), ["ended", "ended"], "{era}");
        }
    });
}

// try_gather

#[test]
fn values_come_in_the_order_of_the_handles() {
    run(|| {
        let naps = [2, 1, 3].map(|s| {
            green::spawn(move || -> Fallible {
                green::sleep(s * SECOND);
                Ok(s)
            })
        });
        assert_eq!(green::wait(try_gather(naps)).unwrap(), [2, 1, 3]);
        let none: [JoinHandle<Fallible>; 0] = [];
        assert_eq!(green::wait(try_gather(none)).unwrap(), [0; 0]);
    });
}

#[test]
fn the_first_error_in_time_stops_the_others_and_waits_for_them() {
    run(|| {
        for era in ERAS {
            let trace = Trace::new();
            let others = trace.clone();
            let all = wait_in(era, move || {
                try_gather([4, 3, 1, 2].map(|s| {
                    let held = others.at_drop(format!("{s} ended"));
                    spawn_running(era, move || -> io::Result<u32> {
                        let _held = held;
                        green::sleep(s * SECOND);
                        if s < 3 { Err(io::Error::other(format!("error {s}"))) } else { Ok(s) }
                    })
                }))
            });
            let start = time::now();
            assert_eq!(all.join().unwrap().unwrap_err().to_string(), "error 1", "{era}");
            assert_eq!(since(start), 1, "{era}");
            let mut ended = trace.take();
            assert_eq!(ended.remove(0), "1 ended");
            ended.sort_unstable();
            assert_eq!(ended, ["2 ended", "3 ended", "4 ended"], "{era}");
        }
    });
}

#[test]
fn a_panic_and_a_cancellation_are_errors_as_well() {
    run(|| {
        let panics = green::spawn(|| -> io::Result<()> { panic!("out of luck") });
        let error = green::wait(try_gather([panics])).unwrap_err();
        assert_contains(&error.to_string(), &["task 2", "panicked: out of luck"]);
        let inner = error.into_inner().unwrap().downcast::<JoinError>().unwrap();
        assert!(inner.is_panic());

        let stops = green::spawn(|| -> Fallible { green::wait(pending()) });
        stops.cancel();
        assert!(green::wait(try_gather([stops])).unwrap_err().is_cancelled());
    });
}

#[test]
fn whoever_gathers_is_cancelled_and_all_tasks_with_it() {
    run(|| {
        let trace = Trace::new();
        let held = trace.at_drop("ended");
        let task = green::spawn(move || {
            let slow = green::spawn(move || -> Fallible {
                let _held = held;
                green::wait(pending())
            });
            green::timeout(SECOND, || green::wait(try_gather([slow]))).unwrap_err()
        });
        task.join().unwrap();
        let_others_run();
        assert_eq!(trace.take(), ["ended"]);
    });
}

// on_done

#[test]
fn callbacks_are_called_once_in_the_order_added_before_the_joiner_goes_on() {
    run(|| {
        for era in ERAS {
            let trace = Trace::new();
            let task = nap(era, 1);
            for name in ["a", "b", "c"] {
                let trace = trace.clone();
                task.on_done(move |result| {
                    trace.say(format!("{name} {}", result.as_ref().unwrap()));
                });
            }
            let_others_run();
            assert!(trace.take().is_empty());
            assert_eq!(task.join().unwrap(), 1);
            assert_eq!(trace.take(), ["a 1", "b 1", "c 1"], "{era}");
        }
    });
}

#[test]
fn a_callback_is_called_although_nobody_keeps_the_handle() {
    run(|| {
        let trace = Trace::new();
        let say = trace.clone();
        let held = trace.at_drop("dropped");
        let task = nap(Era::Green, 1);
        task.on_done(move |_| {
            let _held = held;
            say.say("called");
        });
        drop(task);
        green::sleep(2 * SECOND);
        assert_eq!(trace.take(), ["called", "dropped"]);
    });
}

#[test]
fn added_to_a_task_that_is_done_it_is_called_at_once() {
    run(|| {
        let mut task = nap(Era::Green, 1);
        green::sleep(2 * SECOND);
        let seen = Rc::new(Cell::new(0));
        let see = seen.clone();
        task.on_done(move |result| see.set(*result.as_ref().unwrap()));
        assert_eq!(seen.get(), 1);
        green::wait(&mut task).unwrap();
        let said = Rc::new(RefCell::new(String::new()));
        let say = said.clone();
        task.on_done(move |result| *say.borrow_mut() = result.as_ref().unwrap_err().to_string());
        assert_contains(&said.borrow(), &["already taken"]);
    });
}

#[test]
fn one_that_a_callback_adds_is_called_after_those_that_were_added_before() {
    run(|| {
        let trace = Trace::new();
        let task = Rc::new(nap(Era::Green, 1));
        let (say, same) = (trace.clone(), Rc::downgrade(&task));
        task.on_done(move |_| {
            say.say("first");
            let last = say.clone();
            same.upgrade().unwrap().on_done(move |_| last.say("last"));
        });
        let say = trace.clone();
        task.on_done(move |_| say.say("second"));
        green::sleep(2 * SECOND);
        assert_eq!(trace.take(), ["first", "second", "last"]);
    });
}

#[test]
fn a_panic_in_a_callback_stops_no_other_and_is_logged() {
    let logs = logged(|| {
        run(|| {
            let trace = Trace::new();
            let task = green::spawn(|| 7);
            task.on_done(|_| panic!("bad callback"));
            let say = trace.clone();
            task.on_done(move |_| say.say("called"));
            assert_eq!(task.join().unwrap(), 7, "its result is where it was");
            assert_eq!(trace.take(), ["called"]);
        });
    });
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_contains(&logs[0].1, &["a callback at the end of task 2", "panicked: bad callback"]);
}

#[test]
fn a_destructor_that_panics_when_a_task_is_done_ends_neither_the_run_nor_the_callbacks() {
    let logs = logged(|| {
        run(|| {
            let trace = Trace::new();
            let task = green::spawn(|| Defer(|| panic!("bad result")));
            let caught = Defer(|| panic!("bad capture"));
            task.on_done(move |_| drop(caught));
            task.on_done(|_| panic_any(Defer(|| panic!("bad payload"))));
            let say = trace.clone();
            task.on_done(move |_| say.say("called"));
            drop(task);
            let_others_run();
            assert_eq!(trace.take(), ["called"]);
        });
    });
    let texts: Vec<_> = logs.iter().map(|(_, text)| text.rsplit(": ").next().unwrap()).collect();
    assert_eq!(texts, ["bad capture", "(a payload that is not text)", "bad result"]);
}

#[test]
fn a_callback_may_spawn_and_must_not_wait() {
    let logs = logged(|| {
        run(|| {
            let trace = Trace::new();
            let task = green::spawn(|| ());
            let say = trace.clone();
            task.on_done(move |_| drop(green::spawn(move || say.say("spawned"))));
            task.on_done(|_| green::yield_now());
            task.join().unwrap();
            let_others_run();
            assert_eq!(trace.take(), ["spawned"]);
        });
    });
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_contains(&logs[0].1, &["a wait outside of any task"]);
}

#[test]
fn callbacks_learn_of_a_cancellation_and_of_a_panic() {
    run(|| {
        for era in ERAS {
            let trace = Trace::new();
            let learn = |task: &JoinHandle<()>| {
                let trace = trace.clone();
                task.on_done(move |result| {
                    let error = result.as_ref().unwrap_err();
                    trace.say(format!("{} {}", error.is_cancelled(), error.is_panic()));
                });
            };
            let stops = spawn_waiting(era, pending::<()>(), ());
            learn(&stops);
            let_others_run();
            stops.cancel();
            assert!(stops.join().unwrap_err().is_cancelled());
            let panics = spawn_running(era, || panic!("oh"));
            learn(&panics);
            assert!(panics.join().unwrap_err().is_panic());
            assert_eq!(trace.take(), ["true false", "false true"], "{era}");
        }
    });
}

#[test]
fn callbacks_of_tasks_that_outlive_the_root_are_called_as_they_are_cancelled() {
    let trace = Trace::new();
    run(|| {
        let task = future::spawn(pending::<()>());
        let say = trace.clone();
        task.on_done(move |result| say.say(result.as_ref().unwrap_err().to_string()));
        let_others_run();
    });
    let said = trace.take();
    assert_eq!(said.len(), 1);
    assert_contains(&said[0], &["was cancelled"]);
}

// gather

#[test]
fn gather_waits_in_each_era_for_tasks_of_each() {
    run(|| {
        for era in ERAS {
            let all = wait_in(era, || gather(ERAS.map(|era| nap(era, era as u32))));
            let values: Vec<_> = all.join().unwrap().into_iter().map(Result::unwrap).collect();
            assert_eq!(values, [0, 1, 2], "{era}");
        }
    });
}

// Group

/// Adds three tasks to `group`, one of each era, that wait for ever and say when they have ended.
fn add_waiting(group: &Group<JoinError>, trace: &Trace) {
    let [a, b, c] = ["generator", "green", "future"].map(|era| trace.at_drop(era));
    drop(group.spawn_generator(move |y| {
        let _held = a;
        y.wait(pending::<Result<(), _>>())
    }));
    drop(group.spawn(move || -> Result<(), _> {
        let _held = b;
        green::wait(pending())
    }));
    drop(group.spawn_future(async move {
        let _held = c;
        pending::<Result<(), _>>().await
    }));
}

fn ended(trace: &Trace) -> usize {
    let mut all = trace.take();
    all.sort_unstable();
    assert!(all.is_empty() || all == ["future", "generator", "green"], "{all:?}");
    all.len()
}

/// Opens a group in each way: the green one, and the operation in each era.
fn in_each_way<T: 'static>(
    body: impl Fn(&Group<JoinError>) -> Result<T, JoinError> + Clone + 'static,
    check: impl Fn(&str, Result<T, Failures<JoinError>>),
) {
    let green = body.clone();
    check("run", green::spawn(move || Group::run(|group| green(group))).join().unwrap());
    for era in ERAS {
        let body = body.clone();
        let opened = wait_in(era, move || Group::running(async move |group| body(group)));
        check(&format!("running, in a {era} task"), opened.join().unwrap());
    }
}

#[test]
fn a_group_waits_for_all_its_tasks_and_returns_what_its_body_does() {
    run(|| {
        let start = time::now();
        let trace = Trace::new();
        let say = trace.clone();
        let body = move |group: &Group<JoinError>| {
            for s in 1..=3 {
                let trace = say.clone();
                drop(group.spawn_future(async move {
                    time::sleeping(s * SECOND).await;
                    trace.say(s.to_string());
                    Ok(())
                }));
            }
            Ok("body")
        };
        in_each_way(body, |way, result| {
            assert_eq!(result.unwrap(), "body", "{way}");
            assert_eq!(trace.take(), ["1", "2", "3"], "{way}");
        });
        assert_eq!(since(start), 4 * 3);
    });
}

#[test]
fn the_first_failure_cancels_the_siblings_and_all_have_ended() {
    run(|| {
        let trace = Trace::new();
        let siblings = trace.clone();
        let body = move |group: &Group<JoinError>| {
            add_waiting(group, &siblings);
            drop(group.spawn(|| -> Result<(), _> {
                green::sleep(SECOND);
                panic!("first")
            }));
            Ok(())
        };
        in_each_way(body, |way, result| {
            let errors: Vec<_> = result.unwrap_err().into_errors().collect();
            assert_eq!(errors.len(), 1, "{way}: being cancelled is no failure");
            assert_contains(&errors[0].to_string(), &["panicked: first"]);
            assert_eq!(ended(&trace), 3, "{way}");
        });
    });
}

#[test]
fn the_body_is_stopped_where_it_waits() {
    run(|| {
        let trace = Trace::new();
        let fail = |group: &Group<io::Error>| {
            drop(group.spawn(|| -> io::Result<()> {
                green::sleep(SECOND);
                Err(io::ErrorKind::BrokenPipe.into())
            }));
        };
        let start = time::now();
        let failures = Group::run(|group| {
            fail(group);
            let _held = trace.at_drop("body");
            let inner = green::timeout(HOUR, || green::sleep(2 * HOUR));
            inner.map_err(io::Error::from)
        });
        assert_eq!(failures.unwrap_err().errors().count(), 1);
        for era in ERAS {
            let held = trace.at_drop("body");
            let opened = wait_in(era, move || {
                Group::running(async move |group| {
                    fail(group);
                    let _held = held;
                    time::sleeping(HOUR).await;
                    Ok(())
                })
            });
            assert_eq!(opened.join().unwrap().unwrap_err().errors().count(), 1);
        }
        assert_eq!((since(start), trace.take().len()), (4, 4));
        green::sleep(SECOND); // Whoever was stopped goes on as if nothing had been.
    });
}

#[test]
fn all_errors_are_kept_in_the_order_in_which_they_came() {
    run(|| {
        let failures = Group::run(|group: &Group<io::Error>| {
            for s in [2, 1, 3] {
                drop(group.spawn(move || -> io::Result<()> {
                    let nap = || green::sleep(s * SECOND);
                    // The later ones fail as they clean up.
                    let failed = std::panic::catch_unwind(nap).is_err();
                    if failed {
                        panic!("cleanup {s}")
                    } else {
                        Err(io::Error::other(format!("{s}")))
                    }
                }));
            }
            Ok(())
        })
        .unwrap_err();
        let text = failures.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[0], "3 tasks of a group failed");
        assert_contains(lines[1], &["task 3 (green, spawned at tests/it/group.rs", "failed: 1"]);
        let mut rest = [lines[2], lines[3]];
        rest.sort_unstable();
        assert_contains(rest[0], &["task 2 (green", "panicked: cleanup 2"]);
        assert_contains(rest[1], &["task 4 (green", "panicked: cleanup 3"]);
        assert_eq!(failures.errors().count(), 3);
    });
}

#[test]
fn a_body_that_fails_cancels_its_tasks_and_is_among_the_failures() {
    run(|| {
        let trace = Trace::new();
        let siblings = trace.clone();
        let body = move |group: &Group<JoinError>| -> Result<(), JoinError> {
            add_waiting(group, &siblings);
            let stopped = green::spawn(|| ());
            stopped.cancel();
            Err(stopped.join().unwrap_err())
        };
        in_each_way(body, |way, result| {
            assert_contains(&result.unwrap_err().to_string(), &["failed: task", "was cancelled"]);
            assert_eq!(ended(&trace), 3, "{way}");
        });
    });
}

#[test]
fn a_handle_gives_the_value_and_of_a_failed_task_only_that_it_has_none() {
    run(|| {
        let mut failed = None;
        let failures = Group::run(|group: &Group<JoinError>| {
            assert_eq!(group.spawn_generator(|_| Ok(5)).join().unwrap(), 5);
            failed = Some(group.spawn(|| -> Result<(), _> { panic!("told once") }));
            Ok(())
        });
        assert_contains(&failures.unwrap_err().to_string(), &["task 3", "told once"]);
        assert!(failed.unwrap().join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_task_that_is_cancelled_alone_is_no_failure() {
    run(|| {
        let result = Group::run(|group: &Group<JoinError>| {
            let stops = group.spawn_future(pending::<Result<(), _>>());
            let stays = group.spawn(|| {
                green::sleep(SECOND);
                Ok(7)
            });
            stops.cancel();
            assert!(stops.join().unwrap_err().is_cancelled());
            Ok(stays.join().unwrap())
        });
        assert_eq!(result.unwrap(), 7);
    });
}

#[test]
fn tasks_spawn_beside_themselves_until_the_group_is_over() {
    run(|| {
        let trace = Trace::new();
        let mut kept = None;
        let say = trace.clone();
        Group::run(|group: &Group<JoinError>| {
            kept = Some(group.clone());
            let same = group.clone();
            drop(group.spawn(move || {
                green::sleep(SECOND);
                drop(same.spawn(move || {
                    green::sleep(SECOND);
                    say.say("grandchild");
                    Ok(())
                }));
                Ok(())
            }));
            Ok(())
        })
        .unwrap();
        assert_eq!(trace.take(), ["grandchild"]);
        let late = panic_text(|| drop(kept.unwrap().spawn(|| Ok(()))));
        assert_contains(&late, &["a group that is over"]);
    });
}

#[test]
fn a_task_that_is_added_after_a_failure_does_not_begin() {
    run(|| {
        let failures = Group::run(|group: &Group<JoinError>| {
            group.spawn(|| -> Result<(), _> { panic!("early") });
            green::finally(
                || green::sleep(HOUR),
                || {
                    let begun = Rc::new(Cell::new(false));
                    let begin = begun.clone();
                    let late = group.spawn(move || {
                        begin.set(true);
                        Ok(())
                    });
                    assert!(late.join().unwrap_err().is_cancelled() && !begun.get());
                },
            );
            Ok(())
        });
        assert_eq!(failures.unwrap_err().errors().count(), 1);
    });
}

#[test]
fn whoever_opened_it_is_cancelled_and_nothing_outlives_it() {
    explore(30, || {
        for stage in 0..3 {
            for era in ERAS {
                let trace = Trace::new();
                let members = trace.clone();
                let opened = spawn_running(era, move || {
                    let body = |group: &Group<JoinError>| {
                        add_waiting(group, &members);
                        for _ in 0..stage {
                            green::sleep(SECOND);
                        }
                        Ok(())
                    };
                    let _after = Defer(|| assert_eq!(members.take().len(), 3));
                    Group::run(body).unwrap();
                });
                green::sleep(SECOND);
                let_others_run();
                opened.cancel();
                assert!(opened.join().unwrap_err().is_cancelled(), "{stage} {era}");
            }
        }
    });
}

#[test]
fn a_group_in_a_future_that_is_dropped_is_waited_for() {
    explore(30, || {
        let trace = Trace::new();
        let members = trace.clone();
        let group = |trace: Trace| {
            Group::running(async move |group| {
                add_waiting(group, &trace);
                pending::<Result<(), JoinError>>().await
            })
        };
        let opened = future::spawn(group(members));
        green::sleep(SECOND);
        opened.cancel();
        assert!(opened.join().unwrap_err().is_cancelled());
        assert_eq!(ended(&trace), 3, "when it has ended, so have they");

        let limited = future::spawn(op::timeout(SECOND, group(trace.clone())));
        assert!(limited.join().unwrap().is_err());
        assert_eq!(ended(&trace), 3);

        // Where a stack unwinds, they are cancelled, and end soon.
        let limited = green::timeout(SECOND, || green::wait(group(trace.clone())));
        assert!(limited.is_err());
        let_others_run();
        assert_eq!(ended(&trace), 3);
    });
}

#[test]
fn a_panic_of_the_body_comes_out_when_its_tasks_have_ended_and_their_failures_are_logged() {
    let logs = logged(|| {
        run(|| {
            let trace = Trace::new();
            let members = trace.clone();
            let opened = green::spawn(move || {
                Group::run(|group: &Group<JoinError>| -> Result<(), _> {
                    add_waiting(group, &members);
                    drop(group.spawn(|| -> Result<(), _> {
                        green::finally(|| green::sleep(HOUR), || panic!("in cleanup"));
                        Ok(())
                    }));
                    green::sleep(SECOND);
                    panic!("in the body")
                })
                .unwrap();
            });
            assert_eq!(text(&*opened.join().unwrap_err().into_panic().unwrap()), "in the body");
            assert_eq!(ended(&trace), 3);
        });
    });
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_contains(&logs[0].1, &["panicked: in cleanup", "a group that was given up"]);
}

#[test]
fn cancel_ends_the_tasks_and_lets_the_body_go_on() {
    run(|| {
        let trace = Trace::new();
        let result = Group::run(|group: &Group<JoinError>| {
            add_waiting(group, &trace);
            group.cancel();
            green::sleep(SECOND);
            Ok(1)
        });
        assert_eq!(result.unwrap(), 1);
        assert_eq!(ended(&trace), 3);
    });
}

#[test]
fn a_group_outside_of_any_task_is_refused() {
    let text = panic_text(|| Group::run(|_: &Group<JoinError>| Ok(())).unwrap());
    assert_contains(&text, &["outside of any task"]);
}

/// An error with a number; of a panic, that which it panicked with.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Numbered(u32);

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {}", self.0)
    }
}

impl From<JoinError> for Numbered {
    fn from(error: JoinError) -> Numbered {
        Numbered(*error.into_panic().unwrap().downcast().unwrap())
    }
}

/// How many tasks are alive, and what they have failed with.
#[derive(Clone, Default)]
struct Members(Rc<(Cell<usize>, RefCell<Vec<Numbered>>)>);

impl Members {
    fn fails(&self, n: u32) -> Numbered {
        self.0.1.borrow_mut().push(Numbered(n));
        Numbered(n)
    }

    /// What a task of a group does, by its number: it yields, and then fails, panics, cleans up, ..
    fn act(&self, n: u32, group: &Group<Numbered>) -> Result<(), Numbered> {
        let alive = &self.0.0;
        alive.set(alive.get() + 1);
        let _gone = Defer(|| alive.set(alive.get() - 1));
        (0..n % 3).for_each(|_| green::yield_now());
        match n % 8 {
            0 => return Err(self.fails(n)),
            1 => resume_unwind(Box::new(self.fails(n).0)),
            2 => green::finally(|| green::sleep(HOUR), || resume_unwind(Box::new(self.fails(n).0))),
            3 => green::finally(|| green::sleep(SECOND), || green::sleep(SECOND)),
            4 => drop(self.clone().join_in(n + 9, group)),
            5 => {
                let inside = Members::default();
                let own = Group::run(|group: &Group<Numbered>| {
                    drop(inside.clone().join_in(n + 11, group));
                    green::sleep(SECOND);
                    Ok(())
                });
                assert_eq!(inside.0.0.get(), 0);
                return own.map_err(|_| self.fails(n));
            }
            _ => green::sleep(SECOND),
        }
        Ok(())
    }

    fn join_in(self, n: u32, group: &Group<Numbered>) -> JoinHandle<()> {
        let inner = group.clone();
        match n % 3 {
            0 => group.spawn(move || self.act(n, &inner)),
            1 => group.spawn_generator(move |_| self.act(n, &inner)),
            _ => group.spawn_future(async move { self.act(n, &inner) }),
        }
    }
}

/// Groups of tasks that fail, panic, clean up or spawn others, and are cancelled or out of time at any point.
#[test]
fn nothing_outlives_a_group_and_no_failure_is_lost_whatever_the_order() {
    for n in 0..512 {
        let kinds = [n % 8, n / 8 % 8, n / 64];
        explore(8, || {
            let members = Members::default();
            let joins = members.clone();
            let open = move || {
                Group::run(|group| {
                    kinds.into_iter().for_each(|n| drop(joins.clone().join_in(n, group)));
                    green::sleep(SECOND);
                    if n % 5 == 0 { Err(joins.fails(100)) } else { Ok(()) }
                })
            };
            let opened = green::spawn(move || match n % 3 {
                0 => green::timeout(SECOND, open).ok(),
                _ => Some(open()),
            });
            if n % 7 == 0 {
                (0..n % 4).for_each(|_| green::yield_now());
                opened.cancel();
            }
            let ended = opened.join();
            let (alive, failed) = &*members.0;
            assert_eq!(alive.get(), 0);
            assert!(ended.as_ref().err().is_none_or(JoinError::is_cancelled), "{ended:?}");
            if let Ok(Some(result)) = ended {
                let errors = result.err().into_iter().flat_map(Failures::into_errors);
                let mut errors: Vec<_> = errors.collect();
                errors.sort_unstable();
                failed.borrow_mut().sort_unstable();
                assert_eq!(errors, *failed.borrow());
            }
        });
    }
}

/// Cannot be made of a panic.
#[derive(Debug)]
struct Fragile;

impl fmt::Display for Fragile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fragile")
    }
}

impl From<JoinError> for Fragile {
    fn from(_: JoinError) -> Fragile {
        panic!("cannot be made of a panic")
    }
}

#[test]
fn a_panic_of_which_no_error_can_be_made_comes_out_when_all_have_ended() {
    let body = |group: &Group<Fragile>, trace: &Trace| {
        let held = trace.at_drop("sibling");
        drop(group.spawn_future(async move {
            let _held = held;
            pending::<Result<(), _>>().await
        }));
        drop(group.spawn_generator(|_| -> Result<(), _> {
            green::finally(|| green::wait(pending::<()>()), || panic!("as it is cancelled"));
            Ok(())
        }));
        group.spawn(|| Err::<(), _>(Fragile));
        Ok(())
    };
    let logs = logged(|| {
        run_in_order(|| {
            let trace = Trace::new();
            let t = trace.clone();
            let mut ways = vec![green::spawn(move || Group::run(|group| body(group, &t)))];
            ways.extend(ERAS.map(|era| {
                let t = trace.clone();
                wait_in(era, move || Group::running(async move |group| body(group, &t)))
            }));
            for way in ways {
                let panic = way.join().unwrap_err().into_panic().unwrap();
                assert_eq!(text(&*panic), "cannot be made of a panic");
            }
            assert_eq!(trace.take(), ["sibling"; 4]);
        });
    });
    assert_eq!(logs.len(), 4, "{logs:?}");
    logs.iter()
        .for_each(|(_, log)| assert_contains(log, &["fragile", "a group that was given up"]));
}

#[test]
fn a_panic_of_which_no_error_can_be_made_stops_the_body() {
    run(|| {
        let start = time::now();
        let group = || {
            Group::<Fragile>::run(|group| {
                group.spawn(|| -> Result<(), _> { panic!("first") });
                green::sleep(HOUR);
                Ok(())
            })
        };
        assert_eq!(panic_text(group), "cannot be made of a panic");
        assert_eq!(since(start), 0);
    });
}

#[test]
fn a_deadlock_within_a_group_is_reported() {
    let stuck = || {
        Group::run(|group: &Group<JoinError>| {
            group.spawn(|| green::wait(pending::<Result<(), _>>()));
            Ok(())
        })
        .unwrap();
    };
    let report = Builder::new().try_run(stuck).unwrap_err().to_string();
    assert_contains(&report, &["waits for the tasks of its group"]);
}

#[test]
fn nested_groups_fail_from_the_inside_out() {
    run(|| {
        let trace = Trace::new();
        let outer = trace.clone();
        let failures = Group::run(|group: &Group<Box<dyn std::error::Error>>| {
            let held = outer.at_drop("sibling");
            drop(group.spawn(move || {
                let _held = held;
                green::wait(pending::<Result<(), _>>())
            }));
            Group::run(|inner: &Group<io::Error>| {
                drop(inner.spawn(|| -> io::Result<()> {
                    green::sleep(SECOND);
                    Err(io::Error::other("innermost"))
                }));
                green::wait(pending::<Result<(), _>>())
            })?;
            Ok(())
        })
        .unwrap_err();
        let errors: Vec<_> = failures.into_errors().collect();
        let inner = errors[0].downcast_ref::<Failures<io::Error>>().unwrap();
        assert_eq!(inner.errors().next().unwrap().to_string(), "innermost");
        assert_eq!((errors.len(), trace.take()), (1, vec!["sibling".to_owned()]));
    });
}

#[test]
fn a_generator_that_yields_inside_of_one_is_refused_with_its_name() {
    run(|| {
        let task = generator::spawn(|y| {
            Group::<JoinError>::run(|_| {
                y.wait(time::sleeping(SECOND));
                Ok(())
            })
            .unwrap();
        });
        let payload = task.join().unwrap_err().into_panic().unwrap();
        assert_contains(
            &text(&*payload),
            &["cannot yield inside of `Group::run`", "Group::running"],
        );
    });
}

#[test]
fn a_task_whose_handle_is_dropped_belongs_to_the_group_still() {
    let ended = Rc::new(Cell::new(false));
    let ends = ended.clone();
    run(move || {
        Group::<JoinError>::run(|group| {
            group.spawn(move || {
                green::sleep(SECOND);
                ends.set(true);
                Ok(())
            }); // No warning here: nothing is detached.
            Ok(())
        })
        .unwrap();
        assert!(ended.get());
    });
}

/// The future of a group, where a task of that group can take it out to drop it.
type Place = Rc<RefCell<Option<Pin<Box<dyn Future<Output = Result<(), Failures<JoinError>>>>>>>>;

#[test]
fn a_task_that_drops_the_future_of_its_own_group_waits_for_the_others_only() {
    for era in ERAS {
        run(move || {
            let (place, trace) = (Place::default(), Trace::new());
            let (taken, dropped, other) = (place.clone(), trace.clone(), trace.clone());
            let mut group = Box::pin(Group::running(async move |group| {
                let drops = move || {
                    green::sleep(SECOND);
                    drop(taken.take());
                    dropped.say("dropped");
                    Ok(())
                };
                match era {
                    Era::Green => drop(group.spawn(drops)),
                    Era::Generator => drop(group.spawn_generator(move |_| drops())),
                    Era::Future => drop(group.spawn_future(async move { drops() })),
                }
                group.spawn(move || {
                    let ends = move || {
                        green::sleep(SECOND);
                        other.say("the other has ended");
                    };
                    green::finally(|| green::sleep(HOUR), ends);
                    Ok(())
                });
                Ok(())
            }));
            assert!(group.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            *place.borrow_mut() = Some(group);
            green::sleep(3 * SECOND);
            assert_eq!(trace.take(), ["the other has ended", "dropped"], "{era}: {}", tasks());
            assert_eq!(stats().alive, 1, "{era}: {}", tasks());
        });
    }
}

#[test]
fn a_time_limit_around_a_group_ends_where_a_task_of_the_group_polls_it() {
    run(|| {
        let place = Rc::new(RefCell::new(None::<Generator<Wait, (), bool>>));
        let mut generator = Generator::new({
            let place = place.clone();
            move |y: &Yielder<Wait>| {
                let group = Group::<JoinError>::running(async move |group| {
                    group.spawn(move || {
                        green::sleep(SECOND);
                        let mut generator = place.take().expect("it waits");
                        let complete = matches!(generator.resume(), GeneratorState::Complete(true));
                        assert!(complete, "its time limit has passed");
                        Ok(())
                    });
                    Ok(())
                });
                y.wait(op::timeout(SECOND, group)).is_err()
            }
        });
        assert!(matches!(generator.resume(), GeneratorState::Yielded(_)));
        *place.borrow_mut() = Some(generator);
        green::sleep(3 * SECOND);
        assert_eq!(stats().alive, 1, "{}", tasks());
    });
}

thread_local! {
    static TAKEN: RefCell<(Option<JoinHandle<u32>>, Option<String>)> = const { RefCell::new((None, None)) };
}

/// The waker of an executor that polls where it is woken.
struct Inline;

impl Wake for Inline {
    fn wake(self: Arc<Inline>) {
        let Some(mut handle) = TAKEN.with_borrow_mut(|taken| taken.0.take()) else { return };
        let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(result) = polled else { panic!("the task has ended") };
        TAKEN.with_borrow_mut(|taken| taken.1 = result.err().map(|error| error.to_string()));
    }
}

#[test]
fn a_failure_reaches_its_group_also_where_another_executor_takes_the_result_at_once() {
    run(|| {
        let failed = Group::run(|group: &Group<JoinError>| {
            let mut handle = group.spawn(|| -> Result<u32, JoinError> { panic!("oh") });
            let waker = Waker::from(Arc::new(Inline));
            assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
            TAKEN.with_borrow_mut(|taken| taken.0 = Some(handle));
            green::sleep(HOUR);
            Ok(())
        });
        assert_contains(&failed.unwrap_err().to_string(), &["panicked: oh"]);
        TAKEN.with_borrow(|taken| assert!(taken.1.is_some(), "the handle has an error, too"));
    });
}

/// The task is done while its callbacks are called: "if the task is done already, it is called at once", with the result.
#[test]
fn a_callback_that_is_added_by_a_callback_gets_the_result() {
    run(|| {
        let handle = Rc::new(RefCell::new(None::<JoinHandle<u32>>));
        let seen = Rc::new(Cell::new(None));
        let task = green::spawn(|| 5);
        let (again, out) = (handle.clone(), seen.clone());
        task.on_done(move |_| {
            let out = out.clone();
            let handle = again.borrow();
            handle.as_ref().unwrap().on_done(move |result| out.set(result.as_ref().ok().copied()));
        });
        *handle.borrow_mut() = Some(task);
        green::sleep(MS);
        assert_eq!(seen.get(), Some(5));
    });
}

/// An executor that polls the handle in a callback waits until the result is given back.
#[test]
fn a_result_that_a_callback_has_on_loan_is_waited_for() {
    run(|| {
        let handle = Rc::new(RefCell::new(None::<JoinHandle<u32>>));
        let (again, polled) = (handle.clone(), Rc::new(Cell::new(false)));
        let (task, out) = (green::spawn(|| 5), polled.clone());
        task.on_done(move |_| {
            let mut handle = again.borrow_mut();
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(handle.as_mut().unwrap()).poll(&mut cx).is_pending());
            out.set(true);
        });
        *handle.borrow_mut() = Some(task);
        green::sleep(MS);
        assert!(polled.get());
        assert_eq!(handle.take().unwrap().join().unwrap(), 5);
    });
}
