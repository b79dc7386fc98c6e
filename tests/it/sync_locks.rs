//! `Mutex`, `Condvar`, `Semaphore`, `Event` and `Barrier`: who is served in which order, what becomes of what
//! was handed to somebody who is cancelled or has run out of time, and what a deadlock's report says of them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::util::{
    self, Defer, ERAS, HOUR, MS, SECOND, Trace, all, assert_contains, deadlock_text, in_child,
    let_others_run, poll_once, run, run_in_order, spawn_waiting,
};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use wouldblock::generator::{Generator, GeneratorState, Yielder};
use wouldblock::op::{Either, select};
use wouldblock::sync::{Barrier, Condvar, Event, Mutex, Queue, RwLock, Semaphore, oneshot};
use wouldblock::{
    Builder, Era, JoinHandle, Wait, future, green, group::gather, op, task, testing::explore, time,
};

/// A task of `era` that is first in line for the mutex's lock, says `what` once it has it, and keeps it for a
/// turn.
fn locker(era: Era, mutex: &Rc<Mutex<Trace>>, what: impl Into<String>) -> JoinHandle<()> {
    let (mutex, what) = (mutex.clone(), what.into());
    let code = async move {
        let trace = mutex.locking().await;
        trace.say(&what);
        future::yield_now().await;
        trace.say(what);
    };
    spawn_waiting(era, code, ())
}

// Mutex.

#[test]
fn a_mutex_is_handed_over_in_the_order_of_arrival_in_all_eras() {
    run_in_order(|| {
        let mutex = Rc::new(Mutex::new(Trace::new()));
        let guard = mutex.lock();
        let names = ["a", "b", "c", "d", "e", "f"];
        let tasks =
            names.iter().zip(ERAS.iter().cycle()).map(|(name, era)| locker(*era, &mutex, *name));
        let tasks: Vec<_> = tasks.collect();
        let_others_run();
        drop(guard);
        // Nobody overtakes those in line.
        assert!(mutex.try_lock().is_none());
        mutex.lock().say("last");
        all(tasks);
        let twice: Vec<_> = names.iter().flat_map(|name| [*name, *name]).chain(["last"]).collect();
        assert_eq!(mutex.lock().take(), twice);
    });
}

#[test]
fn a_free_mutex_is_taken_without_a_turn_and_outside_of_tasks_too() {
    let mut mutex = Mutex::new(1);
    *mutex.lock() += 1;
    *mutex.try_lock().unwrap() += 1;
    assert_eq!(format!("{mutex:?}"), "Mutex { value: 3, line: 0 waiting }");
    let guard = mutex.lock();
    assert!(mutex.try_lock().is_none());
    assert_eq!(
        format!("{guard} {guard:?} {mutex:?}"),
        "3 3 Mutex { value: <locked>, line: 0 waiting }"
    );
    drop(guard);
    *mutex.get_mut() += 1;
    assert_eq!(mutex.into_inner(), 4);

    let turns = run_in_order(|| {
        let mutex = Mutex::from(());
        (0..10).for_each(|_| drop(mutex.lock()));
        wouldblock::stats().turns
    });
    assert_eq!(turns, 1);
}

#[test]
fn locking_again_at_once_waits_behind_the_others() {
    run_in_order(|| {
        let mutex = Rc::new(Mutex::new(Trace::new()));
        let tasks = ["a", "b"].map(|name| {
            let mutex = mutex.clone();
            green::spawn(move || {
                for _ in 0..3 {
                    let trace = mutex.lock();
                    trace.say(name);
                    green::yield_now();
                }
            })
        });
        all(tasks);
        assert_eq!(mutex.lock().take(), ["a", "b", "a", "b", "a", "b"]);
    });
}

#[test]
fn a_lock_that_was_handed_to_somebody_who_is_gone_goes_to_the_next() {
    run_in_order(|| {
        let mutex = Rc::new(Mutex::new(Trace::new()));
        let guard = mutex.lock();
        let (mut first, mut second) = (mutex.locking(), mutex.locking());
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());
        let third = locker(Era::Green, &mutex, "third");
        green::yield_now();
        drop(guard); // Handed to the first, who has not seen it,
        drop(first); // and never will: to the second,
        drop(second); // to the third.
        third.join().unwrap();
        assert_eq!(mutex.lock().take(), ["third", "third"]);
        let mut alone = mutex.locking();
        let guard = mutex.lock();
        assert!(poll_once(&mut alone).is_pending());
        drop(guard);
        drop(alone);
        assert!(mutex.try_lock().is_some(), "there was no next");
    });
}

/// Cancelled before its first turn, in the line, when the lock was just handed over, and when it has it.
#[test]
fn whoever_is_cancelled_at_any_point_leaves_the_lock_to_the_next() {
    for era in ERAS {
        for turns in 0..6 {
            run_in_order(|| {
                let mutex = Rc::new(Mutex::new(Trace::new()));
                let guard = mutex.lock();
                let cancelled = locker(era, &mutex, "cancelled");
                let next = locker(era, &mutex, "next");
                let mut guard = Some(guard);
                for turn in 0..turns {
                    if turn == 2 {
                        guard = None;
                    }
                    green::yield_now();
                }
                cancelled.cancel();
                drop(guard);
                drop(cancelled.join());
                next.join().unwrap();
                let trace = mutex.try_lock().expect("all have unlocked").take();
                assert_eq!(trace[trace.len() - 2..], ["next", "next"], "{era}, {turns}");
            });
        }
    }
}

#[test]
fn whoever_runs_out_of_time_leaves_the_line() {
    for era in ERAS {
        run_in_order(|| {
            let mutex = Rc::new(Mutex::new(Trace::new()));
            let guard = mutex.lock();
            let waits = mutex.clone();
            let limited = async move { op::timeout(SECOND, waits.locking()).await.is_err() };
            let limited = spawn_waiting(era, limited, ());
            let patient = locker(era, &mutex, "patient");
            assert!(limited.join().unwrap(), "{era}");
            let elapsed = mutex.lock_timeout(SECOND).map(drop).unwrap_err();
            assert_eq!(elapsed.to_string(), "timed out after 1s");
            drop(guard);
            patient.join().unwrap();
            assert!(mutex.lock_timeout(SECOND).is_ok());
        });
    }
}

