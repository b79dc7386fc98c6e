//! Channels, `oneshot`, `Queue` and `select`: each item is received once and in order, whatever becomes of
//! those who wait; how they close; what a deadlock's report says of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};

use crate::util::{
    AtDrop, Defer, ERAS, HOUR, MS, SECOND, Trace, all, assert_contains, deadlock_text,
    let_others_run, panic_text, poll_once, run, run_in_order, spawn_waiting,
};
use futures::FutureExt;
use wouldblock::op::{Either, select, select_all};
use wouldblock::sync::channel::{
    self, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError,
};
use wouldblock::sync::{Barrier, Condvar, Event, Mutex, Queue, Semaphore, oneshot};
use wouldblock::{Era, JoinHandle, future, green, group::gather, op, task, testing::explore, time};

/// A task of `era` that sends all of `items`.
fn sender<T: 'static>(
    era: Era,
    sender: Sender<T>,
    items: impl IntoIterator<Item = T> + 'static,
) -> JoinHandle<()> {
    let code = async move {
        for item in items {
            sender.sending(item).await.expect("somebody receives");
        }
    };
    spawn_waiting(era, code, ())
}

/// A task of `era` that receives until there is nothing any more.
fn receiver<T: 'static>(era: Era, receiver: Receiver<T>) -> JoinHandle<Vec<T>> {
    let code = async move {
        let mut items = Vec::new();
        while let Ok(item) = receiver.receiving().await {
            items.push(item);
        }
        items
    };
    spawn_waiting(era, code, ())
}

// Channels.

#[test]
fn what_is_sent_arrives_once_and_in_order_between_any_two_eras() {
    for capacity in [0, 1, 7, usize::MAX] {
        for (from, to) in ERAS.iter().flat_map(|from| ERAS.map(|to| (*from, to))) {
            run(|| {
                let (tx, rx) = channel::bounded(capacity);
                let sends = sender(from, tx, 0..20);
                let received = receiver(to, rx).join().unwrap();
                assert!(received.iter().copied().eq(0..20), "{from} to {to}: {received:?}");
                sends.join().unwrap();
            });
        }
    }
}

#[test]
fn a_sender_waits_when_the_channel_is_full() {
    run_in_order(|| {
        let (tx, rx) = channel::bounded(2);
        assert_eq!((tx.capacity(), rx.capacity(), tx.is_empty()), (Some(2), Some(2), true));
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        assert_eq!(tx.try_send(3), Err(TrySendError::Full(3)));
        let waits = sender(Era::Green, tx.clone(), [3, 4]);
        let_others_run();
        assert!(!waits.is_finished());
        assert_eq!((tx.len(), rx.len()), (2, 2), "what waits is not in the channel");
        assert_eq!(rx.recv(), Ok(1));
        assert_eq!(rx.len(), 2, "the next has moved in");
        assert_eq!(tx.try_send(5), Err(TrySendError::Full(5)), "nobody overtakes");
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [2, 3]);
        waits.join().unwrap();
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [4]);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        let (unbounded, _rx) = channel::unbounded::<()>();
        assert_eq!(unbounded.capacity(), None);
    });
}

#[test]
fn a_channel_without_room_is_where_both_meet() {
    run_in_order(|| {
        let (tx, rx) = channel::bounded(0);
        assert_eq!(tx.try_send(0), Err(TrySendError::Full(0)));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        let sends = sender(Era::Future, tx.clone(), [1, 2]);
        let_others_run();
        assert!(!sends.is_finished() && rx.is_empty());
        assert_eq!(rx.try_recv(), Ok(1));
        assert_eq!(rx.recv(), Ok(2));
        sends.join().unwrap();
        let receives = {
            let rx = rx.clone();
            green::spawn(move || rx.recv())
        };
        green::yield_now();
        assert_eq!(tx.try_send(3), Ok(()), "somebody waits for it");
        assert_eq!(tx.try_send(4), Err(TrySendError::Full(4)));
        assert_eq!(receives.join().unwrap(), Ok(3));
    });
}

#[test]
fn receivers_and_senders_are_served_in_the_order_of_arrival() {
    run_in_order(|| {
        let (tx, rx) = channel::bounded(1);
        let one = |era| {
            let rx = rx.clone();
            spawn_waiting(era, async move { rx.receiving().await.unwrap() }, ())
        };
        let receivers = ERAS.map(one);
        let_others_run();
        for n in 0..3 {
            assert_eq!(tx.try_send(n), Ok(()));
        }
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "these are promised");
        assert_eq!(all(receivers), [0, 1, 2]);
        tx.send(0).unwrap();
        let senders = [1, 2, 3].map(|n| sender(ERAS[n % 3], tx.clone(), [n]));
        let_others_run();
        assert_eq!(rx.iter().take(4).collect::<Vec<_>>(), [0, 1, 2, 3]);
        all(senders);
    });
}

