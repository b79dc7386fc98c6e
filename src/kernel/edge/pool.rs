//! The pools of a thread, one for each size of stack: where fibers that have no job are kept for the next one.
//!
//! An idle fiber is *hot*: it keeps the memory that its stack has touched, and the next job finds it there. After a
//! peak there are more of them than the program needs. A job takes the fiber that was used last. The fibers that were
//! on the pile at its lowest in a period were not needed in it; in the next period they give their memory back, one
//! at the end of each job. A period is twice as many jobs as there are fibers (1024 at least): it covers the whole of a wave of tasks
//! that needs all fibers, and waves find the fibers of the wave before. (The low-water mark is tcmalloc's, for the
//! free lists of a thread.)

use std::io;

use crate::kernel::stack::{Arena, Stack};

/// What a pool keeps: an idle fiber.
pub(crate) trait Idle {
    /// Makes one, for the pool with this number.
    fn new(stack: Stack, pool: usize) -> Self;

    /// Ends it.
    fn into_stack(self) -> Stack;
}

/// The pools of a thread, which are numbered, and the arenas of their stacks.
pub(crate) struct Pools<T: Idle>(Vec<Pool<T>>);

struct Pool<T: Idle> {
    /// The size of the stacks that it was made for.
    size: usize,
    pile: IdlePile<T>,
    arena: Arena,
}

impl<T: Idle> Pools<T> {
    pub(crate) const fn new() -> Pools<T> {
        Pools(Vec::new())
    }

    /// Takes an idle fiber whose stack has at least `size` usable bytes, or makes one.
    ///
    /// # Errors
    ///
    /// The operating system's, when there is no address space for another stack.
    #[inline]
    pub(crate) fn take(&mut self, size: usize) -> io::Result<T> {
        let pools = &mut self.0;
        let number = pools.iter().position(|pool| pool.size == size).unwrap_or_else(|| {
            pools.push(Pool { size, pile: IdlePile::new(), arena: Arena::new(size) });
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

    /// Gives back the memory of all idle fibers.
    pub(crate) fn trim(&mut self) {
        self.0.iter_mut().for_each(Pool::trim);
    }

    /// How many stacks are in use, how many are kept hot for the next job, and how many have given their memory back.
    pub(crate) fn count(&self) -> (usize, usize, usize) {
        let cold = self.0.iter().map(|pool| pool.arena.given_back()).sum();
        let hot = self.0.iter().map(|pool| pool.pile.len()).sum::<usize>();
        let taken = self.0.iter().map(|pool| pool.arena.handed_out()).sum::<usize>();
        (taken - hot, hot, cold)
    }
}

impl<T: Idle> Pool<T> {
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

/// Idle things, the last used on top.
#[derive(Debug)]
struct IdlePile<T> {
    pile: Vec<T>,
    /// So many of them, at the bottom, have not been used in this period.
    unused: usize,
    /// So many were not used in the period before, and are to go.
    surplus: usize,
    /// Jobs until the period ends.
    jobs_left: usize,
}

/// Jobs in a period, if there are few things.
const PERIOD: usize = 1024;

impl<T> IdlePile<T> {
    fn new() -> IdlePile<T> {
        IdlePile { pile: Vec::new(), unused: 0, surplus: 0, jobs_left: PERIOD }
    }

    fn len(&self) -> usize {
        self.pile.len()
    }

    /// Takes the one that was used last.
    fn take(&mut self) -> Option<T> {
        let last = self.pile.pop()?;
        self.unused = self.unused.min(self.pile.len());
        Some(last)
    }

    /// Puts one back, at the end of a job; `all` is how many there are, idle or not. Returns one that is to go.
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
        Some(self.pile.swap_remove(self.unused)) // The one just pushed takes its place.
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
