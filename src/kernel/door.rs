//! The door: the one way by which a task gives up its turn.
//!
//! [`suspend`] is the one function through which a task's stack is switched away from; each wait of each era comes to it,
//! or, where an era returns to its driver instead, to [`put`].
//!
//! Cancellation (`cancel.rs`) is raised here too: an operation is polled first, so that one that has completed wins; a
//! task that would have to wait then is unwound instead, if it was cancelled.

use std::future::{Future, IntoFuture};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::cancel;
use super::coroutine;
use super::edge::unwinding;
use super::edge::waker::{NOBODY, VTABLE};
use super::here::{current, in_task, running_task, with_local, with_task};
use super::reactor::{Direction, Ticket};
use super::scheduler::Scheduler;
use super::task::Waiter;
use super::timers::TimerKey;
use super::wait::{Record, SourceId, Wait, WaitCell, WaitFor, is_own, is_spent, this_turn};

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

/// `cx.waker()`, to be kept by something that this thread's scheduler wakes.
pub(crate) fn waiter(cx: &Context<'_>) -> Waiter {
    match current() {
        Some(task) if is_own(cx.waker()) => Waiter::Task(task),
        _ => Waiter::waker(cx.waker().clone()),
    }
}

/// Polls `op` once for the running task; what it waits for is in `record` then.
#[inline]
pub(crate) fn poll<F: Future>(record: &Record, op: Pin<&mut F>) -> Poll<F::Output> {
    record.poll(&own_waker(), op)
}

/// Polls `op` once. If it is not ready, returns the `Wait` that a generator yields.
pub(crate) fn poll_to_yield<F: Future>(op: Pin<&mut F>) -> Result<F::Output, Wait> {
    let (created_by, record) = (creator(), Record::new());
    match poll(&record, op) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(Wait { created_by, ..record.wait.get() }),
    }
}

/// The running task, and how often it has been woken.
pub(crate) fn creator() -> (u64, u32) {
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
    assert!(in_task(), "{OUTSIDE}");
    if is_spent() {
        yield_now();
    }
    let (record, mut op) = (Record::new(), pin!(op.into_future()));
    loop {
        match poll(&record, op.as_mut()) {
            Poll::Ready(value) => return value,
            Poll::Pending => suspend(&record.wait),
        }
    }
}

const OUTSIDE: &str = "a wait outside of any task: there is nothing to suspend. \
    Call it inside `wouldblock::run(|| ..)` or in a task spawned there";

/// Gives up the turn until what `wait` describes has happened, or something wakes the task.
///
/// The one function through which a task suspends. It unwinds if the task was cancelled or is past a
/// time limit, instead of suspending; so a caller polls again when it returns, and calls it again.
#[inline(always)] // See `suspend_base`.
#[track_caller]
fn suspend(wait: &WaitCell) {
    if unwinding::unwinds() && unwinding::block_thread(wait) {
        return;
    }
    let limit = before_suspending();
    this_turn().wait.copy(wait);
    this_turn().wait.limit(limit);
    coroutine::suspend_base();
}

/// What precedes each suspension. Returns the earliest time limit in force.
#[inline(always)]
#[track_caller]
fn before_suspending() -> Option<Instant> {
    let task = running_task();
    assert!(!task.is_null(), "{OUTSIDE}");
    unwinding::refuse_while_unwinding();
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
    this_turn().wait.set(wait);
}

/// As [`put`], of what `record` has.
#[inline]
pub(crate) fn put_record(record: &Record) {
    this_turn().wait.copy(&record.wait);
}

/// Gives the others a turn.
#[inline(always)]
#[track_caller]
pub(crate) fn yield_now() {
    before_suspending();
    this_turn().wait.what.set(WaitFor::Turn);
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
            let scheduler = scheduler.expect(OUTSIDE);
            match wait.what {
                WaitFor::Turn => waker.wake(),
                WaitFor::Readable(id) => self.stand(scheduler, id, Direction::Read, waker),
                WaitFor::Writable(id) => self.stand(scheduler, id, Direction::Write, waker),
                _ => {
                    let tick = wait.deadline.and_then(|end| scheduler.clock.tick_after(end));
                    let Some(tick) = tick else { return };
                    let key = scheduler.timers.borrow_mut().insert(tick, Waiter::waker(waker));
                    *self = Registration::Timer(scheduler.home.run, key);
                }
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