/// At the very moment in which the time has passed, the lock is unlocked: it is not lost, whoever gets it.
#[test]
fn a_lock_that_comes_when_the_time_has_passed_is_not_lost() {
    for unwinds in [false, true] {
        let outcomes = RefCell::new(Vec::new());
        explore(200, || {
            let mutex = Rc::new(Mutex::new(()));
            let holds = mutex.clone();
            let holder = green::spawn(move || {
                let _guard = holds.lock();
                green::sleep(SECOND);
            });
            let waits = mutex.clone();
            let limited = green::spawn(move || {
                green::sleep(MS);
                match unwinds {
                    true => green::timeout(SECOND - MS, || drop(waits.lock())).is_ok(),
                    false => waits.lock_timeout(SECOND - MS).is_ok(),
                }
            });
            holder.join().unwrap();
            outcomes.borrow_mut().push(limited.join().unwrap());
            assert!(mutex.try_lock().is_some());
        });
        let outcomes = outcomes.borrow(); // A single one, if a seed was given.
        assert!(
            outcomes.len() == 1 || [true, false].iter().all(|either| outcomes.contains(either))
        );
    }
}

#[test]
fn a_panic_and_a_cancellation_unlock_and_poison_nothing() {
    run_in_order(|| {
        let mutex = Rc::new(Mutex::new(1));
        for cancel in [false, true] {
            let holds = mutex.clone();
            let holder = green::spawn(move || {
                let mut guard = holds.lock();
                *guard += 1;
                green::sleep(SECOND);
                panic!("as it was meant to");
            });
            let waits = mutex.clone();
            let waiter = green::spawn(move || *waits.lock());
            green::yield_now();
            if cancel {
                holder.cancel();
            }
            let before = *mutex.lock(); // Unlocked by the unwinding stack, with others in line.
            assert_eq!(waiter.join().unwrap(), before);
            assert_eq!(holder.join().unwrap_err().is_cancelled(), cancel);
        }
        assert_eq!(*mutex.lock(), 3);
    });
}

/// A destructor may unlock and lock what is free; having to wait in it aborts, with the crate's own words.
#[test]
fn a_destructor_locks_what_is_free_while_the_stack_unwinds() {
    run_in_order(|| {
        let mutex = Rc::new(Mutex::new(1));
        let locks = mutex.clone();
        let task = green::spawn(move || {
            let _cleanup = Defer(|| *locks.lock() += 1);
            green::sleep(HOUR);
        });
        green::yield_now();
        task.cancel();
        assert!(task.join().is_err());
        assert_eq!(*mutex.lock(), 2);
    });
    let ended = in_child(|| {
        run_in_order(|| {
            let mutex = Rc::new(Mutex::new(1));
            let locks = mutex.clone();
            let task = green::spawn(move || {
                let _cleanup = Defer(|| *locks.lock() += 1);
                green::sleep(HOUR);
            });
            green::yield_now();
            let _guard = mutex.lock();
            task.cancel();
            drop(task.join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["has to wait in a destructor while its stack unwinds"]);
}

/// Waits in the middle of being shown, as a socket does that it is written to.
struct Slow;

impl fmt::Debug for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        green::sleep(MS);
        f.write_str("slow")
    }
}

#[test]
fn a_mutex_is_locked_while_it_is_shown() {
    run(|| {
        let mutex = Rc::new(Mutex::new(Slow));
        let shown = green::spawn({
            let mutex = mutex.clone();
            move || format!("{mutex:?}")
        });
        let_others_run();
        assert_contains(&format!("{mutex:?}"), &["<locked>"]);
        drop(mutex.lock());
        assert_contains(&shown.join().unwrap(), &["value: slow"]);
    });
}

#[test]
fn a_guard_may_be_moved_to_another_task() {
    run_in_order(|| {
        let mutex: &'static Mutex<i32> = Box::leak(Box::new(Mutex::new(1)));
        let guard = green::spawn(|| mutex.lock()).join().unwrap();
        assert!(mutex.try_lock().is_none());
        green::spawn(move || drop(guard)).join().unwrap();
        assert!(mutex.try_lock().is_some());
    });
}

#[test]
fn several_of_one_task_wait_in_one_line() {
    run_in_order(|| {
        let mutex = Mutex::new(Vec::new());
        let hold = |n| {
            let mutex = &mutex;
            async move {
                let mut guard = mutex.locking().await;
                future::yield_now().await;
                guard.push(n);
            }
        };
        let mut together: FuturesUnordered<_> = (0..5).map(hold).collect();
        while green::wait(together.next()).is_some() {}
        assert_eq!(*mutex.lock(), [0, 1, 2, 3, 4]);
    });
}

/// A waker of another crate's, which may do anything while it is called, or at last dropped: here, on this thread,
/// it calls `at_wake` or `at_drop`, once.
fn waker_that(at_wake: impl FnOnce() + 'static, at_drop: impl FnOnce() + 'static) -> Waker {
    type Call = Box<dyn FnOnce()>;
    thread_local!(static CALLS: RefCell<Vec<[Option<Call>; 2]>> = RefCell::default());
    struct Calls(usize);
    impl Calls {
        fn call(&self, which: usize) {
            let call = CALLS.with_borrow_mut(|calls| calls[self.0][which].take());
            call.expect("once")();
        }
    }
    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.call(0);
        }
    }
    impl Drop for Calls {
        fn drop(&mut self) {
            self.call(1);
        }
    }
    let index = CALLS.with_borrow_mut(|calls| {
        calls.push([Some(Box::new(at_wake)), Some(Box::new(at_drop))]);
        calls.len() - 1
    });
    Waker::from(Arc::new(Calls(index)))
}

