//! `check`: a test that cannot hang, with one message and one picture.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe, Location};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use wouldblock::timeline::Timeline;

use crate::{hang, lesson};

/// After so long, by the machine's clock, a check is a hang.
pub const LIMIT: Duration = Duration::from_secs(8);

/// So often a job may be resumed, a clock be read and a socket be polled without progress.
pub const MOST: usize = 10_000;

/// Runs a test on a thread of its own, and ends the process if the test does not end.
///
/// The closure is named after the function that it stands in, which is the test's name; `what` says in a sentence
/// what the test is about.
///
/// # Panics
///
/// If the test fails: after the message, where it came from and the picture were printed.
#[track_caller]
pub fn check<F: FnOnce() + Send + 'static>(what: &'static str, test: F) {
    check_within(LIMIT, what, test);
}

/// As [`check`], for a test that takes some milliseconds: it is a hang after `limit`.
///
/// # Panics
///
/// As [`check`].
#[track_caller]
pub fn check_within<F: FnOnce() + Send + 'static>(limit: Duration, what: &'static str, test: F) {
    let name = name_of::<F>();
    hook();
    report(&["start", &name]);
    mark(&name);
    let situation = Arc::new(Situation::new(&name, what, Location::caller(), limit));
    let (done, ended) = mpsc::channel();
    let theirs = situation.clone();
    let begun = Instant::now();
    let thread = thread::Builder::new().name(name.clone()).stack_size(8 << 20).spawn(move || {
        theirs.thread.set();
        enter(&theirs);
        let result = panic::catch_unwind(AssertUnwindSafe(test));
        // Pictures hold `Rc`s, and are drawn where they were made.
        PICTURES.with_borrow_mut(|pictures| {
            for picture in pictures.drain(..) {
                locked(&theirs.pictures).push(picture());
            }
        });
        write_page(&theirs.name);
        leave();
        done.send(result).ok();
    });
    let thread = thread.expect("a thread for the test");
    let Ok(result) = ended.recv_timeout(limit) else { hang::end(&situation) };
    mark("");
    // Not what its thread-locals do at the end of the thread: it is over.
    drop(thread);
    let ms = begun.elapsed().as_millis().to_string();
    let verdict = locked(&situation.verdict).take();
    let pictures = locked(&situation.pictures).join("\n");
    let mut failure = match (verdict, result) {
        (Some(failure), _) => failure,
        (None, Err(payload)) => situation.failure(&*payload),
        (None, Ok(())) => {
            report(&["pass", &name, &ms, "", "", &pictures]);
            return;
        }
    };
    failure.message += &situation.caught(&failure);
    report(&["fail", &name, &ms, &failure.place, &failure.message, &pictures]);
    if !is_reported() {
        println!("\n{name}: {what}\n  at {}\n\n{}\n\n{pictures}", failure.place, failure.message);
    }
    panic::resume_unwind(Box::new("the check failed"));
}

/// Fails the check that runs on this thread, whatever code catches the panic.
///
/// # Panics
///
/// Always, with this message.
#[track_caller]
pub fn fail(message: impl Display) -> ! {
    let message = message.to_string();
    let caller = Location::caller();
    situation(|s| {
        let place = if is_in_kit(caller.file()) { s.site } else { caller }.to_string();
        locked(&s.verdict).get_or_insert(Failure { place, message: message.clone() });
    });
    panic!("{message}");
}

/// Says what the test has come to, for the message of a hang, and of a job that is resumed too often.
pub fn step(what: &'static str) {
    situation(|s| *locked(&s.step) = Some(what));
}

