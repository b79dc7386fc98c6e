//! The downloads of one run: which file each is saved in, which is next, and what came of each.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::{error, info};
use signal_hook::consts::SIGUSR1;
use wouldblock::timeline::Timeline;
use wouldblock::{Builder, task};

use crate::cli::Options;
use crate::error::Error;
use crate::interrupt;
use crate::job::Job;
use crate::part::{self, Checksum, Part};
use crate::progress::Progress;
use crate::target::Target;
use crate::tls::Trust;
use crate::urls::Address;

/// Descriptors beyond those of the downloads: standard streams, signals, the scheduler, the embedded server, pictures.
const OTHER_DESCRIPTORS: u64 = 16;
/// A socket, a file, and one more while a name is looked up.
const DESCRIPTORS_EACH: u64 = 3;

/// A list of downloads, from which as many workers as may run at once take one after the other.
pub struct List {
    pub options: Options,
    pub trust: Trust,
    pub progress: Progress,
    pub timeline: Option<Timeline>,
    /// Whether the way has no tasks of which the timeline would learn.
    pub by_hand: bool,
    /// The descriptor of its connection.
    pub socket: Cell<RawFd>,
    /// Whether files that are there are replaced.
    pub overwrite: bool,
    /// The most bytes in one read.
    pub chunk: usize,
    /// How long nothing may come.
    pub idle: Duration,
    items: Vec<Item>,
    next: Cell<usize>,
    done: RefCell<Vec<Option<Done>>>,
}

/// A URL of the list.
pub struct Item {
    index: usize,
    url: String,
    checksum: Option<Checksum>,
    /// How long its file is, if that was found to have the checksum.
    whole: Cell<Option<u64>>,
    /// What is asked for and where it is saved, or why that cannot be.
    target: Result<(Target, PathBuf), String>,
}

/// What came of a download.
#[derive(Clone)]
pub struct Done {
    pub url: String,
    /// Where the file is, if it is there.
    pub file: Option<PathBuf>,
    pub seconds: f64,
    pub attempts: u32,
    /// Whether it was there before, and whole.
    pub skipped: bool,
    /// How many bytes, or what went wrong.
    pub outcome: Result<u64, String>,
}

/// What a download that Ctrl-C has stopped, or kept from beginning, says.
pub const INTERRUPTED: &str = "interrupted";

impl Item {
    /// Its place in the list, from 1.
    pub fn number(&self) -> u64 {
        self.index as u64 + 1
    }

    /// The name of its file, or the URL that gives none.
    pub fn name(&self) -> String {
        match &self.target {
            Ok((_, file)) => file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Err(_) => self.url.clone(),
        }
    }
}

impl List {
    /// Of addresses that are saved in the directory `options.out`.
    pub fn new(
        addresses: &[Address],
        options: &Options,
        trust: &Trust,
        progress: &Progress,
    ) -> List {
        let mut names = HashSet::new();
        let mut target = |address: &Address| -> Result<(Target, PathBuf), String> {
            let target = Target::of(&address.url)?;
            let name = numbered(&target.file_name()?, &mut names);
            Ok((target, options.out.join(name)))
        };
        let item = |(index, address): (usize, &Address)| Item {
            index,
            url: address.url.clone(),
            checksum: address.checksum,
            whole: Cell::new(None),
            target: target(address).map_err(|why| address.locate(&why)),
        };
        let items: Vec<_> = addresses.iter().enumerate().map(item).collect();
        progress.begin(items.len());
        List {
            options: options.clone(),
            trust: trust.clone(),
            progress: progress.clone(),
            timeline: None,
            by_hand: false,
            socket: Cell::new(-1),
            overwrite: options.overwrite,
            chunk: 64 * 1024,
            idle: Duration::MAX,
            next: Cell::new(0),
            done: RefCell::new(vec![None; items.len()]),
            items,
        }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// For a run in which these are downloaded.
    pub fn builder(&self) -> Builder {
        let builder = Builder::new().tasks_on_signal(SIGUSR1);
        match &self.timeline {
            Some(timeline) => builder.observe(timeline.clone()),
            None => builder,
        }
    }

    /// The timeline that downloads are to be drawn in without tasks.
    pub fn draws_by_hand(&self) -> Option<&Timeline> {
        self.timeline.as_ref().filter(|_| self.by_hand)
    }

    /// How many workers there should be: no more than have descriptors.
    pub fn workers(&self) -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = limit.map_or(u64::MAX, |limit| limit.saturating_sub(OTHER_DESCRIPTORS));
        let most = usize::try_from((most / DESCRIPTORS_EACH).max(1)).unwrap_or(usize::MAX);
        self.items.len().min(self.options.concurrency as usize).min(most)
    }

