//! The run queue: which tasks are ready, in which order.
//!
//! First in, first out, in rounds: the tasks that are ready when a round begins have one turn each in it, and a task
//! that becomes ready meanwhile has its turn in the next round. For tests, a seed may determine the order of a round.

use std::cell::UnsafeCell;
use std::mem;

use super::edge::random::Random;

pub(crate) struct Queue<T> {
    /// Not a `RefCell`, which would cost two checks in each turn; `with` explains why that is sound.
    rounds: UnsafeCell<Rounds<T>>,
    /// `None`: a round has the order in which the items came.
    random: Option<Random>,
}

/// Two vectors: pushing and popping take half of the instructions that a ring buffer takes.
struct Rounds<T> {
    /// The items that have not been taken in this round, the next one last.
    now: Vec<T>,
    /// The items of the next round, in the order in which they came.
    next: Vec<T>,
}

impl<T> Queue<T> {
    pub(crate) fn new(seed: Option<u64>) -> Queue<T> {
        let rounds = Rounds { now: Vec::new(), next: Vec::new() };
        Queue { rounds: UnsafeCell::new(rounds), random: seed.map(Random::new) }
    }

    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut Rounds<T>) -> R) -> R {
        // SAFETY: `f` is one of the closures below. They move items and drop none, so that no user code runs meanwhile
        // and calls this again; and no other thread does, since a `Queue` is not `Sync`.
        f(unsafe { &mut *self.rounds.get() })
    }

    /// Puts `item` at the end.
    #[inline(always)]
    pub(crate) fn push(&self, item: T) {
        self.with(|rounds| rounds.next.push(item));
    }

    /// Takes the next item.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<T> {
        self.with(|rounds| rounds.now.pop().or_else(|| self.begin(rounds)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.with(|rounds| rounds.now.is_empty() && rounds.next.is_empty())
    }

    /// Begins a round, and takes its first item.
    fn begin(&self, rounds: &mut Rounds<T>) -> Option<T> {
        mem::swap(&mut rounds.now, &mut rounds.next);
        match &self.random {
            None => rounds.now.reverse(),
            Some(random) => random.shuffle(&mut rounds.now),
        }
        rounds.now.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_is_first_out() {
        let queue = Queue::new(None);
        let (mut pushed, mut popped) = (0, 0);
        for step in 0..100 {
            for _ in 0..step % 7 {
                queue.push(pushed);
                pushed += 1;
            }
            for _ in 0..(step * 5) % 8 {
                if popped < pushed {
                    assert_eq!(queue.pop(), Some(popped));
                    popped += 1;
                }
            }
            assert_eq!(queue.is_empty(), popped == pushed);
        }
        assert!((popped..pushed).eq(std::iter::from_fn(|| queue.pop())), "the rest");
    }

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

    #[test]
    fn the_first_of_two_is_either_with_about_half_of_the_seeds() {
        let first = |seed| {
            let queue = Queue::new(Some(seed));
            (0..2).for_each(|n| queue.push(n));
            queue.pop().unwrap()
        };
        let seconds = (0..1000).map(first).sum::<u32>();
        assert!((400..600).contains(&seconds), "{seconds} of 1000");
    }
}
