//! Running: the [`Builder`], what a spawn gives back, and what can be asked of a run.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::join::{JoinHandle, Promise};
use crate::kernel::coroutine::{self, Fiber};
use crate::kernel::edge::entered::refuse_nesting;
use crate::kernel::edge::extras::{Extras, Value};
use crate::kernel::edge::observe::Observer;
use crate::kernel::edge::patience::PATIENCE;
use crate::kernel::edge::unwinding;
use crate::kernel::edge::warn;
use crate::kernel::here::{current, in_task, running_task, with_local, with_task};
use crate::kernel::scheduler::{Progress, Scheduler};
use crate::kernel::task::{Body, Setup, State, Task};
use crate::kernel::timers::Clock;
use crate::on_signal;
use crate::overflow;
use crate::report::{Deadlock, Does};
use crate::stack_size;
use crate::watchdog;

pub use crate::kernel::edge::observe::Era;

/// How a run is set up; [`run`](crate::run) is `Builder::new().run(..)`.
///
/// ```
/// use std::time::{Duration, Instant};
/// use wouldblock::{Builder, green};
///
/// let start = Instant::now();
/// Builder::new().virtual_clock().run(|| green::sleep(Duration::from_secs(3600)));
/// assert!(start.elapsed() < Duration::from_secs(3600), "an hour of virtual time is soon over");
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `run`"]
pub struct Builder {
    stack_size: u32,
    virtual_clock: bool,
    order: Order,
    observer: Option<Rc<dyn Observer>>,
    watchdog: Option<Duration>,
    patience: Option<Duration>,
    signal: Option<i32>,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    RoundRobin,
    Seeded(u64),
    /// As `WOULDBLOCK_SEED` says; round robin if it is not set.
    Environment,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// The defaults: 256 KiB of stack for each task (1 MiB in a debug build), the machine's clock.
    pub fn new() -> Builder {
        let order = Order::Environment;
        Builder {
            stack_size: stack_size::DEFAULT,
            virtual_clock: false,
            order,
            observer: None,
            watchdog: Some(watchdog::LIMIT),
            patience: Some(PATIENCE),
            signal: None,
        }
    }

