//! `poll(2)`, safe, and never for ever.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::check::{MOST, fail, grouped, situation, stop_if_failed};
use crate::job::trace;

/// What a socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// It has bytes, a connection, an end or an error.
    Readable,
    /// It takes bytes, or has failed.
    Writable,
}

/// The longest sleep.
const LONGEST: Duration = Duration::from_secs(5);

/// A check of this process has slept for so long in vain: the next ones have less patience.
static IN_VAIN: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Copy, Default)]
struct Counts {
    calls: usize,
    /// In a row, without an event.
    idle: usize,
}

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { calls: 0, idle: 0 }) };
    static FAILS: Cell<bool> = const { Cell::new(false) };
    static BEFORE: RefCell<Option<Look>> = const { RefCell::new(None) };
    static LAST: RefCell<Option<Polled>> = const { RefCell::new(None) };
}

/// One call of [`poll`]: what it was given, and what it has returned.
#[derive(Clone, Debug)]
pub struct Polled {
    /// The sockets.
    pub sockets: Vec<(RawFd, Interest)>,
    /// The limit.
    pub limit: Option<Duration>,
    /// The places of those that were ready.
    pub ready: Vec<usize>,
}

type Look = Rc<dyn Fn(&Polled)>;

/// In this check, each [`poll`] calls this before it sleeps, with nothing in `ready`.
pub fn before_poll(look: impl Fn(&Polled) + 'static) {
    BEFORE.set(Some(Rc::new(look)));
}

/// The next call of [`poll`] in this check returns an error, as the system's may.
pub fn next_poll_fails() {
    FAILS.set(true);
}

/// The last call of [`poll`] in this check that has returned.
pub fn last_poll() -> Option<Polled> {
    LAST.with_borrow(Clone::clone)
}

/// How often this check has called [`poll`].
pub fn polls() -> usize {
    COUNTS.get().calls
}

/// Sleeps until one of these sockets is ready, or for `limit` (`None`: as long as it takes), and at most 5 s. Returns
/// the places of the sockets that are ready, counted from 0; none when the time is over.
///
/// # Errors
///
/// The operating system's.
///
/// # Panics
///
/// Without sockets and without a limit, which would be a sleep for ever; and after 10 000 calls in a row that have
/// brought nothing.
#[track_caller]
pub fn poll(sockets: &[(RawFd, Interest)], limit: Option<Duration>) -> io::Result<Vec<usize>> {
    stop_if_failed();
    if sockets.is_empty() && limit.is_none() {
        let why = match trace(|t| t.waiting()).first() {
            Some((job, ..)) => format!(
                "`{job}` waits for a socket, which is not among those that `poll` was given"
            ),
            None => "here `sleep` has nothing to wait for".to_owned(),
        };
        fail(format!("`poll` on no socket and without a limit sleeps for ever: {why}"));
    }
    if let Some(look) = BEFORE.with_borrow(Clone::clone) {
        look(&Polled { sockets: sockets.to_vec(), limit, ready: Vec::new() });
    }
    if FAILS.take() {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    let wanted = |interest| match interest {
        Interest::Readable => libc::POLLIN,
        Interest::Writable => libc::POLLOUT,
    };
    let mut fds: Vec<libc::pollfd> = sockets
        .iter()
        .map(|(fd, interest)| libc::pollfd { fd: *fd, events: wanted(*interest), revents: 0 })
        .collect();
    let longest = if IN_VAIN.load(Ordering::Relaxed) { LONGEST / 10 } else { LONGEST };
    let until = Instant::now() + limit.unwrap_or(longest).min(longest);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let ms = left.as_nanos().div_ceil(1_000_000) as libc::c_int;
        // SAFETY: the pointer and the length are those of one vector of initialised `pollfd`s.
        let n = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, ms) };
        if n >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    if let Some(gone) = fds.iter().find(|fd| fd.revents & libc::POLLNVAL != 0) {
        fail(format!(
            "`poll` was given descriptor {}, which is closed: its job has ended, or has dropped the socket. A wait is over \
             when its socket was ready; take it out of the list then",
            gone.fd
        ));
    }
    let ready: Vec<usize> = (0..fds.len()).filter(|n| fds[*n].revents != 0).collect();
    if ready.is_empty() && limit.is_none_or(|limit| limit > longest) {
        IN_VAIN.store(true, Ordering::Relaxed);
        let waiting = trace(|t| t.waiting());
        let waiting =
            waiting.iter().map(|(job, _, ready)| format!("`{job}` until its socket is {ready}"));
        let waiting = match waiting.collect::<Vec<_>>() {
            waiting if waiting.is_empty() => "no job".to_owned(),
            waiting => waiting.join(", "),
        };
        fail(format!(
            "nothing has happened for {longest:?}, and `poll` was given {}. What waits: {waiting}. Is there one that waits for \
             the wrong thing, or a sleeper that was to be woken by then?",
            limit.map_or("no limit".to_owned(), |limit| format!("the limit {limit:?}")),
        ));
    }
    let mut counts = COUNTS.get();
    counts.calls += 1;
    counts.idle = if ready.is_empty() { counts.idle + 1 } else { 0 };
    COUNTS.set(counts);
    situation(|s| s.count("`poll` was called", counts.calls));
    if counts.idle == MOST {
        fail(format!(
            "polled {} times without an event: give `poll` the time until the earliest sleeper is due, or `None`, and \
             not 0",
            grouped(MOST)
        ));
    }
    LAST.set(Some(Polled { sockets: sockets.to_vec(), limit, ready: ready.clone() }));
    let descriptors: Vec<RawFd> = ready.iter().map(|n| sockets[*n].0).collect();
    trace(|t| t.descriptors_are_ready(&descriptors));
    Ok(ready)
}
