//! Scopes: tasks that borrow, in the green era and in the async one.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::util::{
    self, Defer, ERAS, HOUR, MS, SECOND, Trace, assert_contains, caught, in_child, let_others_run,
    logged, panic_text, run, run_in_order, spawn_running, text,
};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use wouldblock::{Builder, future, generator, green, op, task, testing::explore, time};

// The green scope.

#[test]
fn its_tasks_borrow_and_are_joined() {
    run(|| {
        let words = vec!["a".to_owned(), "few".to_owned(), "words".to_owned()];
        let total = Cell::new(0);
        let longest = green::scope(|s| {
            for word in &words {
                let _detached = s.spawn(|| {
                    green::sleep(SECOND);
                    total.set(total.get() + word.len());
                });
            }
            let longest = s.spawn(|| words.iter().max_by_key(|word| word.len()).unwrap());
            longest.join().unwrap()
        });
        assert_eq!((total.get(), longest.as_str()), (9, "words"));
    });
}

#[test]
fn a_mutable_borrow_comes_back() {
    run(|| {
        let mut numbers = [1, 2, 3];
        green::scope(|s| {
            for n in &mut numbers {
                drop(s.spawn(move || {
                    green::yield_now();
                    *n *= 10;
                }));
            }
        });
        numbers[0] += 1;
        assert_eq!(numbers, [11, 20, 30]);
    });
}

#[test]
fn it_waits_for_tasks_that_nobody_joins() {
    for era in ERAS {
        run(|| {
            let task = spawn_running(era, || {
                let start = time::now();
                green::scope(|s| drop(s.spawn(|| green::sleep(HOUR))));
                time::now() - start
            });
            assert_eq!(task.join().unwrap(), HOUR, "{era}");
        });
    }
}

#[test]
fn an_empty_one_is_over_at_once() {
    run_in_order(|| assert_eq!(green::scope(|_| 7), 7));
}

#[test]
fn they_nest() {
    run(|| {
        let trace = Trace::new();
        let outer_name = "outer".to_owned();
        green::scope(|outer| {
            drop(outer.spawn(|| {
                let inner_name = format!("inner of {outer_name}");
                green::scope(|inner| {
                    drop(inner.spawn(|| {
                        green::sleep(SECOND);
                        trace.say(inner_name.as_str());
                    }));
                });
                trace.say(outer_name.as_str());
            }));
        });
        assert_eq!(trace.take(), ["inner of outer", "outer"]);
    });
}

#[test]
fn a_task_of_it_may_spawn_into_it() {
    run(|| {
        let count = Cell::new(0);
        green::scope(|s| {
            drop(s.spawn(|| {
                for _ in 0..3 {
                    drop(s.spawn(|| {
                        green::sleep(SECOND);
                        count.set(count.get() + 1);
                    }));
                }
            }));
        });
        assert_eq!(count.get(), 3);
    });
}

#[test]
fn a_thousand_tasks_share_a_borrow() {
    run(|| {
        let hits = Cell::new(0);
        green::scope(|s| {
            for n in 0..1000 {
                let hits = &hits;
                drop(s.spawn(move || {
                    green::sleep(MS * (n % 7));
                    hits.set(hits.get() + 1);
                }));
            }
        });
        assert_eq!(hits.get(), 1000);
    });
}

#[test]
fn the_spawn_site_is_the_users_line() {
    run(|| {
        green::scope(|s| {
            let site = s.spawn(|| task::current().unwrap().spawned_at());
            let line = line!() - 1;
            let site = site.join().unwrap();
            assert_eq!((site.file(), site.line()), (file!(), line));
        });
    });
}

#[test]
fn a_panic_that_nobody_joins_comes_out_of_the_scope() {
    let log = logged(|| {
        run(|| {
            let text = panic_text(|| {
                green::scope(|s| drop(s.spawn(|| panic!("of a child"))));
            });
            assert_eq!(text, "a scoped task panicked");
        });
    });
    assert!(log.iter().any(|(_, text)| text.contains("panicked: of a child")), "{log:?}");
}

#[test]
fn a_panic_that_is_joined_stays_in_the_scope() {
    let log = logged(|| {
        run(|| {
            green::scope(|s| {
                let error = s.spawn(|| panic!("of a child")).join().map(|(): ()| ()).unwrap_err();
                assert_eq!(text(&*error.into_panic().unwrap()), "of a child");
            });
        });
    });
    assert!(log.is_empty(), "{log:?}");
}

#[test]
fn a_panic_of_one_task_leaves_the_others_alone() {
    run(|| {
        let worked = Cell::new(false);
        caught(|| {
            green::scope(|s| {
                s.spawn(|| panic!("of a child"));
                drop(s.spawn(|| {
                    green::sleep(SECOND);
                    worked.set(true);
                }));
            });
        });
        assert!(worked.get());
    });
}

#[test]
fn a_body_that_panics_ends_its_tasks_before_the_panic_goes_on() {
    run(|| {
        let trace = Trace::new();
        let text = panic_text(|| {
            let _outside = trace.at_drop("the frame around the scope");
            green::scope(|s| {
                for name in ["first", "second"] {
                    let trace = &trace;
                    drop(s.spawn(move || {
                        let _guard = trace.at_drop(name);
                        green::sleep(HOUR);
                        trace.say("not reached");
                    }));
                }
                let_others_run();
                panic!("of the body");
            });
        });
        assert_eq!(text, "of the body");
        let mut said = trace.take();
        assert_eq!(said.pop().as_deref(), Some("the frame around the scope"));
        said.sort();
        assert_eq!(said, ["first", "second"]);
    });
}

