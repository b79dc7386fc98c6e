//! The tests of behaviour: one program, with a module for each subject. What changes the whole process, or ends it,
//! runs in a process of its own, by [`util::in_child`].
//!
//! Apart from it, each in a program of its own: `on_signal`, for its global allocator; `examples`, which runs the
//! built examples; and `tidy`, which reads the source tree. The package `proofs` has those that need more crates.

mod util;

mod auto_traits;
mod blocking;
mod cancel;
mod cancel_scope;
mod deadline;
mod deadlock;
mod diagnosis;
mod faults;
mod fs;
mod generator;
mod group;
mod handle;
#[cfg(feature = "ureq")]
mod http;
mod interop;
mod interval;
mod io;
mod like_std;
mod limits_of_siblings;
mod observe;
mod offload;
mod op;
mod overflow;
mod panic;
mod patience;
mod places;
mod pool;
mod port;
mod preludes;
mod process;
mod scheduling;
mod scope;
mod scope_eras;
mod signal;
mod soundness;
mod stacks;
mod std_names;
mod stream;
mod sync_budget;
mod sync_locks;
mod sync_many;
mod sync_queues;
mod task;
mod tasks;
mod tcp;
mod thread;
mod timeline;
mod timers;
mod traps;
mod udp;
mod unix;
mod unwinding;
mod watchdog;
