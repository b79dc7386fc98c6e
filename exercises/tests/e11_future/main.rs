//! The tests of 11 future.

mod exercise;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use exercise::{Countdown, block_on, join2};
use kit::{check, fail, lesson, letter_rows, picture, step, steps};
use wouldblock::{future, green, task};

#[test]
fn t01_a_countdown_on_the_crate() {
    check("the crate's own scheduler runs your `Countdown`: as a task, and in a greenlet", || {
        lesson(|| {
            let countdown =
                task::Builder::new().name("countdown").spawn_future(counted(Countdown(3)));
            let (text, polls) = countdown.join().unwrap();
            expect_polls("Countdown(3)", polls, 4);
            assert!(text == "lift-off", "its output is {text:?}, and should be \"lift-off\"");
            assert_eq!(
                green::wait(Countdown(2)),
                "lift-off",
                "the same future, on a greenlet's stack"
            );
            let task = future::spawn(async { (Countdown(1).await, Countdown(2).await) });
            assert_eq!(task.join().unwrap(), ("lift-off", "lift-off"), "one after the other");
        });
    });
}

#[test]
fn t02_block_on_runs_what_is_ready() {
    check("a future that is ready at once is polled once", || {
        let (value, polls) = block_on(async { 7 });
        assert_eq!(value, 7, "`block_on` returns the future's output");
        expect_polls("an async block without a wait", polls, 1);
    });
}

#[test]
fn t03_block_on_sleeps_until_a_wake() {
    check("another thread wakes the future three times: four polls are needed", || {
        let probe = Woken::new(3);
        let (probe_polls, (_, polls)) = (probe.polls.clone(), block_on(probe));
        let were = probe_polls.get();
        assert!(
            were == 4,
            "{were} polls, 4 were needed: poll again only when the waker was called"
        );
        // A call of `unpark` that was meant for something else.
        let probe = Woken::new(1);
        thread::current().unpark();
        let (early, (_, _)) = (probe.polls.clone(), block_on(probe));
        let early = early.get();
        assert!(
            early == 2,
            "{early} polls, 2 were needed: a call of `park` may return though nothing has called the waker. `wake` sets a flag, and \
             only the flag counts"
        );
        assert!(
            polls == were,
            "the future was polled {were} times, and `block_on` returned {polls}"
        );
    });
}

#[test]
fn t04_block_on_runs_a_countdown() {
    check("your `Countdown` on your `block_on`: it is woken in the middle of `poll`", || {
        let (text, polls) = block_on(Watched(Countdown(3)));
        assert_eq!(text, "lift-off");
        expect_polls("Countdown(3)", polls, 4);
        assert_eq!(
            block_on(async { (Countdown(2).await, Countdown(1).await) }).1,
            4,
            "one after the other"
        );
    });
}

#[test]
fn t05_join2_waits_for_both() {
    check(
        "a needs 3 polls, b needs 2: they take turns, and neither is polled after `Ready`",
        || {
            let turns = Rc::new(RefCell::new(Vec::new()));
            let both = join2(Probe::new("a", 2, &turns), Probe::new("b", 1, &turns));
            let shown = turns.clone();
            picture(Turns(shown));
            let got = drive(both);
            assert_eq!(got, ("a", "b"), "both outputs, in the order of the arguments");
            let order = turns.borrow().join(" ");
            assert!(
                order != "a a a b b",
                "the polls were \"{order}\": b was not polled until a was ready; poll both in each poll"
            );
            assert!(
                order == "a b a b a",
                "the polls were \"{order}\", and should be \"a b a b a\""
            );
        },
    );
}

#[test]
fn t06_join2_of_unequal_lengths() {
    check("the other way round, and with one that is ready at once", || {
        let turns = Rc::new(RefCell::new(Vec::new()));
        let probe = |name, pending| Probe::new(name, pending, &turns);
        drive(join2(probe("a", 0), probe("b", 3)));
        assert_eq!(turns.take().join(" "), "a b b b b", "a was ready in the first poll");
        drive(join2(probe("a", 0), probe("b", 0)));
        assert_eq!(turns.take().join(" "), "a b", "both were ready in the first poll");
    });
}

#[test]
fn t07_two_countdowns_on_three_schedulers() {
    check("two countdowns in `join2`, on `block_on`, on `future::spawn`, on `green::wait`", || {
        let both = || join2(Countdown(2), Countdown(4));
        let (texts, polls) = block_on(both());
        assert_eq!(texts, ("lift-off", "lift-off"));
        expect_polls("the two in `join2`", polls, 5);
        lesson(move || {
            let task = future::spawn(both());
            assert_eq!(task.join().unwrap(), ("lift-off", "lift-off"));
            assert_eq!(green::wait(both()), ("lift-off", "lift-off"));
        });
    });
}

