//! Timelines: what they say each task did, and their pictures: in a terminal, as SVG, as a trace. And the test
//! kit that draws or counts turns: `explore`, `assert_turns`.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::future::poll_fn;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::util::{
    self, ERAS, HOUR, Log, MS, SECOND, assert_contains, half_pair, in_child_with, panic_text, send,
    spawn_running, spawn_waiting,
};
use serde_json::Value;
use tokio::sync::oneshot;
use wouldblock::observe::{Actor, Outcome};
use wouldblock::sync::Mutex;
use wouldblock::time::sleeping;
use wouldblock::timeline::{self, Row, State, Timeline};
use wouldblock::{
    Builder, future, generator, green,
    group::gather,
    offload, task,
    testing::{assert_turns, assert_turns_async, explore},
};

/// Records a run on a virtual clock.
#[track_caller]
fn recorded<T>(root: impl FnOnce() -> T) -> Timeline {
    let timeline = Timeline::new();
    record(&timeline, root);
    timeline
}

#[track_caller]
fn record<T>(timeline: &Timeline, root: impl FnOnce() -> T) {
    Builder::new().virtual_clock().round_robin().observe(timeline.clone()).run(root);
}

/// Every state that there is, every end, and wakes by everybody.
fn of_everything() {
    let (stream, theirs) = half_pair();
    let reads = ERAS.map(|era| {
        let stream = stream.try_clone().unwrap();
        spawn_waiting(era, async move { stream.readable().await }, ())
    });
    let sleeps = ERAS.map(|era| spawn_waiting(era, sleeping(SECOND), ()));
    let spins = ERAS.map(|era| spawn_running(era, || (0..3).for_each(|_| green::yield_now())));
    let dies = task::Builder::new().name("dies").spawn(|| -> () { panic!("on purpose") });
    let stuck = task::Builder::new().name("stuck").spawn(|| green::sleep(HOUR));
    drop(task::Builder::new().name("left").spawn(|| green::sleep(HOUR)));
    let mut woken = false;
    let itself = future::spawn(poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }
    }));
    let scope = green::spawn(|| green::scope(|s| drop(s.spawn(|| green::sleep(MS)))));
    let (sender, receiver) = oneshot::channel();
    let receives = future::spawn(receiver);
    let (begin, begun) = std::sync::mpsc::channel();
    let blocks = green::spawn(|| green::wait(offload(move || begun.recv())));
    green::yield_now();
    send(&theirs, b"x");
    sender.send(()).unwrap();
    begin.send(()).unwrap();
    green::wait(gather(reads)).into_iter().for_each(|read| read.unwrap().unwrap());
    green::wait(gather(sleeps.into_iter().chain(spins))).into_iter().for_each(Result::unwrap);
    assert!(dies.join().unwrap_err().is_panic());
    stuck.cancel();
    assert!(stuck.join().unwrap_err().is_cancelled());
    scope.join().unwrap();
    itself.join().unwrap();
    receives.join().unwrap().unwrap();
    blocks.join().unwrap().unwrap();
}

/// A part of it that is the same each time: without sockets and other threads.
fn of_what_repeats() {
    let sleeps = ERAS.map(|era| spawn_waiting(era, sleeping(SECOND), ()));
    let spins = ERAS.map(|era| spawn_running(era, || (0..3).for_each(|_| green::yield_now())));
    let stuck = task::Builder::new().name("stuck").spawn(|| green::sleep(HOUR));
    let (sender, receiver) = oneshot::channel();
    let receives = future::spawn(receiver);
    green::wait(gather(sleeps));
    stuck.cancel();
    sender.send(()).unwrap();
    receives.join().unwrap().unwrap();
    green::wait(gather(spins));
}

/// As lines: `running 0-2 (1s)`, from which step to which, and the time at its end.
fn spans(row: &Row) -> Vec<String> {
    let span = |span: &timeline::Span| {
        format!("{} {}-{} ({:?})", span.state, span.from.step, span.to.step, span.to.time)
    };
    row.spans.iter().map(span).collect()
}

// What ran when.

