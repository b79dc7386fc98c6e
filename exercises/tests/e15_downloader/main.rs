//! The tests of 15 downloader.

mod exercise;
mod future;
mod generator;
mod given;
mod green;

use std::fs;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use exercise::Incoming;
use given::server::{Page, Server};
use given::{Error, Target, kept};
use kit::{check, fail, lesson_on_real_clock, spawned_in, turns_and_sleeps_but_of};
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
            let mut left = answer.len();
            for part in answer.chunks(size) {
                match incoming.take(part) {
                    Err(Error::NoAnswer) => panic!(
                        "in parts of {size} bytes, it is `NoAnswer`: the head may come in parts; keep them until it is whole"
                    ),
                    other => other.expect("this answer has no error"),
                }
                left -= part.len();
                assert!(
                    left == 0 || !target.file.exists(),
                    "in parts of {size} bytes, {left} bytes were still to come, and the file had its name: until it is whole, it is a \
                     `Part`, for others may look at it meanwhile"
                );
            }
            match incoming.end() {
                Ok(11) => {}
                Err(Error::BrokenOff { got, .. }) if got == with_head(size) => panic!(
                    "in parts of {size} bytes, {got} of 11 bytes were there in the end, which are those that came with the head: what \
                     comes after it is written, too, each time"
                ),
                Err(Error::Io(ErrorKind::NotFound)) => panic!(
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
            for status in [500, 301, 206, 204] {
                let head = format!("HTTP/1.1 {status} _\r\nContent-Length: 0\r\n\r\n");
                let other = after(head.as_bytes());
                assert!(
                    other == Err(Error::Status(status)),
                    "the server answered {status}, and that came to {other:?}: only 200 brings the file, and any other status is an error"
                );
            }
            let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n".to_vec();
            bytes.extend([7; 300]);
            let broken = after(&bytes);
            assert!(
                broken.is_ok() || kept() == 0,
                "the connection ended after 300 of 900 bytes, and `keep` was called before they were counted: for a moment, what is not \
                 whole had its name"
            );
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
            // The system does not give a file the name of a folder.
            fs::create_dir(folder.0.join("a.txt")).expect("the name is free");
            let unnamed = after(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            assert!(
                matches!(unnamed, Err(Error::Io(_))),
                "there is a folder with the name of the file, so that `keep` fails, and `end` returned {unnamed:?}: an error of `keep` \
                 is the error of the download"
            );
            folder.expect_no_part();
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
    check("green: a 404, one broken off, one reset, one slow, and no server at all", || {
        failures(GREEN)
    });
}

#[test]
fn t13_generator_failures_stay_in_their_places() {
    check("generator: the same, with the same results", || failures(GENERATOR));
}

#[test]
fn t14_future_failures_stay_in_their_places() {
    check("future: the same, with the same results", || failures(FUTURE));
}

#[test]
fn t15_green_waits_for_the_socket() {
    check("green: no byte comes for a thousand turns of the server's", || waits(GREEN));
}

#[test]
fn t16_generator_waits_for_the_socket() {
    check("generator: no byte comes for a thousand turns of the server's", || waits(GENERATOR));
}

#[test]
fn t17_future_waits_for_the_socket() {
    check("future: no byte comes for a thousand turns of the server's", || waits(FUTURE));
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
        let server = Server::start(&[page], 0, &folder.0).expect("a server on the loopback");
        let target = folder.target(page.path, server.address);
        let task = task::Builder::new().name(era.name).spawn(move || (era.one)(target));
        let result = joined(task);
        expect_asked(era, &server);
        expect(era, &page, &result, page.result());
        expect_none_early(era, &server);
        folder.expect_file(era, &page);
        folder.expect_no_part();
    });
}

fn five(era: Era) {
    let lengths = [4_000, 1, 9_000, 0, 20_000];
    let pages = ["/a", "/b", "/c", "/d", "/e"].into_iter().zip(lengths);
    let pages: Vec<Page> = pages.map(|(path, length)| Page::whole(path, length)).collect();
    lesson_on_real_clock(move || {
        let server = run(era, &pages, 5, &[]);
        expect_connections(era, server.most.get(), 5);
    });
}

fn two_at_a_time(era: Era) {
    let mut pages = ["/a", "/b", "/c", "/d", "/e", "/f"].map(|path| Page::whole(path, 3_000));
    // One place is enough for the others.
    pages[0].after = Some("/f");
    lesson_on_real_clock(move || {
        let server = run(era, &pages, 2, &[]);
        expect_connections(era, server.most.get(), 2);
        if let Some(page) = server.held_up.take() {
            panic!(
                "{}: {} is slow, and /f was not asked for meanwhile: two at once means that the next begins as soon as ONE of the two \
                 has ended; in batches, one slow file holds up all",
                era.name, page.path
            );
        }
    });
}

fn failures(era: Era) {
    let pages = [
        Page::whole("/a", 4_000),
        Page { status: 404, ..Page::whole("/missing", 9) },
        Page { sent: 300, ..Page::whole("/broken", 900) },
        Page { pause: Duration::from_millis(50), ..Page::whole("/slow", 5_000) },
        Page { reset: true, ..Page::whole("/reset", 2_000) },
        Page::whole("/e", 600),
    ];
    lesson_on_real_clock(move || drop(run(era, &pages, 3, &["/nowhere"])));
}

