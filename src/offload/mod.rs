//! Blocking work, on other threads.
//!
//! A call that blocks in the kernel (a file, a name look-up, a C library) or computes for long stops
//! every task of the scheduler's thread. `offload` runs it on a thread of a [pool], and the task waits.
//!
//! There are three pools, so that none of the three kinds of work waits for another: the work of user code,
//! [files](crate::fs) and look-ups of [names](crate::net::looking_up). Where a pool has no thread and the system
//! starts none, each kind has its own way out: see [`begin`].

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::thread;

use crate::kernel::edge::foreign::{KeptWaker, contain};
use crate::kernel::edge::waker::Offloaded;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::wait::{self, Wait};
pub(crate) use pool::Pool;
use pool::Ticket;

mod pool;

/// An operation that gives what `work` returns, run on another thread. The work begins at once, whether or
/// not a task waits for it yet.
///
/// ```
/// use wouldblock::{future, generator, green, offload};
///
/// fn sum_to(n: u64) -> u64 {
///     (1..=n).sum() // imagine something that takes long
/// }
///
/// wouldblock::run(|| {
///     let a = generator::spawn(|y| y.wait(offload(|| sum_to(10))));
///     let b = green::spawn(|| green::wait(offload(|| sum_to(100))));
///     let c = future::spawn(async { offload(|| sum_to(1000)).await });
///     let sums = [a, b, c].map(|task| task.join().unwrap());
///     assert_eq!(sums, [55, 5050, 500_500]);
/// });
/// ```
///
/// Any number may be under way. Up to 512 have a thread each; the rest wait in line, in the order of asking. The
/// environment variable `WOULDBLOCK_MAX_THREADS` sets another number than 512. Threads are started when
/// there is work for them, and end when they have been idle for five seconds. Files and look-ups of names have
/// threads of their own, up to 64 for each of the two, so that slow work does not hold them up. (A file has
/// calls of its own too, in [`fs`](crate::fs).) Where work waits in line and all threads have been busy for ten
/// seconds, a warning names the pool, once.
///
/// It needs no scheduler: any executor may poll it.
///
/// # Blocking
///
/// Work must not block for other work that may stand behind it in the line.
///
/// Work that locks a [`std::sync::Mutex`] keeps its thread while it waits for the lock: 200 works that want one
/// connection at once are 200 threads, of which one gets on. Let the tasks wait instead: keep the value in a
/// [`sync::Mutex`](crate::sync::Mutex), or give it to one task that owns it and serves the others through a
/// channel; move it into the work, and let the work return it.
///
/// # Panics
///
/// Waiting for it panics with what `work` panics with. Polling it again after it was ready panics too.
///
/// Waiting for it also panics if the pool has no thread and the system starts none (a limit on threads or
/// memory, a sandbox); the message has the system's error. The work is dropped then. It is not run where it
/// is waited for: it may block for something that only another task of this thread does, and a coroutine's
/// stack may be too small for it. Later calls try again to start a thread. While there is a thread, work waits
/// for it.
///
/// `offload` itself panics if `WOULDBLOCK_MAX_THREADS` is set to something that is not a positive number.
///
/// # Cancellation
///
/// Work that has not begun never begins, and is dropped on the thread that drops the operation. Work that has
/// begun cannot be stopped: it runs to its end, and its result, or its panic, is dropped on its thread. A
/// panic of either destructor goes to the panic hook and no further. Nothing waits for work that was given up:
/// not the task that is cancelled, not the end of the run, and not the end of `main`, which stops it where it
/// is.
#[track_caller]
pub fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Offload<T> {
    let site = Location::caller();
    begin_at(site, users(), work).unwrap_or_else(|(error, work)| {
        contain(|| drop(work));
        Offload { begun: Err(error.to_string()), site }
    })
}

const ADVICE: &str = "Offloaded work that blocks (for a lock, a channel, a peer) keeps its thread, also when its task \
    has given it up: give it a time limit of its own, or let the task wait and not the work; if all of it is needed at \
    once, set WOULDBLOCK_MAX_THREADS to more";

/// The pool of the work of user code.
#[track_caller]
fn users() -> &'static Pool {
    static USERS: OnceLock<Pool> = OnceLock::new();
    if let Some(users) = USERS.get() {
        return users;
    }
    let text = env::var_os("WOULDBLOCK_MAX_THREADS");
    let number = |text: &OsString| text.to_str()?.parse().ok().map(NonZeroUsize::get);
    let most = match text.as_ref().map(number) {
        None => 512,
        Some(Some(most)) => most,
        Some(None) => panic!(
            "WOULDBLOCK_MAX_THREADS={:?} is not a positive number: this variable of the environment says how many \
             threads `offload` may use",
            text.unwrap_or_default()
        ), // At the caller's line, which a closure's would not be.
    };
    USERS.get_or_init(|| Pool::new("wouldblock work", most, ADVICE))
}

