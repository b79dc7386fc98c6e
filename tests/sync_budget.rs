//! Operations of `sync` that are always ready leave the other tasks their turns, and a turn that is given up so
//! loses nothing: neither items nor the answer of a time limit.

mod basics;
mod util;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use util::{ERAS, HOUR, Trace, run_in_order, spawn_running, spawn_waiting};
use wouldblock::sync::channel::{self, RecvTimeoutError};
use wouldblock::sync::{
    Barrier, Condvar, Event, Mutex, Queue, RwLock, Semaphore, oneshot, select, select_all,
};
use wouldblock::{
    Builder, Group, JoinError, JoinHandle, as_completed, future, gather, generator, green, task,
    time, try_gather,
};

/// Many times what a turn may have without waiting.
const MANY: usize = 2000;

/// How many turns another task, that is always ready, has had when `spinner` is done.
fn turns_beside(spinner: impl FnOnce() -> JoinHandle<()>) -> usize {
    run_in_order(|| {
        let turns = Rc::new(Cell::new(0));
        let counts = turns.clone();
        let other = green::spawn(move || {
            loop {
                counts.set(counts.get() + 1);
                green::yield_now();
            }
        });
        spinner().join().unwrap();
        other.cancel();
        turns.get()
    })
}

type Operation = Box<dyn Fn() -> LocalBoxFuture<'static, ()>>;

/// An operation of each kind that is ready whenever it is asked for.
fn always_ready() -> Vec<(&'static str, Operation)> {
    fn leak<T>(value: T) -> &'static T {
        Box::leak(Box::new(value))
    }
    fn boxed<F: Future<Output: 'static> + 'static>(make: impl Fn() -> F + 'static) -> Operation {
        Box::new(move || make().map(drop).boxed_local())
    }
    let (mutex, lock) = (leak(Mutex::new(())), leak(RwLock::new(())));
    let (semaphore, event) = (leak(Semaphore::new(1)), leak(Event::new()));
    let (barrier, queue, done) =
        (leak(Barrier::new(1)), leak(Queue::unbounded()), leak(Queue::<()>::unbounded()));
    let (sender, receiver) = leak(channel::unbounded());
    event.set();
    (0..10 * MANY).for_each(|_| {
        queue.try_put(()).unwrap();
        sender.try_send(()).unwrap();
    });
    vec![
        ("mutex", boxed(|| mutex.locking())),
        ("read", boxed(|| lock.reading())),
        ("write", boxed(|| lock.writing())),
        ("semaphore", boxed(|| semaphore.acquiring())),
        ("event", boxed(|| event.waiting())),
        ("barrier", boxed(|| barrier.waiting())),
        ("send", boxed(|| sender.sending(()))),
        ("receive", boxed(|| receiver.receiving())),
        ("put", boxed(|| queue.putting(()))),
        ("get", boxed(|| queue.getting())),
        ("join", boxed(|| done.joining())),
        ("select", boxed(|| select(event.waiting(), semaphore.acquiring()))),
        ("select_all", boxed(|| select_all([receiver.receiving(), receiver.receiving()]))),
        ("timeout", boxed(|| time::timeout(Duration::ZERO, mutex.locking()))),
        ("timeout of a foreign future", boxed(|| time::timeout(HOUR, ready(())))),
        ("timeout that has passed", boxed(|| time::timeout(Duration::ZERO, pending::<()>()))),
        ("sleep until now", boxed(|| time::sleep_until(time::now()))),
        ("select of foreign futures", boxed(|| select(ready(()), ready(())))),
        ("select_all of foreign futures", boxed(|| select_all([ready(()), ready(())]))),
        ("gather of none", boxed(|| gather(Vec::<JoinHandle<()>>::new()))),
        (
            "try_gather of none",
            boxed(|| try_gather::<_, JoinError>(Vec::<JoinHandle<Result<(), JoinError>>>::new())),
        ),
        (
            "as_completed of none",
            boxed(|| async { as_completed(Vec::<JoinHandle<()>>::new()).next_result().await }),
        ),
        ("scope of none", boxed(|| future::scope(async |_| ()))),
        ("try_scope of none", boxed(|| future::try_scope(async |_| Ok::<_, ()>(())))),
        ("group of none", boxed(|| Group::running(async |_| Ok::<_, JoinError>(())))),
        (
            "oneshot",
            boxed(|| {
                let (sender, receiver) = oneshot::channel();
                sender.send(()).unwrap();
                receiver
            }),
        ),
    ]
}