/// Polls `operation` once with `waker`; it is not ready.
fn leave_waker<F: Future + Unpin>(operation: &mut F, waker: &Waker) {
    assert!(Pin::new(operation).poll(&mut Context::from_waker(waker)).is_pending());
}

#[test]
fn a_waker_may_come_back_while_it_is_called() {
    let mutex: &'static Mutex<i32> = Box::leak(Box::new(Mutex::new(0)));
    let guard = mutex.lock();
    let operation = Rc::new(RefCell::new(mutex.locking()));
    let polls = operation.clone();
    let polls = move || {
        let Poll::Ready(mut guard) = poll_once(&mut *polls.borrow_mut()) else { panic!("granted") };
        *guard += 1;
    };
    let waker = waker_that(polls, || ());
    leave_waker(&mut *operation.borrow_mut(), &waker);
    drop(guard);
    assert_eq!(*mutex.lock(), 1);
}

#[test]
fn a_waker_may_unlock_when_it_is_dropped() {
    let mutex: &'static Mutex<()> = Box::leak(Box::new(Mutex::new(())));
    let waker = || {
        let guard = mutex.lock();
        waker_that(|| unreachable!("another has polled since"), || drop(guard))
    };
    let woken = Rc::new(Cell::new(false));
    let wakes = woken.clone();
    let mut replaced = mutex.locking();
    leave_waker(&mut replaced, &{ waker() });
    leave_waker(&mut replaced, &waker_that(move || wakes.set(true), || ()));
    assert!(woken.get(), "the lock was free as soon as the first waker was gone");
    assert!(poll_once(&mut replaced).is_ready());
    let (mut dropped, mut next) = (mutex.locking(), mutex.locking());
    leave_waker(&mut dropped, &{ waker() });
    assert!(poll_once(&mut next).is_pending());
    drop(dropped);
    assert!(poll_once(&mut next).is_ready());
}

/// Whoever comes to a barrier while those before are let through has come for the next time.
#[test]
fn a_waker_may_come_to_the_barrier_that_wakes_it() {
    let barrier: &'static Barrier = Box::leak(Box::new(Barrier::new(3)));
    let next: Rc<[_; 2]> = Rc::new(std::array::from_fn(|_| RefCell::new(barrier.waiting())));
    let next_come = {
        let next = next.clone();
        move || assert!(next.iter().all(|come| poll_once(&mut *come.borrow_mut()).is_pending()))
    };
    let [mut first, mut second] = std::array::from_fn(|_| barrier.waiting());
    leave_waker(&mut first, &waker_that(next_come, || ()));
    assert!(poll_once(&mut second).is_pending());
    assert!(poll_once(&mut barrier.waiting()).is_ready());
    assert!(poll_once(&mut first).is_ready() && poll_once(&mut second).is_ready());
    assert!(next.iter().all(|come| poll_once(&mut *come.borrow_mut()).is_pending()));
    assert!(poll_once(&mut barrier.waiting()).is_ready());
    assert!(next.iter().all(|come| poll_once(&mut *come.borrow_mut()).is_ready()));
}

/// Of what kind it is, the operation, and what ends it.
type Awaited = (&'static str, LocalBoxFuture<'static, ()>, Box<dyn FnOnce()>);

/// An operation of each kind that stands in a line.
fn operations() -> Vec<Awaited> {
    fn leak<T>(value: T) -> &'static T {
        Box::leak(Box::new(value))
    }
    let (mutex, of_condvar) = (leak(Mutex::new(())), leak(Mutex::new(())));
    let (guard, semaphore, event) = (mutex.lock(), leak(Semaphore::new(0)), leak(Event::new()));
    let (barrier, condvar) = (leak(Barrier::new(2)), leak(Condvar::new()));
    let (empty, full, busy) =
        (leak(Queue::bounded(1)), leak(Queue::bounded(1)), leak(Queue::bounded(1)));
    let (sender, receiver) = oneshot::channel();
    full.put(()).unwrap();
    busy.put(()).unwrap();
    vec![
        ("mutex", mutex.locking().map(drop).boxed_local(), Box::new(|| drop(guard))),
        (
            "semaphore",
            semaphore.acquiring().map(drop).boxed_local(),
            Box::new(|| semaphore.release(1)),
        ),
        ("event", event.waiting().boxed_local(), Box::new(|| event.set())),
        (
            "barrier",
            barrier.waiting().map(drop).boxed_local(),
            Box::new(|| assert!(poll_once(&mut barrier.waiting()).is_ready())),
        ),
        (
            "condvar",
            condvar.waiting(of_condvar.lock()).map(drop).boxed_local(),
            Box::new(|| condvar.notify_one()),
        ),
        ("get", empty.getting().map(drop).boxed_local(), Box::new(|| empty.put(()).unwrap())),
        ("put", full.putting(()).map(drop).boxed_local(), Box::new(|| full.get().unwrap())),
        ("join", busy.joining().boxed_local(), Box::new(|| busy.task_done())),
        ("oneshot", receiver.map(drop).boxed_local(), Box::new(|| sender.send(()).unwrap())),
    ]
}

#[test]
fn an_operation_may_be_begun_in_a_combinator_and_ended_in_a_task() {
    for era in ERAS {
        for (name, mut operation, end) in operations() {
            run_in_order(|| {
                let mut combinator = FuturesUnordered::from_iter([&mut operation]);
                assert!(poll_once(&mut combinator.next()).is_pending(), "{name}");
                drop(combinator);
                let task = spawn_waiting(era, operation, ());
                let_others_run();
                assert!(!task.is_finished(), "{name}");
                end();
                task.join().unwrap();
            });
        }
    }
}

