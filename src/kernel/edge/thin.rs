//! Counted references to a block of memory. One kind stays on the home thread of the block, and is counted without
//! atomic operations, as an `Rc` is; one may be sent to other threads, and is counted as an `Arc` is.
//!
//! A reference knows only the beginning of its block, a [`Header`] (a task, behind which lie its result and its code).
//! So the pointer is thin, and the header frees the whole block.
//!
//! This is biased reference counting (Choi, Shull and Torrellas, 2018), with the home thread fixed from the beginning.
//! An atomic operation costs what ten others do, and a wait in the line for a lock would take two.

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

// The type of the model checker `loom`, for the tests at the end of this file.
#[cfg(wouldblock_loom)]
use loom::sync::atomic::AtomicU32;
#[cfg(not(wouldblock_loom))]
use std::sync::atomic::AtomicU32;

/// The beginning of a block.
pub(crate) trait Header {
    /// How many references there are.
    fn refs(&self) -> &Refs;

    /// Frees the block.
    ///
    /// # Safety
    ///
    /// There is no reference to the block any more. This may be called on any thread.
    unsafe fn free(block: NonNull<Self>);
}

/// How many references there are to a block.
pub(crate) struct Refs {
    /// How many `Thin`s there are.
    home: Cell<u32>,
    /// How many `SharedThin`s there are, and one more while there is any `Thin`.
    shared: AtomicU32,
}

// SAFETY: only the methods of a `Thin`, which never leaves the home thread, use `home` (and `at_home`, on that thread).
unsafe impl Sync for Refs {}

impl Refs {
    /// For a block with this many `Thin`s, at least one.
    pub(crate) fn of_home(count: u32) -> Refs {
        Refs { home: Cell::new(count), shared: AtomicU32::new(1) }
    }

    #[inline]
    fn add_home(&self) {
        self.home.set(not_too_many(self.home.get()) + 1);
    }

    #[inline]
    fn add_shared(&self) {
        not_too_many(self.shared.fetch_add(1, Relaxed));
    }

    /// Returns how many are left.
    #[inline]
    fn remove_home(&self) -> u32 {
        self.home.set(self.home.get() - 1);
        self.home.get()
    }
}

/// Returns `count`, unless code has cloned and forgotten so many references that the count might overflow: then this aborts
/// the process, as std's `Arc` does.
#[inline]
fn not_too_many(count: u32) -> u32 {
    if count > u32::MAX / 2 {
        std::process::abort();
    }
    count
}

/// A reference that is on the home thread of its block. (It is not `Send`: a `NonNull` is not.)
pub(crate) struct Thin<T: Header>(NonNull<T>);

/// A reference that may be on any thread.
pub(crate) struct SharedThin<T: Header>(NonNull<T>);

// SAFETY: this gives out references to a `T`, which is `Send` and `Sync`, and its count is atomic. It becomes a `Thin`
// only on the home thread (`at_home`). `Header::free` may be called on any: its implementation sees to that.
unsafe impl<T: Header + Send + Sync> Send for SharedThin<T> {}
// SAFETY: as above.
unsafe impl<T: Header + Send + Sync> Sync for SharedThin<T> {}

impl<T: Header> Thin<T> {
    /// # Safety
    ///
    /// `block` begins a block that [`Header::free`] frees, and this takes over one of the `Thin`s that its `refs` count.
    /// The caller is on the home thread of the block.
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
        let block = ManuallyDrop::new(self).0;
        // SAFETY: the reference that this takes over is counted, so that the block exists.
        let refs = unsafe { block.as_ref() }.refs();
        if refs.remove_home() > 0 {
            refs.add_shared();
        } // Else this is the one that all `Thin`s together were counted as.
        SharedThin(block)
    }
}

