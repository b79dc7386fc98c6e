//! The watchdog: a warning while a task keeps the thread, so that no other can run.
//!
//! ```text
//! task 3 "resize" (green, spawned at src/main.rs:12:5) has kept the thread for 0.10 s, and still does; no
//!     other task can run. It last gave up its turn at src/main.rs:20:9. Let it yield, or `offload` the work
//! task 3 "resize" (green, spawned at src/main.rs:12:5) gave the thread back after 0.35 s
//! ```
//!
//! One thread of the process looks at the [`Board`] of each run several times within the limit, and compares the number
//! of the turn with the one that it saw last. When no run has begun a turn between two looks, and the threads of all
//! runs sleep, the watchdog sleeps too; the first run that goes on wakes it. (A run that wakes each millisecond, as for
//! timers, would otherwise have to wake the watchdog each time.) Where a task keeps the thread, the operating system shows whether that computes or
//! sleeps, and the advice differs. A task that does neither, because other programs have the processors, is not
//! reported.
//!
//! (asyncio's debug mode does it afterwards, `slow_callback_duration`; Go's `sysmon` looks in the same way.)

use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use crate::inspect::place::Place;
use crate::kernel::edge::board::Board;
use crate::kernel::edge::pulse::{BoardGuard, WATCHDOG};
use crate::kernel::edge::warn;
use crate::kernel::here::here;

/// How long a task may keep the thread, unless the user sets another limit.
pub(crate) const LIMIT: Duration = Duration::from_millis(100);

const MINUTE: Duration = Duration::from_secs(60);

/// When the warning is repeated; afterwards, each full minute.
const REPEATED: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), MINUTE];

/// From here on, the warning is an alarm: the task may hang.
const ALARMING: Duration = REPEATED[0];

/// The longest pause between two looks at a task that is known to keep the thread.
const PROMPT: Duration = Duration::from_millis(50);

/// The run of this thread is watched as long as this lives.
pub(crate) struct Watching(BoardGuard);

/// Watches the run that begins on this thread.
pub(crate) fn watch(limit: Duration) -> Watching {
    let guard = here().pulse.show();
    guard.board.watch(limit);
    match WATCHDOG.get() {
        Some(watchdog) => watchdog.unpark(),
        None => begin(),
    }
    Watching(guard)
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.board.unwatch();
    }
}

fn begin() {
    static REFUSED: Once = Once::new();
    if let Err(e) = thread::Builder::new().name("wouldblock watchdog".into()).spawn(patrol) {
        REFUSED.call_once(|| {
            warn::warning(format_args!(
                "no task that keeps its thread will be reported: the watchdog's own thread cannot be started: {e}"
            ));
        });
    }
}

/// The watchdog's thread, which lives as long as the process.
fn patrol() {
    if WATCHDOG.set(thread::current()).is_err() {
        return; // Two runs have begun at once, each with a thread for it.
    }
    let mut runs = Vec::new();
    let mut slices = Slices { since: Instant::now(), late: false };
    let mut pause = Duration::MAX;
    loop {
        let passed = slices.end(Instant::now(), pause);
        pause = Duration::MAX;
        let (mut dozes, mut messages) = (true, Vec::new());
        for board in Board::all() {
            if runs.len() <= board.number {
                runs.resize_with(board.number + 1, Watched::default);
            }
            let run = &mut runs[board.number];
            messages.extend(run.look(board, passed));
            if let Some(limit) = board.limit() {
                pause = pause.min(run.pause(limit));
                dozes &= run.rests(board) && board.doze();
            }
        }
        dozes &= messages.is_empty();
        if !dozes {
            Board::all().for_each(Board::look_on);
        }
        messages.into_iter().for_each(Message::report);
        match dozes {
            true => thread::park(),
            false => thread::park_timeout(pause),
        }
    }
}

/// The time between two looks, as far as the watchdog itself was running.
struct Slices {
    since: Instant,
    late: bool,
}

impl Slices {
    /// How much of the time since the last look counts, where that was to be `pause`. None does if this look is late:
    /// the process may have been stopped, or the machine have slept, and the task with it. If the look before was late
    /// too, the machine is only busy, and the time counts.
    fn end(&mut self, now: Instant, pause: Duration) -> Duration {
        let passed = now - self.since;
        self.since = now;
        let at_most = pause.saturating_mul(2);
        let late = passed > at_most;
        match late && !std::mem::replace(&mut self.late, late) {
            true => Duration::ZERO,
            false => passed.min(at_most),
        }
    }
}

