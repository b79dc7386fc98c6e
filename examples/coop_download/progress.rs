//! The progress display on a terminal: a line for each download that is under way, as far as there is room, and one for
//! all; and a log whose lines neither tear it nor wrap.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::LevelFilter;
use rustix::termios::tcgetwinsize;
use simplelog::{CombinedLogger, ConfigBuilder, LevelPadding, SharedLogger, WriteLogger};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How often it is drawn.
const TICK: Duration = Duration::from_millis(200);

/// What the last tick counts in a speed, which is a moving average.
const WEIGHT: f64 = 0.2;

/// The most downloads that are seen at once, and the lines of a terminal that are left to others.
const MOST_ROWS: usize = 10;
const OTHER_ROWS: usize = 4;

/// Columns of a name, and of a bar.
const NAME: usize = 30;
const BAR: usize = 10;

/// What is shown of a run. A clone shows the same.
#[derive(Clone)]
pub struct Progress {
    /// Where nothing is seen, or wanted.
    hidden: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How many lines of the display stand on the terminal, above the cursor.
    drawn: usize,
    /// Whether a run is under way.
    on: bool,
    bars: Vec<Arc<Counter>>,
    /// Of the downloads that have ended.
    ended: Totals,
    files: usize,
    whole: usize,
    failed: usize,
    /// Bytes at the last tick, and bytes per second.
    before: u64,
    speed: f64,
}

#[derive(Clone, Copy, Default)]
struct Totals {
    /// Bytes that have come in, and that these downloads need in all.
    got: u64,
    length: u64,
    /// Of how many files the length is known.
    known: u64,
}

/// What has come of one download.
#[derive(Default)]
struct Counter {
    name: String,
    /// Bytes of the file that are there, of which some were there before; and its length, zero if that is not known.
    got: AtomicU64,
    before: AtomicU64,
    length: AtomicU64,
    speed: Mutex<(u64, f64)>,
}

/// One download's line, until it is dropped.
pub struct Bar {
    progress: Progress,
    counter: Arc<Counter>,
}

impl Progress {
    pub fn new(wanted: bool) -> Progress {
        Progress { hidden: !wanted || !io::stderr().is_terminal(), state: Arc::default() }
    }

    /// Begins a run of so many downloads.
    pub fn begin(&self, files: usize) {
        *self.state() = State { on: !self.hidden, files, ..State::default() };
        if self.hidden {
            return;
        }
        let state = self.state.clone();
        let ticks = move || {
            loop {
                thread::sleep(TICK);
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                if !state.on {
                    break;
                }
                state.tick();
                state.draw();
            }
        };
        drop(thread::Builder::new().name("progress".into()).spawn(ticks)); // without it, nothing is seen
    }

    /// Ends it: nothing is left of the display.
    pub fn end(&self) {
        let mut state = self.state();
        state.on = false;
        state.erase();
    }

    /// Counts a download that has come to its end.
    pub fn done(&self, whole: bool) {
        let mut state = self.state();
        state.whole += usize::from(whole);
        state.failed += usize::from(!whole);
    }