#[test]
fn an_operation_may_be_begun_in_a_task_and_ended_in_a_combinator_of_another() {
    for era in ERAS {
        for (name, operation, end) in operations() {
            run_in_order(|| {
                let mut begun = Some(operation);
                let begin = std::future::poll_fn(move |cx| {
                    let mut operation = begun.take().expect("once");
                    assert!(operation.as_mut().poll(cx).is_pending(), "{name}");
                    Poll::Ready(operation)
                });
                let operation = spawn_waiting(era, begin, ()).join().unwrap();
                let ends = async move {
                    let pending = std::future::pending().boxed_local();
                    FuturesUnordered::from_iter([pending, operation]).next().await
                };
                let task = spawn_waiting(era, ends, ());
                let_others_run();
                assert!(!task.is_finished(), "{name}");
                end();
                task.join().unwrap().unwrap();
            });
        }
    }
}

#[test]
fn whoever_is_woken_for_nothing_keeps_its_place() {
    for era in ERAS {
        run_in_order(|| {
            let (mutex, nothing) = (Rc::new(Mutex::new(Trace::new())), Rc::new(Event::new()));
            let guard = mutex.lock();
            let (locks, hears) = (mutex.clone(), nothing.clone());
            let first = async move {
                let mut locking = locks.locking();
                loop {
                    match select(&mut locking, hears.waiting()).await {
                        Either::First(trace) => return trace.say("first"),
                        Either::Second(()) => hears.clear(),
                    }
                }
            };
            let first = spawn_waiting(era, first, ());
            let_others_run();
            let second = locker(Era::Green, &mutex, "second");
            for _ in 0..3 {
                nothing.set();
                let_others_run();
                assert!(!nothing.is_set(), "it was woken");
            }
            drop(guard);
            all([first, second]);
            assert_eq!(mutex.lock().take()[..2], ["first", "second"]);
        });
    }
}

/// The last poll counts: an operation may be begun by one task and waited for by another.
#[test]
fn an_operation_wakes_whoever_has_polled_it_last() {
    for era in ERAS {
        run_in_order(|| {
            let mutex: &'static Mutex<i32> = Box::leak(Box::new(Mutex::new(1)));
            let guard = mutex.lock();
            let mut operation = mutex.locking();
            assert!(poll_once(&mut operation).is_pending());
            let task = spawn_waiting(era, async { *operation.await }, ());
            let_others_run();
            drop(guard);
            assert_eq!(task.join().unwrap(), 1);
        });
    }
}

#[test]
fn a_generator_that_is_resumed_by_hand_waits_for_a_lock() {
    run_in_order(|| {
        let mutex = Rc::new(Mutex::new(1));
        let (locks, guard) = (mutex.clone(), mutex.lock());
        let mut generator = Generator::new(move |y: &Yielder<Wait>| *y.wait(locks.locking()) += 1);
        let task = green::spawn(move || {
            while let GeneratorState::Yielded(wait) = generator.resume() {
                green::wait(wait);
            }
        });
        let_others_run();
        drop(guard);
        task.join().unwrap();
        assert_eq!(*mutex.lock(), 2);
    });
}

#[test]
fn tasks_of_two_runtimes_of_one_thread_share_a_mutex() {
    let mutex = Rc::new(Mutex::new(Trace::new()));
    let runtimes = [(); 2].map(|()| Builder::new().virtual_clock().build().unwrap());
    let tasks = [0, 1].map(|n| runtimes[n].enter(|| locker(Era::Green, &mutex, n.to_string())));
    for _ in 0..10 {
        runtimes.iter().for_each(|runtime| while runtime.turn() {});
    }
    assert!(tasks.iter().all(JoinHandle::is_finished));
    assert_eq!(mutex.lock().take(), ["0", "0", "1", "1"]);
}

#[test]
fn the_report_names_the_holder_and_draws_the_cycle_through_two_mutexes() {
    let line = line!();
    let text = deadlock_text(|| {
        let [a, b] = [(); 2].map(|()| Rc::new(Mutex::new(())));
        let tasks = [("A", a.clone(), b.clone()), ("B", b, a)].map(|(name, first, second)| {
            task::Builder::new().name(name).spawn(move || {
                let _first = first.lock();
                green::yield_now();
                let _second = second.lock();
            })
        });
        all(tasks);
    });
    let (first, second, spawn) = (line + 5, line + 7, line + 4);
    let file = file!();
    let held = |by| format!("a mutex (held by task {by}, {file}:{first}:36)");
    let (by_a, by_b) = (held("2 \"A\""), held("3 \"B\""));
    let expected = [
        format!(
            "\n  task 2 \"A\" (green, spawned at {file}:{spawn}:45) waits for {by_b}, at {file}:{second}:38\n"
        ),
        format!(
            "\n  task 3 \"B\" (green, spawned at {file}:{spawn}:45) waits for {by_a}, at {file}:{second}:38\n"
        ),
        format!("\n  cycle: task 2 → {by_b} → task 3 → {by_a} → task 2"),
    ];
    assert_contains(&text, &expected.each_ref().map(String::as_str));
}

#[test]
fn a_task_that_locks_twice_is_reported_as_waiting_for_itself() {
    for era in ERAS {
        let text = deadlock_text(|| {
            let mutex = Rc::new(Mutex::new(()));
            let twice = async move {
                let _once = mutex.locking().await;
                drop(mutex.locking().await);
            };
            spawn_waiting(era, twice, ()).join().unwrap();
        });
        let [_, cycle] = text.split("\n  cycle: ").collect::<Vec<_>>()[..] else {
            panic!("{text}")
        };
        assert!(
            cycle.starts_with("task 2 → a mutex (held by task 2, tests/it/sync_locks.rs:"),
            "{text}"
        );
        assert!(cycle.ends_with(") → task 2"), "{text}");
    }
}

