//! Guarded stacks, and the arena that hands them out.
//!
//! Each stack lies in a *slot* of a large mapping. The memory is only reserved: a page costs nothing before it is first
//! touched, so a slot can be large. Below the stack lies its guard, where every access is a fault: an overflow never
//! reaches the slot below.
//!
//! ```text
//!   mapping  ┌───────────────┬───────────────┬───────────────┬─ ─ ─
//!            │ guard │ stack │ guard │ stack │ guard │ stack │
//!            └───────────────┴───────────────┴───────────────┴─ ─ ─
//!                            ^ limit        ^ base       (of the second slot; frames grow down, from the base)
//! ```
//!
//! The guard is 16 pages, not one: C code does not probe the pages of a large frame one by one, as Rust code does, so
//! that such a frame could step over a guard of one page. The guard is installed when its slot is first handed out, as
//! `edge/mapping.rs` describes.
//!
//! Slots lie a whole number of pages apart, and a cache chooses the place of a cache line by the low bits of its
//! address: the first frames of all stacks would compete for a few places. So each stack begins a few cache lines
//! further down than its neighbour, by its *offset*. (The idea is that of the slab allocator, Bonwick 1994. Measured with
//! a thousand tasks that take turns, a turn takes 12 ns instead of 15.)

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;

use super::edge::mapping::{Mapping, explain, page_size};

const GUARD_PAGES: usize = 16;

/// How many offsets there are: a stack begins 0 to 15 cache lines below the end of its slot.
const OFFSETS: usize = 16;
const CACHE_LINE: usize = 64; // So up to 15 × 64 = 960 bytes of a stack stay unused.

/// Slots of the first mapping of an arena; each further mapping is twice as large, up to `MOST_SLOTS`. If a mapping
/// does not fit into the address space, one of half as many slots is tried, down to one slot.
const FIRST_SLOTS: usize = 64;
const MOST_SLOTS: usize = 16 * 1024;

/// One slot of an [`Arena`], given back by [`Arena::give`]. Dropping it leaks the slot instead, which is what must
/// happen to a stack whose frames have neither returned nor unwound.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Where the first frame goes: the end of the slot, or up to 960 bytes below. A multiple of a cache line.
    pub(super) base: NonZeroUsize,
    /// The start of the slot and its guard (corosensei's word for the lowest address). A multiple of the page size.
    pub(super) limit: NonZeroUsize,
}

impl Stack {
    /// The addresses of the guard.
    pub(crate) fn guard(&self) -> Range<usize> {
        guard(self.limit)
    }

    /// How many bytes there are above the guard, with those that the offset leaves unused.
    pub(crate) fn usable(&self) -> usize {
        (self.base.get() - self.guard().end).next_multiple_of(page_size())
    }
}

/// The guard of the slot that begins at `limit`.
fn guard(limit: NonZeroUsize) -> Range<usize> {
    limit.get()..limit.get() + GUARD_PAGES * page_size()
}

/// Stacks of one size, for one thread: slots of `slot` bytes, of which `usable` lie above the guard.
#[derive(Debug)]
pub(crate) struct Arena {
    usable: usize,
    slot: usize,
    /// Each mapping, with the number of its slots.
    mappings: Vec<(Mapping, usize)>,
    /// Slots of the last mapping that have never been handed out: their guards are not installed.
    fresh: usize,
    /// Limits of the slots that were given back and not handed out again.
    free: Vec<NonZeroUsize>,
    handed_out: usize,
}

impl Arena {
    /// An arena of stacks of `usable` bytes, rounded up to whole pages; up to 960 bytes of a stack stay unused,
    /// depending on its offset. Nothing is mapped yet.
    pub(crate) fn new(usable: usize) -> Arena {
        let page = page_size();
        let usable = usable.max(page).next_multiple_of(page);
        let slot = usable + GUARD_PAGES * page;
        Arena { usable, slot, mappings: Vec::new(), fresh: 0, free: Vec::new(), handed_out: 0 }
    }

    /// Takes a stack that was given back, else one that was never used. An error of the operating system is returned
    /// with what to do about it.
    pub(crate) fn take(&mut self) -> io::Result<Stack> {
        let limit = match self.free.pop() {
            Some(limit) => limit,
            None => self.take_fresh()?,
        };
        self.handed_out += 1;
        let offset = limit.get() / self.slot % OFFSETS * CACHE_LINE;
        let base = limit.checked_add(self.slot - offset);
        let base = base.expect("a slot ends inside its mapping");
        Ok(Stack { base, limit })
    }

