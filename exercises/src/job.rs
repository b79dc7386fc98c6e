//! Jobs for a student's scheduler: what they ask of it, and how they are counted, watched and drawn.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::panic::Location;
use std::time::{Duration, Instant};

use wouldblock::generator::{Generator, GeneratorState, Yielder};
use wouldblock::observe::{Actor, EventKind, Observer, Outcome, TaskEvent};
use wouldblock::timeline::Timeline;
use wouldblock::{Era, Wait, WaitFor};

use crate::check::{Doing, MOST, at_this_step, draw, fail, grouped, situation, stop_if_failed};
use crate::poll::Interest;

/// A job yields what it asks of its scheduler, and is sent the answer.
pub type Job = Generator<Op, Answer>;

/// A job's number: 0 for the first that is spawned, then 1, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub usize);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}", self.0)
    }
}

/// A system call: what a job asks of its scheduler.
#[derive(Debug)]
pub enum Op {
    /// Let the others have a turn. The answer is `Nothing`.
    Turn,
    /// Go on when so many milliseconds have passed, counted from when the job yields this. The answer is `Nothing`.
    Sleep(u64),
    /// Start a job with this name. The answer is `Spawned`, with its number; the job that asks stays in the round.
    Spawn(&'static str, Job),
    /// Go on when that job has ended. The answer is `Ended`.
    Join(Id),
    /// Go on when the socket is ready. The answer is `Nothing`.
    Wait(Wait),
}

/// What the scheduler sends to a job when it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was asked for has happened.
    Nothing,
    /// The job was started, and has this number.
    Spawned(Id),
    /// The job has returned, or has panicked with this text.
    Ended(Result<(), String>),
}

/// What `y.wait(socket.readable())` yields.
impl From<Wait> for Op {
    fn from(wait: Wait) -> Op {
        match wait.what {
            WaitFor::Turn => Op::Turn,
            _ => Op::Wait(wait),
        }
    }
}

/// The world outside of a scheduler: the time, and where it sleeps when no job is ready.
pub trait Outside {
    /// The time, in milliseconds since some beginning.
    fn now(&self) -> u64;

    /// Sleeps until the time `until` (`None`: for ever), or until one of `waits` is ready. Returns the jobs whose
    /// sockets are ready.
    fn sleep(&mut self, until: Option<u64>, waits: &[(Id, Wait)]) -> io::Result<Vec<Id>>;
}

/// A job with the code `body`, which needs to be resumed `needed` times, or fewer. It has a row in the picture, and fails
/// the check when it has been resumed 10,000 times.
#[track_caller]
pub fn job(
    name: &'static str,
    needed: usize,
    body: impl FnOnce(&Yielder<Op, Answer>) + 'static,
) -> Job {
    /// Says that the job has ended, however it does: also where it is dropped in the middle of a wait.
    struct Ends(Task, Cell<bool>);
    impl Drop for Ends {
        fn drop(&mut self) {
            let outcome = match (self.1.get(), std::thread::panicking()) {
                (true, _) => Outcome::Cancelled,
                (false, true) => Outcome::Panicked,
                (false, false) => Outcome::Returned,
            };
            trace(|t| t.ends(self.0, outcome));
        }
    }

    let task = trace(|t| t.made(name, Location::caller()));
    Generator::new(move |y: &Yielder<Op, Answer>| {
        let mut inner = Generator::new(body);
        let mut resumes = 1;
        trace(|t| t.turn(task));
        let ends = Ends(task, Cell::new(false));
        let mut state = inner.prime();
        while let GeneratorState::Yielded(op) = state {
            let spawned = match &op {
                Op::Spawn(name, _) => Some(*name),
                _ => None,
            };
            trace(|t| t.asks(task, &op));
            ends.1.set(true);
            let answer = y.yield_(op);
            ends.1.set(false);
            if let (Some(name), Answer::Spawned(id)) = (spawned, &answer) {
                spawned_as(name, *id);
            }
            stop_if_failed();
            trace(|t| t.turn(task));
            resumes += 1;
            if resumes == MOST {
                let (most, needed) = (grouped(MOST), grouped(needed));
                let what = trace(|t| t.again_and_again(task));
                let step = at_this_step();
                fail(format!(
                    "`{name}` was resumed {most} times, {needed} were needed{what}{step}"
                ));
            }
            state = inner.send(answer);
        }
    })
}

/// Says which number the scheduler has given to the job that was made last with this name, for the picture. (Jobs that jobs
/// spawn are known already.)
pub fn spawned_as(name: &'static str, id: Id) {
    trace(|t| {
        if let Some(n) = t.jobs.iter().rposition(|job| job.name == name) {
            t.ids.insert(id, n);
        }
    });
}

/// The names of all jobs that [`job`] has made in this check.
pub fn jobs_made() -> Vec<&'static str> {
    trace(|t| t.jobs.iter().map(|job| job.name).collect())
}

