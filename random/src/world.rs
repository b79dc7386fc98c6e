//! What the tasks of a program share, and the values whose destructors run code.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};
use std::{any, fmt, thread};

use wouldblock::generator::Generator;
use wouldblock::net::unix::UnixStream;
use wouldblock::sync::channel::{self, Receiver, Sender};
use wouldblock::sync::{Barrier, Condvar, Event, Semaphore};
use wouldblock::{JoinHandle, Runtime, Wait, green, sync};

use crate::interpret::{self, Ctx};
use crate::program::{self, Op, Payload};
use crate::token::{Kind, Token};

pub(crate) type Operation = Pin<Box<dyn Future<Output = ()>>>;
pub(crate) type ByHand = Generator<Wait, (), Value>;

/// How many operations a program may execute.
const FUEL: u32 = 800;

pub(crate) struct World {
    pub(crate) limited: bool,
    pub(crate) fuel: Cell<u32>,
    /// Some cleanup never ends: its task, and what it has, may be leaked.
    pub(crate) stuck: Cell<bool>,
    pub(crate) tasks: RefCell<Vec<JoinHandle<Value>>>,
    pub(crate) generators: RefCell<Vec<Option<ByHand>>>,
    pub(crate) operations: RefCell<Vec<Operation>>,
    pub(crate) channels: [RefCell<Ends>; 2],
    pub(crate) mutexes: [Rc<sync::Mutex<Token>>; 2],
    pub(crate) semaphore: Rc<Semaphore>,
    pub(crate) event: Rc<Event>,
    pub(crate) condvar: Rc<Condvar>,
    pub(crate) barrier: Rc<Barrier>,
    /// Of what was executed, in which order and when.
    pub(crate) course: Cell<u64>,
    /// When the first operation was executed by the clock of the runtime that runs.
    pub(crate) start: Cell<Option<Instant>>,
    pub(crate) sockets: RefCell<Vec<Rc<UnixStream>>>,
    pub(crate) runtimes: RefCell<Vec<Runtime>>,
    pub(crate) threads: RefCell<Vec<thread::JoinHandle<()>>>,
    pub(crate) gates: RefCell<Vec<Arc<Gate>>>,
    /// Other threads take part: values may be dropped there, a little later.
    pub(crate) threaded: Cell<bool>,
    /// The part that runs goes by the machine's clock.
    pub(crate) real_clock: Cell<bool>,
    pub(crate) registered: Cell<u32>,
    pub(crate) called: Cell<u32>,
}

pub(crate) type Ends = (Option<Sender<Token>>, Option<Receiver<Token>>);

thread_local!(static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) });
static WAKERS: Mutex<Vec<Waker>> = Mutex::new(Vec::new());

impl World {
    /// That of the program that begins.
    pub(crate) fn open(limited: bool) -> Rc<World> {
        let channel = |capacity| {
            let (sender, receiver) = channel::bounded(capacity);
            RefCell::new((Some(sender), Some(receiver)))
        };
        let mutex = || Rc::new(sync::Mutex::new(Token::new(Kind::Message)));
        let world = Rc::new(World {
            limited,
            fuel: Cell::new(FUEL),
            stuck: Cell::default(),
            tasks: RefCell::default(),
            generators: RefCell::default(),
            operations: RefCell::default(),
            channels: [channel(1), channel(2)],
            mutexes: [mutex(), mutex()],
            semaphore: Rc::new(Semaphore::new(1)),
            event: Rc::default(),
            condvar: Rc::default(),
            barrier: Rc::new(Barrier::new(2)),
            course: Cell::default(),
            start: Cell::default(),
            sockets: RefCell::default(),
            runtimes: RefCell::default(),
            threads: RefCell::default(),
            gates: RefCell::default(),
            threaded: Cell::default(),
            real_clock: Cell::default(),
            registered: Cell::default(),
            called: Cell::default(),
        });
        WORLD.set(Some(world.clone()));
        world
    }

