//! The line of the waiters for one direction of a socket: first come, first served.
//!
//! An event wakes the first. As long as the flag is up, each further poll wakes the next: the first may have taken only
//! a part of what there is, or have lost interest. (Woken at once, the second would find nothing, and lose its place.)

use std::collections::VecDeque;
use std::num::NonZeroU32;

/// Names a place in a line, until it is given up; afterwards it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(NonZeroU32);

/// What all lines of a reactor share: the waiters that have left them for an event. The scheduler takes them from here,
/// and wakes them.
#[derive(Debug)]
pub(crate) struct Wakes<W> {
    pub(crate) woken: VecDeque<W>,
    /// How many stand in a line.
    pub(crate) waiting: usize,
    /// How many have polled, and may have lost interest.
    pub(crate) pollers: usize,
    last: NonZeroU32,
}

impl<W> Wakes<W> {
    pub(crate) fn new() -> Wakes<W> {
        Wakes { woken: VecDeque::new(), waiting: 0, pollers: 0, last: NonZeroU32::MIN }
    }

    /// A number that was not given before (but for 2^32 others).
    pub(crate) fn stamp(&mut self) -> NonZeroU32 {
        self.last = self.last.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.last
    }
}

#[derive(Debug)]
pub(crate) struct Line<W> {
    /// The flag: a try may succeed.
    pub(crate) ready: bool,
    /// The reactor has it in its list of lines in which others still wait.
    pub(crate) listed: bool,
    waiters: VecDeque<(Ticket, W)>,
    /// The waker that last polled the socket, where that is not a task's own (`AsyncRead` inside of a combinator). It
    /// has no place in the line, since nothing shows whether its future still exists: each event wakes it.
    poller: Option<W>,
}

impl<W> Line<W> {
    pub(crate) const NEW: Line<W> =
        Line { ready: false, listed: false, waiters: VecDeque::new(), poller: None };

    /// Puts `waiter` at the end.
    ///
    /// # Errors
    ///
    /// Returns `waiter` if the flag is up: there is nothing to wait for.
    #[inline]
    pub(crate) fn stand(&mut self, waiter: W, wakes: &mut Wakes<W>) -> Result<Ticket, W> {
        if self.ready {
            return Err(waiter);
        }
        let ticket = Ticket(wakes.stamp());
        self.waiters.push_back((ticket, waiter));
        wakes.waiting += 1;
        Ok(ticket)
    }

    /// Takes a waiter out; `None` if it has been woken already.
    pub(crate) fn leave(&mut self, ticket: Ticket, wakes: &mut Wakes<W>) -> Option<W> {
        let at = self.waiters.iter().position(|&(at, _)| at == ticket)?;
        wakes.waiting -= 1;
        self.waiters.remove(at).map(|(_, waiter)| waiter)
    }

    /// Keeps the waker of the last poll, and returns the one before.
    pub(crate) fn set_poller(&mut self, waker: W, wakes: &mut Wakes<W>) -> Option<W> {
        let before = self.poller.replace(waker);
        wakes.pollers += usize::from(before.is_none());
        before
    }

    /// Wakes the first waiter. Returns `true` if others still wait, and the line is to be listed.
    pub(crate) fn wake_first(&mut self, wakes: &mut Wakes<W>) -> bool {
        let Some((_, waiter)) = self.waiters.pop_front() else { return false };
        wakes.waiting -= 1;
        wakes.woken.push_back(waiter);
        let list = !self.waiters.is_empty() && !self.listed;
        self.listed |= list;
        list
    }

    pub(crate) fn wake_poller(&mut self, wakes: &mut Wakes<W>) {
        let Some(poller) = self.poller.take() else { return };
        wakes.pollers -= 1;
        wakes.woken.push_back(poller);
    }

    /// Raises the flag and wakes all: the socket is worth a try by each.
    pub(crate) fn wake_all(&mut self, wakes: &mut Wakes<W>) {
        self.ready = true;
        wakes.waiting -= self.waiters.len();
        wakes.woken.extend(self.waiters.drain(..).map(|(_, waiter)| waiter));
        self.wake_poller(wakes);
    }
}
