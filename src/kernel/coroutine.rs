//! Switching stacks: the only file that uses corosensei.
//!
//! A [`Fiber`] is a corosensei coroutine, used again: it runs one job, then waits for the next one, on the same warm
//! stack. A task is written in one of three ways, its *era*: as a greenlet (plain code on a stack of its own), as a
//! generator, or as a future. All run on fibers; a job is the body of a greenlet, the body of a generator, or one
//! `poll` of a future.
//!
//! ```text
//!   resumer:  start(job)         Suspended   resume()            Finished
//!                 │                  ▲           │                   ▲
//!                 ▼                  │           ▼                   │
//!   fiber:      idle ─ the job runs ─┘ suspended └─ the job goes on ─┘ idle
//! ```
//!
//! Fibers nest: a greenlet may drive a generator, whose body may itself wait. Two fibers matter then, the outermost one
//! (the *base*) and the one that runs (the *inner* one):
//!
//! ```text
//!   scheduler ──resume──▶ BASE (the greenlet's fiber) ──resume──▶ INNER (the generator's fiber)
//!       ▲                  ▲                                        │
//!       │                  └── the generator yields: ───────────────┤ `Suspender::suspend`: its stack stays as it is
//!       └───────────────────── the task waits: ─────────────────────┘ `suspend_base`: both stacks stay as they are
//! ```
//!
//! Code on the inner fiber may suspend the base, because a switch only saves the point that the thread has reached.
//! When the base is resumed, the thread goes on at that point; the inner fiber later returns to the base as if nothing
//! had happened.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::{self, ManuallyDrop};
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use corosensei::{Coroutine, Yielder};

use super::edge::forever::forever;
use super::edge::mapping::Bounds;
use super::edge::open::Open;
use super::edge::pool::{Idle, Pools};
use super::edge::warn::AbortOnDrop;
use super::stack::Stack;

// SAFETY: `base` and `limit` are multiples of a cache line, and so of the required alignment; the arena has installed a
// guard at `limit`, and between it and `base` lies at least one page, less 960 bytes.
unsafe impl corosensei::stack::Stack for Stack {
    #[inline]
    fn base(&self) -> NonZeroUsize {
        self.base
    }

    #[inline]
    fn limit(&self) -> NonZeroUsize {
        self.limit
    }
}

/// What a switch into a fiber came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// The job is suspended in the middle: resume it.
    Suspended,
    /// The job has returned: the fiber can take another.
    Finished,
}

/// The control block of a fiber. It lies in the fiber's outermost frame, and lives as long as the fiber.
struct Control {
    bounds: Bounds,
    /// The number of the fiber's pool.
    pool: usize,
    yielder: NonNull<Yielder<(), Switch>>,
    job: Cell<Option<Job>>,
    busy: Cell<bool>,
    open: Open,
}

/// A closure to be moved to the fiber: where it is, and how to move and call it.
type Job = (*mut (), unsafe fn(*mut ()));

/// A stack with a coroutine on it, idle or in the middle of a job. Dropped while idle, it goes back to its pool. Dropped
/// in the middle of a job, its stack is leaked with all that lies on it: frames may end only by returning or unwinding.
pub(crate) struct Fiber(ManuallyDrop<RawFiber>);

/// A [`Fiber`] without its destructor: a coroutine that has entered its outermost frame, and the control block there.
/// (So a switch reads nothing of that block: with a thousand tasks, it is not in the cache any more.)
pub(crate) struct RawFiber {
    coroutine: Coroutine<(), Switch, (), Stack>,
    yielder: NonNull<Yielder<(), Switch>>,
    control: NonNull<Control>,
}

/// The fibers of this thread that run: the outermost one, and the one whose code runs now. `None`: no fiber runs.
struct Active {
    base: Cell<Option<NonNull<Yielder<(), Switch>>>>,
    inner: Cell<Option<NonNull<Control>>>,
}

thread_local! {
    static ACTIVE: Active = const { Active { base: Cell::new(None), inner: Cell::new(None) } };
    static POOLS: RefCell<Pools<RawFiber>> = const { RefCell::new(Pools::new()) };
}

#[inline]
fn active() -> &'static Active {
    // SAFETY: an `Active` has `Cell`s, so it is not `Sync`.
    unsafe { forever(&ACTIVE) }
}

impl Fiber {
    /// Takes an idle fiber with a stack of `size` bytes, rounded up to whole pages; up to 960 bytes of it stay unused.
    /// Returns an error if there is no address space for another stack.
    pub(crate) fn take(size: usize) -> io::Result<Fiber> {
        let taken = with_pools(|pools| pools.take(size));
        let ending = || io::Error::other("no coroutine can start any more: the thread is ending");
        Ok(Fiber(ManuallyDrop::new(taken.ok_or_else(ending)??)))
    }

