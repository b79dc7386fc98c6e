//! What all sockets share: try the system call first, wait only on `WouldBlock`, in three eras.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::kernel::door::{self, Registration};
use crate::kernel::reactor::{Direction, Source, SourceId, poll_one};
use crate::kernel::scheduler::{Scheduler, here, in_task, now};
use crate::kernel::task::{Wait, WaitKind, Waiter};
use crate::time::Elapsed;

/// A non-blocking socket of std's, and its registrations.
pub(super) struct Socket<S: AsRawFd> {
    source: Source,
    io: S,
}

/// What came of trying a system call once.
enum Attempt<R> {
    Done(io::Result<R>),
    WouldBlock,
    /// The task has had its share of this turn; the call was not made.
    Spent,
}

impl<S: AsRawFd> Socket<S> {
    /// `io` must be in non-blocking mode.
    pub(super) fn new(io: S) -> Socket<S> {
        Socket { source: Source::new(io.as_raw_fd()), io }
    }

    pub(super) fn io(&self) -> &S {
        &self.io
    }

    /// Ends the registrations and gives back std's socket, still in non-blocking mode.
    pub(super) fn into_io(self) -> S {
        self.deregister();
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped or used again, so that each field is moved out once.
        let (source, io) = unsafe { (std::ptr::read(&this.source), std::ptr::read(&this.io)) };
        drop(source);
        io
    }

    fn attempt<R>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> Attempt<R> {
        // While a stack unwinds, its task cannot give up its turn.
        let in_task = in_task() && !std::thread::panicking();
        if in_task && here().budget.get() == 0 {
            return Attempt::Spent;
        }
        loop {
            match call(&self.io) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    Scheduler::with(|scheduler| {
                        let Some(scheduler) = scheduler else { return };
                        let count = &scheduler.counters.would_block;
                        count.set(count.get() + 1);
                        let mut reactor = scheduler.reactor.borrow_mut();
                        if let Some(id) = reactor.find(&self.source) {
                            reactor.clear(id, direction);
                        }
                    });
                    return Attempt::WouldBlock;
                }
                result => {
                    if in_task {
                        let budget = &here().budget;
                        budget.set(budget.get() - 1);
                    }
                    return Attempt::Done(result);
                }
            }
        }
    }

    /// The generator era's: once, now or not at all.
    pub(super) fn try_io<R>(
        &self,
        direction: Direction,
        call: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        match self.attempt(direction, call) {
            Attempt::Done(result) => result,
            Attempt::WouldBlock | Attempt::Spent => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The green era's: until it is done, for at most `limit`.
    pub(super) fn blocking_io<R>(
        &self,
        direction: Direction,
        limit: Option<Duration>,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut deadline = None;
        loop {
            match self.attempt(direction, &mut call) {
                Attempt::Done(result) => return result,
                Attempt::Spent => door::yield_now(),
                Attempt::WouldBlock if in_task() && std::thread::panicking() => {
                    let text = "the socket would have to wait while its task's stack unwinds";
                    return Err(io::Error::other(text));
                }
                Attempt::WouldBlock => {
                    if let (None, Some(limit)) = (deadline, limit) {
                        let now = if in_task() { now() } else { Instant::now() };
                        deadline = now.checked_add(limit).map(|deadline| (deadline, limit));
                    }
                    self.wait(direction, deadline)?;
                }
            }
        }
    }

    /// The async era's: done, or `cx` is woken when it is worth another try.
    pub(super) fn poll_io<R>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        match self.attempt(direction, &mut call) {
            Attempt::Done(result) => Poll::Ready(result),
            Attempt::Spent => door::another_turn(cx),
            Attempt::WouldBlock => match self.register() {
                Err(e) => Poll::Ready(Err(e)),
                Ok(id) => {
                    if !door::leave(cx, wait_for(id, direction)) {
                        let waiter = Waiter::Waker(cx.waker().clone());
                        Scheduler::with(|scheduler| {
                            let scheduler = scheduler.expect("registered with it");
                            let old =
                                scheduler.reactor.borrow_mut().set_poller(id, direction, waiter);
                            drop(old);
                        });
                    }
                    Poll::Pending
                }
            },
        }
    }

    pub(super) fn ready(&self, direction: Direction) -> Readiness<'_> {
        Readiness { source: &self.source, direction, registration: Registration::None }
    }

    fn register(&self) -> io::Result<SourceId> {
        register(&self.source)
    }

    fn wait(&self, direction: Direction, deadline: Option<(Instant, Duration)>) -> io::Result<()> {
        if !in_task() {
            return block_thread(self.source.fd(), direction, deadline);
        }
        let mut ready = self.ready(direction);
        door::wait(std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = Pin::new(&mut ready).poll(cx) {
                return Poll::Ready(result);
            }
            let Some((deadline, limit)) = deadline else { return Poll::Pending };
            if now() >= deadline {
                return Poll::Ready(Err(Elapsed::new(limit).into()));
            }
            door::leave(cx, Wait::new(WaitKind::Until(deadline)));
            Poll::Pending
        }))
    }

    fn deregister(&self) {
        let mut woken = Vec::<Waiter>::new();
        Scheduler::with(|scheduler| match scheduler {
            Some(s) => {
                self.source.deregister(Some(&mut s.reactor.borrow_mut()), &mut woken);
                woken.into_iter().for_each(|waiter| s.wake_waiter(waiter));
            }
            None => self.source.deregister(None, &mut woken),
        });
    }
}

