//! What a task is, the states it goes through, and what waits for its end.
//!
//! ```text
//!               spawn                    its turn
//!                 │    ┌──────────────────────────────────────────┐
//!                 ▼    │                                          ▼
//!              Ready ──┘            WaitFor::Turn, or          Running ──── body is done ───▶ Done
//!                 ▲ ◀───────────── woken in its turn ──────────── │ ▲
//!                 │                                               │ │ woken: Woken, still running
//!                 └────────── woken ───────── Waiting ◀───────────┘
//! ```
//!
//! A wake of a task that is `Ready`, `Woken`, `Done` or `Left` changes nothing but the wake count. A task is `Ready`
//! exactly while it is in the run queue, so it is there at most once. A task that has not ended when its run does
//! becomes `Left`.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Waker;

use super::coroutine::Switch;
use super::edge::extras::ExtrasCell;
use super::edge::foreign::ForeignWaker;
use super::edge::inbox::{Flag, Inbox, Order};
use super::edge::line::Ticket;
use super::edge::observe::Era;
use super::edge::source::ReactorHandle;
use super::timers::TimerKey;
use super::wait::WaitFor;

/// The code of a task, as the scheduler sees it: each era implements it.
pub(crate) trait Body {
    /// Runs until the next wait or to the end. A body is never called again after `Finished`.
    fn turn(&mut self) -> Switch;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Running,
    /// Running, and woken in the meantime: its next wait is over before it begins.
    Woken,
    Waiting,
    Done,
    /// Abandoned: it had not ended when its run did. Its frames are never resumed or dropped, nor is what they
    /// borrow.
    Left,
}

/// What is woken when a wait ends: a task of a scheduler of this thread, or a waker of any other kind.
pub(crate) enum Waiter {
    Task(Arc<Task>),
    Waker(ForeignWaker),
}

impl Waiter {
    pub(crate) fn waker(waker: Waker) -> Waiter {
        Waiter::Waker(ForeignWaker::new(waker))
    }
}

/// The thread, more exactly the `run`, that owns a task.
pub(crate) struct Home {
    /// Its number, which no other run of the process has.
    pub(crate) run: u32,
    pub(crate) inbox: Inbox<Arc<Task>>,
    pub(crate) orders: Inbox<Order>,
    pub(crate) reactor: Arc<ReactorHandle>,
    /// Wakers of tasks, and `Spawner`s, that other code keeps: while there are any, a task may yet be woken.
    pub(crate) wakers: AtomicUsize,
    /// How many operations are under way on other threads, each of which will wake a task.
    pub(crate) outside: AtomicUsize,
}

/// What is decided about a task when it is spawned.
pub(crate) struct Setup {
    pub(crate) era: Era,
    pub(crate) site: &'static Location<'static>,
    pub(crate) name: Option<Box<Box<str>>>,
    pub(crate) stack_size: u32,
}

/// A task. Any thread may hold one; only its home thread may look into `local`.
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) site: &'static Location<'static>,
    /// Few tasks have one: behind a thin pointer.
    pub(crate) name: Option<Box<Box<str>>>,
    pub(crate) home: Arc<Home>,
    /// Usable bytes of its stack.
    pub(crate) stack_size: u32,
    pub(crate) era: Era,
    /// It is in the inbox already.
    pub(super) notified: Flag,
    local: Local,
}

/// What only the home thread touches. In this order: what each turn needs lies together, in a cache line or two,
/// since of ten thousand tasks none is still in the cache when its turn comes.
#[repr(C)]
pub(crate) struct Local {
    body: UnsafeCell<Option<Box<dyn Body>>>,
    /// Where in the source it last gave up its turn, if that was on a stack.
    pub(crate) last_site: Cell<Option<&'static Location<'static>>>,
    /// The innermost of the time limits that are in force: a `cancel::Limit`.
    pub(crate) limits: Cell<*const ()>,
    pub(crate) state: Cell<State>,
    pub(crate) cancelled: Cell<bool>,
    /// How many pieces of cleanup, one inside the other, are not to be cancelled now.
    pub(crate) shields: Cell<u16>,
    /// How many turns it has had, modulo 2^32.
    pub(crate) turns: Cell<u32>,

