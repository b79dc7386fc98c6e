//! The pools of a thread, one for each size of stack in pages. A pool keeps idle fibers, those that have no job, for
//! later jobs.
//!
//! An idle fiber is *hot*: it keeps the memory that its stack has touched, and its next job finds that memory there. After
//! a peak, a pool has more hot fibers than the program needs. Which of them to end is counted in *periods*:
//!
//! * Idle fibers lie on a pile. A job takes the fiber on top, which was used last, and puts it back at its end.
//! * The fibers that stayed on the pile through a whole period are those at its bottom, up to its lowest height in that
//!   period. No job needed them.
//! * In the next period, each job that ends also ends one of them, whose stack gives its memory back.
//!
//! A period is twice as many jobs as there are fibers, and at least 1024. So it covers a whole wave of tasks that needs
//! all fibers at once, and repeated waves of one size end no fiber. (The low-water mark is tcmalloc's, for the free
//! lists of a thread.)

use std::io;
use std::ops::Range;

use super::super::stack::{Arena, Stack};
use super::mapping::page_size;

/// An idle fiber, as a pool needs to know it.
pub(crate) trait Idle {
    /// Makes an idle fiber on `stack`, for the pool with this number.
    fn new(stack: Stack, pool: usize) -> Self;

    /// Ends the fiber.
    fn into_stack(self) -> Stack;
}

/// The pools of a thread, which are numbered, and the arenas of their stacks.
pub(crate) struct Pools<T: Idle>(Vec<Pool<T>>);

struct Pool<T: Idle> {
    /// The sizes that it is for, in usable bytes: all that take as many pages.
    sizes: Range<usize>,
    pile: IdlePile<T>,
    arena: Arena,
}

impl<T: Idle> Pools<T> {
    pub(crate) const fn new() -> Pools<T> {
        Pools(Vec::new())
    }

    /// Takes an idle fiber from the pool for stacks of `size` usable bytes, or makes one. Pools do not lend to one another.
    ///
    /// # Errors
    ///
    /// Returns the operating system's error if there is no address space for another stack.
    #[inline]
    pub(crate) fn take(&mut self, size: usize) -> io::Result<T> {
        let pools = &mut self.0;
        let found = pools.iter().position(|pool| pool.sizes.contains(&size));
        let number = found.unwrap_or_else(|| {
            pools.push(Pool::new(size));
            pools.len() - 1
        });
        let pool = &mut pools[number];
        match pool.pile.take() {
            Some(idle) => Ok(idle),
            None => Ok(T::new(pool.arena.take()?, number)),
        }
    }

    /// Puts a fiber back into its pool, at the end of a job.
    #[inline]
    pub(crate) fn put(&mut self, pool: usize, idle: T) {
        let Pool { pile, arena, .. } = &mut self.0[pool];
        if let Some(surplus) = pile.put(idle, arena.handed_out()) {
            arena.give(surplus.into_stack());
        }
    }

    /// Ends all idle fibers, so that their stacks give their memory back.
    pub(crate) fn trim(&mut self) {
        self.0.iter_mut().for_each(Pool::trim);
    }

    /// Returns how many stacks are in use, how many are hot, and how many are kept as addresses without memory.
    pub(crate) fn count(&self) -> (usize, usize, usize) {
        let cold = self.0.iter().map(|pool| pool.arena.free_slots()).sum();
        let hot = self.0.iter().map(|pool| pool.pile.len()).sum::<usize>();
        let taken = self.0.iter().map(|pool| pool.arena.handed_out()).sum::<usize>();
        (taken - hot, hot, cold)
    }
}

impl<T: Idle> Pool<T> {
    /// The pool for stacks of `size` bytes, and for all other sizes that take as many pages.
    fn new(size: usize) -> Pool<T> {
        let usable = size.next_multiple_of(page_size());
        let sizes = usable - page_size() + 1..usable + 1;
        Pool { sizes, pile: IdlePile::new(), arena: Arena::new(usable) }
    }

