//! How a child process is started.

use std::ffi::OsStr;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, ExitStatus, Output, Stdio};

use super::child::Child;
use crate::kernel::door;
use crate::net::turn::can_suspend;

/// How a child process is started: [`std::process::Command`], whose children a task waits for.
///
/// ```
/// use wouldblock::process::Command;
///
/// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
/// let output = Command::new("echo").arg("hello").output()?; // suspends the task
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok(()) }) }
/// ```
pub struct Command {
    std: process::Command,
    /// Standard input, output and error: whether they were set.
    set: [bool; 3],
    kill_on_drop: bool,
}

/// Methods of std's.
macro_rules! stds {
    ($($(#[$doc:meta])* fn $name:ident$(<$($T:ident: $bound:path),*>)?($($arg:ident: $type:ty),*);)*) => {$(
        $(#[$doc])*
        pub fn $name$(<$($T: $bound),*>)?(&mut self, $($arg: $type),*) -> &mut Command {
            self.std.$name($($arg),*);
            self
        }
    )*};
}

impl Command {
    /// Will run `program`: a path, or a name that is looked for along `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        let std = process::Command::new(program);
        Command { std, set: [false; 3], kill_on_drop: false }
    }

    stds! {
        /// Adds an argument.
        fn arg<S: AsRef<OsStr>>(arg: S);
        /// Sets a variable of the environment.
        fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(key: K, value: V);
        /// Removes a variable of the environment.
        fn env_remove<K: AsRef<OsStr>>(key: K);
        /// Removes all variables of the environment.
        fn env_clear();
        /// Sets the folder in which the child starts.
        fn current_dir<P: AsRef<Path>>(folder: P);
        /// Sets the user of the child.
        fn uid(id: u32);
        /// Sets the group of the child.
        fn gid(id: u32);
        /// Puts the child into a process group: 0 is a new one, with the number of the child. A signal is sent to all of it
        /// by `kill(2)` with the negative number (`rustix::process::kill_process_group`).
        fn process_group(group: i32);
        /// Sets what the child gets as its name.
        fn arg0<S: AsRef<OsStr>>(arg: S);
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Command {
        self.std.args(args);
        self
    }

    /// Sets variables of the environment.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Command {
        self.std.envs(variables);
        self
    }

    /// Sets the child's standard input. By default, [`spawn`](Command::spawn) and [`status`](Command::status) give it
    /// that of this program, and [`output`](Command::output) gives it none.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.set[0] = true;
        self.std.stdin(stdio);
        self
    }

    /// Sets the child's standard output. By default, [`spawn`](Command::spawn) and [`status`](Command::status) give it
    /// that of this program, and [`output`](Command::output) a pipe.
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.set[1] = true;
        self.std.stdout(stdio);
        self
    }

    /// Sets the child's standard error, with the defaults of [`stdout`](Command::stdout).
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.set[2] = true;
        self.std.stderr(stdio);
        self
    }

    /// Calls `f` in the child, after `fork` and before `exec`.
    ///
    /// # Safety
    ///
    /// As std's: `f` makes only calls that are safe in a handler of signals, and allocates nothing.
    pub unsafe fn pre_exec(
        &mut self,
        f: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> &mut Command {
        // SAFETY: the caller's to keep.
        unsafe { self.std.pre_exec(f) };
        self
    }

    /// Whether a [`Child`] that is dropped before it has ended is killed. By default it goes on. (tokio's.)
    ///
    /// # Blocking
    ///
    /// The drop blocks the thread until the operating system has ended the process, which takes less than a millisecond
    /// mostly, and for 10 ms at most.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// std's, to look at or to set what there is no method for here.
    pub fn as_std(&self) -> &process::Command {
        &self.std
    }

    /// std's, to set what there is no method for here. Standard input, output and error are set by
    /// [`stdin`](Command::stdin), [`stdout`](Command::stdout) and [`stderr`](Command::stderr), not here.
    pub fn as_std_mut(&mut self) -> &mut process::Command {
        &mut self.std
    }

    /// Starts the child.
    ///
    /// # Errors
    ///
    /// The operating system's: there is no such program, it may not be run, too many processes or descriptors.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the child runs, some milliseconds at most.
    pub fn spawn(&mut self) -> io::Result<Child> {
        Child::new(self.std.spawn()?, self.kill_on_drop)
    }

    /// Runs the child to its end, and collects what it writes to its standard output and error.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::wait`]. A child that fails is none.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread.
    ///
    /// # Cancellation
    ///
    /// The child is killed (its own children are not), and what it has written is lost.
    #[track_caller]
    pub fn output(&mut self) -> io::Result<Output> {
        match can_suspend() {
            true => door::wait(self.collecting_output()),
            false => self.std.output(),
        }
    }

    /// [`output`](Command::output) as an operation: `y.wait(..)` or `.await` it. The child is started by this call.
    ///
    /// # Errors
    ///
    /// As [`output`](Command::output).
    ///
    /// # Cancellation
    ///
    /// As for [`output`](Command::output).
    pub fn collecting_output(&mut self) -> impl Future<Output = io::Result<Output>> + use<> {
        let child = self.spawn_collected();
        async move { child?.waiting_with_output().await }
    }

    fn spawn_collected(&mut self) -> io::Result<Child> {
        let [stdin, stdout, stderr] = self.set;
        self.or_default(stdin, process::Command::stdin, Stdio::null);
        self.or_default(stdout, process::Command::stdout, Stdio::piped);
        self.or_default(stderr, process::Command::stderr, Stdio::piped);
        let mut child = self.spawn();
        // As before: a `spawn` of the same command has other defaults.
        self.or_default(stdin, process::Command::stdin, Stdio::inherit);
        self.or_default(stdout, process::Command::stdout, Stdio::inherit);
        self.or_default(stderr, process::Command::stderr, Stdio::inherit);
        if let Ok(child) = &mut child {
            child.kill_on_drop();
        }
        child
    }

    fn or_default(
        &mut self,
        is_set: bool,
        set: fn(&mut process::Command, Stdio) -> &mut process::Command,
        default: fn() -> Stdio,
    ) {
        if !is_set {
            set(&mut self.std, default());
        }
    }

    /// Runs the child to its end.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread.
    ///
    /// # Cancellation
    ///
    /// The child is killed; its own children are not.
    #[track_caller]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        match can_suspend() {
            true => door::wait(self.awaiting_status()),
            false => self.std.status(),
        }
    }

    /// [`status`](Command::status) as an operation: `y.wait(..)` or `.await` it. The child is started by this call.
    ///
    /// # Errors
    ///
    /// As [`status`](Command::status).
    ///
    /// # Cancellation
    ///
    /// As for [`status`](Command::status).
    pub fn awaiting_status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + use<> {
        let mut child = self.spawn();
        if let Ok(child) = &mut child {
            child.kill_on_drop();
        }
        async move { child?.waiting().await }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std.fmt(f)
    }
}
