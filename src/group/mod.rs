//! Tasks that belong together: waited for together, failing together, or so many at a time.
//!
//! | gevent | asyncio | trio | here | in any era |
//! |---|---|---|---|---|
//! | `joinall` | `gather(return_exceptions=True)` | | [`gather`](gather()) | it is an operation |
//! | `joinall(raise_error=True)` | `gather`, which leaves the others running | | [`try_gather`] | it is an operation |
//! | `iwait` | `as_completed` | | [`as_completed`], an iterator | [`next_result`](AsCompleted::next_result) |
//! | `wait(count=1)` | `wait(FIRST_COMPLETED)` | `cancel_scope.cancel` by the first | [`race`] | it is an operation |
//! | `Group`, which keeps no errors | `TaskGroup`, `ExceptionGroup` | `open_nursery` | [`Group::run`], [`Failures`] | [`Group::running`] |
//! | | | `open_nursery`, for tasks that borrow | [`green::try_scope`](crate::green::try_scope) | [`future::try_scope`](crate::future::try_scope()) |
//! | | | (a task that fails ends no other) | [`green::scope`](crate::green::scope) | [`future::scope`](crate::future::scope()) |
//! | `Pool(n).spawn` | | `CapacityLimiter(n)` | [`Pool::reserve`], and then [`Slot::spawn`] | [`Pool::reserving`] |
//! | `Pool.map` | `concurrent.futures.Executor.map` | | [`Pool::map`] | [`Pool::mapping`] |
//! | `Pool.imap`, `imap_unordered` | | | [`Pool::imap`], [`Pool::imap_unordered`], iterators | [`next_result`](Imap::next_result) |
//! | `Pool.join`, `kill` | | | [`Pool::join`], [`cancel`](Pool::cancel) | [`Pool::joining`] |
//! | `Greenlet.get`, by many | `await` of one `Task` by many | | [`share`], [`Shared::join`] | [`Shared::joining`] |
//! | `link` | `add_done_callback` | | [`JoinHandle::on_done`](crate::JoinHandle::on_done) | |
//! | `gevent.local` | `contextvars` | `contextvars` | [`task_local!`](crate::task_local) | |
//!
//! What becomes of tasks that no code waits for any more: those of `gather` and `as_completed` run on, detached,
//! since the code that spawned them may need them; those of `try_gather`, `race`, a `Group`, a `try_scope` and an
//! `Imap` are cancelled, since they were started for one end.

// The source, in the order in which to read it: `tasks` (results as tasks end), `gather`, `completed`; `failing`;
// `pool`, `imap`. It imports the kernel, the eras, `run` and `sync`.

mod completed;
mod failing;
mod gather;
mod imap;
mod pool;
mod shared;
mod tasks;

pub use completed::{AsCompleted, Race, as_completed, race};
pub use failing::{Failures, Group, With};
pub use gather::{Gather, TryGather, gather, try_gather};
pub use imap::Imap;
pub use pool::{Pool, Slot};
pub use shared::{Shared, share};
