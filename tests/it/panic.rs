//! Panics: none gets lost, and none hurts a task that it is not about.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::panic::{self, AssertUnwindSafe, Location};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::util::{
    self, Defer, ERAS, HOUR, MS, SECOND, Trace, assert_contains, caught, in_child, let_others_run,
    logged, panic_text, run, spawn_running, spawn_waiting, text,
};
use wouldblock::sync::Semaphore;
use wouldblock::{
    Builder, Era, JoinError, future, generator, green,
    group::{Pool, gather},
    offload, task, thread, time,
};

// Out of join.

#[test]
fn join_gives_the_payload() {
    #[derive(Debug, PartialEq)]
    struct Payload(Vec<u8>);
    for era in ERAS {
        run(|| {
            let task = spawn_running(era, || panic::panic_any(Payload(vec![1, 2, 3])));
            let error = task.join().map(|never: ()| never).unwrap_err();
            assert!(error.is_panic() && !error.is_cancelled());
            let payload = error.into_panic().unwrap();
            assert_eq!(payload.downcast_ref(), Some(&Payload(vec![1, 2, 3])), "{era}");
        });
    }
}

#[test]
fn a_panic_after_a_wait_comes_out_of_join_too() {
    run(|| {
        let tasks = [
            generator::spawn(|y| {
                y.wait(time::sleeping(SECOND));
                panic!("after a wait")
            }),
            green::spawn(|| {
                green::sleep(SECOND);
                panic!("after a wait")
            }),
            future::spawn(async {
                time::sleeping(SECOND).await;
                panic!("after a wait")
            }),
        ];
        for task in tasks {
            let payload = task.join().map(|never: ()| never).unwrap_err().into_panic().unwrap();
            assert_eq!(text(&*payload), "after a wait");
        }
    });
}

#[test]
fn each_era_joins_a_panicking_task_of_each_era() {
    for joining in ERAS {
        for joined in ERAS {
            run(|| {
                let task = spawn_running(joined, || panic!("expected"));
                let result: Result<(), _> = spawn_waiting(joining, task, ()).join().unwrap();
                assert!(result.unwrap_err().is_panic(), "{joining} joins {joined}");
            });
        }
    }
}

#[test]
fn the_panic_hook_is_called_once() {
    for era in ERAS {
        let hooked = util::panics_hooked(|| {
            run(|| drop(spawn_running(era, || panic!("expected")).join()));
        });
        assert_eq!(hooked, 1, "{era}");
    }
}

#[test]
fn the_destructors_of_a_panicking_task_run_before_its_joiner_goes_on() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let task = spawn_running(era, move || {
                let _first = inside.at_drop("first");
                let _second = inside.at_drop("second");
                panic!("expected");
            });
            assert!(task.join().is_err());
            assert_eq!(trace.take(), ["second", "first"], "{era}");
        });
    }
}

