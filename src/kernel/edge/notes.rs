//! Notes for an observer on what a task does in one turn: how many bytes it reads and writes, how often it meets
//! `WouldBlock`, which locks change hands, and where in the source it gives up the turn.
//!
//! Nothing is noted unless an observer calls [`begin`] when a turn begins. Otherwise each function that notes something
//! costs one comparison.
//!
//! The place where a turn is given up is a backtrace: the line that matters is one of the program, above the libraries that
//! it calls. A backtrace takes some kilobytes, but a program waits in few places, so each place is kept once. A backtrace
//! is resolved only when it is drawn.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::panic::Location;
use std::ptr;
use std::rc::Rc;

use super::running::running;
use super::trail::{Entry, LastUse, TrailKey};

thread_local! {
    static NOTES: RefCell<Notes> = RefCell::default();
}

/// What a task did in one turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    /// Bytes that it read from streams.
    pub(crate) read: u64,
    /// Bytes that it wrote to streams.
    pub(crate) written: u64,
    /// How often a socket returned `WouldBlock`.
    pub(crate) would_block: u32,
    /// Where it gave up the turn, if that was in an operation of this crate.
    pub(crate) place: Option<Rc<Place>>,
    /// The trail of what it waits for, if that has one.
    pub(crate) thing: Option<TrailKey>,
    /// The uses of locks, queues and other things in the turn; with `None`, no task is known to have the thing then.
    pub(crate) uses: Vec<(TrailKey, Option<LastUse>)>,
}

/// A place in the source.
pub(crate) type Site = &'static Location<'static>;

/// Where in the source a turn is given up.
#[derive(Debug)]
pub(crate) struct Place {
    /// The line that calls a verb, if the verb is `#[track_caller]` and passes it on.
    pub(crate) site: Option<Site>,
    /// The stack, the innermost frame first, not resolved yet.
    pub(crate) stack: Backtrace,
}

#[derive(Default)]
struct Notes {
    note: Note,
    /// The places known so far, by the line that calls the verb and the return addresses on the stack.
    places: HashMap<(Option<Site>, Vec<usize>), Rc<Place>>,
}

/// More places than a program has. When the table has so many, it is emptied.
const MOST_PLACES: usize = 10_000;

/// Begins to note, at the beginning of a turn.
pub(crate) fn begin() {
    with_notes(|notes| notes.note = Note::default());
    running().is_noted.set(true);
}

/// Stops noting, at the end of the turn that has [begun](begin), and returns the note. A further call, by a second observer,
/// returns the same note.
pub(crate) fn end() -> Note {
    running().is_noted.set(false);
    with_notes(|notes| notes.note.clone()).unwrap_or_default()
}

/// Notes that the task gives up its turn here, called from the line `site`. A later place in the same turn replaces this one.
#[inline]
pub(crate) fn gives_up_at(site: &Cell<Option<Site>>) {
    if running().is_noted.get() {
        note_site(site);
    }
}

/// Takes a reference to the cell that has the site already: a copy would cost each yield some instructions.
#[cold]
#[inline(never)]
fn note_site(site: &Cell<Option<Site>>) {
    note_place(site.get());
}

/// Notes that the task records here what it waits for. For a turn that is not given up on a stack (a future returns
/// `Pending`), this is the place.
#[inline]
pub(crate) fn records() {
    if running().is_noted.get() {
        note_no_site();
    }
}

/// Out of line, so that [`records`] stays small where it is inlined.
#[cold]
#[inline(never)]
fn note_no_site() {
    note_place(None);
}

/// Notes that the task's waker is cloned here. The clone may go to code that keeps it and records no wait, so this is the
/// place, unless the turn has one already.
#[inline]
pub(crate) fn lends_waker() {
    if running().is_noted.get() && with_notes(|notes| notes.note.place.is_none()) == Some(true) {
        note_place(None);
    }
}

/// Notes that the task has read `n` bytes.
#[inline]
pub(crate) fn reads(n: usize) {
    if running().is_noted.get() {
        with_notes(|notes| notes.note.read += n as u64);
    }
}

/// Notes that the task has written `n` bytes.
#[inline]
pub(crate) fn writes(n: usize) {
    if running().is_noted.get() {
        with_notes(|notes| notes.note.written += n as u64);
    }
}

/// Notes that a socket returned `WouldBlock`.
#[inline]
pub(crate) fn would_block() {
    if running().is_noted.get() {
        with_notes(|notes| notes.note.would_block += 1);
    }
}

/// Notes that the last use of the thing with this trail has changed.
#[inline]
pub(crate) fn uses(trail: &Entry) {
    if running().is_noted.get() {
        note_use(trail);
    }
}

/// Out of line, as [`note_no_site`].
#[cold]
#[inline(never)]
fn note_use(trail: &Entry) {
    with_notes(|notes| notes.note.uses.push((trail.key, trail.last.get())));
}

/// Notes the trail of what the task waits for.
pub(super) fn waits_for(key: TrailKey) {
    if running().is_noted.get() {
        with_notes(|notes| notes.note.thing = Some(key));
    }
}

/// Calls `f` with the notes of this thread. Returns `None` at the end of the thread, when they are gone.
fn with_notes<R>(f: impl FnOnce(&mut Notes) -> R) -> Option<R> {
    NOTES.try_with(|notes| f(&mut notes.borrow_mut())).ok()
}

#[cold]
fn note_place(site: Option<Site>) {
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

// The unwinder that the standard library is linked with. (`Backtrace` does not show its addresses, and capturing one for each
// turn would take a hundred times the memory.)
//
// SAFETY: these declarations are those of the unwinder's C API, in which `_Unwind_Reason_Code` is a C enumeration.
unsafe extern "C-unwind" {
    fn _Unwind_Backtrace(
        step: extern "C-unwind" fn(*mut c_void, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
}

/// The return addresses on the running stack, the innermost first.
fn return_addresses() -> Vec<usize> {
    /// `_URC_NO_REASON`: the unwinder goes on.
    const NEXT: c_int = 0;
    extern "C-unwind" fn step(frame: *mut c_void, data: *mut c_void) -> c_int {
        // SAFETY: the unwinder passes the frame that it has reached, which is valid during this call, and the pointer to
        // the vector below, which no other code uses until `_Unwind_Backtrace` returns.
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
