//! `CancelScope`: a piece of code is cancelled from elsewhere, and its deadline moves.

use std::rc::Rc;
use std::time::Duration;

use wouldblock::{CancelScope, future, generator, green, sync::Event, time};

use crate::util::*;

/// A virtual hour passes at once.
fn virtually<T>(root: impl FnOnce() -> T) -> T {
    wouldblock::Builder::new().virtual_clock().run(root)
}

#[test]
fn a_scope_is_cancelled_from_elsewhere_and_its_task_goes_on() {
    virtually(|| {
        let scope = CancelScope::new();
        let green = green::spawn({
            let scope = scope.clone();
            move || (scope.run(|| green::sleep(HOUR)), "goes on")
        });
        let generator = generator::spawn({
            let scope = scope.clone();
            move |y| (y.wait(scope.running(time::sleeping(HOUR))), "goes on")
        });
        let future = future::spawn({
            let scope = scope.clone();
            async move { (scope.running(time::sleeping(HOUR)).await, "goes on") }
        });
        let start = time::now();
        green::sleep(MS);
        assert!(!scope.has_ended());
        scope.cancel();
        assert!(scope.has_ended());
        for task in [green, generator, future] {
            assert_eq!(task.join().unwrap(), (None, "goes on"));
        }
        assert_eq!(time::now() - start, MS);
        // It stays cancelled: what is run in it ends at its first wait, and may do without one.
        scope.set_deadline(None);
        assert_eq!(scope.run(|| green::sleep(MS)), None);
        assert_eq!(scope.run(|| 7), Some(7));
        assert_eq!(green::wait(scope.running(async { 7 })), Some(7));
    });
}

#[test]
fn a_deadline_moves_both_ways_while_the_code_runs() {
    // The deadline at first, the one that it is moved to just before one second has passed, and when the code ends.
    let cases = [
        (SECOND, Some(3 * SECOND), 3 * SECOND),
        (HOUR, Some(2 * SECOND), 2 * SECOND),
        (HOUR, Some(Duration::ZERO), SECOND - MS),
        (SECOND, None, 60 * SECOND),
    ];
    for (first, then, end) in cases {
        virtually(|| {
            let start = time::now();
            let scope = CancelScope::until(start + first);
            assert_eq!(scope.deadline(), Some(start + first));
            let tasks = [
                green::spawn({
                    let scope = scope.clone();
                    move || scope.run(|| green::sleep(60 * SECOND))
                }),
                future::spawn({
                    let scope = scope.clone();
                    async move { scope.running(time::sleeping(60 * SECOND)).await }
                }),
            ];
            let ended =
                tasks.map(|task| green::spawn(move || (task.join().unwrap(), time::now() - start)));
            green::sleep(SECOND - MS);
            scope.set_deadline(then.map(|then| start + then));
            for task in ended {
                let (done, at) = task.join().unwrap();
                assert_eq!(done.is_none(), then.is_some());
                assert_eq!(at, end);
            }
        });
    }
}

#[test]
fn the_outermost_scope_that_ends_counts() {
    virtually(|| {
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let run = |cancelled: &CancelScope| {
            let both = [outer.clone(), inner.clone()];
            let task = green::spawn(move || {
                let [outer, inner] = both;
                let within = outer.run(|| {
                    let within = inner.run(|| green::sleep(HOUR));
                    green::sleep(MS);
                    within
                });
                (within.is_some(), within.flatten().is_some())
            });
            green::yield_now();
            cancelled.cancel();
            task.join().unwrap()
        };
        assert_eq!(run(&inner), (true, false));
        assert_eq!(run(&outer), (false, false));
    });
}

#[test]
fn a_task_cancels_the_scope_that_it_is_in() {
    virtually(|| {
        let scope = CancelScope::default();
        let left = scope.run(|| {
            scope.cancel();
            green::yield_now();
        });
        assert_eq!(left, None);
        let scope = CancelScope::new();
        let left = green::wait(scope.running(async {
            scope.cancel();
            future::yield_now().await;
        }));
        assert_eq!(left, None);
    });
}

#[test]
fn what_is_ready_wins_and_a_cancelled_task_unwinds_through_the_scope() {
    virtually(|| {
        let (scope, event) = (CancelScope::new(), Rc::new(Event::new()));
        let task = green::spawn({
            let (scope, event) = (scope.clone(), event.clone());
            move || scope.run(|| event.wait())
        });
        green::yield_now();
        event.set();
        scope.cancel();
        assert_eq!(task.join().unwrap(), Some(()));

        let scope = CancelScope::after(HOUR);
        let task = green::spawn({
            let scope = scope.clone();
            move || scope.run(|| green::sleep(HOUR))
        });
        green::yield_now();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        scope.cancel(); // It is not inside any more.
    });
    let outside = panic_text(|| CancelScope::new().run(|| 1));
    assert!(outside.contains("outside of any task"), "{outside}");
}