    /// Moves `job` to the fiber and runs it until it suspends or returns. If `job` unwinds, the process is aborted: the
    /// caller wraps user code in `catch_unwind`.
    pub(crate) fn start<F: FnOnce() + 'static>(&mut self, job: F) -> Switch {
        /// # Safety
        ///
        /// `job` is a `ManuallyDrop<F>` that no other code moves or drops.
        unsafe fn run<F: FnOnce()>(job: *mut ()) {
            let bomb = AbortOnDrop;
            // SAFETY: the caller keeps the rule above. `job` lies in the frame of `start`, which exists while this
            // moves it: a fiber moves its job first, and `start` does not go on before the fiber switches back.
            (unsafe { job.cast::<F>().read() })();
            mem::forget(bomb);
        }
        let mut job = ManuallyDrop::new(job);
        assert!(!self.control().busy.replace(true), "a fiber takes one job at a time");
        self.control().open.unwinding_serial.set(0); // A payload that the last job has kept is not of this one.
        self.control().job.set(Some(((&raw mut job).cast(), run::<F>)));
        self.resume()
    }

    /// Goes on with the job where it was suspended. (An idle fiber has none: start it.)
    #[inline(always)] // Inlined, the switch saves only the registers that the caller uses.
    pub(crate) fn resume(&mut self) -> Switch {
        debug_assert!(self.control().busy.get(), "an idle fiber is started, not resumed");
        let active = active();
        let inner = active.inner.replace(Some(self.0.control));
        let switched = if active.base.get().is_some() {
            self.0.coroutine.resume(())
        } else {
            active.base.set(Some(self.0.yielder));
            let switched = self.0.coroutine.resume(());
            active.base.set(None);
            switched
        };
        active.inner.set(inner);
        switched.as_yield().expect("a fiber's outermost frame does not end")
    }

    pub(crate) fn bounds(&self) -> &Bounds {
        &self.control().bounds
    }

    /// A handle with which code on this fiber suspends it.
    pub(crate) fn suspender(&self) -> Suspender {
        Suspender(self.0.control)
    }

    fn control(&self) -> &Control {
        // SAFETY: the control lies in the fiber's outermost frame, which `RawFiber::new` entered and which does not
        // end before `RawFiber::into_stack` takes the fiber by value.
        unsafe { self.0.control.as_ref() }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        if self.control().busy.get() {
            return;
        }
        let pool = self.control().pool;
        // SAFETY: the field is not used again: this is the drop.
        let mut idle = Some(unsafe { ManuallyDrop::take(&mut self.0) });
        // At the very end of a thread there is no pool any more: the stack is leaked.
        let _ = with_pools(|pools| idle.take().map(|idle| pools.put(pool, idle)));
        mem::forget(idle);
    }
}

/// Suspends one fiber, from code that runs on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspender(NonNull<Control>);

impl Suspender {
    /// Calls `before` with what is open on the fiber (`edge/open.rs`), gives control back to the code that resumed the
    /// fiber, and returns when the fiber is resumed again. If `before` returns an error, the fiber is not suspended.
    ///
    /// # Panics
    ///
    /// With the error of `before`; and, before that is called, if the code that runs is not on this fiber (but in
    /// another task, say).
    #[inline(always)] // As `resume`.
    #[track_caller]
    pub(crate) fn suspend(self, before: impl FnOnce(&Open) -> Result<(), String>) {
        assert!(
            active().inner.get() == Some(self.0),
            "a generator's `y` was used outside of the generator's own body, where it cannot yield"
        );
        // SAFETY: the fiber is running, so its outermost frame, which holds the control, exists.
        if let Err(refused) = before(unsafe { &self.0.as_ref().open }) {
            panic!("{refused}"); // At the caller's line.
        }
        // SAFETY: the fiber is running, so its outermost frame, which holds the control, exists, and with
        // it the yielder; and it is this very fiber that is being suspended.
        unsafe { self.0.as_ref().yielder.as_ref().suspend(Switch::Suspended) };
    }
}

/// Suspends the outermost fiber of this thread, with all that runs on top of it: how a task waits. Panics if none runs.
#[inline(always)] // As `resume`; and after a switch, the processor predicts the return of each function wrongly.
pub(crate) fn suspend_base() {
    let (base, inner) = (active().base.get(), active().inner.get());
    let base = base.expect("a wait outside of any coroutine");
    // SAFETY: the base fiber is running (`resume` sets and clears `base` around the switch), so its yielder exists.
    // When the base is resumed, it goes on here, even if this is an inner fiber.
    unsafe { base.as_ref().suspend(Switch::Suspended) };
    active().inner.set(inner);
}