/// What the watchdog keeps of the run that has a board.
#[derive(Default)]
struct Watched {
    /// The turn that was seen last, and for how long so far.
    turn: Option<u32>,
    held: Duration,
    /// How long the thread had been on a processor before.
    computed: Option<Duration>,
    /// The task of which this turn's last warning was, and how long it had kept the thread then.
    named: Option<(String, Duration)>,
    /// The last turn that had begun by the last look.
    begun: u32,
}

enum Message {
    Warning(String),
    Alarm(String),
}

impl Message {
    fn new(held: Duration, text: String) -> Message {
        if held < ALARMING { Message::Warning(text) } else { Message::Alarm(text) }
    }

    fn report(self) {
        match self {
            Message::Warning(text) => warn::warning(format_args!("{text}")),
            Message::Alarm(text) => warn::alarm(format_args!("{text}")),
        }
    }
}

impl Watched {
    /// The message that the turn is over, if a warning was given of it.
    fn back(&mut self) -> Option<Message> {
        let (who, _) = self.named.take()?;
        let held = self.held;
        let text = format!("{who} gave the thread back after {:.2} s", held.as_secs_f64());
        Some(Message::new(held, text))
    }

    /// Returns `true` if no turn has begun since the last call.
    fn rests(&mut self, board: &Board) -> bool {
        let before = std::mem::replace(&mut self.begun, board.last_turn());
        before == self.begun
    }

    /// Looks at the run's board, `passed` after the last look. Returns what there is to report.
    fn look(&mut self, board: &Board, passed: Duration) -> Option<Message> {
        let turn = board.limit().and(board.running_turn());
        if turn.is_none() || turn != self.turn {
            let back = self.back();
            (self.turn, self.held, self.computed) = (turn, Duration::ZERO, board.computed());
            return back;
        }
        self.held += passed;
        board.set_held(turn?, self.held);
        let limit = board.limit()?;
        let due = match &self.named {
            Some((_, held)) => next_after(*held),
            None => limit,
        };
        // If it is over by now, the next look finds another.
        let seen = board.read().filter(|seen| Some(seen.turn) == turn)?;
        if self.held < due {
            return None;
        }
        let blocked = is_blocked(board.thread());
        let computed = self.computed.and_then(|before| board.computed()?.checked_sub(before));
        if blocked == Some(false) && computed.is_some_and(|computed| computed * 2 < limit) {
            return None; // The thread is kept from it by the machine.
        }
        let who = seen.to_string();
        let left = seen.last_site.map_or_else(
            || "It has not given up its turn on a stack yet".into(),
            |site| format!("It last gave up its turn {}", Place(site)),
        );
        let advice = advice(blocked);
        let held = self.held;
        let text = format!(
            "{who} has kept the thread for {:.2} s, and still does; no other task can run. {left}. {advice}",
            held.as_secs_f64()
        );
        self.named = Some((who, held));
        Some(Message::new(held, text))
    }

    /// The time until the next look.
    fn pause(&self, limit: Duration) -> Duration {
        let pause = match &self.named {
            Some(_) => (self.held / 16).min(PROMPT),
            None => limit / 4,
        };
        pause.max(Duration::from_millis(1))
    }
}

/// When the warning is to be repeated that was given after so much time.
fn next_after(held: Duration) -> Duration {
    let minutes = held.as_secs() / 60 + 1;
    let next = REPEATED.into_iter().find(|&repeated| repeated > held);
    next.unwrap_or(Duration::from_secs(60 * minutes))
}

/// Whether that thread sleeps in a system call. `None` if that cannot be known: not on Linux, or without `/proc`.
fn is_blocked(thread: i32) -> Option<bool> {
    let path = format!("/proc/self/task/{thread}/stat");
    let stat = std::fs::read_to_string(path).ok().filter(|_| cfg!(target_os = "linux"))?;
    // Number, name in parentheses, state: the name may be anything.
    let state = stat.rsplit(')').next()?.trim_start().chars().next()?;
    Some(matches!(state, 'S' | 'D'))
}

