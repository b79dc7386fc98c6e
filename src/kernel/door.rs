//! The door: the one way by which a task gives up its turn.
//!
//! An *operation* is a future that records what it waits for. Polled with the waker of the running task
//! itself, it records a [`Wait`], which costs nothing, and the scheduler files the task under it. Polled with any
//! other waker (inside a combinator that has its own), it registers that waker. [`leave`] does the first, and
//! returns `false` where the operation has to do the second; the operation is written once.
//!
//! ```text
//!   green:      wait(op) ──poll──▶ op ──leave(Wait)──▶ Record ──▶ suspend(wait) ──────▶ scheduler
//!   generator:  y.wait(op) ─poll─▶ op ──leave(Wait)──▶ Record ──▶ the Wait is yielded to the caller
//!   future:     poll ──────poll──▶ op ──leave(Wait)──▶ Record ──▶ put(wait), Pending ─▶ scheduler
//! ```
//!
//! Every poll by a task goes through [`Record::poll`], and each has a [`Record`] of its own, in the frame of the code
//! that polls: what code in the middle of a poll does, another poll for one, does not touch it. There is room for one
//! `Wait`: a second operation in the same poll registers the task's waker like a foreign one; deadlines need no room,
//! the earliest counts.
//!
//! Cancellation (`cancel.rs`) is raised here too: an operation is polled first, so that one that has
//! completed wins; a task that would have to wait then is unwound instead, if it was cancelled.

use std::future::{Future, IntoFuture};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::cancel;
use super::coroutine::{self, Open, with_open};
use super::edge::foreign::running;
use super::edge::waker::{NOBODY, VTABLE};
use super::reactor::{Direction, EVENTS, SourceId, Ticket, poll_one};
use super::scheduler::{
    BUDGET, Scheduler, current, here, in_task, running_task, with_local, with_task,
};
use super::task::{Cause, Wait, WaitCell, WaitKind, Waiter};
use super::timers::TimerKey;

/// The running task's own waker, borrowed: no count is taken. Where no task runs, a waker that wakes
/// nothing, with which an operation still records what it waits for.
#[inline]
fn own_waker() -> ManuallyDrop<Waker> {
    let task = running_task();
    if task.is_null() {
        // SAFETY: the vtable does nothing with the data.
        return ManuallyDrop::new(unsafe { Waker::new(ptr::null(), &NOBODY) });
    }
    // SAFETY: the waker is not dropped, so that its count, which was not taken, is not given back; clones of it
    // take their own. `Record::poll` lends it to one poll, whose frame lies on the task's own stack (a generator cannot
    // yield in the middle of it: `Yielder::exchange`); as long as that frame exists, the task is not done, and a
    // task that is not done is kept, or leaked, by the table of its scheduler.
    ManuallyDrop::new(unsafe { Waker::new(task.cast(), &VTABLE) })
}

/// Whether `waker` is that of the code that is running.
#[inline]
fn is_own(waker: &Waker) -> bool {
    let task = running_task();
    let vtable = if task.is_null() { &NOBODY } else { &VTABLE };
    ptr::eq(waker.data(), task.cast()) && ptr::eq(waker.vtable(), vtable)
}

/// Where an operation records what it waits for, during one poll.
pub(crate) struct Record(WaitCell);

impl Record {
    #[inline]
    pub(crate) fn new() -> Record {
        Record(WaitCell::parked())
    }

    /// Polls `op` once for the code that is running. If it is not ready, this record has what it waits for.
    #[inline]
    pub(crate) fn poll<F: Future>(&self, op: Pin<&mut F>) -> Poll<F::Output> {
        /// The poll is over, however it ends; the poll around it, if there is one, goes on.
        struct Close<'a>(&'a Open, *const ());
        impl Drop for Close<'_> {
            #[inline]
            fn drop(&mut self) {
                self.0.poll.set(self.1);
            }
        }
        let (waker, turn, share) = (own_waker(), here().pulse.turn(), here().budget.get());
        self.0.clear();
        let polled = with_open(|open| {
            let _close = Close(open, open.poll.replace((&raw const self.0).cast()));
            op.poll(&mut Context::from_waker(&waker))
        });
        let polled = polled.expect("operations are polled on a fiber");
        if polled.is_ready() && here().budget.get() == share {
            spend(); // It is another's, and has not done so itself.
        }
        if polled.is_pending() && here().pulse.turn() != turn {
            // The task was suspended in the middle of the poll: what the operation waits for may have come then, and
            // been taken for what the code in the middle waited for. It is to be polled again.
            self.0.kind.set(WaitKind::Turn);
        }
        polled
    }
}

