//! What is known of the locks, queues and the like that tasks wait for: what each is, and which task has last
//! had its hands on it. Told to reports and observers only once somebody waits for it.

use std::cell::RefCell;
use std::panic::Location;

use slab::Slab;

/// Names a trail as long as there is one; afterwards it names nothing, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrailKey {
    index: u32,
    serial: u32,
}

/// What tasks wait for until some other task does something about it.
#[derive(Debug)]
pub(crate) struct Kind {
    /// "a mutex"
    pub(crate) what: &'static str,
    /// "held by": what the task has done whose trail this is.
    pub(crate) how: &'static str,
}

/// Which task has had its hands on it last, and where in the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) task: u64,
    /// The number of the run that the task belongs to. Tasks of two runs
    /// have the same numbers, and what tasks wait for may outlive a run.
    pub(crate) run: u32,
    pub(crate) site: Option<&'static Location<'static>>,
    pub(crate) part: Part,
}

/// What the task of a [`Step`] has to do with those that wait now: whether they wait for that task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It has the thing, and they wait until it is given back.
    Holds,
    /// It has given the thing back.
    GaveBack,
    /// It has put something in, or taken something out, and may do so again, as other tasks may.
    Serves,
}

/// The trails of what somebody of this thread has waited for.
#[derive(Default)]
struct Trails {
    told: Slab<Told>,
    serial: u32,
    /// What has changed hands since [`note_hands`]; `None`: that is not noted.
    handed: Option<Vec<Handed>>,
}

/// The thing with this trail, and the task that has last had its hands on it.
pub(crate) type Handed = (TrailKey, Option<Step>);

struct Told {
    serial: u32,
    kind: &'static Kind,
    last: Option<Step>,
}

thread_local! {
    static TRAILS: RefCell<Trails> = RefCell::default();
}

/// A task waits for it, for the first time. Returns `None` at the end of the thread, where nothing is kept any more.
pub(crate) fn tell(kind: &'static Kind, last: Option<Step>) -> Option<TrailKey> {
    changing(|all| {
        all.serial = all.serial.wrapping_add(1);
        let told = Told { serial: all.serial, kind, last };
        let index = u32::try_from(all.told.insert(told)).expect("fewer than 2^32 trails");
        TrailKey { index, serial: all.serial }
    })
}

/// Another task has its hands on it.
pub(crate) fn tell_again(key: TrailKey, last: Option<Step>) {
    changing(|all| {
        all.told[key.index as usize].last = last;
        all.handed.iter_mut().for_each(|handed| handed.push((key, last)));
    });
}

/// From now on, what changes hands is noted.
pub(crate) fn note_hands() {
    changing(|all| all.handed = Some(Vec::new()));
}

/// Returns what has changed hands since [`note_hands`], the first first; it is noted no more.
pub(crate) fn take_hands() -> Vec<Handed> {
    changing(|all| all.handed.take()).flatten().unwrap_or_default()
}

/// It is gone.
pub(crate) fn forget(key: TrailKey) {
    changing(|all| all.told.remove(key.index as usize));
}

/// `None` at the end of the thread, where all may be gone already.
fn changing<R>(f: impl FnOnce(&mut Trails) -> R) -> Option<R> {
    TRAILS.try_with(|all| f(&mut all.borrow_mut())).ok()
}

/// What is known of it; `None` if it is gone.
pub(crate) fn find(key: TrailKey) -> Option<(&'static Kind, Option<Step>)> {
    changing(|all| {
        let told = all.told.get(key.index as usize).filter(|told| told.serial == key.serial)?;
        Some((told.kind, told.last))
    })?
}
