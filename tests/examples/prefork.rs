//! `prefork` under load: workers are killed, reloaded and stopped. The example checks its own promises, and fails where
//! one is broken.

use crate::{printed, row};

#[test]
fn a_server_of_several_processes_keeps_its_promises() {
    let text = printed("prefork", &["--workers", "3", "--kills", "6"]);
    let counts = |phase: &str| {
        let cells = row(&text, phase).into_iter().rev().take(4);
        cells.map(|cell| cell.parse::<u64>().expect("a number")).collect::<Vec<_>>()
    };
    assert!(counts("kill")[3] >= 6 * 40, "{text}");
    assert_eq!(counts("reload")[..3], [0, 0, 0], "{text}");
    assert_eq!(counts("stop")[1], 0, "{text}");
}
