//! Knowing that one is a copy: a process that was forked off while a scheduler ran.
//!
//! `fork(2)` copies the memory and this one thread, but shares the kernel's event queue with the parent:
//! a copy of a scheduler that went on would run the same tasks on the same sockets a second time. A page
//! that the kernel wipes in the child (`MADV_WIPEONFORK`, Linux 4.14) tells them apart, at the price of
//! reading one word.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::stack::{page_size, zeroed};

/// Tells the process it was made in from its copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Original {
    mark: &'static AtomicU32,
    process: u32,
}

impl Original {
    pub(crate) fn here() -> Original {
        static MARK: OnceLock<&AtomicU32> = OnceLock::new();
        let mark = *MARK.get_or_init(map_mark);
        let process = std::process::id();
        // Threads of one process write the same; a copy's page was wiped, and what it writes is another
        // number.
        mark.store(process, Ordering::Relaxed);
        Original { mark, process }
    }

    #[inline]
    pub(crate) fn is_copied(self) -> bool {
        self.mark.load(Ordering::Relaxed) != self.process
    }
}

/// A word on a page of its own.
fn map_mark() -> &'static AtomicU32 {
    let page = zeroed(page_size(), 0).unwrap_or_else(|e| panic!("cannot map a page: {e}"));
    #[cfg(target_os = "linux")]
    // SAFETY: the page just mapped. On an older kernel this fails, and copies go unnoticed.
    unsafe {
        libc::madvise(page, page_size(), libc::MADV_WIPEONFORK);
    }
    // SAFETY: the page is mapped for ever, filled with zeros, and looked at through this only.
    unsafe { AtomicU32::from_ptr(page.cast()) }
}
