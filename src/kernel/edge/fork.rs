//! Knowing that one is a copy: a process that was forked off while a scheduler ran.
//!
//! `fork(2)` copies the memory and this one thread, but shares the operating system's event queue with the parent: a copy of a
//! scheduler that went on would run the same tasks on the same sockets a second time. A word that becomes zero in the
//! child distinguishes them, at the price of one read. Two things make it zero, since each misses some children: the
//! operating system wipes its page (`MADV_WIPEONFORK`, Linux 4.14), also after a bare `clone(2)`, but not under an emulator or
//! sandbox whose `madvise` does nothing; and the C library's `fork` calls a handler (`pthread_atfork`) on every
//! system.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::edge::mapping::{page_size, zeroed};

/// What a scheduler reports in a copy.
pub(crate) const COPIED: &str = "this process was forked off (fork(2)) while a scheduler was running, and shares its \
    event queue with the parent: the copy must not go on. Call exec, or `_exit`, in the child";

/// Distinguishes the process in which it was made from its copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Original {
    mark: &'static AtomicU32,
    process: u32,
}

/// The word, once it is mapped.
static MARK: OnceLock<&AtomicU32> = OnceLock::new();

impl Original {
    pub(crate) fn here() -> Original {
        let mark = *MARK.get_or_init(map_mark);
        let process = std::process::id();
        // Threads of one process write the same; a copy finds zero, and what it writes is another number.
        mark.store(process, Ordering::Relaxed);
        Original { mark, process }
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
    // SAFETY: the page just mapped. On an older system this fails, and the handler is left.
    unsafe {
        libc::madvise(page, page_size(), libc::MADV_WIPEONFORK);
    }
    // SAFETY: the handler only reads and writes atomics, as a child of several threads may. If there is no memory
    // to register it, the page is left.
    unsafe { libc::pthread_atfork(None, None, Some(wipe)) };
    // SAFETY: the page is mapped for ever, filled with zeros, and looked at through this only.
    unsafe { AtomicU32::from_ptr(page.cast()) }
}

/// Runs in the child of a `fork`.
unsafe extern "C" fn wipe() {
    if let Some(mark) = MARK.get() {
        mark.store(0, Ordering::Relaxed);
    }
}
