//! The scheduler: a queue of ready tasks, and the loop that gives them their turns.
//!
//! ```text
//!             ┌───────────────────────────── wake ──────────────────────────────┐
//!             ▼                                                                 │
//!   ┌─ queue ────────────┐  pop   ┌─ turn ─────────────┐  a Wait   ┌─ registered with ──────────┐
//!   │ ready, in order    │ ─────▶ │ resume until the   │ ────────▶ │ Readable, Writable: reactor│
//!   └────────────────────┘        │ next wait          │           │ a deadline: timers         │
//!             ▲  ▲                └──┬──────────────┬──┘           │ else: kept by other code   │
//!             │  └── WaitFor::Turn ──┘              └─▶ done       └────────────────────────────┘
//!             └────── spawn
//! ```
//!
//! Between turns, `Scheduler::poll` asks the operating system for events and the clock for due timers; `pace.rs`
//! decides when.
//!
//! Nothing of the scheduler is borrowed while a task or other user code (`edge/foreign.rs`) runs, since such code may
//! spawn, wake or cancel. The destructor of a waker is such code too: so a waiter that is removed, here or in the crate's
//! other lines, is returned, and dropped after the borrow. More methods are in `edge/entered.rs` and `edge/ending.rs`.

use std::cell::{Cell, RefCell};
use std::io;
use std::iter;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::time::{Duration, Instant};

use super::coroutine::Fiber;
use super::edge::clock::Clock;
use super::edge::counters::Counters;
use super::edge::end::End;
use super::edge::foreign::{aside, running};
use super::edge::fork::{COPIED, Original};
use super::edge::inbox::Inbox;
use super::edge::line::Ticket;
use super::edge::observe::{Actor, EventKind, Observer, Outcome};
use super::edge::observers::{Observers, spawned, waits};
use super::edge::patience::{self, PATIENCE};
use super::edge::table::Table;
use super::here::{here, with_task};
use super::pace::Pace;
use super::queue::Queue;
use super::reactor::Reactor;
use super::task::{Code, Home, Setup, State, Task, TaskRef, TurnEnd, Waiter};
use super::timers::Timers;
use super::wait::{BUDGET, Wait, WaitFor, this_turn};

pub(crate) struct Scheduler {
    pub(crate) home: Arc<Home>,
    pub(crate) clock: Clock,
    pub(crate) stack_size: u32,
    /// The seed of everything random in this run.
    pub(crate) seed: u64,
    pub(crate) counters: Counters,
    /// The fiber that futures are polled on, one after the other. Its stack has the run's stack size. (Boxed, since it is
    /// taken out and put back for each poll.)
    pub(crate) poll_fiber: Cell<Option<Box<Fiber>>>,
    pub(crate) queue: Queue<TaskRef>,
    /// Every task that is not done.
    pub(crate) tasks: RefCell<Table>,
    pub(crate) timers: RefCell<Timers<Waiter>>,
    pub(crate) reactor: RefCell<Reactor<Waiter>>,
    original: Original,
    pub(crate) observers: Observers,
    /// The outcome of the task that has its turn, if it ends in this turn.
    pub(super) outcome: Cell<Outcome>,
    next_id: Cell<u64>,
    /// The thread was panicking when it entered this scheduler.
    pub(crate) was_panicking: Cell<bool>,
    /// The scheduler that the thread had entered before this one; null: none.
    pub(super) outer: Cell<*const Scheduler>,
    /// How long a [`Quiet`](Stall::Quiet) run waits before a deadlock is suspected; `None`: for ever.
    pub(crate) patience: Cell<Option<Duration>>,
    pub(crate) pace: Pace,
    /// When the last `Scheduler::poll` was done, in milliseconds of the run, modulo 2^32.
    polled_ms: Cell<u32>,
    pub(crate) end: End,
}

/// Why a scheduler cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Tasks wait, and nothing can wake any of them.
    Deadlock,
    /// Only a kept waker or `Spawner` can still wake a task. (`run_until` returns this when its patience has ended.)
    Quiet,
}

