//! A number of permits, granted in the order in which tasks came for them.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::wait_queue::Key;
use super::waiters::Waiters;
use crate::inspect::holders::{Kind, LastUse, Trail};
use crate::kernel::door;
use crate::kernel::wait;
use crate::op::timeout;
use crate::run::may_wait::may_take;
use crate::time::Elapsed;

/// So many tasks at a time, and no more: a limit on the requests that a server, a disk or an API gets at once.
/// (gevent's and asyncio's `Semaphore`, tokio's in its names.)
///
/// ```
/// use std::{rc::Rc, time::Duration};
/// use wouldblock::{green, group::gather, sync::Semaphore, time};
///
/// wouldblock::Builder::new().virtual_clock().run(|| {
///     let start = time::now();
///     let two_at_a_time = Rc::new(Semaphore::new(2));
///     let tasks = (0..6).map(|_| {
///         let semaphore = two_at_a_time.clone();
///         green::spawn(move || {
///             let _permit = semaphore.acquire(); // given back when it is dropped
///             green::sleep(Duration::from_secs(1));
///         })
///     });
///     green::wait(gather(tasks));
///     assert_eq!(time::now() - start, Duration::from_secs(3));
/// });
/// ```
///
/// **It is fair.** A task that comes while others wait, waits behind them, even if there are permits for it: a
/// task that wants many is not starved by tasks that want one.
pub struct Semaphore {
    free: Cell<usize>,
    line: Waiters<Wanted>,
    trail: Trail,
}

/// What each waiter brings along.
#[derive(Clone, Copy)]
struct Wanted {
    permits: usize,
    /// What reports contain of it once the permits are granted, which may be long before its next turn.
    last_use: Option<LastUse>,
}

const KIND: Kind = Kind { what: "a semaphore", how: "last acquired by" };

impl Semaphore {
    /// A semaphore with so many permits.
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore::of(permits, &KIND)
    }

    /// A semaphore that reports call by the name in `kind`.
    pub(crate) const fn of(permits: usize, kind: &'static Kind) -> Semaphore {
        Semaphore { free: Cell::new(permits), line: Waiters::new(), trail: Trail::new(kind) }
    }

    /// From now on, reports name `task` as the one that has acquired a permit last; `None`: they name none.
    pub(crate) fn is_held_by(&self, task: Option<u64>, site: &'static Location<'static>) {
        self.trail.set_last(task.map(|task| LastUse::of(task, Some(site))));
    }

    /// Waits for a permit: the green era's way.
    ///
    /// # Blocking
    ///
    /// The task waits until there is one and all tasks that came before have theirs. One that is free is
    /// taken, but the other tasks may be given a turn first.
    ///
    /// # Panics
    ///
    /// If it would have to wait outside of a task.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: a permit that was just handed over goes to the next in line.
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> Permit<'_> {
        self.acquire_many(1)
    }

    /// As [`acquire`](Semaphore::acquire), for `permits` at once.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Cancellation
    ///
    /// As [`acquire`](Semaphore::acquire).
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, permits: usize) -> Permit<'_> {
        if may_take()
            && let Some(permit) = self.try_acquire_many(permits)
        {
            wait::spend();
            return permit;
        }
        door::wait(self.acquiring_many(permits))
    }

    /// A permit, if one is free and no task waits for it.
    #[inline]
    #[track_caller]
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.try_acquire_many(1)
    }

    /// As [`try_acquire`](Semaphore::try_acquire), for `permits` at once.
    #[inline]
    #[track_caller]
    pub fn try_acquire_many(&self, permits: usize) -> Option<Permit<'_>> {
        let site = Location::caller(); // Here: in a closure, it would be the closure's.
        self.take(permits).then(|| self.acquired(permits, site))
    }

    /// As [`acquire`](Semaphore::acquire), for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Elapsed`], if the time has passed first. A permit that is handed over by then wins.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// As [`acquire`](Semaphore::acquire).
    #[track_caller]
    pub fn acquire_timeout(&self, limit: Duration) -> Result<Permit<'_>, Elapsed> {
        door::wait(timeout(limit, self.acquiring()))
    }

    /// The operation behind [`acquire`](Semaphore::acquire): `y.wait(semaphore.acquiring())`,
    /// `semaphore.acquiring().await`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn acquiring(&self) -> Acquiring<'_> {
        self.acquiring_many(1)
    }

    /// The operation behind [`acquire_many`](Semaphore::acquire_many).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn acquiring_many(&self, permits: usize) -> Acquiring<'_> {
        Acquiring { semaphore: self, permits, site: Location::caller(), place: None }
    }

    /// Adds permits: those that were [forgotten](Permit::forget), or new ones.
    ///
    /// # Panics
    ///
    /// At more than `usize::MAX` permits.
    #[inline]
    #[track_caller]
    pub fn release(&self, permits: usize) {
        let Some(free) = self.free.get().checked_add(permits) else {
            panic!(
                "a semaphore of more than usize::MAX permits: `release({permits})`, where {} are free. Release what \
                 was forgotten, and no more",
                self.free.get()
            )
        };
        self.trail.give_back(None);
        self.free.set(free);
        self.serve();
    }

    /// Takes back what was acquired, so that there are not too many.
    #[inline]
    fn take_back(&self, permits: usize) {
        self.free.set(self.free.get().saturating_add(permits));
        self.serve();
    }

    /// How many permits are free. (They may all be kept for a waiter that wants more of them.)
    pub fn available(&self) -> usize {
        self.free.get()
    }

    #[inline]
    fn take(&self, permits: usize) -> bool {
        let enough = self.free.get() >= permits && self.line.is_empty();
        if enough {
            self.free.set(self.free.get() - permits);
        }
        enough
    }

    /// Grants permits to the first waiters, as far as the permits go.
    #[inline]
    fn serve(&self) {
        while let Some(Wanted { permits, .. }) = self.line.first()
            && let Some(left) = self.free.get().checked_sub(permits)
        {
            self.free.set(left);
            self.line.grant(|wanted| self.trail.set_last(wanted.last_use));
        }
    }

    #[inline]
    fn acquired(&self, permits: usize, site: &'static Location<'static>) -> Permit<'_> {
        let last_use = LastUse::here(Some(site));
        self.trail.set_last(last_use);
        Permit { semaphore: self, permits, by: last_use.map_or(0, |last_use| last_use.task) }
    }
}

