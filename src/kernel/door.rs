//! The door: the one way by which a task gives up its turn.
//!
//! An *operation* is a future that says what it waits for. Polled with the waker of the running task
//! itself, it leaves a [`Wait`] at the door, which costs nothing, and the scheduler files the task under
//! it. Polled with any other waker (inside a combinator that has its own), it registers that waker. Which
//! of the two it is, [`is_own`] tells; the operation is written once.
//!
//! ```text
//!   green:      wait(op) ──poll──▶ op ──leave(Wait)──▶ here().said      suspend() ──▶ scheduler
//!   generator:  y.wait(op) ─poll─▶ op ──leave(Wait)──▶ here().said ──▶ the Wait is yielded to the caller
//!   future:     poll ──────poll──▶ op ──leave(Wait)──▶ here().said      Pending ────▶ scheduler
//! ```
//!
//! There is room for one `Wait`. A second operation in the same poll registers the task's waker like a
//! foreign one; deadlines need no room, the earliest counts.
//!
//! Cancellation (`cancel.rs`) is raised here too: an operation is polled first, so that one that has
//! completed wins; whoever would have to wait then is unwound instead, if it was cancelled.

use std::future::{Future, IntoFuture};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::ptr;
use std::task::{Context, Poll, Waker};

use super::cancel;
use super::coroutine;
use super::reactor::{Direction, SourceId, Ticket};
use super::scheduler::{BUDGET, Here, Scheduler, current, here, in_task, with_local, with_task};
use super::task::{Cause, Wait, WaitKind, Waiter};
use super::timers::TimerKey;
use super::waker::{NOBODY, VTABLE};

/// The running task's own waker, borrowed: no count is taken. Where no task runs, a waker that wakes
/// nobody, with which an operation still says what it waits for.
#[inline]
fn own_waker() -> ManuallyDrop<Waker> {
    let task = here().pulse.task();
    if task.is_null() {
        // SAFETY: the vtable does nothing with the data.
        return ManuallyDrop::new(unsafe { Waker::new(ptr::null(), &NOBODY) });
    }
    // SAFETY: the waker is not dropped, so that its count, which nobody took, is not given back; clones of
    // it take their own. It is used for one poll, during which the task stays alive: it is this task's turn,
    // or it is suspended at the door in the middle of the poll; a generator cannot yield there.
    ManuallyDrop::new(unsafe { Waker::new(task.cast(), &VTABLE) })
}

/// Whether `waker` is that of the code that is running, so that its wait can be left at the door.
#[inline]
fn is_own(waker: &Waker) -> bool {
    let task = here().pulse.task();
    let vtable = if task.is_null() { &NOBODY } else { &VTABLE };
    ptr::eq(waker.data(), task.cast()) && ptr::eq(waker.vtable(), vtable)
}

/// An operation says what it waits for, before it returns `Pending`. False: it has to register
/// `cx.waker()` itself, the waker is not the running task's own or the door is taken.
#[inline(always)] // Where it is called, what is said is known, and little of this is left.
pub(crate) fn leave(cx: &Context<'_>, wait: Wait) -> bool {
    if !is_own(cx.waker()) {
        return false;
    }
    let said = &here().said;
    match (said.kind.get(), wait.kind) {
        (WaitKind::Parked, _) => {
            said.limit(wait.deadline);
            // What only has a time limit is still awaited.
            let cause = if wait.cause == Cause::Waker { said.cause.get() } else { wait.cause };
            said.put(Wait { deadline: said.deadline.get(), cause, ..wait });
        }
        (_, WaitKind::Readable(_) | WaitKind::Writable(_)) => return false,
        (_, WaitKind::Turn) => said.kind.set(WaitKind::Turn), // Soonest of all.
        _ => said.limit(wait.ends()),
    }
    true
}