impl Scheduler {
    pub(crate) fn new(
        clock: Clock,
        stack_size: u32,
        seed: Option<u64>,
        observers: Vec<Rc<dyn Observer>>,
    ) -> io::Result<Scheduler> {
        let reactor = Reactor::new()?;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let home = Arc::new(Home {
            run: NEXT.fetch_add(1, Relaxed),
            inbox: Inbox::new(),
            errands: Inbox::new(),
            reactor: reactor.handle().clone(),
            wakers: AtomicUsize::new(0),
            offloaded: AtomicUsize::new(0),
        });
        Ok(Scheduler {
            home,
            pace: Pace::new(Instant::now()),
            polled_ms: Cell::new(0),
            clock,
            stack_size,
            seed: seed.unwrap_or(0),
            counters: Counters::default(),
            poll_fiber: Cell::new(None),
            queue: Queue::new(seed),
            tasks: RefCell::default(),
            timers: RefCell::new(Timers::new()),
            reactor: RefCell::new(reactor),
            original: Original::here(),
            observers: Observers::new(observers),
            outcome: Cell::new(Outcome::Returned),
            next_id: Cell::new(0),
            was_panicking: Cell::new(false),
            outer: Cell::new(ptr::null()),
            patience: Cell::new(Some(PATIENCE)),
            end: End::default(),
        })
    }

    /// Whether a piece of work is under way on another thread that will wake a task of this scheduler.
    pub(crate) fn awaits_offloaded(&self) -> bool {
        self.home.offloaded.load(Acquire) > 0
    }

    /// Adds a task at the end of the queue. `place` moves it to the beginning of a block of memory that `code` frees.
    pub(crate) fn spawn(
        &self,
        setup: Setup,
        code: &'static Code,
        place: impl FnOnce(Task) -> *const Task,
    ) -> TaskRef {
        let id = self.next_id.get() + 1;
        self.next_id.set(id);
        let parent = with_task(|task| task.id).unwrap_or(0);
        let placed = place(Task::new(id, setup, parent as u32, self.home.clone(), code));
        // SAFETY: a new task counts these three references, and no others exist. Its home is this thread.
        let [task, kept, ready] =
            [(); Task::FIRST_REFS as usize].map(|()| unsafe { TaskRef::from_raw(placed) });
        self.observe(&task, || spawned(&task, parent));
        task.local().table_slot.set(self.tasks.borrow_mut().insert(kept));
        self.queue.push(ready);
        self.counters.spawned.set(self.counters.spawned.get() + 1);
        task
    }

    /// The loop: gives turns, and sleeps while no task is ready, until `done` returns `true`. If it has to stop before
    /// that, returns why.
    pub(crate) fn run_until(&self, done: impl Fn() -> bool) -> Option<Stall> {
        while !done() {
            if self.one_turn() {
                continue;
            }
            match self.stalled() {
                None => drop(self.poll(self.longest_sleep(), true)),
                // Waits until something moves; `false`: the patience has ended before that.
                Some(Stall::Quiet)
                    if patience::wait(&self.patience, |time| self.poll(time, true)) => {}
                stalled => return stalled,
            }
        }
        None
    }

    /// Gives one turn to the task at the head of the run queue, and polls the operating system after it if a poll is
    /// due. Returns `false` if no task is ready.
    #[inline(always)] // Into the loop: the call of a function costs a tenth of a turn.
    pub(crate) fn one_turn(&self) -> bool {
        assert!(!self.original.is_copied(), "{COPIED}");
        here().pulse.serve_request(); // Prints the table of tasks, if a signal has requested it.
        let Some(task) = self.queue.pop() else { return false };
        self.turn(task);
        if self.pace.count_turn() && self.pace.is_due(Instant::now()) {
            self.poll(Some(Duration::ZERO), false);
        }
        true
    }

