//! The life of a wait. This table is the map of the kernel; the files that it names follow.
//!
//! A greenlet calls `stream.read(&mut buffer)`, and no byte has come yet:
//!
//! ```text
//!   net/socket.rs   green         recv(2) fails with EAGAIN, which is `WouldBlock`: nothing to read yet
//!   net/socket.rs   wait          registers the socket with the reactor; calls `door::pause` with a `Wait`
//!   door.rs         suspend       copies the wait to `this_turn().wait`
//!   coroutine.rs    suspend_base  switches to the scheduler's stack
//!   scheduler.rs    turn          goes on after the switch: the turn is over, and the task is not done
//!   scheduler.rs    file          adds the task to the waiters for the socket, in the reactor
//!   scheduler.rs    run_until     gives turns to other tasks; when no task is ready, sleeps in `poll`
//!   reactor.rs      poll          epoll_wait(2) reports the socket; picks the task, to be woken
//!   scheduler.rs    wake_picked   takes the task from the reactor (`poll` of the scheduler calls this)
//!   scheduler.rs    wake          puts the task at the end of the run queue
//!   scheduler.rs    turn          begins the task's next turn: `Fiber::resume` switches to its stack
//!   door.rs         suspend       returns
//!   net/socket.rs   green         recv(2) gives bytes, which `read` returns
//! ```
//!
//! Every other wait takes the same way from the first `turn` on. What differs is which code makes the [`Wait`], how it
//! gets to `this_turn().wait`, and what wakes the task. Above, the socket call makes it; most waits are made by an
//! *operation*, which is a future. An operation that is polled and not ready [`record`]s its wait and returns
//! `Pending`; the code that has polled the operation then gives up the turn, each era in its own way:
//!
//! ```text
//!   green:      wait(op) ──poll──▶ op ──record──▶ Record ──▶ suspend ────────────▶ this_turn().wait ─▶ scheduler
//!   generator:  y.wait(op) ─poll─▶ op ──record──▶ Record ──▶ the Wait is yielded ▶ this_turn().wait ─▶ scheduler
//!   future:     poll ──────poll──▶ op ──record──▶ Record ──▶ Pending ────────────▶ this_turn().wait ─▶ scheduler
//! ```
//!
//! Some combinators of other crates (`FuturesUnordered`) poll their operations with wakers of their own. Then
//! [`record`] returns `false`, since the waker is not the running task's, and the operation keeps that waker.
//!
//! How a kind of wait is added: `edge/mod.rs`.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, Waker, ready};
use std::thread;
use std::time::Instant;

use super::coroutine::with_open;
use super::edge::forever::forever;
use super::edge::running::running;
use super::edge::{notes, open::Open, source::Direction, trail::Thing};

pub use super::edge::source::SourceId;

/// What a coroutine waits for, and until when at most: what a [`Generator`] of the first era yields to its resumer.
///
/// A `Wait` is itself an operation: waiting for it returns when what it describes may have happened.
///
/// [`Generator`]: crate::generator::Generator
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// What has to happen.
    pub what: WaitFor,
    /// When the wait ends in any case. `None`: never.
    pub deadline: Option<Instant>,
    /// The run, the task, and the task's wake count before the poll, if a generator yields this in a task that drives it:
    /// that task sees by the count whether the wake has come already (`eras/waited.rs`). Else zeros. (`==` compares it.)
    pub(crate) created_by: (u32, u64, u32),
}

/// What has to happen before a coroutine goes on. Prints as what a task does meanwhile: `waits for task 3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitFor {
    /// Nothing but a turn: every other ready task has one first.
    Turn,
    /// The socket has bytes, a connection, an end or an error to read.
    Readable(SourceId),
    /// The socket takes bytes, has connected, or has failed.
    Writable(SourceId),
    /// The [`deadline`](Wait::deadline).
    Time,
    /// The end of the task with this number.
    Task(u64),
    /// Something else that has a name, such as a lock, a queue, or work on another thread.
    Thing(Thing),
    /// A call of the task's waker, by code that has kept the waker.
    Waker,
}

impl fmt::Display for WaitFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitFor::Turn => f.write_str("is ready"),
            WaitFor::Readable(id) => write!(f, "waits to read from descriptor {}", id.fd()),
            WaitFor::Writable(id) => write!(f, "waits to write to descriptor {}", id.fd()),
            WaitFor::Time => f.write_str("sleeps"),
            WaitFor::Task(id) => write!(f, "waits for task {id}"),
            WaitFor::Thing(thing) => write!(f, "waits for {thing}"),
            WaitFor::Waker => f.write_str("waits to be woken"),
        }
    }
}

impl WaitFor {
    /// The socket that it is for, and in which direction.
    #[inline]
    pub(crate) fn socket(self) -> Option<(SourceId, Direction)> {
        match self {
            WaitFor::Readable(id) => Some((id, Direction::Read)),
            WaitFor::Writable(id) => Some((id, Direction::Write)),
            _ => None,
        }
    }

    /// Whether only a wake ends this wait: if that came before the wait began, no other will come.
    pub(crate) fn ends_by_wake_only(self) -> bool {
        matches!(self, WaitFor::Waker | WaitFor::Task(_) | WaitFor::Thing(_))
    }

