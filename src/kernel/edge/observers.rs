//! Holds the observers of a run, and turns kernel state into events for them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::foreign::{Running, aside, running};
use super::notes;
use super::observe::{Actor, EventKind, Observer, TaskEvent};
use crate::kernel::edge::trail::Name;
use crate::kernel::task::{Home, Task};
use crate::kernel::wait::{Wait, WaitFor};

/// The observers of a run.
pub(crate) struct Observers {
    observers: Vec<Rc<dyn Observer>>,
    /// For each of them: it has panicked, and gets no more events.
    broken: Vec<Cell<bool>>,
    /// An observer is being called.
    pub(crate) calling: Cell<bool>,
    /// What acts while no task has its turn.
    pub(crate) by: Cell<Actor>,
}

impl Observers {
    pub(crate) fn new(observers: Vec<Rc<dyn Observer>>) -> Observers {
        let broken = vec![Cell::new(false); observers.len()];
        Observers { observers, broken, calling: Cell::new(false), by: Cell::new(Actor::Outside) }
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        !self.observers.is_empty()
    }

    /// Calls `f`; whatever it does outside of any task is done by that one.
    pub(crate) fn on_behalf_of(&self, by: Actor, f: impl FnOnce()) {
        let before = self.by.replace(by);
        f();
        self.by.set(before);
    }

    /// The cause to be named in an event: the task of this run that is running, or on whose stack foreign code runs;
    /// else `by`.
    pub(crate) fn cause(&self, home: &Arc<Home>) -> Actor {
        let Running { task, host, .. } = running();
        let at_work = if task.get().is_null() { host } else { task };
        // SAFETY: a task lives while it is set.
        let at_work = unsafe { at_work.get().cast::<Task>().as_ref() };
        let of_this_run = at_work.filter(|task| Arc::ptr_eq(&task.home, home));
        of_this_run.map_or_else(|| self.by.get(), |task| Actor::Task(task.id))
    }

    /// Calls each observer with an event. What an observer does itself meanwhile is no event. A panic of an observer ends
    /// here: it would unwind through the middle of the scheduler's work, or through the task that runs.
    #[cold]
    pub(crate) fn emit(&self, at: Instant, task: u64, kind: EventKind<'_>) {
        if self.calling.replace(true) {
            return;
        }
        let event = TaskEvent::new(at, task, kind);
        let subject = "an observer of this run, which gets no more events,";
        for (observer, broken) in self.observers.iter().zip(&self.broken) {
            if !broken.get() {
                broken.set(!aside(format_args!("{subject}"), || observer.observe(&event)));
            }
        }
        self.calling.set(false);
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        for observer in self.observers.drain(..) {
            aside(format_args!("the destructor of an observer"), || drop(observer));
        }
    }
}

/// `parent` is 0 for a task that no task has spawned.
pub(crate) fn spawned(task: &Task, parent: u64) -> EventKind<'_> {
    let name = task.name.as_ref().map(|name| &***name);
    EventKind::spawned(name, task.era, task.site, (parent != 0).then_some(parent))
}

/// The event of a wait. Its name stays valid when the thing is gone.
pub(crate) fn waits(wait: Wait) -> EventKind<'static> {
    let what = match wait.what {
        WaitFor::Thing(thing) => {
            if let Name::Trail(key) = thing.0 {
                notes::waits_for(key);
            }
            WaitFor::Thing(thing.kept())
        }
        what => what,
    };
    EventKind::Waits(Wait { what, ..wait })
}
