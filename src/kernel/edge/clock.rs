//! The clock of a run, and its ticks of one millisecond. A deadline is rounded up to the next tick: a task never wakes
//! early.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A point in time, in milliseconds since the start of the clock.
pub(crate) type Tick = u64;

/// The time as tasks see it: the machine's monotonic clock, or a virtual one that stands still until the
/// scheduler, with nothing else to do, moves it to the next deadline.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// How far a virtual clock is ahead of `start`; `None` for the machine's clock.
    ahead: Option<Cell<Duration>>,
    /// The latest time that this clock has returned.
    seen: Cell<Instant>,
}

impl Clock {
    pub(crate) fn real() -> Clock {
        Clock::new(None)
    }

    pub(crate) fn virtual_from_now() -> Clock {
        Clock::new(Some(Cell::new(Duration::ZERO)))
    }

    fn new(ahead: Option<Cell<Duration>>) -> Clock {
        let start = Instant::now();
        Clock { start, ahead, seen: Cell::new(start) }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.ahead.is_some()
    }

    pub(crate) fn now(&self) -> Instant {
        self.at(Instant::now)
    }

    /// The time by this clock. `machine` reads the machine's clock; a virtual clock does not call it.
    pub(crate) fn at(&self, machine: impl FnOnce() -> Instant) -> Instant {
        let now = self.ahead.as_ref().map_or_else(machine, |ahead| self.start + ahead.get());
        self.seen.set(now);
        now
    }

    /// Whether `deadline` has come. A deadline that had come at the latest reading needs no other: so a timer that has
    /// fired costs none.
    pub(crate) fn has_passed(&self, deadline: Instant) -> bool {
        self.seen.get() >= deadline || self.now() >= deadline
    }

    /// The last tick that has begun at `instant`.
    pub(crate) fn tick(&self, instant: Instant) -> Tick {
        let since = instant.saturating_duration_since(self.start);
        since.as_secs().saturating_mul(1000).saturating_add(since.subsec_millis().into())
    }

    /// The first tick at or after `deadline`; `None` if that is 2^50 milliseconds (some 35 000 years) off
    /// or more, and so never comes.
    pub(crate) fn tick_after(&self, deadline: Instant) -> Option<Tick> {
        let since = deadline.saturating_duration_since(self.start);
        let ms = since.subsec_nanos().div_ceil(1_000_000).into();
        since.as_secs().checked_mul(1000)?.checked_add(ms).filter(|&tick| tick < 1 << 50)
    }

    /// How long from `now` until `tick` begins.
    pub(crate) fn until(&self, tick: Tick, now: Instant) -> Duration {
        (self.start + Duration::from_millis(tick)).saturating_duration_since(now)
    }

    /// Moves a virtual clock forward by `time`, for which the thread was blocked.
    pub(crate) fn pass(&self, time: Duration) {
        self.ahead.iter().for_each(|ahead| ahead.set(ahead.get() + time));
    }

    /// Moves a virtual clock forward to `tick`; does nothing if the clock is past it.
    pub(crate) fn jump(&self, tick: Tick) {
        let ahead = self.ahead.as_ref().expect("only a virtual clock is moved");
        ahead.set(ahead.get().max(Duration::from_millis(tick)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_rounded_up_and_the_present_down() {
        let clock = Clock::virtual_from_now();
        let start = clock.now();
        assert_eq!(clock.tick_after(start), Some(0));
        assert_eq!(clock.tick_after(start + Duration::from_nanos(1)), Some(1));
        assert_eq!(clock.tick_after(start + Duration::from_secs(1 << 62)), None);
        assert_eq!(clock.tick(start + Duration::from_micros(1_999)), 1);
        assert_eq!(clock.tick_after(start + Duration::from_micros(1_999_001)), Some(2000));
        assert_eq!(clock.tick_after(start + Duration::from_secs(u64::MAX / 1000)), None);
        let end = start + Duration::from_millis(5);
        assert!(clock.has_passed(start) && !clock.has_passed(end));
        clock.jump(5);
        assert_eq!(clock.now(), end);
        assert!(clock.has_passed(end) && !clock.has_passed(end + Duration::from_nanos(1)));
        clock.jump(3);
        assert_eq!(clock.now(), start + Duration::from_millis(5), "never back");
    }
}