#[test]
fn operations_that_are_always_ready_leave_the_others_their_turns() {
    for era in ERAS {
        for (name, operation) in always_ready() {
            let turns = turns_beside(|| {
                let spins = async move {
                    for _ in 0..MANY {
                        operation().await;
                    }
                };
                spawn_waiting(era, spins, ())
            });
            // One in 64, and not each time.
            assert!((20..200).contains(&turns), "{name} in {era}: {turns} turns");
        }
    }
}

#[test]
fn green_calls_that_are_always_ready_leave_the_others_their_turns() {
    type Call = fn(&Shared);
    struct Shared {
        mutex: Mutex<()>,
        lock: RwLock<()>,
        semaphore: Semaphore,
        event: Event,
        barrier: Barrier,
        condvar: Condvar,
        queue: Queue<()>,
        done: Queue<()>,
        channel: (channel::Sender<()>, channel::Receiver<()>),
    }
    let calls: [(&str, Call); 18] = [
        ("lock", |s| drop(s.mutex.lock())),
        ("lock_timeout", |s| drop(s.mutex.lock_timeout(Duration::ZERO).unwrap())),
        ("read", |s| drop(s.lock.read())),
        ("write", |s| drop(s.lock.write())),
        ("acquire", |s| drop(s.semaphore.acquire())),
        ("event", |s| s.event.wait()),
        ("barrier", |s| assert!(s.barrier.wait().is_leader())),
        ("put and get", |s| {
            s.queue.put(()).unwrap();
            s.queue.get().unwrap();
        }),
        ("join", |s| s.done.join()),
        ("send and receive", |s| {
            s.channel.0.send(()).unwrap();
            s.channel.1.recv().unwrap();
        }),
        ("recv_timeout", |s| {
            s.channel.0.try_send(()).unwrap();
            s.channel.1.recv_timeout(Duration::ZERO).unwrap();
        }),
        ("a time limit that passes", |s| {
            s.channel.1.recv_timeout(Duration::ZERO).unwrap_err();
        }),
        ("a timeout that has passed", |_| {
            green::timeout(Duration::ZERO, || green::sleep(HOUR)).unwrap_err();
        }),
        ("a timeout around a turn", |_| {
            green::timeout(Duration::ZERO, green::yield_now).unwrap_err();
        }),
        ("wait_while", |s| drop(s.condvar.wait_while(s.mutex.lock(), |_| false))),
        ("wait_timeout_while", |s| {
            drop(s.condvar.wait_timeout_while(s.mutex.lock(), Duration::ZERO, |_| true));
        }),
        ("iter", |s| {
            s.channel.0.try_send(()).unwrap();
            s.channel.1.iter().next().unwrap();
        }),
        ("oneshot", |_| {
            let (sender, receiver) = oneshot::channel();
            sender.send(()).unwrap();
            receiver.recv().unwrap();
        }),
    ];
    for era in ERAS {
        for (name, call) in calls {
            let turns = turns_beside(|| {
                let shared = Shared {
                    mutex: Mutex::new(()),
                    lock: RwLock::new(()),
                    semaphore: Semaphore::new(1),
                    event: Event::new(),
                    barrier: Barrier::new(1),
                    condvar: Condvar::new(),
                    queue: Queue::unbounded(),
                    done: Queue::unbounded(),
                    channel: channel::unbounded(),
                };
                shared.event.set();
                spawn_running(era, move || (0..MANY).for_each(|_| call(&shared)))
            });
            assert!((20..200).contains(&turns), "{name} in {era}: {turns} turns");
        }
    }
}

#[test]
fn two_tasks_that_refill_a_channel_for_one_another_leave_the_others_their_turns() {
    let turns = turns_beside(|| {
        green::spawn(|| {
            let (there, theirs) = channel::bounded(100);
            let (back, ours) = channel::bounded(100);
            let echo = green::spawn(move || {
                for item in theirs {
                    back.send(item).unwrap();
                }
            });
            (0..50).for_each(|n| there.send(n).unwrap());
            for _ in 0..MANY {
                there.send(ours.recv().unwrap()).unwrap();
            }
            drop(there);
            echo.join().unwrap();
        })
    });
    assert!(turns > 20, "{turns} turns");
}

