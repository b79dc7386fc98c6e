//! The files of the kernel whose code runs on several threads at once, compiled alone: their models, at the end of each,
//! run under the model checker `loom`, which tries every interleaving. (`.ci/loom` runs them. In a package of its own,
//! so that nothing else is compiled for it.)

#![allow(dead_code, reason = "the rest of the kernel, which uses them, is not here")]

#[path = "../../src/kernel/edge/inbox.rs"]
mod inbox;
#[path = "../../src/kernel/edge/thin.rs"]
mod thin;
