//! Cancellation, time limits and cleanup: being unwound from where one waits, in all three eras.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::util::{
    self, Defer, ERAS, HOUR, MS, SECOND, Trace, in_child, let_others_run, logged, panic_text, run,
    run_in_order, spawn_running, spawn_waiting, text,
};
use wouldblock::generator::{Generator, Yielder};
use wouldblock::{Builder, Era, Wait, future, generator, green, group::gather, op, task, time};

// Stopping a task.

#[test]
fn a_waiting_task_ends_its_destructors_run_and_its_joiner_learns_of_it() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let task = spawn_waiting(era, time::sleeping(HOUR), trace.at_drop("dropped"));
            let_others_run();
            assert!(trace.take().is_empty(), "it waits");
            task.cancel();
            let error = task.join().unwrap_err();
            assert!(error.is_cancelled() && !error.is_panic(), "{error}");
            assert_eq!(trace.take(), ["dropped"], "{era}");
        });
    }
}

#[test]
fn no_time_passes() {
    for era in ERAS {
        run(|| {
            let start = time::now();
            let task = spawn_waiting(era, time::sleeping(HOUR), ());
            let_others_run();
            task.cancel();
            assert!(task.join().is_err());
            assert_eq!(time::now(), start, "{era}");
        });
    }
}

#[test]
fn the_error_names_the_task() {
    run(|| {
        let task = task::Builder::new().name("fetch").spawn(|| green::sleep(HOUR));
        task.cancel();
        let text = task.join().unwrap_err().to_string();
        util::assert_contains(
            &text,
            &["\"fetch\" (green, spawned at tests/it/cancel.rs:", "cancelled"],
        );
    });
}

#[test]
fn cancel_asks_and_does_not_wait() {
    run_in_order(|| {
        let task = spawn_waiting(Era::Green, time::sleeping(HOUR), ());
        green::yield_now();
        task.cancel();
        assert!(!task.is_finished());
        green::yield_now();
        assert!(task.is_finished());
    });
}

#[test]
fn before_its_first_turn_a_task_never_runs_and_drops_what_it_captured() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let (captured, began) = (trace.at_drop("captures dropped"), trace.clone());
            let body = move || {
                let _captured = &captured;
                began.say("began");
            };
            let task = spawn_running(era, body);
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            assert_eq!(trace.take(), ["captures dropped"], "{era}");
        });
    }
}

#[test]
fn a_task_that_is_done_keeps_its_result() {
    for era in ERAS {
        run(|| {
            let task = spawn_running(era, || 7);
            let_others_run();
            assert!(task.is_finished());
            task.cancel();
            assert_eq!(task.join().unwrap(), 7, "{era}");
        });
    }
}

#[test]
fn a_task_that_never_waits_again_keeps_its_result() {
    for era in ERAS {
        run_in_order(|| {
            let task = spawn_running(era, || {
                green::yield_now();
                7
            });
            green::yield_now();
            green::yield_now(); // Its last wait is over, its last turn is to come.
            task.cancel();
            assert_eq!(task.is_finished(), task.join().is_ok(), "{era}");
        });
    }
}

#[test]
fn an_operation_that_is_complete_wins() {
    for era in ERAS {
        run_in_order(|| {
            let soon = green::spawn(|| {
                green::yield_now();
                5
            });
            let waiter = spawn_waiting(era, soon, ());
            green::yield_now(); // `soon` yields, the waiter waits,
            green::yield_now(); // `soon` ends, and makes the waiter ready:
            waiter.cancel();
            let result = waiter.join().map(Result::unwrap);
            assert!(matches!(result, Ok(5)), "{era}: {result:?}");
        });
    }
}

#[test]
fn an_operation_that_is_complete_wins_also_inside_of_yield_from() {
    run_in_order(|| {
        let soon = green::spawn(|| {
            green::yield_now();
            5
        });
        let waiter = generator::spawn(move |y| {
            y.yield_from(Generator::new(|y: &Yielder<Wait>| {
                y.yield_from(Generator::new(|y: &Yielder<Wait>| y.wait(soon).unwrap()))
            }))
        });
        green::yield_now();
        green::yield_now();
        waiter.cancel();
        let result = waiter.join();
        assert!(matches!(result, Ok(5)), "{result:?}");
    });
}

#[test]
fn the_next_wait_after_a_completed_operation_is_cancelled() {
    run_in_order(|| {
        let soon = green::spawn(green::yield_now);
        let trace = Trace::new();
        let inside = trace.clone();
        let task = green::spawn(move || {
            soon.join().unwrap();
            inside.say("joined");
            green::sleep(MS);
            inside.say("not reached");
        });
        green::yield_now();
        green::yield_now();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(trace.take(), ["joined"]);
    });
}

