//! The tests of 15 downloader.

mod exercise;
mod future;
mod generator;
mod given;
mod green;

use std::fs;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use exercise::Incoming;
use given::server::{Page, Server};
use given::{Error, Target};
use kit::{check, fail, lesson_on_real_clock, spawned_in};
use wouldblock::generator::{Generator, GeneratorState, Yielder};
use wouldblock::{JoinHandle, Wait, stats, task};

type Results = Vec<Result<u64, Error>>;

#[test]
fn t01_an_answer_may_be_cut_anywhere() {
    check("the bytes of one answer, in one part, in two, and byte by byte", || {
        let folder = Folder::new();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world";
        // So many bytes of the file come with the end of the head.
        let head = answer.len() - 11;
        let with_head = |size: usize| (head.div_ceil(size) * size).min(answer.len()) - head;
        let with_head = |size| with_head(size) as u64;
        for size in [answer.len(), 30, 45, 1] {
            let target = folder.target("a.txt", "127.0.0.1:1");
            let mut incoming = Incoming::new(&target);
            for part in answer.chunks(size) {
                match incoming.take(part) {
                    Err(Error::NoAnswer) => panic!(
                        "in parts of {size} bytes, it is `NoAnswer`: the head may come in parts; keep them until it is whole"
                    ),
                    other => other.expect("this answer has no error"),
                }
            }
            match incoming.end() {
                Ok(11) => {}
                Err(Error::BrokenOff { got, .. }) if got == with_head(size) => panic!(
                    "in parts of {size} bytes, {got} of 11 bytes were there in the end, which are those that came with the head: what \
                     comes after it is written, too, each time"
                ),
                Err(Error::Io(std::io::ErrorKind::NotFound)) => panic!(
                    "in parts of {size} bytes, the `Part` was not there in the end: it is created ONCE, when the head is whole; a second \
                     one is the same file, and a `Part` that is dropped removes it"
                ),
                Err(Error::BrokenOff { got, .. }) => panic!(
                    "in parts of {size} bytes, {got} of 11 bytes were there in the end: the first bytes of the file came \
                     together with the end of the head"
                ),
                other => panic!("the file has 11 bytes, and `end` returned {other:?}"),
            }
            let text = fs::read(&target.file).unwrap_or_else(|e| {
                panic!(
                    "`end` returned `Ok(11)`, and the file is not there ({e}): `keep` gives a `Part` the name `target.file`"
                )
            });
            assert_eq!(
                String::from_utf8_lossy(&text),
                "hello world",
                "this is what the file holds"
            );
            fs::remove_file(&target.file).unwrap();
        }
        folder.expect_no_part();
    });
}

