//! What the three eras' `spawn`s share, and the stacks that tasks run on.

use std::cell::Cell;
use std::mem::MaybeUninit;

use crate::kernel::coroutine::{Fiber, Suspender, Switch};
use crate::kernel::edge::extras::{Extras, Value};
use crate::kernel::edge::warn;
use crate::kernel::here::with_local;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Code, Setup, Task, TurnEnd};
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

    /// Begins a job on a fiber: all of the task, or one poll of a future; the last one fulfils the promise. If the job
    /// suspends, the promise [keeps](Promise::keep) the fiber. If there is no stack for it, that is the task's result. If
    /// this returns `Over`, there is nothing left in the body that has a destructor.
    fn begin(&self, promise: Promise<Self::Output>) -> TurnEnd;

    /// A job that was suspended has returned, on that fiber. For the rest, as `begin`.
    fn end(&self, promise: Promise<Self::Output>, fiber: Fiber) -> TurnEnd;
}

/// All that there is of a task, in one piece of memory: itself, its result, and its code.
#[repr(C)]
struct Block<B: Body> {
    packet: Packet<B::Output>,
    body: B,
}

impl<B: Body> Block<B> {
    // SAFETY (of all three): the task is one of `add`, which has made such a block for it. The scheduler keeps the
    // block until the task is over, and calls `begin` and `end` on the home thread. When the last reference is dropped,
    // perhaps on another, the task is over and no handle is left: neither result nor body has anything to drop. (Or
    // `spawn` has unwound before the task was in the table: then all references are dropped there, on the home thread.)
    const CODE: Code = Code {
        // SAFETY: as above.
        begin: |task| unsafe { task.cast::<Block<B>>().as_ref().body.begin(Promise::of(task)) },
        // SAFETY: as above.
        end: |task, fiber| unsafe {
            task.cast::<Block<B>>().as_ref().body.end(Promise::of(task), fiber)
        },
        // SAFETY: as above.
        free: |task| drop(unsafe { Box::from_raw(task.cast::<Block<B>>().as_ptr()) }),
    };
}

/// A block of which only the body is in its place. (If it is dropped, the body leaks.)
struct Begun<B: Body>(Box<MaybeUninit<Block<B>>>);

impl<B: Body> Begun<B> {
    /// Moves `body` straight to where it stays: the future of a task may take many kilobytes.
    #[inline]
    fn new(body: B) -> Begun<B> {
        let mut block = Box::<Block<B>>::new_uninit();
        // SAFETY: the pointer is to a field of the new block, and no reference is made.
        unsafe { (&raw mut (*block.as_mut_ptr()).body).write(body) };
        Begun(block)
    }

    fn finish(mut self, task: Task) -> Box<Block<B>> {
        // SAFETY: as in `new`; that was the other one of the two fields, so the block is whole now.
        unsafe {
            (&raw mut (*self.0.as_mut_ptr()).packet).write(Packet::new(task));
            self.0.assume_init()
        }
    }
}

/// Adds a task with that body to a scheduler of this thread.
pub(crate) fn add_task<B: Body>(
    scheduler: &Scheduler,
    setup: Setup,
    body: B,
) -> JoinHandle<B::Output> {
    add(scheduler, setup, Begun::new(body))
}

fn add<B: Body>(scheduler: &Scheduler, setup: Setup, block: Begun<B>) -> JoinHandle<B::Output> {
    let task =
        scheduler.spawn(setup, &Block::<B>::CODE, |task| Box::into_raw(block.finish(task)).cast());
    // SAFETY: the block begins with that packet; this is the first of its takers.
    unsafe { JoinHandle::of(task) }
}

/// Adds a task to the run of this thread: what the three `spawn`s share. If `stack_size` is 0, the
/// run's size is used.
#[track_caller]
pub(crate) fn launch<B: Body>(mut setup: Setup, body: B) -> JoinHandle<B::Output> {
    check_spawn();
    let values = inherited();
    let block = Begun::new(body);
    let handle = Scheduler::with(|scheduler| {
        let scheduler = scheduler.expect("there is one, as just seen");
        if setup.stack_size == 0 {
            setup.stack_size = scheduler.stack_size;
        }
        let handle = add(scheduler, setup, block);
        if scheduler.end.closing.get() {
            scheduler.mark_cancelled(&handle.task);
            warn::warning(format_args!("{ENDING}: {} is cancelled before it begins", handle.task));
        }
        handle
    });
    if !values.is_empty() {
        handle.task.local().extras.with(|extras| extras.values = values);
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

    fn begin(&self, promise: Promise<T>) -> TurnEnd {
        let Some(mut fiber) = fiber(&promise, || drop(self.0.take())) else {
            return TurnEnd::Over;
        };
        let (code, suspender) = (self.0.take().expect("it begins once"), fiber.suspender());
        if fiber.start(move || promise.begin(|| code(suspender))) == Switch::Finished {
            return TurnEnd::Over;
        }
        // SAFETY: this is `begin`, and the fiber has switched back.
        unsafe { promise.keep(fiber) };
        TurnEnd::GivenUp
    }

    fn end(&self, _: Promise<T>, fiber: Fiber) -> TurnEnd {
        drop(fiber); // It goes back to its pool.
        TurnEnd::Over
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

/// Runs one poll of a future: on the fiber that the last poll in this run left behind; on a new one if that poll waited
/// the green way, and its task has kept the fiber. Without a stack, calls `drop_code` (see [`fiber`]) in place of `poll`.
#[inline(always)]
pub(crate) fn on_poll_fiber<T>(
    promise: &Promise<T>,
    poll: impl FnOnce() + 'static,
    drop_code: impl FnOnce(),
) -> Switch {
    let (task, local) = (promise.task(), promise.local());
    Scheduler::with(|scheduler| {
        let shared = scheduler.filter(|scheduler| scheduler.stack_size == task.stack_size);
        let left = shared.and_then(|scheduler| scheduler.poll_fiber.take());
        let Some(mut running) = left.or_else(|| fiber(promise, drop_code).map(Box::new)) else {
            return Switch::Finished;
        };
        local.stack.set(running.bounds().guard.end);
        let switch = running.start(poll);
        if switch == Switch::Suspended {
            // Something waited the green way. SAFETY: `begin` of a future calls this, and the fiber has switched back.
            unsafe { promise.keep(*running) };
            return switch;
        }
        local.stack.set(0);
        if let Some(scheduler) = shared {
            scheduler.poll_fiber.set(Some(running));
        }
        switch
    })
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
        let besides = size(&code) - size_of::<Fiber>(); // which a sanitizer makes larger
        assert!(besides <= 200, "{besides}");
    }
}
