//! The generator era: a coroutine that yields what it waits for to its resumer.
//!
//! Python 2.5 made generators into coroutines (PEP 342: `send`, `throw`, `close`), and Python 3.3 let one generator
//! delegate to another (PEP 380: `yield from`). A scheduler, then called a trampoline, resumes generators and looks at
//! what they yield: here, a [`Wait`]. Every function between the wait and the scheduler has to pass the yield on.
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
//! A generator needs no scheduler. It can be resumed by hand, and yield values of any type:
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
use std::task::Poll;

use crate::kernel::door;
use crate::kernel::edge::observe::Era;
use crate::kernel::wait::{self, Record, Wait};
use crate::run::join::JoinHandle;
use crate::run::spawn::{Stackful, launch};
use crate::task;

pub use crate::eras::pep342::{Generator, GeneratorState, Thrown, Yielder};

/// A generator that yields what it waits for, as the code of a generator task does, but is driven by other code (a
/// trampoline) and is no task. PEP 342 calls just that a coroutine.
pub type Coroutine<R = ()> = Generator<Wait, (), R>;

/// Starts a task that drives the generator whose code is `body`.
///
/// The task is put at the end of the queue, and first resumed when its turn comes.
///
/// # Panics
///
/// Outside of a run; and when the run is ending, unless the thread is unwinding: then the task is spawned, cancelled
/// before it begins, and a warning is logged.
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
        let code = move |suspender| body(&Yielder::of_task(suspender));
        launch(self.setup(Era::Generator), Stackful::new(code))
    }
}

impl<Y: From<Wait> + 'static, S: 'static> Yielder<Y, S> {
    /// Waits for an operation: the generator era's verb. Yields a [`Wait`] until the operation is ready.
    ///
    /// The resumer (a scheduler, or code that drives the generator by hand) should resume the generator when what the
    /// `Wait` describes has happened. A generator that is resumed sooner yields again.
    ///
    /// # Panics
    ///
    /// As [`yield_`](Yielder::yield_).
    ///
    /// # Cancellation
    ///
    /// When the generator is closed, the operation is dropped and the stack unwinds from here.
    #[inline(always)] // Else the operation is copied.
    #[track_caller]
    pub fn wait<O: IntoFuture>(&self, operation: O) -> O::Output {
        if wait::is_spent() {
            door::note_site();
            self.give_turn(Wait::TURN.into());
        }
        let (record, mut operation) = (Record::new(), pin!(operation.into_future()));
        loop {
            // Only other code that drives a generator reads by which task the wait was created (`waited.rs`).
            let created_by = if self.is_of_task() { (0, 0, 0) } else { door::creator() };
            if let Poll::Ready(value) = door::poll(&record, operation.as_mut()) {
                return value;
            }
            door::note_site();
            self.yield_wait(Wait { created_by, ..record.wait.get() }.into());
        }
    }

    /// Gives every other ready task a turn.
    ///
    /// # Panics
    ///
    /// As [`yield_`](Yielder::yield_).
    ///
    /// # Cancellation
    ///
    /// When the generator is closed, the stack unwinds from here.
    #[inline(always)] // See `Fiber::resume`.
    #[track_caller]
    pub fn yield_now(&self) {
        door::note_site();
        drop(self.yield_(Wait::TURN.into()));
    }
}