/// A future, and how often it was polled.
async fn counted<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = std::pin::pin!(future);
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        if polls == 10_000 {
            fail("`Countdown(3)` was polled 10,000 times, and was never `Ready`: it has to count down");
        }
        future.as_mut().poll(cx).map(|output| (output, polls))
    })
    .await
}

/// Polls a future until it is ready, or too often.
fn drive<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    for _ in 0..100 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    fail("`join2` was polled 100 times, and both of its futures have long been ready")
}

#[track_caller]
fn expect_polls(what: &str, polls: usize, wanted: usize) {
    assert!(
        polls != 1 || wanted == 1,
        "{what} was polled once, {wanted} polls were needed: it was `Ready` in its first poll"
    );
    assert!(polls == wanted, "{what} was polled {polls} times, {wanted} polls were needed");
}

struct Turns(Rc<RefCell<Vec<&'static str>>>);

impl std::fmt::Display for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&letter_rows(&self.0.borrow()))
    }
}

/// A future that is pending so often, and notes each poll. It wakes.
struct Probe {
    name: &'static str,
    pending: usize,
    ready: bool,
    turns: Rc<RefCell<Vec<&'static str>>>,
}

impl Probe {
    fn new(name: &'static str, pending: usize, turns: &Rc<RefCell<Vec<&'static str>>>) -> Probe {
        Probe { name, pending, ready: false, turns: turns.clone() }
    }
}

impl Future for Probe {
    type Output = &'static str;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<&'static str> {
        if self.ready {
            fail(format!(
                "`{}` was polled after `Ready`: keep its output, and poll only the other",
                self.name
            ));
        }
        self.turns.borrow_mut().push(self.name);
        if self.pending == 0 {
            self.ready = true;
            return Poll::Ready(self.name);
        }
        self.pending -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What has come of the waker, for the report of a hang.
const WOKEN: &str = "the waker was called, and there was no further poll";
const NOT_WOKEN: &str = "the waker was not called";

/// A future, of which it is noted when its waker is called.
struct Watched<F>(F);

impl<F: Future + Unpin> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        step(NOT_WOKEN);
        let waker = Waker::from(Arc::new(Notes { waker: cx.waker().clone(), note: steps() }));
        Pin::new(&mut self.0).poll(&mut Context::from_waker(&waker))
    }
}

struct Notes<S> {
    waker: Waker,
    note: S,
}

impl<S: Fn(&'static str) + Send + Sync + 'static> Wake for Notes<S> {
    fn wake(self: Arc<Self>) {
        (self.note)(WOKEN);
        self.waker.wake_by_ref();
    }
}

/// A future that another thread wakes, so many times. Each wake comes after a while, in which nothing need poll it.
struct Woken {
    polls: Rc<Cell<usize>>,
    left: usize,
    wakers: mpsc::Sender<Waker>,
    woken: mpsc::Receiver<()>,
    /// It was polled without a wake.
    early: mpsc::SyncSender<()>,
    waits: bool,
}

impl Woken {
    fn new(times: usize) -> Woken {
        let (wakers, from) = mpsc::channel::<Waker>();
        let (to, woken) = mpsc::channel();
        let (early, polled) = mpsc::sync_channel(1);
        let note = steps();
        thread::spawn(move || {
            for waker in from {
                // A poll in this time is one that no wake has caused: leave time for many more.
                if polled.recv_timeout(Duration::from_millis(20)).is_ok() {
                    polled.recv_timeout(Duration::from_secs(2)).ok();
                }
                to.send(()).ok();
                note(WOKEN);
                waker.wake();
            }
        });
        Woken { polls: Rc::default(), left: times, wakers, woken, early, waits: false }
    }
}

impl Future for Woken {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.set(self.polls.get() + 1);
        step(NOT_WOKEN);
        match self.polls.get() {
            10_000 => fail(
                "10,000 polls, 4 were needed: between two polls, the thread sleeps (`thread::park`) until the waker is called",
            ),
            100 => drop(self.early.try_send(())),
            _ => {}
        }
        if self.waits {
            if self.woken.try_recv().is_err() {
                return Poll::Pending;
            }
            self.waits = false;
            self.left -= 1;
        }
        if self.left == 0 {
            return Poll::Ready(());
        }
        self.waits = true;
        self.wakers
            .send(cx.waker().clone())
            .expect("the thread takes wakers as long as this lives");
        Poll::Pending
    }
}
