//! The picture in a terminal: a row for each task, a character for each piece of time.

use std::env;
use std::fmt;
use std::io::IsTerminal;
use std::iter;

use super::chart::{END, LOOKS, Phase, Scale, count, cut, heading, label};
use super::record::{Course, Row};
use crate::kernel::edge::observe::Outcome;

/// A [`Timeline`](super::Timeline) as lines of text; prints as the picture.
#[derive(Clone, Debug)]
#[must_use = "it is drawn when it is printed"]
pub struct Terminal {
    course: Course,
    columns: usize,
    rows: usize,
    colour: bool,
    ending: bool,
}

/// Mostly turns, which take less than half of the cell.
const SHORT_TURN: char = '│';
/// The mark where the run ends; and where it is at the right margin.
const AT_END: &str = "|end";
const AT_END_BEFORE: &str = "end|";
const PANICKED: char = '✗';
const CANCELLED: char = '×';

/// The share of a cell that counts as half of it, and the least of the thread's that is drawn.
const HALF: f64 = 0.49;
const SEEN: f64 = 0.1;

/// Less than any turn's share of a cell, but not than an error in it.
const NOTHING: f64 = 1e-12;

/// The columns of a row: number, name and era come before the cells.
const NAME: usize = 15;
const ERA: usize = 9;
/// Fewer cells show nothing.
const FEWEST_CELLS: usize = 10;

impl Terminal {
    pub(super) fn new(course: Course, columns: usize) -> Terminal {
        Terminal { course, columns, rows: 40, colour: false, ending: false }
    }

    /// At most so many tasks have a row of their own (40, if this is not called): those that had the thread
    /// longest. The rest share one.
    pub fn rows(mut self, rows: usize) -> Terminal {
        self.rows = rows;
        self
    }

    /// With colours, or without.
    pub fn colour(mut self, colour: bool) -> Terminal {
        self.colour = colour;
        self
    }

    /// With colours if it is printed to a terminal, and the environment variable `NO_COLOR` is not set:
    /// `println!("{}", timeline.terminal(80).colour_on(&std::io::stdout()))`.
    pub fn colour_on(self, stream: &impl IsTerminal) -> Terminal {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = stream.is_terminal() && !unwanted;
        self.colour(colour)
    }

    /// Only how it ended: as many turns as have a character each, up to the end of the root or the moment
    /// when it was cancelled. (For runs on a virtual clock; others are drawn whole.)
    pub fn ending(mut self) -> Terminal {
        self.ending = true;
        self
    }

    /// The scale, how many of the cells it takes, and the rows that have something on it.
    fn laid_out(&self, mut cells: usize) -> (Scale, usize, Vec<&Row>) {
        let mut scale = Scale::of(&self.course);
        if self.ending && scale.by_turns {
            if let Some(root) = self.course.rows.get(&1) {
                let cancelled = root.cancelled.map(|(moment, _)| moment);
                let end = cancelled.or(root.spans.last().map(|span| span.to));
                scale.to = end.map_or(scale.to, |end| end.step.max(scale.from + 2));
            }
            scale.from = scale.from.max(scale.to.saturating_sub(2 * cells as u64));
        }
        if scale.by_turns {
            let turns = (scale.to - scale.from).div_ceil(2) as usize;
            if let Some(each) = cells.checked_div(turns).filter(|each| *each > 0) {
                // Each turn is as wide as any other; on the right, something is left free.
                cells -= cells % each;
                scale.to = scale.from + 2 * (cells / each) as u64;
            }
        }
        let shown = |row: &&Row| {
            let ends = row.spans.last().is_some_and(|last| last.to.step > scale.from);
            let begins = row.spans.first().is_some_and(|first| first.from.step < scale.to);
            !scale.by_turns || ends && begins
        };
        (scale, cells, self.course.rows.values().filter(shown).collect())
    }

    fn paint(&self, f: &mut fmt::Formatter<'_>, cells: &[Cell]) -> fmt::Result {
        let drawn =
            cells.iter().rposition(|cell| *cell != Cell::Nothing).map_or(0, |last| last + 1);
        let mut colour = "";
        for cell in &cells[..drawn] {
            let (glyph, wanted) = cell.look();
            if self.colour && wanted != colour {
                f.write_str(if colour.is_empty() { "" } else { "\x1b[0m" })?;
                if !wanted.is_empty() {
                    write!(f, "\x1b[{wanted}m")?;
                }
                colour = wanted;
            }
            write!(f, "{glyph}")?;
        }
        f.write_str(if colour.is_empty() { "" } else { "\x1b[0m" })
    }

