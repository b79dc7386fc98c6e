//! A child process, and the wait for its end.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{self, ExitStatus, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_io::AsyncRead;
use futures_lite::AsyncReadExt;
use futures_lite::future::zip;

use crate::inspect::purpose::Purpose;
use crate::io::{Descriptor, PipeReader, PipeWriter};
use crate::kernel::door;
use crate::kernel::edge::source::poll_one;
use crate::net::pauses::{Pauses, pausing};
use crate::net::turn::{can_suspend, would_block};

/// What is written to a child's standard input.
pub type ChildStdin = PipeWriter;

/// What a child writes to its standard output.
pub type ChildStdout = PipeReader;

/// What a child writes to its standard error.
pub type ChildStderr = PipeReader;

/// A child process: [`std::process::Child`] whose end a task waits for, where std's blocks the thread.
///
/// Dropped, it goes on, unless [`kill_on_drop`](super::Command::kill_on_drop) was set. See the [module](super).
pub struct Child {
    /// Its standard input, if that is [`piped`](process::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is [`piped`](process::Stdio::piped).
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is [`piped`](process::Stdio::piped).
    pub stderr: Option<ChildStderr>,
    process: Process,
}

/// The process without its pipes.
struct Process {
    /// `None`: it was dropped, or is std's to wait for.
    std: Option<process::Child>,
    /// `None`: the operating system has none.
    pidfd: Option<Pidfd>,
    kill_on_drop: bool,
}

/// A descriptor that is readable when the process has ended.
struct Pidfd {
    _purpose: Purpose, // Dropped before the descriptor is closed.
    fd: Descriptor<OwnedFd>,
}

impl Child {
    pub(super) fn new(mut std: process::Child, kill_on_drop: bool) -> io::Result<Child> {
        reap();
        let (stdin, stdout, stderr) = (std.stdin.take(), std.stdout.take(), std.stderr.take());
        let pidfd = Pidfd::of(std.id());
        let process = Process { std: Some(std), pidfd, kill_on_drop };
        Ok(Child {
            stdin: stdin.map(|pipe| Descriptor::new(OwnedFd::from(pipe).into())).transpose()?,
            stdout: stdout.map(|pipe| Descriptor::new(OwnedFd::from(pipe).into())).transpose()?,
            stderr: stderr.map(|pipe| Descriptor::new(OwnedFd::from(pipe).into())).transpose()?,
            process,
        })
    }

    pub(super) fn kill_on_drop(&mut self) {
        self.process.kill_on_drop = true;
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.process.std().id()
    }

    /// Ends the process at once, by the signal `SIGKILL`. Never waits: [`wait`](Child::wait) afterwards. For a process that
    /// has ended, this does nothing, and is no error: as std's.
    ///
    /// # Errors
    ///
    /// The operating system's: the process is another user's by now.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.std_mut().kill()
    }

    /// Sends a signal to the process, such as [`signal::SIGTERM`](crate::signal::SIGTERM), by which it is to end in good
    /// order. Only this process gets it, and not the processes that it has started. For a process that has ended, this
    /// does nothing, and is no error: as [`kill`](Child::kill), and as std's `ChildExt::send_signal`. (No other process
    /// gets the signal, although its number may be another's by now. [`try_wait`](Child::try_wait) tells whether it has
    /// ended.)
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use wouldblock::{process::Command, signal::SIGTERM};
    ///
    /// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// child.send_signal(SIGTERM)?;
    /// assert_eq!(child.wait()?.signal(), Some(SIGTERM));
    /// child.send_signal(SIGTERM)?; // it has ended: no error
    /// child.kill()?; // no more is this
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidInput`: there is no such signal. Else the operating system's: the process is another user's by now, or
    /// other code of the program has reaped it.
    pub fn send_signal(&mut self, signal: i32) -> io::Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = self.id() as libc::pid_t;
        // SAFETY: the number is that of this process, which has not been reaped.
        match unsafe { libc::kill(pid, signal) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// How the process has ended, if it has. Never waits.
    ///
    /// # Errors
    ///
    /// The operating system's: other code of the program has reaped the process.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.std_mut().try_wait()
    }

    /// Closes the child's standard input, as std does, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// The operating system's: other code of the program has reaped the process. `TimedOut` if a
    /// [`green::deadline`](crate::green::deadline) around this passes first.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, and [while a stack unwinds](crate::net#blocking), blocks the thread.
    ///
    /// # Cancellation
    ///
    /// The process goes on, and this may be called again.
    #[track_caller]
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        match can_suspend() {
            true => door::wait(self.waiting()),
            false => {
                drop(self.stdin.take());
                self.process.std_mut().wait()
            }
        }
    }

    /// [`wait`](Child::wait) as an operation: `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait).
    ///
    /// # Cancellation
    ///
    /// The process goes on, and this may be called again.
    pub async fn waiting(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.process.ended().await
    }

    /// Closes the child's standard input, and waits until it has ended; collects what it writes to its standard output
    /// and error meanwhile, as far as these are piped.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait), and those of the pipes.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread.
    ///
    /// # Cancellation
    ///
    /// The process is killed, and what it has written is lost.
    #[track_caller]
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        if can_suspend() {
            return door::wait(self.waiting_with_output());
        }
        drop(self.stdin.take());
        let fd = |pipe: PipeReader| pipe.into_inner().map(OwnedFd::from);
        let stdout = self.stdout.take().map(fd).transpose()?;
        let stderr = self.stderr.take().map(fd).transpose()?;
        let mut std = self.process.std.take().expect("it is taken when this is dropped");
        std.stdout = stdout.map(process::ChildStdout::from);
        std.stderr = stderr.map(process::ChildStderr::from);
        std.wait_with_output()
    }

    /// [`wait_with_output`](Child::wait_with_output) as an operation: `y.wait(..)` or `.await` it.
    ///
    /// # Errors
    ///
    /// As [`wait_with_output`](Child::wait_with_output).
    ///
    /// # Cancellation
    ///
    /// The process is killed, and what it has written is lost.
    pub fn waiting_with_output(mut self) -> impl Future<Output = io::Result<Output>> {
        self.kill_on_drop();
        async move {
            drop(self.stdin.take());
            let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
            let (stdout, stderr) = zip(all_of(stdout), all_of(stderr)).await;
            let status = self.process.ended().await?;
            Ok(Output { status, stdout: stdout?, stderr: stderr? })
        }
    }
}

