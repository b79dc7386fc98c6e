//! says: and was never resumed

use kit::{Log, text_of};
use wouldblock::generator::{Generator, Thrown, Yielder};

/// Writes each line that it is sent to the log, and yields how many lines it has written so far, 0 at first.
///
/// What is thrown into it becomes an entry `error: TEXT`, and it goes on. When it is closed or dropped, it writes
/// `flush` once, as the last entry.
pub fn recorder(log: Log) -> Generator<usize, String> {
    struct Flush(Log);
    impl Drop for Flush {
        fn drop(&mut self) {
            self.0.say("flush");
        }
    }
    let flush = Flush(log.clone());
    Generator::new(move |y: &Yielder<usize, String>| {
        let _flush = &flush;
        let mut written = 0;
        loop {
            match y.try_yield(written) {
                Ok(line) => {
                    log.say(line);
                    written += 1;
                }
                Err(Thrown::Error(error)) => log.say(format!("error: {}", text_of(&*error))),
                Err(Thrown::Exit) => break,
            }
        }
    })
}
