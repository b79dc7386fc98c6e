//! A run, turn by turn: what the replay page shows, computed from the events one after the other.
//!
//! A [`Frame`] is one turn: the queue before and after it, what its task did, and which tasks wait then. What happens
//! between two turns (sockets become ready, time passes) belongs to the second, as [`Frame::before`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::chart::Phase;
use super::record::{Course, Hand, Logged, Mark, Moment, Noted, State};
use crate::kernel::edge::observe::{Actor, Outcome};
use crate::kernel::edge::trail::TrailKey;
use crate::kernel::wait::WaitFor;

/// One turn.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// How many turns there have been in the run with this one.
    pub(super) turn: u64,
    /// The task that has the turn, and whether it is its first.
    pub(super) task: u64,
    pub(super) begins: bool,
    pub(super) from: Moment,
    pub(super) to: Moment,
    /// How long no task had a turn before it, and what happened meanwhile.
    pub(super) pause: Duration,
    pub(super) before: Vec<Deed>,
    /// The tasks that were ready when it began, the next first; the task itself is one of them.
    pub(super) queue: Vec<u64>,
    /// What each task did when it began, this one included.
    pub(super) kinds: Vec<(u64, Phase)>,
    /// What the task did to others.
    pub(super) deeds: Vec<Deed>,
    pub(super) noted: Option<Box<Noted>>,
    pub(super) end: End,
    /// The tasks that were ready after it.
    pub(super) after: Vec<u64>,
    /// The tasks that waited after it, those with a deadline first, by their deadlines.
    pub(super) waiting: Vec<Waiting>,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has not: the timeline is read in the midst of it.
    NotYet,
    /// The task was ready for another at once. `true`: it was woken in its turn.
    Yields(bool),
    Waits(WaitFor, Option<Duration>),
    Ends(Outcome),
}

/// What was done to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Spawned(u64),
    Woken(u64, Actor),
    Cancelled(u64, Actor),
}

/// A task that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) task: u64,
    pub(super) what: WaitFor,
    pub(super) deadline: Option<Duration>,
    /// Which task has had its hands on what it waits for.
    pub(super) hand: Option<Hand>,
}

/// The frames of a run, from `past` on.
pub(super) struct Frames<'a> {
    entries: std::slice::Iter<'a, &'a Logged>,
    clock: Course,
    turns: u64,
    tasks: BTreeMap<u64, Doing>,
    queue: VecDeque<u64>,
    hands: HashMap<TrailKey, Option<Hand>>,
    /// The turn that is not over, or whose deeds may go on: a task that has ended still wakes those that wait for it.
    open: Option<Frame>,
    noted: Option<Box<Noted>>,
    /// What has happened since the last turn.
    before: Vec<Deed>,
    idle_since: Duration,
}

struct Doing {
    state: State,
    /// What it waits for, if tasks leave a trail on that.
    thing: Option<TrailKey>,
    begun: bool,
}

