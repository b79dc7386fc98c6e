//! The kernel: switching, scheduling and waiting. It is private, small, and the lowest layer of the crate: it imports
//! nothing from outside of this folder. Read its files in the order of this table: each uses only `edge/` and the files
//! above it.
//!
//! `edge/` has what a second reading is for: user code outside of tasks, wakes from other threads, observers, what a
//! watchdog or a signal handler sees, forked processes, reports, the end of a run. At a first reading, the first lines of
//! its files are enough, but for those in the last column: read these in full, before the file of their row.
//!
//! | file | what it is | before it, of `edge/` |
//! |---|---|---|
//! | `stack.rs` | guarded stacks and the arena they come from | |
//! | `coroutine.rs` | fibers: the only file that uses corosensei | `open.rs` |
//! | `wait.rs` | the life of a wait: what a coroutine waits for, and how it is recorded | `running.rs` |
//! | `queue.rs` | which task is ready, in which order | |
//! | `timers.rs` | deadlines and the clock | |
//! | `reactor.rs` | sockets and the operating system's readiness | `line.rs`, `source.rs` |
//! | `task.rs` | what a task is, and its states | `inbox.rs`, `foreign.rs`, `thin.rs` |
//! | `here.rs` | what this thread is doing at the moment | |
//! | `pace.rs` | when to poll the operating system | |
//! | `scheduler.rs` | the loop: spawning, turns, waits, wakes, polling, and when nothing moves | `waker.rs` |
//! | `cancel.rs` | cancellation and time limits | `entered.rs`, `unwinding.rs` |
//! | `door.rs` | how a task gives up its turn, in each era | |
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
//! | wake | to end a wait; of a task: to put it into the run queue; of a waker: to call it |
//! | record | to write down, in the poll of an operation, what the operation waits for |
//! | boundary | the frame at which the unwinding of a cancellation or a time limit ends |
//! | order | a sequence; in `Home`, `Spawner` and `inbox.rs`: a closure that another thread sends to a run |
//! | budget | how many operations may complete in one turn (in an inner executor: before each turn of the others) |
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