    pub fn bar(&self, name: &str) -> Bar {
        let counter = Arc::new(Counter { name: cut(name, NAME), ..Counter::default() });
        if !self.hidden {
            self.state().bars.push(counter.clone());
        }
        Bar { progress: self.clone(), counter }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Log lines, each with the seconds since the start; those of a library have its name.
    pub fn start_logging(&self, level: LevelFilter) {
        const OURS: &str = "coop_download";
        let of = |target: LevelFilter| {
            let mut config = ConfigBuilder::new();
            let plain = LevelFilter::Off;
            config.set_time_level(plain).set_thread_level(plain).set_location_level(plain);
            config
                .set_level_padding(LevelPadding::Off)
                .set_max_level(plain)
                .set_target_level(target);
            config
        };
        let lines = Lines { start: Instant::now(), progress: self.clone(), line: Vec::new() };
        let libraries = match level {
            LevelFilter::Debug | LevelFilter::Trace => {
                of(LevelFilter::Error).add_filter_ignore_str(OURS).build()
            }
            _ => of(LevelFilter::Error).add_filter_allow_str("wouldblock").build(),
        };
        let ours = of(LevelFilter::Off).add_filter_allow_str(OURS).build();
        let loggers: Vec<Box<dyn SharedLogger>> = vec![
            WriteLogger::new(level, ours, lines.clone()),
            WriteLogger::new(level, libraries, lines),
        ];
        CombinedLogger::init(loggers).expect("no other logger is set");
    }
}

impl Bar {
    /// The body begins, with so many bytes of the file there.
    pub fn begin(&self, from: u64, length: Option<u64>) {
        self.counter.before.store(from, Relaxed);
        self.counter.got.store(from, Relaxed);
        self.counter.length.store(length.unwrap_or(0), Relaxed);
        *self.counter.speed.lock().unwrap_or_else(PoisonError::into_inner) = (from, 0.0);
    }

    pub fn add(&self, bytes: u64) {
        self.counter.got.fetch_add(bytes, Relaxed);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let mut state = self.progress.state();
        state.bars.retain(|other| !Arc::ptr_eq(other, &self.counter));
        state.ended = state.ended.and(&self.counter);
    }
}

impl Totals {
    fn and(self, counter: &Counter) -> Totals {
        let (got, before) = (counter.got.load(Relaxed), counter.before.load(Relaxed));
        let length = counter.length.load(Relaxed);
        Totals {
            got: self.got + got.saturating_sub(before),
            length: self.length + length.max(got).saturating_sub(before),
            known: self.known + u64::from(length > 0),
        }
    }
}

impl State {
    fn totals(&self) -> Totals {
        self.bars.iter().fold(self.ended, |totals, counter| totals.and(counter))
    }

