//! The table of tasks: who there is, what each does, and since when.
//!
//! ```text
//! task 1 "root" (green, spawned at src/main.rs:30:5): runs, 3 turns, stack 8 of 256 KiB
//!   task 2 "fetch" (green, spawned at src/main.rs:12:9): waits to read from descriptor 9 for 1.50 s, 4 turns, stack 36 of 256 KiB
//!     task 3 (future, spawned at src/main.rs:15:9): sleeps for 0.20 s, 7 turns
//! stacks, by where their tasks were spawned:
//!   src/main.rs:12:9: at most 36 of 256 KiB used, by 1 task
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::State;
use crate::report::{self, doing};
use crate::runtime::Runtime;
use crate::task::Task;

/// Every task of this thread's run that is not done, the oldest first; none outside of a run.
///
/// ```
/// use wouldblock::{green, task, tasks};
///
/// wouldblock::run(|| {
///     let napper = task::Builder::new().name("napper").spawn_green(|| green::yield_now());
///     green::yield_now();
///     let table = tasks();
///     assert_eq!(table.tasks.len(), 2);
///     assert_eq!((table.tasks[1].does.as_str(), table.tasks[1].turns), ("is ready", 1));
///     println!("{table}");
///     # napper.join().unwrap();
/// });
/// ```
pub fn tasks() -> Tasks {
    Scheduler::with(|scheduler| scheduler.map(Tasks::of).unwrap_or_default())
}

impl Runtime {
    /// Every task of this runtime that is not done, the oldest first.
    pub fn tasks(&self) -> Tasks {
        self.enter(tasks)
    }
}

/// See [`tasks`]. Prints as a tree of who spawned whom, with how deep the stacks have been where their tasks
/// were spawned: what a stack size needs to be.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tasks {
    /// The oldest first.
    pub tasks: Vec<TaskInfo>,
}

/// What is known of a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Who it is: its number, name, era, and where it was spawned.
    pub task: Task,
    /// What it does, for a person to read: "waits to read from descriptor 9".
    pub does: String,
    /// For how long it has waited, to some milliseconds. `None`: it does not wait.
    pub waits: Option<Duration>,
    /// How many turns it has had (modulo 2^32).
    pub turns: u32,
    /// How deep its stack has been, in bytes: see [`Task::stack_used`].
    pub stack_used: Option<usize>,
}

impl Tasks {
    fn of(scheduler: &Scheduler) -> Tasks {
        let names = report::names(scheduler);
        let mut tasks = Vec::new();
        for task in scheduler.all_tasks() {
            // SAFETY: the scheduler is this thread's, and so are its tasks.
            let local = unsafe { task.local() };
            let waits = local.state.get() == State::Waiting;
            let (does, turns) = (doing(&task, &names).what, local.turns.get());
            let waits = waits.then(|| scheduler.time_since(local.since.get()));
            let task = Task(task);
            let stack_used = task.stack_used();
            tasks.push(TaskInfo { task, does, waits, turns, stack_used });
        }
        Tasks { tasks }
    }

    /// The tasks in the order of a tree, each with its depth: whoever has no parent left is a root.
    fn tree(&self) -> Vec<(usize, &TaskInfo)> {
        let mut children = BTreeMap::<u64, Vec<&TaskInfo>>::new();
        let alive: BTreeSet<_> = self.tasks.iter().map(|info| info.task.id()).collect();
        for info in &self.tasks {
            let parent = info.task.parent().filter(|id| alive.contains(id)).unwrap_or(0);
            children.entry(parent).or_default().push(info);
        }
        let mut rows = Vec::new();
        let mut left: Vec<_> = children
            .remove(&0)
            .unwrap_or_default()
            .into_iter()
            .rev()
            .map(|info| (0, info))
            .collect();
        while let Some((depth, info)) = left.pop() {
            rows.push((depth, info));
            let children = children.remove(&info.task.id()).unwrap_or_default();
            left.extend(children.into_iter().rev().map(|child| (depth + 1, child)));
        }
        rows
    }
}

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, info) in self.tree() {
            writeln!(f, "{:1$}{info}", "", 2 * depth)?;
        }
        let mut sites = BTreeMap::new();
        for info in &self.tasks {
            let Some(used) = info.stack_used else { continue };
            let site = (info.task.spawned_at().to_string(), info.task.stack_size());
            let (most, count) = sites.entry(site).or_insert((0, 0));
            (*most, *count) = (used.max(*most), *count + 1);
        }
        if !sites.is_empty() {
            writeln!(f, "stacks, by where their tasks were spawned:")?;
        }
        for ((site, size), (used, count)) in sites {
            let (used, size) = (used.div_ceil(1024), size / 1024);
            let tasks = if count == 1 { "task" } else { "tasks" };
            writeln!(f, "  {site}: at most {used} of {size} KiB used, by {count} {tasks}")?;
        }
        Ok(())
    }
}

/// `task 2 "fetch" (green, spawned at src/main.rs:12:9): sleeps for 0.20 s, 7 turns, stack 36 of 256 KiB`
impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.task, self.does)?;
        if let Some(waits) = self.waits {
            write!(f, " for {:.2} s", waits.as_secs_f64())?;
        }
        let turns = if self.turns == 1 { "turn" } else { "turns" };
        write!(f, ", {} {turns}", self.turns)?;
        if let Some(used) = self.stack_used {
            let (used, size) = (used.div_ceil(1024), self.task.stack_size() / 1024);
            write!(f, ", stack {used} of {size} KiB")?;
        }
        Ok(())
    }
}
