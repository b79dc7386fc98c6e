//! Spawning from other threads: what a `Spawner` starts, how its result is waited for, and what becomes of it
//! at the end of the run.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use crate::util::{all_logged, assert_contains, logged, panic_text, text};
use wouldblock::{
    Builder, Era, JoinError, RemoteJoinHandle, Spawner, green, group::gather, offload, stats, task,
};

/// Runs `elsewhere` on another thread, with a handle of a run on this one, and returns what it does. The run
/// goes on until then.
fn beside_a_run<T: Send + 'static>(elsewhere: impl FnOnce(Spawner) -> T + Send + 'static) -> T {
    wouldblock::run(|| {
        let handle = Spawner::current();
        green::wait(offload(move || elsewhere(handle)))
    })
}

fn here() -> ThreadId {
    thread::current().id()
}

/// Tells which thread it is dropped on.
struct Where(mpsc::Sender<ThreadId>);

impl Drop for Where {
    fn drop(&mut self) {
        let _ = self.0.send(here());
    }
}

#[test]
fn a_handle_and_what_it_gives_can_be_sent_and_shared() {
    fn send_and_sync<T: Send + Sync + Clone>() {}
    fn send<T: Send>() {}
    send_and_sync::<Spawner>();
    send::<RemoteJoinHandle<u8>>();
    send::<wouldblock::RunEnded<u8>>();
}

#[test]
fn each_era_is_spawned_from_another_thread_and_runs_on_that_of_the_run() {
    let home = here();
    let eras = beside_a_run(move |handle| {
        let who = || (task::current().unwrap().era(), here());
        let a = handle.spawn_generator(move |y| {
            y.yield_now();
            who()
        });
        let b = handle.spawn(move || {
            green::yield_now();
            who()
        });
        let c = handle.spawn_future(async move || {
            wouldblock::future::yield_now().await;
            who()
        });
        assert_ne!(here(), home);
        [a.unwrap(), b.unwrap(), c.unwrap()].map(|task| task.join().unwrap())
    });
    assert_eq!(eras, [Era::Generator, Era::Green, Era::Future].map(|era| (era, home)));
}

#[test]
fn the_site_is_that_of_whoever_calls() {
    let (found, line) = beside_a_run(|handle| {
        let site = || task::current().unwrap().spawned_at();
        let tasks = (handle.spawn(site), handle.spawn_future(async move || site()), line!());
        let sites = [tasks.0.unwrap().join().unwrap(), tasks.1.unwrap().join().unwrap()];
        (sites.map(|site| (site.file(), site.line())), tasks.2)
    });
    assert_eq!(found, [(file!(), line), (file!(), line)]);
}

#[test]
fn what_it_spawns_may_hold_values_that_stay_on_its_thread() {
    let count = beside_a_run(|handle| {
        let task = handle.spawn(|| {
            let local = Rc::new(5);
            green::yield_now();
            *local
        });
        task.unwrap().join().unwrap()
    });
    assert_eq!(count, 5);
}

#[test]
fn a_panic_and_a_cancellation_cross_over() {
    let errors = beside_a_run(|handle| {
        let panics = handle.spawn(|| -> () { panic!("over there") }).unwrap();
        let stops = handle.spawn_future(async || {
            let inner = wouldblock::future::spawn(pending::<()>());
            inner.cancel();
            inner.await
        });
        (panics.join().unwrap_err(), stops.unwrap().join().unwrap().unwrap_err())
    });
    assert_contains(&errors.0.to_string(), &["panicked: over there", "tests/it/handle.rs"]);
    assert_eq!(text(&*errors.0.into_panic().unwrap()), "over there");
    assert!(errors.1.is_cancelled());
}

#[test]
fn a_panic_that_nobody_joins_is_logged() {
    let is_it = |text: &str| text.contains("panicked: alone");
    let logged_here = logged(|| {
        beside_a_run(|handle| {
            drop(handle.spawn(|| -> () { panic!("alone") }).unwrap());
            handle.spawn(green::yield_now).unwrap().join().unwrap();
        });
    });
    // On this thread, unless the task had panicked before the other thread dropped the handle.
    assert!(logged_here.iter().all(|(_, text)| is_it(text)), "{logged_here:?}");
    let logs: Vec<_> = all_logged(|all| all.iter().filter(|text| is_it(text)).cloned().collect());
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_contains(&logs[0], &["panicked: alone", "no task joined it"]);
}