/// A generator, a greenlet and a future in one line, and one of each that is cancelled in it.
#[test]
fn whoever_is_cancelled_while_it_receives_leaves_the_items_to_the_others() {
    for turns in 0..6 {
        run_in_order(|| {
            let (tx, rx) = channel::unbounded();
            let got = Rc::new(RefCell::new(BTreeSet::new()));
            let tasks = ERAS.iter().chain(&ERAS).map(|era| {
                let (rx, got) = (rx.clone(), got.clone());
                let receives = async move {
                    while let Ok(n) = rx.receiving().await {
                        assert!(got.borrow_mut().insert(n), "{n} twice");
                    }
                };
                spawn_waiting(*era, receives, ())
            });
            let tasks: Vec<_> = tasks.collect();
            for n in 0..turns {
                green::yield_now();
                tx.send(n).unwrap();
            }
            tasks[..3].iter().for_each(JoinHandle::cancel);
            for n in turns..10 {
                tx.send(n).unwrap();
            }
            drop(tx);
            for (n, task) in tasks.into_iter().enumerate() {
                assert!(task.join().is_ok() || n < 3);
            }
            assert!(got.borrow().iter().copied().eq(0..10), "{turns}: {got:?}");
        });
    }
}

#[test]
fn an_item_that_was_promised_to_somebody_who_is_gone_goes_to_the_next() {
    for capacity in [0, 1, 5] {
        let (tx, rx) = channel::bounded(capacity);
        let [mut a, mut b, mut c] = [rx.receiving(), rx.receiving(), rx.receiving()];
        assert!(
            poll_once(&mut a).is_pending()
                && poll_once(&mut b).is_pending()
                && poll_once(&mut c).is_pending()
        );
        tx.try_send(1).unwrap();
        tx.try_send(2).unwrap();
        drop(a); // It was promised the first: now b and c have one each.
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(poll_once(&mut b), Poll::Ready(Ok(1)), "the order is kept");
        drop(c);
        assert_eq!(rx.try_recv(), Ok(2), "nobody waits: it stays in the channel");
    }
}

/// Who was promised an item and is gone leaves one more in the channel than it has room for.
#[test]
fn nobody_moves_in_while_a_channel_is_over_full() {
    let (tx, rx) = channel::bounded(1);
    let mut gone = rx.receiving();
    assert!(poll_once(&mut gone).is_pending());
    tx.try_send(1).unwrap();
    tx.try_send(2).unwrap();
    drop(gone);
    let mut waits = tx.sending(3);
    assert!(poll_once(&mut waits).is_pending());
    assert_eq!((rx.len(), rx.try_recv(), rx.len()), (2, Ok(1), 1));
    assert!(poll_once(&mut waits).is_pending());
    assert_eq!((rx.try_recv(), rx.len()), (Ok(2), 1));
    assert_eq!(poll_once(&mut waits), Poll::Ready(Ok(())));
}

#[test]
fn an_operation_that_is_dropped_lets_go_of_its_waker() {
    struct Nobody;
    impl std::task::Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    let counted = Arc::new(Nobody);
    let waker = Waker::from(counted.clone());
    let (full, empty) = (Queue::bounded(0), Queue::<()>::unbounded());
    let (locked, event, barrier, condvar) =
        (Mutex::new(()), Event::new(), Barrier::new(2), Condvar::new());
    let (semaphore, (_tx, rx), unlocked) =
        (Semaphore::new(0), oneshot::channel::<()>(), Mutex::new(()));
    let done = Queue::unbounded();
    done.put(()).unwrap();
    let _guard = locked.lock();
    let operations: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = vec![
        Box::pin(locked.locking().map(drop)),
        Box::pin(condvar.waiting(unlocked.lock()).map(drop)),
        Box::pin(semaphore.acquiring().map(drop)),
        Box::pin(event.waiting()),
        Box::pin(barrier.waiting().map(|_| ())),
        Box::pin(full.putting(()).map(drop)),
        Box::pin(empty.getting().map(drop)),
        Box::pin(done.joining()),
        Box::pin(rx.map(drop)),
    ];
    for (n, mut operation) in operations.into_iter().enumerate() {
        for _ in 0..2 {
            assert!(operation.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "{n}");
            assert_eq!(Arc::strong_count(&counted), 3, "{n}");
        }
        drop(operation);
        assert_eq!(Arc::strong_count(&counted), 2, "{n}");
    }
}

#[test]
fn a_send_that_is_given_up_gives_its_item_back_or_drops_it_once() {
    let trace = Trace::new();
    let (tx, rx) = channel::bounded::<AtDrop>(1);
    tx.try_send(trace.at_drop("first")).unwrap();
    let mut sending = ["dropped", "given back", "sent", "never polled"].map(|what| {
        let mut sending = tx.sending(trace.at_drop(what));
        assert!(what == "never polled" || poll_once(&mut sending).is_pending());
        Some(sending)
    });
    drop(sending[0].take());
    assert_eq!(trace.take(), ["dropped"]);
    let back = sending[1].take().unwrap().give_back();
    assert!(trace.take().is_empty());
    drop(back);
    assert_eq!(trace.take(), ["given back"]);
    drop(rx.try_recv().unwrap());
    assert_eq!(trace.take(), ["first"]);
    assert!(sending[2].take().unwrap().give_back().is_none(), "it has moved in");
    drop(sending);
    assert_eq!(trace.take(), ["never polled"]);
    drop(rx);
    assert_eq!(trace.take(), ["sent"]);
    assert!(tx.try_send(trace.at_drop("too late")).is_err());
    assert_eq!(trace.take(), ["too late"]);
}

