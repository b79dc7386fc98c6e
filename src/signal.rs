//! Signals of the operating system, as messages that a task receives.
//!
//! | | generator | green | future |
//! |---|---|---|---|
//! | the next signal | `y.wait(s.receiving())` | `s.recv()` | `s.receiving().await` |
//!
//! A server that ends at Ctrl-C, or on `kill`:
//!
//! ```no_run
//! use std::io;
//! use wouldblock::signal::{SIGINT, SIGTERM, Signals};
//! use wouldblock::{green, net::TcpListener};
//!
//! # fn main() -> io::Result<()> {
//! wouldblock::run(|| {
//!     let mut signals = Signals::new([SIGINT, SIGTERM])?;
//!     let listener = TcpListener::bind("127.0.0.1:8080")?;
//!     green::spawn(move || {
//!         for stream in listener.incoming().flatten() {
//!             green::spawn(move || io::copy(&mut &stream, &mut &stream));
//!         }
//!     });
//!     let signal = signals.recv()?; // suspends the root; what is left when that returns is cancelled
//!     println!("signal {signal}: goodbye");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # A graceful stop
//!
//! A server that takes no further connections, says goodbye to each client, and after two seconds cancels the tasks that
//! are left. (The recipe `recipes/tests/ctrl_c.rs` also answers the lines that clients have begun. `hyper::serve` stops in
//! this way for HTTP.)
//!
//! ```no_run
//! use std::io::{self, Write};
//! use std::time::Duration;
//! use wouldblock::op::{Either, select};
//! use wouldblock::signal::{SIGINT, SIGTERM, Signals};
//! use wouldblock::{CancelScope, green, group::Pool, net::TcpListener};
//!
//! # fn main() -> io::Result<()> {
//! wouldblock::run(|| {
//!     let mut signals = Signals::new([SIGINT, SIGTERM])?;
//!     let listener = TcpListener::bind("127.0.0.1:8080")?;
//!     let (stop, connections) = (CancelScope::new(), Pool::new(10_000));
//!     while let Either::First(accepted) = green::wait(select(listener.accepting(), signals.receiving())) {
//!         let ((stream, _), stop) = (accepted?, stop.clone());
//!         drop(connections.reserve().spawn(move || {
//!             match stop.run(|| io::copy(&mut &stream, &mut &stream)) {
//!                 Some(copied) => copied.map(drop), // the client has hung up
//!                 None => writeln!(&stream, "goodbye"), // `stop` was cancelled
//!             }
//!         }));
//!     }
//!     drop(listener); // refuses further connections
//!     stop.cancel();
//!     if connections.join_timeout(Duration::from_secs(2)).is_err() {
//!         connections.cancel(); // they unwind from where they wait
//!     }
//!     connections.join();
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # What the handler does
//!
//! It marks the signal, and writes a byte to a pipe that the task waits for; then it calls the handler that was there
//! before, if there was one. A default that would end the process is not carried out as long as a [`Signals`] takes the
//! signal. With the last of them, what was there before is put back: so a program that drops what [`ctrl_c`]
//! gave it after the first Ctrl-C, and does not end, is ended by the second.
//!
//! Of signals that come faster than they are received, several of one kind may become one, as the operating system
//! itself has it. A child process begins with the defaults.

use std::fmt;
use std::future::Future;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::{c_int, c_void, siginfo_t};

use crate::inspect::purpose::Purpose;
use crate::io::Descriptor;
use crate::kernel::edge::signal::{current, errno, hand_on, install, set_errno};

pub use libc::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
    SIGWINCH,
};

/// A set of signals that a task receives.
///
/// Each `Signals` gets each signal of its set: several may take the same, also on several threads. A signal that has
/// come since it was made is not lost, whether or not a task waits then. Dropped, it takes no more: see the
/// [module](self).
///
/// # Cancellation
///
/// Nothing is lost: a signal stays until it is received.
pub struct Signals {
    mailbox: &'static Mailbox,
    /// For the table of tasks. Dropped before the mailbox is free.
    purpose: Option<Purpose>,
}

/// Where the handler leaves signals. There are as many as there were `Signals` at one time: they are never freed, so
/// that a handler may look at them at any moment, and used again.
struct Mailbox {
    taken: AtomicBool,
    /// The set: a bit for each.
    wanted: AtomicU64,
    arrived: AtomicU64,
    reader: Descriptor<PipeReader>,
    writer: Descriptor<io::PipeWriter>,
    next: *const Mailbox,
}

// SAFETY: `next` points to a `Mailbox`, which is never changed but through atomics, nor freed.
unsafe impl Send for Mailbox {}
// SAFETY: as above.
unsafe impl Sync for Mailbox {}

