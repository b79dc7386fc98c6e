//! Locks, signals and queues for the tasks of one thread, with std's names where std has the thing.
mod barrier;
mod condvar;
mod event;
mod line;
mod mutex;
mod semaphore;
mod wait_queue;

pub use barrier::{Barrier, BarrierWaitResult, BarrierWaiting};
pub use condvar::{Condvar, CondvarWaiting, WaitTimeoutResult};
pub use event::{Event, EventWaiting};
pub use mutex::{Locking, Mutex, MutexGuard};
pub use semaphore::{Acquiring, Permit, Semaphore};