#[test]
fn the_spans_of_a_task_are_what_it_did() {
    for era in ERAS {
        let rows = recorded(|| spawn_waiting(era, sleeping(SECOND), ()).join().unwrap()).rows();
        let root = [
            "ready 0-0 (0ns)",
            "running 0-2 (0ns)",
            "waits for task 2 2-8 (1s)",
            "ready 8-8 (1s)",
            "running 8-10 (1s)",
        ];
        assert_eq!(spans(&rows[0]), root);
        let sleeper = [
            "ready 1-2 (0ns)",
            "running 2-4 (0ns)",
            "sleeps, until 1.0s 4-6 (1s)",
            "ready 6-6 (1s)",
            "running 6-8 (1s)",
        ];
        assert_eq!(spans(&rows[1]), sleeper);
        assert_eq!((rows[1].task, rows[1].era, rows[1].parent), (2, era, Some(1)));
        assert!(rows[1].site.file().ends_with("timeline.rs"), "{}", rows[1].site);
        assert_eq!((rows[1].turns().count(), rows[1].outcome), (2, Some(Outcome::Returned)));
        assert_eq!(rows[1].spans[2].woken, Some(Actor::Time));
        assert_eq!(rows[0].spans[2].woken, Some(Actor::Task(2)));
    }
}

#[test]
fn cancellation_and_panic_are_in_the_rows() {
    let rows = recorded(of_everything).rows();
    let named = |name: &str| rows.iter().find(|row| row.name.as_deref() == Some(name)).unwrap();
    assert_eq!(named("dies").outcome, Some(Outcome::Panicked));
    let stuck = named("stuck");
    assert_eq!(stuck.outcome, Some(Outcome::Cancelled));
    let (at, by) = stuck.cancelled.unwrap();
    assert_eq!((at.time, by), (SECOND, Actor::Task(1)));
    assert_eq!(named("left").outcome, Some(Outcome::Cancelled));
    assert_eq!(named("left").cancelled.unwrap().1, Actor::End);
}

#[test]
fn a_turn_says_who_has_woken_its_task_in_it() {
    let rows = recorded(|| {
        let mut woken = false;
        let itself = poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }
        });
        future::spawn(itself).join().unwrap();
    });
    let rows = rows.rows();
    assert_eq!(
        spans(&rows[1]),
        ["ready 1-2 (0ns)", "running 2-4 (0ns)", "ready 4-4 (0ns)", "running 4-6 (0ns)"]
    );
    let woken: Vec<_> = rows[1].spans.iter().map(|span| span.woken).collect();
    assert_eq!(
        woken,
        [None, Some(Actor::Task(2)), None, None],
        "a wake in the last turn is for nothing"
    );
}

#[test]
fn on_the_machines_clock_turns_take_time_and_never_overlap() {
    let timeline = Timeline::new();
    Builder::new().observe(timeline.clone()).run(|| {
        let task = |n: usize| {
            spawn_running(ERAS[n % 3], || {
                for _ in 0..5 {
                    green::yield_now();
                    green::sleep(MS);
                }
            })
        };
        green::wait(gather((0..9).map(task)));
    });
    let rows = timeline.rows();
    for row in &rows {
        assert!(row.spans.windows(2).all(|two| two[0].to == two[1].from), "{row:?}");
        assert!(row.spans.iter().all(|span| span.from <= span.to), "{row:?}");
        assert!(row.running() > Duration::ZERO);
    }
    let mut turns: Vec<_> = rows.iter().flat_map(Row::turns).collect();
    turns.sort_by_key(|turn| turn.from);
    assert!(turns.windows(2).all(|two| two[0].to <= two[1].from));
    let picture = timeline.to_string();
    assert_contains(&picture, &["10 tasks", "the thread busy for", "|0 "]);
    assert!(!picture.contains("irtual"), "{picture}");
}

#[test]
fn a_second_run_begins_anew() {
    let timeline = Timeline::titled("again");
    record(&timeline, || (0..3).for_each(|_| drop(green::spawn(|| ()))));
    assert_eq!(timeline.rows().len(), 4);
    record(&timeline, || green::sleep(HOUR));
    assert_eq!(timeline.rows().len(), 1);
    assert!(timeline.to_string().starts_with("again: 1 task, 2 turns in 3600 s of virtual time\n"));
}