/// All that comes from a pipe.
async fn all_of(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

impl Process {
    fn std(&self) -> &process::Child {
        self.std.as_ref().expect("it is taken when this is dropped")
    }

    fn std_mut(&mut self) -> &mut process::Child {
        self.std.as_mut().expect("it is taken when this is dropped")
    }

    /// Waits for the end.
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        let std = self.std.as_mut().expect("it is taken when this is dropped");
        let mut ended = || std.try_wait()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
        if let Some(pidfd) = &self.pidfd {
            return pidfd.fd.reading_with(|_| ended()).await;
        }
        let mut pauses = Pauses::new();
        loop {
            match ended() {
                Err(e) if would_block(&e) => pausing(pauses.next())?.await,
                status => return status,
            }
        }
    }
}

/// For how many milliseconds a drop waits for the end of a process that it has killed: mostly, it takes less than one.
const KILLED: i32 = 10;

/// Children that were dropped and had not ended. (Python's `subprocess._active`.)
static DROPPED: Mutex<Vec<process::Child>> = Mutex::new(Vec::new());

fn dropped() -> MutexGuard<'static, Vec<process::Child>> {
    DROPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps the children that were dropped and have ended since.
fn reap() {
    dropped().retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(mut std) = self.std.take() else { return };
        if self.kill_on_drop && matches!(std.try_wait(), Ok(None)) {
            let _ = std.kill(); // It fails for a process that is another user's by now, and goes on.
            if let Some(pidfd) = &self.pidfd {
                let _ = poll_one(pidfd.fd.as_raw_fd(), libc::POLLIN, KILLED);
            }
        }
        if let Ok(None) = std.try_wait() {
            dropped().push(std);
        }
        reap();
    }
}

impl Pidfd {
    /// That of the process, where the operating system has such.
    fn of(pid: u32) -> Option<Pidfd> {
        #[cfg(target_os = "linux")]
        {
            // SAFETY: two numbers; the operating system refuses what it does not know.
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
            let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0)?;
            // SAFETY: a new descriptor, which has no other owner.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            let _purpose = Purpose::new(&fd, format!("child {pid} to end"));
            Some(Pidfd { _purpose, fd: Descriptor::keeping_mode(fd) })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = pid;
            None
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Child { stdin, stdout, stderr, process } = self;
        let mut child = f.debug_struct("Child");
        child.field("id", &process.std().id()).field("stdin", stdin);
        child.field("stdout", stdout).field("stderr", stderr).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a pidfd, as on an old kernel.
    #[test]
    fn the_end_is_seen_without_a_pidfd() {
        crate::run(|| {
            let std = process::Command::new("cat").stdin(process::Stdio::piped()).spawn().unwrap();
            let mut child = Child::new(std, false).unwrap();
            assert!(child.process.pidfd.take().is_some() || cfg!(not(target_os = "linux")));
            assert!(child.try_wait().unwrap().is_none());
            assert!(child.wait().unwrap().success()); // It closes the input, at whose end `cat` ends.
        });
    }
}