    /// For the task of the worker of this number: named after what it downloads, if each downloads one file.
    pub fn worker(&self, number: usize) -> task::Builder {
        let one_each = self.workers() == self.items.len();
        let name = match one_each && self.items.iter().all(|item| item.target.is_ok()) {
            true => self.items[number].name(),
            false => format!("worker {}", number + 1),
        };
        task::Builder::new().name(name)
    }

    /// The next download; none when all have begun, or after Ctrl-C.
    pub fn next(&self) -> Option<Job<'_>> {
        while !interrupt::has_come() {
            let item = self.items.get(self.next.replace(self.next.get() + 1))?;
            match &item.target {
                Ok((target, _)) => return Some(Job::new(self, item, target.clone())),
                Err(why) => self.put(item, Duration::ZERO, 0, false, Err(why.clone())),
            }
        }
        None
    }

    /// Looks which files are there and have their checksums: before a run, since each keeps the thread until it is read.
    pub fn compare_checksums(&self) {
        for item in self.items.iter().filter(|_| !self.overwrite) {
            if let (Ok((_, file)), Some(checksum)) = (&item.target, item.checksum) {
                item.whole.set(part::has_checksum(file, checksum));
            }
        }
    }

    /// Opens the file that an item is saved in, unless that is known to be whole.
    pub fn open(&self, item: &Item) -> Result<Part, Error> {
        if let Some(bytes) = item.whole.get() {
            return Err(Error::There(bytes));
        }
        let (target, file) = item.target.as_ref().expect("an item without a target is no job");
        Part::open(file, target.url(), self.overwrite, item.checksum)
    }

    /// Takes what came of an item.
    pub fn put(
        &self,
        item: &Item,
        took: Duration,
        attempts: u32,
        skipped: bool,
        outcome: Result<u64, String>,
    ) {
        let url = item.url.clone();
        match &outcome {
            Ok(_) if skipped => info!("Already there: {url}"),
            Ok(_) => info!("Downloaded: {url}"),
            Err(why) if why == INTERRUPTED => {}
            Err(why) => error!("Failed: {url}: {why}"),
        }
        self.progress.done(outcome.is_ok());
        let file =
            item.target.as_ref().ok().filter(|_| outcome.is_ok()).map(|(_, file)| file.clone());
        let done = Done { url, file, seconds: took.as_secs_f64(), attempts, skipped, outcome };
        self.done.borrow_mut()[item.index] = Some(done);
    }

    /// What came of each, in the order of the list.
    pub fn finish(&self) -> Vec<Done> {
        for item in &self.items {
            let begun = self.done.borrow()[item.index].is_some();
            if !begun {
                self.put(item, Duration::ZERO, 0, false, Err(INTERRUPTED.into()));
            }
        }
        self.progress.end();
        self.done.take().into_iter().flatten().collect()
    }
}

/// The name, or with a number if it is taken: `a.1.png`.
fn numbered(name: &str, names: &mut HashSet<String>) -> String {
    let path = Path::new(name);
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    let extension = extension.unwrap_or_default();
    let stem = name.strip_suffix(&extension).unwrap_or(name);
    let others = (1..).map(|number| format!("{stem}.{number}{extension}"));
    let mut names_of_it = std::iter::once(name.to_owned()).chain(others);
    names_of_it.find(|name| names.insert(name.clone())).expect("there are more numbers than names")
}
