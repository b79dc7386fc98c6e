//! Boards: what other threads and signal handlers may read about a thread that runs tasks, above all which task has its turn.
//!
//! At the beginning of each turn, the thread stores the task's number, name and sites in the atomics of its board, which
//! costs a few stores. A board is never freed: the next run takes it over. So a reader needs no lock, and follows no
//! pointer into memory that another thread may free.
//!
//! ```text
//!   thread of a run            board                              watchdog, signal handler
//!     begins ── stores ──▶ turn │ who, site, .. │ complete ◀── loads from right to left ── read
//! ```
//!
//! The writer stores `turn` first and `complete` last. A reader loads `complete` first and `turn` last; if the two are
//! equal, all that the reader has loaded in between belongs to one turn. (This is a sequence lock with one writer.)
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

use super::notes::Site;
use super::observe::Era;

/// How many bytes of a task's name a board holds.
const NAME: usize = 32;

pub(crate) struct Board {
    /// The index of this board: how many were made before it, in this process or in one that it is a forked copy of.
    pub(crate) number: usize,
    /// The process that made the board.
    process: u32,
    /// The board that was made before this one.
    next: AtomicPtr<Board>,
    /// A run has this board.
    taken: AtomicBool,

    // The turn: written by the thread of the run.
    /// Counts turns. It is stored first.
    turn: AtomicU32,
    /// See [`Label`]; 0 if no task has its turn.
    who: AtomicU64,
    /// Where the task was spawned.
    site: AtomicPtr<Location<'static>>,
    /// Where the task last gave up its turn; null if that was not on a stack.
    last_site: AtomicPtr<Location<'static>>,
    name: [AtomicU64; NAME / 8],
    /// The turn to which the fields above belong. It is stored last.
    complete: AtomicU32,

    // For the watchdog:
    /// The thread sleeps in the operating system.
    asleep: AtomicBool,
    /// The watchdog does not look at this board until the thread has woken from its sleep, and wakes the watchdog.
    unwatched: AtomicBool,
    /// How long a task may keep the thread, in nanoseconds; 0 if the watchdog does not watch the run.
    limit: AtomicU64,
    /// The operating system's number of the thread; 0 if it is unknown.
    thread: AtomicI32,
    /// The clock that counts the thread's time on a processor; 0 if it is unknown.
    clock: AtomicI32,
    /// Written by the watchdog: a turn (upper half), and for how many milliseconds at least it has lasted (lower half).
    held: AtomicU64,

    // For signal handlers:
    /// The signal on which the run prints the table of tasks; 0 if there is none.
    signal: AtomicI32,
    /// The signal that has requested the table, which is not printed yet; 0 if there is none.
    request: AtomicI32,
    /// Two connected sockets: a byte written to the second ends the thread's sleep in the operating system. They stay open
    /// as long as the process lives, since a signal handler on another thread may write at any time.
    bell: OnceLock<(UnixStream, UnixStream)>,
}

/// The newest board, the head of the list of all.
static NEWEST: AtomicPtr<Board> = AtomicPtr::new(ptr::null_mut());

/// A task in one word: its number, its era, how many bytes of its name the board holds, and whether the name is cut.
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

/// What a reader has seen of a turn.
pub(crate) struct Seen {
    pub(crate) turn: u32,
    label: Label,
    site: Option<Site>,
    /// Where the task last gave up its turn, if that was on a stack.
    pub(crate) last_site: Option<Site>,
    name: [u8; NAME],
}

