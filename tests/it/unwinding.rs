//! Programs of safe code that once reached freed memory, ended the process, or lost a task's destructors or a
//! wake-up: by a frame that outlived what it borrowed, by foreign code that panicked in the middle of the
//! scheduler's work, by an unwinding that ended in the wrong place.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{self, AssertUnwindSafe, panic_any};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::util::{
    HOUR, SECOND, Trace, assert_contains, in_child, let_others_run, logged, panic_text, run,
};
use log::Level;
use wouldblock::generator::{self, Generator, GeneratorState, Yielder};
use wouldblock::net::unix::UnixStream;
use wouldblock::observe::{EventKind, Observer, TaskEvent};
use wouldblock::{
    Builder, JoinHandle, Spawner, Wait, future, green, offload, op, stats, sync, task, time,
};

const MS: Duration = Duration::from_millis(1);

// `run` is not left while the frames of its root exist.

#[test]
fn a_run_does_not_return_while_a_sort_in_its_root_is_half_done() {
    let ended = in_child(|| {
        let mut numbers: Vec<Box<u64>> = (0..6).rev().map(Box::new).collect();
        let comparisons = Cell::new(0);
        let _ = Builder::new().try_run(|| {
            numbers.sort_by(|a, b| {
                comparisons.set(comparisons.get() + 1);
                if comparisons.get() == 8 {
                    green::finally(|| (), || green::wait(pending::<()>()));
                }
                (**a % 3, **a).cmp(&(**b % 3, **b))
            });
        });
        unreachable!("some boxes are in the vector twice, or not at all");
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["deadlock: 1 task waits", "cannot be left by the run"]);
}

#[test]
fn a_run_whose_root_swallows_each_cancellation_aborts() {
    let ended = in_child(|| {
        let mut borrowed = String::new();
        let _ = Builder::new().try_run(|| {
            loop {
                let text = &mut borrowed;
                text.push('x');
                let _ = panic::catch_unwind(|| green::wait(pending::<()>()));
            }
        });
        unreachable!("the root is in its loop");
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["has caught its cancellation 1000 times", "cannot be left by the run"]);
}

// No waker outlives its task without being counted.

/// The waits inside of the poll once cleared the mark that forbids yielding there.
#[test]
fn a_generator_cannot_yield_in_a_poll_after_a_wait_inside_of_it_either() {
    let slot = Rc::new(RefCell::new(None));
    let out = slot.clone();
    run(move || {
        let mut generator: Generator<Wait> = Generator::new(|y: &Yielder<Wait>| {
            y.wait(poll_fn(|cx| {
                y.wait(ready(()));
                y.yield_now();
                cx.waker().wake_by_ref();
                Poll::Ready(())
            }));
        });
        let text = panic_text(|| generator.resume());
        assert_contains(&text, &["cannot yield in the middle of an operation's poll"]);
        *out.borrow_mut() = Some(generator);
    });
    assert!(slot.borrow_mut().take().unwrap().is_finished());
}

/// `into_future` and destructors are code of the user's in the middle of a wait, too.
#[test]
fn a_generator_cannot_yield_in_a_poll_from_a_destructor_or_an_into_future_of_an_inner_wait() {
    struct Inner<'a>(&'a Yielder<Wait>);
    impl IntoFuture for Inner<'_> {
        type Output = ();
        type IntoFuture = std::future::Ready<()>;
        fn into_future(self) -> Self::IntoFuture {
            self.0.wait(ready(()));
            ready(())
        }
    }
    impl Drop for Inner<'_> {
        fn drop(&mut self) {
            if !thread::panicking() {
                self.0.wait(ready(()));
            }
        }
    }
    run(|| {
        let mut generator: Generator<Wait> = Generator::new(|y: &Yielder<Wait>| {
            y.wait(poll_fn(|_| {
                y.wait(Inner(y));
                drop(Inner(y));
                y.yield_now();
                Poll::Ready(())
            }));
        });
        let text = panic_text(|| generator.resume());
        assert_contains(&text, &["cannot yield in the middle of an operation's poll"]);
    });
}

/// What the outer operation waits for is not forgotten over the inner wait.
#[test]
fn a_wait_inside_of_a_poll_loses_no_wake_up_of_the_outer_operation() {
    // By the machine's clock: a task that yields in each poll is always ready, and a virtual one stands still.
    Builder::new().run(|| {
        let nap_around = |wait: fn(&Yielder<Wait>)| {
            generator::spawn(move |y| {
                let mut nap = pin!(time::sleeping(10 * MS));
                y.wait(poll_fn(|cx| {
                    let polled = nap.as_mut().poll(cx);
                    wait(y);
                    polled
                }));
            })
        };
        nap_around(|y| y.wait(ready(()))).join().unwrap();
        nap_around(|_| green::wait(ready(()))).join().unwrap();
        nap_around(|_| green::yield_now()).join().unwrap();
        nap_around(|_| green::sleep(20 * MS)).join().unwrap();
    });
}

