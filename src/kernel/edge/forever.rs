//! Thread-locals without a destructor, by a reference that lives as long as the thread.

use std::mem;
use std::ptr;
use std::thread::LocalKey;

/// Returns the value that this thread has for `key`.
///
/// Unlike a reference inside of [`LocalKey::with`], this one may be kept across a switch of stacks: all stacks of a thread
/// see the same value.
///
/// # Safety
///
/// `T` is not `Sync`: the reference must not reach another thread, which may outlive this one.
#[inline(always)]
pub(crate) unsafe fn forever<T>(key: &'static LocalKey<T>) -> &'static T {
    const { assert!(!mem::needs_drop::<T>(), "a value with a destructor ends before its thread") }
    let value = key.with(ptr::from_ref);
    // SAFETY: a thread-local without a destructor (see the assertion) lives as long as its thread, which the reference
    // does not leave (the caller's part).
    unsafe { &*value }
}
