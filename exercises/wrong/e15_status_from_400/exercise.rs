//! says: only 200 brings the file

use std::path::PathBuf;

use crate::given::{Error, Head, Part, Target};

/// An answer that comes in: first its head, then the bytes of the file.
pub struct Incoming {
    file: PathBuf,
    /// What has come while the head was not whole.
    head: Vec<u8>,
    /// The file, and its announced length.
    body: Option<(Part, u64)>,
}

impl Incoming {
    /// The answer for a target, of which nothing has come yet.
    pub fn new(target: &Target) -> Incoming {
        Incoming { file: target.file.clone(), head: Vec::new(), body: None }
    }

    /// Takes what a read has brought, however the answer is cut.
    ///
    /// # Errors
    ///
    /// The answer is none, or its status is not 200, or the file cannot be written.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some((part, _)) = &mut self.body {
            return part.write(bytes);
        }
        self.head.extend(bytes);
        let Some((head, length)) = Head::parse(&self.head)? else { return Ok(()) };
        if head.status >= 400 {
            return Err(Error::Status(head.status));
        }
        let mut part = Part::create(&self.file)?;
        part.write(&self.head[length..])?;
        self.body = Some((part, head.length));
        Ok(())
    }

    /// The connection has ended. Keeps the file if all of it has come, and returns its length.
    ///
    /// # Errors
    ///
    /// The answer is not whole; then there is no file.
    pub fn end(self) -> Result<u64, Error> {
        let (part, length) = self.body.ok_or(Error::NoAnswer)?;
        if part.bytes() < length {
            return Err(Error::BrokenOff { got: part.bytes(), of: length });
        }
        part.keep()
    }
}
