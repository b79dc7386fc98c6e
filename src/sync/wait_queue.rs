//! The queue that everything in this folder waits in: first come, first served.
//!
//! ```text
//!             push             grant              leave
//!   (vacant) ──────▶ waiting ─────────▶ granted ─────────▶ (vacant): seen, or passed on
//!                       └───────────────────────────────▶ (vacant): given up
//!                                       leave
//! ```
//!
//! *Granted* is a state of its own: between being given a lock, a permit or an item and its next turn, a task
//! may be cancelled or choose something else. [`leave`](WaitQueue::leave) tells the two apart, so that what was
//! granted and not seen is passed on, and not lost.
//!
//! Waiters are linked in order of arrival; their places are a slab's, so that pushing, granting and leaving take the
//! same short time however long the line is, and allocate nothing once it has been as long.

use slab::Slab;

/// A line of `W`s.
#[derive(Debug)]
pub(crate) struct WaitQueue<W> {
    places: Slab<Place<W>>,
    first: u32,
    last: u32,
    waiting: usize,
}

#[derive(Debug)]
struct Place<W> {
    /// `None`: granted, and no longer linked.
    waiter: Option<W>,
    previous: u32,
    next: u32,
}

/// Names a place until it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

const NONE: u32 = u32::MAX;

impl<W> WaitQueue<W> {
    pub(crate) const fn new() -> WaitQueue<W> {
        WaitQueue { places: Slab::new(), first: NONE, last: NONE, waiting: 0 }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Stands at the end.
    pub(crate) fn push(&mut self, waiter: W) -> Key {
        let place = Place { waiter: Some(waiter), previous: self.last, next: NONE };
        let index = u32::try_from(self.places.insert(place)).expect("fewer than 2^32 waiters");
        match std::mem::replace(&mut self.last, index) {
            NONE => self.first = index,
            previous => self.places[previous as usize].next = index,
        }
        self.waiting += 1;
        Key(index)
    }

    /// Who is first.
    pub(crate) fn first(&self) -> Option<&W> {
        self.places.get(self.first as usize)?.waiter.as_ref()
    }

    /// Takes the first out of the line; its place says so until it is left.
    pub(crate) fn grant(&mut self) -> Option<W> {
        (self.first != NONE).then(|| self.unlink(self.first))
    }

    /// Who waits there; `None` once it is granted.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut W> {
        self.places[key.0 as usize].waiter.as_mut()
    }

    /// Gives up the place, and returns its waiter; `None` if it was granted.
    pub(crate) fn leave(&mut self, key: Key) -> Option<W> {
        let waits = self.places[key.0 as usize].waiter.is_some();
        let waiter = waits.then(|| self.unlink(key.0));
        self.places.remove(key.0 as usize);
        waiter
    }

    /// Calls `f` with each waiter, in order.
    pub(crate) fn each(&mut self, mut f: impl FnMut(&mut W)) {
        let mut index = self.first;
        while let Some(Place { waiter: Some(waiter), next, .. }) =
            self.places.get_mut(index as usize)
        {
            f(waiter);
            index = *next;
        }
    }

    fn unlink(&mut self, index: u32) -> W {
        let place = &mut self.places[index as usize];
        let waiter = place.waiter.take().expect("only who waits is linked");
        let (previous, next) = (place.previous, place.next);
        match previous {
            NONE => self.first = next,
            previous => self.places[previous as usize].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => self.places[next as usize].previous = previous,
        }
        self.waiting -= 1;
        waiter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random operations against a plain list.
    #[test]
    fn it_behaves_as_a_list_does() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        let mut queue = WaitQueue::new();
        let mut waiting: Vec<(Key, usize)> = Vec::new();
        let mut granted: Vec<Key> = Vec::new();
        let mut longest = 0;
        for who in 0..20_000 {
            match next(5) {
                0 | 1 => waiting.push((queue.push(who), who)),
                2 => {
                    let expected = (!waiting.is_empty()).then(|| waiting.remove(0));
                    assert_eq!(queue.grant(), expected.map(|(_, who)| who));
                    granted.extend(expected.map(|(key, _)| key));
                }
                3 if !waiting.is_empty() => {
                    let (key, who) = waiting.remove(next(waiting.len()));
                    assert_eq!(queue.leave(key), Some(who));
                }
                _ if !granted.is_empty() => {
                    let key = granted.swap_remove(next(granted.len()));
                    assert_eq!(queue.get_mut(key), None);
                    assert_eq!(queue.leave(key), None);
                }
                _ => {}
            }
            longest = longest.max(waiting.len() + granted.len());
            assert_eq!(queue.len(), waiting.len());
            assert_eq!(queue.first(), waiting.first().map(|(_, who)| who));
            assert!(waiting.iter().all(|&(key, mut who)| queue.get_mut(key) == Some(&mut who)));
            let mut line = Vec::new();
            queue.each(|&mut who| line.push(who));
            assert!(line.iter().eq(waiting.iter().map(|(_, who)| who)));
        }
        assert!(longest > 10, "the line was never long");
        assert!(queue.places.capacity() < 2 * longest.next_power_of_two(), "places are used again");
    }
}
