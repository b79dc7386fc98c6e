//! The wakers of tasks: what an operation keeps, in any thread, to wake a task when it is ready.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{RawWaker, RawWakerVTable};

use super::scheduler::Scheduler;
use super::task::Task;

/// The vtable of a task's wakers; their data is `Arc::into_raw` of the task, and each is counted.
pub(crate) static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: data comes from `Arc::into_raw` (or, for `door::own_waker`, from a live `Arc`).
        let task = ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Task>()) });
        task.home.wakers.fetch_add(1, Ordering::Relaxed);
        RawWaker::new(Arc::into_raw(Arc::clone(&task)).cast(), &VTABLE)
    },
    // SAFETY: as above; the waker is given up, and its count with it.
    |data| wake(given_up(unsafe { Arc::from_raw(data.cast()) })),
    |data| {
        // SAFETY: as above; the count stays with the waker.
        let task = ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Task>()) });
        wake(Arc::clone(&task));
    },
    // SAFETY: as above; the waker is given up, and its count with it.
    |data| drop(given_up(unsafe { Arc::from_raw(data.cast()) })),
);

fn given_up(task: Arc<Task>) -> Arc<Task> {
    task.home.wakers.fetch_sub(1, Ordering::Relaxed);
    task
}

/// Wakes a task from anywhere: at once on its own thread, through its inbox from another.
fn wake(task: Arc<Task>) {
    Scheduler::with(|here| match here {
        Some(scheduler) if Arc::ptr_eq(&scheduler.home, &task.home) => scheduler.wake(task),
        _ => task.notify(),
    });
}
