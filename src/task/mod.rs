//! Tasks: how they are set up, how they are named, and values of their own.
//!
//! ```
//! use wouldblock::task;
//!
//! task_local! { static USER: String = "no user".into(); }
//! # use wouldblock::task_local;
//!
//! wouldblock::run(|| {
//!     let handle = task::Builder::new().name("login").stack_size(64 << 10).spawn(|| {
//!         USER.set("ann".into());
//!         wouldblock::green::yield_now();
//!         let me = task::current().unwrap();
//!         (me.name().unwrap().to_owned(), USER.with(String::clone))
//!     });
//!     assert_eq!(handle.join().unwrap(), ("login".into(), "ann".into()));
//!     assert_eq!(USER.with(String::clone), "no user");
//! });
//! ```

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::rc::Rc;

use crate::kernel::edge::extras::{CopyValue, Extras, Value};
use crate::kernel::edge::foreign::Unwind;
use crate::kernel::edge::observe::Era;
use crate::kernel::here::{self, with_local};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{self, Setup};
use crate::run::stack_size;

/// How a task is set up, in the manner of [`std::thread::Builder`]; the three `spawn`s are
/// `Builder::new().spawn_..(..)`.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it spawns"]
pub struct Builder {
    pub(crate) name: Option<Box<str>>,
    pub(crate) stack_size: Option<u32>,
    site: Option<&'static Location<'static>>,
}

impl Builder {
    /// A task without a name, with a stack of the size set for the run.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// What reports, errors and timelines call it.
    ///
    /// # Panics
    ///
    /// If there is a NUL in it, as with std's threads.
    #[track_caller]
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        let name = name.into();
        assert!(!name.contains('\0'), "the name of a task may not contain a NUL: {name:?}");
        self.name = Some(name.into_boxed_str());
        self
    }

    /// Sets the spawn site, in place of the line that calls the builder's `spawn`.
    pub(crate) fn at(mut self, site: &'static Location<'static>) -> Builder {
        self.site = Some(site);
        self
    }

    #[track_caller]
    pub(crate) fn setup(self, era: Era) -> Setup {
        let site = self.site.unwrap_or(Location::caller());
        let stack_size = self.stack_size.unwrap_or(0);
        Setup { era, site, name: self.name.map(Box::new), stack_size }
    }

    /// The usable bytes of its stack, rounded up to whole pages. Memory is only reserved: a page costs
    /// nothing before it is touched. For a future, this is the stack that it is polled on.
    ///
    /// # Panics
    ///
    /// Below 32 KiB, which a panic with a backtrace needs, and from 4 GiB.
    #[track_caller]
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(stack_size::checked(bytes));
        self
    }
}

/// The task that calls; `None` outside of any.
pub fn current() -> Option<Task> {
    here::current().map(|task| Task(task.into_shared()))
}

/// Whether `payload`, which `std::panic::catch_unwind` has caught around a wait, is that of a cancellation, of a time
/// limit that has passed, or of a generator that is closed, and not that of a panic.
///
/// Let it go on: each further wait raises it again, until it has ended where it is to end.
///
/// ```
/// use std::panic;
/// use wouldblock::{green, task};
///
/// wouldblock::run(|| {
///     let worker = green::spawn(|| {
///         let job = || green::sleep(std::time::Duration::from_secs(60));
///         if let Err(payload) = panic::catch_unwind(job) {
///             if task::is_cancellation(&*payload) {
///                 panic::resume_unwind(payload);
///             }
///             println!("a job has panicked; the worker goes on");
///         }
///     });
///     green::yield_now();
///     worker.cancel();
///     assert!(worker.join().unwrap_err().is_cancelled());
/// });
/// ```
pub fn is_cancellation(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Unwind>()
}

/// Identifies a task. Prints as `task 3 "fetch" (green, spawned at src/main.rs:12:5)`.
#[derive(Clone)]
pub struct Task(pub(crate) task::SharedTask);

impl Task {
    /// Its number in its run: 1 for the root, and up.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The name it was given.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_ref().map(|name| &***name)
    }

    /// Which era it is written in.
    pub fn era(&self) -> Era {
        self.0.era
    }

    /// How deep its stack has been, in bytes, to the page: by this task, or by an earlier one that had the
    /// same stack. `None`: it has none (not begun, done, a future between polls), or this is not its
    /// thread.
    pub fn stack_used(&self) -> Option<usize> {
        stack_size::touched(self.local()?.stack.get(), self.stack_size())
    }

    /// The number of the task that spawned it (modulo 2^32). `None`: no task did, or this is not its thread.
    pub fn parent(&self) -> Option<u64> {
        Some(self.local()?.parent.into()).filter(|&parent| parent != 0)
    }

    /// `None` on another thread than its own.
    fn local(&self) -> Option<&task::Local> {
        Scheduler::entered(|home| ptr::eq(home, &*self.0.home), |_| ())?;
        // SAFETY: this thread has entered the scheduler of the task's run, so that it is the home thread.
        Some(unsafe { self.0.local() })
    }

    /// The usable bytes of its stack.
    pub fn stack_size(&self) -> usize {
        self.0.stack_size as usize
    }

    /// Where in the source it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.0.site
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({})", self.0)
    }
}

