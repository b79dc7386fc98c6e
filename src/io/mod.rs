//! Pipes, standard input, and any other descriptor, with std's names.
//!
//! | | generator | green | future |
//! |---|---|---|---|
//! | read a pipe | `try_read_with`; `y.wait(p.readable())` on `WouldBlock` | `p.read(buf)` ([`std::io::Read`]) | `p.read(buf).await` ([`futures_io::AsyncRead`]) |
//! | write to a pipe | `try_write_with`, `writable` | `p.write(buf)` ([`std::io::Write`]) | `p.write(buf).await` ([`futures_io::AsyncWrite`]) |
//! | a call of another library | `y.wait(d.reading_with(\|d\| ..))` | `d.read_with(\|d\| ..)` | `d.reading_with(\|d\| ..).await` |
//! | a line of standard input | `y.wait(stdin().reading_line(&mut line))` | `stdin().read_line(&mut line)` | `stdin().reading_line(&mut line).await` |
//!
//! Porting is changing `std::io::{pipe, stdin}` to `wouldblock::io`; the traits stay std's.
//!
//! A write to a pipe without a reader fails as `BrokenPipe`, as long as the program ignores the signal `SIGPIPE`: Rust's
//! programs do.
//!
//! Standard output is std's, and `println!` blocks the thread while its reader is slow. In a program whose output goes into
//! a pipe, let one task write what the others send it, by [`offload`](crate::offload()).

mod descriptor;
mod stdin;

pub use descriptor::Descriptor;
pub use stdin::{Lines, Stdin, stdin};

use std::io;

/// The reading end of a [`pipe`]: std's, as a [`Descriptor`].
pub type PipeReader = Descriptor<io::PipeReader>;

/// The writing end of a [`pipe`]: std's, as a [`Descriptor`].
pub type PipeWriter = Descriptor<io::PipeWriter>;

/// A pipe. What is written to one end is read at the other, by a task of this thread, another thread, or a child process
/// that has one end as its [`Stdio`](std::process::Stdio).
///
/// ```
/// use std::io::{Read, Write};
/// use wouldblock::io::pipe;
///
/// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
/// let (mut reader, mut writer) = pipe()?;
/// writer.write_all(b"hello")?;
/// drop(writer); // the end of what is read
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok(()) }) }
/// ```
///
/// # Errors
///
/// The operating system's: too many descriptors.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((Descriptor::new(reader)?, Descriptor::new(writer)?))
}

impl PipeReader {
    /// A second handle to the same end.
    ///
    /// # Errors
    ///
    /// The operating system's: too many descriptors.
    pub fn try_clone(&self) -> io::Result<PipeReader> {
        Descriptor::new(self.get_ref().try_clone()?)
    }
}

impl PipeWriter {
    /// A second handle to the same end: the reader meets the end when both are closed.
    ///
    /// # Errors
    ///
    /// The operating system's: too many descriptors.
    pub fn try_clone(&self) -> io::Result<PipeWriter> {
        Descriptor::new(self.get_ref().try_clone()?)
    }
}
