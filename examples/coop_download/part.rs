//! A file while it comes in: under another name, which goes away unless the file becomes whole.

use std::fs::{File, Permissions};
use std::io::Write;
use std::mem;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressBar;
use tempfile::TempPath;

use crate::error::Error;

/// What is written at once. A disk may keep a thread waiting, so the concurrent ways write on another one;
/// to hand every few hundred bytes over would cost more than to write them.
const BLOCK: usize = 64 * 1024;

/// `.NAME.part-XXXX`, removed when it is dropped: by an error, by a cancelled task, by Ctrl-C.
pub struct Part {
    file: Arc<File>,
    temporary: TempPath,
    path: PathBuf,
    /// As announced.
    length: Option<u64>,
    taken: u64,
    block: Vec<u8>,
    bar: ProgressBar,
}

impl Part {
    /// Making a file takes no longer than opening a socket; this is done where it is called.
    pub fn new(path: &Path, length: Option<u64>, bar: ProgressBar) -> Result<Part, Error> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // No name is longer than 255 bytes, and a character than 4.
        let prefix = format!(".{}.part-", name.chars().take(50).collect::<String>());
        let made = tempfile::Builder::new()
            .prefix(&prefix)
            .rand_bytes(8)
            .permissions(Permissions::from_mode(0o666)) // less what the umask takes
            .tempfile_in(folder);
        let (file, temporary) = made
            .map_err(|e| format!("cannot make a file in {}: {}", folder.display(), cause(&e)))
            .map_err(Error::Lasting)?
            .into_parts();
        bar.reset();
        if let Some(length) = length {
            bar.set_length(length);
        }
        let (file, path, block) = (Arc::new(file), path.to_owned(), Vec::new());
        Ok(Part { file, temporary, path, length, taken: 0, block, bar })
    }

    /// Whether as much has come in as was announced.
    pub fn is_whole(&self) -> bool {
        self.length == Some(self.taken)
    }

    /// Takes a piece in. Once enough is together, this gives what writes it, to be called before the next.
    pub fn take(
        &mut self,
        bytes: &[u8],
    ) -> Result<Option<impl FnOnce() -> Result<(), Error> + Send + use<>>, Error> {
        self.taken += bytes.len() as u64;
        self.bar.inc(bytes.len() as u64);
        if self.length.is_some_and(|length| self.taken > length) {
            return Err(self.too_long());
        }
        self.block.extend_from_slice(bytes);
        let full = self.block.len() >= BLOCK;
        Ok(full.then(|| self.write()))
    }

    /// The error that the body broke off with, and where.
    pub fn broken_off(&self, error: impl Into<Error>) -> Error {
        let all = self.length.map(|length| format!(" of {length}")).unwrap_or_default();
        let words = |why| format!("the body ended after {}{all} bytes: {why}", self.taken);
        match error.into() {
            Error::Passing(why) => Error::Passing(words(why)),
            Error::Lasting(why) => Error::Lasting(words(why)),
            moved => moved,
        }
    }

    pub fn too_long(&self) -> Error {
        let length = self.length.map(|length| format!(" the {length} bytes")).unwrap_or_default();
        Error::Lasting(format!("the body is longer than{length} announced"))
    }

    /// What writes the rest, unless less has come in than was announced.
    pub fn rest(&mut self) -> Result<impl FnOnce() -> Result<(), Error> + Send + use<>, Error> {
        if let Some(length) = self.length.filter(|length| self.taken < *length) {
            let taken = self.taken;
            return Err(Error::Passing(format!("the body ended after {taken} of {length} bytes")));
        }
        Ok(self.write())
    }

    /// Gives the file its name, when all is written, and returns the number of bytes. This is done where it is
    /// called, with no wait in which Ctrl-C could come: a file that is there is one that is reported.
    pub fn finish(self) -> Result<u64, Error> {
        let Part { temporary, path, taken, .. } = self;
        temporary.persist(&path).map_err(|e| cannot_write(&path, &e.error))?;
        Ok(taken)
    }

    fn write(&mut self) -> impl FnOnce() -> Result<(), Error> + Send + use<> {
        let (file, path, block) =
            (self.file.clone(), self.path.clone(), mem::take(&mut self.block));
        move || (&*file).write_all(&block).map_err(|e| cannot_write(&path, &e))
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::Lasting(format!("cannot write {}: {error}", path.display()))
}

/// tempfile adds the path, which is another one each time, and nowhere to be found.
fn cause(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" at path ").next().unwrap_or_default().to_owned()
}