#[test]
fn a_body_that_panics_never_begins_tasks_that_have_not_begun() {
    run(|| {
        let trace = Trace::new();
        caught(|| {
            green::scope(|s| {
                s.spawn(|| trace.say("began"));
                panic!("of the body");
            });
        });
        assert!(trace.take().is_empty());
    });
}

#[test]
fn cancelling_its_task_cancels_its_tasks_and_waits_for_their_cleanup() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let task = spawn_running(era, move || {
                let borrowed = inside.at_drop("borrowed");
                green::scope(|s| {
                    drop(s.spawn(|| {
                        let _borrow = &borrowed;
                        green::finally(
                            || green::sleep(HOUR),
                            || {
                                green::sleep(SECOND);
                                inside.say("cleaned up");
                            },
                        );
                    }));
                });
                inside.say("not reached");
            });
            let_others_run();
            let start = time::now();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            assert_eq!(trace.take(), ["cleaned up", "borrowed"], "{era}");
            assert_eq!(time::now() - start, SECOND);
        });
    }
}

#[test]
fn a_limit_around_it_cancels_its_tasks() {
    run(|| {
        let trace = Trace::new();
        let start = time::now();
        let result = green::timeout(SECOND, || {
            green::scope(|s| {
                drop(s.spawn(|| {
                    let _guard = trace.at_drop("child");
                    green::sleep(HOUR);
                }));
            });
            trace.say("not reached");
        });
        assert!(result.is_err());
        assert_eq!(trace.take(), ["child"]);
        assert_eq!(time::now() - start, SECOND);
        green::sleep(HOUR);
    });
}

#[test]
fn a_limit_inside_a_task_of_it_is_that_tasks_own() {
    run(|| {
        let (inner, other) = green::scope(|s| {
            let inner = s.spawn(|| green::timeout(SECOND, || green::sleep(HOUR)).is_err());
            let other = s.spawn(|| green::sleep(2 * SECOND));
            (inner.join().unwrap(), other.join().is_ok())
        });
        assert!(inner && other);
    });
}

/// The limit holds for the task that set it; its children know of it by being cancelled.
#[test]
fn an_outer_limit_reaches_tasks_through_two_scopes() {
    run(|| {
        let trace = Trace::new();
        let result = green::timeout(SECOND, || {
            green::scope(|outer| {
                drop(outer.spawn(|| {
                    green::scope(|inner| {
                        drop(inner.spawn(|| {
                            let _guard = trace.at_drop("innermost");
                            green::sleep(HOUR);
                        }));
                    });
                }));
            });
        });
        assert!(result.is_err());
        assert_eq!(trace.take(), ["innermost"]);
    });
}

#[test]
fn cancel_stops_its_tasks_and_those_to_come() {
    run(|| {
        let trace = Trace::new();
        green::scope(|s| {
            let waiting = s.spawn(|| {
                let _guard = trace.at_drop("stopped");
                green::sleep(HOUR);
            });
            let_others_run();
            s.cancel();
            let late = s.spawn(|| trace.say("not reached"));
            assert!(waiting.join().unwrap_err().is_cancelled());
            assert!(late.join().unwrap_err().is_cancelled());
        });
        assert_eq!(trace.take(), ["stopped"]);
        green::sleep(SECOND); // The task that opened it is not cancelled.
    });
}

#[test]
fn a_task_of_it_may_cancel_it() {
    run(|| {
        let start = time::now();
        green::scope(|s| {
            s.spawn(|| green::sleep(HOUR));
            drop(s.spawn(|| {
                green::sleep(SECOND);
                s.cancel();
            }));
        });
        assert_eq!(time::now() - start, SECOND);
    });
}

#[test]
fn one_task_of_it_may_be_cancelled() {
    run(|| {
        green::scope(|s| {
            let stopped = s.spawn(|| green::sleep(HOUR));
            let other = s.spawn(|| 7);
            stopped.cancel();
            assert!(stopped.join().unwrap_err().is_cancelled());
            assert_eq!(other.join().unwrap(), 7);
        });
    });
}

#[test]
fn the_result_of_a_task_that_nobody_joins_is_dropped_inside() {
    run(|| {
        let trace = Trace::new();
        green::scope(|s| {
            s.spawn(|| trace.at_drop("result"));
            let_others_run();
            assert_eq!(trace.take(), ["result"]);
            let kept = s.spawn(|| trace.at_drop("kept"));
            let_others_run();
            assert!(trace.take().is_empty() && kept.is_finished());
        });
        assert_eq!(trace.take(), ["kept"]);
    });
}

#[test]
fn what_the_body_returned_is_not_dropped_before_its_tasks_have_ended() {
    // The destructor leaves the scope by a panic, or by the unwinding of a wait: both while tasks borrow.
    for unwind in [|| panic!("in a destructor"), || green::sleep(SECOND)] {
        let ended = Rc::new(Cell::new(false));
        run(|| {
            let task = green::spawn({
                let ended = ended.clone();
                move || {
                    let inside = Cell::new(0);
                    let scope = || {
                        green::scope(|s| {
                            inside.set(1);
                            let child = s.spawn(|| {
                                green::finally(|| green::sleep(HOUR), || inside.set(0));
                            });
                            drop(child);
                            Defer(unwind)
                        })
                    };
                    drop(panic::catch_unwind(panic::AssertUnwindSafe(scope)));
                    ended.set(inside.get() == 0);
                }
            });
            let_others_run();
            task.cancel();
            drop(task.join());
        });
        assert!(ended.get(), "the scope was left while its task ran");
    }
}

