//! What a picture is made of: the scale along which a run is laid, and how each state looks.

use std::time::Duration;

use super::record::{Course, Moment, Row, State};
use crate::kernel::edge::observe::Actor;
use crate::kernel::wait::WaitFor;

/// What all pictures distinguish, in the order of their legends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Running,
    Ready,
    Io,
    Time,
    Task,
    Named,
    Waker,
}

/// How a [`Phase`] looks.
pub(super) struct Look {
    pub(super) kind: Phase,
    pub(super) meaning: &'static str,
    pub(super) glyph: char,
    /// The parameter of a terminal's "select graphic rendition".
    pub(super) ansi: &'static str,
    /// The name of its class in an SVG.
    pub(super) class: &'static str,
}

pub(super) const LOOKS: [Look; 7] = [
    look(Phase::Running, "running", '█', "32", "run"),
    look(Phase::Ready, "ready, waits for its turn", '▒', "33", "ready"),
    look(Phase::Io, "waits for I/O", '─', "34", "io"),
    look(Phase::Time, "waits for time", '·', "35", "time"),
    look(Phase::Task, "waits for another task", '~', "36", "task"),
    look(Phase::Named, "waits for a lock, a queue, a thread…", '=', "31", "named"),
    look(Phase::Waker, "waits to be woken", '?', "90", "waker"),
];

const fn look(
    kind: Phase,
    meaning: &'static str,
    glyph: char,
    ansi: &'static str,
    class: &'static str,
) -> Look {
    Look { kind, meaning, glyph, ansi, class }
}

impl Phase {
    pub(super) fn of(state: &State) -> Phase {
        match state {
            State::Running => Phase::Running,
            State::Ready => Phase::Ready,
            State::Waiting { what, .. } => Phase::of_wait(*what),
        }
    }

    /// A kind of wait that has no look of its own looks as [`WaitFor::Waker`] does.
    pub(super) fn of_wait(what: WaitFor) -> Phase {
        match what {
            WaitFor::Readable(_) | WaitFor::Writable(_) => Phase::Io,
            WaitFor::Time => Phase::Time,
            WaitFor::Task(_) => Phase::Task,
            WaitFor::Thing(_) => Phase::Named,
            _ => Phase::Waker,
        }
    }

    pub(super) fn look(self) -> &'static Look {
        &LOOKS[self as usize]
    }
}

/// What a row is called: the name of its task, or else the line that has spawned it.
pub(super) fn label(row: &Row) -> String {
    match &row.name {
        Some(name) => name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        None => {
            let file = row.site.file().rsplit('/').next().unwrap_or_default();
            format!("{file}:{}", row.site.line())
        }
    }
}

/// The actor, in words.
pub(super) fn describe(by: Actor) -> String {
    match by {
        Actor::Task(id) => format!("task {id}"),
        Actor::Socket => "its socket".into(),
        Actor::Time => "the clock".into(),
        Actor::Outside => "another thread, or code outside of any task".into(),
        Actor::End => "the end of the run".into(),
    }
}

/// How many there are of what.
pub(super) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// In exactly so many columns; if it has to be cut, in its middle: names that begin alike mostly end otherwise.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let width = |text: &str| text.chars().map(columns_of).sum::<usize>();
    let start_of = |chars: &mut dyn Iterator<Item = char>, room: usize| -> String {
        let mut used = 0;
        let fits = |c: &char| {
            used += columns_of(*c);
            used <= room
        };
        chars.take_while(fits).collect()
    };
    let mut cut = text.to_owned();
    if width(text) > columns {
        let room = columns.saturating_sub(1);
        let start = start_of(&mut text.chars(), room.div_ceil(2));
        let end = start_of(&mut text.chars().rev(), room / 2);
        cut = format!("{}…", start.trim_end());
        cut.extend(end.trim_end().chars().rev()); // the blanks that it begins with
    }
    let blanks = columns.saturating_sub(width(&cut));
    cut + &" ".repeat(blanks)
}

/// How wide a terminal draws it: Chinese, Japanese and Korean characters and emoji take two columns.
fn columns_of(c: char) -> usize {
    let wide = matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}');
    1 + usize::from(wide)
}

/// What happens at [`Scale::end`].
pub(super) const END: &str = "the run ends, and what is left is cancelled";

