//! The replay page: what is in it. That it plays, `.ci/replay` finds out, in a browser.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::util::examples::{Folder, run_example};
use serde_json::Value;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::sync::{Mutex, channel};
use wouldblock::timeline::{self, Timeline};
use wouldblock::{Builder, Stats, future, generator, green, group::gather, stats, task};

const SECOND: Duration = Duration::from_secs(1);

/// Records a run on a virtual clock, with lines.
fn recorded<T>(root: impl FnOnce() -> T) -> Timeline {
    let timeline = Timeline::titled("a test").with_lines();
    Builder::new().virtual_clock().round_robin().observe(timeline.clone()).run(root);
    timeline
}

/// What the script of a page is given.
#[track_caller]
fn data(page: &str) -> Value {
    let (_, data) =
        page.split_once("<script type=\"application/json\" id=\"data\">").expect("data");
    let (data, _) = data.split_once("</script>").expect("its end");
    serde_json::from_str(data).expect("JSON")
}

/// The sentences of a run's steps: 0 for English, 1 for Chinese.
fn sentences(run: &Value, language: usize) -> Vec<&str> {
    let steps = run["steps"].as_array().expect("steps").iter();
    steps.map(|step| step["text"][language].as_str().expect("a sentence")).collect()
}

/// Who waits for what after a step.
fn waits(run: &Value, step: usize, language: usize) -> Vec<String> {
    let waits = |waiting: &Value| {
        let name = run["tasks"][waiting[0].as_u64()? as usize]["name"].as_str()?;
        let what = run["texts"][waiting[1].as_u64()? as usize][language].as_str()?;
        Some(format!("{name}: {what}"))
    };
    let waiting = run["steps"][step]["waiting"].as_array().expect("a list");
    waiting.iter().map(|waiting| waits(waiting).expect("a task and a text")).collect()
}

/// The source line that gave up the turn of each step.
fn lines(run: &Value) -> Vec<Option<&str>> {
    let line = |step: &Value| {
        let line = &run["lines"][step["line"].as_u64()? as usize];
        let at = line["line"].as_u64()? - line["first"].as_u64()?;
        Some(line["text"][at as usize].as_str()?.trim())
    };
    run["steps"].as_array().expect("steps").iter().map(line).collect()
}

