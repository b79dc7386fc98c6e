//! A socket's end of its registrations. It is plain data, so that sockets can be sent and shared between threads: one may
//! be registered with the reactor of each thread that waits for it, and closed on any.

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, Waker};

use super::fork::Original;

/// Identifies a registered socket: its descriptor, its slot in the reactor, and the generation of the slot.
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

    /// The socket's file descriptor.
    pub fn fd(&self) -> RawFd {
        self.fd
    }
}

/// What other threads may use of a reactor.
#[derive(Debug)]
pub(crate) struct ReactorHandle {
    registry: Registry,
    bell: Waker,
    /// What was done to its sockets on other threads.
    news: Mutex<Vec<(SourceId, News)>>,
    original: Original,
}

/// A change of a socket that ends waits for it, and that the operating system does not report.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    Closed,
    /// Nothing can be written any more.
    WritingEnded,
}

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

    /// Ends the reactor's present or next sleep.
    pub(crate) fn ring(&self) {
        // It fails only if the eventfd's counter is full: then a ring is already under way.
        let _ = self.bell.wake();
    }

    /// Ends the reactor's present or next sleep each time that something more can be read from `fd`.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn ring_by(&self, fd: RawFd) -> io::Result<()> {
        self.registry.register(&mut SourceFd(&fd), BELL, Interest::READABLE)
    }

    /// Undoes `ring_by`.
    pub(crate) fn ring_no_more_by(&self, fd: RawFd) {
        let _ = self.registry.deregister(&mut SourceFd(&fd)); // It fails only for one that does not ring.
    }

    pub(crate) fn news(&self) -> MutexGuard<'_, Vec<(SourceId, News)>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket's descriptor and where it is registered. Before the descriptor is closed, its registrations are to be
/// taken ([`take`](Source::take)) and announced (`news::announce`): to drop this does nothing.
#[derive(Debug)]
pub(crate) struct Source {
    fd: RawFd,
    /// The first is mostly the only one: found without a lock.
    first: OnceLock<Registered>,
    others: Mutex<Vec<Registered>>,
}

/// A reactor where a socket is registered, and the name of the socket there.
#[derive(Debug)]
pub(crate) struct Registered {
    /// Gone with its reactor.
    pub(crate) reactor: Weak<ReactorHandle>,
    pub(crate) id: SourceId,
}

impl Registered {
    /// Sends `news` of the socket to the reactor. Returns `true` if that is `here`, the reactor of this thread, which then
    /// has to be given it directly.
    pub(crate) fn send(&self, news: News, here: Option<&Arc<ReactorHandle>>) -> bool {
        let Some(handle) = self.reactor.upgrade() else { return false };
        if handle.original.is_copied() {
            return false; // The operating system's event queue is the parent's, which still waits for the socket.
        }
        if let News::Closed = news {
            // It fails if the descriptor was closed by other code: then the operating system has forgotten it.
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

    /// Where the socket is registered on this thread's reactor, whose handle is `here`.
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

/// What `poll(2)` calls each direction.
pub(crate) const EVENTS: [libc::c_short; 2] = [libc::POLLIN, libc::POLLOUT];

/// Waits for one of `events` of one descriptor with `poll(2)`, for so many milliseconds (negative: for ever). Returns
/// `false` if the time has passed.
pub(crate) fn poll_one(fd: RawFd, events: libc::c_short, ms: libc::c_int) -> io::Result<bool> {
    let mut fds = [libc::pollfd { fd, events, revents: 0 }];
    // SAFETY: one `pollfd`, in our own frame, for as long as the call lasts.
    match unsafe { libc::poll(fds.as_mut_ptr(), 1, ms) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}
