//! What has happened, kept: the events, and what they say each task has done.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::kernel::edge::observe::{Actor, Era, EventKind, Outcome, TaskEvent};
use crate::kernel::wait::WaitFor;

/// A moment of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Moment {
    /// Since the first event, by the run's clock.
    pub time: Duration,
    /// Tells apart what a virtual clock does not: a turn begins at an even step and ends at the next even
    /// one; what happens in it has the odd step between. Time that passes between two turns takes two steps, and
    /// so does the end of a run that has tasks left.
    pub step: u64,
}

/// What a task was doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It had its turn.
    Running,
    /// It was in the queue.
    Ready,
    /// It waited.
    #[non_exhaustive]
    Waiting {
        /// For what.
        what: WaitFor,
        /// Until when at most, as a [`Moment::time`].
        deadline: Option<Duration>,
    },
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deadline = match self {
            State::Running => return f.write_str("running"),
            State::Ready => return f.write_str("ready"),
            State::Waiting { what, deadline } => {
                write!(f, "{what}")?;
                deadline
            }
        };
        deadline.map_or(Ok(()), |deadline| write!(f, ", until {deadline:.1?}"))
    }
}

/// What one task has done, from its spawn to its end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// Its number in its run.
    pub task: u64,
    /// Its name, if it has one.
    pub name: Option<Rc<str>>,
    /// Its era.
    pub era: Era,
    /// Where in the source it was spawned.
    pub site: &'static Location<'static>,
    /// By which task.
    pub parent: Option<u64>,
    /// What it was doing, each span beginning where the one before ends.
    pub spans: Vec<Span>,
    /// When it was cancelled, and by what.
    pub cancelled: Option<(Moment, Actor)>,
    /// How it has ended, if it has.
    pub outcome: Option<Outcome>,
    /// What it is doing, and since when; nothing when it has ended.
    doing: Option<(State, Moment)>,
    /// Who has woken it in this turn.
    woken: Option<Actor>,
}

/// What a task was doing for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// What it was doing.
    pub state: State,
    /// From when,
    pub from: Moment,
    /// and until when.
    pub to: Moment,
    /// Who has ended it, if it was a wait. If it was a turn: who has woken the task in the midst of it, so that
    /// it was ready again at once.
    pub woken: Option<Actor>,
}

impl Row {
    /// The turns that are in its spans.
    pub fn turns(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(|span| span.state == State::Running)
    }

    /// How long it had the thread.
    pub fn running(&self) -> Duration {
        self.turns().map(|turn| turn.to.time - turn.from.time).sum()
    }

    fn apply(&mut self, at: Moment, mark: &Mark) {
        match mark {
            Mark::Spawned(_) => self.doing = Some((State::Ready, at)),
            Mark::Turn => self.turn_to(Some(State::Running), at),
            Mark::Yields => self.turn_to(Some(State::Ready), at),
            Mark::Waits(state) => self.turn_to(Some(state.clone()), at),
            Mark::Woken(by) => match self.doing {
                Some((State::Running, _)) => self.woken = Some(*by),
                Some((State::Waiting { .. }, _)) => {
                    self.woken = Some(*by);
                    self.turn_to(Some(State::Ready), at);
                }
                Some((State::Ready, _)) | None => {} // It was to have a turn, and is to be cancelled in it.
            },
            Mark::Cancelled(by) => self.cancelled = Some((at, *by)),
            Mark::Ends(outcome) => {
                self.outcome = Some(*outcome);
                self.turn_to(None, at);
            }
        }
    }

    fn turn_to(&mut self, next: Option<State>, at: Moment) {
        let next = next.map(|state| (state, at));
        let woken = self.woken.take().filter(|_| next.is_some());
        if let Some((state, from)) = std::mem::replace(&mut self.doing, next) {
            self.spans.push(Span { state, from, to: at, woken });
        }
    }
}

/// An event, as it is kept.
#[derive(Debug)]
struct Entry {
    /// Nanoseconds since the first.
    time: u64,
    task: u64,
    mark: Mark,
}

#[derive(Debug)]
enum Mark {
    /// With the row that it begins.
    Spawned(Box<Row>),
    Turn,
    Yields,
    Waits(State),
    Woken(Actor),
    Cancelled(Actor),
    Ends(Outcome),
}

