//! Knowing that one is a copy: a process that was forked off while a scheduler ran.
//!
//! `fork(2)` copies the memory and this one thread, but shares the kernel's event queue with the parent:
//! a copy of a scheduler that went on would run the same tasks on the same sockets a second time. A page
//! that the kernel wipes in the child (`MADV_WIPEONFORK`, Linux 4.14) tells them apart, at the price of
//! reading one byte.

use std::ptr;
use std::sync::OnceLock;

use crate::kernel::stack::page_size;

/// Tells the process it was made in from its copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Original(*const u8);

impl Original {
    pub(crate) fn here() -> Original {
        static PAGE: OnceLock<usize> = OnceLock::new();
        let page = *PAGE.get_or_init(map_page);
        // SAFETY: the page is mapped for ever. In a process forked off earlier it was wiped, and is now
        // written anew: for what that process starts itself, it is the original.
        unsafe { (page as *mut u8).write_volatile(1) };
        Original(page as *const u8)
    }

    #[inline]
    pub(crate) fn is_copied(self) -> bool {
        // SAFETY: as above.
        unsafe { self.0.read_volatile() == 0 }
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
