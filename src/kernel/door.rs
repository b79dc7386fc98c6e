//! The door: the one way by which a task gives up its turn.
//!
//! An *operation* is a future that says what it waits for. Polled with the waker of the running task
//! itself, it leaves a [`Wait`] at the door, which costs nothing, and the scheduler files the task under
//! it. Polled with any other waker (inside a combinator that has its own), it registers that waker. Which
//! of the two it is, [`is_own`] tells; the operation is written once.
//!
//! ```text
//!   green:      wait(op) ──poll──▶ op ──leave(Wait)──▶ HERE.wait        suspend() ──▶ scheduler
//!   generator:  y.wait(op) ─poll─▶ op ──leave(Wait)──▶ HERE.wait ──▶ the Wait is yielded to the caller
//!   future:     poll ──────poll──▶ op ──leave(Wait)──▶ HERE.wait        Pending ────▶ scheduler
//! ```
//!
//! There is room for one `Wait`. A second operation in the same poll registers the task's waker like a
//! foreign one; deadlines need no room, the earliest counts.
//!
//! **Cancellation** is raised here: whoever would have to wait, and has been cancelled or is past a time
//! limit, is unwound from here to its boundary. It is raised again at every further wait on the way. An
//! operation that has completed wins: it is polled before anything is raised.

use std::future::{Future, IntoFuture};
use std::mem::ManuallyDrop;
use std::panic;
use std::pin::{Pin, pin};
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::coroutine;
use super::reactor::{Direction, Place, SourceId};
use super::scheduler::{HERE, Scheduler, VTABLE};
use super::task::{Local, Promise, Task, Unwind, Wait, WaitKind};
use super::timers::TimerKey;

/// The task whose turn it is, if one has its turn on this thread.
pub(crate) fn current() -> Option<Arc<Task>> {
    let task = HERE.with(|here| here.task.get());
    if task.is_null() {
        return None;
    }
    // SAFETY: `Scheduler::turn` holds an `Arc` of the task while it is set; this makes another.
    Some(unsafe {
        Arc::increment_strong_count(task);
        Arc::from_raw(task)
    })
}

/// Whether a task has its turn on this thread, so that there is something to suspend.
#[inline]
pub(crate) fn in_task() -> bool {
    HERE.with(|here| !here.task.get().is_null())
}

fn with_local<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    let task = HERE.with(|here| here.task.get());
    // SAFETY: the pointer is valid while it is set (`Scheduler::turn`), which happens on the task's home
    // thread only.
    unsafe { task.as_ref() }.map(|task| f(unsafe { task.local() }))
}

/// The time, by the clock of this thread's scheduler.
pub(crate) fn now() -> Instant {
    Scheduler::with(|s| s.map_or_else(Instant::now, |s| s.clock.now()))
}

/// The running task's own waker, borrowed: no count is taken. Where no task runs, a waker that wakes
/// nobody, with which an operation still says what it waits for.
#[inline]
fn own_waker() -> ManuallyDrop<Waker> {
    let task = HERE.with(|here| here.task.get());
    if task.is_null() {
        return ManuallyDrop::new(Waker::noop().clone());
    }
    // SAFETY: the task is alive while it runs, and the waker is not dropped, so that its count, which
    // nobody took, is not given back. Clones of it take their own.
    ManuallyDrop::new(unsafe { Waker::new(task.cast(), &VTABLE) })
}

/// Whether `waker` is that of the code that is running, so that its wait can be left at the door.
#[inline]
fn is_own(waker: &Waker) -> bool {
    let task = HERE.with(|here| here.task.get());
    match task.is_null() {
        true => waker.will_wake(Waker::noop()),
        false => ptr::eq(waker.data(), task.cast()) && ptr::eq(waker.vtable(), &VTABLE),
    }
}

/// An operation says what it waits for, before it returns `Pending`. False: it has to register
/// `cx.waker()` itself, the waker is not the running task's own or the door is taken.
#[inline]
pub(crate) fn leave(cx: &Context<'_>, wait: Wait) -> bool {
    if !is_own(cx.waker()) {
        return false;
    }
    HERE.with(|here| {
        let left = here.wait.get();
        if left.kind == WaitKind::Parked {
            here.wait.set(Wait { deadline: earliest(left.deadline, wait.deadline), ..wait });
            return true;
        }
        if matches!(wait.kind, WaitKind::Readable(_) | WaitKind::Writable(_)) {
            return false;
        }
        here.wait.set(match wait.kind {
            WaitKind::Turn => wait, // Soonest of all: it needs nobody to wake it.
            _ => Wait { deadline: earliest(left.deadline, wait.ends()), ..left },
        });
        true
    })
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Polls `op` once for the code that is running; if it is not ready, says what it waits for.
#[inline]
pub(crate) fn poll<F: Future>(op: Pin<&mut F>) -> Result<F::Output, Wait> {
    let waker = own_waker();
    HERE.with(|here| here.wait.set(Wait::PARKED));
    match op.poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(HERE.with(|here| here.wait.get())),
    }
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
    let mut op = pin!(op.into_future());
    loop {
        match poll(op.as_mut()) {
            Ok(value) => return value,
            Err(wait) => suspend(wait),
        }
    }
}

const OUTSIDE: &str = "a wait outside of any task: there is nothing to suspend. \
    Call it inside `wouldblock::run(|| ..)` or in a task spawned there";

