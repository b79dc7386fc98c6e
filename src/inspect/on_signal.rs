//! The table of tasks on a signal: shows from outside what a running program does.
//!
//! ```text
//! $ kill -USR1 4711
//! wouldblock: on signal 10, the 3 tasks of thread "main":
//! task 1 "root" (green, spawned at src/main.rs:30:5): waits for task 2 for 9.20 s, 3 turns, stack 8 of 256 KiB
//!   task 2 "resize" (green, spawned at src/main.rs:12:9): is ready, 4 turns, stack 36 of 256 KiB
//!   task 3 (future, spawned at src/main.rs:15:9): is ready, 7 turns
//! ```
//!
//! The scheduler prints it between two turns, where it may lock and allocate. The handler, on whichever thread the
//! operating system calls it, only leaves a request on the [`Board`] of each run that answers the signal, and
//! wakes its scheduler. Where a task keeps the thread, it writes one line:
//!
//! ```text
//! wouldblock: task 2 "resize" (green, spawned at src/main.rs:12:9) has had the thread for 3.20 s. The table of
//!     tasks, for signal 10, follows when it gives it back
//! ```
//!
//! For that it takes no lock, allocates nothing, and needs little stack: that for handlers is small on some threads.
//! The handlers of these signals do not interrupt one another, so that no two share a stack.
//!
//! (The ideas are those of Python's `faulthandler.register`, and of what Go does on `SIGQUIT`.)

use std::fmt::Write;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use libc::{c_int, c_void, siginfo_t};

use crate::inspect::deadlock::TaskNames;
use crate::inspect::tree::{self, TableRow};
use crate::kernel::edge::board::Board;
use crate::kernel::edge::pulse::BoardGuard;
use crate::kernel::edge::signal::{self, Stderr};
use crate::kernel::edge::source::ReactorHandle;
use crate::kernel::edge::warn;
use crate::kernel::here::here;
use crate::kernel::scheduler::Scheduler;

/// What was there before our handler, by the number of the signal.
static BEFORE: [OnceLock<libc::sigaction>; 65] = [const { OnceLock::new() }; 65];

/// The signals that have our handler: a bit for each.
static ANSWERED: AtomicU64 = AtomicU64::new(0);

/// Returns `signal`, which a run is to answer.
///
/// # Panics
///
/// If no program can answer that signal.
#[track_caller]
pub(crate) fn checked(signal: c_int) -> c_int {
    // If the operating system refuses even this call, `listen` reports it.
    let unknown = signal::current(signal).is_err_and(|e| e.raw_os_error() == Some(libc::EINVAL));
    let why = match signal {
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE => {
            "that of a fault, after which nothing can go on"
        }
        libc::SIGPIPE | libc::SIGXFSZ => {
            "one that printing may lead to, which would be without end"
        }
        libc::SIGKILL | libc::SIGSTOP => "one that no program can handle",
        _ if !unknown && (1..BEFORE.len() as c_int).contains(&signal) => return signal,
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
    guard: BoardGuard,
    reactor: Arc<ReactorHandle>,
    bell: RawFd,
}

/// From now on, the run that begins on this thread answers a signal that was [`checked`]. If the operating system
/// refuses that, reports an error, and returns `None`.
pub(crate) fn listen(signal: c_int, scheduler: &Scheduler) -> Option<Listening> {
    let begin = || {
        install(signal)?;
        let guard = here().pulse.show();
        let bell = guard.board.listen(signal)?;
        let reactor = scheduler.reactor.borrow().handle().clone();
        let listening = Listening { guard, reactor, bell };
        listening.reactor.ring_by(bell)?;
        here().pulse.print_by(answer);
        Ok(listening)
    };
    let refused = |e: io::Error| {
        warn::error(format_args!(
            "this run does not answer signal {signal} with the table of tasks: the operating system refuses a \
             handler of that signal, or what it needs: {e}. Let the program have it (a filter of system calls may \
             forbid `rt_sigaction`), or run without `Builder::tasks_on_signal`"
        ));
    };
    begin().map_err(refused).ok()
}

impl Drop for Listening {
    fn drop(&mut self) {
        here().pulse.serve_request(); // A request that came in the last turn.
        self.guard.board.stop_listening();
        self.reactor.ring_no_more_by(self.bell);
    }
}

/// Installs the handler, once in the process.
fn install(signal: c_int) -> io::Result<()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if BEFORE[signal as usize].get().is_some() {
        return Ok(());
    }
    let answered = ANSWERED.load(Relaxed) | 1 << (signal - 1);
    let all = || (1..BEFORE.len() as c_int).filter(move |n| answered >> (n - 1) & 1 == 1);
    let before = signal::install(signal, handler, all())?;
    let _ = BEFORE[signal as usize].set(before); // The lock is held.
    ANSWERED.store(answered, Relaxed);
    for other in all().filter(|&other| other != signal) {
        // The program may have put a handler of its own in the place of ours.
        if signal::current(other)?.sa_sigaction == handler as *const () as usize {
            signal::install(other, handler, all())?;
        }
    }
    Ok(())
}

/// Requests the table of each run that answers the signal, and calls the handler that was there before.
///
/// # Safety
///
/// For the operating system to call.
unsafe extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = signal::errno();
    for board in Board::all().filter(|board| board.request(signal)) {
        name_who_keeps(board, signal);
    }
    if let Some(before) = BEFORE[signal as usize].get() {
        // SAFETY: what was there before, and what the operating system has passed.
        unsafe { signal::hand_on(before, signal, info, context) };
    }
    signal::set_errno(errno);
}

/// Writes one line, if a task keeps the thread of that run, and if standard error takes it at once.
fn name_who_keeps(board: &Board, signal: c_int) {
    let Some(seen) = board.read() else { return };
    let held = board.held_for(seen.turn);
    // A turn that the watchdog has not seen for a while is about to end.
    if held.is_none() && board.limit().is_some() || !signal::stderr_has_room(0) {
        return;
    }
    let mut line = Stderr::new();
    let _ = match held {
        Some(held) => {
            write!(line, "wouldblock: {seen} has had the thread for {:.2} s", held.as_secs_f64())
        }
        None => write!(line, "wouldblock: {seen} has the thread"),
    };
    let _ =
        writeln!(line, ". The table of tasks, for signal {signal}, follows when it gives it back");
}

/// Prints the table of this thread's run, between two turns.
fn answer(signal: c_int) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("(without a name)");
    let mut text = String::new();
    Scheduler::with(|scheduler| {
        let Some(scheduler) = scheduler else {
            return writeln!(
                text,
                "wouldblock: on signal {signal}, the run of thread {thread:?} is over"
            );
        };
        let (names, tasks) = (TaskNames::of(scheduler), scheduler.tasks.borrow().by_age());
        let s = if tasks.len() == 1 { "" } else { "s" };
        let n = tasks.len();
        writeln!(text, "wouldblock: on signal {signal}, the {n} task{s} of thread {thread:?}:")?;
        let rows = tasks.iter().map(|task| TableRow::of(task, scheduler, &names));
        tree::draw(&mut text, &mut rows.collect::<Vec<_>>())
    })
    .expect("a String takes all");
    let _ = signal::write_to_stderr(text.as_bytes()); // There is no other place to report it to.
}
