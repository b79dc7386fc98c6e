//! A program runs: its parts in turn, and what has to hold when they have.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use std::{fs, panic, thread};

use wouldblock::observe::{EventKind, Observer, TaskEvent};
use wouldblock::timeline::Timeline;
use wouldblock::{Builder, Runtime, Stats, green, stats, task};

use crate::child::LEFT;
use crate::interpret::{self, Ctx, STACK};
use crate::program::{HandEnd, Op, Part, Program, RunSetup, Watching};
use crate::report::{fail, shared};
use crate::token::{self, Kind, Token};
use crate::world::{Boom, World, quietly, wake_all_kept};

/// Runs `program`, and tells of what does not hold. Returns `false` if it has left behind what no other program
/// should come across. (The program itself is never freed.)
pub(crate) fn run(program: &'static Program) -> bool {
    if program.on_thread {
        // Frames that are on a thread's own stack are as large as others.
        let thread = thread::Builder::new().stack_size(8 << 20).spawn(move || run_here(program));
        return thread.expect("a thread").join().unwrap_or_else(|_| {
            fail(format_args!("a program's thread panicked"));
            false
        });
    }
    run_here(program)
}

fn run_here(program: &'static Program) -> bool {
    let (is_clean, course) = run_once(program);
    if !program.twice || !is_clean {
        return is_clean;
    }
    let (is_clean, again) = run_once(program);
    if course != again {
        fail(format_args!("another course: {course:x} at first, and then {again:x}"));
    }
    is_clean
}

fn run_once(program: &'static Program) -> (bool, u64) {
    token::reset();
    let (stacks, files) = (stacks_used(), open_files());
    let world = World::open(program.limited);
    for part in &program.parts {
        if let Part::Run { setup, .. } | Part::Hand { setup, .. } = part {
            world.real_clock.set(setup.real_clock);
        }
        match part {
            Part::Run { setup, body } => run_part(&world, *setup, body),
            Part::Hand { setup, enter, turns, end } => by_hand(&world, *setup, enter, *turns, *end),
            Part::Outside(body) => {
                quietly(|| interpret::run(Ctx::green(), body));
            }
        }
        world.start.set(None);
        check_outside();
        if !shared().root_is_stuck.load(SeqCst) {
            while let Some(socket) = { world.sockets.borrow_mut().pop() } {
                drop(socket);
            }
        }
    }
    end(&world);
    let (stuck, threads) = (world.stuck.get(), world.threaded.get());
    if !stuck && world.registered.get() != world.called.get() {
        let (registered, called) = (world.registered.get(), world.called.get());
        fail(format_args!("callbacks: {registered} registered, {called} called"));
    }
    let course = world.course.get();
    let left = Rc::strong_count(&world);
    drop(world);
    World::close();
    if stuck {
        return (false, course);
    }
    // Results of work on other threads are dropped there.
    let limit = Instant::now() + Duration::from_secs(2);
    while threads && token::live() != 0 && Instant::now() < limit {
        thread::sleep(Duration::from_micros(200));
    }
    if token::live() != 0 {
        let left = token::left();
        let mut kinds = left.clone();
        kinds.sort();
        kinds.dedup();
        fail(format_args!("not dropped {kinds:?}: {} values: {left:?}", token::live()));
    }
    if left != 2 {
        fail(format_args!("not dropped: {} more owners of what the tasks share", left - 2));
    }
    if stacks_used() != stacks {
        fail(format_args!("stacks in use: {stacks} before, {} after", stacks_used()));
    }
    let mut after = open_files();
    // Another thread may be about to let go of a runtime, as it may have been before.
    while threads && after > files && Instant::now() < limit {
        thread::sleep(Duration::from_micros(200));
        after = open_files();
    }
    if after > files {
        fail(format_args!("open files: {files} before, {after} after"));
    }
    (true, course)
}

/// Drops what the program has left, and waits for its threads.
fn end(world: &World) {
    world.gates.borrow().iter().for_each(|gate| gate.open());
    world.gates.borrow().iter().for_each(|gate| gate.await_end());
    for _ in 0..3 {
        while let Some(runtime) = { world.runtimes.borrow_mut().pop() } {
            quietly(|| world.apart(|| drop(runtime)));
        }
        while let Some(thread) = { world.threads.borrow_mut().pop() } {
            drop(thread.join());
        }
        world.clear(true);
    }
    world.drain();
}

fn builder(setup: RunSetup) -> Builder {
    let mut builder = Builder::new().stack_size(STACK).round_robin();
    if !setup.watchdog {
        builder = builder.watchdog(None);
    }
    if let Some(seed) = setup.seed {
        builder = builder.seed(seed.into());
    }
    if !setup.real_clock {
        builder = builder.virtual_clock();
    }
    if setup.observer == Watching::Draws {
        let timeline = Timeline::new();
        DRAWN.set(Some(timeline.clone()));
        return builder.observe(timeline);
    }
    if setup.observer != Watching::Nothing {
        builder = builder.observe(Watcher {
            watching: setup.observer,
            events: Cell::new(0),
            _token: Token::new(Kind::Captured),
        });
    }
    builder
}

