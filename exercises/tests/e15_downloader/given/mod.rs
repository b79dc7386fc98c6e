//! What is given: targets, the head of an answer, the file that comes in, and errors.

#![allow(dead_code)] // until a solution uses it

pub mod server;

use std::cell::Cell;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use wouldblock::JoinError;

/// What is to be downloaded: `http://address/path`, to a file.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    pub file: PathBuf,
}

impl Target {
    /// The bytes to send. The server ends the connection after its answer.
    pub fn request(&self) -> Vec<u8> {
        format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.path, self.address)
            .into_bytes()
    }
}

/// Why a file is not there.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The server answered with this status, and not with 200.
    Status(u16),
    /// The connection ended before all bytes had come that the head had announced.
    BrokenOff { got: u64, of: u64 },
    /// The connection ended before the head of the answer was whole, or this is no HTTP.
    NoAnswer,
    /// An error of the system.
    Io(io::ErrorKind),
    /// The task was cancelled, or panicked.
    Task(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error.kind())
    }
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Error {
        Error::Task(error.to_string())
    }
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    pub status: u16,
    /// How many bytes follow the head.
    pub length: u64,
}

impl Head {
    /// Parses the head at the beginning of `bytes`. Returns it with how many bytes it takes; `None` if it is not whole yet.
    ///
    /// # Errors
    ///
    /// `NoAnswer`: this is no HTTP.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Error> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Error::NoAnswer)?;
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let length =
            text.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
        match (status, length) {
            (Some(status), Some(length)) => Ok(Some((Head { status, length }, end + 4))),
            _ => Err(Error::NoAnswer),
        }
    }
}

/// A file that comes in, under another name until it is whole: `a.jpg.part`. Dropping it removes it.
///
/// It writes by `std::fs`, which blocks the thread, for as long as the system takes to copy some hundred bytes.
#[derive(Debug)]
pub struct Part {
    out: File,
    file: PathBuf,
    bytes: u64,
}

impl Part {
    /// Creates the part of a file.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn create(file: &Path) -> Result<Part, Error> {
        let out = File::create(part_of(file))?;
        Ok(Part { out, file: file.to_owned(), bytes: 0 })
    }

    /// Adds bytes at its end.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > 512 {
            kit::fail(format!(
                "a piece of {} bytes came to the file: an answer is read in pieces of at most 512 bytes, and each is passed on, and \
                 written, when it comes",
                bytes.len()
            ));
        }
        self.out.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes are in it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives it its name. Returns how many bytes are in it.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn keep(self) -> Result<u64, Error> {
        KEPT.set(KEPT.get() + 1);
        fs::rename(part_of(&self.file), &self.file)?;
        Ok(self.bytes)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        fs::remove_file(part_of(&self.file)).ok(); // It is not there if it was kept.
    }
}

thread_local! {
    static KEPT: Cell<usize> = const { Cell::new(0) };
}

/// How many files `keep` was called for on this thread, for the tests.
pub fn kept() -> usize {
    KEPT.get()
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}
