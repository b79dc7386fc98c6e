//! Many orders of execution, tried one after the other, each of them reproducible.

use std::io;
use std::panic::{self, AssertUnwindSafe, Location};

use crate::inspect::timeline::Timeline;
use crate::kernel::edge::entered::refuse_nesting;
use crate::run::builder::{Builder, seed_of_environment};

/// Events of each run that are kept: enough to find its end, behind which all that is left is cancelled.
const KEPT: usize = 1 << 16;

/// Runs `test` as the root of a run, `seeds` times: each time on a virtual clock, with ready tasks taking
/// their turns in an order drawn from another seed (0, 1, 2, ..).
///
/// An order in which it panics or deadlocks is named on standard error, and drawn: the last turns before the
/// end of the root, as a [`Timeline`] of 80 columns. The panic goes on. With the environment variable
/// `WOULDBLOCK_SEED` set, that seed alone is run. What a seed gives is reproducible
/// as long as the test does no real I/O and uses no other source of chance.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use wouldblock::{green, group::gather, testing::explore};
///
/// explore(100, || {
///     let hits = Rc::new(Cell::new(0));
///     let tasks = (0..3).map(|_| {
///         let hits = hits.clone();
///         green::spawn(move || {
///             green::yield_now();
///             hits.set(hits.get() + 1); // with the yield between get and set, some order would fail
///         })
///     });
///     green::wait(gather(tasks));
///     assert_eq!(hits.get(), 3);
/// });
/// ```
///
/// # Panics
///
/// With whatever `test` panics with, and with the report of a deadlock; inside of a run.
#[track_caller]
pub fn explore(seeds: u64, test: impl Fn()) {
    refuse_nesting("`explore`, which runs `test`, inside of `run`");
    let range = match seed_of_environment() {
        Some(seed) => seed..=seed,
        None if seeds == 0 => return,
        None => 0..=seeds - 1,
    };
    let site = Location::caller();
    for seed in range {
        let timeline = Timeline::new().keep(KEPT);
        let builder = Builder::new().virtual_clock().seed(seed).observe(timeline.clone());
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            builder.try_run_at(site, &test).unwrap_or_else(|deadlock| panic!("{deadlock}"));
        }));
        if let Err(payload) = result {
            let picture = timeline.terminal(80).ending().colour_on(&io::stderr());
            eprintln!(
                "wouldblock: it fails with seed {seed}; WOULDBLOCK_SEED={seed} runs that alone\n\
                 The last turns of that run:\n{picture}"
            );
            panic::resume_unwind(payload);
        }
    }
}