/// Begins work on a thread of `pool`.
///
/// # Errors
///
/// There is no thread, and the system starts none: its error, and the work. A file's call is made on the spot
/// then, since it is over soon; a look-up, which may take many seconds, fails; the work of user code panics in the
/// task that waits for it.
#[track_caller]
pub(crate) fn begin<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
    pool: &'static Pool,
    work: W,
) -> Result<Offload<T>, (io::Error, W)> {
    begin_at(Location::caller(), pool, work)
}

fn begin_at<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
    site: &'static Location<'static>,
    pool: &'static Pool,
    work: W,
) -> Result<Offload<T>, (io::Error, W)> {
    let admission = match pool.admit() {
        Ok(admission) => admission,
        Err(error) => return Err((error, work)),
    };
    let slot = Slot::new();
    let filled = Arc::clone(&slot);
    let work = move || filled.fill(catch_unwind(AssertUnwindSafe(work)));
    let ticket = admission.put(Box::new(work));
    Ok(Offload { begun: Ok(Begun { slot, pool, ticket }), site })
}

/// See [`offload`].
#[must_use = "dropping the operation gives up the work if it has not begun"]
pub struct Offload<T> {
    begun: Result<Begun<T>, String>,
    /// Where it was made.
    site: &'static Location<'static>,
}

/// Work that is in a pool's queue or out of it again.
struct Begun<T> {
    slot: Arc<Slot<T>>,
    pool: &'static Pool,
    ticket: Ticket,
}

/// Where the work leaves its result. No user code runs under its lock.
pub(crate) struct Slot<T>(Mutex<State<T>>);

pub(crate) enum State<T> {
    /// There is no result yet. The operation has perhaps been polled.
    UnderWay(Option<Awaited>),
    Done(thread::Result<T>),
    /// The result was taken, or given up.
    Over,
}

/// What the work wakes. While it is kept in the slot, a look for a deadlock and a virtual clock know that a
/// wake will come.
pub(crate) struct Awaited {
    waker: KeptWaker,
    offloaded: Option<Offloaded>,
}

impl<T> Future for Offload<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        wait::poll_within_budget(cx, |cx| {
            let site = self.site;
            let begun = match &mut self.begun {
                Ok(begun) => begun,
                Err(error) => {
                    panic!("offloaded work was not done: {error} (the `offload` at {site})")
                }
            };
            begun.slot.poll(cx, site, &["work on another thread", "offload"])
        })
    }
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Arc<Slot<T>> {
        Arc::new(Slot(Mutex::new(State::UnderWay(None))))
    }

    /// Ready with the result, or with the panic, of the work; until then, reports show `what` after "waits for". `call`
    /// is the function that has begun it, for a panic here.
    pub(crate) fn poll(
        &self,
        cx: &Context<'_>,
        site: &Location<'_>,
        [what, call]: &'static [&'static str; 2],
    ) -> Poll<T> {
        let awaited =
            Awaited { waker: KeptWaker::of(cx), offloaded: Scheduler::with(Offloaded::of) };
        match self.take(awaited, site, call) {
            Some(result) => Poll::Ready(result.unwrap_or_else(|payload| resume_unwind(payload))),
            None => {
                wait::record(cx, Wait::named(what));
                Poll::Pending
            }
        }
    }

    /// Gives the result up. Returns what was there: a result, or a waker, which may be user code.
    pub(crate) fn give_up(&self) -> State<T> {
        mem::replace(&mut *self.lock(), State::Over)
    }

    /// Takes the result, or has `awaited` woken when it is there.
    fn take(&self, awaited: Awaited, site: &Location<'_>, call: &str) -> Option<thread::Result<T>> {
        let mut state = self.lock();
        if let State::UnderWay(before) = &mut *state {
            let before = before.replace(awaited);
            drop(state);
            drop(before); // The destructor of a waker may be user code.
            return None;
        }
        let State::Done(result) = mem::replace(&mut *state, State::Over) else {
            panic!(
                "the operation of the `{call}` at {site} was polled again after it was ready: its result was given \
                 then, so wait for it once"
            )
        };
        drop(state);
        Some(result)
    }

    /// Called once, on the thread of the work.
    pub(crate) fn fill(&self, result: thread::Result<T>) {
        let mut state = self.lock();
        let State::UnderWay(awaited) = &mut *state else {
            drop(state);
            return drop(result); // The operation was given up.
        };
        let awaited = awaited.take();
        *state = State::Done(result);
        drop(state);
        if let Some(Awaited { waker, offloaded }) = awaited {
            waker.wake();
            // Only now, when the task is ready or in the inbox, nothing is awaited any more.
            drop(offloaded);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Begun<T> {
    fn drop(&mut self) {
        let state = self.slot.give_up();
        if let State::UnderWay(_) = state
            && let Some(work) = self.pool.remove(self.ticket)
        {
            contain(|| drop(work));
        }
    }
}

impl<T> fmt::Debug for Offload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offload")
    }
}
