//! The traps of stackful coroutines and of non-blocking sockets: for each, what a user sees who steps into it.
//! (A task that swallows its unwinding in a loop is in the tests of cancellation.)

use std::cell::RefCell;
use std::fs;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, Shutdown};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::util::*;
use futures::future::select;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;
use wouldblock::generator::{Generator, GeneratorState, Yielder};
use wouldblock::net::unix::{UnixDatagram, UnixStream};
use wouldblock::net::{TcpListener, TcpStream, UdpSocket};
use wouldblock::op::timeout;
use wouldblock::time::{now, sleeping};
use wouldblock::{Builder, JoinHandle, Wait, future, generator, green, group::gather, offload};

// Trap: suspending while the stack unwinds aborts; other tasks would see `panicking()`.

/// Runs its closure when it is dropped.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn waiting_while_unwinding_says_which_task_and_aborts() {
    let ended = in_child_in_order(|| {
        Builder::new().run(|| {
            let task = wouldblock::task::Builder::new().name("untidy").spawn(|| {
                let _finally = Finally(|| green::sleep(MS));
                panic!("the reason");
            });
            drop(task.join());
        });
    });
    let text = &ended.stderr;
    assert_eq!(ended.status.code(), None, "aborted by a signal: {text}");
    assert!(text.contains("the reason"), "{text}");
    assert!(
        text.contains("\"untidy\" (green, spawned at tests/it/traps.rs:"),
        "which task: {text}"
    );
    assert!(text.contains("has to wait in a destructor while its stack unwinds"), "{text}");
    assert!(text.contains("green::finally"), "what to do: {text}");
}

#[test]
fn a_wait_that_is_over_already_returns_while_unwinding() {
    bounded(|| {
        let log = Log::new();
        let inside = log.clone();
        let task = green::spawn(move || {
            let _finally = Finally(|| inside.push(green::wait(async { 7 })));
            panic!("the reason");
        });
        assert!(task.join().is_err_and(|e| e.is_panic()));
        assert_eq!(log.take(), [7]);
    });
}

/// A `BufWriter` on a socket flushes when it is dropped, while a panic passes too.
#[test]
fn writing_to_a_socket_while_unwinding_works_as_long_as_there_is_room() {
    let ended = in_child_in_order(|| {
        bounded(|| {
            let (ours, mut theirs) = half_pair();
            let task = green::spawn(move || {
                let _finally = Finally(|| {
                    for _ in 0..1000 {
                        (&ours).write_all(b"x").unwrap(); // more calls than a turn's share
                    }
                });
                panic!("the reason");
            });
            assert!(task.join().is_err_and(|e| e.is_panic()));
            let mut text = Vec::new();
            theirs.read_to_end(&mut text).unwrap();
            assert_eq!(text.len(), 1000);
        });
    });
    ended.assert_fine();
}

/// Asks a thread by a socket of each kind, and waits for its answer: as a hook that reports a panic does.
fn ask_a_thread() {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to_silent = silent.local_addr().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to_udp = udp.local_addr().unwrap();
    let (unix, mut their_unix) = UnixStream::pair().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap(); // It is being waited for, now or soon.
        stream.write_all(&byte).unwrap();
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(&byte).unwrap();
        stream.read_exact(&mut byte).unwrap();
        net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&byte, to_udp).unwrap();
        their_unix.write_all(&byte).unwrap();
        io::copy(&mut their_unix, &mut io::sink()).unwrap();
        net::TcpStream::connect(to_silent).unwrap()
    });
    let mut byte = [0];
    let mut stream = TcpStream::connect(("localhost", address.port())).unwrap();
    stream.set_read_timeout(Some(MS)).unwrap();
    assert_eq!(stream.read(&mut byte).unwrap_err().kind(), ErrorKind::TimedOut);
    stream.set_read_timeout(None).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut byte).unwrap();
    stream.write_all(b"y").unwrap();
    green::wait(stream.readable()).unwrap();
    stream.read_exact(&mut byte).unwrap();
    stream.write_all(b"z").unwrap();
    assert_eq!(udp.recv(&mut byte).unwrap(), 1);
    {
        use futures::AsyncReadExt;
        assert_eq!(green::wait(AsyncReadExt::read(&mut &unix, &mut byte)).unwrap(), 1);
    }
    (&unix).write_all(&vec![b'x'; 4 << 20]).unwrap();
    drop(unix);
    silent.accept().unwrap();
    thread.join().unwrap();
    assert_eq!(byte, *b"z");
}

/// Tasks of all eras that panic with `what` on their stacks.
fn panicking_tasks<T: Default + 'static>() -> [JoinHandle<()>; 3] {
    let panics = || {
        let _held = T::default();
        panic!("the reason");
    };
    [
        generator::spawn(move |_| panics()),
        green::spawn(panics),
        future::spawn(async move { panics() }),
    ]
}

#[test]
fn a_socket_that_has_to_wait_while_unwinding_blocks_the_thread() {
    #[derive(Default)]
    struct Asks;
    impl Drop for Asks {
        fn drop(&mut self) {
            ask_a_thread();
        }
    }
    let ended = in_child_in_order(|| {
        bounded(|| {
            let log = Log::new();
            let inside = log.clone();
            let other = green::spawn(move || {
                (0..4).for_each(|_| {
                    inside.push(thread::panicking());
                    green::yield_now();
                });
            });
            for task in panicking_tasks::<Asks>() {
                assert!(task.join().is_err_and(|e| e.is_panic()));
            }
            join(other);
            assert_eq!(log.take(), [false; 4]);
        });
    });
    ended.assert_fine();
}

#[test]
fn a_panic_hook_may_use_sockets() {
    let ended = in_child_in_order(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            ask_a_thread();
            usual(info);
        }));
        bounded(|| {
            for task in panicking_tasks::<()>() {
                assert!(task.join().is_err_and(|e| e.is_panic()));
            }
        });
    });
    let text = &ended.stderr;
    ended.assert_fine();
    assert_eq!(text.matches("the reason").count(), 3, "{text}");
}

