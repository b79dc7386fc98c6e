//! Counts of a run.

use crate::kernel::coroutine;
use crate::kernel::here::in_task;
use crate::kernel::scheduler::Scheduler;

/// Counts of what has happened in a run so far, and of what it has at the moment: see [`stats()`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Turns given: how often a task was resumed.
    pub turns: u64,
    /// How often a system call on a socket returned `WouldBlock`.
    pub would_block: u64,
    /// Tasks spawned, the root among them.
    pub spawned: u64,
    /// Tasks that are done.
    pub finished: u64,
    /// Tasks that are done and have panicked, or for which there was no stack.
    pub panicked: u64,
    /// Tasks that are done and were cancelled.
    pub cancelled: u64,
    /// Tasks that are not done.
    pub alive: u64,
    /// How often a waiting task was made ready.
    pub wakes: u64,
    /// How often the scheduler polled the operating system for sockets that are ready.
    pub polls: u64,
    /// Deadlines of tasks that wait.
    pub timers: usize,
    /// Stacks of this thread that tasks and generators use.
    pub stacks_used: usize,
    /// Idle stacks of this thread that are kept for the next tasks, with their memory: as many as were in use at once at
    /// the recent peak; after a run, those of at most 16 MiB of memory.
    pub stacks_kept: usize,
    /// Idle stacks of this thread that are kept for the next tasks, and whose memory was given back.
    pub stacks_cold: usize,
}

/// Returns the counts of this thread's run; all are zero outside of a run.
///
/// ```
/// let stats = wouldblock::run(|| {
///     wouldblock::green::yield_now();
///     wouldblock::stats()
/// });
/// assert_eq!((stats.turns, stats.spawned), (2, 1));
/// ```
pub fn stats() -> Stats {
    Scheduler::with(|scheduler| {
        let Some(scheduler) = scheduler else { return Stats::default() };
        let counters = &scheduler.counters;
        let (stacks_used, stacks_kept, stacks_cold) =
            coroutine::with_pools(|pools| pools.count()).unwrap_or_default();
        let spare = scheduler.poll_fiber.take();
        let idle = usize::from(spare.is_some()); // It is kept for the next poll of a future.
        scheduler.poll_fiber.set(spare);
        Stats {
            // A turn is counted when it is over: the present one counts too.
            turns: scheduler.pace.turns() + u64::from(in_task()),
            would_block: counters.would_block.get(),
            spawned: counters.spawned.get(),
            finished: counters.finished.get(),
            panicked: counters.panicked.get(),
            cancelled: counters.cancelled.get(),
            alive: counters.spawned.get() - counters.finished.get(),
            wakes: counters.wakes.get(),
            polls: counters.polls.get(),
            timers: scheduler.timers.borrow().len(),
            stacks_used: stacks_used.saturating_sub(idle),
            stacks_kept: stacks_kept + idle,
            stacks_cold,
        }
    })
}
