//! Deadlocks: what is one, what is none, and what is said.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::util::{
    ERAS, HOUR, MS, SECOND, Trace, assert_contains, in_child, let_others_run, logged, panic_text,
    run, spawn_running, spawn_waiting,
};
use futures_lite::future::or;
use wouldblock::generator::{Generator, GeneratorState};
use wouldblock::sync::{Mutex, Queue, RwLock, Semaphore};
use wouldblock::{
    Builder, Deadlock, Era, JoinHandle, future, generator, green, group::gather, offload, op, task,
    time,
};

/// The report of a root that is to run into a deadlock.
#[track_caller]
fn deadlock<T>(root: impl FnOnce() -> T) -> Deadlock {
    match Builder::new().virtual_clock().round_robin().try_run(root) {
        Ok(_) => panic!("no deadlock"),
        Err(deadlock) => deadlock,
    }
}

/// A report, without the columns of the sites, and with lines as distances from `line`.
fn report(deadlock: &Deadlock, line: u32) -> String {
    let text = deadlock.to_string();
    let file = format!("{}:", file!());
    let mut parts = text.split(&file);
    let mut report = parts.next().unwrap().to_owned();
    for part in parts {
        let (at, rest) = part.split_once(':').unwrap();
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit()); // The column.
        report += &format!("{:+}{rest}", i64::from(at.parse::<u32>().unwrap()) - i64::from(line));
    }
    report
}

/// Waits until two tasks have each other's handle, and joins.
fn join_later(other: &Rc<Cell<Option<JoinHandle<()>>>>) -> impl FnOnce() + use<> {
    let other = other.clone();
    move || {
        green::yield_now();
        drop(other.take().unwrap().join());
    }
}

// Reports.

#[test]
fn a_cycle_of_joins_is_drawn() {
    let line = line!();
    let deadlock = Builder::new().round_robin().try_run(|| {
        let (first, second) = (Rc::default(), Rc::default());
        let a = task::Builder::new().name("a").spawn(join_later(&second));
        let b = task::Builder::new().name("b").spawn(join_later(&first));
        first.set(Some(a));
        second.set(Some(b));
        green::wait(pending::<()>());
    });
    assert_eq!(
        report(&deadlock.unwrap_err(), line),
        "deadlock: 3 tasks wait, and nothing can wake any of them\
         \n  task 1 \"root\" (green, spawned at +1) waits to be woken, at +7\
         \n  task 2 \"a\" (green, spawned at +3) waits for task 3, at -8\
         \n  task 3 \"b\" (green, spawned at +4) waits for task 2, at -8\
         \n  cycle: task 2 → task 3 → task 2"
    );
}

#[test]
fn tasks_of_three_eras_are_reported_alike() {
    let line = line!();
    let deadlock = Builder::new().round_robin().try_run(|| {
        let stuck = generator::spawn(|y| y.wait(pending::<()>()));
        let joins = future::spawn(async { stuck.await.unwrap() });
        let root = task::Builder::new().name("scoped").spawn(|| joins.join().unwrap());
        root.join().unwrap();
    });
    assert_eq!(
        report(&deadlock.unwrap_err(), line),
        "deadlock: 4 tasks wait, and nothing can wake any of them\
         \n  task 1 \"root\" (green, spawned at +1) waits for task 4, at +5\
         \n  task 2 (generator, spawned at +2) waits to be woken, at +2\
         \n  task 3 (future, spawned at +3) waits for task 2\
         \n  task 4 \"scoped\" (green, spawned at +4) waits for task 3, at +4"
    );
}

#[test]
fn one_task_alone_is_reported_in_the_singular() {
    let line = line!() + 1;
    let deadlock = Builder::new().try_run(|| green::wait(pending::<()>()));
    assert_eq!(
        report(&deadlock.unwrap_err(), line),
        "deadlock: 1 task waits, and nothing can wake it\
         \n  task 1 \"root\" (green, spawned at +0) waits to be woken, at +0"
    );
}

#[test]
fn a_scope_that_never_ends_is_named() {
    let text = deadlock(|| green::scope(|s| drop(s.spawn(|| green::wait(pending::<()>())))));
    assert_contains(&text.to_string(), &["task 1 \"root\"", "waits for the tasks of its scope"]);
}