#[test]
fn a_task_of_another_run_and_another_executor_wait_for_it() {
    let sums = beside_a_run(|handle| {
        let there = handle.clone();
        let run = wouldblock::run(|| {
            let tasks = (0..10).map(|n| {
                let remote = there.spawn(move || {
                    green::yield_now();
                    n
                });
                wouldblock::future::spawn(async { remote.unwrap().await.unwrap() })
            });
            let generator = wouldblock::generator::spawn({
                let remote = there.spawn(|| 100).unwrap();
                move |y| y.wait(remote).unwrap()
            });
            let sum: i32 = green::wait(gather(tasks)).into_iter().map(Result::unwrap).sum();
            sum + generator.join().unwrap()
        });
        let executor =
            futures_lite::future::block_on(async { handle.spawn(|| 7).unwrap().await.unwrap() });
        (run, executor)
    });
    assert_eq!(sums, (145, 7));
}

#[test]
fn threads_by_the_dozen_lose_nothing() {
    let ran = Arc::new(AtomicUsize::new(0));
    let seen = ran.clone();
    let sum: usize = beside_a_run(move |handle| {
        let threads: Vec<_> = (0..12)
            .map(|_| {
                let (handle, ran) = (handle.clone(), ran.clone());
                thread::spawn(move || {
                    let tasks: Vec<_> = (0..100)
                        .map(|n| {
                            let ran = ran.clone();
                            let body = move || {
                                ran.fetch_add(1, Ordering::Relaxed);
                                n
                            };
                            handle.spawn(body).unwrap()
                        })
                        .collect();
                    tasks.into_iter().map(|task| task.join().unwrap()).sum::<usize>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((sum, seen.load(Ordering::Relaxed)), (12 * 4950, 1200));
}

#[test]
fn tasks_of_one_thread_begin_in_the_order_in_which_they_were_spawned() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    // In strict turns, whatever the seed.
    Builder::new().round_robin().run(|| {
        let handle = Spawner::current();
        green::wait(offload(move || {
            let tasks: Vec<_> = (0..50)
                .map(|n| {
                    let order = order.clone();
                    handle.spawn(move || order.lock().unwrap().push(n)).unwrap()
                })
                .collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
        }));
    });
    assert_eq!(*seen.lock().unwrap(), (0..50).collect::<Vec<_>>());
}

#[test]
fn it_wakes_a_run_that_sleeps_and_one_that_would_be_deadlocked_but_for_the_handle() {
    let (sender, receiver) = async_channel::bounded(1);
    let (announce, announced) = mpsc::channel();
    let thread = thread::spawn(move || {
        let handle: Spawner = announced.recv().unwrap();
        handle.spawn(move || sender.send_blocking("woken").unwrap()).unwrap().join().unwrap();
    });
    let got = wouldblock::run(|| {
        announce.send(Spawner::current()).unwrap();
        green::wait(receiver.recv()).unwrap()
    });
    assert_eq!(got, "woken");
    thread.join().unwrap();
}

#[test]
fn when_the_last_handle_is_gone_a_deadlock_is_certain() {
    let (announce, announced) = mpsc::channel::<(Spawner, Spawner)>();
    let thread = thread::spawn(move || drop(announced.recv().unwrap()));
    let deadlock = Builder::new().try_run(|| {
        let handle = Spawner::current();
        announce.send((handle.clone(), handle)).unwrap();
        green::wait(pending::<()>());
    });
    assert_contains(&deadlock.unwrap_err().to_string(), &["deadlock: 1 task waits"]);
    thread.join().unwrap();
}

#[test]
fn a_task_that_is_ordered_with_the_last_handle_still_runs() {
    for _ in 0..200 {
        let (announce, announced) = mpsc::channel::<Spawner>();
        let (sender, receiver) = async_channel::bounded::<()>(1);
        let thread = thread::spawn(move || {
            let handle = announced.recv().unwrap();
            drop(handle.spawn(move || drop(sender)).unwrap());
        });
        let end = Builder::new().try_run(|| {
            announce.send(Spawner::current()).unwrap();
            green::wait(receiver.recv()).unwrap_err();
        });
        assert!(end.is_ok(), "{end:?}");
        thread.join().unwrap();
    }
}

#[test]
fn after_the_run_it_is_refused_and_the_code_given_back() {
    let handle = wouldblock::run(Spawner::current);
    let (sender, receiver) = mpsc::channel();
    let held = Where(sender);
    let refused = handle.spawn(move || held.0.send(here()).unwrap()).unwrap_err();
    assert_contains(&refused.to_string(), &["the run of this spawner has ended"]);
    assert!(receiver.try_recv().is_err(), "neither run nor dropped");
    (refused.0)();
    assert_eq!(receiver.recv().unwrap(), here());
    assert!(handle.spawn_generator(|_| ()).is_err());
    assert!(handle.spawn_future(async || {}).is_err());
}

#[test]
fn what_has_not_begun_when_the_run_ends_is_dropped_on_its_thread() {
    let (sender, dropped) = mpsc::channel();
    let runtime = Builder::new().build().unwrap();
    let (handle, held) = (runtime.spawner(), Where(sender));
    let order = move || handle.spawn(move || drop(held)).unwrap();
    let task = thread::spawn(order).join().unwrap();
    drop(runtime);
    assert_eq!(dropped.recv().unwrap(), here());
    let waited = thread::spawn(move || {
        assert!(task.is_finished());
        task.join().unwrap_err()
    });
    let error: JoinError = waited.join().unwrap();
    assert!(error.is_cancelled());
    assert_contains(&error.to_string(), &["never began: the run has ended"]);
}

#[test]
fn what_has_begun_when_the_run_ends_is_cancelled() {
    let (sender, dropped) = mpsc::channel();
    let task = wouldblock::run(|| {
        let held = Where(sender);
        let body = move || {
            let _held = held;
            green::wait(pending::<()>());
        };
        let task = Spawner::current().spawn(body).unwrap();
        green::wait(offload(|| ())); // Comes after it, in the same box or a later one.
        green::yield_now();
        task
    });
    assert_eq!(dropped.recv().unwrap(), here());
    let error = thread::spawn(move || task.join().unwrap_err()).join().unwrap();
    assert!(error.is_cancelled());
}

#[test]
fn each_era_is_cancelled_from_another_thread_where_it_waits() {
    let home = here();
    beside_a_run(move |handle| {
        let (sender, dropped) = mpsc::channel();
        let (announce, begun) = mpsc::channel();
        let held = || (Where(sender.clone()), announce.clone());
        let (a, b, c) = (held(), held(), held());
        let generator = handle.spawn_generator(move |y| {
            let (_held, announce) = a;
            announce.send(()).unwrap();
            y.wait(pending::<()>());
        });
        let greenlet = handle.spawn(move || {
            let (_held, announce) = b;
            announce.send(()).unwrap();
            green::wait(pending::<()>());
        });
        let future = handle.spawn_future(async move || {
            let (_held, announce) = c;
            announce.send(()).unwrap();
            pending::<()>().await;
        });
        (0..3).for_each(|_| begun.recv().unwrap());
        for task in [generator.unwrap(), greenlet.unwrap(), future.unwrap()] {
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            assert_eq!(dropped.recv().unwrap(), home);
        }
    });
}

#[test]
fn what_is_cancelled_before_it_has_begun_never_does() {
    let (sender, dropped) = mpsc::channel();
    let runtime = Builder::new().build().unwrap();
    let (handle, held) = (runtime.spawner(), Where(sender));
    let order = move || {
        let body = move || -> () {
            let _held = held;
            panic!("it has begun");
        };
        let task = handle.spawn(body).unwrap();
        task.cancel();
        task.cancel();
        task
    };
    let task = thread::spawn(order).join().unwrap();
    while runtime.turn() {}
    assert_eq!(dropped.recv().unwrap(), here());
    assert!(task.join().unwrap_err().is_cancelled());
}

#[test]
fn cancelling_what_is_done_does_nothing() {
    let done = beside_a_run(|handle| {
        let task = handle.spawn(|| 5).unwrap();
        while !task.is_finished() {
            thread::yield_now();
        }
        task.cancel();
        handle.spawn(|| ()).unwrap().join().unwrap(); // That was carried out.
        task
    });
    done.cancel(); // The run has ended.
    assert_eq!(done.join().unwrap(), 5);
}

/// Whether the run ends, or the task does, or another thread is faster: each task has one end.
#[test]
fn cancelling_races_with_everything() {
    for n in 0..200 {
        let runtime = Builder::new().build().unwrap();
        let handle = runtime.spawner();
        let thread = thread::spawn(move || {
            let Ok(task) = handle.spawn(green::yield_now) else { return };
            task.cancel();
            assert!(task.join().err().is_none_or(|error| error.is_cancelled()));
        });
        for _ in 0..n % 4 {
            runtime.turn();
        }
        drop(runtime);
        thread.join().unwrap();
    }
}

#[test]
fn a_deadlock_ends_the_wait_of_the_other_thread() {
    let (announce, announced) = mpsc::channel::<Spawner>();
    let thread = thread::spawn(move || {
        let handle = announced.recv().unwrap();
        let task = handle.spawn(|| green::wait(pending::<()>())).unwrap();
        drop(handle);
        task.join().unwrap_err()
    });
    let deadlock = Builder::new().try_run(|| {
        announce.send(Spawner::current()).unwrap();
        green::wait(pending::<()>());
    });
    assert_contains(&deadlock.unwrap_err().to_string(), &["deadlock: 2 tasks wait"]);
    assert!(thread.join().unwrap().is_cancelled());
}

#[test]
fn a_runtime_driven_by_hand_has_one_too() {
    let runtime = Builder::new().build().unwrap();
    let handle = runtime.spawner();
    let task = thread::spawn(move || handle.spawn(|| 42).unwrap()).join().unwrap();
    assert!(!task.is_finished());
    assert!(runtime.turn(), "the bell was rung");
    assert!(task.is_finished());
    assert_eq!(task.join().unwrap(), 42);

    let handle = runtime.spawner();
    let late = handle.spawn(|| ()).unwrap();
    let text = panic_text(|| runtime.enter(|| late.join().unwrap()));
    assert_contains(&text, &["blocks the thread on which the task would run"]);
    let late = handle.spawn(|| ()).unwrap();
    drop(runtime);
    assert!(late.join().unwrap_err().is_cancelled());
    assert!(handle.spawn(|| ()).is_err());
}

#[test]
fn a_runtime_that_is_dropped_while_its_thread_unwinds_leaves_nobody_waiting() {
    let (announce, announced) = mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = Builder::new().build().unwrap();
        announce.send(runtime.spawner().spawn(|| ()).unwrap()).unwrap();
        panic!("with a runtime");
    });
    assert!(announced.recv().unwrap().join().unwrap_err().is_cancelled());
    assert!(thread.join().is_err());
}

#[test]
fn a_task_joins_what_it_has_ordered_itself() {
    let sum = wouldblock::run(|| {
        let handle = Spawner::current();
        let task = handle.spawn(|| 5).unwrap();
        drop(handle);
        task.join().unwrap()
    });
    assert_eq!(sum, 5);
}

#[test]
fn outside_of_a_run_there_is_none() {
    assert_contains(&panic_text(Spawner::current), &["`Spawner::current` outside of a run"]);
}

#[test]
fn whoever_waits_for_one_may_be_cancelled_and_wait_again() {
    let got = beside_a_run(|handle| {
        Builder::new().run(|| {
            let (sender, receiver) = async_channel::bounded::<()>(1);
            let mut task =
                handle.spawn_future(async move || receiver.recv().await.is_ok()).unwrap();
            let early = green::timeout(std::time::Duration::ZERO, || green::wait(&mut task));
            assert!(early.is_err());
            sender.send_blocking(()).unwrap();
            green::wait(&mut task).unwrap()
        })
    });
    assert!(got);
}

/// A thread that never stops ordering is no reason to look at no socket and no timer.
#[test]
fn orders_are_carried_out_a_thousand_at_a_time() {
    Builder::new().round_robin().run(|| {
        let handle = Spawner::current();
        let orders = thread::spawn(move || {
            (0..5000).map(|_| handle.spawn(|| ()).unwrap()).collect::<Vec<_>>()
        });
        let orders = orders.join().unwrap(); // All of them are there now.
        let before = stats().spawned;
        while stats().spawned == before {
            green::yield_now();
        }
        let spawned = stats().spawned - before;
        assert!(spawned <= 1000, "{spawned} at once");
        orders.into_iter().for_each(|order| order.join().unwrap());
    });
}

/// The rest of the wakes of other threads is not forgotten either, with nothing to do meanwhile.
#[test]
fn wakes_that_come_at_once_all_arrive() {
    wouldblock::run(|| {
        let (tx, rx) = async_channel::unbounded::<()>();
        let waits = (0..3000).map(|_| {
            let rx = rx.clone();
            green::spawn(move || green::wait(rx.recv()).is_err())
        });
        let waits: Vec<_> = waits.collect();
        green::yield_now();
        thread::spawn(move || drop(tx)).join().unwrap();
        assert!(waits.into_iter().all(|task| task.join().unwrap()));
    });
}

/// Entered schedulers nest while a runtime is dropped inside of a run: the task may be one of the outer run.
#[test]
fn a_join_in_a_runtime_that_is_dropped_inside_the_run_does_not_block_its_thread() {
    let runtime = Builder::new().build().unwrap();
    let (late, text) = (Rc::new(Cell::new(None::<RemoteJoinHandle<()>>)), Rc::new(Cell::default()));
    runtime.enter(|| {
        let (late, text) = (late.clone(), text.clone());
        let task = green::spawn(|| green::wait(pending::<()>()));
        task.on_done(move |_| text.set(panic_text(|| late.take().unwrap().join().unwrap())));
    });
    wouldblock::run(|| {
        late.set(Some(Spawner::current().spawn(|| ()).unwrap()));
        drop(runtime);
    });
    assert_contains(&text.take(), &["blocks the thread on which the task would run"]);
}
