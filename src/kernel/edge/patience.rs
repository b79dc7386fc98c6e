//! How long a run in which nothing moves waits before it suspects a deadlock: its *patience*.
//!
//! The thread sleeps in ten slices of a tenth of the patience, and each slice counts as its own length, however long it
//! took by the clock. A difference of two clock readings would be wrong for a process that is stopped (`SIGSTOP`, a
//! debugger) for longer than its patience: when it goes on, its sleep is over before other threads could move anything. In
//! slices, a stop of any length counts as one of ten.

use std::cell::Cell;
use std::time::Duration;

/// The default.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How many slices make up the patience.
const SLICES: u32 = 10;

/// The shortest slice.
const SHORTEST: Duration = Duration::from_millis(1);

/// Calls `sleep` with the length of a slice, again and again, until it returns `true`: something has moved. Returns `false`
/// if nothing has moved for the whole `patience`, and then sets that to `None`, so that the next call waits without end.
pub(crate) fn wait(
    patience: &Cell<Option<Duration>>,
    sleep: impl Fn(Option<Duration>) -> bool,
) -> bool {
    let limit = patience.get();
    let slice = limit.map(|limit| (limit / SLICES).max(SHORTEST));
    let mut slept = Duration::ZERO;
    while !sleep(slice) {
        slept += slice.unwrap_or_default(); // Not what the clock says: see the top of this file.
        if limit.is_some_and(|limit| slept >= limit) {
            patience.set(None);
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slices that are slept in vain until something moves after so many of them, or the patience ends.
    fn slept(patience: &Cell<Option<Duration>>, moves_after: usize) -> (Vec<Duration>, bool) {
        let slices = Cell::new(Vec::new());
        let moved = wait(patience, |slice| {
            let mut before = slices.take();
            let moves = before.len() == moves_after;
            before.extend(slice.filter(|_| !moves));
            slices.set(before);
            moves
        });
        (slices.take(), moved)
    }

    #[test]
    fn a_tenth_of_the_time_counts_at_most_its_own_length_and_ten_of_them_end_it() {
        // The clock is not looked at: a stop of an hour within one slice leaves nine for others to move something.
        let patience = Cell::new(Some(PATIENCE));
        assert_eq!(slept(&patience, 9), (vec![PATIENCE / 10; 9], true));
        assert_eq!(slept(&patience, 100), (vec![PATIENCE / 10; 10], false));
    }

    #[test]
    fn once_it_has_ended_it_has_no_end() {
        let patience = Cell::new(Some(PATIENCE));
        assert!(!slept(&patience, 100).1);
        let endless = wait(&patience, |slice| {
            assert_eq!(slice, None);
            true
        });
        assert!(endless);
    }

    #[test]
    fn a_time_that_is_no_multiple_of_a_slice_is_waited_for_in_full() {
        for limit in [0, 1, 3_000_000, 1_000_000_007].map(Duration::from_nanos) {
            let (slices, moved) = slept(&Cell::new(Some(limit)), 100);
            assert!(!moved && slices.len() <= 11, "{limit:?}: {slices:?}");
            assert!(slices.iter().sum::<Duration>() >= limit.max(SHORTEST), "{limit:?}");
        }
    }
}
