//! Where a socket is registered, what its clones share, and the operation of waiting until it is ready.

use std::future::Future;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::deadline;
use crate::kernel::edge::news::announce;
use crate::kernel::edge::registration::Registration;
use crate::kernel::edge::source::{FLAGGED, News, Registered, Source, poll_one};
use crate::kernel::edge::unwinding;
use crate::kernel::reactor::{Direction, Reactor};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::Waiter;
use crate::kernel::wait::{self, SourceId, Wait, WaitFor};

/// A socket's registrations, and what it shares with its clones. To be dropped before the descriptor is closed: its
/// number may be another socket's at once.
#[derive(Debug)]
pub(super) struct Link {
    source: Source,
    /// Not made before it is needed: most sockets have no clones, no limits, and always room. So a read or write looks at
    /// one piece of memory less.
    shared: OnceLock<Arc<SharedByClones>>,
}

/// What all clones of a socket share.
#[derive(Debug, Default)]
pub(super) struct SharedByClones {
    /// The mode of the green calls.
    pub(super) nonblocking: AtomicBool,
    /// Of the green calls, for each direction.
    pub(super) limits: [TimeLimit; 2],
    writers: Mutex<Writers>,
}

/// When the writing of a Unix socket is shut down, the operating system wakes each thread that is blocked there, and
/// reports nothing to its event queues. So the code that shuts it down wakes the tasks itself.
#[derive(Debug, Default)]
struct Writers {
    /// Nothing can be written any more.
    ended: bool,
    /// Where tasks have waited for room.
    waited_at: Vec<Registered>,
}

impl SharedByClones {
    fn writers(&self) -> MutexGuard<'_, Writers> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called before a task waits for room at `at`. Returns `false` if writing has ended, so that no wake would
    /// come.
    fn expects_room(&self, at: Registered) -> bool {
        let mut writers = self.writers();
        let same = |other: &Registered| other.id == at.id && other.reactor.ptr_eq(&at.reactor);
        if !writers.ended && !writers.waited_at.iter().any(same) {
            writers.waited_at.retain(|at| at.reactor.strong_count() > 0);
            writers.waited_at.push(at);
        }
        !writers.ended
    }
}

impl Link {
    /// Of the descriptor `fd`.
    pub(super) fn new(fd: RawFd) -> Link {
        Link { source: Source::new(fd), shared: OnceLock::new() }
    }

    /// Of the descriptor `fd`, a duplicate of this one.
    pub(super) fn clone_of(&self, fd: RawFd) -> Link {
        Link { source: Source::new(fd), shared: OnceLock::from(self.shared().clone()) }
    }

    /// What it shares with its clones, to be changed.
    pub(super) fn shared(&self) -> &Arc<SharedByClones> {
        self.shared.get_or_init(Arc::default)
    }

    /// The mode of the green calls.
    #[inline]
    pub(super) fn is_nonblocking(&self) -> bool {
        self.shared.get().is_some_and(|shared| shared.nonblocking.load(Ordering::Relaxed))
    }

    /// The time limit of the green calls.
    #[inline]
    pub(super) fn limit(&self, direction: Direction) -> Option<Duration> {
        self.shared.get()?.limits[direction as usize].get()
    }

    /// Whether nothing can be written any more.
    fn has_ended(&self) -> bool {
        self.shared.get().is_some_and(|shared| shared.writers().ended)
    }

    pub(super) fn fd(&self) -> RawFd {
        self.source.fd()
    }

    /// Calls `f` if the socket is registered with this thread's reactor.
    #[inline]
    pub(super) fn if_registered<R>(
        &self,
        f: impl FnOnce(&mut Reactor<Waiter>, SourceId) -> R,
    ) -> Option<R> {
        Scheduler::with(|scheduler| {
            let mut reactor = scheduler?.reactor.borrow_mut();
            let id = reactor.find(&self.source)?;
            Some(f(&mut reactor, id))
        })
    }

    /// Registers the socket unless it is. Returns its id in the reactor, and whether it is worth a try already; `None`
    /// if this thread has no scheduler.
    pub(super) fn look(&self, direction: Direction) -> Option<io::Result<(SourceId, bool)>> {
        Scheduler::with(|scheduler| {
            let mut reactor = scheduler?.reactor.borrow_mut();
            let id = match reactor.find(&self.source) {
                Some(id) => Ok(id),
                None => reactor.register(&self.source),
            };
            Some(id.map(|id| {
                let ready = reactor.is_ready(id, direction)
                    || direction == Direction::Write
                        && !self.shared().expects_room(reactor.registered(id));
                (id, ready)
            }))
        })
    }

