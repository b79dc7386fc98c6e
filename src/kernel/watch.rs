//! The scheduler's end of the hooks: who watches, and how what happens is put for them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::observe::{By, Event, Observer, Reason, What};
use super::task::{Cause, Task, Wait, WaitKind};
use super::trail;

/// Whoever watches a run, if somebody does.
pub(crate) struct Watch {
    observer: Option<Rc<dyn Observer>>,
    /// Who is at work while no task has its turn.
    pub(crate) by: Cell<By>,
}

impl Watch {
    pub(crate) fn new(observer: Option<Rc<dyn Observer>>) -> Watch {
        Watch { observer, by: Cell::new(By::Outside) }
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.observer.is_some()
    }

    #[cold]
    pub(crate) fn tell(&self, at: Instant, task: u64, what: What<'_>) {
        if let Some(observer) = &self.observer {
            observer.observe(&Event::new(at, task, what));
        }
    }
}

/// `parent` is 0 for a task that no task has spawned.
pub(crate) fn spawned(task: &Task, parent: u64) -> What<'_> {
    What::Spawned {
        name: task.name.as_ref().map(|name| &***name),
        era: task.era,
        site: task.site,
        parent: (parent != 0).then_some(parent),
    }
}

pub(crate) fn waits(wait: &Wait) -> What<'static> {
    let reason = match (wait.kind, wait.cause) {
        (WaitKind::Readable(id), _) => Reason::Readable(id.fd()),
        (WaitKind::Writable(id), _) => Reason::Writable(id.fd()),
        (WaitKind::Until(_), _) => Reason::Time,
        (_, Cause::Task(id)) => Reason::Task(id),
        (_, Cause::Named(name)) => Reason::Named(name),
        (_, Cause::Trail(key)) => {
            trail::told(key).map_or(Reason::Waker, |t| Reason::Named(t.0.what))
        }
        (_, Cause::Waker) => Reason::Waker,
    };
    What::Waits { reason, deadline: wait.ends() }
}
