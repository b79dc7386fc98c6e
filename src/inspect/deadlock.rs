//! The report of a deadlock: every task, what it waits for and where in the source, and the cycle among the tasks that
//! wait for one another.
//!
//! ```text
//! deadlock: 3 tasks wait, and nothing can wake any of them
//!   task 1 "root" (green, spawned at src/main.rs:4:5) waits for task 2, at src/main.rs:7:10
//!   task 2 (green, spawned at src/main.rs:5:13) waits for task 3, at src/main.rs:6:23
//!   task 3 (future, spawned at src/main.rs:9:13) waits for task 2
//!   cycle: task 2 → task 3 → task 2
//! ```
//!
//! A cycle may lead through a lock, a queue and the like, each of which keeps a [`Trail`](super::holders::Trail) of the
//! task that last used it: `task 2 → a mutex (held by task 3, src/main.rs:10:9) → task 3 → task 2`. A task that has
//! given the thing back is named, as the last that had it, and closes no cycle; nor does one that waits for an item of
//! a queue into which it was itself the last to put one.
//!
//! A deadlock is certain when no task is ready, asleep, waiting for a socket or for
//! [`offload`](crate::offload())ed work, and no waker of a task is kept: then the run ends with the report. Where
//! a waker is kept, which may lie in a channel of another crate, on this thread or another, the report is a
//! warning, given once, after a time in which nothing moved
//! ([`Builder::deadlock_warning`](crate::Builder::deadlock_warning)).
//!
//! A report takes time in proportion to the number of tasks, since the warning is given in a program that goes
//! on; and it lists at most [`MOST_LISTED`] of them.

use std::fmt;
use std::time::Duration;

use crate::inspect::place::Place;
use crate::inspect::purpose;
use crate::kernel::edge::trail::{self, Kind, LastUse, Name, Part, Thing, TrailKey};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{State, TaskRef};
use crate::kernel::wait::WaitFor;

/// How many tasks a report lists, and how many it draws of a cycle. The tasks of the cycle come before others,
/// older tasks before younger ones.
const MOST_LISTED: usize = 100;

/// Tasks wait for one another, and nothing can wake any of them. Prints as the report of the tasks, what each
/// waits for, and the cycle, if there is one.
///
/// Of more than 100 tasks, the report lists the tasks of the cycle and the oldest of the others, 100 in all.
#[derive(Debug)]
pub struct Deadlock {
    /// For how long nothing has moved, where the deadlock is only suspected.
    suspected_after: Option<Duration>,
    tasks: Vec<u64>,
    /// The tasks of the cycle.
    on_cycle: Vec<u64>,
    /// A line for each task that is listed.
    lines: Vec<String>,
    /// The tasks of the cycle and what they wait for; its end is its beginning.
    cycle: Vec<String>,
}

impl Deadlock {
    pub(crate) fn of(scheduler: &Scheduler, suspected_after: Option<Duration>) -> Deadlock {
        let names = TaskNames::of(scheduler);
        let does: Vec<_> =
            names.tasks.iter().map(|task| Does::of(task, names.run, Some(&names))).collect();
        let waits = names.tasks.iter().zip(&does);
        let waits: Vec<_> = waits.map(|(task, does)| names.place(does.awaited(task.id)?)).collect();
        let cycle = cycle(&waits);
        let mut is_listed = vec![false; names.tasks.len()];
        let oldest = 0..names.tasks.len();
        let mut room = MOST_LISTED;
        for at in cycle.iter().copied().chain(oldest) {
            if room > 0 && !std::mem::replace(&mut is_listed[at], true) {
                room -= 1;
            }
        }
        let lines = names.tasks.iter().zip(&does).zip(is_listed);
        let lines = lines.filter(|(_, is_listed)| *is_listed);
        Deadlock {
            suspected_after,
            tasks: names.tasks.iter().map(|task| task.id).collect(),
            on_cycle: cycle.iter().map(|&at| names.tasks[at].id).collect(),
            lines: lines
                .map(|((task, does), _)| {
                    let at = Place::of(task).map(|site| format!(", at {site}")).unwrap_or_default();
                    format!("{task} {}{at}", does.state())
                })
                .collect(),
            cycle: draw(&cycle, &names.tasks, &does),
        }
    }

    /// The numbers of the tasks that wait, the oldest first: see [`Task::id`](crate::task::Task::id).
    pub fn tasks(&self) -> &[u64] {
        &self.tasks
    }