#[test]
fn a_result_may_borrow_what_the_scope_borrows() {
    run(|| {
        let text = "one two three".to_owned();
        let last = green::scope(|s| {
            s.spawn(|| {
                green::yield_now();
                text.rsplit(' ').next().unwrap()
            })
            .join()
            .unwrap()
        });
        assert_eq!(last, "three");
    });
}

#[test]
fn a_task_that_joins_itself_through_its_scope_gets_an_error() {
    run(|| {
        let said = RefCell::new(String::new());
        green::scope(|s| {
            let own = Rc::new(Cell::new(None));
            let (handle, said) = (own.clone(), &said);
            own.set(Some(s.spawn(move || {
                let own: green::ScopedJoinHandle<'_, ()> = handle.take().unwrap();
                *said.borrow_mut() = own.join().unwrap_err().to_string();
            })));
        });
        assert_contains(&said.borrow(), &["joins itself"]);
    });
}

#[test]
fn outside_of_any_task_it_panics_clearly() {
    let text = panic_text(|| green::scope(|_| ()));
    assert_eq!(text, "a scope outside of any task: call it inside `wouldblock::run(|| ..)`");
}

#[test]
fn a_body_that_swallows_a_limit_is_unwound_when_the_scope_ends() {
    run(|| {
        let trace = Trace::new();
        let result = green::timeout(SECOND, || {
            green::scope(|s| {
                drop(s.spawn(|| {
                    let _guard = trace.at_drop("child");
                    green::sleep(2 * HOUR);
                }));
                assert!(panic::catch_unwind(|| green::sleep(HOUR)).is_err());
            });
        });
        assert!(result.is_err());
        assert_eq!(trace.take(), ["child"]);
    });
}

#[test]
fn it_opens_inside_a_generator_as_well() {
    run(|| {
        let task = generator::spawn(|y| {
            let words = ["a", "few", "words"];
            let total = green::scope(|s| {
                let tasks = words.map(|word| s.spawn(move || word.len()));
                tasks.into_iter().map(|task| task.join().unwrap()).sum::<usize>()
            });
            y.yield_now();
            total
        });
        assert_eq!(task.join().unwrap(), 9);
    });
}

#[test]
fn a_scope_in_a_run_that_ends_is_ended_from_the_inside_out() {
    let trace = Trace::new();
    run(|| {
        let trace = trace.clone();
        drop(green::spawn(move || {
            let borrowed = trace.at_drop("outside");
            green::scope(|s| {
                drop(s.spawn(|| {
                    let _borrow = &borrowed;
                    let _guard = trace.at_drop("inside");
                    green::sleep(HOUR);
                }));
            });
        }));
        let_others_run();
    });
    assert_eq!(trace.take(), ["inside", "outside"]);
}

// The async scope.

#[test]
fn futures_borrow_and_are_awaited() {
    run(|| {
        let words = ["a", "few", "words"];
        let total = green::wait(future::scope(async |s| {
            let tasks: Vec<_> = words
                .iter()
                .map(|word| {
                    s.spawn_future(async move {
                        time::sleeping(SECOND).await;
                        word.len()
                    })
                })
                .collect();
            let mut total = 0;
            for task in tasks {
                total += task.await;
            }
            total
        }));
        assert_eq!(total, 9);
    });
}

#[test]
fn each_era_waits_for_an_async_scope() {
    for era in ERAS {
        run(|| {
            let scope = future::scope(async |s: &future::Scope<'static>| {
                let a = s.spawn_future(async {
                    time::sleeping(SECOND).await;
                    1
                });
                let b = s.spawn_future(async { 2 });
                a.await + b.await
            });
            let start = time::now();
            assert_eq!(util::spawn_waiting(era, scope, ()).join().unwrap(), 3, "{era}");
            assert_eq!(time::now() - start, SECOND);
        });
    }
}

#[test]
fn it_waits_for_children_that_nobody_awaits() {
    run(|| {
        let count = Cell::new(0);
        let start = time::now();
        green::wait(future::scope(async |s| {
            for n in 1..=3 {
                let count = &count;
                drop(s.spawn_future(async move {
                    time::sleeping(n * SECOND).await;
                    count.set(count.get() + 1);
                }));
            }
        }));
        assert_eq!((count.get(), time::now() - start), (3, 3 * SECOND));
    });
}

#[test]
fn a_thousand_children_run_interleaved() {
    run(|| {
        let (hits, start) = (Cell::new(0_u32), time::now());
        let sum = green::wait(future::scope(async |s| {
            let children: Vec<_> = (0..1000_u32)
                .map(|n| {
                    let hits = &hits;
                    s.spawn_future(async move {
                        time::sleeping(MS * (n % 10)).await;
                        hits.set(hits.get() + 1);
                        n
                    })
                })
                .collect();
            let mut sum = 0;
            for child in children {
                sum += child.await;
            }
            sum
        }));
        assert_eq!((hits.get(), sum, time::now() - start), (1000, 499_500, 9 * MS));
    });
}

#[test]
fn children_may_spawn_from_a_scope_within() {
    run(|| {
        let base = 10;
        let total = green::wait(future::scope(async |outer| {
            let child = outer.spawn_future(async {
                future::scope(async |inner| {
                    let a = inner.spawn_future(async {
                        time::sleeping(SECOND).await;
                        base + 1
                    });
                    a.await
                })
                .await
            });
            child.await + base
        }));
        assert_eq!(total, 21);
    });
}

