//! `cores`: each way of spreading connections over runs gives each request one answer.

use crate::{printed, row};

#[test]
fn every_request_is_answered_by_one_of_the_runs() {
    let text = printed("cores", &["3"]);
    let counts = |way: &str| {
        row(&text, way)[1..4].iter().map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(counts("reuse_port").iter().sum::<u64>(), 640, "{text}");
    // In turn: 22, 21 and 21 of the 64 connections.
    assert_eq!(counts("hand-off"), [220, 210, 210], "{text}");
}
