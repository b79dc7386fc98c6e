//! The tests of 07 scheduler.

mod exercise;

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use exercise::{Scheduler, Stuck};
use kit::{
    Answer, Does, Id, Job, Op, Outside, VirtualTime, check, does, draw_jobs, fail, job, spawned_as,
};
use wouldblock::Wait;
use wouldblock::generator::Yielder;
use wouldblock::net::unix::UnixStream;

type Y = Yielder<Op, Answer>;

#[test]
fn t01_turns_go_round() {
    check("three jobs take turns; the first that is spawned has the number 0", || {
        let world = World::new();
        for name in ["a", "b", "c"] {
            world.spawn(name, world.turns(name, 2));
        }
        let ids = world.ids.borrow().clone();
        assert_eq!(
            ids,
            [Id(0), Id(1), Id(2)],
            "numbers are given in the order of spawning, from 0"
        );
        world.run_to_the_end();
        world.expect(&["a", "b", "c", "a", "b", "c", "a", "b", "c"]);
    });
}

#[test]
fn t02_a_job_spawns_a_job() {
    check(
        "a spawns c: c joins the queue at the back, and a behind it, to be sent the number 2",
        || {
            let world = World::new();
            let c = world.turns("c", 1);
            let log = world.record.clone();
            world.spawn(
                "a",
                job("a", 3, move |y: &Y| {
                    log.ran("a");
                    match y.yield_(Op::Spawn("c", c)) {
                        Answer::Spawned(Id(2)) => log.ran("a"),
                        other => fail(format!(
                            "`a` has spawned job 2, and was sent {other:?}, and not Spawned(Id(2))"
                        )),
                    }
                    turn(y, "a");
                    log.ran("a");
                }),
            );
            world.spawn("b", world.turns("b", 2));
            let (_, result) = world.run();
            let ran = world.record.ran.borrow().clone();
            let place = |name: &str, from: usize| {
                ran.iter().skip(from).position(|ran| *ran == name).map(|at| at + from)
            };
            match (place("a", 1), place("b", 0), place("c", 0)) {
                (_, _, None) => {
                    panic!("`c` was spawned in `a`'s turn, and never had a turn itself")
                }
                (_, b, c) if b.is_none() || c < b => panic!(
                    "`c` was spawned in `a`'s turn, and came before `b`: a new job joins at the BACK of the queue"
                ),
                (None, ..) => {
                    panic!(
                        "`a` asked for a new job, and had no turn after it: it stays in the round"
                    )
                }
                (Some(1), ..) => panic!(
                    "`a` asked for a new job, and went on in the same turn, before `b`: it joins the queue at the back"
                ),
                (a, _, c) if a < c => panic!(
                    "`a` asked for a new job, `c`, and went on before it: `c` joins the queue first, and `a` behind it"
                ),
                _ => {}
            }
            assert_end(result);
            world.expect(&["a", "b", "c", "a", "b", "c", "a", "b"]);
        },
    );
}

#[test]
fn t03_sleepers_wake_in_the_order_of_time() {
    check(
        "three jobs sleep for 30, 10 and 20 ms: each wakes at its time, with one `sleep` for each",
        || {
            let world = World::new();
            for (name, ms) in [("a", 30), ("b", 10), ("c", 20)] {
                world.spawn(name, world.sleeper(name, ms));
            }
            let time = world.run_to_the_end();
            let woken = world.record.ran.borrow()[3..].to_vec();
            let sleeps = time.sleeps();
            assert_eq!(woken, ["b", "c", "a"], "who sleeps shorter goes on earlier");
            assert_eq!(
                sleeps,
                [10, 20, 30],
                "`sleep` was to be called once for each of these times"
            );
        },
    );
}

#[test]
fn t04_all_wake_that_are_due() {
    check("three jobs sleep for 10 ms: one `sleep` wakes all", || {
        let world = World::new();
        for name in ["a", "b", "c"] {
            world.spawn(name, world.sleeper(name, 10));
        }
        let time = world.run_to_the_end();
        let ran = world.record.ran.borrow().len();
        assert!(
            ran == 6,
            "all three were due at 10 ms; only {} woke, and `run` returned as if no other slept: several may be due at one time",
            ran.saturating_sub(3)
        );
        let sleeps = time.sleeps().len();
        assert!(
            sleeps == 1,
            "`sleep` was called {sleeps} times: when 10 ms have come, ALL are ready that are due"
        );
        let woken = world.record.ran.borrow()[3..].join(" ");
        assert!(
            woken == "a b c",
            "a, b and c went to sleep in this order, all until 10 ms, and came in the order \"{woken}\": those that are due join \
             the queue at the BACK, and of one time, who went to sleep earlier is earlier"
        );
    });
}

