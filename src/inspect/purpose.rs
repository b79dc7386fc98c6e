//! What some descriptors of this crate's own are for: a task that waits for the end of a child, or for a signal, waits to
//! read from a descriptor, and the table of tasks names the child or the signal instead.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By the numbers of the descriptors, which are the process's.
static PURPOSES: Mutex<BTreeMap<RawFd, String>> = Mutex::new(BTreeMap::new());

fn purposes() -> MutexGuard<'static, BTreeMap<RawFd, String>> {
    PURPOSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the descriptor is for, as long as this lives. To be dropped before the descriptor is closed: its number may be
/// another's at once.
#[derive(Debug)]
pub(crate) struct Purpose(RawFd);

impl Purpose {
    /// A task that waits to read from `fd` is shown as one that "waits for" `what`.
    pub(crate) fn new(fd: &impl AsRawFd, what: String) -> Purpose {
        let fd = fd.as_raw_fd();
        purposes().insert(fd, what);
        Purpose(fd)
    }
}

impl Drop for Purpose {
    fn drop(&mut self) {
        purposes().remove(&self.0);
    }
}

/// What a task waits for that waits to read from `fd`, if that is known.
pub(crate) fn of(fd: RawFd) -> Option<String> {
    purposes()
        .get(&fd)
        .cloned()
        .or_else(|| accepts(fd).then(|| format!("a connection on descriptor {fd}")))
}

/// Whether it is a socket that listens.
fn accepts(fd: RawFd) -> bool {
    let (mut accepts, mut len): (libc::c_int, _) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    let value = (&raw mut accepts).cast();
    // SAFETY: the call writes a number of this length to `accepts`, which lives for the call; what is no socket is refused.
    let failed = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, value, &raw mut len) != 0
    };
    !failed && accepts != 0
}
