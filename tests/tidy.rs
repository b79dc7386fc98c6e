//! The house rules that no compiler checks, held by reading the source tree:
//!
//! - files are read in one order, and import only what was read before ([`imports_upwards`]);
//! - the kernel imports nothing of the crate from outside of itself ([`imports_only_the_kernel`]);
//! - every file begins by saying what it is for ([`says_what_it_is_for`]);
//! - no file is long ([`is_short`]), and kernel (without its edge) and eras together are an evening's reading;
//! - one file names the library that switches stacks ([`hides_corosensei`]);
//! - each `unsafe` says why it is sound ([`justifies_unsafe`]);
//! - comments name their subject, which is no person ([`names_its_subject`]);
//! - the CHANGELOG knows the current version ([`tells_the_version`]).
//!
//! A rule is a function from a file's name and text to the faults it finds. Below the rules, each is
//! shown a text that breaks it.

use std::fs;
use std::path::Path;

/// The files of `src`, each after everything it imports. A new file goes where a reader should meet it.
const READING_ORDER: &[&str] = &[
    "kernel/edge/signal.rs",
    "kernel/edge/running.rs",
    "kernel/edge/warn.rs",
    "kernel/stack.rs",
    "kernel/edge/idle.rs",
    "kernel/coroutine.rs",
    "kernel/edge/opened.rs",
    "kernel/edge/trail.rs",
    "kernel/edge/notes.rs",
    "kernel/edge/fork.rs",
    "kernel/edge/patience.rs",
    "kernel/edge/foreign.rs",
    "kernel/wait.rs",
    "kernel/edge/observe.rs",
    "kernel/edge/board.rs",
    "kernel/edge/extras.rs",
    "kernel/edge/inbox.rs",
    "kernel/queue.rs",
    "kernel/timers.rs",
    "kernel/edge/source.rs",
    "kernel/reactor.rs",
    "kernel/task.rs",
    "kernel/edge/pulse.rs",
    "kernel/edge/watch.rs",
    "kernel/edge/table.rs",
    "kernel/edge/counters.rs",
    "kernel/here.rs",
    "kernel/pace.rs",
    "kernel/scheduler.rs",
    "kernel/edge/entered.rs",
    "kernel/edge/ending.rs",
    "kernel/edge/waker.rs",
    "kernel/edge/unwinding.rs",
    "kernel/cancel.rs",
    "kernel/door.rs",
    "kernel/edge/registration.rs",
    "kernel/edge/mod.rs",
    "kernel/mod.rs",
    "run/may_wait.rs",
    "eras/waited.rs",
    "run/stack_size.rs",
    "inspect/overflow.rs",
    "run/join.rs",
    "eras/pep342.rs",
    "inspect/deadlock.rs",
    "inspect/tree.rs",
    "inspect/on_signal.rs",
    "inspect/watchdog.rs",
    "run/spawn.rs",
    "run/runtime.rs",
    "run/builder.rs",
    "run/stats.rs",
    "task/mod.rs",
    "inspect/tasks.rs",
    "time.rs",
    "op.rs",
    "deadline.rs",
    "eras/scope/members.rs",
    "eras/scope/green.rs",
    "eras/scope/future.rs",
    "eras/limits.rs",
    "eras/generator.rs",
    "eras/green.rs",
    "eras/scope/spawn.rs",
    "eras/scope/mod.rs",
    "eras/future.rs",
    "eras/mod.rs",
    "run/root.rs",
    "run/handle.rs",
    "run/mod.rs",
    "thread.rs",
    "sync/wait_queue.rs",
    "sync/line.rs",
    "sync/mutex.rs",
    "sync/condvar.rs",
    "sync/semaphore.rs",
    "sync/rwlock.rs",
    "sync/event.rs",
    "sync/barrier.rs",
    "sync/chan.rs",
    "sync/channel.rs",
    "sync/mpsc.rs",
    "sync/oneshot.rs",
    "sync/queue.rs",
    "sync/priority.rs",
    "sync/watch.rs",
    "sync/broadcast.rs",
    "sync/mod.rs",
    "cancel_scope.rs",
    "group/tasks.rs",
    "group/gather.rs",
    "group/completed.rs",
    "group/failing.rs",
    "group/pool.rs",
    "group/imap.rs",
    "group/shared.rs",
    "group/mod.rs",
    "offload/pool.rs",
    "offload/mod.rs",
    "blocking.rs",
    "fs/call.rs",
    "fs/lock.rs",
    "fs/file.rs",
    "fs/options.rs",
    "fs/convert.rs",
    "fs/dir.rs",
    "fs/mod.rs",
    "net/turn.rs",
    "net/addr.rs",
    "net/writers.rs",
    "net/socket.rs",
    "net/inner.rs",
    "net/stream.rs",
    "net/connect.rs",
    "net/listener.rs",
    "net/datagram.rs",
    "net/tcp.rs",
    "net/udp.rs",
    "net/unix.rs",
    "net/mod.rs",
    "io/descriptor.rs",
    "io/stdin.rs",
    "io/mod.rs",
    "process/child.rs",
    "process/command.rs",
    "process/mod.rs",
    "signal.rs",
    "adapt/tokio.rs",
    "adapt/hyper.rs",
    "adapt/tracing.rs",
    "adapt/stream.rs",
    "adapt/mod.rs",
    "http.rs",
    "inspect/timeline/record.rs",
    "inspect/timeline/chart.rs",
    "inspect/timeline/terminal.rs",
    "inspect/timeline/svg.rs",
    "inspect/timeline/trace.rs",
    "inspect/timeline/frames.rs",
    "inspect/timeline/words.rs",
    "inspect/timeline/lines.rs",
    "inspect/timeline/html.rs",
    "inspect/timeline/mod.rs",
    "inspect/mod.rs",
    "testing/turns.rs",
    "testing/settle.rs",
    "testing/explore.rs",
    "testing/mod.rs",
    "guide.rs",
    "lib.rs",
];

