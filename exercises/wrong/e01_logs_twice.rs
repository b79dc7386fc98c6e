//! says: and should have [3, 2]

use kit::Log;
use wouldblock::generator::{Generator, Yielder};

/// Counts down to 1: writes each number to the log, then yields it. Returns "lift-off".
pub fn countdown(from: u32, log: Log) -> Generator<u32, (), &'static str> {
    Generator::new(move |y: &Yielder<u32>| {
        for n in (1..=from).rev() {
            log.say(n);
            y.yield_(n);
            log.say(n);
        }
        "lift-off"
    })
}
