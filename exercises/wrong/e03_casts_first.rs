//! says: 512 / 1024 is 0

use wouldblock::generator::{Generator, GeneratorState::Yielded, Yielder};

/// Is sent how many bytes each read has brought, and yields the percent of `total` that have come so far, 0 at first.
/// Returns the number of reads when all have come.
pub fn progress(total: u64) -> Generator<u8, u64, usize> {
    Generator::new(move |y: &Yielder<u8, u64>| {
        let (mut so_far, mut reads) = (0, 0);
        while so_far < total {
            so_far += y.yield_((so_far as u8).wrapping_mul(100) / (total as u8).max(1));
            reads += 1;
        }
        reads
    })
}

/// Sends these sizes to `progress`, until it ends. Returns all that it has yielded, the 0 at the beginning too.
pub fn feed(mut progress: Generator<u8, u64, usize>, sizes: &[u64]) -> Vec<u8> {
    let mut yielded = Vec::new();
    let mut sizes = sizes.iter();
    let mut state = progress.prime();
    while let Yielded(percent) = state {
        yielded.push(percent);
        let Some(size) = sizes.next() else { break };
        state = progress.send(*size);
    }
    yielded
}
