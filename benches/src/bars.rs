//! The bars: what the crate is to reach, a row each, with a verdict.
//!
//! Only what the bars need is run, in turn as ever. A row that misses its bar stays in the list.

use crate::report::{self, Row, short};
use crate::{Bench, Case, race};

/// One row.
struct Bar {
    bench: &'static str,
    case: &'static str,
    contender: &'static str,
    /// Whose figure its own is divided by; `None`: the figure itself counts.
    reference: Option<&'static str>,
    /// The key of the sample; `None`: what the bench compares.
    key: Option<&'static str>,
    bar: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

const GREEN: &str = "wouldblock-green";
const GENERATOR: &str = "wouldblock-generator";
const FUTURE: &str = "wouldblock-future";

/// All of them, in the order in which they are printed.
fn bars() -> Vec<Bar> {
    let row = |bench, case, contender, reference, most| Bar {
        bench,
        case,
        contender,
        reference,
        key: None,
        bar: Limit::AtMost(most),
    };
    let against = |reference, bench, case, contenders: [(&'static str, f64); 3]| {
        contenders.map(|(contender, most)| row(bench, case, contender, Some(reference), most))
    };
    let level = [(GREEN, 1.0), (GENERATOR, 1.0), (FUTURE, 1.0)];
    let minimal = ["wouldblock-green-minimal", GENERATOR, "wouldblock-future-minimal"]
        .map(|name| (name, 1.0));

    let mut bars = Vec::new();
    bars.extend(against("tokio", "yield", "1 000 tasks", level));
    bars.push(row("yield", "1 000 tasks", GENERATOR, Some(GREEN), 1.5));
    let spawned = [(GREEN, 0.7), (GENERATOR, 1.0), (FUTURE, 1.0)];
    bars.extend(against("tokio", "spawn", "waves of 1 000", spawned));
    bars.extend(against("tokio", "timers", "1 000 tasks, 20 sleeps each", level));
    for case in crate::sync::BENCH.cases {
        bars.push(row("sync", case.name, GENERATOR, Some(GREEN), 1.5));
    }
    for case in crate::echo::BENCH.cases {
        bars.extend(against("tokio", "echo", case.name, level));
    }
    bars.push(row("echo", "1 000 connections", GREEN, Some("bare-corosensei"), 1.03));
    let thousand = "5 KiB, 1 000 at once";
    bars.extend(against("tokio-minimal", "download", thousand, minimal));
    bars.push(row("download", thousand, FUTURE, Some("tokio-hyper"), 1.0));
    bars.push(row("download", thousand, GREEN, None, 45_000.0));
    let mut memory = row("download", thousand, GREEN, None, 60.0);
    memory.key = Some("peak_mb");
    bars.push(memory);
    let late = "5 KiB, 1 000 at once, 50 ms latency, 10 files each";
    for mut bar in against("tokio-minimal", "download", late, minimal) {
        (bar.key, bar.bar) = (Some("ideal_percent"), Limit::AtLeast(1.0));
        bars.push(bar);
    }
    bars.push(row("memory", "1 000 000 tasks", "wouldblock-green-64", None, 4_710.0));
    bars
}

impl Bar {
    fn is_of(&self, bench: &Bench, case: &Case) -> bool {
        (self.bench, self.case) == (bench.name, case.name)
    }

    /// Median, least and most over the rounds; `None` if one of the two has failed.
    fn figure(&self, bench: &Bench, rows: &[Row]) -> Option<report::Spread> {
        let key = self.key.unwrap_or(bench.figure);
        let find = |name| rows.iter().find(|row| row.name == name);
        match self.reference {
            None => find(self.contender)?.spread(key),
            Some(reference) => find(self.contender)?.ratios(find(reference)?, key),
        }
    }

    fn print(&self, bench: &Bench, figure: Option<report::Spread>) {
        let (sign, bar) = match self.bar {
            Limit::AtMost(bar) => ("<=", bar),
            Limit::AtLeast(bar) => (">=", bar),
        };
        let unit = self.reference.or(self.key).unwrap_or(bench.figure);
        print!("  {:26}{:18}{sign} {:>6}  ", self.contender, unit, short(bar));
        let Some(figure) = figure else { return println!("{:>6}  not measured", "-") };
        let missed = match self.bar {
            Limit::AtMost(_) => figure.median / bar - 1.0,
            Limit::AtLeast(_) => 1.0 - figure.median / bar,
        };
        let verdict = match missed > 0.0 {
            false => "reached".into(),
            true => format!("missed by {:.0} %", (missed * 100.0).ceil()),
        };
        let (least, most) = (short(figure.least), short(figure.most));
        println!("{:>6}  ({least} to {most})  {verdict}", short(figure.median));
    }
}

/// Runs what the bars of these benches need, and prints them. (`memory` with a million tasks only with `big`.)
pub(crate) fn run(benches: &[&'static Bench], rounds: u32, big: bool) {
    println!("  {:26}{:18}{:>9}  {:>6}", "", "divided by", "bar", "is");
    let bars = bars();
    for bench in benches {
        for case in bench.cases.iter().filter(|case| big || !case.big) {
            let bars: Vec<_> = bars.iter().filter(|bar| bar.is_of(bench, case)).collect();
            let is_needed = |name: &&str| {
                bars.iter().any(|bar| bar.contender == *name || bar.reference == Some(name))
            };
            let needed: Vec<_> = bench.contenders.iter().copied().filter(is_needed).collect();
            if needed.is_empty() {
                continue;
            }
            let rows = race(bench, case, &needed, rounds);
            println!("{} ({})", bench.name, case.name);
            bars.iter().for_each(|bar| bar.print(bench, bar.figure(bench, &rows)));
            for row in &rows {
                row.failure.iter().for_each(|why| println!("  FAILED: {}: {why}", row.name));
            }
        }
    }
    println!(
        "CPU time, median of {rounds} rounds (least to most); a ratio is taken within a round."
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BENCHES;

    #[test]
    fn each_bar_is_of_a_case_and_of_contenders_that_there_are() {
        for bar in bars() {
            let bench = BENCHES.iter().find(|bench| bench.name == bar.bench).expect(bar.bench);
            assert!(bench.cases.iter().any(|case| case.name == bar.case), "{}", bar.case);
            let names = [Some(bar.contender), bar.reference];
            let known = |name| bench.contenders.contains(&name);
            assert!(names.into_iter().flatten().all(known), "{names:?}");
        }
    }
}
