//! Code that knows nothing of this crate, in all three eras: combinators and channels of others, wakers that
//! are kept, abused and used on other threads, and code that blocks, called from `async fn`.

use std::cell::{Cell, RefCell};
use std::future::{IntoFuture, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::util::{self, *};
use futures::future::{Either, join, join_all, select};
use futures::stream::{self, FuturesUnordered, StreamExt};
use futures::task::AtomicWaker;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use tokio::sync::oneshot;
use wouldblock::generator::{Generator, GeneratorState, Yielder};
use wouldblock::net::{TcpStream, UdpSocket};
use wouldblock::op::timeout;
use wouldblock::time::{now, sleeping};
use wouldblock::{Builder, Era, JoinHandle, Wait, WaitFor, future, generator, green, offload};

// Combinators.

#[test]
fn futures_unordered_gives_who_is_ready_first() {
    let results = virtually(|| {
        in_each_era(|| async {
            let tasks = [30, 10, 20].map(|ms| {
                future::spawn(async move {
                    sleeping(ms * MS).await;
                    ms
                })
            });
            let mut unordered: FuturesUnordered<_> = tasks.into_iter().collect();
            let mut order = Vec::new();
            while let Some(result) = unordered.next().await {
                order.push(result.unwrap());
            }
            order
        })
    });
    assert_eq!(results, [[10, 20, 30]; 3].map(Vec::from));
}

#[test]
fn join_all_waits_for_all() {
    virtually(|| {
        let start = now();
        let results = in_each_era(|| {
            join_all((0..50).map(|n| async move {
                sleeping(n % 7 * MS).await;
                n
            }))
        });
        assert_eq!(results, [(); 3].map(|()| (0..50).collect::<Vec<_>>()));
        assert_eq!(now() - start, 6 * MS);
    });
}

#[test]
fn select_drops_the_loser() {
    let log = Log::new();
    virtually(|| {
        in_each_era(|| {
            let guard = OnDrop(log.clone(), "loser dropped");
            async move {
                let slow = async {
                    let _guard = guard;
                    sleeping(HOUR).await;
                };
                let Either::Right(_) = select(pin!(slow), sleeping(MS)).await else {
                    panic!("an hour is longer than a millisecond")
                };
            }
        });
    });
    assert_eq!(log.take(), ["loser dropped"; 3]);
}

#[test]
fn buffered_streams_keep_as_many_under_way_as_they_are_told() {
    virtually(|| {
        let results = in_each_era(|| async {
            let (under_way, most) = (Cell::new(0), Cell::new(0));
            let work = async |n: u32| {
                under_way.set(under_way.get() + 1);
                most.set(most.get().max(under_way.get()));
                sleeping((10 - n) * MS).await;
                under_way.set(under_way.get() - 1);
                n
            };
            let done: Vec<u32> = stream::iter(0..10).map(work).buffered(3).collect().await;
            (done, most.get())
        });
        assert_eq!(results, [(); 3].map(|()| ((0..10).collect(), 3)));
    });
}

// Channels and events of others.

#[test]
fn async_channel_connects_the_eras() {
    let log = Log::new();
    virtually(|| {
        let (tx, rx) = async_channel::bounded::<u32>(1);
        let (first, second) = (tx.clone(), tx.clone());
        drop(generator::spawn(move |y| (0..10).for_each(|n| y.wait(first.send(n)).unwrap())));
        drop(green::spawn(move || (0..10).for_each(|n| green::wait(second.send(n)).unwrap())));
        drop(future::spawn(async move {
            for n in 0..10 {
                tx.send(n).await.unwrap();
            }
        }));
        let (a, b, c) = (rx.clone(), rx.clone(), rx);
        let (log_a, log_b, log_c) = (log.clone(), log.clone(), log.clone());
        let receivers = [
            generator::spawn(move |y| {
                while let Ok(n) = y.wait(a.recv()) {
                    log_a.push(n);
                }
            }),
            green::spawn(move || {
                while let Ok(n) = green::wait(b.recv()) {
                    log_b.push(n);
                }
            }),
            future::spawn(async move {
                while let Ok(n) = c.recv().await {
                    log_c.push(n);
                }
            }),
        ];
        receivers.into_iter().for_each(util::join);
    });
    let mut received = log.take();
    received.sort_unstable();
    let expected: Vec<u32> = (0..10).flat_map(|n| [n; 3]).collect();
    assert_eq!(received, expected);
}

#[test]
fn async_channel_connects_threads() {
    bounded(|| {
        let (to_thread, from_task) = async_channel::bounded::<u32>(2);
        let (to_task, from_thread) = async_channel::bounded::<u32>(2);
        let thread = thread::spawn(move || {
            while let Ok(n) = from_task.recv_blocking() {
                to_task.send_blocking(2 * n).unwrap();
            }
        });
        let sender = green::spawn(move || {
            (0..1000).for_each(|n| green::wait(to_thread.send(n)).unwrap());
        });
        let mut sum = 0;
        while let Ok(n) = green::wait(from_thread.recv()) {
            sum += n;
        }
        assert_eq!(sum, 999 * 1000);
        util::join(sender);
        thread.join().unwrap();
    });
}

/// Each run waits for the other most of the time, with a waker of its own in the other's hands: no deadlock.
#[test]
fn async_channel_connects_two_runs_on_two_threads() {
    const VALUES: u64 = 2000;
    /// Sends all values, and gives the sum of the first so many that come.
    fn peer(
        era: Era,
        to: async_channel::Sender<u64>,
        from: async_channel::Receiver<u64>,
        takes: usize,
    ) -> (u64, u64) {
        let result = Builder::new().try_run(|| {
            let send_all = async move {
                let mut sent = 0;
                while sent < VALUES && to.send(sent).await.is_ok() {
                    sent += 1;
                }
                sent
            };
            let sender = match era {
                Era::Generator => generator::spawn(move |y| y.wait(send_all)),
                Era::Green => green::spawn(move || green::wait(send_all)),
                Era::Future => future::spawn(send_all),
            };
            let receiver = future::spawn(from.take(takes).fold(0, async |sum, n| sum + n));
            (util::join(sender), util::join(receiver))
        });
        result.unwrap_or_else(|deadlock| panic!("{deadlock}"))
    }
    let all = VALUES * (VALUES - 1) / 2;
    for era in [Era::Generator, Era::Green, Era::Future] {
        for capacity in [1, 7] {
            let there = async_channel::bounded(capacity);
            let back = async_channel::bounded(capacity);
            let thread = thread::spawn(move || peer(era, back.0, there.1, usize::MAX));
            assert_eq!(peer(Era::Green, there.0, back.1, usize::MAX), (VALUES, all));
            assert_eq!(thread.join().unwrap(), (VALUES, all));
            // One of them stops listening.
            let there = async_channel::bounded(capacity);
            let back = async_channel::bounded(capacity);
            let thread = thread::spawn(move || peer(era, back.0, there.1, 10));
            let (sent, sum) = peer(Era::Green, there.0, back.1, usize::MAX);
            assert!((10..=11 + capacity as u64).contains(&sent), "{sent}");
            assert_eq!((sum, thread.join().unwrap()), (all, (VALUES, 45)));
        }
    }
}

#[test]
fn event_listener_notifies_all_eras() {
    bounded(|| {
        let event = Arc::new(event_listener::Event::new());
        let waiting = || event.listen();
        let (a, b, c) = (waiting(), waiting(), waiting());
        let tasks = [
            generator::spawn(move |y| y.wait(a)),
            green::spawn(move || green::wait(b)),
            future::spawn(c),
        ];
        settle();
        let notifier = event.clone();
        assert_eq!(on_a_thread(move || notifier.notify(usize::MAX)), 3);
        tasks.into_iter().for_each(util::join);
    });
}

#[test]
fn a_oneshot_from_a_thread_arrives_in_all_eras() {
    for _ in 0..50 {
        bounded(|| {
            let results = in_each_era(|| {
                let (tx, rx) = oneshot::channel();
                thread::spawn(move || tx.send(7));
                rx
            });
            assert_eq!(results, [Ok(7), Ok(7), Ok(7)]);
        });
    }
}

// Wakers.

/// Many threads count and wake; whoever waits for the sum of them would hang if one wake were lost.
#[test]
fn no_wake_from_another_thread_is_lost() {
    const THREADS: usize = 8;
    const WAKES: usize = 2000;
    bounded(|| {
        in_each_era(|| {
            let shared = Arc::new((AtomicUsize::new(0), AtomicWaker::new()));
            for _ in 0..THREADS {
                let shared = shared.clone();
                thread::spawn(move || {
                    for _ in 0..WAKES {
                        shared.0.fetch_add(1, Ordering::Relaxed);
                        shared.1.wake();
                    }
                });
            }
            poll_fn(move |cx| {
                shared.1.register(cx.waker());
                match shared.0.load(Ordering::Relaxed) {
                    count if count == THREADS * WAKES => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            })
        });
    });
}

/// A ball between a thread and a task: each throw is one wake across threads.
#[test]
fn a_thread_and_a_task_play_ping_pong() {
    bounded(|| {
        let (to_thread, balls) = mpsc::channel::<oneshot::Sender<u32>>();
        let thread = thread::spawn(move || {
            let mut thrown = 0;
            for ball in balls {
                thrown += 1;
                ball.send(thrown).unwrap();
            }
            thrown
        });
        for n in 1..=2000 {
            let (tx, rx) = oneshot::channel();
            to_thread.send(tx).unwrap();
            assert_eq!(green::wait(rx), Ok(n));
        }
        drop(to_thread);
        assert_eq!(thread.join().unwrap(), 2000);
    });
}

#[test]
fn a_future_that_wakes_itself_while_polled_is_polled_again_after_the_others() {
    strictly(|| {
        let turns = Rc::new(Cell::new(0));
        let counter = turns.clone();
        let other = green::spawn(move || {
            loop {
                counter.set(counter.get() + 1);
                green::yield_now();
            }
        });
        in_each_era(|| {
            let mut left = 10;
            poll_fn(move |cx| {
                cx.waker().wake_by_ref();
                left -= 1;
                if left == 0 { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        assert!((9..=12).contains(&turns.get()), "{} turns", turns.get());
        other.cancel();
    });
}

#[test]
fn each_waker_that_a_future_keeps_wakes_its_task() {
    bounded(|| {
        let kept = Rc::new(RefCell::new(Vec::<Waker>::new()));
        for which in 0..5 {
            let (shared, polls) = (kept.clone(), Rc::new(Cell::new(0)));
            let counted = polls.clone();
            let task = future::spawn(poll_fn(move |cx| {
                counted.set(counted.get() + 1);
                match counted.get() {
                    1 => shared.borrow_mut().extend((0..5).map(|_| cx.waker().clone())),
                    _ => return Poll::Ready(()),
                }
                Poll::Pending
            }));
            settle();
            let mut wakers = kept.take();
            assert!(wakers.iter().all(|waker| waker.will_wake(&wakers[0])));
            assert!(!task.is_finished());
            wakers.swap_remove(which).wake();
            util::join(task);
            assert_eq!(polls.get(), 2);
            wakers.into_iter().for_each(Waker::wake); // of a task that is done
        }
    });
}

/// What a task that waits until `done` is set hands out.
#[derive(Default)]
struct Handle {
    done: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

fn hands_out_its_waker() -> (Rc<Handle>, JoinHandle<()>) {
    let handle = Rc::new(Handle::default());
    let inside = handle.clone();
    let task = future::spawn(poll_fn(move |cx| match inside.done.get() {
        true => Poll::Ready(()),
        false => {
            inside.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        }
    }));
    (handle, task)
}

#[test]
fn waking_a_task_that_is_done_does_nothing() {
    bounded(|| {
        let (handle, task) = hands_out_its_waker();
        settle();
        let waker = handle.waker.take().unwrap();
        handle.done.set(true);
        waker.wake_by_ref();
        util::join(task);
        waker.wake_by_ref();
        let elsewhere = waker.clone();
        on_a_thread(move || elsewhere.wake());
        green::sleep(MS);
        drop(waker);
    });
}

#[test]
fn a_waker_may_outlive_the_run_and_be_used_and_dropped_on_other_threads() {
    let (waker, task) = bounded(|| {
        let (handle, task) = hands_out_its_waker();
        settle();
        (handle.waker.take().unwrap(), task)
    });
    waker.wake_by_ref();
    let elsewhere = waker.clone();
    on_a_thread(move || {
        elsewhere.wake_by_ref();
        let another = elsewhere.clone();
        bounded(|| elsewhere.wake_by_ref()); // in somebody else's run
        another.wake();
    });
    bounded(|| waker.wake());
    assert!(task.is_finished(), "cancelled when the root returned");
}

#[test]
fn spurious_wakes_end_no_wait() {
    virtually(|| {
        let (mut ours, theirs) = half_pair();
        let start = now();
        let wakers = Rc::new(RefCell::new(Vec::<Waker>::new()));
        // Polled next to an operation, this leaks the task's waker to whoever wants to disturb.
        let leak = {
            let wakers = wakers.clone();
            move || {
                let wakers = wakers.clone();
                poll_fn(move |cx| {
                    wakers.borrow_mut().push(cx.waker().clone());
                    Poll::<()>::Pending
                })
            }
        };
        let leaks = [leak(), leak(), leak()];
        let [a, b, c] = leaks;
        let long = green::spawn(|| green::sleep(10 * MS));
        let tasks = [
            generator::spawn(move |y| drop(y.wait(select(a, sleeping(10 * MS))))),
            green::spawn(move || drop(green::wait(select(b, long)))),
            future::spawn(async move {
                let mut byte = [0];
                drop(select(c, ours.read(&mut byte)).await);
                assert_eq!(&byte, b"x");
            }),
        ];
        for ms in 1..10 {
            green::sleep(MS);
            wakers.borrow().iter().for_each(Waker::wake_by_ref);
            settle();
            assert_eq!(now() - start, ms * MS);
            assert!(!tasks.iter().any(JoinHandle::is_finished), "after {ms} ms");
        }
        send(&theirs, b"x");
        tasks.into_iter().for_each(util::join);
        assert_eq!(now() - start, 10 * MS);
    });
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_operation_polled_by_hand_wakes_whatever_waker_it_was_given() {
    virtually(|| {
        let counting = Arc::new(Counting::default());
        let waker = Waker::from(counting.clone());
        let mut cx = Context::from_waker(&waker);
        let (mut ours, theirs) = half_pair();
        let task = green::spawn(|| green::sleep(5 * MS));
        let (mut asleep, mut joins) = (pin!(sleeping(5 * MS)), pin!(task));
        let mut reads = pin!(ours.readable());
        let mut works = pin!(offload(|| 7));
        assert!(asleep.as_mut().poll(&mut cx).is_pending());
        assert!(joins.as_mut().poll(&mut cx).is_pending());
        assert!(reads.as_mut().poll(&mut cx).is_pending());
        let done = green::wait(poll_fn(|cx| works.as_mut().poll(cx)));
        green::sleep(4 * MS);
        assert_eq!((done, counting.0.load(Ordering::Relaxed)), (7, 0));
        green::sleep(2 * MS);
        assert_eq!(counting.0.load(Ordering::Relaxed), 2, "the sleep and the task");
        assert_eq!(asleep.as_mut().poll(&mut cx), Poll::Ready(()));
        assert!(matches!(joins.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
        send(&theirs, b"x");
        green::sleep(MS);
        assert_eq!(counting.0.load(Ordering::Relaxed), 3, "the socket");
        assert!(matches!(reads.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
        assert_eq!(io::Read::read(&mut ours, &mut [0; 8]).unwrap(), 1);
    });
}

#[test]
fn an_operation_that_is_dropped_wakes_nobody() {
    virtually(|| {
        let counting = Arc::new(Counting::default());
        let waker = Waker::from(counting.clone());
        let (ours, theirs) = half_pair();
        {
            let mut cx = Context::from_waker(&waker);
            assert!(pin!(sleeping(5 * MS)).poll(&mut cx).is_pending());
            assert!(pin!(timeout(5 * MS, sleeping(HOUR))).poll(&mut cx).is_pending());
            assert!(pin!(ours.readable()).poll(&mut cx).is_pending());
        }
        send(&theirs, b"x");
        green::sleep(HOUR);
        assert_eq!(counting.0.load(Ordering::Relaxed), 0);
        assert_eq!(Arc::strong_count(&counting), 2, "nobody keeps the waker");
    });
}

#[test]
fn polling_by_hand_with_a_waker_that_wakes_nobody_works() {
    virtually(|| {
        let mut asleep = sleeping(5 * MS);
        assert!(poll_once(&mut asleep).is_pending());
        green::sleep(4 * MS);
        assert!(poll_once(&mut asleep).is_pending());
        green::sleep(MS);
        assert!(poll_once(&mut asleep).is_ready());
        let mut task = green::spawn(|| 7);
        assert!(poll_once(&mut task).is_pending());
        settle();
        assert!(matches!(poll_once(&mut task), Poll::Ready(Ok(7))));
        assert_eq!(sleeping(5 * MS).now_or_never(), None);
    });
}

#[test]
fn another_runtimes_block_on_may_wait_for_another_thread() {
    bounded(|| {
        let (tx, rx) = oneshot::channel();
        let thread = thread::spawn(move || tx.send(7));
        // It keeps the thread, and all its tasks, until then: a trap of each executor in another.
        assert_eq!(futures_lite::future::block_on(rx), Ok(7));
        thread.join().unwrap().unwrap();
    });
}

// Both directions of one socket.

#[test]
fn one_task_reads_and_writes_a_socket_at_once() {
    const BYTES: usize = 1 << 20; // more than the kernel's buffers hold
    bounded(|| {
        in_each_era(|| {
            let (near, far) = pair();
            let echo = future::spawn(async move {
                let (reader, writer) = (&far, &far);
                let copied = futures_lite::io::copy(reader, writer).await.unwrap();
                far.shutdown(std::net::Shutdown::Write).unwrap();
                copied
            });
            async move {
                let (mut reader, mut writer) = (&near, &near);
                let sent: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
                let mut received = Vec::new();
                let (wrote, read) = join(
                    async {
                        writer.write_all(&sent).await?;
                        writer.close().await
                    },
                    reader.read_to_end(&mut received),
                )
                .await;
                wrote.unwrap();
                assert_eq!(read.unwrap(), BYTES);
                assert_eq!(received, sent);
                assert_eq!(echo.await.unwrap(), BYTES as u64);
            }
        });
    });
}

#[test]
fn split_halves_in_a_combinator_do_not_disturb_each_other() {
    bounded(|| {
        in_each_era(|| {
            let (near, far) = pair();
            async move {
                let (mut read_near, mut write_near) = near.split();
                let (mut read_far, mut write_far) = far.split();
                type Direction<'a> = Pin<Box<dyn Future<Output = usize> + 'a>>;
                let text = vec![b'x'; 300_000];
                let mut directions = FuturesUnordered::<Direction<'_>>::new();
                for writer in [&mut write_near, &mut write_far] {
                    directions.push(Box::pin(async {
                        writer.write_all(&text).await.unwrap();
                        writer.close().await.unwrap();
                        0
                    }));
                }
                for reader in [&mut read_near, &mut read_far] {
                    directions.push(Box::pin(async {
                        let mut received = Vec::new();
                        reader.read_to_end(&mut received).await.unwrap()
                    }));
                }
                let mut read = 0;
                while let Some(bytes) = directions.next().await {
                    read += bytes;
                }
                assert_eq!(read, 600_000);
            }
        });
    });
}

#[test]
fn selecting_between_two_sockets_loses_nothing() {
    bounded(|| {
        in_each_era(|| {
            let ((mut a, far_a), (mut b, far_b)) = (pair(), pair());
            let writer = green::spawn(move || {
                for n in 0..50_u8 {
                    io::Write::write_all(&mut &far_a, &[n]).unwrap();
                    io::Write::write_all(&mut &far_b, &[n]).unwrap();
                    green::yield_now();
                }
            });
            async move {
                let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
                while from_a.len() < 50 || from_b.len() < 50 {
                    let (mut buf_a, mut buf_b) = ([0], [0]);
                    // Whoever loses is dropped, and has taken nothing.
                    match select(a.read(&mut buf_a), b.read(&mut buf_b)).await {
                        Either::Left((Ok(1), _)) => from_a.push(buf_a[0]),
                        Either::Right((Ok(1), _)) => from_b.push(buf_b[0]),
                        Either::Left((Ok(0), _)) | Either::Right((Ok(0), _)) => {
                            // One is at its end: the rest is the other's.
                            let (rest, from) = match from_a.len() {
                                50 => (&mut b, &mut from_b),
                                _ => (&mut a, &mut from_a),
                            };
                            rest.read_to_end(from).await.unwrap();
                        }
                        other => panic!("{:?}", other.factor_first().0),
                    }
                }
                assert_eq!(from_a, (0..50).collect::<Vec<_>>());
                assert_eq!(from_b, from_a);
                writer.await.unwrap();
            }
        });
    });
}

/// A combinator's read that was given up is not something that could still happen: nobody can be woken by it.
#[test]
fn a_read_that_was_given_up_does_not_hide_a_deadlock() {
    let ended = in_child_in_order(|| {
        limit_child(5);
        let (mut ours, _theirs) = half_pair();
        let result = Builder::new().try_run(|| {
            let mut byte = [0];
            let mut reads: FuturesUnordered<_> = [ours.read(&mut byte)].into_iter().collect();
            assert!(poll_once(&mut reads.next()).is_pending());
            drop(reads);
            green::wait(std::future::pending::<()>());
        });
        assert!(result.is_err_and(|deadlock| deadlock.to_string().starts_with("deadlock: 1 task")));
    });
    ended.assert_fine();
}

// No colour: blocking-style code in `async fn`.

/// Reads with std's trait, as code that has never heard of futures does.
fn blocking_style(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(stream, &mut text)?;
    Ok(text)
}

#[test]
fn blocking_style_code_in_an_async_fn_suspends_only_its_task() {
    virtually(|| {
        let (mut ours, theirs) = half_pair();
        let turns = Rc::new(Cell::new(0));
        let counter = turns.clone();
        let reader = future::spawn(async move {
            green::sleep(5 * MS);
            let text = blocking_style(&mut ours);
            sleeping(5 * MS).await;
            green::sleep(5 * MS);
            text
        });
        let other = future::spawn(async move {
            for _ in 0..10 {
                sleeping(MS).await;
                counter.set(counter.get() + 1);
            }
        });
        util::join(other);
        assert_eq!(turns.get(), 10, "while the reader waits");
        send(&theirs, b"hello");
        drop(theirs);
        let start = now();
        assert_eq!(util::join(reader).unwrap(), "hello");
        assert_eq!(now() - start, 10 * MS);
    });
}

/// The work ends only when another task has had its turns: name look-ups are such work.
#[test]
fn other_tasks_run_while_work_is_done_on_another_thread() {
    bounded(|| {
        let results = in_each_era(|| {
            let (tx, rx) = mpsc::channel();
            let work = offload(move || rx.recv());
            drop(green::spawn(move || {
                settle();
                tx.send(7).unwrap();
            }));
            work
        });
        assert_eq!(results, [Ok(7); 3]);
    });
}

#[test]
fn an_async_fn_that_is_suspended_the_green_way_can_be_cancelled() {
    let log = Log::new();
    virtually(|| {
        let guard = OnDrop(log.clone(), "unwound");
        let task = future::spawn(async move {
            sleeping(MS).await;
            let _guard = guard;
            green::sleep(HOUR);
        });
        green::sleep(2 * MS);
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
    });
    assert_eq!(log.take(), ["unwound"]);
}

/// Two futures in one task: one says what it waits for, and in the same poll the other waits the green way,
/// and then for something else. What the first has said must not be forgotten.
fn waits_both_ways() -> impl Future<Output = &'static str> + 'static {
    let (mut ours, theirs) = half_pair();
    let writer = green::spawn(move || {
        green::sleep(10 * MS);
        send(&theirs, b"x");
        theirs
    });
    let (tx, rx) = oneshot::channel();
    async move {
        let reads = async {
            ours.read_exact(&mut [0]).await.unwrap();
            tx.send("read").unwrap();
        };
        let waits = async {
            green::sleep(MS);
            rx.await.unwrap()
        };
        let ((), text) = join(reads, waits).await;
        drop(writer.await.unwrap());
        text
    }
}

#[test]
fn a_green_wait_inside_of_join_keeps_what_the_other_half_waits_for_in_a_future() {
    virtually(|| assert_eq!(util::join(future::spawn(waits_both_ways())), "read"));
}

#[test]
fn a_green_wait_inside_of_join_keeps_what_the_other_half_waits_for_in_a_greenlet() {
    virtually(|| {
        let task = green::spawn(|| green::wait(waits_both_ways()));
        assert_eq!(util::join(task), "read");
    });
}

#[test]
fn a_green_wait_inside_of_join_keeps_what_the_other_half_waits_for_in_a_generator() {
    virtually(|| {
        let task = generator::spawn(|y| y.wait(waits_both_ways()));
        assert_eq!(util::join(task), "read");
    });
}

/// The same with a time that comes while the other half waits for somebody's wake.
#[test]
fn a_green_wait_inside_of_join_keeps_the_sleep_of_the_other_half() {
    virtually(|| {
        let start = now();
        in_each_era(|| async {
            let (tx, rx) = oneshot::channel();
            let sleeps = async {
                sleeping(10 * MS).await;
                tx.send(()).unwrap();
            };
            let waits = async {
                green::sleep(MS);
                rx.await.unwrap();
            };
            join(sleeps, waits).await;
        });
        assert_eq!(now() - start, 10 * MS);
    });
}

#[test]
fn two_blocking_halves_of_a_join_take_their_time_one_after_the_other() {
    virtually(|| {
        let start = now();
        let blocking = || join(async { green::sleep(10 * MS) }, async { green::sleep(10 * MS) });
        in_each_era(blocking);
        assert_eq!(now() - start, 20 * MS, "they are one task: its stack waits in one place");
    });
}

#[test]
fn a_blocking_half_of_a_join_delays_an_awaiting_one_but_loses_nothing() {
    virtually(|| {
        let start = now();
        let mixed = || {
            join(
                async {
                    sleeping(5 * MS).await;
                    now()
                },
                async { green::sleep(10 * MS) },
            )
        };
        let ends = in_each_era(mixed);
        assert_eq!(ends.map(|(end, ())| end - start), [10 * MS; 3]);
    });
}

// Handles, crosswise.

fn spawn_in(era: usize, value: u32) -> JoinHandle<u32> {
    match era {
        0 => generator::spawn(move |y| {
            y.wait(sleeping(MS));
            value
        }),
        1 => green::spawn(move || {
            green::sleep(MS);
            value
        }),
        _ => future::spawn(async move {
            sleeping(MS).await;
            value
        }),
    }
}

#[test]
fn each_era_waits_for_tasks_of_each_era() {
    virtually(|| {
        for era in 0..3 {
            let results = in_each_era(|| spawn_in(era, 7));
            assert!(results.iter().all(|result| matches!(result, Ok(7))), "{results:?}");
            let results = in_each_era(|| join_all((0..5).map(move |n| spawn_in(era, n))));
            for result in results {
                let values: Vec<_> = result.into_iter().map(Result::unwrap).collect();
                assert_eq!(values, [0, 1, 2, 3, 4]);
            }
        }
    });
}

#[test]
fn a_handle_that_was_selected_against_can_be_waited_for_again() {
    virtually(|| {
        in_each_era(|| async {
            let mut task = spawn_in(1, 7);
            for _ in 0..2 {
                let short = sleeping(MS / 10);
                if let Either::Left((result, _)) = select(&mut task, short).await {
                    return assert_eq!(result.unwrap(), 7);
                }
            }
            assert_eq!(task.await.unwrap(), 7);
        });
    });
}

// Generators, driven by hand.

fn naps_and_reads(mut stream: TcpStream) -> Generator<Wait, (), usize> {
    Generator::new(move |y: &Yielder<Wait>| {
        y.wait(sleeping(5 * MS));
        let nap = spawn_in(2, 1);
        y.wait(nap).unwrap();
        y.yield_now();
        y.wait(stream.read(&mut [0; 8])).unwrap()
    })
}

#[test]
fn a_generator_is_driven_by_hand_in_each_era() {
    virtually(|| {
        let new = || {
            let (ours, theirs) = half_pair();
            send(&theirs, b"hello");
            naps_and_reads(ours)
        };
        let (mut a, mut b, mut c) = (new(), new(), new());
        let tasks = [
            generator::spawn(move |y| {
                loop {
                    match a.resume() {
                        GeneratorState::Yielded(wait) => y.wait(wait),
                        GeneratorState::Complete(bytes) => return bytes,
                    }
                }
            }),
            green::spawn(move || {
                loop {
                    match b.resume() {
                        GeneratorState::Yielded(wait) => green::wait(wait),
                        GeneratorState::Complete(bytes) => return bytes,
                    }
                }
            }),
            future::spawn(async move {
                loop {
                    match c.resume() {
                        GeneratorState::Yielded(wait) => wait.await,
                        GeneratorState::Complete(bytes) => return bytes,
                    }
                }
            }),
        ];
        assert_eq!(tasks.map(util::join), [5; 3]);
    });
}

#[test]
fn who_drives_a_generator_sees_what_it_waits_for() {
    virtually(|| {
        let (ours, theirs) = half_pair();
        let start = now();
        let mut generator = naps_and_reads(ours);
        let mut kinds = Vec::new();
        let bytes = loop {
            match generator.resume() {
                GeneratorState::Yielded(wait) => {
                    kinds.push(match wait.what {
                        WaitFor::Turn => "turn",
                        WaitFor::Readable(id) => {
                            assert!(id.fd() > 0);
                            send(&theirs, b"hello");
                            "readable"
                        }
                        WaitFor::Time if wait.deadline == Some(start + 5 * MS) => "until",
                        WaitFor::Task(_) => "task",
                        other => panic!("{other:?}"),
                    });
                    green::wait(wait);
                }
                GeneratorState::Complete(bytes) => break bytes,
            }
        };
        assert_eq!((bytes, kinds), (5, vec!["until", "task", "turn", "readable"]));
    });
}

/// A generator that waits for bytes that do not come, for `limit` at most, and what it yields at first.
fn reads_in_vain(stream: TcpStream, limit: Duration) -> (Generator<Wait>, Wait) {
    let mut generator =
        Generator::new(move |y: &Yielder<Wait>| drop(y.wait(timeout(limit, stream.readable()))));
    let GeneratorState::Yielded(wait) = generator.resume() else { panic!("it has to wait") };
    (generator, wait)
}

#[test]
fn of_two_waits_for_sockets_in_one_poll_the_earlier_deadline_holds() {
    virtually(|| {
        let ([(a, _a), (b, _b)], start) = ([half_pair(), half_pair()], now());
        let (_first, hour) = reads_in_vain(a, HOUR);
        let (_second, soon) = reads_in_vain(b, 5 * MS);
        green::wait(select(hour.into_future(), soon.into_future()));
        assert_eq!(now() - start, 5 * MS);
    });
}

#[test]
fn a_wait_for_a_socket_ends_at_its_deadline_in_a_combinator_of_another_crate() {
    virtually(|| {
        let ((stream, _peer), start) = (half_pair(), now());
        let (_generator, wait) = reads_in_vain(stream, 5 * MS);
        green::wait(FuturesUnordered::from_iter([wait.into_future()]).next()).unwrap();
        assert_eq!(now() - start, 5 * MS);
    });
}

#[test]
fn a_wait_for_a_task_ends_in_a_combinator_of_another_crate() {
    virtually(|| {
        let task = green::spawn(|| green::sleep(5 * MS));
        let start = now();
        let mut generator = Generator::new(move |y: &Yielder<Wait>| y.wait(task).unwrap());
        while let GeneratorState::Yielded(wait) = generator.resume() {
            green::wait(FuturesUnordered::from_iter([wait.into_future()]).next()).unwrap();
        }
        assert!((5 * MS..=7 * MS).contains(&(now() - start)), "{:?}", now() - start);
    });
}

#[test]
fn a_generator_that_is_resumed_too_soon_yields_again() {
    virtually(|| {
        let mut generator = Generator::new(|y: &Yielder<Wait>| y.wait(sleeping(5 * MS)));
        let GeneratorState::Yielded(first) = generator.resume() else { panic!("it has to wait") };
        for _ in 0..10 {
            assert_eq!(generator.resume(), GeneratorState::Yielded(first));
        }
        green::wait(first);
        assert_eq!(generator.resume(), GeneratorState::Complete(()));
    });
}

#[test]
fn a_generator_says_what_it_waits_for_outside_of_any_task() {
    let runtime = Builder::new().virtual_clock().build().unwrap();
    let mut generator = Generator::new(|y: &Yielder<Wait>| y.wait(sleeping(HOUR)));
    let GeneratorState::Yielded(wait) = runtime.enter(|| generator.resume()) else {
        panic!("it has to wait")
    };
    assert_eq!(wait.what, WaitFor::Time);
    assert_eq!(wait.deadline, Some(runtime.enter(now) + HOUR));
}

#[test]
fn a_generator_that_waits_the_green_way_suspends_whoever_resumes_it() {
    virtually(|| {
        let log = Log::new();
        let inner = log.clone();
        let task = green::spawn(move || {
            let mut generator = Generator::new(move |y: &Yielder<u32>| {
                for n in 0..3 {
                    green::sleep(10 * MS); // both stacks wait
                    y.yield_(n);
                }
            });
            for n in &mut generator {
                inner.push((n, now()));
            }
        });
        let start = now();
        green::sleep(15 * MS);
        assert_eq!(log.len(), 1, "others go on meanwhile");
        util::join(task);
        let expected: Vec<_> = (0..3).map(|n| (n, start + (n + 1) * 10 * MS)).collect();
        assert_eq!(log.take(), expected);
    });
}

// Waking under a lock, as many crates do.

#[test]
fn a_task_may_be_woken_while_somebody_holds_a_lock() {
    bounded(|| {
        let shared = Arc::new(Mutex::new((false, None::<Waker>)));
        let waits = shared.clone();
        let task = future::spawn(poll_fn(move |cx| {
            let mut shared = waits.lock().unwrap();
            shared.1 = Some(cx.waker().clone());
            if shared.0 { Poll::Ready(()) } else { Poll::Pending }
        }));
        settle();
        let mut locked = shared.lock().unwrap();
        locked.0 = true;
        locked.1.take().unwrap().wake();
        drop(locked);
        util::join(task);
    });
}

/// It polls on in the same turn of the task, however often it is put off. (What would have to wait for the reactor, it
/// would wait for in vain.)
#[test]
fn another_runtimes_block_on_in_a_task_goes_on_past_the_turns_share() {
    bounded(|| {
        let (mut stream, theirs) = half_pair();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        send(&theirs, &[0; 101]);
        futures_lite::future::block_on(async {
            for _ in 0..100 {
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
                assert_eq!(stream.peeking(&mut [0]).await.unwrap(), 1);
                assert_eq!(udp.sending_to(b"x", address).await.unwrap(), 1);
                assert_eq!(udp.receiving(&mut [0]).await.unwrap(), 1);
            }
        });
    });
}

// Another executor, on another thread: what is moved there fails, and does not panic.

#[test]
fn a_socket_that_is_awaited_on_another_executor_is_an_error_that_says_so() {
    use futures::{AsyncReadExt, AsyncWriteExt};
    let check = |result: io::Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("moved to another thread or executor"), "{text}");
        assert!(text.contains("wouldblock::future::spawn"), "what to do: {text}");
    };
    let (mut stream, _peer) = half_pair();
    let (listener, _) = listener();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (silent, _sockets) = silent();
    bounded(|| green::wait(timeout(MS, stream.readable())).unwrap_err()); // it has been used in a run
    futures_lite::future::block_on(async {
        stream.write_all(b"there is room").await.unwrap();
        check(stream.read(&mut [0]).await.map(drop));
        check(stream.readable().await);
        check(listener.accepting().await.map(drop));
        check(udp.receiving(&mut [0]).await.map(drop));
        check(TcpStream::connecting(silent).await.map(drop));
        check(TcpStream::connecting(&[silent, silent][..]).await.map(drop));
    });
    bounded(|| {
        let _ = green::wait(timeout(MS, stream.readable())).unwrap_err(); // and may be used in another
    });
}

#[test]
fn a_waker_that_wakes_a_task_when_it_is_cloned_finds_nothing_borrowed() {
    thread_local!(static HOOK: RefCell<Option<Waker>> = const { RefCell::new(None) });
    static VTABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            HOOK.with_borrow(|hook| hook.iter().for_each(Waker::wake_by_ref));
            RawWaker::new(data, &VTABLE)
        },
        |_| (),
        |_| (),
        |_| (),
    );
    run(|| {
        let out = Rc::new(Cell::new(None));
        let waker = out.clone();
        let sleeper = future::spawn(async move {
            let mut nap = pin!(sleeping(SECOND).into_future());
            poll_fn(|cx| {
                let _ = nap.as_mut().poll(cx);
                waker.set(Some(cx.waker().clone()));
                Poll::<()>::Pending
            })
            .await;
        });
        green::yield_now();
        HOOK.set(out.take());
        // SAFETY: its functions use no data.
        let foreign = unsafe { Waker::from_raw(RawWaker::new(ptr::null(), &VTABLE)) };
        let mut nap = pin!(sleeping(SECOND).into_future());
        let _ = nap.as_mut().poll(&mut Context::from_waker(&foreign));
        HOOK.set(None);
        sleeper.cancel();
    });
}
