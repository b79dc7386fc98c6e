//! Folders: `ReadDir`, `DirEntry` and `DirBuilder`.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec;

use super::call::{at, call};

/// How many entries one hand-over fetches.
const BATCH: usize = 128;

/// The entries of a folder, in no order: [`std::fs::ReadDir`].
///
/// They are fetched on another thread, 128 at a time.
///
/// # Blocking
///
/// `next` suspends the task when it has to fetch more; outside of a task, it blocks the thread.
///
/// # Cancellation
///
/// No entry is lost.
#[derive(Debug)]
pub struct ReadDir {
    batch: vec::IntoIter<io::Result<fs::DirEntry>>,
    folder: Arc<Mutex<Folder>>,
}

/// What the other thread works on. A batch stays here until it is taken, so that a fetch which was given up
/// fetches for the next.
#[derive(Debug)]
struct Folder {
    entries: fs::ReadDir,
    fetched: Vec<io::Result<fs::DirEntry>>,
}

impl Folder {
    fn lock(folder: &Mutex<Folder>) -> MutexGuard<'_, Folder> {
        folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch(&mut self) {
        if self.fetched.is_empty() {
            self.fetched.extend(self.entries.by_ref().take(BATCH));
        }
    }
}

impl ReadDir {
    #[track_caller]
    pub(super) fn new(entries: fs::ReadDir) -> ReadDir {
        let folder = Arc::new(Mutex::new(Folder { entries, fetched: Vec::new() }));
        ReadDir { batch: Vec::new().into_iter(), folder }
    }
}

/// As std's: an entry comes once, or its error does, whatever panics meanwhile.
impl UnwindSafe for ReadDir {}
impl RefUnwindSafe for ReadDir {}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if self.batch.as_slice().is_empty() {
            let folder = Arc::clone(&self.folder);
            call(move || Folder::lock(&folder).fetch());
            self.batch = std::mem::take(&mut Folder::lock(&self.folder).fetched).into_iter();
        }
        let entry = self.batch.next()?;
        Some(entry.map(|entry| DirEntry(Arc::new(entry))))
    }
}

/// What a folder holds under one name: [`std::fs::DirEntry`].
pub struct DirEntry(Arc<fs::DirEntry>);

impl DirEntry {
    /// The folder's path, as it was given, with the name.
    #[must_use]
    #[track_caller]
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// The name alone.
    #[must_use]
    #[track_caller]
    pub fn file_name(&self) -> OsString {
        self.0.file_name()
    }

    /// What is known about it; of a symbolic link, about the link.
    ///
    /// # Errors
    ///
    /// std's: it is gone.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    #[track_caller]
    pub fn metadata(&self) -> io::Result<Metadata> {
        let entry = Arc::clone(&self.0);
        call(move || entry.metadata())
    }

    /// Whether it is a file, a folder or a link. Most file systems say so with the name; for those, nothing
    /// is waited for.
    ///
    /// # Errors
    ///
    /// std's: it is gone.
    ///
    /// # Blocking
    ///
    /// Asks the file system on this thread if it did not say so with the name.
    #[track_caller]
    pub fn file_type(&self) -> io::Result<FileType> {
        self.0.file_type()
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.0.ino()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How to make a folder: [`std::fs::DirBuilder`].
///
/// `mode` is in [`DirBuilderExt`], as with std's.
#[derive(Debug)]
pub struct DirBuilder {
    recursive: bool,
    mode: u32,
}

impl DirBuilder {
    /// One folder, in one that is there.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std's has none either")]
    #[track_caller]
    pub fn new() -> DirBuilder {
        DirBuilder { recursive: false, mode: 0o777 }
    }

    /// Whether to make the folders on the way to it too, and to be content with those that are there.
    #[track_caller]
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.recursive = recursive;
        self
    }

    /// Makes the folder at `path`.
    ///
    /// # Errors
    ///
    /// std's; `AlreadyExists` if it is there, unless recursive.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread.
    ///
    /// # Cancellation
    ///
    /// It may have been made, or some folders on the way to it.
    #[track_caller]
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(self.recursive).mode(self.mode);
        at(path, move |path| builder.create(path))
    }
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.mode = mode;
        self
    }
}