#[test]
fn each_step_says_what_happened_in_both_languages() {
    let timeline = recorded(|| {
        let ann = task::Builder::new().name("ann").spawn(|| green::sleep(SECOND));
        let bob = task::Builder::new().name("bob").spawn(move || ann.join().unwrap());
        bob.join().unwrap();
    });
    let data = data(&timeline.html());
    let english = [
        "Turn 1: “root” spawns “ann” and “bob” and waits for “bob”.",
        "Turn 2: “ann” begins and sleeps, until 1 s.",
        "Turn 3: “bob” begins and waits for “ann”.",
        "Turn 4: “ann” wakes “bob” and returns: it is done.",
        "Turn 5: “bob” wakes “root” and returns: it is done.",
        "Turn 6: “root” returns: it is done.",
    ];
    assert_eq!(sentences(&data["runs"][0], 0), english);
    let chinese = sentences(&data["runs"][0], 1);
    assert_eq!(chinese[2], "第 3 轮次：“bob”开始，等待“ann”。");
    let fourth = &data["runs"][0]["steps"][3];
    assert_eq!(fourth["before"][0], "Before it, 1 s pass and the time has come for “ann”.");
    assert_eq!(fourth["queue"].to_string(), "[1]");
    assert_eq!(fourth["after"].to_string(), "[2]");
    let second = &data["runs"][0]["steps"][1];
    assert_eq!(second["sleepers"].to_string(), r#"[[1,"1 s","1 s"]]"#);
    assert_eq!(
        waits(&data["runs"][0], 1, 0),
        ["2 ann: sleeps, until 1 s", "1 root: waits for “bob”"]
    );
    assert_eq!(waits(&data["runs"][0], 1, 1), ["2 ann: 睡眠，至 1 s", "1 root: 等待“bob”"]);
}

#[test]
fn who_waits_says_who_holds_it() {
    let timeline = Timeline::new().with_lines();
    let ended =
        Builder::new().virtual_clock().round_robin().observe(timeline.clone()).try_run(|| {
            let forks = [(); 2].map(|()| Rc::new(Mutex::new(())));
            let eats = |name, [first, second]: [Rc<Mutex<()>>; 2]| {
                let eats = move || (first.lock(), green::yield_now(), second.lock()).1;
                task::Builder::new().name(name).spawn(eats)
            };
            let [left, right] = forks;
            let tasks = [eats("ann", [left.clone(), right.clone()]), eats("bob", [right, left])];
            green::wait(gather(tasks));
        });
    ended.unwrap_err();
    let is_line = |line: &str| line.contains(concat!("(first", ".lock(), "));
    let line = include_str!("replay.rs").lines().position(is_line).expect("a line") + 1;
    let data = data(&timeline.html());
    let expected = [
        "1 root: waits for “ann”".to_owned(),
        format!("2 ann: waits for a mutex (held by “bob”, replay.rs:{line})"),
        format!("3 bob: waits for a mutex (held by “ann”, replay.rs:{line})"),
    ];
    assert_eq!(waits(&data["runs"][0], 4, 0), expected);
    let expected = format!("2 ann: 等待互斥锁（持有者：“bob”，replay.rs:{line}）");
    assert_eq!(waits(&data["runs"][0], 4, 1)[1], expected);
    let before = &data["runs"][0]["steps"][5]["before"][0];
    assert_eq!(*before, "Before it, the run ends, which cancels “root”, “ann”, and “bob”.");
}

#[test]
fn in_each_era_the_line_is_the_one_of_the_program() {
    fn three(mut wait: impl FnMut()) {
        for _ in 0..3 {
            wait(); // not this line
        }
    }
    let timeline = recorded(|| {
        let tasks = [
            green::spawn(|| three(|| green::sleep(SECOND))),
            generator::spawn(|y| three(|| y.wait(wouldblock::time::sleeping(SECOND)))),
            future::spawn(async {
                let sleeps = wouldblock::time::sleeping(SECOND);
                sleeps.await;
            }),
            green::spawn(green_yields),
            generator::spawn(|y| y.yield_now()),
        ];
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
    let data = data(&timeline.html());
    let lines = lines(&data["runs"][0]);
    let expected = [
        "tasks.into_iter().for_each(|task| task.join().unwrap());",
        "green::spawn(|| three(|| green::sleep(SECOND))),",
        "generator::spawn(|y| three(|| y.wait(wouldblock::time::sleeping(SECOND)))),",
        "sleeps.await;",
        "green::yield_now(); // in a function of its own",
        "generator::spawn(|y| y.yield_now()),",
    ];
    assert_eq!(lines[..6], expected.map(Some), "{data:#}");
    let functions = data["runs"][0]["lines"].as_array().unwrap().iter();
    let functions: Vec<_> = functions.map(|line| line["function"].as_str().unwrap()).collect();
    assert!(functions.contains(&"replay::green_yields"), "{functions:?}");
}

#[test]
fn a_turn_that_ends_because_its_budget_is_used_up_has_a_line() {
    let timeline = recorded(|| {
        let (sender, _receiver) = channel::unbounded();
        (0..100).for_each(|n| sender.send(n).unwrap()); // never waits
    });
    let data = data(&timeline.html());
    assert_eq!(sentences(&data["runs"][0], 0)[0], "Turn 1: “root” lets the others run.");
    let line = lines(&data["runs"][0])[0].expect("a line");
    assert!(line.ends_with("// never waits"), "{line}");
}

fn green_yields() {
    green::yield_now(); // in a function of its own
}

#[test]
fn a_turn_says_what_it_read_and_met() {
    let timeline = Timeline::new().with_lines();
    let Stats { would_block, .. } = Builder::new().observe(timeline.clone()).run(|| {
        use std::io::{Read, Write};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = task::Builder::new().name("server").spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            stream.write_all(&[7; 512]).unwrap();
        });
        let client = task::Builder::new().name("b.png").spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap()
        });
        server.join().unwrap();
        assert_eq!(client.join().unwrap(), 512);
        stats()
    });
    let data = data(&timeline.html());
    let sentences = sentences(&data["runs"][0], 0);
    let has =
        |parts: &[&str]| sentences.iter().any(|one| parts.iter().all(|part| one.contains(part)));
    assert!(would_block > 0);
    assert!(
        has(&["“b.png”", "writes 5 bytes", "meets WouldBlock", "waits to read from descriptor "]),
        "{sentences:#?}"
    );
    assert!(has(&["“server”", "reads 5 bytes", "writes 512 bytes"]), "{sentences:#?}");
    assert!(has(&["“b.png”", "reads 512 bytes"]), "{sentences:#?}");
    let lines = lines(&data["runs"][0]);
    assert!(lines.contains(&Some("stream.read_to_end(&mut Vec::new()).unwrap()")), "{lines:#?}");
}