#[test]
fn a_cycle_through_three_eras_is_drawn() {
    let text = deadlock(|| {
        let handles: [Rc<Cell<Option<JoinHandle<()>>>>; 3] = Default::default();
        for (n, era) in ERAS.into_iter().enumerate() {
            let next = handles[(n + 1) % 3].clone();
            let joins =
                async move { drop(poll_fn(|_| Poll::Ready(next.take().unwrap())).await.await) };
            handles[n].set(Some(spawn_waiting(era, Late::new(joins), ())));
        }
        green::wait(pending::<()>());
    });
    assert_contains(&text.to_string(), &["\n  cycle: task 2 → task 3 → task 4 → task 2"]);
}

/// Lets everybody have a turn before it begins.
struct Late<F> {
    yielding: future::YieldNow,
    then: Pin<Box<F>>,
    begun: bool,
}

impl<F> Late<F> {
    fn new(then: F) -> Late<F> {
        Late { yielding: future::yield_now(), then: Box::pin(then), begun: false }
    }
}

impl<F: Future> Future for Late<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.begun {
            if Pin::new(&mut self.yielding).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.begun = true;
        }
        self.then.as_mut().poll(cx)
    }
}

#[test]
fn gather_names_the_task_that_it_waits_for() {
    let text = deadlock(|| {
        let tasks = (0..3).map(|_| green::spawn(|| green::wait(pending::<()>())));
        green::wait(gather(tasks)).len()
    });
    assert_contains(&text.to_string(), &["task 1 \"root\"", " waits for task 2, at tests/"]);
}

#[test]
fn run_panics_with_the_report() {
    let text = panic_text(|| run(|| green::wait(pending::<()>())));
    assert!(
        text.starts_with("deadlock: 1 task waits, and nothing can wake it\n  task 1"),
        "{text}"
    );
}

#[test]
fn a_task_that_is_done_or_cancelled_is_not_in_the_report() {
    let text = deadlock(|| {
        green::spawn(|| ()).join().unwrap();
        let cancelled = green::spawn(|| green::sleep(HOUR));
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        green::wait(pending::<()>());
    });
    assert!(text.to_string().starts_with("deadlock: 1 task waits"), "{text}");
}

// Reports of many tasks.

#[test]
fn a_chain_of_fifty_thousand_joins_is_reported_in_a_hundred_lines() {
    let text = deadlock(|| {
        let mut last = future::spawn(pending::<()>());
        for _ in 0..50_000 {
            let next = last;
            last = future::spawn(async { next.await.unwrap() });
        }
        last.join().unwrap();
    });
    let text = text.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "deadlock: 50002 tasks wait, and nothing can wake any of them");
    assert_contains(lines[1], &["task 1 \"root\"", "waits for task 50002"]);
    assert_contains(lines[100], &["task 100 (future", "waits for task 99"]);
    assert_eq!(lines[101..], ["  … and 49902 more"]);
}

/// Spawns `length` tasks of which each joins the next, and the last the first.
fn spawn_ring(length: usize) {
    let handles: Rc<RefCell<Vec<Option<JoinHandle<()>>>>> = Rc::default();
    for n in 0..length {
        let others = handles.clone();
        let joins = async move {
            let next = others.borrow_mut()[(n + 1) % length].take().unwrap();
            drop(next.await);
        };
        let task = future::spawn(joins);
        handles.borrow_mut().push(Some(task));
    }
}

#[test]
fn the_tasks_of_a_cycle_are_listed_before_older_ones() {
    let text = deadlock(|| {
        for _ in 0..200 {
            future::spawn(pending::<()>());
        }
        spawn_ring(3);
        green::wait(pending::<()>());
    });
    let text = text.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "deadlock: 204 tasks wait, and nothing can wake any of them");
    assert_contains(lines[1], &["task 1 \"root\""]);
    assert_contains(lines[97], &["task 97 (future"]);
    assert_contains(lines[98], &["task 202 (future", "waits for task 203"]);
    assert_contains(lines[100], &["task 204 (future", "waits for task 202"]);
    assert_eq!(
        lines[101..],
        ["  … and 104 more", "  cycle: task 202 → task 203 → task 204 → task 202"]
    );
}