#[test]
fn a_task_that_cancels_itself_ends_at_its_next_wait() {
    for era in ERAS {
        run(|| {
            let own = Rc::new(RefCell::new(None::<wouldblock::JoinHandle<()>>));
            let (handle, trace) = (own.clone(), Trace::new());
            let inside = trace.clone();
            let task = spawn_running(era, move || {
                handle.borrow().as_ref().unwrap().cancel();
                inside.say("still running");
                green::sleep(MS);
                inside.say("not reached");
            });
            *own.borrow_mut() = Some(task);
            let_others_run();
            let task = own.take().unwrap();
            assert!(task.is_finished(), "{era}");
            assert!(task.join().unwrap_err().is_cancelled(), "{era}");
            assert_eq!(trace.take(), ["still running"], "{era}");
        });
    }
}

#[test]
fn a_task_that_cancels_itself_and_does_not_wait_keeps_its_result() {
    for era in ERAS {
        run(|| {
            let own = Rc::new(RefCell::new(None::<wouldblock::JoinHandle<i32>>));
            let handle = own.clone();
            let task = spawn_running(era, move || {
                handle.borrow().as_ref().unwrap().cancel();
                3
            });
            *own.borrow_mut() = Some(task);
            let_others_run();
            assert_eq!(own.take().unwrap().join().unwrap(), 3, "{era}");
        });
    }
}

#[test]
fn cancelling_twice_is_cancelling_once() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let task = spawn_waiting(era, time::sleeping(HOUR), trace.at_drop("dropped"));
            let_others_run();
            task.cancel();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            assert_eq!(trace.take(), ["dropped"]);
        });
    }
}

#[test]
fn no_panic_hook_is_called() {
    for era in ERAS {
        let hooked = util::panics_hooked(|| {
            run(|| {
                let waiting = spawn_waiting(era, time::sleeping(HOUR), ());
                let_others_run();
                let unstarted = spawn_running(era, || ());
                for task in [unstarted, waiting] {
                    task.cancel();
                    assert!(task.join().unwrap_err().is_cancelled());
                }
                assert!(green::timeout(SECOND, || green::sleep(HOUR)).is_err());
                drop(spawn_waiting(era, pending::<()>(), ())); // left to the shutdown
                let_others_run();
            });
        });
        assert_eq!(hooked, 0, "{era}");
    }
}

#[test]
fn nothing_is_logged() {
    for era in ERAS {
        let log = logged(|| {
            run(|| {
                spawn_waiting(era, time::sleeping(HOUR), ()).cancel();
                drop(spawn_waiting(era, time::sleeping(HOUR), ()));
            });
        });
        assert!(log.is_empty(), "{log:?}");
    }
}

#[test]
fn the_stack_unwinds_from_the_innermost_call() {
    fn deeper(depth: u32, trace: &Trace) {
        let _guard = trace.at_drop(depth.to_string());
        match depth {
            0 => green::sleep(HOUR),
            _ => deeper(depth - 1, trace),
        }
    }
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let task = spawn_running(era, move || deeper(3, &inside));
            let_others_run();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            assert_eq!(trace.take(), ["0", "1", "2", "3"], "{era}");
        });
    }
}

#[test]
fn a_destructor_may_cancel_spawn_and_ask() {
    for era in ERAS {
        run(|| {
            let other = spawn_waiting(era, time::sleeping(HOUR), ());
            let trace = Trace::new();
            let inside = trace.clone();
            let held = Defer(move || {
                other.cancel();
                let said = inside.clone();
                drop(spawn_running(era, move || said.say("spawned in a destructor")));
                inside.say(format!("finished: {}", other.is_finished()));
            });
            let task = spawn_waiting(era, time::sleeping(HOUR), held);
            let_others_run();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            let_others_run();
            assert_eq!(trace.take(), ["finished: false", "spawned in a destructor"], "{era}");
        });
    }
}

#[test]
fn cancelling_one_who_joins_leaves_the_joined_task_alone() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let worker = spawn_running(era, move || {
                green::sleep(SECOND);
                inside.say("worked");
            });
            let joiner = spawn_waiting(era, worker, ());
            let_others_run();
            joiner.cancel();
            assert!(joiner.join().unwrap_err().is_cancelled());
            green::sleep(2 * SECOND);
            assert_eq!(trace.take(), ["worked"]);
        });
    }
}

