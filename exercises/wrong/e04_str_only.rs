//! says: of a `&str` and of a `String`

use kit::Log;
use wouldblock::generator::{Generator, Thrown, Yielder};

/// Writes each line that it is sent to the log, and yields how many lines it has written so far, 0 at first.
///
/// What is thrown into it becomes an entry `error: TEXT`, and it goes on. When it is closed or dropped, it writes
/// `flush` once, as the last entry.
pub fn recorder(log: Log) -> Generator<usize, String> {
    Generator::new(move |y: &Yielder<usize, String>| {
        let mut written = 0;
        loop {
            match y.try_yield(written) {
                Ok(line) => {
                    log.say(line);
                    written += 1;
                }
                Err(Thrown::Error(error)) => {
                    log.say(format!("error: {}", error.downcast_ref::<&str>().unwrap_or(&"")))
                }
                Err(Thrown::Exit) => break,
            }
        }
        log.say("flush");
    })
}
