//! Which line of the program gave up a turn, and the lines around it.
//!
//! A [`Place`] has a stack: this crate's frames, perhaps those of libraries (ureq, hyper), and then the program's. The
//! line is that of the innermost frame that is neither of this crate, nor of the standard library, nor from a registry;
//! where there is none (hyper's connection is spawned as it is), the outermost frame of a library is taken. It needs
//! debug information, as a debug build has it. Without, the line that called the verb is taken, where the verb has
//! recorded it.
//!
//! The text of std's `Backtrace` is read for it. Its form is not promised, but a stack that cannot be read costs only
//! the line; `tests/examples/replay.rs` finds out.

use std::env;
use std::fs;
use std::panic::Location;
use std::path::{Path, PathBuf};

use crate::kernel::edge::notes::Place;

/// A line of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceLine {
    pub(super) file: PathBuf,
    pub(super) line: u32,
    /// In which function, as far as that is known.
    pub(super) function: String,
    /// The library that it has called, and in which the turn was given up.
    pub(super) inside: Option<String>,
}

/// How many lines are shown before the line and after it.
const AROUND: usize = 5;

impl SourceLine {
    pub(super) fn of(place: &Place) -> Option<SourceLine> {
        SourceLine::in_stack(&place.stack.to_string()).or_else(|| SourceLine::at(place.site?))
    }

    fn in_stack(stack: &str) -> Option<SourceLine> {
        let mut function = "";
        let mut inside = None;
        let mut library: Option<SourceLine> = None;
        for text in stack.lines().map(str::trim) {
            let Some(at) = text.strip_prefix("at ") else {
                let numbered =
                    text.split_once(": ").filter(|(number, _)| number.parse::<u32>().is_ok());
                function = numbered.map_or(text, |(_, name)| name);
                continue;
            };
            let mut parts = at.rsplitn(3, ':').map(str::parse::<u32>);
            let (Some(Ok(_)), Some(Ok(line))) = (parts.next(), parts.next()) else { continue };
            let file = at.rsplitn(3, ':').last().unwrap_or_default();
            let path = match file.strip_prefix("./") {
                Some(relative) => env::current_dir().unwrap_or_default().join(relative),
                None => PathBuf::from(file),
            };
            if let Ok(own) = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")) {
                if own == Path::new("kernel/scheduler.rs") {
                    break; // Below is what runs the scheduler, and not the task.
                }
            } else if let Some((_, found)) =
                file.split_once("/registry/src/").or_else(|| file.split_once("/git/checkouts/"))
            {
                if found.contains("/corosensei-") {
                    break; // Below is what resumes this stack.
                }
                inside = found.split('/').nth(1).map(str::to_owned);
                library =
                    Some(SourceLine { file: path, line, function: tidy(function), inside: None });
            } else if !file.starts_with("/rustc/") && !file.contains("/rustlib/src/rust/") {
                return Some(SourceLine { file: path, line, function: tidy(function), inside });
            }
        }
        library
    }

    /// `site`, unless it is in this crate.
    fn at(site: &Location<'_>) -> Option<SourceLine> {
        let own = file!().strip_suffix("inspect/timeline/lines.rs").unwrap_or_default();
        let (file, line) = (PathBuf::from(site.file()), site.line());
        let program = !site.file().starts_with(own);
        program.then(|| SourceLine { file, line, function: String::new(), inside: None })
    }

    /// The file, in as few words as distinguish it.
    pub(super) fn name(&self) -> String {
        let here = env::current_dir().unwrap_or_default();
        match self.file.strip_prefix(here) {
            Ok(relative) => relative.display().to_string(),
            Err(_) => {
                let parts: Vec<_> = self.file.iter().map(|part| part.to_string_lossy()).collect();
                parts[parts.len().saturating_sub(3)..].join("/")
            }
        }
    }

    /// The number of the first line around it, and the lines; `None` if the file cannot be read now.
    pub(super) fn around(&self) -> Option<(usize, Vec<String>)> {
        let text = fs::read_to_string(&self.file).ok()?;
        let first = (self.line as usize).saturating_sub(AROUND).max(1);
        let lines = text.lines().skip(first - 1);
        let lines: Vec<_> = lines.take(2 * AROUND + 1).map(str::to_owned).collect();
        (self.line as usize - first < lines.len()).then_some((first, lines))
    }
}

/// A function's name without what the compiler adds to it.
fn tidy(function: &str) -> String {
    let hash = |tail: &str| tail.len() == 17 && tail.starts_with('h');
    let name = function
        .rsplit_once("::")
        .filter(|(_, tail)| hash(tail))
        .map_or(function, |(name, _)| name);
    name.replace("::{{closure}}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "   0: std::backtrace::Backtrace::create
             at /rustc/0123/library/std/src/backtrace.rs:331:13
   1: wouldblock::kernel::edge::notes::note_place
             at OWN/src/kernel/edge/notes.rs:120:40
   2: ureq::run::flow
             at /home/me/.cargo/registry/src/index-0/ureq-3.5.1/src/run.rs:14:5
   3: pictures::download::{{closure}}::h0123456789abcdef
             at /home/me/pictures/src/main.rs:47:13
   4: wouldblock::kernel::scheduler::Scheduler::turn
             at OWN/src/kernel/scheduler.rs:240:30
   5: pictures::main
             at /home/me/pictures/src/main.rs:12:5
";

    #[test]
    fn the_line_is_the_programs() {
        let stack = STACK.replace("OWN", env!("CARGO_MANIFEST_DIR"));
        let line = SourceLine::in_stack(&stack).expect("a line");
        assert_eq!(line.file, Path::new("/home/me/pictures/src/main.rs"));
        assert_eq!((line.line, &*line.function), (47, "pictures::download"));
        assert_eq!(line.inside.as_deref(), Some("ureq-3.5.1"));
        assert_eq!(line.name(), "pictures/src/main.rs");
        assert!(line.around().is_none(), "there is no such file");
    }

    #[test]
    fn without_a_line_of_the_program_it_is_the_librarys() {
        let stack = STACK.replace("OWN", env!("CARGO_MANIFEST_DIR"));
        let stack = stack.replace("/home/me/pictures/src/main.rs:47", "/rustc/0123/main.rs:47");
        let line = SourceLine::in_stack(&stack).expect("a line");
        assert_eq!((&*line.name(), line.line), ("ureq-3.5.1/src/run.rs", 14));
        assert_eq!((&*line.function, line.inside), ("ureq::run::flow", None));
    }

    #[test]
    fn what_called_the_scheduler_is_no_line_of_the_task() {
        let stack = STACK.replace("OWN", env!("CARGO_MANIFEST_DIR"));
        // Without the frames of ureq and of the download.
        let own: String = stack
            .split_inclusive('\n')
            .enumerate()
            .filter(|(n, _)| !(4..8).contains(n))
            .map(|(_, line)| line)
            .collect();
        assert!(own.contains("main.rs:12:5") && !own.contains("main.rs:47"), "{own}");
        assert_eq!(SourceLine::in_stack(&own), None);
        assert_eq!(SourceLine::in_stack("disabled backtrace"), None);
    }

    #[test]
    fn lines_are_cut_out_around_it() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file!());
        let line =
            |line| SourceLine { file: file.clone(), line, function: String::new(), inside: None };
        let (first, lines) = line(1).around().expect("this file");
        assert_eq!((first, lines.len()), (1, 11));
        assert!(lines[0].starts_with("//! Which line"));
        let (first, lines) = line(9).around().expect("this file");
        assert_eq!((first, lines.len()), (4, 11));
        assert!(line(1_000_000).around().is_none());
    }
}
