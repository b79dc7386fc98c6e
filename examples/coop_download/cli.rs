//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum, value_parser};
use wouldblock::timeline::Timeline;

use crate::part::Checksum;
use crate::urls;

/// Download files, concurrently on one thread; or, to compare, one after the
/// other and concurrently in three eras of coroutines.
///
/// A file that is there and whole is not downloaded again; one that is a part
/// of the server's is completed. A name that two URLs give is numbered.
///
/// The exit status is 0 when every file is there, 1 when one is not or the
/// result cannot be printed, 2 when nothing was tried, and 130 after Ctrl-C.
/// On SIGUSR1, it prints what each task is doing.
#[derive(Parser)]
#[command(verbatim_doc_comment, next_line_help = true)] // The lines are as here, and fit into 80 columns.
pub struct Arguments {
    /// What to download, over http or https; none: five images from an
    /// embedded server
    #[arg(value_name = "URL", verbatim_doc_comment)]
    pub url: Vec<String>,
    /// The five addresses of the article that this program goes back to
    #[arg(long)]
    pub article: bool,
    /// Read URLs from FILE ("-": standard input), one a line, which may end
    /// with sha256:HEX; blank lines and # comments are skipped
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub urls: Option<PathBuf>,
    /// Which ways: sequential, generator, green, async; several with
    /// commas, or all; more than one downloads each file anew [default:
    /// green where URLs are given, otherwise all]
    #[arg(
        long,
        verbatim_doc_comment,
        value_enum,
        value_delimiter = ',',
        value_name = "STYLE",
        hide_possible_values = true
    )]
    style: Vec<Style>,
    /// What the file of the first URL must have; given several times, that
    /// of the second, and so on
    #[arg(long, verbatim_doc_comment, value_name = "sha256:HEX", value_parser = urls::checksum)]
    pub checksum: Vec<Checksum>,
    #[command(flatten)]
    pub options: Options,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Draw what each task did and when, below the table
    #[arg(long, conflicts_with = "json")]
    pub timeline: bool,
    /// Save the same as one picture of all ways
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Save the same as a page to step through in a browser, turn by turn
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Save the same for https://ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// No progress bars and no log, only the result
    #[arg(long, short)]
    pub quiet: bool,
    /// Log retries, redirects, and what the libraries say
    #[arg(short, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Only run the embedded server, on 127.0.0.1:8000 unless ADDR says
    /// otherwise; it prints its URLs, in the form that `--urls` reads
    #[arg(
        long,
        verbatim_doc_comment,
        value_name = "ADDR",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:8000",
        conflicts_with_all = [
            "url", "article", "urls", "style", "out", "concurrency", "chunk", "timeout", "retries",
            "cacert", "json", "timeline", "svg", "html", "trace", "idle", "overwrite", "checksum"
        ]
    )]
    pub serve: Option<String>,
    #[command(flatten)]
    pub server: ServerOptions,
}

/// What holds for every download of a run.
#[derive(Args, Clone)]
pub struct Options {
    /// Where to save the files
    #[arg(long, default_value = "codeflex_images", value_name = "DIR")]
    pub out: PathBuf,
    /// At most so many downloads at once (sequential: one)
    #[arg(long, default_value = "100", value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub concurrency: u32,
    /// Replace files that are there
    #[arg(long)]
    pub overwrite: bool,
    /// At most so many bytes in one read [default: 65536; 512 from the
    /// embedded server, so that there is something to see]
    #[arg(long, verbatim_doc_comment, value_name = "BYTES", value_parser = value_parser!(u32).range(1..=1 << 24))]
    pub chunk: Option<u32>,
    /// Give an attempt up after so long, from connecting to the last byte;
    /// fractions are fine [default: never]
    #[arg(long, value_name = "SECONDS", verbatim_doc_comment, value_parser = seconds, allow_negative_numbers = true)]
    pub timeout: Option<Duration>,
    /// Give an attempt up when nothing has come for so long [default: 60;
    /// never from the embedded server]
    #[arg(long, value_name = "SECONDS", verbatim_doc_comment, value_parser = seconds, allow_negative_numbers = true)]
    pub idle: Option<Duration>,
    /// Try again so many times after a failed connection, a time limit, a
    /// status such as 429 or 503, or a body that ends early; the pause before
    /// is as long as the server says, or 0.2 seconds, and twice as long each
    /// time; what has come is kept where the server can send the rest
    #[arg(long, verbatim_doc_comment, default_value = "2", value_name = "N")]
    pub retries: u32,
    /// Trust the certificates in FILE (PEM), instead of Mozilla's list
    #[arg(long, value_name = "FILE", conflicts_with = "tls")]
    pub cacert: Option<PathBuf>,
}

/// How slow the embedded server is, and whether it speaks https.
#[derive(Args, Clone)]
pub struct ServerOptions {
    /// The embedded server thinks so long before it answers
    #[arg(long, default_value = "150", value_name = "MS", value_parser = value_parser!(u32), conflicts_with_all = ["url", "article", "urls"])]
    pub latency: u32,
    /// The embedded server sends so much on each connection
    #[arg(long, default_value = "262144", value_name = "BYTES_PER_SECOND", value_parser = value_parser!(u32).range(1..), conflicts_with_all = ["url", "article", "urls"])]
    pub bandwidth: u32,
    /// The embedded server speaks https, with a certificate of its own
    #[arg(long, conflicts_with_all = ["url", "article", "urls"])]
    pub tls: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Style {
    Sequential,
    Generator,
    Green,
    Async,
    All,
}

impl Style {
    pub fn name(self) -> &'static str {
        match self {
            Style::Sequential => "sequential",
            Style::Generator => "generator",
            Style::Green => "green",
            Style::Async => "async",
            Style::All => "all",
        }
    }

    /// The sequential way has no run, no tasks and no turns.
    pub fn has_tasks(self) -> bool {
        !matches!(self, Style::Sequential)
    }

    /// To record a run of it.
    pub fn timeline(self) -> Timeline {
        let timeline = Timeline::titled(self.name());
        if self.has_tasks() { timeline } else { timeline.without_eras() }
    }
}

impl Arguments {
    /// Whether the runs are to be recorded.
    pub fn draws(&self) -> bool {
        self.timeline || self.svg.is_some() || self.html.is_some() || self.trace.is_some()
    }

    /// The ways to be gone; `urls`: for URLs that were given.
    pub fn styles(&self, urls: bool) -> Vec<Style> {
        let every = [Style::Sequential, Style::Generator, Style::Green, Style::Async];
        let one = |style: &Style| match style {
            Style::All => every.to_vec(),
            one => vec![*one],
        };
        match &self.style[..] {
            [] if urls => vec![Style::Green],
            [] => every.to_vec(),
            these => these.iter().flat_map(one).collect(),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = "a time limit is a number of seconds greater than 0";
    let seconds = text.parse::<f64>().map_err(|_| wrong)?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        Err(_) if seconds > 1.0 => Ok(Duration::MAX), // longer than any run
        _ => Err(wrong.into()),
    }
}
