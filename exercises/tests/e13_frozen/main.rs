//! The tests of 13 frozen.

mod exercise;
mod given;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use exercise::{Account, count, primes, read};
use given::{Sensor, is_prime};
use kit::{Log, check, lesson, lesson_on_real_clock, picture, text_of, warnings};
use wouldblock::{green, group::gather, task};

#[test]
fn t01_a_computation_gives_turns() {
    check("the heart beats while `count` computes", || {
        let wanted = (2..30_000).filter(|n| is_prime(*n)).count();
        lesson_on_real_clock(move || {
            let heart = Heart::start(green::yield_now);
            assert_eq!(count(30_000), wanted, "there are so many primes below 30,000");
            let beats = heart.beats.get();
            assert_eq!(count(2), 0, "there is no prime below 2");
            if beats < 10 {
                count(300_000); // That takes long enough for the watchdog.
                let warning = warnings().pop().map(|text| format!("\nThe crate's warning: {text}"));
                panic!(
                    "the heart beat {beats} times while `count` computed: give the others a turn now and then, within the \
                     loop{}",
                    warning.unwrap_or_default()
                );
            }
        });
    });
}

#[test]
fn t02_a_blocking_call_goes_to_another_thread() {
    check("the heart beats while the sensor is read", || {
        lesson_on_real_clock(|| {
            let (beat, beats) = mpsc::channel();
            let heart = Heart::start(move || {
                beat.send(()).ok();
                green::sleep(Duration::from_millis(1));
            });
            let sensor = Sensor { beats: Arc::new(Mutex::new(beats)), read_on: Arc::default() };
            let degrees = read(&sensor);
            let read_on = *sensor.read_on.lock().unwrap();
            assert!(read_on.is_some(), "the sensor was not read at all");
            assert!(
                read_on != Some(thread::current().id()),
                "the sensor was read on the scheduler's own thread, which it blocks: no task had a turn meanwhile (the \
                 heart beat {} times). `offload` calls it on another one",
                heart.beats.get()
            );
            assert_eq!(degrees, 21, "what the sensor gives is returned");
        });
    });
}

#[test]
fn t03_two_deposits_are_both_there() {
    check(
        "two tasks deposit 10 each, and the bank takes a while: 110, then 120; the heart beats on",
        || {
            lesson(|| {
                let heart = Heart::start(|| green::sleep(Duration::from_millis(1)));
                let account = Rc::new(Account::new(100));
                let confirmed: Rc<RefCell<Vec<u64>>> = Rc::default();
                let log = Log::new("bank");
                picture(log.clone());
                let tasks = ["a", "b"].map(|name| {
                    let (account, confirmed, log) =
                        (account.clone(), confirmed.clone(), log.clone());
                    task::Builder::new().name(name).spawn(move || {
                        account.deposit(10, &|new| {
                            log.of(name).say(new);
                            confirmed.borrow_mut().push(new);
                            green::sleep(Duration::from_millis(20));
                        });
                    })
                });
                for task in green::wait(gather(tasks)) {
                    if let Err(error) = task {
                        match error.into_panic() {
                            Ok(payload) => std::panic::resume_unwind(payload),
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                let confirmed = confirmed.take();
                assert!(
                    confirmed != [110, 110],
                    "110 was confirmed twice, and the account has {}: a deposit came in while the other waited; hold a lock \
                 over all of it, one that stops only the tasks that want it",
                    account.balance()
                );
                assert_eq!(confirmed, [110, 120], "the bank confirms each new balance");
                assert_eq!(account.balance(), 120, "100 and 10 and 10 are in it");
                assert!(heart.beats.get() > 10, "the heart beat {} times", heart.beats.get());
            });
        },
    );
}

#[test]
fn t04_primes_use_several_threads() {
    check(
        "four numbers, four threads: each has a run of its own, and all are at work together",
        || {
            let got = primes(vec![10, 20, 30, 40], 4, meeting);
            let met = MET.lock().unwrap();
            let threads = met.threads.iter().collect::<HashSet<_>>().len();
            assert!(
                met.outside == 0,
                "`count` was called outside of a run: each thread needs a scheduler of its own, `wouldblock::run(|| ..)`"
            );
            assert!(
                threads != 1,
                "four tasks, one thread: a scheduler has one core, however many tasks it has; start threads, and a run in each"
            );
            assert!(threads == 4, "4 threads were asked for, and {threads} were used");
            assert!(
                met.most > 1,
                "never were two threads at work together: start all, then wait for each"
            );
            assert_eq!(got, [4, 8, 10, 12], "the numbers of primes below 10, 20, 30 and 40");
        },
    );
}

#[test]
fn t05_primes_in_shares() {
    check("five numbers on two threads, one number on three, and none", || {
        fn plain(below: u32) -> usize {
            (2..below).filter(|n| is_prime(*n)).count()
        }
        let got = primes(vec![50, 40, 30, 20, 10], 2, plain);
        assert!(
            got.len() == 5,
            "five numbers were shared between two threads, and {} results came: the number that is left over is some thread's, too",
            got.len()
        );
        assert_eq!(got, [15, 12, 10, 8, 4], "results stand in the order of the numbers");
        assert_eq!(primes(vec![10], 3, plain), [4], "there may be more threads than numbers");
        let none = std::panic::catch_unwind(|| primes(Vec::new(), 2, plain));
        let none = none.unwrap_or_else(|payload| {
            panic!("`primes` of no number at all panicked: {}", text_of(&*payload))
        });
        assert_eq!(none, [0; 0], "no number, no result");
    });
}

/// A task that beats again and again.
struct Heart {
    beats: Rc<Cell<usize>>,
    stop: Rc<Cell<bool>>,
}

impl Heart {
    fn start(each: impl Fn() + 'static) -> Heart {
        let heart = Heart { beats: Rc::default(), stop: Rc::default() };
        let (beats, stop) = (heart.beats.clone(), heart.stop.clone());
        let beating = move || {
            while !stop.get() {
                beats.set(beats.get() + 1);
                match beats.get() {
                    ..1000 => each(),
                    _ => green::sleep(Duration::from_millis(1)), // The work is long: the turns of a lesson are limited.
                }
            }
        };
        drop(task::Builder::new().name("heart").spawn(beating));
        heart
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.stop.set(true);
    }
}

/// What the calls of `meeting` have seen.
struct Met {
    threads: Vec<ThreadId>,
    outside: usize,
    now: usize,
    most: usize,
}

static MET: Mutex<Met> = Mutex::new(Met { threads: Vec::new(), outside: 0, now: 0, most: 0 });
static CAME: Condvar = Condvar::new();

/// Counts primes, and waits until another call has come, or for a second.
fn meeting(below: u32) -> usize {
    let mut met = MET.lock().unwrap();
    met.threads.push(thread::current().id());
    met.outside += usize::from(task::current().is_none());
    met.now += 1;
    met.most = met.most.max(met.now);
    CAME.notify_all();
    let lonely = |met: &mut Met| met.most < 2;
    let (mut met, _) = CAME.wait_timeout_while(met, Duration::from_secs(1), lonely).unwrap();
    met.now -= 1;
    drop(met);
    (2..below).filter(|n| is_prime(*n)).count()
}