/// Draws what the jobs of this check do, from now on.
pub fn draw_jobs(title: &'static str) {
    let timeline = Timeline::titled(title);
    trace(|t| {
        t.timeline = timeline.clone();
        (0..t.jobs.len()).for_each(|task| t.begin(task));
    });
    draw(&timeline);
}

/// What is known of the jobs of one check.
pub(crate) struct Trace {
    timeline: Timeline,
    base: Instant,
    /// The virtual time, if it is virtual.
    clock: Option<u64>,
    jobs: Vec<Known>,
    ids: HashMap<Id, Task>,
    /// How often the clock was read since a job had a turn, or the thread slept.
    asked: usize,
    /// Whether the scheduler has ever called `sleep`.
    has_slept: bool,
    /// Until when it has slept last, which may be earlier than the time at which it woke.
    slept_until: u64,
    /// Whether time has passed while a job ran.
    has_passed: bool,
}

/// A job's place among all that were made.
type Task = usize;

struct Known {
    name: &'static str,
    site: &'static Location<'static>,
    state: Does,
    /// What it has asked last: nothing, if it has not begun.
    asked: Option<String>,
    /// So often in a row.
    times: usize,
}

/// What a job does, as far as is known outside of its scheduler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Does {
    /// It has not begun, or asked for a turn or for a new job, or what it waited for has come.
    Ready,
    /// It has the thread.
    Runs,
    /// It sleeps until this time.
    Sleeps(u64),
    /// It waits for the end of that job.
    Joins(Id),
    /// It waits for a socket.
    Waits(RawFd, Interest),
    /// It has returned, has panicked, or was dropped.
    Ended,
}

/// What the job does that was made last with this name, and what it has asked last, as code: `Op::Turn`. `None` for what it
/// has asked: it has not begun.
///
/// Returns `None` if [`job`] has made none of this name in this check.
pub fn does(name: &str) -> Option<(Does, Option<String>)> {
    trace(|t| {
        let job = t.jobs.iter().rev().find(|job| job.name == name)?;
        Some((job.state, job.asked.clone()))
    })
}

thread_local! {
    static TRACE: RefCell<Trace> = RefCell::new(Trace {
        timeline: Timeline::new(),
        base: Instant::now(),
        clock: None,
        jobs: Vec::new(),
        ids: HashMap::new(),
        asked: 0,
        has_slept: false,
        slept_until: 0,
        has_passed: false,
    });
}

pub(crate) fn trace<R>(f: impl FnOnce(&mut Trace) -> R) -> R {
    TRACE.with_borrow_mut(f)
}

impl Trace {
    fn now(&self) -> Instant {
        self.clock.map_or_else(Instant::now, |ms| self.base + Duration::from_millis(ms))
    }

    /// An event of a job; tasks are numbered from 1.
    fn tell(&self, task: Task, kind: EventKind<'_>) {
        self.timeline.observe(&TaskEvent::new(self.now(), task as u64 + 1, kind));
    }

    fn made(&mut self, name: &'static str, site: &'static Location<'static>) -> Task {
        self.jobs.push(Known { name, site, state: Does::Ready, asked: None, times: 0 });
        self.begin(self.jobs.len() - 1);
        self.jobs.len() - 1
    }

    fn begin(&self, task: Task) {
        let Known { name, site, .. } = self.jobs[task];
        self.tell(task, EventKind::spawned(Some(name), Era::Generator, site, None));
        situation(|s| s.does(task as u64, name, Doing::Ready));
    }

    fn turn(&mut self, task: Task) {
        self.asked = 0;
        if let Some(why) = self.is_early(task) {
            fail(why);
        }
        let before = self.set(task, Does::Runs, Doing::Running);
        // It was resumed before its wait was over, as far as is known here.
        if !matches!(before, Does::Ready | Does::Runs) {
            self.tell(task, EventKind::Woken(Actor::Outside));
        }
        self.tell(task, EventKind::Turn);
    }

    fn asks(&mut self, task: Task, op: &Op) {
        let time = self.now();
        let (job, asks) = (&mut self.jobs[task], Some(code(op)));
        job.times = if job.asked == asks { job.times + 1 } else { 1 };
        job.asked = asks;
        let wait_until = |ms: u64| {
            let mut wait = Wait::new(WaitFor::Time);
            wait.deadline = Some(time + Duration::from_millis(ms));
            wait
        };
        let (state, wait, text) = match op {
            Op::Turn | Op::Spawn(..) => {
                self.set(task, Does::Ready, Doing::Ready);
                return self.tell(task, EventKind::Yields);
            }
            Op::Sleep(ms) => {
                let until = self.clock.unwrap_or_default() + ms;
                (Does::Sleeps(until), wait_until(*ms), format!("sleeps for {ms} ms"))
            }
            Op::Join(id) => {
                let other = self.ids.get(id);
                let wait = Wait::new(WaitFor::Task(other.map_or(0, |task| *task as u64 + 1)));
                let text = match other {
                    Some(other) => format!("waits for the end of `{}`", self.jobs[*other].name),
                    None => format!("waits for the end of {id}"),
                };
                (Does::Joins(*id), wait, text)
            }
            Op::Wait(wait) => {
                let (fd, ready) = interest(wait).unwrap_or((-1, Interest::Readable));
                (Does::Waits(fd, ready), *wait, wait.what.to_string())
            }
        };
        self.set(task, state, Doing::Waits(text));
        self.tell(task, EventKind::Waits(wait));
    }

