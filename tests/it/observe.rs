//! What an observer is told: each kind of event, in order, in each era; and what an observer may do.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::AsRawFd;
use std::panic::{Location, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::util::{
    ERAS, HOUR, Log, MS, SECOND, half_pair, join, logged, panic_text, send, spawn_running,
    spawn_waiting,
};
use log::Level;
use tokio::sync::oneshot;
use wouldblock::observe::{Actor, EventKind, Observer, Outcome, TaskEvent};
use wouldblock::op::timeout;
use wouldblock::time::sleeping;
use wouldblock::timeline::Timeline;
use wouldblock::{
    Builder, Era, JoinHandle, SourceId, Wait, WaitFor, future, generator, green,
    group::{Group, gather, try_gather},
    offload, task,
};

/// Writes down in words what it is told.
#[derive(Clone)]
struct Recorder {
    said: Log<String>,
    start: Rc<Cell<Option<Instant>>>,
}

impl Observer for Recorder {
    fn observe(&self, event: &TaskEvent<'_>) {
        let start = self.start.get().unwrap_or(event.at);
        self.start.set(Some(start));
        let by = |by: Actor| match by {
            Actor::Task(id) => format!("by task {id}"),
            Actor::Socket => "by a socket".into(),
            Actor::Time => "by the clock".into(),
            Actor::Outside => "from outside".into(),
            Actor::End => "by the end of the run".into(),
            other => panic!("{other:?} is new"),
        };
        let what = match event.kind {
            EventKind::Spawned { name, era, parent, .. } => {
                let name = name.map(|name| format!(" {name:?}")).unwrap_or_default();
                let parent = parent.map(|id| format!(" by task {id}")).unwrap_or_default();
                format!("spawned{name} ({era}){parent}")
            }
            EventKind::Turn => "turn".into(),
            EventKind::Yields => "yields".into(),
            EventKind::Waits(wait) => {
                let reason = match wait.what {
                    WaitFor::Readable(id) => format!("to read {}", id.fd()),
                    WaitFor::Writable(id) => format!("to write {}", id.fd()),
                    WaitFor::Time => "for time".into(),
                    WaitFor::Task(id) => format!("for task {id}"),
                    WaitFor::Thing(thing) => format!("for {thing}"),
                    WaitFor::Waker => "to be woken".into(),
                    other => panic!("{other:?} is new"),
                };
                let until = wait.deadline.map(|at| format!(" until {:?}", at - start));
                format!("waits {reason}{}", until.unwrap_or_default())
            }
            EventKind::Woken(who) => format!("woken {}", by(who)),
            EventKind::Cancelled(who) => format!("cancelled {}", by(who)),
            EventKind::Ends(Outcome::Returned) => "returns".into(),
            EventKind::Ends(outcome) => format!("ends: {outcome:?}").to_lowercase(),
            ref other => panic!("{other:?} is new"),
        };
        self.said.push(format!("{} {what}", event.task));
    }
}

/// What an observer is told of a run on a virtual clock.
#[track_caller]
fn told<T>(root: impl FnOnce() -> T) -> Vec<String> {
    let recorder = Recorder { said: Log::new(), start: Rc::default() };
    Builder::new().virtual_clock().round_robin().observe(recorder.clone()).run(root);
    recorder.said.take()
}

/// The same, of one task.
#[track_caller]
fn told_of<T>(task: u64, root: impl FnOnce() -> T) -> Vec<String> {
    let prefix = format!("{task} ");
    let all = told(root);
    all.iter().filter_map(|said| said.strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// A task that is left at the end of the run, since it swallows its cancellation, gives up its turn for ever.
#[test]
fn each_turn_has_an_event_at_its_end() {
    let mut events = Vec::new();
    let work = || {
        drop(green::spawn(|| {
            loop {
                let _ = catch_unwind(|| green::wait(pending::<()>()));
            }
        }));
        drop(generator::spawn(|y| {
            loop {
                let _ = y.try_yield(Wait::new(WaitFor::Turn));
            }
        }));
        green::yield_now();
    };
    logged(|| events = told(work));
    let mut turns = events.iter().filter(|event| {
        ["turn", "yields", "waits", "returns", "ends:"]
            .contains(&event.split_whitespace().nth(1).unwrap())
    });
    while let Some(turn) = turns.next() {
        let (task, what) = turn.split_once(' ').unwrap();
        assert_eq!(what, "turn", "{events:#?}");
        let end = turns.next().unwrap_or_else(|| panic!("a turn without an end: {events:#?}"));
        assert!(end.starts_with(&format!("{task} ")) && !end.ends_with(" turn"), "{end}");
    }
    let last = |task| events.iter().rfind(|event| event.starts_with(task)).unwrap();
    assert_eq!([last("2 "), last("3 ")], ["2 waits to be woken", "3 waits to be woken"]);
}

#[test]
fn a_task_is_followed_from_its_spawn_to_its_end() {
    for era in ERAS {
        let told = told(|| spawn_waiting(era, sleeping(SECOND), ()).join().unwrap());
        let expected = [
            "1 spawned \"root\" (green)".to_owned(),
            "1 turn".into(),
            format!("2 spawned ({era}) by task 1"),
            "1 waits for task 2".into(),
            "2 turn".into(),
            "2 waits for time until 1s".into(),
            "2 woken by the clock".into(),
            "2 turn".into(),
            "2 returns".into(),
            "1 woken by task 2".into(),
            "1 turn".into(),
            "1 returns".into(),
        ];
        assert_eq!(told, expected);
    }
}

#[test]
fn a_task_that_only_lets_the_others_run_yields() {
    for era in ERAS {
        let told = told_of(2, || spawn_running(era, green::yield_now).join().unwrap());
        assert_eq!(told[1..], ["turn", "yields", "turn", "returns"]);
    }
}

#[test]
fn a_wake_in_a_turn_of_its_own_is_told_once_and_the_turn_ends_as_a_yield() {
    let wakes_itself = || {
        let mut woken = false;
        poll_fn(move |cx| match std::mem::replace(&mut woken, true) {
            true => Poll::Ready(()),
            false => {
                cx.waker().wake_by_ref();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
    };
    for era in ERAS {
        let told = told_of(2, || spawn_waiting(era, wakes_itself(), ()).join().unwrap());
        assert_eq!(told[1..], ["turn", "woken by task 2", "yields", "turn", "returns"]);
    }
}

#[test]
fn a_task_that_has_woken_itself_may_end_without_a_wait() {
    let told = told_of(2, || {
        let wakes = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        });
        future::spawn(wakes).join().unwrap();
    });
    assert_eq!(told[1..], ["turn", "woken by task 2", "returns"]);
}

#[test]
fn a_wake_by_another_task() {
    for era in ERAS {
        let told = told_of(2, || {
            let (sender, receiver) = oneshot::channel();
            let task = spawn_waiting(era, receiver, ());
            green::yield_now();
            sender.send(()).unwrap();
            task.join().unwrap().unwrap();
        });
        let expected = ["turn", "waits to be woken", "woken by task 1", "turn", "returns"];
        assert_eq!(told[1..], expected);
    }
}

#[test]
fn a_wake_by_a_socket_to_read() {
    for era in ERAS {
        let mut fd = 0;
        let told = told_of(2, || {
            let (stream, theirs) = half_pair();
            fd = stream.as_raw_fd();
            let reads = async move { stream.readable().await.map(|()| stream) };
            let task = spawn_waiting(era, reads, ());
            green::yield_now();
            send(&theirs, b"x");
            task.join().unwrap().unwrap();
        });
        let waits = format!("waits to read {fd}");
        assert_eq!(told[1..], ["turn", &waits, "woken by a socket", "turn", "returns"]);
    }
}

#[test]
fn a_wake_by_a_socket_to_write() {
    for era in ERAS {
        let told = told_of(2, || {
            let (stream, theirs) = half_pair();
            theirs.set_nonblocking(true).unwrap();
            while stream.try_write(&[0; 1 << 16]).is_ok() {}
            let writes = async move { stream.writable().await.map(|()| stream) };
            let task = spawn_waiting(era, writes, ());
            green::yield_now();
            let mut buffer = vec![0; 1 << 16];
            while !task.is_finished() {
                let _ = io::Read::read(&mut &theirs, &mut buffer);
                green::yield_now();
            }
        });
        assert!(told[2].starts_with("waits to write "), "{told:?}");
        assert_eq!(told[3..], ["woken by a socket", "turn", "returns"]);
    }
}

#[test]
fn a_wake_by_another_thread() {
    for era in ERAS {
        let told = told_of(2, || {
            let (sender, receiver) = mpsc::channel::<()>();
            let task = spawn_waiting(era, offload(move || receiver.recv()), ());
            green::yield_now();
            sender.send(()).unwrap();
            task.join().unwrap().unwrap();
        });
        let expected =
            ["turn", "waits for work on another thread", "woken from outside", "turn", "returns"];
        assert_eq!(told[1..], expected);
    }
}

#[test]
fn a_time_limit_is_told_with_what_it_limits() {
    for era in ERAS {
        let told = told_of(3, || {
            let slow = green::spawn(|| green::sleep(HOUR));
            let limited = spawn_waiting(era, timeout(SECOND, slow), ());
            limited.join().unwrap().expect_err("an hour is longer than a second");
        });
        let waits = "waits for task 2 until 1s";
        assert_eq!(told[1..], ["turn", waits, "woken by the clock", "turn", "returns"]);
    }
    let told = told_of(1, || {
        let slow = green::spawn(|| green::sleep(HOUR));
        green::timeout(SECOND, || slow.join().unwrap()).unwrap_err();
    });
    assert_eq!(told[2..4], ["waits for task 2 until 1s", "woken by the clock"]);
}

#[test]
fn a_scope_is_waited_for_by_name() {
    let told = told_of(1, || green::scope(|s| drop(s.spawn(|| green::sleep(MS)))));
    assert_eq!(told[2..4], ["waits for the tasks of its scope", "woken by task 2"]);
}

#[test]
fn gather_waits_for_the_first_that_has_not_ended() {
    for era in ERAS {
        let told = told_of(1, || {
            let times = [2, 1, 3];
            let tasks = times.map(|n| spawn_waiting(era, sleeping(n * SECOND), ()));
            green::wait(gather(tasks));
        });
        let expected = [
            "waits for task 2",
            "woken by task 2",
            "turn",
            "waits for task 4",
            "woken by task 4",
            "turn",
            "returns",
        ];
        assert_eq!(told[2..], expected);
    }
}

/// What is called at the end of a task, and its destructors, are its doing.
#[test]
fn what_the_end_of_a_task_does_is_done_by_that_task() {
    async fn sleeps(seconds: u32) -> io::Result<()> {
        sleeping(seconds * SECOND).await;
        Ok(())
    }
    for era in ERAS {
        let root = told_of(1, || {
            let tasks = [2, 1].map(|n| spawn_waiting(era, sleeps(n), ()));
            green::wait(try_gather(tasks)).unwrap();
        });
        let next = "waits for the next of its tasks to end";
        assert_eq!(root[2..6], [next, "woken by task 3", "turn", "waits for task 2"]);

        let root = told_of(1, || {
            let (sender, receiver) = oneshot::channel::<()>();
            drop(spawn_waiting(era, sleeping(SECOND), sender));
            green::wait(receiver).unwrap_err();
        });
        assert_eq!(root[2..4], ["waits to be woken", "woken by task 2"]);
    }
    let cancelled = told_of(2, || {
        let group = Group::run(|group| -> Result<(), io::Error> {
            drop(group.spawn_future(sleeps(3600)));
            drop(group.spawn(|| Err::<(), _>(io::Error::other("on purpose"))));
            Ok(())
        });
        group.unwrap_err();
    });
    assert_eq!(cancelled[3..5], ["cancelled by task 3", "woken by task 3"]);
}

#[test]
fn a_cancellation_is_told_once() {
    for era in ERAS {
        let told = told_of(2, || {
            let task = spawn_waiting(era, sleeping(HOUR), ());
            green::yield_now();
            task.cancel();
            task.cancel();
            while !task.is_finished() {
                green::yield_now();
            }
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
        });
        let waits = "waits for time until 3600s";
        let cancelled = ["cancelled by task 1", "woken by task 1", "turn", "ends: cancelled"];
        assert_eq!(told[1..3], ["turn", waits]);
        assert_eq!(told[3..], cancelled);
    }
}

/// By a destructor of another runtime, which is dropped in a turn.
#[test]
fn a_cancellation_from_the_end_of_another_runtime_is_told() {
    struct Cancels(Rc<Cell<Option<JoinHandle<()>>>>);
    impl Drop for Cancels {
        fn drop(&mut self) {
            self.0.take().expect("it is there").cancel();
        }
    }
    let target = Rc::new(Cell::new(None::<JoinHandle<()>>));
    let other = Builder::new().build().unwrap();
    let at_drop = Cancels(target.clone());
    other.enter(|| {
        drop(green::spawn(move || {
            let _cancels = at_drop;
            green::sleep(HOUR);
        }));
    });
    let said = told_of(2, move || {
        target.set(Some(green::spawn(|| green::sleep(HOUR))));
        green::yield_now();
        drop(other);
        green::yield_now();
    });
    assert_eq!(said.iter().filter(|event| event.starts_with("cancelled")).count(), 1, "{said:?}");
}

#[test]
fn a_task_cancelled_before_its_first_turn_has_one_to_end_in() {
    for era in ERAS {
        let told = told_of(2, || {
            let task = spawn_waiting(era, sleeping(HOUR), ());
            task.cancel();
            task.join().unwrap_err();
        });
        assert_eq!(told[1..], ["cancelled by task 1", "turn", "ends: cancelled"]);
    }
}

#[test]
fn what_is_left_at_the_end_is_cancelled_by_the_end() {
    for era in ERAS {
        let told = told(|| {
            drop(spawn_waiting(era, sleeping(HOUR), ()));
            drop(spawn_waiting(era, sleeping(HOUR), ()));
            green::yield_now();
        });
        let end = told.iter().position(|said| said == "1 returns").unwrap();
        let expected = [
            "2 cancelled by the end of the run",
            "3 cancelled by the end of the run",
            "3 woken by the end of the run",
            "3 turn",
            "3 ends: cancelled",
            "2 woken by the end of the run",
            "2 turn",
            "2 ends: cancelled",
        ];
        assert_eq!(told[end + 1..], expected);
    }
}

#[test]
fn however_a_run_ends_that_is_who_cancels_what_is_left() {
    let ends = |run: &dyn Fn(Builder)| {
        let recorder = Recorder { said: Log::new(), start: Rc::default() };
        run(Builder::new().virtual_clock().round_robin().observe(recorder.clone()));
        recorder.said.take().contains(&"2 cancelled by the end of the run".to_owned())
    };
    let sleeps = || drop(green::spawn(|| green::sleep(HOUR)));
    assert!(ends(&|builder| builder.run(sleeps)), "the root has returned");
    assert!(ends(&|builder| {
        let panics = || {
            sleeps();
            panic!("on purpose");
        };
        assert_eq!(panic_text(|| builder.run(panics)), "on purpose");
    }));
    assert!(ends(&|builder| {
        let waits_for_nobody = || drop(green::spawn(|| green::wait(pending::<()>())).join());
        builder.try_run(waits_for_nobody).expect_err("a deadlock");
    }));
    assert!(ends(&|builder| {
        let runtime = builder.build().unwrap();
        runtime.enter(|| (0..2).for_each(|_| sleeps()));
        runtime.turn();
    }));
}

#[test]
fn a_panic_is_told_as_the_outcome() {
    for era in ERAS {
        let told = told_of(2, || {
            let dies = spawn_running(era, || -> () { panic!("on purpose") });
            assert!(dies.join().unwrap_err().is_panic());
        });
        assert_eq!(told[1..], ["turn", "ends: panicked"]);
    }
}

#[test]
fn a_runtime_driven_by_hand_is_watched_too() {
    let recorder = Recorder { said: Log::new(), start: Rc::default() };
    let runtime = Builder::new().round_robin().observe(recorder.clone()).build().unwrap();
    runtime.enter(|| drop(task::Builder::new().name("ann").spawn(green::yield_now)));
    while runtime.turn() {}
    let expected = ["1 spawned \"ann\" (green)", "1 turn", "1 yields", "1 turn", "1 returns"];
    assert_eq!(recorder.said.take(), expected);
}

#[test]
fn each_turn_is_told_under_load() {
    const TASKS: usize = 100;
    const TURNS: usize = 10;
    let told = told(|| {
        let task = |n| spawn_running(ERAS[n % 3], || (1..TURNS).for_each(|_| green::yield_now()));
        green::wait(gather((0..TASKS).map(task)));
    });
    let turns = |id: usize| told.iter().filter(|said| **said == format!("{id} turn")).count();
    assert!((2..2 + TASKS).all(|id| turns(id) == TURNS));
}

/// Calls a closure for each event.
struct Calls<F>(F);

impl<F: Fn(&TaskEvent<'_>)> Observer for Calls<F> {
    fn observe(&self, event: &TaskEvent<'_>) {
        self.0(event);
    }
}

#[test]
fn an_observer_that_panics_is_told_nothing_more_and_the_run_goes_on() {
    let told = Rc::new(Cell::new(0));
    let count = told.clone();
    let observer = Calls(move |_: &TaskEvent<'_>| {
        count.set(count.get() + 1);
        assert!(count.get() < 3, "on purpose");
    });
    let logged = logged(|| {
        let value = Builder::new().virtual_clock().observe(observer).run(|| {
            let tasks = ERAS.map(|era| spawn_waiting(era, sleeping(SECOND), ()));
            green::wait(gather(tasks)).into_iter().filter(Result::is_ok).count()
        });
        assert_eq!(value, 3);
    });
    assert_eq!(told.get(), 3);
    let message = "an observer of this run, which gets no more events, panicked: on purpose";
    assert_eq!(logged, [(Level::Error, message.to_owned())]);
}

#[test]
fn an_observer_can_neither_spawn_nor_wait() {
    let said = Log::new();
    let log = said.clone();
    let observer = Calls(move |_: &TaskEvent<'_>| {
        log.push(panic_text(|| green::spawn(|| ())));
        log.push(panic_text(|| green::sleep(MS)));
        log.push(panic_text(|| wouldblock::run(|| ())));
    });
    Builder::new().observe(observer).run(green::yield_now);
    let said = said.take();
    assert_eq!(said.len(), 3 * 5, "{said:?}"); // spawned, turn, yields, turn, returns
    for said in said.chunks(3) {
        assert!(said[0].starts_with("spawn in an observer"), "{}", said[0]);
        assert!(said[1].starts_with("a wait outside of any task"), "{}", said[1]);
        assert!(said[2].starts_with("`run` inside of `run`"), "{}", said[2]);
    }
}

#[test]
fn an_observer_may_wake_tasks_and_is_not_told_that_it_does() {
    let (sender, receiver) = async_channel::unbounded();
    let said = Log::new();
    let log = said.clone();
    let observer = Calls(move |event: &TaskEvent<'_>| {
        log.push(format!("{} {:?}", event.task, event.kind));
        if event.task == 2 && matches!(event.kind, EventKind::Ends(_)) {
            sender.try_send("task 2 has ended").expect("there is room");
        }
    });
    let message = Builder::new().round_robin().observe(observer).run(|| {
        drop(green::spawn(green::yield_now));
        green::wait(receiver.recv()).unwrap()
    });
    assert_eq!(message, "task 2 has ended");
    let root: Vec<_> = said.take().into_iter().filter(|said| said.starts_with("1 ")).collect();
    assert_eq!(root.iter().filter(|said| said.contains("Waits")).count(), 1, "{root:?}");
    assert!(!root.iter().any(|said| said.contains("Woken")), "{root:?}");
}

#[test]
fn times_are_those_of_the_runs_clock() {
    let times = Log::new();
    let log = times.clone();
    let observer = Calls(move |event: &TaskEvent<'_>| log.push(event.at));
    Builder::new().virtual_clock().observe(observer).run(|| green::sleep(HOUR));
    let times = times.take();
    let passed =
        times.windows(2).map(|two| two[1] - two[0]).filter(|passed| *passed > Duration::ZERO);
    assert_eq!(passed.collect::<Vec<_>>(), [HOUR]);
}

/// Wakes one task at each event, and counts how often that is told and how many turns there are.
#[derive(Clone, Default)]
struct Meddler {
    waker: Rc<RefCell<Option<Waker>>>,
    turns: Rc<Cell<i32>>,
    woken: Rc<Cell<i32>>,
}

impl Observer for Meddler {
    fn observe(&self, event: &TaskEvent<'_>) {
        let count = match event.kind {
            EventKind::Turn => &self.turns,
            EventKind::Woken(_) => &self.woken,
            EventKind::Waits { .. } => &Cell::default(),
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
    // Two turns of the root, three of the waiter. What it does itself is not told; the waiter's end wakes the root.
    assert_eq!((meddler.turns.get(), meddler.woken.get()), (5, 1));
}

#[test]
fn two_observers_get_the_same_events_and_one_that_panics_takes_none_from_the_other() {
    struct Counts(Rc<Cell<usize>>, usize);
    impl Observer for Counts {
        fn observe(&self, _: &TaskEvent<'_>) {
            self.0.set(self.0.get() + 1);
            assert!(self.0.get() < self.1, "on purpose");
        }
    }
    let (first, second) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let log = logged(|| {
        let builder = Builder::new().observe(Counts(first.clone(), 2));
        builder.observe(Counts(second.clone(), usize::MAX)).run(green::yield_now);
    });
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!((first.get(), second.get()), (2, 5), "spawned, turn, yields, turn, ends");
}

#[test]
fn a_timeline_draws_the_events_of_a_scheduler_that_is_not_this_crates() {
    let (timeline, start) = (Timeline::new(), Instant::now());
    let site = Location::caller();
    let mut sleep = Wait::new(WaitFor::Time);
    sleep.deadline = Some(start + Duration::from_millis(5));
    let events = [
        (0, EventKind::spawned(Some("mine"), Era::Generator, site, None)),
        (0, EventKind::Turn),
        (1, EventKind::Waits(sleep)),
        (5, EventKind::Woken(Actor::Time)),
        (5, EventKind::Turn),
        (6, EventKind::Waits(Wait::new(WaitFor::Readable(SourceId::unregistered(7))))),
        (8, EventKind::Woken(Actor::Socket)),
        (8, EventKind::Turn),
        (9, EventKind::Ends(Outcome::Returned)),
    ];
    for (ms, kind) in events {
        timeline.observe(&TaskEvent::new(start + Duration::from_millis(ms), 1, kind));
    }
    let rows = timeline.rows();
    assert_eq!((rows.len(), rows[0].name.as_deref()), (1, Some("mine")));
    let states: Vec<_> = rows[0].spans.iter().map(|span| span.state.to_string()).collect();
    assert!(states.iter().any(|state| state.starts_with("sleeps, until 5.0ms")), "{states:?}");
    assert!(states.iter().any(|state| state == "waits to read from descriptor 7"), "{states:?}");
}