/// Lines of code in one file of `src`: without comments, blank lines and tests.
const LONGEST_FILE: usize = 400;

/// Lines of kernel, without its edge, and the three eras together: with their documentation, without blank lines and
/// tests.
const AN_EVENING: usize = 3263;

#[test]
fn files_import_only_what_is_read_before_them() {
    hold(&["src"], imports_upwards);
    for file in READING_ORDER {
        let exists = root().join("src").join(file).exists();
        assert!(exists, "src/{file} is gone: take it out of READING_ORDER in tests/tidy.rs");
    }
}

#[test]
fn the_kernel_tells_its_reading_order() {
    for folder in ["kernel/", "kernel/edge/"] {
        let name = format!("src/{folder}mod.rs");
        let text = read(&name);
        let rows = text.lines().filter_map(|line| line.strip_prefix("//! | `"));
        let table =
            rows.filter_map(|row| row.split('`').next()).filter(|cell| cell.ends_with(".rs"));
        let order = READING_ORDER.iter().filter_map(|file| file.strip_prefix(folder));
        let order = order.filter(|file| *file != "mod.rs" && !file.contains('/'));
        assert!(table.eq(order), "{name}: the table differs from READING_ORDER");
    }
}

#[test]
fn the_kernel_imports_nothing_from_outside_of_itself() {
    hold(&["src/kernel"], imports_only_the_kernel);
}

#[test]
fn files_say_what_they_are_for() {
    hold(&["src", "examples", "tests", "benches"], says_what_it_is_for);
}

#[test]
fn files_are_short() {
    hold(&["src"], is_short);
}

