//! The hooks: the events of a run, for observers.
//!
//! A run without an observer pays a comparison at each place where an event would be.
//!
//! (The idea is trio's `Instrument`.)

use std::fmt;
use std::panic::Location;
use std::time::Instant;

use crate::kernel::wait::Wait;

/// Which of Python's three eras a task is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// A generator that yields what it waits for to a trampoline (Python 2.5, PEP 342).
    Generator,
    /// A stackful coroutine in plain straight-line code (gevent).
    Green,
    /// A future, polled (Python 3.5, PEP 492).
    Future,
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Era::Generator => "generator",
            Era::Green => "green",
            Era::Future => "future",
        })
    }
}

/// Receives the events of a run: set by [`Builder::observe`](crate::Builder::observe).
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use wouldblock::{Builder, green, observe::{TaskEvent, Observer, EventKind}};
///
/// #[derive(Clone, Default)]
/// struct Turns(Rc<Cell<u32>>);
///
/// impl Observer for Turns {
///     fn observe(&self, event: &TaskEvent<'_>) {
///         self.0.set(self.0.get() + u32::from(matches!(event.kind, EventKind::Turn)));
///     }
/// }
///
/// let turns = Turns::default();
/// Builder::new().observe(turns.clone()).run(green::yield_now);
/// assert_eq!(turns.0.get(), 2);
/// ```
pub trait Observer {
    /// Called for each event. The scheduler calls this often, in the middle of its work, so it should be quick.
    ///
    /// An observer is called outside of any task. It may wake and cancel tasks; these are no events. It may not wait,
    /// spawn, or begin a run: each of these panics. (A [`Spawner`](crate::Spawner) spawns later, and may be used.)
    ///
    /// # Panics
    ///
    /// A panic of an observer is logged as an error. The run goes on, and the observer gets no more events.
    fn observe(&self, event: &TaskEvent<'_>);
}

/// What has happened to which task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskEvent<'a> {
    /// The time, by the run's clock: a virtual clock stands still while tasks run.
    pub at: Instant,
    /// The task's number in its run.
    pub task: u64,
    /// What has happened to it.
    pub kind: EventKind<'a>,
}

impl<'a> TaskEvent<'a> {
    /// Makes an event of a scheduler that is not this crate's. A [`Timeline`](crate::timeline::Timeline) draws the events of
    /// any scheduler.
    pub fn new(at: Instant, task: u64, kind: EventKind<'a>) -> TaskEvent<'a> {
        TaskEvent { at, task, kind }
    }
}

/// What can happen to a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// The task was spawned, and is ready.
    #[non_exhaustive]
    Spawned {
        /// Its name, if it has one.
        name: Option<&'a str>,
        /// Its era.
        era: Era,
        /// Where in the source it was spawned.
        site: &'static Location<'static>,
        /// The task that has spawned it.
        parent: Option<u64>,
    },
    /// Its turn begins.
    Turn,
    /// Its turn is over, and it is ready for another: it has yielded, or was woken in its turn.
    Yields,
    /// Its turn is over, and it waits.
    Waits(Wait),
    /// The task was woken. If it waited, it is ready now. If it was woken in its own turn, it [yields](EventKind::Yields)
    /// instead of waiting when that turn is over.
    Woken(Actor),
    /// The task was cancelled: it stops where it waits, now or next.
    Cancelled(Actor),
    /// Its last turn is over.
    Ends(Outcome),
}

impl<'a> EventKind<'a> {
    /// Makes an [`EventKind::Spawned`], for schedulers that are not this crate's.
    pub fn spawned(
        name: Option<&'a str>,
        era: Era,
        site: &'static Location<'static>,
        parent: Option<u64>,
    ) -> EventKind<'a> {
        EventKind::Spawned { name, era, site, parent }
    }
}

/// The cause of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Actor {
    /// This task, in its turn or by its end.
    Task(u64),
    /// The operating system: a socket is ready.
    Socket,
    /// The clock.
    Time,
    /// Another thread, or code outside of any task.
    Outside,
    /// The end of the run, which cancels what is left: the root has returned or panicked, the tasks are in a
    /// deadlock, or the [`Runtime`](crate::Runtime) was dropped.
    End,
}

/// How a task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has returned a value.
    Returned,
    /// It has panicked, or there was no stack for it.
    Panicked,
    /// It was cancelled.
    Cancelled,
}
