//! says: BEFORE the first yield

use kit::Log;
use wouldblock::generator::{Generator, Yielder};

/// Counts down to 1: writes each number to the log, then yields it. Returns "lift-off".
pub fn countdown(from: u32, log: Log) -> Generator<u32, (), &'static str> {
    Generator::new(move |y: &Yielder<u32>| {
        let mut n = from;
        loop {
            log.say(n);
            y.yield_(n);
            n -= 1;
            if n == 0 {
                break;
            }
        }
        "lift-off"
    })
}