#[test]
fn t05_those_that_are_due_come_in_the_order_of_their_times() {
    check(
        "a and b sleep until 20 ms, b earlier; c until 10 ms, d until 40 ms; each `sleep` returns 15 ms late",
        || {
            let world = World::new();
            let log = world.record.clone();
            world.spawn(
                "a",
                job("a", 3, move |y: &Y| {
                    turn(y, "a");
                    sleep(y, "a", 20);
                    log.ran("a");
                }),
            );
            for (name, ms) in [("b", 20), ("c", 10), ("d", 40)] {
                world.spawn(name, world.sleeper(name, ms));
            }
            world.record.time.sleeps_late(15);
            let time = world.run_to_the_end();
            let woken = world.record.ran.borrow()[3..].join(" ");
            let sleeps = time.sleeps();
            assert!(
                woken.starts_with('c'),
                "`sleep` returned at 25 ms, c was due at 10 ms, a and b at 20 ms, and they came in the order \"{woken}\": those \
                 that are due join the queue in the order of the times at which they were"
            );
            assert!(
                woken == "c b a d",
                "a and b sleep until 20 ms, b went to sleep first, and they came in the order \"{woken}\": of one time, who \
                 went to sleep earlier is earlier, whatever its number"
            );
            assert_eq!(
                sleeps,
                [10, 40],
                "`sleep` was to be called for the earliest time each time"
            );
        },
    );
}

#[test]
fn t06_a_sleep_begins_when_it_is_asked() {
    check("a sleeps for 10 ms, and then for 20 ms: that is until 30 ms", || {
        let world = World::new();
        let log = world.record.clone();
        world.spawn(
            "a",
            job("a", 3, move |y: &Y| {
                for ms in [10, 20] {
                    sleep(y, "a", ms);
                }
                log.ran("a");
            }),
        );
        world.spawn("b", world.sleeper("b", 25));
        let time = world.run_to_the_end();
        let woken = world.record.ran.borrow()[1..].to_vec();
        assert_eq!(woken, ["b", "a"], "b is due at 25 ms, and a, at last, at 30 ms");
        assert_eq!(time.sleeps(), [10, 25, 30], "`sleep` was to be called for each of these times");
    });
}

#[test]
fn t07_no_sleep_while_a_job_is_ready() {
    check("a sleeps; the thread does so only when b has nothing more to do", || {
        let world = World::new();
        world.spawn("a", world.sleeper("a", 10));
        world.spawn("b", world.turns("b", 3));
        let time = world.run_to_the_end();
        world.expect(&["a", "b", "b", "b", "b", "a"]);
        assert_eq!(time.sleeps(), [10], "`sleep` was to be called once");
    });
}

#[test]
fn t08_two_jobs_join_one() {
    check("b and c wait for the end of a: both go on when it has ended", || {
        let world = World::new();
        world.spawn("a", world.turns("a", 2));
        world.spawn("b", world.joiner("b", 0, Ok(())));
        world.spawn("c", world.joiner("c", 0, Ok(())));
        let result = world.run().1;
        let ran = world.record.ran.borrow().clone();
        let twice = |name: &&str| ran.iter().filter(|ran| *ran == name).count() == 2;
        let resumed: Vec<&str> = ["b", "c"].into_iter().filter(twice).collect();
        match resumed[..] {
            ["b", "c"] => assert_end(result),
            [one] => panic!("b and c wait for a; only {one} was resumed when it had ended"),
            _ => panic!(
                "b and c wait for a; neither was resumed when it had ended, and `run` returned {result:?}"
            ),
        }
    });
}