/// What calls [`step()`] for the check that runs on this thread, on any thread.
pub fn steps() -> impl Fn(&'static str) + Clone + Send + Sync + 'static {
    let situation = SITUATION.with_borrow(Clone::clone);
    move |what| {
        if let Some(situation) = &situation {
            *locked(&situation.step) = Some(what);
        }
    }
}

/// What the test has come to, to stand after a message.
pub(crate) fn at_this_step() -> String {
    let step = situation(|s| *locked(&s.step)).flatten();
    step.map_or_else(String::new, |step| format!(". At that time: {step}"))
}

/// Once the check has failed, code that is driven by the kit comes to its end, whatever has caught the failure.
pub(crate) fn stop_if_failed() {
    let failed = situation(|s| locked(&s.verdict).as_ref().map(|failure| failure.message.clone()));
    if let Some(message) = failed.flatten() {
        panic::resume_unwind(Box::new(message));
    }
}

fn is_in_kit(file: &str) -> bool {
    Path::new(file).parent() == Path::new(file!()).parent()
}

/// A number with a comma after each three digits.
pub fn grouped(n: usize) -> String {
    match n / 1000 {
        0 => n.to_string(),
        thousands => format!("{},{:03}", grouped(thousands), n % 1000),
    }
}

/// Shows this when the check is over: with a failure, and in `cargo course show`. It is drawn then, and not now.
pub fn picture(picture: impl Display + 'static) {
    PICTURES.with_borrow_mut(|all| all.push(Box::new(move || picture.to_string())));
}

/// Shows what a timeline has recorded when the check is over, as [`picture`] does; and, in `cargo course show --html`, as a page.
pub(crate) fn draw(timeline: &Timeline) {
    picture(timeline.clone());
    TIMELINES.with_borrow_mut(|all| all.push(timeline.clone()));
}

/// The folder in which pages are to be written.
pub(crate) fn pages() -> Option<PathBuf> {
    std::env::var_os("COURSE_HTML").map(PathBuf::from)
}

fn write_page(test: &str) {
    let timelines = TIMELINES.take();
    if let (Some(folder), false) = (pages(), timelines.is_empty()) {
        let page = wouldblock::timeline::html(&timelines);
        let file = folder.join(format!("{test}.html"));
        std::fs::write(file, page).expect("the folder takes a file");
    }
}

/// What a failed check prints.
pub(crate) struct Failure {
    pub(crate) place: String,
    pub(crate) message: String,
}

/// What is known of a check while it runs, for the thread that watches it.
pub(crate) struct Situation {
    pub(crate) name: String,
    pub(crate) what: &'static str,
    pub(crate) site: &'static Location<'static>,
    pub(crate) thread: hang::Thread,
    pub(crate) limit: Duration,
    pub(crate) step: Mutex<Option<&'static str>>,
    /// What each job or task does, in the order in which they came.
    pub(crate) jobs: Mutex<BTreeMap<u64, (String, Doing)>>,
    /// What was counted, for the report of a hang.
    pub(crate) counts: Mutex<Vec<(&'static str, usize)>>,
    verdict: Mutex<Option<Failure>>,
    pictures: Mutex<Vec<String>>,
    /// Each panic in the check, caught or not: its text and its place.
    panics: Mutex<Vec<(String, String)>>,
}

/// What a job or a task does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Doing {
    Running,
    Ready,
    Waits(String),
    Ended,
}

thread_local! {
    static SITUATION: RefCell<Option<Arc<Situation>>> = const { RefCell::new(None) };
    static TIMELINES: RefCell<Vec<Timeline>> = const { RefCell::new(Vec::new()) };
    static PICTURES: RefCell<Vec<Box<dyn FnOnce() -> String>>> = const { RefCell::new(Vec::new()) };
}

impl Situation {
    fn new(
        name: &str,
        what: &'static str,
        site: &'static Location<'static>,
        limit: Duration,
    ) -> Situation {
        Situation {
            name: name.to_owned(),
            what,
            site,
            thread: hang::Thread::default(),
            limit,
            step: Mutex::default(),
            jobs: Mutex::default(),
            counts: Mutex::default(),
            verdict: Mutex::default(),
            pictures: Mutex::default(),
            panics: Mutex::default(),
        }
    }

    /// Notes what a job does, or a task, by its number.
    pub(crate) fn does(&self, number: u64, name: &str, doing: Doing) {
        match locked(&self.jobs).entry(number) {
            Entry::Occupied(mut job) => job.get_mut().1 = doing,
            Entry::Vacant(place) => {
                place.insert((name.to_owned(), doing));
            }
        }
    }

    /// Sets a count.
    pub(crate) fn count(&self, what: &'static str, n: usize) {
        let mut counts = locked(&self.counts);
        match counts.iter_mut().find(|(name, _)| *name == what) {
            Some((_, count)) => *count = n,
            None => counts.push((what, n)),
        }
    }

    fn failure(&self, payload: &(dyn Any + Send)) -> Failure {
        let text = text_of(payload);
        let panics = locked(&self.panics);
        let place = panics.iter().rev().find(|(message, _)| *message == text);
        let place = place.map_or_else(|| self.site.to_string(), |(_, place)| place.clone());
        Failure { place, message: explained(&text) }
    }
}

impl Situation {
    /// A panic in the student's code that the student's code has caught.
    fn caught(&self, failure: &Failure) -> String {
        let panics = locked(&self.panics);
        let is_theirs = |place: &str| place.contains("tests/") && !place.contains("main.rs");
        let caught = panics.iter().find(|(_, place)| is_theirs(place) && *place != failure.place);
        caught.map_or_else(String::new, |(text, place)| {
            format!("\nBefore that, a panic was caught: \"{text}\", at {place}")
        })
    }
}

/// Calls `f` with the situation of the check that runs on this thread, if one does.
pub(crate) fn situation<R>(f: impl FnOnce(&Situation) -> R) -> Option<R> {
    let situation = SITUATION.try_with(|s| s.borrow().clone()).ok().flatten()?;
    Some(f(&situation))
}

fn enter(situation: &Arc<Situation>) {
    SITUATION.set(Some(situation.clone()));
}

fn leave() {
    SITUATION.set(None);
}

/// A message of the crate, with what it means here.
fn explained(text: &str) -> String {
    let more = [(
        "resumed after it had finished",
        "An earlier resume of it returned `Complete`: it is done, and nothing may resume it again.",
    )];
    let more = more.iter().find(|(what, _)| text.contains(what));
    more.map_or_else(|| compared(text), |(_, more)| format!("{text}\n{more}"))
}

/// What `assert_eq!(got, wanted, "why")` says, in these words.
fn compared(text: &str) -> String {
    let parts = text.strip_prefix("assertion `left == right` failed").and_then(|rest| {
        let (why, values) = rest.split_once("\n  left: ")?;
        let (got, wanted) = values.split_once("\n right: ")?;
        Some((why.trim_start_matches(": "), got, wanted))
    });
    parts.map_or_else(
        || text.to_owned(),
        |(why, got, wanted)| {
            format!("{why}\n  got:    {got}\n  wanted: {wanted}").trim_start().to_owned()
        },
    )
}

/// The text of a panic. A reference to the box that holds it compiles too, and is recognised.
pub fn text_of(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ if payload.is::<Box<dyn Any + Send>>() => {
            "(`text_of` was given the box, not what is in it: write `kit::text_of(&*error)`)"
                .to_owned()
        }
        _ => "(a panic without a text)".to_owned(),
    }
}