/// The events of a run: the last of them, up to `capacity`, and what the ones before them come to.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) title: String,
    pub(super) capacity: usize,
    start: Option<Instant>,
    events: VecDeque<Entry>,
    past: Course,
    pub(super) forgotten: u64,
}

impl Record {
    pub(super) fn new(title: String, capacity: usize) -> Record {
        Record {
            title,
            capacity,
            start: None,
            events: VecDeque::new(),
            past: Course::default(),
            forgotten: 0,
        }
    }

    pub(super) fn push(&mut self, event: &TaskEvent<'_>) {
        if event.task == 1 && matches!(event.kind, EventKind::Spawned { .. }) {
            *self = Record::new(std::mem::take(&mut self.title), self.capacity); // Another run begins.
        }
        let start = *self.start.get_or_insert(event.at);
        let since = |at: Instant| at.saturating_duration_since(start);
        let mark = match event.kind {
            EventKind::Spawned { name, era, site, parent } => {
                let name = name.map(Rc::from);
                Mark::Spawned(Box::new(Row {
                    task: event.task,
                    name,
                    era,
                    site,
                    parent,
                    spans: Vec::new(),
                    cancelled: None,
                    outcome: None,
                    doing: None,
                    woken: None,
                }))
            }
            EventKind::Turn => Mark::Turn,
            EventKind::Yields => Mark::Yields,
            EventKind::Waits(wait) => {
                let (what, deadline) = (wait.what, wait.deadline.map(since));
                Mark::Waits(State::Waiting { what, deadline })
            }
            EventKind::Woken(by) => Mark::Woken(by),
            EventKind::Cancelled(by) => Mark::Cancelled(by),
            EventKind::Ends(outcome) => Mark::Ends(outcome),
        };
        if self.events.len() >= self.capacity {
            self.forget();
        }
        let time = since(event.at).as_nanos() as u64;
        self.events.push_back(Entry { time, task: event.task, mark });
    }

    /// Forgets the oldest event, but for what its task has been doing since.
    fn forget(&mut self) {
        let Some(entry) = self.events.pop_front() else { return };
        self.forgotten += 1;
        self.past.apply(&entry);
        match entry.mark {
            Mark::Ends(_) => drop(self.past.rows.remove(&entry.task)),
            _ => self.past.rows.get_mut(&entry.task).into_iter().for_each(|row| row.spans.clear()),
        }
    }

    pub(super) fn course(&self) -> Course {
        let mut course = self.past.clone();
        self.events.iter().for_each(|entry| course.apply(entry));
        let now = course.now;
        for row in course.rows.values_mut() {
            if let Some((state, from)) = row.doing.clone() {
                row.spans.push(Span { state, from, to: now, woken: None });
            }
        }
        course.from = self.past.now;
        course.title.clone_from(&self.title);
        course.forgotten = self.forgotten;
        course
    }
}

/// The course that a run has taken: what is drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    pub(super) title: String,
    pub(super) rows: BTreeMap<u64, Row>,
    /// When the events begin that are kept.
    pub(super) from: Moment,
    pub(super) now: Moment,
    /// When the end of the run began to cancel what was left.
    pub(super) end: Option<Moment>,
    pub(super) forgotten: u64,
}

impl Course {
    fn apply(&mut self, entry: &Entry) {
        let at = self.moment(entry);
        if let Mark::Spawned(row) = &entry.mark {
            self.rows.insert(entry.task, (**row).clone());
        }
        self.rows.get_mut(&entry.task).into_iter().for_each(|row| row.apply(at, &entry.mark));
    }

    fn moment(&mut self, entry: &Entry) -> Moment {
        let time = Duration::from_nanos(entry.time);
        let now = &mut self.now;
        let ends = self.end.is_none() && matches!(entry.mark, Mark::Cancelled(Actor::End));
        if now.step.is_multiple_of(2) && (ends || time > now.time) {
            now.step += 2;
        }
        now.time = time;
        if ends {
            self.end = Some(*now);
        }
        match entry.mark {
            Mark::Turn => {
                let begins = *now;
                now.step += 1;
                return begins;
            }
            Mark::Yields | Mark::Waits(_) | Mark::Ends(_) => now.step += 1,
            Mark::Spawned(_) | Mark::Woken(_) | Mark::Cancelled(_) => {}
        }
        *now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the documentation of `Timeline` promises.
    #[test]
    fn an_event_is_small() {
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }
}
