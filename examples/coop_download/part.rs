//! A file while it comes in: under another name, which goes away unless the file becomes whole.
//!
//! The name is the same in each run, and locked while a program writes it. Where a run was killed, the next goes on with
//! what is there, if the server still has the version that stands beside it in `….tag`.

use std::fmt::Display;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write as _};
use std::mem;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustix::fs::{FlockOperation, flock};

use crate::error::Error;
use crate::policy::{Content, Held};

/// What is written at once. A disk may keep a thread waiting, so the concurrent ways write on another one;
/// to hand every few hundred bytes over would cost more than to write them.
const BLOCK: usize = 64 * 1024;

/// As many as Linux follows.
const MOST_LINKS: u32 = 40;

/// A write to the disk, for any thread. It is called before the next read.
pub type Write = Box<dyn FnOnce() -> Result<(), Error> + Send>;

/// The SHA-256 of a file.
pub type Checksum = [u8; 32];

/// Where a download is saved.
pub struct Part {
    /// As it is named to a person; it may be a link.
    name: PathBuf,
    /// The file that gets the bytes at the end.
    path: PathBuf,
    /// What is written to.
    file: Arc<File>,
    /// The name of `file`; `None` if that is a file that was there before.
    temporary: Option<Temporary>,
    /// The file that is replaced at the end.
    replaced: Option<Metadata>,
    checksum: Option<Checksum>,
    /// Of the whole file, as announced.
    length: Option<u64>,
    taken: u64,
    block: Vec<u8>,
}

/// `.NAME.part-XXXX` and its `.tag`, removed when this is dropped: by an error, by a cancelled task, by Ctrl-C.
struct Temporary(PathBuf);

impl Temporary {
    fn tag(&self) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(".tag");
        name.into()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Neither need be there.
        let _ = fs::remove_file(self.tag());
        let _ = fs::remove_file(&self.0);
    }
}

impl Part {
    /// Opens what `url` is saved in, before anything is asked for: whatever keeps `name` from being written does so now.
    ///
    /// Making a file takes no longer than opening a socket; this is done where it is called.
    pub fn open(
        name: &Path,
        url: &str,
        overwrite: bool,
        checksum: Option<Checksum>,
    ) -> Result<Part, Error> {
        let cannot = |why: &dyn Display| cannot_write(name, why);
        let path = resolved(name).map_err(|e| cannot(&e))?;
        let found = match fs::metadata(&path) {
            Ok(found) if found.is_dir() => return Err(cannot(&"Is a directory")),
            Ok(found) if !found.is_file() => return Err(cannot(&"it is no regular file")),
            Ok(found) if found.permissions().readonly() => return Err(cannot(&"it is read-only")),
            Ok(found) => Some(found),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(cannot(&e)),
        };
        let (file, temporary) = if found.as_ref().is_some_and(|file| !overwrite && file.len() > 0) {
            (OpenOptions::new().read(true).append(true).open(&path), None)
        } else {
            let part = beside(&path, url);
            let mut options = OpenOptions::new();
            (options.read(true).write(true).create(true).truncate(false).open(&part), Some(part))
        };
        let file = file.map_err(|e| cannot(&e))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(cannot(&"another program is downloading it"));
        }
        Ok(Part {
            name: name.to_owned(),
            path,
            file: Arc::new(file),
            temporary: temporary.map(Temporary),
            replaced: found,
            checksum,
            length: None,
            taken: 0,
            block: Vec::new(),
        })
    }

    /// What is there already, of which the rest can be asked for.
    pub fn held(&self) -> Option<Held> {
        let file = self.file.metadata().ok().filter(|file| file.len() > 0)?;
        let version = match &self.temporary {
            Some(part) => Some(fs::read_to_string(part.tag()).ok().filter(|tag| !tag.is_empty())?),
            None => None,
        };
        let written = file.modified().ok().filter(|_| version.is_none());
        Some(Held { bytes: file.len(), version, written })
    }

    /// Makes ready for a body.
    pub fn begin(&mut self, content: &Content) -> Result<(), Error> {
        self.block.clear();
        (self.taken, self.length) = (content.from, content.length);
        let Some(part) = &self.temporary else {
            let there = self.file.metadata()?.len();
            return match content.from {
                0 if content.length == Some(there) && self.checksum.is_none() => {
                    Err(Error::There(there))
                }
                0 => Err(self.differs()),
                _ => Ok(()), // what comes is appended
            };
        };
        let ready = || -> io::Result<()> {
            self.file.set_len(content.from)?; // first, lest a tag stand beside bytes of another version
            (&*self.file).seek(SeekFrom::Start(content.from))?;
            match &content.version {
                Some(version) if content.from == 0 => fs::write(part.tag(), version),
                _ => Ok(()),
            }
        };
        ready().map_err(|e| cannot_write(&self.name, &e))
    }

    /// Forgets what is there, which is of another version than the server's.
    pub fn forget(&mut self) -> Result<(), Error> {
        match self.temporary {
            None => Err(self.differs()),
            Some(_) => self.file.set_len(0).map_err(|e| cannot_write(&self.name, &e)),
        }
    }

    fn differs(&self) -> Error {
        let name = self.name.display();
        Error::Refused(format!("{name} is there, and is not the server's: --overwrite replaces it"))
    }

    pub fn taken(&self) -> u64 {
        self.taken
    }

    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Takes a piece in; what is beyond the announced length is no part of the file.
    pub fn add(&mut self, bytes: &[u8]) {
        let room = self.length.map_or(u64::MAX, |length| length.saturating_sub(self.taken));
        let bytes = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        self.taken += bytes.len() as u64;
        self.block.extend_from_slice(bytes);
    }

    /// What writes all that has been taken in, if that is enough to be worth it.
    pub fn full(&mut self) -> Option<Write> {
        (self.block.len() >= BLOCK).then(|| self.write())
    }

    /// Writes what has been taken in, for an attempt that asks for the rest.
    pub fn keep(&mut self) -> Result<(), Error> {
        self.write()()
    }

    fn write(&mut self) -> Write {
        let (file, name, block) =
            (self.file.clone(), self.name.clone(), mem::take(&mut self.block));
        Box::new(move || (&*file).write_all(&block).map_err(|e| cannot_write(&name, &e)))
    }

    /// What writes the rest and compares the checksum, unless less has come in than was announced.
    pub fn rest(&mut self) -> Result<Write, Error> {
        if self.length.is_some_and(|length| self.taken < length) {
            return Err(Error::closed());
        }
        let (write, file, checksum) = (self.write(), self.file.clone(), self.checksum);
        let (name, path) = (self.name.clone(), self.path.clone());
        let through = self.is_written_through();
        let mode = self.replaced.as_ref().filter(|_| self.temporary.is_some());
        let mode = mode.map(Metadata::permissions);
        Ok(Box::new(move || {
            write()?;
            verify(&file, checksum)?;
            let done = match mode {
                _ if through => copy(&file, &path),
                Some(mode) => file.set_permissions(mode),
                None => Ok(()),
            };
            done.map_err(|e| cannot_write(&name, &e))
        }))
    }

    /// Whether a file is replaced of which renaming would lose other names or the owner: it is overwritten instead.
    fn is_written_through(&self) -> bool {
        let owner = self.file.metadata().map(|file| file.uid()).ok();
        let loses = |file: &Metadata| file.nlink() > 1 || Some(file.uid()) != owner;
        self.temporary.is_some() && self.replaced.as_ref().is_some_and(loses)
    }

    /// Gives the file its name, when all is written. This is done where it is called, with no wait in which Ctrl-C
    /// could come: a file that is there is one that is reported.
    pub fn finish(&mut self) -> Result<u64, Error> {
        let through = self.is_written_through();
        if let Some(part) = self.temporary.take().filter(|_| !through) {
            fs::rename(&part.0, &self.path).map_err(|e| cannot_write(&self.name, &e))?;
        }
        Ok(self.taken)
    }
}