/// Records what an operation waits for, before it returns `Pending`. Returns `false` if the operation has to
/// register `cx.waker()` itself: the waker is not the running task's own, or the record is taken.
#[inline(always)] // Where it is called, the wait is known, and little of this is left.
pub(crate) fn leave(cx: &Context<'_>, wait: Wait) -> bool {
    if !is_own(cx.waker()) {
        return false;
    }
    with_open(|open| {
        // SAFETY: a record that is open is borrowed by a frame of `Record::poll` further down this stack, which
        // closes it before it ends.
        let Some(record) = (unsafe { open.poll.get().cast::<WaitCell>().as_ref() }) else {
            return false; // The waker was kept, and the operation is polled by hand.
        };
        match (record.kind.get(), wait.kind) {
            (WaitKind::Parked, _) => {
                // What only has a time limit is still awaited.
                let cause =
                    if wait.cause == Cause::Waker { record.cause.get() } else { wait.cause };
                record.set(Wait { cause, ..wait }.until(record.deadline.get()));
            }
            (_, WaitKind::Readable(_) | WaitKind::Writable(_)) => return false,
            (_, WaitKind::Turn) => record.kind.set(WaitKind::Turn), // Soonest of all.
            _ => record.limit(wait.ends()),
        }
        true
    }) == Some(true)
}

/// What an operation returns that only wants the others to have a turn first.
pub(crate) fn another_turn<T>(cx: &Context<'_>) -> Poll<T> {
    if !leave(cx, Wait::TURN) {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// Polls an operation within the task's share of the turn. Where that is spent, `poll` is not called, and each other
/// ready task has a turn first. An operation that completes spends one of the share; one that waits spends nothing,
/// so that a hundred of them may wait side by side. Without a bound, a task whose operations are always ready would
/// keep all others, timers and sockets from their turns. (The idea is that of tokio's cooperative budget.)
#[inline]
pub(crate) fn within_share<T>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    if is_spent() {
        return share_is_spent(cx);
    }
    let polled = poll(cx);
    if polled.is_ready() {
        spend();
    }
    polled
}

/// What an operation returns without having been looked at: the task has had its share of this turn.
#[cold]
pub(crate) fn share_is_spent<T>(cx: &Context<'_>) -> Poll<T> {
    if !is_own(cx.waker()) {
        here().budget.set(BUDGET); // An executor inside of the task may poll on in this turn; it yields this once.
    }
    another_turn(cx)
}

/// Whether the running task has had its share of this turn. (While a stack unwinds, nothing suspends.)
#[inline]
pub(crate) fn is_spent() -> bool {
    here().budget.get() == 0 && in_task() && !cancel::unwinds()
}

/// `cx.waker()`, to be kept by something that this thread's scheduler wakes.
pub(crate) fn waiter(cx: &Context<'_>) -> Waiter {
    match current() {
        Some(task) if is_own(cx.waker()) => Waiter::Task(task),
        _ => Waiter::waker(cx.waker().clone()),
    }
}

/// Polls `op` once. If it is not ready, gives the `Wait` that a generator yields.
pub(crate) fn poll_to_yield<F: Future>(op: Pin<&mut F>) -> Result<F::Output, Wait> {
    let (sayer, record) = (sayer(), Record::new());
    match record.poll(op) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(Wait { sayer, ..record.0.get() }),
    }
}

/// The running task, and how often it has been woken.
pub(crate) fn sayer() -> (u64, u32) {
    // SAFETY: a task has its turn on its home thread only.
    with_task(|task| (task.id, unsafe { task.local() }.wakes.get())).unwrap_or((0, 0))
}

/// Waits for `op`: the verb of the green era.
///
/// # Panics
///
/// Outside of a task.
#[inline]
#[track_caller]
pub(crate) fn wait<O: IntoFuture>(op: O) -> O::Output {
    if !in_task() {
        panic!("{}", outside());
    }
    if is_spent() {
        yield_now();
    }
    let (record, mut op) = (Record::new(), pin!(op.into_future()));
    loop {
        match record.poll(op.as_mut()) {
            Poll::Ready(value) => return value,
            Poll::Pending => suspend(&record.0),
        }
    }
}

/// An operation has completed.
#[inline]
pub(crate) fn spend() {
    let budget = &here().budget;
    budget.set(budget.get().saturating_sub(1));
}

const ELSEWHERE: &str = "an operation that waits for a socket or a time is polled on a thread without a scheduler, which \
    would wake it: wait for it in a task, inside `wouldblock::run(|| ..)`";

const OUTSIDE: &str = "a wait outside of any task: there is nothing to suspend. \
    Call it inside `wouldblock::run(|| ..)` or in a task spawned there";

const ASIDE: &str = "a wait outside of any task, in code that the crate calls aside: a logger, an observer, a waker, a \
    callback, a destructor. It may not wait; let it wake or spawn a task, inside `wouldblock::run(|| ..)`, that does";

#[cold]
fn outside() -> &'static str {
    if running().host.get().is_null() { OUTSIDE } else { ASIDE }
}

/// Gives up the turn until what `wait` describes has happened, or something wakes the task.
///
/// The one function through which a task suspends. It unwinds if the task was cancelled or is past a
/// time limit, instead of suspending; so a caller polls again when it returns, and calls it again.
#[inline(always)] // See `suspend_base`.
#[track_caller]
fn suspend(wait: &WaitCell) {
    if cancel::unwinds() && block_thread(wait) {
        return;
    }
    let limit = before_suspending();
    here().wait.copy(wait);
    here().wait.limit(limit);
    coroutine::suspend_base();
}

