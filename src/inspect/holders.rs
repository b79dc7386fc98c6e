//! Which task holds a lock: what a lock, a queue and the like keep of the task that last used them, for the report of a
//! deadlock.

use std::cell::{Cell, OnceCell};
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::edge::notes;
use crate::kernel::edge::trail::{self, Entry, Name, Part, Thing};
use crate::kernel::here::with_task;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::wait::{Wait, WaitFor};

pub(crate) use crate::kernel::edge::trail::{Kind, LastUse};

/// Which task has last used a thing, and where in the source.
///
/// It is registered for reports only when a task waits for the thing, so that it costs little until then.
#[derive(Debug)]
pub(crate) struct Trail {
    kind: &'static Kind,
    /// The last use, until the trail is registered.
    last: Cell<Option<LastUse>>,
    registered: OnceCell<Rc<Entry>>,
}

impl LastUse {
    /// That of the running task; `None` outside of a task.
    #[inline]
    pub(crate) fn here(site: Option<&'static Location<'static>>) -> Option<LastUse> {
        with_task(|task| LastUse { task: task.id, run: task.home.run, site, part: Part::Holds })
    }

    /// That of a task of this thread's run.
    #[inline]
    pub(crate) fn of(task: u64, site: Option<&'static Location<'static>>) -> LastUse {
        let run =
            Scheduler::with(|scheduler| scheduler.map_or(u32::MAX, |scheduler| scheduler.home.run));
        LastUse { task, run, site, part: Part::Holds }
    }
}

impl Trail {
    pub(crate) const fn new(kind: &'static Kind) -> Trail {
        Trail { kind, last: Cell::new(None), registered: OnceCell::new() }
    }

    /// The running task holds it.
    #[inline]
    pub(crate) fn step(&self, site: Option<&'static Location<'static>>) {
        self.set_last(LastUse::here(site));
    }

    /// The running task has put something in, or taken something out.
    #[inline]
    pub(crate) fn serve(&self) {
        self.set_last(LastUse::here(None).map(|last| LastUse { part: Part::Serves, ..last }));
    }

    /// It was given back by the task with the number `by`; `None`: perhaps by the task that is named last.
    #[inline]
    pub(crate) fn give_back(&self, by: Option<u64>) {
        if let Some(last) = self.last().get()
            && by.is_none_or(|by| by == last.task)
        {
            self.set_last(Some(LastUse { part: Part::GaveBack, ..last }));
        }
    }

    /// Sets the last use, which may be another task's; with `None`, reports name no task.
    #[inline]
    pub(crate) fn set_last(&self, last: Option<LastUse>) {
        self.last().set(last);
        if let Some(registered) = self.registered.get() {
            notes::uses(registered);
        }
    }

    #[inline]
    fn last(&self) -> &Cell<Option<LastUse>> {
        self.registered.get().map_or(&self.last, |registered| &registered.last)
    }

    /// The [`Wait`] that an operation records when it waits for the thing.
    pub(crate) fn wait(&self) -> Wait {
        let thing = |trail: &Rc<Entry>| WaitFor::Thing(Thing(Name::Trail(trail.key)));
        let registered = self.registered.get().or_else(|| self.register());
        Wait::new(registered.map_or(WaitFor::Waker, thing))
    }

    #[cold]
    fn register(&self) -> Option<&Rc<Entry>> {
        let entry = trail::register(self.kind, self.last.get())?;
        Some(self.registered.get_or_init(|| entry))
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if let Some(registered) = self.registered.get() {
            trail::forget(registered.key);
        }
    }
}