    fn ends(&mut self, task: Task, outcome: Outcome) {
        self.set(task, Does::Ended, Doing::Ended);
        if outcome == Outcome::Cancelled {
            self.tell(task, EventKind::Cancelled(Actor::End));
        }
        self.tell(task, EventKind::Ends(outcome));
        let ids = self.ids.clone();
        let by_id = |id: Id| ids.get(&id) == Some(&task);
        let actor = Actor::Task(task as u64 + 1);
        self.wake(actor, |does| matches!(does, Does::Joins(id) if by_id(id)));
    }

    /// The jobs that wait for this are ready, whether the scheduler has noticed it or not.
    fn wake(&mut self, by: Actor, is_over: impl Fn(Does) -> bool) {
        for task in 0..self.jobs.len() {
            if is_over(self.jobs[task].state) {
                self.set(task, Does::Ready, Doing::Ready);
                self.tell(task, EventKind::Woken(by));
            }
        }
    }

    /// Sets what a job does. Returns what it did before.
    fn set(&mut self, task: Task, state: Does, doing: Doing) -> Does {
        situation(|s| s.does(task as u64, self.jobs[task].name, doing));
        std::mem::replace(&mut self.jobs[task].state, state)
    }

    pub(crate) fn descriptors_are_ready(&mut self, ready: &[RawFd]) {
        self.asked = 0;
        self.wake(Actor::Socket, |does| matches!(does, Does::Waits(fd, _) if ready.contains(&fd)));
    }

    /// The sleeper that is due first, and when.
    pub(crate) fn earliest(&self) -> Option<(&'static str, u64)> {
        let sleepers = self.jobs.iter().filter_map(|job| match job.state {
            Does::Sleeps(until) => Some((job.name, until)),
            _ => None,
        });
        sleepers.min_by_key(|(_, until)| *until)
    }

    /// The jobs that wait for a socket, with their numbers, and with what for.
    pub(crate) fn waiting(&self) -> Vec<(&'static str, Option<Id>, &'static str)> {
        let waits = self.jobs.iter().enumerate().filter_map(|(task, job)| match job.state {
            Does::Waits(_, Interest::Readable) => Some((job.name, self.id(task), "readable")),
            Does::Waits(_, Interest::Writable) => Some((job.name, self.id(task), "writable")),
            _ => None,
        });
        waits.collect()
    }