    /// The numbers of the tasks that wait for one another in a circle, each for the next, and the last for the first; empty,
    /// where there is no such circle.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use wouldblock::{Builder, green, group::gather, sync::Mutex};
    ///
    /// let deadlock = Builder::new().try_run(|| {
    ///     let (a, b) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
    ///     let tasks = [(a.clone(), b.clone()), (b, a)].map(|(first, second)| {
    ///         green::spawn(move || {
    ///             let _first = first.lock();
    ///             green::yield_now();
    ///             let _second = second.lock();
    ///         })
    ///     });
    ///     green::wait(gather(tasks));
    /// });
    /// let deadlock = deadlock.unwrap_err();
    /// assert_eq!((deadlock.tasks(), deadlock.cycle()), (&[1, 2, 3][..], &[2, 3][..]));
    /// ```
    pub fn cycle(&self) -> &[u64] {
        &self.on_cycle
    }
}

/// The cycle as a list of what lies on it.
fn draw(cycle: &[usize], tasks: &[TaskRef], does: &[Does<'_>]) -> Vec<String> {
    let mut drawn = Vec::new();
    let task = |at: usize| format!("task {}", tasks[at].id);
    for &at in cycle.iter().take(MOST_LISTED) {
        drawn.push(task(at));
        drawn.extend(does[at].through().map(|through| through.to_string()));
    }
    if cycle.len() > MOST_LISTED {
        drawn.push(format!("… {} more tasks …", cycle.len() - MOST_LISTED));
    }
    drawn.extend(cycle.first().map(|&first| task(first)));
    drawn
}

/// What a task does. Prints as in reports and tables: `waits for task 3`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It has its turn.
    Running,
    /// It is in the run queue.
    Ready,
    /// It waits.
    #[non_exhaustive]
    Waiting {
        /// For what.
        what: WaitFor,
        /// Of a lock, a queue and the like: the task that has last used it, as `held by task 3 "fetch",
        /// src/main.rs:10:9`.
        last_used: Option<String>,
        /// Of the descriptor by which the task waits for a child process, for signals or for a connection: what it is
        /// for, as `child 1234 to end`, `SIGINT or SIGTERM` or `a connection on descriptor 11`.
        purpose: Option<String>,
    },
    /// Its code has ended, and its result is being handed over.
    Ending,
    /// It was abandoned at the end of the run: it has caught its cancellation again and again, or had to wait while the
    /// thread was panicking. It gets no further turn.
    Abandoned,
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskState::Running => f.write_str("runs"),
            TaskState::Ready => write!(f, "{}", WaitFor::Turn),
            TaskState::Waiting { purpose: Some(purpose), .. } => write!(f, "waits for {purpose}"),
            TaskState::Waiting { what, last_used: None, .. } => write!(f, "{what}"),
            TaskState::Waiting { what, last_used: Some(last), .. } => write!(f, "{what} ({last})"),
            TaskState::Ending => f.write_str("ends"),
            TaskState::Abandoned => f.write_str("is abandoned"),
        }
    }
}

/// What a task of this thread does, with what it takes to find the task that it waits for.
#[derive(Clone, Copy)]
pub(crate) struct Does<'a> {
    state: State,
    waiting: WaitFor,
    /// The run that the task belongs to.
    run: u32,
    names: Option<&'a TaskNames>,
}

impl Does<'_> {
    pub(crate) fn of<'a>(task: &TaskRef, run: u32, names: Option<&'a TaskNames>) -> Does<'a> {
        let local = task.local();
        let state = local.state.get();
        let waits = matches!(state, State::Waiting | State::Abandoned);
        let waiting = if waits { local.waiting.get() } else { WaitFor::Turn };
        Does { state, waiting, run, names }
    }

    /// The task of the same run that it waits for, where that is known; `own` is its own number.
    fn awaited(&self, own: u64) -> Option<u64> {
        match self.waiting {
            WaitFor::Task(id) => Some(id),
            WaitFor::Thing(Thing(Name::Trail(key))) => {
                let (_, last) = trail::find(key)?;
                let LastUse { task, part, .. } = last.filter(|last| last.run == self.run)?;
                let waits_for_it = match part {
                    Part::Holds => true,
                    Part::GaveBack => false,
                    Part::Serves => task != own, // What it waits for is that another does so.
                };
                waits_for_it.then_some(task)
            }
            _ => None,
        }
    }

    pub(crate) fn state(&self) -> TaskState {
        match (self.state, self.waiting) {
            (State::Running | State::Woken, _) => TaskState::Running,
            (State::Done, _) => TaskState::Ending,
            (State::Abandoned, WaitFor::Turn) => TaskState::Abandoned,
            (_, WaitFor::Turn) => TaskState::Ready,
            (_, WaitFor::Thing(thing)) => TaskState::Waiting {
                what: WaitFor::Thing(thing.kept()),
                last_used: self.through().and_then(|through| through.last_used()),
                purpose: None,
            },
            (_, what) => {
                let purpose = match what {
                    WaitFor::Readable(id) => purpose::of(id.fd()),
                    _ => None,
                };
                TaskState::Waiting { what, last_used: None, purpose }
            }
        }
    }

    /// The lock, the queue and the like through which it waits for that task.
    fn through(&self) -> Option<Through<'_>> {
        match self.waiting {
            WaitFor::Thing(Thing(Name::Trail(key))) => {
                Some(Through { key, run: self.run, names: self.names })
            }
            _ => None,
        }
    }
}

