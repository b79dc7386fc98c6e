//! The tests of behaviour that need crates which nothing else does; otherwise as the crate's own `it`.

mod adapt;
mod certificates;
#[path = "../../../tests/it/util/mod.rs"]
mod util;

mod deadline;
mod dropin;
mod https;
mod macros;
