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
//! It is certain when no task is ready, asleep, waiting for a socket or for [`offload`](crate::offload())ed
//! work, and nobody keeps a waker: then the run ends with it. Where somebody does keep a waker, which may
//! be a channel of another crate, on this thread or another, it is a warning, given once, after ten seconds
//! in which nothing moved.

use std::collections::HashMap;
use std::fmt;

use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Cause, Waiting};

/// Tasks wait for one another, and nothing can wake any of them. Prints as the report of all tasks, what
/// each waits for, and the cycle, if there is one.
#[derive(Debug)]
pub struct Deadlock {
    certain: bool,
    lines: Vec<String>,
    cycle: Vec<u64>,
}

impl Deadlock {
    pub(crate) fn of(scheduler: &Scheduler, certain: bool) -> Deadlock {
        let mut lines = Vec::new();
        let mut waits = HashMap::new();
        scheduler.each_task(|task| {
            // SAFETY: the scheduler is this thread's, and so are its tasks.
            let waiting = unsafe { task.local() }.waiting.get();
            let what = match waiting {
                Waiting::No => "is ready".into(),
                Waiting::Read(id) => {
                    format!("waits to read from descriptor {}", id.fd())
                }
                Waiting::Write(id) => {
                    format!("waits to write to descriptor {}", id.fd())
                }
                Waiting::Time => "sleeps".into(),
                Waiting::Parked(Cause::Waker) => "waits for somebody to wake it".into(),
                Waiting::Parked(Cause::Named(what)) => format!("waits for {what}"),
                Waiting::Parked(Cause::Task(id)) => {
                    waits.insert(task.id, id);
                    format!("waits for task {id}")
                }
            };
            lines.push(format!("{task} {what}"));
        });
        Deadlock { certain, cycle: cycle(&waits), lines }
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
            let cycle: Vec<_> = self.cycle.iter().map(|id| format!("task {id}")).collect();
            write!(f, "\n  cycle: {}", cycle.join(" → "))?;
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