fn advice(blocked: Option<bool>) -> &'static str {
    match blocked {
        Some(true) => {
            "It is blocked in the operating system, by a lock, channel, sleep or `JoinHandle::join` of std's, by the `block_on` of \
             an executor, by a file or folder of std's (use `wouldblock::fs`), a child of std's (`wouldblock::process`), or \
             by a blocking call of a library: use `wouldblock::sync`, `green::sleep`, `green::wait` in place of `block_on`, \
             or `wouldblock::net`; or `offload` the call"
        }
        Some(false) => "Let it yield, or `offload` the work",
        None => {
            "If it computes, let it yield, or `offload` the work; if it is blocked in the operating system, by a lock, channel, \
             sleep or `JoinHandle::join` of std's, by a file or folder of std's (use `wouldblock::fs`), a child of std's \
             (`wouldblock::process`), or by the `block_on` of an executor, use `wouldblock::sync`, `green::sleep`, \
             `green::wait` in place of `block_on`, or `wouldblock::net`; or `offload` the call"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::kernel::edge::observe::Era;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn time_in_which_the_process_was_stopped_does_not_count() {
        let start = Instant::now();
        let mut slices = Slices { since: start, late: false };
        let pause = 25 * MS;
        // The task computes for 80 ms in all, and in the middle of that the process is stopped.
        let looks = [25, 51, 5051, 5076].map(|ms| slices.end(start + ms * MS, pause));
        assert_eq!(looks, [25 * MS, 26 * MS, Duration::ZERO, 25 * MS]);
        assert!(looks.into_iter().sum::<Duration>() < LIMIT);
    }

    #[test]
    fn on_a_busy_machine_where_each_look_comes_late_time_counts() {
        let start = Instant::now();
        let mut slices = Slices { since: start, late: false };
        let looks = [100, 200, 300, 325].map(|ms| slices.end(start + ms * MS, 25 * MS));
        assert_eq!(looks, [Duration::ZERO, 50 * MS, 50 * MS, 25 * MS]);
    }

    #[test]
    fn a_warning_is_repeated_after_1_10_and_60_seconds_and_each_minute() {
        let seconds = |s| next_after(Duration::from_secs_f64(s)).as_secs();
        let next = [0.1, 0.999, 1.0, 9.9, 10.0, 59.9, 60.0, 61.0, 120.0, 3601.0].map(seconds);
        assert_eq!(next, [1, 1, 10, 10, 60, 60, 120, 120, 180, 3660]);
    }

    #[test]
    fn what_is_alarming_is_told_of_as_such_and_nothing_of_a_turn_that_is_over() {
        let (board, site) = (Board::claim(), Location::caller());
        let mut run = Watched::default();
        let mut look = |passed| run.look(board, passed);
        assert!(look(MS).is_none(), "nobody watches");
        board.watch(20 * MS);
        board.begins((1, Era::Green), site, None, None);
        assert!(look(50 * MS).is_none(), "it has just been seen first");
        assert!(look(19 * MS).is_none());
        assert!(look(2 * MS).is_none(), "this thread has been elsewhere");
        let start = board.computed().expect("Linux knows");
        while board.computed().expect("Linux knows") < start + 10 * MS {}
        assert!(matches!(look(2 * MS), Some(Message::Warning(text)) if text.contains(" 0.02 s")));
        assert!(look(900 * MS).is_none());
        assert!(matches!(look(100 * MS), Some(Message::Alarm(text)) if text.contains(" 1.02 s")));
        board.begins((2, Era::Green), site, None, None);
        let back = look(MS).expect("the turn is over");
        assert!(
            matches!(back, Message::Alarm(text) if text.contains("task 1") && text.contains("back"))
        );
        assert!(look(19 * MS).is_none());
        board.ends();
        assert!(look(HOUR).is_none() && look(HOUR).is_none());
        board.unwatch();
        board.release();
    }

    #[test]
    fn a_run_rests_from_the_second_look_without_a_turn_on() {
        let (board, site) = (Board::claim(), Location::caller());
        let mut run = Watched::default();
        for task in 1..4 {
            board.begins((task, Era::Green), site, None, None);
            board.ends();
            board.sleeps();
            assert!(
                !run.rests(board),
                "it has had a turn since the last look, and may soon have the next"
            );
            assert!(run.rests(board) && run.rests(board));
        }
        board.release();
    }

    const HOUR: Duration = Duration::from_secs(3600);
}