    /// One turn of one task.
    #[inline(always)]
    fn turn(&self, task: TaskRef) {
        /// However the turn ends, no task runs afterwards.
        struct EndTurn;
        impl Drop for EndTurn {
            #[inline(always)]
            fn drop(&mut self) {
                running().task.set(ptr::null());
                here().pulse.ends();
            }
        }
        self.observe(&task, || EventKind::Turn);
        let local = task.local();
        local.state.set(State::Running);
        local.turns.set(local.turns.get().wrapping_add(1));
        let end = EndTurn;
        running().task.set(task.as_ptr().cast());
        here().pulse.begins(&task);
        let this = this_turn();
        this.number.set(this.number.get().wrapping_add(1));
        this.budget.set(BUDGET);
        // SAFETY: the loop gives one turn at a time, and no task of this scheduler runs it: `Runtime::{turn, run_until}`
        // refuse an entered thread, and borrow the runtime, whose `drop` runs it too. A task in the queue is not done.
        let ended = unsafe { task.turn() };
        drop(end);
        if ended == TurnEnd::Over {
            self.finish(&task);
        } else if this.wait.is_turn() || local.state.get() == State::Woken {
            self.observe(&task, || EventKind::Yields);
            self.enqueue(task);
        } else if local.state.get() == State::Abandoned {
            self.observe(&task, || waits(this.wait.get()));
            self.abandon(&[task]);
        } else {
            self.file(task, this.wait.get());
        }
    }

    /// Puts a task that is not ready at the end of the run queue.
    #[inline(always)]
    fn enqueue(&self, task: TaskRef) {
        task.local().state.set(State::Ready);
        self.queue.push(task);
    }

    /// Registers a suspended task with the reactor and the timers, as far as its `Wait` names a socket and a deadline.
    fn file(&self, task: TaskRef, wait: Wait) {
        let local = task.local();
        local.waiting.set(wait.what);
        local.since.set(self.polled_ms.get());
        local.state.set(State::Waiting);
        if self.observers.is_on() {
            self.observe(&task, || waits(wait));
            if local.state.get() != State::Waiting {
                return; // The observer has woken the task.
            }
        }
        // Not references: the task moves into its waiter, which saves counting it twice.
        let (timer, at) = (&raw const local.timer, &raw const local.ticket);
        let set_timer = |task, tick| {
            let key = self.timers.borrow_mut().insert(tick, Waiter::Task(task));
            // SAFETY: the timers hold the waiter, and with it the task, until the next `poll` or `wake`.
            unsafe { (*timer).set(Some(key)) };
        };
        if let Some(tick) = wait.deadline.and_then(|end| self.clock.tick_after(end)) {
            if wait.what.socket().is_none() {
                return set_timer(task, tick);
            }
            set_timer(task.clone(), tick);
        }
        if let Some(ticket) = self.stand(wait.what, || Waiter::Task(task)) {
            // SAFETY: the reactor's line holds the waiter until the next `poll`, `leave` or `apply`.
            unsafe { (*at).set(Some(ticket)) };
        }
    }

    /// Registers a waiter with the reactor if `what` names a socket, and returns its place in the line there. Returns
    /// `None` for any other wait; and if there is nothing to wait for, when the waiter has been woken.
    #[inline]
    pub(crate) fn stand(&self, what: WaitFor, waiter: impl FnOnce() -> Waiter) -> Option<Ticket> {
        let (id, direction) = what.socket()?;
        let waiter = waiter(); // May run user code.
        let stood = self.reactor.borrow_mut().stand(id, direction, waiter);
        stood.map_err(|waiter| self.wake_waiter(waiter)).ok()
    }

    /// Removes and returns a waiter that [`stand`](Scheduler::stand) has registered, unless it has been woken already.
    #[inline]
    pub(crate) fn leave(&self, what: WaitFor, at: Ticket) -> Option<Waiter> {
        let (id, direction) = what.socket()?;
        self.reactor.borrow_mut().leave(id, direction, at)
    }

