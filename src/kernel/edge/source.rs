//! A socket's side of its registrations. It is `Send` and `Sync`, so that sockets can be sent and shared between threads: a
//! socket may be registered with the reactor of each thread that waits for it, and closed on any thread.

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, Waker};

use super::fork::{COPIED, Original};

/// Identifies a registered socket: its descriptor, its slot in the reactor, and the generation of the slot, which no slot
/// of another reactor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId {
    fd: RawFd,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl SourceId {
    pub(crate) const fn new(fd: RawFd, index: u32, generation: u32) -> SourceId {
        SourceId { fd, index, generation }
    }

    /// The id of a socket that is in no reactor: for events of other schedulers, and for generators that are resumed
    /// by hand.
    pub const fn unregistered(fd: RawFd) -> SourceId {
        SourceId::new(fd, u32::MAX, 0)
    }

    /// Returns a number that differs from the last 2^32 - 1 ones of the process.
    pub(crate) fn next_generation() -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        NEXT.fetch_add(1, Relaxed)
    }

    /// The socket's file descriptor.
    pub fn fd(&self) -> RawFd {
        self.fd
    }
}

/// What other threads may use of a reactor.
#[derive(Debug)]
pub(crate) struct ReactorHandle {
    registry: Registry,
    /// Ends the reactor's sleep in the operating system.
    bell: Waker,
    /// What other threads did to its sockets, not applied yet.
    news: Mutex<Vec<(SourceId, News)>>,
    original: Original,
}

/// What a thread did to a socket that ends waits for the socket, although the operating system reports no event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    Closed,
    /// Nothing can be written any more.
    WritingEnded,
}

/// The *bell*, an eventfd, ends the reactor's sleep. Its events have this token.
pub(crate) const BELL: Token = Token(usize::MAX);

impl ReactorHandle {
    pub(crate) fn new(registry: &Registry) -> io::Result<ReactorHandle> {
        Ok(ReactorHandle {
            registry: registry.try_clone()?,
            bell: Waker::new(registry, BELL)?,
            news: Mutex::default(),
            original: Original::here(),
        })
    }

    /// Panics in a forked copy of the process: the operating system's event queue is the parent's.
    pub(crate) fn refuse_copy(&self) {
        assert!(!self.original.is_copied(), "{COPIED}");
    }

    /// Ends the reactor's present or next sleep.
    pub(crate) fn ring(&self) {
        // This fails only if the eventfd's counter is full; then the next sleep ends at once anyway.
        let _ = self.bell.wake();
    }

    /// Makes `fd` ring: each time when more can be read from it, the reactor's present or next sleep ends.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn ring_by(&self, fd: RawFd) -> io::Result<()> {
        self.registry.register(&mut SourceFd(&fd), BELL, Interest::READABLE)
    }

    /// Ends what [`ring_by`](ReactorHandle::ring_by) has begun.
    pub(crate) fn ring_no_more_by(&self, fd: RawFd) {
        let _ = self.registry.deregister(&mut SourceFd(&fd)); // This fails only if `fd` does not ring.
    }

    pub(crate) fn news(&self) -> MutexGuard<'_, Vec<(SourceId, News)>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket's descriptor, and where it is registered. Before the owner (`Link` in `net/link.rs`) closes the descriptor, it takes
/// the registrations ([`take`](Source::take)) and announces the end (`news::announce`): dropping a `Source` does neither.
#[derive(Debug)]
pub(crate) struct Source {
    fd: RawFd,
    /// The first registration, mostly the only one. It is found without a lock.
    first: OnceLock<Registered>,
    others: Mutex<Vec<Registered>>,
}

/// A reactor where a socket is registered, and the id of the socket there.
#[derive(Debug)]
pub(crate) struct Registered {
    /// Dead when the reactor is gone.
    pub(crate) reactor: Weak<ReactorHandle>,
    pub(crate) id: SourceId,
}

impl Registered {
    /// Sends `news` of the socket to the reactor. `here` is the reactor of this thread: for that one, this sends nothing and
    /// returns `true`, and the caller applies the news.
    pub(crate) fn send(&self, news: News, here: Option<&Arc<ReactorHandle>>) -> bool {
        let Some(handle) = self.reactor.upgrade() else { return false };
        if handle.original.is_copied() {
            return false; // The parent still waits for the socket.
        }
        if let News::Closed = news {
            // This fails if other code has closed the descriptor; then the operating system has removed it already.
            let _ = handle.registry.deregister(&mut SourceFd(&self.id.fd()));
        }
        if here.is_some_and(|here| Arc::ptr_eq(here, &handle)) {
            return true;
        }
        handle.news().push((self.id, news));
        handle.ring();
        false
    }
}

impl Source {
    pub(crate) fn new(fd: RawFd) -> Source {
        Source { fd, first: OnceLock::new(), others: Mutex::default() }
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    fn others(&self) -> MutexGuard<'_, Vec<Registered>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the socket's id in the reactor of this thread, whose handle is `here`, if it is registered there.
    #[inline]
    pub(crate) fn find(&self, here: &Arc<ReactorHandle>) -> Option<SourceId> {
        let here = Arc::as_ptr(here);
        let id = |at: &Registered| (at.reactor.as_ptr() == here).then_some(at.id);
        self.first.get().and_then(id).or_else(|| self.others().iter().find_map(id))
    }

    pub(crate) fn add(&self, registered: Registered) {
        if let Err(registered) = self.first.set(registered) {
            let mut others = self.others();
            others.retain(|at| at.reactor.strong_count() > 0);
            others.push(registered);
        }
    }

    /// Takes all registrations.
    pub(crate) fn take(&mut self) -> Vec<Registered> {
        let first = self.first.take();
        let others = mem::take(&mut *self.others());
        first.into_iter().chain(others).collect()
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The event of `poll(2)` for each direction.
pub(crate) const EVENTS: [libc::c_short; 2] = [libc::POLLIN, libc::POLLOUT];

/// The events of `poll(2)` that the reactor's flag for each direction stands for: for reading, urgent data too.
pub(crate) const FLAGGED: [libc::c_short; 2] = [libc::POLLIN | libc::POLLPRI, libc::POLLOUT];

/// Blocks the thread in `poll(2)` until one of `events` of `fd` comes, for at most `ms` milliseconds (negative: without a
/// limit). Returns `false` if the time has passed.
pub(crate) fn poll_one(fd: RawFd, events: libc::c_short, ms: libc::c_int) -> io::Result<bool> {
    let mut fds = [libc::pollfd { fd, events, revents: 0 }];
    // SAFETY: the pointer is to one `pollfd`, which is the length passed, and which lives for the call.
    match unsafe { libc::poll(fds.as_mut_ptr(), 1, ms) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}
