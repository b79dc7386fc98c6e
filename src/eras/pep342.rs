//! Generators as Python 2.5 to 3.3 had them: PEP 342's `send`, `throw` and `close`, PEP 380's `yield from`.
//!
//! A [`Generator`] needs no scheduler and no task: other code, its *resumer*, drives it, and exchanges values with it over
//! a *wire*. The body of a task of the generator era (`eras/generator.rs`) has neither: its [`Yielder`] yields to the
//! scheduler, which sends nothing.
//!
//! ```text
//!              resume, send(s), throw(p), close            yield_(y), yield_from(g)
//!   resumer ──────────────── sent ───────────────▶ Wire ─────────▶ body, on a fiber
//!           ◀───────── Yielded(y), Complete(r) ──────────────────
//! ```

use std::any::Any;
use std::borrow::BorrowMut;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::inspect::overflow;
use crate::kernel::cancel;
use crate::kernel::coroutine::{Fiber, Suspender, Switch};
use crate::kernel::door;
use crate::kernel::edge::foreign::{Boundary, Unwind, discard, message};
use crate::kernel::edge::open::Open;
use crate::kernel::edge::swallowed;
use crate::kernel::edge::unwinding;
use crate::kernel::edge::warn;
use crate::kernel::wait::Wait;
use crate::run::stack_size;

/// A coroutine that yields `Y`s to its resumer, is sent `S`s by it, and returns an `R`.
///
/// It runs on a stack of its own, so that it may yield from any depth that its [`Yielder`] is passed to.
/// Nothing runs before it is first resumed. Dropping it closes it. If the body swallows that and yields, it is closed
/// again at that `yield_`; when it has done so a thousand times, the stack is leaked, and an error is logged.
///
/// ```
/// use wouldblock::generator::{Generator, GeneratorState::*, Yielder};
///
/// let mut average = Generator::new(|y: &Yielder<f64, f64>| {
///     let (mut sum, mut n) = (0.0, 0);
///     while n < 3 {
///         sum += y.yield_(if n == 0 { 0.0 } else { sum / n as f64 });
///         n += 1;
///     }
///     sum
/// });
/// average.prime();
/// assert_eq!(average.send(10.0), Yielded(10.0));
/// assert_eq!(average.send(20.0), Yielded(15.0));
/// assert_eq!(average.send(30.0), Complete(60.0));
/// ```
pub struct Generator<Y: 'static, S: 'static = (), R: 'static = ()> {
    start: Option<Start<Y, S, R>>,
    fiber: Option<Fiber>,
    stack_size: u32,
    wire: Rc<Wire<Y, S>>,
    returned: Rc<Cell<Option<std::thread::Result<R>>>>,
}

type Start<Y, S, R> = Box<dyn FnOnce(&Yielder<Y, S>) -> R>;

/// What a generator did when it was resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeneratorState<Y, R> {
    /// It yielded a value and can be resumed.
    Yielded(Y),
    /// It returned.
    Complete(R),
}

/// What a generator and its resumer exchange.
struct Wire<Y, S> {
    sent: Cell<Option<Sent<S>>>,
    yielded: Cell<Option<Y>>,
    /// Names the generator as the boundary of the unwinding that closes it; 0: it has not been closed.
    serial: Cell<u64>,
    /// The thread was panicking when the generator was last resumed.
    was_panicking: Cell<bool>,
    /// What it has yielded last is the wait of an operation, which is polled once more if the task around is cancelled.
    in_wait: Cell<bool>,
}

pub(crate) enum Sent<S> {
    Value(S),
    Throw(Box<dyn Any + Send>),
    Close,
}

