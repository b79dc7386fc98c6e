//! Ticks: in three eras, late, missed and cancelled.

use crate::util::*;
use wouldblock::op::timeout;
use wouldblock::time::{Interval, interval, now};
use wouldblock::{future, generator, green};

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

#[test]
fn ticks_come_each_period_in_all_eras() {
    virtually(|| {
        let start = now();
        let mut ticks = interval(SECOND);
        assert_eq!(ticks.tick(), start + SECOND);
        let task = generator::spawn(move |y| (y.wait(ticks.ticking()), ticks));
        let (second, mut ticks) = task.join().unwrap();
        assert_eq!(second, start + 2 * SECOND);
        let third = future::spawn(async move { ticks.ticking().await });
        assert_eq!((third.join().unwrap(), now()), (start + 3 * SECOND, start + 3 * SECOND));
    });
}

#[test]
fn late_ticks_shift_no_others_and_missed_ones_come_as_one() {
    virtually(|| {
        let start = now();
        let mut ticks = interval(SECOND);
        green::sleep(SECOND + SECOND / 2);
        assert_eq!(ticks.tick(), start + SECOND); // At once: it is late.
        assert_eq!(now(), start + SECOND + SECOND / 2);
        assert_eq!(ticks.tick(), start + 2 * SECOND);
        green::sleep(5 * SECOND);
        assert_eq!(ticks.tick(), start + 3 * SECOND);
        assert_eq!(ticks.tick(), start + 8 * SECOND);
        assert_eq!(now(), start + 8 * SECOND);
    });
}

#[test]
fn a_cancelled_wait_loses_no_tick() {
    virtually(|| {
        let start = now();
        let mut ticks = interval(SECOND);
        assert!(green::wait(timeout(SECOND / 2, ticks.ticking())).is_err());
        assert!(green::timeout(SECOND / 4, || ticks.tick()).is_err());
        assert_eq!(ticks.tick(), start + SECOND);
    });
}

#[test]
fn a_period_of_zero_is_refused_and_one_without_an_end_is_none() {
    virtually(|| {
        assert!(panic_text(|| interval(std::time::Duration::ZERO)).contains("an interval of zero"));
        let mut never: Interval = interval(std::time::Duration::MAX);
        assert!(green::wait(timeout(HOUR, never.ticking())).is_err());
    });
}
