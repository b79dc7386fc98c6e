//! What the three eras' `spawn`s share, and the stacks that tasks run on.

use std::cell::Cell;

use crate::kernel::coroutine::{Fiber, Suspender, Switch};
use crate::kernel::edge::extras::{Extras, Value};
use crate::kernel::edge::warn;
use crate::kernel::here::{running_task, with_local, with_task};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Code, Setup};
use crate::run::join::{JoinHandle, Packet, Promise};

const ENDING: &str = "spawn after the root has returned: the run is ending";

/// Panics where no task can be spawned.
#[track_caller]
pub(crate) fn check_spawn() {
    let refused = Scheduler::with(|scheduler| match scheduler {
        None => Some("spawn outside of a run: call it inside `wouldblock::run(|| ..)`"),
        Some(s) if s.observers.calling.get() => {
            Some("spawn in an observer: it may wake and cancel tasks, not spawn")
        }
        // A panic while a stack is being unwound would abort the process.
        Some(s) if s.end.closing.get() && !std::thread::panicking() => Some(ENDING),
        Some(_) => None,
    });
    if let Some(refused) = refused {
        panic!("{refused}"); // At the caller's line, which a closure's would not be.
    }
}

/// The code of a task: each era implements it.
pub(crate) trait Body: 'static {
    /// What the task returns.
    type Output: 'static;

    /// Begins a job on a fiber: all of the task, or one poll of a future; the last one fulfils the promise. `None`: there
    /// is no stack for it, which is the task's result now.
    fn begin(&self, promise: Promise<Self::Output>) -> Option<(Fiber, Switch)>;

    /// The job has returned, on that fiber. Returns `Finished` if the promise is fulfilled. There is nothing left in this
    /// then that has a destructor.
    fn end(&self, fiber: Fiber) -> Switch;
}

/// All that there is of a task, in one piece of memory: itself, its result, and its code.
#[repr(C)]
struct Block<B: Body> {
    packet: Packet<B::Output>,
    body: B,
}

impl<B: Body> Block<B> {
    // SAFETY (of all three): the task is one of `place`, which has made such a block for it. The scheduler keeps the block
    // until the task is over, and calls `begin` and `end` on the home thread. When the last `TaskRef` is dropped, perhaps
    // on another, the task is over and no handle is left: neither result nor body has anything to drop.
    const CODE: Code = Code {
        // SAFETY: as above.
        begin: |task| unsafe {
            let body = &task.cast::<Block<B>>().as_ref().body;
            match body.begin(Promise::of(task)) {
                Some((fiber, Switch::Suspended)) => {
                    task.as_ref().local().keep(fiber);
                    Switch::Suspended
                }
                Some((fiber, Switch::Finished)) => body.end(fiber),
                None => Switch::Finished,
            }
        },
        // SAFETY: as above.
        end: |task, fiber| unsafe { task.cast::<Block<B>>().as_ref() }.body.end(fiber),
        // SAFETY: as above.
        free: |task| drop(unsafe { Box::from_raw(task.cast::<Block<B>>().as_ptr()) }),
    };
}

/// Adds a task with that body to a scheduler of this thread.
pub(crate) fn place<B: Body>(
    scheduler: &Scheduler,
    setup: Setup,
    body: B,
) -> JoinHandle<B::Output> {
    let task = scheduler.spawn(setup, &Block::<B>::CODE, |task| {
        Box::into_raw(Box::new(Block { packet: Packet::new(task), body })).cast()
    });
    // SAFETY: the block begins with that packet; this is the first of its takers.
    unsafe { JoinHandle::of(task) }
}

/// Adds a task to the run of this thread: what the three `spawn`s share. If `stack_size` is 0, the
/// run's size is used.
#[track_caller]
pub(crate) fn launch<B: Body>(mut setup: Setup, body: B) -> JoinHandle<B::Output> {
    check_spawn();
    let values = inherited();
    let handle = Scheduler::with(|scheduler| {
        let scheduler = scheduler.expect("there is one, as just seen");
        if setup.stack_size == 0 {
            setup.stack_size = scheduler.stack_size;
        }
        let handle = place(scheduler, setup, body);
        if scheduler.end.closing.get() {
            scheduler.mark_cancelled(&handle.task);
            warn::warning(format_args!("{ENDING}: {} is cancelled before it begins", handle.task));
        }
        handle
    });
    if !values.is_empty() {
        // SAFETY: the task was just spawned on this thread.
        unsafe { handle.task.local() }.extras.with(|extras| extras.values = values);
    }
    handle
}