impl<Y: 'static, S: 'static, R: 'static> Generator<Y, S, R> {
    /// A generator with the code `body`, which has not begun.
    ///
    /// `body` must own what it uses. A generator whose code borrows has to be a task of a scope:
    /// [`green::Scope::spawn_generator`](crate::green::Scope::spawn_generator) starts it.
    pub fn new(body: impl FnOnce(&Yielder<Y, S>) -> R + 'static) -> Generator<Y, S, R> {
        let wire = Wire {
            sent: Cell::default(),
            yielded: Cell::default(),
            serial: Cell::new(0),
            was_panicking: Cell::new(false),
            in_wait: Cell::new(false),
        };
        let start = Some(Box::new(body) as Start<Y, S, R>);
        let stack_size = stack_size::DEFAULT;
        Generator { start, fiber: None, wire: Rc::new(wire), returned: Rc::default(), stack_size }
    }

    /// As [`new`](Generator::new), on a stack of `bytes` bytes, rounded up to whole pages; up to 960 bytes of it stay
    /// unused. The default is 256 KiB, in a debug build 1 MiB.
    ///
    /// # Panics
    ///
    /// Below 32 KiB, which a panic with a backtrace needs, and from 4 GiB.
    #[track_caller]
    pub fn with_stack_size(
        bytes: usize,
        body: impl FnOnce(&Yielder<Y, S>) -> R + 'static,
    ) -> Generator<Y, S, R> {
        let mut generator = Generator::new(body);
        generator.stack_size = stack_size::checked(bytes);
        generator
    }

    /// Runs the body to its first `yield_`, which then can return what is sent. (In Python: `next(g)`.)
    ///
    /// # Panics
    ///
    /// When the generator has begun already, and with whatever the body panics with.
    #[track_caller]
    pub fn prime(&mut self) -> GeneratorState<Y, R> {
        assert!(self.start.is_some(), "`prime` is for a generator that has not begun");
        self.advance(None)
    }

    /// Makes the `yield_` at which the generator is suspended return `value`, and runs the body to its next `yield_`.
    ///
    /// # Panics
    ///
    /// When the generator has not begun (there is no `yield_` yet to return from: [`prime`](Generator::prime) it), or
    /// is finished; and with whatever the body panics with: the generator is finished then.
    #[track_caller]
    pub fn send(&mut self, value: S) -> GeneratorState<Y, R> {
        assert!(
            self.start.is_none(),
            "a value was sent to a generator that has not begun: `prime` it first"
        );
        self.advance(Some(Sent::Value(value)))
    }

    /// Makes the `yield_` at which the generator is suspended unwind with `payload`, as if the body had
    /// panicked there, and runs the body to its next `yield_` if the body catches that
    /// ([`try_yield`](Yielder::try_yield)). A generator that has not begun never begins.
    ///
    /// # Panics
    ///
    /// With `payload` if the body lets it pass; when the generator is finished.
    #[track_caller]
    pub fn throw(&mut self, payload: Box<dyn Any + Send>) -> GeneratorState<Y, R> {
        if self.start.take().is_some() {
            unwinding::unwind_with(payload);
        }
        self.advance(Some(Sent::Throw(payload)))
    }

    /// Ends the generator: the `yield_` at which it is suspended unwinds, and the destructors on its
    /// stack run. If it has not begun, it never begins; if it is finished, this does nothing. Returns the value of a body
    /// that catches the closing, by [`try_yield`](Yielder::try_yield), and returns one (as in Python 3.13); else `None`.
    ///
    /// # Panics
    ///
    /// When the body yields again instead of ending ("generator ignored GeneratorExit", in Python), and
    /// with whatever the body panics with while it unwinds.
    #[track_caller]
    pub fn close(&mut self) -> Option<R> {
        if self.start.take().is_some() || self.is_finished() {
            return None;
        }
        // Also while this thread is unwinding: the unwinding of the generator's stack is caught at its root.
        match self.step(Some(Sent::Close)) {
            GeneratorState::Yielded(_) => panic!("a generator yielded while it was being closed"),
            // The unwinding of a time limit, or of the task that closes it, goes on.
            GeneratorState::Complete(Err(payload)) if !self.wire.is_closing(&*payload) => {
                unwinding::unwind_with(payload)
            }
            GeneratorState::Complete(result) => result.ok(),
        }
    }

    /// Whether the body has returned or unwound.
    pub fn is_finished(&self) -> bool {
        self.start.is_none() && self.fiber.is_none()
    }

    #[inline(always)]
    #[track_caller]
    fn advance(&mut self, sent: Option<Sent<S>>) -> GeneratorState<Y, R> {
        match self.advance_caught(sent) {
            GeneratorState::Yielded(value) => GeneratorState::Yielded(value),
            GeneratorState::Complete(Ok(value)) => GeneratorState::Complete(value),
            GeneratorState::Complete(Err(payload)) => unwinding::unwind_with(payload),
        }
    }

    #[inline(always)]
    #[track_caller]
    fn advance_caught(
        &mut self,
        sent: Option<Sent<S>>,
    ) -> GeneratorState<Y, std::thread::Result<R>> {
        assert!(!self.is_finished(), "a generator was resumed after it had finished");
        self.step(sent)
    }

    #[cold]
    #[track_caller]
    fn begin(&mut self) -> Switch {
        let body = self.start.take().expect("it has begun and is not finished");
        overflow::install();
        let fiber = Fiber::take(self.stack_size as usize);
        let fiber = fiber.unwrap_or_else(|e| panic!("a generator: {e}"));
        let y = Yielder { wire: Some(self.wire.clone()), suspender: fiber.suspender() };
        let returned = self.returned.clone();
        self.fiber.insert(fiber).start(move || {
            let result = unwinding::catch(|| body(&y));
            returned.set(Some(result));
        })
    }

    /// Resumes the generator once. (If its body waits the green way, the task that has called this waits.)
    #[inline(always)] // See `Fiber::resume`.
    #[track_caller]
    fn step(&mut self, sent: Option<Sent<S>>) -> GeneratorState<Y, std::thread::Result<R>> {
        self.wire.sent.set(sent);
        self.wire.was_panicking.set(std::thread::panicking());
        let switch = match &mut self.fiber {
            Some(fiber) => fiber.resume(),
            None => self.begin(),
        };
        match switch {
            Switch::Suspended => GeneratorState::Yielded(
                self.wire.yielded.take().expect("only `yield_` suspends it"),
            ),
            Switch::Finished => GeneratorState::Complete(self.end()),
        }
    }

    #[cold]
    fn end(&mut self) -> std::thread::Result<R> {
        self.fiber = None;
        self.returned.take().expect("a job that is finished has a result")
    }
}

