//! Three eras of waiting, to be read side by side: the same outline three times. Each `spawn` returns the same
//! `JoinHandle`, and each turn lasts until the next wait. What differs is which code shows that a task may give up its
//! turn: none (green), each function on the way that passes a yield on (generator), or each `.await` (future). Read
//! `generator`, `green`, `future`, `pep342`, `limits`, `waited`; then of `scope`: `members`, `green`, `spawn`, `future`.

pub mod future;
pub mod generator;
pub mod green;
pub(crate) mod limits;
pub(crate) mod pep342;
pub(crate) mod scope;
pub(crate) mod waited;
