//! Announces that a thread has closed a socket, or its writing side, to each reactor where the socket is registered.

use super::source::{News, Registered};
use crate::kernel::scheduler::Scheduler;

/// Sends `news` of a socket to the reactors where it is registered, and wakes its waiters on this thread.
pub(crate) fn announce(news: News, registrations: Vec<Registered>) {
    Scheduler::with(|scheduler| {
        let here = scheduler.map(|scheduler| scheduler.reactor.borrow().handle().clone());
        for at in registrations {
            if at.send(news, here.as_ref())
                && let Some(scheduler) = scheduler
            {
                scheduler.reactor.borrow_mut().apply(at.id, news);
            }
        }
        if let Some(scheduler) = scheduler {
            scheduler.wake_picked();
        }
    });
}
