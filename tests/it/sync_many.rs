//! Many that wait for one: a watch, a broadcast, a shared handle; and the queue whose least item comes first.

use std::cell::Cell;
use std::cmp::Reverse;
use std::future::pending;
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};

use wouldblock::group::{gather, share};
use wouldblock::sync::{Event, PriorityQueue, broadcast, watch};
use wouldblock::{CancelScope, JoinError, future, generator, green, testing::settle};

use crate::util::*;

#[test]
fn a_watch_gives_the_latest_value_to_each_era() {
    bounded(|| {
        let (sender, mut receiver) = watch::channel(0);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty), "the first counts as seen");
        assert_eq!((receiver.get(), sender.get()), (0, 0));
        let receivers = [receiver.clone(), receiver.clone(), sender.subscribe()];
        let [mut a, mut b, mut c] = receivers;
        let tasks = [
            green::spawn(move || a.iter().collect::<Vec<_>>()),
            generator::spawn(move |y| {
                let mut all = Vec::new();
                while let Ok(value) = y.wait(b.receiving()) {
                    all.push(value);
                }
                all
            }),
            future::spawn(async move {
                let mut all = Vec::new();
                while let Ok(value) = c.receiving().await {
                    all.push(value);
                }
                all
            }),
        ];
        settle();
        for value in [1, 2] {
            sender.send(value);
            settle();
        }
        sender.send(3);
        sender.send(4); // In one turn: 3 is seen by none.
        let last = sender.clone();
        drop(sender);
        settle();
        drop(last);
        for all in green::wait(gather(tasks)) {
            assert_eq!(all.unwrap(), [1, 2, 4]);
        }
        assert_eq!((receiver.recv(), receiver.recv().is_err()), (Ok(4), true));
        assert_eq!(receiver.get(), 4);
    });
}

#[test]
fn a_wait_for_a_value_that_is_given_up_loses_none() {
    bounded(|| {
        let (sender, mut receiver) = watch::channel("a");
        assert_eq!(receiver.recv_timeout(MS), Err(RecvTimeoutError::Timeout));
        let mut same = receiver.clone();
        let task = green::spawn(move || same.recv());
        settle();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        sender.send("b");
        assert_eq!(receiver.recv_timeout(MS), Ok("b"));

        let (sender, mut receiver) = broadcast::channel(2);
        assert_eq!(receiver.recv_timeout(MS), Err(RecvTimeoutError::Timeout));
        let late = green::timeout(MS, || receiver.recv());
        assert!(late.is_err());
        assert_eq!(sender.send("c"), 1);
        assert_eq!(receiver.recv_timeout(MS), Ok("c"));
        drop(sender);
        assert_eq!(receiver.recv_timeout(MS), Err(RecvTimeoutError::Disconnected));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    });
}

#[test]
fn a_broadcast_gives_each_item_to_each_and_a_slow_receiver_loses_the_oldest() {
    bounded(|| {
        let (sender, mut slow) = broadcast::channel(3);
        let mut quick = sender.subscribe();
        let quick = green::spawn(move || (quick.iter().collect::<Vec<_>>(), quick.lost()));
        for n in 0..5 {
            assert_eq!(sender.send(n), 2);
            settle();
        }
        assert_eq!((slow.len(), slow.lost(), slow.is_empty()), (3, 2, false));
        assert_eq!((slow.recv(), slow.try_recv()), (Ok(2), Ok(3)));
        let mut late = sender.subscribe();
        assert_eq!(sender.receiver_count(), 3);
        sender.clone().send(5);
        drop(sender);
        assert_eq!(slow.iter().collect::<Vec<_>>(), [4, 5]);
        assert_eq!(late.iter().collect::<Vec<_>>(), [5], "what is sent from then on");
        assert_eq!(quick.join().unwrap(), ((0..=5).collect(), 0));
    });
}

#[test]
fn an_item_that_is_dropped_or_cloned_may_use_its_channel() {
    struct Curious(broadcast::Sender<Rc<Curious>>, Cell<usize>);
    impl Drop for Curious {
        fn drop(&mut self) {
            self.1.set(self.0.receiver_count());
        }
    }
    bounded(|| {
        let (sender, receiver) = broadcast::channel(1);
        for _ in 0..3 {
            sender.send(Rc::new(Curious(sender.clone(), Cell::new(0))));
        }
        drop(receiver);
        assert_eq!(sender.send(Rc::new(Curious(sender.clone(), Cell::new(0)))), 0);
    });
    assert!(panic_text(|| broadcast::channel::<u8>(0)).contains("without any room"));
}

