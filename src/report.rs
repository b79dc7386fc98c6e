//! What is said when nothing moves any more: every task, what it waits for, and who waits for whom.
//!
//! ```text
//! deadlock: 3 tasks wait, and nothing can wake any of them
//!   task 1 "root" (green, spawned at src/main.rs:4:5) waits for task 2
//!   task 2 (green, spawned at src/main.rs:5:13) waits for task 3
//!   task 3 (future, spawned at src/main.rs:9:13) waits for task 2
//!   cycle: task 2 → task 3 → task 2
//! ```
//!
//! A cycle may lead through a lock, a queue and the like, which keep a [`Trail`] of the task that has last
//! had its hands on them: `task 2 → a mutex (held by task 3, src/main.rs:10:9) → task 3 → task 2`.
//!
//! It is certain when no task is ready, asleep, waiting for a socket or for [`offload`](crate::offload())ed
//! work, and nobody keeps a waker: then the run ends with it. Where somebody does keep a waker, which may
//! be a channel of another crate, on this thread or another, it is a warning, given once, after ten seconds
//! in which nothing moved.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;

use crate::kernel::scheduler::{Scheduler, with_task};
use crate::kernel::task::{Cause, State, Task, Wait, Waiting};
use crate::trail::{self, Step, TrailKey};

pub(crate) use crate::trail::Kind;

/// Tasks wait for one another, and nothing can wake any of them. Prints as the report of all tasks, what
/// each waits for, and the cycle, if there is one.
#[derive(Debug)]
pub struct Deadlock {
    certain: bool,
    lines: Vec<String>,
    cycle: Vec<String>,
}

impl Deadlock {
    pub(crate) fn of(scheduler: &Scheduler, certain: bool) -> Deadlock {
        let names = names(scheduler);
        let mut lines = Vec::new();
        let mut waits = HashMap::new();
        let mut through = HashMap::new();
        for task in scheduler.all_tasks() {
            let does = Does::of(&task, Some(&names));
            waits.extend(does.whom().map(|whom| (task.id, whom)));
            through.extend(does.through().map(|by| (task.id, by.to_string())));
            lines.push(format!("{task} {does}"));
        }
        let mut drawn = Vec::new();
        for id in cycle(&waits) {
            drawn.push(format!("task {id}"));
            drawn.extend(through.remove(&id)); // Once: the end of a cycle is its beginning.
        }
        Deadlock { certain, lines, cycle: drawn }
    }
}

/// What a task of this thread does. Prints for a person to read, as `waits for task 3`; for a signal handler
/// too, if no names are given: then it neither locks nor allocates.
#[derive(Clone, Copy)]
pub(crate) struct Does<'a> {
    pub(crate) state: State,
    waiting: Waiting,
    names: Option<&'a Names>,
}

impl Does<'_> {
    pub(crate) fn of<'a>(task: &Task, names: Option<&'a Names>) -> Does<'a> {
        // SAFETY: the caller's scheduler is this thread's, and so are its tasks.
        let local = unsafe { task.local() };
        let state = local.state.get();
        let waiting = if state == State::Waiting { local.waiting.get() } else { Waiting::No };
        Does { state, waiting, names }
    }

    /// Whom it waits for.
    fn whom(&self) -> Option<u64> {
        match self.waiting {
            Waiting::Task(id) => Some(id),
            Waiting::Trail(key) => trail::told(key)?.1.map(|step| step.task),
            _ => None,
        }
    }

    /// Through what it waits for them.
    fn through(&self) -> Option<Through<'_>> {
        match self.waiting {
            Waiting::Trail(key) => Some(Through { key, names: self.names }),
            _ => None,
        }
    }
}

impl fmt::Display for Does<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.state, self.waiting) {
            (State::Running | State::Woken, _) => f.write_str("runs"),
            (State::Done, _) => f.write_str("ends"),
            (_, Waiting::No) => f.write_str("is ready"),
            (_, Waiting::Read(id)) => write!(f, "waits to read from descriptor {}", id.fd()),
            (_, Waiting::Write(id)) => write!(f, "waits to write to descriptor {}", id.fd()),
            (_, Waiting::Time) => f.write_str("sleeps"),
            (_, Waiting::Waker) => f.write_str("waits for somebody to wake it"),
            (_, Waiting::Named(what)) => write!(f, "waits for {what}"),
            (_, Waiting::Task(id)) => write!(f, "waits for task {id}"),
            (_, Waiting::Trail(key)) => {
                write!(f, "waits for {}", Through { key, names: self.names })
            }
        }
    }
}