#[test]
fn a_timeline_can_be_read_in_the_middle_of_a_run() {
    let timeline = Timeline::new();
    let inner = timeline.clone();
    record(&timeline, move || {
        let sleeps = green::spawn(|| green::sleep(SECOND));
        green::yield_now();
        let rows = inner.rows();
        assert_eq!(rows[0].spans.last().unwrap().state, State::Running);
        assert_contains(&inner.to_string(), &["2 tasks", "· waits for time"]);
        sleeps.join().unwrap();
    });
}

#[test]
fn what_is_kept_is_the_end_of_the_whole() {
    let full = recorded(of_what_repeats).rows();
    for kept in [1, 2, 7, 20, 40] {
        let timeline = Timeline::new().keep(kept);
        record(&timeline, of_what_repeats);
        assert!(timeline.forgotten() > 0);
        let text = timeline.to_string();
        let rows = timeline.rows();
        assert_contains(
            &text,
            &[&format!("(the {} events before that are forgotten)", timeline.forgotten())],
        );
        let end = |rows: &[Row]| rows.iter().map(|row| row.spans.last().map(|span| span.to)).max();
        assert_eq!(end(&rows), end(&full));
        for row in &rows {
            let whole = full.iter().find(|whole| whole.task == row.task).unwrap();
            assert!(whole.spans.ends_with(&row.spans), "{:?}\n{:?}", spans(row), spans(whole));
            assert_eq!((&row.name, row.outcome), (&whole.name, whole.outcome));
        }
    }
}

#[test]
fn tasks_that_are_forgotten_take_no_room() {
    let timeline = Timeline::new().keep(100);
    record(&timeline, || {
        for _ in 0..1_000 {
            green::spawn(|| ()).join().unwrap();
        }
    });
    assert!(timeline.rows().len() < 50, "{}", timeline.rows().len());
}

// The terminal.

fn ann_and_bob() -> Timeline {
    recorded(|| {
        let ann = task::Builder::new().name("ann").spawn(|| {
            green::yield_now();
            green::sleep(SECOND);
        });
        let bob = task::Builder::new().name("bob").spawn(move || ann.join());
        bob.join().unwrap().unwrap();
    })
}

#[test]
fn the_documented_picture_is_the_one_that_is_drawn() {
    assert_eq!(
        ann_and_bob().to_string(),
        include_str!("../../src/inspect/timeline/ann_and_bob.txt")
    );
}

/// Rows: what is drawn for the task of this number.
#[track_caller]
fn drawn(picture: &str, task: u64) -> String {
    let prefix = format!("{task:>2} ");
    let line = picture.lines().find(|line| line.starts_with(&prefix)).expect("a row");
    line.chars().skip(29).collect()
}

#[test]
fn each_state_and_each_end_has_a_sign_of_its_own() {
    let timeline = recorded(of_everything);
    let text = timeline.terminal(200).to_string();
    let signs = [
        "█ running",
        "▒ ready, waits for its turn",
        "─ waits for I/O",
        "· waits for time",
        "~ waits for another task",
        "= waits for a lock, a queue, a thread…",
        "? waits to be woken",
        "✗ panicked",
        "× cancelled",
    ];
    assert_contains(&text, &signs);
    let rows = timeline.rows();
    let row = |name: &str| rows.iter().find(|row| row.name.as_deref() == Some(name)).unwrap().task;
    assert!(drawn(&text, row("dies")).ends_with('✗'), "{text}");
    assert!(drawn(&text, row("stuck")).ends_with('×'), "{text}");
    assert!(!drawn(&text, 1).contains(['✗', '×']), "{text}");
}

#[test]
fn the_legend_names_only_what_is_drawn() {
    let text = recorded(green::yield_now).to_string();
    assert!(text.ends_with("\n█ running\n"), "{text}");
}

#[test]
fn each_turn_of_virtual_time_is_as_wide_as_any_other() {
    for turns in 1..30 {
        let text = recorded(|| (1..turns).for_each(|_| green::yield_now())).to_string();
        let signs = drawn(&text, 1);
        assert!(signs.chars().all(|sign| sign == '█'), "{text}");
        assert_eq!(signs.chars().count() % turns, 0, "{text}");
    }
}