/// The body of a task that has a stack of its own until it ends: a greenlet, or a generator's.
pub(crate) struct Stackful<F>(Cell<Option<F>>);

impl<T: 'static, F: FnOnce(Suspender) -> T + 'static> Stackful<F> {
    pub(crate) fn new(code: F) -> Stackful<F> {
        Stackful(Cell::new(Some(code)))
    }
}

impl<T: 'static, F: FnOnce(Suspender) -> T + 'static> Body for Stackful<F> {
    type Output = T;

    fn begin(&self, promise: Promise<T>) -> Option<(Fiber, Switch)> {
        let mut fiber = fiber(&promise, || drop(self.0.take()))?;
        let (code, suspender) = (self.0.take().expect("it begins once"), fiber.suspender());
        let switch = fiber.start(move || promise.begin(|| code(suspender)));
        Some((fiber, switch))
    }

    fn end(&self, _fiber: Fiber) -> Switch {
        Switch::Finished
    }
}

/// Copies of the running task's values, for a task that it spawns.
fn inherited() -> Vec<Value> {
    let copied = |extras: &mut Extras| {
        extras.values.iter().filter(|value| value.copy.is_some()).cloned().collect::<Vec<_>>()
    };
    let mut values = with_local(|local| local.extras.if_any(copied)).unwrap_or_default();
    // User code runs only now, when the extras are no longer taken.
    for Value { value, copy, .. } in &mut values {
        *value = copy.expect("those without were left out")(&**value);
    }
    values
}

/// A fiber for the running task; where the operating system has no room for a stack, that is the task's result, and
/// `drop_code` drops its code.
pub(crate) fn fiber<T>(promise: &Promise<T>, drop_code: impl FnOnce()) -> Option<Fiber> {
    match Fiber::take(promise.task().stack_size as usize) {
        Ok(fiber) => {
            promise.local().stack.set(fiber.bounds().guard.end);
            Some(fiber)
        }
        Err(e) => {
            promise.no_stack(e, drop_code);
            None
        }
    }
}

/// For one poll of a future: the fiber that the poll before has left; `None` if there is none of that size, so that
/// the caller takes a new one by [`fiber`].
#[inline]
pub(crate) fn poll_fiber() -> Option<Fiber> {
    with_task(|task| {
        Scheduler::with(|scheduler| {
            let scheduler = scheduler?;
            if task.stack_size != scheduler.stack_size {
                return None;
            }
            let fiber = scheduler.poll_fiber.take()?;
            // SAFETY: a task has its turn on its home thread only.
            unsafe { task.local() }.stack.set(fiber.bounds().guard.end);
            Some(fiber)
        })
    })?
}

/// Leaves the fiber of a poll that is over for the next one.
#[inline]
pub(crate) fn end_poll(fiber: Fiber) {
    let task = running_task();
    let dropped = Scheduler::with(|scheduler| {
        // SAFETY: as in `poll_fiber`.
        let (Some(scheduler), Some(task)) = (scheduler, unsafe { task.as_ref() }) else {
            return Some(fiber);
        };
        // SAFETY: as in `poll_fiber`.
        unsafe { task.local() }.stack.set(0);
        if task.stack_size != scheduler.stack_size {
            return Some(fiber);
        }
        scheduler.poll_fiber.replace(Some(fiber))
    });
    drop(dropped);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million parked tasks are meant to cost little more than their stacks' pages.
    #[test]
    fn a_greenlet_is_small_and_its_result_has_no_room_for_a_failure() {
        let code = Stackful::new(|_| ());
        fn size<B: Body>(_: &B) -> usize {
            size_of::<Block<B>>()
        }
        assert!(size(&code) <= 248, "{}", size(&code));
    }
}
