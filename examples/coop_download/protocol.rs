//! As much of HTTP as the sequential and the generator way need: no HTTP library of today's can be used
//! from a Python 2 style generator, since none yields. In 2008 every protocol had to be written anew too.
//!
//! The request is one of HTTP/1.0, so that the answer comes in one piece, which ends where
//! `Content-Length` says or with the connection.

use crate::job::{Error, Target};

pub fn request(target: &Target) -> Vec<u8> {
    let Target { authority, path, .. } = target;
    format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// An answer, as it comes in.
#[derive(Default)]
pub struct Response {
    head: Vec<u8>,
    body: Vec<u8>,
    length: Option<usize>,
    in_body: bool,
}

impl Response {
    /// Takes what was read; true: the answer is complete. Nothing read is the end of the connection.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        match (bytes.is_empty(), self.in_body, self.length) {
            (true, true, None) => return Ok(true),
            (true, true, Some(length)) => {
                let got = self.body.len();
                return Err(format!("the body ended after {got} of {length} bytes").into());
            }
            (true, false, _) => return Err("the connection was closed before an answer".into()),
            (false, true, _) => self.body.extend_from_slice(bytes),
            (false, false, _) => {
                self.head.extend_from_slice(bytes);
                self.parse_head()?;
            }
        }
        match self.length {
            Some(length) if self.in_body && self.body.len() > length => {
                Err(format!("the body is longer than the {length} bytes announced").into())
            }
            length => Ok(self.in_body && length == Some(self.body.len())),
        }
    }

    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    fn parse_head(&mut self) -> Result<(), Error> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(end) = parsed.parse(&self.head)? else { return Ok(()) };
        let status = parsed.code.unwrap_or_default();
        if status != 200 {
            return Err(
                format!("HTTP status {status} {}", parsed.reason.unwrap_or_default()).into()
            );
        }
        for header in parsed.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = std::str::from_utf8(header.value)?.trim();
                self.length = Some(length.parse().map_err(|_| "the Content-Length is no number")?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err("the body is encoded for its transfer, in answer to HTTP/1.0".into());
            }
        }
        self.in_body = true;
        self.body = self.head.split_off(end);
        Ok(())
    }
}