impl<Y: 'static, R: 'static> Generator<Y, (), R> {
    /// Runs the body to its next `yield_`, or to its end. (In Python: `next(g)`, with the value of the
    /// `StopIteration`.)
    ///
    /// # Panics
    ///
    /// When the generator is finished; and with whatever the body panics with: the generator is finished then.
    #[inline]
    #[track_caller]
    pub fn resume(&mut self) -> GeneratorState<Y, R> {
        self.advance(Some(Sent::Value(())))
    }
}

/// A generator that is sent nothing is an iterator over what it yields; the value that it returns is dropped.
impl<Y: 'static, R: 'static> Iterator for Generator<Y, (), R> {
    type Item = Y;

    fn next(&mut self) -> Option<Y> {
        if self.is_finished() {
            return None;
        }
        match self.resume() {
            GeneratorState::Yielded(value) => Some(value),
            GeneratorState::Complete(_) => None,
        }
    }
}

impl<Y: 'static, S: 'static, R: 'static> Drop for Generator<Y, S, R> {
    fn drop(&mut self) {
        if self.start.take().is_some() || self.fiber.is_none() {
            return;
        }
        // Also while this thread is unwinding: the unwinding of the generator's stack is caught at its root. A body
        // that swallows it and yields is closed again, as a cancelled task is unwound again at its next wait.
        let mut step = self.step(Some(Sent::Close));
        for _ in 0..unwinding::MOST_RAISED {
            let GeneratorState::Yielded(_) = step else { break };
            step = self.step(Some(Sent::Close));
        }
        match step {
            GeneratorState::Complete(Ok(_)) => {}
            GeneratorState::Complete(Err(payload)) => {
                if let Some(unwind) = payload.downcast_ref() {
                    return swallowed::forgive(unwind); // Its own ends here; a limit's or the task's is raised by the next wait.
                }
                let text = format!(
                    "a generator panicked while it was being dropped: {}",
                    message(&*payload)
                );
                discard(payload);
                warn::error(format_args!("{text}"));
            }
            GeneratorState::Yielded(_) => {
                warn::error(format_args!(
                    "a generator yielded {} times while it was being dropped; its stack is leaked",
                    unwinding::MOST_RAISED
                ));
            }
        }
    }
}

impl<Y, S, R> fmt::Debug for Generator<Y, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (&self.start, &self.fiber) {
            (Some(_), _) => "not begun",
            (None, Some(_)) => "suspended",
            (None, None) => "finished",
        };
        write!(f, "Generator({state})")
    }
}

/// The inside end of a [`Generator`]: with it, the body yields and waits.
pub struct Yielder<Y, S = ()> {
    /// `None`: the generator is a task, and the scheduler resumes it.
    wire: Option<Rc<Wire<Y, S>>>,
    suspender: Suspender,
}

/// What made a [`try_yield`](Yielder::try_yield) fail.
#[derive(Debug)]
pub enum Thrown {
    /// [`Generator::throw`] was called, with this.
    Error(Box<dyn Any + Send>),
    /// The generator is being closed: return soon, and do not yield again. (Python's `GeneratorExit`.)
    Exit,
}

