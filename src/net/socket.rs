//! A socket, and a system call on it in three eras: the call first, a wait only on `WouldBlock`.
//!
//! std keeps time limits and the non-blocking mode with the operating system's socket. A socket here is in the
//! operating system's non-blocking mode all its life, so that a scheduler may use it; the limits, and the mode in which
//! the green calls fail instead of waiting, are kept beside it. As with std's, all clones of a socket share them.
//!
//! One call is saved. A read of a TCP stream that returns less than the buffer takes has, mostly, taken all there was,
//! so that another try now would only meet `WouldBlock`: that is returned without the call, once, and an exchange of
//! short messages costs one read each. This is a guess about the next try, and never about the wait: that ends by the
//! operating system's event, which comes for all that arrives after the read. The guess is not made where no further
//! event is to come: after the end of the stream (bytes and end may come as one event), and once there were urgent data
//! (a read stops at their mark). Nor after a read of more than [`SHORT`]: in the middle of a large body, more has come
//! meanwhile. Nor where no call will wait for the event: outside of a task, while a stack unwinds, and past a
//! `green::deadline`. (The reactor's flag alone could stand for the guess, but it shows only what had come when the
//! scheduler last polled: a task that writes to one end of a pair, and in the same turn tries to read at the other,
//! would not get its own bytes.)

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::link::{Link, Readiness, wait_for};
use super::pauses::{Pauses, pause};
use super::turn::{can_suspend, would_block};
use crate::deadline::{self, too_late};
use crate::kernel::door;
use crate::kernel::edge::entered::now;
use crate::kernel::edge::notes;
use crate::kernel::edge::source::{EVENTS, poll_one};
use crate::kernel::edge::unwinding;
use crate::kernel::reactor::{Direction, Reactor};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Waiter;
use crate::kernel::wait::{self, Wait};
use crate::run::may_wait::completed;
use crate::time::Elapsed;

/// A socket of std's in non-blocking mode, and where it is registered.
pub(crate) struct Socket<S> {
    link: Link, // Dropped before `std` closes.
    /// The next read is taken to meet `WouldBlock`, and is not tried.
    drained: AtomicBool,
    std: S,
}

/// Bytes that are a message, rather than a part of a stream of them.
const SHORT: usize = 16 << 10;

/// What came of trying a system call once.
enum Tried<R> {
    Done(io::Result<R>),
    WouldBlock,
    /// The task has used up its budget of this turn; the call was not made.
    Spent,
}

impl<S: AsRawFd> Socket<S> {
    /// `std` must be in non-blocking mode.
    pub(crate) fn new(std: S) -> Socket<S> {
        Socket { link: Link::new(std.as_raw_fd()), drained: AtomicBool::new(false), std }
    }

    /// `std` is a duplicate of this socket.
    pub(super) fn clone_of(&self, std: S) -> Socket<S> {
        let link = self.link.clone_of(std.as_raw_fd());
        Socket { link, drained: AtomicBool::new(false), std }
    }

    pub(crate) fn std(&self) -> &S {
        &self.std
    }

    /// Ends the registrations and returns std's socket, still in non-blocking mode.
    pub(crate) fn into_std(self) -> S {
        self.std
    }

    pub(super) fn is_nonblocking(&self) -> bool {
        self.link.is_nonblocking()
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) {
        self.link.shared().nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    pub(super) fn limit(&self, direction: Direction) -> Option<Duration> {
        self.link.limit(direction)
    }

    pub(super) fn set_limit(
        &self,
        direction: Direction,
        limit: Option<Duration>,
    ) -> io::Result<()> {
        self.link.shared().limits[direction as usize].set(limit)
    }

    /// To be called after std's `shutdown` of writing: wakes the tasks that wait to write. (To readers, and to writers
    /// of TCP, the operating system reports it.)
    pub(super) fn end_writing(&self) {
        self.link.end_writing();
    }

    /// Records that a read of a TCP stream has taken `n` bytes into a buffer of `len`.
    #[inline]
    pub(super) fn took(&self, n: usize, len: usize) {
        if 0 < n && n < len && n <= SHORT {
            let drained = self.link.if_registered(Reactor::drain).unwrap_or(false);
            self.drained.store(drained, Ordering::Relaxed);
        }
    }

    /// Whether nothing has come, according to this thread's reactor, which was polled a moment ago.
    pub(super) fn has_read_all(&self) -> bool {
        let is_fresh =
            Scheduler::with(|scheduler| scheduler.is_some_and(|s| s.pace.is_fresh(Instant::now())));
        is_fresh && self.link.if_registered(Reactor::has_read_all).unwrap_or(false)
    }

    #[inline]
    fn try_once<R>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> Tried<R> {
        if wait::is_spent() {
            return Tried::Spent;
        }
        if direction == Direction::Read && self.drained.load(Ordering::Relaxed) {
            self.drained.store(false, Ordering::Relaxed);
            if can_suspend() && deadline::check().is_ok() {
                count_would_block();
                return Tried::WouldBlock;
            }
        }
        loop {
            match call(&self.std) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if would_block(&e) => {
                    count_would_block();
                    self.link.if_registered(|reactor, id| reactor.clear(id, direction));
                    return Tried::WouldBlock;
                }
                result => {
                    wait::spend();
                    return Tried::Done(result);
                }
            }
        }
    }

