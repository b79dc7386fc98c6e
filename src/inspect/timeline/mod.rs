//! See it run: what each task did and when, drawn in a terminal, as an SVG, and for a trace viewer.
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
//! before there were observers (147). With one that does nothing, each event takes some 100 more, the question
//! what time it is among them; with a timeline, 270, or about 0.1 µs; once it forgets one event for each that
//! it keeps, 510. A yield makes two events. (Counted with callgrind in a release build, on x86-64.)

mod chart;
mod record;
mod svg;
mod terminal;
mod trace;

pub use record::{Moment, Row, Span, State};
pub use terminal::Terminal;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::kernel::edge::observe::{Observer, TaskEvent};
use record::{Course, Record};

/// Records a run, and draws it. Its clones are the same timeline.
///
/// One is for one run: when another begins, the recording begins anew.
///
/// It keeps the last [`EVENTS`](Timeline::EVENTS) events, or as many as [`keep`](Timeline::keep) says, of 64
/// bytes each. Of those before, it knows what each task that has not ended has been doing since; pictures
/// begin where the kept events do, and their headings say how many are forgotten.
#[derive(Clone)]
pub struct Timeline {
    record: Rc<RefCell<Record>>,
}

impl Timeline {
    /// How many events are kept: 1 048 576, which take 64 MiB.
    pub const EVENTS: usize = 1 << 20;

    /// One without a title.
    pub fn new() -> Timeline {
        Timeline::titled("")
    }

    /// One that says what it is of.
    pub fn titled(title: impl Into<String>) -> Timeline {
        Timeline { record: Rc::new(RefCell::new(Record::new(title.into(), Timeline::EVENTS))) }
    }

    /// Keeps the last so many events from now on; at least one. A turn makes two or three of them.
    pub fn keep(self, events: usize) -> Timeline {
        self.record.borrow_mut().capacity = events.max(1);
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