impl Yielder<Wait> {
    /// The yielder of a generator that is a task, for the fiber of `suspender`.
    pub(crate) fn of_task(suspender: Suspender) -> Yielder<Wait> {
        Yielder { wire: None, suspender }
    }
}

impl<Y: 'static, S: 'static> Yielder<Y, S> {
    /// Gives `value` to the resumer, and returns what the next `send` sends.
    ///
    /// Unwinds from here when the generator is closed or something is thrown into it.
    ///
    /// # Panics
    ///
    /// With what is thrown; and where the generator cannot yield: outside of its own body (in a task that it spawned),
    /// in the middle of a poll, or inside of a [`green::timeout`](crate::green::timeout), and, if the generator is no
    /// task, of a `green::scope` or a cleanup: these would stay in force for the resumer (PEP 789).
    #[inline(always)] // See `Fiber::resume`.
    #[track_caller]
    pub fn yield_(&self, value: Y) -> S {
        self.receive(self.exchange(value, false))
    }

    pub(crate) fn is_of_task(&self) -> bool {
        self.wire.is_none()
    }

    #[inline(always)]
    fn receive(&self, sent: Sent<S>) -> S {
        match sent {
            Sent::Value(value) => value,
            Sent::Throw(payload) => unwinding::unwind_with(payload),
            Sent::Close => self.close(),
        }
    }

    /// As [`yield_`](Yielder::yield_), for a body that wants to catch what is thrown into it.
    ///
    /// # Errors
    ///
    /// [`Thrown`], instead of unwinding.
    ///
    /// # Panics
    ///
    /// Where the generator cannot yield, as `yield_`.
    #[track_caller]
    pub fn try_yield(&self, value: Y) -> Result<S, Thrown> {
        match self.exchange(value, false) {
            Sent::Value(value) => Ok(value),
            Sent::Throw(payload) => Err(Thrown::Error(payload)),
            Sent::Close => Err(Thrown::Exit),
        }
    }

    /// Yields all that `inner` yields, passes on to `inner` what is sent and thrown, and returns what `inner` returns.
    /// When this generator is closed, closes `inner` first. (PEP 380's `yield from`.)
    ///
    /// `inner` is a generator or a `&mut` of one.
    ///
    /// # Panics
    ///
    /// With whatever `inner` panics with; and, if values are sent to `inner`, when it has begun already: there is no
    /// value yet to resume it with.
    #[track_caller]
    pub fn yield_from<R: 'static>(&self, mut inner: impl BorrowMut<Generator<Y, S, R>>) -> R {
        let inner = inner.borrow_mut();
        let first = if inner.start.is_some() { None } else { Some(Sent::Value(nothing())) };
        let mut state = inner.advance(first);
        loop {
            let value = match state {
                GeneratorState::Complete(result) => return result,
                GeneratorState::Yielded(value) => value,
            };
            state = match self.exchange(value, inner.wire.in_wait.get()) {
                Sent::Close => {
                    inner.close();
                    self.close();
                }
                sent => inner.advance(Some(sent)),
            };
        }
    }

    /// Yields each item of an iterator; what is sent meanwhile is dropped. (`yield from` of a list, in Python; of a
    /// generator, it is [`yield_from`](Yielder::yield_from).)
    ///
    /// ```
    /// use wouldblock::generator::Generator;
    ///
    /// let numbers = Generator::<_>::new(|y| {
    ///     y.yield_each(1..=2);
    ///     y.yield_each([10, 20]);
    /// });
    /// assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 10, 20]);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`yield_`](Yielder::yield_).
    #[track_caller]
    pub fn yield_each(&self, items: impl IntoIterator<Item = Y>) {
        for item in items {
            self.yield_(item);
        }
    }

    /// Yields because the budget of the turn is used up: see [`cancel::check_between_operations`].
    #[cold]
    #[track_caller]
    pub(crate) fn give_turn(&self, turn: Y) {
        if self.wire.is_some() {
            return self.yield_wait(turn);
        }
        cancel::check_between_operations();
        self.suspend_task(as_wait(turn));
    }

    /// As [`yield_`](Yielder::yield_), for an operation that is not ready.
    #[inline(always)] // See `Fiber::resume`.
    #[track_caller]
    pub(crate) fn yield_wait(&self, wait: Y) {
        self.receive(self.exchange(wait, true));
    }

    #[inline(always)] // See `Fiber::resume`.
    #[track_caller]
    fn exchange(&self, value: Y, in_wait: bool) -> Sent<S> {
        let Some(wire) = &self.wire else {
            return self.yield_to_scheduler(as_wait(value), in_wait);
        };
        unwinding::refuse_to_yield(wire.was_panicking.get());
        self.suspender.suspend(|open| {
            may_suspend(open, false)?;
            wire.yielded.set(Some(value));
            wire.in_wait.set(in_wait);
            Ok(())
        });
        wire.sent.take().expect("a suspended generator is resumed with something sent")
    }

    /// In a generator that is a task: yields to the scheduler. A cancelled task has to close before it yields: a wait
    /// has polled its operation by then. If it is cancelled while it is suspended in a wait (`in_wait`), it first polls
    /// once more.
    #[inline(always)] // See `Fiber::resume`.
    #[track_caller]
    fn yield_to_scheduler(&self, wait: Wait, in_wait: bool) -> Sent<S> {
        unwinding::refuse_while_unwinding();
        if cancel::is_cancelled() {
            if swallowed::count_close() {
                unwinding::abandon();
            }
            return Sent::Close;
        }
        self.suspend_task(wait);
        // A body that catches this `Close`, which is not counted, and yields again is counted above.
        if !in_wait && cancel::is_cancelled() { Sent::Close } else { Sent::Value(nothing()) }
    }

    #[inline(always)] // See `Fiber::resume`.
    #[track_caller]
    fn suspend_task(&self, wait: Wait) {
        self.suspender.suspend(|open| {
            may_suspend(open, true)?;
            door::store_wait(wait);
            Ok(())
        });
    }

    /// Unwinds to the root of the generator, or, if it is a task, of the task.
    fn close(&self) -> ! {
        cancel::unwind_to(match &self.wire {
            None => cancel::root().expect("it is running"),
            Some(wire) => {
                wire.serial.set(Boundary::serial());
                Boundary::Generator(wire.serial.get())
            }
        })
    }
}