/// The holder is whoever has it when the report is made, not when somebody began to wait.
#[test]
fn the_report_tells_the_present_holder() {
    let text = deadlock_text(|| {
        let mutex = Rc::new(Mutex::new(()));
        let tasks = ["first", "second", "third"].map(|name| {
            let mutex = mutex.clone();
            task::Builder::new().name(name).spawn(move || {
                let _guard = mutex.lock();
                green::yield_now();
                if name == "second" {
                    green::wait(std::future::pending::<()>());
                }
            })
        });
        all(tasks);
    });
    assert_contains(&text, &["task 4 \"third\"", "waits for a mutex (held by task 3 \"second\", "]);
    let text = deadlock_text(|| {
        let mutex = Rc::new(Mutex::new(()));
        let forgets = mutex.clone();
        green::spawn(move || std::mem::forget(forgets.lock())).join().unwrap();
        drop(mutex.lock());
    });
    assert_contains(
        &text,
        &["waits for a mutex (held by task 2, which has ended, tests/it/sync_locks.rs:"],
    );
}

// RwLock.

/// A task of `era` that reads or writes, says `what` once it may, and keeps the lock for a turn.
fn reader_or_writer(
    era: Era,
    lock: &Rc<RwLock<Trace>>,
    writes: bool,
    what: impl Into<String>,
) -> JoinHandle<()> {
    let (lock, what) = (lock.clone(), what.into());
    let code = async move {
        if writes {
            let trace = lock.writing().await;
            trace.say(format!("{what} begins"));
            future::yield_now().await;
            trace.say(format!("{what} ends"));
        } else {
            let trace = lock.reading().await;
            trace.say(format!("{what} begins"));
            future::yield_now().await;
            trace.say(format!("{what} ends"));
        }
    };
    spawn_waiting(era, code, ())
}

#[test]
fn readers_share_a_lock_and_a_writer_has_it_alone_in_the_order_of_arrival() {
    run_in_order(|| {
        let lock = Rc::new(RwLock::new(Trace::new()));
        let first = lock.write();
        let kinds = [("a", false), ("b", false), ("C", true), ("d", false), ("E", true)];
        let tasks = kinds.iter().zip(ERAS.iter().cycle());
        let tasks =
            tasks.map(|((what, writes), era)| reader_or_writer(*era, &lock, *writes, *what));
        let tasks: Vec<_> = tasks.collect();
        let_others_run();
        drop(first);
        assert!(lock.try_read().is_none(), "a writer stands in the line");
        all(tasks);
        let said = lock.read().take();
        let expected = [
            "a begins", "b begins", "a ends", "b ends", "C begins", "C ends", "d begins", "d ends",
            "E begins", "E ends",
        ];
        assert_eq!(said, expected);
    });
}

#[test]
fn a_free_lock_is_read_and_written_outside_of_tasks_too() {
    let mut lock = RwLock::new(1);
    *lock.write() += 1;
    let (a, b) = (lock.read(), lock.try_read().unwrap());
    assert_eq!((*a, *b, format!("{a} {a:?}")), (2, 2, "2 2".into()));
    assert!(lock.try_write().is_none());
    drop((a, b));
    let writes = lock.try_write().unwrap();
    assert!(lock.try_read().is_none() && lock.try_write().is_none());
    assert_eq!(format!("{lock:?}"), "RwLock { value: <locked>, .. }");
    drop(writes);
    assert_eq!(format!("{lock:?}"), "RwLock { value: 2, .. }");
    *lock.get_mut() += 1;
    assert_eq!(lock.into_inner(), 3);
    assert_eq!(*RwLock::<i32>::default().read() + *RwLock::from(4).read(), 4);
}

#[test]
fn a_lock_is_neither_lost_nor_doubled_when_who_waits_is_cancelled_or_runs_out_of_time() {
    for era in ERAS {
        run_in_order(|| {
            let lock = Rc::new(RwLock::new(Trace::new()));
            let reads = lock.read();
            let writer = reader_or_writer(era, &lock, true, "writer");
            let_others_run();
            let reader = reader_or_writer(era, &lock, false, "reader");
            assert!(lock.read_timeout(MS).is_err() && lock.write_timeout(MS).is_err());
            assert!(!reader.is_finished(), "it stands behind the writer");
            // With the writer gone, who stood behind it may read beside the first.
            writer.cancel();
            reader.join().unwrap();
            assert!(writer.join().unwrap_err().is_cancelled());
            drop(reads);

            // Handed to a task that is cancelled before its turn.
            let writes = lock.write();
            let (gone, next) = (
                reader_or_writer(era, &lock, true, "gone"),
                reader_or_writer(era, &lock, true, "next"),
            );
            let_others_run();
            drop(writes);
            gone.cancel();
            next.join().unwrap();
            let said = lock.write_timeout(MS).unwrap().take();
            // What was handed over is had, and its task stops at the next wait.
            let last = ["gone begins", "next begins", "next ends"];
            assert_eq!(said, [&["reader begins", "reader ends"][..], &last].concat());
        });
    }
}

#[test]
fn a_panic_unlocks_a_reader_writer_lock_and_poisons_nothing() {
    run(|| {
        let lock = Rc::new(RwLock::new(0));
        let shared = lock.clone();
        let task = green::spawn(move || {
            let mut value = shared.write();
            *value = 1;
            panic!("on purpose");
        });
        assert!(task.join().unwrap_err().is_panic());
        assert_eq!(*lock.read(), 1);
    });
}

#[test]
fn the_report_names_a_reader_that_waits_for_itself_behind_a_writer() {
    let text = deadlock_text(|| {
        let lock = Rc::new(RwLock::new(()));
        let _reads = lock.read();
        let shared = lock.clone();
        let writer = green::spawn(move || drop(shared.write()));
        green::yield_now();
        let _again = lock.read();
        drop(writer);
    });
    assert_contains(&text, &["a reader-writer lock (last locked by task 1", "sync_locks.rs"]);
}

// Semaphore.

