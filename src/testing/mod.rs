//! Tests of programs: every order of turns, and code that gives up a known number of turns.
//!
//! A suite whose tests use [`run`](crate::run()) takes other orders by a variable of the environment, without a change:
//! `for seed in 1 2 3; do WOULDBLOCK_SEED=$seed cargo test; done`. A test that fails with a seed fails with it again.
//!
//! Read `turns` first, then `settle` and `explore`. They import `run` and the timeline.

mod explore;
mod settle;
mod turns;

pub use explore::explore;
pub use settle::{settle, settling};
pub use turns::{assert_turns, assert_turns_async};
