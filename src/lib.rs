//! One thread. Many coroutines. Three eras of waiting, one API.
//!
//! `wouldblock` runs straight-line, blocking-style Rust by the thousand on one thread. A coroutine reads a non-blocking
//! socket; when the operating system answers `WouldBlock`, it records what it waits for and gives up its turn, with its
//! stack as it is; a round-robin scheduler resumes it there when the socket is ready. Code that was written for
//! blocking sockets, [`ureq`](mod@http) for one, needs no change and no `async`.
//!
//! ```
//! use wouldblock::green;
//!
//! wouldblock::run(|| {
//!     for name in ["ann", "bob"] {
//!         drop(green::spawn(move || {
//!             for step in 1..=2 {
//!                 println!("{name} {step}");
//!                 green::yield_now();
//!             }
//!         }));
//!     }
//!     println!("both are queued");
//!     for _ in 0..3 {
//!         green::yield_now();
//!     }
//! });
//! ```
//!
//! ```text
//! both are queued
//! ann 1
//! bob 1
//! ann 2
//! bob 2
//! ```
//!
//! To step through this program, turn by turn, run `cargo run --example two_tasks` and open the page that it writes,
//! `two_tasks.html`, in a browser. [`timeline::html`](timeline::html()) makes such a page of any run.
//!
//! # Three eras, side by side
//!
//! Python went from `yield` generators (2.5) to gevent's greenlets to async/await (3.5). Here, all three run on one
//! scheduler, and differ in nothing but the verb that waits. What is waited for is an *operation*: a future that
//! describes it, such as [`time::sleeping`], a socket's [`readable`](net::TcpStream::readable), a [`JoinHandle`] or
//! [`offload()`].
//!
//! | | [`generator`] (Python 2) | [`green`] (gevent) | [`future`] (async/await) |
//! |---|---|---|---|
//! | the verb | `y.wait(op)` | `wait(op)` | `op.await` |
//! | where the yield shows | in the caller: `resume` returns a [`Wait`] | nowhere | in the `async` in each signature |
//! | call a function that waits | `y.yield_from(sub)` | call it | `.await` it |
//! | start a task | `generator::spawn(\|y\| ..)` | `green::spawn(\|\| ..)` | `future::spawn(async { .. })` |
//! | wait for a task | `y.wait(handle)` | `handle.join()` | `handle.await` |
//! | one task, by many | `y.wait(shared.joining())` | `shared.join()` ([`share`](group::share())) | `shared.joining().await` |
//! | wait for many | `y.wait(gather(handles))` | `wait(gather(handles))` | `gather(handles).await` |
//! | for all, or an error | `y.wait(try_gather(handles))` | `wait(try_gather(handles))` | `try_gather(handles).await` |
//! | for the first | `y.wait(race(handles))` | `wait(race(handles))` | `race(handles).await` |
//! | for each as it ends | `y.wait(all.next_result())` | `for result in as_completed(handles)` | `all.next_result().await` |
//! | fail together | `y.wait(Group::running(async \|g\| ..))` | `Group::run(\|g\| ..)` | `Group::running(async \|g\| ..).await` |
//! | so many at a time | `y.wait(pool.reserving()).spawn_generator(\|y\| ..)` | `pool.reserve().spawn(\|\| ..)` | `pool.reserving().await.spawn_future(async { .. })` |
//! | each input of many | `y.wait(imap.next_result())` | `for result in pool.imap(inputs, f)` | `imap.next_result().await` |
//! | let the others run | `y.yield_now()` | `yield_now()` | `yield_now().await` |
//! | sleep | `y.wait(time::sleeping(d))` | `green::sleep(d)` | `time::sleeping(d).await` |
//! | connect | `y.wait(TcpStream::connecting(a))` | `TcpStream::connect(a)` | `TcpStream::connecting(a).await` |
//! | read a socket | `try_read`; `y.wait(s.readable())` on `WouldBlock` | `s.read(buf)` ([`std::io::Read`]) | `s.read(buf).await` ([`futures_io::AsyncRead`]) |
//! | tick | `y.wait(ticks.ticking())` | `ticks.tick()` ([`time::interval`]) | `ticks.ticking().await` |
//! | drop a silent peer | `y.wait(timeout(d, s.readable()))` | `s.set_read_timeout(Some(d))` ([half lines](net#silent-peers-and-half-lines)) | `timeout(d, s.readable()).await` |
//! | time limit | `y.wait(timeout(d, op))` | `green::timeout(d, \|\| ..)` | `timeout(d, op).await` |
//! | cancel a part of a task | `y.wait(scope.running(op))` | `scope.run(\|\| ..)` ([`CancelScope`]) | `scope.running(op).await` |
//! | read a file | `y.wait(offload(\|\| std::fs::read(p)))` | `fs::read(p)` | `offload(\|\| std::fs::read(p)).await` |
//! | blocking work | `y.wait(offload(f))` | `wait(offload(f))` | `offload(f).await` |
//! | run a program | `y.wait(command.collecting_output())` | `command.output()` ([`process`]) | `command.collecting_output().await` |
//! | receive a signal | `y.wait(signals.receiving())` | `signals.recv()` ([`signal`]) | `signals.receiving().await` |
//! | a blocking thing of its own thread | `y.wait(database.calling(\|db\| ..))` | `database.with(\|db\| ..)` ([`Blocking`]) | `database.calling(\|db\| ..).await` |
//! | take a lock | `y.wait(mutex.locking())` | `mutex.lock()` ([`sync`]) | `mutex.locking().await` |
//! | get a message | `y.wait(receiver.receiving())` | `receiver.recv()` | `receiver.receiving().await` |
//! | the latest value | `y.wait(watch.receiving())` | `watch.recv()` ([`sync::watch`]) | `watch.receiving().await` |
//! | each item, for many | `y.wait(feed.receiving())` | `feed.recv()` ([`sync::broadcast`]) | `feed.receiving().await` |
//! | the first of two | `y.wait(select(a, b))` | `wait(select(a, b))` | `select(a, b).await` |
//! | of three | `y.wait(select(a, select(b, c)))` | `wait(select(a, select(b, c)))` | `select(a, select(b, c)).await` |
//! | the first of many | `y.wait(select_all(ops))` | `wait(select_all(ops))` | `select_all(ops).await` |
//! | both of two | `y.wait(join(a, b))` | `wait(join(a, b))` | `join(a, b).await` |
//! | tasks that borrow | | `green::scope(\|s\| ..)` | `future::scope(async \|s\| ..)` |
//! | tasks that borrow and fail together | | `green::try_scope(\|s\| ..)` | `future::try_scope(async \|s\| ..)` |
//! | cancel: `handle.cancel()` | the generator is closed | the stack unwinds | the future is dropped |
//!
//! The table again, as three programs that do the same:
//!
//! ```
//! # use std::{io, io::ErrorKind::WouldBlock, net::SocketAddr, time::Duration};
//! # use wouldblock::{generator::{self, Generator, Yielder}, green, group::gather, net::{TcpListener, TcpStream}};
//! # use wouldblock::{CancelScope, JoinError, Wait, group::{Group, Pool, race, share}, offload, process::Command, signal::{self, Signals}};
//! # use wouldblock::{op::{Either, join, select, select_all, timeout}, sync::{Mutex, broadcast, channel, watch}, time::sleeping};
//! # const MS: Duration = Duration::from_millis(1);
//! # const MINUTE: Duration = Duration::from_secs(60);
//! # fn greeter() -> io::Result<SocketAddr> {
//! #     let listener = TcpListener::bind("127.0.0.1:0")?;
//! #     let address = listener.local_addr()?;
//! #     drop(green::spawn(move || for s in listener.incoming() {
//! #         std::io::Write::write_all(&mut s.unwrap(), b"hello").unwrap();
//! #     }));
//! #     Ok(address)
//! # }
//! // Python 2: every wait is yielded, by hand, through every function on the way
//! fn greeting(address: SocketAddr) -> Generator<Wait, (), io::Result<usize>> {
//!     Generator::new(move |y: &Yielder<Wait>| {
//!         let stream = y.wait(TcpStream::connecting(address))?;
//!         let mut buf = [0; 64];
//!         loop {
//!             match stream.try_read(&mut buf) {
//!                 Err(e) if e.kind() == WouldBlock => y.wait(timeout(MINUTE, stream.readable()))??,
//!                 result => return result,
//!             }
//!         }
//!     })
//! }
//!
//! wouldblock::run(|| {
//!     # let address = greeter().unwrap();
//!     let task = generator::spawn(move |y| {
//!         assert_eq!(y.yield_from(greeting(address)).unwrap(), 5);
//!         y.yield_now();
//!         y.wait(sleeping(MS));
//!         assert!(y.wait(timeout(MS, sleeping(60_000 * MS))).is_err());
//!         assert!(y.wait(offload(|| std::fs::read("Cargo.toml"))).is_ok());
//!         assert_eq!(y.wait(offload(|| 6 * 7)), 42);
//!         assert!(y.wait(Command::new("true").collecting_output()).unwrap().status.success());
//!         let mut signals = Signals::new([signal::SIGUSR2]).unwrap();
//!         assert!(y.wait(timeout(MS, signals.receiving())).is_err());
//!         let (mutex, (sender, receiver)) = (Mutex::new(6), channel::bounded(1));
//!         y.wait(sender.sending(*y.wait(mutex.locking()))).unwrap();
//!         assert_eq!(y.wait(receiver.receiving()), Ok(6));
//!         let ((state, mut watch), (all, mut feed)) = (watch::channel(1), broadcast::channel(1));
//!         state.send(2);
//!         all.send(3);
//!         assert_eq!((y.wait(watch.receiving()), y.wait(feed.receiving())), (Ok(2), Ok(3)));
//!         let shared = share(generator::spawn(|_| 4));
//!         assert_eq!(*y.wait(shared.joining()).as_ref().unwrap(), 4);
//!         let scope = CancelScope::after(MS);
//!         assert!(y.wait(scope.running(sleeping(60_000 * MS))).is_none());
//!         assert_eq!(y.wait(select(receiver.receiving(), sleeping(MS))), Either::Second(()));
//!         let three = y.wait(select(receiver.receiving(), select(sleeping(MS), sleeping(MINUTE))));
//!         assert_eq!(three, Either::Second(Either::First(())));
//!         assert_eq!(y.wait(select_all([sleeping(MS), sleeping(MINUTE)])).0, 0);
//!         assert_eq!(y.wait(join(sleeping(MS), async { 7 })), ((), 7));
//!         let tasks = (0..3).map(|n| generator::spawn(move |_| n));
//!         assert!(y.wait(race(tasks)).unwrap() < 3);
//!         let group = Group::running(async |g| Ok::<_, JoinError>(g.spawn_generator(|_| Ok(1))));
//!         assert_eq!(y.wait(y.wait(group).unwrap()).unwrap(), 1);
//!         let pool = Pool::new(2);
//!         let task = y.wait(pool.reserving()).spawn_generator(|_| "in a pool");
//!         assert_eq!(y.wait(task).unwrap(), "in a pool");
//!         assert_eq!(y.wait(pool.imap(7.., |n| n * n).next_result()).unwrap().unwrap(), 49);
//!         let tasks = (0..3).map(|n| generator::spawn(move |_| n));
//!         y.wait(gather(tasks)).into_iter().map(Result::unwrap).sum::<i32>()
//!     });
//!     assert_eq!(task.join().unwrap(), 3);
//!     let endless = generator::spawn(|y| loop { y.yield_now() });
//!     endless.cancel();
//!     assert!(endless.join().unwrap_err().is_cancelled());
//! });
//! ```
//!
//! ```
//! # use std::{io, net::SocketAddr, time::Duration};
//! # use wouldblock::{fs, green, group::gather, net::{TcpListener, TcpStream}};
//! # use wouldblock::{CancelScope, JoinError, Wait, group::{Group, Pool, race, share}, offload, process::Command, signal::{self, Signals}};
//! # use wouldblock::{op::{Either, join, select, select_all, timeout}, sync::{Mutex, broadcast, channel, watch}, time::sleeping};
//! # const MS: Duration = Duration::from_millis(1);
//! # const MINUTE: Duration = Duration::from_secs(60);
//! # fn greeter() -> io::Result<SocketAddr> {
//! #     let listener = TcpListener::bind("127.0.0.1:0")?;
//! #     let address = listener.local_addr()?;
//! #     drop(green::spawn(move || for s in listener.incoming() {
//! #         std::io::Write::write_all(&mut s.unwrap(), b"hello").unwrap();
//! #     }));
//! #     Ok(address)
//! # }
//! // gevent: plain code, that of std
//! use green::prelude::*;
//! fn greeting(address: SocketAddr) -> io::Result<usize> {
//!     let mut stream = TcpStream::connect(address)?;
//!     stream.set_read_timeout(Some(MINUTE))?;
//!     let mut buf = [0; 64];
//!     stream.read(&mut buf)
//! }
//!
//! wouldblock::run(|| {
//!     # let address = greeter().unwrap();
//!     let task = green::spawn(move || {
//!         assert_eq!(greeting(address).unwrap(), 5);
//!         yield_now();
//!         green::sleep(MS);
//!         assert!(green::timeout(MS, || green::sleep(60_000 * MS)).is_err());
//!         assert!(fs::read("Cargo.toml").is_ok());
//!         assert_eq!(wait(offload(|| 6 * 7)), 42);
//!         assert!(Command::new("true").output().unwrap().status.success());
//!         let mut signals = Signals::new([signal::SIGUSR2]).unwrap();
//!         assert!(green::timeout(MS, || signals.recv()).is_err());
//!         let (mutex, (sender, receiver)) = (Mutex::new(6), channel::bounded(1));
//!         sender.send(*mutex.lock()).unwrap();
//!         assert_eq!(receiver.recv(), Ok(6));
//!         let ((state, mut watch), (all, mut feed)) = (watch::channel(1), broadcast::channel(1));
//!         state.send(2);
//!         all.send(3);
//!         assert_eq!((watch.recv(), feed.recv()), (Ok(2), Ok(3)));
//!         let shared = share(green::spawn(|| 4));
//!         assert_eq!(*shared.join().as_ref().unwrap(), 4);
//!         let scope = CancelScope::after(MS);
//!         assert!(scope.run(|| green::sleep(60_000 * MS)).is_none());
//!         assert_eq!(wait(select(receiver.receiving(), sleeping(MS))), Either::Second(()));
//!         let three = wait(select(receiver.receiving(), select(sleeping(MS), sleeping(MINUTE))));
//!         assert_eq!(three, Either::Second(Either::First(())));
//!         assert_eq!(wait(select_all([sleeping(MS), sleeping(MINUTE)])).0, 0);
//!         assert_eq!(wait(join(sleeping(MS), async { 7 })), ((), 7));
//!         let tasks = (0..3).map(|n| green::spawn(move || n));
//!         assert!(wait(race(tasks)).unwrap() < 3);
//!         let group = Group::run(|g| Ok::<_, JoinError>(g.spawn(|| Ok(1))));
//!         assert_eq!(group.unwrap().join().unwrap(), 1);
//!         let text = String::from("borrowed");
//!         let scope = green::try_scope(|s| Ok::<_, JoinError>(s.spawn(|| Ok(text.len())).join()?));
//!         assert_eq!(scope.unwrap(), green::scope(|s| s.spawn(|| text.len()).join()).unwrap());
//!         let pool = Pool::new(2);
//!         let task = pool.reserve().spawn(|| "in a pool");
//!         assert_eq!(task.join().unwrap(), "in a pool");
//!         assert_eq!(pool.imap(7.., |n| n * n).next().unwrap().unwrap(), 49);
//!         let tasks = (0..3).map(|n| green::spawn(move || n));
//!         wait(gather(tasks)).into_iter().map(Result::unwrap).sum::<i32>()
//!     });
//!     assert_eq!(task.join().unwrap(), 3);
//!     let endless = green::spawn(|| loop { yield_now() });
//!     endless.cancel();
//!     assert!(endless.join().unwrap_err().is_cancelled());
//! });
//! ```
//!
//! ```
//! # use std::{io, net::SocketAddr, time::Duration};
//! # use wouldblock::{future, green, group::gather, net::{TcpListener, TcpStream}};
//! # use wouldblock::{CancelScope, JoinError, Wait, group::{Group, Pool, race, share}, offload, process::Command, signal::{self, Signals}};
//! # use wouldblock::{op::{Either, join, select, select_all, timeout}, sync::{Mutex, broadcast, channel, watch}, time::sleeping};
//! # const MS: Duration = Duration::from_millis(1);
//! # const MINUTE: Duration = Duration::from_secs(60);
//! # fn greeter() -> io::Result<SocketAddr> {
//! #     let listener = TcpListener::bind("127.0.0.1:0")?;
//! #     let address = listener.local_addr()?;
//! #     drop(green::spawn(move || for s in listener.incoming() {
//! #         std::io::Write::write_all(&mut s.unwrap(), b"hello").unwrap();
//! #     }));
//! #     Ok(address)
//! # }
//! // async/await: the colour is part of each signature
//! use future::prelude::*;
//! async fn greeting(address: SocketAddr) -> io::Result<usize> {
//!     let mut stream = TcpStream::connecting(address).await?;
//!     timeout(MINUTE, stream.readable()).await??;
//!     let mut buf = [0; 64];
//!     stream.read(&mut buf).await
//! }
//!
//! wouldblock::run(|| {
//!     # let address = greeter().unwrap();
//!     let task = future::spawn(async move {
//!         assert_eq!(greeting(address).await.unwrap(), 5);
//!         yield_now().await;
//!         sleeping(MS).await;
//!         assert!(timeout(MS, sleeping(60_000 * MS)).await.is_err());
//!         assert!(offload(|| std::fs::read("Cargo.toml")).await.is_ok());
//!         assert_eq!(offload(|| 6 * 7).await, 42);
//!         assert!(Command::new("true").collecting_output().await.unwrap().status.success());
//!         let mut signals = Signals::new([signal::SIGUSR2]).unwrap();
//!         assert!(timeout(MS, signals.receiving()).await.is_err());
//!         let (mutex, (sender, receiver)) = (Mutex::new(6), channel::bounded(1));
//!         sender.sending(*mutex.locking().await).await.unwrap();
//!         assert_eq!(receiver.receiving().await, Ok(6));
//!         let ((state, mut watch), (all, mut feed)) = (watch::channel(1), broadcast::channel(1));
//!         state.send(2);
//!         all.send(3);
//!         assert_eq!((watch.receiving().await, feed.receiving().await), (Ok(2), Ok(3)));
//!         let shared = share(future::spawn(async { 4 }));
//!         assert_eq!(*shared.joining().await.as_ref().unwrap(), 4);
//!         let scope = CancelScope::after(MS);
//!         assert!(scope.running(sleeping(60_000 * MS)).await.is_none());
//!         assert_eq!(select(receiver.receiving(), sleeping(MS)).await, Either::Second(()));
//!         let three = select(receiver.receiving(), select(sleeping(MS), sleeping(MINUTE))).await;
//!         assert_eq!(three, Either::Second(Either::First(())));
//!         assert_eq!(select_all([sleeping(MS), sleeping(MINUTE)]).await.0, 0);
//!         assert_eq!(join(sleeping(MS), async { 7 }).await, ((), 7));
//!         let tasks = (0..3).map(|n| future::spawn(async move { n }));
//!         assert!(race(tasks).await.unwrap() < 3);
//!         let group = Group::running(async |g| Ok::<_, JoinError>(g.spawn_future(async { Ok(1) })));
//!         assert_eq!(group.await.unwrap().await.unwrap(), 1);
//!         let text = String::from("borrowed");
//!         let scope = future::try_scope(async |s| io::Result::Ok(s.spawn_future(async { Ok(text.len()) }).await));
//!         assert_eq!(scope.await.unwrap(), future::scope(async |s| s.spawn_future(async { text.len() }).await).await);
//!         let pool = Pool::new(2);
//!         let task = pool.reserving().await.spawn_future(async { "in a pool" });
//!         assert_eq!(task.await.unwrap(), "in a pool");
//!         assert_eq!(pool.imap(7.., |n| n * n).next_result().await.unwrap().unwrap(), 49);
//!         let tasks = (0..3).map(|n| future::spawn(async move { n }));
//!         gather(tasks).await.into_iter().map(Result::unwrap).sum::<i32>()
//!     });
//!     assert_eq!(task.join().unwrap(), 3);
//!     let endless = future::spawn(async { loop { yield_now().await } });
//!     endless.cancel();
//!     assert!(endless.join().unwrap_err().is_cancelled());
//! });
//! ```
//!
//! There is no colour to cross: a `JoinHandle` is the same for all three, a generator waits for a greenlet,
//! a greenlet for a future, and an `async fn` may call code that blocks the green way: it suspends its
//! task, not the thread.
//!
//! # How things are named
//!
//! A name says whether the call waits:
//!
//! | | | |
//! |---|---|---|
//! | `lock`, `recv`, `accept`, `connect`, `sleep`, `reserve` | the plain verb, std's where std has it | waits the green way, and returns the result |
//! | `locking`, `receiving`, `accepting`, `connecting`, `sleeping`, `reserving` | the verb in -ing | returns the operation, for `y.wait(..)` and `.await`; until then it does nothing |
//! | `try_lock`, `try_recv`, `try_accept`, `try_reserve` | `try_` and the verb | never waits |
//! | `lock_timeout`, `recv_timeout`, `connect_timeout` | the verb and `_timeout` | waits, but not longer; for an operation, it is [`op::timeout`] |
//!
//! These are operations without such a verb: the handle of something that has been started (a [`JoinHandle`], what
//! [`offload()`] returns, a [`oneshot`](sync::oneshot) receiver), a state (`stream.readable()`), a result
//! (`imap.next_result()`), and what is made of operations ([`op`]) or of tasks ([`group`]). `spawn`, `spawn_generator`
//! and `spawn_future` start a greenlet, a generator and a future, on everything that starts tasks, and never wait. The
//! modules [`generator`], [`green`] and [`future`] have the same names for the same things, each in its own form.
//! (Before what may fail by itself, `try_` has std's other meaning, that of `try_fold`: [`try_scope`](green::try_scope)
//! and [`try_gather`](group::try_gather()) end at the first error.)
//!
//! A user of tokio is caught by the first row: there, `lock` returns a future. Here, it has locked when it returns, in
//! an `async fn` too, which suspends its task; and the guard is nothing to await. This does not compile:
//!
//! ```compile_fail,E0277
//! # use wouldblock::{future, sync::Mutex};
//! # async fn add(mutex: &Mutex<u32>) {
//! *mutex.lock().await += 1; // error: `MutexGuard<'_, u32>` is not a future
//! # }
//! ```
//!
//! ```
//! # use wouldblock::{future, sync::Mutex};
//! # wouldblock::run(|| { let task = future::spawn(async {
//! # let mutex = Mutex::new(0);
//! *mutex.locking().await += 1; // the operation: this future waits for it, as for any
//! *mutex.lock() += 1; //          or the green call: the task waits in the middle of a poll
//! # assert_eq!(*mutex.lock(), 2);
//! # }); task.join().unwrap(); });
//! ```
//!
//! Both are right. The first can be given up (by [`op::select`], [`op::timeout`], futures of other crates that poll
//! several in turn), the second holds up the futures beside it in the same task. tokio's `time::sleep(d).await` is
//! [`time::sleeping`]`(d).await`.
//!
//! # How a turn runs
//!
//! 1. The scheduler takes the first task of its queue and resumes it.
//! 2. The task's code runs, on a stack, until an operation is not ready. The operation leaves a
//!    recorded [`Wait`]: a socket, a time, a turn, the end of a task, a wake.
//! 3. The task suspends: its stack, or its future, stays as it is, and the thread goes back to the scheduler.
//! 4. The scheduler registers the task for its `Wait`, with the operating system's event queue or among the timers,
//!    and takes the next task. When no task is ready, the thread sleeps until a socket is, or the next time has come.
//! 5. Whatever ends the wait puts the task at the back of the queue; when its turn comes, it goes on at 2.
//!
//! That is the whole of it. [The guide](guide) tells it in eleven chapters, from `yield` on, with a program under
//! each claim. The source is meant to be read, in this order: `src/kernel/`, `run/` up to `may_wait`, the `eras/`
//! (`generator`, `green` and `future` side by side), then `run/root.rs` and `run/handle.rs`. Each `mod.rs` lists its
//! files.
//!
//! # With other crates
//!
//! Code over [`std::io::Read`] and [`Write`](std::io::Write) on a stream that it is given works as it is, and so does a
//! future of any library. What gives one item after the other (receivers, listeners, [`Imap`](group::Imap), ticks,
//! signals) has `into_stream`, for the combinators over futures-core's streams. [`io::Descriptor`] waits for what a C
//! library reads; [`Blocking`] gives a client that blocks a thread of its own; the features `hyper`, `tokio` and
//! `tracing` are below. The folder `recipes` of the repository has a table "Can I use …?", from axum and PostgreSQL to
//! tracing, each row with a recipe that is a test.
//!
//! # When something goes wrong
//!
//! An error is written for a person who reads it at two in the morning: what happened, to which task, what to do.
//!
//! * **A deadlock.** When no task is ready, asleep, or waiting for a socket or for [`offload()`]ed work, and
//!   no code keeps a waker, [`run()`] panics with a report ([`Builder::try_run`] returns it):
//!
//!   ```text
//!   deadlock: 3 tasks wait, and nothing can wake any of them
//!     task 1 "root" (green, spawned at src/main.rs:6:18) waits to be woken, at src/main.rs:13:9
//!     task 2 "ann" (green, spawned at src/main.rs:9:49) waits for task 3, at src/main.rs:20:34
//!     task 3 "bob" (green, spawned at src/main.rs:10:49) waits for task 2, at src/main.rs:20:34
//!     cycle: task 2 → task 3 → task 2
//!   ```
//!
//!   A program that listens, or sleeps in a loop, can always go on, so that it gets no such report of the tasks that
//!   cannot: ask it for its [table of tasks](Builder::tasks_on_signal), which names the holder of each lock.
//!
//! Where the program has no logger, the crate's warnings and errors go to standard error, each beginning with
//! `wouldblock: `. A logger gets them under the target `wouldblock`. One that takes errors only (`env_logger` without
//! `RUST_LOG`) gets those of which the program may hang as errors.
//!
//! * **Perhaps a deadlock.** Where a waker is kept, on this thread or another, the same report is logged once,
//!   as a warning, after ten seconds in which nothing moved ([`Builder::deadlock_warning`] sets another time, or
//!   turns it off):
//!
//!   ```text
//!   deadlock? For 10 s, nothing has moved: 1 task waits for code that keeps a waker, which may be one of them
//!   ```
//!
//! * **A stack overflow** names the task and what to change, and aborts:
//!
//!   ```text
//!   wouldblock: stack overflow in task 2 "parse" (green, spawned at src/main.rs:14:24), on a stack of 262144
//!   bytes, the default (1 MiB in a debug build, 256 KiB in a release build). Give it more with
//!   `task::Builder::stack_size`, or all tasks with `Builder::stack_size`; or recurse less deeply, and box large
//!   locals.
//!   ```
//!
//!   A local variable of 300 KiB thus overflows the default stack in a release build only.
//!
//! * **A panic** comes out of [`join`](JoinHandle::join). One whose handle is dropped is logged then, as an error:
//!
//!   ```text
//!   task 2 "fetch" (green, spawned at src/main.rs:15:24) panicked: index out of bounds: the len is 0 but the
//!   index is 3, and no task joined it to get the error
//!   ```
//!
//! * **A wait in a destructor while a stack unwinds** would leave the thread panicking for every other task.
//!   It aborts; [`green::finally`] is for cleanup that waits:
//!
//!   ```text
//!   wouldblock: task 2 "saver" (green, spawned at src/main.rs:16:24) has to wait in a destructor while its
//!   stack unwinds, or in a panic hook, which would leave the thread panicking for all other tasks; aborting.
//!   Do not wait in `drop`; use `green::finally`. In a panic hook, use std's locks and calls, which block the
//!   thread.
//!   ```
//!
//!   A wait for a socket blocks the thread instead, as std's does; so it does in a panic hook: see [`net`].
//!
//! * **A root that cannot end** keeps [`run()`] from returning, since it may borrow from the caller: where its cleanup
//!   waits for ever at the end of a run, or swallows each cancellation, the process aborts, after the report of what
//!   still waits. Other tasks whose cleanup waits for what never comes are abandoned with an error in the log, and
//!   their stacks are leaked; one that sleeps or yields for ever keeps the run.
//!
//! * **A task that never obeys**: one that has caught its cancellation, or one time limit, a thousand times and
//!   waited again is in a loop that would never end; the process aborts and names it. At the end of a run, the task
//!   is abandoned instead.
//!
//! These aborts are all there are, besides two that show a bug of this crate.
//!
//! # Variables of the environment
//!
//! | | what it does | without it |
//! |---|---|---|
//! | `WOULDBLOCK_SEED=7` | [`run()`], and each [`Builder`] that sets no order, gives turns in an order that 7 determines; [`testing::explore`] runs that seed alone | round robin |
//! | `WOULDBLOCK_MAX_THREADS=64` | [`offload()`] uses so many threads at most | 512 |
//! | `NO_COLOR=1` | a [`timeline`] in a terminal has no colours | colours |
//!
//! # What no stackful coroutine can make safe
//!
//! The API of this crate is safe to use by itself: no sequence of calls reaches memory that is gone, whatever is
//! cancelled, leaked, dropped early or panics. But a wait, in the middle of any function, lets other tasks of the same
//! thread run, and some code outside of this crate is `unsafe` inside on the ground that nothing does. On any
//! stackful coroutine, in any language, that code is unsound:
//!
//! * **A `thread_local!` whose lazy initialiser waits.** While it does, another task of the thread may initialise the
//!   same value, and have a reference to it that the first task then overwrites. Compute the value before, or use
//!   [`task_local!`], whose initialiser may wait.
//! * **A borrow that a thread-local holds for the time of a closure** (the crate `scoped-tls`, and what is built like
//!   it), with a wait in the closure. Another task of the thread finds the borrow, and two such closures end in
//!   another order than they began. Use [`task_local!`], with an [`Rc`](std::rc::Rc) in place of the borrow.
//! * **Another crate that switches stacks under this one**, as when a coroutine of `corosensei` is used directly, is
//!   suspended inside of [`green::timeout`], and is dropped or resumed in another task. This crate keeps pointers to
//!   frames (time limits, waits, the entered scheduler), and relies on its frames ending in the order in which they
//!   began. Use its own generators, which refuse such a switch.
//!
//! Two more things are safe, and surprise:
//!
//! * **`thread_local!` is shared by all tasks of the thread.** A `RefCell` in it that is borrowed across a wait is
//!   "already borrowed" for the next task. A value for each task is a [`task_local!`].
//! * **[`catch_unwind`](std::panic::catch_unwind) around a wait catches cancellations too**: of the task, of a time
//!   limit, at the end of the run. [`task::is_cancellation`] tells their payload from a panic's; let it go on
//!   with [`resume_unwind`](std::panic::resume_unwind), as each further wait raises it again.
//!
//! # What cancellation does to what is borrowed from std
//!
//! A stack that is unwound from a wait drops what is on it, as a panic does. A [`std::sync::Mutex`] held
//! there is poisoned, a `LazyLock` in the middle of its initialiser for ever; a `BufWriter` writes out half a
//! message. A lock of std's that is held across a wait stops the whole thread, should another task want it.
//! So hold none across a wait, and put what must be finished into [`green::finally`].
//!
//! # All cores
//!
//! One scheduler runs on one thread and uses one core. A program that is to use N cores has N runs, in one of three
//! places:
//!
//! * **Threads of one process.** Each thread calls [`run()`]; the runs share nothing. A server gives each run a
//!   listener of its own (`SO_REUSEPORT`, by the crate `socket2`), or accepts in one run and hands each connection to
//!   another by that run's [`Spawner`]. Sockets can be sent between threads; tasks stay where they were spawned. Values
//!   go from run to run through a channel whose operations are futures, such as that of the crate `async-channel`; a
//!   channel of std blocks the whole thread. `examples/cores.rs` shows all of it.
//! * **Processes.** A supervisor binds the listener, and starts workers that inherit it: a crash ends one worker, and
//!   the program can be replaced without a refused connection. `examples/prefork` does it, as gunicorn does.
//! * **Machines**, by way of a queue that all of them reach: `fleet/`, downloads by Redis Streams.
//!
//! ```
//! use std::{sync::mpsc, thread};
//! use wouldblock::{Spawner, green, net::{TcpListener, TcpStream}};
//! use green::prelude::*;
//!
//! # fn main() -> std::io::Result<()> {
//! let (sender, spawners) = mpsc::channel();
//! let (stop, stopped) = async_channel::bounded::<()>(1);
//! let runs: Vec<_> = (0..2).map(|_| {
//!     let (sender, stopped) = (sender.clone(), stopped.clone());
//!     thread::spawn(move || wouldblock::run(|| {
//!         sender.send(Spawner::current()).unwrap();
//!         let _ = wait(stopped.recv()); // until `stop` is dropped
//!     }))
//! }).collect();
//! let spawners: Vec<_> = spawners.iter().take(2).collect();
//!
//! wouldblock::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     for spawner in &spawners { // each connection is served on another core
//!         let mut client = TcpStream::connect(listener.local_addr()?)?;
//!         let (mut stream, _) = listener.accept()?;
//!         drop(spawner.spawn(move || stream.write_all(b"hello")).unwrap());
//!         let mut text = String::new();
//!         client.read_to_string(&mut text)?;
//!         assert_eq!(text, "hello");
//!     }
//!     std::io::Result::Ok(())
//! })?;
//! drop(stop);
//! runs.into_iter().for_each(|run| run.join().unwrap());
//! # Ok(()) }
//! ```
//!
//! # What it is not for
//!
//! One scheduler uses one core: work that computes belongs on [other threads](offload()). A blocking call of
//! C code, a lock of std's held across a wait, or a busy loop stops every task of the thread.
//!
//! # Platforms and features
//!
//! Linux on x86-64 is what is tested. Other Unixes are not designed out; Windows is not supported.
//! Cancellation and time limits unwind, so they need the default `panic = "unwind"`: with `panic = "abort"` in the
//! profile, the crate does not compile, and says why.
//!
//! * `ureq` (default): [`http::agent`](http::agent()), ureq on coroutine sockets.
//! * `rustls` (default): https for it, by rustls with ring and Mozilla's root certificates.
//! * `gzip` (default): compressed answers for it.
//! * `hyper`: hyper's I/O traits, timer and executor, and `wouldblock::hyper::serve` with a graceful stop, for axum
//!   too.
//! * `tokio`: tokio's `AsyncRead` and `AsyncWrite` on streams, pipes and descriptors; no runtime of tokio's.
//! * `tracing`: spans that follow their task.

