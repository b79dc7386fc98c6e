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
//! that is chosen anew each time so that some 200 µs lie between two questions (after 64 turns at the
//! latest, the clock is looked at): often enough that spinning tasks starve nobody, seldom enough not to
//! be felt. With nothing ready, the thread sleeps in the kernel until an event, a timer or another thread's
//! wake.
//!
//! Nothing of the scheduler's is borrowed while a task, a waker or a destructor of the user's runs: any
//! of them may come back and spawn, wake or wait.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::coroutine::{Fiber, Switch};
use super::inbox::Inbox;
use super::queue::Queue;
use super::reactor::{Direction, Reactor, SourceId};
use super::table::Table;
use super::task::{Body, Home, Local, Said, Setup, State, Task, Wait, WaitKind, Waiter, Waiting};
use super::timers::{Clock, Timers};
use crate::fork::Original;

pub(crate) struct Scheduler {
    /// No two in a process have the same.
    pub(crate) id: u32,
    pub(crate) home: Arc<Home>,
    pub(crate) clock: Clock,
    pub(crate) stack_size: u32,
    pub(crate) counters: Counters,
    /// The stack that futures are polled on, one after the other, of the run's stack size.
    pub(crate) polls: Cell<Option<Fiber>>,
    queue: Queue<Arc<Task>>,
    /// Every task that is not done.
    tasks: RefCell<Table>,
    pub(crate) timers: RefCell<Timers<Waiter>>,
    pub(crate) reactor: RefCell<Reactor<Waiter>>,
    original: Original,
    next_id: Cell<u64>,
    closing: Cell<bool>,
    /// Turns between two questions to the operating system, and how many of them are left.
    stride: Cell<u32>,
    countdown: Cell<u32>,
    /// Turns since the last question, in the strides before this one.
    given: Cell<u32>,
    asked: Cell<Instant>,
}

/// How far a scheduler got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// As far as it was asked to.
    Done,
    /// Tasks wait, and nothing can wake any of them.
    Deadlock,
    /// Tasks have waited for `PATIENCE`, and only somebody unknown could wake them.
    Quiet,
}

/// How often what happened, since the start of the `run`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Up to the last question to the operating system.
    turns: Cell<u64>,
    pub(crate) would_block: Cell<u64>,
    pub(crate) spawned: Cell<u64>,
    pub(crate) finished: Cell<u64>,
}

/// What this thread is doing. The address of the task and of its scheduler are valid while they are set.
pub(crate) struct Here {
    pub(crate) scheduler: Cell<*const Scheduler>,
    pub(crate) task: Cell<*const Task>,
    /// What the running coroutine has said so far that it will wait for. Whoever suspends says it anew.
    pub(crate) said: Said,
    /// An operation is being polled: what is said belongs to it.
    pub(crate) polling: Cell<bool>,
    /// Counts the turns, to tell one from the next.
    pub(crate) turn: Cell<u32>,
    /// Socket operations that may still succeed in this turn.
    pub(crate) budget: Cell<u32>,
}