/// `e05_round_robin::t01_goes_round::{{closure}}` is `t01_goes_round`.
fn name_of<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.split("::{{closure}}").next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path).to_owned()
}

/// Panics on threads of checks are kept, and printed once, by `check`.
fn hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(String::new, ToString::to_string);
            let kept = situation(|s| {
                if !lesson::is_over() {
                    locked(&s.panics).push((text_of(info.payload()), place));
                }
            });
            let traces = std::env::var_os("RUST_BACKTRACE").is_some_and(|traces| traces != "0");
            if kept.is_none() || traces {
                before(info);
            }
        }));
    });
}

/// Whether a program runs the tests that reads the report, and prints what is in it.
pub(crate) fn is_reported() -> bool {
    std::env::var_os("COURSE_REPORT").is_some()
}

/// Before and after what a test prints, for the program that runs the tests.
fn mark(name: &str) {
    if is_reported() {
        println!("\n{MARK}{name}");
    }
}

/// What a line begins with that says which test prints from here on; none, without a name.
const MARK: &str = "\u{1}kit: ";

/// A line for the program that runs the tests, if one does: fields, with tabs between.
pub(crate) fn report(fields: &[&str]) {
    let Some(path) = std::env::var_os("COURSE_REPORT") else { return };
    let escaped = |field: &&str| {
        field.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r")
    };
    let line = fields.iter().map(escaped).collect::<Vec<_>>().join("\t") + "\n";
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("a line for the report");
}

/// A lock that a failing test may have poisoned.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