#![deny(unreachable_pub)]

#[cfg(panic = "abort")]
compile_error!(
    "wouldblock needs `panic = \"unwind\"`: cancellation and time limits unwind a task's stack, which would end the \
     process. Remove `panic = \"abort\"` from the profile in Cargo.toml (and `-C panic=abort` from RUSTFLAGS)"
);

#[cfg(windows)]
compile_error!(
    "wouldblock waits for sockets as Unix does (epoll, kqueue); Windows is not supported"
);

mod adapt;
mod blocking;
mod cancel_scope;
mod deadline;
mod eras;
pub mod fs;
pub mod group;
#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(feature = "ureq")]
pub mod http;
mod inspect;
pub mod io;
mod kernel;
pub mod net;
pub mod observe {
    //! What happens to each task, as events for an [`Observer`] that is set by
    //! [`Builder::observe`](crate::Builder::observe).

    pub use crate::kernel::edge::observe::{Actor, EventKind, Observer, Outcome, TaskEvent};
}
mod offload;
pub mod op;
pub mod process;
mod run;
pub mod signal;
pub mod sync;
pub mod task;
pub mod testing;
pub mod thread;
pub mod time;
mod whole;

#[cfg(feature = "hyper")]
pub use adapt::hyper;
#[cfg(feature = "tracing")]
pub use adapt::tracing;
pub use blocking::{Blocking, Calling};
pub use cancel_scope::CancelScope;
pub use eras::waited::Waited;
pub use eras::{future, generator, green};
pub use inspect::deadlock::{Deadlock, TaskState};
pub use inspect::tasks::{TaskInfo, Tasks, tasks};
pub use inspect::timeline;
pub use kernel::edge::observe::Era;
pub use kernel::edge::trail::Thing;
pub use kernel::wait::{SourceId, Wait, WaitFor};
pub use offload::{Offload, offload};
pub use run::builder::Builder;
pub use run::handle::{RemoteJoinHandle, RunEnded, Spawner};
pub use run::join::{JoinError, JoinHandle};
pub use run::root::run;
pub use run::runtime::Runtime;
pub use run::stats::{Stats, stats};

/// The README's programs are compiled and run too.
#[cfg(all(doctest, feature = "ureq"))]
#[doc = include_str!("../README.md")]
struct Readme;