    /// `None` on another thread than the program's.
    pub(crate) fn here() -> Option<Rc<World>> {
        WORLD.try_with(|world| world.borrow().clone()).ok().flatten()
    }

    /// Runs `f`, in which another runtime runs, by a clock of its own.
    pub(crate) fn apart<T>(&self, f: impl FnOnce() -> T) -> T {
        struct Restore<'a>(&'a World, Option<Instant>);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.start.set(self.1);
            }
        }
        let _restore = Restore(self, self.start.take());
        f()
    }

    pub(crate) fn close() {
        drop(WORLD.take());
    }

    /// Drops what is kept, and what the destructors keep meanwhile.
    pub(crate) fn clear(&self, wakers_too: bool) {
        for _ in 0..10 {
            while let Some(generator) = pop(&self.generators) {
                quietly(|| drop(generator));
            }
            while let Some(operation) = pop(&self.operations) {
                quietly(|| drop(operation));
            }
            while let Some(socket) = pop(&self.sockets) {
                quietly(|| drop(socket));
            }
            while let Some(task) = pop(&self.tasks) {
                quietly(|| drop(task));
            }
            while wakers_too && let Some(waker) = take_waker(0) {
                quietly(|| drop(waker));
            }
        }
    }

    /// Empties the channels, so that their messages are dropped.
    pub(crate) fn drain(&self) {
        for ends in &self.channels {
            let taken = ends.take();
            quietly(|| drop(taken));
        }
    }
}

fn pop<T>(all: &RefCell<Vec<T>>) -> Option<T> {
    all.borrow_mut().pop()
}

/// Takes a thing out: of a number, modulo how many there are; `u8::MAX` is the newest.
pub(crate) fn take<T>(all: &RefCell<Vec<T>>, number: u8) -> Option<T> {
    let mut all = all.borrow_mut();
    let count = all.len();
    let at = if number == u8::MAX { count.wrapping_sub(1) } else { number as usize };
    (count > 0).then(|| all.swap_remove(at % count))
}

/// Keeps a thing, or drops it where there are many.
pub(crate) fn keep<T>(all: &RefCell<Vec<T>>, thing: T) {
    let room = all.borrow().len() < 32;
    match room {
        true => all.borrow_mut().push(thing),
        false => drop(thing),
    }
}

fn wakers() -> MutexGuard<'static, Vec<Waker>> {
    WAKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn keep_waker(waker: Waker) {
    let mut wakers = wakers();
    if wakers.len() < 32 {
        wakers.push(waker);
        return;
    }
    drop(wakers);
    drop(waker);
}

pub(crate) fn take_waker(number: u8) -> Option<Waker> {
    let mut wakers = wakers();
    let count = wakers.len();
    (count > 0).then(|| wakers.swap_remove(number as usize % count))
}

pub(crate) fn wake_all_kept() {
    let all = std::mem::take(&mut *wakers());
    for waker in &all {
        waker.wake_by_ref();
    }
    all.into_iter().for_each(keep_waker);
}

/// A panic of the program's own.
pub(crate) struct Boom(#[expect(dead_code, reason = "counted by its drop")] Token);

impl Boom {
    pub(crate) fn new() -> Boom {
        Boom(Token::new(Kind::Payload))
    }
}

/// A payload whose destructor panics, and so does that of what it panics with.
pub(crate) struct Bad(#[expect(dead_code, reason = "counted by its drop")] Token, u8);

impl Drop for Bad {
    fn drop(&mut self) {
        if self.1 > 0 && !thread::panicking() {
            panic::panic_any(Bad(Token::new(Kind::Payload), self.1 - 1));
        }
    }
}

pub(crate) fn boom(payload: Payload) -> ! {
    match payload {
        Payload::Text => panic!("a panic of the program's"),
        Payload::Token => panic::panic_any(Boom::new()),
        Payload::Bad(depth) => panic::panic_any(Bad(Token::new(Kind::Payload), depth)),
    }
}

/// Whether it is the crate's, which unwinds a stack with it.
pub(crate) fn is_foreign(payload: &(dyn any::Any + Send)) -> bool {
    !(payload.is::<Boom>() || payload.is::<Bad>() || payload.is::<&str>() || payload.is::<String>())
}

/// Drops a payload, and those that its destructor panics with.
pub(crate) fn dispose(mut payload: Box<dyn any::Any + Send>) {
    while let Err(next) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        payload = next;
    }
}

/// Runs `f`; what it panics with is dropped.
pub(crate) fn quietly<T>(f: impl FnOnce() -> T) -> Option<T> {
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(dispose).ok()
}

/// A value whose destructor runs code.
pub(crate) struct Guard<'a> {
    token: Token,
    ctx: Ctx<'a>,
    ops: &'static [Op],
}

