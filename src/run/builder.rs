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
    /// The defaults: 256 KiB of stack for each task (1 MiB in a debug build), the machine's clock.
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
    /// The virtual clock is what [`sleeping`](crate::time::sleeping), [`timeout`](crate::op::timeout) and
    /// [`now`](crate::time::now) go by. Code that asks `std::time` sees the machine's clock. While tasks
    /// wait for sockets and sleep as well, the sockets are polled first, but not waited for: what the operating
    /// system holds back for a while (small writes, without `set_nodelay`) is overtaken by the next deadline.
    /// (The idea is trio's autojump clock.)
    pub fn virtual_clock(mut self) -> Builder {
        self.virtual_clock = true;
        self
    }

    /// Ready tasks have their turns in an order drawn from `seed`, anew in each round: the same for the same
    /// seed, as long as no real I/O decides which task is ready. For tests: see [`explore`](crate::testing::explore()).
    pub fn seed(mut self, seed: u64) -> Builder {
        self.order = TurnOrder::Seeded(seed);
        self
    }

    /// Ready tasks have their turns in strict order, first in, first out, even where the environment
    /// variable `WOULDBLOCK_SEED` is set.
    pub fn round_robin(mut self) -> Builder {
        self.order = TurnOrder::RoundRobin;
        self
    }

    /// Calls `observer` with each event of each task, after the observers that were added before it.
    pub fn observe(mut self, observer: impl Observer + 'static) -> Builder {
        self.observers.push(Rc::new(observer));
        self
    }

    /// How long a task may keep the thread before there is a warning, by the machine's clock; `None`: as long
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
    /// [`offload`](crate::offload())ed work, and the waker of a task, or a [`Spawner`](crate::Spawner), is kept: by
    /// a channel of another crate, by another thread. A service may be idle in this state for hours. A deadlock
    /// that is certain, because no waker is kept, is found at once, whatever is set here.
    ///
    /// The time is the machine's, also on a virtual clock. A process that is stopped and goes on (`SIGSTOP`,
    /// `SIGCONT`) counts this as a tenth of the time, however long it was. The warning is given once, and once
    /// more if the cleanup of cancelled tasks does not end. A runtime that is driven by [`turn`](Runtime::turn)
    /// suspects none; [`run_until`](Runtime::run_until) does.
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
    /// standard error, to see from outside what the program does. Of several runs that answer one signal, each
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
    /// the table follows when it gives the thread back. (Without a [`watchdog`](Builder::watchdog), which measures for
    /// how long the task has kept it, the line comes also for a task whose turn is short.) Several signals that come
    /// within one turn have one answer.
    ///
    /// A handler of the signal, with `SA_RESTART`, is installed when the first such run begins, and stays; one that was
    /// there before is called as well. What the signal does by default (mostly, it ends the program) it does no more,
    /// also when the run is over. Where the operating system refuses the handler, that is logged as an error, and the
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
            TurnOrder::Seeded(seed) => Some(seed),
            TurnOrder::RoundRobin => None,
            TurnOrder::Environment => seed_of_environment(),
        };
        overflow::install();
        let scheduler = Scheduler::new(clock, self.stack_size, seed, self.observers)?;
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