#[test]
fn kernel_and_eras_are_read_in_an_evening() {
    let mut files = sources(&["src/kernel", "src/eras"]);
    let second_reading =
        ["kernel/edge/", "eras/scope/", "eras/limits", "eras/pep342", "eras/waited"];
    files.retain(|(name, _)| {
        !second_reading.iter().any(|later| name["src/".len()..].starts_with(later))
    });
    let written = |line: &Line| !line.code.trim().is_empty() || !line.comment.trim().is_empty();
    let lines = files.iter().flat_map(|(_, text)| production(text));
    let lines = lines.filter(written).count();
    assert!(
        lines <= AN_EVENING,
        "src/kernel without edge/, and the three eras: {lines} lines, {AN_EVENING} at most"
    );
}

#[test]
fn one_file_names_corosensei() {
    hold(&["src"], hides_corosensei);
}

#[test]
fn unsafe_code_is_justified() {
    hold(&["src"], justifies_unsafe);
}

#[test]
fn comments_name_their_subject() {
    hold(&["src"], names_its_subject);
}

#[test]
fn the_changelog_has_this_version() {
    assert_faultless(&tells_the_version("CHANGELOG.md", &read("CHANGELOG.md")));
}

// The rules.

fn imports_upwards(name: &str, text: &str) -> Vec<String> {
    let file = name.strip_prefix("src/").unwrap_or(name);
    let Some(place) = place(file) else {
        return vec![format!("{name}:1: add it to READING_ORDER in tests/tidy.rs")];
    };
    let mut faults = Vec::new();
    for (number, path) in imports(file, text) {
        let imported = file_of(&path);
        if imported > place {
            let later = READING_ORDER[imported];
            faults.push(format!(
                "{name}:{number}: `{}` is in src/{later}, which is read later: import it from an \
                 earlier file, move it up, or change READING_ORDER in tests/tidy.rs",
                path.join("::")
            ));
        }
    }
    faults
}

fn imports_only_the_kernel(name: &str, text: &str) -> Vec<String> {
    let file = name.strip_prefix("src/").unwrap_or(name);
    let outside = |(number, path): (usize, Vec<String>)| {
        (path.first().map(String::as_str) != Some("kernel"))
            .then(|| format!("{name}:{number}: `{}` is outside of the kernel", path.join("::")))
    };
    imports(file, text).into_iter().filter_map(outside).collect()
}

fn says_what_it_is_for(name: &str, text: &str) -> Vec<String> {
    match text.starts_with("//! ") {
        true => Vec::new(),
        false => vec![format!("{name}:1: begin with a `//!` line that says what the file is for")],
    }
}

fn is_short(name: &str, text: &str) -> Vec<String> {
    let mut lines = production(text).into_iter().filter(|line| !line.code.trim().is_empty());
    match lines.nth(LONGEST_FILE) {
        None => Vec::new(),
        Some(Line { number, .. }) => {
            vec![format!("{name}:{number}: {LONGEST_FILE} lines of code end here: split the file")]
        }
    }
}

fn hides_corosensei(name: &str, text: &str) -> Vec<String> {
    let lines = lines(text).into_iter().filter(|line| line.code.contains("corosensei"));
    let fault = |line: Line| {
        let number = line.number;
        format!("{name}:{number}: only src/kernel/coroutine.rs names corosensei: use its types")
    };
    match name {
        "src/kernel/coroutine.rs" => Vec::new(),
        _ => lines.map(fault).collect(),
    }
}

/// Clippy asks for a `SAFETY` comment at each block; this asks for it at each impl and function too.
fn justifies_unsafe(name: &str, text: &str) -> Vec<String> {
    /// `unsafe fn(..)`, `unsafe extern "C" fn(..)`: the type of a function, and not a function.
    fn is_type(code: &str) -> bool {
        let head = code.split('{').next().unwrap_or_default();
        head.split_once(" fn").is_some_and(|(_, rest)| rest.starts_with('('))
    }

    let lines = lines(text);
    let mut faults = Vec::new();
    for (at, Line { number, code, .. }) in lines.iter().enumerate() {
        let is_unsafe = words(code, "unsafe").any(|start| !is_type(&code[start..]));
        if is_unsafe && !is_justified(&lines[..=at]) {
            faults.push(format!(
                "{name}:{number}: say above this `unsafe` why it is sound: `// SAFETY: ..`, or \
                 `# Safety` in the documentation of an unsafe fn"
            ));
        }
    }
    faults
}

