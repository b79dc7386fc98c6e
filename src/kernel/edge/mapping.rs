//! The system calls for the memory of stacks and its guard pages.
//!
//! Where the operating system has `MADV_GUARD_INSTALL` (Linux 6.13), a guard is a mark in the page table and leaves the
//! mapping whole. Elsewhere it is made with `mprotect`, which splits the mapping at each guard, so that some 32 000
//! stacks reach the limit `vm.max_map_count`. Some emulators and sandboxes have a `madvise` that accepts every advice and
//! does nothing. To find them, each mapping is first tested with an advice that does not exist: if that is accepted,
//! guards are made with `mprotect`.
//!
//! Huge pages are switched off for the mapping: one touched byte would otherwise cost 2 MiB.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

/// Address space that a new mapping must leave free for the rest of the program. If stacks took the last of it, the next
/// allocation on the heap would end the process, while a task without a stack is only an error.
const HEADROOM: usize = 8 << 20;

/// `MADV_GUARD_INSTALL`, Linux 6.13; not in every version of the headers.
const GUARD_INSTALL: libc::c_int = 102;

/// Where a stack lies.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) guard: Range<usize>,
    /// Usable bytes above the guard.
    pub(crate) usable: usize,
}

/// A range of reserved memory, filled with zeros, which uses no page before it is touched. Dropping this leaves the memory
/// mapped; [`unmap`](Mapping::unmap) unmaps it.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonZeroUsize,
    bytes: usize,
    /// Whether guards are installed with `MADV_GUARD_INSTALL`.
    marks_guards: bool,
}

impl Mapping {
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn new(bytes: usize) -> io::Result<Mapping> {
        let start = zeroed(bytes.saturating_add(HEADROOM), libc::MAP_NORESERVE)?;
        // SAFETY: this is the last part of the mapping just made. Only this function knows the address, and has not used it.
        unsafe { libc::munmap(start.byte_add(bytes), HEADROOM) };
        // SAFETY: `bytes` is at most the length of the new mapping, which holds nothing yet. No advice used here but the guard
        // changes what an access does, and the pages that it guards, the first ones, become a guard of the arena anyway.
        let advise = |bytes, advice| unsafe { libc::madvise(start, bytes, advice) } == 0;
        #[cfg(target_os = "linux")]
        advise(bytes, libc::MADV_NOHUGEPAGE); // It fails where there are no huge pages.
        let knows_advice = cfg!(target_os = "linux") && !advise(page_size(), -1);
        let marks_guards = knows_advice && advise(page_size(), GUARD_INSTALL);
        let start =
            NonZeroUsize::new(start as usize).expect("the operating system never maps page zero");
        Ok(Mapping { start, bytes, marks_guards })
    }

    pub(crate) fn start(&self) -> NonZeroUsize {
        self.start
    }

    /// Makes each access to `pages` a fault.
    ///
    /// # Errors
    ///
    /// The operating system's.
    ///
    /// # Safety
    ///
    /// `pages` are whole pages of this mapping, and nothing accesses them from now on.
    pub(crate) unsafe fn guard(&self, pages: &Range<usize>) -> io::Result<()> {
        let (start, bytes) = (pages.start as *mut libc::c_void, pages.len());
        // SAFETY: by the caller, the range is of this mapping, and no code accesses it.
        match unsafe {
            (!self.marks_guards || libc::madvise(start, bytes, GUARD_INSTALL) != 0)
                && libc::mprotect(start, bytes, libc::PROT_NONE) != 0
        } {
            true => Err(io::Error::last_os_error()),
            false => Ok(()),
        }
    }

    /// Gives the memory and its addresses back to the operating system.
    ///
    /// # Safety
    ///
    /// Nothing accesses the memory from now on.
    pub(crate) unsafe fn unmap(self) {
        // SAFETY: the range is what `new` mapped and kept; by the caller, no code accesses it any more.
        unsafe { libc::munmap(self.start.get() as *mut _, self.bytes) };
    }
}

/// Maps new memory, filled with zeros.
pub(crate) fn zeroed(bytes: usize, more_flags: libc::c_int) -> io::Result<*mut libc::c_void> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | more_flags;
    // SAFETY: a new anonymous mapping at an address of the operating system's choice touches no memory of ours.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start) }
}

/// An error about a stack of `bytes` bytes, with what to do about it.
pub(crate) fn explain(what: &str, bytes: usize, error: io::Error) -> io::Error {
    let hint = match error.raw_os_error() == Some(libc::ENOMEM) {
        true => {
            "; the limit is `ulimit -v`, `ulimit -d`, `vm.max_map_count` (sysctl) or overcommit: \
             raise it, or use smaller or fewer stacks"
        }
        false => "",
    };
    let text = format!("cannot {what} a coroutine's stack of {bytes} bytes: {error}{hint}");
    io::Error::new(error.kind(), text)
}

pub(crate) fn page_size() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    // SAFETY: `sysconf` only reads; `_SC_PAGESIZE` is known everywhere and never negative.
    *PAGE.get_or_init(|| unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize)
}
