//! The downloads of one run, and one of them: what a way does for it in turn, and when it is tried again. What is asked
//! for and what an answer means is for `policy.rs`, the file for `part.rs`.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use log::{debug, warn};
use ureq::http::Request;
use ureq::http::response::Parts;
use wouldblock::task;

use crate::drawn::Drawn;
use crate::error::{Error, Hope};
use crate::interrupt;
use crate::list::{INTERRUPTED, Item, List};
use crate::part::{Part, Write};
use crate::policy::{self, MOST_REDIRECTS};
use crate::progress::Bar;
use crate::proxy;
use crate::target::Target;
use crate::tls::Trust;

/// One download. Dropped, it is done, whether or not it got to its end.
pub struct Job<'a> {
    list: &'a List,
    item: &'a Item,
    pub target: Target,
    part: RefCell<Option<Part>>,
    bar: Bar,
    /// What is drawn of it by hand, in the way that has no tasks.
    drawn: Option<Drawn>,
    start: Instant,
    attempts: u32,
    redirects: u32,
    /// When the present attempt began, and when something came last.
    attempt: Cell<Instant>,
    moved: Cell<Instant>,
    /// Of the present attempt.
    answered: Cell<bool>,
    keeps: Cell<bool>,
    reuses: Cell<bool>,
    /// Until there is one, that of a job which is stopped.
    outcome: Result<u64, String>,
    skipped: bool,
}

