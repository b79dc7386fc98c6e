//! The guide says what is so: its code is that of `examples/guide`, its outputs are what that prints, its links lead
//! somewhere, and its Chinese text is that of the English one of today.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;

use crate::util::examples::{Folder, run_example};

const CHAPTERS: std::ops::RangeInclusive<u32> = 1..=11;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn write(file: &str, text: &str) {
    fs::write(root().join(file), text).unwrap_or_else(|e| panic!("{file}: {e}"));
}

fn english(chapter: u32) -> (String, String) {
    let file = format!("guide/en/{chapter:02}.md");
    (read(&file), file)
}

fn chinese(chapter: u32) -> (String, String) {
    let file = format!("guide/zh-CN/{chapter:02}.md");
    (read(&file), file)
}

#[test]
fn the_code_is_that_of_the_examples() {
    for chapter in CHAPTERS {
        let (text, file) = english(chapter);
        let source = format!("examples/guide/chapter_{chapter:02}.rs");
        let code = read(&source);
        let code: String = code.lines().filter(|l| !l.is_empty()).flat_map(|l| [l, "\n"]).collect();
        let blocks: Vec<_> = blocks(&text).filter(|block| block.tag.starts_with("rust")).collect();
        assert!(blocks.len() >= 3, "{file} has few programs");
        for block in blocks {
            for piece in pieces(&block.text) {
                let line = block.line;
                assert!(code.contains(&piece), "{file}:{line}: this is not in {source}:\n{piece}");
            }
        }
    }
}

/// A block `text NAME` is what the program NAME prints. With `UPDATE_GUIDE` set, these blocks are brought up to date instead
/// (and the blocks `console NAME`, which differ from run to run); and the Chinese text gets the blocks of the English one.
#[test]
fn the_outputs_are_what_the_examples_print() {
    let updates = env::var_os("UPDATE_GUIDE").is_some();
    for chapter in CHAPTERS {
        let ((text, file), (translation, translated)) = (english(chapter), chinese(chapter));
        let run = || {
            let folder = Folder::new();
            let ran = run_example("guide", &[&chapter.to_string()], folder.path());
            assert_eq!(ran.status, 0, "{file}: {}", ran.stderr);
            assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
            ran
        };
        let mut ran = run();
        if updates {
            let current = with_outputs(&text, &ran.stdout);
            write(&file, &current);
            write(&translated, &with_blocks(&translation, &current));
            continue;
        }
        let outputs: Vec<_> = blocks(&text).filter(|block| block.tag.starts_with("text")).collect();
        let are_printed = |stdout: &str| {
            outputs.iter().all(|block| output(stdout, &block.tag) == Some(block.text.as_str()))
        };
        // On a busy machine, a turn may take so long (200 us) that the sockets are looked at in the middle of a round, and
        // the picture of a program with sockets is another one: it is drawn again.
        for _ in 0..2 {
            if !are_printed(&ran.stdout) {
                ran = run();
            }
        }
        for Block { line, tag, text } in outputs {
            let printed = output(&ran.stdout, &tag);
            assert!(
                printed.is_some_and(|printed| printed == text),
                "{file}:{line}: this is not printed:\n{text}\nbut:\n{}\n`UPDATE_GUIDE=1 cargo test guide::outputs` \
                 brings it up to date",
                ran.stdout
            );
        }
        assert!(text.contains("\n```text ") || text.contains("\n```console "), "{file}: no output");
    }
}

/// What the program prints that a block is tagged with: `text NAME`, or `text NAME drawn` for its picture.
fn output<'a>(stdout: &'a str, tag: &str) -> Option<&'a str> {
    let (_, name) = tag.split_once(' ')?;
    let heading = format!("\n--- {}\n", name.replace(" drawn", ", drawn"));
    let (_, section) = stdout.split_once(&heading)?;
    let end = section.find("\n\n--- ").map_or(section.len(), |end| end + 1);
    Some(&section[..end])
}

/// A chapter with its blocks of output as `stdout` has them.
fn with_outputs(text: &str, stdout: &str) -> String {
    let mut lines = text.lines();
    let mut current = String::new();
    while let Some(line) = lines.next() {
        current += line;
        current.push('\n');
        let tag = line.strip_prefix("```").filter(|tag| is_output(tag));
        if let Some(printed) = tag.and_then(|tag| output(stdout, tag)) {
            current += printed;
            current += "```\n";
            lines.by_ref().find(|line| *line == "```");
        }
    }
    current
}

/// A translation with the blocks of its original.
fn with_blocks(translation: &str, original: &str) -> String {
    let mut originals = blocks(original);
    let mut lines = translation.lines();
    let mut current = String::new();
    while let Some(line) = lines.next() {
        match line.starts_with("```").then(|| originals.next()).flatten() {
            Some(Block { tag, text, .. }) => {
                current += &format!("```{tag}\n{text}```\n");
                lines.by_ref().find(|line| *line == "```");
            }
            None => current += &format!("{line}\n"),
        }
    }
    current
}

