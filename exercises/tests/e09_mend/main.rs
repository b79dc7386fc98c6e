//! The tests of 09 mend: one for each fault, drawn.

mod exercise;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use exercise::Scheduler;
use kit::{Answer, Id, Job, Op, VirtualTime, check, draw_jobs, fail, job, spawned_as, text_of};
use wouldblock::generator::Yielder;

type Y = Yielder<Op, Answer>;

#[test]
fn t01_a_new_job_waits_for_its_turn() {
    check("a spawns d while b and c are ready: d comes after them", || {
        let world = World::new();
        let (log, d) = (world.record.clone(), world.turns("d", 1));
        world.spawn(
            "a",
            job("a", 2, move |y: &Y| {
                log.ran("a");
                y.yield_(Op::Spawn("d", d));
            }),
        );
        world.spawn("b", world.turns("b", 1));
        world.spawn("c", world.turns("c", 1));
        world.run(0);
        let ran = world.record.ran.borrow();
        let first: Vec<&str> = ran.iter().take(4).copied().collect();
        if first != ["a", "b", "c", "d"] {
            let at = first.iter().position(|name| *name == "d").map_or(0, |at| at + 1);
            panic!(
                "row d: it was spawned when `b` and `c` were ready, and had turn {at} of all: it was put in FRONT of them"
            );
        }
    });
}

#[test]
fn t02_the_thread_sleeps_while_all_do() {
    check("b and c sleep, for 20 and 10 ms: the thread sleeps too", || {
        let world = World::new();
        world.spawn("a", world.turns("a", 2));
        world.spawn("b", world.sleeper("b", 20));
        world.spawn("c", world.sleeper("c", 10));
        world.run(0);
        let sleeps = world.record.time.sleeps();
        assert!(
            sleeps == [10, 20],
            "rows b and c: the thread slept until {sleeps:?}, and was to sleep ONCE until 10 and once until 20 ms"
        );
    });
}

#[test]
fn t03_two_wait_for_one() {
    check("b and c join a", || {
        let world = World::new();
        world.spawn("a", world.turns("a", 2));
        for name in ["b", "c"] {
            world.spawn(name, world.joiner(name, Ok(())));
        }
        let left = world.scheduler.borrow_mut().run(&mut world.record.time.clone());
        let resumed =
            |name: &&str| world.record.ran.borrow().iter().filter(|ran| *ran == name).count() == 2;
        match ["b", "c"].iter().filter(|name| !resumed(name)).collect::<Vec<_>>()[..] {
            [] => {
                assert_eq!(left, 0, "all jobs have ended, and `run` returned that {left} are left")
            }
            [lost] => panic!(
                "row {lost}: it is ready when a has ended, and has no turn; the other one that joined a went on"
            ),
            _ => panic!("rows b and c: both are ready when a has ended, and have no turn"),
        }
    });
}

#[test]
fn t04_one_joins_late() {
    check("b joins a, which has ended long before", || {
        let world = World::new();
        world.spawn("a", world.turns("a", 0));
        let log = world.record.clone();
        world.spawn(
            "b",
            job("b", 4, move |y: &Y| {
                (0..2).for_each(|_| drop(y.yield_(Op::Turn)));
                joins(y, "a", Ok(()));
                log.ran("b");
            }),
        );
        let left = world.scheduler.borrow_mut().run(&mut world.record.time.clone());
        assert!(
            world.record.ran.borrow().contains(&"b"),
            "row b: it waits for a to the end, and a had ended before b joined it: the result of a is lost"
        );
        assert_eq!(left, 0, "all jobs have ended, and `run` returned that {left} are left");
    });
}

#[test]
fn t05_a_panic_ends_one_job() {
    check("d panics; c joins it, and b has nothing to do with it", || {
        let world = World::new();
        world.spawn(
            "d",
            job("d", 2, |y: &Y| {
                y.yield_(Op::Turn);
                panic!("no such page");
            }),
        );
        world.spawn("b", world.turns("b", 4));
        world.spawn("c", world.joiner("c", Err("no such page".into())));
        match catch_unwind(AssertUnwindSafe(|| world.run(0))) {
            Err(payload) if text_of(&*payload) == "no such page" => {
                panic!(
                    "rows b and c: they end with d, whose panic came out of `run`; only d has failed"
                )
            }
            Err(payload) => resume_unwind(payload),
            Ok(()) => {}
        }
        let turns = world.record.ran.borrow().iter().filter(|name| **name == "b").count();
        assert_eq!(turns, 5, "row b: it had {turns} of 5 turns");
    });
}

/// The scheduler of a test.
struct World {
    scheduler: RefCell<Scheduler>,
    record: Record,
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
        draw_jobs("the scheduler to be mended");
        World { scheduler: RefCell::new(Scheduler::new()), record }
    }

    fn spawn(&self, name: &'static str, job: Job) {
        spawned_as(name, self.scheduler.borrow_mut().spawn(job));
    }

    #[track_caller]
    fn run(&self, left: usize) {
        let result = self.scheduler.borrow_mut().run(&mut self.record.time.clone());
        assert_eq!(result, left, "`run` returned how many jobs are left");
    }

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
            y.yield_(Op::Sleep(ms));
            let now = kit::Outside::now(&log.time);
            if now < ms {
                fail(format!("row {name}: it sleeps for {ms} ms, and was resumed after {now} ms"));
            }
        })
    }

    /// A job that joins the first that was spawned.
    fn joiner(&self, name: &'static str, wanted: Result<(), String>) -> Job {
        let log = self.record.clone();
        job(name, 2, move |y: &Y| {
            log.ran(name);
            joins(y, if wanted.is_ok() { "a" } else { "d" }, wanted);
            log.ran(name);
        })
    }
}

/// Joins the first job that was spawned, and fails the check if the answer is another one.
fn joins(y: &Y, first: &str, wanted: Result<(), String>) {
    match (y.yield_(Op::Join(Id(0))), wanted) {
        (Answer::Ended(result), wanted) if result == wanted => {}
        (Answer::Ended(Ok(())), Err(_)) => {
            fail(format!("{first} failed; its joiner was told that it went well"))
        }
        (other, wanted) => fail(format!(
            "who joined {first} was sent {other:?}, and was to be sent Ended({wanted:?})"
        )),
    }
}
