//! Handlers of signals, and how they speak: what those of `overflow.rs` and `on_signal.rs` share.

use std::fmt::{self, Write};
use std::io;
use std::mem::{self, MaybeUninit};
use std::ptr;

use libc::{c_int, c_void, siginfo_t};

/// A handler as `SA_SIGINFO` wants it.
pub(crate) type Handler = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// Installs a handler that runs on the thread's alternate stack; gives what was there before. As that wanted other
/// signals blocked meanwhile, they are: the handler may call it.
///
/// # Errors
///
/// The kernel's, for a number that is no signal, or one that nobody may handle.
pub(crate) fn install(signal: c_int, handler: Handler) -> io::Result<libc::sigaction> {
    let done = |result| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: all-zero is a valid `sigaction`, and the handler has the signature that `SA_SIGINFO` announces.
    unsafe {
        let mut before = mem::zeroed();
        done(libc::sigaction(signal, ptr::null(), &mut before))?;
        let mut action = before;
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        done(libc::sigaction(signal, &action, &mut before))?;
        Ok(before)
    }
}

/// Calls the handler that was there before. False: there was none, only a default.
///
/// # Safety
///
/// `before` is what [`install`] gave for this signal; the rest is what the kernel has passed to the handler.
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

/// An alternate stack for this thread's handlers, in `memory`; gives what was there before.
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
    // SAFETY: the caller's; all-zero is a valid `stack_t`, which the kernel replaces.
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

/// Standard error, for a handler: neither locks nor allocates. An error of `fmt` is that it takes no more.
pub(crate) struct Stderr {
    bytes: [u8; 1024],
    used: usize,
}

impl Stderr {
    pub(crate) fn new() -> Stderr {
        Stderr { bytes: [0; 1024], used: 0 }
    }

    fn flush(&mut self) -> fmt::Result {
        let mut rest = &self.bytes[..mem::take(&mut self.used)];
        while !rest.is_empty() {
            // SAFETY: writes the initialised part of our own buffer.
            let written = unsafe { libc::write(2, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(written) {
                Ok(n) => rest = &rest[n..],
                Err(_) if Stderr::has_room() => {}
                Err(_) => return Err(fmt::Error),
            }
        }
        Ok(())
    }

    /// After a write that failed: whether another is worth while. Somebody may have made standard error
    /// non-blocking, and whoever reads it be slow.
    fn has_room() -> bool {
        let error = io::Error::last_os_error().kind();
        let mut room = libc::pollfd { fd: 2, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, as announced.
        error == io::ErrorKind::Interrupted
            || error == io::ErrorKind::WouldBlock && unsafe { libc::poll(&mut room, 1, 1000) } > 0
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
        let _ = self.flush(); // There is nobody to tell.
    }
}
