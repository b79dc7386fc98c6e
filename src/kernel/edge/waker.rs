//! The wakers of tasks, which operations keep, on any thread, to wake a task when they are ready.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{RawWaker, RawWakerVTable};

use super::notes;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Home, SharedTask, Waiter};

/// The vtable of a task's wakers. Their data is the pointer of a `SharedTask`. A cloned waker owns one reference of the task, and
/// is counted in `Home::wakers`. The waker that `door::own_waker` lends owns neither: it is only ever borrowed, so `wake`
/// and `drop`, which give both up, are called on clones alone.
pub(crate) static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the data is the pointer of a task that lives: this waker owns a reference, or is lent by one.
        let task = ManuallyDrop::new(unsafe { SharedTask::from_raw(data.cast()) });
        task.home.wakers.fetch_add(1, Ordering::Relaxed);
        notes::lends_waker();
        RawWaker::new(SharedTask::into_raw(SharedTask::clone(&task)).cast(), &VTABLE)
    },
    |data| {
        // SAFETY: `wake` consumes the waker, which is a clone (see above): the reference that it owns is taken over.
        let task = unsafe { SharedTask::from_raw(data.cast()) };
        let home = task.home.clone();
        wake(task);
        give_up(&home); // Only now: a scheduler that counts no wakers must find the task ready, or in the inbox.
    },
    |data| {
        // SAFETY: as in the first function; the waker keeps its reference.
        let task = ManuallyDrop::new(unsafe { SharedTask::from_raw(data.cast()) });
        wake(SharedTask::clone(&task));
    },
    |data| {
        // SAFETY: the dropped waker is a clone (see above): the reference that it owns is taken over.
        give_up(&unsafe { SharedTask::from_raw(data.cast()) }.home);
    },
);

/// The vtable of the waker that operations are polled with where no task runs: waking it does nothing, and an
/// operation records its wait all the same.
pub(crate) static NO_TASK: RawWakerVTable =
    RawWakerVTable::new(|data| RawWaker::new(data, &NO_TASK), |_| {}, |_| {}, |_| {});

/// Subtracts one waker or `Spawner`. When the last one is gone, rings a sleeping scheduler, which then looks for a deadlock.
pub(crate) fn give_up(home: &Home) {
    if home.wakers.fetch_sub(1, Ordering::Release) == 1
        && Scheduler::at(home, |here| here.is_none())
    {
        home.reactor.ring();
    }
}

/// Wakes the waiter, which may be of any scheduler of this thread.
pub(crate) fn wake_waiter(waiter: Waiter) {
    match waiter {
        Waiter::Task(task) => Scheduler::at(Arc::as_ptr(&task.home), |here| match here {
            Some(scheduler) => scheduler.wake(task),
            None => task.into_shared().notify(), // Its run is not entered now.
        }),
        Waiter::Waker(waker) => waker.wake(),
    }
}

/// Wakes a task from anywhere: at once on its own thread, through its inbox from another.
pub(crate) fn wake(task: SharedTask) {
    Scheduler::at(Arc::as_ptr(&task.home), |here| match here {
        // SAFETY: this thread has entered the scheduler of the task's home.
        Some(scheduler) => scheduler.wake(unsafe { task.at_home() }),
        None => task.notify(),
    });
}

/// Held while a piece of work is under way on another thread that will wake a task of this scheduler.
pub(crate) struct Offloaded(Arc<Home>);

impl Offloaded {
    pub(crate) fn of(scheduler: Option<&Scheduler>) -> Option<Offloaded> {
        let home = scheduler?.home.clone();
        home.offloaded.fetch_add(1, Ordering::Release);
        Some(Offloaded(home))
    }
}

impl Drop for Offloaded {
    fn drop(&mut self) {
        self.0.offloaded.fetch_sub(1, Ordering::Release);
        if Scheduler::at(Arc::as_ptr(&self.0), |here| here.is_none()) {
            // While this lived, a run with a virtual clock slept without an end (`longest_sleep`), and no run looked
            // for a deadlock: now both are to be looked at again.
            self.0.reactor.ring();
        }
    }
}

impl SharedTask {
    /// From another thread: puts the task into the inbox of its home thread, which then wakes it.
    pub(crate) fn notify(self) {
        if self.notified.set() {
            let home = self.home.clone();
            if home.inbox.push(self) {
                home.reactor.ring();
            }
        }
    }
}
