//! The table of tasks on a signal: what a program that runs is doing, asked from outside.
//!
//! ```text
//! $ kill -USR1 4711
//! wouldblock: on signal 10, the 3 tasks of thread "main":
//! task 1 "root" (green, spawned at src/main.rs:30:5): waits for task 2 for 9.20 s, 3 turns, stack 8 of 256 KiB
//!   task 2 "resize" (green, spawned at src/main.rs:12:9): runs, 4 turns, stack 36 of 256 KiB
//!   task 3 (future, spawned at src/main.rs:15:9): is ready, 7 turns
//! ```
//!
//! It is drawn by the handler itself, on the scheduler's own thread, so that it comes also while a task keeps
//! that thread. A handler may be called in the midst of anything: it allocates nothing, takes no lock that its
//! own thread could hold, and reads what a turn stores in one piece; where the kernel is changing what it would
//! read, it goes away until that is done (`change.rs`).
//!
//! The operating system calls it on any one thread of the process. That one sends the signal on to the threads
//! that have a run.
//!
//! (The ideas are those of Python's `faulthandler.register`, and of what Go does on `SIGQUIT`.)

use std::cell::UnsafeCell;
use std::fmt::{self, Write};
use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::{ptr, slice, thread};

use libc::{c_int, c_void, siginfo_t};

use crate::change;
use crate::fork::Original;
use crate::kernel::scheduler::Scheduler;
use crate::report::Does;
use crate::signal::{self, Stderr};
use crate::tree::{self, Row};

/// A run that answers a signal.
struct Listener {
    signal: c_int,
    thread: libc::pthread_t,
    name: String,
    scheduler: *const Scheduler,
    /// The signal that its thread gets is sent on by another, or put off.
    sent_on: AtomicBool,
}

/// The runs that answer, behind a lock for handlers: nobody holds it on a thread on which one may be called.
struct Listeners {
    locked: AtomicBool,
    all: UnsafeCell<Vec<*const Listener>>,
}

// SAFETY: the list is reached through `lock`, by one thread at a time; and a listener, through the list.
unsafe impl Sync for Listeners {}

static LISTENERS: Listeners =
    Listeners { locked: AtomicBool::new(false), all: UnsafeCell::new(Vec::new()) };

/// What was there before our handler, by the number of the signal.
static BEFORE: [OnceLock<libc::sigaction>; 65] = [const { OnceLock::new() }; 65];

/// The process that `LISTENERS` is about: a copy of it has not all those threads.
static ORIGINAL: OnceLock<Original> = OnceLock::new();

impl Listeners {
    /// # Safety
    ///
    /// All signals are blocked on this thread.
    unsafe fn lock<R>(&self, f: impl FnOnce(&mut Vec<*const Listener>) -> R) -> R {
        while self.locked.compare_exchange_weak(false, true, Acquire, Relaxed).is_err() {
            thread::yield_now();
        }
        // SAFETY: nobody else has the lock; nor has a frame below this one, which would be a handler's.
        let result = f(unsafe { &mut *self.all.get() });
        self.locked.store(false, Release);
        result
    }

    fn lock_undisturbed<R>(&self, f: impl FnOnce(&mut Vec<*const Listener>) -> R) -> R {
        // SAFETY: all-zero is a valid set of signals, which is then filled; the mask before is put back.
        unsafe {
            let (mut all, mut before) = mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            let result = self.lock(f);
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
            result
        }
    }
}

/// A signal that somebody wants an answer to.
///
/// # Panics
///
/// If it is none that can be answered.
#[track_caller]
pub(crate) fn checked(signal: c_int) -> c_int {
    // SAFETY: asks what is there.
    let known = unsafe { libc::sigaction(signal, ptr::null(), ptr::null_mut()) } == 0;
    let why = match signal {
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE => {
            "that of a fault, after which nothing can go on"
        }
        libc::SIGPIPE | libc::SIGXFSZ => {
            "one that printing may lead to, which would be without end"
        }
        libc::SIGKILL | libc::SIGSTOP => "one that no program can handle",
        _ if known && (signal as usize) < BEFORE.len() => return signal,
        _ => "no signal that a program may handle",
    };
    panic!(
        "signal {signal} cannot be answered with the table of tasks: it is {why}. Choose another, such as \
         SIGUSR1 ({})",
        libc::SIGUSR1
    );
}

/// The run of this thread answers the signal as long as this lives.
pub(crate) struct Listening {
    listener: Box<Listener>,
    /// That of a Rust thread is too small for formatting in a debug build.
    stack: Box<[u8]>,
    stack_before: libc::stack_t,
}

