//! The scheduler's end of the hooks: who watches, and how what happens is put for them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::foreign::aside;
use super::observe::{By, Event, Observer, What};
use crate::kernel::task::Task;
use crate::kernel::wait::{Wait, WaitFor};

/// Whoever watches a run, if somebody does.
pub(crate) struct Watch {
    observer: Option<Rc<dyn Observer>>,
    /// It is being told something.
    pub(crate) telling: Cell<bool>,
    /// It has panicked, and is told nothing any more.
    broken: Cell<bool>,
    /// Who is at work while no task has its turn.
    pub(crate) by: Cell<By>,
}

impl Watch {
    pub(crate) fn new(observer: Option<Rc<dyn Observer>>) -> Watch {
        let by = Cell::new(By::Outside);
        Watch { observer, telling: Cell::new(false), broken: Cell::new(false), by }
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.observer.is_some()
    }

    /// Calls `f`; whatever it does outside of any task is done by that one.
    pub(crate) fn on_behalf_of(&self, by: By, f: impl FnOnce()) {
        let before = self.by.replace(by);
        f();
        self.by.set(before);
    }

    /// What an observer does itself, while it is told something, it is not told. Its panic ends here: it would
    /// unwind through the middle of the scheduler's work, or through whichever task is at work.
    #[cold]
    pub(crate) fn tell(&self, at: Instant, task: u64, what: What<'_>) {
        let Some(observer) = &self.observer else { return };
        if self.broken.get() || self.telling.replace(true) {
            return;
        }
        let event = Event::new(at, task, what);
        let subject = "the observer of this run, which gets no more events,";
        let told = aside(format_args!("{subject}"), || observer.observe(&event));
        self.telling.set(false);
        self.broken.set(!told);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let observer = self.observer.take();
        aside(format_args!("the destructor of an observer"), || drop(observer));
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

/// What an observer may keep longer than the thing that is waited for lasts.
pub(crate) fn waits(wait: Wait) -> What<'static> {
    let what = match wait.what {
        WaitFor::Thing(thing) => WaitFor::Thing(thing.kept()),
        what => what,
    };
    What::Waits(Wait { what, ..wait })
}
