//! The inbox: where other threads leave what the scheduler's thread is to do.
//!
//! Pushing says whether the box was empty before: then whoever pushed rings the bell that ends the
//! scheduler's sleep in the kernel. A bell rung before the scheduler sleeps ends that sleep at once, so
//! no wake is lost between "the box is empty" and "sleep".

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct Inbox<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    closed: bool,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox(Mutex::new(State { items: Vec::new(), closed: false }))
    }

    /// Leaves `item`; true: the bell must be rung. A closed box drops what it is given.
    pub(crate) fn push(&self, item: T) -> bool {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return false; // `item` is dropped here, outside of the lock.
        }
        state.items.push(item);
        state.items.len() == 1
    }

    /// Takes everything, in the order it came.
    pub(crate) fn drain(&self) -> Vec<T> {
        mem::take(&mut self.lock().items)
    }

    /// Refuses what comes from now on, and takes what is there.
    pub(crate) fn close(&self) -> Vec<T> {
        self.lock().closed = true;
        self.drain()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing of the user's runs under this lock, so poison would only echo a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
