//! says: it was to return then

use std::time::Duration;

use wouldblock::{
    green,
    group::{gather, race},
};

use crate::given::{Error, Mirror};

/// What the first mirror to end gives, a failure like a success. The others are cancelled, and have ended when this
/// returns. After `limit`, it is `Error::TooLate`.
///
/// Each connection that was opened gets a goodbye, whatever happens.
pub fn first_of(mirrors: Vec<Mirror>, limit: Duration) -> Result<Vec<u8>, Error> {
    let first = green::timeout(limit, || {
        let tasks = mirrors.into_iter().map(|mirror| green::spawn(move || fetch(&mirror)));
        green::wait(race(tasks))?
    });
    first.unwrap_or(Err(Error::TooLate))
}

/// The files of all mirrors, in their order; or the first error, and then all others are cancelled, and have ended when
/// this returns. After `limit`, it is `Error::TooLate`.
///
/// Each connection that was opened gets a goodbye, whatever happens.
pub fn all_or_none(mirrors: Vec<Mirror>, limit: Duration) -> Result<Vec<Vec<u8>>, Error> {
    let all = green::timeout(limit, || {
        let tasks = mirrors.into_iter().map(|mirror| green::spawn(move || fetch(&mirror)));
        green::wait(gather(tasks)).into_iter().map(|file| file?).collect()
    });
    all.unwrap_or(Err(Error::TooLate))
}

/// Reads the file from a mirror, and says goodbye to it.
fn fetch(mirror: &Mirror) -> Result<Vec<u8>, Error> {
    let connection = mirror.open();
    green::finally(|| connection.read(), || connection.goodbye())
}
