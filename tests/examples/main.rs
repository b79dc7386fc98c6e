//! The examples as their reader meets them: built programs, and what they print. (`cargo test` builds them, and
//! `cargo test --test examples` does not.)

mod cores;
#[cfg(feature = "rustls")]
mod download;
mod prefork;
#[path = "../it/util/mod.rs"]
mod util;

use std::fs;
use std::path::Path;

use crate::util::examples::{Folder, run_example};

/// What an example prints when all goes well.
#[track_caller]
fn printed(name: &str, arguments: &[&str]) -> String {
    let folder = Folder::new();
    let ran = run_example(name, arguments, folder.path());
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{}", ran.stdout);
    let left = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "{name} leaves files behind");
    for line in ran.stdout.lines() {
        assert!(line.chars().count() <= 80, "{name} prints more than 80 columns: {line}");
    }
    ran.stdout
}

/// The words of the line that begins with `word`.
#[track_caller]
fn row<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let mut rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|words| words.first() == Some(&word));
    row.unwrap_or_else(|| panic!("no line begins with {word}:\n{text}"))
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

#[test]
fn four_operations_take_their_steps_between_each_other() {
    let text = printed("operations", &[]);
    let (trace, _) = text.split_once("\n\n").expect("a trace and a table");
    let at = |step: &str| {
        let place = trace.lines().position(|line| line.ends_with(step));
        place.unwrap_or_else(|| panic!("no line ends with {step:?}:\n{trace}"))
    };
    assert_eq!(trace.lines().count(), 1 + 4 * 3, "{trace}");
    assert_eq!(trace.matches("8 MiB synced").count(), 3, "{trace}");
    assert!(at(" 50000 rows") < at("100000 rows") && at("100000 rows") < at("150000 rows"));
    assert!(at("answer 1") < at("answer 2") && at("answer 2") < at("answer 3"));
    assert!(at("message 1") < at("message 2") && at("message 2") < at("message 3"));
    // Neither waits until the other is done.
    assert!(at("answer 1") < at("message 3") && at("message 1") < at("answer 3"), "{trace}");
}

#[test]
fn the_operations_are_timed_together_and_apart() {
    let text = printed("operations", &[]);
    let (_, table) = text.split_once("\n\n").expect("a trace and a table");
    let times: Vec<u128> = table
        .lines()
        .map(|line| line.split_whitespace().find_map(|word| word.parse().ok()).expect("a time"))
        .collect();
    let [together, network, file, database, queue, sum] = times[..] else { panic!("{table}") };
    assert!(together > 0, "{table}");
    assert_eq!(network + file + database + queue, sum, "{table}");
}