#[test]
fn time_limits_give_the_item_back_and_take_none() {
    run_in_order(|| {
        let (tx, rx) = channel::bounded(1);
        assert_eq!(rx.recv_timeout(SECOND), Err(RecvTimeoutError::Timeout));
        tx.send_timeout(1, SECOND).unwrap();
        assert_eq!(tx.send_timeout(2, SECOND), Err(SendTimeoutError::Timeout(2)));
        assert_eq!(rx.recv_timeout(SECOND), Ok(1));
        // Who has run out of time does not take what comes later.
        let limited = {
            let rx = rx.clone();
            green::spawn(move || rx.recv_timeout(SECOND))
        };
        green::sleep(2 * SECOND);
        tx.send(3).unwrap();
        assert_eq!(limited.join().unwrap(), Err(RecvTimeoutError::Timeout));
        assert_eq!(rx.len(), 1);
        let late = sender(Era::Green, tx.clone(), [4]);
        green::sleep(SECOND);
        assert_eq!(rx.recv(), Ok(3));
        late.join().unwrap();
        let (full, other) = (tx.clone(), rx.clone());
        drop((rx, other));
        assert_eq!(full.send_timeout(5, SECOND), Err(SendTimeoutError::Disconnected(5)));
        let error = SendTimeoutError::Timeout(6);
        assert_eq!((format!("{error} {error:?}"), error.into_inner()), {
            ("timed out sending on a full channel Timeout(..)".into(), 6)
        });
    });
}

/// At the very moment in which the time has passed, the item comes: it is received, or stays where it was.
#[test]
fn an_item_that_comes_when_the_time_has_passed_is_not_lost() {
    for capacity in [0, 1] {
        let outcomes = RefCell::new(BTreeSet::new());
        explore(300, || {
            let (tx, rx) = channel::bounded(capacity);
            let receives = rx.clone();
            let receives = green::spawn(move || receives.recv_timeout(SECOND));
            let sends = green::spawn(move || {
                green::sleep(SECOND);
                tx.send_timeout(7, MS)
            });
            let (received, sent) = (receives.join().unwrap(), sends.join().unwrap());
            match (received, sent) {
                (Ok(7), Ok(())) => assert!(rx.is_empty()),
                (Err(RecvTimeoutError::Timeout), Ok(())) => assert_eq!(rx.try_recv(), Ok(7)),
                (Err(RecvTimeoutError::Timeout), Err(SendTimeoutError::Timeout(7))) => {
                    assert!(rx.is_empty());
                }
                other => panic!("{other:?}"),
            }
            outcomes.borrow_mut().insert(received.is_ok());
        });
        assert!(outcomes.borrow().len() == 2 || std::env::var("WOULDBLOCK_SEED").is_ok());
    }
}

#[test]
fn with_the_last_sender_gone_receivers_get_the_rest_and_then_an_error() {
    for era in ERAS {
        run_in_order(|| {
            let (tx, rx) = channel::bounded(5);
            let waiting = receiver(era, rx.clone());
            let_others_run();
            let other = tx.clone();
            tx.send(1).unwrap();
            drop(tx);
            let_others_run();
            assert!(!waiting.is_finished() && !rx.is_disconnected());
            other.send(2).unwrap();
            other.send(3).unwrap();
            drop(other);
            assert!(rx.is_disconnected());
            assert_eq!(waiting.join().unwrap(), [1, 2, 3]);
            assert_eq!(rx.recv(), Err(RecvError));
            assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
            assert_eq!(rx.recv_timeout(SECOND), Err(RecvTimeoutError::Disconnected));
            assert_eq!(rx.into_iter().next(), None);
        });
    }
}

#[test]
fn with_the_last_receiver_gone_senders_get_their_items_back() {
    for era in ERAS {
        run_in_order(|| {
            let trace = Trace::new();
            let (tx, rx) = channel::bounded(1);
            tx.send((0, trace.at_drop("in the channel"))).unwrap();
            let waits = tx.clone();
            let item = trace.at_drop("waiting");
            let code = async move { waits.sending((1, item)).await.unwrap_err().0 };
            let waiting = spawn_waiting(era, code, ());
            let_others_run();
            let other = rx.clone();
            drop(rx);
            assert!(!tx.is_disconnected());
            drop(other);
            assert!(tx.is_disconnected());
            assert_eq!(trace.take(), ["in the channel"]);
            let (n, item) = waiting.join().unwrap();
            assert!(n == 1 && trace.take().is_empty());
            drop(item);
            assert_eq!(tx.send((2, trace.at_drop("late"))).unwrap_err().0.0, 2);
            assert!(matches!(
                tx.try_send((3, trace.at_drop("later"))),
                Err(TrySendError::Disconnected((3, _)))
            ));
            assert_eq!(trace.take(), ["waiting", "late", "later"]);
        });
    }
}

/// An item may own an end of its own channel.
#[test]
fn dropping_what_is_in_a_channel_may_use_the_channel() {
    struct Looks(Sender<Looks>, Trace);
    impl Drop for Looks {
        fn drop(&mut self) {
            assert!(self.0.is_disconnected() && self.0.is_empty());
            self.1.say("dropped");
        }
    }
    let trace = Trace::new();
    let (tx, rx) = channel::unbounded();
    assert!(tx.try_send(Looks(tx.clone(), trace.clone())).is_ok());
    drop((tx, rx));
    assert_eq!(trace.take(), ["dropped"]);
}