#[test]
fn t09_joiners_join_the_queue_at_the_back() {
    check(
        "b and c wait for the end of a, and c did so first; d is in the queue: then come d, c and b",
        || {
            let world = World::new();
            world.spawn("a", world.turns("a", 2));
            let log = world.record.clone();
            world.spawn(
                "b",
                job("b", 3, move |y: &Y| {
                    log.ran("b");
                    turn(y, "b");
                    log.ran("b");
                    joins(y, "a", Id(0), Ok(()));
                    log.ran("b");
                }),
            );
            world.spawn("c", world.joiner("c", 0, Ok(())));
            world.spawn("d", world.turns("d", 3));
            world.run_to_the_end();
            let ran = world.record.ran.borrow().join(" ");
            let end = ran.strip_prefix("a b c d a b d a ").unwrap_or("d c b d");
            assert!(
                end.starts_with('d'),
                "a had ended, d was in the queue, b and c waited for a; the turns were \"{ran}\": those that wait for an end join \
                 the queue at the BACK, and d was there before them"
            );
            assert!(
                end.starts_with("d c"),
                "c waited for the end of a before b did, and the turns were \"{ran}\": who waited first joins the queue first"
            );
            world.expect(&["a", "b", "c", "d", "a", "b", "d", "a", "d", "c", "b", "d"]);
        },
    );
}

#[test]
fn t10_a_job_joins_one_that_has_ended() {
    check("b joins a when that has ended already: the answer comes at once", || {
        let world = World::new();
        world.spawn("a", world.turns("a", 0));
        let log = world.record.clone();
        world.spawn(
            "b",
            job("b", 4, move |y: &Y| {
                turn(y, "b");
                turn(y, "b");
                joins(y, "a", Id(0), Ok(()));
                log.ran("b");
            }),
        );
        world.spawn("c", world.turns("c", 3));
        let result = world.run().1;
        assert!(
            world.record.ran.borrow().contains(&"b"),
            "b joined a, and was never resumed (`run` returned {result:?}): a had ended already: answer at once"
        );
        assert_end(result);
        let ran = world.record.ran.borrow().join(" ");
        assert!(
            ran != "a c c b c c",
            "a had ended already when b joined it, and b went on before c, which was in the queue: \"at once\" is without \
             waiting; with its answer, b joins the queue at the BACK"
        );
        world.expect(&["a", "c", "c", "c", "b", "c"]);
    });
}

#[test]
fn t11_a_panic_is_an_answer() {
    check("a panics: b, which joins it, is sent the panic's text, and c goes on", || {
        let world = World::new();
        let log = world.record.clone();
        world.spawn(
            "a",
            job("a", 2, move |y: &Y| {
                turn(y, "a");
                log.ran("a");
                panic!("the disk is full");
            }),
        );
        world.spawn("b", world.joiner("b", 0, Err("the disk is full".into())));
        world.spawn("c", world.turns("c", 5));
        let run = catch_unwind(AssertUnwindSafe(|| world.run_to_the_end()));
        match run {
            Err(payload) if kit::text_of(&*payload) == "the disk is full" => {
                panic!(
                    "a's panic came out of `run`: it ends a, and no other job; catch it around the resume"
                )
            }
            Err(payload) => resume_unwind(payload),
            Ok(_) => {}
        }
        let turns = world.record.ran.borrow().iter().filter(|name| **name == "c").count();
        assert!(turns == 6, "c had {turns} of 6 turns: a's panic ends a, and no other job");
    });
}

#[test]
fn t12_a_panic_in_the_first_turn() {
    check(
        "a panics in its first turn, with a text that is a `String`: b is sent this text",
        || {
            let world = World::new();
            let what = "the disk of {a} 已满";
            world.spawn("a", job("a", 1, move |_: &Y| panic!("{what}: {} %", 100)));
            world.spawn("b", world.joiner("b", 0, Err(format!("{what}: 100 %"))));
            let run = catch_unwind(AssertUnwindSafe(|| world.run_to_the_end()));
            if let Err(payload) = run {
                if kit::text_of(&*payload).starts_with(what) {
                    panic!(
                        "a's panic in its FIRST turn came out of `run`: catch it around `prime`, as around `send`"
                    );
                }
                resume_unwind(payload);
            }
        },
    );
}

