//! `run`: a scheduler and its root task, a greenlet that may borrow from whoever calls.

use std::panic::Location;

use crate::eras::green::Greenlet;
use crate::kernel::edge::observe::Era;
use crate::report::Deadlock;
use crate::runtime::Builder;
use crate::task;

/// Runs `root` as the first task of a new scheduler on this thread, until it returns.
///
/// All tasks that `root` and its tasks spawn run interleaved on this one thread. When the root returns,
/// what is left is cancelled, the newest task first.
///
/// ```
/// use wouldblock::green;
///
/// let words = std::cell::RefCell::new(Vec::new()); // the root may borrow
/// wouldblock::run(|| {
///     words.borrow_mut().push("hello");
///     green::spawn(|| ()).join().unwrap();
///     words.borrow_mut().push("world");
/// });
/// assert_eq!(words.into_inner(), ["hello", "world"]);
/// ```
///
/// # Panics
///
/// With whatever `root` panics with; inside of another `run` on the same thread; and if the operating
/// system refuses an event queue. Should it refuse to give events later, all tasks are cancelled, and `run` panics when
/// they have ended. In the destructor of a thread-local value, at the end of its thread, `run` panics too where the
/// thread has had runs before: its stacks are gone by then. (Such a panic aborts the process unless the destructor
/// catches it.)
#[track_caller]
pub fn run<T>(root: impl FnOnce() -> T) -> T {
    Builder::new().run(root)
}

impl Builder {
    /// Runs `root` as the first task: see [`run`].
    ///
    /// # Panics
    ///
    /// As [`run`].
    #[track_caller]
    pub fn run<T>(self, root: impl FnOnce() -> T) -> T {
        match self.try_run(root) {
            Ok(value) => value,
            Err(deadlock) => panic!("{deadlock}"), // At the caller's line, which a closure's would not be.
        }
    }

    /// As [`run`](Builder::run), for whoever wants to go on after a deadlock.
    ///
    /// ```
    /// use wouldblock::{Builder, green};
    ///
    /// let deadlock = Builder::new().try_run(|| green::wait(std::future::pending::<()>())).unwrap_err();
    /// assert!(deadlock.to_string().starts_with("deadlock: 1 task waits, and nothing can wake it"));
    /// ```
    ///
    /// # Errors
    ///
    /// Tasks wait, and nothing can ever wake any of them: the [`Deadlock`] tells which, and for what. They
    /// have been cancelled.
    ///
    /// # Panics
    ///
    /// As [`run`], but for the deadlock.
    #[track_caller]
    pub fn try_run<T>(self, root: impl FnOnce() -> T) -> Result<T, Deadlock> {
        self.try_run_at(Location::caller(), root)
    }

    #[track_caller]
    pub(crate) fn try_run_at<T>(
        self,
        site: &'static Location<'static>,
        root: impl FnOnce() -> T,
    ) -> Result<T, Deadlock> {
        let mut result = None;
        let code = Box::new(|| result = Some(root()));
        let setup = task::Builder::new().name("root").stack_size(self.stack()).at(site);
        let setup = setup.setup(Era::Green);
        self.run_root(setup, code, |promise, body| Box::new(Greenlet::New(promise, body)))?;
        Ok(result.expect("the root has returned"))
    }
}
