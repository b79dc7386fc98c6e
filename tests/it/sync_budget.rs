//! Operations of `sync` that are always ready leave the other tasks their turns, and a turn that is given up so
//! loses nothing: neither items nor the answer of a time limit.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::util::{ERAS, HOUR, Trace, run_in_order, spawn_running, spawn_waiting};
use futures::future::LocalBoxFuture;
use futures::{AsyncWriteExt, FutureExt};
use wouldblock::net::UdpSocket;
use wouldblock::net::unix::{UnixDatagram, UnixStream};
use wouldblock::op::{select, select_all};
use wouldblock::sync::channel::{self, RecvTimeoutError};
use wouldblock::sync::{
    Barrier, Condvar, Event, Mutex, MutexGuard, Queue, RwLock, Semaphore, oneshot,
};
use wouldblock::testing::{assert_turns, assert_turns_async};
use wouldblock::{
    Builder, Era, JoinError, JoinHandle, Spawner, future, generator, green,
    group::{Group, as_completed, gather, try_gather},
    op, task, time,
};

/// Many times what a turn may have without waiting.
const MANY: usize = 4000;

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
        ("join of two", boxed(|| op::join(mutex.locking(), queue.getting()))),
        ("timeout", boxed(|| op::timeout(Duration::ZERO, mutex.locking()))),
        ("timeout of a foreign future", boxed(|| op::timeout(HOUR, ready(())))),
        ("timeout that has passed", boxed(|| op::timeout(Duration::ZERO, pending::<()>()))),
        ("sleep until now", boxed(|| time::sleeping_until(time::now()))),
        ("select of foreign futures", boxed(|| select(ready(()), ready(())))),
        ("select_all of foreign futures", boxed(|| select_all([ready(()), ready(())]))),
        ("join of foreign futures", boxed(|| op::join(ready(()), ready(())))),
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
            // One in 128, and not each time.
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
fn operations_of_sockets_that_cannot_begin_leave_the_others_their_turns() {
    type Spins = fn(Rc<(UdpSocket, UnixStream, UnixDatagram)>) -> LocalBoxFuture<'static, ()>;
    const TOO_LONG: &str = match str::from_utf8(&[b'x'; 1000]) {
        Ok(path) => path,
        Err(_) => unreachable!(),
    };
    let operations: [(&str, Spins); 5] = [
        ("no port", |s| {
            async move {
                s.0.sending_to(b"", "nowhere").await.unwrap_err();
            }
            .boxed_local()
        }),
        ("no address", |s| {
            async move {
                s.0.connecting("nowhere").await.unwrap_err();
            }
            .boxed_local()
        }),
        ("no path", |_| {
            UnixStream::connecting(TOO_LONG).map(|to| drop(to.unwrap_err())).boxed_local()
        }),
        ("no path to send to", |s| {
            async move { drop(s.2.sending_to(b"", TOO_LONG).await.unwrap_err()) }.boxed_local()
        }),
        ("flush", |s| async move { AsyncWriteExt::flush(&mut &s.1).await.unwrap() }.boxed_local()),
    ];
    for (name, operation) in operations {
        let turns = turns_beside(|| {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let (stream, datagram) =
                (UnixStream::pair().unwrap().0, UnixDatagram::unbound().unwrap());
            let sockets = Rc::new((udp, stream, datagram));
            future::spawn(async move {
                for _ in 0..MANY {
                    operation(sockets.clone()).await;
                }
            })
        });
        assert!((20..200).contains(&turns), "{name}: {turns} turns");
    }
}