thread_local! {
    static HERE: Here = const {
        Here {
            scheduler: Cell::new(ptr::null()),
            task: Cell::new(ptr::null()),
            said: Said::nothing(),
            polling: Cell::new(false),
            turn: Cell::new(0),
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

/// The task whose turn it is, if one has its turn on this thread.
pub(crate) fn current() -> Option<Arc<Task>> {
    let task = here().task.get();
    if task.is_null() {
        return None;
    }
    // SAFETY: `turn` holds an `Arc` of the task while it is set; this makes another.
    Some(unsafe {
        Arc::increment_strong_count(task);
        Arc::from_raw(task)
    })
}

/// Whether a task has its turn on this thread, so that there is something to suspend.
#[inline]
pub(crate) fn in_task() -> bool {
    !here().task.get().is_null()
}

/// The home part of the task whose turn it is.
#[inline]
pub(crate) fn with_local<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    let task = here().task.get();
    // SAFETY: the pointer is valid while it is set (`turn`), which happens on the task's home thread only.
    unsafe { task.as_ref().map(|task| f(task.local())) }
}

/// The time, by the clock of this thread's scheduler.
pub(crate) fn now() -> Instant {
    Scheduler::with(|s| s.map_or_else(Instant::now, |s| s.clock.now()))
}

/// Socket operations that may succeed before a task gives up its turn. Without a bound, a task whose
/// peer is fast enough never meets `WouldBlock`, and all others starve.
const BUDGET: u32 = 64;

const COPIED: &str = "this process was forked off (fork(2)) while a scheduler was running, and shares its \
    event queue with the parent: the copy must not go on. Call exec, or `_exit`, in the child";

/// How long nothing may move before a deadlock is suspected.
const PATIENCE: Duration = Duration::from_secs(10);

/// Turns between two questions to the operating system, at most, and the time they should take.
const LONGEST_STRIDE: u32 = 64;
const STRIDE_TIME: Duration = Duration::from_micros(200);

impl Scheduler {
    pub(crate) fn new(clock: Clock, stack_size: u32, seed: Option<u64>) -> io::Result<Scheduler> {
        let reactor = Reactor::new()?;
        let home = Arc::new(Home {
            inbox: Inbox::new(),
            shared: reactor.shared().clone(),
            wakers: AtomicUsize::new(0),
            outside: AtomicUsize::new(0),
        });
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Ok(Scheduler {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            home,
            asked: Cell::new(Instant::now()),
            clock,
            stack_size,
            counters: Counters::default(),
            polls: Cell::new(None),
            queue: Queue::new(seed),
            tasks: RefCell::default(),
            timers: RefCell::new(Timers::new()),
            reactor: RefCell::new(reactor),
            original: Original::here(),
            next_id: Cell::new(0),
            closing: Cell::new(false),
            stride: Cell::new(1),
            countdown: Cell::new(1),
            given: Cell::new(0),
        })
    }

    /// Calls `f` with the scheduler of this thread, if one is running.
    #[inline]
    pub(crate) fn with<R>(f: impl FnOnce(Option<&Scheduler>) -> R) -> R {
        let scheduler = here().scheduler.get();
        // SAFETY: `enter` sets the pointer to a scheduler that outlives the time it is set.
        f(unsafe { scheduler.as_ref() })
    }

    /// Makes this the scheduler of the thread while `f` runs.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                here().scheduler.set(ptr::null());
            }
        }
        here().scheduler.set(self);
        let _leave = Leave;
        f()
    }

    /// Calls `f` for every task that is not done, the oldest first.
    pub(crate) fn each_task(&self, f: impl FnMut(&Task)) {
        let tasks = self.tasks.borrow().by_age();
        tasks.iter().map(|task| &**task).for_each(f);
    }

    /// Whether something is under way on another thread that will wake somebody here.
    fn awaits_outside(&self) -> bool {
        self.home.outside.load(Ordering::Acquire) > 0
    }

    /// Turns given so far.
    pub(crate) fn turns(&self) -> u64 {
        let since = self.given.get() + self.stride.get() - self.countdown.get();
        self.counters.turns.get() + u64::from(since)
    }

    /// Whether new tasks are refused.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Adds a task at the end of the queue.
    pub(crate) fn spawn(&self, setup: Setup, body: Box<dyn Body>) -> Arc<Task> {
        let id = self.next_id.get() + 1;
        self.next_id.set(id);
        let task = Arc::new(Task::new(id, setup, self.home.clone(), body));
        let slot = self.tasks.borrow_mut().insert(task.clone());
        // SAFETY: the task was just made here, for this thread.
        unsafe { task.local() }.slot.set(slot);
        self.queue.push(task.clone());
        self.counters.spawned.set(self.counters.spawned.get() + 1);
        task
    }

    /// Gives turns, and sleeps when there are none to give, until `done`, or until nothing moves any more.
    pub(crate) fn run_until(&self, done: impl Fn() -> bool) -> Progress {
        while !done() {
            if self.step() {
                continue;
            }
            match self.stalled() {
                Progress::Done => drop(self.ask(self.nap(), true)),
                Progress::Quiet if self.ask(Some(PATIENCE), true) => {}
                stalled => return stalled,
            }
        }
        Progress::Done
    }

    /// Gives one turn, if a task is ready.
    #[inline(always)] // Into the loop: entering and leaving a function costs a tenth of a turn.
    pub(crate) fn step(&self) -> bool {
        assert!(!self.original.is_copied(), "{COPIED}");
        let Some(task) = self.queue.pop() else { return false };
        self.turn(task);
        self.countdown.set(self.countdown.get() - 1);
        if self.countdown.get() == 0 {
            self.ask_in_time();
        }
        true
    }

    /// Asks, unless the longest stride was still a short time.
    fn ask_in_time(&self) {
        let stride = self.stride.get();
        if stride == LONGEST_STRIDE && self.asked.get().elapsed() < STRIDE_TIME {
            self.given.set(self.given.get() + stride);
            self.countdown.set(stride);
        } else {
            self.ask(Some(Duration::ZERO), false);
        }
    }

    /// With no task ready: whether something can still end a wait (`Done`), nothing can (`Deadlock`), or
    /// only somebody who keeps a waker, on this thread or another, can (`Quiet`).
    fn stalled(&self) -> Progress {
        let (in_line, pollers) = self.reactor.borrow().waiting();
        // In this order: a waker that is gone has left its task in the inbox before.
        let wakers = self.home.wakers.load(Ordering::Acquire);
        let certain = !self.timers.borrow().is_empty()
            || in_line > 0
            || pollers > 0 && wakers > 0
            || self.awaits_outside();
        match (certain, wakers, self.home.inbox.is_empty()) {
            (true, _, _) | (_, _, false) => Progress::Done,
            (false, 0, true) => Progress::Deadlock,
            (false, _, true) => Progress::Quiet,
        }
    }

    /// Without waiting: makes ready whoever should be. False: nobody.
    pub(crate) fn look(&self) -> bool {
        self.ask(Some(Duration::ZERO), true)
    }

    /// When somebody wants to be woken next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let tick = self.timers.borrow().next_tick()?;
        let now = self.clock.now();
        Some(now + self.clock.until(tick, now))
    }

    /// What is readable when the operating system has something to say.
    pub(crate) fn event_queue(&self) -> BorrowedFd<'_> {
        let fd = self.reactor.borrow().as_raw_fd();
        // SAFETY: the reactor's descriptor is open as long as the scheduler is.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// One turn of one task.
    #[inline(always)]
    fn turn(&self, task: Arc<Task>) {
        let here = here();
        // SAFETY: tasks in this queue were spawned on this thread.
        let local = unsafe { task.local() };
        local.state.set(State::Running);
        here.task.set(&raw const *task);
        here.budget.set(BUDGET);
        here.turn.set(here.turn.get().wrapping_add(1));
        // SAFETY: the loop gives one turn at a time, and no task runs the loop.
        let switch = unsafe { local.turn() };
        here.task.set(ptr::null());
        if switch == Switch::Finished {
            self.finish(&task);
        } else if here.said.is_turn() || local.state.get() == State::Woken {
            local.state.set(State::Ready);
            self.queue.push(task);
        } else {
            self.file(task, here.said.get((0, 0)));
        }
    }

    /// Puts a task where whatever it waits for will find it.
    fn file(&self, task: Arc<Task>, wait: Wait) {
        // SAFETY: the task has just had its turn on this thread.
        let local = unsafe { task.local() };
        local.state.set(State::Waiting);
        local.waiting.set(wait.in_short());
        if let Some(end) = wait.ends() {
            let tick = self.clock.tick_after(end);
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

    /// Makes a waiting task ready. Only for tasks of this scheduler.
    #[inline]
    pub(crate) fn wake(&self, task: Arc<Task>) {
        // SAFETY: the caller has made sure that the task is of this scheduler, so of this thread.
        let local = unsafe { task.local() };
        debug_assert!(Arc::ptr_eq(&self.home, &task.home), "{task} is of another scheduler");
        local.wakes.set(local.wakes.get().wrapping_add(1));
        match local.state.get() {
            State::Ready | State::Woken | State::Done => {}
            State::Running => local.state.set(State::Woken),
            State::Waiting => {
                local.state.set(State::Ready);
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
                self.queue.push(task);
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
        // SAFETY: the turn is over.
        drop(unsafe { local.take_body() });
        if let Some(joiner) = local.joiner.take() {
            self.wake_waiter(joiner);
        }
    }

    /// Asks the operating system for events, sleeping up to `timeout` until there are some, and the clock for
    /// due timers; wakes whom they concern. False: it slept its time out for nothing. With `idle`, a virtual
    /// clock moves to the next deadline if nothing else is to be done.
    fn ask(&self, timeout: Option<Duration>, idle: bool) -> bool {
        let before = Instant::now();
        let mut woken = Vec::new();
        let rung = match self.reactor.borrow_mut().poll(timeout, &mut woken) {
            Ok(rung) => rung,
            Err(e) => panic!("the kernel refuses to tell which sockets are ready: {e}"),
        };
        let mut any = rung || !woken.is_empty();
        for waiter in woken {
            if let Waiter::Task(task) = &waiter {
                // SAFETY: tasks in this reactor's lines were spawned on this thread.
                unsafe { task.local() }.ticket.set(None); // It has left the line.
            }
            self.wake_waiter(waiter);
        }
        if rung {
            for task in self.home.inbox.drain() {
                task.noted();
                self.wake(task);
            }
        }
        any |= self.wake_sleepers(idle && !any);
        self.recalibrate(before);
        any
    }

    /// Wakes all whose time has come; a virtual clock moves to the next deadline if nobody is ready.
    fn wake_sleepers(&self, idle: bool) -> bool {
        let Some(next) = self.timers.borrow().next_tick() else { return false };
        let idle = idle && !self.awaits_outside() && self.queue.is_empty();
        if idle && self.clock.is_virtual() {
            self.clock.jump(next);
        }
        let now = self.clock.tick(self.clock.now());
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            let Some(waiter) = due else { return next <= now };
            self.wake_waiter(waiter);
        }
    }

    /// How long to sleep when nothing is ready.
    fn nap(&self) -> Option<Duration> {
        let tick = self.timers.borrow().next_tick()?;
        match self.clock.is_virtual() {
            true => (!self.awaits_outside()).then_some(Duration::ZERO),
            false => Some(self.clock.until(tick, self.clock.now())),
        }
    }

    /// Chooses how many turns to give until the next question, from how long those since the last took.
    fn recalibrate(&self, before: Instant) {
        let turns = self.given.replace(0) + self.stride.get() - self.countdown.get();
        self.counters.turns.set(self.counters.turns.get() + u64::from(turns));
        let each = (before - self.asked.get()) / turns.max(1);
        let each = each.max(Duration::from_nanos(1));
        let stride = STRIDE_TIME.as_nanos() / each.as_nanos();
        self.stride.set(stride.clamp(1, LONGEST_STRIDE.into()) as u32);
        self.countdown.set(self.stride.get());
        self.asked.set(Instant::now());
    }

    /// Refuses new tasks and cancels all that are left, the newest first; returns when each is done, or its
    /// cleanup waits.
    pub(crate) fn cancel_all(&self) {
        self.closing.set(true);
        let left = self.tasks.borrow().by_age();
        // First all are told, and taken out of the queue, so that none begins or goes on meanwhile.
        while self.queue.pop().is_some() {}
        for task in &left {
            // SAFETY: here and below, tasks in the table were spawned on this thread.
            let local = unsafe { task.local() };
            local.cancelled.set(true);
            local.state.set(State::Waiting);
        }
        // Then each is woken when the one before is gone, or its cleanup waits.
        for task in left.into_iter().rev() {
            // SAFETY: as above.
            let state = unsafe { &task.local().state };
            self.wake(task.clone());
            self.run_until(|| matches!(state.get(), State::Done | State::Waiting));
        }
    }

    /// Whether all tasks are done.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.borrow().is_empty()
    }

    /// Refuses wakes from other threads from now on: nothing will run here any more.
    pub(crate) fn close(&self) {
        for task in self.home.inbox.close() {
            task.noted();
        }
    }
}
