//! What an operation costs, beside the usual way.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wouldblock::{green::wait, offload};

/// Prints how much CPU time of this process one of `operations` takes: of those that `ours` does, as tasks of this run, and
/// of those that `theirs` does on threads or on tokio, which `usual` names. The server has processes of its own, and is not
/// counted. The least of several rounds is taken, in which both take turns.
///
/// # Panics
///
/// Outside of a task.
pub fn beside(
    what: &str,
    operations: u32,
    mut ours: impl FnMut(),
    usual: &str,
    mut theirs: impl FnMut() + Send + 'static,
) {
    const ROUNDS: usize = 9;
    let (mut our_least, mut their_least) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let start = cpu();
        ours();
        our_least = our_least.min(cpu() - start);
        let start = cpu();
        // It blocks the thread that it is on.
        theirs = wait(offload(move || {
            theirs();
            theirs
        }));
        their_least = their_least.min(cpu() - start);
    }
    wait(offload(move || drop(theirs))); // What it holds may take its time to close.
    let each = |all: Duration| all.as_secs_f64() * 1e6 / f64::from(operations);
    let (our_cost, their_cost) = (each(our_least), each(their_least));
    let ratio = our_cost / their_cost;
    println!("{what}: {our_cost:.1} µs of CPU; {usual}: {their_cost:.1} µs; ratio {ratio:.2}");
    if cfg!(debug_assertions) {
        println!("(a debug build, in which std alone is optimised: see `cargo test --release`)");
    }
}

/// The CPU time of all threads of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("no time is negative")
}
