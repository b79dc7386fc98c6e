//! Random programs: a property test of `wouldblock` as a whole.
//!
//! A program is a small tree of operations (`program.rs`), made from a seed (`generate.rs`) out of features that
//! can be switched off (`features.rs`), and interpreted by real tasks (`interpret.rs`). When it has run, each
//! value in it has to be dropped exactly once, each callback called, no stack, task, timer or file be left
//! (`parts.rs`); and no process may die (`child.rs`). A program that fails is made smaller (`shrink.rs`) and
//! printed.
//!
//! ```text
//! cargo run -p random-programs --                       60 s of programs from seed 0 on
//!   --seconds N | --hours N    how long, without shrinking                --programs N    how many at most
//!   --from SEED | fresh        the first seed          --batch N       programs in one process (100)
//!   --without F,F | --only F,F features (--features lists them)
//!   --seed SEED                that program alone, printed, with panics and log messages
//!   --known                    the programs of `known.rs`, and what they give
//!   --keep-going N             stop at N different failures (10); 0: never
//!   --shrink N                 seconds for each failure (20)
//!   --patience N               seconds until a program hangs (5)
//! ```

mod child;
mod features;
mod generate;
mod interpret;
mod known;
mod parts;
mod program;
mod report;
mod shrink;
mod token;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use child::{Failure, How};
use features::Features;

struct Arguments {
    limit: Duration,
    programs: u64,
    from: u64,
    batch: u64,
    features: Features,
    seed: Option<u64>,
    known: bool,
    keep_going: usize,
    shrink: Duration,
    how: How,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("random-programs: {text}");
            return ExitCode::from(2);
        }
    };
    report::shared();
    match arguments.seed {
        _ if arguments.known => known(&arguments),
        Some(seed) => alone(seed, &arguments),
        None => many(&arguments),
    }
}

fn arguments() -> Result<Option<Arguments>, String> {
    let mut found = Arguments {
        limit: Duration::from_secs(60),
        programs: u64::MAX,
        from: 0,
        batch: 100,
        features: Features::all(),
        seed: None,
        known: false,
        keep_going: 10,
        shrink: Duration::from_secs(20),
        how: How { patience: Duration::from_secs(5), verbose: false },
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--features" {
            for (_, name, says) in features::ALL {
                println!("{name:20} {says}");
            }
            return Ok(None);
        }
        if word == "--known" {
            found.known = true;
            continue;
        }
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} {value}: not a number"));
        match &*word {
            "--seconds" => found.limit = Duration::from_secs(number()?),
            "--hours" => found.limit = Duration::from_secs(3600 * number()?),
            "--programs" => found.programs = number()?,
            "--from" if value == "fresh" => found.from = fresh(),
            "--from" => found.from = number()?,
            "--batch" => found.batch = number()?.max(1),
            "--without" => found.features = found.features.minus(Features::named(&value)?),
            "--only" => found.features = Features::named(&value)?,
            "--seed" => found.seed = Some(number()?),
            "--keep-going" => found.keep_going = number()? as usize,
            "--shrink" => found.shrink = Duration::from_secs(number()?),
            "--patience" => found.how.patience = Duration::from_secs(number()?),
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(Some(found))
}

/// A seed that no earlier run has begun with.
fn fresh() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() * 1_000_000)
}

/// One program, with all that it prints.
fn alone(seed: u64, arguments: &Arguments) -> ExitCode {
    let program = generate::program(seed, arguments.features);
    println!("seed {seed}\n{program}");
    let how = How { verbose: true, ..arguments.how };
    match child::one(how, &program) {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("FAILED: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn known(arguments: &Arguments) -> ExitCode {
    let mut failed = 0;
    for (says, program) in known::all() {
        let failure = child::one(arguments.how, &program);
        failed += usize::from(failure.is_some());
        let text = failure
            .map_or_else(|| "holds".to_owned(), |failure| format!("FAILS: {}", failure.text));
        println!("{says}: {}", text.lines().take(2).collect::<Vec<_>>().join(" | "));
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(arguments: &Arguments) -> ExitCode {
    let (start, mut telling) = (Instant::now(), Duration::ZERO);
    let (mut ran, mut seed) = (0, arguments.from);
    let mut kinds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    println!("random programs from seed {seed} on");
    let mut said = Instant::now();
    while start.elapsed() < arguments.limit + telling && ran < arguments.programs {
        if said.elapsed() > Duration::from_secs(600) {
            said = Instant::now();
            summary(arguments, start.elapsed() - telling, ran, &kinds);
        }
        let first = seed;
        let count = arguments.batch.min(arguments.programs - ran);
        let (ended, failure) = child::batch(arguments.how, count, |number| {
            generate::program(first + number, arguments.features)
        });
        let Some(failure) = failure else {
            (ran, seed) = (ran + ended, seed + ended);
            continue;
        };
        let failed = first + ended;
        (ran, seed) = (ran + ended + 1, failed + 1);
        let seeds = kinds.entry(failure.kind.clone()).or_default();
        seeds.push(failed);
        if seeds.len() == 1 {
            let begun = Instant::now();
            tell(arguments, first, failed, &failure);
            telling += begun.elapsed();
        }
        if arguments.keep_going > 0 && kinds.len() >= arguments.keep_going {
            break;
        }
    }
    summary(arguments, start.elapsed() - telling, ran, &kinds);
    if kinds.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(arguments: &Arguments, first: u64, seed: u64, failure: &Failure) {
    println!("\n=== seed {seed} FAILED: {failure}\n");
    let program = generate::program(seed, arguments.features);
    let alone = (0..3).find_map(|_| child::one(arguments.how, &program));
    let Some(alone) = alone else {
        println!(
            "It does not fail alone: it failed behind the seeds from {first} on. As generated:\n{program}"
        );
        return;
    };
    // Each try that hangs costs as much as it is waited for.
    let hangs = alone.kind == "hang";
    let patience = if hangs { Duration::from_secs(1) } else { arguments.how.patience };
    let how = How { patience, ..arguments.how };
    let fails = |candidate: &program::Program| {
        child::one(how, candidate).is_some_and(|found| found.kind == alone.kind)
    };
    let small = shrink::shrink(&program, arguments.shrink, fails);
    let again =
        child::one(arguments.how, &small).map_or_else(|| "nothing, this time".into(), |f| f.text);
    println!(
        "made smaller, from {} lines to {}:\n{small}\nwhich gives: {again}",
        program.len(),
        small.len()
    );
}

fn summary(arguments: &Arguments, took: Duration, ran: u64, kinds: &BTreeMap<String, Vec<u64>>) {
    let failed: usize = kinds.values().map(Vec::len).sum();
    let operations = report::shared().operations.load(SeqCst);
    println!(
        "\n{ran} programs ({operations} operations) from seed {} on in {:.0} s ({:.0} a second): {failed} failed",
        arguments.from,
        took.as_secs_f64(),
        ran as f64 / took.as_secs_f64().max(0.001)
    );
    for (kind, seeds) in kinds {
        println!("  {:5} x {kind}: seeds {:?}", seeds.len(), &seeds[..seeds.len().min(5)]);
    }
}
