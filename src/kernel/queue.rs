//! The run queue: who is ready, in which order.
//!
//! First in, first out; or, for tests, in a reproducible disorder: those who are ready when a round begins
//! have one turn each in it, in an order drawn from a seed, and then the next round is drawn.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;

pub(crate) struct Queue<T> {
    /// A `RefCell` would be checked twice in each turn, for nothing: see `with`.
    ready: UnsafeCell<VecDeque<T>>,
    shuffle: Option<Shuffle>,
}

struct Shuffle {
    random: Cell<u64>,
    /// Turns left in this round.
    left: Cell<usize>,
}

impl<T> Queue<T> {
    pub(crate) fn new(seed: Option<u64>) -> Queue<T> {
        let shuffle = seed.map(|seed| Shuffle {
            // A multiple of an odd number, and never zero, which xorshift could not leave.
            random: Cell::new(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            left: Cell::new(0),
        });
        Queue { ready: UnsafeCell::default(), shuffle }
    }

    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        // SAFETY: `f` is one of the closures below: none of them runs code of anybody else's (they move
        // `T`s and drop none), so that none comes back here; and a queue does not leave its thread.
        f(unsafe { &mut *self.ready.get() })
    }

    /// Puts `item` at the end.
    #[inline(always)]
    pub(crate) fn push(&self, item: T) {
        self.with(|ready| ready.push_back(item));
    }

    /// Takes whoever is next.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<T> {
        if let Some(shuffle) = &self.shuffle {
            self.with(|ready| shuffle.before_turn(ready));
        }
        self.with(VecDeque::pop_front)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.with(|ready| ready.is_empty())
    }
}

impl Shuffle {
    fn before_turn<T>(&self, ready: &mut VecDeque<T>) {
        if self.left.get() == 0 {
            for i in (1..ready.len()).rev() {
                ready.swap(i, (self.next() % (i as u64 + 1)) as usize);
            }
            self.left.set(ready.len());
        }
        self.left.set(self.left.get().saturating_sub(1));
    }

    /// Marsaglia's xorshift64.
    fn next(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.replace(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_gives_each_one_turn_whatever_the_seed() {
        let mut orders = Vec::new();
        for seed in 0..20 {
            let queue = Queue::new(Some(seed));
            (0..5).for_each(|n| queue.push(n));
            for _ in 0..3 {
                let mut round: Vec<_> = (0..5).map(|_| queue.pop().unwrap()).collect();
                round.iter().for_each(|&n| queue.push(n)); // ready again, for the next round
                orders.push(round.clone());
                round.sort_unstable();
                assert_eq!(round, [0, 1, 2, 3, 4]);
            }
        }
        orders.sort_unstable();
        orders.dedup();
        assert!(orders.len() > 30, "the orders differ");
    }
}
