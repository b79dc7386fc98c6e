//! Signal handlers, and writing to standard error without locks: shared by `overflow.rs`, `on_signal.rs`, `warn.rs` and
//! the public module `signal`.

use std::fmt::{self, Write};
use std::io;
use std::mem::{self, MaybeUninit};
use std::ptr;

use libc::{c_int, c_void, siginfo_t};

/// The signature of a handler that is installed with `SA_SIGINFO`.
pub(crate) type Handler = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// Installs a handler that runs on the thread's alternate stack, and returns the action that it replaces. While the handler
/// runs, the signals in `blocked` are held back, and so are those that the replaced action holds back, since the new
/// handler may call the old one.
///
/// # Errors
///
/// Returns the operating system's error for a number that is no signal, for a signal that no program may handle, and where
/// a system call filter forbids the call.
pub(crate) fn install(
    signal: c_int,
    handler: Handler,
    blocked: impl IntoIterator<Item = c_int>,
) -> io::Result<libc::sigaction> {
    let before = current(signal)?;
    let mut action = before;
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    for other in blocked {
        // SAFETY: `sa_mask` is initialised: `current` returned it. A number that is no signal is refused.
        unsafe { libc::sigaddset(&mut action.sa_mask, other) };
    }
    // SAFETY: a `Handler` has the signature that `SA_SIGINFO` announces; `action` is initialised and lives for the call.
    match unsafe { libc::sigaction(signal, &action, ptr::null_mut()) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns the action that is installed for the signal.
///
/// # Errors
///
/// As for [`install`].
pub(crate) fn current(signal: c_int) -> io::Result<libc::sigaction> {
    // SAFETY: all-zero is a valid `sigaction`; the operating system writes to `current`, which lives for the call.
    unsafe {
        let mut current = mem::zeroed();
        match libc::sigaction(signal, ptr::null(), &mut current) {
            0 => Ok(current),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Calls the handler that [`install`] replaced. Returns `false` if there was no handler: the signal had its default action,
/// or was ignored.
///
/// # Safety
///
/// `before` is what [`install`] returned for this signal; the other arguments are those that the operating system has
/// passed to the new handler.
pub(crate) unsafe fn hand_on(
    before: &libc::sigaction,
    signal: c_int,
    info: *mut siginfo_t,
    context: *mut c_void,
) -> bool {
    let address = before.sa_sigaction;
    if address == libc::SIG_DFL || address == libc::SIG_IGN {
        return false;
    }
    // SAFETY: by the caller, `before` was the installed action. So its address, which is neither of the two constants, is
    // that of a handler, and `sa_flags` says which signature it has.
    unsafe {
        if before.sa_flags & libc::SA_SIGINFO != 0 {
            mem::transmute::<usize, Handler>(address)(signal, info, context);
        } else {
            mem::transmute::<usize, unsafe extern "C" fn(c_int)>(address)(signal);
        }
    }
    true
}

/// Sets `memory` as the alternate stack of this thread's signal handlers. Returns the one that it replaces.
///
/// # Safety
///
/// `memory` lives until another alternate stack replaces it, and no other code uses it.
pub(crate) unsafe fn alternate_stack(memory: &mut [u8]) -> libc::stack_t {
    let new =
        libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: the caller keeps `memory` alive and unused.
    unsafe { set_alternate_stack(&new) }
}

/// Sets this thread's alternate stack, or, for a null pointer, changes nothing. Returns the one that was set before.
///
/// # Safety
///
/// `new` is null or valid; the memory that it names lives and is unused as for [`alternate_stack`].
pub(crate) unsafe fn set_alternate_stack(new: *const libc::stack_t) -> libc::stack_t {
    let mut before = MaybeUninit::zeroed();
    // SAFETY: the caller answers for `new`; `before` lives for the call. All-zero is a valid `stack_t`, so `before` is
    // initialised even if the call fails.
    unsafe {
        libc::sigaltstack(new, before.as_mut_ptr());
        before.assume_init()
    }
}

/// Returns the address of this thread's `errno`. A signal handler must restore its value.
fn errno_location() -> *mut c_int {
    // SAFETY: these functions have no precondition: they return the address of a thread-local of the C library.
    unsafe {
        #[cfg(target_os = "linux")]
        return libc::__errno_location();
        #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
        return libc::__error();
        #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
        return libc::__errno();
    }
}

pub(crate) fn errno() -> c_int {
    // SAFETY: the C library keeps the address valid as long as this thread lives, and no other thread uses it.
    unsafe { *errno_location() }
}

pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: as in `errno`.
    unsafe { *errno_location() = errno }
}

/// Writes to standard error. Where that is non-blocking and full, waits for room, up to a second each time. This neither
/// locks nor allocates, so a signal handler may call it.
///
/// # Errors
///
/// Returns an error if standard error accepts no more bytes.
pub(crate) fn write_to_stderr(mut bytes: &[u8]) -> fmt::Result {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length are those of a slice that lives for the call.
        let written = unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(n) => bytes = &bytes[n..],
            Err(_) => match io::Error::last_os_error().kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if stderr_has_room(1000) => {}
                _ => return Err(fmt::Error),
            },
        }
    }
    Ok(())
}

/// Whether standard error accepts bytes now, or does so within `ms` milliseconds.
pub(crate) fn stderr_has_room(ms: c_int) -> bool {
    let mut room = libc::pollfd { fd: 2, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the pointer is to one `pollfd`, which is the length passed, and which lives for the call.
    unsafe { libc::poll(&mut room, 1, ms) > 0 }
}

/// Collects a text that a signal handler composes, and writes it to standard error when it is full or dropped. It neither
/// locks nor allocates, and needs little stack.
pub(crate) struct Stderr {
    bytes: [u8; 512],
    used: usize,
}

impl Stderr {
    pub(crate) fn new() -> Stderr {
        Stderr { bytes: [0; 512], used: 0 }
    }

    fn flush(&mut self) -> fmt::Result {
        write_to_stderr(&self.bytes[..mem::take(&mut self.used)])
    }
}

impl Write for Stderr {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == self.bytes.len() {
                self.flush()?;
            }
            self.bytes[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

impl Drop for Stderr {
    fn drop(&mut self) {
        let _ = self.flush(); // There is no place where an error could be reported.
    }
}