#[test]
fn cancelling_one_who_gathers_leaves_the_tasks_alone() {
    run(|| {
        let done = Rc::new(Cell::new(0));
        let tasks = ERAS.map(|era| {
            let done = done.clone();
            spawn_running(era, move || {
                green::sleep(SECOND);
                done.set(done.get() + 1);
            })
        });
        let gatherer = green::spawn(move || green::wait(gather(tasks)).len());
        let_others_run();
        gatherer.cancel();
        assert!(gatherer.join().unwrap_err().is_cancelled());
        green::sleep(2 * SECOND);
        assert_eq!(done.get(), 3);
    });
}

#[test]
fn cancelling_one_who_offloads_does_not_wait_for_the_work() {
    for era in ERAS {
        Builder::new().run(|| {
            let (go, may_go) = std::sync::mpsc::channel::<()>();
            let work = wouldblock::offload(move || may_go.recv().is_ok());
            let task = spawn_waiting(era, work, ());
            let_others_run();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled(), "{era}");
            drop(go);
        });
    }
}

#[test]
fn cancelling_one_who_reads_a_socket_leaves_the_descriptor_usable() {
    use std::io::{Read, Write};
    use wouldblock::net::{TcpListener, TcpStream};
    for era in ERAS {
        wouldblock::run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            let reader = client.try_clone().unwrap();
            let task = spawn_running(era, move || (&reader).read(&mut [0; 8]));
            let_others_run();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled(), "{era}");
            server.write_all(b"hello").unwrap();
            let mut buf = [0; 5];
            (&client).read_exact(&mut buf).unwrap();
            assert_eq!(&buf, b"hello", "{era}");
        });
    }
}

// Swallowing it.

#[test]
fn the_next_wait_raises_it_again() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let task = spawn_running(era, move || {
                assert!(panic::catch_unwind(|| green::sleep(HOUR)).is_err());
                inside.say("swallowed");
                green::sleep(MS);
                inside.say("not reached");
            });
            let_others_run();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled(), "{era}");
            assert_eq!(trace.take(), ["swallowed"], "{era}");
        });
    }
}

#[test]
fn a_yield_raises_it_as_any_other_wait() {
    run(|| {
        for era in ERAS {
            let task = spawn_running(era, || {
                loop {
                    green::yield_now();
                }
            });
            let_others_run();
            task.cancel();
            let error: wouldblock::JoinError = task.join().map(|never: ()| never).unwrap_err();
            assert!(error.is_cancelled());
        }
    });
}

#[test]
fn a_generator_that_swallows_its_closing_is_closed_again_at_its_next_wait() {
    run(|| {
        let trace = Trace::new();
        let inside = trace.clone();
        let task = generator::spawn(move |y| {
            for _ in 0..3 {
                let wait = || y.wait(time::sleeping(HOUR));
                assert!(panic::catch_unwind(AssertUnwindSafe(wait)).is_err());
                inside.say("swallowed");
            }
            y.yield_now();
            inside.say("not reached");
        });
        let_others_run();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(trace.take(), ["swallowed"; 3]);
    });
}

#[test]
fn a_task_that_swallows_it_and_ends_has_a_result() {
    for era in ERAS {
        run(|| {
            let task = spawn_running(era, || {
                assert!(panic::catch_unwind(|| green::sleep(HOUR)).is_err());
                "none the less"
            });
            let_others_run();
            task.cancel();
            assert_eq!(task.join().unwrap(), "none the less", "{era}");
        });
    }
}

fn swallow_for_ever(era: Era) {
    let stubborn = task::Builder::new().name("stubborn");
    let swallow = || {
        while panic::catch_unwind(|| green::sleep(HOUR)).is_err() {}
    };
    run(|| {
        let task = match era {
            Era::Generator => stubborn.spawn_generator(|y| {
                let wait = || y.wait(time::sleeping(HOUR));
                while panic::catch_unwind(AssertUnwindSafe(wait)).is_err() {}
            }),
            Era::Green => stubborn.spawn(swallow),
            Era::Future => stubborn.spawn_future(async move { swallow() }),
        };
        let_others_run();
        task.cancel();
        drop(task.join());
    });
}

