//! Changes that a signal handler is not to see the half of.
//!
//! A handler may run between any two instructions of the thread. One that tells what the tasks of its thread do
//! (`on_signal.rs`) comes in the midst of a change now and then; it goes away again, and the change, when it is
//! done, has the signal sent once more.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI32, compiler_fence};

struct Changes {
    under_way: AtomicBool,
    /// The signal that came in the midst of one; 0: none did.
    put_off: AtomicI32,
}

thread_local! {
    static CHANGES: Changes =
        const { Changes { under_way: AtomicBool::new(false), put_off: AtomicI32::new(0) } };
}

/// Calls `f`, in the midst of which no handler looks at what it changes.
#[inline]
pub(crate) fn change<R>(f: impl FnOnce() -> R) -> R {
    struct Done(bool);
    impl Drop for Done {
        #[inline]
        fn drop(&mut self) {
            CHANGES.with(|changes| changes.end(self.0));
        }
    }
    let _done = Done(CHANGES.with(Changes::begin));
    f()
}

impl Changes {
    /// Returns whether another was under way.
    #[inline]
    fn begin(&self) -> bool {
        let before = self.under_way.load(Relaxed);
        self.under_way.store(true, Relaxed);
        // Here and below, for the compiler: thread and handler are on one processor.
        compiler_fence(SeqCst);
        before
    }

    #[inline]
    fn end(&self, before: bool) {
        compiler_fence(SeqCst);
        self.under_way.store(before, Relaxed);
        compiler_fence(SeqCst);
        if self.put_off.load(Relaxed) != 0 {
            self.catch_up();
        }
    }

    #[cold]
    fn catch_up(&self) {
        // SAFETY: sends this thread a signal, which has a handler: the one that has put it off.
        unsafe { libc::raise(self.put_off.swap(0, Relaxed)) };
    }
}

/// For a handler: whether it is to go away, and be called again later.
pub(crate) fn put_off(signal: i32) -> bool {
    CHANGES.with(|changes| {
        let under_way = changes.under_way.load(Relaxed);
        if under_way {
            changes.put_off.store(signal, Relaxed);
        }
        under_way
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    static ANSWERED: AtomicU32 = AtomicU32::new(0);

    extern "C" fn handler(signal: i32) {
        if !put_off(signal) {
            ANSWERED.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_signal_in_the_midst_of_a_change_is_answered_after_it() {
        let answered = || ANSWERED.load(Relaxed);
        // SAFETY: a handler that adds to a number; and signals that this thread sends itself.
        unsafe {
            libc::signal(libc::SIGWINCH, handler as *const () as usize);
            libc::raise(libc::SIGWINCH);
            assert_eq!(answered(), 1);
            change(|| {
                libc::raise(libc::SIGWINCH);
                change(|| libc::raise(libc::SIGWINCH));
                assert_eq!(answered(), 1);
            });
            assert_eq!(answered(), 2);
            libc::raise(libc::SIGWINCH);
            assert_eq!(answered(), 3);
        }
    }
}