/// Senders and receivers of all eras; some give up, are cancelled, or choose something else. Whatever was
/// sent is received exactly once, and what one sender sent, in order.
#[test]
fn each_item_is_received_once_and_in_order_whatever_the_order_of_turns() {
    for capacity in [0, 1, 4] {
        explore(1000, || {
            let (tx, rx) = channel::bounded(capacity);
            let sent: Rc<RefCell<Vec<(usize, u32)>>> = Rc::default();
            let received: Rc<RefCell<Vec<(usize, u32)>>> = Rc::default();
            let senders: Vec<_> = (0..3)
                .map(|who| {
                    let (tx, sent) = (tx.clone(), sent.clone());
                    let code = async move {
                        for n in 0..6 {
                            let mut sending = tx.sending((who, n));
                            let limit = MS * (1 + n % 2);
                            match op::timeout(limit, &mut sending).await {
                                Ok(result) => {
                                    result.unwrap();
                                    sent.borrow_mut().push((who, n));
                                }
                                Err(_) => assert_eq!(sending.give_back(), Some((who, n))),
                            }
                        }
                    };
                    spawn_waiting(ERAS[who], code, ())
                })
                .collect();
            let receivers: Vec<_> = (0..3)
                .map(|who| {
                    let (rx, received) = (rx.clone(), received.clone());
                    let code = async move {
                        for turn in 0.. {
                            let other = async {
                                for _ in 0..turn % 3 {
                                    future::yield_now().await;
                                }
                            };
                            match select(rx.receiving(), Box::pin(other)).await {
                                Either::First(Ok(item)) => received.borrow_mut().push(item),
                                Either::First(Err(RecvError)) => break,
                                Either::Second(()) => time::sleeping(MS).await,
                            }
                        }
                    };
                    spawn_waiting(ERAS[who], code, ())
                })
                .collect();
            drop(tx);
            all(senders);
            receivers[0].cancel(); // Takes nothing along.
            for (who, task) in receivers.into_iter().enumerate() {
                assert!(task.join().is_ok() || who == 0);
            }
            received.borrow_mut().extend(rx.try_iter());
            let (sent, received) = (sent.take(), received.take());
            for who in 0..3 {
                let of = |items: &[(usize, u32)]| -> Vec<_> {
                    items.iter().filter(|(from, _)| *from == who).map(|(_, n)| *n).collect()
                };
                assert_eq!(of(&received), of(&sent), "of sender {who}");
            }
            assert_eq!(sent.len(), received.len());
        });
    }
}

/// Where nobody waits, std's own channel is the model.
#[test]
fn without_waiting_a_channel_answers_as_std_s_does() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for round in 0..2_000 {
        let capacity = round % 4;
        let ((tx, rx), (std_tx, std_rx)) =
            (channel::bounded(capacity), mpsc::sync_channel(capacity));
        let (mut senders, mut std_senders) = (vec![tx], vec![std_tx]);
        let (mut receiver, mut std_receiver) = (Some(rx), Some(std_rx));
        for n in 0..20 {
            match (next(10), senders.last(), &receiver) {
                (0..4, Some(tx), _) => {
                    assert_eq!(tx.try_send(n), std_senders.last().unwrap().try_send(n));
                }
                (4..7, _, Some(rx)) => {
                    assert_eq!(rx.try_recv(), std_receiver.as_ref().unwrap().try_recv());
                }
                (7, Some(tx), _) => {
                    senders.push(tx.clone());
                    std_senders.push(std_senders[0].clone());
                }
                (8, ..) => drop((senders.pop(), std_senders.pop())),
                (_, _, Some(_)) if next(5) == 0 => drop((receiver.take(), std_receiver.take())),
                _ => {}
            }
        }
    }
}

#[test]
fn an_end_knows_whether_its_channel_is_full_and_which_one_it_is() {
    let (tx, rx) = channel::bounded(1);
    let (other_tx, other_rx) = channel::bounded(0);
    assert!(!tx.is_full() && !rx.is_full());
    assert!(other_tx.is_full() && other_rx.is_full(), "it has no room");
    tx.send(1).unwrap();
    assert!(tx.is_full() && rx.is_full());
    assert!(tx.same_channel(&tx.clone()) && rx.same_channel(&rx.clone()));
    assert!(!tx.same_channel(&other_tx) && !rx.same_channel(&other_rx));
    assert!(!channel::unbounded::<i32>().0.is_full());
    let queue = Queue::bounded(1);
    assert!(!queue.is_full());
    queue.put(1).unwrap();
    assert!(queue.is_full());
    drop((other_tx.try_send(0), other_rx));
}