/// Calls `f` with what the code on the running fiber has begun and not ended. Returns `None` if no fiber runs.
#[inline(always)] // As a call, it costs a turn of a future a tenth more instructions.
pub(crate) fn with_open<R>(f: impl FnOnce(&Open) -> R) -> Option<R> {
    // SAFETY: the fiber is running, so its outermost frame, which holds the control, exists; and `f` returns before
    // that frame can end, since it runs on top of it.
    active().inner.get().map(|running| f(unsafe { &running.as_ref().open }))
}

/// The stack of the fiber that runs, and whether that fiber was resumed by another one (and so is a generator's). A
/// signal handler may call this: it neither locks nor allocates.
pub(crate) fn running_stack() -> Option<(Bounds, bool)> {
    let inner = active().inner.get()?;
    // SAFETY: the fiber is running, so its outermost frame, which holds the control, exists.
    let Control { bounds, yielder, .. } = unsafe { inner.as_ref() };
    Some((bounds.clone(), active().base.get() != Some(*yielder)))
}

/// Runs `f` as if this thread were in no coroutine: a fiber that `f` resumes is outermost again. A scheduler calls this
/// around its loop: its tasks then suspend to the loop, even if the loop runs inside a generator.
pub(crate) fn as_root<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(Option<NonNull<Yielder<(), Switch>>>, Option<NonNull<Control>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            active().base.set(self.0);
            active().inner.set(self.1);
        }
    }
    let _restore = Restore(active().base.take(), active().inner.take());
    f()
}

/// Calls `f` with the pools of this thread. At the very end of a thread, there are none.
pub(crate) fn with_pools<R>(f: impl FnOnce(&mut Pools<RawFiber>) -> R) -> Option<R> {
    POOLS.try_with(|pools| f(&mut pools.borrow_mut())).ok()
}

impl Idle for RawFiber {
    /// Enters the outermost frame of a fiber, which leaves its address in `CONTROL`, and waits for a first job.
    fn new(stack: Stack, pool: usize) -> RawFiber {
        thread_local!(static CONTROL: Cell<Option<NonNull<Control>>> = const { Cell::new(None) });
        let bounds = Bounds { guard: stack.guard(), usable: stack.usable() };
        let mut coroutine = Coroutine::with_stack(stack, move |yielder, ()| {
            let (job, busy, open) = (Cell::new(None), Cell::new(false), Open::default());
            let control =
                Control { bounds, pool, yielder: NonNull::from(yielder), job, busy, open };
            CONTROL.set(Some(NonNull::from(&control)));
            loop {
                yielder.suspend(Switch::Finished);
                let (job, run) = control.job.take().expect("a fiber is started with a job");
                // SAFETY: `start` has just set both, and they belong together.
                unsafe { run(job) };
                control.busy.set(false);
            }
        });
        coroutine.resume(());
        let control = CONTROL.take().expect("the frame was entered");
        // SAFETY: the outermost frame, which holds the control, has just been entered.
        RawFiber { coroutine, yielder: unsafe { control.as_ref() }.yielder, control }
    }

    fn into_stack(mut self) -> Stack {
        // SAFETY: the fiber is idle, so its one frame is that of the closure in `new`, in which nothing has a
        // destructor.
        unsafe { self.coroutine.force_reset() };
        self.coroutine.into_stack()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn a_fiber_runs_suspends_and_is_used_again() {
        let log = Rc::new(RefCell::new(Vec::new()));
        let mut fiber = Fiber::take(64 << 10).unwrap();
        for job in 0..3 {
            let (out, y) = (log.clone(), fiber.suspender());
            assert_eq!(
                fiber.start(move || {
                    out.borrow_mut().push((job, 'a'));
                    y.suspend(|_| Ok(()));
                    out.borrow_mut().push((job, 'b'));
                }),
                Switch::Suspended
            );
            assert_eq!(fiber.resume(), Switch::Finished);
        }
        let expected = [(0, 'a'), (0, 'b'), (1, 'a'), (1, 'b'), (2, 'a'), (2, 'b')];
        assert_eq!(*log.borrow(), expected);
    }

    #[test]
    fn the_base_suspends_from_inside_a_nested_fiber_and_goes_on_there() {
        let log = Rc::new(RefCell::new(Vec::new()));
        let out = log.clone();
        let mut base = Fiber::take(64 << 10).unwrap();
        let first = base.start(move || {
            let mut inner = Fiber::take(64 << 10).unwrap();
            let (y, deep) = (inner.suspender(), out.clone());
            let switch = inner.start(move || {
                deep.borrow_mut().push("inner, before");
                suspend_base();
                deep.borrow_mut().push("inner, after");
                y.suspend(|_| Ok(()));
            });
            assert_eq!(switch, Switch::Suspended);
            out.borrow_mut().push("base");
            assert_eq!(inner.resume(), Switch::Finished);
        });
        assert_eq!((first, log.borrow().len()), (Switch::Suspended, 1));
        assert_eq!(base.resume(), Switch::Finished);
        assert_eq!(*log.borrow(), ["inner, before", "inner, after", "base"]);
    }
}