#[test]
fn of_a_long_cycle_a_hundred_tasks_are_drawn() {
    let text = deadlock(|| {
        spawn_ring(150);
        green::wait(pending::<()>());
    });
    let text = text.to_string();
    let cycle = text.lines().last().unwrap();
    assert!(cycle.starts_with("  cycle: task 2 → task 3 → "), "{cycle}");
    assert!(cycle.ends_with(" → task 101 → … 50 more tasks … → task 2"), "{cycle}");
}

// What is held by a task that is not among those that wait.

#[test]
fn a_holder_of_an_earlier_run_is_named_as_such_and_closes_no_cycle() {
    let mutex = Mutex::new(());
    run(|| std::mem::forget(mutex.lock()));
    let text = deadlock(|| drop(mutex.lock())).to_string();
    let expected = "waits for a mutex (held by task 1 of another run, tests/it/deadlock.rs:";
    assert_contains(&text, &[expected]);
    assert!(!text.contains("cycle"), "{text}");
}

#[test]
fn a_holder_of_a_runtime_that_gives_no_turns_any_more_is_named_as_such() {
    let mutex = Rc::new(Mutex::new(()));
    let runtime = Builder::new().build().unwrap();
    let same = mutex.clone();
    runtime.enter(|| {
        let holds = task::Builder::new().name("holder").spawn(move || {
            let _guard = same.lock();
            green::wait(pending::<()>());
        });
        drop(holds);
    });
    assert!(runtime.turn());
    std::mem::forget(runtime);
    let text = deadlock(|| drop(mutex.lock())).to_string();
    assert_contains(&text, &["waits for a mutex (held by task 1 of another run, tests/"]);
}

/// What is drawn is certain: the last task that had the thing has given it back, and waits for another that has it.
#[test]
fn who_gave_back_a_lock_a_permit_or_an_item_closes_no_cycle() {
    fn keeps<T: 'static>(kept: &Rc<T>, holds: impl FnOnce(&T) + 'static) {
        let kept = kept.clone();
        drop(green::spawn(move || holds(&kept)));
        green::yield_now();
    }
    let lock = deadlock(|| {
        let lock = Rc::new(RwLock::new(()));
        keeps(&lock, |lock| {
            let _guard = lock.read();
            green::wait(pending::<()>());
        });
        drop(lock.read());
        drop(lock.write());
    });
    let semaphore = deadlock(|| {
        let semaphore = Rc::new(Semaphore::new(2));
        keeps(&semaphore, |semaphore| {
            let _permit = semaphore.acquire();
            green::wait(pending::<()>());
        });
        drop(semaphore.acquire());
        drop(semaphore.acquire_many(2));
    });
    let released = deadlock(|| {
        let semaphore = Rc::new(Semaphore::new(2));
        semaphore.acquire().forget();
        semaphore.release(1);
        drop(semaphore.acquire_many(3));
    });
    let queue = deadlock(|| {
        let queue = Queue::unbounded();
        queue.put(1).unwrap();
        while queue.get().is_ok() {}
    });
    for (text, last) in [
        (lock, "waits for a reader-writer lock (last locked by task 1 \"root\""),
        (semaphore, "waits for a semaphore (last acquired by task 1 \"root\""),
        (released, "waits for a semaphore (last acquired by task 1 \"root\""),
        (queue, "waits for an item of a queue (last put into by task 1 \"root\""),
    ] {
        let text = text.to_string();
        assert_contains(&text, &[last]);
        assert!(!text.contains("cycle"), "{text}");
    }
}

#[test]
fn who_still_holds_a_lock_or_a_permit_closes_the_cycle() {
    let lock = deadlock(|| {
        let lock = RwLock::new(());
        let _guard = lock.read();
        drop(lock.write());
    });
    let semaphore = deadlock(|| {
        let semaphore = Semaphore::new(1);
        let _permit = semaphore.acquire();
        drop(semaphore.acquire());
    });
    for text in [lock, semaphore] {
        assert_contains(&text.to_string(), &["\n  cycle: task 1 → ", ") → task 1"]);
    }
}

