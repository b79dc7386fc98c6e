//! What the tests of the examples share: a built example, a folder that goes away, and an HTTP server.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What an example did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs an example to its end, in `folder`.
#[track_caller]
pub fn run_example(name: &str, arguments: &[&str], folder: &Path) -> Ran {
    ran(start_example(name, arguments, folder))
}

/// What an example prints when all goes well.
#[track_caller]
pub fn printed(name: &str, arguments: &[&str]) -> String {
    let folder = Folder::new();
    let ran = run_example(name, arguments, folder.path());
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{}", ran.stdout);
    let left = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "{name} leaves files behind");
    for line in ran.stdout.lines() {
        assert!(line.chars().count() <= 80, "{name} prints more than 80 columns: {line}");
    }
    ran.stdout
}

/// Starts an example in `folder`, with what it prints kept for [`ran`].
#[track_caller]
pub fn start_example<A: AsRef<OsStr>>(name: &str, arguments: &[A], folder: &Path) -> Child {
    example(name).args(arguments).current_dir(folder).spawn().expect("a built example starts")
}

/// An example as a command, with what it prints kept for [`ran`], and without what this process has inherited: proxies,
/// and signals that are ignored (as SIGINT is in a shell's background).
#[track_caller]
pub fn example(name: &str) -> Command {
    // Cargo names no examples to tests; but this is target/PROFILE/deps/TEST, and examples are built in
    // target/PROFILE/examples.
    let test = env::current_exe().expect("the path of this test");
    let profile = test.ancestors().nth(2).expect("the test is in target/PROFILE/deps");
    let example = profile.join("examples").join(name);
    assert!(
        example.exists(),
        "{} is missing: `cargo test` builds it, as does `cargo build --example {name}`",
        example.display()
    );
    let mut command = Command::new(example);
    for proxy in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    let defaults = || {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
            // SAFETY: it may be called in a signal handler, and so between `fork` and `exec`.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: `defaults` allocates nothing and takes no lock.
    unsafe { command.pre_exec(defaults) };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for the end of an example.
#[track_caller]
pub fn ran(child: Child) -> Ran {
    let output = child.wait_with_output().expect("it ends");
    Ran {
        status: output.status.code().expect("the example ends by itself"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// An empty folder, removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder in the target folder");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that fails should say why it does, and not why this does.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Starts an HTTP server on std's sockets, which ends with the process. It reads a request, calls `answer`
/// with the path that is asked for, and closes the connection; each on a thread of its own.
///
/// # Errors
///
/// When `address` cannot be listened on.
pub fn serve(
    address: &str,
    answer: fn(&str, &mut TcpStream) -> io::Result<()>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let connection = move |mut stream: TcpStream| {
        // A client may go away whenever it likes; the test sees what the client makes of it.
        let _ = requested(&stream).and_then(|path| answer(&path, &mut stream));
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            thread::spawn(move || connection(stream));
        }
    });
    Ok(address)
}

/// Reads a request to its end, since closing a socket with something unread in it resets the connection.
fn requested(stream: &TcpStream) -> io::Result<String> {
    let mut path = None;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        path = path.or_else(|| line.split(' ').nth(1).map(str::to_owned));
    }
    path.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
