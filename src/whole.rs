//! std's methods that read or write in several calls. Here they are the same as std's own, but the library knows from
//! which line of the program each call comes: std's code would be that line otherwise, in reports of what waits.

use std::io;

/// The methods of [`Read`](std::io::Read) that call `read` again and again.
macro_rules! read_whole {
    () => {
        read_whole!(exact);

        #[track_caller]
        fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
            let (before, mut chunk) = (bytes.len(), vec![0; $crate::whole::FIRST_CHUNK]);
            loop {
                let Some(n) = $crate::whole::tried(self.read(&mut chunk))? else { continue };
                bytes.extend_from_slice(&chunk[..n]);
                match n {
                    0 => return Ok(bytes.len() - before),
                    n if n == chunk.len() && n < $crate::whole::LAST_CHUNK => {
                        chunk.resize(2 * n, 0)
                    }
                    _ => {}
                }
            }
        }

        #[track_caller]
        fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
            let mut bytes = Vec::new();
            let read = self.read_to_end(&mut bytes);
            match String::from_utf8(bytes) {
                Ok(more) => text.push_str(&more),
                Err(_) => {
                    return read.and(Err(io::Error::new(io::ErrorKind::InvalidData, "not UTF-8")))
                }
            }
            read
        }
    };
    (exact) => {
        #[track_caller]
        fn read_exact(&mut self, mut buf: &mut [u8]) -> io::Result<()> {
            while !buf.is_empty() {
                match $crate::whole::tried(self.read(buf))? {
                    None => {}
                    Some(0) => {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the end, before the buffer is full",
                        ));
                    }
                    Some(n) => buf = &mut buf[n..],
                }
            }
            Ok(())
        }
    };
}

/// The methods of [`Write`](std::io::Write) that call `write` again and again.
macro_rules! write_whole {
    () => {
        #[track_caller]
        fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
            while !bytes.is_empty() {
                match $crate::whole::tried(self.write(bytes))? {
                    None => {}
                    Some(0) => {
                        return Err(io::Error::new(
                            io::ErrorKind::WriteZero,
                            "nothing more can be written",
                        ));
                    }
                    Some(n) => bytes = &bytes[n..],
                }
            }
            Ok(())
        }

        /// Formats the whole text first, and then writes it.
        #[track_caller]
        fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
            if let Some(text) = text.as_str() {
                return self.write_all(text.as_bytes());
            }
            let mut whole = String::new();
            std::fmt::write(&mut whole, text)
                .map_err(|_| io::Error::other("a value to be written cannot be formatted"))?;
            self.write_all(whole.as_bytes())
        }
    };
}

pub(crate) use {read_whole, write_whole};

/// The result of one call; `None` if a signal has interrupted it, so that it is to be made again.
pub(crate) fn tried(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(None),
        result => result.map(Some),
    }
}

/// How many bytes `read_to_end` reads in one call: at first, and later, where much comes at once.
pub(crate) const FIRST_CHUNK: usize = 8 << 10;
pub(crate) const LAST_CHUNK: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};

    use super::*;

    /// Reads or writes a byte at every second call; each other call is interrupted by a signal.
    struct Interrupted(Vec<u8>, bool);

    impl Interrupted {
        fn call(&mut self, call: impl FnOnce(&mut Vec<u8>) -> usize) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(ErrorKind::Interrupted.into()) } else { Ok(call(&mut self.0)) }
        }
    }

    impl Read for Interrupted {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.call(|bytes| match bytes.is_empty() {
                true => 0,
                false => {
                    buf[0] = bytes.remove(0);
                    1
                }
            })
        }

        read_whole!();
    }

    impl Write for Interrupted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.call(|all| {
                all.push(bytes[0]);
                1
            })
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }

        write_whole!();
    }

    #[test]
    fn a_call_that_a_signal_interrupts_is_made_again_as_by_std() {
        let (mut file, mut start, mut rest) =
            (Interrupted(Vec::new(), false), [0; 2], String::new());
        write!(file, "on{}", 1).unwrap();
        file.read_exact(&mut start).unwrap();
        assert_eq!(file.read_to_string(&mut rest).unwrap(), 1);
        assert_eq!((&start, &*rest), (b"on", "1"));
    }
}
