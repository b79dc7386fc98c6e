//! What a thread does to a socket, sent to each reactor where the socket is registered.

use super::source::{News, Registered};
use crate::kernel::scheduler::Scheduler;

/// Sends `news` of a socket to where it is registered, and wakes the waiters that the reactor of this thread has.
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
            scheduler.wake_woken();
        }
    });
}