    fn tick(&mut self) {
        let got = self.totals().got;
        self.speed = average(self.speed, got.saturating_sub(self.before));
        self.before = got;
        for counter in &self.bars {
            let got = counter.got.load(Relaxed);
            let mut speed = counter.speed.lock().unwrap_or_else(PoisonError::into_inner);
            *speed = (got, average(speed.1, got.saturating_sub(speed.0)));
        }
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            eprint!("\r\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    /// Draws the display below what is on the terminal, in place of its last picture.
    fn draw(&mut self) {
        let (columns, rows) = size();
        let room = rows.saturating_sub(OTHER_ROWS).clamp(1, MOST_ROWS);
        let mut lines: Vec<_> = self.bars.iter().take(room).map(|bar| bar.line()).collect();
        lines.push(self.line(self.bars.len().saturating_sub(room)));
        // So much is left free that a terminal's `^C` amid them makes no line wrap.
        let width = columns.saturating_sub(3).max(1);
        let clipped = |line: &String| format!("{}\n", cut(line, width).trim_end());
        let text: String = lines.iter().map(clipped).collect();
        let up = if self.drawn > 0 { format!("\r\x1b[{}A", self.drawn) } else { String::new() };
        let _ = write!(io::stderr().lock(), "{up}\x1b[J{text}"); // a terminal that is gone
        self.drawn = lines.len();
    }

    /// The line for all. How much is to come is guessed from the files whose length is known.
    fn line(&self, unseen: usize) -> String {
        let totals = self.totals();
        let mut text = format!("{} of {} files", self.whole, self.files);
        if self.failed > 0 {
            text += &format!(", {} failed", self.failed);
        }
        if unseen > 0 {
            text += &format!(", {unseen} more under way");
        }
        let unknown = (self.files as u64).saturating_sub(totals.known);
        let all =
            totals.length.checked_div(totals.known).map(|each| totals.length + each * unknown);
        let rest = all.map(|all| all.saturating_sub(totals.got));
        columns(&text, NAME + BAR + 8, totals.got, self.speed, rest)
    }
}

impl Counter {
    fn line(&self) -> String {
        let (got, length) = (self.got.load(Relaxed), self.length.load(Relaxed));
        let speed = self.speed.lock().unwrap_or_else(PoisonError::into_inner).1;
        let (bar, percent) = match length {
            0 => (" ".repeat(BAR), String::new()),
            length => {
                let share = got.min(length) as f64 / length as f64;
                let full = (share * BAR as f64) as usize;
                let tip = if full < BAR { ">" } else { "" };
                (format!("{:BAR$}", "=".repeat(full) + tip), format!("{:.0}%", share * 100.0))
            }
        };
        let rest = (length > 0).then(|| length.saturating_sub(got));
        let head = format!("{} [{bar}] {percent:>4}", self.name);
        columns(&head, NAME + BAR + 8, got, speed, rest)
    }
}

/// A line in 79 columns: what it is about, bytes, bytes per second, time left.
fn columns(head: &str, width: usize, got: u64, speed: f64, rest: Option<u64>) -> String {
    let left = rest.filter(|_| speed >= 1.0).map(|rest| time(rest as f64 / speed));
    let speed = format!("{}/s", size_of(speed));
    format!(
        "{} {:>8} {speed:>10} {:>8}",
        cut(head, width),
        size_of(got as f64),
        left.unwrap_or_default()
    )
}

fn average(speed: f64, bytes: u64) -> f64 {
    let now = bytes as f64 / TICK.as_secs_f64();
    if speed == 0.0 { now } else { speed * (1.0 - WEIGHT) + now * WEIGHT }
}

/// Three digits, in units of 1000.
pub fn size_of(bytes: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    let digits =
        if unit == 0 { 0 } else { usize::from(value < 99.95) + usize::from(value < 9.995) };
    format!("{value:.digits$} {}", units[unit])
}

fn time(seconds: f64) -> String {
    match seconds.round() as u64 {
        0..360_000 => {
            let seconds = seconds.round() as u64;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let hours = if hours > 0 { format!("{hours}:") } else { String::new() };
            format!("{hours}{minutes:02}:{:02}", seconds % 60)
        }
        _ => "> 99 h".into(),
    }
}

/// In exactly so many columns of a terminal; if it has to be cut, in its middle, where names differ least.
pub fn cut(text: &str, columns: usize) -> String {
    let width = text.width();
    if width <= columns {
        return text.to_owned() + &" ".repeat(columns - width);
    }
    let take = |chars: &mut dyn Iterator<Item = char>, most: usize| {
        let mut used = 0;
        let fits = |c: &char| {
            used += c.width().unwrap_or(0);
            used <= most
        };
        chars.take_while(fits).collect::<String>()
    };
    let start = take(&mut text.chars(), columns.saturating_sub(1).div_ceil(2));
    let end = take(&mut text.chars().rev(), columns.saturating_sub(1) / 2);
    let end: String = end.chars().rev().collect();
    let blanks = columns.saturating_sub(start.width() + 1 + end.width());
    format!("{start}…{}{end}", " ".repeat(blanks))
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    let size = tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_col > 1);
    size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}

/// What simplelog writes to: takes the display away while a line is written.
#[derive(Clone)]
struct Lines {
    start: Instant,
    progress: Progress,
    /// What has been written of the line.
    line: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            self.put(String::from_utf8_lossy(&line).trim_end());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn put(&self, text: &str) {
        let line = format!("{:>7.2} s  {text}", self.start.elapsed().as_secs_f64());
        let width = if io::stderr().is_terminal() { size().0 - 1 } else { usize::MAX };
        let line = cut(&line, line.width().min(width));
        let mut state = self.progress.state();
        state.erase();
        let _ = writeln!(io::stderr().lock(), "{}", line.trim_end()); // where nothing can be read, nothing need be said
        if state.on {
            state.draw();
        }
    }
}
