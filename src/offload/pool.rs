//! A pool of threads for work that blocks.
//!
//! One lock guards everything: the queue, the number of threads, how many of them are idle, and whether one is
//! coming to look at the queue. Three rules are all there is:
//!
//! - Work enters the queue only while there is a thread. [`Pool::admit`] starts the first one.
//! - A thread ends only when the queue is empty, after it was idle for a while.
//! - One thread at a time is coming. When it takes work and leaves some behind, it calls the next: an idle one,
//!   or else a new one, up to the maximum.
//!
//! So work in the queue always has a thread that will take it. That no thread can be started reaches the caller
//! while the work is still in its hands. Where there is a thread and no second one can be started, work waits
//! for that one, and each further work tries again to start another.
//!
//! Work that blocks has a thread each, since each thread calls the next before it begins; work that is done in
//! no time is done by a few threads, since those that run take it before another is there. (Go wakes its
//! threads in the same way.) To wake or start a thread for each work instead was measured to cost short work
//! five times as much.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::kernel::edge::foreign::contain;
use crate::kernel::edge::warn;

/// In how many looks the time passes after which work that waits is alarming.
const SLICES: u32 = 10;

pub(super) type Work = Box<dyn FnOnce() + Send>;

/// The place of work in the queue of its pool. Each work has another.
pub(super) type Ticket = u64;

pub(crate) struct Pool {
    /// The name of its threads.
    name: &'static str,
    /// The most threads at a time.
    most: usize,
    /// What to do where work waits for long, since all threads are busy.
    advice: &'static str,
    /// How long an idle thread stays.
    stay: Duration,
    /// How long work may wait while all threads are busy, before an alarm.
    patience: Duration,
    state: Mutex<State>,
    called: Condvar,
}

struct State {
    /// In the order of arrival. A map, because work that is given up leaves it at once: otherwise it would grow
    /// with each operation that runs into its time limit while all threads are blocked.
    queue: BTreeMap<Ticket, Work>,
    next: Ticket,
    threads: usize,
    /// Threads that wait for a call. One that was called counts until it has the lock again.
    idle: usize,
    /// A thread was called or started, and has not looked at the queue since.
    coming: bool,
    /// How often work was begun.
    begun: u64,
    /// A thread watches that work is begun while some is in the queue; or the alarm was given, which is once.
    guarded: bool,
}

impl Pool {
    /// Linux shows the first 15 bytes of `name`.
    pub(crate) const fn new(name: &'static str, most: usize, advice: &'static str) -> Pool {
        let state = Mutex::new(State {
            queue: BTreeMap::new(),
            next: 0,
            threads: 0,
            idle: 0,
            coming: false,
            begun: 0,
            guarded: false,
        });
        let (stay, patience) = (Duration::from_secs(5), Duration::from_secs(10));
        Pool { name, most, advice, stay, patience, state, called: Condvar::new() }
    }

    /// Locks the pool for one work to be put in. There is a thread then.
    ///
    /// # Errors
    ///
    /// There is no thread, and the system starts none.
    pub(super) fn admit(&'static self) -> io::Result<Admission> {
        let mut state = self.lock();
        if state.threads == 0 {
            self.start(&mut state).map_err(explain)?;
        }
        Ok(Admission { pool: self, state })
    }

    /// Takes work out of the queue, if no thread has begun it.
    pub(super) fn remove(&self, ticket: Ticket) -> Option<Work> {
        self.lock().queue.remove(&ticket)
    }

    /// Starts a thread. The lock is held, so that the counts never differ from what has happened.
    fn start(&'static self, state: &mut State) -> io::Result<()> {
        thread::Builder::new().name(self.name.into()).spawn(|| self.serve())?;
        state.threads += 1;
        state.coming = true;
        Ok(())
    }

    /// Has a thread come for work that is in the queue, and unlocks.
    fn call(&'static self, mut state: MutexGuard<'_, State>) {
        if state.queue.is_empty() || state.coming {
            return;
        }
        if state.idle > 0 {
            state.coming = true;
            drop(state);
            self.called.notify_one();
        } else if state.threads < self.most {
            // Without it, the work waits for a thread that is busy.
            if self.start(&mut state).is_err() {
                self.guard(&mut state);
            }
        } else {
            self.guard(&mut state);
        }
    }