#[test]
fn t02_an_answer_may_be_none() {
    check(
        "a 404, an answer that is broken off, and one that never comes: no file, and no part of one",
        || {
            let folder = Folder::new();
            let after = |bytes: &[u8]| {
                let mut incoming = Incoming::new(&folder.target("a.txt", "127.0.0.1:1"));
                incoming.take(bytes)?;
                incoming.end()
            };
            let missing = after(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone");
            assert!(
                missing.is_err(),
                "the server answered 404, and its text was saved as if it were the file: look at the status"
            );
            assert_eq!(missing, Err(Error::Status(404)), "the server answered 404");
            let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n".to_vec();
            bytes.extend([7; 300]);
            let broken = after(&bytes);
            assert!(
                broken != Ok(300),
                "the connection ended after 300 of 900 bytes, and that was called success: compare with the announced length"
            );
            let wanted = Err(Error::BrokenOff { got: 300, of: 900 });
            assert_eq!(broken, wanted, "the connection ended after 300 of 900 bytes");
            assert_eq!(
                after(b"HTTP/1.1 200 OK\r\n"),
                Err(Error::NoAnswer),
                "it ended within the head"
            );
            folder.expect_no_part();
            folder.expect_no_file("a.txt");
        },
    );
}

#[test]
fn t03_green_downloads_one() {
    check("green: one file", || one(GREEN));
}

#[test]
fn t04_generator_downloads_one() {
    check("generator: one file", || one(GENERATOR));
}

#[test]
fn t05_future_downloads_one() {
    check("future: one file", || one(FUTURE));
}

#[test]
fn t06_green_downloads_five() {
    check("green: five files at once", || five(GREEN));
}

#[test]
fn t07_generator_downloads_five() {
    check("generator: five files at once", || five(GENERATOR));
}

#[test]
fn t08_future_downloads_five() {
    check("future: five files at once", || five(FUTURE));
}

#[test]
fn t09_green_two_at_a_time() {
    check("green: six files, two at once", || two_at_a_time(GREEN));
}

#[test]
fn t10_generator_two_at_a_time() {
    check("generator: six files, two at once", || two_at_a_time(GENERATOR));
}

#[test]
fn t11_future_two_at_a_time() {
    check("future: six files, two at once", || two_at_a_time(FUTURE));
}

#[test]
fn t12_green_failures_stay_in_their_places() {
    check("green: a 404, one broken off, one slow, and no server at all", || failures(GREEN));
}

#[test]
fn t13_generator_failures_stay_in_their_places() {
    check("generator: the same, with the same results", || failures(GENERATOR));
}

#[test]
fn t14_future_failures_stay_in_their_places() {
    check("future: the same, with the same results", || failures(FUTURE));
}

/// One of the three files.
#[derive(Clone, Copy)]
struct Era {
    name: &'static str,
    one: fn(Target) -> Result<u64, Error>,
    all: fn(Vec<Target>, usize) -> Results,
}

/// A generator of the student's, resumed by hand: between two yields, no other task may have a turn.
fn yielded<T: 'static>(
    what: &'static str,
    body: impl FnOnce(&Yielder<Wait>) -> T + 'static,
) -> JoinHandle<T> {
    wouldblock::generator::spawn(move |y: &Yielder<Wait>| {
        let mut inner = Generator::new(body);
        loop {
            let before = stats().turns;
            let state = inner.resume();
            if stats().turns != before {
                fail(format!(
                    "generator: `{what}` has waited without a yield: a call of the green era is in it, or a function that makes \
                     one. In a generator, each wait is yielded: `y.wait(..)`"
                ));
            }
            match state {
                GeneratorState::Yielded(wait) => y.yield_(wait),
                GeneratorState::Complete(value) => return value,
            }
        }
    })
}

/// A future of the student's: in a poll, no other task may have a turn.
async fn polled<T>(what: &'static str, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let before = stats().turns;
        let state = future.as_mut().poll(cx);
        if stats().turns != before {
            fail(format!(
                "future: `{what}` has waited within a poll: a call of the green era is in it. In an async function, each wait is an \
                 `.await`"
            ));
        }
        state
    })
    .await
}

/// Each task that a file has spawned is one of its era, and no line has a verb of the green era that need not wait here: the
/// loopback connects at once.
#[track_caller]
fn expect_era(era: Era) {
    let (file, wanted, text) = match era.name {
        "generator" => ("generator.rs", wouldblock::Era::Generator, include_str!("generator.rs")),
        "future" => ("future.rs", wouldblock::Era::Future, include_str!("future.rs")),
        _ => return,
    };
    if let Some((other, line)) = spawned_in(file).into_iter().find(|(era, _)| *era != wanted) {
        panic!(
            "{file}:{line} spawns a task of another era, {other:?}: in this file, spawn with `{}::spawn`",
            era.name
        );
    }
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    for (number, line) in code.enumerate() {
        for verb in ["TcpStream::connect(", ".acquire()", "green::wait(", "green::sleep("] {
            assert!(
                !line.contains(verb),
                "{file}:{}: `{verb}` waits in the green era's way. The verb of this era is `{}`, with `connecting`, `acquiring` and \
                 so on, which return what can be waited for",
                number + 1,
                if era.name == "future" { ".await" } else { "y.wait(..)" }
            );
        }
    }
}

const GREEN: Era = Era { name: "green", one: |target| green::download(&target), all: green::all };

const GENERATOR: Era = Era {
    name: "generator",
    one: |target| joined(yielded("download", move |y| generator::download(y, &target))),
    all: |targets, at_once| joined(yielded("all", move |y| generator::all(y, targets, at_once))),
};

const FUTURE: Era = Era {
    name: "future",
    one: |target| {
        joined(wouldblock::future::spawn(async move {
            polled("download", future::download(&target)).await
        }))
    },
    all: |targets, at_once| {
        joined(wouldblock::future::spawn(polled("all", future::all(targets, at_once))))
    },
};

fn joined<T: 'static>(handle: JoinHandle<T>) -> T {
    handle.join().unwrap_or_else(|error| match error.into_panic() {
        Ok(payload) => resume_unwind(payload),
        Err(error) => fail(error),
    })
}