    fn trim(&mut self) {
        for idle in self.pile.take_all() {
            self.arena.give(idle.into_stack());
        }
    }
}

impl<T: Idle> Drop for Pool<T> {
    fn drop(&mut self) {
        self.trim();
    }
}

/// A pile of idle fibers, the last used on top. (Generic only for its tests.)
#[derive(Debug)]
struct IdlePile<T> {
    pile: Vec<T>,
    /// How many, at the bottom, have not been taken in this period: its low-water mark.
    unused: usize,
    /// How many were not taken in the period before, and are still to be ended.
    surplus: usize,
    /// How many jobs are left in this period.
    jobs_left: usize,
}

/// The smallest number of jobs in a period.
const PERIOD: usize = 1024;

impl<T> IdlePile<T> {
    fn new() -> IdlePile<T> {
        IdlePile { pile: Vec::new(), unused: 0, surplus: 0, jobs_left: PERIOD }
    }

    fn len(&self) -> usize {
        self.pile.len()
    }

    /// Takes the fiber that was used last.
    fn take(&mut self) -> Option<T> {
        let last = self.pile.pop()?;
        self.unused = self.unused.min(self.pile.len());
        Some(last)
    }

    /// Puts a fiber back, at the end of its job. `all` is how many fibers the pool has, idle or not. Returns a fiber that is to
    /// be ended, if there is one.
    fn put(&mut self, one: T, all: usize) -> Option<T> {
        self.pile.push(one);
        self.jobs_left -= 1;
        if self.jobs_left == 0 {
            (self.surplus, self.unused) = (self.unused, self.pile.len());
            self.jobs_left = PERIOD.max(2 * all);
        }
        if self.surplus == 0 || self.unused == 0 {
            return None;
        }
        self.surplus -= 1;
        self.unused -= 1;
        // The fiber on top, which was just pushed, takes its place. No order above the mark is promised; the mark alone
        // counts.
        Some(self.pile.swap_remove(self.unused))
    }

    /// Takes all.
    fn take_all(&mut self) -> Vec<T> {
        (self.unused, self.surplus) = (0, 0);
        std::mem::take(&mut self.pile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wave of `width` jobs at once. Returns how many went.
    fn wave(pile: &mut IdlePile<usize>, width: usize) -> usize {
        let all = width.max(pile.len());
        let taken: Vec<_> = (0..width).map(|n| pile.take().unwrap_or(n)).collect();
        taken.into_iter().filter_map(|one| pile.put(one, all)).count()
    }

    /// A stack, and the number of its pool.
    struct Taken(Stack, usize);

    impl Idle for Taken {
        fn new(stack: Stack, pool: usize) -> Taken {
            Taken(stack, pool)
        }

        fn into_stack(self) -> Stack {
            self.0
        }
    }

    #[test]
    fn sizes_of_as_many_pages_share_a_pool() {
        let (mut pools, page) = (Pools::<Taken>::new(), page_size());
        let sizes = [8 * page, 8 * page + 1, 9 * page - 1, 9 * page, 9 * page + 1, 1, page];
        let of = sizes.map(|size| {
            let taken = pools.take(size).unwrap();
            assert!(taken.0.usable() >= size);
            let number = taken.1;
            pools.put(number, taken);
            number
        });
        assert_eq!(of, [0, 1, 1, 1, 2, 3, 3]);
    }

    #[test]
    fn equal_waves_keep_all() {
        let mut pile = IdlePile::new();
        let gone: usize = (0..100).map(|_| wave(&mut pile, 5000)).sum();
        assert_eq!((gone, pile.len()), (0, 5000));
    }

    #[test]
    fn after_a_peak_as_many_are_kept_as_are_needed() {
        let mut pile = IdlePile::new();
        wave(&mut pile, 5000);
        let gone: usize = (0..10_000).map(|_| wave(&mut pile, 10)).sum();
        assert_eq!((gone, pile.len()), (4990, 10));
    }
}