    /// The generator era's way: makes `call` once, and never waits.
    pub(crate) fn attempt<R>(
        &self,
        direction: Direction,
        call: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        match self.try_once(direction, call) {
            Tried::Done(result) => result,
            Tried::WouldBlock | Tried::Spent => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The green era's way: makes `call` until it is done, and waits in between, in the modes of the socket.
    #[inline]
    #[track_caller]
    pub(crate) fn green<R>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        begin()?;
        if self.is_nonblocking() {
            return self.green_nonblocking(direction, call);
        }
        let mut end = None;
        loop {
            match self.try_once(direction, &mut call) {
                Tried::Done(result) => return result,
                Tried::Spent => door::yield_now(),
                Tried::WouldBlock => {
                    // (Not in a closure, whose line in the source would be that of the wait.)
                    let end = *end.get_or_insert_with(|| nearest(self.limit(direction)));
                    wait(&self.link, direction, end)?;
                }
            }
        }
    }

    #[cold]
    fn green_nonblocking<R>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        match self.attempt(direction, &mut call) {
            Err(e) if would_block(&e) && can_suspend() => {
                door::yield_now(); // A loop of such calls is to starve no other task.
                self.attempt(direction, call)
            }
            result => result,
        }
    }

    /// As [`green`](Socket::green), for a call of which no event shows when it becomes possible.
    #[track_caller]
    pub(super) fn green_with_pauses<R>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        if self.is_nonblocking() {
            return self.green(direction, call);
        }
        begin()?;
        let limit = self.limit(direction).unwrap_or(Duration::MAX);
        let (mut left, mut pauses) = (limit, Pauses::new());
        loop {
            match self.try_once(direction, &mut call) {
                Tried::Done(result) => return result,
                Tried::Spent => door::yield_now(),
                Tried::WouldBlock if left.is_zero() => return Err(Elapsed::new(limit).into()),
                Tried::WouldBlock => {
                    let next = pauses.next().min(left);
                    left -= next;
                    pause(next)?;
                }
            }
        }
    }

    /// The async era's way: ready with what `call` returns; else `cx` is woken when it is worth another try.
    pub(crate) fn poll<R>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        mut call: impl FnMut(&S) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let late = deadline::begin()?;
        // Libraries poll for any reason, and mostly nothing has come: the reactor's flag shows that. (While a stack
        // unwinds, the flag is not used.)
        let known = match direction {
            Direction::Read if !late && !unwinding::unwinds() => {
                self.link.if_registered(|r, id| (!r.is_ready(id, direction)).then_some(id))
            }
            _ => None,
        };
        let id = match known.flatten() {
            Some(id) => {
                count_would_block();
                id
            }
            None => loop {
                ready!(wait::check_budget(cx));
                match self.try_once(direction, &mut call) {
                    Tried::Done(result) => return Poll::Ready(result),
                    Tried::Spent => continue,
                    Tried::WouldBlock => {}
                }
                let Some(looked) = self.link.look(direction) else {
                    return self.link.wait_by_hand(cx, direction).map(Err);
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
            // The old waker is dropped when nothing is borrowed any more.
            let _old = self.link.if_registered(|r, id| r.set_poller(id, direction, waiter));
        }
        Poll::Pending
    }

    pub(crate) fn ready(&self, direction: Direction) -> Readiness<'_> {
        Readiness::new(&self.link, direction)
    }

    /// The operation of making a call: for the generator era and the async one.
    pub(crate) fn operation<C, R>(&self, direction: Direction, call: C) -> Operation<'_, S, C>
    where
        C: FnMut(&S) -> io::Result<R>,
    {
        Operation { socket: self, direction, ready: self.ready(direction), call }
    }
}

