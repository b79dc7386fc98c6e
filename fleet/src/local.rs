//! The queue in this process, for a first try without any server. It ends with the process.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::time::Duration;

use wouldblock::sync::Event;

use crate::queue::{Counts, Job, Outcome, Queue};

/// How long taking waits for a job.
const BLOCK: Duration = Duration::from_secs(1);

/// See the [module](self).
pub struct LocalQueue {
    waiting: RefCell<VecDeque<Job>>,
    running: Cell<u64>,
    /// By host: the ids of jobs.
    places: RefCell<HashMap<String, HashSet<String>>>,
    results: RefCell<BTreeMap<String, Outcome>>,
    /// Set when a job ends.
    ended: Event,
}

impl LocalQueue {
    /// With these URLs.
    pub fn of(urls: impl Iterator<Item = io::Result<String>>) -> io::Result<LocalQueue> {
        let job = |(number, url): (usize, io::Result<String>)| {
            Ok::<_, io::Error>(Job { id: number.to_string(), url: url? })
        };
        Ok(LocalQueue {
            waiting: RefCell::new(urls.enumerate().map(job).collect::<Result<_, _>>()?),
            running: Cell::new(0),
            places: RefCell::default(),
            results: RefCell::default(),
            ended: Event::new(),
        })
    }

    /// Each URL that has ended, and how.
    pub fn into_results(self) -> BTreeMap<String, Outcome> {
        self.results.into_inner()
    }
}

impl Queue for LocalQueue {
    fn take(&self, room: usize) -> io::Result<Vec<Job>> {
        let jobs: Vec<Job> = {
            let mut waiting = self.waiting.borrow_mut();
            let count = room.min(waiting.len());
            waiting.drain(..count).collect()
        };
        self.running.set(self.running.get() + jobs.len() as u64);
        if jobs.is_empty() && self.running.get() > 0 {
            self.ended.clear();
            let _ = self.ended.wait_timeout(BLOCK);
        }
        Ok(jobs)
    }

    fn renew(&self, _: &[Job]) -> io::Result<()> {
        Ok(()) // Nothing else could have taken them.
    }

    fn finish(&self, job: &Job, outcome: &Outcome) -> io::Result<()> {
        self.results.borrow_mut().insert(job.url.clone(), outcome.clone());
        self.running.set(self.running.get() - 1);
        self.ended.set();
        Ok(())
    }

    fn enter(&self, host: &str, job: &Job, places: u32) -> io::Result<bool> {
        let mut hosts = self.places.borrow_mut();
        let taken = hosts.entry(host.into()).or_default();
        let room = taken.contains(&job.id) || taken.len() < places as usize;
        if room {
            taken.insert(job.id.clone());
        }
        Ok(room)
    }

    fn leave(&self, host: &str, job: &Job) -> io::Result<()> {
        if let Some(taken) = self.places.borrow_mut().get_mut(host) {
            taken.remove(&job.id);
        }
        Ok(())
    }

    fn counts(&self) -> io::Result<Counts> {
        let results = self.results.borrow();
        let count = |list| results.values().filter(|outcome| outcome.list() == list).count() as u64;
        let running = BTreeMap::from([("here".into(), self.running.get())]);
        Ok(Counts {
            waiting: self.waiting.borrow().len() as u64,
            running,
            done: count("done"),
            failed: count("failed"),
            dead: count("dead"),
        })
    }
}
