//! As much of HTTP as the sequential and the generator way need: no HTTP library of today's can be used
//! from a Python 2 style generator, since none yields. In 2008 every protocol had to be written anew too.
//!
//! The request is one of HTTP/1.0, so that the answer comes in one piece, which ends where
//! `Content-Length` says or with the connection.

use crate::error::{Error, check};
use crate::job::Job;
use crate::part::Part;
use crate::target::Target;

/// No head is longer, as in ureq.
const LONGEST_HEAD: usize = 64 * 1024;

pub fn request(target: &Target) -> Vec<u8> {
    let Target { authority, path, .. } = target;
    format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// An answer, as it comes in.
pub struct Response<'a> {
    job: &'a Job<'a>,
    head: Vec<u8>,
    body: Option<Part>,
    ended: bool,
}

impl<'a> Response<'a> {
    pub fn new(job: &'a Job<'a>) -> Response<'a> {
        Response { job, head: Vec::new(), body: None, ended: false }
    }

    /// Whether nothing more is to be read.
    pub fn is_complete(&self) -> bool {
        self.ended || self.body.as_ref().is_some_and(Part::is_whole)
    }

    /// Takes what was read; none is the end of the connection. What it gives now and then is to be called
    /// before the next read: it writes to the disk.
    pub fn take(
        &mut self,
        bytes: &[u8],
    ) -> Result<Option<impl FnOnce() -> Result<(), Error> + Send + use<>>, Error> {
        self.ended = bytes.is_empty();
        if let Some(body) = &mut self.body {
            return body.take(bytes);
        }
        self.head.extend_from_slice(bytes);
        let Some((length, end)) = parse(&self.head)? else {
            return match self.head.len() > LONGEST_HEAD {
                true => Err(Error::Lasting("the head of the answer has no end".into())),
                false => Ok(None),
            };
        };
        self.body.insert(self.job.part(length)?).take(&self.head[end..])
    }

    pub fn into_body(self) -> Result<Part, Error> {
        let closed = || Error::Passing("the connection was closed before an answer".into());
        self.body.ok_or_else(closed)
    }
}

/// The length of the body, if it is announced, and where it begins; nothing as long as the head is not all
/// there.
fn parse(head: &[u8]) -> Result<Option<(Option<u64>, usize)>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let status = parsed.parse(head);
    let status = status.map_err(|e| Error::Lasting(format!("the answer is not HTTP: {e}")))?;
    let httparse::Status::Complete(end) = status else { return Ok(None) };
    let values = |name: &'static str| {
        let named = parsed.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value)
    };
    check(parsed.code.unwrap_or_default(), values("location").next())?;
    if values("transfer-encoding").next().is_some() {
        let words = "the body is encoded for its transfer, in answer to HTTP/1.0";
        return Err(Error::Lasting(words.into()));
    }
    let mut lengths = values("content-length");
    let Some(length) = lengths.next() else { return Ok(Some((None, end))) };
    let number = std::str::from_utf8(length).ok().and_then(|length| length.trim().parse().ok());
    match number.filter(|_| lengths.all(|other| other == length)) {
        Some(number) => Ok(Some((Some(number), end))),
        None => {
            let words = format!("the Content-Length is not one number: {}", length.escape_ascii());
            Err(Error::Lasting(words))
        }
    }
}