impl<'a> Guard<'a> {
    pub(crate) fn new(ctx: Ctx<'a>, ops: &'static [Op]) -> Guard<'a> {
        Guard {
            token: Token::new(Kind::Guard),
            ctx: Ctx { cleanup: true, dropping: true, ..ctx },
            ops,
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.token.check();
        if self.ops.is_empty() {
            return;
        }
        let run = || interpret::run(self.ctx, self.ops);
        match thread::panicking() {
            true => {
                quietly(run);
            }
            false => run(),
        }
    }
}

/// What a task returns.
pub(crate) struct Value {
    _token: Token,
    _guard: Option<Guard<'static>>,
}

impl Value {
    pub(crate) fn new(drops: &'static [Op]) -> Value {
        let guard = (!drops.is_empty()).then(|| Guard::new(Ctx::green(), drops));
        Value { _token: Token::new(Kind::Result), _guard: guard }
    }
}

/// What the tasks of a group fail with.
pub(crate) struct Failure(#[expect(dead_code, reason = "counted by its drop")] pub(crate) Token);

impl From<wouldblock::JoinError> for Failure {
    fn from(error: wouldblock::JoinError) -> Failure {
        drop(error); // First: see `interpret::spawn`.
        Failure(Token::new(Kind::Payload))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a failure")
    }
}

/// What another thread waits at.
#[derive(Default)]
pub(crate) struct Gate(Mutex<Passage>, std::sync::Condvar);

#[derive(Default)]
struct Passage {
    open: bool,
    over: bool,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Passage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, until: impl Fn(&Passage) -> bool) {
        let wait = self.1.wait_while(self.lock(), |passage| !until(passage));
        drop(wait);
    }

    pub(crate) fn open(&self) {
        self.lock().open = true;
        self.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        self.wait(|passage| passage.open);
    }

    /// The thread has done what it waited to do.
    pub(crate) fn leave(&self) {
        self.lock().over = true;
        self.1.notify_all();
    }

    pub(crate) fn await_end(&self) {
        self.wait(|passage| passage.over);
    }
}

/// A waker of the program's own. It passes each wake on before it misbehaves.
pub(crate) struct OwnWaker {
    token: Token,
    kind: program::Waker,
    inner: Option<Waker>,
}

impl OwnWaker {
    pub(crate) fn make(kind: program::Waker, inner: Option<Waker>) -> Waker {
        let inner = if kind == program::Waker::Nothing { None } else { inner };
        Waker::from(Arc::new(OwnWaker { token: Token::new(Kind::Waker), kind, inner }))
    }
}

impl Wake for OwnWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.token.check();
        if let Some(inner) = &self.inner {
            inner.wake_by_ref();
        }
        if thread::panicking() {
            return;
        }
        match self.kind {
            program::Waker::Panics => panic::panic_any(Boom::new()),
            program::Waker::Waits => green::sleep(Duration::from_millis(1)),
            program::Waker::Spawns => {
                let token = Token::new(Kind::Captured);
                drop(green::spawn(move || drop(token)));
            }
            program::Waker::Cancels(task) => interpret::cancel(task),
            _ => {}
        }
    }
}

impl Drop for OwnWaker {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        match self.kind {
            program::Waker::DropPanics => panic::panic_any(Boom::new()),
            program::Waker::DropWaits => green::sleep(Duration::from_millis(1)),
            _ => {}
        }
    }
}
