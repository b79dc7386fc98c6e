//! Downloads files four ways: one after the other, and concurrently in each of three eras of coroutines.
//!
//!     cargo run --example coop_download                     five images from a server of its own
//!     cargo run --example coop_download -- URL...           these, over http or https
//!     cargo run --example coop_download -- --style green,async --out pictures --json URL...
//!     cargo run --example coop_download -- --timeline --svg timeline.svg --trace trace.json
//!     cargo run --example coop_download -- --html replay.html
//!     cargo run --example coop_download -- --serve          only the server, for other clients
//!
//! The four ways are four files with the same outline: `sequential.rs`, `generator.rs`, `green.rs` and
//! `future.rs`. Put them side by side: they differ in their I/O only. What they share: `job.rs` is one download as a way
//! sees it, `policy.rs` says what is asked for and what an answer means, `exchange.rs` is HTTP for the ways that have no
//! library of their own, `list.rs` has the downloads of a run, `part.rs` the file that comes in, `error.rs` what can go
//! wrong, `interrupt.rs` Ctrl-C.

mod cli;
mod drawn;
mod error;
mod exchange;
mod future;
mod generator;
mod green;
mod hyper_io;
mod interrupt;
mod job;
mod list;
mod part;
mod pictures;
mod policy;
mod progress;
mod proxy;
mod report;
mod sequential;
mod server;
mod target;
mod tls;
mod urls;

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use log::{LevelFilter, info};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wouldblock::Stats;
use wouldblock::timeline::{self, Timeline};

use cli::{Arguments, Style};
use list::{Done, List};
use pictures::Picture;
use progress::Progress;
use report::Way;
use server::Server;
use tls::{CERTIFICATE, Trust};
use urls::Address;

/// How long a server may send nothing, unless the command line says otherwise.
const IDLE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    raise_descriptor_limit();
    match run(&arguments) {
        Ok(whole) => ExitCode::from(interrupt::exit_status().unwrap_or(if whole { 0 } else { 1 })),
        Err(why) => {
            eprintln!("coop_download: {why}");
            ExitCode::from(2)
        }
    }
}

/// Whether every file is there.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let progress = Progress::new(!arguments.quiet && !arguments.json);
    progress.start_logging(match arguments {
        _ if arguments.quiet => LevelFilter::Off,
        _ if arguments.verbose => LevelFilter::Debug,
        _ => LevelFilter::Info,
    });
    let named = urls::named(arguments)?; // before Ctrl-C is ours: nothing is under way yet
    interrupt::listen().map_err(|e| format!("cannot listen for Ctrl-C: {e}"))?;
    if let Some(address) = &arguments.serve {
        serve(Server::bind(address, &pictures::paint_all(), &arguments.server)?)?;
        return Ok(true);
    }

    let options = &arguments.options;
    prepare(&options.out)?; // before anything that takes a while
    let mut trust = options.cacert.as_deref().map_or(Ok(Trust::mozilla()), Trust::file)?;
    let styles = arguments.styles(named.is_some());
    let overwrite = options.overwrite || named.is_none() || styles.len() > 1;
    // From the embedded server, there is more to see in small pieces; and pictures show what is waited for instead of
    // the limit of that wait.
    let (chunk, idle) = if named.is_some() { (64 * 1024, IDLE) } else { (512, Duration::MAX) };
    let (addresses, pictures) = match named {
        Some(addresses) => (addresses, Vec::new()),
        None => {
            let pictures = pictures::paint_all();
            let server = Server::bind("127.0.0.1:0", &pictures, &arguments.server)?;
            if arguments.server.tls {
                trust = Trust::own();
            }
            let addresses = server.urls().map(|url| Address::new(&url)).collect();
            server.start().map_err(|e| format!("cannot start the image server: {e}"))?;
            (addresses, pictures)
        }
    };
    let mut ways = Vec::new();
    let mut timelines = Vec::new();
    for style in styles {
        let timeline = arguments.draws().then(|| style.timeline());
        let timeline = timeline.map(|timeline| match arguments.html {
            Some(_) => timeline.with_lines(),
            None => timeline,
        });
        let mut list = List::new(&addresses, options, &trust, &progress);
        list.timeline.clone_from(&timeline);
        list.by_hand = !style.has_tasks();
        list.overwrite = overwrite;
        list.chunk = options.chunk.unwrap_or(chunk) as usize;
        list.idle = options.idle.unwrap_or(idle);
        list.compare_checksums();
        ways.push(way(style, list, &pictures));
        timelines.extend(timeline);
        if interrupt::has_come() {
            break;
        }
    }
    let printed = print(&if arguments.json { report::json(&ways) } else { report::table(&ways) })
        .and_then(|()| draw(arguments, &timelines));
    if let Err(why) = printed {
        eprintln!("coop_download: {why}");
        return Ok(false);
    }
    Ok(ways.iter().flat_map(|way| &way.files).all(|file| file.outcome.is_ok()))
}