#[test]
fn t13_waits_are_handed_to_sleep() {
    check(
        "a and b wait for sockets, c sleeps: `sleep` is given all, and says whose socket is ready",
        || {
            let world = World::new();
            let [a, b] = ["a", "b"].map(|name| {
                let (socket, other) = UnixStream::pair().expect("a pair of sockets");
                let log = world.record.clone();
                let waiter = job(name, 2, move |y: &Y| {
                    log.ran(name);
                    y.wait(socket.readable()).expect("it can wait");
                    log.ran(name);
                });
                world.spawn(name, waiter);
                (name, other)
            });
            world.spawn("c", world.sleeper("c", 10));
            world.record.time.sockets_are_ready([Some(b), None, Some(a)]);
            let (time, result) = world.run();
            let ran = world.record.ran.borrow().clone();
            for name in ["a", "b"] {
                assert!(
                    ran.iter().filter(|ran| **ran == name).count() == 2,
                    "`{name}` waits for a socket, and `run` returned {result:?} before it was resumed: it is not over while a \
                 job waits; all waits go to `sleep`, and the jobs whose numbers it returns join the queue"
                );
            }
            assert_end(result);
            world.expect(&["a", "b", "c", "b", "c", "a"]);
            assert_eq!(time.sleeps(), [10], "time was to pass once, until c is due");
        },
    );
}

#[test]
fn t14_a_cycle_is_reported() {
    check("a joins b, b joins a, and d joins a: `run` returns the three as stuck", || {
        let world = World::new();
        world.spawn("a", world.joiner("a", 1, Ok(())));
        world.spawn("b", world.joiner("b", 0, Ok(())));
        world.spawn("c", world.turns("c", 2));
        world.spawn("d", world.joiner("d", 0, Ok(())));
        expect_stuck(world.run().1, &[("a", "b"), ("b", "a"), ("d", "a")]);
    });
}

#[test]
fn t15_one_that_joins_itself_is_stuck() {
    check("a joins itself: `run` returns it as stuck", || {
        let world = World::new();
        world.spawn("a", world.joiner("a", 0, Ok(())));
        expect_stuck(world.run().1, &[("a", "a")]);
    });
}

#[test]
fn t16_time_goes_on_while_a_job_runs() {
    check(
        "a sleeps for 5 ms, then computes for 10 ms, and sleeps for 20 ms: that is until 35 ms",
        || {
            let world = World::new();
            let (log, time) = (world.record.clone(), world.record.time.clone());
            world.spawn(
                "a",
                job("a", 3, move |y: &Y| {
                    sleep(y, "a", 5);
                    time.passes(10);
                    sleep(y, "a", 20);
                    log.ran("a");
                }),
            );
            let time = world.run_to_the_end();
            world.expect(&["a"]);
            assert_eq!(time.sleeps(), [5, 35], "`sleep` was to be called for each of these times");
        },
    );
}

#[test]
fn t17_a_sleep_that_fails() {
    /// A world in which no thread can sleep.
    struct Fails {
        time: VirtualTime,
        has_failed: bool,
    }
    impl Outside for Fails {
        fn now(&self) -> u64 {
            self.time.now()
        }

        fn sleep(&mut self, _: Option<u64>, _: &[(Id, Wait)]) -> io::Result<Vec<Id>> {
            if self.has_failed {
                fail(format!("`outside.sleep` {FAILED}, and was called again: {PANICS}"));
            }
            self.has_failed = true;
            Err(io::Error::other(REASON))
        }
    }
    const REASON: &str = "the clock has stopped";
    const FAILED: &str = "returned an error";
    const PANICS: &str = "where it fails, `run` panics with this error";

    check("`outside.sleep` fails: `run` panics with its error", || {
        let world = World::new();
        world.spawn("a", world.sleeper("a", 10));
        let mut outside = Fails { time: world.record.time.clone(), has_failed: false };
        let run = AssertUnwindSafe(|| world.scheduler.borrow_mut().run(&mut outside));
        match catch_unwind(run) {
            Ok(result) => {
                panic!("`outside.sleep` {FAILED}, and `run` returned {result:?}: {PANICS}")
            }
            Err(payload) => {
                let text = kit::text_of(&*payload);
                assert!(
                    text.contains(REASON),
                    "`outside.sleep` {FAILED}, and `run` panicked without it ({text:?}): {PANICS}"
                );
            }
        }
    });
}

/// The scheduler of a test.
struct World {
    scheduler: RefCell<Scheduler>,
    record: Record,
    ids: RefCell<Vec<Id>>,
    names: RefCell<Vec<&'static str>>,
}

/// Who ran, and the time. Jobs have it, and not the scheduler that has them.
#[derive(Clone)]
struct Record {
    ran: Rc<RefCell<Vec<&'static str>>>,
    time: VirtualTime,
}

impl Record {
    fn ran(&self, name: &'static str) {
        self.ran.borrow_mut().push(name);
    }
}