    /// Of two waits in one poll, that of the higher rank is recorded; of two of equal rank the later, but of two
    /// sockets the first. The earlier deadline holds in any case. A turn ranks highest: after it, all is polled again.
    /// Then a socket, which wakes the task only if recorded; then, by what a report shows, a task or thing, a time, a waker.
    const fn rank(self) -> u8 {
        match self {
            WaitFor::Waker => 0,
            WaitFor::Time => 1,
            WaitFor::Task(_) | WaitFor::Thing(_) => 2,
            WaitFor::Readable(_) | WaitFor::Writable(_) => SOCKET,
            WaitFor::Turn => 4,
        }
    }
}

/// The rank of a wait for a socket, of which one poll records only one: the rank of all that ends only if recorded.
const SOCKET: u8 = 3;

impl Wait {
    pub(crate) const PARKED: Wait = Wait::new(WaitFor::Waker);
    pub(crate) const TURN: Wait = Wait::new(WaitFor::Turn);

    /// A wait without a deadline.
    pub const fn new(what: WaitFor) -> Wait {
        Wait { what, deadline: None, created_by: (0, 0, 0) }
    }

    /// A wait for something that has a name.
    pub(crate) const fn named(what: &'static &'static str) -> Wait {
        Wait::new(WaitFor::Thing(Thing::named(what)))
    }

    pub(crate) const fn until(deadline: Instant) -> Wait {
        Wait { deadline: Some(deadline), ..Wait::new(WaitFor::Time) }
    }
}

/// A cell for a `Wait` without its `created_by`. Each field has a cell, so that a wait for a turn is one store: the
/// deadline beside it may be an old one, and is not read.
pub(crate) struct WaitCell {
    pub(crate) what: Cell<WaitFor>,
    pub(crate) deadline: Cell<Option<Instant>>,
}

impl WaitCell {
    #[inline]
    pub(crate) const fn parked() -> WaitCell {
        WaitCell { what: Cell::new(WaitFor::Waker), deadline: Cell::new(None) }
    }

    #[inline]
    pub(crate) fn set(&self, wait: Wait) {
        self.what.set(wait.what);
        self.deadline.set(wait.deadline);
    }

    #[inline]
    pub(crate) fn get(&self) -> Wait {
        Wait { deadline: self.deadline.get(), ..Wait::new(self.what.get()) }
    }

    #[inline]
    pub(crate) fn copy(&self, other: &WaitCell) {
        match other.is_turn() {
            true => self.what.set(WaitFor::Turn),
            false => self.set(other.get()),
        }
    }

    /// Ends the wait at `deadline` at the latest.
    #[inline]
    pub(crate) fn limit(&self, deadline: Option<Instant>) {
        if deadline.is_some() {
            self.deadline.set(earliest(self.deadline.get(), deadline));
        }
    }

    #[inline]
    pub(crate) fn is_turn(&self) -> bool {
        matches!(self.what.get(), WaitFor::Turn)
    }
}

pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// The turn that a task of this thread has now; between two turns, the last one.
pub(crate) struct Turn {
    /// The number of the turn, modulo 2^32.
    pub(crate) number: Cell<u32>,
    /// How many operations may still complete in this turn.
    pub(crate) budget: Cell<u32>,
    /// What the task waits for when it gives up its turn. Written last in the turn (before the switch, or after the
    /// poll of a future), and read by `Scheduler::turn` right after the turn.
    pub(crate) wait: WaitCell,
}

thread_local! {
    static TURN: Turn = const {
        Turn { number: Cell::new(0), budget: Cell::new(0), wait: WaitCell::parked() }
    };
}

#[inline]
pub(crate) fn this_turn() -> &'static Turn {
    // SAFETY: a `Turn` has `Cell`s, so it is not `Sync`.
    unsafe { forever(&TURN) }
}

/// How many operations may complete in one turn. Without a bound, a task whose peer is fast enough, or whose channel is
/// never empty, never waits: other tasks have no turn, and no timer or socket is looked at. (Idea and figure are those
/// of tokio's cooperative budget. With 64, a hundred senders to one receiver cost half as much again.) A turn in which an
/// executor inside of the task polls has no bound: see [`check_budget`].
pub(crate) const BUDGET: u32 = 128;

/// Where an operation records what it waits for, during one poll.
///
/// A verb has a record in its frame, and polls with [`Record::poll`]. While that poll lasts, the record is the open one
/// of the running fiber ([`Open`]), and all operations that are polled inside, as by `select`, use it. Code inside the
/// poll may call a verb in turn: then the record of that verb is the open one until its poll is over.
pub(crate) struct Record {
    pub(crate) wait: WaitCell,
    /// The waker that is lent to this poll. Its address tells this poll from those around it, on whichever fiber.
    lent: Cell<*const Waker>,
}

impl Record {
    #[inline]
    pub(crate) fn new() -> Record {
        Record { wait: WaitCell::parked(), lent: Cell::new(ptr::null()) }
    }

