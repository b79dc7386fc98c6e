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
//! The operating system is asked for events, and the clock for due timers, once in a number of turns
//! that is chosen anew each time so that some 50 µs lie between two questions: often enough that
//! spinning tasks starve nobody, seldom enough not to be felt. With nothing ready, the thread sleeps in
//! the kernel until an event, a timer or another thread's wake.
//!
//! Nothing of the scheduler's is borrowed while a task, a waker or a destructor of the user's runs: any
//! of them may come back and spawn, wake or wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use super::coroutine::Switch;
use super::inbox::Inbox;
use super::reactor::{Direction, Place, Reactor, SourceId};
use super::task::{Body, Era, Home, State, Task, Wait, WaitKind};
use super::timers::{Clock, Timers};

pub(crate) struct Scheduler {
    pub(crate) home: Arc<Home>,
    pub(crate) clock: Clock,
    pub(crate) stack_size: usize,
    pub(crate) counters: Counters,
    queue: RefCell<VecDeque<Arc<Task>>>,
    /// Every task that is not done.
    tasks: RefCell<Slab<Arc<Task>>>,
    pub(crate) timers: RefCell<Timers<Waker>>,
    pub(crate) reactor: RefCell<Reactor>,
    next_id: Cell<u64>,
    closing: Cell<bool>,
    /// Turns between two questions to the operating system, and how many of them are left.
    stride: Cell<u32>,
    countdown: Cell<u32>,
    asked: Cell<Instant>,
}

/// How often what happened, since the start of the `run`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) turns: Cell<u64>,
    pub(crate) would_block: Cell<u64>,
    pub(crate) spawned: Cell<u64>,
    pub(crate) finished: Cell<u64>,
}

/// What this thread is doing. The address of the task and of its scheduler are valid while they are set.
pub(crate) struct Here {
    pub(crate) scheduler: Cell<*const Scheduler>,
    pub(crate) task: Cell<*const Task>,
    /// What the running coroutine has said so far that it will wait for.
    pub(crate) wait: Cell<Wait>,
    /// Socket operations that may still succeed in this turn.
    pub(crate) budget: Cell<u32>,
}

thread_local! {
    pub(crate) static HERE: Here = const {
        Here {
            scheduler: Cell::new(ptr::null()),
            task: Cell::new(ptr::null()),
            wait: Cell::new(Wait::PARKED),
            budget: Cell::new(0),
        }
    };
}

/// Socket operations that may succeed before a task gives up its turn. Without a bound, a task whose
/// peer is fast enough never meets `WouldBlock`, and all others starve.
const BUDGET: u32 = 64;

/// Turns between two questions to the operating system, at most, and the time they should take.
const LONGEST_STRIDE: u32 = 256;
const STRIDE_TIME: Duration = Duration::from_micros(50);

impl Scheduler {
    pub(crate) fn new(clock: Clock, stack_size: usize) -> io::Result<Scheduler> {
        let reactor = Reactor::new()?;
        let home = Arc::new(Home { inbox: Inbox::new(), shared: reactor.shared().clone() });
        Ok(Scheduler {
            home,
            asked: Cell::new(Instant::now()),
            clock,
            stack_size,
            counters: Counters::default(),
            queue: RefCell::default(),
            tasks: RefCell::default(),
            timers: RefCell::new(Timers::new()),
            reactor: RefCell::new(reactor),
            next_id: Cell::new(0),
            closing: Cell::new(false),
            stride: Cell::new(1),
            countdown: Cell::new(1),
        })
    }

    /// Calls `f` with the scheduler of this thread, if one is running.
    #[inline]
    pub(crate) fn with<R>(f: impl FnOnce(Option<&Scheduler>) -> R) -> R {
        let scheduler = HERE.with(|here| here.scheduler.get());
        // SAFETY: `enter` sets the pointer to a scheduler that outlives the time it is set.
        f(unsafe { scheduler.as_ref() })
    }

