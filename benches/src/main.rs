//! Benchmarks of wouldblock beside its peers.
//!
//! ```text
//! cargo run --release -p benches -- [BENCH...] [--peers a,b] [--rounds N] [--json FILE] [--svg FILE]
//! cargo run --release -p benches -- [BENCH...] --bars [--rounds N]
//! ```
//!
//! For each case of each bench, the contenders run in turn (A B C, A B C, ...), each run in a process of
//! its own: this program again, which measures one contender in one case and prints one line of JSON
//! (`child.rs`). The first round is a warm-up that does not count. What is compared is CPU time (user +
//! system): on a shared machine, the wall clock measures the neighbours as well.
//!
//! Reading order: this file, `child.rs`, `yields.rs`, then the other benches; `report.rs` and `svg.rs`
//! show the figures, `bars.rs` what they are to be.

mod bars;
mod child;
mod clients;
mod cores;
mod download;
mod echo;
mod files;
mod load;
mod memory;
mod report;
mod server;
mod spawn;
mod svg;
mod switch;
mod sync;
mod timers;
mod yields;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::{Report, Row};

/// One bench: what is measured, in which cases, with whom, and how to run one contender in one case.
struct Bench {
    name: &'static str,
    what: &'static str,
    /// The key of a sample that is compared.
    figure: &'static str,
    /// Whose figure the ratios are to.
    reference: &'static str,
    contenders: &'static [&'static str],
    cases: &'static [Case],
    /// Further keys of a sample to show: key and title.
    columns: &'static [(&'static str, &'static str)],
    /// Runs in the child.
    run: fn(contender: &str, size: u64) -> child::Sample,
}

struct Case {
    name: &'static str,
    size: u64,
    /// Runs only with `--big`.
    big: bool,
}

const BENCHES: [&Bench; 9] = [
    &switch::BENCH,
    &yields::BENCH,
    &spawn::BENCH,
    &memory::BENCH,
    &timers::BENCH,
    &sync::BENCH,
    &echo::BENCH,
    &download::BENCH,
    &cores::BENCH,
];

/// Contenders of this crate; they always run.
const OURS: &str = "wouldblock-";

/// Benchmarks of wouldblock beside its peers. What counts is CPU time, per operation.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Cli {
    /// Which benches to run: switch, yield, spawn, memory, timers, sync, echo, download, cores; all if none.
    #[arg(value_name = "BENCH")]
    benches: Vec<String>,
    /// Only these peers, beside wouldblock itself; `none` for no peers.
    #[arg(long, value_delimiter = ',', value_name = "PEER,..")]
    peers: Option<Vec<String>>,
    /// Runs only what the bars need, and prints each bar with its verdict.
    #[arg(long, conflicts_with_all = ["peers", "json", "svg"])]
    bars: bool,
    /// Rounds that count; one more comes first as a warm-up. Default: 5, of `--bars` 3.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Runs the largest cases too (`memory` with a million tasks).
    #[arg(long)]
    big: bool,
    /// Writes every sample and the summary there, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the ratios there.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(subcommand)]
    hidden: Option<Hidden>,
}

