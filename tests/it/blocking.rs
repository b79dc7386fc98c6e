//! The owner of a blocking value: one call at a time, on one thread, in three eras; and what a cancelled call leaves.

use std::sync::mpsc;
use std::thread;

use crate::util::*;
use wouldblock::{Blocking, future, generator, green, group::gather};

#[test]
fn calls_are_made_in_order_on_one_thread_in_all_eras() {
    strictly(|| {
        let log = Blocking::new(Vec::new());
        let (a, b, c) = (log.clone(), log.clone(), log.clone());
        let enter = |n: usize| move |log: &mut Vec<_>| log.push((n, thread::current().id()));
        drop((a.calling(enter(0)), ())); // Taken back, if it has not begun.
        let tasks = [
            generator::spawn(move |y| y.wait(a.calling(enter(1)))),
            green::spawn(move || b.with(enter(2))),
            future::spawn(async move { c.calling(enter(3)).await }),
        ];
        green::wait(gather(tasks)).into_iter().for_each(|result| result.unwrap());
        let mut entries = log.with(std::mem::take);
        entries.retain(|&(n, _)| n > 0);
        assert_eq!(entries.iter().map(|&(n, _)| n).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(entries.iter().all(|&(_, id)| id == entries[0].1 && id != thread::current().id()));
    });
}

#[test]
fn two_hundred_tasks_share_one_thread_and_others_run() {
    bounded(|| {
        let count = Blocking::new(0);
        let (go, gone) = mpsc::channel();
        let first = count.calling(move |_| gone.recv().unwrap());
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let count = count.clone();
                green::spawn(move || count.with(|n| *n += 1))
            })
            .collect();
        green::yield_now();
        go.send(()).unwrap(); // This thread goes on while the first call blocks.
        green::wait(first);
        green::wait(gather(tasks));
        assert_eq!(count.with(|n| *n), 200);
    });
}

#[test]
fn a_cancelled_call_goes_on_if_it_has_begun_and_is_never_made_if_not() {
    strictly(|| {
        let log = Blocking::new(Vec::new());
        let (begun, has_begun) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let (one, two) = (log.clone(), log.clone());
        let running = green::spawn(move || {
            one.with(move |log| {
                begun.send(()).unwrap();
                gone.recv().unwrap();
                log.push("begun");
            });
        });
        let waiting = green::spawn(move || two.with(|log| log.push("waiting")));
        green::yield_now();
        receive(&has_begun);
        for task in [running, waiting] {
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
        }
        go.send(()).unwrap();
        assert_eq!(log.with(|log| log.clone()), ["begun"], "the value is back after a cancel");
    });
}

#[test]
fn a_panic_is_that_of_the_caller_and_the_value_stays() {
    bounded(|| {
        let value = Blocking::new(1);
        let message = panic_text(|| {
            value.with(|n| {
                if *n == 1 {
                    panic!("in the call")
                }
            });
        });
        assert_eq!(message, "in the call");
        value.with(|n| *n += 1);
        assert_eq!(value.with(|n| *n), 2);
    });
}

#[test]
fn the_value_is_dropped_with_the_last_handle_after_calls_that_wait() {
    struct Told(mpsc::Sender<&'static str>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }
    let (told, tells) = mpsc::channel();
    bounded(|| {
        let value = Blocking::new(Told(told));
        let last = value.calling(|told| told.0.send("called").unwrap());
        drop(value);
        green::wait(last);
    });
    assert_eq!([receive(&tells), receive(&tells)], ["called", "dropped"]);
}

#[test]
fn a_virtual_clock_waits_for_a_call() {
    virtually(|| {
        let value = Blocking::new(());
        let task =
            green::spawn(move || green::timeout(HOUR, || value.with(|()| thread::yield_now())));
        assert!(task.join().unwrap().is_ok(), "no hour has passed by the machine's clock");
    });
}
