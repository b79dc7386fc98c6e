//! The watchdog: who keeps the thread is named while they do, and again when they have given it back.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use crate::util::*;
use wouldblock::net::TcpListener;
use wouldblock::{Builder, fs, future, green, task};

/// Soon, so that the tests are.
const LIMIT: Duration = Duration::from_millis(20);

/// How many messages had been logged when the present test began.
static BEFORE: AtomicUsize = AtomicUsize::new(0);

/// No other test's warnings come between this test's: they have tasks of the same names.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    record_log();
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    BEFORE.store(all_logged(<[String]>::len), Ordering::Relaxed);
    one
}

/// The messages of these tests' tasks that contain `part`, in the present test.
fn with<'a>(all: &'a [String], part: &str) -> impl Iterator<Item = &'a String> {
    let all = all[BEFORE.load(Ordering::Relaxed)..].iter();
    all.filter(move |text| text.contains("spawned at tests/it/watchdog.rs:") && text.contains(part))
}

/// What was said of the task with this name. (On a busy machine, any task may seem to keep the thread.)
fn said_of(name: &str) -> Vec<String> {
    all_logged(|all| with(all, &format!("{name:?}")).cloned().collect())
}

/// Blocks this thread until so much has been said of the task with this name.
fn await_said(name: &str, count: usize) {
    await_logged(|all| with(all, &format!("{name:?}")).count() >= count);
}

/// A task of the name `name` that keeps the thread until it has been told of.
fn greedy(name: &'static str) -> wouldblock::JoinHandle<()> {
    task::Builder::new().name(name).spawn(move || await_said(name, 1))
}

/// Lets others have the thread until so much has been said.
fn let_it_be_said(name: &'static str, count: usize) {
    green::wait(wouldblock::offload(move || await_said(name, count)));
}

/// What is said of a task that keeps the thread by `keep`, which returns when it has been told of.
#[track_caller]
fn keeping(keep: impl FnOnce() + 'static) -> Vec<String> {
    let _alone = alone();
    Builder::new().watchdog(Some(LIMIT)).run(|| {
        let spawned = task::Builder::new().name("greedy").spawn(|| {
            green::yield_now();
            keep();
        });
        spawned.join().unwrap();
        let_it_be_said("greedy", 2);
    });
    said_of("greedy")
}

const COMPUTES: &str = ". Let it yield, or `offload` the work";
const IS_BLOCKED: &str = ". It is blocked in the operating system, by a lock, channel, sleep or `JoinHandle::join` of std's, by \
    the `block_on` of an executor, by a file or folder of std's (use `wouldblock::fs`), a child of std's \
    (`wouldblock::process`), or by a blocking call of a library: use `wouldblock::sync`, `green::sleep`, `green::wait` in \
    place of `block_on`, or `wouldblock::net`; or `offload` the call";

#[track_caller]
fn assert_told_of_greedy(said: &[String], advice: &str) {
    let [first, second] = said else { panic!("two warnings are due: {said:?}") };
    assert!(first.ends_with(advice), "{first}");
    let who = r#"task 2 "greedy" (green, spawned at tests/it/watchdog.rs"#;
    assert!(first.starts_with(who), "{first}");
    assert!(first.contains("has kept the thread for 0.0"), "{first}");
    assert!(first.contains("and still does; no other task can run"), "{first}");
    assert!(first.contains("It last gave up its turn at tests/it/watchdog.rs"), "{first}");
    assert!(second.starts_with(who) && second.contains("gave the thread back after"), "{second}");
}

