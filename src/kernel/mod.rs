//! The kernel: switching, scheduling and waiting. It is private, small, and the lowest layer of the crate: it imports
//! nothing from outside of this folder.
//!
//! Read its files in the order of this table, and before each the files of `edge/` in its row: no file uses a later one.
//! `edge/` has what a second reading is for: user code outside of tasks, wakes from other threads, observers, what a
//! watchdog or a signal handler sees, forked processes, reports, the end of a run. At a first reading, the first lines of
//! its files are enough, but read those in **bold** in full.
//!
//! | file | what it is | before it, of `edge/` |
//! |---|---|---|
//! | `stack.rs` | guarded stacks and the arena they come from | forever, signal, **running**, warn, mapping |
//! | `coroutine.rs` | fibers: the only file that uses corosensei | **open**, pool |
//! | `wait.rs` | the life of a wait, and how it is recorded | trail, notes, fork, **source** |
//! | `queue.rs` | which task is ready, in which order | random |
//! | `timers.rs` | deadlines and the clock | clock |
//! | `reactor.rs` | sockets and the operating system's readiness | **line** |
//! | `task.rs` | what a task is, and its states | **foreign**, **thin**, prefetch, extras, **inbox**, observe |
//! | `here.rs` | what this thread is doing at the moment | board, pulse |
//! | `pace.rs` | when to poll the operating system | |
//! | `scheduler.rs` | the loop: turns, waits, wakes, polling | patience, observers, end, table, counters |
//! | `cancel.rs` | cancellation and time limits | open_guard, **entered**, news, ending, **unwinding** |
//! | `door.rs` | how a task gives up its turn, in each era | **waker**, swallowed, registration |
//!
//! The words of these files:
//!
//! | word | meaning |
//! |---|---|
//! | run | the life of one scheduler, on one thread: a call of `wouldblock::run`, or a `Runtime` |
//! | task | a coroutine that a scheduler owns: a greenlet, a generator or a future |
//! | home | the run that owns a task; its home thread is that run's thread |
//! | fiber | a stack with a coroutine on it, which does one job after the other |
//! | turn | one resume of a task, up to its next suspension or its end |
//! | ready | a task: in the run queue; a socket or an operation: it can be used without a wait |
//! | operation | a future that describes what a coroutine waits for |
//! | poll | of an operation: to call its `Future::poll`; of the operating system: to ask for events |
//! | verb | how an era (green, generator, future) waits for an operation: `wait(op)`, `y.wait(op)`, `op.await` |
//! | waiter | what is woken when a wait ends: a task, or a waker of any kind |
//! | wake | a task: to put it into the run queue; a waker: to call it |
//! | record | to write down, in the poll of an operation, what the operation waits for |
//! | boundary | the frame at which the unwinding of a cancellation or a time limit ends |
//! | budget | how many operations may complete in one turn |
//! | user code | code that is not this crate's: bodies of tasks, wakers, callbacks, destructors |
//! | foreign code | user code that runs as code of no task (called by `aside`, `edge/foreign.rs`) |

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
