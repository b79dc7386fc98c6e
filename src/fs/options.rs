//! `OpenOptions`.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::call::at;
use super::file::File;

impl File {
    /// How else to open a file.
    #[must_use]
    #[track_caller]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }
}

/// How to open a file: [`std::fs::OpenOptions`].
///
/// `mode` and `custom_flags` are in [`OpenOptionsExt`], as with std's.
#[derive(Clone, Debug)]
pub struct OpenOptions(fs::OpenOptions);

impl OpenOptions {
    /// Options that are all off.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std's has none either")]
    #[track_caller]
    pub fn new() -> OpenOptions {
        OpenOptions(fs::OpenOptions::new())
    }

    /// For reading.
    #[track_caller]
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.0.read(read);
        self
    }

    /// For writing, over what is there.
    #[track_caller]
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.0.write(write);
        self
    }

    /// For writing, each write at the end.
    #[track_caller]
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.0.append(append);
        self
    }

    /// Empties the file.
    #[track_caller]
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.0.truncate(truncate);
        self
    }

    /// Makes the file if it is not there.
    #[track_caller]
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.0.create(create);
        self
    }

    /// Makes the file, which must not be there.
    #[track_caller]
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.0.create_new(create_new);
        self
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    ///
    /// std's; `InvalidInput` for options that contradict each other.
    ///
    /// # Blocking
    ///
    /// Suspends the task; outside of one, blocks the thread. A FIFO is open when its other end is.
    ///
    /// # Cancellation
    ///
    /// The file may have been made or emptied.
    #[track_caller]
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let options = self.0.clone();
        at(path, move |path| options.open(path)).map(File::from)
    }
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.0.mode(mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.0.custom_flags(flags);
        self
    }
}

impl From<fs::OpenOptions> for OpenOptions {
    fn from(options: fs::OpenOptions) -> OpenOptions {
        OpenOptions(options)
    }
}