/// A value that each task has for itself: made by [`task_local!`](crate::task_local).
///
/// It is made when a task first asks for it, and dropped when the task ends, on the task's own stack. One
/// that is declared as `inherited` begins as a copy of what it is, at the spawn, in the task that spawns.
#[derive(Debug)]
pub struct TaskLocal<T: 'static> {
    initial: fn() -> T,
    copy: Option<CopyValue>,
}

/// Declares a [`TaskLocal`], in the manner of `thread_local!`: `task_local! { static NAME: Type = value; }`.
///
/// `inherited static` declares one of which each task begins with a copy (a [`Clone`]) of the value in the
/// task that spawned it, if there is one. Neither sees what the other sets afterwards. (Python's
/// `contextvars`, PEP 567.) For a value that all of them share, use an [`Rc`].
///
/// ```
/// use wouldblock::{green, task_local};
///
/// task_local! {
///     /// Whose request it is: known to all tasks that work on it.
///     inherited static USER: &'static str = "no user";
///     static STEPS: u32 = 0;
/// }
///
/// wouldblock::run(|| {
///     USER.set("ann");
///     STEPS.set(7);
///     let task = green::spawn(|| (USER.with(|user| *user), STEPS.with(|steps| *steps)));
///     USER.set("bob");
///     assert_eq!(task.join().unwrap(), ("ann", 0));
/// });
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis inherited static $name:ident: $type:ty = $initial:expr; $($rest:tt)*) => {
        $(#[$attribute])*
        $visibility static $name: $crate::task::TaskLocal<$type> =
            $crate::task::TaskLocal::inherited(|| $initial);
        $crate::task_local! { $($rest)* }
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $initial:expr; $($rest:tt)*) => {
        $(#[$attribute])*
        $visibility static $name: $crate::task::TaskLocal<$type> =
            $crate::task::TaskLocal::new(|| $initial);
        $crate::task_local! { $($rest)* }
    };
}

impl<T: Clone + 'static> TaskLocal<T> {
    #[doc(hidden)]
    pub const fn inherited(initial: fn() -> T) -> TaskLocal<T> {
        let copy = |value: &dyn Any| -> Rc<dyn Any> {
            Rc::new(value.downcast_ref::<T>().expect("a value of this static").clone())
        };
        TaskLocal { initial, copy: Some(copy) }
    }
}

impl<T: 'static> TaskLocal<T> {
    #[doc(hidden)]
    pub const fn new(initial: fn() -> T) -> TaskLocal<T> {
        TaskLocal { initial, copy: None }
    }

    /// Calls `f` with the value of the running task.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.get())
    }

    /// Gives the running task another value, and drops the one before.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    #[track_caller]
    pub fn set(&'static self, value: T) {
        let old = self.put(Rc::new(value));
        drop(old);
    }

    #[track_caller]
    fn get(&'static self) -> Rc<T> {
        let found = self.extras(|extras| {
            let found = extras.values.iter().find(|value| value.key == self.key());
            found.map(|found| found.value.clone())
        });
        let value = found.unwrap_or_else(|| {
            let value: Rc<dyn Any> = Rc::new((self.initial)());
            self.put(value.clone());
            value
        });
        value.downcast().expect("the key is the address of a static of this type")
    }

    #[track_caller]
    fn put(&'static self, value: Rc<dyn Any>) -> Option<Rc<dyn Any>> {
        self.extras(|Extras { values, .. }| {
            match values.iter_mut().find(|value| value.key == self.key()) {
                Some(old) => Some(std::mem::replace(&mut old.value, value)),
                None => {
                    values.push(Value { key: self.key(), value, copy: self.copy });
                    None
                }
            }
        })
    }

    #[track_caller]
    fn extras<R>(&'static self, f: impl FnOnce(&mut Extras) -> R) -> R {
        with_local(|local| local.extras.with(f)).expect(
            "a task-local value was asked for outside of any task: do so inside `wouldblock::run(|| ..)`",
        )
    }

    fn key(&'static self) -> usize {
        (&raw const *self).addr()
    }
}
