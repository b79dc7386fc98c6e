//! The scheduler: a queue of ready tasks, and the loop that gives them their turns.
//!
//! ```text
//!             ┌───────────────────────────── wake ──────────────────────────────┐
//!             ▼                                                                 │
//!   ┌─ queue ────────────┐  pop   ┌─ turn ─────────────┐  a Wait   ┌─ filed under it ───────────┐
//!   │ ready, in order    │ ─────▶ │ resume until the   │ ────────▶ │ Readable, Writable: reactor│
//!   └────────────────────┘        │ next wait          │           │ Until, deadlines: timers   │
//!             ▲  ▲                └──┬──────────────┬──┘           │ Parked: whoever has a waker│
//!             │  └─── Wait::Turn ────┘              └─▶ done       └────────────────────────────┘
//!             └────── spawn
//! ```
//!
//! Round robin: first in, first out, so each ready task has one turn before any has a second. What
//! becomes ready in the meantime joins at the back.
//!
//! Between turns, `ask.rs` asks the operating system for events and the clock for due timers.
//!
//! Nothing of the scheduler's is borrowed while a task, or other code of the user's (`foreign.rs`), runs: it may
//! come back and spawn, wake or cancel.

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::time::{Duration, Instant};

use super::coroutine::{Fiber, Switch, as_root};
use super::edge::foreign::{Running, aside, running, while_no_task_runs};
use super::edge::fork::Original;
use super::edge::inbox::Inbox;
use super::edge::observe::{By, Observer, Outcome, What};
use super::edge::patience::{self, PATIENCE};
use super::edge::pulse::Pulse;
use super::edge::watch::{Watch, spawned, waits};
use super::queue::Queue;
use super::reactor::{Direction, Reactor, SourceId};
use super::table::Table;
use super::task::{
    Body, Home, Local, Setup, State, Task, Wait, WaitCell, WaitKind, Waiter, Waiting,
};
use super::timers::{Clock, Timers};

pub(crate) struct Scheduler {
    pub(crate) home: Arc<Home>,
    pub(crate) clock: Clock,
    pub(crate) stack_size: u32,
    /// What all chance in this run comes from.
    pub(crate) seed: u64,
    pub(crate) counters: Counters,
    /// The stack that futures are polled on, one after the other, of the run's stack size.
    pub(crate) polls: Cell<Option<Fiber>>,
    pub(crate) queue: Queue<Arc<Task>>,
    /// Every task that is not done.
    pub(crate) tasks: RefCell<Table>,
    pub(crate) timers: RefCell<Timers<Waiter>>,
    pub(crate) reactor: RefCell<Reactor<Waiter>>,
    original: Original,
    pub(crate) watch: Watch,
    /// How the task ends whose turn it is.
    pub(super) outcome: Cell<Outcome>,
    next_id: Cell<u64>,
    pub(crate) closing: Cell<bool>,
    /// The thread was unwinding already when it came to close this.
    pub(crate) unwinding: Cell<bool>,
    /// The scheduler of the thread in whose turn this one is entered.
    outer: Cell<*const Scheduler>,
    /// How many tasks are `Left`.
    pub(crate) left: Cell<usize>,
    /// How long nothing may move before a deadlock is suspected; `None`: for ever.
    pub(crate) patience: Cell<Option<Duration>>,
    /// Turns between two questions to the operating system, and how many of them are left.
    pub(crate) stride: Cell<u32>,
    pub(crate) countdown: Cell<u32>,
    /// Turns since the last question, in the strides before this one.
    pub(crate) given: Cell<u32>,
    pub(crate) asked: Cell<Instant>,
    /// Why the operating system gives no events any more.
    pub(crate) refused: RefCell<Option<String>>,
    /// The millisecond of the run at that time, modulo 2^32.
    pub(crate) looked: Cell<u32>,
}

/// How far a scheduler got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// As far as it was asked to.
    Done,
    /// Tasks wait, and nothing can wake any of them.
    Deadlock,
    /// Tasks have waited for as long as the run's patience lasts, and only a waker that is kept could wake them.
    Quiet,
}

