//! The table of tasks: which there are, what each does, and since when.
//!
//! ```text
//! task 1 "root" (green, spawned at src/main.rs:30:5): runs, 3 turns, stack 8 of 256 KiB
//!   task 2 "fetch" (green, spawned at src/main.rs:12:9): waits to read from descriptor 9 for 1.50 s, at src/main.rs:14:9, 4 turns, stack 36 of 256 KiB
//!     task 3 (future, spawned at src/main.rs:15:9): sleeps for 0.20 s, 7 turns
//! stacks, by where their tasks were spawned:
//!   src/main.rs:12:9: at most 36 of 256 KiB used, by 1 task
//! ```

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::inspect::deadlock::{TaskNames, TaskState};
use crate::inspect::tree::{self, TableRow};
use crate::kernel;
use crate::kernel::scheduler::Scheduler;
use crate::run::runtime::Runtime;
use crate::task::Task;

/// Every task of this thread's run that is not done, the oldest first; none outside of a run.
///
/// A program that runs can be asked for it from outside: [`Builder::tasks_on_signal`](crate::Builder::tasks_on_signal).
///
/// ```
/// use wouldblock::{TaskState, green, task, tasks};
///
/// wouldblock::run(|| {
///     let napper = task::Builder::new().name("napper").spawn(|| green::yield_now());
///     green::yield_now();
///     let table = tasks();
///     assert_eq!(table.tasks.len(), 2);
///     assert_eq!((&table.tasks[1].state, table.tasks[1].turns), (&TaskState::Ready, 1));
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

/// See [`tasks`]. Prints as a tree by parent (levels beyond 32 are given as a number), with how deep the stacks have
/// been where their tasks were spawned: what a stack size needs to be.
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
    /// Which task it is: its number, name, era, and where it was spawned.
    pub task: Task,
    /// What it does. Prints as "waits to read from descriptor 9".
    pub state: TaskState,
    /// For how long it has waited, to some milliseconds. `None`: it does not wait.
    pub waits: Option<Duration>,
    /// Where in the program it waits. `None`: it does not wait; or it is a future, which keeps no stack between its polls;
    /// or the call that waits is a library's.
    pub waits_at: Option<&'static Location<'static>>,
    /// How many turns it has had (modulo 2^32).
    pub turns: u32,
    /// How deep its stack has been, in bytes: see [`Task::stack_used`].
    pub stack_used: Option<usize>,
}

impl Tasks {
    fn of(scheduler: &Scheduler) -> Tasks {
        let names = TaskNames::of(scheduler);
        let info = |task: kernel::task::TaskRef| {
            let TableRow { state, waits, waits_at, turns, stack_used, .. } =
                TableRow::of(&task, scheduler, &names);
            TaskInfo { state, waits, waits_at, turns, stack_used, task: Task(task.into_shared()) }
        };
        Tasks { tasks: scheduler.tasks.borrow().by_age().into_iter().map(info).collect() }
    }
}

impl TaskInfo {
    fn row(&self) -> TableRow<'_> {
        TableRow {
            task: &self.task.0,
            state: self.state.clone(),
            waits: self.waits,
            waits_at: self.waits_at,
            turns: self.turns,
            stack_used: self.stack_used,
            parent: self.task.parent().unwrap_or(0),
            up: 0,
        }
    }
}

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tree::draw(f, &mut self.tasks.iter().map(TaskInfo::row).collect::<Vec<_>>())
    }
}

/// `task 2 "fetch" (green, spawned at src/main.rs:12:9): sleeps for 0.20 s, at src/main.rs:14:9, 7 turns, stack 36 of 256 KiB`
impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.row().fmt(f)
    }
}