/// Makes the directory, unless it is there, and sees to it that files can be made in it.
fn prepare(out: &Path) -> Result<(), String> {
    std::fs::create_dir_all(out)
        .map_err(|e| format!("cannot make the directory {}: {e}", out.display()))?;
    let probe = out.join(format!(".coop_download.{}", process::id()));
    File::create_new(&probe)
        .and_then(|_| std::fs::remove_file(&probe))
        .map_err(|e| format!("cannot make files in the directory {}: {e}", out.display()))
}

fn way(style: Style, list: List, pictures: &[Picture]) -> Way {
    let download_all: fn(&Rc<List>) -> Stats = match style {
        Style::Sequential => sequential::download_all,
        Style::Generator => generator::download_all,
        Style::Green => green::download_all,
        Style::Async => future::download_all,
        Style::All => unreachable!("`all` is four styles"),
    };
    let name = style.name();
    let list = Rc::new(list);
    info!("{name}: {} download{}", list.len(), if list.len() == 1 { "" } else { "s" });
    let start = Instant::now();
    let stats = download_all(&list);
    let seconds = start.elapsed().as_secs_f64();
    info!("Download time: {seconds:.2} seconds");
    let mut files = list.finish();
    if !pictures.is_empty() {
        files.iter_mut().for_each(|file| check(file, pictures));
    }
    Way { name, seconds, stats, files }
}

/// The pictures that were asked for.
fn draw(arguments: &Arguments, timelines: &[Timeline]) -> Result<(), String> {
    if arguments.timeline {
        for timeline in timelines {
            let picture = timeline.terminal(80).colour_on(&io::stdout());
            print(&format!("\n{}", picture.to_string().trim_end()))?;
        }
    }
    let save = |file: &Option<PathBuf>, draw: fn(&[Timeline]) -> String| match file {
        Some(file) => std::fs::write(file, draw(timelines))
            .map_err(|e| format!("cannot write {}: {e}", file.display())),
        None => Ok(()),
    };
    save(&arguments.svg, timeline::svg)?;
    save(&arguments.html, timeline::html)?;
    save(&arguments.trace, timeline::trace_json)
}

/// Makes it a failure unless the file holds what the embedded server has sent.
fn check(done: &mut Done, pictures: &[Picture]) {
    let Some(file) = &done.file else { return };
    let sent = pictures.iter().find(|p| file.ends_with(p.name)).expect("a picture of ours");
    match std::fs::read(file) {
        Ok(bytes) if bytes == sent.bytes => {}
        Ok(_) => done.outcome = Err("the file differs from what the server sent".into()),
        Err(e) => done.outcome = Err(format!("the file cannot be read again: {e}")),
    }
}

/// Prints the URLs, as `--urls` reads them, and serves until Ctrl-C.
fn serve(server: Server) -> Result<(), String> {
    let urls: Vec<_> = server.urls().collect();
    let mut trusted = None;
    if server.config.is_some() {
        let file = tempfile::Builder::new().prefix("coop_download-").suffix(".pem").tempfile();
        let written =
            file.and_then(|mut file| file.write_all(CERTIFICATE.as_bytes()).map(|()| file));
        trusted = Some(written.map_err(|e| format!("cannot write the certificate: {e}"))?);
    }
    let cacert = trusted.as_ref().map(|file| format!("--cacert {} ", file.path().display()));
    let curl = format!("# curl {}--remote-name {}", cacert.unwrap_or_default(), urls[0]);
    print(&format!("{}\n{curl}\n# Ctrl-C ends the server.", urls.join("\n")))?;
    server.run();
    Ok(())
}

/// Nobody need read it to the end.
fn print(text: &str) -> Result<(), String> {
    match writeln!(io::stdout(), "{text}") {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(format!("cannot print the result: {e}")),
        _ => Ok(()),
    }
}

/// To as many as the system grants: a download takes two, and many a shell allows no more than 1024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, raised); // otherwise, the limit is what it was
}
