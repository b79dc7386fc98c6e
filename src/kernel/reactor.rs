//! The reactor: which sockets are ready, according to the operating system.
//!
//! A socket is registered once, edge-triggered, for both directions, when a task first waits for it. The operating
//! system then reports each *change* once, and the reactor keeps a flag for each direction: while it is up, a system
//! call is worth a try. It goes down when a try meets `WouldBlock`, when a read is short ([`Reactor::drain`]), or when the
//! system call `poll(2)` shows that nothing is ready (it is made before a further waiter is picked):
//!
//! ```text
//!            an event                        wait: the flag is up
//!   ┌─ down ──────────▶ up ─────────────────────────────────────────▶ go and try
//!   └────────◀────────── ┘  a try met WouldBlock, a read was short, poll(2): not ready
//! ```
//!
//! The waiters for each direction stand in a line (`edge/line.rs`). An event *picks* the first of them, and each further
//! [`Reactor::poll`] the next one, as long as the flag is up.
//!
//! The reactor never calls the scheduler: the scheduler takes the waiters (each a `W`) that were picked, one by one, and
//! wakes each of them while nothing of the reactor is borrowed, since a waker may run user code.
//!
//! A [`Source`] is the socket's side of its registrations (`edge/source.rs`). The *bell*, an eventfd, ends the sleep of
//! the reactor: other threads ring it.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::edge::line::{AllLines, Line, Ticket};
use super::edge::source::{
    BELL, FLAGGED, News, ReactorHandle, Registered, Source, SourceId, poll_one,
};

pub(crate) use super::edge::source::Direction;

fn token(id: SourceId) -> Token {
    Token((id.generation as usize) << 32 | id.index as usize)
}

#[derive(Debug)]
pub(crate) struct Reactor<W> {
    poll: Poll,
    events: Events,
    slots: Slab<Slot<W>>,
    handle: Arc<ReactorHandle>,
    /// Lines in which other waiters remained when the first was picked.
    unfinished: Vec<(SourceId, Direction)>,
    all: AllLines<W>,
}

/// A registered socket. What an event of a socket with one reader needs is in the first cache line.
#[derive(Debug)]
#[repr(C, align(64))]
struct Slot<W> {
    fd: RawFd,
    generation: u32,
    /// An error, the end of the peer's data, or urgent data was reported: after a short read, something may be left to
    /// be read that causes no further event.
    tricky: bool,
    lines: [Line<W>; 2],
}

/// How long to sleep at most when the operating system refuses to report events.
const BLIND: Duration = Duration::from_millis(10);

impl<W> Reactor<W> {
    pub(crate) fn new() -> io::Result<Reactor<W>> {
        const { assert!(usize::BITS >= 64, "tokens hold a slot and its generation") };
        let poll = Poll::new()?;
        let handle = Arc::new(ReactorHandle::new(poll.registry())?);
        let events = Events::with_capacity(1024);
        Ok(Reactor {
            poll,
            events,
            slots: Slab::new(),
            handle,
            unfinished: Vec::new(),
            all: AllLines::new(),
        })
    }