#[test]
fn a_child_that_panics_panics_the_scope_and_drops_the_others() {
    run(|| {
        let trace = Trace::new();
        let text = panic_text(|| {
            green::wait(future::scope(async |s| {
                let guard = trace.at_drop("sibling");
                drop(s.spawn_future(async move {
                    let _guard = guard;
                    pending::<()>().await;
                }));
                drop(s.spawn_future(async {
                    time::sleeping(SECOND).await;
                    panic!("of a child");
                }));
                let _guard = trace.at_drop("body");
                pending::<()>().await;
            }));
        });
        assert_eq!(text, "of a child");
        let mut said = trace.take();
        said.sort();
        assert_eq!(said, ["body", "sibling"]);
    });
}

#[test]
fn a_body_that_panics_drops_the_children() {
    run(|| {
        let trace = Trace::new();
        let text = panic_text(|| {
            green::wait(future::scope(async |s| {
                let guard = trace.at_drop("child");
                drop(s.spawn_future(async move {
                    let _guard = guard;
                    pending::<()>().await;
                }));
                time::sleeping(SECOND).await;
                panic!("of the body");
            }));
        });
        assert_eq!(text, "of the body");
        assert_eq!(trace.take(), ["child"]);
    });
}

#[test]
fn cancelling_its_task_drops_body_and_children() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let (body, child) = (trace.at_drop("body"), trace.at_drop("child"));
            let scope = future::scope(async move |s: &future::Scope<'static>| {
                let _body = body;
                drop(s.spawn_future(async move {
                    let _child = child;
                    pending::<()>().await;
                }));
                pending::<()>().await;
            });
            let task = util::spawn_waiting(era, scope, ());
            let_others_run();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            let mut said = trace.take();
            said.sort();
            assert_eq!(said, ["body", "child"], "{era}");
        });
    }
}

#[test]
fn a_limit_on_it_drops_body_and_children() {
    run(|| {
        let trace = Trace::new();
        let scope = future::scope(async |s| {
            let guard = trace.at_drop("child");
            drop(s.spawn_future(async move {
                let _guard = guard;
                time::sleeping(HOUR).await;
            }));
        });
        assert!(green::wait(op::timeout(SECOND, scope)).is_err());
        assert_eq!(trace.take(), ["child"]);
    });
}

#[test]
fn a_child_whose_result_nobody_wants_drops_it() {
    run(|| {
        let trace = Trace::new();
        green::wait(future::scope(async |s| {
            s.spawn_future(async { trace.at_drop("result") });
        }));
        assert_eq!(trace.take(), ["result"]);
    });
}

#[test]
fn a_child_is_dropped_as_soon_as_it_is_done() {
    run(|| {
        let trace = Trace::new();
        green::wait(future::scope(async |s| {
            let guard = trace.at_drop("child");
            s.spawn_future(async move {
                let _guard = guard;
                time::sleeping(SECOND).await;
            })
            .await;
            time::sleeping(SECOND).await;
            trace.say("body");
        }));
        assert_eq!(trace.take(), ["child", "body"]);
    });
}

/// Children are kept in the scope's own future: whoever forgets that forgets them too, so that nothing
/// ever looks at what they borrow.
#[test]
fn forgetting_it_half_way_is_sound() {
    run(|| {
        let polled = Cell::new(0);
        {
            let borrowed = Cell::new(7);
            let scope = Box::pin(future::scope(async |s| {
                drop(s.spawn_future(async {
                    loop {
                        polled.set(polled.get() + 1);
                        assert_eq!(borrowed.get(), 7);
                        time::sleeping(SECOND).await;
                    }
                }));
                pending::<()>().await;
            }));
            let mut scope = scope;
            let begun = poll_fn(|cx| Poll::Ready(scope.as_mut().poll(cx).is_pending()));
            assert!(green::wait(begun));
            std::mem::forget(scope);
            borrowed.set(8);
        }
        green::sleep(HOUR);
        assert_eq!(polled.get(), 1);
    });
}

#[test]
fn it_may_be_polled_with_any_waker() {
    run(|| {
        let scope = pin!(future::scope(async |s| {
            let child = s.spawn_future(async { 7 });
            child.await
        }));
        let mut scope = scope;
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(scope.as_mut().poll(&mut cx), Poll::Ready(7));
    });
}

#[test]
fn a_child_that_yields_lets_other_tasks_run() {
    run(|| {
        let turns = Rc::new(Cell::new(0));
        let counted = turns.clone();
        let other = green::spawn(move || {
            loop {
                counted.set(counted.get() + 1);
                green::yield_now();
            }
        });
        let seen = green::wait(future::scope(async |s| {
            let child = s.spawn_future(async {
                for _ in 0..100 {
                    future::yield_now().await;
                }
                turns.get()
            });
            child.await
        }));
        other.cancel();
        let _never: wouldblock::JoinError = other.join().map(|never: ()| never).unwrap_err();
        assert!(seen > 0, "a hundred yields of a child, and nobody else had a turn");
    });
}

#[test]
fn children_that_yield_take_turns() {
    run(|| {
        let trace = Trace::new();
        green::wait(future::scope(async |s| {
            for name in ["a", "b"] {
                let trace = trace.clone();
                drop(s.spawn_future(async move {
                    for step in 1..=2 {
                        trace.say(format!("{name}{step}"));
                        future::yield_now().await;
                    }
                }));
            }
        }));
        assert_eq!(trace.take(), ["a1", "b1", "a2", "b2"]);
    });
}

