//! What the three eras' `spawn`s share, and the stacks that tasks run on.

use crate::kernel::coroutine::Fiber;
use crate::kernel::edge::extras::{Extras, Value};
use crate::kernel::edge::warn;
use crate::kernel::here::{current, running_task, with_local, with_task};
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Body, Setup};
use crate::run::join::{JoinHandle, Promise};

const ENDING: &str = "spawn after the root has returned: the run is ending";

/// Panics where no task can be spawned.
#[track_caller]
pub(crate) fn check_spawn() {
    let refused = Scheduler::with(|scheduler| match scheduler {
        None => Some("spawn outside of a run: call it inside `wouldblock::run(|| ..)`"),
        Some(s) if s.watch.telling.get() => Some("spawn in an observer: it may only look on"),
        // A panic while a stack is being unwound would abort the process.
        Some(s) if s.end.closing.get() && !std::thread::panicking() => Some(ENDING),
        Some(_) => None,
    });
    if let Some(refused) = refused {
        panic!("{refused}"); // At the caller's line, which a closure's would not be.
    }
}

/// Adds a task to the run of this thread: what the three `spawn`s share. If `stack_size` is 0, the
/// run's size is used.
#[track_caller]
pub(crate) fn launch<T: 'static, B: Body + 'static>(
    mut setup: Setup,
    body: impl FnOnce(Promise<T>) -> B,
) -> JoinHandle<T> {
    check_spawn();
    let promise = Promise::new();
    let packet = promise.0.clone();
    let values = inherited();
    let task = Scheduler::with(|scheduler| {
        let scheduler = scheduler.expect("there is one, as just seen");
        if setup.stack_size == 0 {
            setup.stack_size = scheduler.stack_size;
        }
        let task = scheduler.spawn(setup, Box::new(body(promise)));
        if scheduler.end.closing.get() {
            scheduler.mark_cancelled(&task);
            warn::warning(format_args!("{ENDING}: {task} is cancelled before it begins"));
        }
        task
    });
    if !values.is_empty() {
        // SAFETY: the task was just spawned on this thread.
        unsafe { task.local() }.extras.with(|extras| extras.values = values);
    }
    JoinHandle { task, packet }
}

/// Copies of the running task's values, for a task that it spawns.
fn inherited() -> Vec<Value> {
    let copied = |extras: &mut Extras| {
        extras.values.iter().filter(|value| value.copy.is_some()).cloned().collect::<Vec<_>>()
    };
    let mut values = with_local(|local| local.extras.if_any(copied)).unwrap_or_default();
    // Only now does code of the user's run.
    for Value { value, copy, .. } in &mut values {
        *value = copy.expect("those without were left out")(&**value);
    }
    values
}

/// A fiber for the running task; where the operating system has no room for a stack, that is the task's result.
pub(crate) fn fiber<T>(promise: &Promise<T>) -> Option<Fiber> {
    let task = current().expect("a body is called in its task's turn");
    match Fiber::take(task.stack_size as usize) {
        Ok(fiber) => {
            // SAFETY: it is the running task, so this is its home thread.
            unsafe { task.local() }.stack.set(fiber.bounds().guard.end);
            Some(fiber)
        }
        Err(e) => {
            promise.no_stack(task, e);
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