    /// What the signs mean that occur.
    fn legend(&self, f: &mut fmt::Formatter<'_>, rows: &[Vec<Cell>]) -> fmt::Result {
        let occurs = |sign: char| rows.iter().flatten().any(|cell| cell.look().0 == sign);
        let kinds = LOOKS.iter().map(|look| (look.glyph, look.ansi, look.meaning));
        let running = LOOKS[0].ansi;
        let others = [
            (SHORT_TURN, running, "a turn shorter than half a cell"),
            (PANICKED, FAILED, "panicked"),
            (CANCELLED, FAILED, "cancelled"),
        ];
        let mut column = 0;
        for (sign, colour, meaning) in kinds.chain(others).filter(|(sign, ..)| occurs(*sign)) {
            let width = meaning.chars().count() + 2;
            match column {
                0 => {}
                _ if column + 3 + width > self.columns => {
                    f.write_str("\n")?;
                    column = 0;
                }
                _ => {
                    f.write_str("   ")?;
                    column += 3;
                }
            }
            column += width;
            match self.colour {
                true => write!(f, "\x1b[{colour}m{sign}\x1b[0m {meaning}")?,
                false => write!(f, "{sign} {meaning}")?,
            }
        }
        f.write_str("\n")
    }
}

const FAILED: &str = "1;31";

impl fmt::Display for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.course.rows.keys().next_back().copied().unwrap_or(0);
        let number = most.to_string().len().max(2);
        let before = number + 1 + NAME + 1 + ERA + 1;
        let width = self.columns.saturating_sub(before).max(FEWEST_CELLS);
        let (scale, width, mut own) = self.laid_out(width);
        let all = own.clone();
        let mut rest = Vec::new();
        if own.len() > self.rows {
            own.sort_by_key(|row| {
                (std::cmp::Reverse((row.running(), row.turns().count())), row.task)
            });
            rest = own.split_off(self.rows);
            own.sort_by_key(|row| row.task);
        }

        let mut lines = Vec::new();
        for row in own {
            let mut cells = cells(iter::once(row), &scale, width, Cell::of);
            if let Some(end) = row.outcome.and_then(Cell::of_outcome)
                && let Some(last) = row.spans.last()
                && last.to.step <= scale.to
            {
                let last = scale.x(last.to, width as f64) as usize;
                cells[last.min(width - 1)] = end;
            }
            let name = cut(&label(row), NAME + if self.course.has_eras { 0 } else { 1 + ERA });
            let era = if self.course.has_eras {
                format!(" {:ERA$}", row.era.to_string())
            } else {
                String::new()
            };
            lines.push((format!("{:>number$} {name}{era} ", row.task), cells));
        }
        if !rest.is_empty() {
            let others = format!("and {} more, together", count(rest.len(), "task"));
            lines.push((
                cut(&others, before - 1) + " ",
                cells(rest.iter().copied(), &scale, width, Cell::of),
            ));
        }
        let thread = cells(all.into_iter(), &scale, width, Cell::of_thread);

        writeln!(f, "{}", heading(&self.course))?;
        writeln!(f, "{:before$}{}", "", axis(&scale, &self.course, width))?;
        write!(f, "{} ", cut(&format!("{:number$} the thread", ""), before - 1))?;
        self.paint(f, &thread)?;
        f.write_str("\n")?;
        for (head, cells) in &lines {
            f.write_str(head)?;
            self.paint(f, cells)?;
            f.write_str("\n")?;
        }
        if !rest.is_empty() {
            writeln!(f, "Those that had the thread longest have rows of their own.")?;
        }
        if scale.end(&self.course, 0.0).is_some() {
            writeln!(f, "At the mark \"end\", {END}.")?;
        }
        if scale.by_turns {
            f.write_str("Virtual time stands still while tasks run; from left to right, turn follows turn.\n")?;
        }
        let drawn: Vec<_> = lines.into_iter().map(|(_, cells)| cells).collect();
        self.legend(f, &drawn)
    }
}

/// What stands for one task, or several, in one piece of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Nothing,
    /// Turns, and otherwise less of anything: the task begins or ends in it.
    ShortTurn,
    Mostly(Phase),
    Panicked,
    Cancelled,
}

impl Cell {
    /// What takes most of the cell. A cell of hundreds of short turns that is mostly waiting is drawn as waiting.
    fn of(shares: &[f64]) -> Cell {
        let mut most = (NOTHING, Cell::Nothing);
        for (look, share) in LOOKS.iter().zip(shares) {
            if *share > most.0 {
                most = (*share, Cell::Mostly(look.kind));
            }
        }
        match most {
            (share, Cell::Mostly(Phase::Running)) if share < HALF => Cell::ShortTurn,
            (_, cell) => cell,
        }
    }

