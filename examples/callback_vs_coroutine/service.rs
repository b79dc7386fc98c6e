//! What both ways are given: an image service that answers later, pictures that go wrong in all the ways that
//! there are, and the album in which the results are kept.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use wouldblock::future;
use wouldblock::sync::Queue;
use wouldblock::time::{now, sleeping};

pub type Id = u64;
/// The pixels matter to nobody here: an image is what was done to it, "framed small ann.png".
pub type Image = String;

/// How long to wait for an image. The service says that it takes 20 to 50 ms.
pub const LIMIT: Duration = Duration::from_millis(100);
/// How often to ask for an image before it is given up.
pub const ATTEMPTS: u32 = 2;
/// Why there is no image when the time limit has passed.
pub const TOO_LATE: &str = "nothing came in time";

/// What the service does to an image.
#[derive(Clone, Copy, PartialEq)]
pub enum Work {
    Scale,
    Frame,
}

impl Work {
    fn on(self, image: &str) -> Image {
        match self {
            Work::Scale => format!("small {image}"),
            Work::Frame => format!("framed {image}"),
        }
    }
}

/// What the service posts to the message queue: the end of a job.
pub struct Posted {
    pub id: Id,
    pub result: Result<Image, &'static str>,
}

/// What becomes of a job.
#[derive(Clone, Copy)]
pub enum Fate {
    /// Nothing is ever posted.
    Lost,
    /// It is posted, but after the time limit.
    Late,
    /// It is posted that it failed.
    Fails(&'static str),
    /// Its image is posted, and a while later again.
    Doubled,
    /// Its image is posted under an id that nobody was given.
    Misaddressed,
}

/// A picture, and what goes wrong with its jobs: each attempt takes a fate, and the rest go well.
pub struct Picture {
    pub name: String,
    pub scale: &'static [Fate],
    pub frame: &'static [Fate],
}

/// Takes a job, answers at once with an id, and posts the finished image to a message queue.
pub struct Service {
    pub queue: Rc<Queue<Posted>>,
    last: Cell<Id>,
    /// By the image that would be made.
    fates: RefCell<HashMap<Image, std::slice::Iter<'static, Fate>>>,
}

impl Service {
    pub fn new(pictures: &[Picture]) -> Service {
        let mut fates = HashMap::new();
        for Picture { name, scale, frame } in pictures {
            let small = Work::Scale.on(name);
            fates.insert(Work::Frame.on(&small), frame.iter());
            fates.insert(small, scale.iter());
        }
        let queue = Rc::new(Queue::unbounded());
        Service { queue, last: Cell::new(0), fates: RefCell::new(fates) }
    }

    pub fn submit(&self, work: Work, image: &str) -> Id {
        let id = self.last.get() + 1;
        self.last.set(id);
        let image = work.on(image);
        let fate = self.fates.borrow_mut().get_mut(&image).and_then(Iterator::next);

        let queue = self.queue.clone();
        let post = async move |after, id, result| {
            sleeping(after).await;
            // The queue is shut down when no task waits for any image: then this one comes too late.
            let _ = queue.putting(Posted { id, result }).await;
        };
        let usual = Duration::from_millis(20 + id * 11 % 31);
        drop(future::spawn(async move {
            match fate {
                None => post(usual, id, Ok(image)).await,
                Some(Fate::Lost) => {}
                Some(Fate::Late) => post(LIMIT + usual / 2, id, Ok(image)).await,
                Some(Fate::Fails(why)) => post(usual, id, Err(*why)).await,
                Some(Fate::Misaddressed) => post(usual, id + 1_000_000, Ok(image)).await,
                Some(Fate::Doubled) => {
                    post(usual, id, Ok(image.clone())).await;
                    post(usual / 2, id, Ok(image)).await;
                }
            }
        }));
        id
    }
}

/// The images that were saved, and why the others were given up, by the name of the picture.
pub type Results = BTreeMap<String, Result<Image, &'static str>>;

/// The results, and the log of how they came.
pub struct Album {
    start: Instant,
    /// The last job that was submitted.
    last: Cell<Id>,
    results: RefCell<Results>,
    /// `None`: nobody will read it.
    log: Option<RefCell<String>>,
}

impl Album {
    pub fn new(logs: bool) -> Album {
        let log = logs.then(RefCell::default);
        Album { start: now(), last: Cell::new(0), results: RefCell::default(), log }
    }

    pub fn submitted(&self, id: Id, work: Work, image: &str) {
        let work = if work == Work::Scale { "scale" } else { "frame" };
        self.say(format_args!("{image}: {work} it, job {id}"));
        self.last.set(id);
    }

    pub fn failed(&self, id: Id, image: &str, why: &str) {
        self.say(format_args!("{image}: job {id}: {why}"));
    }

    /// The end of a job has been posted for which no task waits.
    pub fn stray(&self, id: Id) {
        let why = if id > self.last.get() { "it is none of ours" } else { "it was over" };
        self.say(format_args!("job {id} is posted, but {why}: ignored"));
    }

    pub fn save(&self, picture: &str, image: Image) {
        self.say(format_args!("{picture}: saved, {image}"));
        self.results.borrow_mut().insert(picture.into(), Ok(image));
    }

    pub fn give_up(&self, picture: &str, why: &'static str) {
        self.say(format_args!("{picture}: given up, {why}"));
        self.results.borrow_mut().insert(picture.into(), Err(why));
    }

    /// The log, and the results.
    pub fn take(&self) -> (String, Results) {
        (self.log.as_ref().map(RefCell::take).unwrap_or_default(), self.results.take())
    }

    fn say(&self, what: fmt::Arguments<'_>) {
        if let Some(log) = &self.log {
            let ms = (now() - self.start).as_millis();
            log.borrow_mut().push_str(&format!("{ms:>5} ms  {what}\n"));
        }
    }
}
