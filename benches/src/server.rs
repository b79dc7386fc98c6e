//! Two processes, each bound to a core of its own: a server on core 0, and what uses it on core 1.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The server's process; ends when it is dropped.
pub(crate) struct Server {
    process: Child,
    /// Where it listens.
    pub(crate) port: u16,
}

impl Server {
    /// Starts a server, whose first line is its port, and binds it and this thread to their cores.
    pub(crate) fn start(mut command: Command) -> Server {
        bind_to_core(0); // for the server, which inherits it
        allow_many_files();
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let stdout = process.stdout.take().expect("it is piped");
        let mut server = Server { process, port: 0 };
        bind_to_core(1);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("the server says its port");
        server.port = line.trim().parse().expect("the server's first line is its port");
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Binds this thread, and what it starts from now on, to one core, if the machine has it.
fn bind_to_core(core: usize) {
    // SAFETY: a `cpu_set_t` is plain data, for which zero is the empty set; `core` is small.
    let bound = unsafe {
        let mut set = std::mem::zeroed::<libc::cpu_set_t>();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    if bound != 0 {
        eprintln!("cannot bind to core {core}: {}", io::Error::last_os_error());
    }
}

/// Raises the limit of open files to what this process may have.
fn allow_many_files() {
    // SAFETY: an `rlimit` is plain data, for which zero is a value.
    unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}
