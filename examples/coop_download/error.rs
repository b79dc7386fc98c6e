//! What can go wrong with a download, in words for whoever asked for it; and whether to try again.

use std::error::Error as Cause;
use std::io::{self, ErrorKind};

use hyper::StatusCode;
use wouldblock::time::Elapsed;

#[derive(Debug)]
pub enum Error {
    /// Another attempt may fare better.
    Passing(String),
    /// It will not.
    Lasting(String),
    /// The file is elsewhere, at this location.
    Moved(String),
}

/// The errors of the libraries, whichever way they come.
impl<E: Cause + 'static> From<E> for Error {
    fn from(error: E) -> Error {
        let words = describe(&error);
        match causes(&error).any(is_passing) {
            true => Error::Passing(words),
            false => Error::Lasting(words),
        }
    }
}

/// What a status says other than that the body is the file.
pub fn check(status: u16, location: Option<&[u8]>) -> Result<(), Error> {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let words = format!("HTTP status {status} {}", reason.unwrap_or("(unknown)"));
    match (status, location) {
        (200, _) => Ok(()),
        (301 | 302 | 303 | 307 | 308, Some(location)) => {
            Err(Error::Moved(String::from_utf8_lossy(location).trim().to_owned()))
        }
        (500.., _) => Err(Error::Passing(words)),
        _ => Err(Error::Lasting(words)),
    }
}

/// A failed connection, a time limit, an answer that ends early.
fn is_passing(cause: &(dyn Cause + 'static)) -> bool {
    use ErrorKind::*;
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        #[rustfmt::skip]
        let passing = [
            ConnectionRefused, ConnectionReset, ConnectionAborted, HostUnreachable, NetworkUnreachable,
            NotConnected, BrokenPipe, TimedOut, UnexpectedEof,
        ];
        return passing.contains(&error.kind());
    }
    if let Some(error) = cause.downcast_ref::<ureq::Error>() {
        return matches!(error, ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed);
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    }
    cause.is::<Elapsed>()
}

/// An error with its causes, unless it has already said them itself.
fn describe(error: &(dyn Cause + 'static)) -> String {
    let mut words = String::new();
    for cause in causes(error) {
        let more = match cause.downcast_ref() {
            Some(ureq::Error::Io(_)) => String::new(), // It says what its cause says.
            _ => cause.to_string(),
        };
        if !words.contains(&more) {
            words = if words.is_empty() { more } else { format!("{words}: {more}") };
        }
    }
    if words.contains("invalid peer certificate") {
        words += "; `--cacert FILE` says whom to trust";
    }
    words
}

/// An error, its cause, the cause of that, and so on.
fn causes<'a>(error: &'a (dyn Cause + 'static)) -> impl Iterator<Item = &'a (dyn Cause + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match (error.downcast_ref::<io::Error>(), error.downcast_ref::<ureq::Error>()) {
            // Both pass over the error that they are made of, and name its cause as theirs.
            (Some(error), _) => error.get_ref().map(|inner| inner as &(dyn Cause + 'static)),
            (_, Some(ureq::Error::Io(error))) => Some(error),
            (_, Some(ureq::Error::Rustls(error))) => Some(error),
            _ => error.source(),
        }
    })
}