impl<S: AsRawFd> Drop for Socket<S> {
    fn drop(&mut self) {
        self.deregister(); // Before `io` closes: the number may be another socket's at once.
    }
}

impl<S: AsRawFd + fmt::Debug> fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}

/// An operation that is ready when the socket may be: it has bytes, an end or an error to read, or room to
/// write. Another task may be faster; then the next try meets `WouldBlock` again.
///
/// # Errors
///
/// The kernel refuses to watch the socket: it has too many watches.
///
/// # Panics
///
/// On a thread without a scheduler, except in a generator that is resumed by hand.
///
/// # Cancellation
///
/// Nothing is lost.
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Readiness<'a> {
    source: &'a Source,
    direction: Direction,
    registration: Registration,
}

impl Future for Readiness<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if in_task() && here().budget.get() == 0 {
            return door::another_turn(cx);
        }
        if Scheduler::with(|scheduler| scheduler.is_none()) {
            return self.poll_by_hand(cx);
        }
        let id = register(self.source)?;
        let ready = Scheduler::with(|scheduler| {
            let scheduler = scheduler.expect(NO_SCHEDULER);
            scheduler.reactor.borrow_mut().is_ready(id, self.direction)
        });
        if ready {
            return Poll::Ready(Ok(()));
        }
        let wait = wait_for(id, self.direction);
        if !door::leave(cx, wait) {
            self.registration.renew(cx, wait);
        }
        Poll::Pending
    }
}

impl Readiness<'_> {
    /// Without a scheduler: whoever resumes the generator watches the descriptor.
    fn poll_by_hand(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let at_once = Some((Instant::now(), Duration::ZERO));
        if block_thread(self.source.fd(), self.direction, at_once).is_ok() {
            return Poll::Ready(Ok(()));
        }
        let id = SourceId::unregistered(self.source.fd());
        assert!(door::leave(cx, wait_for(id, self.direction)), "{NO_SCHEDULER}");
        Poll::Pending
    }
}

const NO_SCHEDULER: &str =
    "waiting for a socket's readiness needs a scheduler, or a generator that is resumed by hand";

fn wait_for(id: SourceId, direction: Direction) -> Wait {
    Wait::new(match direction {
        Direction::Read => WaitKind::Readable(id),
        Direction::Write => WaitKind::Writable(id),
    })
}

fn register(source: &Source) -> io::Result<SourceId> {
    Scheduler::with(|scheduler| {
        let scheduler = scheduler.expect(NO_SCHEDULER);
        scheduler.reactor.borrow_mut().register(source)
    })
}

/// Waits for one descriptor, on a thread that has nothing else to do.
fn block_thread(
    fd: RawFd,
    direction: Direction,
    deadline: Option<(Instant, Duration)>,
) -> io::Result<()> {
    loop {
        let left = deadline.map(|(d, _)| d.saturating_duration_since(Instant::now()).as_micros());
        let ms = left.map_or(-1, |us| us.div_ceil(1000).min(i32::MAX as u128) as i32);
        match (poll_one(fd, direction, ms), deadline) {
            (Ok(true), _) => return Ok(()),
            (Ok(false), Some((deadline, limit))) if Instant::now() >= deadline => {
                return Err(Elapsed::new(limit).into());
            }
            (Ok(false), _) => {}
            (Err(e), _) if e.kind() == io::ErrorKind::Interrupted => {}
            (Err(e), _) => return Err(e),
        }
    }
}
