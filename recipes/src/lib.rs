//! Recipes: how libraries and servers of others are used with `wouldblock`. Each file of `tests/` is one, to be copied
//! from, and is run as a test against the real server, which it starts on loopback and ends. `.ci/recipes` installs
//! the servers, and runs them all.

mod cost;
mod killed;
mod left;
mod server;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wouldblock::{Builder, green};

pub use cost::beside;
pub use killed::{kill_nginx_tls, when_ready};
pub use server::Server;

/// Runs a recipe. What would hang fails instead, after a time that no sound run comes near.
///
/// # Panics
///
/// With the panic of the recipe; and if it leaves a descriptor open or a child process behind.
pub fn run<T>(recipe: impl FnOnce() -> T) -> T {
    alone(|| within(Duration::from_secs(20), recipe))
}

/// [`run`] in two parts, for a recipe with a runtime of another library around its run: that ends between the two, and with
/// it what it still keeps open. The outer part: the recipe leaves nothing behind.
pub fn alone<T>(recipe: impl FnOnce() -> T) -> T {
    /// The CPU time and the descriptors that are counted are the process's, so the recipes of a file take turns.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = left::descriptors();
    let result = recipe();
    left::check(before);
    result
}

/// The inner part of [`run`]: the run, with its limit. (A server may take long to start.)
pub fn within<T>(longest: Duration, recipe: impl FnOnce() -> T) -> T {
    let result = Builder::new().run(|| green::timeout(longest, recipe));
    result.expect("it would have waited for ever")
}