/// What an operation returns that only wants the others to have a turn first.
pub(crate) fn another_turn<T>(cx: &Context<'_>) -> Poll<T> {
    if !leave(cx, Wait::new(WaitKind::Turn)) {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// Spends one of the completions that a turn may have without waiting. An operation calls this first: when the
/// turn has had its share, it gives each other ready task a turn before it goes on. Without a bound, a task whose
/// operations are always ready would keep all others, timers and sockets from their turns. (The idea is that of
/// tokio's cooperative budget.)
pub(crate) fn proceed(cx: &Context<'_>) -> Poll<()> {
    let budget = &here().budget;
    // While a stack unwinds nothing suspends: a destructor is served what is ready.
    if budget.get() > 0 || !in_task() || std::thread::panicking() {
        budget.set(budget.get().saturating_sub(1));
        return Poll::Ready(());
    }
    if !is_own(cx.waker()) {
        budget.set(BUDGET); // An executor inside of the task may poll on in this turn; it yields this once.
    }
    another_turn(cx)
}

/// `cx.waker()`, to be kept by something that this thread's scheduler wakes.
pub(crate) fn waiter(cx: &Context<'_>) -> Waiter {
    match current() {
        Some(task) if is_own(cx.waker()) => Waiter::Task(task),
        _ => Waiter::Waker(cx.waker().clone()),
    }
}

/// Polls `op` once for the code that is running; if it is not ready, it has said what it waits for.
#[inline]
pub(crate) fn poll<F: Future>(op: Pin<&mut F>) -> Poll<F::Output> {
    struct Polling(&'static Here);
    impl Drop for Polling {
        fn drop(&mut self) {
            self.0.polling.set(false);
        }
    }
    let (waker, here) = (own_waker(), here());
    here.said.clear();
    here.polling.set(true);
    let _polling = Polling(here);
    op.poll(&mut Context::from_waker(&waker))
}

/// A wait in the middle of another operation's poll: `Nested::enter()`, held while it lasts.
///
/// The outer operation has perhaps said what it waits for already. Afterwards that stands again; or, if the
/// task was suspended meanwhile, that the outer operation wants to be polled once more, since what it waits
/// for may have come, and been taken for what the inner one waited for.
pub(crate) struct Nested(Option<(Wait, u32)>);

impl Nested {
    #[inline]
    pub(crate) fn enter() -> Nested {
        let here = here();
        match here.polling.get() {
            false => Nested(None),
            true => {
                here.polling.set(false);
                Nested(Some((here.said.get((0, 0)), here.pulse.turn())))
            }
        }
    }
}

impl Drop for Nested {
    #[inline]
    fn drop(&mut self) {
        if let Some((said, turn)) = self.0 {
            let here = here();
            here.polling.set(true);
            here.said.put(said);
            if here.pulse.turn() != turn {
                here.said.kind.set(WaitKind::Turn);
            }
        }
    }
}

/// As [`poll`], and gives what was said, for a generator to yield.
pub(crate) fn poll_said<F: Future>(op: Pin<&mut F>) -> Result<F::Output, Wait> {
    let sayer = sayer();
    match poll(op) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(here().said.get(sayer)),
    }
}

/// The running task, and how often it has been woken.
fn sayer() -> (u64, u32) {
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
    let _nested = Nested::enter();
    let mut op = pin!(op.into_future());
    loop {
        match poll(op.as_mut()) {
            Poll::Ready(value) => return value,
            Poll::Pending => suspend(),
        }
    }
}

const OUTSIDE: &str = "a wait outside of any task: there is nothing to suspend. \
    Call it inside `wouldblock::run(|| ..)` or in a task spawned there";

/// Gives up the turn until what was said has happened, or somebody wakes the task.
///
/// The one function through which a task suspends. It unwinds if the task was cancelled or is past a
/// time limit, instead of suspending; so a caller polls again when it returns, and calls it again.
#[inline(always)] // See `suspend_base`.
#[track_caller]
pub(crate) fn suspend() {
    let task = here().pulse.task();
    assert!(!task.is_null(), "{OUTSIDE}");
    cancel::refuse_while_unwinding();
    // SAFETY: the task is alive while it is set, and this is its home thread.
    let local = unsafe { (*task).local() };
    cancel::check(local);
    local.leaves(Location::caller());
    coroutine::suspend_base();
}

/// Gives up the turn until what `wait` says may have happened: for whoever tries again then.
#[inline(always)]
#[track_caller]
pub(crate) fn pause(wait: Wait) {
    let _nested = Nested::enter();
    here().said.put(wait);
    suspend();
}

/// The running task gives up its turn at the caller's, by returning to its era's driver.
#[inline]
#[track_caller]
pub(crate) fn leaves() {
    let site = Location::caller();
    with_local(|local| local.leaves(site));
}

/// Leaves `wait` at the door for a task that suspends by returning to its era's driver.
pub(crate) fn put(wait: Wait) {
    here().said.put(wait);
}

/// Gives the others a turn.
#[inline(always)]
#[track_caller]
pub(crate) fn yield_now() {
    if here().polling.get() {
        return yield_in_a_poll();
    }
    here().said.kind.set(WaitKind::Turn);
    suspend();
}

#[cold]
fn yield_in_a_poll() {
    let _nested = Nested::enter();
    here().said.kind.set(WaitKind::Turn);
    suspend();
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
            match wait.kind {
                WaitKind::Turn => waker.wake(),
                WaitKind::Readable(id) => self.stand(scheduler, id, Direction::Read, waker),
                WaitKind::Writable(id) => self.stand(scheduler, id, Direction::Write, waker),
                WaitKind::Until(end) => {
                    let tick = scheduler.clock.tick_after(end);
                    let key = scheduler.timers.borrow_mut().insert(tick, Waiter::Waker(waker));
                    *self = Registration::Timer(scheduler.id, key);
                }
                WaitKind::Parked => {}
            }
        });
    }

    fn stand(&mut self, scheduler: &Scheduler, id: SourceId, direction: Direction, waker: Waker) {
        let stood = scheduler.reactor.borrow_mut().stand(id, direction, Waiter::Waker(waker));
        match stood {
            Ok(ticket) => *self = Registration::Place(scheduler.id, id, direction, ticket),
            Err(waiter) => scheduler.wake_waiter(waiter),
        }
    }

    fn cancel(&mut self) {
        let old = ManuallyDrop::new(std::mem::take(self));
        Scheduler::with(|scheduler| {
            let Some(scheduler) = scheduler else { return };
            // The waiter is dropped when the borrow has ended: it may be anybody's code.
            // Another scheduler's is left to it: it will wake somebody who no longer waits.
            let waiter = match *old {
                Registration::Timer(at, key) if at == scheduler.id => {
                    scheduler.timers.borrow_mut().remove(key)
                }
                Registration::Place(at, id, direction, ticket) if at == scheduler.id => {
                    scheduler.reactor.borrow_mut().leave(id, direction, ticket)
                }
                _ => None,
            };
            drop(waiter);
        });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !matches!(self, Registration::None) {
            self.cancel();
        }
    }
}

/// Waiting for a [`Wait`] is ready once, when what it says may have happened.
///
/// ```
/// use wouldblock::{generator::{Generator, GeneratorState, Yielder}, Wait, green, time};
///
/// wouldblock::run(|| {
///     let mut inner = Generator::new(|y: &Yielder<Wait>| {
///         y.wait(time::sleep(std::time::Duration::from_millis(1)));
///     });
///     // A trampoline, by hand:
///     while let GeneratorState::Yielded(wait) = inner.resume() {
///         green::wait(wait);
///     }
/// });
/// ```
impl IntoFuture for Wait {
    type Output = ();
    type IntoFuture = Waited;

    fn into_future(self) -> Waited {
        Waited { wait: Some(self), registration: Registration::None }
    }
}

/// See [`Wait`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Waited {
    wait: Option<Wait>,
    registration: Registration,
}

impl Future for Waited {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(wait) = self.wait.take() else { return Poll::Ready(()) };
        if wait.kind == WaitKind::Parked && wait.sayer != sayer() {
            // The wake came while the task did something else, or will come to another task.
            return Poll::Ready(());
        }
        if !leave(cx, wait) {
            self.registration.renew(cx, wait);
        }
        Poll::Pending
    }
}
