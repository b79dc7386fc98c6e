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
//! that have a run. While it draws, other signals come as ever: a program whose standard error nobody reads can be
//! ended.
//!
//! (The ideas are those of Python's `faulthandler.register`, and of what Go does on `SIGQUIT`.)

use std::cell::{Cell, UnsafeCell};
use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI32, AtomicU32};
use std::time::Duration;
use std::{iter, mem, process, ptr, slice, thread};

use libc::{c_int, c_void, siginfo_t};

use crate::change;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::stack;
use crate::report::Does;
use crate::signal::{self, Stderr};
use crate::tree::{self, Row};

/// A run that answers a signal.
struct Listener {
    signal: c_int,
    /// A copy of the process has its listeners too, and not their threads.
    process: u32,
    thread: libc::pthread_t,
    name: String,
    scheduler: *const Scheduler,
    /// That of its thread.
    sent_on: *const AtomicI32,
    next: Cell<*const Listener>,
}

thread_local! {
    /// The signal that is on its way to this thread from another, or was put off, and is not to be sent on once
    /// more; 0: none. It may come when the run is over.
    static SENT_ON: AtomicI32 = const { AtomicI32::new(0) };
}

/// A lock for handlers: nobody who holds it is interrupted by one that wants it, or waits for the allocator.
struct Lock<T> {
    /// The number of the process; one of another process is that of our parent, whose thread we do not have.
    held_by: AtomicU32,
    inside: UnsafeCell<T>,
}

// SAFETY: what is inside is reached by one thread at a time.
unsafe impl<T> Sync for Lock<T> {}

/// The first of the runs that answer, each of which knows the next.
static LISTENERS: Lock<*const Listener> = Lock::new(ptr::null());

/// Whose turn it is to write.
static WRITER: Lock<()> = Lock::new(());

/// What was there before our handler, by the number of the signal.
static BEFORE: [OnceLock<libc::sigaction>; 65] = [const { OnceLock::new() }; 65];

impl<T> Lock<T> {
    const fn new(inside: T) -> Lock<T> {
        Lock { held_by: AtomicU32::new(0), inside: UnsafeCell::new(inside) }
    }

    /// # Safety
    ///
    /// No handler that is called on this thread meanwhile wants the lock.
    unsafe fn hold<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let me = process::id();
        loop {
            let now = self.held_by.load(Relaxed);
            if now != me && self.held_by.compare_exchange(now, me, Acquire, Relaxed).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: nobody else holds the lock; nor does a frame below this one, which would be a handler's.
        let result = f(unsafe { &mut *self.inside.get() });
        self.held_by.store(0, Release);
        result
    }

    /// With all signals blocked.
    fn hold_undisturbed<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: all-zero is a valid set of signals, which is then filled; the mask before is put back.
        unsafe {
            let (mut all, mut before) = mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            let result = self.hold(f);
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
            result
        }
    }
}

fn listeners<'a>(first: *const Listener) -> impl Iterator<Item = &'a Listener> {
    // SAFETY: whoever is listed lives, and the caller holds the lock.
    unsafe { iter::successors(first.as_ref(), |one| one.next.get().as_ref()) }
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
    /// Made by a `Box`, as the stack is; others have their addresses.
    listener: *mut Listener,
    /// That of a Rust thread is too small for formatting in a debug build.
    stack: *mut [u8],
    stack_before: libc::stack_t,
}

/// Has the run that begins on this thread answer a signal that was [`checked`]. What this gives is dropped before
/// the scheduler is, on this thread.
pub(crate) fn listen(signal: c_int, scheduler: &Scheduler) -> Listening {
    let stack = Box::into_raw(vec![0; 64 << 10].into_boxed_slice());
    // SAFETY: it is ours; `Listening` has another stack take its place before it frees the memory.
    let stack_before = unsafe { signal::alternate_stack(&mut *stack) };
    let listener = Box::into_raw(Box::new(Listener {
        signal,
        process: process::id(),
        // SAFETY: always possible.
        thread: unsafe { libc::pthread_self() },
        name: thread::current().name().unwrap_or("(without a name)").to_owned(),
        scheduler,
        sent_on: SENT_ON.with(ptr::from_ref),
        next: Cell::new(ptr::null()),
    }));
    LISTENERS.hold_undisturbed(|first| {
        // SAFETY: it was just made. In this order, the list is whole also in a copy of the process.
        unsafe { &*listener }.next.set(*first);
        *first = listener;
        BEFORE[signal as usize].get_or_init(|| {
            signal::install(signal, handler).expect("a signal that may be handled")
        });
    });
    Listening { listener, stack, stack_before }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let me = self.listener.cast_const();
        LISTENERS.hold_undisturbed(|first| {
            // SAFETY: it is freed below.
            let next = unsafe { &*me }.next.get();
            match listeners(*first).find(|one| one.next.get() == me) {
                Some(before) => before.next.set(next),
                None => *first = next,
            }
        });
        // SAFETY: what was there before is there still: both stacks are of this thread. If somebody has set up
        // another meanwhile, that stays. Then nobody else has the addresses of what `listen` has made.
        unsafe {
            if signal::set_alternate_stack(ptr::null()).ss_sp == self.stack.cast() {
                signal::set_alternate_stack(&self.stack_before);
            }
            drop(Box::from_raw(self.stack));
            drop(Box::from_raw(self.listener));
        }
    }
}

/// Draws the table of this thread's run, if it has one that answers; and, unless another thread has done so, has
/// the others draw theirs, and calls the handler that was there before.
///
/// # Safety
///
/// For the kernel to call.
unsafe extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = signal::errno();
    let is_first =
        SENT_ON.with(|sent_on| sent_on.compare_exchange(signal, 0, Relaxed, Relaxed)).is_err();
    let mut mine = None;
    LISTENERS.hold_undisturbed(|first| {
        let me = process::id();
        for one in listeners(*first).filter(|one| (one.signal, one.process) == (signal, me)) {
            if one.is_here() {
                mine = Some(one);
            } else if is_first {
                one.send_on();
            }
        }
    });
    if let Some(mine) = mine {
        match change::put_off(signal) {
            true => SENT_ON.with(|sent_on| sent_on.store(signal, Relaxed)),
            // SAFETY: this is its thread, in a handler, and not in the midst of a change. The lock is wanted by
            // this signal's handler only, since the thread listens to no other, and it is blocked meanwhile.
            false => drop(unsafe { WRITER.hold(|()| mine.draw()) }),
        }
    }
    if let (true, Some(before)) = (is_first, BEFORE[signal as usize].get()) {
        // SAFETY: what was there before, and what the kernel has passed.
        unsafe { signal::hand_on(before, signal, info, context) };
    }
    signal::set_errno(errno);
}

impl Listener {
    fn is_here(&self) -> bool {
        // SAFETY: always possible.
        self.thread == unsafe { libc::pthread_self() }
    }

    /// Sends its thread the signal, if none is on its way there already.
    fn send_on(&self) {
        // SAFETY: its thread is in its run, since it is listed, and has what is its own.
        unsafe {
            if (*self.sent_on).swap(self.signal, Relaxed) != self.signal {
                libc::pthread_kill(self.thread, self.signal);
            }
        }
    }

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
        stack::zeroed(Room::bytes(rows), 0).ok().map(|at| Room { at, rows })
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