impl<'a> Job<'a> {
    pub fn new(list: &'a List, item: &'a Item, target: Target) -> Job<'a> {
        let now = Instant::now();
        Job {
            list,
            item,
            target,
            part: RefCell::new(None),
            bar: list.progress.bar(&item.name()),
            drawn: list
                .draws_by_hand()
                .map(|timeline| Drawn::new(timeline, item.number(), &item.name())),
            start: now,
            attempts: 1,
            redirects: 0,
            attempt: Cell::new(now),
            moved: Cell::new(now),
            answered: Cell::new(false),
            keeps: Cell::new(false),
            reuses: Cell::new(false),
            outcome: Err(INTERRUPTED.into()),
            skipped: false,
        }
    }

    /// Begins an attempt: with the file that it is saved in, and what is to be sent.
    pub fn request(&self) -> Result<Request<()>, Error> {
        if let Some(why) = proxy::refusal(&self.target) {
            return Err(Error::Refused(why));
        }
        let mut part = self.part.borrow_mut();
        if part.is_none() {
            *part = Some(self.list.open(self.item)?);
        }
        policy::request(&self.target, part.as_ref().and_then(Part::held).as_ref())
    }

    /// Takes the head of an answer. Fails unless the body is to be saved.
    pub fn answer(&self, head: &Parts) -> Result<(), Error> {
        self.moved.set(Instant::now());
        self.keeps.set(policy::keeps_alive(head));
        let content = policy::answer(head, self.part(|part| part.held()).as_ref())?;
        self.part(|part| part.begin(&content))?;
        self.bar.begin(content.from, content.length);
        self.answered.set(true);
        Ok(())
    }

    /// Takes a piece of the body in.
    pub fn add(&self, bytes: &[u8]) {
        self.moved.set(Instant::now());
        self.bar.add(bytes.len() as u64);
        self.part(|part| part.add(bytes));
    }

    /// What writes to the disk, if enough has come together; to be called before the next piece.
    pub fn full(&self) -> Option<Write> {
        self.part(Part::full)
    }

    /// Both of these.
    pub fn take(&self, bytes: &[u8]) -> Option<Write> {
        self.add(bytes);
        self.full()
    }

    /// At the end of the body: what writes the rest, unless something is missing.
    pub fn rest(&self) -> Result<Write, Error> {
        self.part(Part::rest)
    }

    /// Gives the file its name.
    pub fn finish(&self) -> Result<u64, Error> {
        self.part(Part::finish)
    }

    fn part<R>(&self, f: impl FnOnce(&mut Part) -> R) -> R {
        f(self.part.borrow_mut().as_mut().expect("`request` comes first"))
    }

    /// For another task that works on it.
    pub fn task(&self, what: &str) -> task::Builder {
        task::Builder::new().name(format!("{what}: {}", self.item.name()))
    }

    /// The most bytes in one read.
    pub fn chunk(&self) -> usize {
        self.list.chunk
    }

    /// Which authorities https relies on.
    pub fn trust(&self) -> &Trust {
        &self.list.trust
    }

    /// How long the next wait may take: the attempt has a limit, and each silence. Fails if no time is left, and after
    /// Ctrl-C.
    pub fn time_left(&self) -> io::Result<Duration> {
        if interrupt::has_come() {
            return Err(io::Error::other(INTERRUPTED));
        }
        let options = &self.list.options;
        let timeout = options.timeout.unwrap_or(Duration::MAX);
        let left = timeout.saturating_sub(self.attempt.get().elapsed());
        match left.min(self.list.idle.saturating_sub(self.moved.get().elapsed())) {
            Duration::ZERO => Err(self.timed_out()),
            left => Ok(left),
        }
    }

    /// The descriptor of the connection, as it is drawn.
    pub fn connected(&self, socket: &impl AsRawFd) {
        self.list.socket.set(socket.as_raw_fd());
    }

    /// A call that blocks the thread, as it is drawn.
    pub fn blocking<T>(&self, call: impl FnOnce() -> T) -> T {
        self.drawn.as_ref().inspect(|drawn| drawn.waits(self.list.socket.get()));
        let result = call();
        self.drawn.as_ref().inspect(|drawn| drawn.goes_on());
        result
    }

    /// What a wait that took too long fails with.
    pub fn timed_out(&self) -> io::Error {
        let options = &self.list.options;
        let words = match options.timeout.filter(|limit| self.attempt.get().elapsed() >= *limit) {
            Some(limit) => format!("timed out after {limit:?}"),
            None => format!("timed out after {:?} without a byte", self.list.idle),
        };
        io::Error::new(ErrorKind::TimedOut, words)
    }

    /// Takes what came of an attempt, and says how long to pause before the next if there is to be one.
    pub fn again(&mut self, outcome: Result<u64, Error>) -> Option<Duration> {
        let pause = match outcome {
            _ if interrupt::has_come() && outcome.is_err() => None,
            Ok(bytes) => self.end(Ok(bytes)),
            Err(Error::There(bytes)) => {
                self.skipped = true;
                self.end(Ok(bytes))
            }
            Err(Error::Refused(why)) => self.end(Err(why)),
            Err(Error::Tls(why)) => {
                let with = format!("no TLS with {}: ", self.target.host());
                let why = why.strip_prefix(&with).unwrap_or(&why);
                let hint = "`--cacert FILE` says which authorities to trust";
                self.end(Err(format!("{with}{why}; {hint}")))
            }
            Err(Error::Protocol(why)) => {
                let why = self.explain("the answer is malformed", "the body is malformed", &why);
                self.end(Err(why))
            }
            Err(Error::Moved(location)) => self.redirect(&location),
            Err(Error::Changed) => match self.part(Part::forget) {
                Ok(()) => Some(Duration::ZERO),
                Err(Error::Refused(why)) => self.end(Err(why)),
                Err(_) => unreachable!("it refuses, or does not fail"),
            },
            Err(Error::Connection { hope: Hope::Fresh, .. })
                if self.reuses.get() && !self.answered.get() =>
            {
                debug!("Trying again on a new connection: {}", self.target.url());
                Some(Duration::ZERO)
            }
            Err(Error::Connection { hope, why }) => {
                let why = self.explain("no answer", "the body ended", &why);
                self.retry(hope != Hope::None, why, None)
            }
            Err(Error::Later { why, after }) => self.retry(true, why, after),
        };
        let next = Instant::now() + pause.unwrap_or_default();
        self.attempt.set(next);
        self.moved.set(next);
        self.answered.set(false);
        self.reuses.set(false);
        pause
    }

    fn end(&mut self, outcome: Result<u64, String>) -> Option<Duration> {
        self.outcome = outcome;
        None
    }

    /// An error of a library, and when it came.
    fn explain(&self, before: &str, after: &str, why: &str) -> String {
        if !self.answered.get() {
            return format!("{before}: {why}");
        }
        let (taken, length) = self.part(|part| (part.taken(), part.length()));
        let all = length.map(|length| format!(" of {length}")).unwrap_or_default();
        format!("{after} after {taken}{all} bytes: {why}")
    }

    fn retry(&mut self, may: bool, why: String, after: Option<Duration>) -> Option<Duration> {
        if !may || self.attempts > self.list.options.retries {
            return self.end(Err(why));
        }
        let pause = policy::pause(self.attempts, after);
        warn!("Trying again in {} s: {}: {why}", pause.as_secs_f32(), self.target.url());
        if let Err(Error::Refused(why)) = self.part(Part::keep) {
            return self.end(Err(why));
        }
        self.attempts += 1;
        Some(pause)
    }

    fn redirect(&mut self, location: &[u8]) -> Option<Duration> {
        self.redirects += 1;
        match self.target.redirected(location) {
            Err(why) => self.end(Err(why)),
            Ok(_) if self.redirects > MOST_REDIRECTS => self.end(Err("too many redirects".into())),
            Ok(target) => {
                debug!("{} is at {}", self.target.url(), target.url());
                self.target = target;
                Some(Duration::ZERO)
            }
        }
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        drop(self.part.take()); // what is not whole goes before the outcome is known
        let outcome = std::mem::replace(&mut self.outcome, Ok(0));
        self.list.put(self.item, self.start.elapsed(), self.attempts, self.skipped, outcome);
    }
}

/// A connection that a worker keeps for its next request of the same server, or what holds one.
pub struct Kept<C> {
    origin: String,
    connection: Option<C>,
}

impl<C> Kept<C> {
    pub fn new() -> Kept<C> {
        Kept { origin: String::new(), connection: None }
    }

    /// Takes the connection out, if it is one for this job: which is then tried again at once, on a fresh connection,
    /// if the server has closed it meanwhile (RFC 9112, section 9.3.1).
    pub fn take(&mut self, job: &Job<'_>) -> Option<C> {
        let connection = self.connection.take().filter(|_| self.origin == job.target.origin());
        job.reuses.set(connection.is_some());
        connection
    }

    /// Keeps the connection after a whole answer, unless the server is to close it.
    pub fn put(&mut self, job: &Job<'_>, connection: C) {
        job.target.origin().clone_into(&mut self.origin);
        self.connection = Some(connection).filter(|_| job.keeps.get());
    }
}