    /// The usable bytes of each task's stack, rounded up to whole pages. Memory is only reserved: a page
    /// costs nothing before it is touched. (Up to a KiB of it stays free, so that not all stacks begin in the
    /// same places of the processor's caches.)
    ///
    /// # Panics
    ///
    /// Below 32 KiB, which a panic with a backtrace needs, and from 4 GiB.
    #[track_caller]
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = stack_size::checked(bytes);
        self
    }

    /// Time stands still while there is anything to do, and then jumps to the next deadline: tests of
    /// what happens in an hour take no time, and always take the same course.
    ///
    /// The virtual clock is what [`sleep`](crate::time::sleep), [`timeout`](crate::time::timeout) and
    /// [`now`](crate::time::now) go by. Code that asks `std::time` sees the machine's clock. While tasks
    /// wait for sockets and sleep as well, the sockets are looked at first, but not waited for: what the
    /// kernel holds back for a while (small writes, without `set_nodelay`) is overtaken by the next deadline.
    /// (The idea is trio's autojump clock.)
    pub fn virtual_clock(mut self) -> Builder {
        self.virtual_clock = true;
        self
    }

    pub(crate) fn stack(&self) -> usize {
        self.stack_size as usize
    }

    /// Ready tasks have their turns in an order drawn from `seed`, anew in each round: the same for the same
    /// seed, as long as no real I/O decides who is ready. For tests: see [`explore`](crate::explore()).
    pub fn seed(mut self, seed: u64) -> Builder {
        self.order = Order::Seeded(seed);
        self
    }

    /// Ready tasks have their turns in strict order, first in, first out, even where the environment
    /// variable `WOULDBLOCK_SEED` is set.
    pub fn round_robin(mut self) -> Builder {
        self.order = Order::RoundRobin;
        self
    }

    /// Tells `observer` what happens to each task. One at a time: the last one set.
    pub fn observe(mut self, observer: impl Observer + 'static) -> Builder {
        self.observer = Some(Rc::new(observer));
        self
    }

    /// How long a task may keep the thread before a warning says so, by the machine's clock; `None`: as long
    /// as it likes. At first, 100 ms.
    ///
    /// The warning comes while the task still keeps the thread, with the task's name (up to 32 bytes of it), where
    /// it was spawned, where it last gave up its turn, and whether it computes or is blocked in the kernel (on
    /// Linux); it is repeated after 1 s, 10 s, and each full minute; and another comes when the task has given the
    /// thread back. It goes to the program's logger, or, where there is none, to standard error. From one second on,
    /// a logger that takes errors only gets it as an error. A runtime that is driven by hand is not watched.
    pub fn watchdog(mut self, limit: Option<Duration>) -> Builder {
        self.watchdog = limit;
        self
    }

    /// How long nothing may move in the run before a deadlock is suspected, and a warning is logged with the
    /// report; `None`: no deadlock is suspected. At first, 10 s.
    ///
    /// It concerns a run in which no task is ready, asleep, or waiting for a socket or for
    /// [`offload`](crate::offload())ed work, and the waker of a task, or a [`Handle`](crate::Handle), is kept: by
    /// a channel of another crate, by another thread. A service may be idle in this state for hours. A deadlock
    /// that is certain, because no waker is kept, is found at once, whatever is set here.
    ///
    /// The time is the machine's, also on a virtual clock. A process that is stopped and goes on (`SIGSTOP`,
    /// `SIGCONT`) counts this as a tenth of the time, however long it was. The warning is given once, and once
    /// more if the cleanup of cancelled tasks does not end. In a runtime that is driven by hand, no deadlock is
    /// suspected.
    ///
    /// ```
    /// # use wouldblock::{Builder, green};
    /// # use std::time::Duration;
    /// // A service that other threads give work to, and that may have none for a night:
    /// Builder::new().deadlock_warning(None).run(|| green::sleep(Duration::from_millis(1)));
    /// ```
    pub fn deadlock_warning(mut self, limit: Option<Duration>) -> Builder {
        self.patience = limit;
        self
    }

    /// On this signal (the number: `SIGUSR1` is 10 on Linux), prints the [table of tasks](crate::tasks()) on
    /// standard error: what the program is doing, asked from outside. Of several runs that answer one signal, each
    /// prints its own.
    ///
    /// ```no_run
    /// # use wouldblock::{Builder, green};
    /// # use std::time::Duration;
    /// // kill -USR1 PID
    /// Builder::new().tasks_on_signal(10).run(|| green::sleep(Duration::from_secs(3600)));
    /// ```
    ///
    /// The table is printed between two turns. While a task keeps the thread, one line at once names the task, and
    /// the table follows when it gives the thread back. (Without a [`watchdog`](Builder::watchdog), which knows for
    /// how long the task has kept it, the line comes also for a task whose turn is short.) Several signals that come
    /// within one turn have one answer.
    ///
    /// A handler of the signal, with `SA_RESTART`, is installed when the first such run begins, and stays; one that
    /// was there before is called as well. What the signal does by default (mostly, it ends the program) it does no
    /// more, also when the run is over. Where the operating system refuses the handler, an error says so, and the
    /// run goes on without. A runtime that is driven by hand does not answer.
    ///
    /// # Panics
    ///
    /// For a number that is no signal, and for those that cannot be handled (`SIGKILL`, `SIGSTOP`), stand for a
    /// fault (`SIGSEGV`, `SIGBUS`, `SIGILL`, `SIGFPE`), or may be what printing leads to (`SIGPIPE`, `SIGXFSZ`).
    #[track_caller]
    pub fn tasks_on_signal(mut self, signal: i32) -> Builder {
        self.signal = Some(on_signal::checked(signal));
        self
    }

    /// A runtime to be driven by hand, turn by turn: for students, tests, and other event loops.
    ///
    /// # Errors
    ///
    /// The operating system's, if it refuses an event queue.
    ///
    /// # Panics
    ///
    /// If `WOULDBLOCK_SEED` is set to something that is not a number.
    #[track_caller]
    pub fn build(self) -> io::Result<Runtime> {
        let clock = if self.virtual_clock { Clock::virtual_from_now() } else { Clock::real() };
        let seed = match self.order {
            Order::Seeded(seed) => Some(seed),
            Order::RoundRobin => None,
            Order::Environment => seed_of_environment(),
        };
        overflow::install();
        let scheduler = Scheduler::new(clock, self.stack_size, seed, self.observer)?;
        let patience = self.patience;
        scheduler.patience.set(patience);
        Ok(Runtime { scheduler, patience, stays: PhantomData })
    }

    /// Makes a runtime, lets it run the task that `root` makes of `code` until that is done, and cancels
    /// what is left.
    ///
    /// `code` may borrow from the caller.
    #[track_caller]
    pub(crate) fn run_root(
        self,
        setup: Setup,
        code: Box<dyn FnOnce() + '_>,
        root: impl FnOnce(Promise<()>, Box<dyn FnOnce()>) -> Box<dyn Body>,
    ) -> Result<(), Deadlock> {
        unwinding::refuse_while_unwinding();
        refuse_nesting("`run` inside of `run`");
        let _watching = self.watchdog.map(watchdog::watch);
        let signal = self.signal;
        let runtime = match self.build() {
            Ok(runtime) => runtime,
            Err(e) => panic!(
                "cannot run: the system refuses an event queue (epoll): {e}. Look at the limit on open files \
                 (`ulimit -n`), and at the sandbox; `Builder::build` gives the error"
            ), // At the caller's line, as in `check_spawn`.
        };
        let scheduler = &runtime.scheduler;
        let _listening = signal.and_then(|signal| on_signal::listen(signal, scheduler));
        let promise = Promise::new();
        let packet = promise.0.clone();
        // SAFETY: only the lifetime changes. The code is called, and gone, or was dropped uncalled, when the root
        // task is done; and this function is not left before that, by whichever path: see `Root`.
        let code: Box<dyn FnOnce() + 'static> = unsafe { std::mem::transmute(code) };
        let stalled = scheduler.enter(|| {
            let root = Root(scheduler.spawn(setup, root(promise, code)));
            let stalled = drive(&runtime, "", || root.is_done());
            close(&runtime);
            stalled
        });
        if let Some(deadlock) = stalled {
            return Err(deadlock);
        }
        let result = packet.result.take().expect("a task that is done has a result");
        let Err(error) = result else { return Ok(()) };
        match (error.into_panic(), scheduler.refused.take()) {
            (Ok(payload), _) => std::panic::resume_unwind(payload),
            (Err(_), Some(refused)) => panic!("{refused}; the tasks of the run were cancelled"),
            (Err(error), None) => panic!("{error}"),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("stack_size", &self.stack_size)
            .field("virtual_clock", &self.virtual_clock)
            .field("order", &self.order)
            .field("observed", &self.observer.is_some())
            .field("watchdog", &self.watchdog)
            .field("deadlock_warning", &self.patience)
            .field("tasks_on_signal", &self.signal)
            .finish()
    }
}

