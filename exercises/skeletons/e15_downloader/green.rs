//! gevent: plain code, with std's names.

use crate::given::{Error, Target};

/// Downloads one target. Returns its length.
pub fn download(target: &Target) -> Result<u64, Error> {
    todo!("green::download: {target:?}")
}

/// Downloads all targets, no more than so many at once. Returns what each came to, in their order.
pub fn all(targets: Vec<Target>, at_once: usize) -> Vec<Result<u64, Error>> {
    todo!("green::all: {} targets, {at_once} at once", targets.len())
}
