//! Memory for stacks, and guards in it: what the operating system needs to be called for.
//!
//! A guard is installed with `MADV_GUARD_INSTALL` where the operating system has it (Linux 6.13): that is a mark in
//! the page table and leaves the mapping whole. Older ones get `mprotect`, which splits the mapping in two at each
//! guard, and so runs into `vm.max_map_count` at some 32 000 stacks. It is also what emulators and sandboxes get whose
//! `madvise` accepts every advice and does nothing: each mapping is tested with an advice that does not exist.
//!
//! Huge pages are switched off for the mapping: one touched byte would otherwise cost 2 MiB.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

/// Address space that a mapping leaves to the rest of the program: stacks must not take the last of it, because
/// a failed allocation on the heap ends the process, and a task without a stack is only an error.
const HEADROOM: usize = 8 << 20;

/// `MADV_GUARD_INSTALL`, Linux 6.13; not in every version of the headers.
const GUARD_INSTALL: libc::c_int = 102;

/// Memory that is reserved, filled with zeros, and takes no page before it is touched. Dropped, it stays mapped:
/// [`unmap`](Mapping::unmap) ends it.
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
        // SAFETY: the last part of the mapping just made, to which there is no other handle, and which is not used.
        unsafe { libc::munmap(start.byte_add(bytes), HEADROOM) };
        // SAFETY: the first part of it, in which there are no frames; its first pages are a guard.
        let advise = |bytes, advice| unsafe { libc::madvise(start, bytes, advice) } == 0;
        #[cfg(target_os = "linux")]
        advise(bytes, libc::MADV_NOHUGEPAGE); // It fails on a system that has none.
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
    /// They are whole pages of this mapping, and nothing that is used lies in them.
    pub(crate) unsafe fn guard(&self, pages: &Range<usize>) -> io::Result<()> {
        let (start, bytes) = (pages.start as *mut libc::c_void, pages.len());
        // SAFETY: the caller's.
        match unsafe {
            (!self.marks_guards || libc::madvise(start, bytes, GUARD_INSTALL) != 0)
                && libc::mprotect(start, bytes, libc::PROT_NONE) != 0
        } {
            true => Err(io::Error::last_os_error()),
            false => Ok(()),
        }
    }

    /// Gives the memory back to the operating system, with the addresses.
    ///
    /// # Safety
    ///
    /// Nothing that is used lies in it.
    pub(crate) unsafe fn unmap(self) {
        // SAFETY: the mapping is this one's, and the rest is the caller's.
        unsafe { libc::munmap(self.start.get() as *mut _, self.bytes) };
    }
}

/// New memory, filled with zeros, from the operating system itself.
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