/// The root task of a run, which may borrow from the frames of the caller of `run`: these do not end before it is
/// done. Aborts the process if they would.
struct Root(Arc<Task>);

impl Root {
    fn is_done(&self) -> bool {
        // SAFETY: the task was spawned on this thread.
        unsafe { self.0.local() }.state.get() == State::Done
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.is_done() {
            return;
        }
        let (root, does) = (&self.0, Does::of(&self.0, self.0.home.run, None));
        let why = match std::thread::panicking() {
            true => "which panics",
            false => "whose tasks are to end; put a time limit inside of the cleanup that waits",
        };
        warn::print(format_args!(
            "the root of a run, {root}, {does}, and may borrow from the function that called `run`: \
             that cannot be left by the run, {why}; aborting"
        ));
        std::process::abort();
    }
}

#[track_caller]
pub(crate) fn seed_of_environment() -> Option<u64> {
    let text = std::env::var("WOULDBLOCK_SEED").ok()?;
    match text.parse() {
        Ok(seed) => Some(seed),
        Err(_) => panic!("WOULDBLOCK_SEED={text:?} is not a number: unset it, or set it to a seed"),
    }
}

/// A scheduler that is driven by hand.
///
/// ```
/// use wouldblock::{Builder, green};
///
/// let runtime = Builder::new().build().unwrap();
/// let task = runtime.enter(|| green::spawn(|| { green::yield_now(); 42 }));
/// let mut turns = 0;
/// while runtime.turn() {
///     turns += 1;
/// }
/// assert_eq!((turns, task.is_finished()), (2, true));
/// ```
///
/// Dropping it cancels its tasks, the newest first, and gives them the turns in which they clean up; this blocks the
/// thread, also inside of another run. Where the thread unwinds already, cleanup that waits is left instead, with
/// an error in the log. It stays on its thread, as its tasks do:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<wouldblock::Runtime>();
/// ```
pub struct Runtime {
    pub(crate) scheduler: Scheduler,
    /// See [`Builder::deadlock_warning`].
    patience: Option<Duration>,
    stays: PhantomData<*const ()>,
}

