//! The tests of 03 progress.

mod exercise;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use exercise::{feed, progress};
use kit::{Log, check, picture, text_of};
use wouldblock::generator::{Generator, GeneratorState, Yielder};

type Progress = Generator<u8, u64, usize>;

#[test]
fn t01_percents_follow_the_sum() {
    check("1024 bytes in four reads: 0 %, then 50, 75, 87, and the end", || {
        let log = Log::new("you");
        picture(log.clone());
        let mut progress = progress(1024);
        log.say("prime");
        expect(&log, progress.prime(), 0, 0, 1024);
        let mut so_far = 0;
        for (size, percent) in [(512, 50), (256, 75), (128, 87)] {
            log.say(format!("send {size}"));
            so_far += size;
            expect(&log, progress.send(size), percent, so_far, 1024);
        }
        log.say("send 128");
        expect_end(&log, progress.send(128), 4);
    });
}

#[test]
fn t02_nothing_to_read_is_the_end() {
    check("0 bytes have all come before the first read", || {
        let log = Log::new("you");
        let state = catch_unwind(AssertUnwindSafe(|| progress(0).prime()));
        let state = state.unwrap_or_else(|payload| match text_of(&*payload) {
            text if text.contains("divide by zero") => panic!(
                "`progress(0)` divided by zero: of 0 bytes, all have come at once, and there is no percent to work out"
            ),
            _ => resume_unwind(payload),
        });
        expect_end(&log, state, 0);
    });
}

#[test]
fn t03_more_may_come_than_was_announced() {
    check("a read may bring more than is missing", || {
        let log = Log::new("you");
        picture(log.clone());
        let mut progress = progress(100);
        log.say("prime");
        expect(&log, progress.prime(), 0, 0, 100);
        log.say("send 300");
        expect_end(&log, progress.send(300), 1);
    });
}

#[test]
fn t04_feed_primes_then_sends() {
    check("`feed` primes the generator, sends all sizes, and keeps what is yielded", || {
        let log = Log::new("sent");
        picture(log.clone());
        let got = feed(meter(&log, 10), &[4, 3, 2]);
        let sent = log.row("sent");
        assert!(
            sent != ["0", "4", "3", "2"],
            "4 came as the second value: the first size was sent to the wrong `yield_`; `prime` runs to the first one"
        );
        assert_eq!(sent, ["4", "3", "2"], "these sizes were to be sent");
        assert!(
            got != [1, 2, 3],
            "`feed` returned [1, 2, 3]: what `prime` yields, the 0, is the first of the values"
        );
        assert_eq!(got, [0, 1, 2, 3], "the generator yielded 0 when it was primed, then 1, 2, 3");
    });
}

#[test]
fn t05_feed_stops_at_the_end() {
    check("`feed` stops when the generator returns, with sizes left", || {
        let log = Log::new("sent");
        picture(log.clone());
        let got = feed(meter(&log, 2), &[4, 3, 2, 1]);
        assert_eq!(log.row("sent"), ["4", "3"], "the generator has returned after two sizes");
        assert_eq!(got, [0, 1], "it yielded 0 and 1, and then returned");
    });
}

#[test]
fn t06_both_together() {
    check("your `feed` drives your `progress`", || {
        assert_eq!(feed(progress(1000), &[100, 400, 499, 1, 7]), [0, 10, 50, 99]);
        assert_eq!(feed(progress(0), &[1]), [], "`prime` may be the end already");
    });
}

/// Whether a new `progress(1024)` that is sent these sizes says so many percent after the last.
fn next_is(sizes: &[u64], percent: u8) -> bool {
    let mut progress = progress(1024);
    let mut state = progress.prime();
    for size in sizes {
        state = progress.send(*size);
    }
    matches!(state, GeneratorState::Yielded(it) if it == percent)
}

/// A generator that yields 0, 1, 2, .., logs what it is sent, and returns when it was sent so many values.
fn meter(log: &Log, most: usize) -> Progress {
    let log = log.clone();
    Generator::new(move |y: &Yielder<u8, u64>| {
        for n in 0..most {
            log.of("generator").say(format!("yields {n}"));
            let size = y.yield_(n as u8);
            log.say(size);
        }
        most
    })
}

#[track_caller]
fn expect(log: &Log, state: GeneratorState<u8, usize>, wanted: u8, so_far: u64, total: u64) {
    let percent = match state {
        GeneratorState::Yielded(percent) => percent,
        GeneratorState::Complete(reads) => {
            log.of("progress").say("returns");
            panic!(
                "{so_far} of {total} read, and it returned {reads}: it has to yield {wanted} here"
            )
        }
    };
    log.of("progress").say(format!("yields {percent}"));
    if percent == wanted {
        return;
    }
    let why = match (so_far, percent) {
        (0, _) => "no byte has come yet when it is primed",
        (512, 0) if next_is(&[512, 256], 0) => {
            "with whole numbers, 512 / 1024 is 0; and a `u8` holds no number above 255. Multiply before you divide, in `u64`"
        }
        (896, 88) => "87.5 % is rounded DOWN",
        (512, 0) => {
            "`yield_` returns what is sent next: add it up, and only then work out what is yielded next"
        }
        (768, 25) => "it is the percent of the size, and not the sum of all sizes",
        _ => "count what is sent, all of it",
    };
    panic!("{so_far} of {total} read, and it said {percent} %, and not {wanted} %: {why}");
}

#[track_caller]
fn expect_end(log: &Log, state: GeneratorState<u8, usize>, wanted: usize) {
    log.of("progress").say(match &state {
        GeneratorState::Yielded(percent) => format!("yields {percent}"),
        GeneratorState::Complete(_) => "returns".to_owned(),
    });
    match state {
        GeneratorState::Complete(reads) if reads == wanted => {}
        GeneratorState::Complete(reads) if reads == wanted + 1 => {
            panic!("there were {wanted} reads, and it returned {reads}: the `prime` is no read")
        }
        GeneratorState::Complete(reads) => {
            panic!("there were {wanted} reads, and it returned {reads}")
        }
        GeneratorState::Yielded(percent) => panic!(
            "all bytes have come, or more, and it yielded {percent}, and should return the number of reads, {wanted}"
        ),
    }
}
