//! Standard input, of which a read that is cancelled loses no line.
//!
//! Its mode stays as it is: the operating system keeps the mode with the terminal or the file, which the shell and other
//! programs share. So a read is made only when `poll(2)` reports that it will not wait.
//!
//! What was read beyond a line lies in a buffer that the whole program shares. A task that takes a line and leaves
//! another in the buffer wakes the others that wait for one: the operating system has nothing more to report of it.

use std::future::Future;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use crate::deadline;
use crate::kernel::door;
use crate::kernel::edge::source::poll_one;
use crate::kernel::reactor::Direction;
use crate::net::Readiness;
use crate::net::socket::Socket;
use crate::net::turn::{can_suspend, would_block};
use crate::whole::read_whole;

/// Standard input, with std's names: waits for lines suspend the task, where std's block the thread.
///
/// ```no_run
/// use wouldblock::{green, io::stdin};
///
/// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
/// for line in stdin().lines() {
///     let line = line?;
///     green::spawn(move || println!("{}", line.to_uppercase()));
/// }
/// # Ok(()) }) }
/// ```
///
/// All handles share one buffer. It is not that of [`std::io::stdin`]: a program uses one of the two.
pub fn stdin() -> Stdin {
    Stdin(())
}

/// See [`stdin`].
#[derive(Debug)]
pub struct Stdin(());

/// The descriptor 0, which this program does not close.
#[derive(Debug)]
struct Descriptor0;

impl AsRawFd for Descriptor0 {
    fn as_raw_fd(&self) -> RawFd {
        libc::STDIN_FILENO
    }
}

static INNER: LazyLock<Socket<Descriptor0>> = LazyLock::new(|| Socket::new(Descriptor0));

/// What was read and not yet taken.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    /// The first so many of them hold no end of a line.
    searched: usize,
    /// Those who wait for a line, each with its number.
    waiting: Vec<(u64, Waker)>,
    /// The number of the next.
    next: u64,
}

static BUFFER: Mutex<Buffer> =
    Mutex::new(Buffer { bytes: Vec::new(), searched: 0, waiting: Vec::new(), next: 0 });

fn buffer() -> MutexGuard<'static, Buffer> {
    BUFFER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buffer {
    /// Takes the first line, with its end.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n');
        let Some(end) = end else {
            self.searched = self.bytes.len();
            return None;
        };
        let rest = self.bytes.split_off(self.searched + end + 1);
        self.searched = 0;
        Some(mem::replace(&mut self.bytes, rest))
    }
}

/// Reads once, if that does not wait.
fn read_now(buf: &mut [u8]) -> io::Result<usize> {
    if !poll_one(libc::STDIN_FILENO, libc::POLLIN, 0)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // SAFETY: reads into a slice.
    match unsafe { libc::read(libc::STDIN_FILENO, buf.as_mut_ptr().cast(), buf.len()) } {
        -1 => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::EBADF) => Ok(0), // It is closed: std's is empty then, too.
            e => Err(e),
        },
        n => Ok(n as usize),
    }
}

