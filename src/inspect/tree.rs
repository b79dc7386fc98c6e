//! The table of tasks as a text: a row for each, below the task that spawned it; then how deep their stacks have
//! been.

use std::fmt::{self, Display, Write};
use std::panic::Location;
use std::time::Duration;

use crate::inspect::deadlock::{Does, TaskNames, TaskState};
use crate::inspect::place::Place;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Task, TaskRef};
use crate::run::stack_size;

/// How deep rows are indented. Those of deeper tasks have their depth as a number: in a chain of ten thousand tasks,
/// the indentation alone would be a hundred megabytes.
const DEEPEST: usize = 32;

/// A row of the table.
pub(crate) struct TableRow<'a> {
    pub(crate) task: &'a Task,
    pub(crate) state: TaskState,
    pub(crate) waits: Option<Duration>,
    /// Where in the program it waits.
    pub(crate) waits_at: Option<&'static Location<'static>>,
    pub(crate) turns: u32,
    pub(crate) stack_used: Option<usize>,
    /// The number of the task that spawned it; 0 if that is not in the table.
    pub(crate) parent: u64,
    /// The index of its parent's row, once that is drawn.
    pub(crate) up: usize,
}

impl<'a> TableRow<'a> {
    /// The row of a task of that scheduler, which is this thread's.
    pub(crate) fn of(task: &'a TaskRef, scheduler: &Scheduler, names: &TaskNames) -> Self {
        let local = task.local();
        let state = Does::of(task, scheduler.home.run, Some(names)).state();
        let now = scheduler.clock.tick(scheduler.clock.now()) as u32;
        let waits = Duration::from_millis(now.wrapping_sub(local.since.get()).into());
        TableRow {
            task,
            waits: matches!(state, TaskState::Waiting { .. }).then_some(waits),
            waits_at: Place::of(task),
            turns: local.turns.get(),
            state,
            stack_used: stack_size::touched(local.stack.get(), task.stack_size as usize),
            parent: local.parent.into(),
            up: 0,
        }
    }
}

/// Draws the table, and leaves the rows in another order.
pub(crate) fn draw(out: &mut impl Write, rows: &mut [TableRow<'_>]) -> fmt::Result {
    draw_tree(out, rows)?;
    draw_stacks(out, rows)
}

fn draw_tree(out: &mut impl Write, rows: &mut [TableRow<'_>]) -> fmt::Result {
    rows.sort_unstable_by_key(|row| row.task.id);
    for at in 0..rows.len() {
        if rows.binary_search_by_key(&rows[at].parent, |row| row.task.id).is_err() {
            rows[at].parent = 0;
        }
    }
    // Now the children of a task lie together, the oldest first; and those without a parent come first of all.
    rows.sort_unstable_by_key(|row| (row.parent, row.task.id));
    let (mut at, mut depth) = (0, 0);
    while at < rows.len() {
        write!(out, "{:1$}", "", 2 * depth.min(DEEPEST))?;
        if depth > DEEPEST {
            write!(out, "(level {depth}) ")?;
        }
        writeln!(out, "{}", rows[at])?;
        let id = rows[at].task.id;
        let child = rows.partition_point(|row| row.parent < id);
        if rows.get(child).is_some_and(|row| row.parent == id) {
            rows[child].up = at;
            (at, depth) = (child, depth + 1);
            continue;
        }
        while depth > 0 && rows.get(at + 1).is_none_or(|next| next.parent != rows[at].parent) {
            (at, depth) = (rows[at].up, depth - 1);
        }
        at += 1;
        match rows.get(at).is_some_and(|next| next.parent == rows[at - 1].parent) {
            true => rows[at].up = rows[at - 1].up,
            false => break,
        }
    }
    Ok(())
}

fn draw_stacks(out: &mut impl Write, rows: &mut [TableRow<'_>]) -> fmt::Result {
    let site =
        |task: &Task| (task.site.file(), task.site.line(), task.site.column(), task.stack_size);
    rows.sort_unstable_by_key(|row| site(row.task));
    let mut begun = false;
    for of_one_site in rows.chunk_by(|a, b| site(a.task) == site(b.task)) {
        let used = of_one_site.iter().filter_map(|row| row.stack_used);
        let (count, task) = (used.clone().count(), of_one_site[0].task);
        let Some(used) = used.max() else { continue };
        if !std::mem::replace(&mut begun, true) {
            out.write_str("stacks, by where their tasks were spawned:\n")?;
        }
        let (used, size) = (used.div_ceil(1024), task.stack_size / 1024);
        let tasks = if count == 1 { "task" } else { "tasks" };
        writeln!(out, "  {}: at most {used} of {size} KiB used, by {count} {tasks}", task.site)?;
    }
    Ok(())
}

/// `task 2 "fetch" (green, spawned at src/main.rs:12:9): sleeps for 0.20 s, at src/main.rs:14:9, 7 turns, stack 36 of 256 KiB`
impl Display for TableRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.task, self.state)?;
        if let Some(waits) = self.waits {
            write!(f, " for {:.2} s", waits.as_secs_f64())?;
        }
        if let Some(site) = self.waits_at {
            write!(f, ", at {site}")?;
        }
        let turns = if self.turns == 1 { "turn" } else { "turns" };
        write!(f, ", {} {turns}", self.turns)?;
        if let Some(used) = self.stack_used {
            write!(f, ", stack {} of {} KiB", used.div_ceil(1024), self.task.stack_size / 1024)?;
        }
        Ok(())
    }
}
