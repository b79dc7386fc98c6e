//! The tests of 02 lines.

mod exercise;

use std::cell::Cell;
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;

use exercise::{grep, lines};
use kit::{Log, check, picture, some, text_of};
use wouldblock::generator::Generator;

#[test]
fn t01_lines_are_yielded_in_order() {
    check("two chunks of whole lines, one of them with two lines", || {
        let (_, got) = all(&[b"one\ntwo\n", b"three\n"]);
        match &got[..] {
            [one, two, three] if one == "one" && two == "two" && three == "three" => {}
            [one, ..] if one == "one\n" => {
                panic!(
                    "the first line is {one:?}, and should be \"one\": a line comes without its newline"
                )
            }
            [one, ..] if one == "one\ntwo" => panic!(
                "the first line is {one:?}, and should be \"one\": a line ends at the FIRST newline, and its chunk may have more"
            ),
            _ => expect(&got, &["one", "two", "three"]),
        }
    });
}

#[test]
fn t02_no_chunk_is_taken_early() {
    check("five chunks of a line each: the first line needs one chunk, the second two", || {
        let source = Source::new(&[b"a\n", b"b\n", b"c\n", b"d\n", b"e\n"]);
        let mut lines = lines(source.chunks());
        let taken = source.taken();
        assert!(taken == 0, "{taken} chunks were read before the generator was first resumed");
        for wanted in 1..=5 {
            let line = lines.next();
            source.log.of("lines").say(line.as_deref().unwrap_or("the end"));
            let taken = source.taken();
            match wanted {
                1 if taken > 1 => panic!(
                    "it read {taken} chunks for its first line; 1 was enough: yield each line when it is whole"
                ),
                _ => assert!(taken == wanted, "it read {taken} chunks for {wanted} lines"),
            }
        }
    });
}

#[test]
fn t03_a_line_may_be_cut() {
    check("a line begins in one chunk and ends in another", || {
        let (_, got) = all(&[b"hel", b"lo\nwor", b"l", b"d\n"]);
        if got.first().is_some_and(|line| line == "hel") {
            let parts: Vec<String> = got.iter().take(2).map(|part| format!("'{part}'")).collect();
            panic!(
                "'hello' was cut in two and came as {}: keep what has no newline yet, and go on with it",
                parts.join(", ")
            );
        }
        expect(&got, &["hello", "world"]);
    });
}

#[test]
fn t04_a_character_may_be_cut() {
    check("'你' is three bytes of UTF-8, and the first chunk ends after two of them", || {
        let bytes = "你好\n".as_bytes();
        let (_, got) = all(&[&bytes[..2], &bytes[2..]]);
        let broken = got.iter().any(|line| line.contains('\u{fffd}'));
        assert!(
            !broken,
            "'你好' was cut within a character, and came as {got:?}: keep the bytes, and decode whole lines only"
        );
        expect(&got, &["你好"]);
    });
}

#[test]
fn t05_a_line_comes_as_it_is() {
    check("only the newline is taken from a line, and no bytes stop it", || {
        let (_, got) = all(&[b"  if:\n\n", b"\treturn \r\n"]);
        let wanted = ["  if:", "", "\treturn \r"];
        let trimmed =
            got.iter().zip(wanted).any(|(got, wanted)| got != wanted && *got == wanted.trim());
        assert!(
            !trimmed,
            "the lines were {got:?}, and should be {wanted:?}: a line begins and ends with what it has, blanks too; only its \
             newline, `b'\\n'`, is no part of it"
        );
        expect(&got, &wanted);
        let got = catch_unwind(|| all(&[b"\xff\xfe\n", b"two\n"]).1);
        let got = got.unwrap_or_else(|payload| match text_of(&*payload) {
            text if text.contains("Utf8Error") || text.contains("FromUtf8Error") => panic!(
                "the first line is [255, 254], which is not UTF-8, and the generator panicked: what comes from outside may be \
                 anything; `String::from_utf8_lossy` takes all bytes"
            ),
            _ => resume_unwind(payload),
        });
        assert!(
            got.last().is_some_and(|line| line == "two"),
            "after a line that is not UTF-8 comes the line \"two\", and the lines were {got:?}"
        );
    });
}

