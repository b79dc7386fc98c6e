//! [`std::thread`] for greenlets: the same names and shapes, so that a program which is ported keeps its code.
//!
//! A *thread* of this module is a task of the [green era](crate::green), one of many on one thread of the operating
//! system. Porting is changing `std::thread` to `wouldblock::thread`, and the body of `main` goes into
//! [`wouldblock::run(|| ..)`](crate::run()).
//!
//! ```
//! use std::time::Duration;
//! use wouldblock::thread;
//!
//! wouldblock::run(|| {
//!     let mut words = vec!["a", "few"];
//!     thread::scope(|s| {
//!         s.spawn(|| words.push("words"));
//!     });
//!     let parked = thread::Builder::new().name("counts".into()).spawn(move || {
//!         thread::park();
//!         words.len()
//!     }).unwrap();
//!     thread::sleep(Duration::from_millis(1));
//!     parked.thread().unpark();
//!     assert_eq!(parked.join().unwrap(), 3);
//! });
//! ```
//!
//! What differs from std's:
//!
//! * What is spawned stays on its thread, so bodies and results need not be `Send`.
//! * Nothing is preempted: a greenlet that computes, or calls what blocks the thread, stops all others.
//! * **A wait may unwind**: where a task is cancelled or the run ends, a wait raises a payload that is no panic. A
//!   `catch_unwind` around one sees it, has to let it go on (`resume_unwind`), and a `join` gives it as an `Err`
//!   with a [`JoinError`](crate::JoinError). So at the end of [`run()`](crate::run()), detached greenlets are unwound, where the threads
//!   of a process just stop.
//! * **`thread_local!` is shared** by all greenlets of the thread, also across waits; a value of one's own is made by
//!   [`task_local!`](crate::task_local).
//! * The root's name is `root`, not `main`.
//!
//! [`panicking`], [`available_parallelism`], [`Result`], [`LocalKey`] and [`AccessError`] are std's own.

mod join;
mod park;
mod scope;

use std::io;
use std::panic::Location;

use crate::run::stack_size;
use crate::task;

pub use std::thread::{AccessError, LocalKey, Result, available_parallelism, panicking};

pub use crate::eras::green::{sleep, yield_now};
pub use join::JoinHandle;
pub use park::{Thread, ThreadId, current, park, park_timeout};
pub use scope::{Scope, ScopedJoinHandle, scope};

use join::begin;

/// Starts a greenlet, as [`green::spawn`](crate::green::spawn), with std's [`JoinHandle`]: dropping it detaches the
/// greenlet, and no warning says so.
///
/// # Panics
///
/// Outside of a run, and when the run is ending.
#[track_caller]
pub fn spawn<F, T>(body: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    begin(task::Builder::new().at(Location::caller()), body)
}

/// How a greenlet is set up: [`std::thread::Builder`]. In the other eras, this is [`task::Builder`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it spawns"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
}

impl Builder {
    /// A greenlet without a name, with a stack of the size set for the run.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// What reports, errors and timelines call it.
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// The usable bytes of its stack, rounded up to whole pages; less than 32 KiB is 32 KiB, which a panic with a
    /// backtrace needs.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Starts a greenlet: see [`spawn`].
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a stack of 4 GiB or more. (Where there is no memory for the stack, `join` gives the error.)
    ///
    /// # Panics
    ///
    /// As [`spawn`]; and if the name has a NUL in it.
    #[track_caller]
    pub fn spawn<F, T>(self, body: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        Ok(begin(self.task()?, body))
    }

    /// Starts a greenlet of a [`scope()`], that may borrow what outlives it.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        body: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        Ok(scope.begin(self.task()?, body))
    }

    #[track_caller]
    fn task(self) -> io::Result<task::Builder> {
        let mut builder = task::Builder::new().at(Location::caller());
        if let Some(name) = self.name {
            builder = builder.name(name);
        }
        if let Some(bytes) = self.stack_size {
            if u32::try_from(bytes).is_err() {
                let what = format!("a stack of {bytes} bytes: it has to be smaller than 4 GiB");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            builder = builder.stack_size(bytes.max(stack_size::SMALLEST));
        }
        Ok(builder)
    }
}
