//! A test waits until all other tasks wait.

use crate::eras::future::yield_now;
use crate::kernel::door;
use crate::kernel::scheduler::Scheduler;

/// Waits until each other task of the run waits for something, or has ended: the green era's way. A test then looks at
/// what they have done, with no guess at how many turns that takes. (trio's `wait_all_tasks_blocked`.)
///
/// ```
/// use wouldblock::{green, sync::channel, testing};
///
/// wouldblock::run(|| {
///     let (sender, receiver) = channel::unbounded();
///     let task = green::spawn(move || {
///         for n in 1..=3 {
///             green::yield_now();
///             sender.send(n).unwrap();
///         }
///         green::sleep(std::time::Duration::from_secs(3600));
///     });
///     testing::settle();
///     assert_eq!(receiver.len(), 3);
///     task.cancel();
/// });
/// ```
///
/// A task that waits for a socket counts as one that waits, though what it waits for may be on its way. A task that spins
/// (`yield_now` in a loop) never waits, and so neither does this end; put a limit around it.
///
/// # Panics
///
/// Outside of a task.
///
/// # Cancellation
///
/// Nothing is lost.
#[track_caller]
pub fn settle() {
    door::wait(settling());
}

/// [`settle`] as an operation: `y.wait(settling())`, `settling().await`.
///
/// # Cancellation
///
/// Nothing is lost.
pub async fn settling() {
    loop {
        yield_now().await;
        // The task that calls this runs, and each other task that does not wait is in the queue.
        if Scheduler::with(|scheduler| scheduler.is_none_or(|here| here.queue.is_empty())) {
            return;
        }
    }
}
