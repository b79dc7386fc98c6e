//! The report of a stack overflow, by a handler of the fault that comes of touching a guard page.
//!
//! ```text
//! wouldblock: stack overflow in task 2 "parse" (green, spawned at src/main.rs:9:17), on a stack of 65536
//! bytes. Give it more with `task::Builder::stack_size`, or all tasks with `Builder::stack_size`; or ...
//! ```
//!
//! The handler runs on the thread's alternate signal stack, allocates nothing and takes no lock. A fault
//! anywhere else is handed to the handler that was there before, which on a Rust thread is std's.

use std::cell::Cell;
use std::fmt::Write;
use std::ptr;
use std::sync::OnceLock;

use crate::kernel::coroutine;
use crate::kernel::edge::foreign::{Running, running};
use crate::kernel::edge::signal::{self, Stderr};
use crate::kernel::edge::warn;
use crate::kernel::task::Task;
use crate::run::stack_size;

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The handlers that were there before, in the order of `SIGNALS`; `None` where the operating system refused the new
/// one.
static BEFORE: OnceLock<[Option<libc::sigaction>; 2]> = OnceLock::new();

/// Installs the handler, once in the process, and makes sure that this thread has a stack for it. Where the operating
/// system refuses it, an error is reported, and an overflow will be an ordinary fault.
pub(crate) fn install() {
    thread_local!(static HAS_STACK: Cell<bool> = const { Cell::new(false) });
    if !HAS_STACK.replace(true) {
        provide_signal_stack();
    }
    let mut refused = None;
    BEFORE.get_or_init(|| {
        SIGNALS.map(|signal| {
            // No other handler may interrupt it: the stack for handlers may be small.
            let installed = signal::install(signal, handler, 1..65);
            installed.map_err(|e| refused = Some((signal, e))).ok()
        })
    });
    // Not before `BEFORE` is set: a logger may begin a run.
    if let Some((signal, e)) = refused {
        warn::error(format_args!(
            "a stack overflow will not be explained: the operating system refuses a handler of signal {signal}, \
             which tells of faults: {e} (a filter of system calls may forbid `rt_sigaction`)"
        ));
    }
}

/// Rust's own threads have an alternate signal stack; those of C libraries may not.
fn provide_signal_stack() {
    // SAFETY: asks what there is; then, if there is none, gives the operating system memory that is never freed (a
    // thread that ends while a signal is delivered might still use it).
    unsafe {
        if signal::set_alternate_stack(ptr::null()).ss_flags & libc::SS_DISABLE != 0 {
            signal::alternate_stack(Box::leak(vec![0; 64 << 10].into_boxed_slice()));
        }
    }
}

/// # Safety
///
/// For the operating system to call, as the handler of a fault.
unsafe extern "C" fn handler(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the operating system passes a valid `siginfo_t`, of a fault, which has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some((bounds, is_nested)) = coroutine::running_stack()
        && bounds.guard.contains(&address)
    {
        explain(bounds.usable, is_nested);
        std::process::abort();
    }
    let which = SIGNALS.iter().position(|&s| s == signal).unwrap_or(0);
    let Some(before) = BEFORE.get().and_then(|all| all[which].as_ref()) else { return };
    // SAFETY: what was there before, and what the operating system has passed; or else the default is restored, and the
    // fault repeats.
    unsafe {
        if !signal::hand_on(before, signal, info, context) {
            libc::sigaction(signal, before, ptr::null_mut());
        }
    }
}

fn explain(usable: usize, is_nested: bool) {
    let mut text = Stderr::new();
    let Running { task, host, .. } = running();
    // SAFETY: the tasks are alive while they are set.
    let [task, host] = [task, host].map(|set| unsafe { set.get().cast::<Task>().as_ref() });
    let host = task.or(host);
    let _ = text.write_str("\nwouldblock: stack overflow in ");
    let _ = match (task, host) {
        (Some(task), _) if is_nested => write!(text, "a generator that {task} has resumed"),
        (Some(task), _) => write!(text, "{task}"),
        (None, Some(host)) => write!(text, "an observer or a callback, in the turn of {host}"),
        (None, None) => write!(text, "a generator outside of any task"),
    };
    let _ = write!(text, ", on a stack of {usable} bytes");
    if usable == stack_size::DEFAULT as usize {
        let _ =
            text.write_str(", the default (1 MiB in a debug build, 256 KiB in a release build)");
    }
    let how = match host {
        Some(_) if !is_nested => {
            "`task::Builder::stack_size`, or all tasks with `Builder::stack_size`"
        }
        _ => "`Generator::with_stack_size`",
    };
    let _ =
        writeln!(text, ". Give it more with {how}; or recurse less deeply, and box large locals.");
}
