//! `wouldblock::thread`: std's names and shapes for greenlets.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use crate::util::{
    HOUR, MS, SECOND, assert_contains, deadlock_text, panic_text, run, run_in_order, text,
};
use wouldblock::thread::{self, Thread, ThreadId};
use wouldblock::{JoinError, future, generator, green, task, time};

#[test]
#[deny(unused_must_use)]
fn a_thread_is_spawned_by_a_statement_and_joined_as_std_s() {
    run_in_order(|| {
        let done = Rc::new(Cell::new(0));
        let counts = done.clone();
        thread::spawn(move || counts.set(1)); // neither `drop` nor `let _`
        thread::yield_now();
        assert_eq!(done.get(), 1);

        let task: thread::JoinHandle<i32> = thread::spawn::<_, i32>(|| 6 * 7);
        assert!(!task.is_finished());
        let joined: std::thread::Result<i32> = task.join();
        assert_eq!(joined.unwrap(), 42);

        let panics = thread::spawn(|| panic!("on {}", "purpose"));
        thread::yield_now();
        assert!(panics.is_finished());
        assert_eq!(text(&*panics.join().unwrap_err()), "on purpose");
    });
}

#[test]
fn whoever_joins_a_cancelled_thread_gets_an_error_that_says_so() {
    run_in_order(|| {
        let endless = thread::spawn(|| thread::sleep(HOUR));
        thread::yield_now();
        endless.cancel();
        let payload = endless.join().unwrap_err();
        let error = payload.downcast_ref::<JoinError>().expect("a JoinError");
        assert!(error.is_cancelled());
        assert_contains(&error.to_string(), &["tests/it/thread.rs", "was cancelled"]);
    });
}

