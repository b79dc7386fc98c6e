//! A flag to wait for.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::wait_queue::Key;
use super::waiters::Waiters;
use crate::kernel::door;
use crate::kernel::wait::{self, Wait};
use crate::op::timeout;
use crate::run::may_wait::may_take;
use crate::time::Elapsed;

/// Something that happens once, or until further notice: all tasks that wait for it go on. (Python's `Event`.)
///
/// ```
/// use std::rc::Rc;
/// use wouldblock::{green, sync::Event};
///
/// wouldblock::run(|| {
///     let ready = Rc::new(Event::new());
///     let waits = ready.clone();
///     let task = green::spawn(move || { waits.wait(); "ready" });
///     green::yield_now();
///     ready.set();
///     assert_eq!(task.join().unwrap(), "ready");
/// });
/// ```
pub struct Event {
    /// What reports call it.
    what: &'static &'static str,
    is_set: Cell<bool>,
    line: Waiters<()>,
}

impl Event {
    /// An event that is not set.
    pub const fn new() -> Event {
        Event::of(&"an event to be set")
    }

    /// An event that reports call by the name `what`.
    pub(crate) const fn of(what: &'static &'static str) -> Event {
        Event { what, is_set: Cell::new(false), line: Waiters::new() }
    }

    /// Sets it, and wakes all tasks that wait, in the order in which they came. Until it is [cleared](Event::clear), no
    /// task waits for it. Tasks that waited before go on even if it is cleared at once.
    pub fn set(&self) {
        self.is_set.set(true);
        self.pulse();
    }

    /// Wakes all tasks that wait, in the order in which they came, and leaves the event as it is: tasks that come from now
    /// on wait. (The name is that of Win32.)
    pub(crate) fn pulse(&self) {
        self.line.grant_all();
    }

    /// Clears it: tasks that come from now on wait for the next [`set`](Event::set).
    pub fn clear(&self) {
        self.is_set.set(false);
    }

    /// Whether it is set, so that no task waits for it.
    pub fn is_set(&self) -> bool {
        self.is_set.get()
    }

    /// Waits until it is set: the green era's way.
    ///
    /// # Blocking
    ///
    /// The task waits until a call of [`set`](Event::set). If it is set, it goes on, but may give the other tasks a
    /// turn first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn wait(&self) {
        match may_take() && self.is_set() {
            true => wait::spend(),
            false => door::wait(self.waiting()),
        }
    }

    /// As [`wait`](Event::wait), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Elapsed`], if the time has passed first.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<(), Elapsed> {
        door::wait(timeout(limit, self.waiting()))
    }

    /// The operation behind [`wait`](Event::wait): `y.wait(event.waiting())`, `event.waiting().await`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn waiting(&self) -> EventWaiting<'_> {
        EventWaiting { event: self, place: None }
    }
}

/// As std's: unwinding through a task that has it leaves it whole.
impl UnwindSafe for Event {}
impl RefUnwindSafe for Event {}

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Event");
        shown.field("is_set", &self.is_set).field("line", &self.line).finish()
    }
}

/// See [`Event::waiting`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct EventWaiting<'a> {
    event: &'a Event,
    place: Option<Key>,
}

impl Future for EventWaiting<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        wait::poll_within_budget(cx, |cx| {
            let Event { what, is_set, line } = self.event;
            let wait = || Wait::named(what);
            if self.place.is_some() {
                return line.poll(&mut self.place, cx, wait);
            }
            if is_set.get() {
                return Poll::Ready(());
            }
            self.place = Some(line.stand(cx, wait(), ()));
            Poll::Pending
        })
    }
}

impl Drop for EventWaiting<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.place {
            self.event.line.leave(key);
        }
    }
}