/// What this program starts itself with.
#[derive(Subcommand)]
enum Hidden {
    /// Measures one contender in one case.
    #[command(hide = true)]
    Child { bench: String, contender: String, size: u64 },
    /// Is one contender's echo server.
    #[command(hide = true)]
    Serve { contender: String },
    /// Is the server of `download`.
    #[command(hide = true)]
    ServeFiles { bytes: usize, latency_ms: u64 },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.hidden {
        Some(Hidden::Child { bench, contender, size }) => {
            child::limit_run_time();
            pick(std::slice::from_ref(bench)).map(|bench| (bench[0].run)(contender, *size).print())
        }
        Some(Hidden::Serve { contender }) => {
            child::limit_run_time();
            echo::serve(contender);
            Ok(())
        }
        Some(Hidden::ServeFiles { bytes, latency_ms }) => {
            child::limit_run_time();
            download::serve(*bytes, *latency_ms);
            Ok(())
        }
        None => compare(&cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs everything that was asked for, and shows it.
fn compare(cli: &Cli) -> Result<(), String> {
    let benches = pick(&cli.benches)?;
    if cli.bars {
        bars::run(&benches, cli.rounds.unwrap_or(3), cli.big);
        return Ok(());
    }
    let rounds = cli.rounds.unwrap_or(5);
    let peers = cli.peers.as_ref().map(|names| check_peers(names)).transpose()?;
    let json = cli.json.as_deref().map(create).transpose()?;
    let svg = cli.svg.as_deref().map(create).transpose()?;

    let wanted = |name: &str| {
        name.starts_with(OURS) || peers.as_ref().is_none_or(|peers| peers.contains(name))
    };
    let mut report = Report { groups: Vec::new(), left_out: left_out(&benches, wanted) };
    report.print_left_out();
    for bench in benches {
        let contenders: Vec<&str> = (bench.contenders.iter().copied())
            .filter(|name| wanted(name) && !report.is_left_out(name))
            .collect();
        for case in bench.cases.iter().filter(|case| cli.big || !case.big) {
            let rows = race(bench, case, &contenders, rounds);
            report::print(bench, case, &rows);
            report.add(bench, case, rows);
        }
    }
    report.print_left_out();
    if let Some(mut file) = json {
        let text = serde_json::to_string_pretty(&report.to_json()).expect("plain data");
        writeln!(file, "{text}").map_err(|e| format!("--json: {e}"))?;
    }
    if let Some(mut file) = svg {
        file.write_all(svg::draw(&report).as_bytes()).map_err(|e| format!("--svg: {e}"))?;
    }
    Ok(())
}

/// The contenders in turn, round after round.
fn race(bench: &Bench, case: &Case, contenders: &[&'static str], rounds: u32) -> Vec<Row> {
    let mut rows: Vec<Row> = contenders.iter().map(|name| Row::new(name)).collect();
    for round in 0..=rounds {
        for row in rows.iter_mut().filter(|row| row.failure.is_none()) {
            progress(&format!(
                "{} ({}): round {round} of {rounds}: {}",
                bench.name, case.name, row.name
            ));
            match child::run(bench.name, row.name, case.size) {
                Ok(_) if round == 0 => {}
                Ok(sample) => row.samples.push(sample),
                Err(why) => row.failure = Some(why),
            }
        }
    }
    progress("");
    rows
}

/// One line that is overwritten by the next, for whoever sits at a terminal.
fn progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    }
}

/// The benches of these names, in their own order; all if there are no names.
fn pick(names: &[String]) -> Result<Vec<&'static Bench>, String> {
    if let Some(unknown) = names.iter().find(|n| BENCHES.iter().all(|bench| bench.name != **n)) {
        let known: Vec<_> = BENCHES.iter().map(|bench| bench.name).collect();
        return Err(format!("no bench is called {unknown:?}; there are: {}", known.join(", ")));
    }
    let chosen = |bench: &&Bench| names.is_empty() || names.iter().any(|name| name == bench.name);
    Ok(BENCHES.into_iter().filter(chosen).collect())
}

fn check_peers(names: &[String]) -> Result<BTreeSet<&'static str>, String> {
    let all = BENCHES.iter().flat_map(|bench| bench.contenders).copied();
    let known: BTreeSet<_> = all.filter(|name| !name.starts_with(OURS)).collect();
    let names = names.iter().filter(|name| *name != "none");
    names
        .map(|name| {
            let list = || known.iter().copied().collect::<Vec<_>>().join(", ");
            known.get(name.as_str()).copied().ok_or_else(|| {
                format!("no peer is called {name:?}; there are: {}; or none", list())
            })
        })
        .collect()
}

/// Contenders that would run but are not installed, and why not.
fn left_out(benches: &[&Bench], wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let names: BTreeSet<_> =
        benches.iter().flat_map(|bench| bench.contenders).copied().filter(|n| wanted(n)).collect();
    names.into_iter().filter_map(|name| Some((name, child::missing(name)?))).collect()
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
