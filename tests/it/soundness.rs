//! What safe code must not be able to do with coroutines that outlive the place they began in: each of
//! these was once a way to reach freed memory, another runtime's tasks, or an endless wait.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use crate::util::{
    HOUR, SECOND, assert_contains, in_child, let_others_run, logged, panic_text, run,
};
use futures::future::select;
use log::Level;
use wouldblock::generator::{Generator, GeneratorState, Yielder};
use wouldblock::net::unix::UnixStream;
use wouldblock::{Builder, Runtime, Wait, future, green, offload};

/// The operation was lent the waker of the task that polls; resumed elsewhere, it would still have it.
#[test]
fn a_generator_cannot_yield_in_the_middle_of_a_poll() {
    run(|| {
        let mut generator = Generator::new(|y: &Yielder<u32>| {
            green::wait(poll_fn(|cx| {
                y.yield_(1);
                cx.waker().wake_by_ref();
                Poll::Ready(())
            }));
        });
        let text = panic_text(|| generator.resume());
        assert_contains(&text, &["cannot yield in the middle of an operation's poll"]);
        assert!(generator.is_finished());
        green::sleep(SECOND); // the task goes on as if nothing had been
    });
}

#[test]
fn a_generator_cannot_yield_out_of_a_scope_and_leave_its_tasks() {
    run(|| {
        let ran = Cell::new(0);
        let counter = &ran;
        let text = green::scope(|outer| {
            let _alive = outer.spawn(|| counter.set(counter.get() + 1));
            let mut generator = Generator::new(|y: &Yielder<u32>| {
                let text = vec![7; 8];
                green::scope(|s| {
                    drop(s.spawn(|| assert_eq!(text, [7; 8])));
                    y.yield_(1);
                });
            });
            panic_text(|| generator.resume())
        });
        assert_contains(&text, &["cannot yield inside of `green::scope`"]);
        assert_eq!(ran.get(), 1);
    });
}

/// In a task's own generator, the scope belongs to the task that yields.
#[test]
fn a_generator_that_is_a_task_may_wait_inside_of_a_scope() {
    run(|| {
        let task = wouldblock::generator::spawn(|y| {
            let words = ["a", "few"];
            green::scope(|s| {
                let task = s.spawn(|| words.len());
                y.wait(wouldblock::time::sleeping(SECOND));
                task.join().unwrap()
            })
        });
        assert_eq!(task.join().unwrap(), 2);
    });
}

/// Else the cleanup would go on in another task, and put back there the deadline that was in force outside.
#[test]
fn a_generator_yields_in_no_cleanup_outside_of_a_task_either() {
    let mut generator = Generator::new(|y: &Yielder<u32>| green::finally(|| (), || y.yield_(1)));
    let text = panic_text(|| generator.resume());
    assert!(text.contains("in the cleanup of `green::finally`"), "{text}");
    run(|| {
        let task = green::spawn(|| green::sleep(HOUR));
        let_others_run();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled(), "no task is shielded");
    });
}

#[test]
fn a_wait_that_is_taken_to_another_task_is_over_at_once() {
    run(|| {
        let slow = green::spawn(|| green::sleep(SECOND));
        let sayer = green::spawn(move || {
            let mut generator = Generator::new(|y: &Yielder<Wait>| y.wait(slow).unwrap());
            let GeneratorState::Yielded(wait) = generator.resume() else { panic!("it waits") };
            (generator, wait)
        });
        let (mut generator, mut wait) = sayer.join().unwrap();
        green::spawn(move || {
            loop {
                green::wait(wait);
                match generator.resume() {
                    GeneratorState::Yielded(next) => wait = next,
                    GeneratorState::Complete(()) => break,
                }
            }
        })
        .join()
        .unwrap();
    });
}

/// Polled once, and then kept by somebody who has lost interest.
fn finished_but_not_polled() -> Pin<Box<wouldblock::Offload<()>>> {
    let mut work = Box::pin(offload(|| ()));
    green::wait(select(&mut work, ready(())));
    work
}

#[test]
fn work_that_nobody_polls_again_does_not_stop_virtual_time() {
    run(|| {
        let _work = finished_but_not_polled();
        green::sleep(HOUR);
    });
}