/// A picture's heading.
pub(super) fn heading(course: &Course) -> String {
    let turns: usize = course.rows.values().map(|row| row.turns().count()).sum();
    let running: Duration = course.rows.values().map(Row::running).sum();
    let lasted = course.now.time - course.from.time;
    let mut text = match course.title.as_str() {
        "" => String::new(),
        title => format!("{title}: "),
    };
    let (tasks, turns) = (count(course.rows.len(), "task"), count(turns, "turn"));
    text += &format!("{tasks}, {turns} in {}", short(lasted));
    match running.is_zero() {
        true => text += " of virtual time",
        false => {
            let share = 100.0 * running.as_secs_f64() / lasted.as_secs_f64();
            text += &format!(", the thread busy for {share:.0} %");
        }
    }
    if course.forgotten > 0 {
        text += &format!(
            " (the {} before that are forgotten)",
            count(course.forgotten as usize, "event")
        );
    }
    text
}

/// A duration in three digits.
pub(super) fn short(time: Duration) -> String {
    match time.as_nanos() {
        0 => "0 s".into(),
        nanos => {
            let (unit, name) = unit(nanos as u64);
            let value = nanos as f64 / unit as f64;
            let digits = usize::from(value < 100.0) + usize::from(value < 10.0);
            let text = format!("{value:.digits$}");
            let text =
                if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            format!("{text} {name}")
        }
    }
}

/// The largest unit that is not larger, in nanoseconds.
fn unit(nanos: u64) -> (u64, &'static str) {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    units.into_iter().find(|(unit, _)| *unit <= nanos).unwrap_or((1, "ns"))
}

/// Where the moments of a run lie, from left to right: by time; or, where the clock stands still while tasks
/// run, by turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) by_turns: bool,
    /// In nanoseconds or steps.
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Scale {
    pub(super) fn of(course: &Course) -> Scale {
        let by_turns = course.rows.values().all(|row| row.running().is_zero());
        let mut scale = Scale { by_turns, from: 0, to: 0 };
        (scale.from, scale.to) = (scale.at(course.from), scale.at(course.now));
        scale.to = scale.to.max(scale.from + 1);
        scale
    }

    fn at(&self, moment: Moment) -> u64 {
        if self.by_turns { moment.step } else { moment.time.as_nanos() as u64 }
    }

    /// Between 0, at the left, and `width`, at the right; what lies outside is drawn in.
    pub(super) fn x(&self, moment: Moment, width: f64) -> f64 {
        let at = self.at(moment).clamp(self.from, self.to);
        (at - self.from) as f64 / (self.to - self.from) as f64 * width
    }

    /// What is to be written along the axis, and where, for room for `most` marks.
    pub(super) fn ticks(&self, course: &Course, width: f64, most: usize) -> Vec<(f64, String)> {
        match self.by_turns {
            true => self.jumps(course, width, most),
            false => self.round_times(width, most),
        }
    }

    /// Where the run ends, if there it cancels what is left.
    pub(super) fn end(&self, course: &Course, width: f64) -> Option<f64> {
        let end = course.end.filter(|end| (self.from..=self.to).contains(&self.at(*end)));
        end.map(|end| self.x(end, width))
    }

    fn round_times(&self, width: f64, most: usize) -> Vec<(f64, String)> {
        let least = (self.to - self.from) / most.max(1) as u64;
        let powers = (0..19).map(|exponent| 10_u64.pow(exponent));
        let mut steps = powers.flat_map(|power| [power, 2 * power, 5 * power]);
        let step = steps.find(|step| *step >= least.max(1)).unwrap_or(u64::MAX);
        let first = self.from.div_ceil(step) * step;
        let (unit, name) = unit(self.to);
        let times = (first..=self.to).step_by(step as usize);
        let label = |time: u64| format!("{} {name}", time as f64 / unit as f64);
        let x = |time| self.x(Moment { time: Duration::from_nanos(time), step: 0 }, width);
        times.map(|time| (x(time), label(time))).collect()
    }

    /// The moments at which the clock was moved, as far as there is room for them.
    fn jumps(&self, course: &Course, width: f64, most: usize) -> Vec<(f64, String)> {
        let turns = course.rows.values().flat_map(Row::turns);
        let mut moments: Vec<_> = turns.map(|turn| turn.from).collect();
        moments.retain(|moment| (self.from..=self.to).contains(&moment.step));
        moments.sort_unstable();
        moments.dedup_by_key(|moment| moment.time);
        let room = width / most.max(1) as f64;
        let mut free = 0.0;
        let mut ticks = Vec::new();
        for moment in moments {
            let x = self.x(moment, width);
            if x >= free {
                ticks.push((x, short(moment.time)));
                free = x + room;
            }
        }
        ticks
    }
}