impl<'a> Frames<'a> {
    /// Those of `entries`, which come after `past`.
    pub(super) fn new(past: &Course, entries: &'a [&'a Logged]) -> Frames<'a> {
        let mut clock = Course::default();
        (clock.now, clock.end) = (past.now, past.end);
        let mut frames = Frames {
            entries: entries.iter(),
            clock,
            turns: past.turns,
            tasks: BTreeMap::new(),
            queue: VecDeque::new(),
            hands: HashMap::new(),
            open: None,
            noted: None,
            before: Vec::new(),
            idle_since: past.now.time,
        };
        for (task, state, begun) in past.doing() {
            frames.tasks.insert(task, Doing { state: state.clone(), thing: None, begun });
            if *state == State::Ready {
                frames.queue.push_back(task);
            }
        }
        frames
    }

    /// Takes in one event. Returns the frame of the turn before, if that is closed now.
    fn apply(&mut self, entry: &Logged) -> Option<Frame> {
        let ended = self.clock.end.is_some();
        let at = self.clock.moment(entry);
        let belongs = match (&self.open, &entry.mark) {
            (Some(open), _) if open.end == End::NotYet => true,
            (Some(open), Mark::Woken(by) | Mark::Cancelled(by)) => *by == Actor::Task(open.task),
            _ => false,
        };
        let closed = if belongs { None } else { self.close() };
        if self.clock.end.is_some() && !ended {
            self.queue.clear(); // So does the scheduler, before it cancels the tasks one by one.
        }
        let task = entry.task;
        match &entry.mark {
            Mark::Spawned(_) => {
                self.tasks.insert(task, Doing { state: State::Ready, thing: None, begun: false });
                self.queue.push_back(task);
                self.done(Deed::Spawned(task));
            }
            Mark::Turn => self.begin(task, at),
            Mark::Noted(noted) => {
                self.hands.extend(noted.hands.iter().cloned());
                self.noted = Some(noted.clone());
            }
            Mark::Yields => {
                let woken = self.open.as_ref().is_some_and(|open| {
                    open.deeds
                        .iter()
                        .any(|deed| matches!(deed, Deed::Woken(woken, _) if *woken == task))
                });
                self.ready(task);
                self.end(End::Yields(woken), at);
            }
            Mark::Waits(state) => {
                if let (State::Waiting { what, deadline }, Some(doing)) =
                    (state, self.tasks.get_mut(&task))
                {
                    let thing = self.noted.as_ref().and_then(|noted| noted.thing);
                    *doing = Doing { state: state.clone(), thing, begun: doing.begun };
                    self.end(End::Waits(*what, *deadline), at);
                }
            }
            Mark::Woken(by) => {
                let waits = |doing: &Doing| matches!(doing.state, State::Waiting { .. });
                if self.tasks.get(&task).is_some_and(waits) || by == &Actor::End {
                    self.ready(task);
                }
                self.done(Deed::Woken(task, *by));
            }
            Mark::Cancelled(by) => self.done(Deed::Cancelled(task, *by)),
            Mark::Ends(outcome) => {
                self.tasks.remove(&task);
                self.queue.retain(|ready| *ready != task);
                self.end(End::Ends(*outcome), at);
            }
        }
        closed
    }

    fn begin(&mut self, task: u64, at: Moment) {
        self.turns += 1;
        let queue = self.queue.iter().copied().collect();
        self.queue.retain(|ready| *ready != task);
        let doing = self.tasks.entry(task);
        let doing = doing.or_insert(Doing { state: State::Running, thing: None, begun: false });
        doing.state = State::Running;
        let begins = !std::mem::replace(&mut doing.begun, true);
        let kinds = self.tasks.iter().map(|(task, doing)| (*task, Phase::of(&doing.state)));
        self.open = Some(Frame {
            turn: self.turns,
            task,
            begins,
            from: at,
            to: at,
            pause: at.time.saturating_sub(self.idle_since),
            before: std::mem::take(&mut self.before),
            queue,
            kinds: kinds.collect(),
            deeds: Vec::new(),
            noted: None,
            end: End::NotYet,
            after: Vec::new(),
            waiting: Vec::new(),
        });
    }

    fn ready(&mut self, task: u64) {
        if let Some(doing) = self.tasks.get_mut(&task) {
            doing.state = State::Ready;
            doing.thing = None;
            self.queue.push_back(task);
        }
    }

    fn done(&mut self, deed: Deed) {
        self.open.as_mut().map_or(&mut self.before, |open| &mut open.deeds).push(deed);
    }

    fn end(&mut self, end: End, at: Moment) {
        self.idle_since = at.time;
        let noted = self.noted.take();
        if let Some(open) = &mut self.open {
            (open.end, open.to, open.noted) = (end, at, noted);
        }
    }

    /// The turn is over, and so is what its task did by ending.
    fn close(&mut self) -> Option<Frame> {
        let mut frame = self.open.take()?;
        frame.after = self.queue.iter().copied().collect();
        let waiting = self.tasks.iter().filter_map(|(task, doing)| match doing.state {
            State::Waiting { what, deadline } => {
                let hand = doing.thing.and_then(|key| self.hands.get(&key).cloned().flatten());
                Some(Waiting { task: *task, what, deadline, hand })
            }
            State::Running | State::Ready => None,
        });
        frame.waiting = waiting.collect();
        frame.waiting.sort_by_key(|waiting| waiting.deadline.unwrap_or(Duration::MAX));
        Some(frame)
    }
}

