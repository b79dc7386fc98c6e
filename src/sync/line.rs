//! A [`WaitQueue`] of tasks: how an operation stands in it, is woken, and leaves.
//!
//! Nothing is borrowed while a waiter is woken, or a waker or what a waiter brought along is dropped: each of these
//! may run code of the user's, which may come back.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::task::{Context, Poll};

use super::wait_queue::{Key, WaitQueue};
use crate::kernel::door;
use crate::kernel::edge::foreign::running;
use crate::kernel::edge::waker::wake_waiter;
use crate::kernel::task::{State, Waiter};
use crate::kernel::wait::{self, Wait};

/// A line of waiters, each of which may bring something: a message, a number of permits.
///
/// It stays on its thread, and so does all that has one: waiters are woken without a lock.
pub(crate) struct Line<X> {
    queue: RefCell<WaitQueue<Standing<X>>>,
    stays: PhantomData<*const ()>,
}

/// A panic or a cancellation that unwinds through one who waits leaves the line whole: nothing of the caller's runs
/// while it is borrowed.
impl<X> UnwindSafe for Line<X> {}
impl<X> RefUnwindSafe for Line<X> {}

struct Standing<X> {
    /// `None`: `wake_all` has woken the waiter; it polls again, and keeps its place.
    waiter: Option<Waiter>,
    brought: X,
}

impl<X> Line<X> {
    pub(crate) const fn new() -> Line<X> {
        Line { queue: RefCell::new(WaitQueue::new()), stays: PhantomData }
    }

    /// How many wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 || {
            self.skip_left();
            self.len() == 0
        }
    }

    /// Takes tasks out of the head of the line that were left there when their run ended: what they were granted would be
    /// lost to all others.
    #[inline]
    fn skip_left(&self) {
        if running().has_left.get() {
            self.take_left_out();
        }
    }

    #[cold]
    fn take_left_out(&self) {
        loop {
            let mut queue = self.queue.borrow_mut();
            let is_left = |waiter: &Waiter| match waiter {
                // SAFETY: a line stays on its thread, and so do the tasks in it.
                Waiter::Task(task) => unsafe { task.local() }.state.get() == State::Left,
                Waiter::Waker(_) => false,
            };
            if !queue.first().is_some_and(|first| first.waiter.as_ref().is_some_and(is_left)) {
                return;
            }
            let left = queue.grant();
            drop(queue);
            drop(left);
        }
    }

    /// Takes a place at the end, for an operation that then returns `Pending`.
    pub(crate) fn stand(&self, cx: &Context<'_>, wait: Wait, brought: X) -> Key {
        let waiter = Some(door::waiter(cx));
        wait::record(cx, wait);
        self.queue.borrow_mut().push(Standing { waiter, brought })
    }

    /// Ready once what the operation at `place` waits for is granted: then it has left.
    pub(crate) fn poll(
        &self,
        place: &mut Option<Key>,
        cx: &Context<'_>,
        wait: impl FnOnce() -> Wait,
    ) -> Poll<()> {
        let key = place.expect("it stands in the line");
        if self.queue.borrow_mut().get_mut(key).is_none() {
            self.leave(key);
            *place = None;
            return Poll::Ready(());
        }
        let waiter = Some(door::waiter(cx));
        let _before =
            self.queue.borrow_mut().get_mut(key).map(|s| std::mem::replace(&mut s.waiter, waiter));
        wait::record(cx, wait());
        Poll::Pending
    }

    /// Grants the first what it waits for: `take` gets what it brought, and then it is woken. Returns `false` if no task
    /// waits.
    pub(crate) fn grant(&self, take: impl FnOnce(X)) -> bool {
        self.skip_left();
        let granted = self.queue.borrow_mut().grant();
        let Some(Standing { waiter, brought }) = granted else { return false };
        take(brought);
        if let Some(waiter) = waiter {
            wake_waiter(waiter);
        }
        true
    }

    /// Gives up the place at `key`: what was brought there, or `None` if it was granted.
    pub(crate) fn leave(&self, key: Key) -> Option<X> {
        let left = self.queue.borrow_mut().leave(key);
        left.map(|standing| standing.brought)
    }

    /// Wakes all, to look for themselves; each keeps its place until it has.
    pub(crate) fn wake_all(&self) {
        let mut waiters = Vec::new();
        self.queue.borrow_mut().each(|standing| waiters.extend(standing.waiter.take()));
        waiters.into_iter().for_each(wake_waiter);
    }
}

impl<X: Copy> Line<X> {
    /// What the first has brought.
    pub(crate) fn first(&self) -> Option<X> {
        self.skip_left();
        self.queue.borrow().first().map(|standing| standing.brought)
    }
}

impl Line<()> {
    /// Grants all present waiters, and wakes them in order. One that comes meanwhile waits.
    pub(crate) fn grant_all(&self) {
        let mut waiters = Vec::new();
        while let Some(granted) = { self.queue.borrow_mut().grant() } {
            waiters.extend(granted.waiter);
        }
        waiters.into_iter().for_each(wake_waiter);
    }
}

impl<X> fmt::Debug for Line<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waiting", self.len())
    }
}
