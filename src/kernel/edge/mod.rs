//! The edge of the kernel: what a first reading can do without.
//!
//! Files of the kernel and files of the edge import one another: the table in `kernel/mod.rs` has all of them in reading
//! order. The files of the edge, in that order:
//!
//! | file | what it is |
//! |---|---|
//! | `forever.rs` | thread-locals by a reference that lives as long as the thread |
//! | `signal.rs` | signal handlers, and standard error without locks |
//! | `running.rs` | which task has its turn, and how code runs while none does |
//! | `warn.rs` | the crate's own warnings and errors |
//! | `mapping.rs` | memory for stacks, and its guard pages |
//! | `open.rs` | what the code on one fiber has begun and not yet ended |
//! | `pool.rs` | idle fibers, and which of them keep the memory of their stacks |
//! | `trail.rs` | which task has last used what others wait for |
//! | `notes.rs` | what a task does in its turn, noted for an observer |
//! | `fork.rs` | whether this process is a forked copy |
//! | `source.rs` | the registrations of a socket, with one reactor or several |
//! | `random.rs` | random orders from a seed |
//! | `clock.rs` | the clock of a run, real or virtual |
//! | `line.rs` | the waiters for one direction of a socket |
//! | `foreign.rs` | user code that runs outside of tasks, and what happens when it panics |
//! | `thin.rs` | counted references to a block of memory, on its home thread or on any |
//! | `prefetch.rs` | loads the stack of a task that is woken |
//! | `extras.rs` | what only some tasks have: task-locals, callbacks, a deadline for socket calls |
//! | `inbox.rs` | wakes and errands from other threads |
//! | `observe.rs` | the events of a run |
//! | `board.rs` | what other threads and signal handlers see of a turn |
//! | `pulse.rs` | a thread writes its turns on a board |
//! | `patience.rs` | how long a run waits before it suspects a deadlock |
//! | `observers.rs` | calls the observers of a run with its events |
//! | `end.rs` | how far the end of a run has come |
//! | `table.rs` | all tasks that are not done |
//! | `counters.rs` | what `stats()` counts |
//! | `open_guard.rs` | guards that keep the counts of `open.rs` |
//! | `entered.rs` | the scheduler that a thread has entered |
//! | `news.rs` | closing a socket, or its writing side, announced to all reactors |
//! | `ending.rs` | marking tasks cancelled, and the end of a run |
//! | `unwinding.rs` | refuses to suspend a stack that is unwinding |
//! | `waker.rs` | the vtable of task wakers; waking from any thread |
//! | `swallowed.rs` | how often a task catches its cancellation and waits again |
//! | `registration.rs` | how an operation waits when its waker is not the running task's |
//!
//! # How a kind of wait is added
//!
//! If other code of this crate ends it (as unlocking ends the wait for a mutex), in the file of the operation alone:
//!
//! 1. `poll` records `Wait::named` (or `Trail::wait`: then a report names the holder), and keeps `door::waiter(cx)`.
//! 2. The other code wakes that by `wake_waiter` in `waker.rs`. (For another thread: `KeptWaker::of(cx)`, an `Offloaded`.)
//! 3. `Drop` takes it back.
//!
//! If the scheduler ends it, as it does for a socket:
//!
//! 1. `wait.rs`: a variant of `WaitFor`, with an arm in `Display`, and in `rank` that of a socket: else a socket in the
//!    same poll replaces it, and its wake is lost.
//! 2. `scheduler.rs`: where its waiters stand (a `Line` gives each a `Ticket`); `file` (which sets only a timer unless the
//!    wait is for a socket), `stand` and `leave`; `stalled`; and `poll`, which wakes them.
//! 3. The file of the operation: `poll` records the wait; where `record` returns `false`, it keeps a `Registration`.
//!
//! Reports print the `Display`; pictures draw it as a wait for a waker until `inspect/timeline/{chart, words}.rs` know it.

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
pub(crate) mod prefetch;
pub(crate) mod pulse;
pub(crate) mod random;
pub(crate) mod registration;
pub(crate) mod running;
pub(crate) mod signal;
pub(crate) mod source;
pub(crate) mod swallowed;
pub(crate) mod table;
pub(crate) mod thin;
pub(crate) mod trail;
pub(crate) mod unwinding;
pub(crate) mod waker;
pub(crate) mod warn;
