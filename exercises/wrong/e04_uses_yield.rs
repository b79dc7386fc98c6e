//! says: the error came out of `throw` again

use kit::Log;
use wouldblock::generator::{Generator, Yielder};

/// Writes each line that it is sent to the log, and yields how many lines it has written so far, 0 at first.
///
/// What is thrown into it becomes an entry `error: TEXT`, and it goes on. When it is closed or dropped, it writes
/// `flush` once, as the last entry.
pub fn recorder(log: Log) -> Generator<usize, String> {
    Generator::new(move |y: &Yielder<usize, String>| {
        struct Flush(Log);
        impl Drop for Flush {
            fn drop(&mut self) {
                self.0.say("flush");
            }
        }
        let flush = Flush(log);
        let mut written = 0;
        loop {
            let line = y.yield_(written);
            flush.0.say(line);
            written += 1;
        }
    })
}
