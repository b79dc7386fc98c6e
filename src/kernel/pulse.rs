//! What the watchdog, on a thread of its own, may see of a thread that runs tasks.
//!
//! A turn costs no more for being seen: what is stored here would be stored anyway, and a store that other
//! threads may read is a plain one. What is dear is done where it is rare: by the watchdog, when it has found
//! a task that keeps the thread, and by the scheduler, when it comes back from a sleep in the kernel.

use std::hint;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, compiler_fence};
use std::thread::Thread;

use super::task::Task;

pub(crate) struct Pulse {
    /// Whose turn it is; null: nobody's. The task lives while it is set.
    task: AtomicPtr<Task>,
    /// Counts the turns, to tell one from the next.
    turn: AtomicU32,
    asleep: AtomicBool,
    /// The watchdog is not looking until this thread is up again.
    unwatched: AtomicBool,
    /// The watchdog is reading `task`.
    read: AtomicBool,
}

/// The watchdog, once there is one.
pub(crate) static WATCHDOG: OnceLock<Thread> = OnceLock::new();

impl Pulse {
    pub(crate) const fn new() -> Pulse {
        Pulse {
            task: AtomicPtr::new(ptr::null_mut()),
            turn: AtomicU32::new(0),
            asleep: AtomicBool::new(false),
            unwatched: AtomicBool::new(false),
            read: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn task(&self) -> *const Task {
        self.task.load(Relaxed)
    }

    #[inline]
    pub(crate) fn set_task(&self, task: *const Task) {
        self.task.store(task.cast_mut(), Release);
    }

    #[inline]
    pub(crate) fn turn(&self) -> u32 {
        self.turn.load(Relaxed)
    }

    #[inline]
    pub(crate) fn next_turn(&self) {
        self.turn.store(self.turn().wrapping_add(1), Relaxed);
    }

    /// The thread goes to sleep in the kernel.
    pub(crate) fn sleeps(&self) {
        self.asleep.store(true, Release);
    }

    /// It is up again. Who watches is told, if they have stopped looking.
    pub(crate) fn is_up(&self) {
        // In this order, and the watchdog the other way round (`doze`): one of the two sees the other.
        self.asleep.swap(false, SeqCst);
        if self.unwatched.load(SeqCst) {
            self.unwatched.store(false, SeqCst);
            WATCHDOG.get().inspect(|watchdog| watchdog.unpark());
        }
    }

    /// Before the task that had the last turn may be freed: it is not being read.
    #[inline]
    pub(crate) fn let_go(&self) {
        // The watchdog's barrier is one for the processor; the compiler must not move the look ahead either.
        compiler_fence(SeqCst);
        while self.read.load(Acquire) {
            hint::spin_loop();
        }
    }

    // The watchdog's side:

    /// The turn that somebody has now.
    pub(crate) fn held(&self) -> Option<u32> {
        let idle = self.asleep.load(Acquire) || self.task.load(Acquire).is_null();
        (!idle).then(|| self.turn())
    }

    /// Whether there is nothing to watch until the thread is up again, which it will tell.
    pub(crate) fn doze(&self) -> bool {
        self.unwatched.store(true, SeqCst);
        self.asleep.load(SeqCst)
    }

    pub(crate) fn watch(&self) {
        self.unwatched.store(false, SeqCst);
    }

    /// Calls `f` with the task that has this turn, if it still has, and if the kernel can tell.
    pub(crate) fn read<R>(&self, turn: u32, f: impl FnOnce(&Task) -> R) -> Option<R> {
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(false, Release);
            }
        }
        self.read.store(true, SeqCst);
        let _done = Done(&self.read);
        if !barrier() {
            return None;
        }
        // SAFETY: the thread has either seen `read` by now, and waits in `let_go` before it lets go of a task
        // whose turn is over, or it takes the task back (`set_task`) before the barrier: then this is null, or
        // a later task. (`barrier` makes every thread of the process pass a full fence.)
        let task = unsafe { self.task.load(Acquire).as_ref() };
        task.filter(|_| self.turn() == turn).map(f)
    }
}

/// A full fence on every thread of this process, so that none of them needs one of its own:
/// membarrier(2), Linux 4.14. False: there is none.
fn barrier() -> bool {
    #[cfg(target_os = "linux")]
    {
        const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
        const REGISTER: libc::c_int = 1 << 4;
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        // SAFETY: the call touches no memory of ours.
        let ask =
            |what: libc::c_int| unsafe { libc::syscall(libc::SYS_membarrier, what, 0, 0) } == 0;
        *REGISTERED.get_or_init(|| ask(REGISTER)) && ask(PRIVATE_EXPEDITED)
    }
    #[cfg(not(target_os = "linux"))]
    {
        false
    }
}
