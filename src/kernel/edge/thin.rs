//! Counted references to a block of memory, as `Arc`s are. One kind stays on the home thread of the block, and one may
//! be sent to other threads.
//!
//! A reference knows only the beginning of its block, a [`Header`] (a task, behind which lie its result and its code).
//! So the pointer is thin, and the header frees the whole block.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The beginning of a block.
pub(crate) trait Header {
    /// How many references there are.
    fn refs(&self) -> &AtomicUsize;

    /// Frees the block.
    ///
    /// # Safety
    ///
    /// There is no reference to the block any more. This may be called on any thread.
    unsafe fn free(block: NonNull<Self>);
}

/// A reference that is on the home thread of its block. (It is not `Send`: a `NonNull` is not.)
pub(crate) struct Thin<T: Header>(NonNull<T>);

/// A reference that may be on any thread.
pub(crate) struct SharedThin<T: Header>(Thin<T>);

// SAFETY: this gives out references to a `T`, which is `Send` and `Sync`, and its count is atomic. It gives out its `Thin`
// only to a caller that is on the home thread (`at_home`). `Header::free` may be called on any: its implementation sees to that.
unsafe impl<T: Header + Send + Sync> Send for SharedThin<T> {}
// SAFETY: as above.
unsafe impl<T: Header + Send + Sync> Sync for SharedThin<T> {}

impl<T: Header> Thin<T> {
    /// # Safety
    ///
    /// `block` begins a block that [`Header::free`] frees, and this takes over one of its `refs`. The caller is on the home
    /// thread of the block.
    #[inline]
    pub(crate) unsafe fn from_raw(block: *const T) -> Thin<T> {
        // SAFETY: the caller keeps the rule above; no block is at address zero.
        Thin(unsafe { NonNull::new_unchecked(block.cast_mut()) })
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *const T {
        self.0.as_ptr()
    }

    /// The whole block may be reached through this pointer, not only the header.
    #[inline]
    pub(crate) fn block(&self) -> NonNull<T> {
        self.0
    }

    #[inline]
    pub(crate) fn into_shared(self) -> SharedThin<T> {
        SharedThin(self)
    }
}

impl<T: Header> SharedThin<T> {
    /// # Safety
    ///
    /// As [`Thin::from_raw`], on any thread.
    #[inline]
    pub(crate) unsafe fn from_raw(block: *const T) -> SharedThin<T> {
        // SAFETY: the caller keeps the rule above, but for the thread: the callers of `at_home` keep that.
        SharedThin(unsafe { Thin::from_raw(block) })
    }

    /// The reverse of [`from_raw`](SharedThin::from_raw).
    #[inline]
    pub(crate) fn into_raw(self) -> *const T {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    ///
    /// The caller is on the home thread of the block.
    #[inline]
    pub(crate) unsafe fn at_home(self) -> Thin<T> {
        self.0
    }
}

impl<T: Header> Deref for Thin<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this reference is counted, so that the block exists.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Header> Deref for SharedThin<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Header> Clone for Thin<T> {
    #[inline]
    fn clone(&self) -> Thin<T> {
        self.refs().fetch_add(1, Relaxed);
        Thin(self.0)
    }
}

impl<T: Header> Clone for SharedThin<T> {
    #[inline]
    fn clone(&self) -> SharedThin<T> {
        SharedThin(self.0.clone())
    }
}

impl<T: Header> Drop for Thin<T> {
    #[inline]
    fn drop(&mut self) {
        // If this is the only reference, no other thread has one to clone.
        if self.refs().load(Acquire) == 1 || self.refs().fetch_sub(1, Release) == 1 {
            self.refs().load(Acquire); // What other threads did with their references has happened before this.
            // SAFETY: this was the last reference.
            unsafe { T::free(self.0) };
        }
    }
}

impl<T: Header + fmt::Display> fmt::Display for Thin<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Header + fmt::Display> fmt::Display for SharedThin<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
