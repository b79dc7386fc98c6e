//! The kernel: switching, scheduling and waiting. Private, small, and below everything else: it imports nothing of the
//! crate from outside of this folder. Read its files in this order; apart from `edge/`, each one uses only those above it.
//!
//! What only a second reading needs lies in `edge/`: code of the user's that is no task's, wakes from other threads,
//! observers, what a watchdog or a handler of signals sees, forked copies, reports, the end of a run. At a first
//! reading, read only the first lines of those files.
//!
//! | file | what it is |
//! |---|---|
//! | `stack.rs` | guarded stacks and the arena they come from |
//! | `coroutine.rs` | fibers: the only file that uses corosensei, and calls its `suspend` |
//! | `wait.rs` | the life of a wait: what a coroutine waits for, and how it is recorded |
//! | `queue.rs` | which task is ready, in which order |
//! | `timers.rs` | deadlines and the clock |
//! | `reactor.rs` | sockets and the operating system's readiness |
//! | `task.rs` | what a task is, and its states |
//! | `here.rs` | what this thread is doing at the moment |
//! | `pace.rs` | when to poll the operating system |
//! | `scheduler.rs` | the loop: spawning, turns, waits, wakes, polling, and when nothing moves |
//! | `cancel.rs` | cancellation and time limits |
//! | `door.rs` | how a task gives up its turn, in each era |

pub(crate) mod cancel;
pub(crate) mod coroutine;
pub(crate) mod door;
pub(crate) mod edge;
pub(crate) mod here;
pub(crate) mod pace;
pub(crate) mod queue;
pub(crate) mod reactor;
pub(crate) mod scheduler;
pub(crate) mod stack;
pub(crate) mod task;
pub(crate) mod timers;
pub(crate) mod wait;