#[test]
fn a_task_that_sleeps_the_threads_sleep_is_told_of_once_and_when_it_is_over() {
    let said = keeping(|| {
        while said_of("greedy").is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    // At the moment when it is looked at, it may be about to sleep again.
    assert!([COMPUTES, IS_BLOCKED].iter().any(|advice| said[0].ends_with(advice)), "{said:?}");
    assert_told_of_greedy(&said, "");
}

#[test]
fn a_task_that_has_dropped_a_runtime_is_told_of() {
    let inner = Builder::new().build().unwrap();
    inner.enter(|| drop(green::spawn(|| ())));
    let said = keeping(|| {
        drop(inner); // Its task has its one turn here, inside of the turn of this task.
        await_said("greedy", 1);
    });
    assert_told_of_greedy(&said, "");
}

#[test]
fn a_task_that_waits_for_a_lock_of_stds_is_told_of() {
    let said = keeping(|| {
        let lock = Arc::new(Mutex::new(()));
        let (held, holds) = mpsc::channel();
        let theirs = lock.clone();
        let holder = thread::spawn(move || {
            let _held = theirs.lock().unwrap();
            held.send(()).unwrap();
            await_said("greedy", 1);
        });
        holds.recv().unwrap();
        drop(lock.lock().unwrap());
        holder.join().unwrap();
    });
    assert_told_of_greedy(&said, IS_BLOCKED);
}

#[test]
fn a_task_that_waits_for_a_channel_of_stds_is_told_of() {
    let said = keeping(|| {
        let (sends, receives) = mpsc::channel();
        let sender = thread::spawn(move || {
            await_said("greedy", 1);
            sends.send(()).unwrap();
        });
        receives.recv().unwrap();
        sender.join().unwrap();
    });
    assert_told_of_greedy(&said, IS_BLOCKED);
}

#[test]
fn a_task_that_spins_is_told_of() {
    let said = keeping(|| {
        let told = Arc::new(AtomicBool::new(false));
        let awaits = thread::spawn({
            let told = told.clone();
            move || {
                await_said("greedy", 1);
                told.store(true, Ordering::Relaxed);
            }
        });
        while !told.load(Ordering::Relaxed) {
            hint::spin_loop();
        }
        awaits.join().unwrap();
    });
    assert_told_of_greedy(&said, COMPUTES);
}

/// Which takes this second.
#[test]
fn a_stall_is_told_of_again_after_a_second() {
    let _alone = alone();
    Builder::new().watchdog(Some(LIMIT)).run(|| {
        let task = task::Builder::new().name("long").spawn(|| await_said("long", 2));
        task.join().unwrap();
        let_it_be_said("long", 3);
    });
    let said = said_of("long");
    let [first, again, back] = &said[..] else { panic!("{said:?}") };
    assert!(first.contains("has kept the thread for 0.0"), "{said:?}");
    assert!(again.contains("has kept the thread for 1.0"), "{said:?}");
    assert!(back.contains("gave the thread back after 1."), "{said:?}");
}

#[test]
fn a_long_name_is_cut() {
    let _alone = alone();
    let start = "a name that is longer than what ";
    let name = format!("{start}the watchdog is shown");
    Builder::new().watchdog(Some(LIMIT)).run(|| {
        let keep = move || {
            while !all_logged(|all| with(all, start).next().is_some()) {
                thread::yield_now();
            }
        };
        task::Builder::new().name(&name).spawn(keep).join().unwrap();
    });
    let said: Vec<_> = all_logged(|all| with(all, start).cloned().collect());
    let of_it = format!("task 2 {start:?}.. (green, spawned at tests/it/watchdog.rs:");
    assert!(said.iter().any(|text| text.starts_with(&of_it)), "{said:?}");
}

#[test]
fn the_other_eras_are_told_of_too() {
    let _alone = alone();
    Builder::new().watchdog(Some(LIMIT)).run(|| {
        let future = task::Builder::new().name("future").spawn_future(async {
            future::yield_now().await;
            await_said("future", 1);
        });
        future.join().unwrap();
        let generator = task::Builder::new().name("generator").spawn_generator(|y| {
            y.yield_now();
            await_said("generator", 1);
        });
        generator.join().unwrap();
        let reader = task::Builder::new().name("reader").spawn(|| {
            fs::metadata(".").unwrap();
            await_said("reader", 1);
        });
        reader.join().unwrap();
    });
    let said = said_of("reader").swap_remove(0);
    assert!(said.contains("It last gave up its turn at tests/it/watchdog.rs"), "{said}");
    let said = said_of("future").swap_remove(0);
    assert!(said.starts_with(r#"task 2 "future" (future, spawned at"#), "{said}");
    assert!(said.contains("It has not given up its turn on a stack yet"), "{said}");
    let said = said_of("generator").swap_remove(0);
    assert!(said.starts_with(r#"task 3 "generator" (generator, spawned at"#), "{said}");
    assert!(said.contains("It last gave up its turn at tests/it/watchdog.rs"), "{said}");
}

#[test]
fn each_stall_is_told_of_once_and_its_end_too_when_the_run_ends_with_it() {
    let _alone = alone();
    let names = ["first", "second", "third"];
    Builder::new().watchdog(Some(LIMIT)).run(|| {
        for name in names {
            greedy(name).join().unwrap();
        }
    });
    for name in names {
        await_said(name, 2);
        let said = said_of(name);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("has kept the thread"), "{said:?}");
        assert!(said[1].contains("gave the thread back"), "{said:?}");
    }
}

#[test]
fn runs_of_several_threads_are_watched_at_once() {
    let _alone = alone();
    let both = |name: &'static str, other: &'static str| {
        thread::spawn(move || {
            Builder::new().watchdog(Some(LIMIT)).run(|| {
                let task = task::Builder::new().name(name).spawn(move || {
                    await_said(name, 1);
                    await_said(other, 1);
                });
                task.join().unwrap();
            });
        })
    };
    let threads = [both("ann", "bob"), both("bob", "ann")];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn waiting_is_not_keeping_the_thread() {
    let _alone = alone();
    Builder::new().watchdog(Some(LIMIT)).run(|| {
        let waiting = task::Builder::new().name("waiting").spawn(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            // Longer than the limit, in the kernel's sleep, for a socket that nobody connects to.
            assert!(green::timeout(3 * LIMIT, || listener.accept()).is_err());
        });
        waiting.join().unwrap();
    });
    // Of its turns, one might seem long on a busy machine; but nobody sleeps three limits in a turn.
    assert!(said_of("waiting").iter().all(|text| text.contains("0.0")), "{:?}", said_of("waiting"));
}

#[test]
fn without_a_watchdog_nothing_is_said() {
    let _alone = alone();
    Builder::new().watchdog(None).run(|| {
        let unwatched = task::Builder::new().name("unwatched").spawn(|| {
            // Another run, which is watched, is told of before this turn is over.
            let run = || Builder::new().watchdog(Some(LIMIT)).run(|| greedy("watched").join());
            thread::spawn(run).join().unwrap().unwrap();
        });
        unwatched.join().unwrap();
    });
    assert!(!said_of("watched").is_empty());
    assert!(said_of("unwatched").is_empty());
}
