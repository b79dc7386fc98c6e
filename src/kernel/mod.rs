//! The kernel: private, small, and below everything else but six files that know nothing of tasks (`signal.rs`,
//! `warn.rs`, `board.rs`, `fork.rs`, `patience.rs`, `trail.rs`). Read its files in this order; each one uses only those
//! above it.
//!
//! | file | what it is |
//! |---|---|
//! | `stack.rs` | guarded stacks and the arena they come from |
//! | `coroutine.rs` | fibers: the only file that names corosensei, the only `suspend` |
//! | `foreign.rs` | code of the user's that is no task's, and what becomes of panics |
//! | `observe.rs` | what somebody who watches a run is told |
//! | `inbox.rs` | wakes from other threads |
//! | `queue.rs` | who is ready, in which order |
//! | `timers.rs` | deadlines and the clock |
//! | `reactor.rs` | sockets and the kernel's readiness |
//! | `task.rs` | what a task is, its states, its result, what it waits for |
//! | `pulse.rs` | whose turn it is, and who may see it |
//! | `watch.rs` | telling them |
//! | `table.rs` | all tasks that are not done |
//! | `scheduler.rs` | the run queue and the loop |
//! | `ask.rs` | asking the operating system, and how often |
//! | `ending.rs` | when nothing can go on, and how a run ends |
//! | `waker.rs` | how a task is woken, from any thread |
//! | `cancel.rs` | cancellation and time limits |
//! | `door.rs` | the one function through which a task suspends |

pub(crate) mod ask;
pub(crate) mod cancel;
pub(crate) mod coroutine;
pub(crate) mod door;
pub(crate) mod ending;
pub(crate) mod foreign;
pub(crate) mod inbox;
pub(crate) mod observe;
pub(crate) mod pulse;
pub(crate) mod queue;
pub(crate) mod reactor;
pub(crate) mod scheduler;
pub(crate) mod stack;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod timers;
pub(crate) mod waker;
pub(crate) mod watch;
