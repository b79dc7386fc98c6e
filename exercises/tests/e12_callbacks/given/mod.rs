//! What is given: an image service that answers later, and in which all goes wrong that can.
//!
//! `callbacks.rs` beside this does with callbacks what you do with coroutines.

pub mod callbacks;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use wouldblock::future;
use wouldblock::sync::{Queue, oneshot};
use wouldblock::time::{now, sleeping};

/// A job's number.
pub type Id = u64;
/// An image is what was done to it: "framed small ann".
pub type Image = String;
/// Why there is no image.
pub type Why = &'static str;

/// How long to wait for a job. The service takes 20 to 60 ms.
pub const LIMIT: Duration = Duration::from_millis(100);
/// How often to submit a job before it is given up.
pub const ATTEMPTS: u32 = 2;
/// Why there is no image when `LIMIT` has passed.
pub const TOO_LATE: Why = "nothing came in time";

/// What the service does to an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// "ann" becomes "small ann".
    Scale,
    /// "small ann" becomes "framed small ann".
    Frame,
}

/// What the service posts to its queue: the end of a job.
#[derive(Debug)]
pub struct Posted {
    pub id: Id,
    pub result: Result<Image, Why>,
}

/// What goes wrong with a job.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// Nothing is ever posted.
    Lost,
    /// It is posted, but after `LIMIT`.
    Late,
    /// It is posted that it failed.
    Fails(Why),
    /// Its image is posted, and a while later again.
    Doubled,
    /// Its image is posted under a number that no job has.
    Stray,
}

/// The service, the tasks that wait for it, and the log.
pub struct Studio {
    /// The sender to the task that waits for a job, by the job's number. The map is yours: nothing here touches it.
    pub waiting: RefCell<HashMap<Id, oneshot::Sender<Result<Image, Why>>>>,
    queue: Rc<Queue<Posted>>,
    last: Cell<Id>,
    /// What goes wrong with the jobs that make an image, one after the other; the rest go well.
    fates: RefCell<BTreeMap<Image, Vec<Fate>>>,
    start: Instant,
    log: RefCell<Vec<String>>,
}

impl Studio {
    pub fn new(fates: &[(&str, &[Fate])]) -> Rc<Studio> {
        let fates = fates.iter().map(|(image, fates)| (image.to_string(), fates.to_vec()));
        Rc::new(Studio {
            waiting: RefCell::default(),
            queue: Rc::new(Queue::unbounded()),
            last: Cell::new(0),
            fates: RefCell::new(fates.collect()),
            start: now(),
            log: RefCell::default(),
        })
    }

    /// Submits a job. Returns its number at once; its end comes to the queue `posted`.
    pub fn submit(&self, work: Work, image: &str) -> Id {
        let id = self.last.get() + 1;
        self.last.set(id);
        self.say(format!("{image}: {work:?}, job {id}"));
        let image = match work {
            Work::Scale => format!("small {image}"),
            Work::Frame => format!("framed {image}"),
        };
        let mut fates = self.fates.borrow_mut();
        let fates = fates.get_mut(&image).filter(|fates| !fates.is_empty());
        let fate = fates.map(|fates| fates.remove(0));
        let queue = self.queue.clone();
        let post = async move |after, id, result| {
            sleeping(after).await;
            // It is shut down when all is done; what comes then is too late for all.
            queue.putting(Posted { id, result }).await.ok();
        };
        // In the tests, no two jobs end at the same time, so that the log does not depend on who has the first turn.
        let usual = Duration::from_millis(20 + id * 4 % 41);
        drop(future::spawn(async move {
            match fate {
                None => post(usual, id, Ok(image)).await,
                Some(Fate::Lost) => {}
                Some(Fate::Late) => post(LIMIT + usual / 2, id, Ok(image)).await,
                Some(Fate::Fails(why)) => post(usual, id, Err(why)).await,
                Some(Fate::Stray) => post(usual, id + 1_000_000, Ok(image)).await,
                Some(Fate::Doubled) => {
                    post(usual, id, Ok(image.clone())).await;
                    post(usual / 2, id, Ok(image)).await;
                }
            }
        }));
        id
    }

    /// The queue to which the service posts the ends of jobs, in any order.
    pub fn posted(&self) -> &Queue<Posted> {
        &self.queue
    }

    /// Writes to the log that this job for this image has failed.
    pub fn failed(&self, id: Id, image: &str, why: Why) {
        self.say(format!("{image}: job {id} has failed, {why}"));
    }

    /// Writes to the log that the end of a job was posted for which no task waits.
    pub fn stray(&self, id: Id) {
        self.say(format!("job {id} was posted, and no task waits for it"));
    }

    /// Writes to the log how a picture ended.
    pub fn ended(&self, name: &str, result: &Result<Image, Why>) {
        match result {
            Ok(image) => self.say(format!("{name}: saved, {image}")),
            Err(why) => self.say(format!("{name}: given up, {why}")),
        }
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// The time since the beginning, in milliseconds.
    pub fn ms(&self) -> u128 {
        (now() - self.start).as_millis()
    }

    fn say(&self, what: String) {
        self.log.borrow_mut().push(format!("{:>4} ms  {what}", self.ms()));
    }
}
