//! The queue in which all tasks of this folder wait: first come, first served.
//!
//! ```text
//!             push             grant              leave
//!   (vacant) ──────▶ waiting ─────────▶ granted ─────────▶ (vacant): seen, or passed on
//!                       └───────────────────────────────▶ (vacant): given up
//!                                       leave
//! ```
//!
//! *Granted* is a state of its own: between the moment when a lock, a permit or an item is granted to a task and its
//! next turn, the task may be cancelled, or take the result of another operation. [`leave`](WaitQueue::leave) then
//! returns `None`, and its caller passes on what was granted, so that it is not lost.
//!
//! Waiters are linked in order of arrival. Their nodes are in a slab, so that pushing, granting and leaving take the
//! same short time however long the queue is, and allocate nothing once it has been as long.

use slab::Slab;

/// A queue of waiters, each a `W`.
#[derive(Debug)]
pub(crate) struct WaitQueue<W> {
    nodes: Slab<Node<W>>,
    first: u32,
    last: u32,
    waiting: usize,
}

#[derive(Debug)]
struct Node<W> {
    /// `None`: granted, and no longer linked.
    waiter: Option<W>,
    previous: u32,
    next: u32,
}

impl<W> Node<W> {
    const NEW: Node<W> = Node { waiter: None, previous: NONE, next: NONE };
}

/// Names a waiter's node until [`leave`](WaitQueue::leave).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

const NONE: u32 = u32::MAX;

impl<W> WaitQueue<W> {
    pub(crate) const fn new() -> WaitQueue<W> {
        WaitQueue { nodes: Slab::new(), first: NONE, last: NONE, waiting: 0 }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Adds a waiter at the end.
    #[inline(always)] // A waiter is some words, which a call would copy.
    pub(crate) fn push(&mut self, waiter: W) -> Key {
        let index = u32::try_from(self.nodes.insert(Node::NEW)).expect("fewer than 2^32 waiters");
        // Written where it stays: the copy of what was written just before would wait until that is in the cache.
        let node = &mut self.nodes[index as usize];
        (node.waiter, node.previous) = (Some(waiter), self.last);
        match std::mem::replace(&mut self.last, index) {
            NONE => self.first = index,
            previous => self.nodes[previous as usize].next = index,
        }
        self.waiting += 1;
        Key(index)
    }

    /// The first waiter.
    pub(crate) fn first(&self) -> Option<&W> {
        self.nodes.get(self.first as usize)?.waiter.as_ref()
    }

    /// Removes the first waiter from the queue. Its node stays, marked as granted, until [`leave`](WaitQueue::leave).
    #[inline(always)] // A waiter is some words, which a call would copy.
    pub(crate) fn grant(&mut self) -> Option<W> {
        (self.first != NONE).then(|| self.unlink(self.first))
    }

    /// The waiter of this node; `None` once it is granted.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut W> {
        self.nodes[key.0 as usize].waiter.as_mut()
    }

    /// Removes the node, and returns its waiter; `None` if it was granted.
    pub(crate) fn leave(&mut self, key: Key) -> Option<W> {
        let waits = self.nodes[key.0 as usize].waiter.is_some();
        let waiter = waits.then(|| self.unlink(key.0));
        self.nodes.remove(key.0 as usize);
        waiter
    }

    /// Calls `f` with each waiter, in order.
    pub(crate) fn each(&mut self, mut f: impl FnMut(&mut W)) {
        let mut index = self.first;
        while let Some(Node { waiter: Some(waiter), next, .. }) = self.nodes.get_mut(index as usize)
        {
            f(waiter);
            index = *next;
        }
    }

    #[inline(always)] // A waiter is some words, which a call would copy.
    fn unlink(&mut self, index: u32) -> W {
        let node = &mut self.nodes[index as usize];
        let waiter = node.waiter.take().expect("only waiters are linked");
        let (previous, next) = (node.previous, node.next);
        match previous {
            NONE => self.first = next,
            previous => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => self.nodes[next as usize].previous = previous,
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
        assert!(queue.nodes.capacity() < 2 * longest.next_power_of_two(), "places are used again");
    }
}
