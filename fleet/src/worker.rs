//! A worker: takes jobs, downloads so many at once, renews what it has, and hands in the results.
//!
//! Three tasks talk with the queue, each at its own pace: one takes jobs, one hands in results, as many at a time as
//! have gathered while the last ones were on their way, and one renews. Between them is what the worker holds.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use wouldblock::sync::{Event, Mutex, Semaphore};
use wouldblock::{green, time};

use crate::download::{Download, host};
use crate::queue::{Job, Outcome, Queue};

/// How often a worker renews what it has: several times within the time after which others claim it.
const RENEW: Duration = Duration::from_millis(750);

/// How long, at most, a job that a worker has taken ahead of need waits there, while another worker might do it.
const AHEAD: Duration = Duration::from_millis(100);

/// Results that are handed in at once, at most.
const BATCH: usize = 1000;

/// How long a worker waits for jobs before it looks for those of dead workers.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same, for a worker that is to end when no job is left: it looks whether that is so.
const IMPATIENCE: Duration = Duration::from_millis(250);

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a worker works.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Downloads at once.
    pub concurrency: usize,
    /// Downloads at once from one host, in the whole fleet.
    pub per_host: Option<u32>,
    /// Attempts after the first one.
    pub retries: u32,
    /// Ends when no job is left, with any worker.
    pub until_empty: bool,
}

/// What a worker holds.
struct Hands<'a> {
    manner: &'a Manner,
    /// The ids of jobs that were taken, and whose result is not in the queue yet.
    held: RefCell<BTreeSet<String>>,
    /// A place for each download at once.
    places: Semaphore,
    lines: Lines,
    /// How long a download has its place, going by the latest.
    usual: Cell<Option<Duration>>,
    /// Results to hand in.
    ends: RefCell<Vec<(Job, Outcome)>>,
    /// Set when there are some, and when no job is taken any more.
    ended: Event,
    /// Set when fewer jobs are held.
    fewer: Event,
    /// No job is taken any more.
    closed: Cell<bool>,
}

