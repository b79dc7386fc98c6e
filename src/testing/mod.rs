//! Tests of programs: every order of turns, and code that gives up a known number of turns.
//!
//! Read `turns` first, then `settle` and `explore`. They import `run` and the timeline.

mod explore;
mod settle;
mod turns;

pub use explore::explore;
pub use settle::{settle, settling};
pub use turns::{assert_turns, assert_turns_async};