/// Has the run that begins on this thread answer a signal that was [`checked`]. What this gives is dropped before
/// the scheduler is.
pub(crate) fn listen(signal: c_int, scheduler: &Scheduler) -> Listening {
    ORIGINAL.get_or_init(Original::here);
    let mut stack = vec![0; 64 << 10].into_boxed_slice();
    // SAFETY: `Listening` has another stack take its place before it frees the memory.
    let stack_before = unsafe { signal::alternate_stack(&mut stack) };
    // SAFETY: always possible.
    let me = unsafe { libc::pthread_self() };
    let name = thread::current().name().unwrap_or("(without a name)").to_owned();
    let sent_on = AtomicBool::new(false);
    let listener = Box::new(Listener { signal, thread: me, name, scheduler, sent_on });
    LISTENERS.lock_undisturbed(|all| {
        all.push(&raw const *listener);
        BEFORE[signal as usize].get_or_init(|| {
            signal::install(signal, handler, true).expect("a signal that may be handled")
        });
    });
    Listening { listener, stack, stack_before }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let me = &raw const *self.listener;
        LISTENERS.lock_undisturbed(|all| all.retain(|&listener| listener != me));
        // SAFETY: what was there before is there still: both stacks are of this thread. If somebody has set up
        // another meanwhile, that stays.
        unsafe {
            if signal::set_alternate_stack(ptr::null()).ss_sp == self.stack.as_mut_ptr().cast() {
                signal::set_alternate_stack(&self.stack_before);
            }
        }
    }
}

/// # Safety
///
/// For the kernel to call, with all signals blocked.
unsafe extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = signal::errno();
    let is_copied = ORIGINAL.get().is_some_and(|original| original.is_copied());
    // SAFETY: signals are blocked.
    let sent_on = !is_copied && unsafe { LISTENERS.lock(|all| answer(signal, all)) };
    if let (false, Some(before)) = (sent_on, BEFORE[signal as usize].get()) {
        // SAFETY: what was there before, and what the kernel has passed.
        unsafe { signal::hand_on(before, signal, info, context) };
    }
    signal::set_errno(errno);
}

/// Draws the table of this thread's run, if it has one that answers, and has the other threads do so. True: that
/// was done when the signal came first.
fn answer(signal: c_int, listeners: &[*const Listener]) -> bool {
    // SAFETY: whoever is listed lives.
    let all = listeners.iter().map(|&one| unsafe { &*one }).filter(|one| one.signal == signal);
    // SAFETY: always possible.
    let me = unsafe { libc::pthread_self() };
    let mine = all.clone().find(|one| one.thread == me);
    let sent_on = mine.is_some_and(|mine| mine.sent_on.swap(false, Relaxed));
    if !sent_on {
        for other in all.filter(|one| one.thread != me) {
            other.sent_on.store(true, Relaxed);
            // SAFETY: the thread is in its run, since it is listed.
            unsafe { libc::pthread_kill(other.thread, signal) };
        }
    }
    if let Some(mine) = mine {
        match change::put_off(signal) {
            true => mine.sent_on.store(true, Relaxed),
            // SAFETY: this is its thread, in a handler, and not in the midst of a change.
            false => drop(unsafe { mine.draw() }),
        }
    }
    sent_on
}

impl Listener {
    /// # Safety
    ///
    /// In a handler, on the listener's thread, which is not in the midst of a change.
    unsafe fn draw(&self) -> fmt::Result {
        // SAFETY: whoever is listed has a scheduler, and it is this thread's, which does nothing else meanwhile:
        // the table is not being changed, whatever is borrowed.
        let (scheduler, tasks) = unsafe {
            let scheduler = &*self.scheduler;
            (scheduler, &*scheduler.tasks.as_ptr())
        };
        let mut out = Stderr::new();
        let (number, n) = (self.signal, tasks.len());
        let count = if n == 1 { format_args!("1 task") } else { format_args!("{n} tasks") };
        writeln!(out, "wouldblock: on signal {number}, the {count} of thread {:?}:", self.name)?;
        let Some(mut room) = Room::for_rows(n) else {
            return writeln!(out, "(the kernel has no memory to draw them in)");
        };
        let rows = tasks.iter().map(|task| Row::of(task, scheduler, None));
        tree::draw(&mut out, room.fill(rows))
    }
}

/// Room for rows, from the kernel: a handler cannot ask the allocator, in the midst of which it may be.
struct Room {
    at: *mut c_void,
    rows: usize,
}

impl Room {
    fn for_rows(rows: usize) -> Option<Room> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping touches no memory of ours.
        let at = unsafe { libc::mmap(ptr::null_mut(), Room::bytes(rows), access, flags, -1, 0) };
        (at != libc::MAP_FAILED).then_some(Room { at, rows })
    }

    fn bytes(rows: usize) -> usize {
        (rows * size_of::<Row<'_, Does<'_>>>()).max(1)
    }

    fn fill<'a>(
        &mut self,
        rows: impl Iterator<Item = Row<'a, Does<'a>>>,
    ) -> &mut [Row<'a, Does<'a>>] {
        let at = self.at.cast::<Row<'_, Does<'_>>>();
        let mut filled = 0;
        for row in rows.take(self.rows) {
            // SAFETY: there is room for so many; a page is aligned for all of them.
            unsafe { at.add(filled).write(row) };
            filled += 1;
        }
        // SAFETY: so many have just been written. The mapping lives as long as the borrow.
        unsafe { slice::from_raw_parts_mut(at, filled) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours; rows have no destructor.
        unsafe { libc::munmap(self.at, Room::bytes(self.rows)) };
    }
}
