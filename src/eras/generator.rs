//! The generator era: a coroutine that yields what it waits for to its resumer.
//!
//! Python 2.5 made generators into coroutines (PEP 342: `send`, `throw`, `close`), and Python 3.3 let one
//! delegate to another (PEP 380: `yield from`). A scheduler, then called a trampoline, resumes them and
//! looks at what they yield; here, a [`Wait`]. Every function on the way has to pass the yield on.
//!
//! ```
//! use std::time::Duration;
//! use wouldblock::{generator::{self, Generator, Yielder}, Wait, time};
//!
//! fn nap(ms: u64) -> Generator<Wait, (), u64> {
//!     Generator::new(move |y: &Yielder<Wait>| {
//!         y.wait(time::sleeping(Duration::from_millis(ms)));
//!         ms
//!     })
//! }
//!
//! wouldblock::run(|| {
//!     let slow = generator::spawn(|y| y.yield_from(nap(20)));
//!     let fast = generator::spawn(|y| y.yield_from(nap(10)));
//!     assert_eq!(slow.join().unwrap() + fast.join().unwrap(), 30);
//! });
//! ```
//!
//! A generator needs no scheduler. It can be resumed by hand, and yields whatever one likes:
//!
//! ```
//! use wouldblock::generator::Generator;
//!
//! let mut countdown = Generator::new(|y| for n in (1..=3).rev() { y.yield_(n) });
//! assert_eq!(countdown.next(), Some(3));
//! assert_eq!(countdown.collect::<Vec<_>>(), [2, 1]);
//! ```

use std::future::IntoFuture;
use std::pin::pin;

use crate::eras::pep342::Sent;
use crate::kernel::cancel;
use crate::kernel::coroutine::Switch;
use crate::kernel::door;
use crate::kernel::edge::observe::Era;
use crate::kernel::edge::swallowed;
use crate::kernel::edge::unwinding;
use crate::kernel::task::Body;
use crate::kernel::wait::{self, Wait};
use crate::run::join::{JoinHandle, Promise};
use crate::run::spawn::{fiber, launch};
use crate::task;

pub use crate::eras::pep342::{Generator, GeneratorState, Thrown, Yielder};

/// A generator that yields what it waits for, as the code of a generator task does: a coroutine by PEP 342, for a
/// trampoline to drive.
pub type Coroutine<R = ()> = Generator<Wait, (), R>;

/// Starts a task that drives the generator whose code is `body`.
///
/// It is put at the end of the queue and first resumed when its turn comes.
///
/// # Panics
///
/// Outside of a run, and when the run is ending; but in a destructor, while a stack is being unwound then, the
/// task is cancelled before it begins, and a warning says so.
#[track_caller]
pub fn spawn<T: 'static>(body: impl FnOnce(&Yielder<Wait>) -> T + 'static) -> JoinHandle<T> {
    task::Builder::new().spawn_generator(body)
}

impl task::Builder {
    /// Starts a task that drives the generator whose code is `body`: see [`generator::spawn`](spawn).
    ///
    /// # Panics
    ///
    /// As [`generator::spawn`](spawn).
    #[track_caller]
    pub fn spawn_generator<T: 'static>(
        self,
        body: impl FnOnce(&Yielder<Wait>) -> T + 'static,
    ) -> JoinHandle<T> {
        launch(self.setup(Era::Generator), |promise| Trampoline {
            start: Some((promise, body)),
            generator: None,
        })
    }
}

struct Trampoline<T, F> {
    start: Option<(Promise<T>, F)>,
    generator: Option<Generator<Wait>>,
}

impl<T: 'static, F: FnOnce(&Yielder<Wait>) -> T + 'static> Body for Trampoline<T, F> {
    fn turn(&mut self) -> Switch {
        if let Some(generator) = &mut self.generator {
            // A cancelled generator inside `y.wait` is resumed, so that its operation is polled once more before it is
            // closed.
            let stop = cancel::is_cancelled() && !generator.is_in_wait();
            let sent = if stop { Sent::Close } else { Sent::Value(()) };
            let mut step = generator.step(Some(sent));
            while cancel::is_cancelled() && matches!(step, Some(GeneratorState::Yielded(_))) {
                if swallowed::count_root() {
                    unwinding::mark_left();
                    return Switch::Suspended;
                }
                step = generator.step(Some(Sent::Close));
            }
            return bounce(step);
        }
        let (promise, _) = self.start.as_ref().expect("a generator starts once");
        // Without a stack, the body is dropped with this.
        let Some(fiber) = fiber(promise) else { return Switch::Finished };
        let (promise, body) = self.start.take().expect("as just seen");
        let generator = Generator::new(move |y: &Yielder<Wait>| {
            promise.begin(|| body(y));
        });
        let generator = self.generator.insert(generator);
        generator.drive_by_task(fiber);
        bounce(generator.step(None))
    }
}

/// What the generator has yielded is what its task waits for.
fn bounce(step: Option<GeneratorState<Wait, std::thread::Result<()>>>) -> Switch {
    match step {
        Some(GeneratorState::Yielded(wait)) => door::store_wait(wait),
        Some(GeneratorState::Complete(_)) => return Switch::Finished,
        None => {} // It waited the green way: `door.rs` has stored its wait.
    }
    Switch::Suspended
}

impl<Y: From<Wait> + 'static, S: 'static> Yielder<Y, S> {
    /// Waits for an operation: the generator era's verb. Yields a [`Wait`] until the operation is ready.
    ///
    /// The resumer, a scheduler or code that drives the generator by hand, should resume it when what the `Wait`
    /// describes has happened; resuming it sooner is harmless, it then yields again.
    ///
    /// # Panics
    ///
    /// As [`yield_`](Yielder::yield_).
    ///
    /// # Cancellation
    ///
    /// When the generator is closed, the operation is dropped and the stack unwinds from here.
    #[track_caller]
    pub fn wait<O: IntoFuture>(&self, operation: O) -> O::Output {
        if wait::is_spent() {
            self.yield_now();
        }
        let mut operation = pin!(operation.into_future());
        loop {
            match door::poll_to_yield(operation.as_mut()) {
                Ok(value) => return value,
                Err(wait) => {
                    door::note_site();
                    self.yield_wait(wait.into());
                }
            }
        }
    }

    /// Gives each other ready task a turn.
    ///
    /// # Panics
    ///
    /// As [`yield_`](Yielder::yield_).
    ///
    /// # Cancellation
    ///
    /// When the generator is closed, the stack unwinds from here.
    #[track_caller]
    pub fn yield_now(&self) {
        door::note_site();
        drop(self.yield_(Wait::TURN.into()));
    }
}