    /// Takes a stack back, and returns its memory to the operating system if `madvise` does so there; the guard stays.
    pub(crate) fn give(&mut self, stack: Stack) {
        let usable = stack.guard().end;
        debug_assert!(stack.usable() == self.usable, "a stack of another arena");
        // SAFETY: the range is the usable part of a slot of this arena (a fiber keeps the number of its pool), and the
        // caller has given up the `Stack`, the only handle to the slot: no frame lives there.
        unsafe { libc::madvise(usable as *mut _, self.usable, libc::MADV_DONTNEED) };
        self.free.push(stack.limit);
        self.handed_out -= 1;
    }

    /// How many stacks were given back and not handed out again.
    pub(crate) fn free_slots(&self) -> usize {
        self.free.len()
    }

    /// How many stacks are handed out.
    pub(crate) fn handed_out(&self) -> usize {
        self.handed_out
    }

    fn take_fresh(&mut self) -> io::Result<NonZeroUsize> {
        if self.fresh == 0 {
            let (mapping, slots) = self.map()?;
            self.fresh = slots;
            self.mappings.push((mapping, slots));
        }
        let (mapping, _) = self.mappings.last().expect("mapped above");
        // In order (from the top down), so that slots handed out one after the other share page tables.
        let limit = mapping.start().checked_add((self.fresh - 1) * self.slot);
        let limit = limit.expect("a slot begins inside its mapping");
        // SAFETY: the range is the guard of a fresh slot of this arena; no `Stack` uses its guard.
        unsafe { mapping.guard(&guard(limit)) }.map_err(|e| explain("guard", self.usable, e))?;
        self.fresh -= 1;
        Ok(limit)
    }

    /// Maps the next batch of slots, or, if there is no room, a smaller one.
    fn map(&self) -> io::Result<(Mapping, usize)> {
        let twice = |&(_, slots): &(_, usize)| (slots * 2).min(MOST_SLOTS);
        let mut slots = self.mappings.last().map_or(FIRST_SLOTS, twice);
        loop {
            match Mapping::new(slots.saturating_mul(self.slot)) {
                Ok(mapping) => return Ok((mapping, slots)),
                Err(e) if slots > 1 && e.raw_os_error() == Some(libc::ENOMEM) => slots /= 2,
                Err(e) => return Err(explain("map", self.usable, e)),
            }
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.handed_out > 0 {
            return; // A stack that is handed out may have frames on it: the mappings are leaked.
        }
        for (mapping, _) in self.mappings.drain(..) {
            // SAFETY: no slot of the mapping is handed out.
            unsafe { mapping.unmap() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_stack_given_back_is_handed_out_again_and_is_zero() {
        let mut arena = Arena::new(10_000);
        let stack = arena.take().unwrap();
        let (base, limit) = (stack.base, stack.limit);
        assert!(base.get() - limit.get() >= 10_000 + GUARD_PAGES * page_size());
        let last = (base.get() - 1) as *mut u8;
        // SAFETY: the topmost byte of a stack that only this test holds.
        unsafe { last.write(7) };
        arena.give(stack);
        let again = arena.take().unwrap();
        assert_eq!((again.base, again.limit), (base, limit));
        // SAFETY: as above.
        assert_eq!(unsafe { last.read() }, 0, "its memory went back to the operating system");
        arena.give(again);
    }

    #[test]
    fn more_stacks_than_one_mapping_are_all_distinct() {
        let mut arena = Arena::new(4096);
        let stacks: Vec<_> = (0..FIRST_SLOTS * 4).map(|_| arena.take().unwrap()).collect();
        let mut bases: Vec<_> = stacks.iter().map(|s| s.base).collect();
        bases.sort_unstable();
        let apart = arena.slot - OFFSETS * CACHE_LINE;
        assert!(bases.windows(2).all(|w| w[1].get() - w[0].get() >= apart));
        let lines: HashSet<_> = bases.iter().map(|base| base.get() % 4096 / CACHE_LINE).collect();
        assert_eq!(lines.len(), OFFSETS, "neighbours begin in different lines");
        stacks.into_iter().for_each(|s| arena.give(s));
    }

    #[test]
    fn a_size_that_cannot_be_mapped_says_so() {
        let mut arena = Arena::new(1 << 47); // not even one fits
        let error = arena.take().unwrap_err().to_string();
        assert!(error.contains("cannot map"), "{error}");
        assert!(error.contains("smaller or fewer stacks"), "{error}");
    }
}