    /// How often a cancellation was raised in it: see `cancel.rs`.
    pub(crate) raised: Cell<u16>,
    /// How often it has been woken, modulo 2^32.
    pub(crate) wakes: Cell<u32>,
    /// What it waits for; `Turn` if it does not.
    pub(crate) waiting: Cell<WaitFor>,
    pub(crate) timer: Cell<Option<TimerKey>>,
    /// Its place in the line for the socket that it waits for.
    pub(crate) ticket: Cell<Option<Ticket>>,
    /// The millisecond of the run, modulo 2^32, in which it began to wait.
    pub(crate) since: Cell<u32>,
    /// The waiter that joins the task.
    pub(crate) joiner: Cell<Option<Waiter>>,
    /// The lowest usable address of the stack it has now; 0: none.
    pub(crate) stack: Cell<usize>,
    /// What few tasks have.
    pub(crate) extras: ExtrasCell,
    /// Where the scheduler keeps it in its table.
    pub(crate) slot: Cell<u32>,
    /// The number of the task that spawned it, modulo 2^32; 0: no task.
    pub(crate) parent: u32,
}

// SAFETY: every field outside of `local` is `Send` and `Sync`. `local` is reached through `Task::local`
// only, whose caller is on the home thread. Dropping the last `Arc` on another thread drops `local` there: the
// task is done by then: `Promise` has dropped the values in `extras`, `Scheduler::finish` the callbacks there, `body` and
// `joiner`; the rest is plain data.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

impl Task {
    pub(crate) fn new(
        id: u64,
        setup: Setup,
        parent: u32,
        home: Arc<Home>,
        body: Box<dyn Body>,
    ) -> Task {
        let Setup { era, site, name, stack_size } = setup;
        let local = Local {
            state: Cell::new(State::Ready),
            cancelled: Cell::new(false),
            shields: Cell::new(0),
            wakes: Cell::new(0),
            parent,
            turns: Cell::new(0),
            since: Cell::new(0),
            raised: Cell::new(0),
            waiting: Cell::new(WaitFor::Turn),
            last_site: Cell::new(None),
            slot: Cell::new(u32::MAX),
            timer: Cell::new(None),
            ticket: Cell::new(None),
            joiner: Cell::new(None),
            limits: Cell::new(ptr::null()),
            stack: Cell::new(0),
            extras: ExtrasCell::default(),
            body: UnsafeCell::new(Some(body)),
        };
        let notified = Flag::new();
        Task { id, site, name, home, stack_size, era, notified, local }
    }

    /// The home thread's part.
    ///
    /// # Safety
    ///
    /// The caller is on the task's home thread.
    #[inline]
    pub(crate) unsafe fn local(&self) -> &Local {
        &self.local
    }
}

impl Local {
    /// Whether the task is to stop at its next wait.
    pub(crate) fn is_to_stop(&self) -> bool {
        self.cancelled.get() && self.shields.get() == 0
    }

    /// The task gives up its turn there.
    #[inline]
    pub(crate) fn note_site(&self, site: &'static Location<'static>) {
        self.last_site.set(Some(site));
        super::edge::notes::gives_up_at(&self.last_site);
    }

    /// Gives the task its turn.
    ///
    /// # Safety
    ///
    /// The task is neither running nor done: this is not called from inside its own turn.
    #[inline]
    pub(crate) unsafe fn turn(&self) -> Switch {
        // SAFETY: only this function and `take_body` look at the body; neither runs while the other
        // does, since both are called by the scheduler, for a task that is not in its turn.
        let body = unsafe { &mut *self.body.get() };
        body.as_mut().expect("a task that is not done has a body").turn()
    }

    /// Takes the body out, when it has finished.
    ///
    /// # Safety
    ///
    /// As for [`turn`](Local::turn).
    pub(crate) unsafe fn take_body(&self) -> Option<Box<dyn Body>> {
        // SAFETY: as in `turn`.
        unsafe { (*self.body.get()).take() }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // A task that is not done is in the table of its scheduler, which leaks it: see `Table`. This may be
        // another thread than its home; what a task that is done has left is plain data.
        debug_assert!(self.local.body.get_mut().is_none(), "{self} is dropped before it is done");
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.id).field("era", &self.era).finish_non_exhaustive()
    }
}

/// `task 3 "fetch" (green, spawned at src/main.rs:12:5)`
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        write!(f, " ({}, spawned at {})", self.era, self.site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million parked tasks are meant to cost little more than their stacks' pages.
    #[test]
    fn a_task_is_small() {
        assert!(size_of::<Task>() <= 168, "{}", size_of::<Task>());
    }
}
