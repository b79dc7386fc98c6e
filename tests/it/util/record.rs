//! What has happened: entries that a test makes, panics, and messages to the logger. Hook and logger are the
//! process's, and are installed once for all of its tests.

use std::cell::{Cell, RefCell};
use std::panic;
use std::rc::Rc;
use std::sync::{Condvar, Mutex, Once};

use log::{Level, LevelFilter, Metadata, Record};

/// What happened, in the order in which it did. Its clones are the same log.
pub struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Log<T> {
        Log(self.0.clone())
    }
}

impl<T> Log<T> {
    pub fn new() -> Log<T> {
        Log(Rc::default())
    }

    pub fn push(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// All entries since the last time this was called.
    pub fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

/// Writes to a log when it is dropped.
pub struct OnDrop<T: Clone>(pub Log<T>, pub T);

impl<T: Clone> Drop for OnDrop<T> {
    fn drop(&mut self) {
        self.0.push(self.1.clone());
    }
}

/// A log of words.
pub type Trace = Log<String>;
pub type AtDrop = OnDrop<String>;

impl Trace {
    pub fn say(&self, what: impl Into<String>) {
        self.push(what.into());
    }

    /// Says `what` when it is dropped.
    pub fn at_drop(&self, what: impl Into<String>) -> AtDrop {
        OnDrop(self.clone(), what.into())
    }
}

// Panics.

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
    static LAST_PANIC: Cell<Option<(String, u32)>> = const { Cell::new(None) };
}

/// How often a panic hook is called on this thread while `f` runs.
pub fn panics_hooked(f: impl FnOnce()) -> usize {
    hook_panics();
    let before = PANICS.get();
    f();
    PANICS.get() - before
}

/// File and line of the last panic on this thread while `f` runs.
pub fn panic_place(f: impl FnOnce()) -> Option<(String, u32)> {
    hook_panics();
    LAST_PANIC.take();
    f();
    LAST_PANIC.take()
}

fn hook_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().expect("std knows it");
            PANICS.set(PANICS.get() + 1);
            LAST_PANIC.set(Some((place.file().to_owned(), place.line())));
            before(info);
        }));
    });
}

// Messages to the logger, warnings or worse.

struct Recorder;

thread_local!(static OF_THREAD: RefCell<Vec<(Level, String)>> = RefCell::default());

static OF_PROCESS: (Mutex<Vec<String>>, Condvar) = (Mutex::new(Vec::new()), Condvar::new());

impl log::Log for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        OF_THREAD.with_borrow_mut(|all| all.push((record.level(), text.clone())));
        OF_PROCESS.0.lock().unwrap().push(text);
        OF_PROCESS.1.notify_all();
    }

    fn flush(&self) {}
}

/// From now on, what is logged is recorded.
pub fn record_log() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&Recorder).expect("no other logger in a test");
        log::set_max_level(LevelFilter::Warn);
    });
}

/// What is logged on this thread while `f` runs.
pub fn logged(f: impl FnOnce()) -> Vec<(Level, String)> {
    record_log();
    OF_THREAD.take();
    f();
    OF_THREAD.take()
}

/// Looks at all that has been logged since [`record_log`], on any thread and by any test.
pub fn all_logged<T>(look: impl FnOnce(&[String]) -> T) -> T {
    look(&OF_PROCESS.0.lock().unwrap())
}

/// Blocks the thread until what has been logged, as of [`all_logged`], is enough.
pub fn await_logged(is_enough: impl Fn(&[String]) -> bool) {
    let all = OF_PROCESS.0.lock().unwrap();
    drop(OF_PROCESS.1.wait_while(all, |all| !is_enough(all)).unwrap());
}