    /// Whether there is now what the reactor's flag stands for. If the operating system gives no answer, `true`: a try will
    /// show.
    fn is_ready_now(&self, direction: Direction) -> bool {
        poll_one(self.fd(), FLAGGED[direction as usize], 0).unwrap_or(true)
    }

    /// On a thread without a scheduler: leaves the wait for a generator to yield, since its resumer has to watch the
    /// descriptor. Ready with an error if there is no such generator.
    pub(super) fn wait_by_hand(&self, cx: &Context<'_>, direction: Direction) -> Poll<io::Error> {
        if let Err(e) = deadline::pending(cx) {
            return Poll::Ready(e);
        }
        match wait::record(cx, wait_for(SourceId::unregistered(self.fd()), direction)) {
            true => Poll::Pending,
            false => Poll::Ready(io::Error::new(io::ErrorKind::Unsupported, MOVED)),
        }
    }

    /// Wakes the tasks that wait to write, on this socket or a clone of it, since writing has ended.
    pub(super) fn end_writing(&self) {
        let mut writers = self.shared().writers();
        writers.ended = true;
        let registrations = mem::take(&mut writers.waited_at);
        drop(writers);
        announce(News::WritingEnded, registrations);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let fd = self.fd();
        if let Some(shared) = self.shared.get() {
            shared.writers().waited_at.retain(|at| at.id.fd() != fd);
        }
        announce(News::Closed, self.source.take());
    }
}

pub(super) fn wait_for(id: SourceId, direction: Direction) -> Wait {
    Wait::new(match direction {
        Direction::Read => WaitFor::Readable(id),
        Direction::Write => WaitFor::Writable(id),
    })
}

const MOVED: &str = "a socket of wouldblock was polled on a thread without a scheduler, where nothing can wake \
    its future: the future was moved to another thread or executor (by `tokio::spawn`, for example). Spawn it in \
    the run, with `wouldblock::future::spawn`, or give that executor a socket of its own (`into_std`)";

/// A time limit that may be set through a shared reference, in nanoseconds; 0 is none.
#[derive(Debug, Default)]
pub(super) struct TimeLimit(AtomicU64);

impl TimeLimit {
    pub(super) fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    pub(super) fn set(&self, limit: Option<Duration>) -> io::Result<()> {
        if limit == Some(Duration::ZERO) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a time limit of zero"));
        }
        let nanos = limit.map_or(0, |limit| limit.as_nanos().try_into().unwrap_or(u64::MAX));
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }
}

/// An operation that is ready when the socket may be: it has bytes, an end or an error to read, or room to
/// write. Another task may be faster; then the next try meets `WouldBlock` again.
///
/// # Errors
///
/// The operating system refuses to watch the socket: it has too many watches. `Unsupported`, if it is polled on a
/// thread without a scheduler, except in a generator that is resumed by hand.
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
    link: &'a Link,
    direction: Direction,
    registration: Registration,
    /// The last poll was `Pending`, so the reactor's flag was down: if it is up now, an event has come since.
    waits: bool,
}

impl<'a> Readiness<'a> {
    pub(super) fn new(link: &'a Link, direction: Direction) -> Readiness<'a> {
        Readiness { link, direction, registration: Registration::default(), waits: false }
    }
}

impl Future for Readiness<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(wait::check_budget(cx));
        let (link, direction, waited) = (self.link, self.direction, mem::take(&mut self.waits));
        if unwinding::unwinds() && link.is_ready_now(direction) {
            return Poll::Ready(Ok(())); // While a stack unwinds, the reactor's flag is not used.
        }
        let Some(looked) = link.look(direction) else {
            return match link.is_ready_now(direction) {
                true => Poll::Ready(Ok(())),
                false => link.wait_by_hand(cx, direction).map(Err),
            };
        };
        let (id, mut ready) = looked?;
        if ready && !waited && !link.is_ready_now(direction) {
            // The flag is up, since other code than this crate's has used up what there was.
            link.if_registered(|reactor, id| reactor.clear(id, direction));
            ready = direction == Direction::Write && link.has_ended();
        }
        if ready {
            wait::spend();
            return Poll::Ready(Ok(()));
        }
        if let Err(e) = deadline::pending(cx) {
            let ready = link.is_ready_now(direction); // It may be so since the last poll of the reactor.
            return Poll::Ready(if ready { Ok(()) } else { Err(e) });
        }
        let wait = wait_for(id, direction);
        if !wait::record(cx, wait) {
            self.registration.renew(cx, wait);
        }
        self.waits = true;
        Poll::Pending
    }
}
