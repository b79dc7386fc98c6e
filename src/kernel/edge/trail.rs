//! Trails: which task has last used what other tasks wait for.
//!
//! Each lock, queue or other [`Thing`] that tasks wait for has an `inspect::holders::Trail`. From the moment when the
//! first task waits for it until it is dropped, that has an [`Entry`] in the table of this thread. The entry has the
//! kind of the thing, and its [`LastUse`]: which task has used it last, and where in the source. Deadlock reports and
//! observers read the entries.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use slab::Slab;

/// Something that tasks wait for until another task or thread acts on it. Prints as its name: `a mutex`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Thing(pub(crate) Name);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Fixed(&'static &'static str),
    /// The name of a thing that has a trail: see [`find`].
    Trail(TrailKey),
}

const GONE: &str = "something that is gone";

impl Thing {
    /// A thing with this name. A deadlock report shows the name after "waits for": `Thing::named(&"a permit")`.
    pub const fn named(name: &'static &'static str) -> Thing {
        Thing(Name::Fixed(name))
    }

    /// Returns a copy that keeps the name: it prints the same after the thing is dropped. For a thing that is dropped
    /// already, the name is [`GONE`].
    pub(crate) fn kept(self) -> Thing {
        match self.0 {
            Name::Trail(key) => Thing::named(find(key).map_or(&GONE, |(kind, _)| &kind.what)),
            Name::Fixed(_) => self,
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self.kept().0 {
            Name::Fixed(name) => name,
            Name::Trail(_) => GONE,
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thing({:?})", self.name())
    }
}

/// Names a trail of this thread. When the trail is forgotten, and on other threads, the key names nothing (until 2^32
/// other trails have been made in the process).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrailKey {
    index: u32,
    serial: u32,
}

/// A kind of [`Thing`], in the words of a report.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The thing: "a mutex".
    pub(crate) what: &'static str,
    /// Its relation to the task of the last use, which follows in the report: "held by".
    pub(crate) how: &'static str,
}

/// Which task has used the thing last, and where in the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastUse {
    pub(crate) task: u64,
    /// The number of the task's run. Tasks of two runs may have the same number, and a thing may outlive a run.
    pub(crate) run: u32,
    pub(crate) site: Option<&'static Location<'static>>,
    pub(crate) part: Part,
}

/// What the last use means for the tasks that wait now: whether they wait for the task that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// That task has the thing. The others wait until it gives the thing back.
    Holds,
    /// That task has given the thing back.
    GaveBack,
    /// That task has put something in or taken something out. It may do so again, and so may other tasks.
    Serves,
}

/// The trail of a thing that a task of this thread has waited for.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: TrailKey,
    pub(crate) kind: &'static Kind,
    /// The last use of the thing; `None`: no task is known to have it now.
    pub(crate) last: Cell<Option<LastUse>>,
}

thread_local! {
    static TRAILS: RefCell<Slab<Rc<Entry>>> = const { RefCell::new(Slab::new()) };
}

/// Makes a trail for a thing, when the first task waits for it. Returns `None` at the end of the thread, when the trails
/// are gone.
pub(crate) fn register(kind: &'static Kind, last: Option<LastUse>) -> Option<Rc<Entry>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    with_trails(|all| {
        let vacant = all.vacant_entry();
        let index = u32::try_from(vacant.key()).expect("fewer than 2^32 trails");
        let key = TrailKey { index, serial: NEXT.fetch_add(1, Relaxed) };
        vacant.insert(Rc::new(Entry { key, kind, last: Cell::new(last) })).clone()
    })
}

/// Removes the trail of a thing that is dropped.
pub(crate) fn forget(key: TrailKey) {
    with_trails(|all| all.remove(key.index as usize));
}

/// Calls `f` with the trails of this thread. Returns `None` at the end of the thread, when they are gone.
fn with_trails<R>(f: impl FnOnce(&mut Slab<Rc<Entry>>) -> R) -> Option<R> {
    TRAILS.try_with(|all| f(&mut all.borrow_mut())).ok()
}

/// Returns the kind of the thing, and its last use; `None` if the thing is gone, or another thread's.
pub(crate) fn find(key: TrailKey) -> Option<(&'static Kind, Option<LastUse>)> {
    with_trails(|all| {
        let entry = all.get(key.index as usize).filter(|entry| entry.key == key)?;
        Some((entry.kind, entry.last.get()))
    })?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thing_of_another_thread_has_the_name_of_none_of_this_one() {
        static THERE: Kind = Kind { what: "a thing of there", how: "held by" };
        static HERE: Kind = Kind { what: "a thing of here", how: "held by" };
        let there = thread::spawn(|| register(&THERE, None).map(|entry| entry.key))
            .join()
            .unwrap()
            .unwrap();
        let seen = thread::spawn(move || {
            let here = register(&HERE, None).unwrap();
            [here.key, there].map(|key| Thing(Name::Trail(key)).name())
        });
        assert_eq!(seen.join().unwrap(), [HERE.what, GONE]);
    }
}
