//! How a run is set up.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::inspect::{on_signal, overflow, watchdog};
use crate::kernel::edge::clock::Clock;
use crate::kernel::edge::observe::Observer;
use crate::kernel::edge::patience::PATIENCE;
use crate::kernel::scheduler::Scheduler;
use crate::run::runtime::Runtime;
use crate::run::stack_size;

/// How a run is set up; [`run()`](crate::run()) is `Builder::new().run(..)`.
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
    order: TurnOrder,
    observers: Vec<Rc<dyn Observer>>,
    pub(crate) watchdog: Option<Duration>,
    patience: Option<Duration>,
    pub(crate) signal: Option<i32>,
}

/// Makes the observer that each run has before those of its builder, once this is set: by `tracing::layer`.
#[cfg(feature = "tracing")]
pub(crate) static IN_EACH_RUN: std::sync::OnceLock<fn() -> Rc<dyn Observer>> =
    std::sync::OnceLock::new();

#[derive(Clone, Copy, Debug)]
enum TurnOrder {
    RoundRobin,
    Seeded(u64),
    /// With the seed in `WOULDBLOCK_SEED`; round robin if that is not set.
    Environment,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// Returns a builder with the defaults: 256 KiB of stack for each task (1 MiB in a debug build), and the machine's
    /// clock.
    pub fn new() -> Builder {
        let order = TurnOrder::Environment;
        Builder {
            stack_size: stack_size::DEFAULT,
            virtual_clock: false,
            order,
            observers: Vec::new(),
            watchdog: Some(watchdog::LIMIT),
            patience: Some(PATIENCE),
            signal: None,
        }
    }