impl Board {
    /// The boards of this process, the newest first.
    pub(crate) fn all() -> impl Iterator<Item = &'static Board> {
        let me = process::id();
        let follow = |at: &AtomicPtr<Board>| {
            // SAFETY: `add` alone stores these pointers, to boards that it has leaked.
            unsafe { at.load(Acquire).as_ref() }
        };
        std::iter::successors(follow(&NEWEST), move |board| follow(&board.next))
            .filter(move |board| board.process == me)
    }

    /// Takes a free board for a run that begins, or makes one. The run must [`release`](Board::release) it at its end.
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
        fence(Release); // A reader that loads one of the following stores also loads this turn, or a later one.
        let (name, is_cut) = name.map_or((0, false), |name| self.store_name(name));
        self.site.store(ptr::from_ref(site).cast_mut(), Relaxed);
        self.last_site.store(last_site.map_or(ptr::null(), ptr::from_ref).cast_mut(), Relaxed);
        self.who.store(Label::new(id, era, name, is_cut).0, Relaxed);
        self.complete.store(turn, Release);
    }

    /// Stores as much of the name as fits. Returns how many bytes that is, and whether the name is longer.
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

    /// The turn that a task has now; `None` if no task has one.
    pub(crate) fn running_turn(&self) -> Option<u32> {
        let idle = self.asleep.load(Acquire) || self.who.load(Acquire) == 0;
        (!idle).then(|| self.turn.load(Relaxed))
    }

    /// The last turn that has begun, which may be over.
    pub(crate) fn last_turn(&self) -> u32 {
        self.turn.load(Relaxed)
    }

    /// Reads the turn that a task has now; `None` if no task has one, or if a turn begins during this call.
    pub(crate) fn read(&self) -> Option<Seen> {
        let turn = self.complete.load(Acquire);
        let label = Label(self.who.load(Relaxed));
        // SAFETY: these pointers are null or stored by `begins`, from a `&'static`.
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

    /// Begins to watch the run of this thread: called on that thread.
    pub(crate) fn watch(&self, limit: Duration) {
        #[cfg(target_os = "linux")]
        {
            let mut clock = 0;
            // SAFETY: both calls concern this thread, which lives; the second writes to `clock`, which lives for the call.
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

    /// How long a task may keep the thread; `None` if the watchdog does not watch the run.
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
        // SAFETY: the call writes to `time`, which lives for the call. If the thread has ended, the clock is refused, or is
        // that of a later thread with the same number: a wrong time, but a valid one.
        let failed = unsafe { libc::clock_gettime(clock as libc::clockid_t, &mut time) != 0 };
        (!failed).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    /// Stores that `turn` has lasted for `held` at least.
    pub(crate) fn set_held(&self, turn: u32, held: Duration) {
        let ms = held.as_millis().min(u32::MAX.into()) as u64;
        self.held.store(u64::from(turn) << 32 | ms, Relaxed);
    }

    /// For how long `turn` has lasted at least, if that was stored.
    pub(crate) fn held_for(&self, turn: u32) -> Option<Duration> {
        let held = self.held.load(Relaxed);
        (held >> 32 == u64::from(turn) && held as u32 > 0)
            .then(|| Duration::from_millis((held as u32).into()))
    }

    /// The thread goes to sleep in the operating system.
    pub(crate) fn sleeps(&self) {
        self.asleep.store(true, Release);
    }

    /// The thread has woken from its sleep. Returns `true` if the watchdog has stopped looking, and the caller must wake it.
    #[must_use]
    pub(crate) fn wakes_up(&self) -> bool {
        // This stores `asleep` and then loads `unwatched`; `doze` stores `unwatched` and then loads `asleep`. With `SeqCst`, at
        // least one of the two threads sees the store of the other.
        self.asleep.swap(false, SeqCst);
        let unwatched = self.unwatched.load(SeqCst);
        if unwatched {
            self.unwatched.store(false, SeqCst);
        }
        unwatched
    }

    /// For the watchdog, which may stop looking. Returns `true` if the thread sleeps: it wakes the watchdog when it is up.
    pub(crate) fn doze(&self) -> bool {
        self.unwatched.store(true, SeqCst);
        self.asleep.load(SeqCst)
    }

    /// For the watchdog, which goes on looking.
    pub(crate) fn look_on(&self) {
        self.unwatched.store(false, SeqCst);
    }

    // For signal handlers: see `on_signal.rs`.

    /// From now on, `signal` requests the table of the run. Returns a descriptor that is readable when it has done so.
    ///
    /// # Errors
    ///
    /// Returns the operating system's error if it has no descriptors for the bell.
    pub(crate) fn listen(&self, signal: i32) -> io::Result<RawFd> {
        if self.bell.get().is_none() {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            // No other thread sets it meanwhile: only the run that has taken the board calls this.
            let _ = self.bell.set((ours, theirs));
        }
        self.request.store(0, Relaxed);
        self.signal.store(signal, Release);
        Ok(self.bell.get().expect("it was just set").0.as_raw_fd())
    }

    pub(crate) fn stop_listening(&self) {
        self.signal.store(0, Release);
    }

    /// In a signal handler: requests the table of tasks. Returns `false` if that is not the signal of this run, or if the run
    /// has a request already.
    pub(crate) fn request(&self, signal: i32) -> bool {
        let is_ours = self.signal.load(Acquire) == signal;
        if !is_ours || self.request.swap(signal, AcqRel) == signal {
            return false;
        }
        if let Some((_, theirs)) = self.bell.get() {
            // SAFETY: the buffer holds the one byte that is written, and the descriptor is never closed. (If the socket is
            // full, the sleep ends anyway.)
            unsafe { libc::write(theirs.as_raw_fd(), [0_u8].as_ptr().cast(), 1) };
        }
        true
    }

    #[inline]
    pub(crate) fn has_request(&self) -> bool {
        self.request.load(Relaxed) != 0
    }

    /// Takes the request, if there is one. Returns its signal.
    pub(crate) fn take_request(&self) -> Option<i32> {
        if let Some((ours, _)) = self.bell.get() {
            while (&*ours).read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
        }
        let signal = self.request.swap(0, AcqRel);
        (signal != 0 && signal == self.signal.load(Relaxed)).then_some(signal)
    }
}

/// Prints as a task does: `task 3 "fetch" (green, spawned at src/main.rs:12:5)`. It neither locks nor allocates.
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