/// Takes a line: the bytes up to its end, or up to the end of the input; none at the end.
fn take_line() -> io::Result<Vec<u8>> {
    let mut chunk = [0; 4096];
    let mut buffer = buffer();
    loop {
        if let Some(line) = buffer.line() {
            // One of them may find a further line in the buffer. The lock is given back first: a waker may be user
            // code.
            let waiting = mem::take(&mut buffer.waiting);
            drop(buffer);
            waiting.into_iter().for_each(|(_, waker)| waker.wake());
            return Ok(line);
        }
        match read_now(&mut chunk)? {
            0 => {
                buffer.searched = 0;
                return Ok(mem::take(&mut buffer.bytes));
            }
            n => buffer.bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Appends a line to `text`, and returns its length in bytes.
fn append(line: Vec<u8>, text: &mut String) -> io::Result<usize> {
    let invalid =
        |_| io::Error::new(io::ErrorKind::InvalidData, "a line of standard input is not UTF-8");
    let line = String::from_utf8(line).map_err(invalid)?;
    text.push_str(&line);
    Ok(line.len())
}

impl Stdin {
    /// Reads a line, and appends it to `text`, with its end. Returns its length in bytes; 0 at the end of the input.
    ///
    /// # Errors
    ///
    /// The operating system's; `InvalidData` for a line that is not UTF-8, which is skipped; `TimedOut` if a
    /// [`green::deadline`](crate::green::deadline) around this passes first.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, and [while a stack unwinds](crate::net#blocking), blocks the thread. Where
    /// another process reads the same terminal or pipe at the same moment, and is faster, it blocks the thread until
    /// something more comes.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: a line is taken whole, and what has come of it stays for the next read.
    #[track_caller]
    pub fn read_line(&self, text: &mut String) -> io::Result<usize> {
        match can_suspend() {
            true => door::wait(self.reading_line(text)),
            false => append(INNER.green(Direction::Read, |_| take_line())?, text),
        }
    }

    /// [`read_line`](Self::read_line), now or not at all.
    ///
    /// # Errors
    ///
    /// As [`read_line`](Self::read_line); `WouldBlock`, when no whole line has come, or when the task has had its share
    /// of this turn.
    pub fn try_read_line(&self, text: &mut String) -> io::Result<usize> {
        append(INNER.attempt(Direction::Read, |_| take_line())?, text)
    }

    /// [`read_line`](Self::read_line) as an operation: `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// As [`read_line`](Self::read_line), and those of [`Readiness`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn reading_line<'a>(
        &self,
        text: &'a mut String,
    ) -> impl Future<Output = io::Result<usize>> + Unpin + use<'a> {
        let mut buffer = buffer();
        let number = buffer.next;
        buffer.next += 1;
        ReadingLine { text, number, ready: INNER.ready(Direction::Read) }
    }

    /// The lines, without their ends: [`read_line`](Self::read_line) as an iterator.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn lines(self) -> Lines {
        Lines(self)
    }
}

struct ReadingLine<'a> {
    text: &'a mut String,
    /// Names its waker in the buffer.
    number: u64,
    ready: Readiness<'static>,
}

impl Future for ReadingLine<'_> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            deadline::begin()?;
            match INNER.attempt(Direction::Read, |_| take_line()) {
                Err(e) if would_block(&e) => {}
                line => return Poll::Ready(append(line?, this.text)),
            }
            let waker = cx.waker().clone();
            let before = this.leave();
            let has_line = {
                let mut buffer = buffer();
                buffer.waiting.push((this.number, waker));
                buffer.bytes.contains(&b'\n')
            };
            drop(before); // The destructor of a waker may be user code: the lock is not held.
            if has_line {
                continue; // A task of another thread has left it there meanwhile.
            }
            ready!(Pin::new(&mut this.ready).poll(cx))?;
        }
    }
}

impl ReadingLine<'_> {
    /// Takes its waker out of the buffer.
    fn leave(&self) -> Option<(u64, Waker)> {
        let mut buffer = buffer();
        let at = buffer.waiting.iter().position(|&(number, _)| number == self.number)?;
        Some(buffer.waiting.remove(at))
    }
}

impl Drop for ReadingLine<'_> {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

/// See [`Stdin::lines`].
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Lines(Stdin);

impl Iterator for Lines {
    type Item = io::Result<String>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<String>> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(e) => return Some(Err(e)),
        }
        if line.ends_with('\n') {
            line.pop();
            if line.ends_with('\r') {
                line.pop();
            }
        }
        Some(Ok(line))
    }
}

/// Takes what lies in the buffer first.
impl Read for Stdin {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        INNER.green(Direction::Read, |_| {
            let mut buffer = buffer();
            if buffer.bytes.is_empty() {
                drop(buffer);
                return read_now(buf);
            }
            let n = buffer.bytes.len().min(buf.len());
            buf[..n].copy_from_slice(&buffer.bytes[..n]);
            buffer.bytes.drain(..n);
            buffer.searched = 0;
            Ok(n)
        })
    }

    read_whole!();
}

impl AsRawFd for Stdin {
    fn as_raw_fd(&self) -> RawFd {
        libc::STDIN_FILENO
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: std's handle borrows it in the same way: a program does not close its standard input.
        unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) }
    }
}
