//! How long a run is idle before a deadlock is suspected: its *patience*.
//!
//! The thread sleeps it in ten slices. A slice counts for the time that it took, and for its own length at most. The clock
//! alone would not do: a process that is stopped (`SIGSTOP`, a debugger) for longer than the whole time finds its sleep
//! over when it goes on, before other threads could move anything. In slices, a stop of any length counts as one.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The default.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How many slices make up the patience.
const SLICES: u32 = 10;

/// The shortest slice.
const SHORTEST: Duration = Duration::from_millis(1);

/// Calls `sleep` with the length of a slice, again and again. Returns `true` once `sleep` does: something has moved. Returns
/// `false` when the patience is used up, and sets it to `None`, which never ends.
pub(crate) fn wait(
    patience: &Cell<Option<Duration>>,
    sleep: impl Fn(Option<Duration>) -> bool,
) -> bool {
    wait_by(patience, Instant::now, sleep)
}

fn wait_by(
    patience: &Cell<Option<Duration>>,
    now: impl Fn() -> Instant,
    sleep: impl Fn(Option<Duration>) -> bool,
) -> bool {
    let limit = patience.get();
    let (mut slept, mut begun) = (Duration::ZERO, now());
    loop {
        let slice = limit.map(|limit| (limit / SLICES).min(limit - slept).max(SHORTEST));
        if sleep(slice) {
            return true;
        }
        let ended = now();
        slept += (ended - begun).min(slice.unwrap_or_default());
        if limit.is_some_and(|limit| slept >= limit) {
            patience.set(None);
            return false;
        }
        begun = ended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits by a clock that goes on by `each` in a slice. Returns the slices that are slept in vain, until something moves
    /// after so many of them, or the patience ends.
    fn slept(
        patience: &Cell<Option<Duration>>,
        each: impl Fn(Duration) -> Duration,
        moves_after: usize,
    ) -> (Vec<Duration>, bool) {
        let (slices, clock) = (Cell::new(Vec::new()), Cell::new(Instant::now()));
        let moved = wait_by(
            patience,
            || clock.get(),
            |slice| {
                let mut before = slices.take();
                let moves = before.len() == moves_after;
                before.extend(slice.filter(|_| !moves));
                slices.set(before);
                clock.set(clock.get() + each(slice.unwrap_or_default()));
                moves
            },
        );
        (slices.take(), moved)
    }

    #[test]
    fn a_stop_of_an_hour_counts_as_the_slice_in_which_it_happened() {
        let patience = Cell::new(Some(PATIENCE));
        let hour = |_| Duration::from_secs(3600);
        assert_eq!(slept(&patience, hour, 9), (vec![PATIENCE / 10; 9], true));
        assert_eq!(slept(&patience, hour, 100), (vec![PATIENCE / 10; 10], false));
    }

    #[test]
    fn a_sleep_that_ends_early_counts_for_the_time_that_it_took() {
        let patience = Cell::new(Some(PATIENCE));
        let (slices, moved) = slept(&patience, |_| Duration::from_millis(1), 100_000);
        assert!(!moved && slices.len() == 10_000, "{}: ten seconds", slices.len());
    }

    #[test]
    fn once_it_has_ended_it_has_no_end() {
        let patience = Cell::new(Some(PATIENCE));
        assert!(!slept(&patience, |slice| slice, 100).1);
        let endless = wait(&patience, |slice| {
            assert_eq!(slice, None);
            true
        });
        assert!(endless);
    }

    #[test]
    fn a_time_that_is_no_multiple_of_a_slice_is_waited_for_in_full() {
        for limit in [0, 1, 3_000_000, 1_000_000_007].map(Duration::from_nanos) {
            let (slices, moved) = slept(&Cell::new(Some(limit)), |slice| slice, 100);
            assert!(!moved && slices.len() <= 11, "{limit:?}: {slices:?}");
            assert!(slices.iter().sum::<Duration>() >= limit.max(SHORTEST), "{limit:?}");
        }
    }
}