struct Watcher {
    watching: Watching,
    events: Cell<u32>,
    _token: Token,
}

impl Observer for Watcher {
    fn observe(&self, event: &TaskEvent<'_>) {
        let events = self.events.replace(self.events.get() + 1);
        // Looks at all of it.
        drop(format!("{event:?}"));
        match self.watching {
            Watching::Nothing | Watching::Counts | Watching::Draws => {}
            Watching::Wakes if matches!(event.kind, EventKind::Cancelled(_)) => wake_all_kept(),
            // Not for ever: a wake leads to other events.
            Watching::WakesOften(every) if events < 2000 && events.is_multiple_of(every.into()) => {
                wake_all_kept();
            }
            Watching::Wakes | Watching::WakesOften(_) => {}
            Watching::PanicsAt(at) if events == at.into() && !thread::panicking() => {
                panic!("an observer panics");
            }
            Watching::PanicsWith(at) if events == at.into() && !thread::panicking() => {
                panic::panic_any(Boom::new());
            }
            Watching::PanicsAt(_) | Watching::PanicsWith(_) => {}
            Watching::Misbehaves => {
                if events.is_multiple_of(2) {
                    quietly(green::yield_now);
                } else {
                    quietly(|| drop(green::spawn(|| ())));
                }
            }
        }
    }
}

fn run_part(world: &Rc<World>, setup: RunSetup, body: &'static [Op]) {
    let result = quietly(|| {
        builder(setup).try_run(|| {
            let token = Token::new(Kind::Captured);
            interpret::run(Ctx::green(), body);
            token.check();
            if setup.settle {
                settle(world);
            }
            if setup.clear {
                world.clear(false);
            }
            Token::new(Kind::Result)
        })
    });
    if shared().root_is_stuck.load(SeqCst) {
        fail(format_args!("run has returned although its root cannot end its cleanup"));
    }
    // What waits for cleanup that never ends, waits for ever.
    if let Some(Err(deadlock)) = result
        && world.limited
        && !world.stuck.get()
    {
        fail(format_args!("deadlock although each wait has a limit: {deadlock}"));
    }
}

/// The root waits until it is alone, which comes to pass since each wait has a limit, and looks at what is left.
fn settle(world: &World) {
    for _ in 0..2000 {
        if stats().alive <= 1 {
            break;
        }
        green::sleep(Duration::from_millis(10));
    }
    if world.stuck.get() || !world.threads.borrow().is_empty() {
        return;
    }
    let alive = stats().alive;
    if alive > 1 {
        fail(format_args!("a task does not end: {}", wouldblock::tasks()));
    }
    world.clear(true);
    let timers = stats().timers;
    if timers != 0 && stats().alive <= 1 {
        fail(format_args!("timers left: {timers}"));
    }
}

fn by_hand(world: &World, setup: RunSetup, enter: &'static [Op], turns: u8, end: HandEnd) {
    let runtime: Runtime = builder(setup).build().expect("an event queue");
    quietly(|| runtime.enter(|| interpret::run(Ctx::green(), enter)));
    for _ in 0..turns {
        match quietly(|| runtime.turn()) {
            None => fail(format_args!("a turn of a runtime panicked")),
            Some(true) => {}
            Some(false) => break,
        }
    }
    match end {
        HandEnd::Keep => world.runtimes.borrow_mut().push(runtime),
        HandEnd::Drop => {
            if quietly(|| drop(runtime)).is_none() {
                fail(format_args!("the drop of a runtime panicked"));
            }
        }
        HandEnd::DropWhileUnwinding => {
            quietly(|| {
                let _runtime = runtime;
                panic::panic_any(Boom::new());
            });
            if LEFT.swap(false, SeqCst) {
                world.stuck.set(true);
            }
        }
    }
}

thread_local!(static DRAWN: Cell<Option<Timeline>> = const { Cell::new(None) });

fn check_outside() {
    if let Some(timeline) = DRAWN.take() {
        drop(timeline.terminal(80).to_string());
    }

    if let Some(task) = quietly(|| task::current().is_some()).filter(|some| *some) {
        fail(format_args!("a task runs outside of any run: {task}"));
    }
    let stats = stats();
    if stats != Stats::default() {
        fail(format_args!("a scheduler outside of any run: {stats:?}"));
    }
    if thread::panicking() {
        fail(format_args!("panicking outside of any panic"));
    }
}

fn stacks_used() -> usize {
    Builder::new().stack_size(STACK).watchdog(None).run(|| stats().stacks_used)
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
