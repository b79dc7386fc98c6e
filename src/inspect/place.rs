//! Places in the source, as reports name them: lines of the program, and none of a library that the user has not written.

use std::fmt;
use std::panic::Location;

use crate::kernel::edge::observe::Era;
use crate::kernel::task::{State, TaskRef};

/// Where a task gave up its turn. Prints as `at src/main.rs:20:9`; where that is a line of std's (which calls a socket's
/// `read`, for a `BufReader`) or of this crate, as `in a call by std::io`.
pub(crate) struct Place(pub(crate) &'static Location<'static>);

impl Place {
    /// Where a waiting task of this thread gave up its turn, if that is a line of the program. `None` also where that is
    /// not known: a future that is not in the middle of a poll keeps no stack, and no such place.
    pub(crate) fn of(task: &TaskRef) -> Option<&'static Location<'static>> {
        let local = task.local();
        let on_a_stack = task.era != Era::Future || local.stack.get() != 0;
        let site = local.last_site.get().filter(|site| Place(site).of_library().is_none())?;
        (on_a_stack && local.state.get() == State::Waiting).then_some(site)
    }

    /// The module of std or of this crate whose code it is, as `std::io`.
    fn of_library(&self) -> Option<(&str, &str)> {
        let own = file!().strip_suffix("inspect/place.rs").expect("this file");
        let file = self.0.file();
        let (library, within) = match file.strip_prefix(own) {
            Some(within) => ("wouldblock", within),
            None => ("std", within_std(file)?),
        };
        let module = within.split('/').next().unwrap_or_default();
        Some((library, module.strip_suffix(".rs").unwrap_or(module)))
    }
}

/// The rest of the path of a file of std's, whose sources lie in the folder of the toolchain or are named by its commit.
fn within_std(file: &str) -> Option<&str> {
    let is_stds = file.starts_with("/rustc/") || file.contains("/rustlib/src/rust/");
    let (_, within) = file.split_once("/library/").filter(|_| is_stds)?;
    within.split_once("/src/").map(|(_, within)| within)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of_library() {
            None => write!(f, "at {}", self.0),
            Some((library, "lib")) => write!(f, "in a call by `{library}`"),
            Some((library, module)) => write!(f, "in a call by `{library}::{module}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_library_is_named_by_its_module() {
        assert_eq!(Place(Location::caller()).to_string(), "in a call by `wouldblock::inspect`");
        let within = |file| within_std(file).map(|within| within.split('/').next().unwrap());
        assert_eq!(within("/rustc/0123/library/std/src/io/buffered/bufreader.rs"), Some("io"));
        assert_eq!(within("/a/lib/rustlib/src/rust/library/alloc/src/vec/mod.rs"), Some("vec"));
        assert_eq!(within("/home/me/library/app/src/main.rs"), None);
    }
}
