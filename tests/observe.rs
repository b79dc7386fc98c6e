//! What a run tells whoever watches it: each task's life, in order, and whatever the watcher does meanwhile.

mod support;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use support::*;
use wouldblock::observe::{By, Event, Observer, Outcome, Reason, What};
use wouldblock::{Builder, future, generator, task};

/// Keeps what happened to each task.
struct Keep(Log<(u64, String)>);

impl Observer for Keep {
    fn observe(&self, event: &Event<'_>) {
        let what = match event.what {
            What::Spawned { name, era, parent, .. } => {
                format!("spawned {} {era} by {parent:?}", name.unwrap_or("-"))
            }
            What::Turn => "turn".into(),
            What::Yields => "yields".into(),
            What::Waits { reason: Reason::Time, .. } => "waits for the time".into(),
            What::Waits { reason: Reason::Task(id), .. } => format!("waits for {id}"),
            What::Woken(By::Time) => "woken by the time".into(),
            What::Woken(By::Task(id)) => format!("woken by {id}"),
            What::Cancelled(By::Task(id)) => format!("cancelled by {id}"),
            What::Ends(Outcome::Returned) => "returned".into(),
            What::Ends(Outcome::Panicked) => "panicked".into(),
            What::Ends(Outcome::Cancelled) => "cancelled".into(),
            ref other => format!("{other:?}"),
        };
        self.0.push((event.task, what));
    }
}

#[test]
fn the_life_of_each_task_is_told_in_order() {
    let log = Log::new();
    Builder::new().virtual_clock().round_robin().observe(Keep(log.clone())).run(|| {
        let named = task::Builder::new().name("sleeper").spawn_generator(|y| {
            y.yield_now();
            y.wait(wouldblock::time::sleep(MS));
        });
        let panics = future::spawn(async { panic!("the reason") });
        let waits = generator::spawn(|y| y.wait(std::future::pending::<()>()));
        join(named);
        waits.cancel();
        assert!(waits.join().is_err());
        assert!(panics.join().is_err());
    });
    let events = log.take();
    let of = |task| -> Vec<_> {
        events.iter().filter(|(id, _)| *id == task).map(|(_, what)| what.as_str()).collect()
    };
    let root = ["spawned root green by None", "turn", "waits for 2", "woken by 2", "turn"];
    let root = [&root[..], &["waits for 4", "woken by 4", "turn", "returned"]].concat();
    assert_eq!(of(1), root);
    let sleeper = ["spawned sleeper generator by Some(1)", "turn", "yields", "turn"];
    let sleeper =
        [&sleeper[..], &["waits for the time", "woken by the time", "turn", "returned"]].concat();
    assert_eq!(of(2), sleeper);
    assert_eq!(of(3), ["spawned - future by Some(1)", "turn", "panicked"]);
    let waits =
        ["spawned - generator by Some(1)", "turn", "Waits { reason: Waker, deadline: None }"];
    let waits = [&waits[..], &["cancelled by 1", "woken by 1", "turn", "cancelled"]].concat();
    assert_eq!(of(4), waits);
}

/// Wakes one task at each event, and counts how often that is told and how many turns there are.
#[derive(Clone, Default)]
struct Meddler {
    waker: Rc<RefCell<Option<Waker>>>,
    turns: Rc<Cell<i32>>,
    woken: Rc<Cell<i32>>,
}

impl Observer for Meddler {
    fn observe(&self, event: &Event<'_>) {
        let count = match event.what {
            What::Turn => &self.turns,
            What::Woken(_) => &self.woken,
            What::Waits { .. } => &Cell::default(),
            _ => return,
        };
        count.set(count.get() + 1);
        let waker = self.waker.borrow().clone();
        waker.iter().for_each(Waker::wake_by_ref);
    }
}

#[test]
fn a_watcher_that_wakes_who_is_woken_gives_it_one_turn() {
    let meddler = Meddler::default();
    let (waker, log) = (meddler.waker.clone(), Log::new());
    let inside = log.clone();
    Builder::new().round_robin().observe(meddler.clone()).run(|| {
        let waiter = future::spawn(poll_fn(move |cx| {
            *waker.borrow_mut() = Some(cx.waker().clone());
            inside.push(());
            if inside.len() < 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        join(waiter);
        *meddler.waker.borrow_mut() = None;
    });
    assert_eq!(log.len(), 3);
    // Two turns of the root, three of the waiter; each of the two wakes of the waiter is told once.
    assert_eq!((meddler.turns.get(), meddler.woken.get()), (5, 3));
}
