//! 14 limits: nothing leaks.

use std::time::Duration;

use crate::given::{Error, Mirror};

/// What the first mirror to end gives, a failure like a success. The others are cancelled, and have ended when this
/// returns. After `limit`, it is `Error::TooLate`.
///
/// Each connection that was opened gets a goodbye, whatever happens.
pub fn first_of(mirrors: Vec<Mirror>, limit: Duration) -> Result<Vec<u8>, Error> {
    todo!("first_of: of {} mirrors, within {limit:?}", mirrors.len())
}

/// The files of all mirrors, in their order; or the first error, and then all others are cancelled, and have ended when
/// this returns. After `limit`, it is `Error::TooLate`.
///
/// Each connection that was opened gets a goodbye, whatever happens.
pub fn all_or_none(mirrors: Vec<Mirror>, limit: Duration) -> Result<Vec<Vec<u8>>, Error> {
    todo!("all_or_none: of {} mirrors, within {limit:?}", mirrors.len())
}
