//! async/await: the colour is part of each signature.

use crate::given::{Error, Target};

/// Downloads one target. Returns its length.
pub async fn download(target: &Target) -> Result<u64, Error> {
    todo!("future::download: {target:?}")
}

/// Downloads all targets, no more than so many at once. Returns what each came to, in their order.
pub async fn all(targets: Vec<Target>, at_once: usize) -> Vec<Result<u64, Error>> {
    todo!("future::all: {} targets, {at_once} at once", targets.len())
}