/// Whether a safety comment is near the end of these lines.
fn is_justified(lines: &[Line]) -> bool {
    /// How many lines of code may come between it and the end.
    const NEAR: usize = 4;
    let mut code_between = 0;
    for Line { code, comment, .. } in lines.iter().rev() {
        if comment.contains("SAFETY: ") || comment.contains("# Safety") {
            return true;
        }
        code_between += usize::from(!code.trim().is_empty());
        if code_between > NEAR {
            return false;
        }
    }
    false
}

fn names_its_subject(name: &str, text: &str) -> Vec<String> {
    let fault = |line: &Line| {
        let comment = line.comment.to_lowercase();
        let persons = ["whoever", "somebody", "nobody", "anybody", "told"];
        let person = persons.into_iter().find(|person| words(&comment, person).next().is_some())?;
        let number = line.number;
        Some(format!("{name}:{number}: not `{person}`: name the task, the caller, the scheduler"))
    };
    lines(text).iter().filter_map(fault).collect()
}

fn tells_the_version(name: &str, text: &str) -> Vec<String> {
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    match text.lines().any(|line| line.starts_with(&heading)) {
        true => Vec::new(),
        false => vec![format!("{name}:1: add a heading `{heading}`, the version in Cargo.toml")],
    }
}

// What the rules need to know of a source tree.

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: impl AsRef<Path>) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Fails with all that `rule` finds in the Rust files of these folders.
#[track_caller]
fn hold(folders: &[&str], rule: fn(&str, &str) -> Vec<String>) {
    let files = sources(folders);
    assert!(!files.is_empty(), "no Rust files in {folders:?}");
    let faults: Vec<String> = files.iter().flat_map(|(name, text)| rule(name, text)).collect();
    assert_faultless(&faults);
}

#[track_caller]
fn assert_faultless(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The Rust files in these folders: each one's path from the root, and its text.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut paths: Vec<_> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a readable folder");
            paths.extend(entries.map(|entry| entry.expect("a readable folder").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("a path below the root");
            files.push((name.display().to_string(), read(name)));
        }
    }
    files.sort();
    files
}

/// Where a file of `src` stands in the reading order.
fn place(file: &str) -> Option<usize> {
    READING_ORDER.iter().position(|name| *name == file)
}

/// Where the file stands that holds `path`, a path from the root of the crate.
fn file_of(path: &[String]) -> usize {
    let modules = (1..=path.len()).rev().map(|n| path[..n].join("/"));
    let mut files = modules.flat_map(|m| [format!("{m}.rs"), format!("{m}/mod.rs")]);
    files.find_map(|file| place(&file)).or(place("lib.rs")).expect("lib.rs is in the order")
}

/// What a file of `src` takes from others: line numbers, and paths from the root of the crate. These are
/// the paths that begin with `crate`, `self` or `super`, in a `use` or elsewhere, and each `mod name;`.
/// (A path that begins with the name of a child need not be looked at: its `mod` is there too.)
fn imports(file: &str, text: &str) -> Vec<(usize, Vec<String>)> {
    let file_module: Vec<&str> =
        file.trim_end_matches(".rs").split('/').filter(|m| !matches!(*m, "mod" | "lib")).collect();
    let lines = production(text);
    let code: String = lines.iter().flat_map(|line| [&line.code, "\n"]).collect();

    let mut module = file_module.clone();
    let mut line_start = 0;
    let mut imports = Vec::new();
    for Line { number, code: line, .. } in &lines {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [.., "mod", name, "{"] => module.push(name),
            _ if line.starts_with('}') => module.clone_from(&file_module),
            [.., "mod", name] => imports.push((*number, from_root(&module, &["self", name]))),
            _ => {}
        }
        for start in ["crate", "self", "super"].iter().flat_map(|root| words(line, root)) {
            let path = &code[line_start + start..];
            if path.trim_start_matches(is_of_a_word).starts_with("::") {
                let mut paths = Vec::new();
                expand(path, &[], &mut paths);
                imports.extend(paths.iter().map(|path| (*number, from_root(&module, path))));
            }
        }
        line_start += line.len() + 1;
    }
    imports
}