#[test]
fn a_task_that_a_lock_was_handed_to_is_its_holder_before_it_goes_on() {
    type Gets = fn(&Rc<(Mutex<()>, Semaphore)>);
    let ways: [(&str, Gets, Gets); 2] = [
        ("a mutex (held by", |both| drop(both.0.lock()), |both| std::mem::forget(both.0.lock())),
        (
            "a semaphore (last acquired by",
            |both| drop(both.1.acquire()),
            |both| both.1.acquire().forget(),
        ),
    ];
    for (what, get, get_for_ever) in ways {
        // A task of a runtime that gives no turns any more stands in the line.
        let both = Rc::new((Mutex::new(()), Semaphore::new(1)));
        let (guard, permit) = (both.0.try_lock(), both.1.try_acquire());
        let runtime = Builder::new().build().unwrap();
        let same = both.clone();
        runtime.enter(|| {
            green::spawn(|| ());
            green::spawn(move || get(&same));
        });
        while runtime.turn() {}
        std::mem::forget(runtime);
        drop((guard, permit));
        let text = deadlock(|| get(&both)).to_string();
        assert_contains(&text, &[&format!("waits for {what} task 2 of another run, tests/")]);

        // A task asks for it, waits for something else, and does not come back to it.
        let text = deadlock(|| {
            let both = Rc::new((Mutex::new(()), Semaphore::new(1)));
            let same = both.clone();
            drop(task::Builder::new().name("forgets").spawn(move || {
                let mut asked: Vec<Pin<Box<dyn Future<Output = ()>>>> = vec![
                    Box::pin(async { drop(same.0.locking().await) }),
                    Box::pin(async { drop(same.1.acquiring().await) }),
                ];
                for asked in &mut asked {
                    let polled = asked.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    assert!(polled.is_pending());
                }
                green::wait(pending::<()>());
            }));
            let (guard, permit) = (both.0.lock(), both.1.acquire());
            let_others_run();
            drop((guard, permit));
            let waits = green::spawn({
                let both = both.clone();
                move || get_for_ever(&both)
            });
            waits.join().unwrap();
        });
        let named = format!("waits for {what} task 2 \"forgets\", tests/it/deadlock.rs:");
        assert_contains(&text.to_string(), &[&named]);
    }
}

// What becomes of the tasks.

#[test]
fn all_are_cancelled_newest_first_and_their_destructors_run() {
    let trace = Trace::new();
    deadlock(|| {
        let _root = trace.at_drop("root");
        for era in ERAS {
            spawn_waiting(era, pending::<()>(), trace.at_drop(era.to_string()));
        }
        green::wait(pending::<()>());
    });
    assert_eq!(trace.take(), ["future", "green", "generator", "root"]);
}