    /// Work waits, and every thread is busy: has a thread of its own see whether that lasts. (Those of the pool may be
    /// blocked for ever, and the tasks that wait may be of any executor.)
    fn guard(&'static self, state: &mut State) {
        if !state.guarded {
            let guard = thread::Builder::new().name(format!("{} guard", self.name));
            state.guarded = guard.spawn(|| self.stand_guard(warn::alarm)).is_ok(); // If not, the next work tries again.
        }
    }

    /// Gives the alarm when no work is begun for as long as the pool's patience lasts, while some is in the queue.
    /// Ends when there is none. The time is slept in slices: one in which the process is stopped counts as one.
    fn stand_guard(&self, alarm: impl FnOnce(fmt::Arguments<'_>)) {
        let (mut seen, mut slices) = (None, 0);
        loop {
            thread::sleep(self.patience / SLICES);
            let mut state = self.lock();
            if state.queue.is_empty() {
                state.guarded = false;
                return;
            }
            slices = if seen.replace(state.begun) == Some(state.begun) { slices + 1 } else { 0 };
            if slices >= SLICES {
                let (threads, works) = (state.threads, state.queue.len());
                drop(state);
                return alarm(format_args!(
                    "the threads of the pool {:?} ({threads} of at most {}) have all been busy for {} s, and {works} \
                     {} for one. {}",
                    self.name,
                    self.most,
                    self.patience.as_secs_f64(),
                    if works == 1 { "call waits" } else { "calls wait" },
                    self.advice
                ));
            }
        }
    }

    /// What each thread does.
    fn serve(&'static self) {
        let mut state = self.lock();
        state.coming = false;
        loop {
            if let Some((_, work)) = state.queue.pop_first() {
                state.begun += 1;
                self.call(state);
                contain(work);
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let waited = self.called.wait_timeout(state, self.stay);
            let (locked, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = locked;
            state.idle -= 1;
            state.coming = false; // If it is another that was called, one call too many is made at worst.
            if waited.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No user code runs under this lock, so poison would only echo a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to put one work into a pool.
pub(super) struct Admission {
    pool: &'static Pool,
    state: MutexGuard<'static, State>,
}

impl Admission {
    pub(super) fn put(mut self, work: Work) -> Ticket {
        let ticket = self.state.next;
        self.state.next += 1;
        self.state.queue.insert(ticket, work);
        self.pool.call(self.state);
        ticket
    }
}

/// Why there is no thread, and what to do. The kind is not the system's: that is `WouldBlock`, which would be
/// taken for a socket's.
fn explain(error: io::Error) -> io::Error {
    io::Error::other(format!(
        "no thread can be started: {error}. Look at the limits on threads and memory (`ulimit -u`, `ulimit -v`, \
         the cgroup's pids.max), and at the sandbox"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn pool(most: usize, stay: Duration) -> &'static Pool {
        Box::leak(Box::new(Pool { stay, ..Pool::new("test", most, "") }))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn put(pool: &'static Pool, work: impl FnOnce() + Send + 'static) -> Ticket {
        pool.admit().expect("a thread can be started").put(Box::new(work))
    }

    fn await_state(pool: &Pool, is_it: impl Fn(&State) -> bool) {
        while !is_it(&pool.lock()) {
            thread::yield_now();
        }
    }

    #[test]
    fn an_idle_thread_takes_the_next_work() {
        let pool = pool(8, HOUR);
        for _ in 0..100 {
            put(pool, || ());
            await_state(pool, |state| state.queue.is_empty() && state.idle == state.threads);
        }
        assert_eq!(pool.lock().threads, 1);
    }

    #[test]
    fn work_that_blocks_has_a_thread_each_up_to_the_maximum() {
        let pool = pool(8, HOUR);
        let (done, all_done) = mpsc::channel();
        let gates: Vec<_> = (0..20)
            .map(|n| {
                let (gate, opened) = mpsc::channel::<()>();
                let done = done.clone();
                put(pool, move || {
                    let _ = opened.recv();
                    done.send(n).unwrap();
                });
                gate
            })
            .collect();
        await_state(pool, |state| state.queue.len() == 12);
        assert_eq!(pool.lock().threads, 8);
        drop(gates);
        drop(done);
        let mut numbers: Vec<_> = all_done.iter().collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..20));
        await_state(pool, |state| state.idle == 8);
    }

    #[test]
    fn idle_threads_end_and_are_started_again() {
        let pool = pool(8, Duration::from_millis(1));
        for _ in 0..10 {
            let (done, is_done) = mpsc::channel();
            put(pool, move || done.send(()).unwrap());
            is_done.recv().unwrap();
            await_state(pool, |state| state.threads == 0);
        }
    }

    #[test]
    fn what_is_removed_leaves_the_queue() {
        let pool = pool(1, HOUR);
        let (gate, opened) = mpsc::channel::<()>();
        put(pool, move || assert!(opened.recv().is_err()));
        await_state(pool, |state| state.queue.is_empty());
        let tickets: Vec<_> = (0..100).map(|_| put(pool, || unreachable!())).collect();
        assert!(tickets.into_iter().all(|ticket| pool.remove(ticket).is_some()));
        assert!(pool.lock().queue.is_empty());
        drop(gate);
    }

    #[test]
    fn one_alarm_is_given_when_no_work_is_begun_for_long_while_some_waits() {
        let patience = Duration::from_millis(20);
        let pool = &*Box::leak(Box::new(Pool { patience, ..Pool::new("test", 1, "Look.") }));
        let (gate, opened) = mpsc::channel::<()>();
        put(pool, move || assert!(opened.recv().is_err()));
        await_state(pool, |state| state.queue.is_empty());
        assert!(!pool.lock().guarded, "all threads are busy, and nothing waits");
        pool.lock().guarded = true; // This thread stands guard.
        put(pool, || ());
        let mut text = String::new();
        pool.stand_guard(|alarm| text = alarm.to_string());
        let parts = ["\"test\" (1 of at most 1)", "busy for 0.02 s, and 1 call waits", "Look."];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(pool.lock().guarded, "the alarm is given once");
        drop(gate);
        await_state(pool, |state| state.queue.is_empty());
        pool.stand_guard(|alarm| panic!("nothing waits: {alarm}"));
        assert!(!pool.lock().guarded);
    }

    #[test]
    fn work_that_waits_since_all_threads_are_busy_is_guarded() {
        let pool = pool(1, HOUR);
        let (gate, opened) = mpsc::channel::<()>();
        put(pool, move || assert!(opened.recv().is_err()));
        await_state(pool, |state| state.queue.is_empty());
        put(pool, || ());
        assert!(pool.lock().guarded);
        drop(gate);
    }

    /// Threads of the caller's put work in while those of the pool come and go: none of it is lost.
    #[test]
    fn all_work_is_done_while_threads_end_and_start() {
        let pool = pool(3, Duration::ZERO);
        let (done, all_done) = mpsc::channel();
        let putters = [0, 1000].map(|from| {
            let done = done.clone();
            thread::spawn(move || {
                for n in from..from + 1000 {
                    let done = done.clone();
                    put(pool, move || done.send(n).unwrap());
                }
            })
        });
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        drop(done);
        let mut numbers: Vec<_> = all_done.iter().collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..2000));
    }

    #[test]
    fn a_panic_ends_no_thread() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Bomb2);
            }
        }
        struct Bomb2;
        impl Drop for Bomb2 {
            fn drop(&mut self) {
                panic!("the destructor of the payload");
            }
        }
        let pool = pool(1, HOUR);
        put(pool, || drop(Bomb));
        let (done, is_done) = mpsc::channel();
        put(pool, move || done.send(()).unwrap());
        is_done.recv().unwrap();
    }
}
