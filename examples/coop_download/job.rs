//! The downloads of one run: who is next, what came of each, and when to try again.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use log::{debug, error, info, warn};
use signal_hook::consts::SIGUSR1;
use wouldblock::timeline::Timeline;
use wouldblock::{Builder, task};

use crate::cli::Options;
use crate::error::Error;
use crate::interrupt;
use crate::part::Part;
use crate::progress::Progress;
use crate::target::Target;
use crate::tls::Trust;
use crate::urls::Address;

/// As many as ureq follows.
const MOST_REDIRECTS: u32 = 10;

/// A list of downloads, from which as many workers as may run at once take one after the other.
pub struct List {
    options: Options,
    pub trust: Trust,
    progress: Progress,
    timeline: Option<Timeline>,
    urls: Vec<String>,
    /// Whom to ask and where to save it, or why that cannot be.
    targets: Vec<Result<(Target, PathBuf), String>>,
    /// Each worker has one of them to download.
    one_each: bool,
    next: Cell<usize>,
    done: RefCell<Vec<Option<Done>>>,
}

/// What came of a download.
#[derive(Clone)]
pub struct Done {
    pub url: String,
    /// Where the file is, if it is there.
    pub file: Option<PathBuf>,
    pub seconds: f64,
    pub attempts: u32,
    /// How many bytes, or what went wrong.
    pub outcome: Result<u64, String>,
}

/// What a download that Ctrl-C has stopped, or kept from beginning, says.
pub const INTERRUPTED: &str = "interrupted";

impl List {
    pub fn new(
        addresses: &[Address],
        options: &Options,
        trust: &Trust,
        progress: &Progress,
        timeline: Option<&Timeline>,
    ) -> List {
        let mut names = HashSet::new();
        let mut target = |address: &Address| -> Result<(Target, PathBuf), String> {
            let target = Target::of(&address.url)?;
            let file = options.out.join(target.file_name()?);
            match names.insert(file.clone()) {
                true => Ok((target, file)),
                false => Err(format!("another URL is saved as {}", file.display())),
            }
        };
        let target = |address: &Address| target(address).map_err(|why| address.locate(&why));
        let targets: Vec<_> = addresses.iter().map(target).collect();
        let fits = targets.len() <= options.concurrency as usize;
        List {
            options: options.clone(),
            trust: trust.clone(),
            progress: progress.clone(),
            timeline: timeline.cloned(),
            urls: addresses.iter().map(|address| address.url.clone()).collect(),
            one_each: fits && targets.iter().all(Result::is_ok),
            targets,
            next: Cell::new(0),
            done: RefCell::new(vec![None; addresses.len()]),
        }
    }

    pub fn len(&self) -> usize {
        self.urls.len()
    }

    /// For a run in which these are downloaded.
    pub fn builder(&self) -> Builder {
        let builder = Builder::new().tasks_on_signal(SIGUSR1);
        match &self.timeline {
            Some(timeline) => builder.observe(timeline.clone()),
            None => builder,
        }
    }

    /// How many workers there should be.
    pub fn workers(&self) -> usize {
        self.targets.len().min(self.options.concurrency as usize)
    }

    /// For the task of the worker of this number: named after what it downloads, if each downloads one file.
    pub fn worker(&self, number: usize) -> task::Builder {
        let name = match &self.targets[number] {
            Ok((_, file)) if self.one_each => file_name(file),
            _ => format!("worker {}", number + 1).into(),
        };
        task::Builder::new().name(name)
    }

    /// The next download; none when all have begun, or after Ctrl-C.
    pub fn next(&self) -> Option<Job<'_>> {
        while !interrupt::has_come() {
            let index = self.next.replace(self.next.get() + 1);
            match self.targets.get(index)? {
                Ok((target, file)) => return Some(Job::new(self, index, target.clone(), file)),
                Err(why) => self.put(index, 0.0, 0, Err(why.clone())),
            }
        }
        None
    }

    fn put(&self, index: usize, seconds: f64, attempts: u32, outcome: Result<u64, String>) {
        let url = self.urls[index].clone();
        match &outcome {
            Ok(_) => info!("Downloaded: {url}"),
            Err(why) if why == INTERRUPTED => {}
            Err(why) => error!("Failed: {url}: {why}"),
        }
        let file = self.targets[index].as_ref().ok().filter(|_| outcome.is_ok());
        let file = file.map(|(_, file)| file.clone());
        self.done.borrow_mut()[index] = Some(Done { url, file, seconds, attempts, outcome });
    }

    /// What came of each, in the order of the list.
    pub fn finish(&self) -> Vec<Done> {
        for index in 0..self.urls.len() {
            let begun = self.done.borrow()[index].is_some();
            if !begun {
                self.put(index, 0.0, 0, Err(INTERRUPTED.into()));
            }
        }
        self.done.take().into_iter().flatten().collect()
    }
}

