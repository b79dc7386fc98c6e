//! Locks, signals and queues for the tasks of one thread, with std's names where std has the thing, and
//! Python's where Python has it.
//!
//! | | waits | as an operation, in any era | std, Python |
//! |---|---|---|---|
//! | [`Mutex`] | `lock`, `lock_timeout` | `locking` | [`std::sync::Mutex`], `Lock` |
//! | [`Condvar`] | `wait`, `wait_while`, `wait_timeout` | `waiting` | [`std::sync::Condvar`], `Condition` |
//! | [`Semaphore`] | `acquire`, `acquire_many`, `acquire_timeout` | `acquiring`, `acquiring_many` | `Semaphore` |
//! | [`Event`] | `wait`, `wait_timeout` | `waiting` | `Event` |
//! | [`Barrier`] | `wait` | `waiting` | [`std::sync::Barrier`], `Barrier` |
//! | [`channel`] | `send`, `recv`, `send_timeout`, `recv_timeout` | `sending`, `receiving` | [`std::sync::mpsc`], trio's memory channels |
//! | [`oneshot`] | `recv`, `recv_timeout` | the receiver itself | `Future`, `AsyncResult` |
//! | [`Queue`] | `put`, `get`, `join`, `put_timeout`, `get_timeout` | `putting`, `getting`, `joining` | `Queue`, `JoinableQueue` |
//!
//! The second column is the green era's, in straight-line code. The third is for all: `y.wait(mutex.locking())`
//! in a generator, `mutex.locking().await` in a future, `wait(select(a, b))` for whichever is ready first
//! ([`select()`]).
//!
//! What holds for each of them:
//!
//! * **First come, first served.** Whoever waits is served in the order of arrival, and nobody overtakes: a
//!   lock, a permit or an item is handed to the first in line, in all eras alike.
//! * **Nothing is lost or doubled** when a task is cancelled, or runs out of time, at whatever point of its
//!   wait: what was just handed to it goes to the next in line. Who has been handed something by the time its
//!   limit passes has it: a completed operation wins.
//! * **No turn is given up where nobody needs to wait.** A loop that never has to wait lets nobody else run;
//!   [`green::yield_now`](crate::green::yield_now) does.
//! * **What wakes never waits**: unlocking, giving back a permit, `set`, `notify_one`, `try_send` may be called
//!   from a destructor, also while a stack unwinds.
//! * **They stay on their thread**: they are not `Send`, and use no atomics. Between threads and runtimes, use
//!   the channel of a well-kept crate, such as async-channel: its operations can be waited for here like any.
//!
//! When nothing can go on any more, the report names who holds what, and draws the cycle:
//!
//! ```text
//! deadlock: 3 tasks wait, and nothing can wake any of them
//!   task 1 "root" (green, spawned at src/main.rs:5:5) waits for task 2
//!   task 2 "ann" (green, spawned at src/main.rs:8:58) waits for a mutex (held by task 3 "bob", src/main.rs:15:23)
//!   task 3 "bob" (green, spawned at src/main.rs:14:58) waits for an item of a queue (last put into by task 2 "ann")
//!   cycle: task 2 → a mutex (held by task 3 "bob", src/main.rs:15:23) → task 3 → an item of a queue (last put
//!   into by task 2 "ann") → task 2
//! ```

mod barrier;
mod chan;
pub mod channel;
mod condvar;
mod event;
mod line;
mod mutex;
pub mod oneshot;
mod queue;
mod rwlock;
mod select;
mod semaphore;
mod wait_queue;

pub use barrier::{Barrier, BarrierWaitResult, BarrierWaiting};
pub use condvar::{Condvar, CondvarWaiting, WaitTimeoutResult};
pub use event::{Event, EventWaiting};
pub use mutex::{Locking, Mutex, MutexGuard};
pub use queue::{Joining, Queue};
pub use rwlock::{Reading, RwLock, RwLockReadGuard, RwLockWriteGuard, Writing};
pub use select::{Either, Select, SelectAll, select, select_all};
pub use semaphore::{Acquiring, Permit, Semaphore};