/// One deadlock of three, by names in this order: root, ann, bob.
fn deadlocked() -> Timeline {
    let timeline = Timeline::new();
    let ended =
        Builder::new().virtual_clock().round_robin().observe(timeline.clone()).try_run(|| {
            let forks = [(); 2].map(|()| Rc::new(Mutex::new(())));
            let eats = |name, first: usize| {
                let (first, second) = (forks[first].clone(), forks[1 - first].clone());
                task::Builder::new().name(name).spawn(move || {
                    let _first = first.lock();
                    green::yield_now();
                    drop(second.lock());
                })
            };
            green::wait(gather([eats("ann", 0), eats("bob", 1)]));
        });
    ended.unwrap_err();
    timeline
}

#[test]
fn where_a_run_ends_it_is_seen_who_waits_for_what() {
    let timeline = deadlocked();
    let text = timeline.to_string();
    let axis = text.lines().nth(1).unwrap();
    let end = axis.find("|end").expect("a mark") - 29;
    let before = [1, 2, 3].map(|task| drawn(&text, task).chars().nth(end - 1));
    assert_eq!(before, [Some('~'), Some('='), Some('=')], "{text}");
    assert_contains(&text, &["At the mark \"end\", the run ends, and what is left is cancelled."]);
    let ending = timeline.terminal(80).ending().to_string();
    assert!(drawn(&ending, 3).ends_with('='), "the end is where it is in a deadlock:\n{ending}");

    let long = recorded(|| {
        drop(green::spawn(|| green::sleep(HOUR)));
        (0..1000).for_each(|_| green::yield_now());
    });
    let text = long.to_string();
    let axis = text.lines().nth(1).unwrap();
    assert!(axis.ends_with("end|") && axis.chars().count() == 80, "{text}");

    let text = ann_and_bob().to_string();
    assert!(!text.contains("end"), "nothing is left at the end of\n{text}");
}

/// Without what colours it.
fn plain(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').expect("a colour").1)
}

#[test]
fn colours_change_nothing_else() {
    let timeline = recorded(of_everything);
    let coloured = timeline.terminal(80).colour(true).to_string();
    let without = timeline.terminal(80).to_string();
    assert!(coloured.contains("\x1b[34m─"), "{coloured:?}");
    assert!(!without.contains('\x1b'), "{without:?}");
    assert_eq!(plain(&coloured), without);
    for line in coloured.lines().filter(|line| line.contains('\x1b')) {
        assert!(line.rfind("\x1b[0m") == line.rfind('\x1b'), "a colour runs over: {line:?}");
    }
}

#[test]
fn it_fits_into_the_columns() {
    let timeline = recorded(|| {
        let name = |n: u64| {
            if n.is_multiple_of(2) {
                format!("the long name of task {n}")
            } else {
                "会議の準備をする".into()
            }
        };
        let tasks = (0..300).map(|n| {
            let body = move || {
                green::sleep(n as u32 % 7 * MS);
                assert!(n % 50 != 0, "on purpose");
            };
            task::Builder::new().name(name(n)).spawn(body)
        });
        green::wait(gather(tasks));
    });
    for columns in [60, 80, 132] {
        for line in timeline.terminal(columns).to_string().lines() {
            let wide = line.chars().filter(|c| ('\u{2e80}'..='\u{ffff}').contains(c)).count();
            let width = line.chars().count() + wide;
            assert!(width <= columns.max(82), "{width} columns: {line}");
        }
    }
    let text = timeline.to_string();
    assert_contains(&text, &["the lon…task 2", "会議の…をする", "301 tasks"]);
}

#[test]
fn of_many_tasks_the_busiest_have_rows_and_the_others_share_one() {
    let timeline = recorded(|| {
        let task = |n: u32| green::spawn(move || (0..n).for_each(|_| green::yield_now()));
        green::wait(gather((0..300).map(task)));
    });
    let text = timeline.terminal(80).rows(3).to_string();
    let rows =
        text.lines().skip(3).map_while(|line| line.trim_start().split(' ').next()?.parse().ok());
    assert_eq!(rows.collect::<Vec<u64>>(), [1, 300, 301], "{text}");
    assert_contains(
        &text,
        &["and 298 tasks more, together", "the thread longest have rows of their own"],
    );
    assert!(timeline.to_string().lines().count() < 50);
}

