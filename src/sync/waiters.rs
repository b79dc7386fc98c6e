//! A [`WaitQueue`] of tasks: how an operation enters it, is woken, and leaves.
//!
//! The queue is not borrowed while a waiter is woken, nor while a waker or the thing that a waiter has brought is
//! dropped: each of these may run user code, which may call this again.

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

/// The tasks that wait for one thing, in a line. Each brings an `X` along: a message, a number of permits.
///
/// It stays on its thread, and so do the types that contain one: waiters are woken without a lock.
pub(crate) struct Waiters<X> {
    queue: RefCell<WaitQueue<Standing<X>>>,
    stays: PhantomData<*const ()>,
}

/// A panic or a cancellation that unwinds through a waiting operation leaves the line whole: no user code runs
/// while it is borrowed.
impl<X> UnwindSafe for Waiters<X> {}
impl<X> RefUnwindSafe for Waiters<X> {}

struct Standing<X> {
    /// `None`: `wake_all` has woken the waiter; it polls again, and keeps its place.
    waiter: Option<Waiter>,
    brought: X,
}

impl<X> Waiters<X> {
    pub(crate) const fn new() -> Waiters<X> {
        Waiters { queue: RefCell::new(WaitQueue::new()), stays: PhantomData }
    }

    /// How many wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 || {
            self.skip_abandoned();
            self.len() == 0
        }
    }

    /// Removes tasks from the head of the line that were abandoned at the end of their run: what is granted to one of
    /// them would be lost to all others.
    #[inline]
    fn skip_abandoned(&self) {
        if running().has_abandoned.get() {
            self.remove_abandoned();
        }
    }

    #[cold]
    fn remove_abandoned(&self) {
        loop {
            let mut queue = self.queue.borrow_mut();
            let is_abandoned = |waiter: &Waiter| match waiter {
                Waiter::Task(task) => task.local().state.get() == State::Abandoned,
                Waiter::Waker(_) => false,
            };
            if !queue.first().is_some_and(|first| first.waiter.as_ref().is_some_and(is_abandoned)) {
                return;
            }
            let abandoned = queue.grant();
            drop(queue);
            drop(abandoned);
        }
    }

    /// Enters the line at its end, for an operation that then returns `Pending`.
    pub(crate) fn stand(&self, cx: &Context<'_>, wait: Wait, brought: X) -> Key {
        let waiter = Some(door::waiter(cx));
        wait::record(cx, wait);
        self.queue.borrow_mut().push(Standing { waiter, brought })
    }

    /// Ready when what the operation at `place` waits for has been granted; it has left the line then, and `place` is
    /// `None`.
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

    /// Grants the first waiter what it waits for: calls `take` with what it has brought, and wakes it. Returns `false`
    /// if no task waits.
    pub(crate) fn grant(&self, take: impl FnOnce(X)) -> bool {
        self.skip_abandoned();
        let granted = self.queue.borrow_mut().grant();
        let Some(Standing { waiter, brought }) = granted else { return false };
        take(brought);
        if let Some(waiter) = waiter {
            wake_waiter(waiter);
        }
        true
    }

    /// Leaves the line. Returns what the waiter has brought, or `None` if it was granted.
    pub(crate) fn leave(&self, key: Key) -> Option<X> {
        let left = self.queue.borrow_mut().leave(key);
        left.map(|standing| standing.brought)
    }

    /// Wakes all waiters, to be polled again; each keeps its place in the line.
    pub(crate) fn wake_all(&self) {
        let mut waiters = Vec::new();
        self.queue.borrow_mut().each(|standing| waiters.extend(standing.waiter.take()));
        waiters.into_iter().for_each(wake_waiter);
    }
}

impl<X: Copy> Waiters<X> {
    /// What the first waiter has brought.
    pub(crate) fn first(&self) -> Option<X> {
        self.skip_abandoned();
        self.queue.borrow().first().map(|standing| standing.brought)
    }
}

impl Waiters<()> {
    /// Grants all present waiters what they wait for, and wakes them in order. One that comes meanwhile waits.
    pub(crate) fn grant_all(&self) {
        let mut waiters = Vec::new();
        while let Some(granted) = { self.queue.borrow_mut().grant() } {
            waiters.extend(granted.waiter);
        }
        waiters.into_iter().for_each(wake_waiter);
    }
}

impl<X> fmt::Debug for Waiters<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waiting", self.len())
    }
}