/// Each of these is run with std's threads, and with ours in a run.
macro_rules! as_std {
    ($(fn $name:ident() $body:block)*) => {
        macro_rules! tests_of {
            ($krate:ident, $run_it:expr) => {
                use super::*;
                #[allow(unused_imports, reason = "each test uses a part of this")]
                use $krate::{sync::mpsc, thread};

                $(#[test] fn $name() { $run_it(|| $body); })*
            };
        }
        mod std_itself {
            tests_of!(std, |body: fn()| body());
        }
        mod ours {
            tests_of!(wouldblock, |body: fn()| wouldblock::run(body));
        }
    };
}

as_std! {
    fn an_mpsc_channel_carries_all_that_is_sent_and_ends_with_its_senders() {
        let (tx, rx): (mpsc::Sender<i32>, mpsc::Receiver<i32>) = mpsc::channel();
        for n in 0..3 {
            let tx = tx.clone();
            thread::spawn(move || tx.send(n).unwrap());
        }
        drop(tx);
        let mut all: Vec<i32> = rx.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
        assert_eq!(rx.recv(), Err(mpsc::RecvError));
        assert_eq!(rx.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        assert_eq!(rx.recv_timeout(MS), Err(mpsc::RecvTimeoutError::Disconnected));
    }

    fn an_mpsc_sync_channel_has_so_much_room() {
        let (tx, rx): (mpsc::SyncSender<i32>, mpsc::Receiver<i32>) = mpsc::sync_channel(1);
        assert_eq!(rx.try_recv(), Err(mpsc::TryRecvError::Empty));
        assert_eq!(rx.recv_timeout(MS), Err(mpsc::RecvTimeoutError::Timeout));
        tx.try_send(1).unwrap();
        assert_eq!(tx.try_send(2), Err(mpsc::TrySendError::Full(2)));
        let sends = tx.clone();
        let sender = thread::spawn(move || (2..10).for_each(|n| sends.send(n).unwrap()));
        assert_eq!(rx.recv(), Ok(1));
        for n in 2..10 {
            assert_eq!(rx.recv_timeout(HOUR), Ok(n));
        }
        sender.join().unwrap();
        tx.send(10).unwrap();
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [10]);
        drop(tx);
        assert_eq!(rx.into_iter().next(), None);
    }

    fn an_mpsc_sender_gets_back_what_nobody_receives() {
        let (tx, rx) = mpsc::channel();
        drop(rx);
        assert_eq!(tx.send("lost"), Err(mpsc::SendError("lost")));
        let (tx, rx) = mpsc::sync_channel(0);
        let receiver = thread::spawn(move || rx.recv());
        tx.send(5).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(5));
        assert_eq!(tx.try_send(6), Err(mpsc::TrySendError::Disconnected(6)));
    }
}

// oneshot.

#[test]
fn a_oneshot_carries_one_value_in_all_eras() {
    for era in ERAS {
        run_in_order(|| {
            let (tx, rx) = oneshot::channel();
            let waiting = spawn_waiting(era, rx, ());
            let_others_run();
            assert!(!waiting.is_finished() && !tx.is_disconnected());
            tx.send(7).unwrap();
            assert_eq!(waiting.join().unwrap(), Ok(7));
            let (tx, rx) = oneshot::channel::<()>();
            let waiting = spawn_waiting(era, rx, ());
            let_others_run();
            drop(tx);
            assert_eq!(waiting.join().unwrap(), Err(RecvError));
        });
    }
}

#[test]
fn a_oneshot_that_nobody_wants_gives_the_value_back() {
    run_in_order(|| {
        let (tx, mut rx) = oneshot::channel();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(rx.recv_timeout(SECOND), Err(RecvTimeoutError::Timeout));
        drop(green::spawn(move || tx.send(1).unwrap()));
        assert_eq!(rx.recv_timeout(SECOND), Ok(1));
        assert_eq!(rx.recv_timeout(SECOND), Err(RecvTimeoutError::Disconnected));
        let (tx, rx) = oneshot::channel();
        let cancelled = green::spawn(move || rx.recv());
        green::yield_now();
        cancelled.cancel();
        assert!(cancelled.join().is_err() && tx.is_disconnected());
        assert_eq!(tx.send(2), Err(SendError(2)));
        let trace = Trace::new();
        let (tx, rx) = oneshot::channel();
        assert!(tx.send(trace.at_drop("unread")).is_ok());
        drop(rx);
        assert_eq!(trace.take(), ["unread"]);
    });
    let text = deadlock_text(|| {
        let (_tx, rx) = oneshot::channel::<()>();
        rx.recv().unwrap();
    });
    assert_contains(&text, &["waits for the answer of a oneshot"]);
}

/// Those who wait for it choose something else, or are cancelled, when the answer comes, or its sender gives up.
#[test]
fn an_answer_comes_once_whatever_becomes_of_those_who_wait_for_it() {
    let (late, lost) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    explore(2000, || {
        let trace = Trace::new();
        let tasks: Vec<_> = (0..9)
            .map(|n| {
                let (sender, mut receiver) = oneshot::channel();
                let answer = trace.at_drop(n.to_string());
                let sends = async move {
                    time::sleeping(MS).await;
                    match n {
                        7 | 8 => drop(sender),
                        // Given back, it is dropped here.
                        _ => drop(sender.send(answer)),
                    }
                };
                let sends = spawn_waiting(ERAS[n / 3], sends, ());
                let late = late.clone();
                let receives = async move {
                    let answer = match select(&mut receiver, time::sleeping(MS)).await {
                        Either::First(answer) => answer.map_err(TryRecvError::from),
                        Either::Second(()) => {
                            late.set(late.get() + 1);
                            sends.await.unwrap();
                            receiver.try_recv()
                        }
                    };
                    match n {
                        7 | 8 => assert!(matches!(answer, Err(TryRecvError::Disconnected))),
                        _ => assert!(answer.is_ok()),
                    }
                    assert!(matches!(receiver.try_recv(), Err(TryRecvError::Disconnected)));
                };
                spawn_waiting(ERAS[n % 3], receives, ())
            })
            .collect();
        green::sleep(MS);
        tasks.iter().take(2).for_each(JoinHandle::cancel);
        let ended = green::wait(gather(tasks));
        assert!(ended.iter().skip(2).all(Result::is_ok));
        lost.set(lost.get() + ended.iter().filter(|end| end.is_err()).count());
        let_others_run();
        let mut all = trace.take();
        all.sort_unstable();
        assert!(all.iter().eq(&["0", "1", "2", "3", "4", "5", "6", "7", "8"]), "{all:?}");
    });
    let enough = late.get() > 1000 && lost.get() > 100;
    let text = format!("{} late, {} lost", late.get(), lost.get());
    assert!(enough || std::env::var("WOULDBLOCK_SEED").is_ok(), "{text}");
}