    /// Makes this the scheduler of the thread while `f` runs.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                HERE.with(|here| here.scheduler.set(ptr::null()));
            }
        }
        HERE.with(|here| here.scheduler.set(self));
        let _leave = Leave;
        f()
    }

    /// Whether new tasks are refused.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Adds a task at the end of the queue.
    pub(crate) fn spawn(
        &self,
        era: Era,
        site: &'static Location<'static>,
        name: Option<Box<str>>,
        body: Box<dyn Body>,
    ) -> Arc<Task> {
        let id = self.next_id.get() + 1;
        self.next_id.set(id);
        let task = Arc::new(Task::new(id, era, site, name, self.home.clone(), body));
        let slot = self.tasks.borrow_mut().insert(task.clone());
        // SAFETY: the task was just made here, for this thread.
        unsafe { task.local() }.slot.set(slot);
        self.queue.borrow_mut().push_back(task.clone());
        self.counters.spawned.set(self.counters.spawned.get() + 1);
        task
    }

    /// Gives turns, and sleeps when there are none to give, until `done`.
    pub(crate) fn run_until(&self, done: impl Fn() -> bool) {
        while !done() {
            let next = self.queue.borrow_mut().pop_front();
            match next {
                None => self.ask(true),
                Some(task) => {
                    self.turn(task);
                    match self.countdown.get() - 1 {
                        0 => self.ask(false),
                        left => self.countdown.set(left),
                    }
                }
            }
        }
    }

    /// One turn of one task.
    #[inline]
    fn turn(&self, task: Arc<Task>) {
        // SAFETY: tasks in this queue were spawned on this thread.
        let local = unsafe { task.local() };
        local.state.set(State::Running);
        self.counters.turns.set(self.counters.turns.get() + 1);
        let (switch, wait) = HERE.with(|here| {
            here.task.set(&raw const *task);
            here.budget.set(BUDGET);
            here.wait.set(Wait::PARKED);
            // SAFETY: the loop gives one turn at a time, and no task runs the loop.
            let switch = unsafe { local.turn() };
            here.task.set(ptr::null());
            (switch, here.wait.get())
        });
        match switch {
            Switch::Suspended => self.file(task, wait),
            Switch::Finished => self.finish(&task),
        }
    }

    /// Puts a task where whatever it waits for will find it.
    #[inline]
    fn file(&self, task: Arc<Task>, wait: Wait) {
        // SAFETY: the task has just had its turn on this thread.
        let local = unsafe { task.local() };
        if wait.kind == WaitKind::Turn || local.state.get() == State::Woken {
            local.state.set(State::Ready);
            self.queue.borrow_mut().push_back(task);
            return;
        }
        local.state.set(State::Waiting);
        if let Some(end) = wait.ends() {
            let tick = self.clock.tick_after(end);
            local.timer.set(Some(self.timers.borrow_mut().insert(tick, waker(task.clone()))));
        }
        match wait.kind {
            WaitKind::Readable(id) => self.stand(task, id, Direction::Read),
            WaitKind::Writable(id) => self.stand(task, id, Direction::Write),
            WaitKind::Turn | WaitKind::Until(_) | WaitKind::Parked => {}
        }
    }

    fn stand(&self, task: Arc<Task>, id: SourceId, direction: Direction) {
        // SAFETY: as in `file`.
        let place = unsafe { &task.local().place } as *const Cell<Option<Place>>;
        let stood = self.reactor.borrow_mut().stand(id, direction, waker(task));
        match stood {
            // SAFETY: the line holds the waker, and with it the task.
            Ok(stood) => unsafe { (*place).set(Some(stood)) },
            Err(waker) => waker.wake(),
        }
    }

    /// Makes a waiting task ready. Only for tasks of this scheduler.
    #[inline]
    pub(crate) fn wake(&self, task: Arc<Task>) {
        // SAFETY: the caller has made sure that the task is of this scheduler, so of this thread.
        let local = unsafe { task.local() };
        match local.state.get() {
            State::Ready | State::Woken | State::Done => {}
            State::Running => local.state.set(State::Woken),
            State::Waiting => {
                local.state.set(State::Ready);
                // These are wakers of the task itself, so that dropping them runs no foreign code.
                if let Some(key) = local.timer.take() {
                    drop(self.timers.borrow_mut().remove(key));
                }
                if let Some(place) = local.place.take() {
                    drop(self.reactor.borrow_mut().leave(place));
                }
                self.queue.borrow_mut().push_back(task);
            }
        }
    }

    fn finish(&self, task: &Arc<Task>) {
        // SAFETY: the task has just had its turn on this thread.
        let local = unsafe { task.local() };
        local.state.set(State::Done);
        self.counters.finished.set(self.counters.finished.get() + 1);
        drop(self.tasks.borrow_mut().remove(local.slot.get()));
        // SAFETY: the turn is over.
        drop(unsafe { local.take_body() });
        if let Some(joiner) = local.joiner.take() {
            joiner.wake();
        }
    }

    /// Asks the operating system for events and the clock for due timers, and wakes whom they concern;
    /// with `idle`, sleeps until there is something.
    fn ask(&self, idle: bool) {
        let before = Instant::now();
        let timeout = if idle { self.nap() } else { Some(Duration::ZERO) };
        let mut woken = Vec::new();
        let rung = match self.reactor.borrow_mut().poll(timeout, &mut woken) {
            Ok(rung) => rung,
            Err(e) => panic!("the kernel refuses to tell which sockets are ready: {e}"),
        };
        if idle && woken.is_empty() && !rung && self.clock.is_virtual() {
            if let Some(tick) = self.timers.borrow().next_tick() {
                self.clock.jump(tick);
            }
        }
        woken.drain(..).for_each(Waker::wake);
        if !self.timers.borrow().is_empty() {
            let now = self.clock.tick(self.clock.now());
            loop {
                let due = self.timers.borrow_mut().pop_due(now);
                let Some(waker) = due else { break };
                waker.wake();
            }
        }
        if rung {
            for task in self.home.inbox.drain() {
                task.noted();
                self.wake(task);
            }
        }
        self.recalibrate(before, idle);
    }

    /// How long to sleep when nothing is ready.
    fn nap(&self) -> Option<Duration> {
        let tick = self.timers.borrow().next_tick()?;
        if self.clock.is_virtual() {
            return Some(Duration::ZERO);
        }
        Some(self.clock.until(tick, self.clock.now()))
    }

    /// Chooses how many turns to give until the next question.
    fn recalibrate(&self, before: Instant, idle: bool) {
        let turns = self.stride.get() - if idle { self.countdown.get() } else { 0 };
        let took = before - self.asked.get();
        if turns > 0 {
            let each = (took / turns).max(Duration::from_nanos(1));
            let stride = STRIDE_TIME.as_nanos() / each.as_nanos();
            self.stride.set(stride.clamp(1, LONGEST_STRIDE.into()) as u32);
        }
        self.countdown.set(self.stride.get());
        self.asked.set(Instant::now());
    }

    /// Refuses new tasks and cancels all that are left, the newest first; returns when they are done.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        let mut left: Vec<_> = self.tasks.borrow().iter().map(|(_, task)| task.clone()).collect();
        left.sort_unstable_by_key(|task| std::cmp::Reverse(task.id));
        for task in left {
            self.cancel(&task);
            // One at a time: the next is cancelled when this one is gone, or its cleanup waits.
            // SAFETY: tasks in the table were spawned on this thread.
            let state = unsafe { &task.local().state };
            self.run_until(|| matches!(state.get(), State::Done | State::Waiting));
        }
        self.run_until(|| self.tasks.borrow().is_empty());
        for task in self.home.inbox.close() {
            task.noted();
        }
    }

    /// Asks a task to stop at its present or next wait.
    pub(crate) fn cancel(&self, task: &Arc<Task>) {
        // SAFETY: handles do not leave their thread.
        unsafe { task.local() }.cancelled.set(true);
        self.wake(task.clone());
    }
}

