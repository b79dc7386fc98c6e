//! What other threads, and handlers of signals, may see of a thread that runs tasks: whose turn it is.
//!
//! The thread writes it down at the beginning of each turn, in plain atomics, which costs a few stores. A board is
//! never freed, only used again by the next run: a reader needs no lock, and follows no pointer into another thread's
//! memory.
//!
//! ```text
//!   thread of a run            board                          watchdog, handler of a signal
//!     begins ── stores ──▶ turn │ who, site, .. │ shown ◀── loads in the other direction ── read
//! ```
//!
//! `turn` is stored before the rest, and `shown` after it: a reader loads `shown` first and `turn` last; if they are
//! equal, all that it has read in between belongs to one turn. (A sequence lock, with one writer.)
//!
//! A forked child inherits the boards but not the threads that write them, so it ignores them.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::process;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence,
};
use std::time::Duration;

use super::observe::Era;

type Site = &'static Location<'static>;

/// Bytes of a name that are shown.
const NAME: usize = 32;

pub(crate) struct Board {
    /// Counts the boards of the process and of those that it is a copy of.
    pub(crate) number: usize,
    process: u32,
    next: AtomicPtr<Board>,
    taken: AtomicBool,

    // The turn: written by the thread of the run.
    turn: AtomicU32,
    /// See [`Label`]; 0: no task has its turn.
    who: AtomicU64,
    site: AtomicPtr<Location<'static>>,
    last_site: AtomicPtr<Location<'static>>,
    name: [AtomicU64; NAME / 8],
    complete: AtomicU32,

    // For the watchdog:
    asleep: AtomicBool,
    /// The watchdog does not look until this thread is up again.
    unwatched: AtomicBool,
    /// How long a task may keep the thread, in nanoseconds; 0: the run is not watched.
    limit: AtomicU64,
    /// The operating system's number of the thread, and of the clock that counts its time on a processor; 0: unknown.
    thread: AtomicI32,
    clock: AtomicI32,
    /// Written by the watchdog: a turn, and the milliseconds that it has lasted for at least.
    held: AtomicU64,

    // For handlers of signals:
    /// The signal that the run answers; 0: none.
    signal: AtomicI32,
    /// The signal that has come, and is not answered yet; 0: none.
    request: AtomicI32,
    /// What ends the thread's sleep in the operating system. It stays open as long as the process lives: a handler on another
    /// thread may write to it at any time.
    bell: OnceLock<(UnixStream, UnixStream)>,
}

/// The newest board, each of which knows the next.
static NEWEST: AtomicPtr<Board> = AtomicPtr::new(ptr::null_mut());

/// What is written down in one word: the number of a task, its era, and how much of its name there is.
#[derive(Clone, Copy)]
struct Label(u64);

impl Label {
    fn new(id: u64, era: Era, name: usize, is_cut: bool) -> Label {
        let era = match era {
            Era::Generator => 0,
            Era::Green => 1,
            Era::Future => 2,
        };
        Label(id << 9 | u64::from(is_cut) << 8 | (name as u64) << 2 | era)
    }

    fn id(self) -> u64 {
        self.0 >> 9
    }

    fn era(self) -> Era {
        match self.0 & 3 {
            0 => Era::Generator,
            1 => Era::Green,
            _ => Era::Future,
        }
    }

    fn name(self) -> usize {
        NAME.min((self.0 >> 2 & 63) as usize)
    }

    fn is_cut(self) -> bool {
        self.0 >> 8 & 1 == 1
    }
}

/// What was to be seen of a turn.
pub(crate) struct Seen {
    pub(crate) turn: u32,
    label: Label,
    site: Option<Site>,
    /// Where the task gave up its turn before, if that was on a stack.
    pub(crate) last_site: Option<Site>,
    name: [u8; NAME],
}