#[test]
fn calls_that_never_wait_give_up_no_turn() {
    run_in_order(|| {
        let (mutex, lock, semaphore) = (Mutex::new(()), RwLock::new(()), Semaphore::new(1));
        let (sender, receiver) = channel::unbounded();
        for _ in 0..MANY {
            drop((mutex.try_lock().unwrap(), semaphore.try_acquire().unwrap()));
            drop(lock.try_read().unwrap());
            drop(lock.try_write().unwrap());
            sender.try_send(()).unwrap();
            receiver.try_recv().unwrap();
        }
        assert_eq!(wouldblock::stats().turns, 1);
    });
}

/// A turn that is given up because the budget is used up is not the wait that the limit ends.
#[test]
fn what_is_there_comes_before_a_limit_around_it_that_has_passed_however_often() {
    for era in ERAS {
        run_in_order(|| {
            let (sender, receiver) = channel::unbounded();
            (0..MANY).for_each(|n| sender.try_send(n).unwrap());
            let receives = move || {
                for n in 0..MANY {
                    let received = green::timeout(Duration::ZERO, || receiver.recv());
                    assert_eq!(received, Ok(Ok(n)));
                }
                drop(sender);
            };
            spawn_running(era, receives).join().unwrap();
        });
    }
}

/// The same rule the other way round: what never waits can be ended all the same.
#[test]
fn a_loop_of_green_calls_that_are_always_ready_ends_with_a_cancellation_and_with_a_time_limit() {
    let calls: [fn(); 4] = [
        || green::wait(ready(())),
        || {
            let (sender, receiver) = channel::unbounded();
            sender.send(()).unwrap();
            receiver.recv().unwrap();
        },
        || drop(Mutex::new(()).lock()),
        || {
            let (sender, receiver) = channel::unbounded::<()>();
            drop(sender);
            receiver.recv().unwrap_err();
        },
    ];
    for era in ERAS {
        for call in calls {
            run_in_order(|| {
                let task = spawn_running(era, move || {
                    loop {
                        call();
                    }
                });
                green::yield_now();
                task.cancel();
                assert!(task.join().unwrap_err().is_cancelled());
            });
            // By the machine's clock: a virtual one stands still while a task is ready.
            Builder::new().run(|| {
                let limited = move || {
                    green::timeout(Duration::from_millis(1), || {
                        loop {
                            call();
                        }
                    })
                };
                let ended = spawn_running(era, move || assert!(limited().is_err()));
                ended.join().unwrap();
            });
        }
        run_in_order(move || {
            let task = generator::spawn(|y| {
                loop {
                    y.wait(ready(()));
                }
            });
            green::yield_now();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
        });
    }
}

#[test]
fn a_child_of_an_async_scope_that_is_woken_often_is_polled_once() {
    run_in_order(|| {
        let polls = Cell::new(0);
        green::wait(future::scope(async |s| {
            s.spawn(poll_fn(|cx| {
                polls.set(polls.get() + 1);
                (0..100).for_each(|_| cx.waker().wake_by_ref());
                if polls.get() < 10 { Poll::Pending } else { Poll::Ready(()) }
            }));
        }));
        assert_eq!(polls.get(), 10);
    });
}

/// A scope polls its body once in a poll of its own, however deep they lie in one another.
#[test]
fn nested_async_scopes_poll_in_proportion_to_their_depth() {
    async fn nest(depth: usize, polls: &Cell<usize>) {
        polls.set(polls.get() + 1);
        if depth > 0 {
            let nested = future::scope(async |s| {
                let child = s.spawn(future::yield_now());
                let inner: LocalBoxFuture<'_, ()> = nest(depth - 1, polls).boxed_local();
                let mut inner = inner;
                poll_fn(|cx| {
                    polls.set(polls.get() + 1);
                    inner.as_mut().poll(cx)
                })
                .await;
                child.await;
            });
            nested.await;
        }
    }
    run_in_order(|| {
        let polls = Cell::new(0);
        green::wait(nest(20, &polls));
        assert!(polls.get() < 5000, "{} polls", polls.get());
    });
}