/// Where a name leads through symbolic links, the last of which may lead to nothing yet.
fn resolved(name: &Path) -> io::Result<PathBuf> {
    let mut path = name.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let folder = path.parent().map(Path::to_owned).unwrap_or_default();
                path = folder.join(fs::read_link(&path)?);
            }
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => return Ok(path),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// The name of a part: no longer than a name may be, and another one for another URL.
fn beside(path: &Path, url: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut hasher = DefaultHasher::new();
    (path, url).hash(&mut hasher);
    let start: String = name.chars().take(50).collect(); // of at most 4 bytes each
    path.with_file_name(format!(".{start}.part-{:016x}", hasher.finish()))
}

/// How long a file is, if it is there and has this checksum. The thread is kept until it is read.
pub fn has_checksum(path: &Path, checksum: Checksum) -> Option<u64> {
    let file = File::open(path).ok()?;
    verify(&file, Some(checksum)).ok()?;
    Some(file.metadata().ok()?.len())
}

fn verify(file: &File, wanted: Option<Checksum>) -> Result<(), Error> {
    let Some(wanted) = wanted else { return Ok(()) };
    let (mut context, mut at, mut block) = (Context::new(&SHA256), 0, vec![0; BLOCK]);
    loop {
        match file.read_at(&mut block, at) {
            Ok(0) => break,
            Ok(n) => {
                context.update(&block[..n]);
                at += n as u64;
            }
            Err(e) => return Err(Error::Refused(format!("cannot read the file again: {e}"))),
        }
    }
    let found = context.finish();
    match found.as_ref() == wanted {
        true => Ok(()),
        false => Err(Error::Refused(format!(
            "the file has another checksum: sha256:{}",
            hex(found.as_ref())
        ))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn copy(mut from: &File, to: &Path) -> io::Result<()> {
    from.seek(SeekFrom::Start(0))?;
    io::copy(&mut from, &mut OpenOptions::new().write(true).truncate(true).open(to)?).map(drop)
}

fn cannot_write(name: &Path, why: &dyn Display) -> Error {
    Error::Refused(format!("cannot write {}: {why}", name.display()))
}