#[test]
fn t06_the_last_line_may_have_no_newline() {
    check(
        "the last line may end without a newline; after a newline there is no further line",
        || {
            let (_, got) = all(&[b"one\ntwo"]);
            assert!(
                got.len() != 1,
                "the last line, 'two', has no newline at its end, and was lost"
            );
            expect(&got, &["one", "two"]);
            let (_, got) = all(&[b"one\n\n", b"two\n"]);
            expect(&got, &["one", "", "two"]);
            let (_, got) = all(&[]);
            expect(&got, &[]);
        },
    );
}

#[test]
fn t07_grep_is_lazy_too() {
    check("grep yields the lines with the word, and takes no line before it is needed", || {
        let taken = Rc::new(Cell::new(0));
        let count = taken.clone();
        let all = Generator::new(move |y| {
            for line in ["a cat", "a dog", "two cats", "no", "cat"] {
                count.set(count.get() + 1);
                y.yield_(line.to_owned());
            }
        });
        let mut found = grep("cat", all);
        let first = found.next();
        assert!(
            first.as_deref() == Some("a cat"),
            "of \"a cat\", \"a dog\", .., the first line that CONTAINS 'cat' is \"a cat\", and `grep` yielded {first:?}"
        );
        let read = taken.get();
        assert!(read == 1, "grep took {read} lines before it yielded its first; 1 was enough");
        let got = some("grep", 2, &mut found);
        assert!(
            got == ["two cats", "cat"],
            "after \"a cat\", the lines that CONTAIN 'cat' are \"two cats\" and \"cat\", and `grep` yielded {got:?}"
        );
    });
}

/// Chunks, and a log of who took them.
struct Source {
    chunks: Vec<Vec<u8>>,
    log: Log,
}

impl Source {
    fn new(chunks: &[&[u8]]) -> Source {
        let log = Log::new("chunks");
        picture(log.clone());
        Source { chunks: chunks.iter().map(|chunk| chunk.to_vec()).collect(), log }
    }

    fn chunks(&self) -> impl Iterator<Item = Vec<u8>> + 'static {
        let log = self.log.clone();
        self.chunks.clone().into_iter().inspect(move |chunk| {
            log.say(format!("{:?}", String::from_utf8_lossy(chunk)));
        })
    }

    fn taken(&self) -> usize {
        self.log.row("chunks").len()
    }
}

/// All lines in some chunks.
#[track_caller]
fn all(chunks: &[&[u8]]) -> (Source, Vec<String>) {
    let source = Source::new(chunks);
    let lines = lines(source.chunks());
    let log = source.log.of("lines");
    let mut logged = Generator::new(move |y| {
        for line in lines {
            log.say(&line);
            y.yield_(line);
        }
    });
    let got = some("`lines`", 10, &mut logged);
    (source, got)
}

#[track_caller]
fn expect(got: &[String], wanted: &[&str]) {
    let why = match got {
        got if got == wanted => return,
        [.., last] if last.is_empty() && got[..got.len() - 1] == *wanted => {
            ": it yields an empty line after the last newline, and there is none"
        }
        got if got.iter().any(|line| line.trim_end_matches('\n').contains('\n')) => {
            ": a line ends at its newline, and a chunk may complete more than one line"
        }
        got if got.last().is_some_and(|line| line.ends_with('\n')) => {
            ": a line was left over at the end, with its newline: a chunk may complete more than one line"
        }
        got if wanted.contains(&"") && !got.contains(&String::new()) => {
            ": an empty line is a line too"
        }
        got if got.len() < wanted.len() && got.iter().all(|line| wanted.contains(&&**line)) => {
            ": a line is missing"
        }
        _ => "",
    };
    panic!("the lines were {got:?}, and should be {wanted:?}{why}");
}