impl Runtime {
    /// Runs `f` as code of this runtime, outside of any task: it can spawn tasks, not wait.
    ///
    /// # Panics
    ///
    /// Where the thread has a runtime entered already; and with whatever `f` panics with.
    #[track_caller]
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        refuse_nesting("a runtime is entered inside of a run, or of another runtime");
        self.scheduler.enter(f)
    }

    /// Gives one turn to the task that is first in the queue. If none is ready, asks the operating system
    /// and the clock, without waiting, whether one should be, and gives it its turn. False: none was.
    ///
    /// # Panics
    ///
    /// As [`enter`](Runtime::enter). A task that panics does not make this panic.
    #[track_caller]
    pub fn turn(&self) -> bool {
        let scheduler = &self.scheduler;
        self.enter(|| {
            scheduler.one_turn()
                || (scheduler.poll(Some(Duration::ZERO), true) && scheduler.one_turn())
        })
    }

    /// The descriptor to watch from another event loop: when it is readable, [`turn`](Runtime::turn) has
    /// something to do.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.scheduler.reactor.borrow().as_raw_fd();
        // SAFETY: the reactor's descriptor is open as long as the scheduler is.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// When [`turn`](Runtime::turn) should be called at the latest, though nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let Scheduler { timers, clock, .. } = &self.scheduler;
        let (tick, now) = (timers.borrow().next_tick()?, clock.now());
        Some(now + clock.until(tick, now))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.scheduler.is_closing() {
            self.scheduler.unwinding.set(std::thread::panicking());
            self.scheduler.enter(|| close(self));
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

/// Runs until `done`; `Some` if it never will be. A warning that it may not begins with `when`.
fn drive(runtime: &Runtime, when: &str, done: impl Fn() -> bool) -> Option<Deadlock> {
    let scheduler = &runtime.scheduler;
    loop {
        match scheduler.run_until(&done) {
            Progress::Done => return None,
            Progress::Deadlock => return Some(Deadlock::of(scheduler, None)),
            Progress::Quiet => {
                warn::alarm(format_args!("{when}{}", Deadlock::of(scheduler, runtime.patience)));
            }
        }
    }
}

/// Cancels what is left, and says so if it does not end.
fn close(runtime: &Runtime) {
    let scheduler = &runtime.scheduler;
    scheduler.patience.set(runtime.patience);
    scheduler.cancel_all();
    let when = "the run is over, but not the cleanup of its tasks: ";
    if let Some(report) = drive(runtime, when, || scheduler.is_cleaned_up()) {
        // It is left where it is, and its stacks are leaked.
        warn::error(format_args!(
            "the run is over, but not the cleanup of its tasks, which is left: {report}"
        ));
        scheduler.clear_queue();
        scheduler.leave(&scheduler.all_tasks());
    }
    scheduler.close();
    stack_size::trim();
}

const ENDING: &str = "spawn after the root has returned: the run is ending";

/// Panics where no task can be spawned.
#[track_caller]
pub(crate) fn check_spawn() {
    let refused = Scheduler::with(|scheduler| match scheduler {
        None => Some("spawn outside of a run: call it inside `wouldblock::run(|| ..)`"),
        Some(s) if s.watch.telling.get() => Some("spawn in an observer: it may only look on"),
        // A panic while a stack is being unwound would abort the process.
        Some(s) if s.is_closing() && !std::thread::panicking() => Some(ENDING),
        Some(_) => None,
    });
    if let Some(refused) = refused {
        panic!("{refused}"); // At the caller's line, which a closure's would not be.
    }
}

/// Adds a task to the run of this thread: what the three `spawn`s share. A stack of no size is one of the
/// run's.
#[track_caller]
pub(crate) fn launch<T: 'static, B: Body + 'static>(
    mut setup: Setup,
    body: impl FnOnce(Promise<T>) -> B,
) -> JoinHandle<T> {
    check_spawn();
    let promise = Promise::new();
    let packet = promise.0.clone();
    let values = inherited();
    let task = Scheduler::with(|scheduler| {
        let scheduler = scheduler.expect("there is one, as just seen");
        if setup.stack_size == 0 {
            setup.stack_size = scheduler.stack_size;
        }
        let task = scheduler.spawn(setup, Box::new(body(promise)));
        if scheduler.is_closing() {
            scheduler.cancel(&task);
            warn::warning(format_args!("{ENDING}: {task} is cancelled before it begins"));
        }
        task
    });
    if !values.is_empty() {
        // SAFETY: the task was just spawned on this thread.
        unsafe { task.local() }.extras.with(|extras| extras.values = values);
    }
    JoinHandle { task, packet }
}

/// Copies of the running task's values, for a task that it spawns.
fn inherited() -> Vec<Value> {
    let copied = |extras: &mut Extras| {
        extras.values.iter().filter(|value| value.copy.is_some()).cloned().collect::<Vec<_>>()
    };
    let mut values = with_local(|local| local.extras.if_any(copied)).unwrap_or_default();
    // Only now does code of the user's run.
    for Value { value, copy, .. } in &mut values {
        *value = copy.expect("those without were left out")(&**value);
    }
    values
}

/// A fiber for the running task; where the kernel has no room for a stack, that is the task's result.
pub(crate) fn fiber<T>(promise: &Promise<T>) -> Option<Fiber> {
    let task = current().expect("a body is called in its task's turn");
    match Fiber::take(task.stack_size as usize) {
        Ok(fiber) => {
            // SAFETY: it is the running task, so this is its home thread.
            unsafe { task.local() }.stack.set(fiber.bounds().guard.end);
            Some(fiber)
        }
        Err(e) => {
            promise.no_stack(task, e);
            None
        }
    }
}

/// As [`fiber`], for one poll of a future: mostly the one that the poll before has left.
#[inline]
pub(crate) fn poll_fiber() -> Option<Fiber> {
    with_task(|task| {
        Scheduler::with(|scheduler| {
            let scheduler = scheduler?;
            if task.stack_size != scheduler.stack_size {
                return None;
            }
            let fiber = scheduler.polls.take()?;
            // SAFETY: a task has its turn on its home thread only.
            unsafe { task.local() }.stack.set(fiber.bounds().guard.end);
            Some(fiber)
        })
    })?
}

/// Leaves the fiber of a poll that is over for the next one.
#[inline]
pub(crate) fn end_poll(fiber: Fiber) {
    let task = running_task();
    let dropped = Scheduler::with(|scheduler| {
        // SAFETY: as in `poll_fiber`.
        let (Some(scheduler), Some(task)) = (scheduler, unsafe { task.as_ref() }) else {
            return Some(fiber);
        };
        // SAFETY: as in `poll_fiber`.
        unsafe { task.local() }.stack.set(0);
        if task.stack_size != scheduler.stack_size {
            return Some(fiber);
        }
        scheduler.polls.replace(Some(fiber))
    });
    drop(dropped);
}

/// What has happened so far in the run that this is called in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Turns given: how often a task was resumed.
    pub turns: u64,
    /// How often a socket answered `WouldBlock`.
    pub would_block: u64,
    /// Tasks spawned, the root among them.
    pub spawned: u64,
    /// Tasks that are done.
    pub finished: u64,
    /// Those of them that panicked, or had no stack.
    pub panicked: u64,
    /// Those of them that were cancelled.
    pub cancelled: u64,
    /// Tasks that are not done.
    pub alive: u64,
    /// How often a waiting task was made ready.
    pub wakes: u64,
    /// How often the operating system was asked what is ready.
    pub polls: u64,
    /// Deadlines that are waited for.
    pub timers: usize,
    /// Stacks of this thread that tasks and generators are on.
    pub stacks_used: usize,
    /// Stacks of this thread that are kept for the next task, with the memory they have touched: as many as
    /// were in use at once at the recent peak; after a run, at most 16 MiB of memory.
    pub stacks_kept: usize,
    /// Stacks of this thread that are kept as addresses: their memory was given back.
    pub stacks_cold: usize,
}