#[test]
fn the_other_tasks_do_not_notice() {
    run(|| {
        let others = ERAS.map(|era| spawn_waiting(era, time::sleeping(SECOND), ()));
        for era in ERAS {
            assert!(spawn_running(era, || panic!("expected")).join().is_err());
        }
        let seen_panicking = green::spawn(std::thread::panicking);
        assert!(!seen_panicking.join().unwrap());
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn gather_has_a_panic_at_its_place() {
    run(|| {
        let tasks = (0..4).map(|n| green::spawn(move || assert_ne!(n, 2)));
        let results = green::wait(gather(tasks.collect::<Vec<_>>()));
        let panicked = results.iter().map(|r| r.as_ref().is_err_and(JoinError::is_panic));
        assert_eq!(panicked.collect::<Vec<_>>(), [false, false, true, false]);
    });
}

// The error.

fn error_of(task: wouldblock::JoinHandle<()>) -> JoinError {
    task.join().unwrap_err()
}

#[test]
fn the_error_says_which_task_panicked_and_how() {
    run(|| {
        let named = task::Builder::new().name("fetch").spawn(|| panic!("no route"));
        let message = error_of(named).to_string();
        let line = line!() - 2;
        assert!(
            message.starts_with(&format!(
                "task 2 \"fetch\" (green, spawned at tests/it/panic.rs:{line}:"
            )),
            "{message}"
        );
        assert!(message.ends_with(") panicked: no route"), "{message}");

        let formatted = error_of(green::spawn(|| panic!("{} of {}", 1, 2))).to_string();
        assert!(formatted.ends_with(") panicked: 1 of 2"), "{formatted}");
        let other = error_of(future::spawn(async { panic::panic_any(7) })).to_string();
        assert!(other.ends_with(") panicked: (a payload that is not text)"), "{other}");
        let debug = format!("{:?}", error_of(green::spawn(|| panic!("no route"))));
        assert_contains(&debug, &["JoinError(task ", "panicked: no route"]);
    });
}

#[test]
fn into_panic_gives_the_error_back_if_there_was_no_panic() {
    run(|| {
        let task = green::spawn(|| green::sleep(HOUR));
        task.cancel();
        let error = error_of(task).into_panic().unwrap_err();
        assert!(error.is_cancelled());
    });
}

#[test]
fn the_error_goes_through_the_question_mark_and_to_other_threads() {
    fn joins() -> Result<(), Box<dyn Error + Send + Sync>> {
        green::spawn(|| panic!("boxed")).join()?;
        Ok(())
    }
    let error = run(joins).unwrap_err();
    let message = std::thread::spawn(move || error.to_string()).join().unwrap();
    assert!(message.ends_with("panicked: boxed"), "{message}");
}

#[test]
fn a_payload_may_be_raised_again() {
    run(|| {
        let task = green::spawn(|| panic!("handed on"));
        let payload = error_of(task).into_panic().unwrap();
        assert_eq!(panic_text(|| panic::resume_unwind(payload)), "handed on");
    });
}

// Joining what cannot be joined.

#[test]
fn joining_oneself_is_an_error() {
    for era in ERAS {
        run(|| {
            let own = Rc::new(Cell::new(None::<wouldblock::JoinHandle<String>>));
            let handle = own.clone();
            let task =
                spawn_running(era, move || handle.take().unwrap().join().unwrap_err().to_string());
            own.set(Some(task));
            let done = Rc::new(Cell::new(None));
            let inside = done.clone();
            let other =
                spawn_waiting(era, time::sleeping(SECOND), Defer(move || inside.set(Some(()))));
            other.join().unwrap();
            assert_eq!(done.take(), Some(()), "the rest runs on");
        });
    }
}

#[test]
fn joining_oneself_says_so() {
    run(|| {
        let own = Rc::new(Cell::new(None::<wouldblock::JoinHandle<()>>));
        let said = Rc::new(Cell::new(String::new()));
        let (handle, says) = (own.clone(), said.clone());
        own.set(Some(green::spawn(move || {
            let error = handle.take().unwrap().join().unwrap_err();
            assert!(!error.is_cancelled() && !error.is_panic());
            says.set(error.to_string());
        })));
        let_others_run();
        assert_contains(&said.take(), &["task 2 (green", "joins itself", "wait for ever"]);
    });
}

#[test]
fn the_result_is_given_once() {
    for era in ERAS {
        run(|| {
            let mut task = spawn_running(era, || 7);
            assert_eq!(green::wait(&mut task).unwrap(), 7);
            let error = green::wait(&mut task).unwrap_err();
            assert_contains(&error.to_string(), &["the result of task 2", "already taken"]);
            assert!(!error.is_cancelled() && !error.is_panic());
            assert!(task.join().is_err());
        });
    }
}

#[test]
fn a_handle_that_was_borrowed_to_a_wait_that_timed_out_still_has_the_result() {
    run(|| {
        let mut task = green::spawn(|| {
            green::sleep(2 * SECOND);
            7
        });
        assert!(green::timeout(SECOND, || green::wait(&mut task)).is_err());
        assert_eq!(task.join().unwrap(), 7);
    });
}

// Lost panics.

#[test]
fn a_panic_that_nobody_joins_is_logged_once_with_name_and_site() {
    for era in ERAS {
        let log = logged(|| {
            run(|| {
                let builder = task::Builder::new().name("lost");
                let task = match era {
                    Era::Generator => builder.spawn_generator(|_| panic!("no route")),
                    Era::Green => builder.spawn(|| panic!("no route")),
                    Era::Future => builder.spawn_future(async { panic!("no route") }),
                };
                drop::<wouldblock::JoinHandle<()>>(task);
                let_others_run();
            });
        });
        assert_eq!(log.len(), 1, "{log:?}");
        assert_eq!(log[0].0, log::Level::Error);
        let site = format!("task 2 \"lost\" ({era}, spawned at tests/it/panic.rs:");
        assert_contains(&log[0].1, &[&site, "panicked: no route", "no task joined it"]);
    }
}

#[test]
fn a_panic_is_lost_as_well_if_its_handle_is_dropped_later() {
    let log = logged(|| {
        run(|| {
            let task = green::spawn(|| panic!("no route"));
            let_others_run();
            drop::<wouldblock::JoinHandle<()>>(task);
        });
    });
    assert_eq!(log.len(), 1, "{log:?}");
    assert_contains(&log[0].1, &["panicked: no route"]);
}

#[test]
fn a_panic_is_lost_as_well_if_whoever_joins_is_cancelled() {
    let log = logged(|| {
        run(|| {
            let failing = green::spawn(|| {
                green::sleep(SECOND);
                panic!("no route")
            });
            let joiner = green::spawn(move || failing.join().map(|never: ()| never).is_ok());
            let_others_run();
            joiner.cancel();
            green::sleep(2 * SECOND);
        });
    });
    assert_eq!(log.len(), 1, "{log:?}");
}

#[test]
fn a_panic_that_is_joined_is_not_logged() {
    let log = logged(|| {
        run(|| {
            for era in ERAS {
                assert!(spawn_running(era, || panic!("expected")).join().is_err());
            }
        });
    });
    assert!(log.is_empty(), "{log:?}");
}

#[test]
fn a_result_that_nobody_wants_is_not_logged() {
    let log = logged(|| {
        run(|| {
            for era in ERAS {
                drop(spawn_running(era, || Err::<(), _>("an error that is a value")));
            }
            let_others_run();
        });
    });
    assert!(log.is_empty(), "{log:?}");
}

#[test]
fn a_panic_while_the_run_ends_is_logged() {
    let log = logged(|| {
        run(|| {
            drop(green::spawn(|| {
                green::finally(|| green::sleep(HOUR), || panic!("in the cleanup"));
            }));
            let_others_run();
        });
    });
    assert_eq!(log.len(), 1, "{log:?}");
    assert_contains(&log[0].1, &["panicked: in the cleanup"]);
}

// The root.

#[test]
fn a_panic_of_the_root_comes_out_of_run_with_its_payload() {
    let payload = caught(|| run(|| panic::panic_any(42_u8)));
    assert_eq!(payload.downcast_ref(), Some(&42_u8));
    assert_eq!(panic_text(|| wouldblock::run(|| panic!("of the root"))), "of the root");
}

#[test]
fn a_panic_of_the_root_comes_out_of_try_run_too() {
    let payload: Box<dyn Any + Send> =
        caught(|| Builder::new().try_run(|| panic::panic_any(42_u8)));
    assert_eq!(payload.downcast_ref(), Some(&42_u8));
}

#[test]
fn after_a_root_that_panicked_the_thread_can_run_again() {
    assert_eq!(panic_text(|| run(|| panic!("first"))), "first");
    assert_eq!(run(|| green::spawn(|| 7).join().unwrap()), 7);
}

#[test]
fn a_panicking_root_is_not_logged_as_lost() {
    let log = logged(|| drop(caught(|| run(|| panic!("of the root")))));
    assert!(log.is_empty(), "{log:?}");
}

#[test]
fn a_run_in_a_runs_destructors_after_a_panic_is_refused_with_a_word() {
    let ended = in_child(|| {
        let _guard = Defer(|| wouldblock::run(|| ()));
        panic!("the cause");
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["the cause", "wouldblock:", "aborting"]);
}

/// Neither std nor the crate can tell a panic hook from a destructor: the text is true for both.
#[test]
fn a_wait_in_a_panic_hook_is_refused_with_a_text_that_is_true_for_it() {
    let waits: [fn(); 3] = [
        || green::sleep(SECOND),
        || drop(green::spawn(|| green::sleep(SECOND)).join()),
        || {
            let mutex = wouldblock::sync::Mutex::new(());
            let _guard = mutex.lock();
            drop(mutex.lock());
        },
    ];
    for kind in ["0", "1", "2"] {
        let ended = util::in_child_with(&[("HOOK_THAT_WAITS", Some(kind))], || {
            let kind = std::env::var("HOOK_THAT_WAITS").unwrap();
            panic::set_hook(Box::new(move |_| waits[kind.parse::<usize>().unwrap()]()));
            run(|| {
                drop(task::Builder::new().name("hooked").spawn(|| panic!("the cause")).join());
            });
            unreachable!("it has aborted");
        });
        let text = &ended.stderr;
        assert_eq!(ended.status.code(), None, "aborted by a signal: {text}");
        assert_contains(text, &["\"hooked\"", "or in a panic hook", "In a panic hook, use"]);
    }
}

// Destructors that panic.

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

#[test]
fn the_destructor_of_an_unwanted_result_may_panic() {
    for era in ERAS {
        let hooked = util::panics_hooked(|| {
            run(|| {
                drop(spawn_running(era, || Bomb));
                let_others_run();
                assert_eq!(spawn_running(era, || 7).join().unwrap(), 7);
            });
        });
        assert_eq!(hooked, 1, "{era}: the hook has told of it");
    }
}

#[test]
fn the_destructor_of_a_result_panics_where_the_handle_is_dropped() {
    run(|| {
        let task = green::spawn(|| Bomb);
        let_others_run();
        assert_eq!(panic_text(|| drop(task)), "in a destructor");
    });
}

#[test]
fn the_destructor_of_a_captured_value_panics_as_its_task_does() {
    for era in ERAS {
        run(|| {
            let bomb = Bomb;
            let task = spawn_running(era, move || drop(bomb));
            let payload = task.join().unwrap_err().into_panic().unwrap();
            assert_eq!(text(&*payload), "in a destructor", "{era}");
        });
    }
}

#[test]
fn the_destructor_of_a_cancelled_future_panics_as_its_task_does() {
    run(|| {
        let task = spawn_waiting(Era::Future, time::sleeping(HOUR), Bomb);
        let_others_run();
        task.cancel();
        let payload = task.join().unwrap_err().into_panic().unwrap();
        assert_eq!(text(&*payload), "in a destructor");
    });
}

/// As with a thread, the first panic is the cause, and the one to be told.
#[test]
fn a_future_that_panics_and_whose_destructor_panics_gives_the_first_payload() {
    struct Panicking(#[allow(dead_code, reason = "dropped")] Bomb);
    impl Future for Panicking {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("of the poll")
        }
    }
    run(|| {
        let task = future::spawn(Panicking(Bomb));
        let payload = task.join().unwrap_err().into_panic().unwrap();
        assert_eq!(text(&*payload), "of the poll");
    });
}

#[test]
fn a_future_is_dropped_when_it_has_panicked_and_never_polled_again() {
    struct Once {
        polled: bool,
        _guard: util::AtDrop,
    }
    impl Future for Once {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            assert!(!std::mem::replace(&mut self.polled, true), "polled again");
            panic!("of the poll")
        }
    }
    run(|| {
        let trace = Trace::new();
        let task = future::spawn(Once { polled: false, _guard: trace.at_drop("dropped") });
        let payload = task.join().unwrap_err().into_panic().unwrap();
        assert_eq!(text(&*payload), "of the poll");
        assert_eq!(trace.take(), ["dropped"]);
    });
}

#[test]
fn a_task_may_catch_its_own_panic() {
    for era in ERAS {
        run(|| {
            let task = spawn_running(era, || {
                let caught = panic::catch_unwind(AssertUnwindSafe(|| {
                    green::sleep(SECOND);
                    panic!("expected")
                }));
                green::sleep(SECOND);
                text(&*caught.map(|never: ()| never).unwrap_err())
            });
            assert_eq!(task.join().unwrap(), "expected", "{era}");
        });
    }
}

#[test]
fn a_thousand_panics_leave_no_stack_behind() {
    run(|| {
        let before = wouldblock::stats().stacks_used;
        for _ in 0..1000 {
            assert!(
                green::spawn(|| panic::resume_unwind(Box::new(())))
                    .join()
                    .map(|never: ()| never)
                    .is_err()
            );
        }
        assert_eq!(wouldblock::stats().stacks_used, before);
    });
}

// What a wrong use says, and where.

/// `wrong` panics with a text that has `parts`, at its own line and not inside of the crate.
#[track_caller]
fn panics_at_its_line<T>(parts: &[&str], wrong: impl FnOnce() -> T) {
    let here = Location::caller();
    let mut text = String::new();
    let place = util::panic_place(|| text = panic_text(|| drop(wrong())));
    assert_contains(&text, parts);
    let (file, line) = place.expect("it has panicked");
    assert_eq!(file, here.file(), "{text}");
    let lines = here.line()..here.line() + 4;
    assert!(lines.contains(&line), "{text}: at line {line}, called at {}", here.line());
}

#[test]
fn what_needs_a_run_says_so_at_the_callers_line() {
    let outside = &["outside of a run: call it inside `wouldblock::run(|| ..)`"];
    panics_at_its_line(outside, || thread::spawn(|| ()));
    panics_at_its_line(outside, || thread::Builder::new().spawn(|| ()));
    panics_at_its_line(outside, || green::spawn(|| ()));
    panics_at_its_line(outside, || generator::spawn(|_| ()));
    panics_at_its_line(outside, || future::spawn(async {}));
    panics_at_its_line(outside, || Pool::new(1).reserve().spawn(|| ()));
    panics_at_its_line(outside, || Pool::new(1).map(0..1, |n| n));
    panics_at_its_line(outside, || Pool::new(1).mapping(0..1, |n| n));
    panics_at_its_line(outside, || Pool::new(1).imap(0..1, |n| n));
    panics_at_its_line(outside, || Pool::new(1).imap_unordered(0..1, |n| n));
    let no_task = &["outside of any task"];
    panics_at_its_line(no_task, || green::wait(offload(|| ())));
    panics_at_its_line(no_task, || green::sleep(MS));
    panics_at_its_line(no_task, || green::timeout(MS, || ()));
    panics_at_its_line(no_task, || {
        green::yield_now();
    });
    panics_at_its_line(no_task, || thread::scope(|_| ()));
    panics_at_its_line(no_task, || {
        thread::park();
    });
}

#[test]
fn what_is_given_wrong_values_says_so_at_the_callers_line() {
    panics_at_its_line(&["NUL", "a\\0"], || Pool::named("a\0", 1));
    panics_at_its_line(&["usize::MAX permits", "`release(1)`"], || {
        Semaphore::new(usize::MAX).release(1);
    });
    panics_at_its_line(&["a race of no tasks"], || wouldblock::group::race::<()>([]));
}

#[test]
fn a_run_inside_of_a_run_is_refused_at_the_callers_line() {
    run(|| {
        let inside = &["inside of", "this thread has a scheduler already"];
        panics_at_its_line(inside, || wouldblock::run(|| ()));
        panics_at_its_line(inside, || Builder::new().try_run(|| ()));
        panics_at_its_line(inside, || wouldblock::testing::explore(1, || ()));
        panics_at_its_line(inside, || Builder::new().build().unwrap().enter(|| ()));
    });
}

#[test]
fn a_run_that_the_system_refuses_an_event_queue_says_so_at_the_callers_line() {
    let refused = in_child(|| {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: lowers a limit of this process, and reads a struct on this stack.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &none) };
        panics_at_its_line(&["an event queue", "`ulimit -n`"], || wouldblock::run(|| ()));
    });
    refused.assert_fine();
}

#[test]
fn a_yield_where_a_generator_cannot_is_refused_at_the_callers_line() {
    run(|| {
        let body = |y: &generator::Yielder<wouldblock::Wait>| {
            let limit = &["a generator cannot yield inside of"];
            panics_at_its_line(limit, || green::timeout(SECOND, || y.yield_now()));
            panics_at_its_line(limit, || green::timeout(SECOND, || y.wait(time::sleeping(MS))));
            let poll = &["in the middle of an operation's poll"];
            panics_at_its_line(poll, || green::wait(async { y.yield_now() }));
        };
        generator::spawn(body).join().unwrap();
        let mut generator = generator::Generator::<i32>::new(|y: &generator::Yielder<i32>| {
            let limit = &["a generator cannot yield inside of"];
            panics_at_its_line(limit, || green::timeout(SECOND, || y.yield_(1)));
            panics_at_its_line(limit, || green::timeout(SECOND, || y.try_yield(1)));
        });
        generator.resume();
    });
}

#[test]
fn an_operation_that_is_polled_wrongly_says_where_it_was_made() {
    run(|| {
        let made = Location::caller().line() + 1;
        let mut work = offload(|| ());
        green::wait(&mut work);
        let text = panic_text(|| green::wait(&mut work));
        assert_contains(&text, &["polled again after it was ready", &place_of(made), "offload"]);
    });
    let made = Location::caller().line() + 1;
    let sleep = time::sleeping(SECOND);
    let text = panic_text(|| futures_lite::future::block_on(sleep));
    assert_contains(&text, &["on a thread without a scheduler", &place_of(made), "sleep"]);
}

fn place_of(line: u32) -> String {
    format!("tests/it/panic.rs:{line}:")
}

// At the end of a thread, where its thread-local values are dropped.

/// Calls a closure when the thread ends, after what the crate keeps for the thread is gone: it was there before.
fn at_the_end_of_a_thread(before: impl FnOnce() -> Box<dyn FnOnce()> + Send + 'static) {
    struct AtEnd(Option<Box<dyn FnOnce()>>);
    impl Drop for AtEnd {
        fn drop(&mut self) {
            self.0.take().expect("it is dropped once")();
        }
    }
    thread_local!(static AT_END: RefCell<AtEnd> = const { RefCell::new(AtEnd(None)) });
    let thread = std::thread::spawn(|| {
        AT_END.with_borrow(|_| ());
        let at_end = before();
        AT_END.with_borrow_mut(|kept| kept.0 = Some(at_end));
    });
    thread.join().unwrap();
}

#[test]
fn a_run_at_the_end_of_a_thread_panics_and_says_why() {
    let (tx, rx) = std::sync::mpsc::channel();
    at_the_end_of_a_thread(move || {
        run(|| ());
        Box::new(move || tx.send(panic_text(|| run(|| ()))).unwrap())
    });
    assert_contains(&rx.recv().unwrap(), &["no coroutine can start", "the thread is ending"]);
}

#[test]
fn a_runtime_that_is_driven_at_the_end_of_a_thread_counts_waits_and_reports_without_a_panic() {
    let (tx, rx) = std::sync::mpsc::channel();
    at_the_end_of_a_thread(move || {
        let runtime = Builder::new().build().unwrap();
        let mutex = Rc::new(wouldblock::sync::Mutex::new(()));
        let same = mutex.clone();
        let waits = runtime.enter(|| {
            green::spawn(move || {
                green::yield_now();
                drop(same.lock());
            })
        });
        assert!(runtime.turn());
        Box::new(move || {
            let guard = mutex.try_lock().unwrap();
            assert!(runtime.turn() && !runtime.turn());
            let seen =
                runtime.enter(|| (wouldblock::stats().alive, wouldblock::tasks().to_string()));
            drop(guard);
            assert!(runtime.turn());
            tx.send((seen, waits.is_finished(), runtime.enter(wouldblock::stats).panicked))
                .unwrap();
        })
    });
    let ((alive, table), finished, panicked) = rx.recv().unwrap();
    assert_eq!((alive, finished, panicked), (1, true, 0), "{table}");
    assert_contains(&table, &["waits for "]);
}