/// The tasks of a run that are not done, to be found by their numbers.
pub(crate) struct TaskNames {
    run: u32,
    /// By their numbers.
    tasks: Vec<TaskRef>,
}

impl TaskNames {
    pub(crate) fn of(scheduler: &Scheduler) -> TaskNames {
        TaskNames { run: scheduler.home.run, tasks: scheduler.tasks.borrow().by_age() }
    }

    /// Where in `tasks` the task with this number is.
    fn place(&self, id: u64) -> Option<usize> {
        self.tasks.binary_search_by_key(&id, |task| task.id).ok()
    }
}

/// What lies between two tasks, as a trail has it: `a mutex (held by task 3 "fetch", src/main.rs:10:9)`.
struct Through<'a> {
    key: TrailKey,
    /// The run of the task that waits.
    run: u32,
    names: Option<&'a TaskNames>,
}

impl Through<'_> {
    /// What is in the brackets.
    fn last_used(&self) -> Option<String> {
        let (Kind { how, .. }, last) = trail::find(self.key)?;
        let LastUse { task: id, run, site, .. } = last?;
        let name = match self.names {
            _ if run != self.run => " of another run".to_owned(),
            None => String::new(),
            Some(names) => match names.place(id).map(|place| &names.tasks[place].name) {
                Some(Some(name)) => format!(" {name:?}"),
                Some(None) => String::new(),
                None => ", which has ended".to_owned(),
            },
        };
        let site = site.map_or_else(String::new, |site| format!(", {site}"));
        Some(format!("{how} task {id}{name}{site}"))
    }
}

impl fmt::Display for Through<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Thing(Name::Trail(self.key)))?;
        self.last_used().map_or(Ok(()), |last| write!(f, " ({last})"))
    }
}

/// The first cycle among tasks of which each waits for the one at the place given, if any. Each place is visited
/// once.
fn cycle(waits: &[Option<usize>]) -> Vec<usize> {
    let mut visited_from = vec![None; waits.len()];
    for start in 0..waits.len() {
        let mut at = Some(start);
        while let Some(here) = at {
            match visited_from[here] {
                None => visited_from[here] = Some(start),
                Some(earlier) if earlier == start => {
                    let path = std::iter::successors(waits[here], |&at| waits[at]);
                    return std::iter::once(here)
                        .chain(path.take_while(|&at| at != here))
                        .collect();
                }
                Some(_) => break, // From here, an earlier walk has found no cycle.
            }
            at = waits[here];
        }
    }
    Vec::new()
}

impl std::error::Error for Deadlock {}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.tasks.len();
        let tasks = if n == 1 { "task waits" } else { "tasks wait" };
        match (self.suspected_after, n) {
            (None, 1) => f.write_str("deadlock: 1 task waits, and nothing can wake it")?,
            (None, _) => write!(f, "deadlock: {n} tasks wait, and nothing can wake any of them")?,
            (Some(time), _) => write!(
                f,
                "deadlock? For {} s, nothing has moved: {n} {tasks} for code that keeps a waker, \
                 which may be one of them",
                time.as_secs_f64()
            )?,
        }
        for line in &self.lines {
            write!(f, "\n  {line}")?;
        }
        if n > self.lines.len() {
            write!(f, "\n  … and {} more", n - self.lines.len())?;
        }
        if !self.cycle.is_empty() {
            write!(f, "\n  cycle: {}", self.cycle.join(" → "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_found_from_wherever_one_begins() {
        let waits = [Some(1), Some(2), Some(3), Some(1), None, Some(6), None];
        assert_eq!(cycle(&waits), [1, 2, 3]);
        assert!(cycle(&[Some(1), Some(2), None]).is_empty());
        assert!(cycle(&[]).is_empty());
        assert_eq!(cycle(&[None, Some(1)]), [1]);
        assert_eq!(cycle(&[Some(2), Some(0), None, Some(4), Some(3)]), [3, 4]);
    }

    #[test]
    fn each_task_of_a_chain_is_visited_once() {
        // In a walk from each task to the end of the chain, these would be 10^12 visits.
        const LENGTH: usize = 1_000_000;
        let up: Vec<_> = (1..=LENGTH).map(|next| (next < LENGTH).then_some(next)).collect();
        assert!(cycle(&up).is_empty());
        let down: Vec<_> = (0..LENGTH).map(|at: usize| at.checked_sub(1)).collect();
        assert!(cycle(&down).is_empty());
        let ring: Vec<_> = (0..LENGTH).map(|at| Some((at + 1) % LENGTH)).collect();
        assert_eq!(cycle(&ring).len(), LENGTH);
    }
}