#[test]
fn a_child_is_polled_once_however_often_it_was_woken() {
    run(|| {
        let (polls, waker) = (Cell::new(0), RefCell::new(None::<Waker>));
        let child = poll_fn(|cx| {
            *waker.borrow_mut() = Some(cx.waker().clone());
            polls.set(polls.get() + 1);
            if polls.get() < 4 { Poll::Pending } else { Poll::Ready(()) }
        });
        green::wait(future::scope(async |s| {
            let child = s.spawn_future(child);
            future::yield_now().await;
            for polled in 2..=4 {
                let waker = waker.borrow().clone().unwrap();
                (0..10).for_each(|_| waker.wake_by_ref());
                future::yield_now().await;
                future::yield_now().await;
                assert_eq!(polls.get(), polled);
            }
            child.await;
        }));
    });
}

#[test]
fn a_waker_of_a_child_that_is_done_wakes_no_other_child() {
    run(|| {
        let (polls, waker, own) = (Cell::new(0), RefCell::new(None::<Waker>), RefCell::default());
        green::wait(future::scope(async |s| {
            let first = poll_fn(|cx| {
                *waker.borrow_mut() = Some(cx.waker().clone());
                cx.waker().wake_by_ref(); // It is due once more when it is done.
                Poll::Ready(())
            });
            s.spawn_future(first).await;
            let second = s.spawn_future(poll_fn(|cx| {
                *own.borrow_mut() = Some(cx.waker().clone());
                polls.set(polls.get() + 1);
                if polls.get() == 1 { Poll::Pending } else { Poll::Ready(()) }
            }));
            for _ in 0..5 {
                future::yield_now().await;
                waker.borrow().as_ref().unwrap().wake_by_ref();
            }
            assert_eq!(polls.get(), 1);
            own.borrow_mut().take().unwrap().wake();
            second.await;
        }));
    });
}

#[test]
fn a_scope_is_polled_no_oftener_for_the_scopes_around_it() {
    type Boxed<'a> = LocalBoxFuture<'a, ()>;
    fn within(scopes: usize, future: Boxed<'_>) -> Boxed<'_> {
        match scopes {
            0 => future,
            _ => within(
                scopes - 1,
                future::scope(async |s| s.spawn_future(future).await).boxed_local(),
            ),
        }
    }
    let polls_within = |scopes| {
        run_in_order(|| {
            let (polls, over) = (Cell::new(0), Rc::new(Cell::new(false)));
            let ends = over.clone();
            let other = green::spawn(move || {
                (0..5).for_each(|_| green::yield_now());
                ends.set(true);
            });
            let mut inner = future::scope(async |s| {
                s.spawn_future(async {
                    while !over.get() {
                        future::yield_now().await;
                    }
                });
            })
            .boxed_local();
            let counted = poll_fn(|cx| {
                polls.set(polls.get() + 1);
                inner.as_mut().poll(cx)
            });
            green::wait(within(scopes, counted.boxed_local()));
            other.join().unwrap();
            polls.get()
        })
    };
    let alone = polls_within(0);
    for scopes in [1, 2, 4, 8] {
        let polls = polls_within(scopes);
        assert!(polls <= alone + 1, "{polls} polls within {scopes} scopes, {alone} within none");
    }
}

#[test]
fn a_child_may_wait_the_green_way() {
    run(|| {
        let start = time::now();
        let total = green::wait(future::scope(async |s| {
            let blocking = s.spawn_future(async {
                green::sleep(SECOND);
                1
            });
            let awaiting = s.spawn_future(async {
                time::sleeping(SECOND).await;
                2
            });
            blocking.await + awaiting.await
        }));
        assert_eq!(total, 3);
        assert!(time::now() - start <= 2 * SECOND);
    });
}

#[test]
fn a_child_joins_tasks_of_the_run() {
    run(|| {
        let base = 10;
        let sum = green::wait(future::scope(async |s| {
            let children = [1, 2, 3].map(|n| {
                s.spawn_future(async move {
                    let task = green::spawn(move || {
                        green::sleep(SECOND);
                        n
                    });
                    task.await.unwrap() + base
                })
            });
            let mut sum = 0;
            for child in children {
                sum += child.await;
            }
            sum
        }));
        assert_eq!(sum, 36);
    });
}

// Scopes whose tasks fail together.

#[test]
fn an_error_may_be_of_any_lifetime() {
    fn push(numbers: &mut Vec<i32>) -> Result<(), &'static str> {
        green::try_scope(|s| {
            s.spawn(|| {
                numbers.push(1);
                Err::<(), _>("static")
            });
            Ok(())
        })
    }
    fn first<'a>(text: &'a str, numbers: &mut Vec<i32>) -> Result<(), &'a str> {
        green::try_scope(|s| {
            s.spawn(|| {
                numbers.push(2);
                Err::<(), _>(text)
            });
            Ok(())
        })
    }
    async fn push_async(numbers: &mut Vec<i32>) -> Result<(), &'static str> {
        future::try_scope(async |s| {
            s.spawn_future(async {
                numbers.push(3);
                Err::<(), _>("static")
            });
            Ok(())
        })
        .await
    }
    run(|| {
        let mut numbers = Vec::new();
        assert_eq!(push(&mut numbers), Err("static"));
        assert_eq!(first("borrowed", &mut numbers), Err("borrowed"));
        assert_eq!(green::wait(push_async(&mut numbers)), Err("static"));
        assert_eq!(numbers, [1, 2, 3]);
    });
}

