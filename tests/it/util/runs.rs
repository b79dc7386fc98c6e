//! Runs, on the machine's clock and on virtual time, and tasks of the three eras as values.

use std::future::IntoFuture;
use std::time::Duration;

use wouldblock::{Builder, Era, JoinHandle, future, generator, green, group::gather};

use super::HOUR;

pub const ERAS: [Era; 3] = [Era::Generator, Era::Green, Era::Future];

/// A run on virtual time, in which an hour is soon over.
#[track_caller]
pub fn run<T>(root: impl FnOnce() -> T) -> T {
    Builder::new().virtual_clock().run(root)
}

/// As [`run`], with strict turns whatever `WOULDBLOCK_SEED` says.
#[track_caller]
pub fn run_in_order<T>(root: impl FnOnce() -> T) -> T {
    Builder::new().virtual_clock().round_robin().run(root)
}

/// The text of the deadlock that `root` is to run into.
#[track_caller]
pub fn deadlock_text(root: impl FnOnce()) -> String {
    let result = Builder::new().virtual_clock().round_robin().try_run(root);
    result.expect_err("a deadlock").to_string()
}

/// Runs `root` on the machine's clock. A run that would hang fails instead, after a time that no sound run
/// comes near.
#[track_caller]
pub fn bounded<T>(root: impl FnOnce() -> T) -> T {
    within(Duration::from_secs(30), Builder::new(), root)
}

/// As [`bounded`], first come, first served, whatever `WOULDBLOCK_SEED` says.
#[track_caller]
pub fn strictly<T>(root: impl FnOnce() -> T) -> T {
    within(Duration::from_secs(30), Builder::new().round_robin(), root)
}

/// Runs `root` on a virtual clock, as [`run`]; but a run that would wait for ever, or is in a deadlock, fails
/// after a virtual day.
#[track_caller]
pub fn virtually<T>(root: impl FnOnce() -> T) -> T {
    within(24 * HOUR, Builder::new().virtual_clock(), root)
}

/// As [`virtually`], first come, first served, whatever `WOULDBLOCK_SEED` says.
#[track_caller]
pub fn virtually_strictly<T>(root: impl FnOnce() -> T) -> T {
    within(24 * HOUR, Builder::new().virtual_clock().round_robin(), root)
}

#[track_caller]
fn within<T>(limit: Duration, builder: Builder, root: impl FnOnce() -> T) -> T {
    builder.run(|| green::timeout(limit, root)).expect("it would have waited for ever")
}

/// A task of `era` that holds `held`, and does nothing but wait for `operation`.
#[track_caller]
pub fn spawn_waiting<O>(era: Era, operation: O, held: impl Sized + 'static) -> JoinHandle<O::Output>
where
    O: IntoFuture<Output: 'static> + 'static,
{
    match era {
        Era::Generator => generator::spawn(move |y| {
            let _held = held;
            y.wait(operation)
        }),
        Era::Green => green::spawn(move || {
            let _held = held;
            green::wait(operation)
        }),
        Era::Future => future::spawn(async move {
            let _held = held;
            operation.await
        }),
    }
}

/// A task of `era` that runs `body`, which may wait the green way.
#[track_caller]
pub fn spawn_running<T: 'static>(era: Era, body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    match era {
        Era::Generator => generator::spawn(move |_| body()),
        Era::Green => green::spawn(body),
        Era::Future => future::spawn(async move { body() }),
    }
}

/// Runs what `make` makes in all three eras at once, and gives the results: of the generator, the greenlet,
/// and the future.
#[track_caller]
pub fn in_each_era<F>(mut make: impl FnMut() -> F) -> [F::Output; 3]
where
    F: Future<Output: 'static> + 'static,
{
    let (a, b, c) = (make(), make(), make());
    [generator::spawn(move |y| y.wait(a)), green::spawn(move || green::wait(b)), future::spawn(c)]
        .map(join)
}

/// Waits for a task that is expected to succeed.
#[track_caller]
pub fn join<T>(handle: JoinHandle<T>) -> T {
    handle.join().unwrap_or_else(|e| panic!("{e}"))
}

/// Waits for tasks that are expected to succeed, and gives what they returned.
#[track_caller]
pub fn all<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    green::wait(gather(tasks)).into_iter().map(|result| result.unwrap()).collect()
}

/// Lets every other task come as far as it can without time passing: with at most three turns to take.
pub fn let_others_run() {
    (0..4).for_each(|_| green::yield_now());
}

/// Lets all others go on until they wait, whatever the seed. (With a seed, the task that yields may be the
/// first of the next round.)
pub fn settle() {
    (0..10).for_each(|_| green::yield_now());
}