/// The poll's frame is leaked with its task, and lends the waker to another thread.
#[test]
fn a_waker_that_a_leaked_frame_has_lent_to_a_thread_is_still_there() {
    let ended = in_child(|| {
        let (over, wait_for_it) = mpsc::channel::<()>();
        let (woken, see_it) = mpsc::channel();
        let wait_for_it = Mutex::new(wait_for_it);
        run(move || {
            drop(future::spawn(poll_fn(move |cx| {
                let (waker, woken) = (cx.waker(), woken.clone());
                thread::scope(|s| {
                    s.spawn(|| {
                        let _ = wait_for_it.lock().unwrap().recv();
                        waker.wake_by_ref();
                        drop(waker.clone());
                        woken.send(()).unwrap();
                    });
                    green::finally(|| (), || green::wait(pending::<()>()));
                });
                Poll::Ready(())
            })));
            let_others_run();
        });
        drop(over);
        see_it.recv().unwrap();
    });
    ended.assert_fine();
}

// Code of the user's that is no task's ends nothing but itself.

/// Runs its closure when it is dropped, unless the thread unwinds.
struct AtDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtDrop<F> {
    fn drop(&mut self) {
        if !thread::panicking() {
            (self.0)();
        }
    }
}

/// Fills the address space, so that tasks get no stack: what they have captured is dropped all the same.
#[test]
fn captures_of_a_task_without_a_stack_may_panic_or_try_to_wait_when_they_are_dropped() {
    let ended = in_child(|| {
        let dropped = Rc::new(Cell::new(0));
        run(|| {
            for n in 1..800_usize {
                let count = dropped.clone();
                let boom = AtDrop(move || {
                    count.set(count.get() + 1);
                    match n % 3 {
                        0 => panic!("boom"),
                        1 => green::sleep(MS),
                        _ => drop(green::spawn(|| ())),
                    }
                });
                let builder = task::Builder::new().stack_size((1 << 32) - n * 4096);
                let code = move || {
                    let _boom = &boom;
                    green::wait(pending::<()>());
                };
                match n % 2 {
                    0 => drop(builder.spawn(code)),
                    _ => drop(builder.spawn_generator(move |_| code())),
                }
            }
            green::sleep(SECOND); // each that has a stack has begun
            assert_eq!(task::current().map(|task| task.id()), Some(1));
            assert!(dropped.get() > 0, "some had no stack");
        });
        assert!(task::current().is_none());
        assert_eq!(Rc::strong_count(&dropped), 1, "all captures are gone");
    });
    ended.assert_fine();
}

struct Hostile {
    wake: fn(),
    drop: fn(),
}

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        (self.wake)();
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        (self.drop)();
    }
}

fn nothing() {}

/// Lets `waker` be woken by a timer that nobody polls again, among tasks that have nothing to do with it.
fn wake_among_innocents(hostile: Hostile) -> Vec<(Level, String)> {
    logged(|| {
        let trace = Trace::new();
        run(|| {
            let _root = trace.at_drop("root");
            let loud = trace.at_drop("innocent");
            let other = green::spawn(move || {
                let _loud = loud;
                green::sleep(SECOND);
            });
            let waker = Waker::from(Arc::new(hostile));
            let mut nap = pin!(time::sleeping(MS));
            assert!(nap.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let beside = green::spawn(|| green::sleep(MS)); // due in the same tick, after the waker
            drop(waker);
            beside.join().unwrap();
            other.join().unwrap();
        });
        assert_eq!(trace.take(), ["innocent", "root"]);
    })
}

#[test]
fn a_waker_that_panics_is_logged_and_harms_no_task() {
    let log = wake_among_innocents(Hostile { wake: || panic!("a bad waker"), drop: nothing });
    assert_eq!(log, [(Level::Error, "a waker panicked: a bad waker".into())]);
}

#[test]
fn a_waker_whose_destructor_panics_is_logged_and_harms_no_task() {
    let log = wake_among_innocents(Hostile { wake: nothing, drop: || panic!("a bad end") });
    assert_eq!(log, [(Level::Error, "a waker panicked: a bad end".into())]);
}

#[test]
fn a_waker_that_waits_is_logged_and_harms_no_task() {
    let log = wake_among_innocents(Hostile { wake: || green::sleep(HOUR), drop: nothing });
    assert_eq!(log.len(), 1, "{log:?}");
    assert_contains(&log[0].1, &["a waker panicked: a wait outside of any task"]);
}

#[test]
fn a_waker_that_panics_when_a_message_comes_does_not_harm_the_sender_nor_the_other_waiters() {
    let log = logged(|| {
        run(|| {
            let event = sync::Event::new();
            let waker =
                Waker::from(Arc::new(Hostile { wake: || panic!("a bad waker"), drop: nothing }));
            let mut waiting = pin!(event.waiting());
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            green::scope(|s| {
                let other = s.spawn(|| event.wait());
                green::yield_now();
                event.set();
                other.join().unwrap();
            });
        });
    });
    assert_eq!(log, [(Level::Error, "a waker panicked: a bad waker".into())]);
}

/// Its destructor panics, so many times.
struct Payload(u8);

impl Drop for Payload {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Payload(self.0 - 1));
        }
    }
}