impl Board {
    /// The boards of this process, the newest first.
    pub(crate) fn all() -> impl Iterator<Item = &'static Board> {
        let me = process::id();
        let follow = |at: &AtomicPtr<Board>| {
            // SAFETY: only boards are linked, which live for ever.
            unsafe { at.load(Acquire).as_ref() }
        };
        std::iter::successors(follow(&NEWEST), move |board| follow(&board.next))
            .filter(move |board| board.process == me)
    }

    /// Takes a board for a run that begins, which [`release`](Board::release)s it.
    pub(crate) fn claim() -> &'static Board {
        let take =
            |board: &&Board| board.taken.compare_exchange(false, true, AcqRel, Relaxed).is_ok();
        Board::all().find(take).unwrap_or_else(Board::add)
    }

    fn add() -> &'static Board {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let board = Box::leak(Box::new(Board {
            number: COUNT.fetch_add(1, Relaxed),
            process: process::id(),
            taken: AtomicBool::new(true),
            ..Board::new()
        }));
        let mut newest = NEWEST.load(Relaxed);
        loop {
            board.next.store(newest, Relaxed);
            match NEWEST.compare_exchange(newest, board, Release, Relaxed) {
                Ok(_) => return board,
                Err(other) => newest = other,
            }
        }
    }

    const fn new() -> Board {
        Board {
            number: 0,
            process: 0,
            next: AtomicPtr::new(ptr::null_mut()),
            taken: AtomicBool::new(false),
            turn: AtomicU32::new(0),
            who: AtomicU64::new(0),
            site: AtomicPtr::new(ptr::null_mut()),
            last_site: AtomicPtr::new(ptr::null_mut()),
            name: [const { AtomicU64::new(0) }; NAME / 8],
            complete: AtomicU32::new(0),
            asleep: AtomicBool::new(false),
            unwatched: AtomicBool::new(false),
            limit: AtomicU64::new(0),
            thread: AtomicI32::new(0),
            clock: AtomicI32::new(0),
            held: AtomicU64::new(0),
            signal: AtomicI32::new(0),
            request: AtomicI32::new(0),
            bell: OnceLock::new(),
        }
    }

    pub(crate) fn release(&self) {
        self.ends();
        self.asleep.store(false, SeqCst);
        self.taken.store(false, Release);
    }

    // The turn, on the thread of the run:

    /// A task's turn begins.
    #[inline]
    pub(crate) fn begins(
        &self,
        (id, era): (u64, Era),
        site: Site,
        last_site: Option<Site>,
        name: Option<&str>,
    ) {
        let turn = self.turn.load(Relaxed).wrapping_add(1);
        self.turn.store(turn, Relaxed);
        fence(Release); // Who reads something of what follows, finds that turn.
        let (name, is_cut) = name.map_or((0, false), |name| self.store_name(name));
        self.site.store(ptr::from_ref(site).cast_mut(), Relaxed);
        self.last_site.store(last_site.map_or(ptr::null(), ptr::from_ref).cast_mut(), Relaxed);
        self.who.store(Label::new(id, era, name, is_cut).0, Relaxed);
        self.complete.store(turn, Release);
    }

    /// Returns how many bytes of the name are shown, and whether it is longer.
    fn store_name(&self, name: &str) -> (usize, bool) {
        let shown = (0..=NAME.min(name.len())).rev().find(|&n| name.is_char_boundary(n));
        let shown = shown.unwrap_or(0);
        for (bytes, word) in name.as_bytes()[..shown].chunks(8).zip(&self.name) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Relaxed);
        }
        (shown, shown < name.len())
    }

    /// The turn is over.
    #[inline]
    pub(crate) fn ends(&self) {
        self.who.store(0, Relaxed);
    }

    // The turn, from anywhere:

    /// Which turn a task has now; `None` if none has.
    pub(crate) fn running_turn(&self) -> Option<u32> {
        let idle = self.asleep.load(Acquire) || self.who.load(Acquire) == 0;
        (!idle).then(|| self.turn.load(Relaxed))
    }

    /// What is to be seen of a turn; `None` if no task has one, or this one has just begun or ended.
    pub(crate) fn read(&self) -> Option<Seen> {
        let turn = self.complete.load(Acquire);
        let label = Label(self.who.load(Relaxed));
        // SAFETY: only `begins` stores there, what lives for ever.
        let site = |at: &AtomicPtr<Location<'static>>| unsafe { at.load(Relaxed).as_ref() };
        let (spawned, last_site) = (site(&self.site), site(&self.last_site));
        let mut name = [0; NAME];
        for (bytes, word) in name.chunks_exact_mut(8).zip(&self.name) {
            bytes.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        fence(Acquire);
        let is_one = label.0 != 0 && self.turn.load(Relaxed) == turn;
        is_one.then_some(Seen { turn, label, site: spawned, last_site, name })
    }

    // For the watchdog: see `watchdog.rs`.

    /// The run of this thread is watched from now on.
    pub(crate) fn watch(&self, limit: Duration) {
        #[cfg(target_os = "linux")]
        {
            let mut clock = 0;
            // SAFETY: both ask of this thread; the second fills in an integer.
            let (thread, failed) = unsafe {
                let me = libc::pthread_self();
                (libc::gettid(), libc::pthread_getcpuclockid(me, &mut clock) != 0)
            };
            self.thread.store(thread, Relaxed);
            self.clock.store(if failed { 0 } else { clock }, Relaxed);
        }
        let limit = limit.as_nanos().clamp(1, u64::MAX.into()) as u64;
        self.limit.store(limit, SeqCst);
    }

    pub(crate) fn unwatch(&self) {
        self.limit.store(0, SeqCst);
    }

    /// How long a task may keep the thread; `None`: the run is not watched.
    pub(crate) fn limit(&self) -> Option<Duration> {
        let limit = self.limit.load(SeqCst);
        (limit > 0).then(|| Duration::from_nanos(limit))
    }

    pub(crate) fn thread(&self) -> i32 {
        self.thread.load(Relaxed)
    }

    /// How long the thread has been on a processor, if that can be known.
    pub(crate) fn computed(&self) -> Option<Duration> {
        let clock = Some(self.clock.load(Relaxed)).filter(|&clock| clock != 0)?;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: fills in `time`. The clock of a thread that is gone is refused.
        let failed = unsafe { libc::clock_gettime(clock as libc::clockid_t, &mut time) != 0 };
        (!failed).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    /// Notes that this turn has lasted for that long.
    pub(crate) fn set_held(&self, turn: u32, held: Duration) {
        let ms = held.as_millis().min(u32::MAX.into()) as u64;
        self.held.store(u64::from(turn) << 32 | ms, Relaxed);
    }

    /// For how long that turn has lasted, as noted.
    pub(crate) fn held_for(&self, turn: u32) -> Option<Duration> {
        let held = self.held.load(Relaxed);
        (held >> 32 == u64::from(turn) && held as u32 > 0)
            .then(|| Duration::from_millis((held as u32).into()))
    }

    /// The thread goes to sleep in the operating system.
    pub(crate) fn sleeps(&self) {
        self.asleep.store(true, Release);
    }

    /// The thread is up again. Returns whether the watchdog has stopped looking, and is to be woken.
    #[must_use]
    pub(crate) fn wakes_up(&self) -> bool {
        // In this order, and the watchdog the other way round (`doze`): one of the two sees the other.
        self.asleep.swap(false, SeqCst);
        let unwatched = self.unwatched.load(SeqCst);
        if unwatched {
            self.unwatched.store(false, SeqCst);
        }
        unwatched
    }

    /// Returns whether there is nothing to watch until the thread is up again, which then wakes the watchdog.
    pub(crate) fn doze(&self) -> bool {
        self.unwatched.store(true, SeqCst);
        self.asleep.load(SeqCst)
    }

    pub(crate) fn look_on(&self) {
        self.unwatched.store(false, SeqCst);
    }

    // For handlers of signals: see `on_signal.rs`.

    /// The run answers that signal from now on. Returns what is readable when it has come.
    ///
    /// # Errors
    ///
    /// The operating system's, if it has no descriptors for the bell.
    pub(crate) fn listen(&self, signal: i32) -> io::Result<RawFd> {
        if self.bell.get().is_none() {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            // The run that has the board is the only one that is here.
            let _ = self.bell.set((ours, theirs));
        }
        self.request.store(0, Relaxed);
        self.signal.store(signal, Release);
        Ok(self.bell.get().expect("it was just set").0.as_raw_fd())
    }

    pub(crate) fn stop_listening(&self) {
        self.signal.store(0, Release);
    }

    /// In a handler: requests the table of tasks, if the run answers that signal. Returns `false` if it does not, or
    /// if it has a request already.
    pub(crate) fn request(&self, signal: i32) -> bool {
        let answers = self.signal.load(Acquire) == signal;
        if !answers || self.request.swap(signal, AcqRel) == signal {
            return false;
        }
        if let Some((_, theirs)) = self.bell.get() {
            // SAFETY: one byte, to a descriptor that stays open. If it is full, a ring is under way already.
            unsafe { libc::write(theirs.as_raw_fd(), [0_u8].as_ptr().cast(), 1) };
        }
        true
    }

    #[inline]
    pub(crate) fn has_request(&self) -> bool {
        self.request.load(Relaxed) != 0
    }

    /// The signal that is to be answered now, if it is the run's.
    pub(crate) fn take_request(&self) -> Option<i32> {
        if let Some((ours, _)) = self.bell.get() {
            while (&*ours).read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
        }
        let signal = self.request.swap(0, AcqRel);
        (signal != 0 && signal == self.signal.load(Relaxed)).then_some(signal)
    }
}

/// As a task is printed: `task 3 "fetch" (green, spawned at src/main.rs:12:5)`. It neither locks nor allocates.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.label.id())?;
        let name = str::from_utf8(&self.name[..self.label.name()]).unwrap_or_default();
        match (name, self.label.is_cut()) {
            ("", _) => {}
            (name, false) => write!(f, " {name:?}")?,
            (name, true) => write!(f, " {name:?}..")?,
        }
        write!(f, " ({}", self.label.era())?;
        self.site.map_or(Ok(()), |site| write!(f, ", spawned at {site}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[track_caller]
    fn seen(board: &Board) -> String {
        board.read().expect("a turn").to_string()
    }

    #[test]
    fn a_turn_is_seen_as_the_task_is_printed() {
        let (board, here) = (Board::new(), Location::caller());
        assert!(board.read().is_none() && board.running_turn().is_none());
        board.begins((7, Era::Green), here, None, None);
        assert_eq!(seen(&board), format!("task 7 (green, spawned at {here})"));
        board.begins((8, Era::Future), here, Some(here), Some("a \"name\""));
        assert_eq!(seen(&board), format!(r#"task 8 "a \"name\"" (future, spawned at {here})"#));
        assert_eq!((board.running_turn(), board.read().unwrap().last_site), (Some(2), Some(here)));
        let exactly = "0123456789abcdef0123456789abcdef";
        board.begins((9, Era::Generator), here, None, Some(exactly));
        assert_eq!(seen(&board), format!("task 9 {exactly:?} (generator, spawned at {here})"));
        let (longer, kept) = (format!("x{}", "ä".repeat(40)), format!("x{}", "ä".repeat(15)));
        board.begins((u64::MAX >> 9, Era::Green), here, None, Some(&longer));
        let id = u64::MAX >> 9;
        assert_eq!(seen(&board), format!("task {id} {kept:?}.. (green, spawned at {here})"));
        board.ends();
        assert!(board.read().is_none() && board.running_turn().is_none());
    }

    /// The parts of what is seen belong together, whenever it is looked at.
    #[test]
    fn what_is_seen_is_of_one_turn() {
        let (board, here) = (Board::new(), Location::caller());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for id in 1..20_000 {
                    let name = id.to_string().repeat(4);
                    board.begins((id, Era::Green), here, None, Some(&name));
                }
                done.store(true, Relaxed);
            });
            while !done.load(Relaxed) {
                if let Some(seen) = board.read() {
                    let (id, turn) = (seen.label.id(), seen.turn);
                    assert_eq!(id, u64::from(turn));
                    let name = id.to_string().repeat(4);
                    assert_eq!(
                        seen.to_string(),
                        format!("task {id} {name:?} (green, spawned at {here})")
                    );
                }
            }
        });
    }

    #[test]
    fn a_board_is_used_again_and_not_by_two() {
        let first = Board::claim();
        let second = Board::claim();
        assert!(!ptr::eq(first, second));
        let boards = Board::all().count();
        second.release();
        first.release();
        let again = [Board::claim(), Board::claim()];
        assert!(!ptr::eq(again[0], again[1]));
        assert!(Board::all().count() >= boards);
        again.into_iter().for_each(Board::release);
    }
}
