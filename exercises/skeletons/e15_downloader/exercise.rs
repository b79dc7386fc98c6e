//! 15 downloader: everything, in three eras. This is what they have in common: it never waits.

use crate::given::{Error, Target};

/// An answer that comes in: first its head, then the bytes of the file.
pub struct Incoming {}

impl Incoming {
    /// The answer for a target, of which nothing has come yet.
    pub fn new(target: &Target) -> Incoming {
        todo!("Incoming::new: for {target:?}")
    }

    /// Takes what a read has brought, however the answer is cut.
    ///
    /// # Errors
    ///
    /// The answer is none, or its status is not 200, or the file cannot be written.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        todo!("Incoming::take: {} bytes", bytes.len())
    }

    /// The connection has ended. Keeps the file if all of it has come, and returns its length.
    ///
    /// # Errors
    ///
    /// The answer is not whole; then there is no file.
    pub fn end(self) -> Result<u64, Error> {
        todo!("Incoming::end")
    }
}
