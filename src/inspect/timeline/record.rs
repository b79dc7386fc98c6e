//! Keeps the events of a run, and makes of them what each task has done.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::kernel::edge::notes::{self, Note, Place};
use crate::kernel::edge::observe::{Actor, Era, EventKind, Outcome, TaskEvent};
use crate::kernel::edge::trail::{self, Part, TrailKey};
use crate::kernel::scheduler::Scheduler;
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
    /// How many events there were before the one since which it does that.
    since: u64,
    /// It has had a turn.
    begun: bool,
    /// What has woken it in this turn.
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
    /// What has ended it, if it was a wait. If it was a turn: what has woken the task in the middle of it, so that it
    /// was ready again at once.
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
            Mark::Noted(_) => {}
            Mark::Turn => {
                self.begun = true;
                self.turn_to(Some(State::Running), at);
            }
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
pub(super) struct Logged {
    /// Nanoseconds since the first.
    time: u64,
    pub(super) task: u64,
    pub(super) mark: Mark,
}

#[derive(Debug)]
pub(super) enum Mark {
    /// With the row that it begins.
    Spawned(Box<Row>),
    Turn,
    Yields,
    Waits(State),
    Woken(Actor),
    Cancelled(Actor),
    /// What was done in the turn that the next event ends.
    Noted(Box<Noted>),
    Ends(Outcome),
}

/// What a task did in a turn, besides what is in the events.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    /// Bytes that it read,
    pub(super) read: u64,
    /// and wrote.
    pub(super) written: u64,
    /// How often a socket was not ready.
    pub(super) would_block: u32,
    /// Where it gave the turn up.
    pub(super) place: Option<Rc<Place>>,
    /// What it waits for then, if other tasks have their hands on it.
    pub(super) thing: Option<TrailKey>,
    /// Which task has its hands on what, from now on.
    pub(super) hands: Vec<(TrailKey, Option<Hand>)>,
}

/// Which task has had its hands on something last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hand {
    pub(super) task: u64,
    /// "held by"
    pub(super) how: &'static str,
    pub(super) site: Option<&'static Location<'static>>,
}

impl Noted {
    fn of(note: Note) -> Noted {
        let Note { read, written, would_block, place, thing, uses } = note;
        let run = Scheduler::with(|scheduler| scheduler.map(|scheduler| scheduler.home.run));
        let hand = |key, last: Option<trail::LastUse>| {
            let how = trail::find(key)?.0.how;
            let last = last.filter(|last| Some(last.run) == run && !how.is_empty())?;
            let how = if last.part == Part::GaveBack { "given back by" } else { how };
            Some(Hand { task: last.task, how, site: last.site })
        };
        let waited = thing.and_then(|key| Some((key, trail::find(key)?.1)));
        let hands = uses.into_iter().chain(waited).map(|(key, last)| (key, hand(key, last)));
        Noted { read, written, would_block, place, thing, hands: hands.collect() }
    }
}

/// The events of a run: the last of them, up to `capacity`, and what the ones before them come to.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) title: String,
    /// Whether the tasks are of the three eras.
    pub(super) has_eras: bool,
    pub(super) capacity: usize,
    /// Turns are noted in detail.
    pub(super) notes: bool,
    start: Option<Instant>,
    pub(super) events: VecDeque<Logged>,
    pub(super) past: Course,
    pub(super) forgotten: u64,
}

impl Recording {
    pub(super) fn new(title: String, capacity: usize) -> Recording {
        Recording {
            title,
            has_eras: true,
            capacity,
            notes: false,
            start: None,
            events: VecDeque::new(),
            past: Course::default(),
            forgotten: 0,
        }
    }

    pub(super) fn push(&mut self, event: &TaskEvent<'_>) {
        if event.task == 1 && matches!(event.kind, EventKind::Spawned { .. }) {
            let title = std::mem::take(&mut self.title); // Another run begins.
            let Recording { has_eras, notes, capacity, .. } = *self;
            *self = Recording { has_eras, notes, ..Recording::new(title, capacity) };
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
                    since: 0,
                    begun: false,
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
        let time = since(event.at).as_nanos() as u64;
        if self.notes {
            match mark {
                Mark::Turn => notes::begin(),
                Mark::Yields | Mark::Waits(_) | Mark::Ends(_) => {
                    let noted = Mark::Noted(Box::new(Noted::of(notes::end())));
                    self.keep(Logged { time, task: event.task, mark: noted });
                }
                _ => {}
            }
        }
        self.keep(Logged { time, task: event.task, mark });
    }

    fn keep(&mut self, entry: Logged) {
        if self.events.len() >= self.capacity {
            self.forget();
        }
        self.events.push_back(entry);
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
        course.has_eras = self.has_eras;
        course.forgotten = self.forgotten;
        course
    }
}

/// The course that a run has taken: what is drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    pub(super) title: String,
    pub(super) has_eras: bool,
    pub(super) rows: BTreeMap<u64, Row>,
    /// When the events begin that are kept.
    pub(super) from: Moment,
    pub(super) now: Moment,
    /// When the end of the run began to cancel what was left.
    pub(super) end: Option<Moment>,
    pub(super) forgotten: u64,
    /// How many events there were,
    events: u64,
    /// and how many turns.
    pub(super) turns: u64,
}

impl Course {
    pub(super) fn apply(&mut self, entry: &Logged) {
        let at = self.moment(entry);
        self.turns += u64::from(matches!(entry.mark, Mark::Turn));
        self.events += 1;
        if let Mark::Spawned(row) = &entry.mark {
            self.rows.insert(entry.task, (**row).clone());
        }
        if let Some(row) = self.rows.get_mut(&entry.task) {
            let done = row.spans.len();
            row.apply(at, &entry.mark);
            if row.spans.len() > done || matches!(entry.mark, Mark::Spawned(_)) {
                row.since = self.events;
            }
        }
    }

    /// The tasks that are not done, in the order in which they began to do what they do; and whether each has had a
    /// turn.
    pub(super) fn doing(&self) -> Vec<(u64, &State, bool)> {
        let mut rows: Vec<_> = self.rows.values().collect();
        rows.sort_by_key(|row| row.since);
        rows.into_iter()
            .filter_map(|row| Some((row.task, &row.doing.as_ref()?.0, row.begun)))
            .collect()
    }

    /// The moment of the next event.
    pub(super) fn moment(&mut self, entry: &Logged) -> Moment {
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
            Mark::Spawned(_) | Mark::Woken(_) | Mark::Cancelled(_) | Mark::Noted(_) => {}
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
        assert!(size_of::<Logged>() <= 64, "{}", size_of::<Logged>());
    }
}
