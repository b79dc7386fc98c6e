//! Random numbers from a seed: for the order of the turns in a round (`Builder::seed`).

use std::cell::Cell;

/// Vigna's xorshift64*, of which the high bits are the good ones.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        // Multiplied to spread near seeds over all bits. The state must not be zero, which xorshift maps to zero; so the lowest
        // bit is set, and two seeds may share a state.
        Random(Cell::new(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    /// Puts `items` into a random order.
    pub(crate) fn shuffle<T>(&self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }

    fn next(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }
}