#[test]
fn a_builder_sets_name_and_stack() {
    run(|| {
        let builder = thread::Builder::new().name("worker".to_string()).stack_size(1);
        let worker = builder
            .spawn(|| {
                let me = task::current().unwrap();
                assert_contains(&me.spawned_at().to_string(), &["tests/it/thread.rs"]);
                (thread::current().name().map(str::to_owned), me.stack_size())
            })
            .unwrap();
        assert_eq!(worker.thread().name(), Some("worker"));
        assert_eq!(worker.join().unwrap(), (Some("worker".to_owned()), 32 << 10));
        let unnamed = thread::spawn(|| thread::current().name().is_none());
        assert!(unnamed.thread().name().is_none());
        assert!(unnamed.join().unwrap());

        let too_large = thread::Builder::new().stack_size(4 << 30).spawn(|| ());
        assert_eq!(too_large.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(thread::current().name(), Some("root"));
    });
}

#[test]
fn a_nul_in_a_name_panics_as_with_std() {
    run(|| {
        let named = thread::Builder::new().name("a\0b".into()); // std panics where it spawns
        assert_contains(&panic_text(|| named.spawn(|| ()).map(drop)), &["NUL", r#""a\0b""#]);
        assert_contains(&panic_text(|| task::Builder::new().name("\0")), &["NUL"]);
        let scoped = || {
            thread::scope(|s| {
                let named = thread::Builder::new().name("\0".into());
                named.spawn_scoped(s, || ()).map(drop)
            })
        };
        assert_contains(&panic_text(scoped), &["NUL"]);
    });
}

#[test]
fn scoped_threads_borrow_and_are_joined_as_std_s() {
    run(|| {
        let (words, total) = (["a", "few", "words"], Cell::new(0));
        let lengths: Vec<usize> = thread::scope(|s| {
            let tasks: Vec<thread::ScopedJoinHandle<'_, usize>> =
                words.iter().map(|word| s.spawn(move || word.len())).collect();
            // A thread of a scope spawns another in it.
            s.spawn(|| s.spawn(|| total.set(total.get() + 1)).join().unwrap());
            let named = thread::Builder::new().name("named".into());
            let named = named.spawn_scoped(s, || total.set(total.get() + 1)).unwrap();
            assert_eq!(named.thread().name(), Some("named"));
            let panics = s.spawn(|| panic!("on purpose"));
            assert_eq!(text(&*panics.join().unwrap_err()), "on purpose");
            tasks.into_iter().map(|task| task.join().unwrap()).collect()
        });
        assert_eq!((lengths, total.get()), (vec![1, 3, 5], 2));
        let lost = panic_text(|| thread::scope(|s| drop(s.spawn(|| panic!("on purpose")))));
        assert_eq!(lost, "a scoped task panicked");
    });
}

#[test]
fn park_takes_the_token_that_unpark_gives() {
    run_in_order(|| {
        // Given before: the next one returns at once, and only one.
        let me = thread::current();
        me.unpark();
        me.unpark();
        let turns = wouldblock::stats().turns;
        thread::park();
        assert_eq!(wouldblock::stats().turns, turns);
        let start = time::now();
        thread::park_timeout(SECOND);
        assert_eq!(time::now() - start, SECOND);

        // Given while it waits, by a handle from inside, and by one from outside.
        let handles = Rc::new(RefCell::new(Vec::new()));
        let shared = handles.clone();
        let parks = thread::spawn(move || {
            shared.borrow_mut().push(thread::current());
            thread::park();
            thread::park_timeout(HOUR);
            time::now()
        });
        thread::yield_now();
        assert!(!parks.is_finished());
        handles.borrow()[0].unpark();
        thread::sleep(MS);
        assert!(!parks.is_finished());
        parks.thread().unpark();
        assert_eq!(parks.join().unwrap() - start, SECOND + MS);
        handles.borrow()[0].unpark(); // it is done: nothing happens
    });
}

#[test]
fn a_task_of_any_era_can_be_unparked() {
    run_in_order(|| {
        let parked: Rc<RefCell<Vec<Thread>>> = Rc::default();
        let [a, b, c] = [0; 3].map(|_| {
            let parked = parked.clone();
            move || {
                parked.borrow_mut().push(thread::current());
                thread::park();
                thread::current().id()
            }
        });
        let tasks =
            [green::spawn(a), generator::spawn(move |_| b()), future::spawn(async move { c() })];
        thread::yield_now();
        let ids: Vec<ThreadId> = parked.borrow().iter().map(Thread::id).collect();
        parked.borrow().iter().for_each(Thread::unpark);
        let mut joined: Vec<_> = tasks.map(|task| task.join().unwrap()).into();
        assert!(ids.iter().all(|id| joined.contains(id)));
        joined.push(thread::current().id());
        joined.dedup();
        assert_eq!(joined.len(), 4);
    });
}

#[test]
fn another_thread_unparks_a_task() {
    wouldblock::run(|| {
        let (sender, receiver) = mpsc::channel::<Thread>();
        let other = std::thread::spawn(move || receiver.into_iter().for_each(|task| task.unpark()));
        for _ in 0..100 {
            sender.send(thread::current()).unwrap();
            thread::park();
        }
        drop(sender);
        other.join().unwrap();
    });
}

#[test]
fn nothing_is_lost_when_a_parked_task_is_cancelled_or_runs_out_of_time() {
    run_in_order(|| {
        let parked = thread::spawn(|| {
            assert!(green::timeout(MS, thread::park).is_err());
            thread::park();
        });
        thread::sleep(SECOND);
        let thread = parked.thread().clone();
        parked.cancel();
        assert!(parked.join().is_err());
        thread.unpark();
        // The token that comes during the wait for something else stays.
        let waits = thread::spawn(|| {
            thread::sleep(SECOND);
            thread::park();
        });
        thread::yield_now();
        waits.thread().unpark();
        waits.join().unwrap();
    });
}

#[test]
fn a_task_that_nothing_can_unpark_is_a_certain_deadlock() {
    let report = deadlock_text(|| drop(thread::spawn(thread::park).join()));
    assert_contains(&report, &["deadlock: 2 tasks wait", "task 2", "waits for a call of `unpark`"]);
    let report = deadlock_text(|| {
        let me = thread::current();
        thread::spawn(move || {
            thread::sleep(MS);
            drop(me); // while it is parked
        });
        thread::park();
    });
    assert_contains(&report, &["deadlock: 1 task waits", "waits for a call of `unpark`"]);
}

#[test]
fn handles_are_equal_by_id_and_say_who_they_are() {
    run(|| {
        let task = thread::Builder::new().name("me".into()).spawn(thread::current).unwrap();
        let (outside, id) = (task.thread().clone(), task.thread().id());
        let inside = task.join().unwrap();
        assert_eq!((inside.id(), inside.name()), (id, outside.name()));
        assert_eq!(format!("{inside:?}"), r#"Thread { id: ThreadId(2), name: Some("me"), .. }"#);
        assert_ne!(id, thread::current().id());
        // No two runs have the same.
        let root = thread::current().id();
        let other = std::thread::spawn(|| run(|| thread::current().id())).join().unwrap();
        assert_ne!(other, root);
    });
}

#[test]
fn outside_of_a_run_the_panic_says_where_to_call_it() {
    for text in [panic_text(thread::current), panic_text(thread::park)] {
        assert_contains(&text, &["outside of any task", "wouldblock::run"]);
    }
}

#[test]
fn what_needs_no_greenlet_is_std_s() {
    assert!(!thread::panicking());
    assert_eq!(
        thread::available_parallelism().unwrap(),
        std::thread::available_parallelism().unwrap()
    );
    let _: thread::Result<()> = Ok(());
    run(|| {
        let start = time::now();
        thread::sleep(Duration::from_secs(3));
        assert_eq!(time::now() - start, 3 * SECOND);
    });
}
