//! One download: into a file without a name, which gets its name when it is whole.
//!
//! The file is opened with `O_TMPFILE`: until it is linked under its name, it exists only as an open descriptor, and
//! the kernel removes it when the process ends, however it ends. So no worker can leave a half file behind, and no
//! cleanup is needed. A name that is already there belongs to a whole file of the same URL, by another delivery of
//! the same job, and is left as it is.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::config::AutoHeaderValue;
use wouldblock::{green, http, offload};

/// Bytes that are written at once, on another thread.
const PIECE: usize = 1 << 20;

/// How long a download may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Why a download failed.
#[derive(Debug)]
pub struct Trouble {
    pub why: String,
    /// Whether another attempt may succeed.
    pub passing: bool,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble { why: error.to_string(), passing: true }
    }
}

impl From<ureq::Error> for Trouble {
    fn from(error: ureq::Error) -> Trouble {
        let passing = !matches!(error, ureq::Error::BadUri(_) | ureq::Error::Http(_));
        Trouble { why: error.to_string(), passing }
    }
}

/// What a worker does with a URL.
pub trait Download {
    /// Downloads `url`. Returns the file's path and size.
    ///
    /// # Errors
    ///
    /// What went wrong, and whether another attempt makes sense.
    fn download(&self, url: &str) -> Result<(PathBuf, u64), Trouble>;
}

/// Downloads over HTTP, into a folder that exists.
pub struct Http {
    agent: Agent,
    out: PathBuf,
}

impl Http {
    /// Into the folder `out`, which is made if it is missing. Results have its whole path.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn into(out: &Path) -> io::Result<Http> {
        std::fs::create_dir_all(out)?;
        Ok(Http { agent: agent(), out: out.canonicalize()? })
    }
}

impl Download for Http {
    fn download(&self, url: &str) -> Result<(PathBuf, u64), Trouble> {
        green::timeout(LIMIT, || attempt(&self.agent, url, &self.out))
            .unwrap_or_else(|elapsed| Err(io::Error::from(elapsed).into()))
    }
}

/// It wants files as they are, and sees the status first.
fn agent() -> Agent {
    let config = http::config_builder()
        .accept_encoding(AutoHeaderValue::None)
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(30)));
    http::agent_with(config.build())
}

fn attempt(agent: &Agent, url: &str, out: &Path) -> Result<(PathBuf, u64), Trouble> {
    let response = agent.get(url).call()?;
    let status = response.status();
    if !status.is_success() {
        // The server is busy, or has a fault of its own: later, it may answer.
        let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
        return Err(Trouble { why: format!("the server answers {status}"), passing });
    }
    let mut body = response.into_body().into_reader();
    let path = out.join(name(url));
    let mut part: Option<File> = None;
    loop {
        let mut piece = Vec::new();
        // A body that ends before its announced length is an error.
        let length = body.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        let (last, folder, name) = (length < PIECE, out.to_owned(), path.clone());
        // One call for a small file: open, write, sync, link.
        let written = offload(move || -> io::Result<(File, u64)> {
            let mut file = match part {
                Some(file) => file,
                None => unnamed(&folder)?,
            };
            file.write_all(&piece)?;
            let bytes = if last { keep(&file, &name)? } else { 0 };
            Ok((file, bytes))
        });
        let (file, bytes) = green::wait(written)?;
        if last {
            return Ok((path, bytes));
        }
        part = Some(file);
    }
}

/// A file in `folder` that has no name.
fn unnamed(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = open(folder, flags, Mode::from_raw_mode(0o644)).map_err(|error| {
        let what = "cannot open a file without a name there (O_TMPFILE)";
        io::Error::other(format!("{}: {what}: {error}", folder.display()))
    })?;
    Ok(file.into())
}

/// Gives a file its name, once it is on the disk. Returns the size of what has the name.
fn keep(file: &File, name: &Path) -> io::Result<u64> {
    file.sync_data()?;
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, descriptor, CWD, name, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(file.metadata()?.len()),
        Err(Errno::EXIST) => Ok(name.metadata()?.len()),
        Err(error) => Err(io::Error::other(format!("{}: {error}", name.display()))),
    }
}

/// A name that no other URL has: 128 bits of the URL's hash, and the end of its path, for people.
pub fn name(url: &str) -> String {
    let hash = Sha256::digest(url.as_bytes());
    let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let readable = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let last: String = last.chars().filter(readable).collect();
    let tail = &last[last.len().saturating_sub(60)..];
    format!("{hash}-{tail}")
}

/// The host that a URL names, with its port; by this, places are counted.
pub fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{host, name};

    #[test]
    fn a_name_is_readable_and_of_its_url_alone() {
        let a = name("http://a.example/p/cat.png?size=1");
        assert!(a.ends_with("-cat.png"), "{a}");
        assert_ne!(a, name("http://a.example/p/cat.png?size=2"));
        assert_eq!(a, name("http://a.example/p/cat.png?size=1"));
        assert!(!name("http://a.example/../..%2f/\u{e4}").contains('/'));
        assert!(name(&format!("http://a.example/{}", "x".repeat(5000))).len() < 100);
    }

    #[test]
    fn the_host_has_its_port_and_no_password() {
        assert_eq!(host("https://me:secret@a.example:8080/x@y"), "a.example:8080");
        assert_eq!(host("http://a.example?x"), "a.example");
    }
}
