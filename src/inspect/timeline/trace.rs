//! The run as trace events, a JSON format of Chrome's that <https://ui.perfetto.dev> opens.
//!
//! Each timeline is a process, each task a thread of it: a slice for what it was doing, an arrow from the task that
//! woke it. The main thread shows which task had the real thread. Times are in microseconds; on a virtual clock, each
//! turn is drawn one microsecond long.
//!
//! Perfetto ties an arrow to the slice that has begun last on its thread, going by the times and, where they are
//! the same, by the order in the file; an arrow that it cannot tie it drops, and so it does slices that overlap.
//! So arrows come last.

use std::fmt::{self, Write};

use super::chart::{Scale, describe, label};
use super::record::{Course, Moment, Row, Span, State};
use crate::kernel::edge::observe::{Actor, Outcome};

/// Processes are numbered from here on, and a main thread has its process's number, as is the custom: it should be
/// no task's. (Nor 0: to Perfetto, that is no number.)
const PROCESSES: u64 = 1_000_000_000;

pub(super) fn write(courses: &[Course]) -> String {
    let mut trace = Trace::default();
    for (course, place) in courses.iter().zip(1..) {
        trace.process = PROCESSES + place;
        trace.by_turns = Scale::of(course).by_turns;
        let title = if course.title.is_empty() { "wouldblock" } else { &course.title };
        trace.named("process", trace.process, title, place);
        trace.named("thread", trace.process, "the thread", 0);
        let rows = || course.rows.values();
        rows().for_each(|row| trace.named("thread", row.task, &name(row), row.task));
        rows().for_each(|row| trace.row(row));
        rows().for_each(|row| trace.arrows(course, row));
    }
    format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{}\n]}}\n", trace.events)
}

fn name(row: &Row) -> String {
    format!("{} {}", row.task, label(row))
}

#[derive(Default)]
struct Trace {
    events: String,
    process: u64,
    by_turns: bool,
    /// How many arrows there are so far, in all processes.
    arrows: usize,
}

impl Trace {
    fn row(&mut self, row: &Row) {
        for (at, what) in [
            row.spans.first().map(|span| (span.from, "spawned")),
            row.cancelled.map(|(at, _)| (at, "cancelled")),
            row.spans.last().zip(row.outcome).map(|(span, outcome)| (span.to, word(outcome))),
        ]
        .into_iter()
        .flatten()
        {
            let by = match (what, row.parent, row.cancelled) {
                ("spawned", Some(parent), _) => describe(Actor::Task(parent)),
                ("cancelled", _, Some((_, by))) => describe(by),
                _ => String::new(),
            };
            let (site, time) = (Json(row.site), self.time(at));
            let rest = format_args!(
                r#""name":"{what}","ts":{time},"s":"t","args":{{"era":"{}","site":{site},"by":"{by}"}}"#,
                row.era
            );
            self.event('i', row.task, rest);
        }
        let mut woken = None;
        for span in &row.spans {
            self.slice(row.task, &Json(&span.state), span, woken);
            if span.state == State::Running {
                self.slice(self.process, &Json(name(row)), span, None);
            }
            woken = span.woken;
        }
    }

    fn arrows(&mut self, course: &Course, row: &Row) {
        for span in &row.spans {
            if let Some(Actor::Task(waker)) = span.woken {
                self.arrow(course, waker, row.task, span.to);
            }
        }
    }

    fn slice(&mut self, thread: u64, name: &dyn fmt::Display, span: &Span, woken: Option<Actor>) {
        let (from, to) = (self.nanos(span.from), self.nanos(span.to));
        let kind = match span.state {
            State::Running => "running",
            State::Ready => "ready",
            State::Waiting { .. } => "waiting",
        };
        let woken = woken
            .map_or(String::new(), |by| format!(r#","args":{{"woken by":"{}"}}"#, describe(by)));
        let (time, duration) = (Micros(from), Micros(to - from));
        let rest =
            format_args!(r#""name":{name},"cat":"{kind}","ts":{time},"dur":{duration}{woken}"#);
        self.event('X', thread, rest);
    }

    /// From the turn in which `waker` woke `task`, or at the end of which it did by ending.
    fn arrow(&mut self, course: &Course, waker: u64, task: u64, at: Moment) {
        let spans = course.rows.get(&waker).map_or(&[][..], |row| &row.spans);
        let begun = &spans[..spans.partition_point(|span| span.from <= at)];
        let turn = begun.iter().rfind(|span| span.state == State::Running);
        let Some(turn) = turn else { return };
        // An arrow begins in a slice, and the end of a slice is not in it.
        let begins = self.nanos(at).min(self.nanos(turn.to).saturating_sub(1));
        let begins = begins.max(self.nanos(turn.from));
        self.arrows += 1;
        let id = self.arrows;
        let ends = self.time(at);
        let begins = Micros(begins);
        self.event(
            's',
            waker,
            format_args!(r#""name":"wakes","cat":"wake","id":{id},"ts":{begins}"#),
        );
        let rest = format_args!(r#""name":"wakes","cat":"wake","id":{id},"ts":{ends},"bp":"e""#);
        self.event('f', task, rest);
    }

    /// `what` is a process or a thread; it stands at `place` among the others.
    fn named(&mut self, what: &str, thread: u64, name: &str, place: u64) {
        let name = Json(name);
        let named = format_args!(r#""name":"{what}_name","args":{{"name":{name}}}"#);
        self.event('M', thread, named);
        let placed = format_args!(r#""name":"{what}_sort_index","args":{{"sort_index":{place}}}"#);
        self.event('M', thread, placed);
    }

    fn event(&mut self, phase: char, thread: u64, rest: fmt::Arguments<'_>) {
        let comma = if self.events.is_empty() { "" } else { ",\n" };
        let process = self.process;
        write!(self.events, r#"{comma}{{"ph":"{phase}","pid":{process},"tid":{thread},{rest}}}"#)
            .expect("a String takes all");
    }

    fn time(&self, moment: Moment) -> Micros {
        Micros(self.nanos(moment))
    }

    fn nanos(&self, moment: Moment) -> u64 {
        let drawn = if self.by_turns { moment.step * 500 } else { 0 };
        moment.time.as_nanos() as u64 + drawn
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Returned => "returned",
        Outcome::Panicked => "panicked",
        Outcome::Cancelled => "was cancelled",
    }
}

/// Nanoseconds, printed as microseconds.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A text, in JSON's quotes; it cannot end the element of a page either.
pub(super) struct Json<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.to_string().chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if u32::from(c) < 0x20 || c == '<' => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
