//! What is given: mirrors, which take their time, and a log of what is done with them.

#![allow(dead_code)] // until a solution uses it

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kit::Log;
use wouldblock::time::now;
use wouldblock::{JoinError, green};

/// Why there is no file.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The mirror of this name does not have it.
    NotFound(&'static str),
    /// The time limit has passed.
    TooLate,
    /// A task was cancelled, or panicked.
    Task(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound(name) => write!(f, "mirror {name} does not have the file"),
            Error::TooLate => f.write_str("the time limit has passed"),
            Error::Task(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Error {
        Error::Task(error.to_string())
    }
}

/// A server that has a file, or has not.
#[derive(Clone)]
pub struct Mirror {
    name: &'static str,
    seconds: u64,
    has_it: bool,
    world: Rc<World>,
}

impl Mirror {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Connects, which takes 100 ms.
    pub fn open(&self) -> Connection {
        green::sleep(Duration::from_millis(100));
        self.world.say(self.name, "open");
        self.world.open.borrow_mut().push(self.name);
        Connection { mirror: self.clone(), polite: Cell::new(false) }
    }
}

/// A connection to a mirror.
pub struct Connection {
    mirror: Mirror,
    polite: Cell<bool>,
}

impl Connection {
    /// Reads the file, which takes seconds.
    ///
    /// # Errors
    ///
    /// The mirror does not have it.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        green::sleep(Duration::from_secs(self.mirror.seconds));
        let name = self.mirror.name;
        match self.mirror.has_it {
            true => Ok(format!("the file from {name}").into_bytes()),
            false => Err(Error::NotFound(name)),
        }
    }

    /// Says goodbye, which takes 10 ms. The mirror expects it, whatever became of the reading.
    pub fn goodbye(&self) {
        green::sleep(Duration::from_millis(10));
        self.polite.set(true);
        self.mirror.world.say(self.mirror.name, "goodbye");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let (name, world) = (self.mirror.name, &self.mirror.world);
        world.open.borrow_mut().retain(|open| *open != name);
        if !self.polite.get() {
            world.rude.borrow_mut().push(name);
            world.say(name, "cut");
        }
    }
}

/// What the tests know of all mirrors.
pub struct World {
    pub log: Log,
    /// The mirrors to which there is a connection.
    pub open: RefCell<Vec<&'static str>>,
    /// Those to which a connection has ended without a goodbye.
    pub rude: RefCell<Vec<&'static str>>,
    start: Instant,
}

impl World {
    pub fn new() -> Rc<World> {
        let log = Log::new("you");
        Rc::new(World { log, open: RefCell::default(), rude: RefCell::default(), start: now() })
    }

    /// A mirror that takes so many seconds for the file.
    pub fn mirror(self: &Rc<World>, name: &'static str, seconds: u64) -> Mirror {
        Mirror { name, seconds, has_it: true, world: self.clone() }
    }

    /// A mirror that takes so many seconds to find that it does not have the file.
    pub fn without(self: &Rc<World>, name: &'static str, seconds: u64) -> Mirror {
        Mirror { name, seconds, has_it: false, world: self.clone() }
    }

    /// The time since the beginning, in milliseconds.
    pub fn ms(&self) -> u128 {
        (now() - self.start).as_millis()
    }

    fn say(&self, who: &'static str, what: &str) {
        self.log.of(who).say(format!("{what} {} ms", self.ms()));
    }
}