    /// Whether the thread is in use: turns of any length, as far as they are a part that can be seen.
    fn of_thread(shares: &[f64]) -> Cell {
        match shares[Phase::Running as usize] {
            share if share < SEEN => Cell::Nothing,
            share if share < HALF => Cell::ShortTurn,
            _ => Cell::Mostly(Phase::Running),
        }
    }

    fn of_outcome(outcome: Outcome) -> Option<Cell> {
        match outcome {
            Outcome::Returned => None,
            Outcome::Panicked => Some(Cell::Panicked),
            Outcome::Cancelled => Some(Cell::Cancelled),
        }
    }

    /// The sign, and its colour.
    fn look(self) -> (char, &'static str) {
        match self {
            Cell::Nothing => (' ', ""),
            Cell::ShortTurn => (SHORT_TURN, Phase::Running.look().ansi),
            Cell::Mostly(kind) => (kind.look().glyph, kind.look().ansi),
            Cell::Panicked => (PANICKED, FAILED),
            Cell::Cancelled => (CANCELLED, FAILED),
        }
    }
}

fn cells<'a>(
    rows: impl Iterator<Item = &'a Row>,
    scale: &Scale,
    width: usize,
    of: fn(&[f64]) -> Cell,
) -> Vec<Cell> {
    let mut shares = vec![[0.0; LOOKS.len()]; width];
    for span in rows.flat_map(|row| &row.spans) {
        let (from, to) = (scale.x(span.from, width as f64), scale.x(span.to, width as f64));
        let kind = Phase::of(&span.state) as usize;
        for (cell, shares) in
            shares.iter_mut().enumerate().take(to.ceil() as usize).skip(from as usize)
        {
            shares[kind] += to.min((cell + 1) as f64) - from.max(cell as f64);
        }
    }
    shares.iter().map(|shares| of(shares)).collect()
}

fn axis(scale: &Scale, course: &Course, width: usize) -> String {
    const ROOM: usize = 7;
    let mut axis = vec![' '; width];
    let mut put = |x: usize, label: &str| {
        let length = label.chars().count();
        // One blank is left free before it, and one after.
        let around = axis.get(x.saturating_sub(1)..(x + length + 1).min(width));
        if x + length <= width && around.is_some_and(|around| around.iter().all(|c| *c == ' ')) {
            axis.splice(x..x + length, label.chars());
        }
    };
    if let Some(end) = scale.end(course, width as f64) {
        match end as usize {
            end if end + AT_END.len() <= width => put(end, AT_END),
            end => put(end.min(width - 1) + 1 - AT_END_BEFORE.len(), AT_END_BEFORE),
        }
    }
    for (x, label) in scale.ticks(course, width as f64, width / ROOM) {
        put(x as usize, &format!("|{label}"));
    }
    axis.iter().collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares<const N: usize>(of: [(Phase, f64); N]) -> [f64; LOOKS.len()] {
        let mut shares = [0.0; LOOKS.len()];
        of.into_iter().for_each(|(kind, share)| shares[kind as usize] = share);
        shares
    }

    #[test]
    fn a_cell_shows_what_takes_most_of_it() {
        let mostly_waiting =
            shares([(Phase::Running, 0.02), (Phase::Io, 0.9), (Phase::Ready, 0.08)]);
        assert_eq!(Cell::of(&mostly_waiting), Cell::Mostly(Phase::Io));
        assert_eq!(Cell::of_thread(&mostly_waiting), Cell::Nothing);
        let mostly_running = shares([(Phase::Running, 0.6), (Phase::Io, 0.4)]);
        assert_eq!(Cell::of(&mostly_running), Cell::Mostly(Phase::Running));
        assert_eq!(Cell::of_thread(&mostly_running), Cell::Mostly(Phase::Running));
        let end_of_a_task = shares([(Phase::Running, 0.02), (Phase::Ready, 0.01)]);
        assert_eq!(Cell::of(&end_of_a_task), Cell::ShortTurn);
        assert_eq!(Cell::of(&shares([])), Cell::Nothing);
    }

    #[test]
    fn a_name_is_cut_in_its_middle() {
        assert_eq!(cut("picture-of-a-cat-1.png", 15), "picture…t-1.png");
        assert_eq!(cut("short", 8), "short   ");
        assert_eq!(cut("a name of words", 8), "a na…rds");
        assert_eq!(cut("会議の準備をする", 7), "会…る  ");
        assert_eq!(cut("abc", 1), "…");
    }
}
