//! Generators and futures that borrow: the children of a green scope that are not greenlets.

use std::cell::Cell;
use std::future::pending;

use crate::util::*;
use wouldblock::time::{now, sleeping};
use wouldblock::{Builder, Era, green, task};

#[test]
fn children_of_all_eras_borrow_and_give_their_values() {
    run(|| {
        let words = [String::from("a"), String::from("few"), String::from("words")];
        let era = || task::current().unwrap().era();
        let start = now();
        let (lengths, eras) = green::scope(|s| {
            let tasks = [
                s.spawn(|| {
                    green::sleep(SECOND);
                    (words[0].len(), era())
                }),
                s.spawn_generator(|y| {
                    y.wait(sleeping(2 * SECOND));
                    (words[1].len(), era())
                }),
                s.spawn_future(async {
                    sleeping(3 * SECOND).await;
                    (words[2].len(), era())
                }),
            ];
            let (lengths, eras): (Vec<_>, Vec<_>) =
                tasks.into_iter().map(|task| task.join().unwrap()).unzip();
            (lengths, eras)
        });
        assert_eq!(lengths, [1, 3, 5]);
        assert_eq!(eras, [Era::Green, Era::Generator, Era::Future]);
        assert_eq!(now() - start, 3 * SECOND);
    });
}

#[test]
fn a_child_is_waited_for_in_each_era() {
    run(|| {
        let seven = 7;
        let sum = green::scope(|s| {
            let child = || s.spawn_future(async { sleeping(SECOND).await });
            let (a, b) = (child(), child());
            let waits = s.spawn_generator(move |y| y.wait(a).map(|()| seven));
            let awaits = s.spawn_future(async move { b.await.map(|()| seven) });
            waits.join().unwrap().unwrap() + awaits.join().unwrap().unwrap()
        });
        assert_eq!(sum, 14);
    });
}

#[test]
fn a_scope_waits_for_children_of_all_eras_that_are_not_joined() {
    run(|| {
        let ended = Cell::new(0);
        let end = || ended.set(ended.get() + 1);
        green::scope(|s| {
            s.spawn_generator(|y| {
                y.wait(sleeping(SECOND));
                end();
            });
            s.spawn_future(async {
                sleeping(SECOND).await;
                end();
            });
        });
        assert_eq!(ended.get(), 2);
    });
}

/// What a child owns is dropped, with what it borrows still there, before the scope ends: cancelled where it waits,
/// before it begins, or when it is done.
#[test]
fn what_children_hold_is_dropped_before_the_scope_ends() {
    for begins in [false, true] {
        run(|| {
            let (dropped, text) = (Cell::new(0), String::from("still there"));
            green::scope(|s| {
                for waits in [false, true] {
                    let held = Defer(|| {
                        assert_eq!(text, "still there");
                        dropped.set(dropped.get() + 1);
                    });
                    let also_held = Defer(|| {
                        assert_eq!(text, "still there");
                        dropped.set(dropped.get() + 1);
                    });
                    s.spawn_future(async move {
                        let _held = &held;
                        if waits {
                            pending::<()>().await;
                        }
                        green::yield_now();
                        held
                    });
                    s.spawn_generator(move |y| {
                        if waits {
                            y.wait(pending::<()>());
                        }
                        also_held
                    });
                }
                if begins {
                    let_others_run();
                }
                s.cancel();
            });
            assert_eq!(dropped.get(), 4);
        });
    }
}

#[test]
fn a_panic_of_a_child_comes_out_of_its_join_or_of_the_scope() {
    run(|| {
        green::scope(|s| {
            let future = s.spawn_future(async { panic!("of a future") });
            assert!(future.join().map(|(): ()| ()).unwrap_err().is_panic());
            let generator = s.spawn_generator(|_| panic!("of a generator"));
            assert!(generator.join().map(|(): ()| ()).unwrap_err().is_panic());
        });
        let text = panic_text(|| {
            green::scope(|s| drop(s.spawn_future(async { panic!("of a future") })));
        });
        assert_contains(&text, &["a scoped task panicked"]);
        let in_destructor = panic_text(|| {
            green::scope(|s| {
                let bomb = Defer(|| panic!("of a destructor"));
                drop(s.spawn_future(std::future::poll_fn(move |_| {
                    let _held = &bomb;
                    std::task::Poll::Ready(())
                })));
            });
        });
        assert_contains(&in_destructor, &["a scoped task panicked"]);
    });
}

#[test]
fn an_error_of_a_child_of_any_era_ends_the_others() {
    for failing in ERAS {
        run(|| {
            let trace = Trace::new();
            let result = green::try_scope(|s| {
                let fails = |era: Era| if era == failing { Err(era) } else { Ok(()) };
                let (a, b, c) = (trace.at_drop("a"), trace.at_drop("b"), trace.at_drop("c"));
                s.spawn(move || {
                    let _held = a;
                    green::sleep(SECOND);
                    fails(Era::Green)?;
                    green::wait(pending::<Result<(), Era>>())
                });
                s.spawn_generator(move |y| {
                    let _held = b;
                    y.wait(sleeping(SECOND));
                    fails(Era::Generator)?;
                    y.wait(pending::<Result<(), Era>>())
                });
                s.spawn_future(async move {
                    let _held = c;
                    sleeping(SECOND).await;
                    fails(Era::Future)?;
                    pending::<Result<(), Era>>().await
                });
                green::sleep(HOUR);
                Ok(())
            });
            let ended: Result<(), Era> = result;
            assert_eq!(ended, Err(failing));
            let mut dropped = trace.take();
            dropped.sort_unstable();
            assert_eq!(dropped, ["a", "b", "c"]);
        });
    }
}

/// The spawn site is the line of the caller.
#[test]
fn children_are_spawned_at_their_line() {
    Builder::new().virtual_clock().run(|| {
        green::scope(|s| {
            let site = || task::current().unwrap().spawned_at().line();
            let (future, line) = (s.spawn_future(async move { site() }), line!());
            assert_eq!(future.join().unwrap(), line);
            let (generator, line) = (s.spawn_generator(move |_| site()), line!());
            assert_eq!(generator.join().unwrap(), line);
        });
    });
}