#[test]
fn a_time_limit_that_is_caught_for_ever_ends_the_process_and_is_named() {
    let ended = in_child(|| {
        run(|| {
            let limited = green::timeout(Duration::ZERO, || {
                while panic::catch_unwind(|| green::sleep(HOUR)).is_err() {}
            });
            assert!(limited.is_err());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["has caught the unwinding of a time limit", "1000 times", "resume_unwind"]);
}

#[track_caller]
fn assert_aborts_and_names(ended: &util::Ended, era: Era) {
    ended.assert_killed_by(libc::SIGABRT);
    let task = format!("wouldblock: task 2 \"stubborn\" ({era}, spawned at tests/it/cancel.rs:");
    ended.assert_says(&[&task, "caught its cancellation", "aborting", "resume_unwind"]);
}

#[test]
fn swallowing_it_for_ever_aborts_with_the_greenlets_name() {
    assert_aborts_and_names(&in_child(|| swallow_for_ever(Era::Green)), Era::Green);
}

#[test]
fn swallowing_it_for_ever_aborts_with_the_generators_name() {
    assert_aborts_and_names(&in_child(|| swallow_for_ever(Era::Generator)), Era::Generator);
}

#[test]
fn swallowing_it_for_ever_aborts_with_the_futures_name() {
    assert_aborts_and_names(&in_child(|| swallow_for_ever(Era::Future)), Era::Future);
}

#[test]
fn ignoring_being_closed_for_ever_aborts_with_the_generators_name() {
    let ended = in_child(|| {
        run(|| {
            let task = task::Builder::new().name("stubborn").spawn_generator(|y| {
                let mut sleeper = Generator::new(|y: &Yielder<_>| {
                    y.wait(time::sleeping(HOUR));
                });
                let wait: Wait = sleeper.next().unwrap();
                for _ in 0..1_000_000 {
                    assert!(y.try_yield(wait).is_err());
                }
                eprintln!("it has gone on a million times");
            });
            let_others_run();
            task.cancel();
            drop(task.join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&[
        "task 2 \"stubborn\" (generator, spawned at tests/it/cancel.rs:",
        "aborting",
    ]);
}

// Time limits.

#[test]
fn a_limit_ends_what_waits_too_long_and_the_task_goes_on() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let task = spawn_running(era, move || {
                let start = time::now();
                let result = green::timeout(SECOND, || {
                    let _guard = inside.at_drop("unwound");
                    green::sleep(HOUR);
                });
                assert_eq!(result.unwrap_err().to_string(), "timed out after 1s");
                assert_eq!(time::now() - start, SECOND);
                green::sleep(SECOND); // the limit is over
                time::now() - start
            });
            assert_eq!(task.join().unwrap(), 2 * SECOND, "{era}");
            assert_eq!(trace.take(), ["unwound"]);
        });
    }
}

#[test]
fn within_its_limit_a_body_gives_its_value() {
    run(|| {
        let result = green::timeout(2 * SECOND, || {
            green::sleep(SECOND);
            "in time"
        });
        assert_eq!(result, Ok("in time"));
        green::sleep(HOUR);
    });
}

#[test]
fn a_body_that_does_not_wait_is_not_stopped() {
    run(|| assert_eq!(green::timeout(Duration::ZERO, || 7), Ok(7)));
}

#[test]
fn an_operation_that_is_ready_wins_over_a_limit_that_has_passed() {
    run(|| {
        assert_eq!(green::timeout(Duration::ZERO, || green::wait(ready(7))), Ok(7));
        assert!(green::timeout(Duration::ZERO, green::yield_now).is_err());
    });
}

#[test]
fn a_limit_too_long_for_any_clock_is_none() {
    run(|| {
        for forever in [Duration::MAX, Duration::from_millis(u64::MAX), u32::MAX * HOUR] {
            let start = time::now();
            assert_eq!(green::timeout(forever, || green::sleep(SECOND)), Ok(()));
            assert_eq!(green::wait(op::timeout(forever, time::sleeping(SECOND))), Ok(()));
            assert_eq!(time::now() - start, 2 * SECOND);
        }
    });
}

#[test]
fn each_nested_limit_unwinds_to_its_own_boundary() {
    run(|| {
        let start = time::now();
        let since = || (time::now() - start).as_secs();
        let mut reached = Vec::new();
        let result = green::timeout(9 * SECOND, || {
            let result = green::timeout(5 * SECOND, || {
                let result = green::timeout(SECOND, || green::sleep(HOUR));
                reached.push(("inner", result.is_err(), since()));
                green::sleep(HOUR);
            });
            reached.push(("middle", result.is_err(), since()));
            green::sleep(HOUR);
        });
        reached.push(("outer", result.is_err(), since()));
        assert_eq!(reached, [("inner", true, 1), ("middle", true, 5), ("outer", true, 9)]);
    });
}

#[test]
fn an_outer_limit_that_is_shorter_passes_through_the_inner_ones() {
    run(|| {
        let start = time::now();
        let result = green::timeout(SECOND, || {
            let _ = green::timeout(HOUR, || green::timeout(2 * HOUR, || green::sleep(3 * HOUR)));
            unreachable!("the unwinding does not end at an inner limit");
        });
        assert!(result.is_err());
        assert_eq!(time::now() - start, SECOND);
    });
}

#[test]
fn of_limits_that_pass_together_the_outermost_ends_it() {
    run(|| {
        let result: Result<(), _> = green::timeout(SECOND, || {
            let _ = green::timeout(SECOND, || green::sleep(HOUR));
            unreachable!("the outer limit has passed as well");
        });
        assert!(result.is_err());
    });
}

#[test]
fn an_outer_limit_ends_a_loop_that_catches_inner_ones() {
    run(|| {
        let (start, mut caught) = (time::now(), 0);
        let result: Result<(), _> = green::timeout(10 * SECOND, || {
            loop {
                assert!(green::timeout(SECOND, || green::sleep(HOUR)).is_err());
                caught += 1;
            }
        });
        assert!(result.is_err());
        assert_eq!(caught, 9);
        assert_eq!(time::now() - start, 10 * SECOND);
    });
}

#[test]
fn an_outer_limit_ends_a_loop_that_is_busy() {
    Builder::new().run(|| {
        let result: Result<(), _> = green::timeout(10 * MS, || {
            loop {
                let _ = green::timeout(MS, || {
                    let until = Instant::now() + 2 * MS;
                    while Instant::now() < until {}
                    green::yield_now();
                });
            }
        });
        assert!(result.is_err());
    });
}

#[test]
fn a_limit_that_is_swallowed_is_raised_again() {
    run(|| {
        let mut swallowed = 0;
        let result = green::timeout(SECOND, || {
            for _ in 0..5 {
                assert!(panic::catch_unwind(|| green::sleep(HOUR)).is_err());
                swallowed += 1;
            }
            green::sleep(HOUR);
        });
        assert!(result.is_err());
        assert_eq!(swallowed, 5);
    });
}

#[test]
fn any_number_of_limits_may_pass_in_one_task() {
    let ended = in_child(|| {
        run(|| {
            for _ in 0..3000 {
                assert!(green::timeout(MS, || green::sleep(HOUR)).is_err());
            }
        });
    });
    ended.assert_fine();
}

#[test]
fn a_cancellation_passes_through_limits_to_the_root() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let task = spawn_running(era, move || {
                let result = green::timeout(HOUR, || green::sleep(2 * HOUR));
                inside.say(format!("not reached: {result:?}"));
            });
            let_others_run();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            assert!(trace.take().is_empty(), "{era}");
        });
    }
}