#[test]
fn results_that_are_there_leave_the_others_their_turns() {
    type Finished = fn() -> LocalBoxFuture<'static, ()>;
    let awaits: [(&str, Finished); 4] = [
        ("as_completed", || {
            let mut all = as_completed((0..MANY).map(|_| green::spawn(|| ())));
            async move { while all.next_result().await.is_some() {} }.boxed_local()
        }),
        ("gather", || gather((0..MANY).map(|_| green::spawn(|| ()))).map(drop).boxed_local()),
        ("try_gather", || {
            let tasks = (0..MANY).map(|_| green::spawn(|| Ok::<_, JoinError>(())));
            try_gather(tasks).map(drop).boxed_local()
        }),
        ("remote handles", || {
            let handle = Spawner::current();
            let tasks: Vec<_> = (0..MANY).map(|_| handle.spawn(|| ()).unwrap()).collect();
            async move {
                for task in tasks {
                    task.await.unwrap();
                }
            }
            .boxed_local()
        }),
    ];
    let mut wrong = Vec::new();
    for era in ERAS {
        for (name, awaits) in awaits {
            let turns = turns_beside(|| {
                let waits = awaits();
                (0..10).for_each(|_| green::yield_now()); // They all have ended.
                spawn_waiting(era, waits, ())
            });
            if !(30..200).contains(&turns) {
                wrong.push(format!("{name} in {era}: {turns} turns"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn green_calls_with_nothing_to_wait_for_leave_the_others_their_turns() {
    struct Shared {
        value: Mutex<()>,
        changed: Condvar,
        to_nobody: channel::Sender<()>,
        from_nobody: channel::Receiver<()>,
    }
    impl Shared {
        /// Taken without a share, which only what is tested is to spend.
        fn lock(&self) -> MutexGuard<'_, ()> {
            self.value.try_lock().unwrap()
        }
    }
    type Call = fn(&Shared);
    const NO_TIME: Duration = Duration::ZERO;
    let calls: [(&str, Call); 11] = [
        ("timeout of what is ready", |_| green::timeout(HOUR, || ()).unwrap()),
        ("timeout of no time", |_| {
            green::timeout(NO_TIME, || green::sleep(HOUR)).unwrap_err();
        }),
        ("scope", |_| green::scope(|_| ())),
        ("try_scope", |_| green::try_scope(|_| Err::<(), _>(())).unwrap_err()),
        ("group", |_| {
            let failed = || io::Error::other("on purpose");
            Group::run(|_| Err::<(), _>(failed())).unwrap_err();
        }),
        ("wait_while", |s| drop(s.changed.wait_while(s.lock(), |()| false))),
        ("wait_timeout_while", |s| {
            drop(s.changed.wait_timeout_while(s.lock(), HOUR, |()| false));
        }),
        ("wait_timeout_while of no time", |s| {
            drop(s.changed.wait_timeout_while(s.lock(), NO_TIME, |()| true));
        }),
        ("send to nobody", |s| assert!(s.to_nobody.send(()).is_err())),
        ("receive from nobody", |s| assert!(s.from_nobody.recv().is_err())),
        ("iter of nothing", |s| assert_eq!(s.from_nobody.iter().next(), None)),
    ];
    let mut wrong = Vec::new();
    for era in ERAS {
        for (name, call) in calls {
            let turns = turns_beside(|| {
                let shared = Shared {
                    value: Mutex::new(()),
                    changed: Condvar::new(),
                    to_nobody: channel::unbounded().0,
                    from_nobody: channel::unbounded().1,
                };
                spawn_running(era, move || (0..MANY).for_each(|_| call(&shared)))
            });
            if !(20..200).contains(&turns) {
                wrong.push(format!("{name} in {era}: {turns} turns"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn green_limits_that_have_passed_let_through_what_is_ready_however_often() {
    run_in_order(|| {
        let (sender, receiver) = channel::unbounded();
        for n in 0..MANY {
            sender.send(n).unwrap();
            assert_eq!(green::timeout(Duration::ZERO, || receiver.recv()), Ok(Ok(n)));
            assert_eq!(green::timeout(Duration::ZERO, || green::wait(ready(n))), Ok(n));
        }
        let mut pair = UnixStream::pair().unwrap();
        for n in 0..MANY {
            Write::write_all(&mut pair.0, &[n as u8]).unwrap();
            let read = || Read::read(&mut pair.1, &mut [0]);
            assert_eq!(green::timeout(Duration::ZERO, read).unwrap().unwrap(), 1);
        }
    });
}

#[test]
fn green_code_that_only_does_what_is_ready_can_be_cancelled() {
    type Spins = fn(&Mutex<()>);
    let spins: [Spins; 4] = [
        |mutex| drop(mutex.lock()),
        |_| green::wait(ready(())),
        |_| green::scope(|_| ()),
        |mutex| green::timeout(HOUR, || drop(mutex.lock())).unwrap(),
    ];
    for era in ERAS {
        for spin in spins {
            run_in_order(|| {
                let done = Rc::new(Cell::new(0));
                let counts = done.clone();
                let task = spawn_running(era, move || {
                    let mutex = Mutex::new(());
                    for _ in 0..10 * MANY {
                        spin(&mutex);
                        counts.set(counts.get() + 1);
                    }
                });
                green::yield_now();
                task.cancel();
                let error = task.join().expect_err("it is cancelled");
                assert!(error.is_cancelled());
                assert!((1..MANY).contains(&done.get()), "{done:?} in {era}");
            });
        }
    }
}

#[test]
fn what_is_there_comes_before_a_cancellation_however_much_of_the_turn_is_used_up() {
    for (era, used) in ERAS.into_iter().flat_map(|era| (0..140).map(move |used| (era, used))) {
        run_in_order(|| {
            let own = Rc::new(Cell::new(None::<JoinHandle<()>>));
            let (handle, received) = (own.clone(), Rc::new(Cell::new(false)));
            let receives = received.clone();
            let (sender, receiver) = oneshot::channel();
            sender.send(()).unwrap();
            let mutex = Mutex::new(());
            let cancel = move || handle.take().unwrap().cancel();
            own.set(Some(match era {
                Era::Green => green::spawn(move || {
                    (0..used).for_each(|_| drop(mutex.lock()));
                    cancel();
                    receiver.recv().unwrap();
                    receives.set(true);
                    green::sleep(HOUR);
                }),
                Era::Generator => generator::spawn(move |y| {
                    (0..used).for_each(|_| drop(y.wait(mutex.locking())));
                    cancel();
                    y.wait(receiver).unwrap();
                    receives.set(true);
                    y.wait(time::sleeping(HOUR));
                }),
                Era::Future => future::spawn(async move {
                    for _ in 0..used {
                        drop(mutex.locking().await);
                    }
                    cancel();
                    receiver.await.unwrap();
                    receives.set(true);
                    time::sleeping(HOUR).await;
                }),
            }));
            green::sleep(HOUR / 2);
            assert!(received.get(), "{era}, with {used} used up");
        });
    }
}

#[test]
fn a_sleep_of_no_time_gives_one_turn_also_where_the_share_is_spent() {
    run_in_order(|| {
        let mutex = Mutex::new(());
        let spend = |all| (0..all).for_each(|_| drop(mutex.lock()));
        assert_turns(1, || {
            spend(128);
            green::sleep(Duration::ZERO);
        });
        let in_a_future = assert_turns_async(2, async {
            spend(128);
            time::sleeping(Duration::ZERO).await;
            spend(127); // The sleep has spent one.
            future::yield_now().await;
        });
        green::wait(in_a_future);
    });
}

#[test]
fn a_runtime_dropped_inside_of_a_task_leaves_the_task_its_share() {
    let inner = |_| {
        let inner = Builder::new().build().unwrap();
        inner.enter(|| drop(green::spawn(|| ())));
        inner
    };
    let all: Vec<_> = (0..50).map(inner).collect();
    let turns = turns_beside(|| {
        green::spawn(|| {
            for inner in all {
                drop(inner); // Its task has its one turn here.
                (0..MANY / 50).for_each(|_| green::wait(ready(())));
            }
        })
    });
    assert!((20..200).contains(&turns), "{turns} turns");
}

/// Nothing can be suspended where a future is dropped since its task was cancelled.
#[test]
fn a_destructor_may_look_at_conditions_and_limits_while_its_task_is_torn_down() {
    struct Busy(Trace);
    impl Drop for Busy {
        fn drop(&mut self) {
            let (value, changed) = (Mutex::new(()), Condvar::new());
            for _ in 0..MANY {
                drop(changed.wait_while(value.try_lock().unwrap(), |()| false));
                green::timeout(HOUR, || ()).unwrap();
            }
            self.0.say("dropped");
        }
    }
    run_in_order(|| {
        let trace = Trace::new();
        let busy = Busy(trace.clone());
        let task = future::spawn(async move {
            let _busy = busy;
            pending::<()>().await;
        });
        green::yield_now();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(trace.take(), ["dropped"]);
    });
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
            s.spawn_future(poll_fn(|cx| {
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
                let child = s.spawn_future(future::yield_now());
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
                    let receiving = op::timeout(Duration::ZERO, receiver.receiving());
                    assert_eq!(receiving.await, Ok(Ok(n)));
                }
                drop(sender);
                let over = op::timeout(Duration::ZERO, receiver.receiving()).await;
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
            let receiving = op::timeout(Duration::ZERO, receiver.receiving());
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