/// Collects the paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`. Returns what follows it.
fn expand<'a>(tree: &'a str, before: &[&'a str], paths: &mut Vec<Vec<&'a str>>) -> &'a str {
    if let Some(group) = tree.strip_prefix('{') {
        let mut rest = group.trim_start();
        while !rest.starts_with('}') {
            rest = expand(rest, before, paths);
            let end = rest.find([',', '}']).expect("rustc takes this file"); // skips `as name`
            rest = rest[end..].trim_start_matches(',').trim_start();
        }
        return &rest[1..];
    }
    let end = tree.find(|c| !is_of_a_word(c)).unwrap_or(tree.len());
    let (name, rest) = tree.split_at(end);
    let path = [before, &[name]].concat();
    match rest.strip_prefix("::") {
        Some(rest) => expand(rest, &path, paths),
        None => {
            paths.push(path);
            rest
        }
    }
}

/// A path written in `module`, from the root of the crate.
fn from_root(module: &[&str], path: &[&str]) -> Vec<String> {
    let mut from_root = module.to_vec();
    for name in path {
        match *name {
            "crate" => from_root.clear(),
            "super" => drop(from_root.pop()),
            "self" | "" => {} // nothing is what comes before the `*` of a glob
            name => from_root.push(name.trim_end_matches(';')),
        }
    }
    from_root.into_iter().map(str::to_owned).collect()
}

// As much of Rust's syntax as the rules need.

/// A line of a source file, taken apart.
#[derive(Debug, Default)]
struct Line {
    number: usize,
    /// What it holds of code; what is within quotes is blotted out with quotes.
    code: String,
    /// What it holds of comments, documentation among them.
    comment: String,
}

