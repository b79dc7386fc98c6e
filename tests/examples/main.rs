//! The examples as their reader meets them: built programs, and what they print. (`cargo test` builds them, and
//! `cargo test --test examples` does not.)

mod cores;
#[cfg(feature = "rustls")]
mod download;
#[cfg(feature = "rustls")]
mod download_cases;
#[cfg(feature = "rustls")]
mod download_tool;
mod guide;
mod prefork;
mod replay;
#[path = "../it/util/mod.rs"]
mod util;

use std::fs;
use std::path::Path;

use crate::util::examples::printed;

/// The words of the line that begins with `word`.
#[track_caller]
fn row<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let mut rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|words| words.first() == Some(&word));
    row.unwrap_or_else(|| panic!("no line begins with {word}:\n{text}"))
}

#[test]
fn the_clients_of_the_echo_server_take_turns() {
    let text = printed("echo", &[]);
    let mut lines: Vec<_> = text.lines().collect();
    let at = |line: &str| lines.iter().position(|l| *l == line).expect("each answer comes");
    assert!(at("eve 1") < at("ann 2") && at("ann 1") < at("eve 2"), "{text}");
    lines.sort_unstable();
    assert_eq!(lines, ["ann 1", "ann 2", "bob 1", "bob 2", "eve 1", "eve 2"]);
}

#[test]
fn callbacks_and_a_coroutine_print_the_same_byte_for_byte() {
    let callbacks = printed("callback_vs_coroutine", &["callbacks"]);
    let coroutine = printed("callback_vs_coroutine", &["coroutine"]);
    assert_eq!(callbacks, coroutine);
    assert!(printed("callback_vs_coroutine", &[]).contains(&coroutine));
}

#[test]
fn each_picture_is_saved_or_given_up_once() {
    let log = printed("callback_vs_coroutine", &["coroutine"]);
    let ends = |end: &str| log.lines().filter(|line| line.contains(end)).count();
    for picture in ["ann", "bob", "dog", "eel", "fox"] {
        assert_eq!(ends(&format!("{picture}.png: saved, framed small {picture}.png")), 1, "{log}");
    }
    assert_eq!(ends("cat.png: given up, out of paint"), 1, "{log}");
    assert_eq!(ends("gnu.png: given up, nothing came in time"), 1, "{log}");
    assert_eq!((ends(": saved"), ends(": given up")), (5, 2), "{log}");
}

#[test]
fn what_goes_wrong_with_a_job_is_seen() {
    let log = printed("callback_vs_coroutine", &["coroutine"]);
    let at = |event: &str| {
        let line = log.lines().find_map(|line| line.strip_suffix(event));
        let line = line.unwrap_or_else(|| panic!("no line ends with {event:?}:\n{log}"));
        line.split_once(" ms").expect("a time").0.trim().parse::<u32>().expect("a number")
    };
    // Lost: at its time limit, the second attempt.
    assert_eq!(at("  bob.png: scale it, job 2"), 0);
    assert_eq!(at("  bob.png: job 2: nothing came in time"), 100);
    assert_eq!(at("  bob.png: scale it, job 15"), 100);
    // Failed: at once.
    assert_eq!(at("  gnu.png: job 7: out of memory"), at("  gnu.png: scale it, job 11"));
    // Posted twice, under an unknown id, and too late.
    assert!(
        at("job 4 is posted, but it was over: ignored") > at("small dog.png: frame it, job 10")
    );
    assert!(at("job 1000006 is posted, but it is none of ours: ignored") < 100);
    let frame = at("small eel.png: frame it, job 12");
    assert!(at("job 12 is posted, but it was over: ignored") > frame + 100);
}

#[test]
fn the_two_ways_are_counted_and_timed() {
    let text = printed("callback_vs_coroutine", &[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/callback_vs_coroutine");
    let lines = ["callbacks", "coroutine"].map(|way| {
        let source = fs::read_to_string(folder.join(way).with_extension("rs")).expect("a source");
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        let lines = source.lines().filter(is_code).count();
        let row = row(&text, way);
        assert_eq!(row[1..3], [lines.to_string(), "283ms".into()]);
        let took = row[3].trim_end_matches(['m', 's', ',']).parse::<f64>().expect("a time");
        assert!(took > 0.0, "{row:?}");
        lines
    });
    assert!(lines[1] < lines[0], "the coroutine is the shorter one: {lines:?}");
}
