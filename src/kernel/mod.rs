//! The kernel: private, small, and below everything else. Read its files in this order; each one uses
//! only those above it.
//!
//! | file | what it is |
//! |---|---|
//! | `stack.rs` | guarded stacks and the arena they come from |
//! | `coroutine.rs` | fibers: the only file that names corosensei, the only `suspend` |
//! | `inbox.rs` | wakes from other threads |
//! | `task.rs` | what a task is, its states, its result, what it waits for |
//! | `timers.rs` | deadlines and the clock |
//! | `reactor.rs` | sockets and the kernel's readiness |
//! | `scheduler.rs` | the run queue and the loop |
//! | `door.rs` | the one function through which a task suspends |

pub(crate) mod coroutine;
pub(crate) mod door;
pub(crate) mod inbox;
pub(crate) mod reactor;
pub(crate) mod scheduler;
pub(crate) mod stack;
pub(crate) mod task;
pub(crate) mod timers;