#[test]
fn what_the_root_borrowed_can_be_used_again() {
    let mut numbers = vec![1];
    deadlock(|| {
        numbers.push(2);
        green::wait(pending::<()>());
    });
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn the_thread_can_run_again() {
    for _ in 0..3 {
        deadlock(|| green::wait(pending::<()>()));
        assert_eq!(run(|| green::spawn(|| 7).join().unwrap()), 7);
    }
}

#[test]
fn a_cleanup_that_can_never_end_is_left_and_the_thread_runs_again() {
    let trace = Trace::new();
    let held = trace.at_drop("never");
    run(move || {
        drop(green::spawn(move || {
            let _held = held;
            green::finally(|| green::wait(pending::<()>()), || green::wait(pending::<()>()));
        }));
        let_others_run();
    });
    assert!(trace.take().is_empty());
    assert_eq!(run(|| green::spawn(|| 7).join().unwrap()), 7);
}

/// The root may borrow from the caller of `run`, so that its frames are not left behind.
#[test]
fn a_root_whose_cleanup_can_never_end_aborts_after_the_reports() {
    let ended = in_child(|| {
        let mut numbers = vec![1, 2, 3];
        let _ = Builder::new().try_run(|| {
            let borrowed = &mut numbers;
            green::finally(|| green::wait(pending::<()>()), || green::wait(pending::<()>()));
            borrowed.push(4);
        });
        unreachable!("the frames of the root exist");
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&[
        "wouldblock: the root of a run, task 1 \"root\" (green, spawned at tests/it/deadlock.rs:",
        "waits to be woken",
        "put a time limit inside of the cleanup that waits; aborting",
    ]);
}

#[test]
fn a_handle_of_a_task_that_was_left_is_harmless_in_the_next_run() {
    let kept = Rc::new(Cell::new(None));
    let keeps = kept.clone();
    deadlock(move || {
        let stuck = green::spawn(|| {
            green::finally(|| green::wait(pending::<()>()), || green::wait(pending::<()>()));
        });
        keeps.set(Some(stuck));
        green::wait(pending::<()>());
    });
    let stuck = kept.take().unwrap();
    assert!(!stuck.is_finished());
    run(|| {
        let sleeper = green::spawn(|| green::sleep(SECOND));
        let_others_run();
        stuck.cancel();
        sleeper.join().unwrap();
        assert!(!stuck.is_finished());
        assert_contains(&stuck.join().unwrap_err().to_string(), &["another runtime"]);
    });
}

#[test]
fn a_deadlock_is_not_logged_as_well() {
    let log = logged(|| drop(deadlock(|| green::wait(pending::<()>()))));
    assert!(log.is_empty(), "{log:?}");
}

#[test]
fn it_is_found_as_soon_as_the_last_sleeper_has_gone() {
    let text = deadlock(|| {
        green::spawn(|| green::sleep(HOUR));
        green::wait(pending::<()>());
    });
    assert!(text.to_string().starts_with("deadlock: 1 task waits"), "{text}");
}

#[test]
fn it_is_found_when_a_waker_was_kept_and_dropped() {
    let kept = RefCell::new(None::<Waker>);
    let text = deadlock(|| {
        green::wait(poll_fn(|cx| {
            *kept.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        }));
        kept.take();
        green::wait(pending::<()>());
    });
    assert!(text.to_string().starts_with("deadlock: 1 task waits"), "{text}");
}

/// Found at once, though the children of an async scope have wakers: those are its own.
#[test]
fn it_is_found_inside_of_an_async_scope_that_is_done_with_its_children() {
    let text = deadlock(|| {
        green::wait(future::scope(async |s| s.spawn_future(async { 7 }).await));
        green::wait(pending::<()>());
    });
    assert!(text.to_string().starts_with("deadlock: 1 task waits"), "{text}");
}

// What is none.

#[test]
fn sleeping_is_none() {
    for era in ERAS {
        run(|| {
            let sleeper = spawn_waiting(era, time::sleeping(HOUR), ());
            spawn_waiting(era, sleeper, ()).join().unwrap().unwrap();
        });
    }
}

#[test]
fn a_time_limit_ends_what_would_be_one() {
    for era in ERAS {
        run(|| {
            let limited = op::timeout(SECOND, pending::<()>());
            assert!(spawn_waiting(era, limited, ()).join().unwrap().is_err(), "{era}");
            let limited = || green::timeout(SECOND, || green::wait(pending::<()>()));
            assert!(spawn_running(era, limited).join().unwrap().is_err(), "{era}");
        });
    }
}

#[test]
fn offloaded_work_is_none() {
    for era in ERAS {
        for builder in [Builder::new(), Builder::new().virtual_clock()] {
            builder.run(|| {
                let (go, may_go) = mpsc::channel();
                let task = spawn_waiting(era, offload(move || may_go.recv().unwrap()), ());
                let_others_run();
                // Only when all are waiting, as far as another thread can tell:
                let opener = thread::spawn(move || go.send(7).unwrap());
                assert_eq!(task.join().unwrap(), 7, "{era}");
                opener.join().unwrap();
            });
        }
    }
}

#[test]
fn waiting_for_a_socket_is_none() {
    use std::io::{Read, Write};
    for builder in [Builder::new(), Builder::new().virtual_clock()] {
        builder.run(|| {
            let listener = wouldblock::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let client = thread::spawn(move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                stream.write_all(b"hello").unwrap();
            });
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
            client.join().unwrap();
        });
    }
}

/// An operation that another thread completes, with nothing but std's waker.
#[derive(Clone, Default)]
struct Signal(std::sync::Arc<std::sync::Mutex<(bool, Option<Waker>)>>);

impl Signal {
    fn set(&self) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn has_waiter(&self) -> bool {
        self.0.lock().unwrap().1.is_some()
    }
}

impl Future for Signal {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[test]
fn a_waker_that_another_thread_keeps_is_none() {
    for era in ERAS {
        for _ in 0..50 {
            let signal = Signal::default();
            let sets = signal.clone();
            let thread = thread::spawn(move || {
                while !sets.has_waiter() {
                    thread::yield_now();
                }
                sets.set();
            });
            let waits = signal.clone();
            Builder::new()
                .try_run(move || spawn_waiting(era, waits, ()).join().unwrap())
                .unwrap_or_else(|deadlock| panic!("{era}: {deadlock}"));
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_waker_that_another_thread_keeps_is_none_on_virtual_time_either() {
    let signal = Signal::default();
    let sets = signal.clone();
    let thread = thread::spawn(move || {
        while !sets.has_waiter() {
            thread::yield_now();
        }
        sets.set();
    });
    run(|| green::wait(signal));
    thread.join().unwrap();
}

#[test]
fn a_waker_in_a_channel_of_another_crate_is_none() {
    let (sender, receiver) = mpsc::channel::<Waker>();
    let thread = thread::spawn(move || {
        for waker in receiver {
            waker.wake();
        }
    });
    Builder::new().run(|| {
        for era in ERAS {
            let sender = sender.clone();
            let mut sent = false;
            let woken = poll_fn(move |cx| {
                if std::mem::replace(&mut sent, true) {
                    return Poll::Ready(());
                }
                sender.send(cx.waker().clone()).unwrap();
                Poll::Pending
            });
            spawn_waiting(era, woken, ()).join().unwrap();
        }
    });
    drop(sender);
    thread.join().unwrap();
}

#[test]
fn wakers_that_tasks_keep_of_each_other_wake() {
    run(|| {
        let signal = Signal::default();
        let waits = ERAS.map(|era| {
            let signal = Signal::default();
            (spawn_waiting(era, signal.clone(), ()), signal)
        });
        let first = spawn_waiting(Era::Green, signal.clone(), ());
        let_others_run();
        for (task, signal) in waits {
            signal.set();
            task.join().unwrap();
        }
        signal.set();
        first.join().unwrap();
    });
}

#[test]
fn the_first_of_two_operations_wakes() {
    for era in ERAS {
        run(|| {
            let start = time::now();
            let either = or(time::sleeping(HOUR), time::sleeping(SECOND));
            spawn_waiting(era, either, ()).join().unwrap();
            assert_eq!(time::now() - start, SECOND);
            let either =
                or(async { drop(green::spawn(|| green::sleep(SECOND)).await) }, pending::<()>());
            spawn_waiting(era, either, ()).join().unwrap();
            assert_eq!(time::now() - start, 2 * SECOND, "{era}");
        });
    }
}

/// One poll has room for what several operations wait for, whatever is done between them.
#[test]
fn a_wait_that_is_over_at_once_does_not_hide_another_of_the_same_poll() {
    for era in ERAS {
        run(|| {
            let mut sleep = Box::pin(time::sleeping(SECOND));
            let operation = poll_fn(move |cx| {
                let poll = sleep.as_mut().poll(cx);
                green::wait(ready(())); // a call of code that waits the green way
                poll
            });
            let start = time::now();
            spawn_waiting(era, operation, ()).join().unwrap();
            assert_eq!(time::now() - start, SECOND, "{era}");
        });
    }
}

#[test]
fn a_green_wait_in_the_middle_of_a_poll_does_not_hide_another() {
    for era in ERAS {
        run(|| {
            let mut sleep = Box::pin(time::sleeping(2 * SECOND));
            let mut first = true;
            let operation = poll_fn(move |cx| {
                let poll = sleep.as_mut().poll(cx);
                if std::mem::replace(&mut first, false) {
                    green::sleep(SECOND);
                }
                poll
            });
            let start = time::now();
            spawn_waiting(era, operation, ()).join().unwrap();
            assert_eq!(time::now() - start, 2 * SECOND, "{era}");
        });
    }
}

#[test]
fn a_wake_during_a_green_wait_in_the_middle_of_a_poll_is_not_lost() {
    for era in ERAS {
        run(|| {
            let signal = Signal::default();
            let mut waits = signal.clone();
            let mut first = true;
            let operation = poll_fn(move |cx| {
                let poll = pin!(&mut waits).poll(cx);
                if std::mem::replace(&mut first, false) {
                    green::sleep(2 * SECOND);
                }
                poll
            });
            let task = spawn_waiting(era, operation, ());
            green::sleep(SECOND);
            signal.set(); // in the middle of its poll
            task.join().unwrap();
        });
    }
}

#[test]
fn a_generator_that_is_resumed_in_the_middle_of_a_poll_does_not_hide_its_wait() {
    use wouldblock::Wait;
    use wouldblock::generator::{Generator, Yielder};
    for era in ERAS {
        run(|| {
            let mut inner = Generator::new(|y: &Yielder<Wait>| y.wait(pending::<()>()));
            let mut sleep = Box::pin(time::sleeping(SECOND));
            let operation = poll_fn(move |cx| {
                let poll = sleep.as_mut().poll(cx);
                inner.resume(); // what it waits for is not what this poll waits for
                poll
            });
            let start = time::now();
            spawn_waiting(era, operation, ()).join().unwrap();
            assert_eq!(time::now() - start, SECOND, "{era}");
        });
    }
}

/// An operation that is polled inside of a verb, with the context of the poll around that.
#[test]
fn what_is_polled_inside_an_inner_poll_wakes_the_outer_one() {
    for era in ERAS {
        Builder::new().virtual_clock().run(|| {
            let mut nap = Box::pin(time::sleeping(SECOND));
            let operation =
                poll_fn(move |cx| green::wait(poll_fn(|_| Poll::Ready(nap.as_mut().poll(cx)))));
            let start = time::now();
            spawn_waiting(era, operation, ()).join().unwrap();
            assert_eq!(time::now() - start, SECOND, "{era}");
        });
    }
}

/// The same on the fiber of a generator, on which no other poll is open.
#[test]
fn what_is_polled_on_an_inner_fiber_wakes_the_outer_poll() {
    for era in ERAS {
        Builder::new().virtual_clock().run(|| {
            let nap = Rc::new(RefCell::new(Box::pin(time::sleeping(SECOND))));
            let is_over = Rc::new(Cell::new(false));
            let operation = poll_fn(move |outer| {
                let waker = outer.waker().clone();
                let (nap, over) = (nap.clone(), is_over.clone());
                let mut generator = Generator::<wouldblock::Wait>::new(move |_| {
                    green::wait(poll_fn(|_| {
                        let mut cx = Context::from_waker(&waker);
                        over.set(nap.borrow_mut().as_mut().poll(&mut cx).is_ready());
                        Poll::Ready(())
                    }));
                });
                assert_eq!(generator.resume(), GeneratorState::Complete(()));
                if is_over.get() { Poll::Ready(()) } else { Poll::Pending }
            });
            let start = time::now();
            spawn_waiting(era, operation, ()).join().unwrap();
            assert_eq!(time::now() - start, SECOND, "{era}");
        });
    }
}

/// By hand, so that a mistake is a failure and not a test that never ends.
#[test]
fn one_who_sleeps_for_ever_does_not_keep_the_others_awake() {
    for forever in [Duration::MAX, Duration::from_millis(u64::MAX), Duration::from_secs(1 << 62)] {
        let runtime = Builder::new().virtual_clock().build().unwrap();
        let tasks = runtime.enter(|| {
            let sleeper = green::spawn(move || green::sleep(forever));
            (green::spawn(|| green::sleep(SECOND)), sleeper)
        });
        let mut turns = 0;
        while !tasks.0.is_finished() && turns < 100 {
            runtime.turn();
            turns += 1;
        }
        assert!(tasks.0.is_finished(), "a second has not passed beside {forever:?}");
        drop(runtime);
        assert!(tasks.1.is_finished());
    }
}

#[test]
fn a_run_in_which_all_ends_is_none() {
    for era in ERAS {
        let result = Builder::new().try_run(|| {
            spawn_waiting(era, pending::<()>(), ());
            green::wait(time::sleeping(MS));
            7
        });
        assert_eq!(result.unwrap(), 7, "what is left is cancelled, not reported");
    }
}
