//! What one has, its siblings have: time limits of joins, of barriers and of pools, bounds, notifications of several.

use std::rc::Rc;

use wouldblock::group::{Group, Pool, gather};
use wouldblock::sync::{Barrier, Condvar, Event, Mutex, Queue};
use wouldblock::{JoinError, green, task, testing::settle};

use crate::util::*;

#[test]
fn joins_with_a_limit() {
    bounded(|| {
        let go = Rc::new(Event::new());
        let waits = go.clone();
        let mut task = green::spawn(move || {
            waits.wait();
            7
        });
        assert!(task.join_timeout(MS).is_err());
        let pool = Pool::new(1);
        let waits = go.clone();
        let in_pool = pool.reserve().spawn(move || waits.wait());
        assert!(pool.join_timeout(MS).is_err() && pool.reserve_timeout(MS).is_err());
        let queue = Queue::bounded(3);
        queue.put("job").unwrap();
        assert_eq!((queue.capacity(), Queue::<u8>::unbounded().capacity()), (Some(3), None));
        assert!(queue.join_timeout(MS).is_err());
        go.set();
        assert_eq!(task.join_timeout(HOUR).unwrap().unwrap(), 7);
        pool.join_timeout(HOUR).unwrap();
        drop(pool.reserve_timeout(HOUR).unwrap());
        in_pool.join().unwrap();
        queue.get().unwrap();
        queue.task_done();
        queue.join_timeout(HOUR).unwrap();
    });
}

#[test]
fn a_task_that_has_left_a_barrier_has_not_come() {
    bounded(|| {
        let barrier = Rc::new(Barrier::new(2));
        assert!(barrier.wait_timeout(MS).is_err());
        let same = barrier.clone();
        let other = green::spawn(move || same.wait_timeout(HOUR).unwrap().is_leader());
        settle();
        assert!(!other.is_finished());
        assert!(barrier.wait_timeout(HOUR).unwrap().is_leader());
        assert!(!other.join().unwrap());
    });
}

#[test]
fn so_many_are_notified() {
    bounded(|| {
        let shared = Rc::new((Mutex::new(0), Condvar::new()));
        let tasks = (0..5).map(|_| {
            let shared = shared.clone();
            green::spawn(move || *shared.1.wait(shared.0.lock()) += 1)
        });
        let tasks: Vec<_> = tasks.collect();
        settle();
        for (n, notified) in [(0, 0), (2, 2), (1, 3), (100, 5)] {
            shared.1.notify_n(n);
            settle();
            assert_eq!(*shared.0.lock(), notified);
        }
        green::wait(gather(tasks)).into_iter().for_each(|task| task.unwrap());
    });
}

#[test]
fn an_imap_pulls_as_many_inputs_as_its_bound() {
    bounded(|| {
        for bound in [1, 5] {
            let pulled = Rc::new(std::cell::Cell::new(0));
            let count = pulled.clone();
            let inputs = (0..10).inspect(move |_| count.set(count.get() + 1));
            let mut results = Pool::new(2).imap_within(bound, inputs, |n| n);
            settle();
            assert_eq!(pulled.get(), bound);
            let rest: Vec<_> = results.by_ref().map(Result::unwrap).collect();
            assert_eq!(rest, (0..10).collect::<Vec<_>>());
        }
        let none = panic_text(|| Pool::new(1).imap_within(0, 0..1, |n| n));
        assert!(none.contains("a bound of 0"), "{none}");
    });
}

#[test]
fn tasks_of_groups_and_pools_have_names_and_stacks_of_their_own() {
    bounded(|| {
        let builder = || task::Builder::new().name("parser").stack_size(1 << 20);
        let own = |task: Option<task::Task>| {
            let task = task.unwrap();
            (task.name().unwrap().to_owned(), task.stack_size(), task.spawned_at().file())
        };
        let tasks = Group::run(|group| {
            Ok::<_, JoinError>([
                group.with(builder()).spawn(|| Ok(task::current())),
                group.with(builder()).spawn_generator(|_| Ok(task::current())),
                group.with(builder()).spawn_future(async { Ok(task::current()) }),
            ])
        });
        let pool = Pool::named("worker", 3);
        let in_pool = [
            pool.reserve().with(builder()).spawn(task::current),
            pool.reserve().with(builder()).spawn_generator(|_| task::current()),
            pool.reserve().with(builder()).spawn_future(async { task::current() }),
        ];
        for task in tasks.unwrap().into_iter().chain(in_pool) {
            assert_eq!(own(task.join().unwrap()), ("parser".to_owned(), 1 << 20, file!()));
        }
        let plain = pool.reserve().with(task::Builder::new()).spawn(task::current);
        assert_eq!(own(plain.join().unwrap()).0, "worker", "a name that is not set is the pool's");
        // An unhandled failure fails the group, as that of any other task does.
        let failed = Group::<JoinError>::run(|group| {
            group.with(builder()).spawn(|| -> Result<(), _> { panic!("a bug") });
            Ok(())
        });
        assert_eq!(failed.unwrap_err().errors().count(), 1);
    });
}
