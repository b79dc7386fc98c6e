//! The queue in this process: for a first try without any server, and for the simulation. It ends with the process.
//!
//! It keeps the promises of the one in Redis, by the scheduler's clock: jobs that were not renewed are claimed, and a
//! job that has had too many workers is buried.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use wouldblock::sync::Event;
use wouldblock::time;

use crate::queue::{DEADLY, IDLE, Job, Outcome, Queue};

/// The jobs and results, which the queues of all workers share.
#[derive(Default)]
pub struct Store {
    waiting: RefCell<VecDeque<Job>>,
    pending: RefCell<Pending>,
    /// By host: the ids of jobs.
    places: RefCell<HashMap<String, HashSet<String>>>,
    results: RefCell<BTreeMap<String, Outcome>>,
    /// Set when no job is left.
    empty: Event,
    /// Calls of workers: in Redis, each would be a round trip.
    calls: Cell<u64>,
}

/// What was delivered and has not ended.
#[derive(Default)]
struct Pending {
    by_id: HashMap<String, Delivery>,
    /// The ids, by the time of the last delivery or renewal.
    by_time: BTreeSet<(Instant, String)>,
}

struct Delivery {
    job: Job,
    worker: String,
    since: Instant,
    count: u64,
}

impl Pending {
    /// Delivers a job, for the first time or again.
    fn deliver(&mut self, job: Job, worker: &str, count: u64) {
        let (id, since) = (job.id.clone(), time::now());
        self.by_time.insert((since, id.clone()));
        self.by_id.insert(id, Delivery { job, worker: worker.into(), since, count });
    }

    fn remove(&mut self, id: &str) -> Option<Delivery> {
        let delivery = self.by_id.remove(id)?;
        self.by_time.remove(&(delivery.since, id.to_owned()));
        Some(delivery)
    }

    /// Removes the delivery that has not been renewed for longest, if that is too long.
    fn take_idle(&mut self) -> Option<Delivery> {
        let (since, id) = self.by_time.first()?;
        let (since, id) = (*since, id.clone());
        (time::now() - since >= IDLE).then(|| self.remove(&id)).flatten()
    }
}

impl Store {
    /// With these URLs.
    pub fn of(urls: impl Iterator<Item = io::Result<String>>) -> io::Result<Rc<Store>> {
        let job = |(number, url): (usize, io::Result<String>)| {
            Ok::<_, io::Error>(Job { id: number.to_string(), url: url? })
        };
        let waiting = RefCell::new(urls.enumerate().map(job).collect::<Result<_, _>>()?);
        Ok(Rc::new(Store { waiting, ..Store::default() }))
    }

    /// The result of each URL that has ended.
    pub fn results(&self) -> BTreeMap<String, Outcome> {
        self.results.borrow().clone()
    }

    /// Waits until each job has ended.
    pub fn until_empty(&self) {
        self.empty.wait();
    }

    /// How often workers have called it.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    fn left(&self) -> usize {
        self.waiting.borrow().len() + self.pending.borrow().by_id.len()
    }

    fn called(&self) {
        self.calls.set(self.calls.get() + 1);
    }
}

/// The queue, as one worker sees it.
pub struct LocalQueue {
    pub store: Rc<Store>,
    pub worker: String,
}

impl Queue for LocalQueue {
    fn take(&self, room: usize, patience: Duration) -> io::Result<Vec<Job>> {
        self.store.called();
        let mut jobs = Vec::new();
        while jobs.len() < room {
            let idle = self.store.pending.borrow_mut().take_idle();
            let Some(Delivery { job, worker, count, .. }) = idle else { break };
            self.store.pending.borrow_mut().deliver(job.clone(), &self.worker, count + 1);
            if count < DEADLY {
                jobs.push(job);
            } else {
                let words = format!("{count} workers died of it; the last, {worker}");
                self.finish(&[(job, Outcome::Dead { words })])?;
            }
        }
        while jobs.len() < room {
            let Some(job) = self.store.waiting.borrow_mut().pop_front() else { break };
            self.store.pending.borrow_mut().deliver(job.clone(), &self.worker, 1);
            jobs.push(job);
        }
        if jobs.is_empty() {
            let _ = self.store.empty.wait_timeout(patience);
        }
        Ok(jobs)
    }

    fn renew(&self, ids: &[String]) -> io::Result<()> {
        self.store.called();
        let mut pending = self.store.pending.borrow_mut();
        for id in ids {
            if let Some(Delivery { job, count, .. }) = pending.remove(id) {
                pending.deliver(job, &self.worker, count);
            }
        }
        Ok(())
    }

    fn finish(&self, ends: &[(Job, Outcome)]) -> io::Result<u64> {
        self.store.called();
        let mut results = self.store.results.borrow_mut();
        for (job, outcome) in ends {
            let is_done = matches!(results.get(&job.url), Some(Outcome::Done { .. }));
            if !is_done || outcome.list() == "done" {
                results.insert(job.url.clone(), outcome.clone());
            }
            self.store.pending.borrow_mut().remove(&job.id);
        }
        let left = self.store.left();
        if left == 0 {
            self.store.empty.set();
        }
        Ok(left as u64)
    }

    fn enter(&self, host: &str, job: &Job, places: u32) -> io::Result<bool> {
        self.store.called();
        let mut hosts = self.store.places.borrow_mut();
        let taken = hosts.entry(host.into()).or_default();
        let room = taken.contains(&job.id) || taken.len() < places as usize;
        if room {
            taken.insert(job.id.clone());
        }
        Ok(room)
    }

    fn leave(&self, host: &str, job: &Job) -> io::Result<()> {
        self.store.called();
        if let Some(taken) = self.store.places.borrow_mut().get_mut(host) {
            taken.remove(&job.id);
        }
        Ok(())
    }

    fn left(&self) -> io::Result<u64> {
        self.store.called();
        Ok(self.store.left() as u64)
    }
}