#[test]
fn permits_go_to_those_who_came_first_whatever_they_want() {
    run_in_order(|| {
        let semaphore = Rc::new(Semaphore::new(3));
        let trace = Trace::new();
        let all_three = semaphore.acquire_many(3);
        let tasks = [("two", 2), ("three", 3), ("one", 1)].into_iter().zip(ERAS).map(
            |((name, permits), era)| {
                let (semaphore, trace) = (semaphore.clone(), trace.clone());
                let code = async move {
                    let _permit = semaphore.acquiring_many(permits).await;
                    trace.say(name);
                    future::yield_now().await;
                };
                spawn_waiting(era, code, ())
            },
        );
        let tasks: Vec<_> = tasks.collect();
        let_others_run();
        drop(all_three);
        assert_eq!(semaphore.available(), 1, "kept for the one who wants three");
        assert!(semaphore.try_acquire().is_none(), "nobody overtakes");
        all(tasks);
        assert_eq!(trace.take(), ["two", "three", "one"]);
        assert_eq!(semaphore.available(), 3);
        assert_eq!(format!("{semaphore:?}"), "Semaphore { available: 3, line: 0 waiting }");
    });
}

#[test]
fn at_most_so_many_at_a_time() {
    run(|| {
        let semaphore = Rc::new(Semaphore::new(3));
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks = (0..30).map(|n| {
            let (semaphore, now, most) = (semaphore.clone(), now.clone(), most.clone());
            let code = async move {
                let _permit = semaphore.acquiring().await;
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                time::sleeping(MS * (n % 7)).await;
                now.set(now.get() - 1);
            };
            spawn_waiting(ERAS[n as usize % 3], code, ())
        });
        all(tasks);
        assert_eq!((now.get(), most.get(), semaphore.available()), (0, 3, 3));
    });
}

#[test]
fn forgotten_permits_are_gone_until_they_are_released() {
    let semaphore = Semaphore::new(2);
    semaphore.acquire().forget();
    assert_eq!(semaphore.available(), 1);
    assert!(semaphore.try_acquire_many(2).is_none());
    semaphore.release(2);
    assert_eq!(semaphore.available(), 3);
    let text = util::panic_text(|| semaphore.release(usize::MAX));
    assert_contains(&text, &["a semaphore of more than usize::MAX permits", "where 3 are free"]);
}

#[test]
fn when_one_who_wants_many_gives_up_those_behind_are_served() {
    run_in_order(|| {
        let semaphore = Rc::new(Semaphore::new(1));
        let waits = semaphore.clone();
        let many = green::spawn(move || drop(waits.acquire_many(5)));
        let waits = semaphore.clone();
        let one = green::spawn(move || drop(waits.acquire()));
        let_others_run();
        assert!(!one.is_finished());
        many.cancel();
        one.join().unwrap();
        assert_eq!(semaphore.available(), 1);
        assert!(semaphore.acquire_timeout(SECOND).is_ok());
        let _one = semaphore.acquire();
        assert!(semaphore.acquire_timeout(SECOND).is_err());
    });
}

/// Tasks of all eras that take, keep and give back permits, of which some give up, run out of time, are
/// cancelled or dropped at any point: at the end, all permits are there, and never was one too many.
#[test]
fn permits_are_conserved_whatever_becomes_of_those_who_wait() {
    explore(3000, || {
        const PERMITS: usize = 3;
        let semaphore = Rc::new(Semaphore::new(PERMITS));
        let taken = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..9)
            .map(|n| {
                let (semaphore, taken) = (semaphore.clone(), taken.clone());
                let code = async move {
                    let wanted = 1 + n % PERMITS;
                    let chosen = async {
                        let acquired = op::timeout(MS * 2, semaphore.acquiring_many(wanted)).await;
                        let Ok(_permit) = acquired else { return };
                        taken.set(taken.get() + wanted);
                        let _given = Defer(|| taken.set(taken.get() - wanted));
                        assert!(taken.get() <= PERMITS);
                        time::sleeping(MS).await;
                    };
                    // Another choice, which wins now and then when a permit was just granted.
                    let other = async {
                        for _ in 0..n {
                            future::yield_now().await;
                        }
                        std::future::pending::<()>().await;
                    };
                    futures_lite::future::or(chosen, other).await;
                };
                spawn_waiting(ERAS[n % 3], code, ())
            })
            .collect();
        for (n, task) in tasks.iter().enumerate() {
            if n % 4 == 1 {
                green::yield_now();
                task.cancel();
            }
        }
        for task in tasks {
            drop(task.join());
        }
        assert_eq!((taken.get(), semaphore.available()), (0, PERMITS));
    });
}

/// Operations granted and dropped unseen, in every order.
#[test]
fn permits_that_were_granted_and_not_seen_are_passed_on() {
    for order in 0..6 {
        let semaphore = Semaphore::new(1);
        let permit = semaphore.acquire();
        let mut waiting: Vec<_> = (0..3).map(|_| semaphore.acquiring()).collect();
        assert!(waiting.iter_mut().all(|operation| poll_once(operation).is_pending()));
        drop(permit);
        drop(waiting.remove(order % 3));
        drop(waiting.remove(order / 3));
        assert!(semaphore.try_acquire().is_none());
        let last = poll_once(&mut waiting[0]);
        assert!(matches!(last, Poll::Ready(_)), "{order}");
        drop(last);
        assert_eq!(semaphore.available(), 1, "{order}");
    }
}

#[test]
fn the_report_tells_who_has_last_acquired_a_permit() {
    let text = deadlock_text(|| {
        let semaphore = Rc::new(Semaphore::new(1));
        let takes = semaphore.clone();
        let holder = task::Builder::new().name("holder").spawn(move || {
            let _permit = takes.acquire();
            green::wait(std::future::pending::<()>());
        });
        green::yield_now();
        drop(semaphore.acquire());
        holder.join().unwrap();
    });
    let expected = "task 1 \"root\" (green, spawned at tests/it/sync_locks.rs:";
    assert_contains(
        &text,
        &[expected, "waits for a semaphore (last acquired by task 2 \"holder\", tests/"],
    );
}

// Event.

