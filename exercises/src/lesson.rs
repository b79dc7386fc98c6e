//! Lessons: code that runs on the crate, watched.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Mutex, Once};

use log::{LevelFilter, Log, Metadata, Record};
use wouldblock::observe::{EventKind, Observer, TaskEvent};
use wouldblock::timeline::Timeline;
use wouldblock::{Builder, Era, Wait, WaitFor, green, task};

use crate::check::{Doing, draw, fail, grouped, locked, pages, situation};

/// After so many turns, a lesson is at its end.
pub const TURNS: usize = 100_000;

/// Runs `code` on the crate: virtual clock, round robin, drawn. A deadlock fails the check with the crate's report, and
/// so do 100 000 turns. Returns what `code` returns.
#[track_caller]
pub fn lesson<T: 'static>(code: impl FnOnce() -> T + 'static) -> T {
    run(Builder::new().virtual_clock(), code)
}

/// As [`lesson`], on the machine's clock, for sockets and other threads.
#[track_caller]
pub fn lesson_on_real_clock<T: 'static>(code: impl FnOnce() -> T + 'static) -> T {
    run(Builder::new(), code)
}

#[track_caller]
fn run<T: 'static>(builder: Builder, code: impl FnOnce() -> T + 'static) -> T {
    logger();
    let timeline = match pages() {
        Some(_) => Timeline::titled("the lesson").with_lines(),
        None => Timeline::new(),
    };
    draw(&timeline);
    let watch = Rc::new(Watch::default());
    let builder = builder.round_robin().observe(timeline).observe(Watched(watch.clone()));
    let watching = watch.clone();
    let ended = builder.try_run(move || {
        let handle = task::Builder::new().name("lesson").spawn(code);
        let handle = Rc::new(RefCell::new(handle));
        let lesson = handle.clone();
        *watching.cancel.borrow_mut() = Some(Box::new(move || lesson.borrow().cancel()));
        let result = green::wait(poll_fn(|cx| Pin::new(&mut *handle.borrow_mut()).poll(cx)));
        OVER.set(true);
        result
    });
    OVER.set(false);
    watch.cancel.take();
    match ended {
        Ok(Ok(value)) => value,
        Ok(Err(_)) if watch.turns.get() >= TURNS => fail(watch.at_its_end()),
        Ok(Err(error)) => match error.into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(error) => fail(error),
        },
        Err(deadlock) => fail(deadlock),
    }
}

/// Counts turns, ends the lesson after too many, and knows what each task does.
#[derive(Default)]
struct Watch {
    turns: Cell<usize>,
    of: RefCell<HashMap<u64, (String, usize)>>,
    cancel: RefCell<Option<Box<dyn Fn()>>>,
}

impl Watch {
    fn at_its_end(&self) -> String {
        let of = self.of.borrow();
        let most = of.values().max_by_key(|(_, turns)| *turns);
        let (name, turns) = most.cloned().unwrap_or_default();
        format!(
            "{} turns, and no end; `{name}` had {} of them: a loop that yields, and waits for nothing",
            grouped(TURNS),
            grouped(turns)
        )
    }
}

struct Watched(Rc<Watch>);

impl Observer for Watched {
    fn observe(&self, event: &TaskEvent<'_>) {
        let watch = &self.0;
        let mut of = watch.of.borrow_mut();
        if let EventKind::Spawned { name, site, era, .. } = &event.kind {
            let spawned = Spawned { task: event.task, era: *era, site, turns: 0, sleeps: 0 };
            SPAWNED.with_borrow_mut(|all| all.push(spawned));
            let name = match name {
                Some(name) => format!("{} {name}", event.task),
                None => format!("{} {}:{}", event.task, site.file(), site.line()),
            };
            of.insert(event.task, (name, 0));
        }
        let Some((name, turns)) = of.get_mut(&event.task) else { return };
        let doing = match &event.kind {
            EventKind::Turn => Doing::Running,
            EventKind::Waits(wait) => Doing::Waits(wait.what.to_string()),
            EventKind::Ends(_) => Doing::Ended,
            EventKind::Cancelled(_) => return,
            _ if matches!(event.kind, EventKind::Woken(_)) => return,
            _ => Doing::Ready,
        };
        let sleeps = matches!(&event.kind, EventKind::Waits(Wait { what: WaitFor::Time, .. }));
        SPAWNED.with_borrow_mut(|all| {
            let spawned = all.iter_mut().rev().find(|spawned| spawned.task == event.task);
            let spawned = spawned.expect("it was spawned in this lesson, the last on this thread");
            spawned.turns += usize::from(doing == Doing::Running);
            spawned.sleeps += usize::from(sleeps);
        });
        if doing == Doing::Running {
            *turns += 1;
            watch.turns.set(watch.turns.get() + 1);
        }
        situation(|s| s.does(event.task, name, doing));
        drop(of);
        if watch.turns.get() >= TURNS {
            // Each further turn: what swallows a cancellation is cancelled again.
            watch.cancel.borrow().iter().for_each(|cancel| cancel());
        }
    }
}

/// A task of a lesson.
struct Spawned {
    task: u64,
    era: Era,
    site: &'static Location<'static>,
    turns: usize,
    sleeps: usize,
}

thread_local! {
    static SPAWNED: RefCell<Vec<Spawned>> = const { RefCell::new(Vec::new()) };
    /// The lesson on this thread is over: what is left in it is being cancelled.
    static OVER: Cell<bool> = const { Cell::new(false) };
}

/// Whether tasks of this thread are being cancelled because their lesson is over. What they do then is no fault of the student's.
pub(crate) fn is_over() -> bool {
    OVER.try_with(Cell::get).unwrap_or(false)
}

/// The eras of the tasks that code in the file of this name has spawned in lessons of this check, and the lines.
pub fn spawned_in(file: &str) -> Vec<(Era, u32)> {
    SPAWNED.with_borrow(|all| {
        let there = all.iter().filter(|it| it.site.file().ends_with(&format!("/{file}")));
        there.map(|it| (it.era, it.site.line())).collect()
    })
}

/// How many turns the tasks of lessons of this check have had so far, and how often they have slept, but for the tasks that code
/// in the file of this name has spawned.
pub fn turns_and_sleeps_but_of(file: &str) -> (usize, usize) {
    SPAWNED.with_borrow(|all| {
        let others = all.iter().filter(|it| !it.site.file().ends_with(&format!("/{file}")));
        others.fold((0, 0), |(turns, sleeps), it| (turns + it.turns, sleeps + it.sleeps))
    })
}

/// How a warning names the task that the test's own code runs in.
const LESSON: &str = "\"lesson\" (";

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The warnings and errors that the crate has logged in this process so far.
pub fn warnings() -> Vec<String> {
    locked(&WARNINGS).clone()
}

/// Keeps what the crate logs, and prints it, so that it stands with the test's output; but for what is no fault of the
/// student's: the test's own task kept the thread, or a task of a lesson that is over was cancelled in the middle of something.
fn logger() {
    struct Kept;
    impl Log for Kept {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &Record<'_>) {
            let text = record.args().to_string();
            if !is_over() && !text.contains(LESSON) {
                println!("{}: {text}", record.target());
            }
            locked(&WARNINGS).push(text);
        }
        fn flush(&self) {}
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Kept).expect("no other logger is set");
        log::set_max_level(LevelFilter::Warn);
    });
}
