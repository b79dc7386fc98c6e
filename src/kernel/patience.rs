//! For how long a run waits in which nothing moves, before a deadlock is suspected.
//!
//! It is counted in slices of a tenth of the limit, each of which the thread sleeps, and each of which counts its
//! own length at most. The clock alone would not do: a process that is stopped (`SIGSTOP`, a debugger) for longer
//! than the limit finds its sleep over when it goes on, before other threads had the time to move anything. Now
//! a stop counts as one slice.

use std::time::Duration;

/// How long it takes at first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How many slices make up the limit.
const SLICES: u32 = 10;

/// Shorter ones are not slept.
const SHORTEST: Duration = Duration::from_millis(1);

pub(crate) struct Patience {
    /// `None`: it has no end.
    limit: Option<Duration>,
    slept: Duration,
}

impl Patience {
    pub(crate) fn new(limit: Option<Duration>) -> Patience {
        Patience { limit, slept: Duration::ZERO }
    }

    /// How long to sleep now; `None`: until something moves.
    pub(crate) fn slice(&self) -> Option<Duration> {
        self.limit.map(|limit| (limit / SLICES).max(SHORTEST))
    }

    /// A slice has been slept, and nothing has moved, however much time has passed by the clock. Returns `true`
    /// if that was the last.
    pub(crate) fn has_slept(&mut self, slice: Option<Duration>) -> bool {
        self.slept += slice.unwrap_or_default();
        self.limit.is_some_and(|limit| self.slept >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many slices of it are slept, and how long they are together.
    fn slept(limit: Duration) -> (u32, Duration) {
        let mut patience = Patience::new(Some(limit));
        let mut together = Duration::ZERO;
        for n in 1.. {
            let slice = patience.slice();
            together += slice.unwrap();
            if patience.has_slept(slice) {
                return (n, together);
            }
        }
        unreachable!("it has an end")
    }

    #[test]
    fn it_ends_when_its_slices_make_up_the_limit() {
        assert_eq!(slept(PATIENCE), (10, PATIENCE));
        assert_eq!(slept(Duration::from_secs(3600)), (10, Duration::from_secs(3600)));
        let odd = Duration::from_nanos(1_000_000_007);
        let (n, together) = slept(odd);
        assert!(n <= 11 && together >= odd, "{n} slices, {together:?}");
    }

    #[test]
    fn a_short_one_is_slept_in_slices_that_the_thread_can_sleep() {
        assert_eq!(slept(Duration::from_millis(3)), (3, Duration::from_millis(3)));
        assert_eq!(slept(Duration::from_nanos(1)), (1, SHORTEST));
        assert_eq!(slept(Duration::ZERO), (1, SHORTEST));
    }

    #[test]
    fn a_slice_that_was_stopped_for_longer_than_the_limit_counts_as_one() {
        // What the clock says in the meantime is not looked at: nine slices are left in which other threads run.
        let mut patience = Patience::new(Some(PATIENCE));
        let slice = patience.slice();
        assert_eq!(slice, Some(PATIENCE / 10));
        assert!(!patience.has_slept(slice));
        assert_eq!((0..9).map(|_| patience.has_slept(slice)).filter(|&last| last).count(), 1);
    }

    #[test]
    fn one_without_a_limit_has_no_end() {
        let mut patience = Patience::new(None);
        assert_eq!(patience.slice(), None);
        assert!(!patience.has_slept(None));
    }
}
