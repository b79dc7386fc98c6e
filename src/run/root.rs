//! `run`: a scheduler and its root task, a greenlet that may borrow from the caller.

use std::panic::Location;

use crate::inspect::deadlock::{Deadlock, Does};
use crate::inspect::{on_signal, watchdog};
use crate::kernel::edge::entered::refuse_nesting;
use crate::kernel::edge::observe::Era;
use crate::kernel::edge::{unwinding, warn};
use crate::kernel::task::{State, TaskRef};
use crate::run::builder::Builder;
use crate::run::runtime::{close, drive};
use crate::run::spawn::{Stackful, add_task};
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
    /// Runs `root` as the first task: see [`run()`].
    ///
    /// # Panics
    ///
    /// As [`run()`].
    #[track_caller]
    pub fn run<T>(self, root: impl FnOnce() -> T) -> T {
        match self.try_run(root) {
            Ok(value) => value,
            Err(deadlock) => panic!("{deadlock}"), // At the caller's line, which a closure's would not be.
        }
    }

    /// As [`run`](Builder::run), for a caller that goes on after a deadlock.
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
    /// Tasks wait, and nothing can ever wake any of them: the [`Deadlock`] lists them, and what each waits for. They
    /// have been cancelled.
    ///
    /// # Panics
    ///
    /// As [`run()`], but for the deadlock.
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
        self.run_root(site, Box::new(|| result = Some(root())))?;
        Ok(result.expect("the root has returned"))
    }

    /// Makes a runtime, runs `code` there as the root task until that is done, and cancels what is left.
    ///
    /// `code` may borrow from the caller.
    #[track_caller]
    fn run_root(
        self,
        site: &'static Location<'static>,
        code: Box<dyn FnOnce() + '_>,
    ) -> Result<(), Deadlock> {
        unwinding::refuse_while_unwinding();
        refuse_nesting("`run` inside of `run`");
        let _watching = self.watchdog.map(watchdog::watch);
        let signal = self.signal;
        let runtime = match self.build() {
            Ok(runtime) => runtime,
            Err(e) => panic!(
                "cannot run: the system refuses an event queue (epoll): {e}. Look at the limit on open files \
                 (`ulimit -n`), and at the sandbox; `Builder::build` gives the error"
            ), // At the caller's line, as in `check_spawn`.
        };
        let scheduler = &runtime.scheduler;
        let _listening = signal.and_then(|signal| on_signal::listen(signal, scheduler));
        // SAFETY: only the lifetime changes. When the root task is done, the code was called or dropped. This function does
        // not end before that: until `Root` exists, no task has a turn, and an unwinding drops the code or leaks it
        // uncalled; from then on, `Root` aborts the process where this function would end early.
        let code: Box<dyn FnOnce() + 'static> = unsafe { std::mem::transmute(code) };
        let (handle, stalled) = scheduler.enter(|| {
            let setup = task::Builder::new().name("root").at(site);
            let setup = setup.stack_size(scheduler.stack_size as usize);
            let body = Stackful::new(move |_| code());
            let handle = add_task(scheduler, setup.setup(Era::Green), body);
            let root = Root(handle.task.clone());
            let stalled = drive(&runtime, "", || root.is_done());
            close(&runtime);
            (handle, stalled)
        });
        if let Some(deadlock) = stalled {
            return Err(deadlock);
        }
        let result = handle.result().take().expect("a task that is done has a result");
        let Err(error) = result else { return Ok(()) };
        match (error.into_panic(), scheduler.refusal()) {
            (Ok(payload), _) => std::panic::resume_unwind(payload),
            (Err(_), Some(refused)) => panic!("{refused}; the tasks of the run were cancelled"),
            (Err(error), None) => panic!("{error}"),
        }
    }
}

/// The root task of a run, which may borrow from the frames of the caller of `run`: these do not end before it is
/// done. Aborts the process if they would.
struct Root(TaskRef);

impl Root {
    fn is_done(&self) -> bool {
        self.0.local().state.get() == State::Done
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.is_done() {
            return;
        }
        let (root, does) = (&self.0, Does::of(&self.0, self.0.home.run, None).state());
        let why = match std::thread::panicking() {
            true => "which panics",
            false => "whose tasks are to end; put a time limit inside of the cleanup that waits",
        };
        warn::print(format_args!(
            "the root of a run, {root}, {does}, and may borrow from the function that called `run`: \
             that cannot be left by the run, {why}; aborting"
        ));
        std::process::abort();
    }
}
