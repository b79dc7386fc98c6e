//! A reproducible disorder, for tests: the order in which ready tasks have their turns, drawn from a seed.

use std::cell::Cell;
use std::collections::VecDeque;

/// Whoever is ready when a round begins has one turn in it, in an order drawn anew.
pub(crate) struct Shuffle {
    random: Cell<u64>,
    /// Turns left in this round.
    left: Cell<usize>,
}

impl Shuffle {
    pub(crate) fn new(seed: u64) -> Shuffle {
        // A multiple of an odd number, and never zero, which xorshift could not leave.
        let random = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Shuffle { random: Cell::new(random), left: Cell::new(0) }
    }

    /// To be called before the first of `queue` has its turn.
    pub(crate) fn before_turn<T>(&self, queue: &mut VecDeque<T>) {
        if self.left.get() == 0 {
            for i in (1..queue.len()).rev() {
                queue.swap(i, (self.next() % (i as u64 + 1)) as usize);
            }
            self.left.set(queue.len());
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
