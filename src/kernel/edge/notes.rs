//! What a task does in its turn, noted for an observer that wants to know: how many bytes it reads and writes, how often
//! it meets `WouldBlock`, which locks change hands, and where in the source it gives up the turn.
//!
//! Nothing is noted unless an observer calls [`begin`] as a turn begins; without that, each of the places that note
//! something costs one comparison. Where the turn is given up is a backtrace, since the line that matters is that of the
//! program, above the libraries that it calls; the backtrace is resolved when it is drawn. A backtrace takes some
//! kilobytes, but a program waits in few places: each is kept once.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::panic::Location;
use std::ptr;
use std::rc::Rc;

use super::trail::{self, Handed, TrailKey};

thread_local! {
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    static NOTES: RefCell<Notes> = RefCell::default();
}

/// What a task did in one turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    /// Bytes that it read from streams.
    pub(crate) read: u64,
    /// Bytes that it wrote to streams.
    pub(crate) written: u64,
    /// How often a socket was not ready.
    pub(crate) would_block: u32,
    /// Where it gave up the turn, if it did in this crate's operations.
    pub(crate) place: Option<Rc<Place>>,
    /// What it waits for, if tasks leave a trail on that.
    pub(crate) thing: Option<TrailKey>,
    /// What changed hands in the turn: which task has had its hands on it last.
    pub(crate) handed: Vec<Handed>,
}

/// The line that calls the verb, where the verb knows it.
pub(crate) type Site = Option<&'static Location<'static>>;

/// Where in the source a turn is given up.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) site: Site,
    /// The stack, innermost frame first; it is not resolved yet.
    pub(crate) stack: Backtrace,
}

#[derive(Default)]
struct Notes {
    note: Note,
    /// The places known so far, by their verbs and return addresses.
    places: HashMap<(Site, Vec<usize>), Rc<Place>>,
}

/// More places than a program has; beyond them, the table begins anew.
const MOST_PLACES: usize = 10_000;

/// A turn begins, and what is done in it is noted.
pub(crate) fn begin() {
    with_notes(|notes| notes.note = Note::default());
    trail::note_hands();
    IS_ON.set(true);
}

/// The turn that has [begun](begin) is over. Returns what was done in it; so does another call, of a second observer.
pub(crate) fn end() -> Note {
    IS_ON.set(false);
    with_notes(|notes| {
        notes.note.handed.append(&mut trail::take_hands());
        notes.note.clone()
    })
    .unwrap_or_default()
}

/// The task gives up its turn here, at `site`. The last place that is noted in a turn counts.
#[inline]
pub(crate) fn gives_up_at(site: &Cell<Site>) {
    if IS_ON.get() {
        note_site(site);
    }
}

/// A reference to where the site is kept already: this is called in each yield, and a copy costs it some instructions.
#[cold]
#[inline(never)]
fn note_site(site: &Cell<Site>) {
    note_place(site.get());
}

/// The task records what it waits for; where its turn is not given up on a stack, this is where.
#[inline]
pub(crate) fn records() {
    if IS_ON.get() {
        note_no_site();
    }
}

/// Apart, so that little is left of [`records`] in each operation.
#[cold]
#[inline(never)]
fn note_no_site() {
    note_place(None);
}

/// The task gives a waker away, perhaps to code that keeps it and records no wait: its turn may end here, unless it recorded
/// a wait elsewhere in it.
#[inline]
pub(crate) fn lends_waker() {
    if IS_ON.get() && with_notes(|notes| notes.note.place.is_none()) == Some(true) {
        note_place(None);
    }
}

/// The task has read `n` bytes.
#[inline]
pub(crate) fn reads(n: usize) {
    if IS_ON.get() {
        with_notes(|notes| notes.note.read += n as u64);
    }
}

/// The task has written `n` bytes.
#[inline]
pub(crate) fn writes(n: usize) {
    if IS_ON.get() {
        with_notes(|notes| notes.note.written += n as u64);
    }
}

/// A socket was not ready.
#[inline]
pub(crate) fn would_block() {
    if IS_ON.get() {
        with_notes(|notes| notes.note.would_block += 1);
    }
}

/// What the task waits for has this trail.
pub(super) fn waits_for(key: TrailKey) {
    if IS_ON.get() {
        with_notes(|notes| notes.note.thing = Some(key));
    }
}

/// `None` at the end of the thread.
fn with_notes<R>(f: impl FnOnce(&mut Notes) -> R) -> Option<R> {
    NOTES.try_with(|notes| f(&mut notes.borrow_mut())).ok()
}

#[cold]
fn note_place(site: Site) {
    let stack = return_addresses();
    with_notes(|notes| {
        if notes.places.len() >= MOST_PLACES {
            notes.places.clear();
        }
        let place = notes.places.entry((site, stack));
        let new = || Rc::new(Place { site, stack: Backtrace::force_capture() });
        notes.note.place = Some(place.or_insert_with(new).clone());
    });
}

// Of the unwinder that the standard library is linked with. (`Backtrace` does not show its addresses, and to capture one for
// each turn would take a hundred times the memory.)
//
// SAFETY: these are the declarations of its C API, `_Unwind_Reason_Code` being a C enumeration.
unsafe extern "C-unwind" {
    fn _Unwind_Backtrace(
        step: extern "C-unwind" fn(*mut c_void, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
}

/// Those on the stack that runs, the innermost first.
fn return_addresses() -> Vec<usize> {
    /// `_URC_NO_REASON`: go on.
    const NEXT: c_int = 0;
    extern "C-unwind" fn step(frame: *mut c_void, data: *mut c_void) -> c_int {
        // SAFETY: the unwinder calls this with the frame that it has come to, and with the vector below, which nothing
        // else uses meanwhile.
        let (address, addresses) =
            unsafe { (_Unwind_GetIP(frame), &mut *data.cast::<Vec<usize>>()) };
        addresses.push(address);
        NEXT
    }
    let mut addresses = Vec::with_capacity(64);
    // SAFETY: the unwinder only reads the stack; `step` has the type that it calls, and `addresses` outlives the call.
    unsafe { _Unwind_Backtrace(step, ptr::from_mut(&mut addresses).cast()) };
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_once() {
        let mut places = Vec::new();
        for _ in 0..2 {
            begin();
            records();
            places.extend(end().place);
        }
        begin();
        records();
        places.extend(end().place);
        let [first, second, elsewhere] = &places[..] else { panic!("{} places", places.len()) };
        assert!(Rc::ptr_eq(first, second) && !Rc::ptr_eq(first, elsewhere));
    }

    #[test]
    fn nothing_is_noted_between_turns() {
        begin();
        reads(5);
        writes(6);
        would_block();
        drop(end());
        reads(7);
        records();
        let Note { read, written, would_block, place, .. } = end();
        assert_eq!((read, written, would_block), (5, 6, 1));
        assert!(place.is_none());
        begin();
        assert_eq!(end().read, 0);
    }
}