/// How often what happened, since the start of the `run`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Up to the last question to the operating system.
    pub(crate) turns: Cell<u64>,
    pub(crate) would_block: Cell<u64>,
    /// Questions to the operating system.
    pub(crate) polls: Cell<u64>,
    pub(crate) wakes: Cell<u64>,
    pub(crate) spawned: Cell<u64>,
    pub(crate) finished: Cell<u64>,
    pub(crate) panicked: Cell<u64>,
    pub(crate) cancelled: Cell<u64>,
}

/// What this thread is doing.
pub(crate) struct Here {
    /// Valid while it is set.
    pub(crate) scheduler: Cell<*const Scheduler>,
    /// What the watchdog sees.
    pub(crate) pulse: Pulse,
    /// What the running task waits for: written when it gives up its turn, as the last thing before the switch, and
    /// read as the first thing after it.
    pub(crate) wait: WaitCell,
    /// Operations that may still complete in this turn without waiting.
    pub(crate) budget: Cell<u32>,
}

thread_local! {
    static HERE: Here = const {
        Here {
            scheduler: Cell::new(ptr::null()),
            pulse: Pulse::new(),
            wait: WaitCell::parked(),
            budget: Cell::new(0),
        }
    };
}

/// What this thread is doing.
#[inline]
pub(crate) fn here() -> &'static Here {
    let here = HERE.with(ptr::from_ref);
    // SAFETY: without a destructor, it lives as long as the thread; and a reference to it does not leave
    // the thread, since a `Here` is not `Sync`.
    unsafe { &*here }
}

/// The address of the task whose turn it is; null if there is none, and while foreign code runs. The task lives
/// while it is set.
#[inline]
pub(crate) fn running_task() -> *const Task {
    running().task.get().cast()
}

/// The task whose turn it is, if one has its turn on this thread.
pub(crate) fn current() -> Option<Arc<Task>> {
    // SAFETY: `turn` holds an `Arc` of the task while it is set; this makes another.
    with_task(|task| unsafe {
        Arc::increment_strong_count(task);
        Arc::from_raw(task)
    })
}

/// Calls `f` with the task whose turn it is.
#[inline]
pub(crate) fn with_task<R>(f: impl FnOnce(&Task) -> R) -> Option<R> {
    // SAFETY: `turn` holds an `Arc` of the task while it is set, and `f` is a part of that turn.
    unsafe { running_task().as_ref() }.map(f)
}

/// Whether a task has its turn on this thread, so that there is something to suspend.
#[inline]
pub(crate) fn in_task() -> bool {
    !running_task().is_null()
}

/// The home part of the task whose turn it is.
#[inline]
pub(crate) fn with_local<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    // SAFETY: a task has its turn on its home thread only.
    with_task(|task| f(unsafe { task.local() }))
}

/// The time, by the clock of this thread's scheduler.
pub(crate) fn now() -> Instant {
    Scheduler::with(|s| s.map_or_else(Instant::now, |s| s.clock.now()))
}

/// Operations that may complete in one turn without waiting. Without a bound, a task whose peer is fast enough,
/// or whose channel is never empty, never waits, and all others starve.
pub(crate) const BUDGET: u32 = 64;

const COPIED: &str = "this process was forked off (fork(2)) while a scheduler was running, and shares its \
    event queue with the parent: the copy must not go on. Call exec, or `_exit`, in the child";

