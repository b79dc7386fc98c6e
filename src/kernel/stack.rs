//! Guarded stacks, and the arena that hands them out.
//!
//! A stack is a *slot* of one large mapping. Memory is only reserved: a page costs nothing before it
//! is first touched, so a slot can be generous. Below the usable part lies the guard, where every
//! access is a fault, so that an overflow never reaches the neighbour:
//!
//! ```text
//!   mapping  ┌───────────────┬───────────────┬───────────────┬─ ─ ─
//!            │ guard │ stack │ guard │ stack │ guard │ stack │
//!            └───────────────┴───────────────┴───────────────┴─ ─ ─
//!                 limit ^    ^ base                       (grows down: base to limit)
//! ```
//!
//! The guard is 16 pages, not one: C code does not probe the pages of a large frame one by one, as
//! Rust does, and could step over a small guard. It is installed when a slot is first handed out
//! (`edge/mapping.rs` says how).
//!
//! Slots lie a round number of pages apart, and caches and TLBs choose the place of a line by the low bits of its
//! address: the first frames of all stacks would fight for a few places. So each begins some lines further down
//! than its neighbour. (The idea is that of the slab allocator's colouring, Bonwick 1994. With a thousand tasks in
//! rotation, a turn takes 12 ns instead of 15.)

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;

use super::edge::mapping::{Mapping, explain, page_size};

const GUARD_PAGES: usize = 16;

/// How many colours there are: offsets, a cache line apart, at which stacks begin.
const COLOURS: usize = 16;
const LINE: usize = 64;

/// Slots of the first mapping of an arena; each further mapping is twice as large, up to `MOST_SLOTS`. Where that
/// does not fit into the address space, half as many are mapped, down to one.
const FIRST_SLOTS: usize = 64;
const MOST_SLOTS: usize = 16 * 1024;

/// One slot of an [`Arena`]. It goes back by [`Arena::give`]; when dropped instead, it is leaked, which
/// is what must happen to a stack whose frames have neither returned nor unwound.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Where the first frame goes: the end of the slot, or up to a KiB below. A multiple of a cache line.
    pub(super) base: NonZeroUsize,
    /// The start of the slot, and of its guard. A multiple of the page size.
    pub(super) limit: NonZeroUsize,
}

impl Stack {
    /// The addresses of its guard.
    pub(crate) fn guard(&self) -> Range<usize> {
        guard(self.limit)
    }

    /// How many bytes there are above the guard.
    pub(crate) fn usable(&self) -> usize {
        (self.base.get() - self.guard().end).next_multiple_of(page_size())
    }
}

/// The guard of the slot that begins at `limit`.
fn guard(limit: NonZeroUsize) -> Range<usize> {
    limit.get()..limit.get() + GUARD_PAGES * page_size()
}

/// Stacks of one size, for one thread.
#[derive(Debug)]
pub(crate) struct Arena {
    usable: usize,
    slot: usize,
    /// Each with the number of its slots.
    mappings: Vec<(Mapping, usize)>,
    /// Slots of the last mapping that have never been handed out: their guards are not installed.
    fresh: usize,
    /// Limits of slots that were given back.
    free: Vec<NonZeroUsize>,
    handed_out: usize,
}

impl Arena {
    /// Stacks of `usable` bytes, rounded up to whole pages. Up to a KiB of that stays unused, depending on the
    /// colour. Nothing is mapped yet.
    pub(crate) fn new(usable: usize) -> Arena {
        let page = page_size();
        let usable = usable.max(page).next_multiple_of(page);
        let slot = usable + GUARD_PAGES * page;
        Arena { usable, slot, mappings: Vec::new(), fresh: 0, free: Vec::new(), handed_out: 0 }
    }

    /// A stack: one that was given back, else one never used.
    ///
    /// # Errors
    ///
    /// What the operating system answered, with what to do about it.
    pub(crate) fn take(&mut self) -> io::Result<Stack> {
        let limit = match self.free.pop() {
            Some(limit) => limit,
            None => self.take_fresh()?,
        };
        self.handed_out += 1;
        let colour = limit.get() / self.slot % COLOURS;
        let base = limit.checked_add(self.slot - colour * LINE);
        let base = base.expect("a slot ends inside its mapping");
        Ok(Stack { base, limit })
    }

    /// Takes a stack back and returns its memory to the operating system, where `madvise` does anything; the guard stays.
    pub(crate) fn give(&mut self, stack: Stack) {
        let usable = stack.guard().end;
        // SAFETY: the range is the usable part of a slot of ours, and the caller gave up the `Stack`,
        // the only handle to it: no frame lives there.
        unsafe { libc::madvise(usable as *mut _, self.usable, libc::MADV_DONTNEED) };
        self.free.push(stack.limit);
        self.handed_out -= 1;
    }

    /// How many stacks were given back.
    pub(crate) fn free_slots(&self) -> usize {
        self.free.len()
    }

    /// How many stacks are out.
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
        // From the top down, so that the slots handed out next to each other share page tables.
        let limit = mapping.start().checked_add((self.fresh - 1) * self.slot);
        let limit = limit.expect("a slot begins inside its mapping");
        // SAFETY: the guard of a slot of this arena's that is not handed out yet.
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
            return; // A stack that is in use has frames on it: leaked, not unmapped.
        }
        for (mapping, _) in self.mappings.drain(..) {
            // SAFETY: none of its slots is handed out.
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
        assert_eq!(unsafe { last.read() }, 0, "its memory went back to the kernel");
        arena.give(again);
    }

    #[test]
    fn more_stacks_than_one_mapping_are_all_distinct() {
        let mut arena = Arena::new(4096);
        let stacks: Vec<_> = (0..FIRST_SLOTS * 4).map(|_| arena.take().unwrap()).collect();
        let mut bases: Vec<_> = stacks.iter().map(|s| s.base).collect();
        bases.sort_unstable();
        assert!(bases.windows(2).all(|w| w[1].get() - w[0].get() >= arena.slot - COLOURS * LINE));
        let lines: HashSet<_> = bases.iter().map(|base| base.get() % 4096 / LINE).collect();
        assert_eq!(lines.len(), COLOURS, "neighbours begin in different lines");
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