/// As std's: unwinding through a task that has it leaves it whole.
impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Semaphore");
        shown.field("available", &self.free.get()).field("line", &self.line).finish()
    }
}

/// See [`Semaphore::acquiring`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Acquiring<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
    site: &'static Location<'static>,
    place: Option<Key>,
}

impl<'a> Future for Acquiring<'a> {
    type Output = Permit<'a>;

    #[inline(always)] // As `Locking::poll`.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit<'a>> {
        wait::poll_within_budget(cx, |cx| {
            let Acquiring { semaphore, permits, site, .. } = *self;
            if self.place.is_none() && semaphore.take(permits) {
                return Poll::Ready(semaphore.acquired(permits, site));
            }
            self.poll_in_line(cx).map(|()| semaphore.acquired(permits, site))
        })
    }
}

impl Acquiring<'_> {
    #[inline(never)] // As `Locking::poll_in_line`.
    fn poll_in_line(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Semaphore { line, trail, .. } = self.semaphore;
        if self.place.is_some() {
            return line.poll(&mut self.place, cx, || trail.wait());
        }
        let (permits, last_use) = (self.permits, LastUse::here(Some(self.site)));
        self.place = Some(line.stand(cx, trail.wait(), Wanted { permits, last_use }));
        Poll::Pending
    }
}

impl Drop for Acquiring<'_> {
    fn drop(&mut self) {
        let Some(key) = self.place.take() else { return };
        match self.semaphore.line.leave(key) {
            None => {
                // Granted to a task that no longer wants them.
                self.semaphore.trail.give_back(None);
                self.semaphore.take_back(self.permits);
            }
            Some(_) => self.semaphore.serve(), // Waiters that want less stood behind it.
        }
    }
}

/// One or more permits of a [`Semaphore`], given back when it is dropped, which never waits.
#[derive(Debug)]
#[must_use = "dropping the permit gives it back"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
    /// The number of the task that has acquired it; 0 if it was none.
    by: u64,
}

impl Permit<'_> {
    /// Does not give it back: [`Semaphore::release`] may, from elsewhere.
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.trail.give_back(Some(self.by));
        self.semaphore.take_back(self.permits);
    }
}