impl Scheduler {
    pub(crate) fn new(
        clock: Clock,
        stack_size: u32,
        seed: Option<u64>,
        observer: Option<Rc<dyn Observer>>,
    ) -> io::Result<Scheduler> {
        let reactor = Reactor::new()?;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let home = Arc::new(Home {
            run: NEXT.fetch_add(1, Relaxed),
            inbox: Inbox::new(),
            orders: Inbox::new(),
            shared: reactor.shared().clone(),
            wakers: AtomicUsize::new(0),
            outside: AtomicUsize::new(0),
        });
        Ok(Scheduler {
            home,
            asked: Cell::new(Instant::now()),
            looked: Cell::new(0),
            clock,
            stack_size,
            seed: seed.unwrap_or(0),
            counters: Counters::default(),
            polls: Cell::new(None),
            queue: Queue::new(seed),
            tasks: RefCell::default(),
            timers: RefCell::new(Timers::new()),
            reactor: RefCell::new(reactor),
            original: Original::here(),
            watch: Watch::new(observer),
            outcome: Cell::new(Outcome::Returned),
            next_id: Cell::new(0),
            closing: Cell::new(false),
            unwinding: Cell::new(false),
            outer: Cell::new(ptr::null()),
            left: Cell::new(0),
            patience: Cell::new(Some(PATIENCE)),
            stride: Cell::new(1),
            countdown: Cell::new(1),
            given: Cell::new(0),
            refused: RefCell::default(),
        })
    }

    /// Calls `f` with the scheduler of this thread, if one is running.
    #[inline]
    pub(crate) fn with<R>(f: impl FnOnce(Option<&Scheduler>) -> R) -> R {
        let scheduler = here().scheduler.get();
        // SAFETY: `enter` sets the pointer to a scheduler that outlives the time it is set.
        f(unsafe { scheduler.as_ref() })
    }

    /// Calls `f` with the scheduler of this thread, if that is its home.
    #[inline]
    pub(crate) fn at<R>(home: *const Home, f: impl FnOnce(Option<&Scheduler>) -> R) -> R {
        Scheduler::with(|here| f(here.filter(|here| Arc::as_ptr(&here.home) == home)))
    }

    /// Calls `f` with the scheduler of that run, if the thread has entered it: also where a runtime is dropped inside of
    /// the run, and is the scheduler of the thread meanwhile.
    pub(crate) fn of_run<R>(run: u32, f: impl FnOnce(&Scheduler) -> R) -> Option<R> {
        let mut at = here().scheduler.get();
        // SAFETY: `enter` keeps a scheduler, and the one around it, in place while it is set.
        while let Some(scheduler) = unsafe { at.as_ref() } {
            if scheduler.home.run == run {
                return Some(f(scheduler));
            }
            at = scheduler.outer.get();
        }
        None
    }

