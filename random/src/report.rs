//! What the process that runs programs tells the one that watches it: in memory that they share.

use std::fmt;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};

const MOST: usize = 8 << 10;

/// In memory that both processes share.
pub(crate) struct Shared {
    /// Programs that have ended.
    pub(crate) ended: AtomicU64,
    /// The root is about to wait in cleanup that never ends: the process is to abort with a message.
    pub(crate) root_is_stuck: AtomicBool,
    pub(crate) any_is_stuck: AtomicBool,
    /// Turns given, for the summary.
    pub(crate) operations: AtomicU64,
    failed: AtomicU32,
    length: AtomicUsize,
    text: [std::cell::UnsafeCell<u8>; MOST],
}

// SAFETY: the text is written by the one thread that has set `failed`, and read by the parent when the child has
// ended; the rest is atomic.
unsafe impl Sync for Shared {}

/// The memory, which is mapped when this is first called: before the process forks.
pub(crate) fn shared() -> &'static Shared {
    static SHARED: OnceLock<&Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (read_write, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping; zeros are a valid `Shared`, and it is never unmapped.
        unsafe {
            let memory = libc::mmap(ptr::null_mut(), size_of::<Shared>(), read_write, flags, -1, 0);
            assert!(memory != libc::MAP_FAILED, "no memory to share");
            &*memory.cast::<Shared>()
        }
    })
}

impl Shared {
    /// Before another child begins.
    pub(crate) fn clear(&self) {
        self.failed.store(0, SeqCst);
        self.length.store(0, SeqCst);
        self.ended.store(0, SeqCst);
        self.root_is_stuck.store(false, SeqCst);
        self.any_is_stuck.store(false, SeqCst);
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed.load(SeqCst) != 0
    }

    /// The first failure that was told of.
    pub(crate) fn text(&self) -> Option<String> {
        if !self.failed() {
            return None;
        }
        let length = self.length.load(SeqCst).min(MOST);
        // SAFETY: the writer has stored the length behind the bytes, or it is zero.
        let bytes = unsafe { std::slice::from_raw_parts(self.text.as_ptr().cast::<u8>(), length) };
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The program has failed. The first failure counts.
pub(crate) fn fail(what: fmt::Arguments<'_>) {
    let shared = shared();
    if shared.failed.swap(1, SeqCst) != 0 {
        return;
    }
    let text = what.to_string();
    let length = text.len().min(MOST);
    // SAFETY: only the first to fail comes here, and the text is as long as that.
    unsafe {
        ptr::copy_nonoverlapping(
            text.as_ptr(),
            self::shared().text.as_ptr().cast::<u8>().cast_mut(),
            length,
        );
    }
    shared.length.store(length, SeqCst);
}