#[test]
fn a_panic_whose_payload_panics_when_it_is_dropped_harms_no_task() {
    let ended = in_child(|| {
        run(|| {
            drop(green::spawn(|| panic_any(Payload(2))));
            drop(generator::spawn(|_| panic_any(Payload(3))));
            drop(future::spawn(async { panic_any(Payload(1)) }));
            let watched = green::spawn(|| 7);
            watched.on_done(|_| panic_any(Payload(2)));
            let captures = AtDrop(|| panic_any(Payload(2)));
            let cancelled = green::spawn(move || {
                let _captures = &captures;
                green::sleep(HOUR);
            });
            green::yield_now();
            cancelled.cancel();
            assert_eq!(watched.join().unwrap(), 7);
            green::sleep(MS);
        });
    });
    ended.assert_fine();
}

#[test]
fn a_callback_on_a_task_that_is_done_cannot_wait_in_the_task_that_adds_it() {
    let log = logged(|| {
        run(|| {
            let done = green::spawn(|| ());
            green::yield_now();
            let turns = stats().turns;
            done.on_done(|_| green::sleep(MS));
            assert_eq!(stats().turns, turns);
        });
    });
    assert_eq!(log.len(), 1, "{log:?}");
    assert_contains(&log[0].1, &["a callback at the end of task 2", "a wait outside of any task"]);
}

#[test]
fn code_from_another_thread_whose_destructor_panics_harms_no_task() {
    let log = logged(|| {
        let trace = Trace::new();
        run(|| {
            let handle = Spawner::current();
            let (handle, begun) = (handle, trace.at_drop("innocent"));
            let innocent = green::spawn(move || {
                let _begun = begun;
                green::sleep(SECOND);
            });
            green::wait(offload(move || {
                struct Boom;
                impl Drop for Boom {
                    fn drop(&mut self) {
                        if !thread::panicking() {
                            panic!("boom");
                        }
                    }
                }
                let boom = Boom;
                let cancelled = handle.spawn(move || drop(boom)).unwrap();
                cancelled.cancel();
                drop(cancelled.join());
            }));
            innocent.join().unwrap();
        });
        assert_eq!(trace.take(), ["innocent"]);
    });
    drop(log); // Whether the task was cancelled before it began is a matter of time.
}

// A task ends once.

#[derive(Clone)]
struct WakesAll(Rc<RefCell<Vec<Waker>>>);

impl Observer for WakesAll {
    fn observe(&self, event: &TaskEvent<'_>) {
        if matches!(event.kind, EventKind::Cancelled(_)) {
            self.0.borrow().iter().for_each(Waker::wake_by_ref);
        }
    }
}

#[test]
fn an_observer_that_wakes_tasks_while_they_are_cancelled_ends_none_twice() {
    let trace = Trace::new();
    let wakers = WakesAll(Rc::default());
    let kept = wakers.0.clone();
    let log = logged(|| {
        Builder::new().virtual_clock().observe(wakers).run(|| {
            for n in 0..5 {
                let (kept, token, cleaned) = (
                    kept.clone(),
                    trace.at_drop(format!("token {n}")),
                    trace.at_drop(format!("cleaned {n}")),
                );
                drop(green::spawn(move || {
                    let _token = token;
                    green::finally(
                        || {
                            green::wait(poll_fn(|cx| {
                                kept.borrow_mut().push(cx.waker().clone());
                                Poll::<()>::Pending
                            }));
                        },
                        || {
                            green::sleep(SECOND);
                            drop(cleaned);
                        },
                    );
                }));
            }
            let_others_run();
        });
        kept.borrow_mut().clear();
    });
    assert_eq!(log, []);
    let mut ends = trace.take();
    ends.sort();
    let expected: Vec<_> = ["cleaned", "token"]
        .iter()
        .flat_map(|what| (0..5).map(move |n| format!("{what} {n}")))
        .collect();
    assert_eq!(ends, expected);
}

