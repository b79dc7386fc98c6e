//! What all sockets share: try the system call first, wait only on `WouldBlock`, in three eras.
//!
//! One call is saved. A read of a TCP stream that comes back with less than was asked for has, mostly, taken
//! all there was, so that another try now would only meet `WouldBlock`: that answer is given without asking,
//! once, and an exchange of short messages costs one read each. It is no more than a guess about the next
//! try, and never about the wait: the wait ends by the kernel's event, which comes for whatever arrives
//! after the read. Where no further event is to come, the guess is not made: after the end of the stream
//! (bytes and end may come as one event), and once there were urgent data (a read stops at their mark). Nor
//! is it made after a read of more than [`SHORT`]: in the middle of a large body, more has come meanwhile. Nor
//! where no call will wait for the event: outside of a task, while a stack unwinds, and past a `green::deadline`.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::turn::can_suspend;
use super::writers::Writers;
use crate::deadline::{self, too_late};
use crate::kernel::door;
use crate::kernel::edge::entered::now;
use crate::kernel::edge::news::announce;
use crate::kernel::edge::notes;
use crate::kernel::edge::registration::Registration;
use crate::kernel::edge::source::{EVENTS, News, Source, poll_one};
use crate::kernel::edge::unwinding;
use crate::kernel::reactor::{Direction, Reactor};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Waiter;
use crate::kernel::wait::{self, SourceId, Wait, WaitFor};
use crate::time::Elapsed;

/// A non-blocking socket of std's, and its registrations.
pub(super) struct Socket<S: AsRawFd> {
    source: Source,
    writers: Arc<Writers>,
    /// The next read is taken to meet `WouldBlock`, and is not tried.
    drained: AtomicBool,
    io: S,
}