/// While a stack unwinds, and in a panic hook, a wait for a socket blocks the thread, as std's calls do. Returns `false`
/// for all other waits.
#[cold]
fn block_thread(wait: &WaitCell) -> bool {
    let (id, direction) = match wait.kind.get() {
        WaitKind::Readable(id) => (id, Direction::Read),
        WaitKind::Writable(id) => (id, Direction::Write),
        _ => return false,
    };
    let left = wait.deadline.get().map(|end| end.saturating_duration_since(Instant::now()));
    let ms = left.map_or(100, |left| left.as_millis().min(100) as i32);
    let _ = poll_one(id.fd(), EVENTS[direction as usize], ms); // What it says, the next try shows.
    true
}

/// What precedes each suspension. Returns the earliest time limit in force.
#[inline(always)]
#[track_caller]
fn before_suspending() -> Option<Instant> {
    let task = running_task();
    if task.is_null() {
        panic!("{}", outside());
    }
    cancel::refuse_while_unwinding();
    // SAFETY: the task is alive while it is set, and this is its home thread.
    let local = unsafe { (*task).local() };
    let limit = cancel::check(local);
    local.leaves(Location::caller());
    limit
}

/// Gives up the turn until what `wait` describes may have happened: for code that tries again then.
#[inline(always)]
#[track_caller]
pub(crate) fn pause(wait: Wait) {
    let cell = WaitCell::parked();
    cell.set(wait);
    suspend(&cell);
}

/// The running task gives up its turn at the caller's, by returning to its era's driver.
#[inline]
#[track_caller]
pub(crate) fn leaves() {
    let site = Location::caller();
    with_local(|local| local.leaves(site));
}

/// Records what a task waits for that suspends by returning to its era's driver, as the last thing that it does.
pub(crate) fn put(wait: Wait) {
    here().wait.set(wait);
}

/// As [`put`], of what `record` has.
#[inline]
pub(crate) fn put_record(record: &Record) {
    here().wait.copy(&record.0);
}

/// Gives the others a turn.
#[inline(always)]
#[track_caller]
pub(crate) fn yield_now() {
    before_suspending();
    here().wait.kind.set(WaitKind::Turn);
    coroutine::suspend_base();
}

/// A waker left with a timer or in a socket's line, by an operation that could not leave its wait at the
/// door. Dropping it takes it back.
#[derive(Debug, Default)]
pub(crate) enum Registration {
    #[default]
    None,
    /// With the scheduler that it was left with.
    Timer(u32, TimerKey),
    Place(u32, SourceId, Direction, Ticket),
}

impl Registration {
    /// Registers `cx.waker()` for what `wait` says, in place of what was registered before.
    ///
    /// # Panics
    ///
    /// On a thread without a scheduler.
    pub(crate) fn renew(&mut self, cx: &Context<'_>, wait: Wait) {
        self.cancel();
        let waker = cx.waker().clone();
        Scheduler::with(|scheduler| {
            let scheduler = scheduler.expect(ELSEWHERE);
            match wait.kind {
                WaitKind::Turn => waker.wake(),
                WaitKind::Readable(id) => self.stand(scheduler, id, Direction::Read, waker),
                WaitKind::Writable(id) => self.stand(scheduler, id, Direction::Write, waker),
                WaitKind::Until(end) => {
                    let Some(tick) = scheduler.clock.tick_after(end) else { return };
                    let key = scheduler.timers.borrow_mut().insert(tick, Waiter::waker(waker));
                    *self = Registration::Timer(scheduler.home.run, key);
                }
                WaitKind::Parked => {}
            }
        });
    }

    fn stand(&mut self, scheduler: &Scheduler, id: SourceId, direction: Direction, waker: Waker) {
        let stood = scheduler.reactor.borrow_mut().stand(id, direction, Waiter::waker(waker));
        match stood {
            Ok(ticket) => *self = Registration::Place(scheduler.home.run, id, direction, ticket),
            Err(waiter) => scheduler.wake_waiter(waiter),
        }
    }

    fn cancel(&mut self) {
        let old = ManuallyDrop::new(std::mem::take(self));
        // On a thread that has not entered the run, the registration is left to it: a wake too many.
        let waiter = match *old {
            Registration::Timer(run, key) => {
                Scheduler::of_run(run, |s| s.timers.borrow_mut().remove(key))
            }
            Registration::Place(run, id, direction, ticket) => {
                Scheduler::of_run(run, |s| s.reactor.borrow_mut().leave(id, direction, ticket))
            }
            Registration::None => None,
        };
        drop(waiter); // Only now, when nothing is borrowed any more: its destructor may be code of the user's.
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !matches!(self, Registration::None) {
            self.cancel();
        }
    }
}