/// Refuses to yield in the middle of a poll (see below) or inside of a time limit; and, in a generator that is not a
/// task, inside of a cleanup or a scope. All but the poll would stay in force for the resumer.
#[inline]
fn may_suspend(open: &Open, of_task: bool) -> Result<(), String> {
    let inside = open.limits.get() + open.shields.get() + open.scopes.get();
    if open.poll.get().is_null() && inside == 0 {
        return Ok(());
    }
    refuse_inside(open, of_task)
}

#[cold]
fn refuse_inside(open: &Open, of_task: bool) -> Result<(), String> {
    let what = if !open.poll.get().is_null() {
        "in the middle of an operation's poll: the operation was lent the waker of the task that runs now, and the \
         generator may be resumed in another"
    } else if open.limits.get() > 0 {
        return Err(format!("a generator cannot yield inside of {}", open.limit_name.get()));
    } else if of_task {
        return Ok(());
    } else if open.shields.get() > 0 {
        "in the cleanup of `green::finally`, which would go on for the code that resumed it"
    } else {
        "inside of `green::scope`, whose tasks belong to the task that resumed it"
    };
    Err(format!("a generator cannot yield {what}"))
}

impl<Y, S> Wire<Y, S> {
    /// Whether `payload` is the unwinding by which this generator is closed.
    fn is_closing(&self, payload: &(dyn Any + Send)) -> bool {
        let boundary = payload.downcast_ref::<Unwind>().map(|unwind| unwind.boundary);
        boundary == Some(Boundary::Generator(self.serial.get()))
    }
}

/// What a generator that is a task yields: there `Y` is `Wait`, though the type does not show it.
#[inline(always)] // It moves the value.
fn as_wait<Y: 'static>(value: Y) -> Wait {
    same(value).expect("a generator that is a task yields `Wait`s")
}

/// The value that is sent where there is nothing to send. There `S` is `()`; but `yield_from` may be called with another.
#[inline(always)]
#[track_caller]
fn nothing<S: 'static>() -> S {
    same(()).expect("`yield_from` one that takes values and has begun already")
}

/// Returns `value`, if `B` is its type.
#[inline(always)]
fn same<A: 'static, B: 'static>(value: A) -> Option<B> {
    let mut value = Some(value);
    let same: Option<&mut Option<B>> = (&mut value as &mut dyn Any).downcast_mut();
    same.and_then(Option::take)
}

impl<Y, S> fmt::Debug for Yielder<Y, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Yielder")
    }
}
