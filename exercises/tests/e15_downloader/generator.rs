//! Python 2: each wait is yielded, by hand, through every function on the way.

use wouldblock::Wait;
use wouldblock::generator::Yielder;

use crate::given::{Error, Target};

/// Downloads one target. Returns its length.
pub fn download(y: &Yielder<Wait>, target: &Target) -> Result<u64, Error> {
    todo!("generator::download: {y:?}, {target:?}")
}

/// Downloads all targets, no more than so many at once. Returns what each came to, in their order.
pub fn all(y: &Yielder<Wait>, targets: Vec<Target>, at_once: usize) -> Vec<Result<u64, Error>> {
    todo!("generator::all: {y:?}, {} targets, {at_once} at once", targets.len())
}
