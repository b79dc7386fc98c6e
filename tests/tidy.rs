//! The house rules that no compiler checks, held by reading the source tree. A rule finds fault with a file; [`RULES`]
//! lists them all, and [`BROKEN`] has a text for each that breaks it.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use rust::{File, Line, words};

#[path = "tidy/rust.rs"]
mod rust;

/// The files of `src`, each after everything it uses: a folder, and the files in it. A new file goes where a reader
/// should meet it.
const READING_ORDER: &str = "
    src/kernel/edge/: forever signal running warn mapping
    src/kernel/: stack
    src/kernel/edge/: open pool
    src/kernel/: coroutine
    src/kernel/edge/: trail notes fork source
    src/kernel/: wait
    src/kernel/edge/: random
    src/kernel/: queue
    src/kernel/edge/: clock
    src/kernel/: timers
    src/kernel/edge/: line
    src/kernel/: reactor
    src/kernel/edge/: foreign thin prefetch extras inbox observe
    src/kernel/: task
    src/kernel/edge/: board pulse
    src/kernel/: here pace
    src/kernel/edge/: patience observers end table counters
    src/kernel/: scheduler
    src/kernel/edge/: open_guard entered news ending unwinding
    src/kernel/: cancel
    src/kernel/edge/: waker swallowed registration
    src/kernel/: door
    src/kernel/edge/: mod
    src/kernel/: mod
    src/run/: may_wait
    src/eras/: waited
    src/run/: stack_size
    src/inspect/: overflow
    src/run/: join_error join
    src/eras/: pep342
    src/inspect/: place holders purpose deadlock tree on_signal watchdog
    src/run/: spawn runtime builder stats
    src/task/: mod
    src/inspect/: tasks
    src/: time op deadline
    src/eras/scope/: members green future
    src/eras/: limits generator green
    src/eras/scope/: spawn mod
    src/eras/: future mod
    src/run/: root handle mod
    src/thread/: park join scope mod
    src/sync/: wait_queue waiters mutex condvar semaphore rwlock event barrier chan channel mpsc
    src/sync/: oneshot queue priority feed watch broadcast mod
    src/: cancel_scope whole
    src/group/: tasks gather completed failing pool imap shared mod
    src/offload/: pool mod
    src/: blocking
    src/fs/: call lock file options convert dir mod
    src/net/: turn addr pauses link socket common stream connect listener datagram tcp udp unix mod
    src/io/: descriptor stdin mod
    src/process/: child command mod
    src/: signal
    src/adapt/: tokio hyper tracing stream mod
    src/http/: buffers chain mod
    src/inspect/timeline/: record chart terminal svg trace frames words lines html mod
    src/inspect/: mod
    src/testing/: turns settle explore mod
    src/: guide lib";

// Ceilings. None is ever raised: `.ci/ceilings` compares each with what it was in earlier commits.

/// Lines of code in one file of `src`: without comments, blank lines and tests.
const LONGEST_FILE: usize = 400;

/// Lines of kernel, without its edge, and the three eras together: with their documentation, without blank lines and
/// tests.
const AN_EVENING: usize = 2854;

/// Methods of the kernel that [`calls_upwards`] would find, still to be moved.
const LATE_METHODS: [(&str, &str); LATE] = [];
const LATE: usize = 0;

/// Finds fault with a file, for some rules because of others. Returns the lines, and what is wrong with each.
type Rule = fn(&File, &[Away]) -> Vec<(usize, String)>;

/// Each rule, and the folders in which it holds.
const RULES: &[(&[&str], Rule)] = &[
    (&["src/"], imports_upwards),
    (&["src/"], calls_upwards),
    (&["src/kernel/"], imports_only_the_kernel),
    (&["src/", "examples/", "tests/", "benches/"], says_what_it_is_for),
    (&["src/"], is_short),
    (&["src/"], hides_corosensei),
    (&["src/"], justifies_unsafe),
    (&["src/"], names_its_subject),
];

#[test]
fn the_rules_hold() {
    let away = away(&TREE);
    for (of, method) in LATE_METHODS {
        let is_late = away.iter().any(|away| away.of == of && away.method == method);
        assert!(is_late, "{of}::{method} is in its place: remove it from LATE_METHODS");
    }
    let mut faults = String::new();
    for (folders, rule) in RULES {
        for file in TREE.iter().filter(|file| folders.iter().any(|f| file.name.starts_with(f))) {
            for (line, fault) in rule(file, &away) {
                faults += &format!("\n{}:{line}: {fault}", file.name);
            }
        }
    }
    assert!(faults.is_empty(), "{faults}\n");
}

