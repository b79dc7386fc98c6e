//! Child processes, with std's names.
//!
//! | | generator | green | future |
//! |---|---|---|---|
//! | run, and take what it prints | `y.wait(c.collecting_output())` | `c.output()` | `c.collecting_output().await` |
//! | run | `y.wait(c.awaiting_status())` | `c.status()` | `c.awaiting_status().await` |
//! | wait for its end | `y.wait(child.waiting())` | `child.wait()` | `child.waiting().await` |
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//! use wouldblock::process::{Command, Stdio};
//!
//! # fn main() -> std::io::Result<()> { wouldblock::run(|| {
//! let mut child = Command::new("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//! child.stdin.take().unwrap().write_all(b"b\na\n")?; // and closes it
//! let lines: Vec<_> = BufReader::new(child.stdout.take().unwrap()).lines().collect::<Result<_, _>>()?;
//! assert_eq!(lines, ["a", "b"]);
//! assert!(child.wait()?.success());
//! # Ok(()) }) }
//! ```
//!
//! A program that must not take too long: when the time has passed, the child can still be killed.
//!
//! ```
//! use std::time::Duration;
//! use wouldblock::{green, process::Command};
//!
//! # fn main() -> std::io::Result<()> { wouldblock::run(|| {
//! let mut child = Command::new("sleep").arg("60").spawn()?;
//! if green::timeout(Duration::from_millis(10), || child.wait()).is_err() {
//!     child.kill()?;
//! }
//! assert!(!child.wait()?.success());
//! # Ok(()) }) }
//! ```
//!
//! # Porting from std
//!
//! `std::process` becomes `wouldblock::process`. What differs:
//!
//! * [`output`](Command::output), [`status`](Command::status) and [`wait_with_output`](Child::wait_with_output) kill the
//!   child when they are cancelled: no other code could.
//! * A [`Child`] that is dropped goes on, as std's does, but is no zombie for ever when it ends: the next child that is
//!   spawned or dropped has it reaped. [`kill_on_drop`](Command::kill_on_drop) has it killed instead.
//! * The pipes to a child are [`io::PipeReader`](crate::io::PipeReader) and [`io::PipeWriter`](crate::io::PipeWriter).
//!
//! # How it waits
//!
//! By a pidfd (Linux 5.3), which is readable when the process has ended. Where there is none, it looks after 1 ms, 2, 4,
//! .. and then every 100 ms.

mod child;
mod command;

pub use std::process::{ExitCode, ExitStatus, Output, Stdio, abort, exit, id};

pub use child::{Child, ChildStderr, ChildStdin, ChildStdout};
pub use command::Command;