impl<'a> Hands<'a> {
    fn new(manner: &'a Manner) -> Hands<'a> {
        Hands {
            manner,
            held: RefCell::default(),
            places: Semaphore::new(manner.concurrency),
            lines: Lines::default(),
            usual: Cell::default(),
            ends: RefCell::default(),
            ended: Event::new(),
            fewer: Event::new(),
            closed: Cell::default(),
        }
    }

    /// How many jobs to take now. A download that ends is followed at once by one that was taken ahead, and each call
    /// of the queue takes several. That is for short downloads: what is taken ahead begins within [`AHEAD`], and is
    /// never more than as many again as the worker has places.
    fn room(&self) -> usize {
        let places = self.manner.concurrency;
        let share = |usual: Duration| AHEAD.as_secs_f64() / usual.as_secs_f64().max(1e-6);
        let share = self.usual.get().map_or(0.0, share).min(1.0);
        let ahead = (places as f64 * share) as usize;
        let held = self.held.borrow().len();
        match held <= places + ahead / 2 {
            true => places + ahead - held,
            false => 0,
        }
    }

    /// Takes note of how long a download has had its place.
    fn took(&self, time: Duration) {
        let usual = self.usual.get().map_or(time, |usual| (usual * 7 + time) / 8);
        self.usual.set(Some(usual));
    }
}

/// Works until `stop` is set, and finishes what it has begun.
///
/// # Errors
///
/// The queue's.
pub fn work(
    queue: &dyn Queue,
    web: &dyn Download,
    manner: &Manner,
    stop: &Event,
) -> io::Result<()> {
    let hands = &Hands::new(manner);
    let patience = if manner.until_empty { IMPATIENCE } else { PATIENCE };
    green::scope(|scope| {
        let renewing = scope.spawn(|| keep_renewing(queue, hands));
        let done = green::try_scope(|tasks| {
            tasks.spawn(move || {
                while !stop.is_set() {
                    let room = hands.room();
                    if room == 0 {
                        hands.fewer.clear();
                        hands.fewer.wait();
                        continue;
                    }
                    let jobs = queue.take(room, patience)?;
                    let none = jobs.is_empty();
                    for job in jobs {
                        // Not renewed in time, and claimed by this very worker: it is under way.
                        if !hands.held.borrow_mut().insert(job.id.clone()) {
                            continue;
                        }
                        drop(tasks.spawn(move || {
                            let outcome = one(queue, web, hands, &job)?;
                            hands.ends.borrow_mut().push((job, outcome));
                            hands.ended.set();
                            Ok(())
                        }));
                    }
                    let idle = none && hands.held.borrow().is_empty();
                    if idle && manner.until_empty && queue.left()? == 0 {
                        break;
                    }
                }
                hands.closed.set(true);
                hands.ended.set();
                Ok(())
            });
            hand_in(queue, hands)?;
            tasks.cancel(); // What waits for jobs, where none is left.
            Ok(())
        });
        renewing.cancel();
        done
    })
}

/// Hands in results, until there will be no more.
fn hand_in(queue: &dyn Queue, hands: &Hands<'_>) -> io::Result<()> {
    loop {
        let ends: Vec<_> = {
            let mut all = hands.ends.borrow_mut();
            let some = all.len().min(BATCH);
            all.drain(..some).collect()
        };
        if ends.is_empty() {
            if hands.closed.get() && hands.held.borrow().is_empty() {
                return Ok(());
            }
            hands.ended.clear();
            hands.ended.wait();
            continue;
        }
        let left = queue.finish(&ends)?;
        for (job, _) in &ends {
            hands.held.borrow_mut().remove(&job.id);
        }
        hands.fewer.set();
        if hands.manner.until_empty && left == 0 {
            return Ok(());
        }
    }
}

fn keep_renewing(queue: &dyn Queue, hands: &Hands<'_>) {
    loop {
        green::sleep(RENEW);
        let ids: Vec<String> = hands.held.borrow().iter().cloned().collect();
        // What is not renewed is done twice, at worst.
        if let Err(error) = queue.renew(&ids) {
            eprintln!("fleet: cannot renew {} jobs: {error}", ids.len());
        }
    }
}

/// For each host whose downloads wait for a place, the line in which they do: only the first of a line asks the queue.
type Lines = RefCell<HashMap<String, Rc<Mutex<()>>>>;

/// Does one job, in one of the worker's places.
fn one(queue: &dyn Queue, web: &dyn Download, hands: &Hands<'_>, job: &Job) -> io::Result<Outcome> {
    let _place = hands.places.acquire();
    let start = time::now();
    let outcome = match hands.manner.per_host {
        None => attempts(web, hands.manner, job),
        Some(places) => in_turn(queue, web, hands, job, places)?,
    };
    hands.took(time::now() - start);
    Ok(outcome)
}

/// Does one job, in one of the places for its host.
fn in_turn(
    queue: &dyn Queue,
    web: &dyn Download,
    hands: &Hands<'_>,
    job: &Job,
    places: u32,
) -> io::Result<Outcome> {
    let (lines, host) = (&hands.lines, host(&job.url));
    let line = lines.borrow_mut().entry(host.into()).or_default().clone();
    let first = line.lock();
    while !queue.enter(host, job, places)? {
        green::sleep(SHORTEST_PAUSE);
    }
    drop(first);
    if Rc::strong_count(&line) == 2 {
        lines.borrow_mut().remove(host); // The map's, and this task's: nothing stands in it.
    }
    let outcome = attempts(web, hands.manner, job);
    queue.leave(host, job)?;
    Ok(outcome)
}

/// Tries until it succeeds, or it makes no sense to try again.
fn attempts(web: &dyn Download, manner: &Manner, job: &Job) -> Outcome {
    let mut pause = SHORTEST_PAUSE;
    let mut left = manner.retries;
    loop {
        match web.download(&job.url) {
            Ok((path, bytes)) => {
                return Outcome::Done { path: path.display().to_string(), bytes };
            }
            Err(trouble) if !trouble.passing || left == 0 => {
                return Outcome::Failed { why: trouble.why };
            }
            Err(_) => {}
        }
        left -= 1;
        green::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::path::PathBuf;
    use std::time::Duration;

    use wouldblock::sync::Event;
    use wouldblock::{Builder, green};

    use super::{Manner, work};
    use crate::download::{Download, Trouble};
    use crate::local::{LocalQueue, Store};
    use crate::queue::{Job, Outcome, Queue};

    /// How many there are, and were at most.
    #[derive(Default)]
    struct Count {
        now: Cell<usize>,
        most: Cell<usize>,
    }

    impl Count {
        fn add(&self, more: usize) {
            self.now.set(self.now.get() + more);
            self.most.set(self.most.get().max(self.now.get()));
        }

        fn remove(&self, fewer: usize) {
            self.now.set(self.now.get() - fewer);
        }
    }

    /// A web whose downloads take so long.
    struct Web {
        time: Duration,
        under_way: Count,
    }

    impl Download for Web {
        fn download(&self, url: &str) -> Result<(PathBuf, u64), Trouble> {
            self.under_way.add(1);
            green::sleep(self.time);
            self.under_way.remove(1);
            match url.ends_with("missing") {
                true => Err(Trouble { why: "it is not there".into(), passing: false }),
                false => Ok((PathBuf::from("file"), 1)),
            }
        }
    }

    /// A queue that counts the jobs that were taken and have not ended, and answers as late as a server does.
    struct Counting {
        queue: LocalQueue,
        held: Count,
        calls: Cell<usize>,
    }

    impl Counting {
        fn answer(&self) {
            self.calls.set(self.calls.get() + 1);
            green::sleep(Duration::from_millis(1));
        }
    }

    impl Queue for Counting {
        fn take(&self, room: usize, patience: Duration) -> io::Result<Vec<Job>> {
            self.answer();
            let jobs = self.queue.take(room, patience)?;
            assert!(jobs.len() <= room);
            self.held.add(jobs.len());
            Ok(jobs)
        }

        fn renew(&self, ids: &[String]) -> io::Result<()> {
            self.queue.renew(ids)
        }

        fn finish(&self, ends: &[(Job, Outcome)]) -> io::Result<u64> {
            self.answer();
            self.held.remove(ends.len());
            self.queue.finish(ends)
        }

        fn enter(&self, host: &str, job: &Job, places: u32) -> io::Result<bool> {
            self.queue.enter(host, job, places)
        }

        fn leave(&self, host: &str, job: &Job) -> io::Result<()> {
            self.queue.leave(host, job)
        }

        fn left(&self) -> io::Result<u64> {
            self.queue.left()
        }
    }

    /// Does so many jobs, in downloads of so many ms.
    fn done(jobs: usize, time: u64, concurrency: usize, per_host: Option<u32>) -> (Web, Counting) {
        Builder::new().virtual_clock().run(|| {
            let urls = (1..jobs).map(|n| Ok(format!("http://a.example/{n}")));
            let urls = urls.chain([Ok("http://a.example/missing".to_owned())]);
            let store = Store::of(urls).unwrap();
            let queue = LocalQueue { store: store.clone(), worker: "a".into() };
            let queue = Counting { queue, held: Count::default(), calls: Cell::default() };
            let manner = Manner { concurrency, per_host, retries: 3, until_empty: true };
            let web = Web { time: Duration::from_millis(time), under_way: Count::default() };
            work(&queue, &web, &manner, &Event::new()).unwrap();
            let results = store.results();
            assert_eq!(results.len(), jobs);
            assert_eq!(results["http://a.example/missing"].list(), "failed");
            assert_eq!((web.under_way.now.get(), queue.held.now.get()), (0, 0));
            (web, queue)
        })
    }

    #[test]
    fn so_many_at_once_and_no_more() {
        assert_eq!(done(21, 100, 7, None).0.under_way.most.get(), 7);
    }

    #[test]
    fn so_many_from_one_host_and_no_more() {
        assert_eq!(done(21, 100, 7, Some(3)).0.under_way.most.get(), 3);
    }

    #[test]
    fn jobs_that_take_long_are_not_taken_ahead_of_need() {
        assert_eq!(done(100, 10_000, 10, None).1.held.most.get(), 10);
    }

    #[test]
    fn short_jobs_are_taken_and_handed_in_several_at_a_time() {
        let (_, queue) = done(1000, 10, 20, None);
        assert_eq!(queue.held.most.get(), 40, "as many again as there are places");
        assert!(queue.calls.get() < 250, "{} calls for 1000 jobs", queue.calls.get());
    }
}