#[test]
fn reading_from_a_socket_while_unwinding_gets_what_is_there_also_after_a_short_read() {
    bounded(|| {
        let log = Log::new();
        let inside = log.clone();
        let task = green::spawn(move || {
            let (ours, theirs) = after_a_short_read();
            send(&theirs, b"y");
            while ours.is_idle() {}
            let _finally = Finally(|| {
                inside.push((&ours).read(&mut [0; 64]).map_err(|e| e.to_string()));
            });
            panic!("the reason");
        });
        assert!(task.join().is_err_and(|e| e.is_panic()));
        assert_eq!(log.take(), [Ok(1)]);
    });
}

#[test]
fn a_socket_that_is_ready_is_so_while_unwinding_also_when_the_turns_share_is_spent() {
    let ended = in_child_in_order(|| {
        bounded(|| {
            let (ours, theirs) = half_pair();
            send(&theirs, &[0; 200]);
            let task = green::spawn(move || {
                green::wait(ours.readable()).unwrap();
                let _finally = Finally(|| green::wait(ours.readable()).unwrap());
                while ours.try_read(&mut [0]).is_ok() {}
                panic!("the reason");
            });
            assert!(task.join().is_err_and(|e| e.is_panic()));
        });
    });
    ended.assert_fine();
}

#[test]
fn other_tasks_do_not_see_a_panic_of_one() {
    bounded(|| {
        let watcher = green::spawn(|| {
            (0..10).any(|_| {
                green::yield_now();
                thread::panicking()
            })
        });
        let panics = green::spawn(|| {
            let _finally = Finally(|| drop(green::spawn(|| ())));
            panic!("the reason");
        });
        assert!(panics.join().is_err());
        assert!(!join(watcher));
    });
}

// Trap: cancelling a task that holds a `std::sync::Mutex` poisons it.

#[test]
fn cancelling_the_holder_of_a_std_mutex_poisons_it() {
    bounded(|| {
        let mutex = Arc::new(Mutex::new(0));
        let held = mutex.clone();
        let task = green::spawn(move || {
            let mut guard = held.lock().unwrap();
            *guard += 1;
            green::sleep(HOUR);
            *guard += 1;
        });
        settle();
        assert!(mutex.try_lock().is_err());
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert!(mutex.is_poisoned(), "std takes the unwinding for a panic");
        assert_eq!(*mutex.lock().unwrap_err().into_inner(), 1, "and rightly so: half is done");
    });
}

#[test]
fn cancelling_flushes_a_buf_writer() {
    bounded(|| {
        let (ours, mut theirs) = half_pair();
        let task = green::spawn(move || {
            let mut writer = io::BufWriter::new(ours);
            writer.write_all(b"half a mess").unwrap();
            green::sleep(HOUR);
            writer.write_all(b"age").unwrap();
        });
        settle();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert_eq!(text, "half a mess");
    });
}

// Trap: a borrow held across a wait. None of the runtime's own is held while a waker or a destructor runs.

/// What a waker or a destructor of the user's may do, all at once, in the middle of the runtime's work.
fn meddle(log: &Log<&'static str>) {
    let inside = log.clone();
    drop(green::spawn(move || inside.push("spawned")));
    let cancelled = green::spawn(|| panic!("it never begins"));
    cancelled.cancel();
    drop(cancelled);
    let (ours, theirs) = half_pair();
    assert!(poll_once(&mut ours.readable()).is_pending());
    send(&theirs, b"x");
    drop(ours);
    let (tx, rx) = oneshot::channel::<()>();
    drop(future::spawn(rx));
    drop(tx);
    assert!(poll_once(&mut sleeping(HOUR)).is_pending());
    let _ = (wouldblock::stats(), wouldblock::task::current(), now());
    log.push("meddled");
}

thread_local!(static MEDDLED: RefCell<Option<Log<&'static str>>> = const { RefCell::new(None) });

/// A waker that meddles when it wakes and when it is dropped.
struct Meddler;

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        MEDDLED.with_borrow(|log| meddle(log.as_ref().unwrap()));
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        if let Some(log) = MEDDLED.take() {
            meddle(&log);
            MEDDLED.set(Some(log));
        }
    }
}