    /// Makes this the scheduler of the thread while `f` runs, outside of any task and fiber; then everything is as
    /// it was, however `f` ends.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(*const Scheduler);
        impl Drop for Restore {
            fn drop(&mut self) {
                here().scheduler.set(self.0);
            }
        }
        self.outer.set(here().scheduler.replace(self));
        let _restore = Restore(self.outer.get());
        while_no_task_runs(|| as_root(f))
    }

    /// Every task that is not done, the oldest first.
    pub(crate) fn all_tasks(&self) -> Vec<Arc<Task>> {
        self.tasks.borrow().by_age()
    }

    /// Whether something is under way on another thread that will wake somebody here.
    pub(crate) fn awaits_outside(&self) -> bool {
        self.home.outside.load(Acquire) > 0
    }

    /// Whether new tasks are refused.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Adds a task at the end of the queue.
    pub(crate) fn spawn(&self, setup: Setup, body: Box<dyn Body>) -> Arc<Task> {
        let id = self.next_id.get() + 1;
        self.next_id.set(id);
        let parent = with_task(|task| task.id).unwrap_or(0);
        let task = Arc::new(Task::new(id, setup, parent as u32, self.home.clone(), body));
        if self.watch.is_on() {
            self.tell(&task, spawned(&task, parent));
        }
        let slot = self.tasks.borrow_mut().insert(task.clone());
        // SAFETY: the task was just made here, for this thread.
        unsafe { task.local() }.slot.set(slot);
        self.queue.push(task.clone());
        self.counters.spawned.set(self.counters.spawned.get() + 1);
        task
    }

    /// Gives turns, and sleeps when there are none to give, until `done`, or until nothing moves any more.
    pub(crate) fn run_until(&self, done: impl Fn() -> bool) -> Progress {
        match self.watch.is_on() {
            false => self.run::<false>(done),
            true => self.run::<true>(done),
        }
    }

    fn run<const OBSERVED: bool>(&self, done: impl Fn() -> bool) -> Progress {
        while !done() {
            if self.step::<OBSERVED>() {
                continue;
            }
            match self.stalled() {
                Progress::Done => drop(self.ask(self.nap(), true)),
                Progress::Quiet if patience::wait(&self.patience, |time| self.ask(time, true)) => {}
                stalled => return stalled,
            }
        }
        Progress::Done
    }

    /// Gives one turn, if a task is ready.
    pub(crate) fn one_turn(&self) -> bool {
        match self.watch.is_on() {
            false => self.step::<false>(),
            true => self.step::<true>(),
        }
    }

    #[inline(always)] // Into the loop: entering and leaving a function costs a tenth of a turn.
    fn step<const OBSERVED: bool>(&self) -> bool {
        assert!(!self.original.is_copied(), "{COPIED}");
        here().pulse.answer();
        let Some(task) = self.queue.pop() else { return false };
        self.turn::<OBSERVED>(task);
        self.countdown.set(self.countdown.get() - 1);
        if self.countdown.get() == 0 {
            self.ask_in_time();
        }
        true
    }

    /// One turn of one task.
    #[inline(always)]
    fn turn<const OBSERVED: bool>(&self, task: Arc<Task>) {
        /// However the turn ends, no task runs then.
        struct EndTurn;
        impl Drop for EndTurn {
            #[inline(always)]
            fn drop(&mut self) {
                running().task.set(ptr::null());
                here().pulse.ends();
            }
        }
        if OBSERVED {
            self.tell(&task, What::Turn);
        }
        let here = here();
        // SAFETY: tasks in this queue were spawned on this thread.
        let local = unsafe { task.local() };
        local.state.set(State::Running);
        local.turns.set(local.turns.get().wrapping_add(1));
        let end = EndTurn;
        running().task.set((&raw const *task).cast());
        here.pulse.begins(&task);
        here.budget.set(BUDGET);
        // SAFETY: the loop gives one turn at a time, and no task runs the loop; a task in the queue is not done.
        let switch = unsafe { local.turn() };
        drop(end);
        if switch == Switch::Finished {
            self.finish(&task);
        } else if here.wait.is_turn() || local.state.get() == State::Woken {
            if OBSERVED {
                self.tell(&task, What::Yields);
            }
            self.enqueue(task);
        } else if local.state.get() == State::Left {
            self.left.set(self.left.get() + 1);
        } else {
            self.file(task, here.wait.get());
        }
    }

    /// Puts a task that is not ready at the end of the run queue.
    #[inline(always)]
    fn enqueue(&self, task: Arc<Task>) {
        // SAFETY: the caller's tasks were spawned on this thread.
        unsafe { task.local() }.state.set(State::Ready);
        self.queue.push(task);
    }

    /// Takes all tasks out of the run queue; none of them is ready then.
    pub(crate) fn clear_queue(&self) {
        while let Some(task) = self.queue.pop() {
            // SAFETY: as in `turn`.
            unsafe { task.local() }.state.set(State::Waiting);
        }
    }

    /// Puts a task where whatever it waits for will find it.
    fn file(&self, task: Arc<Task>, wait: Wait) {
        // SAFETY: the task has just had its turn on this thread.
        let local = unsafe { task.local() };
        local.waiting.set(wait.in_short());
        local.since.set(self.looked.get());
        local.state.set(State::Waiting);
        if self.watch.is_on() {
            self.tell(&task, waits(&wait));
            if local.state.get() != State::Waiting {
                return; // Who was told has woken it.
            }
        }
        if let Some(tick) = wait.ends().and_then(|end| self.clock.tick_after(end)) {
            let key = self.timers.borrow_mut().insert(tick, Waiter::Task(task.clone()));
            local.timer.set(Some(key));
        }
        match wait.kind {
            WaitKind::Readable(id) => self.stand(task, id, Direction::Read),
            WaitKind::Writable(id) => self.stand(task, id, Direction::Write),
            WaitKind::Turn | WaitKind::Until(_) | WaitKind::Parked => {}
        }
    }

    fn stand(&self, task: Arc<Task>, id: SourceId, direction: Direction) {
        // SAFETY: as in `file`.
        let ticket = unsafe { &raw const task.local().ticket };
        let stood = self.reactor.borrow_mut().stand(id, direction, Waiter::Task(task));
        match stood {
            // SAFETY: the line holds the waker, and with it the task.
            Ok(stood) => unsafe { (*ticket).set(Some(stood)) },
            Err(waiter) => self.wake_waiter(waiter),
        }
    }

    /// Who is at work now, if nobody says otherwise.
    pub(super) fn who(&self) -> By {
        let Running { task, host } = running();
        let at_work = if task.get().is_null() { host } else { task };
        // SAFETY: a task lives while it is set.
        let at_work = unsafe { at_work.get().cast::<Task>().as_ref() };
        let of_this_run = at_work.filter(|task| Arc::ptr_eq(&task.home, &self.home));
        of_this_run.map_or_else(|| self.watch.by.get(), |task| By::Task(task.id))
    }

    #[inline]
    fn tell_woken(&self, task: &Task) {
        if self.watch.is_on() {
            self.tell(task, What::Woken(self.who()));
        }
    }

    pub(super) fn tell(&self, task: &Task, what: What<'_>) {
        self.watch.tell(self.clock.now(), task.id, what);
    }

    /// Makes a waiting task ready. Only for tasks of this scheduler.
    #[inline]
    pub(crate) fn wake(&self, task: Arc<Task>) {
        // SAFETY: the caller has made sure that the task is of this scheduler, so of this thread.
        let local = unsafe { task.local() };
        debug_assert!(Arc::ptr_eq(&self.home, &task.home), "{task} is of another scheduler");
        local.wakes.set(local.wakes.get().wrapping_add(1));
        match local.state.get() {
            State::Ready | State::Woken | State::Done | State::Left => {}
            State::Running => {
                local.state.set(State::Woken);
                self.tell_woken(&task);
            }
            State::Waiting => {
                self.counters.wakes.set(self.counters.wakes.get() + 1);
                // These are the task itself, so that dropping them runs no foreign code.
                if let Some(key) = local.timer.take() {
                    drop(self.timers.borrow_mut().remove(key));
                }
                let stood = match local.waiting.replace(Waiting::No) {
                    Waiting::Read(id) => Some((id, Direction::Read)),
                    Waiting::Write(id) => Some((id, Direction::Write)),
                    _ => None,
                };
                if let (Some(ticket), Some((id, direction))) = (local.ticket.take(), stood) {
                    drop(self.reactor.borrow_mut().leave(id, direction, ticket));
                }
                let told = self.watch.is_on().then(|| task.clone());
                self.enqueue(task);
                if let Some(task) = told {
                    self.tell_woken(&task);
                }
            }
        }
    }

    pub(crate) fn wake_waiter(&self, waiter: Waiter) {
        match waiter {
            Waiter::Task(task) => self.wake(task),
            Waiter::Waker(waker) => waker.wake(),
        }
    }

    fn finish(&self, task: &Arc<Task>) {
        // SAFETY: the task has just had its turn on this thread.
        let local = unsafe { task.local() };
        local.state.set(State::Done);
        local.stack.set(0);
        self.counters.finished.set(self.counters.finished.get() + 1);
        drop(self.tasks.borrow_mut().remove(local.slot.get()));
        self.watch.by.set(By::Task(task.id)); // also in destructors and callbacks
        // SAFETY: the turn is over.
        let body = unsafe { local.take_body() };
        // Of a task that had no stack, this has what its code has captured.
        aside(format_args!("a destructor of {task}"), || drop(body));
        let outcome = self.outcome.replace(Outcome::Returned);
        if self.watch.is_on() {
            self.tell(task, What::Ends(outcome));
        }
        if let Some(joiner) = local.joiner.take() {
            self.wake_waiter(joiner);
        }
        // One by one: a callback may add another.
        while let Some(callback) = local.if_extras(|extras| extras.callbacks.pop_front()) {
            aside(format_args!("a callback at the end of {task}"), callback);
        }
        self.watch.by.set(By::Outside);
    }
}