// Queue.

#[test]
fn a_queue_is_joined_when_all_its_items_are_done() {
    for era in ERAS {
        run_in_order(|| {
            let queue = Rc::new(Queue::bounded(2));
            let worker = queue.clone();
            let work = async move {
                let mut done = Vec::new();
                while let Ok(item) = worker.getting().await {
                    time::sleeping(SECOND).await;
                    done.push(item);
                    worker.task_done();
                }
                done
            };
            let worker = spawn_waiting(era, work, ());
            queue.join(); // Nothing yet.
            let start = time::now();
            for n in 0..5 {
                queue.put(n).unwrap();
            }
            let joins = queue.clone();
            let joined = spawn_waiting(era, async move { joins.joining().await }, ());
            queue.join();
            joined.join().unwrap();
            assert_eq!((time::now() - start, queue.unfinished()), (5 * SECOND, 0));
            assert_eq!(format!("{queue:?}"), "Queue(0 items, 0 unfinished)");
            queue.shutdown();
            assert_eq!(worker.join().unwrap(), [0, 1, 2, 3, 4]);
        });
    }
    let queue = Queue::unbounded();
    queue.put(()).unwrap();
    queue.task_done();
    assert!(panic_text(|| queue.task_done()).contains("called more often than there were items"));
}

/// As asyncio's of 3.13: what is there may be taken, putters get an error.
#[test]
fn a_queue_that_is_shut_down_gives_what_is_there() {
    for era in ERAS {
        run_in_order(|| {
            let queue = Rc::new(Queue::bounded(2));
            queue.put(1).unwrap();
            queue.put(2).unwrap();
            let putter = queue.clone();
            let waiting = spawn_waiting(era, async move { putter.putting(3).await }, ());
            let_others_run();
            queue.shutdown();
            assert_eq!(queue.put(4), Err(SendError(4)));
            assert_eq!(queue.try_put(5), Err(TrySendError::Disconnected(5)));
            assert_eq!(queue.put_timeout(6, SECOND), Err(SendTimeoutError::Disconnected(6)));
            assert_eq!((queue.get(), queue.try_get()), (Ok(1), Ok(2)));
            assert_eq!(waiting.join().unwrap(), Err(SendError(3)), "it never moved in");
            assert_eq!(queue.get(), Err(RecvError));
            assert_eq!(queue.try_get(), Err(TryRecvError::Disconnected));
            assert_eq!(queue.get_timeout(SECOND), Err(RecvTimeoutError::Disconnected));
            assert_eq!(queue.unfinished(), 2);
        });
    }
}

#[test]
fn a_queue_that_is_shut_down_now_gives_back_what_is_there_and_wakes_all() {
    for era in ERAS {
        run_in_order(|| {
            let queue = Rc::new(Queue::<()>::unbounded());
            let gets = queue.clone();
            let gets = spawn_waiting(era, async move { gets.getting().await }, ());
            let_others_run();
            assert!(queue.shutdown_now().is_empty());
            assert_eq!(gets.join().unwrap(), Err(RecvError));

            let queue = Rc::new(Queue::unbounded());
            queue.put(1).unwrap();
            queue.put(2).unwrap();
            assert_eq!(queue.get(), Ok(1));
            let joins = queue.clone();
            let joins = spawn_waiting(era, async move { joins.joining().await }, ());
            let_others_run();
            assert_eq!(queue.shutdown_now(), [2]);
            assert_eq!(queue.unfinished(), 1);
            assert!(!joins.is_finished());
            queue.task_done();
            joins.join().unwrap();
        });
    }
}

#[test]
fn what_was_handed_over_before_a_shutdown_is_received() {
    let queue = Queue::unbounded();
    let [mut waits, mut waits_too] = [queue.getting(), queue.getting()];
    assert!(poll_once(&mut waits).is_pending() && poll_once(&mut waits_too).is_pending());
    queue.put(1).unwrap();
    queue.shutdown();
    assert!(poll_once(&mut waits_too).is_pending(), "it might yet be passed on");
    assert_eq!(queue.try_get(), Err(TryRecvError::Empty));
    assert_eq!(poll_once(&mut waits), Poll::Ready(Ok(1)));
    assert_eq!(poll_once(&mut waits_too), Poll::Ready(Err(RecvError)));
    assert_eq!(queue.unfinished(), 1);
}

/// As Python's: who was promised an item and has not seen it gets an error.
#[test]
fn what_was_handed_over_and_not_seen_is_given_back_by_a_shutdown_now() {
    let queue = Queue::bounded(0);
    let mut getting: [_; 3] = std::array::from_fn(|_| queue.getting());
    assert!(getting.iter_mut().all(|get| poll_once(get).is_pending()));
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    let [gives_up, waits, waits_too] = getting;
    assert_eq!(queue.shutdown_now(), [1, 2]);
    drop(gives_up);
    for mut get in [waits, waits_too] {
        assert_eq!(poll_once(&mut get), Poll::Ready(Err(RecvError)));
    }
    assert_eq!(format!("{queue:?}"), "Queue(0 items, 0 unfinished)");
}