    /// Polls `op` once, lending it `waker`, the running task's own. If `op` is not ready, its wait is in `self.wait`.
    #[inline(always)]
    pub(crate) fn poll<F: Future>(&self, waker: &Waker, op: Pin<&mut F>) -> Poll<F::Output> {
        /// However the poll ends: the record of the poll around it, if there is one, is the open one again.
        struct Close<'a>(&'a Open, *const ());
        impl Drop for Close<'_> {
            #[inline]
            fn drop(&mut self) {
                self.0.poll.set(self.1);
            }
        }
        let (number, budget) = (this_turn().number.get(), this_turn().budget.get());
        self.wait.set(Wait::PARKED);
        self.lent.set(waker);
        let polled = with_open(|open| {
            let _close = Close(open, open.poll.replace(ptr::from_ref(self).cast()));
            op.poll(&mut Context::from_waker(waker))
        });
        let polled = polled.expect("operations are polled on a fiber");
        if polled.is_ready() && this_turn().budget.get() == budget {
            spend(); // A future of another crate spends nothing itself.
        }
        if polled.is_pending() && this_turn().number.get() != number {
            // The task was suspended in the middle of the poll. The wake that ended the inner wait may have been meant
            // for this operation. So the operation waits only for a turn, and is polled again.
            self.wait.what.set(WaitFor::Turn);
        }
        polled
    }
}

/// Calls `f` with the record of the innermost poll on this fiber, if `waker` is the one that the running task has lent to
/// that poll. (A poll around it has another one: an operation of that poll, polled here, has to keep it.)
#[inline(always)]
fn with_record<R>(waker: &Waker, f: impl FnOnce(&Record) -> R) -> Option<R> {
    let is_lent =
        |record: &Record| waker.data() == running().task.get() && ptr::eq(waker, record.lent.get());
    with_open(|open| {
        // SAFETY: an open record is borrowed by a frame of `Record::poll` further down this stack, and that frame
        // closes the record before it ends.
        let record = unsafe { open.poll.get().cast::<Record>().as_ref() };
        record.filter(|record| is_lent(record)).map(f)
    })?
}

/// Whether `waker` was lent to the innermost poll, so that a wait can be recorded and no waker is kept.
#[inline]
pub(crate) fn is_own(waker: &Waker) -> bool {
    with_record(waker, |_| ()).is_some()
}

/// Records what an operation waits for, before it returns `Pending`. Returns `false` if the operation has to register
/// `cx.waker()` itself: if that is not the one lent to the innermost poll, or for the second socket of one poll (even the same).
/// (`true` also if a wait for a turn is recorded already.)
#[inline(always)] // Where the wait is a constant, the compiler removes most of this.
pub(crate) fn record(cx: &Context<'_>, wait: Wait) -> bool {
    let is_recorded = with_record(cx.waker(), |record| {
        let (recorded, new) = (record.wait.what.get().rank(), wait.what.rank());
        record.wait.limit(wait.deadline);
        if (recorded, new) == (SOCKET, SOCKET) {
            return false;
        }
        if new >= recorded {
            record.wait.what.set(wait.what);
        }
        true
    }) == Some(true);
    if is_recorded {
        notes::records();
    }
    is_recorded
}

/// Returns `Pending`, and makes the task ready again: for an operation that only lets the other tasks have a turn.
#[inline]
pub(crate) fn another_turn<T>(cx: &Context<'_>) -> Poll<T> {
    if !record(cx, Wait::TURN) {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// Polls an operation within the task's budget for this turn. If that is used up, `poll` is not called, and every other
/// ready task has a turn first. An operation that completes costs one, unless operations inside it have cost something
/// already; one that has to wait costs nothing, so that a hundred may wait side by side.
#[inline(always)] // Else what `poll` returns is copied, from memory just written: half of what a free lock costs.
pub(crate) fn poll_within_budget<T>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    ready!(check_budget(cx));
    let budget = this_turn().budget.get();
    let polled = poll(cx);
    if polled.is_ready() && this_turn().budget.get() == budget {
        spend();
    }
    polled
}

/// Ready while some of the task's budget for this turn is left; else pending, and every other ready task has a turn
/// first. An operation that does not use [`poll_within_budget`] calls this first.
#[inline]
pub(crate) fn check_budget(cx: &Context<'_>) -> Poll<()> {
    #[cold]
    fn wait_for_another(cx: &Context<'_>) -> Poll<()> {
        if !is_own(cx.waker()) {
            // An inner executor polls, and may poll again in this turn: without a new budget it would spin for ever.
            this_turn().budget.set(BUDGET);
        }
        another_turn(cx)
    }
    if is_spent() { wait_for_another(cx) } else { Poll::Ready(()) }
}

/// Whether the running task has used up its budget, and is to give up its turn. (While a stack unwinds, it cannot.)
#[inline]
pub(crate) fn is_spent() -> bool {
    this_turn().budget.get() == 0 && !running().task.get().is_null() && !thread::panicking()
}

/// Subtracts one from the budget: an operation has completed.
#[inline]
pub(crate) fn spend() {
    let budget = &this_turn().budget;
    budget.set(budget.get().saturating_sub(1));
}
