//! The edge of the kernel: what a first reading can do without. Files of the kernel and of its edge use one another,
//! in the order that `tests/tidy.rs` has; within the edge, that is:
//!
//! | file | what it is |
//! |---|---|
//! | `forever.rs` | thread-locals by a reference that lives as long as the thread |
//! | `signal.rs` | handlers of signals, and how they write |
//! | `running.rs` | which task has its turn, and code that runs while none does |
//! | `warn.rs` | the crate's own warnings and errors |
//! | `mapping.rs` | memory for stacks, and guards in it |
//! | `open.rs` | what the code on one fiber has begun and not yet ended |
//! | `pool.rs` | where idle fibers are kept, and which of them keep the memory of their stacks |
//! | `open_guard.rs` | marks what a fiber has open |
//! | `trail.rs` | which task holds what others wait for |
//! | `notes.rs` | what a task does in its turn, for an observer that wants it |
//! | `fork.rs` | telling a process from its copy |
//! | `source.rs` | the registrations of a socket that threads share |
//! | `patience.rs` | how long nothing may move |
//! | `foreign.rs` | code of the user's that runs outside of tasks, and what happens when it panics |
//! | `observe.rs` | what an observer of a run gets to know |
//! | `board.rs` | what other threads and handlers of signals see of a turn |
//! | `extras.rs` | what few tasks have |
//! | `inbox.rs` | wakes from other threads |
//! | `random.rs` | random orders from a seed |
//! | `clock.rs` | the clock of a run, real or virtual |
//! | `line.rs` | the waiters for one direction of a socket |
//! | `pulse.rs` | the turns of a thread, shown |
//! | `observers.rs` | kernel state, turned into events for an observer |
//! | `end.rs` | how far the end of a run has come |
//! | `table.rs` | all tasks that are not done |
//! | `counters.rs` | what `stats()` counts |
//! | `entered.rs` | the scheduler that a thread has entered |
//! | `news.rs` | what a thread does to a socket, sent to other threads |
//! | `ending.rs` | how tasks are cancelled, and how a run ends |
//! | `waker.rs` | how a task is woken, from any thread |
//! | `unwinding.rs` | why a stack that unwinds is not suspended |
//! | `swallowed.rs` | how often a task catches its cancellation and waits again |
//! | `registration.rs` | how an operation waits with a waker that is not the task's own |

pub(crate) mod board;
pub(crate) mod clock;
pub(crate) mod counters;
pub(crate) mod end;
pub(crate) mod ending;
pub(crate) mod entered;
pub(crate) mod extras;
pub(crate) mod foreign;
pub(crate) mod forever;
pub(crate) mod fork;
pub(crate) mod inbox;
pub(crate) mod line;
pub(crate) mod mapping;
pub(crate) mod news;
pub(crate) mod notes;
pub(crate) mod observe;
pub(crate) mod observers;
pub(crate) mod open;
pub(crate) mod open_guard;
pub(crate) mod patience;
pub(crate) mod pool;
pub(crate) mod pulse;
pub(crate) mod random;
pub(crate) mod registration;
pub(crate) mod running;
pub(crate) mod signal;
pub(crate) mod source;
pub(crate) mod swallowed;
pub(crate) mod table;
pub(crate) mod trail;
pub(crate) mod unwinding;
pub(crate) mod waker;
pub(crate) mod warn;
