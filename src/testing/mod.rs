//! Tests of programs: every order of turns, and code that gives up a known number of turns.
//!
//! It imports `run` and the timeline.

pub(crate) mod explore;
pub(crate) mod turns;