    /// Emits an event if the run has observers. Without them, this costs one comparison.
    #[inline(always)]
    pub(super) fn observe<'a>(&self, task: &Task, what: impl FnOnce() -> EventKind<'a>) {
        if self.observers.is_on() {
            self.observers.emit(self.clock.now(), task.id, what());
        }
    }

    /// Makes a waiting task ready. Only for tasks of this scheduler.
    #[inline]
    pub(crate) fn wake(&self, task: TaskRef) {
        let local = task.local();
        debug_assert!(Arc::ptr_eq(&self.home, &task.home), "{task} is of another scheduler");
        local.wakes.set(local.wakes.get().wrapping_add(1));
        match local.state.get() {
            State::Ready | State::Woken | State::Done | State::Abandoned => {}
            State::Running => {
                local.state.set(State::Woken);
                self.observe(&task, || EventKind::Woken(self.observers.cause(&self.home)));
            }
            State::Waiting => {
                self.counters.wakes.set(self.counters.wakes.get() + 1);
                local.top.prefetch(local.stack.get());
                // The timers and the reactor hold a `TaskRef` of this task: to drop that runs no user code.
                if let Some(key) = local.timer.take() {
                    drop(self.timers.borrow_mut().remove(key));
                }
                let what = local.waiting.replace(WaitFor::Turn);
                if let Some(ticket) = local.ticket.take() {
                    drop(self.leave(what, ticket));
                }
                let woken = self.observers.is_on().then(|| task.clone());
                self.enqueue(task);
                if let Some(task) = woken {
                    self.observe(&task, || EventKind::Woken(self.observers.cause(&self.home)));
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

    /// Polls the operating system, sleeping until an event comes or `timeout` has passed (`None`: without an end), then
    /// the clock for due timers, and wakes the waiters of both. With `idle`, a virtual clock moves to the next deadline
    /// if no event came, no task is ready, and no other thread is at work for this run. Returns `false` if nothing has moved.
    pub(crate) fn poll(&self, timeout: Option<Duration>, idle: bool) -> bool {
        let begun = Instant::now();
        self.counters.polls.set(self.counters.polls.get() + 1);
        let polled = here().pulse.asleep(timeout, || self.reactor.borrow_mut().poll(timeout));
        let mut moved = matches!(polled, Ok(true)) || self.reactor.borrow().has_picked();
        // After an error, the inbox is drained as if the bell had been rung; but an error moves nothing (`moved`), so
        // that a virtual clock still advances.
        let rung = polled.unwrap_or_else(|refused| {
            let _ = self.end.refused.set(refused); // The first is kept. `check_events` cancels all tasks for it.
            true
        });
        self.observers.on_behalf_of(Actor::Socket, || self.wake_picked());
        if rung {
            self.take_in();
        }
        moved |= self.wake_sleepers(idle && !moved);
        let now = Instant::now();
        self.pace.polled(begun, now);
        self.polled_ms.set(self.clock.tick(self.clock.at(|| now)) as u32);
        moved || !self.queue.is_empty() || self.end.refused.get().is_some()
    }

    /// Wakes the tasks, and calls the wakers, that the reactor has taken out of its lines.
    pub(crate) fn wake_picked(&self) {
        for waiter in iter::from_fn(|| self.reactor.borrow_mut().next_picked()) {
            if let Waiter::Task(task) = &waiter {
                task.local().ticket.set(None); // The task has left the line.
            }
            self.wake_waiter(waiter);
        }
    }

    /// Carries out what other threads have sent: wakes of tasks, and errands.
    fn take_in(&self) {
        for task in self.home.inbox.drain() {
            task.notified.clear();
            // SAFETY: a task is put into the inbox of its home, which is that of this thread.
            self.wake(unsafe { task.at_home() });
        }
        for errand in self.home.errands.drain() {
            let open = !self.end.closing.get();
            aside(format_args!("an errand of another thread, or its destructor,"), || errand(open));
        }
        if !(self.home.inbox.is_empty() && self.home.errands.is_empty()) {
            self.home.reactor.ring(); // The next poll finds the rest.
        }
    }

    /// Wakes all waiters whose deadline has come. With `idle`, a virtual clock first moves to the next deadline if no
    /// task is ready and nothing is under way on another thread. Returns `false` if no deadline had come.
    fn wake_sleepers(&self, idle: bool) -> bool {
        let Some(next) = self.timers.borrow().next_tick() else { return false };
        let idle = idle && !self.awaits_offloaded() && self.queue.is_empty();
        if idle && self.clock.is_virtual() {
            self.clock.jump(next);
        }
        let now = self.clock.tick(self.clock.now());
        self.observers.on_behalf_of(Actor::Time, || {
            for waiter in iter::from_fn(|| self.timers.borrow_mut().pop_due(now)) {
                if let Waiter::Task(task) = &waiter {
                    task.local().timer.set(None); // It has fired.
                }
                self.wake_waiter(waiter);
            }
        });
        next <= now
    }

    /// How long to sleep when no task is ready: until the next deadline. A virtual clock jumps there without a sleep,
    /// unless something is under way on another thread.
    fn longest_sleep(&self) -> Option<Duration> {
        let tick = self.timers.borrow().next_tick()?;
        match self.clock.is_virtual() {
            true => (!self.awaits_offloaded()).then_some(Duration::ZERO),
            false => Some(self.clock.until(tick, self.clock.now())),
        }
    }

    /// Called when no task is ready. Returns `None` if the operating system, the clock or another thread can still end
    /// a wait, `Quiet` if only code that keeps a waker or a `Spawner` can, and `Deadlock` if nothing can.
    fn stalled(&self) -> Option<Stall> {
        let (in_line, pollers) = self.reactor.borrow().waiting();
        // Read this count before the inboxes: code that wakes by a waker first pushes the task and then lowers the count
        // (`edge/waker.rs`), and so a `Spawner` with its errands. So if the count is 0, what was pushed is visible.
        let wakers = self.home.wakers.load(Acquire);
        let certain = !self.timers.borrow().is_empty()
            || in_line > 0
            || pollers > 0 && wakers > 0 // A poller wakes a task only by a waker that is kept.
            || self.awaits_offloaded();
        match (certain, wakers, self.home.inbox.is_empty() && self.home.errands.is_empty()) {
            (true, _, _) | (_, _, false) => None,
            (false, 0, true) => Some(Stall::Deadlock),
            (false, _, true) => Some(Stall::Quiet),
        }
    }

    /// Ends a task that has had its last turn.
    fn finish(&self, task: &TaskRef) {
        let local = task.local();
        local.state.set(State::Done);
        local.stack.set(0);
        self.counters.finished.set(self.counters.finished.get() + 1);
        drop(self.tasks.borrow_mut().remove(local.table_slot.get()));
        self.observers.by.set(Actor::Task(task.id)); // The callbacks count as the task's own code.
        let outcome = self.outcome.replace(Outcome::Returned);
        self.observe(task, || EventKind::Ends(outcome));
        self.report_end(task);
        self.observers.by.set(Actor::Outside);
    }

    /// Abandons `tasks`, which will not end: joiners are woken and callbacks called as if they had.
    pub(crate) fn abandon(&self, tasks: &[TaskRef]) {
        // All are marked first, so that the end of one wakes none of the others.
        tasks.iter().for_each(|task| task.local().state.set(State::Abandoned));
        self.end.abandoned.set(self.end.abandoned.get() + tasks.len());
        running().has_abandoned.set(running().has_abandoned.get() || !tasks.is_empty());
        tasks.iter().for_each(|task| self.report_end(task));
    }

    /// Calls what is to be called at the end of `task`, and wakes the task that joins it.
    fn report_end(&self, task: &TaskRef) {
        let local = task.local();
        local.extras.call_callbacks(task); // First, since the waker of another executor may take the result.
        if let Some(joiner) = local.joiner.take() {
            self.wake_waiter(joiner);
        }
    }
}