/// How tasks are called in what is said of others, by their numbers.
pub(crate) type Names = HashMap<u64, String>;

pub(crate) fn names(scheduler: &Scheduler) -> Names {
    scheduler.all_tasks().iter().map(|task| (task.id, name(task))).collect()
}

/// `task 3 "fetch"`
fn name(task: &Task) -> String {
    match &task.name {
        Some(name) => format!("task {} {name:?}", task.id),
        None => format!("task {}", task.id),
    }
}

/// Which task has last had its hands on something, and where in the source.
///
/// It is told to the reports only once somebody waits, so that it costs little until then.
#[derive(Debug)]
pub(crate) struct Trail {
    kind: &'static Kind,
    last: Cell<Option<Step>>,
    key: Cell<Option<TrailKey>>,
    stays: PhantomData<*const ()>,
}

impl Trail {
    pub(crate) const fn new(kind: &'static Kind) -> Trail {
        Trail { kind, last: Cell::new(None), key: Cell::new(None), stays: PhantomData }
    }

    /// The running task has its hands on it.
    #[inline]
    pub(crate) fn step(&self, site: Option<&'static Location<'static>>) {
        self.left_by(with_task(|task| task.id), site);
    }

    /// As [`step`](Trail::step), for another task; `None`: nobody is to be named.
    pub(crate) fn left_by(&self, task: Option<u64>, site: Option<&'static Location<'static>>) {
        self.last.set(task.map(|task| Step { task, site }));
        if let Some(key) = self.key.get() {
            trail::tell_again(key, self.last.get());
        }
    }

    /// What to leave at the door when one waits for it.
    pub(crate) fn wait(&self) -> Wait {
        let key = self.key.get().unwrap_or_else(|| self.tell());
        Wait { cause: Cause::Trail(key), ..Wait::PARKED }
    }

    #[cold]
    fn tell(&self) -> TrailKey {
        let key = trail::tell(self.kind, self.last.get());
        self.key.set(Some(key));
        key
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if let Some(key) = self.key.get() {
            trail::forget(key);
        }
    }
}

/// What lies between two tasks, as a trail tells it: `a mutex (held by task 3 "fetch", src/main.rs:10:9)`.
struct Through<'a> {
    key: TrailKey,
    names: Option<&'a Names>,
}

impl fmt::Display for Through<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((Kind { what, how }, last)) = trail::told(self.key) else {
            return f.write_str("something that is gone");
        };
        f.write_str(what)?;
        let Some(Step { task, site }) = last else { return Ok(()) };
        match self.names.map(|names| names.get(&task)) {
            Some(Some(name)) => write!(f, " ({how} {name}")?,
            Some(None) => write!(f, " ({how} task {task}, which has ended")?,
            None => write!(f, " ({how} task {task}")?,
        }
        if let Some(site) = site {
            write!(f, ", {site}")?;
        }
        f.write_str(")")
    }
}

/// The first cycle among those who wait for one another, closed (its end is its beginning); or nothing.
fn cycle(waits: &HashMap<u64, u64>) -> Vec<u64> {
    let mut starts: Vec<_> = waits.keys().copied().collect();
    starts.sort_unstable();
    for start in starts {
        let mut path = vec![start];
        while let Some(&next) = waits.get(path.last().expect("it has a start")) {
            path.push(next);
            if let Some(first) = path[..path.len() - 1].iter().position(|&id| id == next) {
                return path.split_off(first);
            }
        }
    }
    Vec::new()
}

impl std::error::Error for Deadlock {}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.lines.len();
        let tasks = if n == 1 { "task waits" } else { "tasks wait" };
        match (self.certain, n) {
            (true, 1) => f.write_str("deadlock: 1 task waits, and nothing can wake it")?,
            (true, _) => write!(f, "deadlock: {n} tasks wait, and nothing can wake any of them")?,
            (false, _) => write!(
                f,
                "deadlock? For 10 s, nothing has moved: {n} {tasks} for somebody who keeps a waker, \
                 which may be one of them"
            )?,
        }
        for line in &self.lines {
            write!(f, "\n  {line}")?;
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
        let waits = [(1, 2), (2, 3), (3, 4), (4, 2), (7, 8)];
        assert_eq!(cycle(&waits.into()), [2, 3, 4, 2]);
        assert!(cycle(&[(1, 2), (2, 3)].into()).is_empty());
        assert_eq!(cycle(&[(5, 5)].into()), [5, 5]);
    }
}
