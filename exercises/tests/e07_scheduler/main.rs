//! The tests of 07 scheduler.

mod exercise;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use exercise::{Scheduler, Stuck};
use kit::{Answer, Id, Job, Op, VirtualTime, check, draw_jobs, fail, job, spawned_as};
use wouldblock::generator::Yielder;

type Y = Yielder<Op, Answer>;

#[test]
fn turns_go_round() {
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
fn a_job_spawns_a_job() {
    check("a spawns c: c joins the queue at the back, and a is sent its number, 2", || {
        let world = World::new();
        let c = world.turns("c", 1);
        let log = world.record.clone();
        world.spawn(
            "a",
            job("a", 3, move |y: &Y| {
                log.ran("a");
                match y.yield_(Op::Spawn("c", c)) {
                    Answer::Spawned(Id(2)) => log.ran("a"),
                    other => fail(format!("`a` has spawned job 2, and was sent {other:?}")),
                }
                y.yield_(Op::Turn);
                log.ran("a");
            }),
        );
        world.spawn("b", world.turns("b", 2));
        world.run_to_the_end();
        let ran = world.record.ran.borrow().clone();
        // Whether `a` goes on at once, or in its next turn, is left open.
        let place = |name: &str| ran.iter().position(|ran| *ran == name);
        match (place("b"), place("c")) {
            (_, None) => panic!("`c` was spawned in `a`'s turn, and never had a turn itself"),
            (b, c) if c < b => panic!(
                "`c` was spawned in `a`'s turn, and came before `b`: a new job joins at the BACK of the queue"
            ),
            _ => {}
        }
        if ran.iter().filter(|name| **name == "a").count() < 3 {
            panic!("`a` asked for a new job, and had no turn after it: it stays in the round");
        }
    });
}

#[test]
fn sleepers_wake_in_the_order_of_time() {
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
fn all_wake_that_are_due() {
    check("three jobs sleep for 10 ms: one `sleep` wakes all", || {
        let world = World::new();
        for name in ["a", "b", "c"] {
            world.spawn(name, world.sleeper(name, 10));
        }
        let time = world.run_to_the_end();
        let ran = world.record.ran.borrow().len();
        assert!(ran == 6, "{} of the three woke", ran.saturating_sub(3));
        let sleeps = time.sleeps().len();
        assert!(
            sleeps == 1,
            "`sleep` was called {sleeps} times: when 10 ms have come, ALL are ready that are due"
        );
    });
}

#[test]
fn two_jobs_join_one() {
    check("b and c wait for the end of a: both go on when it has ended", || {
        let world = World::new();
        world.spawn("a", world.turns("a", 2));
        world.spawn("b", world.joiner("b", 0, Ok(())));
        world.spawn("c", world.joiner("c", 0, Ok(())));
        let result = world.run().1;
        let resumed: Vec<&str> = ["b", "c"]
            .into_iter()
            .filter(|name| world.record.ran.borrow().iter().filter(|r| *r == name).count() == 2)
            .collect();
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
fn a_job_joins_one_that_has_ended() {
    check("b joins a when that has ended already: the answer comes at once", || {
        let world = World::new();
        world.spawn("a", world.turns("a", 0));
        let log = world.record.clone();
        world.spawn(
            "b",
            job("b", 4, move |y: &Y| {
                y.yield_(Op::Turn);
                y.yield_(Op::Turn);
                joins(y, "a", Id(0), Ok(()));
                log.ran("b");
            }),
        );
        let result = world.run().1;
        assert!(
            world.record.ran.borrow().contains(&"b"),
            "b joined a, and was never resumed (`run` returned {result:?}): a had ended already: answer at once"
        );
        assert_end(result);
    });
}

#[test]
fn a_panic_is_an_answer() {
    check("a panics: b, which joins it, is sent the panic's text, and c goes on", || {
        let world = World::new();
        let log = world.record.clone();
        world.spawn(
            "a",
            job("a", 2, move |y: &Y| {
                y.yield_(Op::Turn);
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
fn a_cycle_is_reported() {
    check("a joins b, and b joins a: `run` returns the two as stuck", || {
        let world = World::new();
        world.spawn("a", world.joiner("a", 1, Ok(())));
        world.spawn("b", world.joiner("b", 0, Ok(())));
        world.spawn("c", world.turns("c", 2));
        let Err(mut stuck) = world.run().1 else {
            panic!(
                "a and b wait for one another, and `run` returned Ok: it is stuck when nothing is ready and some join"
            )
        };
        stuck.joins.sort_unstable();
        assert_eq!(
            stuck.joins,
            [("a", "b"), ("b", "a")],
            "`joins` lists each job that is left, and whom it joins"
        );
    });
}

/// The scheduler of a test.
struct World {
    scheduler: RefCell<Scheduler>,
    record: Record,
    ids: RefCell<Vec<Id>>,
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
        World { scheduler: RefCell::new(Scheduler::new()), record, ids: RefCell::default() }
    }

    fn spawn(&self, name: &'static str, job: Job) {
        let id = self.scheduler.borrow_mut().spawn(name, job);
        spawned_as(name, id);
        self.ids.borrow_mut().push(id);
    }

    fn run(&self) -> (VirtualTime, Result<(), Stuck>) {
        let result = self.scheduler.borrow_mut().run(&mut self.record.time.clone());
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
                y.yield_(Op::Turn);
            }
            log.ran(name);
        })
    }

    fn sleeper(&self, name: &'static str, ms: u64) -> Job {
        let log = self.record.clone();
        job(name, 2, move |y: &Y| {
            log.ran(name);
            y.yield_(Op::Sleep(ms));
            let now = kit::Outside::now(&log.time);
            if now < ms {
                fail(format!(
                    "`{name}` slept for {ms} ms, and was resumed after {now} ms, too early"
                ));
            }
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
        assert!(got == wanted, "the turns were \"{got}\", and should be \"{wanted}\"");
    }
}

/// Joins a job, and fails the check if the answer is another one.
fn joins(y: &Y, name: &str, id: Id, wanted: Result<(), String>) {
    match (y.yield_(Op::Join(id)), wanted) {
        (Answer::Ended(result), wanted) if result == wanted => {}
        (Answer::Ended(Ok(())), Err(_)) => {
            fail(format!("`{name}` panicked; its joiner was told that it went well"))
        }
        (other, wanted) => fail(format!(
            "who joined `{name}` was sent {other:?}, and was to be sent Ended({wanted:?})"
        )),
    }
}

#[track_caller]
fn assert_end(result: Result<(), Stuck>) {
    if let Err(stuck) = result {
        panic!("all jobs could end, and `run` returned {stuck:?}");
    }
}