#[test]
fn tasks_that_succeed_borrow_and_the_value_of_the_body_is_returned() {
    run(|| {
        let mut numbers = [1, 2, 3];
        let sum = green::try_scope(|s| {
            let tasks: Vec<_> = numbers
                .iter_mut()
                .map(|n| {
                    s.spawn(move || {
                        green::sleep(SECOND);
                        *n *= 10;
                        Ok(*n)
                    })
                })
                .collect();
            Ok::<i32, &str>(tasks.into_iter().map(|task| task.join().unwrap()).sum())
        });
        assert_eq!((sum, numbers), (Ok(60), [10, 20, 30]));

        let sum = green::wait(future::try_scope(async |s| {
            let tasks: Vec<_> = numbers
                .iter()
                .map(|n| {
                    s.spawn_future(async move {
                        time::sleeping(SECOND).await;
                        Ok(*n)
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await;
            }
            Ok::<i32, &str>(sum)
        }));
        assert_eq!(sum, Ok(60));
    });
}

#[test]
fn the_first_error_ends_the_other_tasks_and_the_body_before_it_is_returned() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let task = spawn_running(era, move || {
                let (trace, start) = (inside, time::now());
                let borrowed = trace.at_drop("borrowed");
                let result = green::try_scope(|s| {
                    s.spawn(|| {
                        let _borrow = &borrowed;
                        green::finally(|| green::sleep(HOUR), || green::sleep(SECOND));
                        Ok(())
                    });
                    s.spawn(|| {
                        let _guard = (trace.at_drop("sibling"), &borrowed);
                        green::finally(
                            || green::sleep(HOUR),
                            || {
                                green::sleep(SECOND);
                                trace.say("sibling cleaned up");
                            },
                        );
                        Ok(())
                    });
                    s.spawn(|| {
                        green::sleep(SECOND);
                        Err::<(), _>("of a task")
                    });
                    let _guard = trace.at_drop("body");
                    green::sleep(HOUR);
                    trace.say("not reached");
                    Ok(())
                });
                assert_eq!((result, time::now() - start), (Err("of a task"), 2 * SECOND));
                trace.say("returned");
                green::sleep(HOUR); // The task itself was not cancelled.
            });
            task.join().unwrap();
            let expected = ["body", "sibling cleaned up", "sibling", "returned", "borrowed"];
            assert_eq!(trace.take(), expected, "{era}");
        });
    }
}

#[test]
fn the_first_error_of_a_future_drops_the_others_and_the_body_before_it_is_returned() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let operation = async move {
                let trace = inside;
                let borrowed = trace.at_drop("borrowed");
                let borrow = &borrowed;
                let result = future::try_scope(async |s| {
                    let guard = trace.at_drop("sibling");
                    s.spawn_future(async move {
                        let _guard = (guard, borrow);
                        pending::<Result<(), _>>().await
                    });
                    let fails = s.spawn_future(async {
                        time::sleeping(SECOND).await;
                        Err::<(), _>("of a task")
                    });
                    let _guard = trace.at_drop("body");
                    fails.await;
                    trace.say("not reached");
                    Ok(())
                });
                assert_eq!(result.await, Err("of a task"));
                trace.say("returned");
            };
            util::spawn_waiting(era, operation, ()).join().unwrap();
            let said = trace.take();
            assert_eq!(said[2..], ["returned", "borrowed"], "{era}: {said:?}");
            assert!(said[..2].contains(&"sibling".into()), "{era}: {said:?}");
        });
    }
}

#[test]
fn a_body_that_fails_ends_its_tasks() {
    run(|| {
        let trace = Trace::new();
        let result: Result<(), _> = green::try_scope(|s| {
            s.spawn(|| {
                let _guard = trace.at_drop("child");
                green::sleep(HOUR);
                Ok(())
            });
            green::sleep(SECOND); // the child has begun
            Err("of the body")
        });
        assert_eq!((result, trace.take()), (Err("of the body"), vec!["child".into()]));

        let result: Result<(), _> = green::wait(future::try_scope(async |s| {
            let guard = trace.at_drop("child");
            s.spawn_future(async move {
                let _guard = guard;
                pending::<Result<(), _>>().await
            });
            time::sleeping(SECOND).await;
            Err("of the body")
        }));
        assert_eq!((result, trace.take()), (Err("of the body"), vec!["child".into()]));
    });
}

#[test]
fn an_error_after_the_body_has_returned_is_the_result() {
    run(|| {
        let result = green::try_scope(|s| {
            s.spawn(|| {
                green::sleep(SECOND);
                Err::<(), _>("late")
            });
            Ok(7)
        });
        assert_eq!(result, Err("late"));
        let result = green::wait(future::try_scope(async |s| {
            s.spawn_future(async {
                time::sleeping(SECOND).await;
                Err::<(), _>("late")
            });
            Ok(7)
        }));
        assert_eq!(result, Err("late"));
    });
}

#[test]
fn errors_after_the_first_are_dropped() {
    run_in_order(|| {
        let trace = Trace::new();
        let result: Result<(), _> = green::try_scope(|s| {
            for name in ["first", "second", "third"] {
                let error = trace.at_drop(name);
                s.spawn(|| {
                    green::yield_now();
                    Err::<(), _>(error)
                });
            }
            green::sleep(HOUR);
            Ok(())
        });
        assert_eq!(trace.take(), ["second", "third"]);
        drop(result.unwrap_err());
        assert_eq!(trace.take(), ["first"]);
    });
}