/// Gives up the turn until `wait` is over, or somebody wakes the task.
///
/// The one function through which a task suspends. It unwinds if the task was cancelled or is past a
/// time limit, instead of suspending; so a caller polls again when it returns, and calls it again.
#[inline]
#[track_caller]
pub(crate) fn suspend(wait: Wait) {
    assert!(in_task(), "{OUTSIDE}");
    refuse_while_unwinding();
    let limited = with_local(|local| local.cancelled.get() || !local.limits.get().is_null());
    let wait = if limited == Some(true) { raise_or_limit(wait) } else { wait };
    HERE.with(|here| here.wait.set(wait));
    coroutine::suspend_base();
}

/// Unwinds if the task is cancelled or a time limit has passed; otherwise the wait ends with the limit.
#[cold]
fn raise_or_limit(wait: Wait) -> Wait {
    check_cancelled();
    let now = now();
    let mut deadline = wait.deadline;
    let mut passed = None;
    let mut limit = limits().cast::<Limit>();
    // SAFETY: each limit lies in the frame of a `Limit::hold` further down this stack, which takes it
    // out of the list before it ends.
    while let Some(here) = unsafe { limit.as_ref() } {
        if here.deadline <= now {
            passed = Some(limit); // The outermost that has passed is found last.
        }
        deadline = earliest(deadline, Some(here.deadline));
        limit = here.outer;
    }
    if let Some(boundary) = passed {
        unwind_to(boundary.cast());
    }
    Wait { deadline, ..wait }
}

fn unwind_to(boundary: *const ()) -> ! {
    panic::resume_unwind(Box::new(Unwind { boundary }))
}

/// Aborts if a stack is unwinding: for all that would suspend.
#[inline]
pub(crate) fn refuse_while_unwinding() {
    if std::thread::panicking() {
        abort_while_unwinding();
    }
}

#[cold]
fn abort_while_unwinding() -> ! {
    let task = current().map_or_else(|| "a coroutine".into(), |task| task.to_string());
    eprintln!(
        "wouldblock: {task} has to wait in a destructor while its stack unwinds, which would leave the \
         thread panicking for all other tasks; aborting. Do not wait in `drop`."
    );
    std::process::abort();
}

/// Runs the last of the running task's code, and keeps what becomes of it as the task's result.
///
/// # Panics
///
/// Outside of a task.
pub(crate) fn fulfil<T>(promise: Promise<T>, code: impl FnOnce() -> T) {
    promise.fulfil(&current().expect(OUTSIDE), code);
}

/// Unwinds if the running task was cancelled; of code that has not begun, only what it has captured is
/// then dropped.
pub(crate) fn check_cancelled() {
    if is_cancelled() {
        raise_cancelled();
    }
}

/// Unwinds to the root of the running task.
pub(crate) fn raise_cancelled() -> ! {
    unwind_to(ptr::null())
}

/// Whether somebody has asked the running task to stop.
pub(crate) fn is_cancelled() -> bool {
    with_local(|local| local.cancelled.get()) == Some(true)
}

/// The innermost time limit in force, to be compared with another time's.
pub(crate) fn limits() -> *const () {
    with_local(|local| local.limits.get()).unwrap_or(ptr::null())
}

/// A time limit on whatever the running task does in a closure.
pub(crate) struct Limit {
    deadline: Instant,
    outer: *const Limit,
}

impl Limit {
    /// Runs `body`; `None` if it was unwound because `deadline` had passed.
    pub(crate) fn hold<T>(deadline: Instant, body: impl FnOnce() -> T) -> Option<T> {
        assert!(in_task(), "{OUTSIDE}");
        let outer = limits().cast();
        let limit = Limit { deadline, outer };
        let me = &raw const limit;
        with_local(|local| local.limits.set(me.cast()));
        let result = panic::catch_unwind(panic::AssertUnwindSafe(body));
        with_local(|local| local.limits.set(outer.cast()));
        match result {
            Ok(value) => Some(value),
            Err(payload) => match payload.downcast_ref::<Unwind>() {
                Some(unwind) if ptr::eq(unwind.boundary, me.cast()) => None,
                _ => panic::resume_unwind(payload),
            },
        }
    }
}

/// Leaves `wait` at the door for a task that suspends by returning to its era's driver.
pub(crate) fn put(wait: Wait) {
    HERE.with(|here| here.wait.set(wait));
}

/// Gives the others a turn.
#[inline]
#[track_caller]
pub(crate) fn yield_now() {
    suspend(Wait::new(WaitKind::Turn));
}

/// A waker left with a timer or in a socket's line, by an operation that could not leave its wait at the
/// door. Dropping it takes it back.
#[derive(Debug, Default)]
pub(crate) enum Registration {
    #[default]
    None,
    Timer(TimerKey),
    Place(Place),
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
                    *self = Registration::Timer(scheduler.timers.borrow_mut().insert(tick, waker));
                }
                WaitKind::Parked => {}
            }
        });
    }

    fn stand(&mut self, scheduler: &Scheduler, id: SourceId, direction: Direction, waker: Waker) {
        let stood = scheduler.reactor.borrow_mut().stand(id, direction, waker);
        match stood {
            Ok(place) => *self = Registration::Place(place),
            Err(waker) => waker.wake(),
        }
    }

    fn cancel(&mut self) {
        let old = std::mem::take(self);
        Scheduler::with(|scheduler| {
            let Some(scheduler) = scheduler else { return };
            // The waker is dropped when the borrow has ended: it may be anybody's code.
            let waker = match old {
                Registration::None => None,
                Registration::Timer(key) => scheduler.timers.borrow_mut().remove(key),
                Registration::Place(place) => scheduler.reactor.borrow_mut().leave(place),
            };
            drop(waker);
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
        if !leave(cx, wait) {
            self.registration.renew(cx, wait);
        }
        Poll::Pending
    }
}