impl Iterator for Frames<'_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        while let Some(entry) = self.entries.next() {
            if let Some(frame) = self.apply(entry) {
                return Some(frame);
            }
        }
        let mut last = self.close()?;
        if last.end == End::NotYet {
            last.to = self.clock.now;
        }
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::inspect::timeline::record::{Recording, Row, Span};
    use crate::kernel::edge::observe::{Observer, TaskEvent};
    use crate::sync::{Mutex, channel};
    use crate::time::sleeping;
    use crate::{Builder, future, generator, green, task};

    const MS: Duration = Duration::from_millis(1);

    #[derive(Clone)]
    struct Recorder(Rc<RefCell<Recording>>);

    impl Observer for Recorder {
        fn observe(&self, event: &TaskEvent<'_>) {
            self.0.borrow_mut().push(event);
        }
    }

    fn recorder(capacity: usize) -> Recorder {
        let mut record = Recording::new(String::new(), capacity);
        record.notes = true;
        Recorder(Rc::new(RefCell::new(record)))
    }

    fn frames(record: &Recording) -> Vec<Frame> {
        let entries: Vec<_> = record.events.iter().collect();
        Frames::new(&record.past, &entries).collect()
    }

    /// Every era, every kind of wait that needs no socket, every end, and tasks that are left at the end of the run.
    fn of_many_kinds() {
        let mutex = Rc::new(Mutex::new(()));
        let (sender, receiver) = channel::bounded(1);
        let locks = (0..3).map(|n| {
            let mutex = mutex.clone();
            green::spawn(move || {
                let _held = mutex.lock();
                green::sleep(n * MS);
            })
        });
        let locks: Vec<_> = locks.collect();
        let sends = future::spawn(async move {
            for n in 0..4 {
                sender.sending(n).await.unwrap();
            }
        });
        let receives = generator::spawn(move |y| while y.wait(receiver.receiving()).is_ok() {});
        let spins = generator::spawn(|y| (0..3).for_each(|_| y.yield_now()));
        let sleeps = future::spawn(sleeping(5 * MS));
        let dies = green::spawn(|| -> () { std::panic::resume_unwind(Box::new("on purpose")) });
        let stuck = green::spawn(|| green::sleep(1000 * MS));
        drop(green::spawn(|| green::sleep(1000 * MS)));
        drop(future::spawn(sleeping(1000 * MS)));
        sleeps.join().unwrap();
        stuck.cancel();
        drop(stuck.join());
        assert!(dies.join().is_err());
        locks.into_iter().for_each(|task| task.join().unwrap());
        spins.join().unwrap();
        sends.join().unwrap();
        receives.join().unwrap();
        drop(green::spawn(green::yield_now));
    }

    fn span_at(row: &Row, covers: impl Fn(&Span) -> bool) -> Option<&Span> {
        row.spans.iter().find(|span| covers(span))
    }

    /// Every frame agrees with the rows at the same moment.
    #[track_caller]
    fn agree(record: &Recording, in_order: bool) -> usize {
        let rows = record.course().rows;
        let frames = frames(record);
        let mut turns: Vec<_> = rows
            .values()
            .flat_map(|row| row.turns().map(|turn| (turn.from, turn.to, row.task)))
            .collect();
        turns.sort_unstable();
        let cut = turns.len() - frames.len();
        assert!(cut <= 1, "only a turn whose beginning is forgotten has no frame: {cut}");
        for ((from, to, task), frame) in turns[cut..].iter().zip(&frames) {
            assert_eq!((frame.from, frame.to, frame.task), (*from, *to, *task));
        }
        for (frame, next) in frames.iter().zip(frames.iter().skip(1).map(Some).chain([None])) {
            let (task, from, to) = (frame.task, frame.from, frame.to);
            // At its beginning.
            let begins = |row: &&Row| {
                let covers = |span: &Span| match row.task == task {
                    true => span.from == from && span.state == State::Running,
                    false => span.from <= from && from < span.to,
                };
                Some((row.task, Phase::of(&span_at(row, covers)?.state)))
            };
            let kinds: Vec<_> = rows.values().filter_map(|row| begins(&row)).collect();
            assert_eq!(frame.kinds, kinds, "at the beginning of {frame:?}");
            let ended = record.course().end.is_some_and(|end| end <= from);
            let mut queue = frame.queue.clone();
            assert!(!in_order || queue[0] == task, "it is the first of the queue: {frame:?}");
            queue.retain(|ready| *ready != task);
            queue.sort_unstable();
            let ready = kinds.iter().filter(|(_, kind)| *kind == Phase::Ready);
            let ready: Vec<_> = ready.map(|(task, _)| *task).collect();
            assert!(ended || queue == ready, "{queue:?} {ready:?}");
            // At its end.
            let row = &rows[&task];
            match &frame.end {
                End::Waits(what, deadline) => {
                    let waits = State::Waiting { what: *what, deadline: *deadline };
                    assert!(
                        span_at(row, |s| s.from == to && s.state == waits).is_some(),
                        "{frame:?}"
                    );
                }
                End::Yields(woken) => {
                    let turn = span_at(row, |s| s.from == from && s.state == State::Running);
                    assert_eq!(turn.unwrap().woken.is_some(), *woken);
                    assert!(span_at(row, |s| s.from == to && s.state == State::Ready).is_some());
                }
                End::Ends(outcome) => assert_eq!(row.outcome, Some(*outcome)),
                End::NotYet => assert!(next.is_none()),
            }
            for waiting in &frame.waiting {
                let waits = State::Waiting { what: waiting.what, deadline: waiting.deadline };
                let covers = |s: &Span| s.from <= to && to <= s.to && s.state == waits;
                assert!(
                    span_at(&rows[&waiting.task], covers).is_some(),
                    "{waiting:?} in {frame:?}"
                );
            }
            for row in rows.values() {
                let waits = |s: &Span| {
                    matches!(s.state, State::Waiting { .. }) && s.from <= to && to < s.to
                };
                let is_listed = frame.waiting.iter().any(|waiting| waiting.task == row.task);
                // A task that ends wakes others a moment later, which still belongs to its turn.
                let is_woken = frame.after.contains(&row.task);
                assert!(
                    is_listed || is_woken || span_at(row, waits).is_none(),
                    "{row:?} in {frame:?}"
                );
                let both = is_listed && frame.after.contains(&row.task);
                assert!(!both, "it is ready, or waits: {row:?}");
            }
            let deadlines: Vec<_> =
                frame.waiting.iter().filter_map(|waiting| waiting.deadline).collect();
            assert!(deadlines.is_sorted(), "{deadlines:?}");
            let timeless = |waiting: &Waiting| waiting.deadline.is_none();
            assert!(frame.waiting.iter().skip(deadlines.len()).all(timeless));
            // And what comes between it and the next.
            if let Some(next) =
                next.filter(|_| record.course().end.is_none_or(|end| next.unwrap().from < end))
            {
                let added = next.before.iter().filter_map(|deed| match deed {
                    Deed::Spawned(task) | Deed::Woken(task, _) => Some(task),
                    Deed::Cancelled(..) => None,
                });
                let queue: Vec<_> = frame.after.iter().chain(added).copied().collect();
                assert_eq!(next.queue, queue);
                assert_eq!(next.turn, frame.turn + 1);
                assert_eq!(next.pause, next.from.time - frame.to.time);
            }
        }
        // Each wake of the rows is a deed of the task that it was by.
        for row in rows.values() {
            for span in row.spans.iter().filter(|span| span.from >= turns[cut].0) {
                if let Some(by @ Actor::Task(waker)) = span.woken {
                    let at = if span.state == State::Running { span.from } else { span.to };
                    let did = |frame: &&Frame| {
                        frame.task == waker && frame.deeds.contains(&Deed::Woken(row.task, by))
                    };
                    let near = |(n, frame): &(usize, &Frame)| {
                        frame.from <= at && frames.get(n + 1).is_none_or(|next| at <= next.from)
                    };
                    let mut near = frames.iter().enumerate().filter(near);
                    assert!(near.any(|(_, frame)| did(&frame)), "{span:?}");
                }
            }
        }
        frames.len()
    }

    #[test]
    fn frames_agree_with_the_rows_at_every_step() {
        let of_all = recorder(1 << 20);
        Builder::new().virtual_clock().round_robin().observe(of_all.clone()).run(of_many_kinds);
        let all = agree(&of_all.0.borrow(), true);
        assert!(all > 25, "{all} turns");
        let on_real = recorder(1 << 20);
        Builder::new().round_robin().observe(on_real.clone()).run(of_many_kinds);
        agree(&on_real.0.borrow(), true);
        for seed in 0..5 {
            let seeded = recorder(1 << 20);
            Builder::new().virtual_clock().seed(seed).observe(seeded.clone()).run(of_many_kinds);
            agree(&seeded.0.borrow(), false);
        }
    }

    #[test]
    fn frames_of_the_end_of_a_run_agree_with_its_rows() {
        for kept in 20..80 {
            let cut = recorder(kept);
            Builder::new().virtual_clock().round_robin().observe(cut.clone()).run(of_many_kinds);
            agree(&cut.0.borrow(), true);
        }
    }

    #[test]
    fn a_turn_that_is_not_over_is_a_frame() {
        let recorder = recorder(1 << 20);
        let inner = recorder.clone();
        Builder::new().virtual_clock().round_robin().observe(recorder).run(move || {
            drop(green::spawn(|| green::sleep(MS)));
            green::yield_now();
            assert_eq!(agree(&inner.0.borrow(), true), 3);
            assert_eq!(frames(&inner.0.borrow())[2].end, End::NotYet);
        });
    }

    #[test]
    fn who_holds_a_lock_is_known_at_every_step() {
        let recorder = recorder(1 << 20);
        Builder::new().virtual_clock().round_robin().observe(recorder.clone()).run(|| {
            let mutex = Rc::new(Mutex::new(()));
            let holds = |name| {
                let mutex = mutex.clone();
                task::Builder::new().name(name).spawn(move || {
                    let _held = mutex.lock();
                    green::sleep(MS);
                })
            };
            let tasks = ["ann", "bob", "cat"].map(holds);
            tasks.into_iter().for_each(|task| task.join().unwrap());
        });
        let frames = frames(&recorder.0.borrow());
        let holder = |frame: &Frame, task| {
            let waiting = frame.waiting.iter().find(|waiting| waiting.task == task)?;
            waiting.hand.as_ref().map(|hand| (hand.how, hand.task))
        };
        let seen: Vec<_> = frames.iter().map(|frame| holder(frame, 4)).collect();
        let mut changes = seen.clone();
        changes.dedup();
        let (ann, bob) = (Some(("held by", 2)), Some(("held by", 3)));
        assert_eq!(changes, [None, ann, bob, None], "{seen:?}");
    }

    #[test]
    fn what_is_read_and_written_is_noted() {
        let recorder = recorder(1 << 20);
        Builder::new().round_robin().observe(recorder.clone()).run(|| {
            use std::io::{Read, Write};
            let (mut ours, mut theirs) = crate::net::unix::UnixStream::pair().unwrap();
            let reads = green::spawn(move || theirs.read(&mut [0; 64]).unwrap());
            green::yield_now();
            ours.write_all(b"hello").unwrap();
            assert_eq!(reads.join().unwrap(), 5);
        });
        let frames = frames(&recorder.0.borrow());
        let noted = |frame: &Frame| {
            let noted = frame.noted.as_ref().expect("each turn that has ended is noted");
            (frame.task, noted.read, noted.written, noted.would_block)
        };
        let noted: Vec<_> = frames.iter().map(noted).collect();
        assert_eq!(noted[..4], [(1, 0, 0, 0), (2, 0, 0, 1), (1, 0, 5, 0), (2, 5, 0, 0)]);
    }
}