fn one(era: Era) {
    lesson_on_real_clock(move || {
        let folder = Folder::new();
        let page = Page::whole("/a", 4_000);
        let server = Server::start(&[page], 0).expect("a server on the loopback");
        let target = folder.target(page.path, server.address);
        let task = task::Builder::new().name(era.name).spawn(move || (era.one)(target));
        let result = joined(task);
        expect_asked(era, &server);
        expect(era, &page, &result, Ok(4_000));
        folder.expect_file(era, &page);
        folder.expect_no_part();
    });
}

fn five(era: Era) {
    let lengths = [4_000, 1, 9_000, 0, 20_000];
    let pages = ["/a", "/b", "/c", "/d", "/e"].into_iter().zip(lengths);
    let pages: Vec<Page> = pages.map(|(path, length)| Page::whole(path, length)).collect();
    lesson_on_real_clock(move || {
        let (results, most) = run(era, &pages, 5, &[]);
        let wanted: Results = pages.iter().map(|page| Ok(page.sent as u64)).collect();
        expect_all(era, &pages, &results, &wanted);
        expect_connections(era, most, 5);
    });
}

fn two_at_a_time(era: Era) {
    let pages = ["/a", "/b", "/c", "/d", "/e", "/f"].map(|path| Page::whole(path, 3_000));
    lesson_on_real_clock(move || {
        let (results, most) = run(era, &pages, 2, &[]);
        expect_all(era, &pages, &results, &[const { Ok(3_000) }; 6]);
        expect_connections(era, most, 2);
    });
}

fn failures(era: Era) {
    let pages = [
        Page::whole("/a", 4_000),
        Page { status: 404, ..Page::whole("/missing", 9) },
        Page { sent: 300, ..Page::whole("/broken", 900) },
        Page { pause: Duration::from_millis(50), ..Page::whole("/slow", 5_000) },
        Page::whole("/e", 600),
    ];
    lesson_on_real_clock(move || {
        let (results, _) = run(era, &pages, 3, &["/nowhere"]);
        let wanted = [
            Ok(4_000),
            Err(Error::Status(404)),
            Err(Error::BrokenOff { got: 300, of: 900 }),
            Ok(5_000),
            Ok(600),
        ];
        expect_all(era, &pages, &results[..5], &wanted);
        assert!(
            matches!(results[5], Err(Error::Io(_))),
            "{}: there is no server for /nowhere, and its result is {:?}: `download` returns the error of the connection (`?`)",
            era.name,
            results[5]
        );
    });
}

/// Downloads pages, and what has no server. Returns the results, and how many connections there were at once.
#[track_caller]
fn run(era: Era, pages: &[Page], at_once: usize, nowhere: &[&str]) -> (Results, usize) {
    let folder = Folder::new();
    let server = Server::start(pages, at_once).expect("a server on the loopback");
    let mut targets: Vec<Target> =
        pages.iter().map(|page| folder.target(page.path, server.address)).collect();
    targets.extend(nowhere.iter().map(|path| folder.target(path, "127.0.0.1:1")));
    let (n, all) = (targets.len(), era.all);
    let task = task::Builder::new().name(era.name).spawn(move || all(targets, at_once));
    let results = joined(task);
    expect_era(era);
    expect_asked(era, &server);
    assert!(results.len() == n, "{}: {} results for {n} targets", era.name, results.len());
    // Before the files: what was whole when a failure of another threw its result away is there.
    let bad = pages.iter().filter(|page| page.status != 200 || page.sent < page.announced).count();
    let lost = results[..pages.len()].iter().filter(|result| result.is_err()).count();
    assert!(
        bad == 0 || lost <= bad,
        "{}: {bad} of the first {} cannot be had, and {lost} results are errors: a failure cost other files; each result \
         stands for itself",
        era.name,
        pages.len()
    );
    let is_bad = |page: &Page| page.status != 200 || page.sent < page.announced;
    if let Some((page, result)) =
        pages.iter().zip(&results).find(|(page, result)| is_bad(page) && result.is_ok())
    {
        panic!(
            "{}: {} cannot be had, and the result at its place is {result:?}: results stand in the order of the targets",
            era.name, page.path
        );
    }
    for (page, result) in pages.iter().zip(&results) {
        let name = page.path.trim_start_matches('/');
        match result {
            Ok(_) => folder.expect_file(era, page),
            Err(_) => folder.expect_no_file(name),
        }
    }
    folder.expect_no_part();
    (results, server.most.get())
}

