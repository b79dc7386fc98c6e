//! What a queue of downloads promises, whether it lies in Redis or in this process.
//!
//! A job is delivered *at least once*. A worker that takes one keeps it by renewing it; one that it has not renewed for
//! a while is given to another worker. So a job may be done twice at the same time, and its end has to be
//! idempotent: the file gets its name whole or not at all, and the result is kept under the URL.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};

/// How many workers a job may kill before it is buried with the dead letters.
pub const DEADLY: u64 = 3;

/// A job that its worker has not renewed for so long is claimed by another.
pub const IDLE: Duration = Duration::from_secs(3);

/// One URL, as it was delivered to this worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Of the queue's making.
    pub id: String,
    pub url: String,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The file has its name.
    Done { path: String, bytes: u64 },
    /// It was given up, with the last error.
    Failed { why: String },
    /// It has killed [`DEADLY`] workers; the last words of the last one.
    Dead { words: String },
}

impl Outcome {
    /// The list in which the result is kept.
    pub fn list(&self) -> &'static str {
        match self {
            Outcome::Done { .. } => "done",
            Outcome::Failed { .. } => "failed",
            Outcome::Dead { .. } => "dead",
        }
    }

    /// What is kept under the URL.
    pub fn to_json(&self, worker: &str) -> Value {
        match self {
            Outcome::Done { path, bytes } => {
                json!({ "path": path, "bytes": bytes, "worker": worker })
            }
            Outcome::Failed { why } => json!({ "error": why, "worker": worker }),
            Outcome::Dead { words } => json!({ "error": words }),
        }
    }
}

/// How many jobs are where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub waiting: u64,
    /// By worker.
    pub running: BTreeMap<String, u64>,
    pub done: u64,
    pub failed: u64,
    pub dead: u64,
    /// Jobs that have ended since the queue began, those of a URL that was added again too.
    pub ended: u64,
}

impl Counts {
    /// Jobs that have not ended.
    pub fn left(&self) -> u64 {
        self.waiting + self.running.values().sum::<u64>()
    }
}

/// A queue, as one worker sees it. All calls suspend the task that makes them.
pub trait Queue {
    /// Takes at most `room` jobs; none, after about as long as `patience` in which there was none to take.
    ///
    /// # Errors
    ///
    /// What will not be better at another try. (A queue that cannot be reached is waited for.)
    fn take(&self, room: usize, patience: Duration) -> io::Result<Vec<Job>>;

    /// Keeps jobs that it has taken, by their ids, for a while longer.
    ///
    /// # Errors
    ///
    /// As [`take`](Queue::take).
    fn renew(&self, ids: &[String]) -> io::Result<()>;

    /// Keeps the results, and acknowledges the jobs: for each of them, both or neither. A result that is `Done` stays.
    /// Returns how many jobs have not ended, with whichever worker they are.
    ///
    /// # Errors
    ///
    /// As [`take`](Queue::take).
    fn finish(&self, ends: &[(Job, Outcome)]) -> io::Result<u64>;

    /// Takes one of `places` places for downloads from `host`, in the whole fleet. Returns `false` if all are taken.
    /// A place that is not taken again within half a minute becomes free.
    ///
    /// # Errors
    ///
    /// As [`take`](Queue::take).
    fn enter(&self, host: &str, job: &Job, places: u32) -> io::Result<bool>;

    /// Gives the place back.
    ///
    /// # Errors
    ///
    /// As [`take`](Queue::take).
    fn leave(&self, host: &str, job: &Job) -> io::Result<()>;

    /// How many jobs have not ended, with whichever worker they are.
    ///
    /// # Errors
    ///
    /// As [`take`](Queue::take).
    fn left(&self) -> io::Result<u64>;
}