    /// Sets the size of each task's stack, in bytes, rounded up to whole pages. The memory is only reserved: a page
    /// takes no memory before it is first used. (Up to 960 bytes of a stack stay unused, so that not all stacks begin
    /// in the same places of the processor's caches.)
    ///
    /// # Panics
    ///
    /// Panics if the size is below 32 KiB, which a panic with a backtrace needs, or 4 GiB or more.
    #[track_caller]
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = stack_size::checked(bytes);
        self
    }

    /// Uses a virtual clock. It stands still while any task is ready, and then jumps to the next deadline: a test of
    /// what happens in an hour takes no time, and runs in the same way each time.
    ///
    /// [`sleeping`](crate::time::sleeping), [`timeout`](crate::op::timeout) and [`now`](crate::time::now) use the virtual
    /// clock. Code that calls `std::time` sees the machine's. If some tasks wait for sockets and others sleep, the
    /// scheduler polls the sockets before the clock jumps, but does not wait for them. So data that the operating system
    /// holds back for a while (small writes, without `set_nodelay`) may arrive after the next deadline.
    /// (The idea is trio's autojump clock.)
    pub fn virtual_clock(mut self) -> Builder {
        self.virtual_clock = true;
        self
    }

    /// Gives ready tasks their turns in a random order, another one in each round. The same `seed` gives the same order,
    /// as long as no real I/O decides which task is ready. For tests: see [`explore`](crate::testing::explore()).
    pub fn seed(mut self, seed: u64) -> Builder {
        self.order = TurnOrder::Seeded(seed);
        self
    }

    /// Gives ready tasks their turns in strict order, first in, first out, even if the environment variable
    /// `WOULDBLOCK_SEED` is set.
    pub fn round_robin(mut self) -> Builder {
        self.order = TurnOrder::RoundRobin;
        self
    }

    /// Calls `observer` with each event of each task, after the observers that were added before it.
    pub fn observe(mut self, observer: impl Observer + 'static) -> Builder {
        self.observers.push(Rc::new(observer));
        self
    }

    /// Sets how long a task may keep the thread before a warning is logged, by the machine's clock. The default is
    /// 100 ms. With `None`, no warning is logged.
    ///
    /// The warning is logged while the task still keeps the thread. It has the task's name (up to 32 bytes of it), where
    /// the task was spawned, where it last gave up its turn, and, on Linux, whether it computes or is blocked in the
    /// operating system. It is repeated after 1 s, after 10 s, and after each full minute. When the task has given the
    /// thread back, another line follows.
    ///
    /// Warnings go to the program's logger or, if there is none, to standard error. From one second on, a logger that
    /// accepts only errors gets them as errors. A runtime that is driven by hand is not watched.
    pub fn watchdog(mut self, limit: Option<Duration>) -> Builder {
        self.watchdog = limit;
        self
    }

    /// Sets how long nothing may move in the run before a deadlock is suspected, and a warning is logged with the
    /// report. The default is 10 s. With `None`, no deadlock is suspected.
    ///
    /// This is for a run in which no task is ready, sleeps, or waits for a socket or for
    /// [`offload`](crate::offload())ed work, while other code (a channel of another crate, another thread) keeps the
    /// waker of a task, or a [`Spawner`](crate::Spawner). A service may be idle in this state for hours. If no waker is
    /// kept, the deadlock is certain, and is found at once, whatever is set here.
    ///
    /// The time is measured by the machine's clock, even in a run with a virtual clock. A stop of the process
    /// (`SIGSTOP` to `SIGCONT`) counts as a tenth of the time, however long it was. The warning is logged once, and once
    /// more if the cleanup of cancelled tasks does not end. [`run_until`](Runtime::run_until) suspects deadlocks too; a
    /// runtime that is driven by [`turn`](Runtime::turn) does not.
    ///
    /// ```
    /// # use wouldblock::{Builder, green};
    /// # use std::time::Duration;
    /// // A service that gets its work from other threads, and may get none for a night:
    /// Builder::new().deadlock_warning(None).run(|| green::sleep(Duration::from_millis(1)));
    /// ```
    pub fn deadlock_warning(mut self, limit: Option<Duration>) -> Builder {
        self.patience = limit;
        self
    }

    /// Prints the [table of tasks](crate::tasks()) on standard error when the process receives `signal`, a number
    /// (`SIGUSR1` is 10 on Linux). It shows from outside what the program does. If several runs print on one signal,
    /// each prints its own table.
    ///
    /// ```no_run
    /// # use wouldblock::{Builder, green};
    /// # use std::time::Duration;
    /// // kill -USR1 PID
    /// Builder::new().tasks_on_signal(10).run(|| green::sleep(Duration::from_secs(3600)));
    /// ```
    ///
    /// The table is printed between two turns. While a task keeps the thread, one line that names the task is printed at
    /// once, and the table when the task gives the thread back. (Without a [`watchdog`](Builder::watchdog), which measures
    /// how long the task has kept the thread, the line is printed for a short turn, too.) Several signals within one turn
    /// print one table.
    ///
    /// The first such run installs a handler of the signal, with `SA_RESTART`. The handler stays installed after the run,
    /// so that the signal no longer does what it does by default (mostly, end the program). A handler that was installed
    /// before is called as well. If the operating system refuses the handler, an error is logged, and the run goes on
    /// without it. A runtime that is driven by hand prints no table.
    ///
    /// # Panics
    ///
    /// Panics if `signal` is no signal, cannot be handled (`SIGKILL`, `SIGSTOP`), stands for a fault (`SIGSEGV`, `SIGBUS`,
    /// `SIGILL`, `SIGFPE`), or may be caused by printing (`SIGPIPE`, `SIGXFSZ`).
    #[track_caller]
    pub fn tasks_on_signal(mut self, signal: i32) -> Builder {
        self.signal = Some(on_signal::checked(signal));
        self
    }

    /// Makes a runtime that is driven by hand, turn by turn: for students, tests, and other event loops.
    ///
    /// # Errors
    ///
    /// Returns the operating system's error if it refuses an event queue.
    ///
    /// # Panics
    ///
    /// Panics if `WOULDBLOCK_SEED` is set to a text that is not a number.
    #[track_caller]
    pub fn build(self) -> io::Result<Runtime> {
        let clock = if self.virtual_clock { Clock::virtual_from_now() } else { Clock::real() };
        let seed = match self.order {
            TurnOrder::Seeded(seed) => Some(seed),
            TurnOrder::RoundRobin => None,
            TurnOrder::Environment => seed_of_environment(),
        };
        overflow::install();
        let observers = self.observers;
        #[cfg(feature = "tracing")]
        let observers = IN_EACH_RUN.get().map(|make| make()).into_iter().chain(observers).collect();
        let scheduler = Scheduler::new(clock, self.stack_size, seed, observers)?;
        Ok(Runtime::new(scheduler, self.patience))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("stack_size", &self.stack_size)
            .field("virtual_clock", &self.virtual_clock)
            .field("order", &self.order)
            .field("observers", &self.observers.len())
            .field("watchdog", &self.watchdog)
            .field("deadlock_warning", &self.patience)
            .field("tasks_on_signal", &self.signal)
            .finish()
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