#[test]
fn the_page_stands_alone() {
    let timeline = Timeline::new(); // without lines, which these would be
    Builder::new().observe(timeline.clone()).run(|| green::spawn(green::yield_now).join().unwrap());
    let page = timeline.html();
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    for part in ["://", "src=", "href", "@import", "url(\"", "fetch(", "import("] {
        assert!(!page.contains(part), "{part} in the page");
    }
    assert!(page.contains("default-src 'none'"), "and the browser holds it to that");
    assert!(
        page.contains("<svg role=\"img\"") && !page.contains("<noscript"),
        "without script too"
    );
    let script = include_str!("../../src/inspect/timeline/replay.js");
    assert!(script.lines().count() <= 250, "{} lines of script", script.lines().count());
    // Each text of the page is there in both languages.
    let marks = |language: &str| page.matches(&format!("<span lang=\"{language}\">")).count();
    assert_eq!(marks("en"), marks("zh"));
}

#[test]
fn names_cannot_break_the_page() {
    let hostile = "</script><!--<script>{{data}}&\"\u{1}\u{1b}";
    let timeline = Timeline::titled(hostile);
    Builder::new().virtual_clock().observe(timeline.clone()).run(|| {
        green::wait(gather([task::Builder::new().name(hostile).spawn(|| ())]));
    });
    let page = timeline.html();
    assert_eq!(page.matches("<script").count(), 2, "the data and the script");
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("<!--"));
    let data = data(&page);
    assert!(sentences(&data["runs"][0], 0)[1].contains("</script>"), "{data:#}");
}

#[test]
fn a_longer_run_is_cut_and_the_page_says_so() {
    let timeline = recorded(|| (0..5_999).for_each(|_| green::yield_now()));
    let data = data(&timeline.html());
    let run = &data["runs"][0];
    assert_eq!(run["steps"].as_array().unwrap().len(), 5_000);
    assert_eq!(run["cut"][0], "The 1000 turns before these are not replayed here.");
    assert_eq!(run["steps"][0]["text"][0], "Turn 1001: “root” lets the others run.");
    assert_eq!(run["steps"][4_999]["text"][0], "Turn 6000: “root” returns: it is done.");
}