#[test]
fn work_that_nobody_polls_again_does_not_hide_a_deadlock() {
    let result = Builder::new().try_run(|| {
        let _work = finished_but_not_polled();
        green::wait(pending::<()>());
    });
    assert_contains(&result.unwrap_err().to_string(), &["deadlock: 1 task waits"]);
}

#[test]
fn cleanup_that_never_ends_is_told_of_once_when_the_run_does() {
    let messages = logged(|| {
        run(|| {
            drop(green::spawn(|| {
                green::finally(|| green::sleep(HOUR), || green::wait(pending::<()>()));
            }));
            let_others_run();
        });
    });
    let told: Vec<_> = messages.iter().filter(|(level, _)| *level == Level::Error).collect();
    assert_eq!(told.len(), 1, "{messages:?}");
    assert_contains(&told[0].1, &["the run is over", "task 2 (green", "waits to be woken"]);
}

#[test]
fn a_runtime_in_a_thread_local_ends_with_its_thread() {
    thread_local!(static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) });
    let ended = in_child(|| {
        let thread = thread::spawn(|| {
            let runtime = Builder::new().build().unwrap();
            runtime.enter(|| {
                drop(green::spawn(|| green::sleep(HOUR)));
                drop(future::spawn(pending::<()>()));
            });
            while runtime.turn() {}
            runtime.enter(|| drop(green::spawn(|| ()))); // has not begun
            RUNTIME.set(Some(runtime));
        });
        thread.join().unwrap();
    });
    ended.assert_fine();
}

#[test]
fn two_runtimes_on_one_thread_keep_to_their_own_tasks() {
    let (one, two) = (Builder::new().build().unwrap(), Builder::new().build().unwrap());
    let turns = Rc::new(Cell::new([0, 0]));
    let count = |index: usize| {
        let turns = turns.clone();
        move || {
            for _ in 0..10 {
                let mut now = turns.get();
                now[index] += 1;
                turns.set(now);
                green::yield_now();
            }
        }
    };
    let a = one.enter(|| green::spawn(count(0)));
    let b = two.enter(|| green::spawn(count(1)));
    while one.turn() {}
    assert_eq!((turns.get(), a.is_finished(), b.is_finished()), ([10, 0], true, false));
    while two.turn() {}
    assert_eq!((turns.get(), b.is_finished()), ([10, 10], true));
}

#[test]
fn a_wait_for_a_socket_of_another_runtime_waits_for_no_socket_of_this_one() {
    let (one, two) = (Builder::new().build().unwrap(), Builder::new().build().unwrap());
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut generator = Generator::new(move |y: &Yielder<Wait>| y.wait(ours.readable()).unwrap());
    let GeneratorState::Yielded(wait) = one.enter(|| generator.resume()) else {
        panic!("there is nothing to read")
    };
    let (idle, _peer) = UnixStream::pair().unwrap();
    let [reads, waits] = two.enter(|| {
        // Each socket is the first that its runtime registers.
        [
            green::spawn(move || green::wait(idle.readable()).unwrap()),
            green::spawn(move || green::wait(wait)),
        ]
    });
    while two.turn() {}
    assert!(waits.is_finished(), "it was woken: the wait names no socket of its runtime");
    assert!(!reads.is_finished());
}

// What cancellation does to what is borrowed from std, as the front page says.

#[test]
fn a_lazy_lock_whose_initialiser_is_cancelled_is_poisoned_for_ever() {
    use std::sync::LazyLock;
    static LAZY: LazyLock<u32> = LazyLock::new(|| {
        green::sleep(HOUR);
        7
    });
    run(|| {
        let task = green::spawn(|| *LAZY);
        let_others_run();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_contains(&panic_text(|| *LAZY), &["poisoned"]);
    });
}

#[test]
fn cancelling_beneath_a_c_frame_aborts() {
    extern "C" fn c_callback() {
        green::sleep(HOUR);
    }
    let ended = in_child(|| {
        run(|| {
            let task = green::spawn(|| c_callback());
            let_others_run();
            task.cancel();
            drop(task.join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
}