/// The vtable of a task's wakers; their data is `Arc::into_raw` of the task.
pub(crate) static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: data comes from `Arc::into_raw` (or, for `door::own_waker`, from a live `Arc`).
        unsafe { Arc::increment_strong_count(data.cast::<Task>()) };
        RawWaker::new(data, &VTABLE)
    },
    // SAFETY: as above; the waker is given up, and its count with it.
    |data| wake(unsafe { Arc::from_raw(data.cast::<Task>()) }),
    |data| {
        // SAFETY: as above; the count stays with the waker.
        let task = ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Task>()) });
        wake(Arc::clone(&task));
    },
    // SAFETY: as above; the waker is given up, and its count with it.
    |data| drop(unsafe { Arc::from_raw(data.cast::<Task>()) }),
);

fn waker(task: Arc<Task>) -> Waker {
    // SAFETY: the vtable is that of wakers whose data is `Arc::into_raw` of a task.
    unsafe { Waker::new(Arc::into_raw(task).cast(), &VTABLE) }
}

/// Wakes a task from anywhere: at once on its own thread, through its inbox from another.
fn wake(task: Arc<Task>) {
    Scheduler::with(|here| match here {
        Some(scheduler) if Arc::ptr_eq(&scheduler.home, &task.home) => scheduler.wake(task),
        _ => task.notify(),
    });
}