#[test]
fn a_failed_task_is_one_that_was_cancelled_for_its_siblings() {
    run_in_order(|| {
        let seen = Cell::new(false);
        let result = green::try_scope(|s| {
            let fails = s.spawn(|| {
                green::yield_now();
                Err::<(), _>("of a task")
            });
            s.spawn(|| {
                green::finally(
                    || green::sleep(HOUR),
                    || seen.set(fails.join().unwrap_err().is_cancelled()),
                );
                Ok(())
            });
            green::yield_now();
            Ok(())
        });
        assert_eq!((result, seen.get()), (Err("of a task"), true));
    });
}

#[test]
fn a_task_that_is_added_after_an_error_does_not_begin() {
    run(|| {
        let began = Cell::new(false);
        let result = green::try_scope(|s| {
            s.spawn(|| Err::<(), _>("of a task"));
            green::finally(
                || green::sleep(HOUR),
                || {
                    s.spawn(|| {
                        began.set(true);
                        Ok(())
                    });
                },
            );
            Ok(())
        });
        assert_eq!((result, began.get()), (Err("of a task"), false));
    });
}

#[test]
fn a_panic_of_a_task_ends_the_others_and_comes_out_joined_or_not_and_after_an_error() {
    for (joined, error_first) in [(false, false), (true, false), (false, true)] {
        let log = logged(|| {
            run_in_order(|| {
                let trace = Trace::new();
                let text = panic_text(|| {
                    green::try_scope(|s| {
                        s.spawn(|| {
                            let _guard = trace.at_drop("sibling");
                            green::sleep(HOUR);
                            Ok(())
                        });
                        if error_first {
                            s.spawn(|| {
                                green::yield_now();
                                Err::<(), _>("of a child")
                            });
                        }
                        let panics = s.spawn(|| -> Result<(), &str> {
                            green::yield_now();
                            panic!("of a child")
                        });
                        if joined {
                            assert!(panics.join().unwrap_err().is_panic());
                        }
                        green::sleep(HOUR);
                        Ok(())
                    })
                    .unwrap();
                });
                assert_eq!(text, "a scoped task panicked");
                assert_eq!(trace.take(), ["sibling"]);
            });
        });
        assert_eq!(log.len(), usize::from(!joined), "{log:?}");
    }
}

#[test]
fn a_panic_of_the_body_or_of_a_future_comes_out() {
    run(|| {
        let trace = Trace::new();
        let text = panic_text(|| {
            green::try_scope(|s| {
                s.spawn(|| {
                    let _guard = trace.at_drop("child");
                    green::sleep(HOUR);
                    Err::<(), _>("never")
                });
                green::sleep(SECOND); // the child has begun
                if true {
                    panic!("of the body");
                }
                Ok(())
            })
            .unwrap();
        });
        assert_eq!((text.as_str(), trace.take()), ("of the body", vec!["child".into()]));
        let text = panic_text(|| {
            green::wait(future::try_scope(async |s| {
                s.spawn_future(async {
                    if true { panic!("of a child") } else { Err::<(), _>("never") }
                });
                Ok(())
            }))
            .unwrap();
        });
        assert_eq!(text, "of a child");
    });
}

#[test]
fn a_scope_whose_tasks_fail_together_is_cancelled_from_outside_with_all_of_them() {
    for is_async in [false, true] {
        for limited in [false, true] {
            run(|| {
                let trace = Trace::new();
                let inside = trace.clone();
                let body = move || {
                    let trace = inside;
                    let borrowed = trace.at_drop("borrowed");
                    let result: Result<(), &str> = match is_async {
                        false => green::try_scope(|s| {
                            s.spawn(|| {
                                let _guard = (trace.at_drop("child"), &borrowed);
                                green::sleep(HOUR);
                                Ok(())
                            });
                            Ok(())
                        }),
                        true => green::wait(future::try_scope(async |s| {
                            let guard = (trace.at_drop("child"), &borrowed);
                            s.spawn_future(async move {
                                let _guard = guard;
                                pending::<Result<(), _>>().await
                            });
                            Ok(())
                        })),
                    };
                    unreachable!("{result:?}");
                };
                match limited {
                    true => assert!(green::timeout(SECOND, body).is_err()),
                    false => {
                        let task = green::spawn(body);
                        let_others_run();
                        task.cancel();
                        assert!(task.join().unwrap_err().is_cancelled());
                    }
                }
                assert_eq!(trace.take(), ["child", "borrowed"], "{is_async} {limited}");
                green::sleep(HOUR);
            });
        }
    }
}

#[test]
fn cancel_ends_the_tasks_of_a_scope_that_fail_together_and_is_no_failure() {
    run(|| {
        let result = green::try_scope(|s| {
            let task = s.spawn(|| {
                green::sleep(HOUR);
                Err::<(), _>("never")
            });
            green::yield_now();
            s.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            Ok(7)
        });
        assert_eq!(result, Ok(7));
    });
}

#[test]
fn whatever_the_order_nothing_of_a_scope_that_fails_together_outlives_it() {
    explore(100, || {
        let alive = Cell::new(0);
        let result: Result<(), u32> = green::try_scope(|s| {
            for n in 0..4 {
                let alive = &alive;
                s.spawn(move || {
                    alive.set(alive.get() + 1);
                    let _gone = Defer(|| alive.set(alive.get() - 1));
                    for _ in 0..n {
                        green::yield_now();
                    }
                    s.spawn(|| {
                        alive.set(alive.get() + 1);
                        let _gone = Defer(|| alive.set(alive.get() - 1));
                        green::sleep(HOUR);
                        Ok(())
                    });
                    if n % 2 == 1 { Err(n) } else { Ok(()) }
                });
            }
            green::sleep(HOUR);
            Ok(())
        });
        assert!(matches!(result, Err(1 | 3)), "{result:?}");
        assert_eq!(alive.get(), 0);
    });
}