/// Bytes that are a message, rather than a part of a stream of them.
const SHORT: usize = 16 << 10;

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
        Socket::sharing(io, Arc::default())
    }

    /// `io` is a duplicate of this socket.
    pub(super) fn clone_of(&self, io: S) -> Socket<S> {
        Socket::sharing(io, self.writers.clone())
    }

    fn sharing(io: S, writers: Arc<Writers>) -> Socket<S> {
        let source = Source::new(io.as_raw_fd());
        Socket { source, writers, drained: AtomicBool::new(false), io }
    }

    pub(super) fn io(&self) -> &S {
        &self.io
    }

    /// Ends the registrations and gives back std's socket, still in non-blocking mode.
    pub(super) fn into_io(mut self) -> S {
        self.deregister();
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped or used again, so that each field is moved out once.
        let (_source, _writers, io) =
            unsafe { (ptr::read(&this.source), ptr::read(&this.writers), ptr::read(&this.io)) };
        io
    }

    #[inline]
    fn attempt<R>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> Attempt<R> {
        if wait::is_spent() {
            return Attempt::Spent;
        }
        if direction == Direction::Read && self.drained.load(Ordering::Relaxed) {
            self.drained.store(false, Ordering::Relaxed);
            if can_suspend() && deadline::check().is_ok() {
                count_would_block();
                return Attempt::WouldBlock;
            }
        }
        loop {
            match call(&self.io) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    count_would_block();
                    self.with_reactor(|reactor, id| reactor.clear(id, direction));
                    return Attempt::WouldBlock;
                }
                result => {
                    wait::spend();
                    return Attempt::Done(result);
                }
            }
        }
    }

    /// Notes that a read of a TCP stream took `n` of the `asked` bytes.
    #[inline]
    pub(super) fn took(&self, n: usize, asked: usize) {
        if 0 < n && n < asked && n <= SHORT {
            let drained = self.with_reactor(Reactor::drain).unwrap_or(false);
            self.drained.store(drained, Ordering::Relaxed);
        }
    }

    /// Whether the reactor of this thread would know if anything had come, and nothing has.
    pub(super) fn is_quiet(&self) -> bool {
        let knows =
            Scheduler::with(|scheduler| scheduler.is_some_and(|s| s.pace.is_fresh(Instant::now())));
        knows && self.with_reactor(Reactor::is_quiet).unwrap_or(false)
    }

    /// Calls `f` if the socket is registered with this thread's reactor.
    #[inline]
    fn with_reactor<R>(&self, f: impl FnOnce(&mut Reactor<Waiter>, SourceId) -> R) -> Option<R> {
        Scheduler::with(|scheduler| {
            let mut reactor = scheduler?.reactor.borrow_mut();
            let id = reactor.find(&self.source)?;
            Some(f(&mut reactor, id))
        })
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
        let mut end = None;
        loop {
            match self.attempt(direction, &mut call) {
                Attempt::Done(result) => return result,
                Attempt::Spent => door::yield_now(),
                Attempt::WouldBlock => {
                    self.wait(direction, *end.get_or_insert_with(|| nearest(limit)))?;
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
        let late = deadline::begin()?;
        // Libraries poll for whatever reason, and mostly nothing has come: the reactor knows.
        let id = match direction {
            // (While a stack unwinds, the reactor is not asked.)
            Direction::Read if !late && !unwinding::unwinds() => {
                self.with_reactor(|r, id| (!r.is_ready(id, direction)).then_some(id))
            }
            _ => None,
        };
        let id = match id.flatten() {
            Some(id) => {
                count_would_block();
                id
            }
            None => loop {
                ready!(wait::check_budget(cx));
                match self.attempt(direction, &mut call) {
                    Attempt::Done(result) => return Poll::Ready(result),
                    Attempt::Spent => continue,
                    Attempt::WouldBlock => {}
                }
                let Some(looked) = look(&self.source, &self.writers, direction) else {
                    return wait_by_hand(cx, self.source.fd(), direction).map(Err);
                };
                let (id, ready) = looked?;
                if !ready {
                    break id;
                }
            },
        };
        deadline::pending(cx)?;
        if !wait::record(cx, wait_for(id, direction)) {
            let waiter = Waiter::waker(cx.waker().clone());
            Scheduler::with(|scheduler| {
                let scheduler = scheduler.expect("registered with it");
                let old = scheduler.reactor.borrow_mut().set_poller(id, direction, waiter);
                drop(old);
            });
        }
        Poll::Pending
    }

    pub(super) fn ready(&self, direction: Direction) -> Readiness<'_> {
        let Socket { source, writers, .. } = self;
        Readiness { source, writers, direction, registration: Registration::None }
    }

    /// Suspends the task, or blocks the thread, until the socket may be ready.
    #[inline]
    fn wait(&self, direction: Direction, end: Option<End>) -> io::Result<()> {
        if !can_suspend() {
            return block_thread(self.source.fd(), direction, end);
        }
        let looked = look(&self.source, &self.writers, direction);
        let (id, ready) = looked.expect("a task has a scheduler")?;
        match end {
            _ if ready => return Ok(()),
            Some(end) if now() >= end.at => {
                door::completed();
                return Err(end.error());
            }
            _ => {}
        }
        door::pause(Wait { deadline: end.map(|end| end.at), ..wait_for(id, direction) });
        Ok(())
    }

    fn deregister(&mut self) {
        self.writers.forget(self.source.fd());
        let registrations = self.source.take();
        announce(News::Closed, registrations);
    }

    /// Wakes the tasks that wait to write, on this socket or a clone of it: they cannot any more.
    pub(super) fn end_writing(&self) {
        let registrations = self.writers.end();
        announce(News::Ended, registrations);
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
/// The kernel refuses to watch the socket: it has too many watches. `Unsupported`, if it is polled on a thread
/// without a scheduler, except in a generator that is resumed by hand.
///
/// # Blocking
///
/// While the stack of the task that polls it unwinds, and in a panic hook, it blocks the thread.
///
/// # Cancellation
///
/// Nothing is lost.
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Readiness<'a> {
    source: &'a Source,
    writers: &'a Writers,
    direction: Direction,
    registration: Registration,
}

impl Future for Readiness<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(wait::check_budget(cx));
        let (fd, direction) = (self.source.fd(), self.direction);
        if unwinding::unwinds() && is_ready_now(fd, direction) {
            return Poll::Ready(Ok(())); // The reactor is not asked then.
        }
        let Some(looked) = look(self.source, self.writers, direction) else {
            return match is_ready_now(fd, direction) {
                true => Poll::Ready(Ok(())),
                false => wait_by_hand(cx, fd, direction).map(Err),
            };
        };
        let (id, mut ready) = looked?;
        if ready && !is_ready_now(fd, direction) {
            // The reactor learns only of calls by this crate that others have used up what was there.
            Scheduler::with(|s| s.map(|s| s.reactor.borrow_mut().clear(id, direction)));
            ready = direction == Direction::Write && self.writers.have_ended();
        }
        if ready {
            wait::spend();
            return Poll::Ready(Ok(()));
        }
        if let Err(e) = deadline::pending(cx) {
            let ready = is_ready_now(fd, direction); // The reactor may not have heard of it yet.
            return Poll::Ready(if ready { Ok(()) } else { Err(e) });
        }
        let wait = wait_for(id, direction);
        if !wait::record(cx, wait) {
            self.registration.renew(cx, wait);
        }
        Poll::Pending
    }
}

