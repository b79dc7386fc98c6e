//! Building tests: in place, and in the overlay.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::runner::catalog::{self, Course, Exercise, Files, copy, list, write};
use crate::runner::process;

/// What became of a test target.
#[derive(Debug, Default)]
pub struct Built {
    pub program: Option<PathBuf>,
    /// The compiler's messages, as it prints them.
    pub messages: String,
}

/// Builds some tests of the package in `folder`. After `limit`, those that are not built by then are not built at all: code
/// can keep a compiler as busy as it likes.
pub fn build(
    folder: &Path,
    target: &Path,
    tests: &[String],
    limit: Option<Duration>,
) -> Result<HashMap<String, Built>, String> {
    let mut command = cargo();
    let format = match std::io::stdout().is_terminal() {
        true => "--message-format=json-diagnostic-rendered-ansi",
        false => "--message-format=json",
    };
    command.args(["build", "--keep-going", format]);
    command.current_dir(folder).env("CARGO_TARGET_DIR", target);
    command.args(tests.iter().map(|test| format!("--test={test}")));
    run(command, limit)
}

/// What the manifest of an overlay has besides. There are many tests, and only the lines of their code are looked up;
/// dependencies are as they are built elsewhere.
const OWN: &str = "
[workspace]

[profile.dev]
debug = \"line-tables-only\"

[profile.dev.package.\"*\"]
debug = true
";

/// A copy of the package with tests of its own making, in a folder below `target/`.
pub struct Overlay {
    pub folder: PathBuf,
    target: PathBuf,
    targets: Vec<String>,
}

impl Overlay {
    /// An overlay without tests.
    pub fn new(course: &Course, name: &str) -> Result<Overlay, String> {
        let target = target_of(&course.root);
        let folder = target.join("course").join(name);
        let tests = folder.join("tests");
        if tests.exists() {
            fs::remove_dir_all(&tests).map_err(|e| format!("{}: {e}", tests.display()))?;
        }
        let outer = course.root.parent().ok_or("the package lies in the crate's folder")?;
        let manifest = catalog::read(&course.root.join("Cargo.toml"))?;
        // Without the runner, which would be built with each test.
        let bin = manifest.find("[[bin]]").zip(manifest.find("[lints.rust]"));
        let (begin, end) = bin.ok_or("in Cargo.toml, [[bin]] is to stand before [lints.rust]")?;
        let manifest = format!("{}{}{OWN}", &manifest[..begin], &manifest[end..]);
        let manifest = manifest.replacen("[package]", "[package]\nautobins = false", 1);
        // Overlays share what they are built into, where packages of one name would be taken for one another.
        let package = format!("name = \"exercises-{name}\"");
        let manifest = manifest.replacen("name = \"exercises\"", &package, 1);
        let wouldblock = format!("path = {:?}", outer.display().to_string());
        let manifest = manifest.replacen("path = \"..\"", &wouldblock, 1);
        write_if_new(&folder.join("Cargo.toml"), &manifest)?;
        copy_if_new(&outer.join("Cargo.lock"), &folder.join("Cargo.lock"))?;
        for path in list(&course.root.join("src"))? {
            if path.is_file() && !path.ends_with("main.rs") {
                write_if_new(
                    &folder.join("src").join(catalog::file_name(&path)),
                    &catalog::read(&path)?,
                )?;
            }
        }
        Ok(Overlay { folder, target, targets: Vec::new() })
    }

    /// Adds a test target: this exercise's tests, on these files. Where they use another exercise's answer, that is `used`.
    pub fn add(
        &mut self,
        target: &str,
        exercise: &Exercise,
        files: &Files,
        used: Option<&str>,
    ) -> Result<(), String> {
        let folder = self.folder.join("tests").join(target);
        for path in list(&exercise.folder)? {
            if path.is_dir() {
                copy(&path, &folder.join(catalog::file_name(&path)))?; // What the tests have beside them.
            }
        }
        for (name, text) in files {
            write(&folder.join(name), text)?;
        }
        let mut main = catalog::read(&exercise.folder.join("main.rs"))?;
        if let (Some(other), Some(used)) = (&exercise.uses, used) {
            main = main.replace(&format!("../{other}/exercise.rs"), &format!("{other}.rs"));
            write(&folder.join(format!("{other}.rs")), used)?;
        }
        write(&folder.join("main.rs"), main)?;
        self.targets.push(target.to_owned());
        Ok(())
    }

    /// Builds all of them.
    pub fn build(&self) -> Result<HashMap<String, Built>, String> {
        build(&self.folder, &self.target, &self.targets, None)
    }

    /// Builds those that can be built in the time that so many are given.
    pub fn build_what_can_be(&self) -> Result<HashMap<String, Built>, String> {
        let limit = Duration::from_secs(300 + 20 * self.targets.len() as u64);
        build(&self.folder, &self.target, &self.targets, Some(limit))
    }
}

/// Where the workspace builds.
pub fn target_of(root: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => PathBuf::from(target),
        None => root.parent().unwrap_or(root).join("target"),
    }
}

