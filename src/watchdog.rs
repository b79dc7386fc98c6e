//! The watchdog: a warning while a task keeps the thread, so that no other can run.
//!
//! ```text
//! task 3 "resize" (green, spawned at src/main.rs:12:5) has kept the thread for 0.10 s, and still does; no
//!     other task can run. It last gave up its turn at src/main.rs:20:9. Let it yield, or `offload` the work
//! task 3 "resize" (green, spawned at src/main.rs:12:5) gave the thread back after 0.35 s
//! ```
//!
//! One thread of the process looks at the runs of all others some times within the limit: is the turn still
//! the one that it was? That costs a turn nothing. While every run sleeps in the kernel, so does the watchdog;
//! the first that gets up wakes it. What a task does is not looked into: it may compute, sleep the thread's
//! sleep, or wait for a lock of std's or in another runtime's `block_on`.
//!
//! (asyncio's debug mode does it afterwards, `slow_callback_duration`; Go's `sysmon` looks in the same way.)

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::kernel::pulse::{Pulse, WATCHDOG};
use crate::kernel::scheduler::here;

/// How long a task may keep the thread if the user does not say.
pub(crate) const LIMIT: Duration = Duration::from_millis(100);

static RUNS: Mutex<Runs> = Mutex::new(Runs { watched: Vec::new(), told: Vec::new() });

struct Runs {
    watched: Vec<Run>,
    /// What is still to be told of those that have ended.
    told: Vec<String>,
}

/// A run that is watched.
struct Run {
    pulse: *const Pulse,
    limit: Duration,
    /// The turn that was seen last, and for how long so far.
    turn: Option<u32>,
    held: Duration,
    /// Whom a warning has been given of.
    told: Option<String>,
}

// SAFETY: the pulse is `Sync`, and lives as long as the run is listed: `Watching` lies in a frame of the thread
// whose own it is.
unsafe impl Send for Run {}

/// The run of this thread is watched as long as this lives. It is not to be forgotten: see `Run`.
pub(crate) struct Watching(*const Pulse);

/// Watches the run that begins on this thread.
pub(crate) fn watch(limit: Duration) -> Watching {
    let pulse = &raw const here().pulse;
    runs().watched.push(Run { pulse, limit, turn: None, held: Duration::ZERO, told: None });
    match WATCHDOG.get() {
        Some(watchdog) => watchdog.unpark(),
        None => drop(thread::Builder::new().name("wouldblock watchdog".into()).spawn(patrol)),
    }
    Watching(pulse)
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut runs = runs();
        let at = runs.watched.iter().position(|run| run.pulse == self.0);
        let mut run = runs.watched.swap_remove(at.expect("it is listed until now"));
        // The watchdog tells it: a logger of this thread's is not to be called out of turn.
        if let Some(text) = run.back() {
            runs.told.push(text);
            WATCHDOG.get().inspect(|watchdog| watchdog.unpark());
        }
    }
}

fn runs() -> MutexGuard<'static, Runs> {
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the watchdog's thread does, as long as the process lives.
fn patrol() {
    if WATCHDOG.set(thread::current()).is_err() {
        return; // Two runs have begun at once, each with a thread for it.
    }
    let mut before = Instant::now();
    let mut pause = Duration::MAX;
    loop {
        let now = Instant::now();
        // A process that was stopped, or a machine that slept, has not computed.
        let passed = (now - before).min(pause.saturating_mul(2));
        before = now;
        let mut runs = runs();
        let mut told = std::mem::take(&mut runs.told);
        for run in &mut runs.watched {
            told.extend(run.look(passed));
        }
        let watched = &runs.watched;
        // Four looks within a limit; and more exactly once somebody is known to keep the thread.
        let pauses = watched.iter().map(|run| run.limit / if run.told.is_some() { 16 } else { 4 });
        pause = pauses.min().unwrap_or(Duration::MAX).max(Duration::from_millis(1));
        let dozes = told.is_empty() && watched.iter().all(|run| run.pulse().doze());
        if !dozes {
            watched.iter().for_each(|run| run.pulse().watch());
        }
        drop(runs); // A logger may wait for the very thread that is kept.
        told.into_iter().for_each(|text| log::warn!("{text}"));
        match dozes {
            true => thread::park(),
            false => thread::park_timeout(pause),
        }
    }
}

impl Run {
    fn pulse(&self) -> &Pulse {
        // SAFETY: the run is listed, so its thread has not left `run` yet.
        unsafe { &*self.pulse }
    }

    /// That the turn is over, if it was told of.
    fn back(&mut self) -> Option<String> {
        let who = self.told.take()?;
        Some(format!("{who} gave the thread back after {:.2} s", self.held.as_secs_f64()))
    }

    /// What there is to tell, after so much more time.
    fn look(&mut self, passed: Duration) -> Option<String> {
        let turn = self.pulse().held();
        if turn.is_none() || turn != self.turn {
            let back = self.back();
            (self.turn, self.held) = (turn, Duration::ZERO);
            return back;
        }
        self.held += passed;
        if self.held < self.limit || self.told.is_some() {
            return None;
        }
        let held = self.held.as_secs_f64();
        let seen = self.pulse().read(turn?, |task| (task.to_string(), task.left()));
        let (who, left) = seen.unwrap_or_else(|| ("a task".into(), None));
        let left = left.map_or_else(
            || "It has not given up its turn on a stack yet".into(),
            |site| format!("It last gave up its turn at {site}"),
        );
        let text = format!(
            "{who} has kept the thread for {held:.2} s, and still does; no other task can run. {left}. \
             Let it yield, or `offload` the work"
        );
        self.told = Some(who);
        Some(text)
    }
}