/// A turn that is given up because it has had its share is not the operation's time limit.
#[test]
fn what_is_there_comes_before_a_limit_of_no_time_however_often() {
    for era in ERAS {
        run_in_order(|| {
            let (sender, receiver) = channel::unbounded();
            (0..MANY).for_each(|n| sender.try_send(n).unwrap());
            let receives = async move {
                for n in 0..MANY {
                    let receiving = time::timeout(Duration::ZERO, receiver.receiving());
                    assert_eq!(receiving.await, Ok(Ok(n)));
                }
                drop(sender);
                let over = time::timeout(Duration::ZERO, receiver.receiving()).await;
                assert!(over.unwrap().is_err(), "the last sender is gone");
            };
            spawn_waiting(era, receives, ()).join().unwrap();
        });
    }
}

#[test]
fn an_executor_inside_of_a_task_sees_what_is_there_before_a_limit_of_no_time() {
    run_in_order(|| {
        let (sender, receiver) = channel::unbounded();
        (0..MANY).for_each(|n| sender.try_send(n).unwrap());
        for n in 0..MANY {
            let receiving = time::timeout(Duration::ZERO, receiver.receiving());
            let mut inside =
                futures::stream::FuturesUnordered::from_iter([receiving.boxed_local()]);
            let next = green::wait(futures::StreamExt::next(&mut inside));
            assert_eq!(next, Some(Ok(Ok(n))));
        }
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    });
}

/// Locks and messages in a destructor, far more of them than a turn may have: where nothing can be suspended, no
/// turn is given up.
struct Busy(Rc<(Mutex<usize>, channel::Sender<usize>)>, Trace);

impl Drop for Busy {
    fn drop(&mut self) {
        let (mutex, sender) = &*self.0;
        for n in 0..MANY {
            *mutex.lock() += 1;
            sender.send(n).unwrap();
        }
        self.1.say("dropped");
    }
}

#[test]
fn a_destructor_may_take_what_is_free_while_its_task_is_torn_down() {
    run_in_order(|| {
        let (sender, receiver) = channel::unbounded();
        let (shared, trace) = (Rc::new((Mutex::new(0), sender)), Trace::new());
        let tasks = ERAS.map(|era| {
            let busy = Busy(shared.clone(), trace.clone());
            let code = async move {
                let _busy = busy;
                future::yield_now().await;
                pending::<()>().await;
            };
            spawn_waiting(era, code, ())
        });
        let busy = Busy(shared.clone(), trace.clone());
        let panics = green::spawn(move || {
            let _busy = busy;
            panic!("on purpose");
        });
        (0..5).for_each(|_| green::yield_now());
        tasks.iter().for_each(JoinHandle::cancel);
        for task in tasks {
            assert!(task.join().unwrap_err().is_cancelled());
        }
        assert!(panics.join().unwrap_err().is_panic());
        assert_eq!(trace.take(), ["dropped"; 4]);
        assert_eq!((*shared.0.lock(), receiver.len()), (4 * MANY, 4 * MANY));
    });
}

#[test]
fn a_task_that_only_does_what_is_ready_can_be_cancelled_and_loses_nothing() {
    for era in ERAS {
        run_in_order(|| {
            let (sender, receiver) = channel::unbounded();
            let taken = Rc::new(Cell::new(0));
            let (refills, takes, counts) = (sender.clone(), receiver.clone(), taken.clone());
            let endless = async move {
                loop {
                    let item: usize = takes.receiving().await.unwrap();
                    counts.set(counts.get() + 1);
                    refills.sending(item).await.unwrap();
                }
            };
            (0..7).for_each(|n| sender.try_send(n).unwrap());
            let task = spawn_waiting(era, endless, ());
            green::yield_now();
            assert!(taken.get() > 0);
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            // The one item that it was about to send is dropped with it, at most.
            assert!(receiver.len() >= 6, "{receiver:?}");
        });
    }
}

#[test]
fn outside_of_a_task_what_is_ready_is_taken() {
    let (mutex, (sender, receiver)) = (Mutex::new(0), channel::unbounded());
    for n in 0..MANY {
        *mutex.lock() += 1;
        sender.send(n).unwrap();
        assert_eq!(receiver.recv(), Ok(n));
    }
    assert_eq!(mutex.into_inner(), MANY);
    assert!(task::current().is_none());
}
