//! Tests of what a piece of code does with its turns.

use std::future::Future;
use std::panic::Location;

use crate::kernel::here::with_local;

/// Runs `code`, and sees to it that it gives up its turn, and so lets others run, exactly `turns` times.
///
/// This is for straight-line code: of a greenlet, or of a generator. For `async` code, there is
/// [`assert_turns_async`].
///
/// ```
/// use wouldblock::{future, generator, green, testing::assert_turns};
///
/// wouldblock::run(|| {
///     assert_turns(0, || 6 * 7); // no other task can come in between
///     assert_turns(2, || {
///         green::yield_now();
///         green::yield_now();
///     });
///     generator::spawn(|y| assert_turns(1, || y.yield_now())).join().unwrap();
/// });
/// ```
///
/// (The idea is trio's `assert_checkpoints` and `assert_no_checkpoints`.)
///
/// # Panics
///
/// If it was another number; outside of a task; and with whatever `code` panics with.
#[track_caller]
pub fn assert_turns<T>(turns: u32, code: impl FnOnce() -> T) -> T {
    let before = count();
    let value = code();
    compare(turns, before, Location::caller());
    value
}

/// As [`assert_turns`], for `async` code: an operation that gives what `code` gives.
///
/// ```
/// use wouldblock::{future, testing::assert_turns_async};
///
/// wouldblock::run(|| {
///     let task = future::spawn(async {
///         assert_turns_async(0, async { 6 * 7 }).await;
///         assert_turns_async(1, future::yield_now()).await;
///     });
///     task.join().unwrap();
/// });
/// ```
///
/// # Panics
///
/// When it is waited for, as [`assert_turns`].
///
/// # Cancellation
///
/// As `code`, which is dropped; nothing is compared then.
#[track_caller]
pub fn assert_turns_async<F: Future>(turns: u32, code: F) -> impl Future<Output = F::Output> {
    let site = Location::caller();
    async move {
        let before = count();
        let value = code.await;
        compare(turns, before, site);
        value
    }
}

/// The turns of the running task so far, modulo 2^32.
#[track_caller]
fn count() -> u32 {
    let turns = with_local(|local| local.turns.get());
    turns.expect("turns are counted in a task: call this inside `wouldblock::run(|| ..)`")
}

#[track_caller]
fn compare(expected: u32, before: u32, site: &Location<'_>) {
    let given = count().wrapping_sub(before);
    assert!(
        given == expected,
        "at {site}: {given} turns were given up, and {expected} were expected"
    );
}