/// The first mailbox.
static FIRST: AtomicPtr<Mailbox> = AtomicPtr::new(ptr::null_mut());

fn mailboxes() -> impl Iterator<Item = &'static Mailbox> {
    let mut next = FIRST.load(SeqCst).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: null, or a mailbox, which is never freed.
        let mailbox = unsafe { next.as_ref() }?;
        next = mailbox.next;
        Some(mailbox)
    })
}

const fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// What was there before our handler, by the number of the signal. Never freed: a handler may look at it at any moment.
static BEFORE: [AtomicPtr<libc::sigaction>; 65] = [const { AtomicPtr::new(ptr::null_mut()) }; 65];

/// Held while sets and handlers change: how many sets have each signal.
static SETS: Mutex<[usize; 65]> = Mutex::new([0; 65]);

fn sets() -> MutexGuard<'static, [usize; 65]> {
    SETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves the signal in each mailbox that wants it, and calls the handler that was there before.
///
/// # Safety
///
/// For the operating system to call.
unsafe extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = errno();
    for mailbox in mailboxes().filter(|mailbox| mailbox.wanted.load(SeqCst) & bit(signal) != 0) {
        if mailbox.arrived.fetch_or(bit(signal), SeqCst) & bit(signal) != 0 {
            continue; // It has been marked since it was last received, and its byte written.
        }
        // When the pipe is full, it is readable all the same.
        // SAFETY: writes one byte from this frame to a descriptor that is never closed.
        unsafe { libc::write(mailbox.writer.as_raw_fd(), [0_u8].as_ptr().cast(), 1) };
    }
    let before = BEFORE[signal as usize].load(SeqCst);
    // SAFETY: null, or what `current` has given for this signal, which is never freed.
    if let Some(before) = unsafe { before.as_ref() } {
        // SAFETY: what was there before, and what the operating system has passed.
        unsafe { hand_on(before, signal, info, context) };
    }
    set_errno(errno);
}

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == handler as *const () as usize
}

/// Installs the handler for `signal`.
fn install_for(signal: c_int) -> io::Result<()> {
    let now = current(signal)?;
    if is_ours(&now) {
        return Ok(()); // Other code has put it back, perhaps with what it has kept of ours.
    }
    let slot = &BEFORE[signal as usize];
    // SAFETY: null, or never freed.
    let known = unsafe { slot.load(SeqCst).as_ref() };
    let same =
        |b: &libc::sigaction| (b.sa_sigaction, b.sa_flags) == (now.sa_sigaction, now.sa_flags);
    if !known.is_some_and(same) {
        slot.store(Box::leak(Box::new(now)), SeqCst); // Before the handler, which looks at it.
    }
    install(signal, handler, [signal]).map(drop)
}

/// Puts back what was there before, unless other code has put its own handler there since.
fn give_back(signal: c_int) {
    // SAFETY: null, or never freed.
    let before = unsafe { BEFORE[signal as usize].load(SeqCst).as_ref() };
    if let (Some(before), Ok(now)) = (before, current(signal))
        && is_ours(&now)
    {
        // SAFETY: what the operating system itself has given for this signal.
        unsafe { libc::sigaction(signal, before, ptr::null_mut()) };
    }
}

impl Mailbox {
    /// One that is free, or a new one.
    fn free() -> io::Result<&'static Mailbox> {
        let is_free = |mailbox: &&Mailbox| !mailbox.taken.swap(true, SeqCst);
        if let Some(mailbox) = mailboxes().find(is_free) {
            return Ok(mailbox);
        }
        let (reader, writer) = io::pipe()?;
        let (reader, writer) = (Descriptor::new(reader)?, Descriptor::new(writer)?);
        let (taken, wanted, arrived) =
            (AtomicBool::new(true), AtomicU64::new(0), AtomicU64::new(0));
        let next = FIRST.load(SeqCst); // `SETS` is locked: no other code stores to it.
        let mailbox = Box::leak(Box::new(Mailbox { taken, wanted, arrived, reader, writer, next }));
        FIRST.store(mailbox, SeqCst);
        Ok(mailbox)
    }

    /// Takes the lowest of the signals that have come.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: none has. When one does, the pipe is readable: the handler marks it before it writes.
    fn take(&self) -> io::Result<c_int> {
        loop {
            // (A handler that was under way when this mailbox got another set may have left one of the old.)
            let arrived = self.arrived.load(SeqCst) & self.wanted.load(SeqCst);
            if arrived != 0 {
                let signal = arrived.trailing_zeros() as c_int + 1;
                self.arrived.fetch_and(!bit(signal), SeqCst);
                return Ok(signal);
            }
            let _emptied = self.reader.get_ref().read(&mut [0; 64])?;
        }
    }
}

