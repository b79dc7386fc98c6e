//! Many orders of execution, tried one after the other, each of them reproducible.

use std::panic::{self, AssertUnwindSafe, Location};

use crate::runtime::Builder;

/// Runs `test` as the root of a run, `seeds` times: each time on a virtual clock, with ready tasks taking
/// their turns in an order drawn from another seed (0, 1, 2, ..).
///
/// An order in which it panics or deadlocks is named on standard error, and the panic goes on. With the
/// environment variable `WOULDBLOCK_SEED` set, that seed alone is run. What a seed gives is reproducible
/// as long as the test does no real I/O and uses no other source of chance.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use wouldblock::{explore, gather, green};
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
/// With whatever `test` panics with, and with the report of a deadlock.
#[track_caller]
pub fn explore(seeds: u64, test: impl Fn()) {
    let range = match crate::runtime::seed_of_environment() {
        Some(seed) => seed..=seed,
        None if seeds == 0 => return,
        None => 0..=seeds - 1,
    };
    let site = Location::caller();
    for seed in range {
        let builder = Builder::new().virtual_clock().seed(seed);
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            builder.try_run_at(site, &test).unwrap_or_else(|deadlock| panic!("{deadlock}"));
        }));
        if let Err(payload) = result {
            eprintln!(
                "wouldblock: it fails with seed {seed}; WOULDBLOCK_SEED={seed} runs that alone"
            );
            panic::resume_unwind(payload);
        }
    }
}
