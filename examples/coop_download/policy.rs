//! What all four ways ask for, and what they make of an answer: headers, statuses, redirects, retries, limits. The ways
//! have a library each, and differ in their I/O; none of the libraries decides anything of this.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use ureq::http::header::{self, HeaderMap, HeaderName};
use ureq::http::response::Parts;
use ureq::http::{Request, StatusCode, Version};

use crate::error::Error;
use crate::target::Target;

/// The most headers of an answer: as many as ureq takes.
pub const MOST_HEADERS: usize = 128;

/// The longest head of an answer, in bytes.
pub const LONGEST_HEAD: usize = 64 * 1024;

/// As many as ureq follows.
pub const MOST_REDIRECTS: u32 = 10;

/// A server that asks to come back later than this is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

const USER_AGENT: &str = concat!("coop_download/", env!("CARGO_PKG_VERSION"));

/// What the destination holds already, of which the rest is asked for.
pub struct Held {
    pub bytes: u64,
    /// The version that the bytes are of, as `ETag` or `Last-Modified` named it. `None`: the file was there before
    /// this program.
    pub version: Option<String>,
    /// When it was written, of a file without a version.
    pub written: Option<SystemTime>,
}

/// What a body is.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    /// Where it begins: not at zero in an answer to a request for the rest.
    pub from: u64,
    /// How long the whole file is, if that is announced.
    pub length: Option<u64>,
    /// The version of the file, to ask for the rest of exactly this one.
    pub version: Option<String>,
}

pub fn request(target: &Target, held: Option<&Held>) -> Result<Request<()>, Error> {
    let mut request = Request::get(target.url())
        .header(header::HOST, target.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity");
    if let Some(held) = held {
        request = request.header(header::RANGE, format!("bytes={}-", held.bytes));
        if let Some(version) = &held.version {
            request = request.header(header::IF_RANGE, version);
        }
    }
    Ok(request.body(())?)
}

/// What an answer brings: the body of the file, or what ends the attempt.
pub fn answer(head: &Parts, held: Option<&Held>) -> Result<Content, Error> {
    if size(&head.headers) > LONGEST_HEAD {
        return Err(Error::Protocol("its head is too large".into()));
    }
    framing(head)?;
    // The chunks say where the body ends (RFC 9112, section 6.3).
    let chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
    let of_body = number(&head.headers, header::CONTENT_LENGTH).filter(|_| !chunked);
    match head.status.as_u16() {
        301 | 302 | 303 | 307 | 308 if head.headers.contains_key(header::LOCATION) => {
            let last = head.headers.get_all(header::LOCATION).iter().next_back();
            Err(Error::Moved(last.map(|location| location.as_bytes().to_vec()).unwrap_or_default()))
        }
        206 => rest(head, held),
        416 if held
            .is_some_and(|held| content_range(&head.headers) == Some((None, Some(held.bytes)))) =>
        {
            Err(Error::There(held.map_or(0, |held| held.bytes)))
        }
        416 if held.is_some() => Err(Error::Changed),
        204 | 205 => Err(Error::Refused(words(head.status))),
        200..=299 => Ok(Content { from: 0, length: of_body, version: version(&head.headers) }),
        408 | 425 | 429 | 500 | 502 | 503 | 504 | 521..=524 => later(head),
        _ => Err(Error::Refused(words(head.status))),
    }
}

/// Where the body ends is for the libraries to find; they differ in what they take of the kinds that RFC 9112,
/// section 6, calls faulty.
fn framing(head: &Parts) -> Result<(), Error> {
    let codings = head.headers.get_all(header::TRANSFER_ENCODING);
    let chunked = codings
        .iter()
        .all(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    let wrong = match () {
        () if codings.iter().next().is_some() && head.version < Version::HTTP_11 => {
            "Transfer-Encoding in HTTP/1.0"
        }
        () if codings.iter().count() > 1 || !chunked => "a Transfer-Encoding other than chunked",
        () if number(&head.headers, header::CONTENT_LENGTH)
            .is_some_and(|n| n > i64::MAX as u64) =>
        {
            "a Content-Length beyond all files"
        }
        () => return Ok(()),
    };
    Err(Error::Protocol(wrong.into()))
}

/// In bytes. Each library has its own way to count, and some read more before they do.
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum()
}

/// Whether the connection takes another request after this answer.
pub fn keeps_alive(head: &Parts) -> bool {
    let tokens =
        head.headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = tokens.flat_map(|value| value.split(',')).map(str::trim);
    let closes = tokens.any(|token| token.eq_ignore_ascii_case("close"));
    let ends = head.headers.contains_key(header::CONTENT_LENGTH)
        || head.headers.contains_key(header::TRANSFER_ENCODING);
    head.version >= Version::HTTP_11 && ends && !closes
}

fn rest(head: &Parts, held: Option<&Held>) -> Result<Content, Error> {
    let Some(held) = held else {
        return Err(Error::Refused(format!(
            "{}, though no part was asked for",
            words(head.status)
        )));
    };
    let length = match content_range(&head.headers) {
        Some((Some(from), length)) if from == held.bytes => length,
        _ => return Err(Error::Changed),
    };
    let modified = date(&head.headers, header::LAST_MODIFIED);
    if held.written.is_some_and(|written| modified.is_none_or(|modified| modified > written)) {
        return Err(Error::Changed);
    }
    Ok(Content { from: held.bytes, length, version: held.version.clone() })
}

/// The first byte and the length of the whole file, in `Content-Range: bytes 5-9/10` or `bytes */10`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, length) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let first = range.split_once('-').map(|(first, _)| first.trim().parse());
    Some((first.transpose().ok()?, length.trim().parse().ok()))
}

