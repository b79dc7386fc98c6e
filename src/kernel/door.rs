//! The door: how a task gives up its turn.
//!
//! A task suspends through `coroutine::suspend_base`, which [`suspend`], [`yield_now`] and [`give_turn`] call here, and
//! nothing else but `unwinding::leave`, for a task that is abandoned. A generator that is a task yields to the scheduler
//! instead, and stores its wait with [`store_wait`]; a future that returns to it, with [`store_record`].
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
use super::edge::waker::{NO_TASK, VTABLE};
use super::edge::{entered::no_task_message, notes, unwinding};
use super::here::{current, in_task, running_task, with_local, with_task};
use super::task::Waiter;
use super::wait::{Record, Wait, WaitCell, WaitFor, is_own, is_spent, spend, this_turn};

/// The running task's own waker, borrowed: no count is taken. Where no task runs, a waker that wakes
/// nothing, with which an operation still records what it waits for.
#[inline]
fn own_waker() -> ManuallyDrop<Waker> {
    let task = running_task();
    if task.is_null() {
        // SAFETY: the vtable does nothing with the data.
        return ManuallyDrop::new(unsafe { Waker::new(ptr::null(), &NO_TASK) });
    }
    // SAFETY: the waker is not dropped, so that its count, which was not taken, is not given back; clones of it take
    // their own. `Record::poll` lends it to one poll, whose frame lies on the task's own stack (a generator that
    // tries to yield meanwhile panics: `Wire::may_suspend` in `eras/pep342.rs`); as long as that frame exists, the
    // task is not done, and a task that is not done is kept, or leaked, by the table of its scheduler.
    ManuallyDrop::new(unsafe { Waker::new(task.cast(), &VTABLE) })
}

/// `cx.waker()`, to be kept by something of this thread, and woken here.
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
    if !in_task() {
        panic!("{}", no_task_message());
    }
    if is_spent() {
        give_turn();
    }
    let (record, mut op) = (Record::new(), pin!(op.into_future()));
    loop {
        match poll(&record, op.as_mut()) {
            Poll::Ready(value) => return value,
            Poll::Pending => suspend(&record.wait),
        }
    }
}

/// Gives up the turn until what `wait` describes has happened, or something wakes the task.
///
/// It unwinds instead, if the task was cancelled or is past a time limit; while the stack unwinds, it blocks the
/// thread for a socket, and aborts for all else. When it returns, the caller polls its operation again, and, if that
/// is still pending, calls this again.
#[inline(always)] // Each function returned from after a switch is a mispredicted return.
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
    if task.is_null() {
        panic!("{}", no_task_message());
    }
    unwinding::refuse_while_unwinding();
    // SAFETY: the task is alive while it is set, and this is its home thread.
    let local = unsafe { (*task).local() };
    let limit = cancel::check(local);
    local.note_site(Location::caller());
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

/// Records where the running task gives up its turn, for a body that returns to the scheduler.
#[inline]
#[track_caller]
pub(crate) fn note_site() {
    let site = Location::caller();
    with_local(|local| local.note_site(site));
}

/// Stores the wait of a task whose body returns to the scheduler. Called last in the turn.
pub(crate) fn store_wait(wait: Wait) {
    this_turn().wait.set(wait);
}

/// As [`store_wait`], of what `record` has.
#[inline]
pub(crate) fn store_record(record: &Record) {
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

/// Gives the others a turn because the budget of this one is used up.
#[cold]
pub(crate) fn give_turn() {
    unwinding::refuse_while_unwinding();
    cancel::check_between_operations();
    notes::records();
    this_turn().wait.what.set(WaitFor::Turn);
    coroutine::suspend_base();
}

/// A green call has completed without having waited for an operation. The others have a turn if that uses up the budget.
pub(crate) fn completed() {
    spend();
    if is_spent() {
        give_turn();
    }
}