#[test]
fn a_panic_passes_through_a_limit() {
    run(|| {
        let text = panic_text(|| {
            let _: Result<(), _> = green::timeout(SECOND, || panic!("of the body"));
        });
        assert_eq!(text, "of the body");
        green::sleep(HOUR);
    });
}

#[test]
fn a_limit_on_an_operation_works_with_each_verb() {
    run(|| {
        let slow = || op::timeout(SECOND, time::sleeping(HOUR));
        let quick = || op::timeout(HOUR, time::sleeping(SECOND));
        for era in ERAS {
            assert!(spawn_waiting(era, slow(), ()).join().unwrap().is_err(), "{era}");
            assert!(spawn_waiting(era, quick(), ()).join().unwrap().is_ok(), "{era}");
        }
    });
}

#[test]
fn an_operation_past_its_limit_is_dropped() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let guard = trace.at_drop("dropped");
            let operation = async move {
                let _guard = guard;
                pending::<()>().await;
            };
            let limited = spawn_waiting(era, op::timeout(SECOND, operation), ());
            assert!(limited.join().unwrap().is_err());
            assert_eq!(trace.take(), ["dropped"], "{era}");
        });
    }
}

#[test]
fn limits_of_two_tasks_do_not_mix() {
    run(|| {
        let short = green::spawn(|| green::timeout(SECOND, || green::sleep(HOUR)).is_err());
        let long = green::spawn(|| green::timeout(3 * SECOND, || green::sleep(2 * SECOND)).is_ok());
        let none = green::spawn(|| green::sleep(4 * SECOND));
        assert!(short.join().unwrap() && long.join().unwrap());
        none.join().unwrap();
    });
}

#[test]
fn a_limit_outside_of_any_task_panics_as_documented() {
    let text = panic_text(|| assert_eq!(green::timeout(SECOND, || ()), Ok(())));
    util::assert_contains(&text, &["outside of any task"]);
}

// Cleanup that waits.

#[test]
fn finally_runs_its_cleanup_after_a_value() {
    run(|| {
        let trace = Trace::new();
        let value = green::finally(
            || {
                trace.say("body");
                7
            },
            || trace.say("cleanup"),
        );
        assert_eq!((value, trace.take()), (7, vec!["body".to_owned(), "cleanup".to_owned()]));
    });
}

