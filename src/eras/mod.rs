//! Three eras of waiting, to be read side by side: the same outline three times. Each `spawn` gives the same
//! `JoinHandle`, each `turn` runs until the next wait; what differs is which code sees that a task gives up its turn:
//! the scheduler alone (green), each caller (generator), or each `.await` (future). Read `pep342` (generators
//! themselves) before `generator`; `limits`, `scope` and `waited` after the three.

pub mod future;
pub mod generator;
pub mod green;
pub(crate) mod limits;
pub(crate) mod pep342;
pub(crate) mod scope;
pub(crate) mod waited;
