//! The line of the waiters for one direction of a socket: first come, first served.
//!
//! At an event of the operating system, the line's flag goes up, and the first waiter is *picked*: taken out of the line,
//! for the scheduler to wake. While the flag stays up, each further poll of the operating system picks the next waiter,
//! since the first may have taken only a part of the data, or may have given up its wait. (If the event picked all, the
//! second would mostly find nothing, and lose its place.)

use std::collections::VecDeque;
use std::num::NonZeroU32;

/// Names the place of a waiter in a line. When the waiter has left the line, the ticket names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(NonZeroU32);

/// What all lines of a reactor share.
#[derive(Debug)]
pub(crate) struct AllLines<W> {
    /// Waiters that the scheduler is to wake.
    pub(crate) picked: VecDeque<W>,
    /// How many waiters stand in a line.
    pub(crate) waiting: usize,
    /// How many lines have a `poller`.
    pub(crate) pollers: usize,
    last: NonZeroU32,
}

impl<W> AllLines<W> {
    pub(crate) fn new() -> AllLines<W> {
        AllLines { picked: VecDeque::new(), waiting: 0, pollers: 0, last: NonZeroU32::MIN }
    }

    /// Returns a number that differs from the last 2^32 - 2 ones.
    pub(crate) fn stamp(&mut self) -> NonZeroU32 {
        self.last = self.last.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.last
    }
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Line<W> {
    /// The flag is up: a try may succeed.
    pub(crate) ready: bool,
    /// The line is in the reactor's list `unfinished`: the reactor's next poll picks the first waiter.
    pub(crate) listed: bool,
    /// The first waiter, mostly the only one: here, so that an event finds it without a further look at memory.
    first: Option<(Ticket, W)>,
    /// The waker of the last `AsyncRead` or `AsyncWrite` poll that was not by a task's own waker, as inside of a
    /// combinator. It has no place in the line, since nothing shows whether its future still exists. Each event picks it.
    poller: Option<W>,
    /// The waiters behind the first.
    others: VecDeque<(Ticket, W)>,
}

impl<W> Line<W> {
    pub(crate) const NEW: Line<W> =
        Line { ready: false, listed: false, first: None, poller: None, others: VecDeque::new() };

    /// Puts `waiter` at the end.
    ///
    /// # Errors
    ///
    /// Returns `waiter` if the flag is up: there is nothing to wait for.
    #[inline]
    pub(crate) fn stand(&mut self, waiter: W, all: &mut AllLines<W>) -> Result<Ticket, W> {
        if self.ready {
            return Err(waiter);
        }
        let ticket = Ticket(all.stamp());
        match self.first {
            None => self.first = Some((ticket, waiter)),
            Some(_) => self.others.push_back((ticket, waiter)),
        }
        all.waiting += 1;
        Ok(ticket)
    }

    /// Takes a waiter out; `None` if it was picked.
    pub(crate) fn leave(&mut self, ticket: Ticket, all: &mut AllLines<W>) -> Option<W> {
        let left = match self.first.take_if(|(at, _)| *at == ticket) {
            Some(first) => {
                self.first = self.others.pop_front();
                Some(first)
            }
            None => {
                let at = self.others.iter().position(|&(at, _)| at == ticket)?;
                self.others.remove(at)
            }
        };
        let (_, waiter) = left?;
        all.waiting -= 1;
        Some(waiter)
    }

    /// Keeps the waker of the last poll, and returns the one before.
    pub(crate) fn set_poller(&mut self, waker: W, all: &mut AllLines<W>) -> Option<W> {
        let before = self.poller.replace(waker);
        all.pollers += usize::from(before.is_none());
        before
    }

    /// Picks the first waiter. Returns `true` if others still wait, and the caller must list the line.
    pub(crate) fn pick_first(&mut self, all: &mut AllLines<W>) -> bool {
        let Some((_, waiter)) = self.first.take() else { return false };
        self.first = self.others.pop_front();
        all.waiting -= 1;
        all.picked.push_back(waiter);
        let list = self.first.is_some() && !self.listed;
        self.listed |= list;
        list
    }

    pub(crate) fn pick_poller(&mut self, all: &mut AllLines<W>) {
        let Some(poller) = self.poller.take() else { return };
        all.pollers -= 1;
        all.picked.push_back(poller);
    }

    /// Puts the flag up, and picks all waiters: each of them tries again.
    pub(crate) fn pick_all(&mut self, all: &mut AllLines<W>) {
        self.ready = true;
        let waiters = self.first.take().into_iter().chain(self.others.drain(..));
        for (_, waiter) in waiters {
            all.waiting -= 1;
            all.picked.push_back(waiter);
        }
        self.pick_poller(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_are_picked_in_the_order_of_their_arrival_whichever_of_them_have_left() {
        for gone in 0..1 << 4 {
            let (mut line, mut all) = (Line::NEW, AllLines::new());
            let tickets: Vec<_> = (0..4).map(|n| line.stand(n, &mut all).unwrap()).collect();
            let leaves = |n: &usize| gone >> n & 1 == 1;
            for n in (0..4).filter(leaves) {
                assert_eq!(line.leave(tickets[n], &mut all), Some(n));
                assert_eq!(line.leave(tickets[n], &mut all), None);
            }
            let left: Vec<_> = (0..4).filter(|n| !leaves(n)).collect();
            assert_eq!(all.waiting, left.len());
            let others_wait = line.pick_first(&mut all);
            assert_eq!(others_wait, left.len() > 1);
            line.pick_all(&mut all);
            assert_eq!((all.waiting, &all.picked), (0, &left.into()));
        }
    }
}