/// Where a word stands in a line of code, each time that it begins there (a path's later parts do not, and
/// neither does `$crate`, which is for whoever calls the macro).
fn words(code: &str, word: &str) -> impl Iterator<Item = usize> {
    let is_whole = move |start: &usize| {
        let before = code[..*start].chars().next_back();
        let after = code[start + word.len()..].chars().next();
        !before.is_some_and(|c| is_of_a_word(c) || matches!(c, ':' | '$'))
            && !after.is_some_and(is_of_a_word)
    };
    code.match_indices(word).map(|(start, _)| start).filter(is_whole)
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The lines of a file, without the modules that hold its tests. (In rustfmt's layout a module ends at
/// the next brace in the first column.)
fn production(text: &str) -> Vec<Line> {
    let mut rest = lines(text).into_iter().peekable();
    let mut kept = Vec::new();
    while let Some(line) = rest.next() {
        let next = rest.peek().map_or("", |line| &line.code);
        if line.code.starts_with("#[cfg(") && line.code.contains("test") && next.starts_with("mod ")
        {
            rest.by_ref().find(|line| line.code == "}");
        } else {
            kept.push(line);
        }
    }
    kept
}

/// Takes the lines of a file apart into code and comments.
fn lines(text: &str) -> Vec<Line> {
    enum Within {
        Code,
        LineComment,
        /// How many comments deep.
        Comment(usize),
        Quotes,
        /// How many `#` end it.
        RawQuotes(usize),
    }
    use Within::{Code, Comment, LineComment, Quotes, RawQuotes};

    let mut lines = Vec::new();
    let mut within = Code;
    for (index, text) in text.lines().enumerate() {
        let mut line = Line { number: index + 1, ..Line::default() };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let starts = |with: &str| rest.starts_with(with);
            let mut taken = c.len_utf8();
            match within {
                Code if starts("//") => within = LineComment,
                Code if starts("/*") => (within, taken) = (Comment(1), 2),
                Code if c == '"' => {
                    let before = line.code.trim_end_matches('#');
                    let raw = RawQuotes(line.code.len() - before.len());
                    within = if before.ends_with('r') { raw } else { Quotes };
                    line.code.push(c);
                }
                Code if c == '\'' => {
                    taken = character(rest);
                    line.code.push(c);
                }
                Code => line.code.push(c),
                LineComment => line.comment.push(c),
                Comment(1) if starts("*/") => (within, taken) = (Code, 2),
                Comment(deep) if starts("*/") => (within, taken) = (Comment(deep - 1), 2),
                Comment(deep) if starts("/*") => (within, taken) = (Comment(deep + 1), 2),
                Comment(_) => line.comment.push(c),
                Quotes | RawQuotes(_) => {
                    match within {
                        Quotes if starts(r"\\") || starts(r#"\""#) => taken = 2,
                        Quotes if c == '"' => within = Code,
                        RawQuotes(n) if c == '"' && starts(&format!("\"{}", "#".repeat(n))) => {
                            (within, taken) = (Code, 1 + n);
                        }
                        _ => {}
                    }
                    line.code.push('"');
                }
            }
            rest = &rest[taken..];
        }
        if let LineComment = within {
            within = Code;
        }
        lines.push(line);
    }
    lines
}

/// How long the character is that this begins with, in its quotes; of a lifetime, only the quote.
fn character(code: &str) -> usize {
    let mut chars = code.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            code[escaped + 1..].find('\'').map_or(1, |end| escaped + 1 + end + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

// Each rule finds what it is for.

/// The lines at which a rule finds fault.
fn faults(rule: fn(&str, &str) -> Vec<String>, name: &str, text: &str) -> Vec<usize> {
    let line = |fault: String| fault.strip_prefix(name)?.split(':').nth(1)?.parse().ok();
    rule(name, text).into_iter().map(|fault| line(fault).expect("name:line: what to do")).collect()
}

#[test]
fn an_import_from_below_is_found() {
    let faults = |text| faults(imports_upwards, "src/kernel/door.rs", text);
    assert_eq!(faults("use super::task::Task;\nuse crate::kernel::{queue, stack::Stack};"), [0; 0]);
    assert_eq!(faults("use crate::time::sleep;"), [1]);
    assert_eq!(faults("use super::{\n    task,\n    missing_here,\n};"), [1]);
    assert_eq!(faults("use crate::{kernel::stack, net::{self, TcpStream as Tcp}};"), [1, 1]);
    assert_eq!(faults("fn f() {\n    crate::runtime::run::<()>(|| ());\n}"), [2]);
    assert_eq!(faults("use crate::JoinHandle; // re-exported in lib.rs"), [1]);
    assert_eq!(faults("mod inner {\n    use super::super::task;\n    use super::wait;\n}"), [0; 0]);
    assert_eq!(faults("mod inner {\n    use super::super::super::net;\n}"), [2]);
    assert_eq!(faults("//! Like [`crate::time`].\n// use crate::net;"), [0; 0]);
    assert_eq!(faults("#[cfg(test)]\nmod tests {\n    use crate::net;\n}"), [0; 0]);
    assert_eq!(faults("#[cfg(test)]\nmod tests {\n}\nuse crate::net;"), [4]);
}

#[test]
fn an_import_of_the_kernel_from_outside_of_it_is_found() {
    let faults = |text| faults(imports_only_the_kernel, "src/kernel/edge/watch.rs", text);
    assert_eq!(faults("use super::observe::Actor;\nuse crate::kernel::task::Task;"), [0; 0]);
    assert_eq!(faults("use crate::trail;\nuse super::super::super::warn;"), [1, 2]);
}

#[test]
fn a_child_read_after_its_parent_is_found() {
    assert_eq!(faults(imports_upwards, "src/net/mod.rs", "mod tcp;\nmod unheard_of;"), [0; 0]);
    assert_eq!(faults(imports_upwards, "src/net/mod.rs", "pub(crate) mod tcp;"), [0; 0]);
    assert_eq!(faults(imports_upwards, "src/eras/mod.rs", "use crate::net;"), [1]);
}

#[test]
fn a_file_outside_the_reading_order_is_found() {
    assert_eq!(faults(imports_upwards, "src/net/quic.rs", "//! QUIC."), [1]);
}

#[test]
fn a_file_that_says_nothing_is_found() {
    let faults = |text| faults(says_what_it_is_for, "src/net/tcp.rs", text);
    assert_eq!(faults("//! Streams."), [0; 0]);
    assert_eq!(faults("use std::io;\n//! Streams."), [1]);
    assert_eq!(faults(""), [1]);
}

#[test]
fn a_long_file_is_found() {
    let faults = |text: &str| faults(is_short, "src/net/tcp.rs", text);
    let code = "fn f() {}\n".repeat(LONGEST_FILE);
    let rest =
        "\n/// Documentation.\n/* A\n   comment. */\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
    assert_eq!(faults(&format!("{code}{rest}")), [0; 0]);
    assert_eq!(faults(&format!("{rest}{code}fn g() {{}}")), [LONGEST_FILE + 9]);
}

#[test]
fn naming_corosensei_is_found() {
    let text =
        "// corosensei in a comment\nconst S: &str = \"corosensei\";\nuse corosensei::Yielder;";
    assert_eq!(faults(hides_corosensei, "src/runtime.rs", text), [3]);
    assert_eq!(faults(hides_corosensei, "src/kernel/coroutine.rs", text), [0; 0]);
}

#[test]
fn a_person_in_a_comment_is_found() {
    let text =
        "/// Wakes whoever waits.\nlet told = \"somebody\"; // fine\n// Told once.\n// untold";
    assert_eq!(faults(names_its_subject, "src/a.rs", text), [1, 3]);
}

#[test]
fn unjustified_unsafe_is_found() {
    let faults = |text| faults(justifies_unsafe, "src/net/tcp.rs", text);
    assert_eq!(faults("unsafe impl Send for T {}"), [1]);
    assert_eq!(faults("pub unsafe fn f() {}"), [1]);
    assert_eq!(faults("unsafe extern \"C\" fn f(g: fn()) {}"), [1]);
    assert_eq!(faults("fn f() {\n    unsafe { g() }\n}"), [2]);
    assert_eq!(faults("// SAFETY: far.\nf();\nf();\nf();\nf();\nunsafe { g() }"), [6]);
    assert_eq!(faults("/// # Safety\n/// Only once.\n#[inline]\npub unsafe fn f() {}"), [0; 0]);
    assert_eq!(faults("// SAFETY: `T` is plain.\nunsafe impl Send for T {}"), [0; 0]);
    assert_eq!(faults("type F = (usize, unsafe fn(usize)); // unsafe"), [0; 0]);
    assert_eq!(faults("let f: unsafe extern \"C\" fn(usize) = g;"), [0; 0]);
}

#[test]
fn a_changelog_without_this_version_is_found() {
    let faults = |text: &str| faults(tells_the_version, "CHANGELOG.md", text);
    assert_eq!(faults(concat!("# Changes\n## [", env!("CARGO_PKG_VERSION"), "] - today")), [0; 0]);
    assert_eq!(faults("# Changes\n## [0.0.1]"), [1]);
}

#[test]
fn code_is_told_from_comments_and_quotes() {
    let code = |text| lines(text).into_iter().map(|line| line.code).collect::<Vec<_>>();
    assert_eq!(code("a /* b /* c */ d\n*/ e // f"), ["a ", " e "]);
    assert_eq!(code(r#"a("b \" c\\") d"#), [r#"a("""""""") d"#]);
    assert_eq!(code("r#\"a\" // b\n\"# c"), ["r#\"\"\"\"\"\"\"\"", "\" c"]);
    assert_eq!(code(r"('a', '\'', '\u{7f}', '/') // b"), ["(', ', ', ') "]);
    assert_eq!(code("&'a str // b"), ["&'a str "]);
}