/// The results stand in the order of the targets.
#[track_caller]
fn expect_all(
    era: Era,
    pages: &[Page],
    results: &[Result<u64, Error>],
    wanted: &[Result<u64, Error>],
) {
    let sorted = |results: &[Result<u64, Error>]| {
        let mut results: Vec<_> = results.iter().map(|result| format!("{result:?}")).collect();
        results.sort_unstable();
        results
    };
    assert!(
        results == wanted || sorted(results) != sorted(wanted),
        "{}: the results are {results:?}, and should be {wanted:?}: the same, in the order of the targets, whichever ends first",
        era.name
    );
    for ((page, result), wanted) in pages.iter().zip(results).zip(wanted) {
        expect(era, page, result, wanted.clone());
    }
}

#[track_caller]
fn expect(era: Era, page: &Page, result: &Result<u64, Error>, wanted: Result<u64, Error>) {
    let (era, path) = (era.name, page.path);
    assert!(
        *result != Err(Error::Io(std::io::ErrorKind::WouldBlock)),
        "{era}: {path} came to {result:?}: `WouldBlock` is no error; wait until the socket is ready, and try again"
    );
    let came = format!("{era}: {path} came to {result:?}, and should come to {wanted:?}");
    match (result, &wanted) {
        _ if *result == wanted => {}
        (Err(Error::Task(_)), _) => {
            panic!("{came}: `download` returns its errors (`?`), and panics at none")
        }
        (Ok(got), Ok(of)) | (Err(Error::BrokenOff { got, of }), Ok(_)) if got > of => panic!(
            "{came}, which is fewer: `read` returns how many bytes it has read, and only these, at the beginning of the buffer, are \
             the answer's"
        ),
        (Err(Error::BrokenOff { .. }), Ok(_)) => panic!(
            "{came}: it is all sent, in parts. A read may bring fewer bytes than there is room for; the end is a read of 0 bytes"
        ),
        (Err(Error::NoAnswer), Ok(0)) => {
            panic!("{came}: a file may be empty. It is there as soon as the head is whole")
        }
        _ => panic!("{came}"),
    }
}

#[track_caller]
fn expect_asked(era: Era, server: &Server) {
    assert!(
        !server.unasked.get(),
        "{}: the server has waited for a request in vain: `download` sends `target.request()`, all of it, before it reads. (A `BufWriter` \
         sends when it is flushed)",
        era.name
    );
}

#[track_caller]
fn expect_connections(era: Era, most: usize, wanted: usize) {
    let era = era.name;
    assert!(
        most != 1,
        "{era}: there was never more than 1 connection: start all downloads, and then wait for all. (An iterator is \
         lazy: `collect` the handles before you wait for the first)"
    );
    assert!(
        most <= wanted,
        "{era}: {most} connections at once, and {wanted} were allowed: each download takes a permit before it connects, of one \
         semaphore that all share, and has it until it is over. A permit is given back when it is dropped (`let _ = ..` drops at once)"
    );
    assert!(most == wanted, "{era}: {most} connections at once, and {wanted} were wanted");
}

/// A folder that is removed again.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("downloads-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the downloads");
        Folder(folder)
    }

    fn target(&self, path: &str, address: impl ToString) -> Target {
        let name = path.trim_start_matches('/');
        let address = address.to_string().parse().expect("an address and a port");
        Target { address, path: path.to_owned(), file: self.0.join(name) }
    }

    #[track_caller]
    fn expect_no_part(&self) {
        let names = fs::read_dir(&self.0).expect("the folder is there");
        let names = names.map(|entry| entry.expect("a name").file_name().into_string().unwrap());
        let left: Vec<String> = names.filter(|name| name.ends_with(".part")).collect();
        assert!(left.is_empty(), "{left:?} is left: a `Part` that is dropped is removed");
    }

    #[track_caller]
    fn expect_file(&self, era: Era, page: &Page) {
        let (era, name) = (era.name, page.path.trim_start_matches('/'));
        let bytes = fs::read(self.0.join(name)).unwrap_or_else(|e| {
            panic!("{era}: the file {name} is not there ({e}): `download` calls `end`, which gives it its name")
        });
        assert!(bytes == page.bytes(), "{era}: the file {name} holds other bytes than were sent");
    }

    #[track_caller]
    fn expect_no_file(&self, name: &str) {
        let there = self.0.join(name).exists();
        assert!(
            !there,
            "the download of {name} failed, and the file is there, and is not whole: keep it only when it is"
        );
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