/// Those who get may choose something else at that very moment, or are cancelled.
#[test]
fn a_queue_that_is_shut_down_now_is_joined_whatever_becomes_of_those_who_get() {
    explore(1000, || {
        let (queue, stop) = (Rc::new(Queue::unbounded()), Rc::new(Event::new()));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (queue, stop) = (queue.clone(), stop.clone());
                green::spawn(move || {
                    while let Either::First(Ok(())) =
                        green::wait(select(queue.getting(), stop.waiting()))
                    {
                        let _done = Defer(|| queue.task_done());
                        green::yield_now();
                    }
                })
            })
            .collect();
        let_others_run();
        (0..3).for_each(|_| queue.put(()).unwrap());
        tasks[3].cancel();
        stop.set();
        let shuts = queue.clone();
        drop(green::spawn(move || shuts.shutdown_now()));
        queue.join();
        green::wait(gather(tasks));
        assert!(queue.is_empty());
    });
}

#[test]
fn what_is_passed_on_after_a_shutdown_is_received_too() {
    explore(300, || {
        let (queue, stop, got) = (Rc::new(Queue::unbounded()), Rc::new(Event::new()), Trace::new());
        let tasks = (0..3).map(|n| {
            let (queue, stop, got) = (queue.clone(), stop.clone(), got.clone());
            green::spawn(move || {
                let item = match n {
                    0 => green::wait(select(queue.getting(), stop.waiting())),
                    _ => Either::First(queue.get()),
                };
                if let Either::First(Ok(item)) = item {
                    got.say(item);
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let_others_run();
        queue.put("item").unwrap();
        stop.set(); // Whoever was promised it may choose this.
        queue.shutdown();
        all(tasks);
        assert_eq!(got.take(), ["item"]);
    });
}

#[test]
fn time_limits_of_a_queue() {
    run_in_order(|| {
        let queue = Queue::bounded(1);
        assert_eq!(queue.get_timeout(SECOND), Err(RecvTimeoutError::Timeout));
        queue.put_timeout(1, SECOND).unwrap();
        assert_eq!(queue.put_timeout(2, SECOND), Err(SendTimeoutError::Timeout(2)));
        assert_eq!((queue.len(), queue.is_empty(), queue.unfinished()), (1, false, 1));
        assert_eq!(queue.get_timeout(SECOND), Ok(1));
    });
}

// select.

#[test]
fn the_first_that_is_ready_is_chosen_in_all_eras() {
    for era in ERAS {
        run_in_order(|| {
            let (tx, rx) = channel::unbounded();
            let code = async move {
                let first = select(rx.receiving(), time::sleeping(SECOND)).await;
                let second = select(time::sleeping(HOUR), rx.receiving()).await;
                let third = select(select(pending::<()>(), rx.receiving()), ready(())).await;
                (first, second, third)
            };
            let task = spawn_waiting(era, code, ());
            green::sleep(2 * SECOND);
            tx.send(1).unwrap();
            let (first, second, third) = task.join().unwrap();
            assert_eq!(first, Either::Second(()));
            assert_eq!(second, Either::Second(Ok(1)));
            assert_eq!(third, Either::Second(()));
        });
    }
}

#[test]
fn neither_of_two_that_are_always_ready_starves() {
    let choices = || {
        run_in_order(|| {
            let choose = |_| green::wait(select(ready(()), ready(()))) == Either::First(());
            (0..1000).map(choose).collect::<Vec<_>>()
        })
    };
    let chosen = choices();
    let first = chosen.iter().filter(|first| **first).count();
    assert!((400..600).contains(&first), "{first} of 1000");
    assert_eq!(choices(), chosen, "the next run chooses alike");
    let firsts = RefCell::new(BTreeSet::new());
    explore(20, || {
        let choice = green::wait(select(ready(()), ready(())));
        firsts.borrow_mut().insert(choice == Either::First(()));
    });
    assert!(firsts.borrow().len() == 2 || std::env::var("WOULDBLOCK_SEED").is_ok());
    let mut counts = [0; 3];
    (0..900).for_each(|_| counts[green_free(select_all([ready(()), ready(()), ready(())])).0] += 1);
    assert!(counts.iter().all(|count| (200..400).contains(count)), "{counts:?}");
}

/// An operation that is ready at once, outside of any task.
#[track_caller]
fn green_free<F: Future + Unpin>(mut operation: F) -> F::Output {
    match poll_once(&mut operation) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it has to wait"),
    }
}

#[test]
fn what_is_not_chosen_has_taken_nothing() {
    run_in_order(|| {
        let channels: Vec<_> = (0..4).map(|_| channel::unbounded()).collect();
        for (n, (tx, _)) in channels.iter().enumerate() {
            tx.send(n).unwrap();
        }
        let mut taken: Vec<_> = (0..4)
            .map(|_| {
                let receiving = channels.iter().map(|(_, rx)| rx.receiving());
                let (index, item) = green::wait(select_all(receiving));
                assert_eq!(item, Ok(index));
                index
            })
            .collect();
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3]);

        // Both become ready while it waits; then one is chosen, and the other keeps its item.
        let waits = select_two(&channels[0].1, &channels[1].1);
        green::yield_now();
        channels[0].0.send(0).unwrap();
        channels[1].0.send(1).unwrap();
        let first = waits.join().unwrap();
        assert_eq!(channels[1 - first].1.try_recv(), Ok(1 - first));
        assert!(channels[first].1.is_empty());
    });
}

/// As a race of none.
#[test]
fn a_select_of_none_is_refused() {
    let text = panic_text(|| select_all(Vec::<std::future::Pending<()>>::new()));
    assert_contains(&text, &["a select of no operations"]);
}

fn select_two(first: &Receiver<usize>, second: &Receiver<usize>) -> JoinHandle<usize> {
    let (first, second) = (first.clone(), second.clone());
    green::spawn(move || match green::wait(select(first.receiving(), second.receiving())) {
        Either::First(item) | Either::Second(item) => item.unwrap(),
    })
}

#[test]
fn an_operation_may_be_kept_for_the_next_select() {
    run_in_order(|| {
        let (tx, rx) = channel::bounded(0);
        let stop = Event::new();
        let receives = green::spawn(move || {
            green::sleep(2 * SECOND);
            rx.recv()
        });
        let mut sending = tx.sending(7);
        assert_eq!(green::wait(select(&mut sending, time::sleeping(SECOND))), Either::Second(()));
        assert_eq!(green::wait(select(stop.waiting(), &mut sending)), Either::Second(Ok(())));
        assert_eq!(receives.join().unwrap(), Ok(7));
    });
}

// Reports.

/// The cycle of the crate's design: A → mutex → B → queue → A.
#[test]
fn the_cycle_is_drawn_through_a_mutex_and_a_queue() {
    let text = deadlock_text(|| {
        let (mutex, queue) = (Rc::new(Mutex::new(())), Rc::new(Queue::unbounded()));
        let (locks, puts) = (mutex.clone(), queue.clone());
        let a = task::Builder::new().name("A").spawn(move || {
            puts.put(1).unwrap();
            green::yield_now();
            green::yield_now();
            let _guard = locks.lock();
            puts.put(2).unwrap();
        });
        let b = task::Builder::new().name("B").spawn(move || {
            let _guard = mutex.lock();
            while queue.get().is_ok() {}
        });
        all([a, b]);
    });
    let (mutex, queue) = (
        "a mutex (held by task 3 \"B\", tests/it/sync_queues.rs:",
        "an item of a queue (last put into by task 2 \"A\")",
    );
    let [_, cycle] = text.split("\n  cycle: ").collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(cycle.starts_with(&format!("task 2 → {mutex}")), "{text}");
    assert!(cycle.ends_with(&format!(") → task 3 → {queue} → task 2")), "{text}");
}

#[test]
fn the_report_tells_who_was_last_at_the_other_end() {
    let text = deadlock_text(|| {
        let (tx, rx) = channel::bounded(1);
        let receives = task::Builder::new().name("slow").spawn(move || {
            rx.recv().unwrap();
            green::wait(pending::<()>());
            drop(rx);
        });
        for n in 0.. {
            tx.send(n).unwrap();
            green::yield_now();
        }
        receives.join().unwrap();
    });
    assert_contains(
        &text,
        &["waits for room in a channel (last received from by task 2 \"slow\")"],
    );
    // Also if they had to wait for it.
    let text = deadlock_text(|| {
        let (tx, rx) = channel::bounded(0);
        let sends = tx.clone();
        let _sends = green::spawn(move || sends.send(1));
        green::yield_now();
        while rx.recv().is_ok() {
            let_others_run();
        }
        drop(tx);
    });
    assert_contains(
        &text,
        &["waits for an item of a channel (last sent to by task 2, which has ended)"],
    );
    let text = deadlock_text(|| {
        let (tx, rx) = channel::bounded(0);
        let receives = rx.clone();
        let _receives = green::spawn(move || receives.recv());
        green::yield_now();
        while tx.send(1).is_ok() {
            let_others_run();
        }
        drop(rx);
    });
    assert_contains(
        &text,
        &["waits for room in a channel (last received from by task 2, which has ended)"],
    );
    let text = deadlock_text(|| {
        let (tx, rx) = channel::unbounded::<()>();
        assert_eq!(rx.recv(), Ok(()));
        drop(tx);
    });
    assert_contains(&text, &["waits for an item of a channel, at tests/it/sync_queues.rs:"]);
    let text = deadlock_text(|| {
        let queue = Queue::unbounded();
        queue.put(()).unwrap();
        queue.join();
    });
    assert_contains(&text, &["waits for the items of a queue to be done"]);
}

/// What is waited for may be gone by the time of the report, when somebody else has dropped the operation.
#[test]
fn the_report_survives_what_it_tells_of() {
    let text = deadlock_text(|| {
        type Operation = Pin<Box<dyn Future<Output = ()>>>;
        let operation: Rc<Cell<Option<Operation>>> = Rc::default();
        let polls = operation.clone();
        drop(green::spawn(move || {
            green::wait(std::future::poll_fn(|cx| {
                let Some(mut operation) = polls.take() else { return Poll::Pending };
                let poll = operation.as_mut().poll(cx);
                polls.set(Some(operation));
                poll
            }));
        }));
        let (tx, rx) = channel::unbounded::<()>();
        operation.set(Some(Box::pin(async move { rx.receiving().await.unwrap() })));
        let_others_run();
        drop((operation.take(), tx));
        let (_tx, other) = channel::unbounded::<()>();
        assert_eq!(other.recv(), Ok(()));
    });
    assert_contains(&text, &["waits for something that is gone", "waits for an item of a channel"]);
}
