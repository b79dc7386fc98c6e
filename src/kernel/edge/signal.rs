//! Handlers of signals, and standard error without locks: what `overflow.rs`, `on_signal.rs`, `warn.rs` and
//! the public module `signal` share.

use std::fmt::{self, Write};
use std::io;
use std::mem::{self, MaybeUninit};
use std::ptr;

use libc::{c_int, c_void, siginfo_t};

/// A handler as `SA_SIGINFO` wants it.
pub(crate) type Handler = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// Installs a handler that runs on the thread's alternate stack, and returns what was there before. While it runs,
/// `blocked` signals wait, and those that the handler before wanted to wait: the new one may call it.
///
/// # Errors
///
/// The operating system's, for a number that is no signal, for one that no program may handle, and where a filter of system
/// calls forbids it.
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
        // SAFETY: adds to a set that is initialised. What is no signal is refused.
        unsafe { libc::sigaddset(&mut action.sa_mask, other) };
    }
    // SAFETY: the handler has the signature that `SA_SIGINFO` announces.
    match unsafe { libc::sigaction(signal, &action, ptr::null_mut()) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What handles the signal now.
///
/// # Errors
///
/// As for [`install`].
pub(crate) fn current(signal: c_int) -> io::Result<libc::sigaction> {
    // SAFETY: all-zero is a valid `sigaction`, which the operating system replaces.
    unsafe {
        let mut current = mem::zeroed();
        match libc::sigaction(signal, ptr::null(), &mut current) {
            0 => Ok(current),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Calls the handler that was there before. Returns `false` if there was none, only a default.
///
/// # Safety
///
/// `before` is what [`install`] gave for this signal; the rest is what the operating system has passed to the handler.
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
    // SAFETY: the address is that of a handler, called as its flags say.
    unsafe {
        if before.sa_flags & libc::SA_SIGINFO != 0 {
            mem::transmute::<usize, Handler>(address)(signal, info, context);
        } else {
            mem::transmute::<usize, unsafe extern "C" fn(c_int)>(address)(signal);
        }
    }
    true
}

/// Sets an alternate stack for this thread's handlers, in `memory`; returns what was there before.
///
/// # Safety
///
/// The memory lives until another stack takes its place, or for ever.
pub(crate) unsafe fn alternate_stack(memory: &mut [u8]) -> libc::stack_t {
    let new =
        libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: the caller's.
    unsafe { set_alternate_stack(&new) }
}

/// # Safety
///
/// As for [`alternate_stack`]; or null, to ask what there is.
pub(crate) unsafe fn set_alternate_stack(new: *const libc::stack_t) -> libc::stack_t {
    let mut before = MaybeUninit::zeroed();
    // SAFETY: the caller's; all-zero is a valid `stack_t`, which the operating system replaces.
    unsafe {
        libc::sigaltstack(new, before.as_mut_ptr());
        before.assume_init()
    }
}

/// Where this thread's `errno` is, which a handler leaves as it was.
fn errno_location() -> *mut c_int {
    // SAFETY: always possible.
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
    // SAFETY: it is this thread's own.
    unsafe { *errno_location() }
}

pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: it is this thread's own.
    unsafe { *errno_location() = errno }
}

/// Writes to standard error, which may be non-blocking: then it waits up to a second for room. It neither locks nor
/// allocates.
///
/// # Errors
///
/// Where standard error takes no more.
pub(crate) fn write_to_stderr(mut bytes: &[u8]) -> fmt::Result {
    while !bytes.is_empty() {
        // SAFETY: reads from a slice.
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

/// Whether standard error takes some bytes at once, or will within so many milliseconds.
pub(crate) fn stderr_has_room(ms: c_int) -> bool {
    let mut room = libc::pollfd { fd: 2, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, as announced.
    unsafe { libc::poll(&mut room, 1, ms) > 0 }
}

/// A text for standard error that a handler composes, written when this is dropped: it neither locks nor allocates,
/// and needs little stack.
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
        let _ = self.flush(); // There is no other place to report it to.
    }
}