/// On a thread without a scheduler: leaves the wait for a generator to yield, since its resumer has to watch the
/// descriptor. An error, where there is no such generator.
fn wait_by_hand(cx: &Context<'_>, fd: RawFd, direction: Direction) -> Poll<io::Error> {
    if let Err(e) = deadline::pending(cx) {
        return Poll::Ready(e);
    }
    match wait::record(cx, wait_for(SourceId::unregistered(fd), direction)) {
        true => Poll::Pending,
        false => Poll::Ready(io::Error::new(io::ErrorKind::Unsupported, MOVED)),
    }
}

const MOVED: &str = "a socket of wouldblock was polled on a thread without a scheduler, where nothing can wake \
    its future: the future was moved to another thread or executor (by `tokio::spawn`, for example). Spawn it in \
    the run, with `wouldblock::future::spawn`, or give that executor a socket of its own (`into_std`)";

/// Whether there is now what the reactor's flag stands for: for reading, urgent data too. Without an answer of the
/// kernel's, `true`: a try will show.
fn is_ready_now(fd: RawFd, direction: Direction) -> bool {
    let urgent = if direction == Direction::Read { libc::POLLPRI } else { 0 };
    poll_one(fd, EVENTS[direction as usize] | urgent, 0).unwrap_or(true)
}

fn count_would_block() {
    notes::would_block();
    Scheduler::with(|scheduler| {
        let Some(scheduler) = scheduler else { return };
        let count = &scheduler.counters.would_block;
        count.set(count.get() + 1);
    });
}

fn wait_for(id: SourceId, direction: Direction) -> Wait {
    Wait::new(match direction {
        Direction::Read => WaitFor::Readable(id),
        Direction::Write => WaitFor::Writable(id),
    })
}

/// When a call fails, and of which limit.
#[derive(Clone, Copy)]
struct End {
    at: Instant,
    limit: Duration,
    is_deadline: bool,
}

impl End {
    fn error(self) -> io::Error {
        match self.is_deadline {
            true => too_late(self.limit),
            false => Elapsed::new(self.limit).into(),
        }
    }
}

/// When a call fails that begins to wait now: after the socket's own `limit`, or at the deadline in force. By the run's
/// clock; where the thread is blocked, by the machine's.
fn nearest(limit: Option<Duration>) -> Option<End> {
    let own = limit.map(|limit| (limit, limit, false));
    let deadline = deadline::left().map(|(left, limit)| (left, limit, true));
    let (left, limit, is_deadline) = own.into_iter().chain(deadline).min()?; // Mostly none: no clock is looked at.
    let now = if can_suspend() { now() } else { Instant::now() };
    Some(End { at: now.checked_add(left)?, limit, is_deadline })
}

/// Registers the socket unless it is, and says whether it is worth a try already. `None`: this thread has no
/// scheduler.
fn look(
    source: &Source,
    writers: &Writers,
    direction: Direction,
) -> Option<io::Result<(SourceId, bool)>> {
    Scheduler::with(|scheduler| {
        let mut reactor = scheduler?.reactor.borrow_mut();
        let id = match reactor.register(source) {
            Ok(id) => id,
            Err(e) => return Some(Err(e)),
        };
        let ready = reactor.is_ready(id, direction)
            || direction == Direction::Write && !writers.expect(reactor.registered(id));
        Some(Ok((id, ready)))
    })
}

/// For how many milliseconds a thread waits for room before it tries again: `poll(2)` does not tell it, either,
/// that the writing of a Unix socket was shut down.
const LONGEST_FOR_ROOM: i32 = 100;

/// Waits for one descriptor, on a thread that has nothing else to do, until it is worth a try.
fn block_thread(fd: RawFd, direction: Direction, end: Option<End>) -> io::Result<()> {
    let longest = match direction {
        Direction::Read => i32::MAX,
        Direction::Write => LONGEST_FOR_ROOM,
    };
    loop {
        let left = |end: End| end.at.saturating_duration_since(Instant::now());
        let left = end.map_or(Duration::MAX, left);
        let ms = left.as_micros().div_ceil(1000).min(longest as u128) as i32;
        match (poll_one(fd, EVENTS[direction as usize], ms), end) {
            (Ok(true), _) => return Ok(()),
            (Ok(false), Some(end)) if Instant::now() >= end.at => return Err(end.error()),
            (Ok(false), _) if direction == Direction::Write => return Ok(()),
            (Ok(false), _) => {}
            (Err(e), _) if e.kind() == io::ErrorKind::Interrupted => {}
            (Err(e), _) => return Err(e),
        }
    }
}
