//! The door: how a task gives up its turn.
//!
//! A task is suspended by `coroutine::suspend_base`. Only [`suspend`], [`yield_now`] and [`give_turn`] call that, and
//! `unwinding::abandon`, for a task that is never resumed. A generator that is a task yields to the scheduler instead,
//! and a future returns to it. Before that, they store their wait, with [`store_wait`] and [`store_record`].
//!
//! Cancellation (`cancel.rs`) is raised here too. An operation is polled first, so that one that has completed wins; a
//! cancelled task that would have to wait is unwound instead.

use std::future::{Future, IntoFuture};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::edge::waker::{NO_TASK, VTABLE};
use super::edge::{entered::no_task_message, notes, unwinding};
use super::here::{current, in_task, running_task, with_local, with_task};
use super::task::Waiter;
use super::wait::{Record, Wait, WaitCell, WaitFor, is_own, is_spent, this_turn};
use super::{cancel, coroutine};

/// The running task's own waker, borrowed: it is not counted. Where no task runs, a waker that wakes nothing, with
/// which an operation still records what it waits for.
#[inline]
fn own_waker() -> ManuallyDrop<Waker> {
    let task = running_task();
    if task.is_null() {
        // SAFETY: the vtable does nothing with the data.
        return ManuallyDrop::new(unsafe { Waker::new(ptr::null(), &NO_TASK) });
    }
    // SAFETY: the waker is not dropped, so that its count, which was not taken, is not given back; clones of it take
    // their own. `Record::poll` lends it to one poll, whose frame lies on the task's own stack (a generator that
    // tries to yield meanwhile panics: `may_suspend` in `eras/pep342.rs`); as long as that frame exists, the
    // task is not done, and a task that is not done is kept, or leaked, by the table of its scheduler.
    ManuallyDrop::new(unsafe { Waker::new(task.cast(), &VTABLE) })
}

/// What an operation keeps, to wake it on this thread: the running task, if `cx.waker()` is its own, else that waker.
#[inline]
pub(crate) fn waiter(cx: &Context<'_>) -> Waiter {
    match current() {
        Some(task) if is_own(cx.waker()) => Waiter::Task(task),
        _ => Waiter::waker(cx.waker().clone()),
    }
}

/// Polls `op` once for the running task. If `op` is not ready, `record` has what it waits for.
#[inline(always)]
pub(crate) fn poll<F: Future>(record: &Record, op: Pin<&mut F>) -> Poll<F::Output> {
    record.poll(&own_waker(), op)
}

/// The run, the running task, and how often that has been woken.
pub(crate) fn creator() -> (u32, u64, u32) {
    with_task(|task| (task.home.run, task.id, task.local().wakes.get())).unwrap_or_default()
}

/// Waits for `op`: the verb of the green era. Panics outside of a task.
#[inline]
#[track_caller]
pub(crate) fn wait<O: IntoFuture>(op: O) -> O::Output {
    if !in_task() {
        panic!("{}", no_task_message());
    }
    wait_at(Location::caller(), op)
}

/// As [`wait`], in a task, for a wait in a closure: `site` is the line of the program that reports name.
#[inline]
pub(crate) fn wait_at<O: IntoFuture>(site: &'static Location<'static>, op: O) -> O::Output {
    if is_spent() {
        give_turn();
    }
    let (record, mut op) = (Record::new(), pin!(op.into_future()));
    loop {
        match poll(&record, op.as_mut()) {
            Poll::Ready(value) => return value,
            Poll::Pending => suspend(|wait| wait.copy(&record.wait), site),
        }
    }
}

/// Gives up the turn until what the wait that `store` stores describes may have happened, or something wakes the task.
///
/// This unwinds instead if the task was cancelled or a time limit has passed. If the stack unwinds already, it blocks
/// the thread to wait for a socket, and aborts the process for any other wait (`edge/unwinding.rs` has the rare cases).
/// When this returns, the caller polls its operation again, and waits again if that is pending.
#[inline(always)] // See `coroutine::suspend_base`.
fn suspend(store: impl Fn(&WaitCell), site: &'static Location<'static>) {
    if unwinding::unwinds() && unwinding::block_thread(&store) {
        return;
    }
    let limit = before_suspending(site);
    store(&this_turn().wait);
    this_turn().wait.limit(limit);
    coroutine::suspend_base();
}

/// What precedes each suspension. Returns the earliest time limit in force.
#[inline(always)]
#[track_caller]
fn before_suspending(site: &'static Location<'static>) -> Option<Instant> {
    let task = running_task();
    if task.is_null() {
        panic!("{}", no_task_message());
    }
    unwinding::refuse_while_unwinding();
    // SAFETY: the task lives while it is set, and this is its home thread.
    let local = unsafe { (*task).local() };
    let limit = cancel::check(local);
    local.note_site(site);
    limit
}

/// Gives up the turn until what `wait` describes may have happened: for code that tries again then.
#[inline(always)]
#[track_caller]
pub(crate) fn pause(wait: Wait) {
    suspend(|stored| stored.set(wait), Location::caller());
}

/// Notes where the running task gives up its turn, for a body that yields or returns to the scheduler.
#[inline]
#[track_caller]
pub(crate) fn note_site() {
    let site = Location::caller();
    with_local(|local| local.note_site(site));
}

/// Stores the wait of a task whose body yields or returns to the scheduler. Called last in the turn.
#[inline(always)]
pub(crate) fn store_wait(wait: Wait) {
    this_turn().wait.set(wait);
}

/// As [`store_wait`], of the wait in `record`.
#[inline]
pub(crate) fn store_record(record: &Record) {
    this_turn().wait.copy(&record.wait);
}

/// Gives every other ready task a turn.
#[inline(always)]
#[track_caller]
pub(crate) fn yield_now() {
    before_suspending(Location::caller());
    this_turn().wait.what.set(WaitFor::Turn);
    coroutine::suspend_base();
}

/// As [`yield_now`], because the budget of the turn is used up: see [`cancel::check_between_operations`]. Called only if
/// [`is_spent`], which is `false` while a stack unwinds.
#[cold]
pub(crate) fn give_turn() {
    debug_assert!(is_spent(), "a turn is given up that has some budget left");
    cancel::check_between_operations();
    notes::records();
    this_turn().wait.what.set(WaitFor::Turn);
    coroutine::suspend_base();
}
