//! 01 countdown: state survives a yield.

use kit::Log;
use wouldblock::generator::Generator;

/// Counts down to 1: writes each number to the log, then yields it. Returns "lift-off".
pub fn countdown(from: u32, log: Log) -> Generator<u32, (), &'static str> {
    todo!("countdown: a generator that counts from {from}; the log is now {:?}", log.lines())
}
