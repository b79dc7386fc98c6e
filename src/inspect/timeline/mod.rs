//! See it run: what each task did and when, drawn in a terminal, as an SVG, as a page to step through, and for a trace
//! viewer.
//!
//! A [`Timeline`] is an [`Observer`]. Give a clone of it to the [`Builder`](crate::Builder); when the run is
//! over, or in the middle of it, ask for a picture.
//!
//! ```
//! use std::time::Duration;
//! use wouldblock::{Builder, green, task, timeline::Timeline};
//!
//! let timeline = Timeline::new();
//! Builder::new().virtual_clock().observe(timeline.clone()).run(|| {
//!     let ann = task::Builder::new().name("ann").spawn(|| {
//!         green::yield_now();
//!         green::sleep(Duration::from_secs(1));
//!     });
//!     let bob = task::Builder::new().name("bob").spawn(move || ann.join());
//!     bob.join().unwrap().unwrap();
//! });
//! println!("{timeline}"); // or timeline.terminal(80).colour_on(&std::io::stdout())
//! std::fs::write(std::env::temp_dir().join("timeline.svg"), timeline.svg()).unwrap();
//! ```
//!
//! ```text
#![doc = include_str!("ann_and_bob.txt")]
//! ```
//!
//! # What it costs
//!
//! Without an observer, nothing that can be measured: a yield of a greenlet takes 148 instructions, as it did
//! before there were observers (147). With one that does nothing, each event takes some 100 more, reading the clock among them; with a timeline, 270, or about 0.1 µs; once it forgets one event for each that
//! it keeps, 510. A yield makes two events. (Counted with callgrind in a release build, on x86-64.) For
//! [`Timeline::with_lines`], each yield of any run besides compares a flag, in three instructions.

mod chart;
mod frames;
mod html;
mod lines;
mod record;
mod svg;
mod terminal;
mod trace;
mod words;

pub use record::{Moment, Row, Span, State};
pub use terminal::Terminal;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::kernel::edge::observe::{Observer, TaskEvent};
use record::{Course, Recording};

/// Records a run, and draws it. Its clones are the same timeline.
///
/// One is for one run: when another begins, the recording begins anew.
///
/// It keeps the last [`EVENTS`](Timeline::EVENTS) events, or as many as [`keep`](Timeline::keep) sets, of 64
/// bytes each. Of earlier events, it keeps what each task that has not ended has been doing since. Pictures begin with
/// the kept events, and their headings have the number of those that are forgotten.
#[derive(Clone)]
pub struct Timeline {
    record: Rc<RefCell<Recording>>,
}

impl Timeline {
    /// How many events are kept: 1 048 576, which take 64 MiB.
    pub const EVENTS: usize = 1 << 20;

    /// A timeline without a title.
    pub fn new() -> Timeline {
        Timeline::titled("")
    }

    /// A timeline with a title, for its pictures.
    pub fn titled(title: impl Into<String>) -> Timeline {
        Timeline { record: Rc::new(RefCell::new(Recording::new(title.into(), Timeline::EVENTS))) }
    }

    /// Draws the tasks without their eras: for events of a scheduler that is not this crate's
    /// ([`TaskEvent::new`](crate::observe::TaskEvent::new)), or of code that has none.
    pub fn without_eras(self) -> Timeline {
        self.record.borrow_mut().has_eras = false;
        self
    }

    /// Keeps the last so many events from now on; at least one. A turn makes two or three of them.
    pub fn keep(self, events: usize) -> Timeline {
        self.record.borrow_mut().capacity = events.max(1);
        self
    }

    /// Notes each turn in detail from now on, for the [replay page](html()): the line of the program that gave it up,
    /// the bytes that were read and written, and which task holds the lock that is waited for.
    ///
    /// A turn then takes some 20 µs more in a debug build, for a look at its stack, which takes 4 KiB of that; and it
    /// makes three or four events. The line needs debug information, as a debug build has it.
    pub fn with_lines(self) -> Timeline {
        self.record.borrow_mut().notes = true;
        self
    }