#[test]
fn finally_runs_its_cleanup_after_a_panic_which_then_goes_on() {
    run(|| {
        let start = time::now();
        let text = panic_text(|| {
            green::finally(|| panic!("of the body"), || green::sleep(SECOND));
        });
        assert_eq!(text, "of the body");
        assert_eq!(time::now() - start, SECOND, "the cleanup has waited");
    });
}

#[test]
fn finally_runs_its_cleanup_to_its_end_when_cancelled() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let task = match era {
                Era::Generator => generator::spawn(move |y| {
                    green::finally(
                        || y.wait(time::sleeping(HOUR)),
                        || {
                            inside.say("cleaning up");
                            y.wait(time::sleeping(SECOND));
                            inside.say("clean");
                        },
                    );
                    y.yield_now();
                    inside.say("not reached");
                }),
                _ => spawn_running(era, move || {
                    green::finally(
                        || green::sleep(HOUR),
                        || {
                            inside.say("cleaning up");
                            green::sleep(SECOND);
                            inside.say("clean");
                        },
                    );
                    green::yield_now();
                    inside.say("not reached");
                }),
            };
            let_others_run();
            let start = time::now();
            task.cancel();
            let_others_run();
            task.cancel(); // in the middle of the cleanup
            assert!(task.join().unwrap_err().is_cancelled());
            assert_eq!(time::now() - start, SECOND);
            assert_eq!(trace.take(), ["cleaning up", "clean"], "{era}");
        });
    }
}

#[test]
fn cleanup_is_not_cut_short_by_a_limit_around_it() {
    run(|| {
        let start = time::now();
        let result = green::timeout(SECOND, || {
            green::finally(|| green::sleep(HOUR), || green::sleep(5 * SECOND));
        });
        assert!(result.is_err());
        assert_eq!(time::now() - start, 6 * SECOND);
    });
}

/// trio's idiom for a polite goodbye: `move_on_after(1, shield=True)`.
#[test]
fn a_limit_inside_of_cleanup_holds() {
    run(|| {
        let limited = Rc::new(Cell::new(None));
        let inside = limited.clone();
        let task = green::spawn(move || {
            green::finally(
                || green::sleep(HOUR),
                || inside.set(Some(green::timeout(SECOND, || green::sleep(HOUR)).is_err())),
            );
        });
        let_others_run();
        let start = time::now();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(limited.get(), Some(true));
        assert_eq!(time::now() - start, SECOND);
    });
}

#[test]
fn a_panic_of_the_cleanup_is_the_one_that_goes_on() {
    run(|| {
        let text = panic_text(|| green::finally(|| panic!("body"), || panic!("cleanup")));
        assert_eq!(text, "cleanup");
        let task = green::spawn(|| green::finally(|| green::sleep(HOUR), || panic!("cleanup")));
        let_others_run();
        task.cancel();
        let error = task.join().unwrap_err();
        assert_eq!(text, util::text(&*error.into_panic().unwrap()));
    });
}

#[test]
fn nested_cleanups_run_from_the_inside_out() {
    run(|| {
        let trace = Trace::new();
        let inside = trace.clone();
        let task = green::spawn(move || {
            let cleanup = |what: &'static str| {
                let trace = inside.clone();
                move || {
                    green::sleep(SECOND);
                    trace.say(what);
                }
            };
            green::finally(
                || green::finally(|| green::sleep(HOUR), cleanup("inner")),
                || green::finally(cleanup("outer"), cleanup("last")),
            );
        });
        let_others_run();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(trace.take(), ["inner", "outer", "last"]);
    });
}

// Destructors.

