//! Counts of a run.

use crate::kernel::coroutine;
use crate::kernel::here::in_task;
use crate::kernel::scheduler::Scheduler;

/// What has happened so far in a run, and what there is in it at the moment: see [`stats()`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Turns given: how often a task was resumed.
    pub turns: u64,
    /// How often a socket answered `WouldBlock`.
    pub would_block: u64,
    /// Tasks spawned, the root among them.
    pub spawned: u64,
    /// Tasks that are done.
    pub finished: u64,
    /// Those of them that panicked, or had no stack.
    pub panicked: u64,
    /// Those of them that were cancelled.
    pub cancelled: u64,
    /// Tasks that are not done.
    pub alive: u64,
    /// How often a waiting task was made ready.
    pub wakes: u64,
    /// How often the operating system was polled for what is ready.
    pub polls: u64,
    /// Deadlines that are waited for.
    pub timers: usize,
    /// Stacks of this thread that tasks and generators are on.
    pub stacks_used: usize,
    /// Stacks of this thread that are kept for the next task, with the memory they have touched: as many as
    /// were in use at once at the recent peak; after a run, at most 16 MiB of memory.
    pub stacks_kept: usize,
    /// Stacks of this thread that are kept as addresses: their memory was given back.
    pub stacks_cold: usize,
}

/// Counts of the present run; all zero outside of one.
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
            // The turn that this is called in, if it is, has been given too.
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