impl World {
    fn new() -> World {
        let record = Record { ran: Rc::default(), time: VirtualTime::new() };
        draw_jobs("your scheduler");
        let scheduler = RefCell::new(Scheduler::new());
        World { scheduler, record, ids: RefCell::default(), names: RefCell::default() }
    }

    fn spawn(&self, name: &'static str, job: Job) {
        let id = self.scheduler.borrow_mut().spawn(name, job);
        spawned_as(name, id);
        self.ids.borrow_mut().push(id);
        self.names.borrow_mut().push(name);
    }

    fn run(&self) -> (VirtualTime, Result<(), Stuck>) {
        let result = self.scheduler.borrow_mut().run(&mut self.record.time.clone());
        let begun = |name: &&&str| !matches!(does(name), Some((Does::Ready, None)));
        let names = self.names.borrow();
        if let (Some(_), Some(name)) = (names.iter().find(begun), names.iter().find(|n| !begun(n)))
        {
            panic!(
                "`run` returned {result:?}, and `{name}`, which is in the queue, has had no turn yet: `run` gives turns in a loop, \
                 and returns when no job is ready, none sleeps, and none waits for a socket"
            );
        }
        let sleepers = names.iter().filter(|name| matches!(does(name), Some((Does::Sleeps(_), _))));
        let sleepers: Vec<String> = sleepers.map(|name| format!("`{name}`")).collect();
        if !sleepers.is_empty() {
            panic!(
                "`run` returned {result:?}, and left these asleep: {}. When the queue is empty, call `outside.sleep` with the earliest time at \
                 which one is due; `run` returns when no job is ready, none sleeps, and none waits for a socket",
                sleepers.join(", ")
            );
        }
        drop(names);
        (self.record.time.clone(), result)
    }

    fn run_to_the_end(&self) -> VirtualTime {
        let (time, result) = self.run();
        assert_end(result);
        time
    }

    /// A job that yields so many times for a turn.
    fn turns(&self, name: &'static str, times: usize) -> Job {
        let log = self.record.clone();
        job(name, times + 1, move |y: &Y| {
            for _ in 0..times {
                log.ran(name);
                turn(y, name);
            }
            log.ran(name);
        })
    }

    fn sleeper(&self, name: &'static str, ms: u64) -> Job {
        let log = self.record.clone();
        job(name, 2, move |y: &Y| {
            log.ran(name);
            sleep(y, name, ms);
            log.ran(name);
        })
    }

    fn joiner(&self, name: &'static str, of: usize, wanted: Result<(), String>) -> Job {
        let log = self.record.clone();
        job(name, 2, move |y: &Y| {
            log.ran(name);
            joins(y, if of == 0 { "a" } else { "b" }, Id(of), wanted);
            log.ran(name);
        })
    }

    #[track_caller]
    fn expect(&self, wanted: &[&str]) {
        let ran = self.record.ran.borrow();
        let (got, wanted) = (ran.join(" "), wanted.join(" "));
        assert!(
            got == wanted,
            "the turns were \"{got}\", and should be \"{wanted}\"{}",
            mistake(&got, &wanted)
        );
    }
}

/// Which mistake gives this order.
fn mistake(got: &str, wanted: &str) -> String {
    let (got, wanted): (Vec<&str>, Vec<&str>) =
        (got.split(' ').collect(), wanted.split(' ').collect());
    if got == [""] {
        return ": no job had a turn".to_owned();
    }
    let count = |turns: &[&str], name: &str| turns.iter().filter(|turn| **turn == name).count();
    if let Some(name) = wanted.iter().find(|name| count(&got, name) < count(&wanted, name)) {
        return format!(
            ": `{name}` had {} of its {} turns, and `run` returned. Each job that yields is somewhere, until it has ended: in the \
             queue, or where it waits; and `run` goes on until the queue is empty",
            count(&got, name),
            count(&wanted, name)
        );
    }
    let at = got.iter().zip(&wanted).position(|(got, wanted)| got != wanted).unwrap_or_default();
    if at == 0 {
        return format!(
            ": `{}` came first. Take from the FRONT of the queue, and join it at the BACK",
            got[0]
        );
    }
    match got[at - 1] == got[at] {
        true => format!(
            ": `{}` had two turns in a row. A turn is one resume; then it joins the queue at the BACK",
            got[at]
        ),
        false => format!(": it was `{}`'s turn, and `{}` had it", wanted[at], got[at]),
    }
}

