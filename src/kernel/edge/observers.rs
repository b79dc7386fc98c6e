//! Calls the observers of a run with its events, and makes events of kernel state.

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
    /// Each observer, and whether it has panicked: then it gets no more events.
    all: Vec<(Rc<dyn Observer>, Cell<bool>)>,
    /// An observer is being called.
    pub(crate) calling: Cell<bool>,
    /// The cause of events while no task runs.
    pub(crate) by: Cell<Actor>,
}

impl Observers {
    pub(crate) fn new(observers: Vec<Rc<dyn Observer>>) -> Observers {
        let all = observers.into_iter().map(|observer| (observer, Cell::new(false))).collect();
        Observers { all, calling: Cell::new(false), by: Cell::new(Actor::Outside) }
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        !self.all.is_empty()
    }

    /// Calls `f`. Of the events that `f` causes outside of any task, `by` is the cause.
    pub(crate) fn on_behalf_of(&self, by: Actor, f: impl FnOnce()) {
        let before = self.by.replace(by);
        f();
        self.by.set(before);
    }

    /// The cause to name in an event of the run `home`: its task that is running, or on whose stack foreign code runs; if there
    /// is none, `by`.
    pub(crate) fn cause(&self, home: &Arc<Home>) -> Actor {
        let Running { task, host, .. } = running();
        let at_work = if task.get().is_null() { host } else { task };
        // SAFETY: `Running` is set only to tasks that live (see its fields); the reference ends with this function.
        let at_work = unsafe { at_work.get().cast::<Task>().as_ref() };
        let of_this_run = at_work.filter(|task| Arc::ptr_eq(&task.home, home));
        of_this_run.map_or_else(|| self.by.get(), |task| Actor::Task(task.id))
    }

    /// Calls each observer with an event. What an observer does meanwhile is no event. A panic of an observer ends
    /// here: otherwise it would unwind through the middle of the scheduler's work, or through the task that runs.
    #[cold]
    pub(crate) fn emit(&self, at: Instant, task: u64, kind: EventKind<'_>) {
        if self.calling.replace(true) {
            return;
        }
        let event = TaskEvent::new(at, task, kind);
        let subject = "an observer of this run, which gets no more events,";
        for (observer, broken) in &self.all {
            if !broken.get() {
                broken.set(!aside(format_args!("{subject}"), || observer.observe(&event)));
            }
        }
        self.calling.set(false);
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        for (observer, _) in self.all.drain(..) {
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