/// Counts of the present run; all zero outside of one.
///
/// ```
/// let stats = wouldblock::run(|| {
///     wouldblock::green::yield_now();
///     wouldblock::stats()
/// });
/// assert_eq!((stats.turns, stats.spawned), (2, 1));
/// ```
pub fn stats() -> Stats {
    Scheduler::with(|scheduler| {
        let Some(scheduler) = scheduler else { return Stats::default() };
        let counters = &scheduler.counters;
        let (stacks_used, stacks_kept, stacks_cold) = coroutine::count_stacks();
        let spare = scheduler.polls.take();
        let polls = usize::from(spare.is_some());
        scheduler.polls.set(spare);
        Stats {
            // The turn that this is called in, if it is, has been given too.
            turns: scheduler.pace.turns() + u64::from(in_task()),
            would_block: counters.would_block.get(),
            spawned: counters.spawned.get(),
            finished: counters.finished.get(),
            panicked: counters.panicked.get(),
            cancelled: counters.cancelled.get(),
            alive: counters.spawned.get() - counters.finished.get(),
            wakes: counters.wakes.get(),
            polls: counters.polls.get(),
            timers: scheduler.timers.borrow().len(),
            stacks_used: stacks_used.saturating_sub(polls),
            stacks_kept: stacks_kept + polls,
            stacks_cold,
        }
    })
}
