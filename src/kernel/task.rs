//! What a task is, the states it goes through, and what waits for its end.
//!
//! ```text
//!   spawn
//!     ▼                its turn
//!   Ready ────────────────────────────────────▶ Running, Woken ─── its code is done ───▶ Done
//!     ▲                                            │
//!     ├─── at once: it waits for a turn, or Woken ─┤
//!     └─── when woken ─── Waiting ◀────────────────┘
//! ```
//!
//! A task that is woken in its turn is `Woken`. A wake of one that is `Ready`, `Woken`, `Done` or `Abandoned` changes
//! nothing but the wake count. A task is `Ready` from its push to its turn, so it is in the run queue at most once. A
//! task that does not end by the end of its run becomes `Abandoned`, from any state but `Done`.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Waker;

use super::coroutine::{Fiber, Switch};
use super::edge::extras::ExtrasCell;
use super::edge::foreign::KeptWaker;
use super::edge::inbox::{Errand, Flag, Inbox};
use super::edge::line::Ticket;
use super::edge::observe::Era;
use super::edge::prefetch::Top;
use super::edge::source::ReactorHandle;
use super::edge::thin::{Header, Refs, SharedThin, Thin};
use super::timers::TimerKey;
use super::wait::WaitFor;

/// The code of a task, as functions that the kernel calls with the task. (`run/spawn.rs` makes them of a `Body`.)
///
/// `TaskRef::turn` calls `begin` and `end`, on the thread of the task's run, its *home thread*. A greenlet or generator
/// begins once; a future begins a poll in each turn.
pub(crate) struct Code {
    /// Begins a job on a fiber: the whole task, or one poll. If the job suspends, this [keeps](Local::keep) the fiber. If
    /// there is no stack for it, the task is over.
    pub(crate) begin: unsafe fn(NonNull<Task>) -> TurnEnd,
    /// A job that was suspended has returned, on this fiber.
    pub(crate) end: unsafe fn(NonNull<Task>, Fiber) -> TurnEnd,
    /// Frees the block of memory that begins with the task: when the last reference is dropped, on any thread.
    pub(crate) free: unsafe fn(NonNull<Task>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnEnd {
    GivenUp, // The job is suspended, or was a poll that is pending.
    Over,    // The task is over, and its code is dropped.
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Running,
    /// Running, and woken in the meantime: its next wait is over before it begins.
    Woken,
    Waiting,
    Done,
    /// The task did not end by the end of its run. Its frames are never resumed or dropped, and what they borrow is not
    /// dropped either.
    Abandoned,
}

/// What is woken when a wait ends: a task of a scheduler of this thread, or a waker of any other kind.
pub(crate) enum Waiter {
    Task(TaskRef),
    Waker(KeptWaker),
}

impl Waiter {
    pub(crate) fn waker(waker: Waker) -> Waiter {
        Waiter::Waker(KeptWaker::new(waker))
    }
}

/// The run that owns a task: what other threads may use of it.
pub(crate) struct Home {
    /// The number of the run, modulo 2^32.
    pub(crate) run: u32,
    /// Tasks that other threads have woken.
    pub(crate) inbox: Inbox<SharedTask>,
    /// Closures that other threads have sent, to be called on the thread of the run.
    pub(crate) errands: Inbox<Errand>,
    /// Rings the bell.
    pub(crate) reactor: Arc<ReactorHandle>,
    /// How many wakers of tasks, and `Spawner`s (which send errands), other code keeps: each may yet wake a task.
    pub(crate) wakers: AtomicUsize,
    /// How many pieces of work are under way on other threads, each of which will wake a task.
    pub(crate) offloaded: AtomicUsize,
}

/// What is decided about a task when it is spawned.
pub(crate) struct Setup {
    pub(crate) era: Era,
    /// The spawn site: where in the source the task is spawned.
    pub(crate) site: &'static Location<'static>,
    pub(crate) name: Option<Box<Box<str>>>,
    pub(crate) stack_size: u32,
}

/// A task on its home thread: a counted reference, like an `Arc`. It keeps all of the block of memory that begins with
/// the task. Behind the task lie its result and its code, whose types only `Code` and the task's handle know.
pub(crate) type TaskRef = Thin<Task>;

/// A task on any thread.
pub(crate) type SharedTask = SharedThin<Task>;

impl Header for Task {
    #[inline]
    fn refs(&self) -> &Refs {
        &self.refs
    }

    /// # Safety
    ///
    /// As [`Header::free`].
    #[inline]
    unsafe fn free(task: NonNull<Task>) {
        // SAFETY: the code is the task's own; for the rest, the caller answers.
        unsafe { (task.as_ref().code.free)(task) };
    }
}

impl TaskRef {
    #[inline]
    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    /// Gives the task its turn.
    ///
    /// # Safety
    ///
    /// The task is neither running nor done.
    #[inline(always)] // As `Fiber::resume`.
    pub(crate) unsafe fn turn(&self) -> TurnEnd {
        let (fiber, task) = (self.local.fiber.get(), self.block());
        // SAFETY: only this and `keep` access the fiber. This is not called in the task's turn; `keep` is called in
        // `begin`, where the fiber is not borrowed. `begin` and `end` are those of this task.
        unsafe {
            let Some(running) = &mut *fiber else { return (self.code.begin)(task) };
            if running.resume() == Switch::Suspended {
                return TurnEnd::GivenUp;
            }
            (self.code.end)(task, (*fiber).take().expect("it has run"))
        }
    }
}

/// A task. Any thread may hold one; only its home thread may look into `local`.
pub(crate) struct Task {
    /// How many references there are.
    refs: Refs,
    code: &'static Code,
    pub(crate) id: u64,
    pub(crate) site: &'static Location<'static>,
    /// Few tasks have one: behind a thin pointer.
    pub(crate) name: Option<Box<Box<str>>>,
    pub(crate) home: Arc<Home>,
    /// Bytes of its stack, as for [`Fiber::take`].
    pub(crate) stack_size: u32,
    pub(crate) era: Era,
    /// The task is in the inbox already.
    pub(super) notified: Flag,
    local: Local,
}

/// The part of a task that only its home thread uses. The fields that each turn needs come first and lie together, in
/// one or two cache lines, since with ten thousand tasks none is still in the cache when its turn comes.
#[repr(C)]
pub(crate) struct Local {
    /// The fiber that the task is suspended on, which its next turn resumes. `None`: its next turn begins a job.
    fiber: UnsafeCell<Option<Fiber>>,
    /// Where in the source it last gave up its turn, if that was on a stack.
    pub(crate) last_site: Cell<Option<&'static Location<'static>>>,
    /// The innermost of the time limits that are in force: a `cancel::Limit`.
    pub(crate) limits: Cell<*const ()>,
    pub(crate) state: Cell<State>,
    pub(crate) cancelled: Cell<bool>,
    /// How many calls of `cancel::shield` the task is in.
    pub(crate) shields: Cell<u16>,
    /// How many turns it has had, modulo 2^32.
    pub(crate) turns: Cell<u32>,
    pub(crate) top: Top,

    /// How often it has been woken, modulo 2^32.
    pub(crate) wakes: Cell<u32>,
    /// What it waits for; `Turn` if it does not.
    pub(crate) waiting: Cell<WaitFor>,
    pub(crate) timer: Cell<Option<TimerKey>>,
    /// The waiter that joins the task.
    pub(crate) joiner: Cell<Option<Waiter>>,
    /// The lowest usable address of the stack it has now; 0: none.
    pub(crate) stack: Cell<usize>,
    /// What few tasks have.
    pub(crate) extras: ExtrasCell,
    /// Its place in the line for the socket that it waits for.
    pub(crate) ticket: Cell<Option<Ticket>>,
    /// When the scheduler last polled the system before its wait, in milliseconds of the run, modulo 2^32.
    pub(crate) since: Cell<u32>,
    /// How many handles may take its result.
    pub(crate) takers: Cell<u32>,
    /// The task's place in the scheduler's `Table`.
    pub(crate) table_slot: Cell<u32>,
    /// The number of the task that spawned it, modulo 2^32; 0: no task.
    pub(crate) parent: u32,
    /// How often a cancellation was raised in it: see `cancel.rs`.
    pub(crate) raised: Cell<u16>,
}

// SAFETY: every field but `local` is `Send` and `Sync`. `local` is reached only through `Task::local`, whose caller is
// on the home thread. The last reference may be dropped on another thread, and `local` with it. The task is done by
// then (`Table` keeps, or leaks, the others; `run/spawn.rs` has the one exception), and a task that is done is plain
// data: `is_plain` has the fields that could be more, and `drop` asserts that they are not.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

impl Task {
    /// How many references `Scheduler::spawn` makes for a new task.
    pub(super) const FIRST_REFS: u32 = 3;

    pub(crate) fn new(
        id: u64,
        setup: Setup,
        parent: u32,
        home: Arc<Home>,
        code: &'static Code,
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
            table_slot: Cell::new(u32::MAX),
            timer: Cell::new(None),
            ticket: Cell::new(None),
            joiner: Cell::new(None),
            limits: Cell::new(ptr::null()),
            stack: Cell::new(0),
            extras: ExtrasCell::default(),
            fiber: UnsafeCell::new(None),
            takers: Cell::new(1),
            top: Top::new(),
        };
        let (refs, notified) = (Refs::of_home(Task::FIRST_REFS), Flag::new());
        Task { refs, code, id, site, name, home, stack_size, era, notified, local }
    }

    /// The part of the home thread.
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

    /// Whether dropping this drops nothing but plain data, so that any thread may do it.
    fn is_plain(&mut self) -> bool {
        // `turn` has taken the fiber, `Scheduler::report_end` the joiner and the callbacks, and `Promise` the values.
        self.fiber.get_mut().is_none() && self.joiner.get_mut().is_none() && self.extras.is_plain()
    }

    /// Keeps the fiber that the task is suspended on.
    ///
    /// # Safety
    ///
    /// This is called in the task's `Code::begin`.
    pub(crate) unsafe fn keep(&self, fiber: Fiber) {
        // SAFETY: `turn`, which has called `begin`, borrows no fiber until that returns.
        unsafe { *self.fiber.get() = Some(fiber) };
    }

    /// Notes that the task gives up its turn at `site`.
    #[inline]
    pub(crate) fn note_site(&self, site: &'static Location<'static>) {
        self.last_site.set(Some(site));
        self.top.note();
        super::edge::notes::gives_up_at(&self.last_site);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // A task that is not done is in its scheduler's `Table`, which leaks it; or its `spawn` unwinds.
        debug_assert!(self.local.is_plain(), "{self} is dropped before it is done");
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