#[test]
fn many_join_one_task() {
    bounded(|| {
        let go = Rc::new(Event::new());
        let wait_for = go.clone();
        let task = share(green::spawn(move || {
            wait_for.wait();
            String::from("done")
        }));
        assert!(task.try_join().is_none() && task.join_timeout(MS / 10).is_err());
        go.set();
        let (one, two, three) = (task.clone(), task.clone(), task.clone());
        let tasks = [
            green::spawn(move || one.join().as_ref().unwrap().clone()),
            generator::spawn(move |y| y.wait(two.joining()).as_ref().unwrap().clone()),
            future::spawn(async move { three.joining().await.as_ref().unwrap().clone() }),
        ];
        for joined in green::wait(gather(tasks)) {
            assert_eq!(joined.unwrap(), "done");
        }
        assert_eq!(task.try_join().unwrap().as_ref().unwrap(), "done");
        assert_eq!(task.join_timeout(MS).unwrap().as_ref().unwrap(), "done");

        // A panic and a cancellation, for all.
        let task = share(green::spawn(|| panic!("a bug")));
        assert!(task.join().as_ref().is_err_and(JoinError::is_panic));
        assert!(task.clone().join().as_ref().is_err_and(JoinError::is_panic));
        let task = share(green::spawn(|| green::sleep(HOUR)));
        task.clone().cancel();
        assert!(task.join().as_ref().is_err_and(JoinError::is_cancelled));
        // One that had ended before.
        let ended = green::spawn(|| 7);
        settle();
        assert_eq!(*share(ended).join().as_ref().unwrap(), 7);
    });
}

#[test]
fn the_least_item_comes_first_and_equal_ones_in_order() {
    bounded(|| {
        let queue = Rc::new(PriorityQueue::new());
        let waiting = [
            green::spawn({
                let queue = queue.clone();
                move || queue.get()
            }),
            generator::spawn({
                let queue = queue.clone();
                move |y| y.wait(queue.getting())
            }),
            future::spawn({
                let queue = queue.clone();
                async move { queue.getting().await }
            }),
        ];
        settle();
        waiting[0].cancel(); // It takes nothing.
        settle();
        for n in [3, 1, 2, 1] {
            queue.put(Reverse(n));
        }
        let [cancelled, b, c] = waiting;
        assert!(cancelled.join().is_err());
        let mut got = [b.join().unwrap(), c.join().unwrap()];
        got.sort(); // Which of the two began to wait first depends on the seed.
        assert_eq!(got, [Reverse(3), Reverse(2)]);
        assert_eq!((queue.len(), queue.try_get(), queue.get()), (2, Ok(Reverse(1)), Reverse(1)));
        assert!(queue.is_empty() && queue.try_get().is_err() && queue.get_timeout(MS).is_err());

        /// Equal to all others.
        #[derive(Debug)]
        struct Same(u32);
        impl PartialEq for Same {
            fn eq(&self, _: &Same) -> bool {
                true
            }
        }
        impl Eq for Same {}
        impl PartialOrd for Same {
            fn partial_cmp(&self, other: &Same) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for Same {
            fn cmp(&self, _: &Same) -> std::cmp::Ordering {
                std::cmp::Ordering::Equal
            }
        }
        let queue = PriorityQueue::default();
        (0..20).for_each(|n| queue.put(Same(n)));
        assert!((0..20).all(|n| queue.get().0 == n));
    });
}

/// A task that has used up its budget for the turn gives the others a turn before it waits: what comes in that turn is not
/// missed, wherever the budget ends.
#[test]
fn what_comes_as_the_budget_ends_is_not_missed() {
    bounded(|| {
        let ready = Rc::new(Event::new());
        ready.set();
        for spent in (0..4).chain(120..136) {
            let about_to_wait = Rc::new(Cell::new(false));
            let (state, mut watch) = watch::channel(0);
            let (all, mut feed) = broadcast::channel(1);
            let scope = CancelScope::new();
            let waits: [Box<dyn FnOnce()>; 4] = [
                Box::new(move || assert_eq!(watch.recv(), Ok(1))),
                Box::new(move || assert_eq!(feed.recv(), Ok(1))),
                Box::new({
                    let scope = scope.clone();
                    move || assert!(green::wait(scope.running(pending::<()>())).is_none())
                }),
                Box::new({
                    let scope = scope.clone();
                    move || assert!(scope.run(|| green::wait(pending::<()>())).is_none())
                }),
            ];
            for wait in waits {
                let (ready, about) = (ready.clone(), about_to_wait.clone());
                let task = green::spawn(move || {
                    green::yield_now();
                    (0..spent).for_each(|_| ready.wait());
                    about.set(true);
                    wait();
                });
                while !about_to_wait.take() {
                    green::yield_now();
                }
                state.send(1);
                all.send(1);
                scope.cancel();
                task.join().unwrap();
            }
        }
    });
}
