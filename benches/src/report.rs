//! What the runs have measured: medians, ratios, the table, and the JSON.
//!
//! A ratio is that of a contender's figure to the reference's in the same round; the median of the
//! rounds is shown. Neighbours on the machine who are loud for a while so disturb both.

use serde_json::{Value, json};

use crate::child::Sample;
use crate::{Bench, Case};

/// One contender in one case.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// One for each round.
    pub(crate) samples: Vec<Sample>,
    /// Why it was given up.
    pub(crate) failure: Option<String>,
}

/// Median, least and greatest of some numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` if there are no numbers.
    fn of(numbers: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = numbers.collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let odd = sorted.len() % 2 == 1;
        let median = if odd { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Spread { median, least, most })
    }
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Row {
        Row { name, samples: Vec::new(), failure: None }
    }

    pub(crate) fn spread(&self, key: &str) -> Option<Spread> {
        Spread::of(self.samples.iter().filter_map(|sample| sample.get(key)))
    }

    /// Over the rounds, this row's figure divided by the reference's.
    pub(crate) fn ratios(&self, reference: &Row, key: &str) -> Option<Spread> {
        let rounds = self.samples.iter().zip(&reference.samples);
        Spread::of(rounds.filter_map(|(a, b)| Some(a.get(key)? / b.get(key)?)))
    }
}

/// One case of a bench, with all who took part.
pub(crate) struct Group {
    pub(crate) bench: &'static Bench,
    pub(crate) case: &'static Case,
    pub(crate) rows: Vec<Row>,
}

impl Group {
    /// The ratio of a row to the reference.
    pub(crate) fn ratio(&self, row: &Row) -> Option<f64> {
        ratio(self.bench, &self.rows, row)
    }
}

fn ratio(bench: &Bench, rows: &[Row], row: &Row) -> Option<f64> {
    let reference = rows.iter().find(|row| row.name == bench.reference)?;
    Some(row.ratios(reference, bench.figure)?.median)
}

pub(crate) struct Report {
    pub(crate) groups: Vec<Group>,
    /// Who could not run, and why.
    pub(crate) left_out: Vec<(&'static str, String)>,
}

impl Report {
    pub(crate) fn add(&mut self, bench: &'static Bench, case: &'static Case, rows: Vec<Row>) {
        self.groups.push(Group { bench, case, rows });
    }

    pub(crate) fn is_left_out(&self, name: &str) -> bool {
        self.left_out.iter().any(|(left_out, _)| *left_out == name)
    }

    pub(crate) fn print_left_out(&self) {
        for (name, why) in &self.left_out {
            println!("left out: {name} ({why})");
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let left_out = self.left_out.iter();
        json!({
            "machine": machine(),
            "left_out": left_out.map(|(name, why)| json!({ "peer": name, "why": why })).collect::<Vec<_>>(),
            "results": self.groups.iter().flat_map(Group::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Group {
    fn to_json(&self) -> impl Iterator<Item = Value> {
        self.rows.iter().map(|row| {
            let figure = row.spread(self.bench.figure);
            json!({
                "bench": self.bench.name,
                "case": self.case.name,
                "contender": row.name,
                "figure": self.bench.figure,
                "median": figure.map(|f| f.median),
                "min": figure.map(|f| f.least),
                "max": figure.map(|f| f.most),
                "reference": self.bench.reference,
                "ratio": self.ratio(row),
                "failure": row.failure,
                "rounds": row.samples.iter().map(Sample::to_json).collect::<Vec<_>>(),
            })
        })
    }
}

/// What the figures depend on and the program can tell.
pub(crate) fn machine() -> Value {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let model =
        cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    json!({
        "cpu": model.unwrap_or("unknown"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim().split('-').next(),
    })
}

/// Prints a case as a table.
pub(crate) fn print(bench: &Bench, case: &Case, rows: &[Row]) {
    println!("\n{} ({}): {}", bench.name, case.name, bench.what);
    print!("  {:22}{:>10}{:>10}{:>10}{:>9}", "", "median", "min", "max", "ratio");
    bench.columns.iter().for_each(|(_, title)| print!("  {title:>13}"));
    println!();
    for row in rows {
        print!("  {:22}", row.name);
        if let Some(figure) = row.spread(bench.figure) {
            for number in [figure.median, figure.least, figure.most] {
                print!("{:>10}", short(number));
            }
            let ratio = ratio(bench, rows, row);
            print!("{:>9}", ratio.map_or_else(|| "-".into(), short));
            for (key, title) in bench.columns {
                let median = row.spread(key).map(|spread| short(spread.median));
                let width = title.len().max(13);
                print!("  {:>width$}", median.as_deref().unwrap_or("-"));
            }
        }
        if let Some(failure) = &row.failure {
            print!("  FAILED: {failure}");
        }
        println!();
    }
    println!("  (ratio: to {}, median over the rounds; less is better)", bench.reference);
}

/// A number with three or four digits that count.
pub(crate) fn short(number: f64) -> String {
    match number.abs() {
        n if n < 10.0 => format!("{number:.2}"),
        n if n < 100.0 => format!("{number:.1}"),
        n if n < 100_000.0 => format!("{number:.0}"),
        n if n < 10_000_000.0 => format!("{:.0}k", number / 1e3),
        _ => format!("{:.1}M", number / 1e6),
    }
}
