//! Deadlines: which waits end at which tick of the clock.
//!
//! Time is cut into ticks of one millisecond (`edge/clock.rs`): all tasks whose deadline is in one tick are woken
//! together. (The timeout of `epoll_wait` is in milliseconds as well. Measured with a thousand sleepers, beside what is
//! here: timers without ticks cost half as much again; a map by tick and number of arrival, 40 % more instructions.)
//!
//! ```text
//!   buckets (a tree, by tick)         entries (a slab, linked in order of arrival)
//!     tick 17 ───────────────▶ [task 4] ⇄ [task 9] ⇄ [task 2]
//!     tick 20 ───────────────▶ [task 7]
//! ```
//!
//! A hundred thousand deadlines within one second are in at most a thousand buckets, so the tree stays small; adding
//! and removing an entry is linking and unlinking.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use slab::Slab;

use super::edge::clock::Tick;

/// Names an entry until that fires or is removed. Afterwards the key names nothing, at least for 2^32 - 2 insertions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    index: u32,
    generation: NonZeroU32,
}

/// Entries, each with the tick at which it fires and the `W` that is returned then: in the scheduler, a `Waiter`.
#[derive(Debug)]
pub(crate) struct Timers<W> {
    buckets: BTreeMap<Tick, Bucket>,
    entries: Slab<Entry<W>>,
    generation: NonZeroU32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    first: u32,
    last: u32,
}

#[derive(Debug)]
struct Entry<W> {
    tick: Tick,
    generation: NonZeroU32,
    previous: u32,
    next: u32,
    what: W,
}

const NONE: u32 = u32::MAX;

impl<W> Timers<W> {
    pub(crate) fn new() -> Timers<W> {
        Timers { buckets: BTreeMap::new(), entries: Slab::new(), generation: NonZeroU32::MIN }
    }

    pub(crate) fn insert(&mut self, tick: Tick, what: W) -> TimerKey {
        self.generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let generation = self.generation;
        let vacant = self.entries.vacant_entry();
        let index = u32::try_from(vacant.key()).expect("fewer than 2^32 timers");
        let bucket = self.buckets.get_mut(&tick);
        let previous = bucket.map_or(NONE, |bucket| std::mem::replace(&mut bucket.last, index));
        vacant.insert(Entry { tick, generation, previous, next: NONE, what });
        match previous {
            NONE => _ = self.buckets.insert(tick, Bucket { first: index, last: index }),
            previous => self.entries[previous as usize].next = index,
        }
        TimerKey { index, generation }
    }

    /// Takes an entry out before its time; `None` if it has fired or been removed already.
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<W> {
        self.entries.get(key.index as usize).filter(|entry| entry.generation == key.generation)?;
        let Entry { tick, previous, next, what, .. } = self.entries.remove(key.index as usize);
        let bucket = self.buckets.get_mut(&tick).expect("an entry is in its tick's bucket");
        match previous {
            NONE => bucket.first = next,
            previous => self.entries[previous as usize].next = next,
        }
        match next {
            NONE => bucket.last = previous,
            next => self.entries[next as usize].previous = previous,
        }
        if bucket.first == NONE {
            self.buckets.remove(&tick);
        }
        Some(what)
    }

    /// The tick of the earliest entry.
    pub(crate) fn next_tick(&self) -> Option<Tick> {
        self.buckets.first_key_value().map(|(&tick, _)| tick)
    }

    /// Takes one entry whose tick is `now` or before: the earliest tick first, within a tick in order of arrival.
    pub(crate) fn pop_due(&mut self, now: Tick) -> Option<W> {
        let mut bucket = self.buckets.first_entry().filter(|bucket| *bucket.key() <= now)?;
        let Entry { next, what, .. } = self.entries.remove(bucket.get().first as usize);
        bucket.get_mut().first = next;
        match next {
            NONE => _ = bucket.remove(),
            next => self.entries[next as usize].previous = NONE,
        }
        Some(what)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random operations against a plain sorted list.
    #[test]
    fn timers_behave_as_a_sorted_list_does() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut timers = Timers::new();
        let mut model: Vec<(Tick, u64, TimerKey)> = Vec::new();
        let mut gone = Vec::new();
        for what in 0..20_000 {
            match next(4) {
                0 | 1 => {
                    let tick = next(50);
                    let key = timers.insert(tick, what);
                    let place = model.partition_point(|&(t, ..)| t <= tick);
                    model.insert(place, (tick, what, key));
                }
                2 if !model.is_empty() => {
                    let (_, what, key) = model.remove(next(model.len() as u64) as usize);
                    assert_eq!(timers.remove(key), Some(what));
                    gone.push(key);
                }
                _ => {
                    let now = next(50);
                    let due = model.first().is_some_and(|&(t, ..)| t <= now);
                    let expected = due.then(|| model.remove(0));
                    assert_eq!(timers.pop_due(now), expected.map(|(_, what, _)| what));
                    gone.extend(expected.map(|(.., key)| key));
                }
            }
            assert_eq!(timers.next_tick(), model.first().map(|&(t, ..)| t));
            assert_eq!(timers.is_empty(), model.is_empty());
        }
        assert!(gone.iter().all(|&key| timers.remove(key).is_none()), "a spent key names nothing");
    }
}
