//! 03 progress: a generator that is sent values.

use wouldblock::generator::Generator;

/// Is sent how many bytes each read has brought, and yields the percent of `total` that have come so far, 0 at first.
/// Returns the number of reads when all have come.
pub fn progress(total: u64) -> Generator<u8, u64, usize> {
    todo!("progress: add up what is sent, until it is {total}")
}

/// Sends these sizes to `progress`, until it ends. Returns all that it has yielded, the 0 at the beginning too.
pub fn feed(progress: Generator<u8, u64, usize>, sizes: &[u64]) -> Vec<u8> {
    todo!("feed: send {sizes:?} to the {progress:?}")
}
