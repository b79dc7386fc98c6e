//! The line of the waiters for one direction of a socket: first come, first served.
//!
//! An event of the operating system sets the line's flag and wakes the first waiter. While the flag stays set, each further
//! poll of the operating system wakes the next waiter, since the first may have taken only a part of the data, or may have
//! given up its wait. (If all were woken by the event, the second would mostly find nothing, and lose its place.)

use std::collections::VecDeque;
use std::num::NonZeroU32;

/// Names the place of a waiter in a line. When the waiter has left the line, the ticket names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(NonZeroU32);

/// What all lines of a reactor share.
#[derive(Debug)]
pub(crate) struct Wakes<W> {
    /// Waiters that were taken out of their lines, for the scheduler to wake.
    pub(crate) woken: VecDeque<W>,
    /// How many waiters stand in a line.
    pub(crate) waiting: usize,
    /// How many lines have a `poller`.
    pub(crate) pollers: usize,
    last: NonZeroU32,
}

impl<W> Wakes<W> {
    pub(crate) fn new() -> Wakes<W> {
        Wakes { woken: VecDeque::new(), waiting: 0, pollers: 0, last: NonZeroU32::MIN }
    }

    /// Returns a number that differs from the last 2^32 - 2 ones.
    pub(crate) fn stamp(&mut self) -> NonZeroU32 {
        self.last = self.last.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.last
    }
}

#[derive(Debug)]
pub(crate) struct Line<W> {
    /// The flag: a try may succeed.
    pub(crate) ready: bool,
    /// The line is in the reactor's list `unfinished`: its next poll wakes the first waiter.
    pub(crate) listed: bool,
    waiters: VecDeque<(Ticket, W)>,
    /// The waker of the last `AsyncRead` or `AsyncWrite` poll that was not by a task's own waker, as inside of a
    /// combinator. It has no place in the line, since nothing shows whether its future still exists. Each event wakes it.
    poller: Option<W>,
}

impl<W> Line<W> {
    pub(crate) const NEW: Line<W> =
        Line { ready: false, listed: false, waiters: VecDeque::new(), poller: None };

    /// Puts `waiter` at the end.
    ///
    /// # Errors
    ///
    /// Returns `waiter` if the flag is set: there is nothing to wait for.
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

    /// Wakes the first waiter. Returns `true` if others still wait, and the caller must list the line.
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

    /// Sets the flag and wakes all waiters: each of them tries again.
    pub(crate) fn wake_all(&mut self, wakes: &mut Wakes<W>) {
        self.ready = true;
        wakes.waiting -= self.waiters.len();
        wakes.woken.extend(self.waiters.drain(..).map(|(_, waiter)| waiter));
        self.wake_poller(wakes);
    }
}