impl<T: Header> SharedThin<T> {
    /// # Safety
    ///
    /// `block` begins a block that [`Header::free`] frees, and this takes over one of the `SharedThin`s that its `refs`
    /// count.
    #[inline]
    pub(crate) unsafe fn from_raw(block: *const T) -> SharedThin<T> {
        // SAFETY: the caller keeps the rule above; no block is at address zero.
        SharedThin(unsafe { NonNull::new_unchecked(block.cast_mut()) })
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
        let block = ManuallyDrop::new(self).0;
        // SAFETY: the reference that this takes over is counted, so that the block exists.
        let refs = unsafe { block.as_ref() }.refs();
        if refs.home.get() > 0 {
            refs.shared.fetch_sub(1, Release); // This is not the last: the `Thin`s are counted as one.
        } // Else the count of this one is that of all `Thin`s from now on.
        refs.add_home();
        Thin(block)
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
        // SAFETY: this reference is counted, so that the block exists.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Header> Clone for Thin<T> {
    #[inline]
    fn clone(&self) -> Thin<T> {
        self.refs().add_home();
        Thin(self.0)
    }
}

impl<T: Header> Clone for SharedThin<T> {
    #[inline]
    fn clone(&self) -> SharedThin<T> {
        self.refs().add_shared();
        SharedThin(self.0)
    }
}

impl<T: Header> Drop for Thin<T> {
    #[inline]
    fn drop(&mut self) {
        if self.refs().remove_home() == 0 {
            drop(SharedThin(self.0)); // What all `Thin`s together were counted as.
        }
    }
}

impl<T: Header> Drop for SharedThin<T> {
    #[inline]
    fn drop(&mut self) {
        let shared = &self.refs().shared;
        // If this is the only reference, no other thread has one to clone.
        if shared.load(Acquire) == 1 || shared.fetch_sub(1, Release) == 1 {
            shared.load(Acquire); // What other threads did with their references has happened before this.
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

/// Run by `RUSTFLAGS="--cfg wouldblock_loom" cargo test --release -p models`.
#[cfg(all(test, wouldblock_loom))]
mod model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    struct Block {
        refs: Refs,
        value: UnsafeCell<u32>,
        freed: Arc<AtomicU32>,
    }

    // SAFETY: the value is only read, until the block is freed.
    unsafe impl Sync for Block {}

    impl Header for Block {
        fn refs(&self) -> &Refs {
            &self.refs
        }

        /// # Safety
        ///
        /// As [`Header::free`].
        unsafe fn free(block: NonNull<Block>) {
            // SAFETY: `start` has made a box of it, and this is the last reference.
            let block = unsafe { Box::from_raw(block.as_ptr()) };
            block.value.with_mut(|_| ()); // Fails if another thread may still read it.
            block.freed.fetch_add(1, Relaxed);
        }
    }

    fn start(freed: &Arc<AtomicU32>) -> Thin<Block> {
        let (refs, value) = (Refs::of_home(1), UnsafeCell::new(7));
        let block = Box::new(Block { refs, value, freed: freed.clone() });
        // SAFETY: `free` frees it, and this is the first reference.
        unsafe { Thin::from_raw(Box::into_raw(block)) }
    }

    fn read(block: &Block) {
        // SAFETY: the value is only read while there are references.
        block.value.with(|value| assert_eq!(unsafe { *value }, 7));
    }

    #[test]
    fn the_last_reference_of_either_thread_frees_the_block_once() {
        loom::model(|| {
            let freed = Arc::new(AtomicU32::new(0));
            let home = start(&freed);
            let sent = home.clone().into_shared();
            let other = thread::spawn(move || {
                let copy = sent.clone();
                drop(sent);
                read(&copy);
            });
            read(&home);
            drop(home);
            other.join().unwrap();
            assert_eq!(freed.load(Relaxed), 1);
        });
    }

    #[test]
    fn a_reference_may_leave_the_home_thread_and_come_back() {
        loom::model(|| {
            let freed = Arc::new(AtomicU32::new(0));
            let home = start(&freed);
            let sent = home.clone().into_shared();
            let other = thread::spawn(move || {
                let copy = sent.clone();
                read(&copy);
                drop(copy);
                sent
            });
            drop(home.into_shared()); // The last `Thin`.
            assert_eq!(freed.load(Relaxed), 0);
            // SAFETY: this is the home thread.
            let back = unsafe { other.join().unwrap().at_home() };
            let (second, third) = (back.clone().into_shared(), back.clone());
            // SAFETY: as above.
            drop((back, unsafe { second.at_home() }));
            read(&third);
            assert_eq!(freed.load(Relaxed), 0);
            drop(third);
            assert_eq!(freed.load(Relaxed), 1);
        });
    }
}