#[test]
fn an_event_lets_all_go_on_and_all_who_come_until_it_is_cleared() {
    run_in_order(|| {
        let event = Rc::new(Event::new());
        let trace = Trace::new();
        let waiter = |era: Era| {
            let (event, trace) = (event.clone(), trace.clone());
            let code = async move {
                event.waiting().await;
                trace.say(era.to_string());
            };
            spawn_waiting(era, code, ())
        };
        let early = ERAS.map(waiter);
        let_others_run();
        assert!(trace.take().is_empty() && !event.is_set());
        event.set();
        event.clear(); // Who waits by now goes on all the same.
        all(early);
        assert_eq!(trace.take(), ["generator", "green", "future"]);
        let late = ERAS.map(waiter);
        let_others_run();
        assert!(trace.take().is_empty());
        event.set();
        event.set();
        all(late);
        let turns = wouldblock::stats().turns;
        event.wait();
        assert!(event.is_set() && event.wait_timeout(SECOND).is_ok());
        assert_eq!(wouldblock::stats().turns, turns);
        event.clear();
        assert!(event.wait_timeout(SECOND).is_err());
    });
}

#[test]
fn an_event_forgets_those_who_have_given_up() {
    let event = Event::default();
    let mut waiting = [event.waiting(), event.waiting(), event.waiting()];
    assert!(waiting.iter_mut().all(|operation| poll_once(operation).is_pending()));
    let [first, mut second, third] = waiting;
    drop(first);
    assert_eq!(format!("{event:?}"), "Event { is_set: Cell { value: false }, line: 2 waiting }");
    event.set();
    drop(third);
    assert!(poll_once(&mut second).is_ready());
    assert_eq!(format!("{event:?}"), "Event { is_set: Cell { value: true }, line: 0 waiting }");
    let text = deadlock_text(|| Event::new().wait());
    assert_contains(&text, &["waits for an event to be set"]);
}

// Barrier.

#[test]
fn a_barrier_opens_for_so_many_in_all_eras_and_again_for_the_next() {
    run(|| {
        let barrier = Rc::new(Barrier::new(3));
        let rounds = Rc::new(Cell::new([0; 4]));
        let leaders = ERAS.map(|era| {
            let (barrier, rounds) = (barrier.clone(), rounds.clone());
            let code = async move {
                let mut led = 0;
                for round in 0..4 {
                    let mut arrived = rounds.get();
                    arrived[round] += 1;
                    rounds.set(arrived);
                    led += usize::from(barrier.waiting().await.is_leader());
                    assert_eq!(rounds.get()[round], 3);
                }
                led
            };
            spawn_waiting(era, code, ())
        });
        assert_eq!(all(leaders).iter().sum::<usize>(), 4, "one leader in each round");
    });
    assert!(Barrier::new(0).waiting().now_or_never().unwrap().is_leader());
    assert!(Barrier::new(1).waiting().now_or_never().unwrap().is_leader());
}

#[test]
fn who_is_cancelled_at_a_barrier_has_not_come() {
    run_in_order(|| {
        let barrier = Rc::new(Barrier::new(2));
        let waiter = || {
            let barrier = barrier.clone();
            green::spawn(move || barrier.wait().is_leader())
        };
        let cancelled = waiter();
        green::yield_now();
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        let two = [waiter(), waiter()];
        assert_eq!(all(two), [false, true]);
        let mut unseen = barrier.waiting();
        assert!(poll_once(&mut unseen).is_pending());
        assert!(barrier.wait().is_leader());
        drop(unseen); // It had opened: nothing is owed to the next round.
        assert!(poll_once(&mut barrier.waiting()).is_pending());
    });
    let text = deadlock_text(|| assert!(Barrier::new(2).wait().is_leader()));
    assert_contains(&text, &["waits for the others at a barrier"]);
}

/// Some of those who come give up, run out of time or are cancelled, at that moment too at which they are let
/// through: it opens for exactly so many of those who stand there.
#[test]
fn a_barrier_opens_for_exactly_so_many_whatever_becomes_of_those_who_wait() {
    const SIZE: usize = 3;
    let (rounds, unseen) = (Cell::new(0), Rc::new(Cell::new(0)));
    explore(2000, || {
        let barrier = Rc::new(Barrier::new(SIZE));
        // Those who stand there, and how often it has opened.
        let (standing, opened) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..9)
            .map(|n| {
                let (barrier, unseen) = (barrier.clone(), unseen.clone());
                let (standing, opened) = (standing.clone(), opened.clone());
                let come = async move || {
                    let (round, seen) = (opened.get(), Cell::new(false));
                    standing.set(standing.get() + 1);
                    let _gone = Defer(|| match opened.get() == round {
                        true => standing.set(standing.get() - 1),
                        false => unseen.set(unseen.get() + usize::from(!seen.get())),
                    });
                    if barrier.waiting().await.is_leader() {
                        assert_eq!(standing.take(), SIZE);
                        opened.set(round + 1);
                    }
                    assert!(opened.get() > round, "it has opened since");
                    seen.set(true);
                };
                let code = async move {
                    for turns in 0..4 {
                        let other = async {
                            for _ in 0..n % 4 + turns {
                                future::yield_now().await;
                            }
                            time::sleeping(n as u32 % 2 * MS).await;
                        };
                        select(Box::pin(come()), Box::pin(other)).await;
                    }
                };
                spawn_waiting(ERAS[n % 3], code, ())
            })
            .collect();
        for task in tasks.iter().step_by(4) {
            green::yield_now();
            task.cancel();
        }
        green::wait(gather(tasks));
        assert_eq!(standing.get(), 0);
        assert!(poll_once(&mut barrier.waiting()).is_pending());
        rounds.set(rounds.get() + opened.get());
    });
    let enough = rounds.get() > 2000 && unseen.get() > 100;
    let text = format!("it opened {} times, unseen by {}", rounds.get(), unseen.get());
    assert!(enough || std::env::var("WOULDBLOCK_SEED").is_ok(), "{text}");
}

// Condvar.