// Unwinding ends where it belongs.

#[test]
fn a_thousand_time_limits_that_are_obeyed_end_nothing() {
    let ended = in_child(|| {
        run(|| {
            for _request in 0..1100 {
                let _ = green::timeout(MS, || {
                    let _ = panic::catch_unwind(|| green::sleep(SECOND));
                });
            }
        });
    });
    ended.assert_fine();
}

#[test]
fn a_worker_that_swallows_everything_is_left_at_the_end_of_its_run() {
    let log = logged(|| {
        run(|| {
            drop(green::spawn(|| {
                loop {
                    let _ = panic::catch_unwind(|| green::wait(pending::<()>()));
                }
            }));
            drop(generator::spawn(|y| {
                loop {
                    let _ = y.try_yield(y_turn());
                }
            }));
            drop(future::spawn(async {
                loop {
                    let _ = panic::catch_unwind(|| green::wait(pending::<()>()));
                }
            }));
            let_others_run();
        });
    });
    let texts: Vec<_> = log.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    for text in texts {
        assert_contains(
            text,
            &["has caught its cancellation 1000 times", "is abandoned where it is"],
        );
    }
}

#[test]
fn a_task_that_swallows_everything_is_an_error_to_those_who_join_it() {
    let remote = Rc::new(RefCell::new(None));
    let out = remote.clone();
    let called = Rc::new(Cell::new(false));
    let call = called.clone();
    let swallow = || {
        loop {
            let _ = panic::catch_unwind(|| green::wait(pending::<()>()));
        }
    };
    let log = logged(|| {
        run(move || {
            let handle = Spawner::current();
            let spawn = move || handle.spawn_future(async move || swallow()).unwrap();
            *out.borrow_mut() = Some(green::wait(offload(spawn)));
            let worker = green::spawn(swallow);
            worker.on_done(move |result| {
                assert_contains(&result.as_ref().unwrap_err().to_string(), &["and was abandoned"]);
                call.set(true);
            });
            drop(green::spawn(move || green::finally(|| (), || drop(worker.join()))));
            let_others_run();
        });
    });
    assert!(called.get());
    assert_eq!(log.len(), 2, "the task that joins the worker has ended: {log:?}");
    let error = remote.take().unwrap().join().unwrap_err();
    assert_contains(&error.to_string(), &["had not ended when its run did, and was abandoned"]);
}

#[test]
fn a_task_that_a_dropped_runtime_has_left_is_an_error_to_other_executors() {
    let runtime = Builder::new().build().unwrap();
    let task =
        runtime.enter(|| green::spawn(|| green::finally(|| (), || green::wait(pending::<()>()))));
    while runtime.turn() {}
    let log = logged(|| drop(runtime));
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(!task.is_finished());
    let error = futures_lite::future::block_on(task).unwrap_err();
    assert_contains(&error.to_string(), &["and was abandoned"]);
}

#[test]
fn a_lock_is_not_handed_to_a_task_that_was_left_in_its_line() {
    let (lock, semaphore) = (Rc::new(sync::Mutex::new(0)), Rc::new(sync::Semaphore::new(1)));
    let runtime = Builder::new().build().unwrap();
    let (inner_lock, inner_semaphore) = (lock.clone(), semaphore.clone());
    runtime.enter(|| {
        let locks = move || drop(inner_lock.lock());
        drop(green::spawn(move || green::finally(|| green::sleep(HOUR), locks)));
        let acquires = move || drop(inner_semaphore.acquire());
        drop(green::spawn(move || green::finally(|| green::sleep(HOUR), acquires)));
    });
    while runtime.turn() {}
    run(|| {
        let (guard, permit) = (lock.lock(), semaphore.acquire());
        let log = logged(|| drop(runtime));
        assert_eq!(log.len(), 1, "both are left: {log:?}");
        drop((guard, permit));
        *lock.lock() += 1;
        drop(semaphore.acquire());
        let (guard, permit) = (lock.lock(), semaphore.acquire());
        let (next_lock, next_semaphore) = (lock.clone(), semaphore.clone());
        let next = green::spawn(move || drop((next_lock.lock(), next_semaphore.acquire())));
        let_others_run();
        drop((guard, permit));
        next.join().unwrap();
    });
}

