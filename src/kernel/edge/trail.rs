//! Trails: for each lock, queue and the like, what it is, and which task has used it last. It has an entry here, for
//! reports and observers, once a task has waited for it.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;

use slab::Slab;

/// Something that tasks wait for until another task or thread acts on it. Prints as its name: `a mutex`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Thing(pub(crate) Name);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Fixed(&'static &'static str),
    /// Of a thing whose last user is known, for reports: see [`find`].
    Trail(TrailKey),
}

const GONE: &str = "something that is gone";

impl Thing {
    /// A thing with this name. A deadlock report shows the name after "waits for": `Thing::named(&"a permit")`.
    pub const fn named(name: &'static &'static str) -> Thing {
        Thing(Name::Fixed(name))
    }

    /// A copy that prints the same name when the thing is gone.
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

/// Names a trail as long as there is one; afterwards it names nothing (until 2^32 others have been made).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrailKey {
    index: u32,
    serial: u32,
}

/// A kind of thing for which tasks wait until another task acts on it.
#[derive(Debug)]
pub(crate) struct Kind {
    /// "a mutex"
    pub(crate) what: &'static str,
    /// The relation to the task that is named next: "held by".
    pub(crate) how: &'static str,
}

/// Which task has used the thing last, and where in the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastUse {
    pub(crate) task: u64,
    /// The number of the run that the task belongs to. Tasks of two runs
    /// have the same numbers, and what tasks wait for may outlive a run.
    pub(crate) run: u32,
    pub(crate) site: Option<&'static Location<'static>>,
    pub(crate) part: Part,
}

/// What the task of a [`LastUse`] has to do with those that wait now: whether they wait for that task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It has the thing, and they wait until it is given back.
    Holds,
    /// It has given the thing back.
    GaveBack,
    /// It has put something in, or taken something out, and may do so again, as other tasks may.
    Serves,
}

/// The trails of all things that tasks of this thread have waited for.
#[derive(Default)]
struct Trails {
    entries: Slab<Entry>,
    serial: u32,
    /// What has changed hands since [`note_hands`]; `None`: that is not noted.
    handed: Option<Vec<Handed>>,
}

/// The thing with this trail, and the task that has used it last.
pub(crate) type Handed = (TrailKey, Option<LastUse>);

struct Entry {
    serial: u32,
    kind: &'static Kind,
    last: Option<LastUse>,
}

thread_local! {
    static TRAILS: RefCell<Trails> = RefCell::default();
}

/// Makes an entry for a thing, when the first task waits for it. Returns `None` at the end of the thread, where no
/// entries are kept any more.
pub(crate) fn register(kind: &'static Kind, last: Option<LastUse>) -> Option<TrailKey> {
    with_trails(|all| {
        all.serial = all.serial.wrapping_add(1);
        let entry = Entry { serial: all.serial, kind, last };
        let index = u32::try_from(all.entries.insert(entry)).expect("fewer than 2^32 trails");
        TrailKey { index, serial: all.serial }
    })
}

/// Another task has used the thing.
pub(crate) fn update(key: TrailKey, last: Option<LastUse>) {
    with_trails(|all| {
        all.entries[key.index as usize].last = last;
        all.handed.iter_mut().for_each(|handed| handed.push((key, last)));
    });
}

/// From now on, what changes hands is noted.
pub(crate) fn note_hands() {
    with_trails(|all| all.handed = Some(Vec::new()));
}

/// Returns what has changed hands since [`note_hands`], in order; it is noted no more.
pub(crate) fn take_hands() -> Vec<Handed> {
    with_trails(|all| all.handed.take()).flatten().unwrap_or_default()
}

/// Removes the entry of a thing that is dropped.
pub(crate) fn forget(key: TrailKey) {
    with_trails(|all| all.entries.remove(key.index as usize));
}

/// `None` at the end of the thread, where all may be gone already.
fn with_trails<R>(f: impl FnOnce(&mut Trails) -> R) -> Option<R> {
    TRAILS.try_with(|all| f(&mut all.borrow_mut())).ok()
}

/// What is known of it; `None` if it is gone.
pub(crate) fn find(key: TrailKey) -> Option<(&'static Kind, Option<LastUse>)> {
    with_trails(|all| {
        let entry =
            all.entries.get(key.index as usize).filter(|entry| entry.serial == key.serial)?;
        Some((entry.kind, entry.last))
    })?
}