/// Asks for a turn, and fails the check if the answer is another one.
fn turn(y: &Y, name: &str) {
    nothing(name, "Turn", y.yield_(Op::Turn));
}

fn sleep(y: &Y, name: &str, ms: u64) {
    nothing(name, "Sleep(..)", y.yield_(Op::Sleep(ms)));
}

fn nothing(name: &str, asked: &str, answer: Answer) {
    if answer != Answer::Nothing {
        fail(format!(
            "`{name}` has yielded `{asked}`, and was sent {answer:?}: the answer to that is `Nothing`. Is what is to be sent \
             kept with each job?"
        ));
    }
}

/// Joins a job, and fails the check if the answer is another one.
fn joins(y: &Y, name: &str, id: Id, wanted: Result<(), String>) {
    let had_ended = matches!(does(name), Some((Does::Ended, _)));
    match (y.yield_(Op::Join(id)), wanted) {
        (Answer::Ended(result), wanted) if result == wanted => {}
        (Answer::Ended(Ok(())), Err(_)) if had_ended => fail(format!(
            "`{name}` had panicked, and a job that joined it after that was sent Ended(Ok(())): remember HOW each job has ended"
        )),
        (Answer::Ended(Ok(())), Err(_)) => {
            fail(format!("`{name}` panicked; its joiner was told that it went well"))
        }
        (Answer::Ended(Err(sent)), Err(_)) if sent.contains("given the box") => fail(sent),
        (Answer::Ended(Err(_)), Err(text)) => fail(format!(
            "`{name}` panicked with {text:?}, and its joiner was sent another text: a panic's text is a `&str`, or, where it \
             was formatted, a `String`; `kit::text_of(&*payload)` knows both"
        )),
        (Answer::Ended(Err(text)), Ok(())) => fail(format!(
            "`{name}` has returned, and its joiner was sent Ended(Err({text:?})): that is for a job that panicked"
        )),
        (other, wanted) => fail(format!(
            "the job that joined `{name}` was sent {other:?}, and not Ended({wanted:?})"
        )),
    }
}

#[track_caller]
fn assert_end(result: Result<(), Stuck>) {
    let Err(Stuck { joins }) = result else { return };
    let ended = |name: &str| matches!(does(name), Some((Does::Ended, _)));
    match joins.iter().find(|(_, joined)| ended(joined)) {
        _ if joins.is_empty() => panic!(
            "`run` returned `Stuck` without a job in it: when no job is left, or none of them joins another, it is not stuck"
        ),
        _ if joins.iter().all(|(joiner, _)| ended(joiner)) => panic!(
            "`run` returned Stuck {{ joins: {joins:?} }}, and all of these have ended: it lists the jobs that are LEFT"
        ),
        Some((joiner, joined)) => panic!(
            "`run` returned Stuck {{ joins: {joins:?} }}, and `{joined}` has ended: when a job ends, ALL that join it join \
             the queue, `{joiner}` too"
        ),
        None => panic!("all jobs could end, and `run` returned Stuck {{ joins: {joins:?} }}"),
    }
}

#[track_caller]
fn expect_stuck(result: Result<(), Stuck>, wanted: &[(&str, &str)]) {
    let Err(Stuck { mut joins }) = result else {
        panic!(
            "{} for ever, and `run` returned Ok: it is stuck when nothing is ready, none sleeps or waits for a socket, and \
             some join, be it a single one",
            match wanted {
                [_] => "a joins itself, and waits",
                _ => "a and b wait for one another",
            }
        )
    };
    joins.sort_unstable();
    let mut turned: Vec<_> = joins.iter().map(|(one, other)| (*other, *one)).collect();
    turned.sort_unstable();
    match () {
        () if joins == wanted => {}
        () if turned == wanted => panic!(
            "`joins` is {joins:?}, and should be {wanted:?}: first the job that waits, then the one whose end it waits for"
        ),
        () if joins.iter().any(|(joiner, _)| matches!(does(joiner), Some((Does::Ended, _)))) => {
            panic!(
                "`joins` is {joins:?}, with a job that has ended; it lists each job that is LEFT, and the one that it joins: \
                 {wanted:?}"
            )
        }
        () => panic!(
            "`joins` is {joins:?}, and should be {wanted:?}: each job that is left, and the one that it joins"
        ),
    }
}