#[test]
fn an_error_that_is_there_is_given_to_another_executor_in_a_cancelled_task() {
    run(|| {
        let ended = green::spawn(|| green::wait(pending::<()>()));
        let_others_run();
        ended.cancel();
        let_others_run();
        let slot: Rc<RefCell<Option<JoinHandle<_>>>> = Rc::default();
        let own = slot.clone();
        let task = green::spawn(move || {
            own.borrow().as_ref().unwrap().cancel();
            futures_lite::future::block_on(ended).unwrap_err().is_cancelled()
        });
        *slot.borrow_mut() = Some(task);
        let_others_run();
        let task = slot.borrow_mut().take().unwrap();
        assert!(task.join().unwrap());
    });
}

/// Each of their cleanups waits once, in a task that obeys.
#[test]
fn closing_a_thousand_generators_in_a_cancelled_task_ends_nothing() {
    run(|| {
        let task = green::spawn(|| {
            let generator = |_| {
                Generator::new(|y: &Yielder<i32>| {
                    if y.try_yield(1).is_err() {
                        green::sleep(MS);
                    }
                })
            };
            let mut all: Vec<_> = (0..1100).map(generator).collect();
            all.iter_mut().for_each(|generator| assert_eq!(generator.next(), Some(1)));
            if let Err(payload) = panic::catch_unwind(|| green::sleep(HOUR)) {
                drop(all);
                panic::resume_unwind(payload);
            }
        });
        let_others_run();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn an_observer_whose_destructor_panics_takes_no_result_away() {
    struct Hostile;
    impl Observer for Hostile {
        fn observe(&self, _: &TaskEvent<'_>) {}
    }
    impl Drop for Hostile {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let log = logged(|| {
        assert_eq!(Builder::new().observe(Hostile).run(|| 1), 1);
        fn panics() {
            panic!("of the root");
        }
        let root = || Builder::new().observe(Hostile).run(panics);
        assert_eq!(panic_text(root), "of the root");
    });
    assert_eq!(log.len(), 2, "{log:?}");
    assert_contains(&log[0].1, &["the destructor of an observer panicked: on purpose"]);
}

/// A `Wait` for one turn.
fn y_turn() -> Wait {
    let mut one: Generator<Wait> = Generator::new(|y: &Yielder<Wait>| y.yield_now());
    let GeneratorState::Yielded(wait) = one.resume() else { unreachable!("it yields") };
    wait
}

#[test]
fn a_cancellation_that_was_kept_ends_no_later_time_limit() {
    run(|| {
        let mut kept = None;
        let _ = green::timeout(MS, || {
            kept = panic::catch_unwind(|| green::sleep(SECOND)).err();
        });
        let kept = kept.expect("the limit has passed");
        let raised = panic::catch_unwind(AssertUnwindSafe(|| {
            green::timeout(HOUR, || panic::resume_unwind(kept))
        }));
        assert!(raised.is_err(), "it goes on, through a limit that has not passed");
    });
}

#[test]
fn a_cancellation_that_was_kept_is_a_panic_in_another_task() {
    run(|| {
        let kept = Rc::new(RefCell::new(None));
        let keep = kept.clone();
        let task = green::spawn(move || {
            let caught = panic::catch_unwind(|| green::sleep(HOUR)).unwrap_err();
            assert!(task::is_cancellation(&*caught));
            *keep.borrow_mut() = Some(caught);
        });
        green::sleep(SECOND); // the task has begun
        task.cancel();
        task.join().unwrap();
        let kept = kept.borrow_mut().take().unwrap();
        let error = green::spawn(move || panic::resume_unwind(kept)).join().unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_contains(&error.to_string(), &["a cancellation or time limit that was over"]);
        let panicked = panic::catch_unwind(|| panic!("a panic")).unwrap_err();
        assert!(!task::is_cancellation(&*panicked));
    });
}

#[test]
fn a_generator_may_be_used_in_a_destructor_while_a_stack_unwinds() {
    struct Sums(Rc<Cell<i32>>);
    impl Drop for Sums {
        fn drop(&mut self) {
            let numbers = Generator::new(|y| (0..3).for_each(|n| y.yield_(n)));
            self.0.set(self.0.get() + numbers.sum::<i32>());
        }
    }
    let sum = Rc::new(Cell::new(0));
    let sums = AssertUnwindSafe(Sums(sum.clone()));
    let _ = panic::catch_unwind(move || {
        let _sums = &sums;
        panic!("on purpose");
    });
    assert_eq!(sum.get(), 3);
    run(|| {
        let sums = Sums(sum.clone());
        let task = green::spawn(move || {
            let _sums = sums;
            green::sleep(HOUR);
        });
        green::yield_now();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
    });
    assert_eq!(sum.get(), 6);
}

#[test]
fn closing_a_generator_does_not_swallow_the_limit_that_cuts_its_cleanup_short() {
    run(|| {
        let done = Rc::new(Cell::new(false));
        let cleaned = done.clone();
        let mut generator = Generator::new(move |y: &Yielder<()>| {
            let _ = y.try_yield(());
            green::sleep(SECOND); // a goodbye that takes too long
            cleaned.set(true);
        });
        generator.resume();
        let closed = green::timeout(MS, || generator.close());
        assert!(closed.is_err(), "the limit has passed");
        assert!(!done.get());
    });
}

/// The wait inside of the limit was once taken for the place from which the generator was resumed.
#[test]
fn a_generator_may_yield_after_a_limit_in_which_green_code_waited() {
    run(|| {
        generator::spawn(|y| {
            let _ = green::timeout(50 * MS, || green::sleep(MS));
            y.yield_now();
            y.wait(async { green::timeout(50 * MS, || green::sleep(MS)) }).unwrap();
            y.yield_now();
            let inner = Generator::new(|y: &Yielder<Wait>| {
                let _ = green::timeout(50 * MS, || green::sleep(MS));
                y.yield_now();
            });
            y.yield_from(inner);
            let group = wouldblock::group::Group::run(|g| {
                drop(g.spawn(|| {
                    green::sleep(MS);
                    Ok::<_, wouldblock::JoinError>(())
                }));
                Ok(())
            });
            group.unwrap();
            y.yield_now();
        })
        .join()
        .unwrap();
    });
}

#[test]
fn a_generator_cannot_yield_inside_of_a_limit_also_after_green_code_has_waited_in_it() {
    run(|| {
        let task = generator::spawn(|y| {
            green::timeout(50 * MS, || {
                green::sleep(MS);
                y.yield_now();
            })
        });
        let error = task.join().unwrap_err();
        assert_contains(&error.to_string(), &["cannot yield inside of `green::timeout`"]);
        let task = generator::spawn(|y| {
            wouldblock::group::Group::run(|_| {
                y.yield_now();
                Ok::<_, wouldblock::JoinError>(())
            })
        });
        let error = task.join().unwrap_err();
        assert_contains(&error.to_string(), &["cannot yield inside of `Group::run`"]);
    });
}

// A runtime that is dropped ends its tasks, wherever that is.

#[test]
fn a_limit_on_a_wait_for_a_socket_in_a_destructor_passes_on_a_virtual_clock_too() {
    struct WaitsInDrop(UnixStream, Rc<Cell<bool>>);
    impl Drop for WaitsInDrop {
        fn drop(&mut self) {
            self.1.set(green::wait(op::timeout(5 * MS, self.0.readable())).is_err());
        }
    }
    Builder::new().virtual_clock().run(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let is_late = Rc::new(Cell::new(false));
        let waits = WaitsInDrop(ours, is_late.clone());
        let task = green::spawn(move || {
            let _waits = waits;
            panic_any("the stack unwinds");
        });
        assert!(task.join().unwrap_err().is_panic());
        assert!(is_late.get());
    });
}

#[test]
fn a_runtime_dropped_while_its_thread_unwinds_ends_its_tasks() {
    let trace = Trace::new();
    let log = logged(|| {
        let (waits, cleans) = (trace.at_drop("waits"), trace.at_drop("cleans"));
        let _ = panic::catch_unwind(AssertUnwindSafe(|| {
            let runtime = Builder::new().build().unwrap();
            runtime.enter(|| {
                drop(green::spawn(move || {
                    let _waits = waits;
                    green::sleep(HOUR);
                }));
                drop(green::spawn(move || {
                    let _cleans = cleans;
                    green::finally(|| green::sleep(HOUR), || green::sleep(MS));
                }));
            });
            while runtime.turn() {}
            panic!("on purpose");
        }));
    });
    assert_eq!(trace.take(), ["waits"]);
    let errors: Vec<_> = log.iter().filter(|(level, _)| *level == Level::Error).collect();
    assert_eq!(errors.len(), 1, "{log:?}");
    assert_contains(&errors[0].1, &["task 2", "its runtime is dropped by a panicking thread"]);
    assert!(!thread::panicking());
    run(|| green::sleep(MS));
}

#[test]
fn a_runtime_may_be_driven_by_a_destructor_while_its_thread_unwinds() {
    struct Drives(wouldblock::Runtime, Trace);
    impl Drop for Drives {
        fn drop(&mut self) {
            while self.0.turn() {}
            self.1.say("driven");
        }
    }
    let trace = Trace::new();
    let goes_on = trace.at_drop("ended");
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        let drives = Drives(Builder::new().build().unwrap(), trace.clone());
        drives.0.enter(|| {
            drop(green::spawn(move || {
                let _goes_on = goes_on;
                green::yield_now();
                green::wait(future::yield_now());
            }));
        });
        panic!("on purpose");
    }));
    assert!(caught.is_err());
    assert_eq!(trace.take(), ["ended", "driven"]);
}

/// A task is spawned in a runtime, which this thread drops while it unwinds.
fn drop_while_unwinding(spawn: fn()) {
    let runtime = Builder::new().build().unwrap();
    runtime.enter(spawn);
    while runtime.turn() {}
    panic!("on purpose");
}

// Suspended in the middle of its unwinding, a stack would have the thread count as panicking for ever.
const REFUSED: &[&str] = &["has to wait in a destructor while its stack unwinds"];

struct Waits;

impl Drop for Waits {
    fn drop(&mut self) {
        green::yield_now();
    }
}

#[test]
fn a_destructor_that_waits_in_a_runtime_dropped_by_an_unwinding_thread_aborts() {
    let ended = in_child(|| {
        drop_while_unwinding(|| {
            drop(green::spawn(|| {
                let _waits = Waits;
                green::sleep(HOUR);
            }));
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(REFUSED);
}

#[test]
fn a_destructor_that_yields_in_a_runtime_dropped_by_an_unwinding_thread_aborts() {
    struct Yields<'a>(&'a Yielder<Wait>);
    impl Drop for Yields<'_> {
        fn drop(&mut self) {
            self.0.yield_now();
        }
    }
    let ended = in_child(|| {
        drop_while_unwinding(|| {
            drop(generator::spawn(|y| {
                let _yields = Yields(y);
                y.wait(pending::<()>());
            }));
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(REFUSED);
}

#[test]
fn a_destructor_that_waits_for_a_cancellation_from_an_inner_stack_aborts_as_well() {
    let ended = in_child(|| {
        drop_while_unwinding(|| {
            drop(green::spawn(|| {
                let _waits = Waits;
                let mut inner = Generator::new(|_: &Yielder<i32>| green::sleep(HOUR));
                inner.resume();
            }));
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(REFUSED);
}

#[test]
fn a_generator_that_yields_in_a_destructor_while_it_is_dropped_by_an_unwinding_thread_aborts() {
    struct Yields<'a>(&'a Yielder<i32>);
    impl Drop for Yields<'_> {
        fn drop(&mut self) {
            self.0.yield_(2);
        }
    }
    let ended = in_child(|| {
        let mut generator = Generator::new(|y| {
            let _yields = Yields(y);
            y.yield_(1);
        });
        generator.resume();
        panic!("on purpose");
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(REFUSED);
}

#[test]
fn a_task_that_swallows_its_cancellation_is_left_where_its_runtime_is_dropped_by_an_unwinding_thread()
 {
    let log = logged(|| {
        let _ = panic::catch_unwind(|| {
            drop_while_unwinding(|| {
                drop(green::spawn(|| {
                    let _ = panic::catch_unwind(|| green::sleep(HOUR));
                    green::yield_now();
                }));
            });
        });
    });
    let errors: Vec<_> = log.iter().filter(|(level, _)| *level == Level::Error).collect();
    assert_eq!(errors.len(), 1, "{log:?}");
    assert_contains(
        &errors[0].1,
        &["its runtime is dropped by a panicking thread: it is abandoned"],
    );
    assert!(!thread::panicking());
    run(|| green::sleep(MS));
}

#[test]
fn a_panic_that_a_scope_lets_out_and_that_is_caught_ends_nothing_where_a_thread_unwinds() {
    let trace = Trace::new();
    let _ = panic::catch_unwind(AssertUnwindSafe(|| {
        let runtime = Builder::new().build().unwrap();
        let said = trace.clone();
        let task = move || {
            let _ended = said.at_drop("ended");
            // The scope waits for its task, while the runtime is dropped, before it lets the panic out.
            let caught = panic::catch_unwind(|| {
                green::scope(|s| {
                    s.spawn(|| ());
                    panic_any(6);
                });
            });
            said.say(if caught.unwrap_err().is::<i32>() { "caught" } else { "something else" });
            green::sleep(HOUR);
        };
        runtime.enter(|| drop(green::spawn(task)));
        runtime.turn();
        assert!(trace.take().is_empty());
        panic!("on purpose");
    }));
    assert_eq!(trace.take(), ["caught", "ended"]);
}

#[test]
fn a_runtime_dropped_inside_of_a_run_ends_its_tasks_and_the_run_goes_on() {
    let trace = Trace::new();
    let lock = Rc::new(sync::Mutex::new(0));
    let runtime = Builder::new().virtual_clock().build().unwrap();
    let (goodbye, holder, locked) =
        (trace.at_drop("goodbye"), trace.at_drop("holder"), lock.clone());
    runtime.enter(|| {
        drop(green::spawn(move || {
            let _holder = holder;
            let _guard = locked.lock();
            let cleanup = || {
                green::sleep(SECOND);
                drop(goodbye);
            };
            green::finally(|| green::sleep(HOUR), cleanup);
        }));
    });
    while runtime.turn() {}
    run(|| {
        drop(runtime);
        assert_eq!(task::current().unwrap().id(), 1);
        assert_eq!(trace.take(), ["goodbye", "holder"]);
        *lock.lock() += 1; // free again
        green::sleep(MS);
    });
}

// Where an error points.

#[test]
fn misuse_is_reported_at_the_line_of_the_user() {
    let ended = in_child(|| {
        let misuses: [fn(); 5] = [
            || drop(green::spawn(|| ())),
            || drop(generator::spawn(|_| ())),
            || drop(future::spawn(async {})),
            || wouldblock::run(|| wouldblock::run(|| ())),
            || {
                let (one, two) = (Builder::new().build().unwrap(), Builder::new().build().unwrap());
                one.enter(|| two.enter(|| ()));
            },
        ];
        for misuse in misuses {
            let _ = panic::catch_unwind(misuse);
        }
    });
    ended.assert_fine();
    let lines = ended.stderr.lines().filter(|line| line.contains("panicked at"));
    let own = lines.clone().filter(|line| line.contains("tests/it/unwinding.rs:")).count();
    assert_eq!((own, lines.count()), (5, 5), "{}", ended.stderr);
}

#[test]
fn a_sleep_beyond_all_clocks_is_a_deadlock_and_no_spin() {
    let far = Duration::from_secs(1 << 62);
    let deadlock = Builder::new().virtual_clock().try_run(|| green::sleep(far)).unwrap_err();
    assert_contains(&deadlock.to_string(), &["deadlock: 1 task waits"]);
    run(|| {
        assert!(green::timeout(MS, || green::sleep(far)).is_err());
        assert!(green::timeout(far, || green::sleep(MS)).is_ok());
    });
}

// A turn has a bound.

#[test]
fn what_is_always_ready_lets_the_others_run_in_each_era() {
    run(|| {
        let turns = Rc::new(Cell::new(0));
        let counter = turns.clone();
        let other = green::spawn(move || {
            loop {
                counter.set(counter.get() + 1);
                green::yield_now();
            }
        });
        let others_had_turns = |what: &str| {
            assert!(turns.replace(0) > 3, "{what}");
        };
        for _ in 0..1000 {
            green::wait(ready(()));
        }
        others_had_turns("ready futures");
        let loops = generator::spawn(|y| (0..1000).for_each(|_| y.wait(ready(()))));
        loops.join().unwrap();
        others_had_turns("ready futures in a generator");
        let (sender, receiver) = async_channel::unbounded();
        let refilled = future::spawn(async move {
            for n in 0..1000 {
                sender.send(n).await.unwrap();
            }
        });
        refilled.join().unwrap();
        turns.set(0);
        while green::wait(receiver.recv()).is_ok() {}
        others_had_turns("a channel of another crate");
        other.cancel();
    });
}

#[test]
fn a_sleep_of_no_time_gives_one_turn_and_notices_a_cancellation_in_each_era() {
    run(|| {
        let zero = Duration::ZERO;
        wouldblock::testing::assert_turns(1, || green::sleep(zero));
        generator::spawn(move |y| {
            wouldblock::testing::assert_turns(1, || y.wait(time::sleeping(zero)));
        })
        .join()
        .unwrap();
        future::spawn(async move {
            wouldblock::testing::assert_turns_async(1, time::sleeping(zero)).await;
        })
        .join()
        .unwrap();
        let tasks = [
            green::spawn(move || {
                loop {
                    green::sleep(zero);
                }
            }),
            generator::spawn(move |y| {
                loop {
                    y.wait(time::sleeping(zero));
                }
            }),
            future::spawn(async move {
                loop {
                    time::sleeping(zero).await;
                }
            }),
        ];
        let_others_run();
        for task in tasks {
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
        }
    });
}