#[test]
fn a_condvar_wakes_one_or_all_in_the_order_of_arrival() {
    run_in_order(|| {
        let shared = Rc::new((Mutex::new(Trace::new()), Condvar::new()));
        let waiter = |era: Era| {
            let shared = shared.clone();
            let code = async move {
                let (mutex, condvar) = &*shared;
                let guard = mutex.locking().await;
                let trace = condvar.waiting(guard).await;
                future::yield_now().await;
                trace.say(era.to_string());
            };
            spawn_waiting(era, code, ())
        };
        let tasks: Vec<_> = ERAS.into_iter().chain(ERAS).map(waiter).collect();
        let_others_run();
        let (mutex, condvar) = &*shared;
        condvar.notify_one();
        let_others_run();
        assert_eq!(mutex.lock().take(), ["generator"]);
        condvar.notify_all();
        all(tasks);
        assert_eq!(mutex.lock().take(), ["green", "future", "generator", "green", "future"]);
        condvar.notify_one(); // Kept for nobody.
        let (_guard, result) = condvar.wait_timeout(mutex.lock(), SECOND);
        assert!(result.timed_out());
    });
}

#[test]
fn a_condvar_gives_up_the_lock_and_takes_it_again() {
    run_in_order(|| {
        let shared = Rc::new((Mutex::new(0), Condvar::new()));
        let waits = shared.clone();
        let waiter = green::spawn(move || {
            let (mutex, condvar) = &*waits;
            *condvar.wait_while(mutex.lock(), |n| *n < 3)
        });
        let (mutex, condvar) = &*shared;
        for n in 1..=3 {
            green::yield_now();
            let mut guard = mutex.lock();
            assert!(!waiter.is_finished());
            *guard = n;
            condvar.notify_one();
            let_others_run(); // Notified, but the lock is ours.
            assert!(!waiter.is_finished());
        }
        assert_eq!(waiter.join().unwrap(), 3);
        let waits = shared.clone();
        let notified = green::spawn(move || {
            let (mutex, condvar) = &*waits;
            condvar.wait_timeout(mutex.lock(), SECOND).1.timed_out()
        });
        green::yield_now();
        condvar.notify_one();
        assert!(!notified.join().unwrap());
    });
}

#[test]
fn one_notification_is_for_one_also_with_a_time_limit() {
    run_in_order(|| {
        let shared = Rc::new((Mutex::new(()), Condvar::new()));
        let waiters = [(); 3].map(|()| {
            let shared = shared.clone();
            green::spawn(move || shared.1.wait_timeout(shared.0.lock(), SECOND).1.timed_out())
        });
        let_others_run();
        shared.1.notify_one();
        assert_eq!(all(waiters), [false, true, true]);
    });
}

/// Notified, and cancelled before it has seen it, or while it waits for the lock.
#[test]
fn a_wait_with_a_limit_and_a_condition_ends_with_either() {
    run_in_order(|| {
        let shared = Rc::new((Mutex::new(0), Condvar::new()));
        let theirs = shared.clone();
        drop(green::spawn(move || {
            for _ in 0..3 {
                green::sleep(SECOND);
                *theirs.0.lock() += 1;
                theirs.1.notify_one();
            }
        }));
        let (count, changed) = &*shared;
        let start = time::now();
        // Notified twice in vain, and then out of time: the limit is for all of it.
        let limit = 2 * SECOND + 500 * MS;
        let (guard, result) = changed.wait_timeout_while(count.lock(), limit, |count| *count < 3);
        assert!(result.timed_out() && *guard == 2);
        assert_eq!(time::now() - start, limit);
        let (guard, result) = changed.wait_timeout_while(guard, HOUR, |count| *count < 3);
        assert!(!result.timed_out() && *guard == 3);
        assert_eq!(time::now() - start, 3 * SECOND);
        let none = std::time::Duration::ZERO;
        let (guard, result) = changed.wait_timeout_while(guard, none, |_| false);
        assert!(!result.timed_out());
        let (_guard, result) = changed.wait_timeout_while(guard, none, |_| true);
        assert!(result.timed_out());
        assert_eq!(time::now() - start, 3 * SECOND);
    });
}

#[test]
fn a_notification_of_somebody_who_is_gone_goes_to_the_next() {
    for seen in [false, true] {
        run_in_order(|| {
            let shared = Rc::new((Mutex::new(()), Condvar::new()));
            let (mutex, condvar) = &*shared;
            let mut first = condvar.waiting(mutex.lock());
            assert!(poll_once(&mut first).is_pending());
            let waits = shared.clone();
            let second = green::spawn(move || drop(waits.1.wait(waits.0.lock())));
            let_others_run();
            let guard = mutex.lock();
            condvar.notify_one();
            if seen {
                assert!(poll_once(&mut first).is_pending(), "it waits for the lock");
            }
            drop(first);
            drop(guard);
            second.join().unwrap();
        });
    }
    let text = deadlock_text(|| drop(Condvar::new().wait(Mutex::new(()).lock())));
    assert_contains(&text, &["waits for a condition variable to be notified"]);
}

#[test]
fn no_notification_is_lost_among_those_who_are_cancelled() {
    explore(1000, || {
        let shared = Rc::new((Mutex::new(0), Condvar::new()));
        let takers: Vec<_> = (0..6)
            .map(|n| {
                let shared = shared.clone();
                let code = async move {
                    let (mutex, condvar) = &*shared;
                    let mut items = mutex.locking().await;
                    while *items == 0 {
                        items = condvar.waiting(items).await;
                    }
                    *items -= 1;
                };
                spawn_waiting(ERAS[n % 3], code, ())
            })
            .collect();
        let (mutex, condvar) = &*shared;
        for taker in &takers[..3] {
            *mutex.lock() += 1;
            condvar.notify_one();
            taker.cancel();
            green::yield_now();
        }
        time_passes();
        let done = takers.iter().filter(|taker| taker.is_finished()).count();
        assert!(done == 6 || *mutex.lock() == 0, "somebody sleeps beside an item");
    });
}

/// As long as anybody has something to do.
fn time_passes() {
    green::sleep(MS);
}