#[test]
fn names_cannot_break_the_picture() {
    let hostile = "a\nb\t\x1b[31m<&\">\u{7}";
    let timeline = recorded(|| drop(task::Builder::new().name(hostile).spawn(|| ())));
    let text = timeline.to_string();
    assert!(!text.contains(['\x1b', '\t', '\u{7}']), "{text:?}");
    assert!(drawn(&text, 2).contains('×'), "{text}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let body = || {
        let (mut terminal, mut other) = (0, 0);
        // SAFETY: it writes two descriptors, which are nobody else's, and reads nothing.
        let opened = unsafe {
            let none = std::ptr::null_mut();
            libc::openpty(&raw mut terminal, &raw mut other, none, none.cast(), none.cast())
        };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: both have just been opened.
        let (terminal, _other) =
            unsafe { (File::from_raw_fd(terminal), OwnedFd::from_raw_fd(other)) };
        let (_reader, pipe) = std::io::pipe().unwrap();
        let pipe = File::from(OwnedFd::from(pipe));
        for (name, file) in [("terminal", &terminal), ("pipe", &pipe)] {
            let picture = recorded(green::yield_now).terminal(80).colour_on(file).to_string();
            eprintln!("{name}: {}", if picture.contains('\x1b') { "coloured" } else { "plain" });
        }
    };
    for (no_colour, expected) in [("", "coloured"), ("1", "plain")] {
        let ended = in_child_with(&[("NO_COLOR", Some(no_colour))], body);
        ended.assert_fine();
        ended.assert_says(&[&format!("terminal: {expected}")]);
        ended.assert_says(&["pipe: plain"]);
    }
}

// The SVG.

/// The text of an SVG, checked: its tags are nested, its attributes quoted, its text escaped. Gives the
/// text of each element of this name.
#[track_caller]
fn elements(svg: &str, wanted: &str) -> Vec<String> {
    let mut open: Vec<(String, String)> = Vec::new();
    let mut found = Vec::new();
    let mut rest = svg;
    while let Some((text, tag)) = rest.split_once('<') {
        for entity in text.split('&').skip(1) {
            let known =
                ["lt;", "gt;", "amp;", "quot;"].iter().any(|known| entity.starts_with(known));
            assert!(known, "an ampersand in {text:?}");
        }
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        if let Some((_, inside)) = open.last_mut() {
            inside.push_str(text);
        }
        let (tag, after) = tag.split_once('>').expect("a tag ends");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        match (tag.strip_prefix('/'), tag.strip_suffix('/')) {
            (Some(name), _) => {
                let (opened, inside) = open.pop().expect("something is open");
                assert_eq!(opened, name);
                if name == wanted {
                    found.push(inside);
                }
            }
            (_, Some(_)) => {}
            _ => open.push((tag.split([' ', '\n']).next().unwrap().to_owned(), String::new())),
        }
        rest = after;
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?}");
    found
}

#[test]
fn an_svg_says_everything_by_itself() {
    let timeline = recorded(of_everything);
    let svg = timeline.svg();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    assert!(!svg.contains("href") && !svg.contains("@import"), "it stands alone");
    let texts = elements(&svg, "text");
    let has = |text: &str| texts.iter().any(|t| t.contains(text));
    for text in [
        "running",
        "waits for I/O",
        "waits for a lock, a queue, a thread…",
        "panicked or cancelled",
        "the thread",
        "the end of the run",
    ] {
        assert!(has(text), "no {text:?} in {texts:?}");
    }
    for row in timeline.rows() {
        assert!(has(&format!("{} ", row.task)), "no row for task {}", row.task);
    }
    let titles = elements(&svg, "title");
    let has = |text: &str| titles.iter().any(|t| t.contains(text));
    for text in [
        "waits to read from descriptor ",
        "waits for work on another thread",
        "sleeps, until 3600.0s, 0 s to 1 s, woken by task 1",
        "\"dies\"",
        "panicked",
        "cancelled by task 1",
        "cancelled by the end of the run",
        "the run ends, and what is left is cancelled",
        "(generator, spawned at ",
    ] {
        assert!(has(&text.replace('"', "")), "no {text:?} in {titles:#?}");
    }
}