impl Signals {
    /// Takes these signals from now on.
    ///
    /// # Errors
    ///
    /// The operating system's: `InvalidInput` for what is no signal, or one that no program may handle; too many
    /// descriptors. `InvalidInput` for the signal of a fault (`SIGSEGV`), after which nothing can go on.
    pub fn new(signals: impl IntoIterator<Item = c_int>) -> io::Result<Signals> {
        let mut sets = sets();
        let mailbox = Mailbox::free()?;
        mailbox.arrived.store(0, SeqCst);
        let mut taken = Signals { mailbox, purpose: None };
        for signal in signals {
            let result = match signal {
                libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE => {
                    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is that of a fault"))
                }
                1..=64 => install_for(signal),
                _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            };
            if let Err(e) = result {
                drop(sets); // What was taken so far is given back.
                let text = format!("signal {signal} cannot be received: {e}");
                return Err(io::Error::new(e.kind(), text));
            }
            if mailbox.wanted.fetch_or(bit(signal), SeqCst) & bit(signal) == 0 {
                sets[signal as usize] += 1;
            }
        }
        taken.purpose = Some(Purpose::new(&mailbox.reader, names(&taken.signals())));
        Ok(taken)
    }

    /// The next signal that has come, or comes.
    ///
    /// # Errors
    ///
    /// Those of [`Readiness`](crate::net::Readiness); `TimedOut` if a [`green::deadline`](crate::green::deadline)
    /// around this passes first.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, and [while a stack unwinds](crate::net#blocking), blocks the thread.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn recv(&mut self) -> io::Result<c_int> {
        self.mailbox.reader.read_with(|_| self.mailbox.take())
    }

    /// [`recv`](Signals::recv), without a wait.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, when none has come, or when the budget of the task for this turn is used up.
    pub fn try_recv(&mut self) -> io::Result<c_int> {
        self.mailbox.reader.try_read_with(|_| self.mailbox.take())
    }

    /// [`recv`](Signals::recv) as an operation: `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// As [`recv`](Signals::recv).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn receiving(&mut self) -> impl Future<Output = io::Result<c_int>> + Unpin + use<'_> {
        let mailbox = self.mailbox;
        mailbox.reader.reading_with(|_| mailbox.take())
    }
}

impl Signals {
    /// Its signals, the lowest number first.
    fn signals(&self) -> Vec<c_int> {
        let wanted = self.mailbox.wanted.load(SeqCst);
        (1..=64).filter(|&signal| wanted & bit(signal) != 0).collect()
    }
}

/// The names of signals: `SIGINT or SIGTERM`.
fn names(signals: &[c_int]) -> String {
    let names: Vec<_> = signals.iter().map(|&signal| name(signal)).collect();
    match &names[..] {
        [] => "no signal".to_owned(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

fn name(signal: c_int) -> String {
    let name = match signal {
        SIGALRM => "SIGALRM",
        SIGCHLD => "SIGCHLD",
        SIGCONT => "SIGCONT",
        SIGHUP => "SIGHUP",
        SIGINT => "SIGINT",
        SIGPIPE => "SIGPIPE",
        SIGQUIT => "SIGQUIT",
        SIGTERM => "SIGTERM",
        SIGUSR1 => "SIGUSR1",
        SIGUSR2 => "SIGUSR2",
        SIGWINCH => "SIGWINCH",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

impl Drop for Signals {
    fn drop(&mut self) {
        let mut sets = sets();
        let signals = self.signals();
        self.mailbox.wanted.store(0, SeqCst);
        for signal in signals {
            sets[signal as usize] -= 1;
            if sets[signal as usize] == 0 {
                give_back(signal);
            }
        }
        self.purpose = None;
        self.mailbox.taken.store(false, SeqCst);
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signals").field(&self.signals()).finish()
    }
}

/// Takes Ctrl-C (`SIGINT`) from now on.
///
/// ```no_run
/// use wouldblock::{green, signal};
///
/// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
/// let mut ctrl_c = signal::ctrl_c()?;
/// green::spawn(|| { /* the work */ });
/// ctrl_c.recv()?; // what is left when the root returns is cancelled
/// # Ok(()) }) }
/// ```
///
/// # Errors
///
/// As [`Signals::new`].
pub fn ctrl_c() -> io::Result<Signals> {
    Signals::new([SIGINT])
}
