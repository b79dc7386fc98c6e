//! Who waits for room in a socket, and has to learn that there will be none.
//!
//! When the writing of a Unix socket is shut down, the kernel wakes every thread that is blocked there, and says
//! nothing to its event queues. So whoever shuts it down tells those who wait. All clones of a socket share this,
//! since what ends the writing of one ends that of all.

use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::kernel::reactor::Home;

#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ended: bool,
    /// Where somebody has waited.
    homes: Vec<Home>,
}

impl Writers {
    /// Somebody is about to wait for room at `home`. False: nothing can be written any more, and nobody would
    /// tell.
    pub(super) fn expect(&self, home: Home) -> bool {
        let mut state = self.lock();
        let same = |other: &Home| other.id == home.id && other.shared.ptr_eq(&home.shared);
        if !state.ended && !state.homes.iter().any(same) {
            state.homes.retain(|home| home.shared.strong_count() > 0);
            state.homes.push(home);
        }
        !state.ended
    }

    /// Whether nothing can be written any more.
    pub(super) fn have_ended(&self) -> bool {
        self.lock().ended
    }

    /// Nothing can be written any more: gives those who are to be told.
    pub(super) fn end(&self) -> Vec<Home> {
        let mut state = self.lock();
        state.ended = true;
        std::mem::take(&mut state.homes)
    }

    /// A clone is closed: whoever waits for it learns of that.
    pub(super) fn forget(&self, fd: RawFd) {
        self.lock().homes.retain(|home| home.id.fd() != fd);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