#[test]
fn a_name_cannot_break_an_svg() {
    let hostile = "</title><script>&amp;\"\u{0}\u{1b}";
    let timeline = Timeline::titled(hostile);
    record(&timeline, || {
        let name = hostile.replace('\0', "\u{1}"); // a task's name has no NUL
        green::wait(gather([task::Builder::new().name(name).spawn(|| ())]));
    });
    let svg = timeline.svg();
    assert!(!svg.contains("<script"));
    assert_contains(&elements(&svg, "text").join("\n"), &["&lt;/title&gt;&lt;sc"]);
}

#[test]
fn an_svg_of_a_thousand_tasks_is_no_larger_than_promised() {
    let timeline = recorded(|| {
        let task = |n: u32| {
            future::spawn(async move {
                for i in 0..30 {
                    sleeping((n + i) % 11 * MS).await;
                }
            })
        };
        green::wait(gather((0..1_000).map(task)));
    });
    let svg = timeline.svg();
    assert!(svg.len() < 3 << 20, "{} bytes", svg.len());
    assert!(elements(&svg, "text").len() < 300, "labels do not lie on one another");
}

#[test]
fn timelines_stand_under_one_another_in_one_svg() {
    let timelines = ["first", "second", "third"].map(|title| {
        let timeline = Timeline::titled(title);
        record(&timeline, ann_and_bob_again);
        timeline
    });
    let svg = timeline::svg(&timelines);
    let texts = elements(&svg, "text");
    let heads: Vec<_> = texts.iter().filter(|text| text.contains(": 2 tasks")).collect();
    assert_eq!(heads.len(), 3, "{texts:?}");
    assert!(heads[0].starts_with("first") && heads[2].starts_with("third"));
}

fn ann_and_bob_again() {
    green::spawn(green::yield_now).join().unwrap();
}

// The trace.

/// A slice, as Perfetto has it on the stack of its thread.
#[derive(Clone, Debug)]
struct Slice {
    kind: String,
    from: u64,
    to: u64,
}

