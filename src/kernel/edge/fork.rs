//! Whether this process is a copy, made by `fork(2)` while a scheduler was running.
//!
//! `fork(2)` copies the memory and the calling thread, but parent and child share the event queue of the operating system.
//! If the child's copy of the scheduler went on, it would run the same tasks on the same sockets a second time. So each
//! scheduler compares a word of memory with the number that was there when it was made: the word becomes zero in a child.
//! Two mechanisms make it zero, since each misses some children:
//!
//! * The operating system wipes the page of the word (`MADV_WIPEONFORK`, Linux 4.14). That includes children of a bare
//!   `clone(2)`, but not emulators and sandboxes whose `madvise` does nothing.
//! * A handler that the C library's `fork` calls in the child (`pthread_atfork`) stores zero. That works on every
//!   operating system, but a bare `clone(2)` does not call it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::edge::mapping::{page_size, zeroed};

/// The error of a scheduler that finds itself in a copy.
pub(crate) const COPIED: &str = "this process was forked off (fork(2)) while a scheduler was running, and shares its \
    event queue with the parent: the copy must not go on. Call exec, or `_exit`, in the child";

/// Distinguishes the process in which it was made from its copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Original {
    mark: &'static AtomicU32,
    process: u32,
}

/// The word that becomes zero in a child, once it is mapped.
static MARK: OnceLock<&AtomicU32> = OnceLock::new();

impl Original {
    pub(crate) fn here() -> Original {
        let mark = *MARK.get_or_init(map_mark);
        // The count is copied by a fork, and the mark is not: a child finds zero, and its number is above those in all the
        // `Original`s that it has inherited. (A process number may come again, in a container for one.)
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let new = || NEXT.fetch_add(1, Ordering::Relaxed);
        let store = |old| if old == 0 { Some(new()) } else { None };
        let _ = mark.fetch_update(Ordering::AcqRel, Ordering::Acquire, store);
        Original { mark, process: mark.load(Ordering::Relaxed) }
    }

    #[inline]
    pub(crate) fn is_copied(self) -> bool {
        self.mark.load(Ordering::Relaxed) != self.process
    }
}

/// A word on a page of its own, which is zero in each forked child.
fn map_mark() -> &'static AtomicU32 {
    let page = zeroed(page_size(), 0).unwrap_or_else(|e| panic!("cannot map a page: {e}"));
    #[cfg(target_os = "linux")]
    // SAFETY: the range is the page just mapped. An older operating system refuses the advice; then only the handler works.
    unsafe {
        libc::madvise(page, page_size(), libc::MADV_WIPEONFORK);
    }
    // SAFETY: `wipe` only reads and writes atomics, which is allowed in the child of a process with several threads. If
    // there is no memory to register the handler, only the wiped page works.
    unsafe { libc::pthread_atfork(None, None, Some(wipe)) };
    // SAFETY: the page is aligned, filled with zeros, which is a valid `AtomicU32`, never unmapped, and accessed through
    // this reference only.
    unsafe { AtomicU32::from_ptr(page.cast()) }
}

/// Runs in the child of a `fork`.
unsafe extern "C" fn wipe() {
    if let Some(mark) = MARK.get() {
        mark.store(0, Ordering::Relaxed);
    }
}
