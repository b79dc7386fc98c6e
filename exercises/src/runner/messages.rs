//! The messages of failed tests in Chinese.

use std::path::PathBuf;

use crate::runner::catalog::{Course, Exercise, read};
use crate::runner::words::Language;

/// Messages in English, each with its Chinese: from `messages.zh-CN.txt` of an exercise, and of the kit (`src/`).
///
/// In the file, an English line, with `{}` where a message has a value of its own, is followed by the Chinese line, in which
/// `{}` are these values in their order, or `{2}` the second. A value that is an English line itself is put in in Chinese. Blank
/// lines stand between.
pub struct Messages {
    pairs: Vec<(String, String)>,
}

impl Messages {
    /// Those of an exercise, if Chinese is wanted; else none.
    pub fn of(
        course: &Course,
        exercise: &Exercise,
        language: Language,
    ) -> Result<Messages, String> {
        match language {
            Language::English => Ok(Messages { pairs: Vec::new() }),
            Language::Chinese => Messages::read([exercise.messages(), of_the_kit(course)]),
        }
    }

    /// Those of the kit and of the runner.
    pub fn of_the_kit(course: &Course) -> Result<Messages, String> {
        Messages::read([of_the_kit(course)])
    }

    fn read(paths: impl IntoIterator<Item = PathBuf>) -> Result<Messages, String> {
        let mut pairs = Vec::new();
        for path in paths {
            let text = read(&path)?;
            // A line may begin with spaces.
            let blocks = text.split("\n\n").map(|block| block.trim_matches('\n'));
            for block in blocks.filter(|block| !block.is_empty()) {
                let pair = block.split_once('\n').filter(|(_, chinese)| !chinese.contains('\n'));
                let (english, chinese) = pair.ok_or_else(|| {
                    format!(
                        "{}: an English line and a Chinese line, and not: {block}",
                        path.display()
                    )
                })?;
                pairs.push((english.to_owned(), chinese.to_owned()));
            }
        }
        Ok(Messages { pairs })
    }

    /// A message in Chinese, line by line; lines that are not known stay as they are.
    ///
    /// Returns `None` if its first line is not known.
    pub fn translated(&self, message: &str) -> Option<String> {
        let mut lines = message.lines();
        let first = self.line(lines.next()?)?;
        let rest = lines.map(|line| self.line(line).unwrap_or_else(|| line.to_owned()));
        Some(std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n"))
    }

    /// A picture with what it says in words in Chinese: its heading, and its legend, whose entries have three blanks between.
    pub fn picture(&self, picture: &str) -> String {
        let entry = |entry: &str| {
            let (glyph, meaning) = entry.split_once(' ')?;
            let is_glyph = glyph.chars().count() == 1 && !glyph.starts_with(char::is_alphanumeric);
            Some(format!("{glyph} {}", self.line(meaning).filter(|_| is_glyph)?))
        };
        let legend = |line: &str| {
            let entries: Option<Vec<_>> = line.split("   ").map(entry).collect();
            Some(entries?.join("   "))
        };
        let lines = picture.lines().map(|line| {
            self.line(line).or_else(|| legend(line)).unwrap_or_else(|| line.to_owned())
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn line(&self, line: &str) -> Option<String> {
        self.pairs.iter().find_map(|(english, chinese)| {
            // A pattern that is all value would be a value of itself.
            let values = values(english, line).filter(|_| english != "{}")?;
            // Not one after the other: a value may have braces in it.
            let (mut text, mut rest, mut next) = (String::new(), &chinese[..], 0);
            while let Some((before, (number, after))) =
                rest.split_once('{').and_then(|(before, it)| Some((before, it.split_once('}')?)))
            {
                let place = number.parse().map_or(next, |number: usize| number.saturating_sub(1));
                let value = values.get(place).copied().unwrap_or("?");
                // What a value says may be known too.
                text += before;
                text += &self.list(value).unwrap_or_else(|| value.to_owned());
                (rest, next) = (after, next + 1);
            }
            text += rest;
            Some(text)
        })
    }

    /// What is known, or a list of it, with commas between.
    fn list(&self, text: &str) -> Option<String> {
        let parts: Option<Vec<_>> = text.split(", ").map(|part| self.line(part)).collect();
        parts.map(|parts| parts.join("，")).or_else(|| self.line(text))
    }
}

fn of_the_kit(course: &Course) -> PathBuf {
    course.root.join("src/messages.zh-CN.txt")
}

/// What stands in a line where a pattern has `{}`, if it is a line of this pattern.
fn values<'a>(pattern: &str, line: &'a str) -> Option<Vec<&'a str>> {
    let mut parts = pattern.split("{}");
    let mut rest = line.strip_prefix(parts.next()?)?;
    let mut values = Vec::new();
    let parts: Vec<&str> = parts.collect();
    for (n, part) in parts.iter().enumerate() {
        // The last part ends the line.
        let at = if n + 1 == parts.len() {
            rest.ends_with(part).then(|| rest.len() - part.len())?
        } else {
            rest.find(part)?
        };
        values.push(&rest[..at]);
        rest = &rest[at + part.len()..];
    }
    rest.is_empty().then_some(values)
}