fn is_output(tag: &str) -> bool {
    tag.starts_with("text ") || tag.starts_with("console ")
}

/// In any order: the kernel may take its time with bytes that are sent by TCP, and the virtual clock does not wait.
#[test]
fn the_three_eras_log_what_the_last_chapter_shows() {
    let folder = Folder::new();
    let ran = run_example("guide", &["11"], folder.path());
    let shown = blocks(&english(11).0).map(|block| log_lines(&block.text)).find(|l| !l.is_empty());
    let shown = shown.expect("the chapter shows a log");
    let eras: Vec<_> = ran.stdout.split("\n--- ").skip(1).step_by(2).map(log_lines).collect();
    assert_eq!(eras, [shown.clone(), shown.clone(), shown], "{}", ran.stdout);
}

fn log_lines(section: &str) -> BTreeSet<String> {
    let lines = section.lines().filter(|l| l.starts_with("INFO") || l.starts_with("ERROR"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_chapter_is_short_and_ends_with_two_questions() {
    for chapter in CHAPTERS {
        let (text, file) = english(chapter);
        let shown = |block: Block| block.text.lines().filter(|line| !is_hidden(line)).count();
        let code: usize = blocks(&text).map(shown).sum();
        let words: usize = prose(&text).map(|line| line.split_whitespace().count()).sum();
        // A minute takes 200 words, or 25 lines of code.
        let minutes = (words as f64 / 200.0 + code as f64 / 25.0).ceil() as u32;
        let said =
            text.split_once("\n*").and_then(|(_, rest)| rest.split_once(" minutes. Run it:"));
        let said: u32 = said.expect("it says how long it is").0.parse().expect("minutes");
        assert!(minutes <= 15, "{file} takes {minutes} minutes: shorten it, or split it");
        assert!(minutes.abs_diff(said) <= 1, "{file} takes {minutes} minutes, and says {said}");
        let other = chinese(chapter).0.contains(&format!("\n*{said} 分钟。"));
        assert!(other, "{file} says {said} minutes, and its translation does not");
        for (text, file) in [english(chapter), chinese(chapter)] {
            let (_, end) = text.rsplit_once("\n## ").expect("a section of questions");
            let numbered = end.lines().filter(|l| l.starts_with("1. ") || l.starts_with("2. "));
            assert_eq!(numbered.count(), 2, "{file}: the last section has not two questions");
            assert_eq!(end.matches("<details>").count(), 2, "{file}: a question has no answer");
            assert_eq!(end.matches("</details>").count(), 2, "{file}: an answer has no end");
        }
    }
}

#[test]
fn links_lead_somewhere() {
    // A published crate does not bring the exercises, which are a package of their own.
    let exercises = fs::read_dir(root().join("exercises/tests")).into_iter().flatten();
    let exercises: Vec<String> = exercises
        .map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned())
        .filter(|name| is_exercise(name))
        .collect();
    for language in ["en", "zh-CN"] {
        let of_rustdoc = definitions(&read(&format!("guide/{language}/links.md")));
        let of_rustdoc: BTreeSet<_> = of_rustdoc.into_iter().map(|(name, _)| name).collect();
        let mut used = BTreeSet::new();
        for chapter in CHAPTERS {
            let file = format!("guide/{language}/{chapter:02}.md");
            let text = read(&file);
            let definitions = definitions(&text);
            assert!(
                definitions.iter().any(|(name, _)| name.starts_with("src/")),
                "{file}: no source"
            );
            assert!(definitions.iter().any(|(name, _)| is_exercise(name)), "{file}: no exercise");
            for (name, target) in definitions {
                let mentions = text.matches(&format!("[{name}]")).count();
                assert!(mentions > 1, "{file}: the link {name:?} is not used");
                let path = root().join("guide").join(language).join(&target);
                let comes = is_exercise(&name) && !exercises.iter().any(|e| e[..3] == name[..3]);
                assert!(comes || path.exists(), "{file}: {target} does not exist");
                used.insert(name);
            }
        }
        assert_eq!(of_rustdoc, used, "guide/{language}/links.md has other links than the chapters");
    }
}

fn is_exercise(name: &str) -> bool {
    name.starts_with('e') && name[1..].starts_with(|c: char| c.is_ascii_digit())
}

/// The hash is that of the text outside of the blocks, which are compared.
#[test]
fn no_original_changes_without_its_translation() {
    for chapter in CHAPTERS {
        let ((original, file), (translation, translated)) = (english(chapter), chinese(chapter));
        let prose = prose(&original).collect::<Vec<_>>().join("\n");
        let now = format!("<!-- {file}, FNV-1a {:016x} -->", fnv(prose.as_bytes()));
        assert!(
            translation.lines().any(|line| line == now),
            "{file} has changed: bring {translated} up to date, and then put there:\n{now}"
        );
        assert_same_shape(&file, &original, &translated, &translation);
    }
}

#[test]
fn the_chinese_readme_is_as_complete_as_the_english_one() {
    let (original, translation) = (read("README.md"), read("README.zh-CN.md"));
    if env::var_os("UPDATE_GUIDE").is_some() {
        return write("README.zh-CN.md", &with_blocks(&translation, &original));
    }
    assert_same_shape("README.md", &original, "README.zh-CN.md", &translation);
}

#[test]
fn the_terms_of_the_glossary_are_used() {
    let chapters: String = CHAPTERS.map(|chapter| chinese(chapter).0).collect();
    let glossary = read("guide/zh-CN/glossary.md");
    let rows = glossary.lines().filter(|line| line.starts_with("| ")).skip(1);
    let terms: Vec<_> = rows.filter_map(|row| row.split('|').nth(2)).map(str::trim).collect();
    for term in ["协程", "让出", "恢复", "抢占式", "协作式", "就绪队列", "背压"] {
        assert!(terms.contains(&term), "the glossary has no {term}");
    }
    for term in terms {
        assert!(chapters.contains(term), "no chapter uses {term}");
    }
}

/// Headings, tables and blocks of code: the same number in the same order, the blocks byte for byte.
#[track_caller]
fn assert_same_shape(file: &str, original: &str, translated: &str, translation: &str) {
    let shapes = shape(original).into_iter().zip(shape(translation));
    for ((line, part), (place, other)) in shapes {
        assert_eq!(part, other, "{file}:{line} differs from {translated}:{place}");
    }
    let (parts, others) = (shape(original).len(), shape(translation).len());
    assert_eq!(
        parts, others,
        "{file} has {parts} headings, rows and blocks, {translated} {others}"
    );
}

/// What a translation has in common with its original, each with the number of its line.
fn shape(text: &str) -> Vec<(usize, String)> {
    let blocks =
        blocks(text).map(|block| (block.line, format!("```{}\n{}", block.tag, block.text)));
    let prose = numbered_prose(text).filter_map(|(number, line)| {
        let level = line.chars().take_while(|c| *c == '#').count();
        let cells = line.replace("\\|", "").matches('|').count();
        match (level, line.starts_with('|')) {
            (1.., _) => Some((number, format!("heading {level}"))),
            (0, true) => Some((number, format!("a row with {cells} bars"))),
            _ => None,
        }
    });
    let mut shape: Vec<_> = blocks.chain(prose).collect();
    shape.sort();
    shape
}

/// A fenced block.
struct Block {
    /// The line of the fence.
    line: usize,
    tag: String,
    text: String,
}

fn blocks(text: &str) -> impl Iterator<Item = Block> {
    let mut lines = text.lines().enumerate();
    std::iter::from_fn(move || {
        let (line, tag) = lines.by_ref().find_map(|(n, l)| Some((n, l.strip_prefix("```")?)))?;
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let text = inside.map(|line| format!("{line}\n")).collect();
        Some(Block { line: line + 1, tag: tag.to_owned(), text })
    })
}

/// The lines outside of blocks, with their numbers.
fn numbered_prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let fence = line.starts_with("```");
        is_code ^= fence;
        (!is_code && !fence).then_some((number, line))
    })
}

fn prose(text: &str) -> impl Iterator<Item = &str> {
    numbered_prose(text).map(|(_, line)| line)
}

/// A line that rustdoc compiles and does not show.
fn is_hidden(line: &str) -> bool {
    line == "#" || line.starts_with("# ")
}

/// The code of a block, item by item, but for what the block has of its own: imports, and what runs it.
fn pieces(block: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for line in block.lines() {
        let code = line.strip_prefix("# ").unwrap_or(line);
        if code.is_empty() || code == "#" || code.starts_with('}') {
            continue;
        }
        if !code.starts_with(' ') {
            pieces.push(String::new());
        }
        let piece: &mut String = pieces.last_mut().expect("a block begins in the first column");
        piece.push_str(code);
        piece.push('\n');
    }
    pieces.retain(|piece| !piece.starts_with("use ") && !piece.starts_with("fn main() { "));
    pieces
}

/// Definitions of links, `[name]: target`.
fn definitions(text: &str) -> Vec<(String, String)> {
    let definition = |line: &str| {
        let (name, target) = line.strip_prefix('[')?.split_once("]: ")?;
        Some((name.to_owned(), target.to_owned()))
    };
    prose(text).filter_map(definition).collect()
}

/// The hash FNV-1a, of 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}
