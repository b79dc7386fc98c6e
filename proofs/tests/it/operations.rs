//! The example `operations` as its reader meets it. (`cargo test -p proofs` builds it.)

use crate::util::examples::printed;

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
