//! Who waits for room in a socket, and has to learn that there will be none.
//!
//! When the writing of a Unix socket is shut down, the kernel wakes every thread that is blocked there, and says
//! nothing to its event queues. So the code that shuts it down wakes the waiters itself. All clones of a socket share
//! this, since what ends the writing of one ends that of all.

use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::kernel::edge::source::Registered;

#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ended: bool,
    /// The reactors in which a task has waited.
    registered: Vec<Registered>,
}

impl Writers {
    /// Call before waiting for room at `at`. Returns `false` if nothing can be written any more, so that no wake would
    /// come.
    pub(super) fn expect(&self, at: Registered) -> bool {
        let mut state = self.lock();
        let same = |other: &Registered| other.id == at.id && other.reactor.ptr_eq(&at.reactor);
        if !state.ended && !state.registered.iter().any(same) {
            state.registered.retain(|at| at.reactor.strong_count() > 0);
            state.registered.push(at);
        }
        !state.ended
    }

    /// Whether nothing can be written any more.
    pub(super) fn have_ended(&self) -> bool {
        self.lock().ended
    }

    /// Nothing can be written any more: returns the registrations whose waiters are to be woken.
    pub(super) fn end(&self) -> Vec<Registered> {
        let mut state = self.lock();
        state.ended = true;
        std::mem::take(&mut state.registered)
    }

    /// A clone is closed: its waiters are woken.
    pub(super) fn forget(&self, fd: RawFd) {
        self.lock().registered.retain(|at| at.id.fd() != fd);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
