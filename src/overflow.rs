//! Stack overflow, explained: a handler for the fault that touching a guard page is.
//!
//! ```text
//! wouldblock: stack overflow in task 2 "parse" (green, spawned at src/main.rs:9:17), on a stack of 65536
//! bytes. Give it more with `task::Builder::stack_size`, or all tasks with `Builder::stack_size`; or ...
//! ```
//!
//! The handler runs on the thread's alternate signal stack, allocates nothing and takes no lock. A fault
//! anywhere else is handed to the handler that was there before, which on a Rust thread is std's.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use crate::kernel::coroutine::{self, RunningStack};
use crate::kernel::scheduler::here;

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The handlers that were there before, in the order of `SIGNALS`.
static BEFORE: OnceLock<[libc::sigaction; 2]> = OnceLock::new();

/// Installs the handler, once in the process, and makes sure that this thread has a stack for it.
pub(crate) fn install() {
    thread_local!(static HAS_STACK: Cell<bool> = const { Cell::new(false) });
    if !HAS_STACK.replace(true) {
        provide_signal_stack();
    }
    BEFORE.get_or_init(|| {
        SIGNALS.map(|signal| {
            let mut before = MaybeUninit::zeroed();
            // SAFETY: all-zero is a valid `sigaction`, and the handler has the signature that
            // `SA_SIGINFO` announces.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigaction(signal, &action, before.as_mut_ptr());
                before.assume_init()
            }
        })
    });
}

/// Rust's own threads have an alternate signal stack; those of C libraries may not.
fn provide_signal_stack() {
    const SIZE: usize = 64 << 10;
    let mut now = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: asks for the present setting; then, if there is none, gives the kernel a block of memory that
    // is never freed (a thread that ends while a signal is delivered might still use it).
    unsafe {
        if libc::sigaltstack(ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().ss_flags & libc::SS_DISABLE != 0
        {
            let memory = Box::leak(vec![0_u8; SIZE].into_boxed_slice());
            let new =
                libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: SIZE };
            libc::sigaltstack(&new, ptr::null_mut());
        }
    }
}

/// # Safety
///
/// For the kernel to call, as the handler of a fault.
unsafe extern "C" fn handler(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid `siginfo_t`, of a fault, which has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some(stack) = coroutine::running_stack()
        && stack.bounds.guard.contains(&address)
    {
        explain(&stack);
        std::process::abort();
    }
    let which = SIGNALS.iter().position(|&s| s == signal).unwrap_or(0);
    let Some(before) = BEFORE.get().map(|all| &all[which]) else { return };
    // SAFETY: the address is that of whatever handler was installed before ours, called as its flags say;
    // for the default action, which has no address, the setting is restored and the fault repeats.
    unsafe {
        match before.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::sigaction(signal, before, ptr::null_mut());
            }
            address if before.sa_flags & libc::SA_SIGINFO != 0 => {
                let before: unsafe extern "C" fn(
                    libc::c_int,
                    *mut libc::siginfo_t,
                    *mut libc::c_void,
                ) = std::mem::transmute(address);
                before(signal, info, context);
            }
            address => {
                let before: unsafe extern "C" fn(libc::c_int) = std::mem::transmute(address);
                before(signal);
            }
        }
    }
}

fn explain(stack: &RunningStack) {
    let mut text = Text { bytes: [0; 1024], used: 0 };
    let task = here().pulse.task();
    // SAFETY: the task is alive while it is set.
    let task = unsafe { task.as_ref() };
    let _ = text.write_str("\nwouldblock: stack overflow in ");
    let _ = match task {
        Some(task) if stack.is_nested => write!(text, "a generator that {task} has resumed"),
        Some(task) => write!(text, "{task}"),
        None => write!(text, "a generator outside of any task"),
    };
    let how = match task {
        Some(_) if !stack.is_nested => {
            "`task::Builder::stack_size`, or all tasks with `Builder::stack_size`"
        }
        _ => "`Generator::with_stack_size`",
    };
    let _ = writeln!(
        text,
        ", on a stack of {} bytes. Give it more with {how}; or recurse less deeply, and box large locals.",
        stack.bounds.usable
    );
    // SAFETY: writes the initialised part of our own buffer to standard error.
    unsafe { libc::write(2, text.bytes.as_ptr().cast(), text.used) };
}

/// A text in a fixed place; what does not fit is cut off.
struct Text {
    bytes: [u8; 1024],
    used: usize,
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let n = s.len().min(self.bytes.len() - self.used);
        self.bytes[self.used..self.used + n].copy_from_slice(&s.as_bytes()[..n]);
        self.used += n;
        Ok(())
    }
}