    pub(crate) fn name(&self, id: Id) -> Option<&'static str> {
        self.ids.get(&id).map(|task| self.jobs[*task].name)
    }

    fn id(&self, task: Task) -> Option<Id> {
        self.ids.iter().find(|(_, other)| **other == task).map(|(id, _)| *id)
    }

    /// Why a job may not be resumed yet; where time is virtual, and so no job is ready that is not known to be.
    fn is_early(&self, task: Task) -> Option<String> {
        let now = self.clock?;
        let Known { name, state, .. } = self.jobs[task];
        match state {
            Does::Sleeps(until) if until > now && !self.has_slept => Some(format!(
                "`{name}` sleeps until {until} ms, and was resumed at {now} ms; `outside.sleep` was never called, and time passes \
                 only there. std's `thread::sleep` would stop this thread, and this clock does not notice it: call \
                 `outside.sleep` with the earliest time"
            )),
            Does::Sleeps(until) if until > now => Some(format!(
                "`{name}` sleeps until {until} ms, and was resumed at {now} ms, too early: `sleep` returns earlier than it was asked \
                 to when a socket is ready, so compare with the time"
            )),
            Does::Waits(..) => Some(format!(
                "`{name}` waits for a socket, and was resumed before `sleep` had returned its number: the others wait on"
            )),
            Does::Joins(other) => {
                let other = *self.ids.get(&other)?;
                let lives = self.jobs[other].state != Does::Ended;
                let other = self.jobs[other].name;
                lives.then(|| {
                    format!("`{name}` joins `{other}`, and was resumed before `{other}` had ended")
                })
            }
            _ => None,
        }
    }

    /// A job that has to have a turn before the thread may sleep, and why.
    pub(crate) fn ready(&self) -> Option<(&'static str, String)> {
        let mut jobs = self.jobs.iter().enumerate();
        let (_, job) = jobs.find(|(task, job)| {
            let is_known = job.asked.is_some() || self.id(*task).is_some();
            job.state == Does::Ready && is_known
        })?;
        let now = self.clock.unwrap_or_default();
        let queue =
            "the thread sleeps only when the queue is empty, and each job that is ready is in it";
        let why = match job.asked.as_deref() {
            None => format!("it has not begun; {queue}"),
            Some(op) if op.starts_with("Op::Sleep") && now > self.slept_until => format!(
                "its sleep is over, and it is {now} ms now. `sleep` may return late: ALL are ready that are due by \
                 `outside.now()`, and not by `until`"
            ),
            Some(op) if op.starts_with("Op::Sleep") => {
                format!("it slept, and is due now, at {now} ms. ALL are ready that are due")
            }
            Some(op) if op.starts_with("Op::Join") => {
                format!("it yielded `{op}`, and this job has ended; {queue}")
            }
            Some(op) if op.starts_with("Op::Wait") => {
                format!("it waited for a socket, and `sleep` has returned its number; {queue}")
            }
            Some(op) => format!("it yielded `{op}`; {queue}"),
        };
        Some((job.name, why))
    }

    /// What a job asks again and again, if it does.
    fn again_and_again(&self, task: Task) -> String {
        match &self.jobs[task] {
            Known { asked: Some(op), times, .. } if *times > 100 => {
                let times = grouped(*times);
                format!(
                    ". It has yielded `{op}` {times} times in a row: what it waits for has a wait of its own"
                )
            }
            _ => String::new(),
        }
    }

    /// What each job does that has not ended.
    pub(crate) fn all(&self) -> String {
        let jobs = self.jobs.iter().filter(|job| job.state != Does::Ended).take(6).map(|job| {
            let name = job.name;
            match (job.state, &job.asked) {
                (Does::Sleeps(until), _) => format!("`{name}` sleeps until {until} ms"),
                (Does::Joins(other), _) => {
                    format!("`{name}` joins `{}`", self.name(other).unwrap_or("?"))
                }
                (Does::Waits(..), _) => format!("`{name}` waits for a socket"),
                (_, Some(op)) => format!("`{name}` has yielded `{op}`"),
                (_, None) => format!("`{name}` has not begun"),
            }
        });
        jobs.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn clock(&self) -> u64 {
        self.clock.unwrap_or_default()
    }

    /// The clock is virtual, and stands at 0.
    pub(crate) fn clock_begins(&mut self) {
        (self.base, self.clock) = (Instant::now(), Some(0));
    }

    pub(crate) fn sleep_is_called(&mut self) {
        self.has_slept = true;
    }

    /// Counts how often the time was asked since a job had a turn, or the thread slept.
    pub(crate) fn time_is_asked(&mut self) -> usize {
        self.asked += 1;
        self.asked
    }

    /// Time passes while a job runs. Who is due by then is not ready for that: no scheduler has looked at the time since.
    pub(crate) fn time_passes(&mut self, ms: u64) {
        (self.clock, self.has_passed) = (Some(self.clock() + ms), true);
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.has_passed
    }

    /// The thread has slept until `until`, and has the time `now`.
    pub(crate) fn time_is(&mut self, now: u64, until: u64) {
        (self.clock, self.asked, self.slept_until) = (Some(now), 0, until);
        self.wake(Actor::Time, |does| matches!(does, Does::Sleeps(until) if until <= now));
    }

    /// The socket is ready for which the job of this name waits. Returns its number.
    pub(crate) fn socket_is_ready(&mut self, name: &str) -> Option<Id> {
        let task = self.jobs.iter().rposition(|job| job.name == name)?;
        let Does::Waits(fd, _) = self.jobs[task].state else { return None };
        self.descriptors_are_ready(&[fd]);
        self.id(task)
    }
}

/// What a job asks, as code.
fn code(op: &Op) -> String {
    match op {
        Op::Turn => "Op::Turn".to_owned(),
        Op::Sleep(ms) => format!("Op::Sleep({ms})"),
        Op::Spawn(name, _) => format!("Op::Spawn({name:?}, ..)"),
        Op::Join(id) => format!("Op::Join({id:?})"),
        Op::Wait(_) => "Op::Wait(..)".to_owned(),
    }
}

/// What a wait for a socket asks `poll`.
///
/// Returns `None` if it is not a wait for a socket.
pub fn interest(wait: &Wait) -> Option<(RawFd, Interest)> {
    match wait.what {
        WaitFor::Readable(id) => Some((id.fd(), Interest::Readable)),
        WaitFor::Writable(id) => Some((id.fd(), Interest::Writable)),
        _ => None,
    }
}