    pub(crate) fn handle(&self) -> &Arc<ReactorHandle> {
        &self.handle
    }

    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// How many waiters stand in lines; and how many lines have a poller, the future of which may be gone (`edge/line.rs`).
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.all.waiting, self.all.pollers)
    }

    /// Takes the next waiter that was picked. Wake it when the reactor is not borrowed: a waker may be user code.
    #[inline]
    pub(crate) fn next_picked(&mut self) -> Option<W> {
        self.all.picked.pop_front()
    }

    pub(crate) fn has_picked(&self) -> bool {
        !self.all.picked.is_empty()
    }

    /// The id under which `source` is registered here, if it is.
    #[inline]
    pub(crate) fn find(&self, source: &Source) -> Option<SourceId> {
        source.find(&self.handle)
    }

    /// Registers `source` here, unless it is registered already. Returns an error if there are no more watches, or if
    /// the operating system cannot wait for the descriptor (of a regular file).
    #[cold]
    pub(crate) fn register(&mut self, source: &Source) -> io::Result<SourceId> {
        if let Some(id) = self.find(source) {
            return Ok(id);
        }
        self.handle.refuse_copy();
        let generation = SourceId::next_generation();
        let lines = [Line::NEW, Line::NEW];
        let slot = Slot { fd: source.fd(), generation, tricky: false, lines };
        let index = u32::try_from(self.slots.insert(slot)).expect("fewer than 2^32 sockets");
        let id = SourceId::new(source.fd(), index, generation);
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        if let Err(e) =
            self.poll.registry().register(&mut SourceFd(&source.fd()), token(id), interest)
        {
            self.slots.remove(index as usize);
            return Err(e);
        }
        source.add(self.registered(id));
        Ok(id)
    }

    pub(crate) fn registered(&self, id: SourceId) -> Registered {
        Registered { reactor: Arc::downgrade(&self.handle), id }
    }

    /// Whether a try is worth it: the flag is up, or the socket is gone.
    #[inline]
    pub(crate) fn is_ready(&mut self, id: SourceId, direction: Direction) -> bool {
        self.line(id, direction).is_none_or(|(line, _)| line.ready)
    }

    /// A try met `WouldBlock`, or `poll(2)` shows that nothing is ready: the flag goes down.
    pub(crate) fn clear(&mut self, id: SourceId, direction: Direction) {
        if let Some((line, _)) = self.line(id, direction) {
            line.ready = false;
        }
    }

    /// A read has filled less than its buffer: the flag goes down, unless the slot is `tricky`. What comes later causes
    /// an event of its own. Returns `false` if the flag stays.
    #[inline]
    pub(crate) fn drain(&mut self, id: SourceId) -> bool {
        let Some(slot) = self.slot(id).filter(|slot| !slot.tricky) else { return false };
        slot.lines[Direction::Read as usize].ready = false;
        true
    }

    /// Whether all that has come has been read, as far as the operating system has reported by now.
    pub(crate) fn has_read_all(&mut self, id: SourceId) -> bool {
        self.slot(id)
            .is_some_and(|slot| !slot.tricky && !slot.lines[Direction::Read as usize].ready)
    }

    /// Puts `waiter` at the end of the line; or returns it as an error if there is nothing to wait for: the flag is up,
    /// or the socket is gone.
    #[inline]
    pub(crate) fn stand(
        &mut self,
        id: SourceId,
        direction: Direction,
        waiter: W,
    ) -> Result<Ticket, W> {
        match self.line(id, direction) {
            Some((line, all)) => line.stand(waiter, all),
            None => Err(waiter),
        }
    }

    /// Removes the waiter from the line and returns it; `None` if it was picked.
    pub(crate) fn leave(&mut self, id: SourceId, direction: Direction, at: Ticket) -> Option<W> {
        self.line(id, direction).and_then(|(line, all)| line.leave(at, all))
    }

    /// Keeps `waker`, that of the last poll of a future (`Line::poller`), and returns the one that was kept before; or
    /// returns `waker` as an error if the socket is gone.
    pub(crate) fn set_poller(
        &mut self,
        id: SourceId,
        direction: Direction,
        waker: W,
    ) -> Result<Option<W>, W> {
        match self.line(id, direction) {
            Some((line, all)) => Ok(line.set_poller(waker, all)),
            None => Err(waker),
        }
    }

    /// Picks the waiters of each line that `news` ends; forgets the slot of a closed socket.
    pub(crate) fn apply(&mut self, id: SourceId, news: News) {
        let ended: &[_] = match news {
            News::Closed => &[Direction::Read, Direction::Write],
            News::WritingEnded => &[Direction::Write],
        };
        for &direction in ended {
            let Some((line, all)) = self.line(id, direction) else { return };
            line.pick_all(all);
        }
        if let News::Closed = news {
            self.slots.remove(id.index as usize);
        }
    }

    /// When the operating system refuses to report events: sleeps for a moment, and picks all waiters, to try.
    #[cold]
    fn do_without_events(&mut self, timeout: Option<Duration>) {
        std::thread::sleep(timeout.unwrap_or(BLIND).min(BLIND));
        self.events.clear();
        let lines = self.slots.iter_mut().flat_map(|(_, slot)| &mut slot.lines);
        lines.for_each(|line| line.pick_all(&mut self.all));
    }

    /// Asks the operating system which sockets became ready, and sleeps there for up to `timeout` (`None`: until one
    /// does). Returns whether the bell was rung; [`next_picked`](Reactor::next_picked) gives the waiters to wake.
    /// Returns an error after a sleep of up to 10 ms, so that a caller may poll again and again.
    pub(crate) fn poll(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        for (id, direction) in std::mem::take(&mut self.unfinished) {
            let Some((line, all)) = self.line(id, direction) else { continue };
            line.listed = false;
            // The waiter picked last may have taken all that there was, and met no `WouldBlock`: `poll(2)` shows that.
            let events = FLAGGED[direction as usize];
            line.ready = line.ready && poll_one(id.fd(), events, 0).unwrap_or(true);
            if line.ready && line.pick_first(all) {
                self.unfinished.push((id, direction));
            }
        }
        let mut timeout = if self.has_picked() { Some(Duration::ZERO) } else { timeout };
        let sleep = timeout.filter(|timeout| !timeout.is_zero());
        let end = sleep.and_then(|sleep| Instant::now().checked_add(sleep));
        while let Err(e) = self.poll.poll(&mut self.events, timeout) {
            if e.kind() != io::ErrorKind::Interrupted {
                self.do_without_events(timeout);
                return Err(e);
            }
            // A signal has ended the sleep (EINTR): sleep for the rest of the time.
            timeout = end.map(|end| end.saturating_duration_since(Instant::now())).or(timeout);
        }
        let mut rung = false;
        for event in &self.events {
            let Token(token) = event.token();
            rung |= event.token() == BELL; // The bell has no slot.
            let Some(slot) = self.slots.get_mut(token & 0xffff_ffff) else { continue };
            if slot.generation != (token >> 32) as u32 {
                continue; // An old event of a socket that had this slot before.
            }
            let gone = event.is_error();
            slot.tricky |= gone || event.is_read_closed() || event.is_priority();
            let readable = gone || event.is_readable() || event.is_read_closed();
            let writable = gone || event.is_writable() || event.is_write_closed();
            for (direction, ready) in [(Direction::Read, readable), (Direction::Write, writable)] {
                let line = &mut slot.lines[direction as usize];
                line.ready |= ready;
                if !ready {
                    continue;
                }
                if line.pick_first(&mut self.all) {
                    let index = (token & 0xffff_ffff) as u32;
                    let id = SourceId::new(slot.fd, index, slot.generation);
                    self.unfinished.push((id, direction));
                }
                line.pick_poller(&mut self.all);
            }
        }
        if rung {
            let news = std::mem::take(&mut *self.handle.news());
            news.into_iter().for_each(|(id, news)| self.apply(id, news));
        }
        Ok(rung)
    }

    #[inline]
    fn slot(&mut self, id: SourceId) -> Option<&mut Slot<W>> {
        self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)
    }

    #[inline]
    fn line(
        &mut self,
        id: SourceId,
        direction: Direction,
    ) -> Option<(&mut Line<W>, &mut AllLines<W>)> {
        let slot = self.slots.get_mut(id.index as usize)?;
        let line = &mut slot.lines[direction as usize];
        (slot.generation == id.generation).then_some((line, &mut self.all))
    }
}
