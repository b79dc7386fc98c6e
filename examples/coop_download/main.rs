//! Downloads images four ways: one after the other, and concurrently in each of three eras of coroutines.
//!
//!     cargo run --example coop_download                     five images from a server of its own
//!     cargo run --example coop_download -- URL...           these, over http
//!     cargo run --example coop_download -- --style green --out pictures --json URL...
//!
//! The four ways are four files with the same outline: `sequential.rs`, `generator.rs`, `green.rs` and
//! `future.rs`. Put them side by side.

mod future;
mod generator;
mod green;
mod job;
mod pictures;
mod protocol;
mod report;
mod sequential;
mod server;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use log::{LevelFilter, info};
use simplelog::{ColorChoice, ConfigBuilder, TermLogger, TerminalMode, format_description};
use wouldblock::Stats;

use job::{Done, Job};
use report::Way;

/// Bytes asked for in one read.
const CHUNK: usize = 512;

/// Download images, one after the other and in three eras of coroutines.
#[derive(Parser)]
struct Arguments {
    /// What to download, over http; without any, five images from an embedded server.
    urls: Vec<String>,
    /// Which way.
    #[arg(long, value_enum, default_value = "all")]
    style: Style,
    /// Where to save the files.
    #[arg(long, default_value = "codeflex_images", value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Style {
    Sequential,
    Generator,
    Green,
    Async,
    All,
}

type DownloadAll = fn(Vec<Job>) -> (Vec<Done>, Stats);

impl Style {
    /// Its name, and how it downloads.
    fn way(self) -> (&'static str, DownloadAll) {
        match self {
            Style::Sequential => ("sequential", sequential::download_all),
            Style::Generator => ("generator", generator::download_all),
            Style::Green => ("green", green::download_all),
            Style::Async => ("async", future::download_all),
            Style::All => unreachable!("`all` is four styles"),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging();
    if let Err(e) = std::fs::create_dir_all(&arguments.out) {
        eprintln!("cannot make the directory {}: {e}", arguments.out.display());
        return ExitCode::from(2);
    }

    let pictures = if arguments.urls.is_empty() { pictures::paint_all() } else { Vec::new() };
    let urls = match arguments.urls.is_empty() {
        false => arguments.urls,
        true => match server::start(pictures.clone()) {
            Ok(address) => {
                pictures.iter().map(|p| format!("http://{address}/{}", p.name)).collect()
            }
            Err(e) => {
                eprintln!("cannot start the image server on 127.0.0.1: {e}");
                return ExitCode::from(2);
            }
        },
    };

    let styles = match arguments.style {
        Style::All => vec![Style::Sequential, Style::Generator, Style::Green, Style::Async],
        one => vec![one],
    };
    let mut ways = Vec::new();
    for style in styles {
        let (name, download_all) = style.way();
        info!("{name}: {} downloads", urls.len());
        let start = Instant::now();
        let (mut files, stats) = download_all(job::jobs(&urls, &arguments.out));
        let seconds = start.elapsed().as_secs_f64();
        info!("Download time: {seconds:.2} seconds");
        if !pictures.is_empty() {
            files.iter_mut().for_each(|file| file.check(&pictures));
        }
        ways.push(Way { name, seconds, stats, files });
    }

    if arguments.json {
        report::json(&ways);
    } else {
        report::table(&ways);
    }
    match ways.iter().flat_map(|way| &way.files).any(|file| file.outcome.is_err()) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Log lines as near to Python's `asctime - name - levelname - message` as simplelog goes: it puts the
/// level before the name, and brackets around it.
fn start_logging() {
    let config = ConfigBuilder::new()
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day] [hour]:[minute]:[second]"
        ))
        .set_target_level(LevelFilter::Error)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .add_filter_ignore_str("ureq")
        .build();
    let colour = if io::stderr().is_terminal() { ColorChoice::Auto } else { ColorChoice::Never };
    TermLogger::init(LevelFilter::Info, config, TerminalMode::Stderr, colour)
        .expect("no other logger is set");
}