/// Checks a trace against the rules of its format, and puts it together as Perfetto does: by time, and at the same
/// time in the order of the file. An arrow is tied to the slice that has begun last on its thread. Gives the
/// events.
#[track_caller]
fn events(trace: &str) -> Vec<Value> {
    let json: Value = serde_json::from_str(trace).expect("JSON");
    let events = json["traceEvents"].as_array().expect("an array of events").clone();
    let thread = |event: &Value| (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
    let (in_time, metadata): (Vec<_>, Vec<_>) = events.iter().partition(|event| event["ph"] != "M");

    let mut named = HashSet::new();
    for event in metadata {
        let (what, args) = (event["name"].as_str().unwrap(), &event["args"]);
        let is_name = ["process_name", "thread_name"].contains(&what) && args["name"].is_string();
        let is_place = what.ends_with("_sort_index") && args["sort_index"].is_u64();
        assert!(is_name || is_place, "{event}");
        assert!(named.insert((thread(event), what)), "{event} is there twice");
    }
    for process in events.chunk_by(|one, next| one["pid"] == next["pid"]) {
        let begins = process.iter().position(|event| event["ph"] != "M").unwrap();
        assert!(process[begins..].iter().all(|event| event["ph"] != "M"), "the names come first");
    }

    let mut sorted: Vec<_> = in_time.iter().map(|event| (nanos(event, "ts"), *event)).collect();
    sorted.sort_by_key(|(at, _)| *at); // It keeps the order of those at the same time.
    let mut stacks: HashMap<_, Vec<Slice>> = HashMap::new();
    let mut begun = HashMap::new();
    let mut ended = HashSet::new();
    for (at, event) in sorted {
        let (process, number) = thread(event);
        assert!(number > 0, "to Perfetto, 0 is no number of a thread: {event}");
        for what in ["process_name", "process_sort_index"] {
            assert!(named.contains(&((process, process), what)), "{event} is of no process");
        }
        for what in ["thread_name", "thread_sort_index"] {
            assert!(named.contains(&((process, number), what)), "{event} is of no thread");
        }
        assert!(event["name"].as_str().is_some_and(|name| !name.is_empty()), "{event}");
        let stack = stacks.entry((process, number)).or_default();
        match event["ph"].as_str().expect("a phase") {
            phase @ ("X" | "i") => {
                let (kind, length) = match phase {
                    "X" => (event["cat"].as_str().unwrap(), nanos(event, "dur")),
                    _ => (event["s"].as_str().filter(|scope| *scope == "t").unwrap(), 0),
                };
                stack.retain(|slice| slice.to > at);
                assert!(phase == "i" || stack.is_empty(), "{event} lies in or over {stack:?}");
                stack.push(Slice { kind: kind.to_owned(), from: at, to: at + length });
            }
            "s" => {
                let slice = stack.last().unwrap_or_else(|| panic!("{event} begins in no slice"));
                assert!(slice.kind == "running" && at < slice.to, "{event} begins in {slice:?}");
                let is_new = begun.insert(event["id"].as_u64().unwrap(), (event, slice.clone()));
                assert!(is_new.is_none(), "{event} is there twice");
            }
            "f" => {
                assert_eq!(event["bp"], "e", "it ends in the slice that it points at");
                let slice = stack.last().unwrap_or_else(|| panic!("{event} ends in no slice"));
                assert!(slice.from == at, "{event} points into the midst of {slice:?}");
                assert!(["ready", "running"].contains(&&*slice.kind), "{event} ends in {slice:?}");
                let (start, waker) = &begun[&event["id"].as_u64().unwrap()];
                assert_eq!((&start["name"], &start["cat"]), (&event["name"], &event["cat"]));
                assert_eq!(start["pid"], event["pid"]);
                assert!(waker.from <= slice.from, "{event} would be turned round");
                assert!(ended.insert(event["id"].as_u64()), "{event} is there twice");
            }
            other => panic!("{other:?} is not a phase that we write"),
        }
    }
    assert_eq!(begun.len(), ended.len());
    events
}

/// A time, as Perfetto reads it: in microseconds, rounded to a nanosecond.
#[track_caller]
fn nanos(event: &Value, key: &str) -> u64 {
    let time = event[key].as_f64().expect("a double");
    assert!(time >= 0.0, "{event}");
    (time * 1e3).round() as u64
}

#[test]
fn a_trace_keeps_the_rules_of_its_format() {
    let on_virtual = recorded(of_everything);
    let on_real = Timeline::titled("real");
    Builder::new().observe(on_real.clone()).run(of_everything);
    for timeline in [&on_virtual, &on_real] {
        let events = events(&timeline.trace_json());
        let arrows = events.iter().filter(|event| event["ph"] == "s").count();
        let wakes = timeline.rows().into_iter().flat_map(|row| row.spans);
        let wakes = wakes.filter(|span| matches!(span.woken, Some(Actor::Task(_)))).count();
        assert_eq!(arrows, wakes);
        assert!(arrows > 3, "{arrows}");
        let ends = |phase| events.iter().filter(move |event| event["ph"] == phase);
        let to_itself = |(start, end): &(&Value, &Value)| start["tid"] == end["tid"];
        assert_eq!(ends("s").zip(ends("f")).filter(to_itself).count(), 1);
        for by in ["task 1", "the end of the run"] {
            let is = |event: &&Value| event["name"] == "cancelled" && event["args"]["by"] == by;
            assert!(events.iter().any(|event| is(&event)), "nothing is cancelled by {by}");
        }
        for phase in ["cancelled", "panicked", "was cancelled", "returned", "spawned"] {
            let is = |event: &&Value| event["ph"] == "i" && event["name"] == phase;
            assert!(events.iter().any(|event| is(&event)), "no {phase:?}");
        }
    }
    let both = events(&timeline::trace_json(&[on_virtual, on_real]));
    let processes: HashSet<_> = both.iter().map(|event| event["pid"].as_u64().unwrap()).collect();
    assert_eq!(processes.len(), 2);
}

#[test]
fn on_a_virtual_clock_the_turns_of_a_trace_follow_one_another() {
    let events = events(&ann_and_bob().trace_json());
    let turns = events.iter().filter(|event| event["tid"] == event["pid"] && event["ph"] == "X");
    let turns: Vec<_> =
        turns.map(|turn| (turn["name"].as_str().unwrap(), turn["dur"].as_f64())).collect();
    let names: Vec<_> = turns.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    assert!(turns.iter().all(|(_, duration)| *duration == Some(1.0)), "{turns:?}");
}

#[test]
fn a_name_cannot_break_a_trace() {
    let hostile = "a\"b\\c\nd\u{1}e";
    let timeline = recorded(|| drop(task::Builder::new().name(hostile).spawn(|| ())));
    let events = events(&timeline.trace_json());
    let name = |event: &Value| event["args"]["name"].as_str().map(str::to_owned);
    let names: Vec<_> =
        events.iter().filter(|event| event["name"] == "thread_name").filter_map(name).collect();
    assert_eq!(names, ["the thread", "1 root", "2 a\"b\\c\u{fffd}d\u{fffd}e"]);
}

// The test kit.

#[test]
fn explore_draws_the_seed_that_fails() {
    let ended = in_child_with(&[("WOULDBLOCK_SEED", None)], || {
        let order = Log::new();
        explore(100, move || {
            order.take();
            let tasks = ["ann", "bob"].map(|name| {
                let order = order.clone();
                task::Builder::new().name(name).spawn(move || order.push(name))
            });
            drop(green::spawn(|| green::sleep(HOUR)));
            green::wait(gather(tasks));
            assert_eq!(order.take(), ["ann", "bob"], "bob came first");
        });
        unreachable!("in some order, bob comes first");
    });
    let said = &ended.stderr;
    assert_contains(said, &["bob came first", "it fails with seed ", "WOULDBLOCK_SEED="]);
    let (_, picture) = said.split_once("The last turns of that run:\n").expect(said);
    let (picture, _) = picture.split_once("✗ panicked").expect("a legend");
    let (ann, bob) = (drawn(picture, 2), drawn(picture, 3));
    assert!(bob.find('█') < ann.find('█'), "bob came first in\n{picture}");
    assert!(drawn(picture, 1).ends_with('✗'), "{picture}");
    assert!(
        !drawn(picture, 4).contains('×'),
        "what comes after the end of the root is not drawn:\n{picture}"
    );
}

#[test]
fn explore_draws_the_end_of_a_long_run_and_of_a_deadlock() {
    let explored = std::panic::catch_unwind(|| {
        explore(1, || {
            (0..1000).for_each(|_| green::yield_now());
            green::wait(std::future::pending::<()>());
        });
    });
    explored.expect_err("a deadlock");
    let timeline = recorded(|| {
        (0..1000).for_each(|_| green::yield_now());
        let sleeps = green::spawn(|| green::sleep(HOUR));
        sleeps.join().unwrap();
    });
    let ending = timeline.terminal(80).ending().to_string();
    let turns = drawn(&ending, 1).chars().filter(|sign| *sign == '█').count();
    assert!((40..51).contains(&turns), "a sign for each of the last turns in\n{ending}");
    assert_eq!(drawn(&ending, 2).trim_start(), "▒█·█", "{ending}");
}

#[test]
fn turns_given_up_are_counted_in_each_era() {
    util::run(|| {
        assert_turns(0, || ());
        assert_eq!(assert_turns(1, || green::wait(future::spawn(async { 7 }))).unwrap(), 7);
        let generator = generator::spawn(|y| {
            assert_turns(0, || ());
            assert_turns(2, || {
                y.yield_now();
                y.wait(sleeping(SECOND));
            });
        });
        let future = future::spawn(async {
            assert_turns_async(0, async {}).await;
            assert_turns_async(2, async {
                future::yield_now().await;
                sleeping(SECOND).await;
            })
            .await;
        });
        generator.join().unwrap();
        future.join().unwrap();
    });
}

#[test]
fn another_number_of_turns_is_a_failure_that_says_where() {
    let here = file!();
    util::run(|| {
        let text = panic_text(|| assert_turns(1, || ()));
        assert_contains(&text, &[here, ": 0 turns were given up, and 1 were expected"]);
        let text = panic_text(|| assert_turns(0, green::yield_now));
        assert_contains(&text, &[": 1 turns were given up, and 0 were expected"]);
        let fails = future::spawn(async { assert_turns_async(3, future::yield_now()).await });
        let text = util::text(&*fails.join().unwrap_err().into_panic().unwrap());
        assert_contains(&text, &[here, ": 1 turns were given up, and 3 were expected"]);
    });
    assert_contains(&panic_text(|| assert_turns(0, || ())), &["turns are counted in a task"]);
}