    /// What each task did and when, in the order in which they were spawned. Tasks are left out whose events
    /// are all forgotten.
    ///
    /// ```
    /// use wouldblock::{Builder, green, timeline::Timeline};
    ///
    /// let timeline = Timeline::new();
    /// Builder::new().virtual_clock().observe(timeline.clone()).run(|| {
    ///     green::spawn(green::yield_now).join().unwrap();
    /// });
    /// let rows = timeline.rows();
    /// let states: Vec<_> = rows[0].spans.iter().map(|span| span.state.to_string()).collect();
    /// assert_eq!(states, ["ready", "running", "waits for task 2", "ready", "running"]);
    /// assert_eq!(rows[1].turns().count(), 2);
    /// ```
    pub fn rows(&self) -> Vec<Row> {
        self.course().rows.into_values().collect()
    }

    /// How many events are no longer kept.
    pub fn forgotten(&self) -> u64 {
        self.record.borrow().forgotten
    }

    /// The picture for a terminal of so many columns. It prints without colours if nothing else is asked for.
    pub fn terminal(&self, columns: usize) -> Terminal {
        Terminal::new(self.course(), columns)
    }

    /// The picture as the text of an SVG file.
    pub fn svg(&self) -> String {
        svg(std::slice::from_ref(self))
    }

    /// The run as a page to step through: see [`html`](html()).
    pub fn html(&self) -> String {
        html(std::slice::from_ref(self))
    }

    /// The run as the text of a trace file, in the JSON format of Chrome's trace events: for
    /// <https://ui.perfetto.dev>. Each task is a thread there; an arrow goes from the one that woke a task to its
    /// readiness.
    pub fn trace_json(&self) -> String {
        trace_json(std::slice::from_ref(self))
    }

    fn course(&self) -> Course {
        self.record.borrow().course()
    }
}

/// Several timelines under one another, in one SVG file; those on the machine's clock with the same scale.
pub fn svg(timelines: &[Timeline]) -> String {
    svg::write(&courses(timelines))
}

/// The text of a page that replays runs turn by turn: the task that runs, the queue before and after, what each other
/// task waits for and which task holds that, and the line that gave up the turn ([`Timeline::with_lines`]).
///
/// The page is one file without a link to another, and opens from disk. Each timeline has a tab. Keys play, step, and
/// jump (`#step=17` in its address does too); in its *predict* mode, the reader says which task runs next. It is in
/// English, or in Chinese where the browser's language is Chinese or the address ends in `?lang=zh`. Without script, it
/// shows the pictures of [`svg`](svg()).
///
/// It replays the last 5000 turns that are kept, and says so if there were more. Where a source file can be read when
/// this is called, the page has the lines around the one that gave up each turn.
///
/// ```
/// use wouldblock::{Builder, green, timeline::Timeline};
///
/// let timeline = Timeline::titled("two tasks").with_lines();
/// Builder::new().observe(timeline.clone()).run(|| green::spawn(green::yield_now).join().unwrap());
/// let file = std::env::temp_dir().join("replay.html");
/// std::fs::write(file, timeline.html()).unwrap();
/// ```
pub fn html(timelines: &[Timeline]) -> String {
    html::write(timelines.iter().map(|timeline| timeline.record.borrow()).collect())
}

/// Several timelines in one trace file, each as a process.
pub fn trace_json(timelines: &[Timeline]) -> String {
    trace::write(&courses(timelines))
}

fn courses(timelines: &[Timeline]) -> Vec<Course> {
    timelines.iter().map(Timeline::course).collect()
}

impl Observer for Timeline {
    fn observe(&self, event: &TaskEvent<'_>) {
        self.record.borrow_mut().push(event);
    }
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline::new()
    }
}

/// The picture for a terminal of 80 columns, without colours.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.terminal(80).fmt(f)
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record.borrow();
        f.debug_struct("Timeline").field("title", &record.title).finish_non_exhaustive()
    }
}
