//! Knowing that one is a copy: a process that was forked off while a scheduler ran.
//!
//! `fork(2)` copies the memory and this one thread, but shares the kernel's event queue with the parent:
//! a copy of a scheduler that went on would run the same tasks on the same sockets a second time. A page
//! that the kernel wipes in the child (`MADV_WIPEONFORK`, Linux 4.14) tells them apart, at the price of
//! reading one word.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::stack::page_size;

/// Tells the process it was made in from its copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Original {
    page: *mut u32,
    process: u32,
}

impl Original {
    pub(crate) fn here() -> Original {
        static PAGE: OnceLock<usize> = OnceLock::new();
        let page = *PAGE.get_or_init(map_page);
        let process = std::process::id();
        let original = Original { page: page as *mut u32, process };
        // Threads of one process write the same; a copy's page was wiped, and what it writes is another
        // number.
        original.mark().store(process, Ordering::Relaxed);
        original
    }

    #[inline]
    pub(crate) fn is_copied(self) -> bool {
        self.mark().load(Ordering::Relaxed) != self.process
    }

    #[inline]
    fn mark(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped for ever, and only looked at here.
        unsafe { AtomicU32::from_ptr(self.page) }
    }
}

fn map_page() -> usize {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping touches no memory of ours.
    let page = unsafe {
        libc::mmap(ptr::null_mut(), page_size(), libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    assert!(page != libc::MAP_FAILED, "cannot map a page: {}", std::io::Error::last_os_error());
    #[cfg(target_os = "linux")]
    // SAFETY: the page just mapped. On an older kernel this fails, and copies go unnoticed.
    unsafe {
        libc::madvise(page, page_size(), libc::MADV_WIPEONFORK);
    }
    page as usize
}