impl<S: fmt::Debug> fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std.fmt(f)
    }
}

/// See [`Socket::operation`].
#[must_use = "an operation does nothing until it is waited for"]
pub(crate) struct Operation<'a, S, C> {
    socket: &'a Socket<S>,
    direction: Direction,
    ready: Readiness<'a>,
    call: C,
}

impl<S, C, R> Future for Operation<'_, S, C>
where
    S: AsRawFd,
    C: FnMut(&S) -> io::Result<R> + Unpin,
{
    type Output = io::Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let this = &mut *self;
        loop {
            deadline::begin()?; // Here, so that a socket which is ready for another call does not end in a loop.
            match this.socket.attempt(this.direction, &mut this.call) {
                Err(e) if would_block(&e) => {}
                result => return Poll::Ready(result),
            }
            ready!(Pin::new(&mut this.ready).poll(cx))?;
        }
    }
}

/// How a green call begins: see [`deadline::begin`]. One that fails is one of the turn's operations: code that makes it
/// again and again starves no other task.
#[inline]
fn begin() -> io::Result<()> {
    deadline::begin().map(drop).inspect_err(|_| {
        if can_suspend() {
            completed();
        }
    })
}

fn count_would_block() {
    notes::would_block();
    Scheduler::with(|scheduler| {
        let Some(scheduler) = scheduler else { return };
        let count = &scheduler.counters.would_block;
        count.set(count.get() + 1);
    });
}

/// When a call fails, and of which limit.
#[derive(Clone, Copy)]
struct Expiry {
    at: Instant,
    limit: Duration,
    is_deadline: bool,
}

impl Expiry {
    fn error(self) -> io::Error {
        match self.is_deadline {
            true => too_late(self.limit),
            false => Elapsed::new(self.limit).into(),
        }
    }
}

/// When a call fails that begins to wait now: after the socket's own `limit`, or at the deadline in force. By the run's
/// clock; where the thread is blocked, by the machine's.
#[inline]
fn nearest(limit: Option<Duration>) -> Option<Expiry> {
    let deadline = deadline::left();
    if limit.is_none() && deadline.is_none() {
        return None; // Mostly: no clock is read.
    }
    nearest_of(limit, deadline)
}

#[cold]
fn nearest_of(limit: Option<Duration>, deadline: Option<(Duration, Duration)>) -> Option<Expiry> {
    let own = limit.map(|limit| (limit, limit, false));
    let deadline = deadline.map(|(left, limit)| (left, limit, true));
    let (left, limit, is_deadline) = own.into_iter().chain(deadline).min()?;
    let now = if can_suspend() { now() } else { Instant::now() };
    Some(Expiry { at: now.checked_add(left)?, limit, is_deadline })
}

/// Suspends the task, or blocks the thread, until the socket may be ready.
#[inline]
#[track_caller]
fn wait(link: &Link, direction: Direction, end: Option<Expiry>) -> io::Result<()> {
    if !can_suspend() {
        return block_thread(link.fd(), direction, end);
    }
    let (id, ready) = link.look(direction).expect("a task has a scheduler")?;
    match end {
        _ if ready => return Ok(()),
        Some(end) if now() >= end.at => {
            completed();
            return Err(end.error());
        }
        _ => {}
    }
    door::pause(Wait { deadline: end.map(|end| end.at), ..wait_for(id, direction) });
    Ok(())
}

/// For how many milliseconds a thread waits for room before it tries again: `poll(2)` does not report, either,
/// that the writing of a Unix socket was shut down.
const LONGEST_FOR_ROOM: u128 = 100;

/// Waits for one descriptor, on a thread that has nothing else to do, until it is worth a try.
fn block_thread(fd: RawFd, direction: Direction, end: Option<Expiry>) -> io::Result<()> {
    let longest = match direction {
        Direction::Read => i32::MAX as u128,
        Direction::Write => LONGEST_FOR_ROOM,
    };
    loop {
        let left = |end: Expiry| end.at.saturating_duration_since(Instant::now());
        let left = end.map_or(Duration::MAX, left);
        let ms = left.as_micros().div_ceil(1000).min(longest) as i32;
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
