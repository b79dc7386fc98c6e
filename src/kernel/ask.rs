//! When the scheduler asks the operating system for events, and the clock for due timers.
//!
//! Not after each turn: a question costs as much as a few turns. It is asked once in a number of turns that is
//! chosen anew each time, so that some 200 µs lie between two questions (after 64 turns at the latest, the
//! clock is looked at): often enough that spinning tasks starve nobody, seldom enough not to be felt. With
//! nothing ready, the thread sleeps in the kernel until an event, a timer or another thread's wake.

use std::io;
use std::time::{Duration, Instant};

use super::edge::foreign::aside;
use super::edge::observe::By;
use super::edge::warn;
use super::scheduler::{Scheduler, here};
use super::task::Waiter;

/// Turns between two questions to the operating system, at most, and the time they should take.
const LONGEST_STRIDE: u32 = 64;
const STRIDE_TIME: Duration = Duration::from_micros(200);

/// For how long what the operating system said is taken to be so still.
const LATELY: Duration = Duration::from_millis(1);

impl Scheduler {
    /// Asks, unless the longest stride was still a short time.
    pub(super) fn ask_in_time(&self) {
        let stride = self.stride.get();
        if stride == LONGEST_STRIDE && self.asked.get().elapsed() < STRIDE_TIME {
            self.given.set(self.given.get() + stride);
            self.countdown.set(stride);
        } else {
            self.ask(Some(Duration::ZERO), false);
        }
    }

    /// Whether the operating system was asked lately. (Not so in a turn that takes long.)
    pub(crate) fn has_just_asked(&self) -> bool {
        self.asked.get().elapsed() < LATELY
    }

    /// Without waiting: makes ready whoever should be. False: nobody.
    pub(crate) fn look(&self) -> bool {
        self.ask(Some(Duration::ZERO), true)
    }

    /// Asks the operating system for events, sleeping up to `timeout` until there are some, and the clock for
    /// due timers; wakes whom they concern. False: it slept its time out for nothing. With `idle`, a virtual
    /// clock moves to the next deadline if nothing else is to be done.
    pub(super) fn ask(&self, timeout: Option<Duration>, idle: bool) -> bool {
        let before = Instant::now();
        let mut woken = Vec::new();
        self.counters.polls.set(self.counters.polls.get() + 1);
        let sleeps = timeout != Some(Duration::ZERO);
        if sleeps {
            here().pulse.sleeps();
        }
        let polled = self.reactor.borrow_mut().poll(timeout, &mut woken);
        if sleeps {
            here().pulse.is_up();
        }
        let mut any = !woken.is_empty();
        let rung = match polled {
            Ok(rung) => {
                any |= rung;
                rung
            }
            Err(e) => {
                self.end_without_events(&e);
                true // Perhaps: what other threads have left is looked at.
            }
        };
        self.watch.on_behalf_of(By::Socket, || {
            for waiter in woken {
                if let Waiter::Task(task) = &waiter {
                    // SAFETY: tasks in this reactor's lines were spawned on this thread.
                    unsafe { task.local() }.ticket.set(None); // It has left the line.
                }
                self.wake_waiter(waiter);
            }
        });
        if rung {
            for task in self.home.inbox.drain() {
                task.noted();
                self.wake(task);
            }
            for order in self.home.orders.drain() {
                let open = !self.is_closing();
                aside(format_args!("an order of another thread, or its destructor,"), || {
                    order(open);
                });
            }
            if !(self.home.inbox.is_empty() && self.home.orders.is_empty()) {
                self.home.shared.ring(); // The next question finds the rest.
            }
        }
        any |= self.wake_sleepers(idle && !any);
        self.recalibrate(before);
        any
    }

    /// The operating system refuses events: the run cannot go on, and all its tasks are cancelled. Their cleanup goes on
    /// meanwhile, with sockets tried again and again.
    #[cold]
    fn end_without_events(&self, error: &io::Error) {
        if self.refused.borrow().is_some() {
            return;
        }
        let text =
            format!("the system refuses to say which sockets are ready (epoll_wait): {error}");
        warn::error(format_args!("{text}; all tasks of the run are cancelled"));
        *self.refused.borrow_mut() = Some(text);
        let left = self.tasks.borrow().by_age();
        self.watch.on_behalf_of(By::End, || {
            for task in left {
                if self.cancel(&task) {
                    self.tell_cancelled(&task);
                    self.wake(task);
                }
            }
        });
    }

    /// Wakes all whose time has come; a virtual clock moves to the next deadline if nobody is ready.
    fn wake_sleepers(&self, idle: bool) -> bool {
        let Some(next) = self.timers.borrow().next_tick() else { return false };
        let idle = idle && !self.awaits_outside() && self.queue.is_empty();
        if idle && self.clock.is_virtual() {
            self.clock.jump(next);
        }
        let now = self.clock.tick(self.clock.now());
        self.watch.on_behalf_of(By::Time, || {
            loop {
                let due = self.timers.borrow_mut().pop_due(now);
                let Some(waiter) = due else { break };
                self.wake_waiter(waiter);
            }
        });
        next <= now
    }

    /// How long to sleep when nothing is ready.
    pub(super) fn nap(&self) -> Option<Duration> {
        let tick = self.timers.borrow().next_tick()?;
        match self.clock.is_virtual() {
            true => (!self.awaits_outside()).then_some(Duration::ZERO),
            false => Some(self.clock.until(tick, self.clock.now())),
        }
    }

    /// Chooses how many turns to give until the next question, from how long those since the last took.
    fn recalibrate(&self, before: Instant) {
        let turns = self.given.replace(0) + self.stride.get() - self.countdown.get();
        self.counters.turns.set(self.counters.turns.get() + u64::from(turns));
        let each = (before - self.asked.get()) / turns.max(1);
        let each = each.max(Duration::from_nanos(1));
        let stride = STRIDE_TIME.as_nanos() / each.as_nanos();
        self.stride.set(stride.clamp(1, LONGEST_STRIDE.into()) as u32);
        self.countdown.set(self.stride.get());
        let now = Instant::now();
        self.asked.set(now);
        self.looked.set(self.clock.tick(self.clock.at(|| now)) as u32);
    }

    /// Turns given so far.
    pub(crate) fn turns(&self) -> u64 {
        let since = self.given.get() + self.stride.get() - self.countdown.get();
        self.counters.turns.get() + u64::from(since)
    }
}