#[test]
fn of_many_tasks_the_lists_are_short() {
    let timeline = recorded(|| {
        let tasks: Vec<_> = (0..100).map(|_| green::spawn(green::yield_now)).collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
    let data = data(&timeline.html());
    let after = data["runs"][0]["steps"][0]["after"].as_array().unwrap();
    assert_eq!((after.len(), &after[20]), (21, &Value::from(-80)));
    assert!(sentences(&data["runs"][0], 0)[0].contains(", and 97 more"));
}

#[test]
fn a_page_can_be_made_of_nothing_and_without_lines() {
    let page = timeline::html(&[]);
    assert_eq!(data(&page)["runs"].to_string(), "[]");
    let page = timeline::html(&[Timeline::new()]);
    assert_eq!(data(&page)["runs"].to_string(), "[]");
    let plain = Timeline::new();
    Builder::new().virtual_clock().observe(plain.clone()).run(|| green::sleep(SECOND));
    let data = data(&plain.html());
    assert_eq!(sentences(&data["runs"][0], 0).len(), 2);
    assert_eq!(lines(&data["runs"][0]), [None, None]);
}

#[test]
fn the_front_pages_program_is_replayed() {
    let folder = Folder::new();
    let ran = run_example("two_tasks", &[], folder.path());
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let printed = "both are queued\nann 1\nbob 1\nann 2\nbob 2\nTo step through it, open two_tasks.html in a browser.\n";
    assert_eq!(ran.stdout, printed);
    let page = fs::read_to_string(folder.path().join("two_tasks.html")).expect("a page");
    assert!(!page.contains("://"), "no address in it");
    let data = data(&page);
    assert_eq!(sentences(&data["runs"][0], 0)[1], "Turn 2: “ann” begins and lets the others run.");
    let lines = lines(&data["runs"][0]);
    assert_eq!(lines[..7], [Some("green::yield_now();"); 7]);
    assert_eq!(lines[7..], [None; 3], "these end their tasks");

    // It is the front page's program, but for the names of the tasks.
    let text =
        |file: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let (front, example) = (text("src/lib.rs"), text("examples/two_tasks.rs"));
    let (_, front) = front.split_once("//! wouldblock::run(|| {\n").expect("a program");
    let (front, _) = front.split_once("//! });\n").expect("its end");
    let front = front
        .replace("//! ", "")
        .replace("green::spawn(move ||", "task::Builder::new().name(name).spawn(move ||");
    assert!(example.contains(&front), "{front}");
}

#[test]
#[cfg(feature = "rustls")]
fn the_downloader_is_replayed() {
    let folder = Folder::new();
    let arguments =
        ["--html", "replay.html", "--latency", "1", "--bandwidth", "10000000", "--quiet"];
    let ran = run_example("coop_download", &arguments, folder.path());
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let page = fs::read_to_string(folder.path().join("replay.html")).expect("a page");
    assert!(!page.contains(" src=") && !page.contains("href="), "nothing is fetched");
    let data = data(&page);
    let files = ["generator.rs", "green.rs", "future.rs"];
    for (run, file) in data["runs"].as_array().unwrap().iter().zip(files) {
        let found = run["lines"].as_array().unwrap().iter();
        let found: Vec<_> = found.map(|line| line["file"].as_str().unwrap()).collect();
        assert!(found.iter().any(|found| found.ends_with(file)), "no {file} in {found:?}");
        assert!(sentences(run, 0).iter().any(|one| one.contains("meets WouldBlock")));
    }
    assert_eq!(data["runs"].as_array().unwrap().len(), 3);
}

#[test]
fn the_smallest_stack_has_room_for_a_look_at_it() {
    let used = |timeline: Timeline| {
        Builder::new().virtual_clock().observe(timeline).run(|| {
            let small = task::Builder::new().stack_size(32 << 10).spawn(|| {
                green::yield_now();
                task::current().and_then(|task| task.stack_used()).expect("a stack")
            });
            small.join().unwrap()
        })
    };
    let (plain, with_lines) = (used(Timeline::new()), used(Timeline::new().with_lines()));
    assert!(with_lines <= 16 << 10, "{plain} bytes, and {with_lines} with lines");
}
