//! What exercises there are, and what their texts say.

use std::fs;
use std::path::{Path, PathBuf};

use crate::runner::words::Language;

/// The package `exercises` in a checkout or a handout.
pub struct Course {
    pub root: PathBuf,
    pub exercises: Vec<Exercise>,
}

/// One exercise.
#[derive(Clone, Debug)]
pub struct Exercise {
    /// `e05_round_robin`.
    pub name: String,
    /// `05 round_robin`.
    pub title: String,
    /// `05`.
    pub number: String,
    pub folder: PathBuf,
    /// The tests in `main.rs`, in the order of the file.
    pub tests: Vec<String>,
    /// The exercise whose `exercise.rs` is used too.
    pub uses: Option<String>,
}

/// Files by their names within the folder of an exercise: `exercise.rs`, and what it declares.
pub type Files = Vec<(String, String)>;

impl Course {
    /// Reads the folder of the package.
    pub fn open(root: &Path) -> Result<Course, String> {
        let mut exercises = Vec::new();
        for entry in list(&root.join("tests"))? {
            let name = file_name(&entry);
            if let Some((number, title)) = number_of(&name) {
                let main = read(&entry.join("main.rs"))?;
                exercises.push(Exercise {
                    title: format!("{number} {title}"),
                    number: number.to_owned(),
                    name: name.clone(),
                    tests: tests_in(&main),
                    uses: used_in(&main),
                    folder: entry,
                });
            }
        }
        exercises.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Course { root: root.to_owned(), exercises })
    }

    /// The exercise that is meant by `5`, `05`, `round_robin` or `e05_round_robin`.
    pub fn find(&self, text: &str) -> Result<&Exercise, String> {
        let is_meant = |exercise: &&Exercise| {
            let number = exercise.number.trim_start_matches('0');
            let rest = exercise.title.split_once(' ').map_or("", |(_, rest)| rest);
            text == exercise.name || text == rest || text.trim_start_matches('0') == number
        };
        self.exercises.iter().find(is_meant).ok_or_else(|| {
            let first = self.exercises.first().map_or("", |e| &e.number);
            let last = self.exercises.last().map_or("", |e| &e.number);
            format!("there is no exercise {text:?}: name one by its number, {first} to {last}")
        })
    }

    /// The files of `skeletons/`, `solutions/` or `wrong/`: a file, or a folder of them.
    pub fn variant(&self, folder: &str, name: &str) -> Result<Files, String> {
        let path = self.root.join(folder).join(name);
        if path.is_dir() {
            return files_in(&path);
        }
        let text = read(&path.with_extension("rs"))?;
        Ok(vec![("exercise.rs".to_owned(), text)])
    }

    /// What there is in a folder of variants for this exercise, by name: `e05_to_the_end`.
    pub fn variants(&self, folder: &str, exercise: &Exercise) -> Result<Vec<String>, String> {
        let prefix = format!("e{}_", exercise.number);
        let paths = list(&self.root.join(folder))?;
        let names = paths.iter().map(|path| file_name(path).trim_end_matches(".rs").to_owned());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
        names.sort();
        Ok(names)
    }
}

impl Exercise {
    /// The student's files.
    pub fn files(&self) -> Result<Files, String> {
        files_in(&self.folder)
    }

    /// Its README.
    pub fn readme(&self, language: Language) -> PathBuf {
        self.folder.join(match language {
            Language::English => "README.md",
            Language::Chinese => "README.zh-CN.md",
        })
    }

    /// Its hints, in a file of their own: a reader of the README does not see them.
    pub fn hints(&self, language: Language) -> Result<Vec<String>, String> {
        let name = match language {
            Language::English => "HINTS.md",
            Language::Chinese => "HINTS.zh-CN.md",
        };
        Ok(hints(&read(&self.folder.join(name))?))
    }

    /// What messages of its tests are in Chinese: see [`Messages`](crate::runner::messages::Messages).
    pub fn messages(&self) -> PathBuf {
        self.folder.join("messages.zh-CN.txt")
    }
}

/// The Rust files of a folder but `main.rs`, by name.
fn files_in(folder: &Path) -> Result<Files, String> {
    let mut files = Vec::new();
    for path in list(folder)? {
        let name = file_name(&path);
        if name.ends_with(".rs") && name != "main.rs" {
            files.push((name, read(&path)?));
        }
    }
    files.sort();
    Ok(files)
}

/// `e05_round_robin` is 05, `round_robin`.
fn number_of(name: &str) -> Option<(&str, &str)> {
    let (number, rest) = name.strip_prefix('e')?.split_once('_')?;
    number.bytes().all(|b| b.is_ascii_digit()).then_some((number, rest))
}

/// The functions that a line `#[test]` stands before.
fn tests_in(main: &str) -> Vec<String> {
    let mut lines = main.lines();
    let mut tests = Vec::new();
    while lines.by_ref().any(|line| line.trim() == "#[test]") {
        let function = lines.by_ref().find_map(|line| line.trim().strip_prefix("fn "));
        tests.extend(function.and_then(|line| line.split('(').next()).map(str::to_owned));
    }
    tests
}

/// The other exercise in `#[path = "../e07_scheduler/exercise.rs"]`.
fn used_in(main: &str) -> Option<String> {
    let (_, path) = main.split_once("#[path = \"../")?;
    path.split_once("/exercise.rs\"]").map(|(name, _)| name.to_owned())
}

/// Hints: what is folded.
fn hints(text: &str) -> Vec<String> {
    let folded = text.split("<details>").skip(1);
    let hints = folded.filter_map(|text| text.split("</details>").next()?.split_once("</summary>"));
    hints.map(|(_, text)| text.trim().to_owned()).collect()
}

/// The line `minutes: N`.
pub fn minutes(readme: &str) -> Option<u32> {
    readme.lines().find_map(|line| line.strip_prefix("minutes: ")?.trim().parse().ok())
}

pub fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

pub fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<(), String> {
    let done = path.parent().map_or(Ok(()), fs::create_dir_all);
    done.and_then(|()| fs::write(path, text))
        .map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// What is in a folder, sorted.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |e| format!("cannot list {}: {e}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Copies a file, or a folder with all that is in it; links are not followed.
pub fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |e| format!("cannot copy {} to {}: {e}", from.display(), to.display());
    let kind = fs::symlink_metadata(from).map_err(failed)?;
    if kind.is_dir() {
        fs::create_dir_all(to).map_err(failed)?;
        for path in list(from)? {
            copy(&path, &to.join(file_name(&path)))?;
        }
    } else if kind.is_file() {
        fs::copy(from, to).map_err(failed)?;
    }
    Ok(())
}