/// What names this version of the file, and no other: `If-Range` takes no weak validator, as a date is which is not
/// earlier than that of the answer (RFC 9110, section 8.8.2.2).
fn version(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let ranges =
        text(header::ACCEPT_RANGES).is_none_or(|ranges| ranges.eq_ignore_ascii_case("bytes"));
    let tag = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
    let (modified, now) = (date(headers, header::LAST_MODIFIED), date(headers, header::DATE));
    let strong = modified.zip(now).is_some_and(|(modified, now)| modified < now);
    let modified = text(header::LAST_MODIFIED).filter(|_| strong);
    tag.or(modified).filter(|_| ranges).map(str::to_owned)
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    OffsetDateTime::parse(text, &Rfc2822).ok().map(SystemTime::from)
}

fn later(head: &Parts) -> Result<Content, Error> {
    let why = words(head.status);
    let seconds = number(&head.headers, header::RETRY_AFTER).map(Duration::from_secs);
    let until = date(&head.headers, header::RETRY_AFTER);
    let after =
        seconds.or(until.map(|date| date.duration_since(SystemTime::now()).unwrap_or_default()));
    match after {
        Some(after) if after > LONGEST_PAUSE => Err(Error::Refused(format!(
            "{why}; the server asks to come back in {} s",
            after.as_secs()
        ))),
        after => Err(Error::Later { why, after }),
    }
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    text.split(',').next()?.trim().parse().ok()
}

fn words(status: StatusCode) -> String {
    format!("HTTP status {} {}", status.as_u16(), status.canonical_reason().unwrap_or("(unknown)"))
}

/// How long to pause after a failed attempt, the first of which is number 1: 0.2 s, and twice as long each time; or as
/// long as the server says.
pub fn pause(attempt: u32, after: Option<Duration>) -> Duration {
    after.unwrap_or(Duration::from_millis(200 << (attempt - 1).min(6)))
}

/// How long an attempt may take, and each silence in it.
pub struct Limits {
    timeout: Duration,
    idle: Duration,
    /// When the attempt began, and when something came last.
    began: Cell<Instant>,
    moved: Cell<Instant>,
}

impl Limits {
    pub fn new(timeout: Option<Duration>, idle: Duration) -> Limits {
        let now = Instant::now();
        let timeout = timeout.unwrap_or(Duration::MAX);
        Limits { timeout, idle, began: Cell::new(now), moved: Cell::new(now) }
    }

    /// An attempt begins, after a pause.
    pub fn begin(&self, pause: Duration) {
        self.began.set(Instant::now() + pause);
        self.moved.set(self.began.get());
    }

    /// Something has come.
    pub fn moved(&self) {
        self.moved.set(Instant::now());
    }

    /// How long the next wait may take; `None` if no time is left.
    pub fn left(&self) -> Option<Duration> {
        let of_all = self.timeout.saturating_sub(self.began.get().elapsed());
        let left = of_all.min(self.idle.saturating_sub(self.moved.get().elapsed()));
        Some(left).filter(|left| !left.is_zero())
    }

    /// Which of them has passed.
    pub fn words(&self) -> String {
        match self.began.get().elapsed() >= self.timeout {
            true => format!("timed out after {:?}", self.timeout),
            false => format!("timed out after {:?} without a byte", self.idle),
        }
    }
}