/// Texts that break rules: where a line is at fault, its comment has a `~` for each fault.
#[rustfmt::skip]
const BROKEN: &[(Rule, &str, &str)] = &[
    (imports_upwards, "src/kernel/door.rs", r#"//! Like [`crate::time`].
        use super::task::Task;
        use crate::kernel::{queue, stack::Stack};
        use crate::time::sleep; //~
        use super::{ //~
            task,
            missing_here,
        };
        use crate::{kernel::stack, net::{self, TcpStream as Tcp}}; //~~
        use crate::JoinHandle; //~ re-exported in lib.rs
        fn f() {
            crate::runtime::run::<()>(|| ()); //~
        }
        mod inner {
            use super::super::task;
            use super::super::super::net; //~
        }
        // use crate::net;
        #[cfg(test)]
        mod tests {
            use crate::net;
        }
        use crate::net; //~
    "#),
    (imports_upwards, "src/net/mod.rs", "mod tcp;\npub(crate) mod udp;\nmod unheard_of;"),
    (imports_upwards, "src/eras/mod.rs", "use crate::net; //~ a child, read after its parent"),
    (imports_upwards, "src/net/quic.rs", "//! QUIC. ~"),
    (calls_upwards, "src/kernel/door.rs", r#"
        fn f(t: Task) {
            t.end_in_udp(); //~
            t.make();
            Task::make(); //~
            t.own(); // t.end_in_udp()
        }
    "#),
    (calls_upwards, "src/net/unix.rs", "fn f(t: Task) {\n    t.end_in_udp();\n}"),
    (imports_only_the_kernel, "src/kernel/edge/observers.rs", r#"
        use super::observe::Actor;
        use crate::kernel::task::Task;
        use crate::trail; //~
        use super::super::super::warn; //~
    "#),
    (says_what_it_is_for, "src/net/tcp.rs", "//! Streams."),
    (says_what_it_is_for, "src/net/tcp.rs", "use std::io; //~\n//! Streams."),
    (hides_corosensei, "src/net/tcp.rs", r#"
        // corosensei in a comment
        const S: &str = "corosensei";
        use corosensei::Yielder; //~
    "#),
    (hides_corosensei, "src/kernel/coroutine.rs", "use corosensei::Yielder;"),
    (justifies_unsafe, "src/net/tcp.rs", r#"
        unsafe impl Send for T {} //~
        pub unsafe fn f() {} //~
        unsafe extern "C" fn f(g: fn()) {} //~
        fn f() {
            unsafe { g() } //~
        }
        // SAFETY: `T` is plain.
        unsafe impl Sync for T {}
        f();
        f();
        f();
        unsafe { g() } //~ too far from it
        /// # Safety
        /// Only once.
        #[inline]
        pub unsafe fn f() {}
        f();
        f();
        f();
        type F = (usize, unsafe fn(usize)); // unsafe
        let f: unsafe extern "C" fn(usize) = g;
    "#),
    (names_its_subject, "src/net/tcp.rs", r#"
        /// Wakes whoever waits. ~
        let told = "somebody"; // fine
        // Told once. ~
        // untold
    "#),
];

#[test]
fn each_rule_finds_what_breaks_it() {
    let defined = "pub struct Task;\nimpl Task {\n    fn own() {}\n}";
    let away_from_it = "impl<T: A<B>> Task {\n    fn end_in_udp(&self) {}\n    fn make() {}\n}";
    let elsewhere = "struct Udp;\nimpl Udp {\n    fn make() {}\n}";
    let files = [
        ("src/kernel/task.rs", defined),
        ("src/net/udp.rs", away_from_it),
        ("src/signal.rs", elsewhere),
    ];
    let away = away(&files.map(|(name, text)| File::new(name, text)));
    for (rule, name, text) in BROKEN {
        let text = text.replace("\n        ", "\n");
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.matches('~').count()));
        let at_fault: Vec<usize> = lines.flat_map(|(line, faults)| vec![line; faults]).collect();
        let found = rule(&File::new(name, &text), &away);
        let found: Vec<usize> = found.into_iter().map(|(line, _)| line).collect();
        assert_eq!(found, at_fault, "{name}:\n{text}");
    }
    let code = "fn f() {}\n".repeat(LONGEST_FILE);
    let rest = "\n/// Docs.\n/* A\n   comment. */\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
    let faults = |text: &str| is_short(&File::new("src/net/tcp.rs", text), &[]).len();
    assert_eq!(faults(&format!("{rest}{code}")), 0);
    assert_eq!(faults(&format!("{rest}{code}fn g() {{}}")), 1);
}

#[test]
fn the_reading_order_names_no_missing_file() {
    for file in &*ORDER {
        assert!(root().join(file).exists(), "{file} is gone: remove it from READING_ORDER");
    }
}

#[test]
fn the_kernel_lists_its_files_in_reading_order() {
    let rows = |file| {
        let text = read(file);
        let rows = text.lines().filter_map(|line| Some(line.strip_prefix("//! | `")?.to_owned()));
        rows.filter(|row| row.contains(".rs` |")).collect::<Vec<_>>()
    };
    // A row of the kernel's table: a file, what it is, and the files of the edge that are read before it.
    let both = rows("src/kernel/mod.rs").into_iter().flat_map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        let edge = cells[2].split(',').map(|name| name.trim().trim_matches('*'));
        let edge = edge.filter(|name| !name.is_empty()).map(|name| format!("edge/{name}.rs"));
        edge.chain([cells[0].trim().trim_matches('`').to_owned()]).collect::<Vec<_>>()
    });
    let both: Vec<_> = both.collect();
    let of_edge = rows("src/kernel/edge/mod.rs");
    let of_edge: Vec<_> = of_edge.iter().filter_map(|row| row.split('`').next()).collect();
    let order = ORDER.iter().filter_map(|file| file.strip_prefix("src/kernel/"));
    let order: Vec<_> = order.filter(|file| !file.ends_with("mod.rs")).collect();
    assert_eq!(both, order, "the table in src/kernel/mod.rs differs from READING_ORDER");
    let order: Vec<_> = order.iter().filter_map(|file| file.strip_prefix("edge/")).collect();
    assert_eq!(of_edge, order, "the table in src/kernel/edge/mod.rs differs from READING_ORDER");
}

#[test]
fn kernel_and_eras_are_read_in_an_evening() {
    let later = ["kernel/edge/", "eras/scope/", "eras/limits", "eras/pep342", "eras/waited"];
    let is_read = |file: &&File| {
        let name = file.name.trim_start_matches("src/");
        (name.starts_with("kernel/") || name.starts_with("eras/"))
            && !later.iter().any(|later| name.starts_with(later))
    };
    let lines = TREE.iter().filter(is_read).flat_map(|file| &file.production);
    let lines = lines.filter(|line| line.has_code() || !line.comment.trim().is_empty()).count();
    assert!(lines <= AN_EVENING, "kernel without edge/, and eras: {lines} of {AN_EVENING} lines");
}

#[test]
fn the_changelog_has_this_version() {
    let heading = concat!("\n## [", env!("CARGO_PKG_VERSION"), "]");
    assert!(read("CHANGELOG.md").contains(heading), "CHANGELOG.md: add the heading {heading:?}");
}

// The rules.

/// Files are read in one order, and import only what was read before.
fn imports_upwards(file: &File, _: &[Away]) -> Vec<(usize, String)> {
    let Some(place) = place(&file.name) else {
        return vec![(1, "add it to READING_ORDER in tests/tidy.rs".into())];
    };
    let mut faults = Vec::new();
    for (line, path) in file.imports() {
        let from = file_of(&path);
        if from > place {
            let (path, from) = (path.join("::"), &ORDER[from]);
            faults.push((line, format!("`{path}` is in {from}, which is read later: move it up")));
        }
    }
    faults
}

/// A method that is defined in another file than its type is called only in files that are read later than that. (The
/// calls found are `Type::method`; `self.method()`, in the file that defines the type; and `.method()`, where no other
/// function has that name.)
fn calls_upwards(file: &File, away: &[Away]) -> Vec<(usize, String)> {
    let types = file.types();
    let mut faults = Vec::new();
    for Away { of, method, at, is_unique } in away.iter().filter(|away| away.is_after(file)) {
        let path = format!("{of}::{method}");
        let call = format!("{}.{method}(", if *is_unique { "" } else { "self" });
        let may_be_it = *is_unique || types.contains(&&**of);
        for Line { number, code, .. } in &file.production {
            if words(code, &path).next().is_some() || may_be_it && code.contains(&call) {
                faults.push((*number, format!("`{path}` is defined in {at}, which is read later")));
            }
        }
    }
    faults
}

/// The kernel imports nothing of the crate from outside of itself.
fn imports_only_the_kernel(file: &File, _: &[Away]) -> Vec<(usize, String)> {
    let mut imports = file.imports();
    imports.retain(|(_, path)| path.first().map(String::as_str) != Some("kernel"));
    let fault = |path: Vec<String>| format!("`{}` is outside of the kernel", path.join("::"));
    imports.into_iter().map(|(line, path)| (line, fault(path))).collect()
}

fn says_what_it_is_for(file: &File, _: &[Away]) -> Vec<(usize, String)> {
    let says = file.lines.first().is_some_and(|line| line.comment.starts_with("//! "));
    let fault = || (1, "begin with a `//!` line that says what the file is for".into());
    (!says).then(fault).into_iter().collect()
}

fn is_short(file: &File, _: &[Away]) -> Vec<(usize, String)> {
    let end = file.production.iter().filter(|line| line.has_code()).nth(LONGEST_FILE);
    let fault =
        |line: &Line| (line.number, format!("{LONGEST_FILE} lines of code end here: split it"));
    end.map(fault).into_iter().collect()
}

/// One file names the library that switches stacks.
fn hides_corosensei(file: &File, _: &[Away]) -> Vec<(usize, String)> {
    let mut lines: Vec<&Line> =
        file.lines.iter().filter(|line| line.code.contains("corosensei")).collect();
    lines.retain(|_| file.name != "src/kernel/coroutine.rs");
    lines
        .iter()
        .map(|line| (line.number, "use the types of src/kernel/coroutine.rs".into()))
        .collect()
}

/// Each `unsafe` has a comment within the four lines of code above it. (Clippy requires one at each block; this, at
/// each impl and function too.)
fn justifies_unsafe(file: &File, _: &[Away]) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    let mut code_since = usize::MAX; // Lines of code since the last safety comment.
    for line in &file.lines {
        let Line { number, code, comment } = line;
        if comment.contains("SAFETY: ") || comment.contains("# Safety") {
            code_since = 0;
        }
        code_since = code_since.saturating_add(line.has_code().into());
        // `unsafe fn(..)` and `unsafe extern "C" fn(..)` are types.
        let head = |at: usize| code[at..].split('{').next().unwrap_or_default().split_once(" fn");
        let is_type = |at: usize| head(at).is_some_and(|(_, rest)| rest.starts_with('('));
        if code_since > 4 && words(code, "unsafe").any(|at| !is_type(at)) {
            faults.push((
                *number,
                "say above this why it is sound: `// SAFETY: ..`, or `# Safety`".into(),
            ));
        }
    }
    faults
}

/// Comments name their subject, which is no person.
fn names_its_subject(file: &File, _: &[Away]) -> Vec<(usize, String)> {
    let persons =
        ["whoever", "somebody", "nobody", "anybody", "everybody", "someone", "anyone", "told"];
    let fault = |line: &Line| {
        let comment = line.comment.to_lowercase();
        let person = persons.into_iter().find(|person| words(&comment, person).next().is_some())?;
        Some((line.number, format!("not `{person}`: name the task, the caller, the scheduler")))
    };
    file.lines.iter().filter_map(fault).collect()
}

// What the rules need to know of the source tree.

static ORDER: LazyLock<Vec<String>> = LazyLock::new(|| {
    let rows = READING_ORDER.lines().filter_map(|row| row.trim().split_once(':'));
    let files = |(folder, names): (&'static str, &'static str)| {
        names.split_whitespace().map(move |name| format!("{folder}{name}.rs"))
    };
    rows.flat_map(files).collect()
});

/// The Rust files of these folders.
static TREE: LazyLock<Vec<File>> = LazyLock::new(|| {
    let mut files = Vec::new();
    let mut paths =
        ["src", "examples", "tests", "benches"].map(|folder| root().join(folder)).to_vec();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a readable folder");
            paths.extend(entries.map(|entry| entry.expect("a readable folder").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            files.push(File::new(&name, &read(&name)));
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
});

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Where a file stands in the reading order.
fn place(file: &str) -> Option<usize> {
    ORDER.iter().position(|name| name == file)
}

/// Where the file stands that holds `path`, a path from the root of the crate.
fn file_of(path: &[String]) -> usize {
    let modules = (1..=path.len()).rev().map(|n| path[..n].join("/"));
    let mut files = modules.flat_map(|m| [format!("src/{m}.rs"), format!("src/{m}/mod.rs")]);
    files.find_map(|file| place(&file)).or(place("src/lib.rs")).expect("lib.rs is in the order")
}

/// A method that is defined in another file than its type.
struct Away {
    of: String,
    method: String,
    /// The file.
    at: String,
    /// No other function has its name.
    is_unique: bool,
}

impl Away {
    fn is_after(&self, file: &File) -> bool {
        place(&self.at) > place(&file.name) && !LATE_METHODS.contains(&(&self.of, &self.method))
    }
}

fn away(files: &[File]) -> Vec<Away> {
    let files: Vec<&File> = files.iter().filter(|file| place(&file.name).is_some()).collect();
    let functions: Vec<&str> = files.iter().flat_map(|file| file.names("fn")).collect();
    let types: Vec<_> = files.iter().map(|file| file.types()).collect();
    let mut away = Vec::new();
    for (file, own) in files.iter().zip(&types) {
        for (of, method) in file.methods() {
            if !own.contains(&of) && types.iter().flatten().any(|name| *name == of) {
                let is_unique = functions.iter().filter(|name| **name == method).count() == 1;
                let (of, method) = (of.to_owned(), method.to_owned());
                away.push(Away { of, method, at: file.name.clone(), is_unique });
            }
        }
    }
    away
}