/// Runs `body` with a waker that meddles, and gives how often it did: its last drop is one of them.
fn with_meddler(body: impl FnOnce(&mut Context<'_>)) -> usize {
    let log = Log::new();
    MEDDLED.set(Some(log.clone()));
    let meddled = virtually(|| {
        let waker = Waker::from(Arc::new(Meddler));
        body(&mut Context::from_waker(&waker));
        drop(waker);
        green::sleep(MS);
        let log = log.take();
        let count = |what| log.iter().filter(|&&entry| entry == what).count();
        assert_eq!(count("spawned"), count("meddled"), "what was spawned there has run");
        count("meddled")
    });
    MEDDLED.take();
    meddled
}

#[test]
fn a_waker_may_do_anything_when_a_timer_wakes_it() {
    let meddled = with_meddler(|cx| {
        let mut asleep = pin!(sleeping(MS));
        assert!(asleep.as_mut().poll(cx).is_pending());
        green::sleep(2 * MS);
    });
    assert_eq!(meddled, 2);
}

#[test]
fn a_waker_may_do_anything_when_a_socket_wakes_it() {
    let meddled = with_meddler(|cx| {
        let (ours, theirs) = half_pair();
        let mut ready = pin!(ours.readable());
        let mut buf = [0];
        let mut reading = ours.poll_read(cx, &mut buf);
        assert!(ready.as_mut().poll(cx).is_pending() && reading.is_pending());
        send(&theirs, b"x");
        green::sleep(MS);
        assert!(ready.as_mut().poll(cx).is_ready());
        reading = ours.poll_read(cx, &mut buf);
        assert!(matches!(reading, Poll::Ready(Ok(1))));
    });
    assert_eq!(meddled, 3, "two wakes and the last drop");
}

#[test]
fn a_waker_may_do_anything_when_a_task_ends() {
    let meddled = with_meddler(|cx| {
        let mut task = pin!(green::spawn(green::yield_now));
        assert!(task.as_mut().poll(cx).is_pending());
        green::sleep(MS);
        assert!(matches!(task.as_mut().poll(cx), Poll::Ready(Ok(()))));
    });
    assert_eq!(meddled, 2);
}

#[test]
fn a_waker_may_do_anything_when_a_socket_is_closed() {
    let meddled = with_meddler(|cx| {
        let (ours, _theirs) = half_pair();
        assert!(ours.poll_read(cx, &mut [0]).is_pending());
        drop(ours);
        settle();
    });
    assert_eq!(meddled, 2);
}

#[test]
fn a_waker_may_do_anything_when_it_is_dropped_with_an_operation() {
    let meddled = with_meddler(|_| {
        // Each is the only one to have its waker, so that dropping it drops that.
        let once = |operation: &mut dyn FnMut(&mut Context<'_>)| {
            let waker = Waker::from(Arc::new(Meddler));
            operation(&mut Context::from_waker(&waker));
        };
        let mut asleep = sleeping(HOUR);
        once(&mut |cx| assert!(pin!(&mut asleep).poll(cx).is_pending()));
        drop(asleep);
        let (ours, _theirs) = half_pair();
        let mut ready = ours.readable();
        once(&mut |cx| assert!(pin!(&mut ready).poll(cx).is_pending()));
        drop(ready);
        let mut task = green::spawn(|| green::sleep(HOUR));
        once(&mut |cx| assert!(pin!(&mut task).poll(cx).is_pending()));
        once(&mut |cx| assert!(pin!(&mut task).poll(cx).is_pending())); // in place of the first
        once(&mut |cx| assert!(ours.poll_read(cx, &mut [0]).is_pending()));
        once(&mut |cx| assert!(ours.poll_read(cx, &mut [0]).is_pending())); // likewise
        task.cancel();
    });
    // Two operations are dropped and two wakers replaced; a task and a socket end (a wake and a drop each).
    assert_eq!(meddled, 2 + 2 + 2 + 2 + 1);
}

#[test]
fn a_destructor_may_do_anything_wherever_a_task_ends() {
    let log = Log::new();
    virtually(|| {
        let meddler = || {
            let log = log.clone();
            Finally(move || meddle(&log))
        };
        // When it returns, panics, or is cancelled: before it begins, and where it waits; in all eras.
        let result = meddler();
        drop(green::spawn(move || result)); // a result that nobody asks for
        let (a, b, c, d) = (meddler(), meddler(), meddler(), meddler());
        let panics = green::spawn(move || {
            let _a = a;
            panic!("the reason");
        });
        let tasks = [
            generator::spawn(move |y| {
                let _b = b;
                y.wait(sleeping(HOUR));
            }),
            green::spawn(move || {
                let _c = c;
                green::sleep(HOUR);
            }),
            future::spawn(async move {
                let _d = d;
                sleeping(HOUR).await;
            }),
        ];
        green::sleep(MS);
        let (e, f, g) = (meddler(), meddler(), meddler());
        let not_begun = [
            generator::spawn(move |_| drop(e)),
            green::spawn(move || drop(f)),
            future::spawn(async move { drop(g) }),
        ];
        assert!(panics.join().is_err());
        let cancelled: Vec<_> = tasks.into_iter().chain(not_begun).collect();
        cancelled.iter().for_each(JoinHandle::cancel);
        for task in cancelled {
            assert!(task.join().unwrap_err().is_cancelled());
        }
        green::sleep(MS);
    });
    let log = log.take();
    let count = |what| log.iter().filter(|&&entry| entry == what).count();
    assert_eq!((count("meddled"), count("spawned")), (8, 8));
}

/// Wakes somebody when it is dropped.
struct WakesOnDrop(Mutex<Option<Waker>>);

impl Wake for WakesOnDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for WakesOnDrop {
    fn drop(&mut self) {
        if let Some(waker) = self.0.get_mut().unwrap().take() {
            waker.wake();
        }
    }
}

#[test]
fn a_waker_that_a_scope_drops_may_wake_a_child_of_the_scope() {
    let ended = in_child_in_order(|| {
        limit_child(5);
        let childs = Arc::new(Mutex::new(None));
        let out = childs.clone();
        let mut scope = pin!(future::scope(async move |s| {
            drop(s.spawn_future(poll_fn(move |cx| {
                *out.lock().unwrap() = Some(cx.waker().clone());
                Poll::<()>::Pending
            })));
            std::future::pending::<()>().await;
        }));
        let first = Arc::new(WakesOnDrop(Mutex::default()));
        let waker = Waker::from(first.clone());
        assert!(scope.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        *first.0.lock().unwrap() = childs.lock().unwrap().take();
        assert_eq!(Arc::strong_count(&first), 3, "ours and the scope's");
        drop((first, waker));
        assert!(scope.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    });
    ended.assert_fine();
}

// Trap: corosensei moves closures of at most 1 024 bytes.

#[test]
fn closures_and_futures_may_be_large() {
    let big = [7_u8; 20_000];
    let sum = move || big.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let total = Builder::new().run(move || {
        let tasks = [
            generator::spawn(move |y| {
                y.yield_now();
                sum()
            }),
            green::spawn(move || {
                green::yield_now();
                sum()
            }),
            future::spawn(async move {
                future::yield_now().await;
                sum()
            }),
            green::spawn(move || green::wait(offload(sum))),
        ];
        let mut by_hand = Generator::new(move |y: &Yielder<u32>| y.yield_(sum()));
        let yielded = by_hand.next().unwrap();
        let limited = green::timeout(HOUR, sum).unwrap();
        let scoped = green::scope(|s| s.spawn(sum).join().unwrap());
        tasks.map(join).into_iter().sum::<u32>() + yielded + limited + scoped + sum()
    });
    assert_eq!(total, 8 * 140_000);
}

// Trap: closing a socket that another task waits on; a slot reused.

/// What somebody waits for who waits for `stream` to be readable, as an era driven by hand gets to see it.
fn wait_to_read(stream: &Rc<TcpStream>) -> Wait {
    let stream = stream.clone();
    let mut generator = Generator::new(move |y: &Yielder<Wait>| y.wait(stream.readable()));
    match generator.resume() {
        GeneratorState::Yielded(wait) => wait,
        GeneratorState::Complete(result) => panic!("there is nothing to read: {result:?}"),
    }
}

#[test]
fn closing_a_socket_wakes_who_waits_for_it() {
    virtually(|| {
        let (ours, _theirs) = half_pair();
        let ours = Rc::new(ours);
        let wait = wait_to_read(&ours);
        let start = now();
        let waiters = (0..3).map(|_| green::spawn(move || green::wait(wait)));
        let waiters: Vec<_> = waiters.collect();
        green::sleep(MS);
        assert!(!waiters.iter().any(JoinHandle::is_finished));
        drop(Rc::into_inner(ours).expect("the last"));
        waiters.into_iter().for_each(join);
        green::wait(wait); // and who comes later does not wait at all
        assert_eq!(now() - start, MS);
    });
}

#[test]
fn a_socket_closed_on_another_thread_wakes_who_waits_for_it() {
    bounded(|| {
        let (ours, _theirs) = half_pair();
        let ours = Rc::new(ours);
        let wait = wait_to_read(&ours);
        let waiter = green::spawn(move || green::wait(wait));
        settle();
        let ours = Rc::into_inner(ours).expect("the last");
        on_a_thread(move || drop(ours));
        join(waiter);
    });
}

#[test]
fn shutting_down_ends_the_read_of_another_task() {
    bounded(|| {
        let (ours, _theirs) = half_pair();
        let ours = Arc::new(ours);
        let stream = ours.clone();
        let reader = green::spawn(move || (&*stream).read(&mut [0]).unwrap());
        settle();
        ours.shutdown(Shutdown::Both).unwrap();
        assert_eq!(join(reader), 0);
    });
}

/// Who waits for room on `$pair`'s first end, in each era, in a combinator and on a clone, is ended as std ends a
/// thread that writes: with an error, whoever shuts it down, here or on another thread.
macro_rules! shutting_down_ends_who_writes {
    ($name:ident, $Stream:ty, $pair:expr) => {
        #[test]
        fn $name() {
            for n in 0..4 {
                let how = [Shutdown::Write, Shutdown::Both][n % 2];
                let elsewhere = n >= 2;
                bounded(|| {
                    let (ours, _theirs) = $pair;
                    let clone = ours.try_clone().unwrap();
                    let ours = Arc::new(ours);
                    let [a, b, c, d] = std::array::from_fn(|_| ours.clone());
                    let much = || vec![b'x'; 8 << 20];
                    async fn write(stream: Arc<$Stream>) -> io::Result<()> {
                        let much = vec![b'x'; 8 << 20];
                        loop {
                            poll_fn(|cx| stream.poll_write(cx, &much)).await?;
                        }
                    }
                    let writers: [JoinHandle<io::Result<()>>; 5] = [
                        generator::spawn(move |y| {
                            loop {
                                match a.try_write(&much()) {
                                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                                        y.wait(a.writable())?
                                    }
                                    result => drop(result?),
                                }
                            }
                        }),
                        green::spawn(move || (&*b).write_all(&much())),
                        green::spawn(move || (&clone).write_all(&much())),
                        future::spawn(write(c)),
                        future::spawn(async move {
                            let mut writes = FuturesUnordered::from_iter([write(d)]);
                            writes.next().await.expect("there is one")
                        }),
                    ];
                    settle();
                    assert!(writers.iter().all(|writer| !writer.is_finished()), "there is no room");
                    match elsewhere {
                        false => ours.shutdown(how).unwrap(),
                        true => on_a_thread(move || ours.shutdown(how).unwrap()),
                    }
                    for writer in writers {
                        assert_eq!(join(writer).unwrap_err().kind(), ErrorKind::BrokenPipe);
                    }
                });
            }
        }
    };
}

shutting_down_ends_who_writes!(shutting_down_a_tcp_stream_ends_who_writes, TcpStream, pair());
shutting_down_ends_who_writes!(
    shutting_down_a_unix_stream_ends_who_writes,
    UnixStream,
    UnixStream::pair().unwrap()
);

#[test]
fn shutting_down_a_unix_socket_ends_who_reads_and_who_sends() {
    for how in [Shutdown::Read, Shutdown::Both] {
        bounded(|| {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let clone = ours.try_clone().unwrap();
            let reader = green::spawn(move || (&clone).read(&mut [0]).unwrap());
            settle();
            assert!(!reader.is_finished());
            ours.shutdown(how).unwrap();
            assert_eq!(join(reader), 0);
        });
    }
    for how in [Shutdown::Write, Shutdown::Both] {
        bounded(|| {
            let (ours, _theirs) = UnixDatagram::pair().unwrap();
            let ours = Rc::new(ours);
            let (a, b) = (ours.clone(), ours.clone());
            let send = move || loop {
                if let Err(e) = a.send(b"x") {
                    return e.kind();
                }
            };
            let wait = async move {
                while !matches!(b.try_send(b"x"), Err(e) if e.kind() == ErrorKind::BrokenPipe) {
                    b.writable().await.unwrap();
                    future::yield_now().await;
                }
                ErrorKind::BrokenPipe
            };
            let tasks = [green::spawn(send), future::spawn(wait)];
            settle();
            assert!(tasks.iter().all(|task| !task.is_finished()));
            ours.shutdown(how).unwrap();
            assert_eq!(tasks.map(join), [ErrorKind::BrokenPipe; 2]);
        });
    }
}

/// Whether the kernel has room for what is written there.
fn has_room(socket: &impl AsRawFd) -> bool {
    let mut fd = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one `pollfd`, in this frame.
    unsafe { libc::poll(&raw mut fd, 1, 0) > 0 }
}

#[test]
fn a_shutdown_ends_a_thread_without_a_run_that_writes() {
    for how in [Shutdown::Write, Shutdown::Both] {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let clone = ours.try_clone().unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send((&clone).write_all(&vec![b'x'; 8 << 20])).unwrap());
        while has_room(&ours) {
            thread::yield_now();
        }
        ours.shutdown(how).unwrap();
        assert_eq!(receive(&told).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn a_shutdown_on_another_thread_at_any_moment_ends_who_writes() {
    bounded(|| {
        for _ in 0..300 {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let clone = ours.try_clone().unwrap();
            let thread = thread::spawn(move || clone.shutdown(Shutdown::Write).unwrap());
            let written = (&ours).write_all(&vec![b'x'; 1 << 20]);
            assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
            thread.join().unwrap();
        }
    });
}

#[test]
fn what_happened_to_a_closed_socket_does_not_reach_the_next_one() {
    virtually(|| {
        let mut numbers = Vec::new();
        for _ in 0..100 {
            let (old, theirs) = half_pair();
            let mut ready = old.readable();
            assert!(poll_once(&mut ready).is_pending());
            send(&theirs, b"for the old one");
            numbers.push(old.as_raw_fd());
            drop(theirs);
            drop(old);
            let (new, _theirs) = half_pair();
            assert!(poll_once(&mut new.readable()).is_pending());
            green::sleep(MS);
            assert!(poll_once(&mut new.readable()).is_pending(), "of the old one, it became ready");
            numbers.push(new.as_raw_fd());
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert!(numbers.len() < 150, "the test is of use only when numbers come again");
    });
}

// Trap: several tasks on one direction of a socket.

#[test]
fn readers_of_one_socket_are_served_in_the_order_in_which_they_came() {
    let log = Log::new();
    virtually_strictly(|| {
        let (ours, theirs) = half_pair();
        let ours = Arc::new(ours);
        let readers: Vec<_> = (0..6)
            .map(|n| {
                let (ours, log) = (ours.clone(), log.clone());
                green::spawn(move || {
                    let mut byte = [0];
                    (&*ours).read_exact(&mut byte).unwrap();
                    log.push((n, byte[0]));
                })
            })
            .collect();
        for byte in 0..6 {
            green::sleep(MS);
            send(&theirs, &[byte]);
        }
        readers.into_iter().for_each(join);
    });
    assert_eq!(log.take(), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
}

/// Accepts for ever, and logs `name` for each connection.
fn accepts(listener: &Arc<TcpListener>, log: &Log<usize>, name: usize) -> JoinHandle<()> {
    let (listener, log) = (listener.clone(), log.clone());
    match name % 3 {
        0 => generator::spawn(move |y| {
            loop {
                match listener.try_accept() {
                    Ok(_) => log.push(name),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        y.wait(listener.readable()).unwrap();
                    }
                    Err(e) => panic!("{e}"),
                }
            }
        }),
        1 => green::spawn(move || {
            for stream in listener.incoming() {
                stream.unwrap();
                log.push(name);
            }
        }),
        _ => future::spawn(async move {
            loop {
                listener.accepting().await.unwrap();
                log.push(name);
            }
        }),
    }
}

#[test]
fn connections_go_to_acceptors_in_the_order_in_which_they_came_to_wait() {
    let log = Log::new();
    virtually_strictly(|| {
        let (listener, address) = listener();
        let listener = Arc::new(listener);
        let acceptors = [0, 1, 2].map(|name| accepts(&listener, &log, name));
        for _ in 0..9 {
            green::sleep(MS);
            drop(net::TcpStream::connect(address).unwrap());
        }
        green::sleep(MS);
        acceptors.iter().for_each(JoinHandle::cancel);
    });
    assert_eq!(log.take(), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

#[test]
fn no_acceptor_of_a_listener_starves() {
    let log = Log::new();
    virtually(|| {
        let (listener, address) = listener();
        let listener = Arc::new(listener);
        let acceptors = [0, 1, 2, 3, 4, 5].map(|name| accepts(&listener, &log, name));
        for _ in 0..60 {
            green::sleep(MS);
            drop(net::TcpStream::connect(address).unwrap());
        }
        green::sleep(MS);
        acceptors.iter().for_each(JoinHandle::cancel);
    });
    let accepted = log.take();
    assert_eq!(accepted.len(), 60);
    for name in 0..6 {
        let count = accepted.iter().filter(|&&accepted| accepted == name).count();
        assert!(count >= 3, "acceptor {name} got {count} of 60");
    }
}

#[test]
fn acceptors_inside_of_combinators_are_all_served() {
    virtually(|| {
        let (listener, address) = listener();
        let listener = Arc::new(listener);
        // Each has a waker of its own, and stops at its first connection.
        let acceptors: Vec<_> = (0..3)
            .map(|_| {
                let listener = listener.clone();
                future::spawn(async move {
                    let accepting = listener.accepting();
                    let mut unordered: FuturesUnordered<_> = [accepting].into_iter().collect();
                    drop(unordered.next().await.unwrap().unwrap());
                })
            })
            .collect();
        green::sleep(MS);
        let clients: Vec<_> = (0..3).map(|_| net::TcpStream::connect(address).unwrap()).collect();
        let served = green::wait(timeout(HOUR, gather(acceptors)));
        assert!(served.is_ok(), "an acceptor was forgotten, and a connection lies in the backlog");
        drop(clients);
    });
}

#[test]
fn acceptors_inside_of_one_combinator_are_all_served() {
    virtually(|| {
        in_each_era(|| {
            let (listener, address) = listener();
            let clients = green::spawn(move || {
                for _ in 0..3 {
                    green::sleep(MS);
                    drop(net::TcpStream::connect(address).unwrap());
                }
            });
            async move {
                let mut accepting: FuturesUnordered<_> =
                    (0..3).map(|_| listener.accepting()).collect();
                for _ in 0..3 {
                    let accepted = timeout(HOUR, accepting.next()).await;
                    accepted.expect("it was forgotten").unwrap().unwrap();
                }
                clients.await.unwrap();
            }
        });
    });
}

/// Two wait to read. Something comes, the first is woken; but before its turn it loses interest.
fn second_reader_gets_what_the_first_leaves(
    first: impl FnOnce(Arc<TcpStream>, oneshot::Receiver<()>) -> JoinHandle<()>,
) {
    virtually_strictly(|| {
        let (alarm, ring) = half_pair();
        let (ours, theirs) = half_pair();
        let ours = Arc::new(ours);
        let (stop, stopped) = oneshot::channel();
        let first = first(ours.clone(), stopped);
        let second = green::spawn(move || {
            let read = timeout(HOUR, async { ours.readable().await.unwrap() });
            let _ = green::wait(read); // the time may be over
            (now(), (&*ours).read(&mut [0]).unwrap())
        });
        // Has its turn after the kernel has told of both sockets, and before those who wait for the second.
        let meddler = green::spawn(move || {
            (&alarm).read_exact(&mut [0]).unwrap();
            let _ = stop.send(()); // nobody may be interested
            first.cancel();
        });
        green::sleep(MS);
        let start = now();
        send(&ring, b"!");
        send(&theirs, b"x");
        join(meddler);
        let (end, bytes) = join(second);
        assert_eq!(bytes, 1);
        assert_eq!(end, start, "the news was lost with the first reader");
    });
}

#[test]
fn a_reader_that_is_cancelled_after_it_was_woken_lets_the_next_one_go() {
    second_reader_gets_what_the_first_leaves(|stream, _| {
        future::spawn(async move { stream.readable().await.unwrap() })
    });
}

#[test]
fn a_reader_that_is_dropped_in_a_select_after_it_was_woken_lets_the_next_one_go() {
    second_reader_gets_what_the_first_leaves(|stream, stopped| {
        future::spawn(async move {
            // `stopped` is asked first, and wins.
            drop(select(stopped, stream.readable()).await);
            std::future::pending::<()>().await;
        })
    });
}

#[test]
fn a_reader_inside_of_a_combinator_that_is_dropped_after_it_was_woken_lets_the_next_one_go() {
    second_reader_gets_what_the_first_leaves(|stream, stopped| {
        future::spawn(async move {
            let readable = [stream.readable()];
            let reads: FuturesUnordered<_> = readable.into_iter().collect();
            drop(select(stopped, reads.into_future()).await);
            std::future::pending::<()>().await;
        })
    });
}

#[test]
fn reading_and_writing_wait_in_separate_lines() {
    bounded(|| {
        const BYTES: usize = 8 << 20;
        let (ours, mut theirs) = half_pair();
        let ours = Arc::new(ours);
        let reader = {
            let ours = ours.clone();
            green::spawn(move || (&*ours).read(&mut [0]).unwrap())
        };
        let writer = {
            let ours = ours.clone();
            green::spawn(move || (&*ours).write_all(&vec![b'x'; BYTES]).unwrap())
        };
        settle();
        assert!(!writer.is_finished(), "more than fits in the kernel's buffers");
        let thread = thread::spawn(move || {
            theirs.read_exact(&mut vec![0; BYTES]).unwrap();
            theirs
        });
        join(writer);
        assert!(!reader.is_finished(), "nobody has written to it");
        send(&thread.join().unwrap(), b"x");
        assert_eq!(join(reader), 1);
    });
}

// Trap: "a short read means drained" loses the end of the stream.

#[test]
fn data_and_the_end_that_come_together_both_arrive() {
    for is_known in [false, true] {
        bounded(|| {
            let new = || {
                let (ours, theirs) = half_pair();
                if is_known {
                    assert!(poll_once(&mut ours.readable()).is_pending());
                    settle();
                }
                send(&theirs, b"hello");
                drop(theirs);
                ours
            };
            let (a, mut b, mut c) = (new(), new(), new());
            let tasks = [
                generator::spawn(move |y| {
                    [(), ()].map(|()| {
                        loop {
                            match a.try_read(&mut [0; 64]) {
                                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                                    y.wait(a.readable()).unwrap();
                                }
                                result => break result.unwrap(),
                            }
                        }
                    })
                }),
                green::spawn(move || [(), ()].map(|()| b.read(&mut [0; 64]).unwrap())),
                future::spawn(async move {
                    use futures_lite::AsyncReadExt;
                    let first = AsyncReadExt::read(&mut c, &mut [0; 64]).await.unwrap();
                    c.readable().await.unwrap(); // there is an end to read
                    [first, AsyncReadExt::read(&mut c, &mut [0; 64]).await.unwrap()]
                }),
            ];
            assert_eq!(tasks.map(join), [[5, 0]; 3]);
        });
    }
}

#[test]
fn an_end_that_comes_later_wakes_the_reader() {
    bounded(|| {
        let (mut ours, theirs) = half_pair();
        let reader = green::spawn(move || {
            let mut text = String::new();
            ours.read_to_string(&mut text).unwrap();
            text
        });
        for byte in [b"a", b"b", b"c"] {
            send(&theirs, byte);
            settle();
            green::sleep(MS);
        }
        assert!(!reader.is_finished());
        drop(theirs);
        assert_eq!(join(reader), "abc");
    });
}

#[test]
fn a_reset_reaches_reader_and_writer() {
    bounded(|| {
        let (ours, theirs) = half_pair();
        let ours = Arc::new(ours);
        let reader = {
            let ours = ours.clone();
            green::spawn(move || (&*ours).read(&mut [0]).unwrap_err().kind())
        };
        green::yield_now();
        let theirs = socket2::Socket::from(theirs);
        theirs.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(theirs);
        assert_eq!(join(reader), ErrorKind::ConnectionReset);
        assert_eq!((&*ours).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

// Trap: sockets on other threads.

#[test]
fn sockets_are_plain_data() {
    fn is_plain<T: Send + Sync + 'static>() {}
    is_plain::<TcpStream>();
    is_plain::<TcpListener>();
}

/// Says `text` and reads the same back, line by line; where it waits depends on who calls it.
fn converse(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    let mut buf = vec![0; text.len()];
    stream.read_exact(&mut buf).unwrap();
    assert_eq!(buf, text.as_bytes());
}

/// Our end of a connection whose other end gives back what it gets.
fn to_echo() -> TcpStream {
    let (ours, mut theirs) = half_pair();
    thread::spawn(move || io::copy(&mut theirs.try_clone().unwrap(), &mut theirs));
    ours
}

#[test]
fn a_socket_moves_between_threads_and_schedulers() {
    let stream = to_echo();
    converse(&stream, "on a thread without a scheduler");
    let stream = bounded(move || {
        converse(&stream, "in a run");
        join(future::spawn(async move {
            use futures_lite::{AsyncReadExt, AsyncWriteExt};
            AsyncWriteExt::write_all(&mut &stream, b"async").await.unwrap();
            AsyncReadExt::read_exact(&mut &stream, &mut [0; 5]).await.unwrap();
            stream
        }))
    });
    let stream = on_a_thread(move || {
        converse(&stream, "on another thread");
        bounded(move || {
            converse(&stream, "in another thread's run");
            stream
        })
    });
    converse(&stream, "and back");
    bounded(move || {
        converse(&stream, "in a second run");
        on_a_thread(move || drop(stream));
    });
}

#[test]
fn in_a_run_but_outside_of_its_tasks_a_socket_blocks_the_thread() {
    let runtime = Builder::new().build().unwrap();
    let stream = to_echo();
    runtime.enter(|| converse(&stream, "as std's does"));
    drop(runtime);
    converse(&stream, "still");
}

#[test]
fn two_schedulers_read_one_socket() {
    const BYTES: usize = 1 << 20;
    let (ours, theirs) = half_pair();
    let ours = Arc::new(ours);
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let ours = ours.clone();
            thread::spawn(move || {
                bounded(|| {
                    let tasks = (0..3).map(|_| {
                        let ours = ours.clone();
                        green::spawn(move || {
                            let mut sum = 0;
                            loop {
                                match (&*ours).read(&mut [0; 4096]).unwrap() {
                                    0 => return sum,
                                    bytes => sum += bytes,
                                }
                            }
                        })
                    });
                    green::wait(gather(tasks)).into_iter().map(Result::unwrap).sum::<usize>()
                })
            })
        })
        .collect();
    for chunk in vec![b'x'; BYTES].chunks(1000) {
        send(&theirs, chunk);
    }
    drop(theirs);
    let read: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    assert_eq!(read, BYTES);
}

#[test]
fn a_socket_used_here_may_be_closed_there() {
    bounded(|| {
        for _ in 0..200 {
            let stream = to_echo();
            converse(&stream, "here");
            on_a_thread(move || drop(stream));
        }
        converse(&to_echo(), "and still");
    });
}

/// Sleeps and waits for sockets are numbered per scheduler: a number of the one means nothing to the other.
#[test]
fn a_sleep_of_one_run_that_is_dropped_in_another_leaves_its_timers_alone() {
    let (a, b) = [(); 2].map(|()| Builder::new().virtual_clock().build().unwrap()).into();
    let waker = Waker::from(Arc::new(Meddler)); // any that is nobody's own
    let mut stray = Box::pin(sleeping(HOUR));
    a.enter(|| assert!(stray.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()));
    let sleeper = b.enter(|| green::spawn(|| green::sleep(MS)));
    let busy = b.enter(|| {
        green::spawn(|| {
            loop {
                green::yield_now();
            }
        })
    }); // holds the clock
    assert!(b.turn() && b.turn());
    b.enter(|| drop(stray));
    b.enter(|| busy.cancel());
    let mut turns = 0;
    while turns < 100 && b.turn() {
        turns += 1;
    }
    assert!(sleeper.is_finished(), "its timer was taken away");
}

#[test]
fn a_wait_of_one_run_that_is_dropped_in_another_leaves_its_sockets_alone() {
    let (a, b) = [(); 2].map(|()| Builder::new().build().unwrap()).into();
    let waker = Waker::from(Arc::new(Meddler));
    let (ours_a, _theirs_a) = half_pair();
    let mut stray = Box::pin(ours_a.readable());
    a.enter(|| assert!(stray.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()));
    let (ours_b, theirs_b) = half_pair();
    let reader = b.enter(|| green::spawn(move || (&ours_b).read(&mut [0]).unwrap()));
    while b.turn() {}
    b.enter(|| drop(stray));
    send(&theirs_b, b"x");
    let mut turns = 0;
    while turns < 100 && b.turn() {
        turns += 1;
    }
    assert!(reader.is_finished(), "its place in the line was taken away");
}

#[test]
fn a_socket_that_outlives_many_runs_keeps_nothing_of_theirs() {
    let ended = in_child_in_order(|| {
        let open = || fs::read_dir("/proc/self/fd").unwrap().count();
        let (listener, address) = listener();
        let meet = || {
            Builder::new().run(|| {
                let client = green::spawn(move || TcpStream::connect(address).unwrap());
                let (server, _) = listener.accept().unwrap();
                drop((join(client), server));
            });
        };
        meet();
        let before = open();
        for _ in 0..100 {
            meet();
        }
        assert!(open() <= before, "{} more descriptors are open after 100 runs", open() - before);
    });
    ended.assert_fine();
}

// Trap: `O_NONBLOCK` is shared by duplicated descriptors.

fn is_nonblocking(fd: RawFd) -> bool {
    // SAFETY: asking for a descriptor's flags touches no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    assert!(flags >= 0, "{}", io::Error::last_os_error());
    flags & libc::O_NONBLOCK != 0
}

#[test]
fn a_stream_that_becomes_stds_again_blocks_again() {
    let (ours, theirs) = half_pair();
    let duplicate = ours.try_clone().unwrap();
    assert!(is_nonblocking(ours.as_raw_fd()) && is_nonblocking(duplicate.as_raw_fd()));
    bounded(|| assert!(poll_once(&mut ours.readable()).is_pending())); // it was watched, too
    let mut std = ours.into_std().unwrap();
    assert!(!is_nonblocking(std.as_raw_fd()));
    let reader = thread::spawn(move || std.read(&mut [0; 8]).unwrap());
    send(&theirs, b"hello");
    assert_eq!(reader.join().unwrap(), 5);
}

#[test]
fn a_listener_that_becomes_stds_again_blocks_again() {
    let (listener, address) = listener();
    assert!(is_nonblocking(listener.as_raw_fd()));
    let std = listener.into_std().unwrap();
    assert!(!is_nonblocking(std.as_raw_fd()));
    let acceptor = thread::spawn(move || std.accept().unwrap().0);
    drop(net::TcpStream::connect(address).unwrap());
    assert_eq!(acceptor.join().unwrap().read(&mut [0]).unwrap(), 0);
}

#[test]
fn standard_input_is_left_as_it_was() {
    let before = is_nonblocking(0);
    bounded(|| {
        green::wait(offload(|| ()));
        green::sleep(MS);
    });
    assert_eq!(is_nonblocking(0), before);
}

// Trap: `fork` in a process with a scheduler.

/// What a forked-off copy of this process says with its exit status.
fn status_of(pid: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: `status` is ours, for as long as the call lasts.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid, "{}", io::Error::last_os_error());
    libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
}

/// Forks inside of a run. The copy does `in_copy` and then tries to go on, which has to abort it: its run cannot be
/// left while the root's frames exist. The original's run goes on to its end.
fn fork_in_a_run(in_copy: fn()) {
    let status = Builder::new().run(|| {
        let before = green::spawn(|| green::sleep(2 * MS));
        green::sleep(MS);
        // SAFETY: the copy only computes, writes to standard error, and aborts.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        if pid == 0 {
            in_copy();
        }
        green::yield_now();
        join(before);
        pid
    });
    let mut wait_status = 0;
    // SAFETY: the status is ours, for as long as the call lasts.
    assert_eq!(unsafe { libc::waitpid(status, &raw mut wait_status, 0) }, status);
    assert!(libc::WIFSIGNALED(wait_status), "{wait_status}");
    assert_eq!(libc::WTERMSIG(wait_status), libc::SIGABRT);
}

#[test]
fn a_forked_off_copy_of_a_scheduler_refuses_to_go_on() {
    let ended = in_child_in_order(|| {
        fork_in_a_run(|| ());
        // The original goes on, also with another run.
        bounded(|| green::sleep(MS));
    });
    let text = &ended.stderr;
    ended.assert_fine();
    assert!(text.contains("Call exec, or `_exit`, in the child"), "what to do: {text}");
}

#[test]
fn a_copy_that_has_run_something_of_its_own_still_may_not_go_on_with_the_originals() {
    let ended = in_child_in_order(|| {
        fork_in_a_run(|| on_a_thread(|| Builder::new().run(|| green::sleep(MS))));
    });
    ended.assert_fine();
}

/// As a server does that forks: the copy closes what it does not need. The queue of events is still shared.
#[test]
fn a_forked_off_copy_that_closes_a_socket_takes_no_event_from_the_original() {
    let ended = in_child_in_order(|| {
        bounded(|| {
            let (ours, theirs) = after_a_short_read();
            // SAFETY: the copy closes a socket, and leaves by `_exit`.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                drop(ours);
                // SAFETY: ends this process, and nothing of the original's.
                unsafe { libc::_exit(7) };
            }
            assert_eq!(status_of(pid), Some(7));
            let reader = green::spawn(move || (&ours).read(&mut [0; 64]).unwrap());
            settle();
            send(&theirs, b"y");
            assert_eq!(join(reader), 1);
        });
    });
    ended.assert_fine();
}

#[test]
fn a_forked_off_process_may_run_something_of_its_own() {
    let ended = in_child_in_order(|| {
        bounded(|| green::sleep(MS));
        // SAFETY: the copy only does what follows, and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            bounded(|| green::sleep(MS));
            // SAFETY: ends this process, and nothing of the original's.
            unsafe { libc::_exit(7) };
        }
        assert_eq!(status_of(pid), Some(7));
        bounded(|| green::sleep(MS));
    });
    ended.assert_fine();
}

// The traps of ureq.

#[cfg(feature = "ureq")]
mod ureqs {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use ureq::{Agent, Error, Proxy};
    use wouldblock::http::agent_with;

    /// A server that answers each request with `hello`, keeps connections open, and counts them.
    fn server() -> (net::SocketAddr, Arc<AtomicUsize>) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || answer(&stream.unwrap()));
            }
        });
        (address, connections)
    }

    fn answer(mut stream: &net::TcpStream) {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if line == b"\r" {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
            }
        }
    }

    fn get(agent: &Agent, url: &str) -> Result<String, Error> {
        agent.get(url).call()?.body_mut().read_to_string()
    }

    /// ureq asks its idle connections whether they are open, and drops those that are not, with its pool
    /// locked by a std mutex: a suspension in there would stop the thread.
    #[test]
    fn the_pool_is_used_by_many_tasks_at_once() {
        bounded(|| {
            let (address, connections) = server();
            let url = format!("http://{address}/");
            let config = Agent::config_builder().proxy(None);
            let agent = agent_with(config.max_idle_connections_per_host(5).build());
            let tasks = (0..20).map(|_| {
                let (agent, url) = (agent.clone(), url.clone());
                green::spawn(move || {
                    for _ in 0..10 {
                        assert_eq!(get(&agent, &url).unwrap(), "hello");
                    }
                })
            });
            green::wait(gather(tasks)).into_iter().for_each(Result::unwrap);
            assert!(connections.load(Ordering::Relaxed) < 200, "connections are used again");
        });
    }

    #[test]
    fn the_pool_is_asked_also_by_a_task_that_has_had_its_share() {
        bounded(|| {
            let (address, connections) = server();
            let url = format!("http://{address}/");
            let agent = agent_with(Agent::config_builder().proxy(None).build());
            assert_eq!(get(&agent, &url).unwrap(), "hello");
            let (ours, theirs) = half_pair();
            send(&theirs, &[b'x'; 1000]);
            green::sleep(MS);
            while ours.try_read(&mut [0]).is_ok() {} // until its turn's share is spent
            assert_eq!(get(&agent, &url).unwrap(), "hello");
            assert_eq!(connections.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn a_proxy_that_speaks_socks_is_refused_and_not_passed_by() {
        bounded(|| {
            for scheme in ["socks4", "socks4a", "socks5", "socks"] {
                let (address, connections) = server();
                let (proxy, asked) = server();
                let proxy = Proxy::new(&format!("{scheme}://{proxy}")).unwrap();
                let agent = agent_with(Agent::config_builder().proxy(Some(proxy)).build());
                let error = get(&agent, &format!("http://{address}/")).unwrap_err();
                assert!(error.to_string().contains("SOCKS, which is not supported"), "{error}");
                assert_eq!(connections.load(Ordering::Relaxed), 0, "connected directly");
                assert_eq!(asked.load(Ordering::Relaxed), 0);
            }
        });
    }
}
