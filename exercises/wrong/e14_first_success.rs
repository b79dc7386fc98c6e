//! says: b was not asked until a had ended

use std::time::Duration;

use wouldblock::{
    green,
    group::{Group, race},
};

use crate::given::{Error, Mirror};

/// What the first mirror to end gives, a failure like a success. The others are cancelled, and have ended when this
/// returns. After `limit`, it is `Error::TooLate`.
///
/// Each connection that was opened gets a goodbye, whatever happens.
pub fn first_of(mirrors: Vec<Mirror>, limit: Duration) -> Result<Vec<u8>, Error> {
    let first = green::timeout(limit, || {
        let tasks = mirrors.into_iter().map(|mirror| green::spawn(move || fetch(&mirror)));
        let tasks: Vec<_> = tasks.collect();
        let mut last = Err(Error::TooLate);
        for task in tasks {
            last = task.join().map_err(Error::from).and_then(|it| it);
            if last.is_ok() {
                break;
            }
        }
        last
    });
    first.unwrap_or(Err(Error::TooLate))
}

/// The files of all mirrors, in their order; or the first error, and then all others are cancelled, and have ended when
/// this returns. After `limit`, it is `Error::TooLate`.
///
/// Each connection that was opened gets a goodbye, whatever happens.
pub fn all_or_none(mirrors: Vec<Mirror>, limit: Duration) -> Result<Vec<Vec<u8>>, Error> {
    let all = green::timeout(limit, || {
        Group::run(|group| {
            let tasks = mirrors.into_iter().map(|mirror| group.spawn(move || fetch(&mirror)));
            let tasks: Vec<_> = tasks.collect();
            tasks.into_iter().map(|task| Ok(task.join()?)).collect()
        })
    });
    match all {
        Ok(Ok(files)) => Ok(files),
        Ok(Err(errors)) => {
            Err(errors.into_errors().next().expect("a group that failed has an error"))
        }
        Err(_) => Err(Error::TooLate),
    }
}

/// Reads the file from a mirror, and says goodbye to it.
fn fetch(mirror: &Mirror) -> Result<Vec<u8>, Error> {
    let connection = mirror.open();
    green::finally(|| connection.read(), || connection.goodbye())
}