#[test]
fn waiting_in_a_destructor_while_unwinding_aborts_with_the_tasks_name() {
    let ended = in_child(|| {
        run(|| {
            let task = task::Builder::new().name("careless").spawn(|| {
                let _guard = Defer(|| green::sleep(SECOND));
                green::sleep(HOUR);
            });
            let_others_run();
            task.cancel();
            drop(task.join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&[
        "wouldblock: task 2 \"careless\" (green, spawned at tests/it/cancel.rs:",
        "wait in a destructor while its stack unwinds",
        "green::finally",
    ]);
}

#[test]
fn waiting_in_a_destructor_of_a_closing_generator_aborts_with_the_tasks_name() {
    let ended = in_child(|| {
        run(|| {
            let task = task::Builder::new().name("careless").spawn_generator(|y| {
                let _guard = Defer(|| y.wait(time::sleeping(SECOND)));
                y.wait(time::sleeping(HOUR));
            });
            let_others_run();
            task.cancel();
            drop(task.join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["task 2 \"careless\" (generator, spawned at", "green::finally"]);
}

#[test]
fn waiting_in_a_destructor_during_a_panic_aborts_with_the_tasks_name() {
    let ended = in_child(|| {
        run(|| {
            let task = task::Builder::new().name("careless").spawn(|| {
                let _guard = Defer(green::yield_now);
                panic!("the cause");
            });
            drop(task.join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["the cause", "task 2 \"careless\" (green", "aborting"]);
}

#[test]
fn opening_a_scope_while_unwinding_aborts_with_the_tasks_name() {
    let ended = in_child(|| {
        run(|| {
            let _guard = Defer(|| green::scope(|_| ()));
            panic!("the cause");
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["the cause", "task 1 \"root\" (green", "aborting"]);
}

#[test]
fn what_is_ready_may_be_waited_for_in_a_destructor() {
    run(|| {
        let trace = Trace::new();
        let inside = trace.clone();
        let task = green::spawn(move || {
            let done = green::spawn(|| 7);
            let_others_run();
            let mut done = Some(done);
            let _guard = Defer(move || {
                let result = done.take().unwrap().join().unwrap();
                inside.say(format!("joined {result}"));
            });
            green::sleep(HOUR);
        });
        green::sleep(SECOND);
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(trace.take(), ["joined 7"]);
    });
}

/// A future is dropped without unwinding, so that its destructors are unwound instead, one by one.
#[test]
fn a_wait_in_the_destructor_of_a_cancelled_future_is_cancelled_too() {
    run(|| {
        let trace = Trace::new();
        let (said, other) = (trace.clone(), trace.at_drop("the other destructor"));
        let held = (
            Defer(move || {
                said.say("waiting");
                green::sleep(SECOND);
                said.say("not reached");
            }),
            other,
        );
        let task = spawn_waiting(Era::Future, time::sleeping(HOUR), held);
        let_others_run();
        let start = time::now();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(trace.take(), ["waiting", "the other destructor"]);
        assert_eq!(time::now(), start);
    });
}

// The end of a run.

#[test]
fn what_is_left_when_the_root_returns_is_cancelled_newest_first() {
    for era in ERAS {
        let trace = Trace::new();
        wouldblock::run(|| {
            for name in ["oldest", "middle", "newest"] {
                drop(spawn_waiting(era, time::sleeping(HOUR), trace.at_drop(name)));
            }
            let_others_run();
        });
        assert_eq!(trace.take(), ["newest", "middle", "oldest"], "{era}");
    }
}

#[test]
fn virtual_time_does_not_pass_when_the_root_returns() {
    for era in ERAS.repeat(100) {
        let trace = Trace::new();
        run(|| {
            let inside = trace.clone();
            drop(spawn_running(era, move || {
                green::sleep(HOUR);
                inside.say("slept for an hour that nobody waited for");
            }));
            let_others_run();
        });
        assert!(trace.take().is_empty(), "{era}");
    }
}

#[test]
fn a_task_that_has_not_begun_when_the_root_returns_never_begins() {
    for era in ERAS {
        let trace = Trace::new();
        run_in_order(|| {
            for name in ["older", "newer"] {
                let (began, guard) = (trace.clone(), trace.at_drop(name));
                drop(spawn_running(era, move || {
                    let _guard = guard;
                    began.say("began");
                }));
            }
        });
        assert_eq!(trace.take(), ["newer", "older"], "{era}");
    }
}

#[test]
fn cleanup_is_waited_for_when_the_root_returns() {
    let trace = Trace::new();
    run(|| {
        for name in ["older", "newer"] {
            let trace = trace.clone();
            drop(green::spawn(move || {
                green::finally(
                    || green::sleep(HOUR),
                    || {
                        green::sleep(SECOND);
                        trace.say(name);
                    },
                );
            }));
        }
        let_others_run();
    });
    let mut said = trace.take();
    said.sort();
    assert_eq!(said, ["newer", "older"]);
}

/// A future is dropped; of the other two, the stack is unwound, where a panic would abort.
#[test]
fn spawning_in_a_destructor_when_the_root_has_returned_begins_nothing() {
    const REFUSED: &str = "spawn after the root has returned: the run is ending";
    for era in ERAS {
        let trace = Trace::new();
        let kept = Rc::new(Cell::new(None));
        run(|| {
            let (inside, keep) = (trace.clone(), kept.clone());
            let held = Defer(move || {
                let begun = inside.clone();
                let spawn = || spawn_running(era, move || begun.say("it has begun"));
                match era {
                    Era::Future => inside.say(panic_text(spawn)),
                    _ => keep.set(Some(spawn())),
                }
            });
            drop(spawn_waiting(era, time::sleeping(HOUR), held));
            let_others_run();
        });
        match era {
            Era::Future => assert_eq!(trace.take(), [REFUSED]),
            _ => assert!(trace.take().is_empty(), "{era}"),
        }
        assert!(kept.take().is_none_or(|task| task.is_finished()), "{era}");
    }
}

#[test]
fn a_task_may_join_another_while_both_are_being_cancelled() {
    let trace = Trace::new();
    run(|| {
        let worker = spawn_waiting(Era::Green, time::sleeping(HOUR), trace.at_drop("worker"));
        let inside = trace.clone();
        drop(green::spawn(move || {
            let mut worker = Some(worker);
            green::finally(
                || green::sleep(HOUR),
                || {
                    let worker = worker.take().unwrap();
                    worker.cancel();
                    inside.say(format!("cancelled: {}", worker.join().unwrap_err().is_cancelled()));
                },
            );
        }));
        let_others_run();
    });
    assert_eq!(trace.take(), ["worker", "cancelled: true"]);
}

#[test]
fn a_root_that_panics_cancels_what_is_left_and_then_panics() {
    let trace = Trace::new();
    let text = panic_text(|| {
        run(|| {
            for era in ERAS {
                drop(spawn_waiting(era, time::sleeping(HOUR), trace.at_drop(era.to_string())));
            }
            let_others_run();
            panic!("of the root");
        });
    });
    assert_eq!(text, "of the root");
    assert_eq!(trace.take(), ["future", "green", "generator"]);
}

// Across runtimes.

#[test]
fn cancelling_from_inside_another_runtime_reaches_the_tasks_own() {
    let runtime = || Builder::new().virtual_clock().build().unwrap();
    let (home, other) = (runtime(), runtime());
    let trace = Trace::new();
    let task = home.enter(|| spawn_waiting(Era::Green, pending::<()>(), trace.at_drop("ended")));
    assert!(home.turn());
    let (neighbour, its_task) = other.enter(|| {
        task.cancel();
        let trace = Trace::new();
        (trace.clone(), spawn_waiting(Era::Green, time::sleeping(SECOND), trace.at_drop("woke")))
    });
    while other.turn() {}
    assert!(trace.take().is_empty(), "the other runtime does not run what is not its own");
    assert_eq!((neighbour.take(), its_task.is_finished()), (vec!["woke".to_owned()], true));
    while home.turn() {}
    assert_eq!(trace.take(), ["ended"]);
    assert!(task.is_finished());
    drop((task, its_task));
}

#[test]
fn dropping_a_runtime_cancels_its_tasks_newest_first() {
    let runtime = Builder::new().build().unwrap();
    let trace = Trace::new();
    runtime.enter(|| {
        for era in ERAS {
            drop(spawn_waiting(era, time::sleeping(HOUR), trace.at_drop(era.to_string())));
        }
    });
    for _ in ERAS {
        runtime.turn();
    }
    drop(runtime);
    assert_eq!(trace.take(), ["future", "green", "generator"]);
}

#[test]
fn an_async_fn_is_dropped_where_it_awaits() {
    run(|| {
        let trace = Trace::new();
        let inside = trace.clone();
        let task = future::spawn(async move {
            let _outer = inside.at_drop("outer");
            async {
                let _inner = inside.at_drop("inner");
                poll_fn(|_| Poll::<()>::Pending).await;
            }
            .await;
        });
        let_others_run();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(trace.take(), ["inner", "outer"]);
    });
}

#[test]
fn the_payload_of_a_cancellation_is_not_text() {
    run(|| {
        let seen = Rc::new(Cell::new(None));
        let inside = seen.clone();
        let task = green::spawn(move || {
            let payload = panic::catch_unwind(|| green::sleep(HOUR)).unwrap_err();
            inside.set(Some(panic::catch_unwind(AssertUnwindSafe(|| text(&*payload))).is_err()));
            panic::resume_unwind(payload);
        });
        let_others_run();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(seen.get(), Some(true));
    });
}

/// The older task's destructor ends the newer one's cleanup.
#[test]
fn a_cleanup_that_yields_does_not_keep_the_others_from_their_end() {
    run(|| {
        let is_over = Rc::new(Cell::new(false));
        let over = is_over.clone();
        drop(green::spawn(move || {
            let _end = Defer(|| over.set(true));
            green::sleep(HOUR);
        }));
        drop(green::spawn(move || {
            let cleanup = || {
                while !is_over.get() {
                    green::yield_now();
                }
            };
            green::finally(|| green::sleep(HOUR), cleanup);
        }));
        let_others_run();
    });
}