/// One download. Dropped, it is done, whether or not it got to its end.
pub struct Job<'a> {
    list: &'a List,
    index: usize,
    pub target: Target,
    file: &'a PathBuf,
    bar: ProgressBar,
    start: Instant,
    /// When the present attempt began.
    attempt: Instant,
    attempts: u32,
    redirects: u32,
    /// Until there is one, that of a job which is stopped.
    outcome: Result<u64, String>,
}

impl<'a> Job<'a> {
    fn new(list: &'a List, index: usize, target: Target, file: &'a PathBuf) -> Job<'a> {
        let bar = list.progress.bar(&file_name(file));
        let start = Instant::now();
        let outcome = Err(INTERRUPTED.into());
        Job {
            list,
            index,
            target,
            file,
            bar,
            start,
            attempt: start,
            attempts: 1,
            redirects: 0,
            outcome,
        }
    }

    /// For another task that works on it.
    pub fn task(&self, what: &str) -> task::Builder {
        task::Builder::new().name(format!("{what}: {}", file_name(self.file)))
    }

    /// The file that it is saved in, `length` bytes long if that is known.
    pub fn part(&self, length: Option<u64>) -> Result<Part, Error> {
        Part::new(self.file, length, self.bar.clone())
    }

    /// The most bytes in one read.
    pub fn chunk(&self) -> usize {
        self.list.options.chunk as usize
    }

    /// Whom to trust with https.
    pub fn trust(&self) -> &Trust {
        &self.list.trust
    }

    /// The time that an attempt has.
    pub fn timeout(&self) -> Duration {
        self.list.options.timeout.unwrap_or(Duration::MAX)
    }

    /// What this attempt has left of it; fails if that is nothing.
    pub fn time_left(&self) -> io::Result<Duration> {
        match self.timeout().saturating_sub(self.attempt.elapsed()) {
            Duration::ZERO => Err(self.timed_out()),
            left => Ok(left),
        }
    }

    pub fn timed_out(&self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("timed out after {:?}", self.timeout()))
    }

    /// Takes what came of an attempt, and says how long to pause before the next if there is to be one.
    pub fn again(&mut self, outcome: Result<u64, Error>) -> Option<Duration> {
        let pause = match outcome {
            Ok(bytes) => {
                self.outcome = Ok(bytes);
                None
            }
            Err(Error::Moved(location)) => self.redirect(&location),
            Err(Error::Passing(why))
                if !interrupt::has_come() && self.attempts <= self.list.options.retries =>
            {
                let pause = Duration::from_millis(200 << (self.attempts - 1).min(6));
                warn!("Trying again in {} s: {}: {why}", pause.as_secs_f32(), self.target.url());
                self.attempts += 1;
                Some(pause)
            }
            Err(Error::Passing(why) | Error::Lasting(why)) => {
                if !interrupt::has_come() {
                    self.outcome = Err(why);
                }
                None
            }
        };
        self.attempt = Instant::now() + pause.unwrap_or_default();
        pause
    }

    fn redirect(&mut self, location: &str) -> Option<Duration> {
        debug!("{} is at {location}", self.target.url());
        self.redirects += 1;
        match self.target.redirected(location) {
            Err(why) => self.outcome = Err(why),
            Ok(_) if self.redirects > MOST_REDIRECTS => {
                self.outcome = Err("too many redirects".into());
            }
            Ok(target) => {
                self.target = target;
                return Some(Duration::ZERO);
            }
        }
        None
    }
}

fn file_name(file: &Path) -> Cow<'_, str> {
    file.file_name().unwrap_or_default().to_string_lossy()
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Ok(0));
        self.list.progress.remove(&self.bar);
        self.list.put(self.index, self.start.elapsed().as_secs_f64(), self.attempts, outcome);
    }
}
