//! What ends an attempt before its file is whole: one vocabulary for all four ways, whichever library speaks.

use std::error::Error as Cause;
use std::io::{self, ErrorKind};
use std::time::Duration;

use wouldblock::time::Elapsed;

#[derive(Debug)]
pub enum Error {
    /// The connection could not be made, or has ended.
    Connection { hope: Hope, why: String },
    /// The server does not prove to be the one of the URL.
    Tls(String),
    /// What has come is not HTTP.
    Protocol(String),
    /// The server asks to come back later, and may say when.
    Later { why: String, after: Option<Duration> },
    /// No other attempt fares better.
    Refused(String),
    /// The file is elsewhere, at this location, in the bytes of the header.
    Moved(Vec<u8>),
    /// What was resumed is not what the server has now: the download begins anew.
    Changed,
    /// The file was there before, and is whole: so many bytes.
    There(u64),
}

/// What another attempt may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hope {
    None,
    /// Another outcome, after a pause.
    Later,
    /// The same, and at once if the connection was an old one, which the server has closed meanwhile.
    Fresh,
}

/// The errors of the libraries.
impl<E: Cause + 'static> From<E> for Error {
    fn from(error: E) -> Error {
        let why = describe(&error);
        if causes(&error).any(is_of_tls) {
            Error::Tls(why)
        } else if causes(&error).any(is_of_the_protocol) {
            Error::Protocol(why)
        } else {
            let hope = causes(&error).map(hope).find(|hope| *hope != Hope::None);
            Error::Connection { hope: hope.unwrap_or(Hope::None), why }
        }
    }
}

impl Error {
    /// The connection ended where an answer was to come.
    pub fn closed() -> Error {
        Error::Connection { hope: Hope::Fresh, why: "the connection was closed".into() }
    }
}

fn is_of_tls(cause: &(dyn Cause + 'static)) -> bool {
    // The second is how `http::agent` puts the first.
    cause.is::<rustls::Error>() || cause.to_string().starts_with("no TLS with ")
}

fn is_of_the_protocol(cause: &(dyn Cause + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData);
    }
    if let Some(error) = cause.downcast_ref::<ureq::Error>() {
        return matches!(error, ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..));
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_parse();
    }
    cause.is::<ureq_proto::Error>()
}

fn hope(cause: &(dyn Cause + 'static)) -> Hope {
    use ErrorKind::*;
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return match error.kind() {
            ConnectionReset | ConnectionAborted | NotConnected | BrokenPipe | UnexpectedEof => {
                Hope::Fresh
            }
            ConnectionRefused | HostUnreachable | NetworkUnreachable | TimedOut => Hope::Later,
            _ => match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::EADDRNOTAVAIL) => {
                    Hope::Later
                }
                _ => Hope::None,
            },
        };
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        let ended = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
        return if ended { Hope::Fresh } else { Hope::None };
    }
    match cause.downcast_ref::<ureq::Error>() {
        Some(ureq::Error::ConnectionFailed) => Hope::Fresh,
        _ if cause.is::<Elapsed>() => Hope::Later,
        _ => Hope::None,
    }
}

/// An error with its causes, except those that are in its own words.
fn describe(error: &(dyn Cause + 'static)) -> String {
    let mut words = String::new();
    for cause in causes(error) {
        let more = match cause.downcast_ref() {
            Some(ureq::Error::Io(_)) => String::new(), // Its words are those of its cause.
            _ => cause.to_string(),
        };
        if !words.contains(&more) {
            words = if words.is_empty() { more } else { format!("{words}: {more}") };
        }
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
