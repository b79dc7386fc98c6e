//! When the scheduler polls the operating system: a pure type, which is passed the time and reads no clock.
//!
//! A poll costs as much as a few turns, so there is not one after each turn. Turns are counted in *strides*; at the end
//! of a stride the clock is read, and if a poll is due, it is done. After each poll, the length of a stride is set to
//! as many turns as fit into 200 µs if they take as long as the last ones: 1 to 64. So polls are frequent enough
//! that spinning tasks do not starve sockets and timers, and rare enough to cost little.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The longest stride, in turns.
const LONGEST: u32 = 64;

/// The time between two polls, more or less.
const PERIOD: Duration = Duration::from_micros(200);

/// A poll that is younger than this is fresh: see `is_fresh`.
const FRESH: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Pace {
    /// Turns in a stride.
    stride: Cell<u32>,
    /// Turns until this stride ends.
    turns_left: Cell<u32>,
    /// Turns since the last poll, without those of the present stride.
    since_poll: Cell<u32>,
    /// All turns before the last poll.
    before_poll: Cell<u64>,
    /// When the last poll was done.
    polled_at: Cell<Instant>,
    /// When this stride began.
    stride_began: Cell<Instant>,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Pace {
        Pace {
            stride: Cell::new(1),
            turns_left: Cell::new(1),
            since_poll: Cell::new(0),
            before_poll: Cell::new(0),
            polled_at: Cell::new(now),
            stride_began: Cell::new(now),
        }
    }

    /// Counts a turn. Returns `true` if it was the last of a stride: call [`is_due`](Pace::is_due) then.
    #[inline(always)]
    pub(crate) fn count_turn(&self) -> bool {
        let turns_left = self.turns_left.get() - 1;
        self.turns_left.set(turns_left);
        turns_left == 0
    }

    /// At the end of a stride: whether a poll is due. If not, another stride begins.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let stride = self.stride.get();
        // A stride that is shorter than the longest was chosen to last for the whole period.
        if stride < LONGEST || now - self.polled_at.get() >= PERIOD {
            return true;
        }
        self.since_poll.set(self.since_poll.get() + stride);
        self.turns_left.set(stride);
        self.stride_began.set(now);
        false
    }

    /// A poll, which began at `poll_began`, is done: chooses the next stride by how long the turns of this one took.
    pub(crate) fn polled(&self, poll_began: Instant, now: Instant) {
        let each = (poll_began - self.stride_began.get())
            / (self.stride.get() - self.turns_left.get()).max(1);
        self.before_poll.set(self.turns());
        self.since_poll.set(0);
        let stride = PERIOD.as_nanos() / each.as_nanos().max(1);
        self.stride.set(stride.clamp(1, LONGEST.into()) as u32);
        self.turns_left.set(self.stride.get());
        self.polled_at.set(now);
        self.stride_began.set(now);
    }

    /// Whether the last poll is recent, so that its answer still holds. In a turn that takes long, it becomes stale.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now - self.polled_at.get() < FRESH
    }

    /// The turns that have been counted.
    pub(crate) fn turns(&self) -> u64 {
        let since = self.since_poll.get() + self.stride.get() - self.turns_left.get();
        self.before_poll.get() + u64::from(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `turns` turns of the time `each`, with polls that take no time. Returns the times of the polls.
    fn polls(pace: &Pace, mut now: Instant, turns: u32, each: Duration) -> Vec<Instant> {
        let mut polls = Vec::new();
        for _ in 0..turns {
            now += each;
            if pace.count_turn() && pace.is_due(now) {
                pace.polled(now, now);
                polls.push(now);
            }
        }
        polls
    }

    #[test]
    fn between_two_polls_lie_two_hundred_microseconds_however_long_a_turn_takes() {
        for nanos in [1, 50, 400, 3_000, 7_000, 60_000, 200_000] {
            let (start, each) = (Instant::now(), Duration::from_nanos(nanos));
            let pace = Pace::new(start);
            let polls = polls(&pace, start, (2_000_000 / nanos).max(40) as u32, each);
            for pair in polls[1..].windows(2) {
                let longest = PERIOD + each * LONGEST;
                assert!(pair[1] - pair[0] <= longest, "{nanos} ns: {:?}", pair[1] - pair[0]);
                assert!(pair[1] - pair[0] >= PERIOD / 2, "{nanos} ns: {:?}", pair[1] - pair[0]);
            }
        }
    }

    #[test]
    fn turns_that_are_longer_than_the_period_are_each_followed_by_a_poll() {
        let start = Instant::now();
        let pace = Pace::new(start);
        assert_eq!(polls(&pace, start, 100, PERIOD * 3).len(), 100);
    }

    /// The stride in which they become slow was chosen in quick turns, and so may be the next, if that was at its end.
    #[test]
    fn turns_that_become_slow_delay_a_poll_by_two_strides_at_most() {
        let start = Instant::now();
        let pace = Pace::new(start);
        let quick = polls(&pace, start, 10_000, Duration::from_nanos(100));
        let slow = polls(&pace, *quick.last().unwrap(), 100 + 2 * LONGEST, PERIOD);
        assert!(slow.len() >= 100, "from then on, a poll after each turn: {}", slow.len());
    }

    #[test]
    fn each_turn_is_counted_once() {
        let start = Instant::now();
        let pace = Pace::new(start);
        for (turns, nanos) in [(0, 1), (1, 1), (999, 100), (5_000, 10), (17, 1_000_000)] {
            let before = pace.turns();
            polls(&pace, start + Duration::from_secs(1), turns, Duration::from_nanos(nanos));
            assert_eq!(pace.turns() - before, u64::from(turns));
        }
    }

    #[test]
    fn the_answer_of_a_poll_is_fresh_for_a_millisecond() {
        let start = Instant::now();
        let pace = Pace::new(start);
        assert!(pace.is_fresh(start + Duration::from_micros(999)));
        assert!(!pace.is_fresh(start + Duration::from_millis(1)));
    }
}