#[test]
fn a_generator_cannot_yield_inside_of_a_scope_whose_tasks_fail_together() {
    run(|| {
        let task = generator::spawn(|y| {
            green::try_scope(|_| {
                y.wait(time::sleeping(SECOND));
                Ok::<_, &str>(())
            })
        });
        let payload = task.join().unwrap_err().into_panic().unwrap();
        assert_contains(&text(&*payload), &["`green::try_scope`"]);
    });
}

// Tasks that have no stack to run on.

/// Leaves this process so little address space that 64 MiB more fit.
fn limit_address_space() {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
    let bytes = pages * 4096 + (64 << 20);
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: lowers a limit of this process, and reads a struct on this stack.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

/// Runs `body` where there are stacks for some sixty tasks, and no more fit into the address space.
fn with_few_stacks(body: impl FnOnce()) {
    Builder::new().virtual_clock().watchdog(None).stack_size(256 << 20).run(|| {
        limit_address_space();
        body();
    });
}

/// Each poll needs a stack; where it finds none, the future is dropped unfinished.
#[test]
fn a_future_without_a_stack_for_a_later_poll_fails_its_scope() {
    in_child(|| {
        logged(|| {
            with_few_stacks(|| {
                let failed = panic_text(|| {
                    green::try_scope(|s| {
                        let task = s.spawn_future(async {
                            time::sleeping(SECOND).await;
                            Ok::<_, String>(())
                        });
                        green::yield_now(); // Its first poll had a stack.
                        // This one waits in the middle of a poll, and keeps the stack of the polls.
                        drop(future::spawn(async { green::sleep(HOUR) }));
                        (0..100).for_each(|_| drop(green::spawn(|| green::sleep(HOUR))));
                        drop(task);
                        green::sleep(2 * SECOND);
                        Ok::<_, String>(())
                    })
                });
                assert_contains(&failed, &["stack"]);
            });
        });
    })
    .assert_fine();
}

#[test]
fn a_task_without_a_stack_that_is_joined_is_seen_and_the_scope_returns() {
    in_child(|| {
        let log = logged(|| {
            with_few_stacks(|| {
                let failed = green::scope(|s| {
                    let tasks: Vec<_> =
                        (0..100).map(|_| s.spawn(|| green::sleep(SECOND))).collect();
                    let errors = tasks.into_iter().filter_map(|task| task.join().err());
                    errors.inspect(|e| assert_contains(&e.to_string(), &["could not run"])).count()
                });
                assert!((1..100).contains(&failed), "{failed}");
                // Those that are cancelled before they begin have no stack either.
                green::scope(|s| {
                    let tasks: Vec<_> =
                        (0..100).map(|_| s.spawn(|| green::sleep(SECOND))).collect();
                    s.cancel();
                    assert!(tasks.into_iter().all(|task| task.join().is_err()));
                });
            });
        });
        assert!(log.is_empty(), "{log:?}");
    })
    .assert_fine();
}

#[test]
fn a_task_without_a_stack_that_nobody_joins_panics_the_scope() {
    in_child(|| {
        with_few_stacks(|| {
            let ended = Cell::new(0);
            let text = panic_text(|| {
                green::scope(|s| {
                    for _ in 0..100 {
                        s.spawn(|| {
                            green::sleep(SECOND);
                            ended.set(ended.get() + 1);
                        });
                    }
                });
            });
            assert_eq!(text, "a scoped task had no stack to run on");
            assert!(ended.get() > 0, "the others went on");
        });
    })
    .assert_fine();
}

#[test]
fn a_task_without_a_stack_ends_those_that_it_fails_together_with() {
    in_child(|| {
        with_few_stacks(|| {
            let start = time::now();
            let text = panic_text(|| {
                let result: Result<(), &str> = green::try_scope(|s| {
                    for _ in 0..100 {
                        s.spawn(|| {
                            green::sleep(HOUR);
                            Ok(())
                        });
                    }
                    green::sleep(HOUR);
                    Ok(())
                });
                unreachable!("{result:?}");
            });
            assert_eq!(text, "a scoped task had no stack to run on");
            assert_eq!(time::now(), start);
        });
    })
    .assert_fine();
}

/// A runtime may be driven in a destructor while its thread unwinds: the tasks there fail as elsewhere.
#[test]
fn a_task_without_a_stack_fails_its_scope_on_a_panicking_thread_too() {
    in_child(|| {
        let builder = Builder::new().virtual_clock().watchdog(None).stack_size(1 << 30);
        let runtime = builder.build().unwrap();
        limit_address_space();
        let text = Rc::new(Cell::default());
        caught(|| {
            let _driven = Defer(|| {
                let small = task::Builder::new().stack_size(64 << 10);
                let text = text.clone();
                let failed = || panic_text(|| green::scope(|s| drop(s.spawn(|| ()))));
                let task = runtime.enter(|| small.spawn(move || text.set(failed())));
                runtime.run_until(|| task.is_finished()).unwrap();
            });
            panic!("boom");
        });
        assert_eq!(text.take(), "a scoped task had no stack to run on");
    })
    .assert_fine();
}