pub fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What `cargo run` sets for this program is not for those that it builds.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs cargo, and reads its messages.
fn run(mut command: Command, limit: Option<Duration>) -> Result<HashMap<String, Built>, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if limit.is_some() {
        command.process_group(0); // To be ended with its compilers.
    }
    let mut child = command.spawn().map_err(|e| format!("cannot run cargo: {e}"))?;
    let group = child.id();
    let (ended, end) = mpsc::channel::<()>();
    let watch = limit.map(|limit| {
        std::thread::spawn(move || {
            let is_late = end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            if is_late {
                process::kill_group(group);
            }
            is_late
        })
    });
    let errors = child.stderr.take().expect("it is piped");
    let errors = std::thread::spawn(move || std::io::read_to_string(errors).unwrap_or_default());
    let mut built: HashMap<String, Built> = HashMap::new();
    let mut messages = 0;
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let line = line.map_err(|e| format!("cannot read what cargo prints: {e}"))?;
        let Some(name) = line.split_once("\"target\":{").and_then(|(_, it)| string(it, "name"))
        else {
            continue;
        };
        if line.contains("\"reason\":\"compiler-message\"") {
            messages += 1;
            built.entry(name).or_default().messages +=
                &string(&line, "rendered").unwrap_or_default();
        } else if let Some(program) = string(&line, "executable") {
            built.entry(name).or_default().program = Some(program.into());
        }
    }
    drop(ended);
    let is_late = watch.is_some_and(|watch| watch.join().unwrap_or(false));
    let status = child.wait().map_err(|e| format!("cargo: {e}"))?;
    let errors = errors.join().unwrap_or_default();
    if !status.success() && messages == 0 && !is_late {
        return Err(format!("cargo cannot build the tests:\n{errors}"));
    }
    Ok(built)
}

/// The string that a JSON object has under this name; cargo's objects are on one line, without blanks.
fn string(json: &str, name: &str) -> Option<String> {
    let (_, value) = json.split_once(&format!("\"{name}\":\""))?;
    let mut text = String::new();
    let mut chars = value.chars();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'b' => text.push('\u{8}'),
                'f' => text.push('\u{c}'),
                'u' => {
                    let code: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&code, 16).ok()?;
                    text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                }
                c => text.push(c),
            },
            c => text.push(c),
        }
    }
}

/// A file that stays as it is keeps its time, by which cargo goes.
fn write_if_new(path: &Path, text: &str) -> Result<(), String> {
    match fs::read_to_string(path) {
        Ok(old) if old == text => Ok(()),
        _ => write(path, text),
    }
}

/// Cargo takes out of it what the package does not need.
fn copy_if_new(from: &Path, to: &Path) -> Result<(), String> {
    match to.exists() {
        true => Ok(()),
        false => write(to, catalog::read(from)?),
    }
}