fn waits(era: Era) {
    const ENOUGH: usize = 200;
    let pages = ["/a", "/b", "/c"].map(|path| Page { turns: 1_000, ..Page::whole(path, 2_000) });
    lesson_on_real_clock(move || {
        run(era, &pages, 3, &[]);
        let (turns, sleeps) = turns_and_sleeps_but_of("server.rs");
        assert!(
            turns <= ENOUGH && sleeps == 0,
            "{}: while no byte came, the downloads asked again and again: they had {turns} turns and slept {sleeps} times, and \
             {ENOUGH} turns without a sleep are more than enough. After `WouldBlock`, wait for the socket, and for nothing else: {}",
            era.name,
            match era.name {
                "generator" => "`y.wait(stream.readable())`",
                "future" => "`stream.read(..).await` does",
                _ => "the blocking-style `stream.read(..)` does",
            }
        );
    });
}

/// Downloads pages, and what has no server. Each comes to what it should, in its place.
#[track_caller]
fn run(era: Era, pages: &[Page], at_once: usize, nowhere: &[&str]) -> Rc<Server> {
    let folder = Folder::new();
    let server = Server::start(pages, at_once, &folder.0).expect("a server on the loopback");
    let mut targets: Vec<Target> =
        pages.iter().map(|page| folder.target(page.path, server.address)).collect();
    targets.extend(nowhere.iter().map(|path| folder.target(path, "127.0.0.1:1")));
    let mut wanted: Results = pages.iter().map(Page::result).collect();
    wanted.extend(nowhere.iter().map(|_| Err(Error::Io(ErrorKind::ConnectionRefused))));
    let all = era.all;
    let task = task::Builder::new().name(era.name).spawn(move || all(targets, at_once));
    let results = joined(task);
    expect_era(era);
    expect_asked(era, &server);
    let n = wanted.len();
    assert!(results.len() == n, "{}: {} results for {n} targets", era.name, results.len());
    expect_in_order(era, &results, &wanted);
    // Before the files: what was whole when a failure of another threw its result away is there.
    let errors =
        |results: &[Result<u64, Error>]| results.iter().filter(|result| result.is_err()).count();
    let (bad, lost) = (errors(&wanted), errors(&results));
    assert!(
        bad == 0 || lost <= bad,
        "{}: {bad} of {n} cannot be had, and {lost} results are errors: a failure cost other files, or a time limit did; each result stands \
         for itself. The results are {results:?}",
        era.name
    );
    for (page, result) in pages.iter().zip(&results) {
        expect(era, page, result, page.result());
    }
    if let Some(result) = results.get(pages.len()) {
        assert!(
            matches!(result, Err(Error::Io(_))),
            "{}: there is no server for /nowhere, and its result is {result:?}: `download` returns the error of the connection (`?`)",
            era.name
        );
    }
    expect_none_early(era, &server);
    for (page, result) in pages.iter().zip(&results) {
        match result {
            Ok(_) => folder.expect_file(era, page),
            Err(_) => folder.expect_no_file(page.path.trim_start_matches('/')),
        }
    }
    folder.expect_no_part();
    server
}

/// The results are not those that are wanted in another order.
#[track_caller]
fn expect_in_order(era: Era, results: &Results, wanted: &Results) {
    let sorted = |results: &Results| {
        let mut results: Vec<_> = results.iter().map(|result| format!("{result:?}")).collect();
        results.sort_unstable();
        results
    };
    assert!(
        results == wanted || sorted(results) != sorted(wanted),
        "{}: the results are {results:?}, and should be {wanted:?}: the same, in the order of the targets, whichever ends first",
        era.name
    );
}

#[track_caller]
fn expect(era: Era, page: &Page, result: &Result<u64, Error>, wanted: Result<u64, Error>) {
    let (era, path) = (era.name, page.path);
    assert!(
        *result != Err(Error::Io(ErrorKind::WouldBlock)),
        "{era}: {path} came to {result:?}: `WouldBlock` is no error; wait until the socket is ready, and try again"
    );
    let came = format!("{era}: {path} came to {result:?}, and should come to {wanted:?}");
    match (result, &wanted) {
        _ if *result == wanted => {}
        (Err(Error::BrokenOff { .. } | Error::NoAnswer), Err(Error::Io(_))) => panic!(
            "{came}: `read` has failed, which is not the end of the answer: return its error (`?`)"
        ),
        (Ok(_), Err(_)) => {
            panic!("{came}: what cannot be had has an error for its result, and no length")
        }
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
fn expect_none_early(era: Era, server: &Server) {
    if let Some(path) = server.early.borrow().first() {
        panic!(
            "{}: half of {path} was still to come, and the file had its name: until it is whole, it is a `Part`, for others may look at it \
             meanwhile",
            era.name
        );
    }
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
        "{era}: {most} connections at once, and {wanted} were allowed: `at_once` is the number of permits of ONE semaphore that all downloads \
         share, or the size of a pool. Each download takes a permit before it connects, and has it until it is over. A permit is given back \
         when it is dropped (`let _ = ..` drops at once)"
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
