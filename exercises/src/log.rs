//! What happened in which order: a log with a row for each speaker, and letter rows.

use std::cell::RefCell;
use std::fmt::{self, Display, Write};
use std::rc::Rc;

/// A log that several hands write to. Its clones are the same log; each handle speaks for one row.
///
/// Prints as rows, from left to right in the order in which the entries came.
#[derive(Clone)]
pub struct Log {
    entries: Rc<RefCell<Vec<(&'static str, String)>>>,
    who: &'static str,
}

impl Log {
    /// An empty log, with a handle for the row `who`.
    pub fn new(who: &'static str) -> Log {
        Log { entries: Rc::default(), who }
    }

    /// A handle to the same log, for the row `who`.
    pub fn of(&self, who: &'static str) -> Log {
        Log { entries: self.entries.clone(), who }
    }

    /// Adds an entry to this handle's row.
    pub fn say(&self, entry: impl Display) {
        self.entries.borrow_mut().push((self.who, entry.to_string()));
    }

    /// All entries in order, each as `who: entry`.
    pub fn lines(&self) -> Vec<String> {
        self.entries.borrow().iter().map(|(who, entry)| format!("{who}: {entry}")).collect()
    }

    /// The entries of one row, in order.
    pub fn row(&self, who: &str) -> Vec<String> {
        let entries = self.entries.borrow();
        entries.iter().filter(|(by, _)| *by == who).map(|(_, entry)| entry.clone()).collect()
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&draw(&self.entries.borrow()))
    }
}

/// Letter rows: a row for each name, a column for each turn, and the name's first letter where the turn was its own.
///
/// ```text
/// a  a..a.a
/// b  .b....
/// c  ..c.c.
/// ```
pub fn letter_rows(turns: &[impl AsRef<str>]) -> String {
    const MOST: usize = 60;
    let turns: Vec<&str> = turns.iter().map(AsRef::as_ref).collect();
    let mut names: Vec<&str> = Vec::new();
    for turn in &turns {
        if !names.contains(turn) && names.len() < 26 {
            names.push(turn);
        }
    }
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for name in names {
        write!(text, "{name:width$}  ").expect("a String takes all");
        for turn in turns.iter().take(MOST) {
            text.push(if *turn == name { name.chars().next().unwrap_or('#') } else { '.' });
        }
        text.push_str(if turns.len() > MOST { "…\n" } else { "\n" });
    }
    text
}

/// A row for each speaker, a column for each entry, as wide as the entry.
fn draw(entries: &[(&'static str, String)]) -> String {
    const MOST: usize = 24;
    // On one line, whatever is in it.
    let escaped =
        |entry: &str| entry.replace('\r', "\\r").replace('\n', "\\n").replace('\t', "\\t");
    let entries: Vec<(&str, String)> =
        entries.iter().map(|(who, entry)| (*who, escaped(entry))).collect();
    let mut names: Vec<&str> = Vec::new();
    entries.iter().for_each(|(who, _)| {
        if !names.contains(who) {
            names.push(who);
        }
    });
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for name in &names {
        write!(text, "{name:width$}  ").expect("a String takes all");
        for (who, entry) in entries.iter().take(MOST) {
            let room = entry.chars().count().max(1);
            match who == name {
                true => write!(text, "{entry} "),
                false => write!(text, "{} ", ".".repeat(room)),
            }
            .expect("a String takes all");
        }
        let end = text.trim_end().len();
        text.truncate(end);
        text.push_str(if entries.len() > MOST { " …\n" } else { "\n" });
    }
    text
}
