//! Locks, signals and queues for the tasks of one thread, with std's names where std has the thing, and
//! Python's where Python has it.
//!
//! | | waits | as an operation, in any era | std, Python |
//! |---|---|---|---|
//! | [`Mutex`] | `lock`, `lock_timeout` | `locking` | [`std::sync::Mutex`], `Lock` |
//! | [`RwLock`] | `read`, `write`, `read_timeout`, `write_timeout` | `reading`, `writing` | [`std::sync::RwLock`] |
//! | [`Condvar`] | `wait`, `wait_while`, `wait_timeout`, `wait_timeout_while` | `waiting` | [`std::sync::Condvar`], `Condition` |
//! | [`Semaphore`] | `acquire`, `acquire_many`, `acquire_timeout` | `acquiring`, `acquiring_many` | `Semaphore` |
//! | [`Event`] | `wait`, `wait_timeout` | `waiting` | `Event` |
//! | [`Barrier`] | `wait`, `wait_timeout` | `waiting` | [`std::sync::Barrier`], `Barrier` |
//! | [`channel`] | `send`, `recv`, `send_timeout`, `recv_timeout` | `sending`, `receiving` | trio's memory channels |
//! | [`mpsc`] | `send`, `recv`, `recv_timeout` | `sending`, `receiving` | [`std::sync::mpsc`] |
//! | [`oneshot`] | `recv`, `recv_timeout` | the receiver itself | `Future`, `AsyncResult` |
//! | [`Queue`] | `put`, `get`, `join`, `put_timeout`, `get_timeout`, `join_timeout` | `putting`, `getting`, `joining` | `Queue`, `JoinableQueue` |
//! | [`PriorityQueue`] | `get`, `get_timeout` | `getting` | `PriorityQueue` |
//! | [`watch`]: each sees the latest value | `recv`, `recv_timeout` | `receiving` | tokio's `watch` |
//! | [`broadcast`]: each gets each item | `recv`, `recv_timeout` | `receiving` | tokio's `broadcast` |
//!
//! The second column is the green era's, in straight-line code. The third is for all: `y.wait(mutex.locking())`
//! in a generator, `mutex.locking().await` in a future, `wait(select(a, b))` for whichever is ready first
//! ([`op::select`](crate::op::select)).
//!
//! What holds for each of them:
//!
//! * **First come, first served.** Tasks are served in the order of their arrival, and none overtakes: a lock, a
//!   permit or an item is handed to the first in line, in all eras alike.
//! * **Nothing is lost or doubled** when a task is cancelled, or runs out of time, at whatever point of its
//!   wait. A task that has been handed something by then has it, and stops at its next wait: a completed operation wins.
//!   An operation that is dropped (it has lost in a `select`) leaves what was handed to it to the next in line.
//! * **What is always ready starves no other task.** An operation that is ready goes on in the same turn; but
//!   after 128 of them (locks, messages, permits, socket calls) the task gives each other ready task a turn before
//!   the next. So a `RefCell` borrow is not to be held across any of these calls. `try_lock`, `try_send` and the
//!   like never give up the turn. (tokio's cooperative budget.)
//! * **What wakes never waits**: unlocking, giving back a permit, `set`, `notify_one`, `try_send` may be called
//!   from a destructor, also while a stack unwinds.
//! * **They stay on their thread**: they are not `Send`, and use no atomics. Between threads and runtimes, use
//!   the channel of a well-kept crate, such as async-channel: its operations can be waited for here like any.
//!
//! `Arc`, `Weak`, `atomic`, `Once`, `OnceLock` and `LazyLock` are std's own, re-exported so that a ported
//! `use std::sync::{..}` compiles. An initialiser of the last three must not wait: another task that asks for the
//! value meanwhile would block the thread. For a `static`, for what other threads share, and for what is never held
//! across a wait, std's locks are right as they are.
//!
//! When no task can go on any more, the report names the task that holds each thing, and draws the cycle:
//!
//! ```text
//! deadlock: 3 tasks wait, and nothing can wake any of them
//!   task 1 "root" (green, spawned at src/main.rs:5:5) waits for task 2
//!   task 2 "ann" (green, spawned at src/main.rs:8:58) waits for a mutex (held by task 3 "bob", src/main.rs:15:23)
//!   task 3 "bob" (green, spawned at src/main.rs:14:58) waits for an item of a queue (last put into by task 2 "ann")
//!   cycle: task 2 → a mutex (held by task 3 "bob", src/main.rs:15:23) → task 3 → an item of a queue (last put
//!   into by task 2 "ann") → task 2
//! ```
//!
//! # Porting from std
//!
//! `std::sync` becomes `wouldblock::sync`, and the `.unwrap()` after `lock`, `read`, `write`, `wait..` and
//! `into_inner` goes: nothing here is poisoned. `try_lock`, `try_read` and `try_write` return an `Option`. Bounds of
//! one's own that ask for `Send` go too, since these types stay on their thread.

// The source, in the order in which to read it: `wait_queue` and `waiters` (in which all of these wait); `mutex`,
// `condvar`, `semaphore`, `rwlock`, `event`, `barrier`; `chan` (what a channel and a queue are made of), `channel`,
// `mpsc`, `oneshot`, `queue`. It imports the kernel, `op` and `inspect::holders`.

mod barrier;
pub mod broadcast;
mod chan;
pub mod channel;
mod condvar;
mod event;
mod feed;
pub mod mpsc;
mod mutex;
pub mod oneshot;
mod priority;
mod queue;
mod rwlock;
mod semaphore;
mod wait_queue;
mod waiters;
pub mod watch;

pub use std::sync::{Arc, LazyLock, Once, OnceLock, OnceState, Weak, atomic};

pub use barrier::{Barrier, BarrierWaitResult, BarrierWaiting};
pub use condvar::{Condvar, CondvarWaiting, WaitTimeoutResult};
pub use event::{Event, EventWaiting};
pub use mutex::{Locking, Mutex, MutexGuard};
pub use priority::PriorityQueue;
pub use queue::{Joining, Queue};
pub use rwlock::{Reading, RwLock, RwLockReadGuard, RwLockWriteGuard, Writing};
pub use semaphore::{Acquiring, Permit, Semaphore};
