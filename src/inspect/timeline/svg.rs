//! The picture as an SVG file that stands alone.
//!
//! A turn is dark and as high as its row, readiness lower and lighter, a wait thin and hatched: so it can be read
//! where it is printed without colours. Turns that lie too near one another to be distinguished are drawn as one, so
//! that a file has at most some 3 MB, however long the run and however many its tasks.

use std::collections::HashSet;
use std::fmt::{self, Write};

use super::chart::{END, LOOKS, Phase, Scale, count, cut, describe, heading, label, short};
use super::record::{Course, Moment, Row, Span, State};
use crate::kernel::edge::observe::{Actor, Outcome};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 200.0;
/// As many characters have room there.
const NAME: usize = 26;
const RIGHT: f64 = 14.0;
const CHART: f64 = WIDTH - LEFT - RIGHT;
const HIGHEST_ROW: f64 = 18.0;
const LOWEST_ROW: f64 = 2.5;
/// Names need so much room: in lower rows, not each has its own.
const LOWEST_LABEL: f64 = 12.0;
/// What the rows of one timeline share.
const ROWS: f64 = 540.0;
/// The parts with a title of their own, of one timeline, at most; and those without one.
const MOST_TITLES: f64 = 5_000.0;
const MOST_MARKS: f64 = 100_000.0;
const THINNEST_TURN: f64 = 0.8;
/// So that two turns that follow one another are seen as two.
const BETWEEN_TURNS: f64 = 0.5;
/// What is thinner is not seen.
const THINNEST: f64 = 0.1;

pub(super) fn write(courses: &[Course]) -> String {
    let mut svg = Svg { body: String::new(), y: 26.0, in_page: false };
    svg.legend(courses);
    for (course, scale) in courses.iter().zip(scales(courses)) {
        svg.course(course, scale);
    }
    let height = svg.y;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {WIDTH} {height:.0}\">\n{STYLE}<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         {}</svg>\n",
        svg.body
    )
}

/// Those on the machine's clock are equally long, so that one can be compared with the other.
pub(super) fn scales(courses: &[Course]) -> Vec<Scale> {
    let mut scales: Vec<_> = courses.iter().map(Scale::of).collect();
    let of_time = || scales.iter().filter(|scale| !scale.by_turns);
    let longest = of_time().map(|scale| scale.to - scale.from).max().unwrap_or(0);
    let of_time = scales.iter_mut().filter(|scale| !scale.by_turns);
    of_time.for_each(|scale| scale.to = scale.from + longest);
    scales
}

/// One run for a page, which has [`STYLE`] once, and the heading and the legend in its own text. Where it has text, it
/// has it in both of the page's languages.
pub(super) fn in_page(course: &Course, scale: Scale) -> String {
    let mut svg = Svg { body: String::new(), y: -20.0, in_page: true };
    svg.course(course, scale);
    let (height, label) = (svg.y, Escaped(heading(course)));
    format!(
        "<svg role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {WIDTH} {height:.0}\">\n{}</svg>",
        svg.body
    )
}

/// Where in a picture a moment lies.
pub(super) fn x(scale: &Scale, moment: Moment) -> f64 {
    LEFT + scale.x(moment, CHART)
}

pub(super) const STYLE: &str = r##"<style>
text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #222; }
.head { font-weight: bold; font-size: 13px; }
.name { text-anchor: end; }
.tick { fill: #555; font-size: 11px; }
.grid { stroke: #ddd; }
.end { stroke: #b91c1c; stroke-dasharray: 4 2; }
.run { stroke: #14532d; }
.ready { stroke: #f59e0b; }
.io { stroke: url(#io); }
.time { stroke: url(#time); }
.task { stroke: url(#task); }
.named { stroke: url(#named); }
.waker { stroke: url(#waker); }
.failed { fill: none; stroke: #b91c1c; stroke-width: 2; }
</style>
<defs>
<pattern id="io" width="8" height="8" patternUnits="userSpaceOnUse"><rect width="8" height="8" fill="#93c5fd"/></pattern>
<pattern id="time" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="#f5d0fe"/><circle cx="3" cy="3" r="1.1" fill="#86198f"/></pattern>
<pattern id="task" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="5" height="5" fill="#cffafe"/><path d="M0 5L5 0" stroke="#0e7490"/></pattern>
<pattern id="named" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="5" height="5" fill="#fecaca"/><path d="M0 0L5 5M0 5L5 0" stroke="#b91c1c"/></pattern>
<pattern id="waker" width="4" height="4" patternUnits="userSpaceOnUse"><rect width="4" height="4" fill="#f3f4f6"/><path d="M0 0V4" stroke="#6b7280"/></pattern>
</defs>
"##;

struct Svg {
    body: String,
    /// Where the next thing goes.
    y: f64,
    /// See [`in_page`].
    in_page: bool,
}

impl Svg {
    /// What the looks mean that occur.
    fn legend(&mut self, courses: &[Course]) {
        let rows = || courses.iter().flat_map(|course| course.rows.values());
        let spans = rows().flat_map(|row| &row.spans).filter(|span| span.from < span.to);
        let kinds: HashSet<_> = spans.map(|span| Phase::of(&span.state)).collect();
        let mut x = 14.0;
        for look in LOOKS.iter().filter(|look| kinds.contains(&look.kind)) {
            x = self.room_in_legend(x, look.meaning);
            let height = height(look.kind) * HIGHEST_ROW;
            let bar = format!("M{x:.0} {:.1}h22", self.y - 4.0);
            self.put(format_args!(
                r#"<path class="{}" stroke-width="{height:.1}" d="{bar}"/>"#,
                look.class
            ));
            self.text(x + 28.0, self.y, "tick", look.meaning);
            x += width_in_legend(look.meaning);
        }
        if rows().any(|row| failure(row).is_some()) {
            let meaning = "panicked or cancelled";
            x = self.room_in_legend(x, meaning);
            self.cross(x + 16.0, self.y - 4.0, 4.0, "");
            self.text(x + 28.0, self.y, "tick", meaning);
        }
        self.y += 12.0;
    }

    fn room_in_legend(&mut self, x: f64, meaning: &str) -> f64 {
        if x + width_in_legend(meaning) <= WIDTH {
            return x;
        }
        self.y += 20.0;
        14.0
    }

    fn course(&mut self, course: &Course, scale: Scale) {
        let rows = course.rows.len().max(1) as f64;
        let step = (ROWS / rows).clamp(LOWEST_ROW, HIGHEST_ROW);
        if !self.in_page {
            self.text(14.0, self.y + 20.0, "head", &heading(course));
        }
        let top = self.y + 46.0;
        let first = top + HIGHEST_ROW;
        let bottom = first + step * rows;
        for (x, label) in scale.ticks(course, CHART, 9) {
            let x = LEFT + x;
            self.put(format_args!(
                r#"<path class="grid" d="M{x:.1} {:.1}V{bottom:.1}"/>"#,
                top - 4.0
            ));
            self.text(x, top - 7.0, "tick", &label);
        }
        if scale.by_turns {
            self.both(14.0, top - 7.0, "tick", ["turn after turn", "按轮次"]);
        }
        let layout = Layout {
            scale,
            step,
            fine: (CHART * rows / MOST_MARKS).max(0.4),
            titled: (CHART * rows / MOST_TITLES).max(2.0),
        };
        self.thread(course, &layout, top + HIGHEST_ROW / 2.0);
        let every = (LOWEST_LABEL / step).ceil() as usize;
        for (index, row) in course.rows.values().enumerate() {
            let y = first + step * (index as f64 + 0.5);
            if index % every == 0 {
                let era = match course.has_eras {
                    true => format!(" · {}", row.era),
                    false => String::new(),
                };
                let name = cut(&name(row), NAME - era.chars().count());
                self.text(LEFT - 8.0, y + 4.0, "name", &format!("{}{era}", name.trim_end()));
            }
            self.row(course, row, &layout, y);
        }
        self.y = bottom + 14.0;
        if let Some(x) = scale.end(course, CHART) {
            let (x, top, below) = (LEFT + x, top - 4.0, bottom + 14.0);
            self.put(format_args!(
                r#"<path class="end" d="M{x:.1} {top:.1}V{below:.1}"><title>{END}</title></path>"#
            ));
            self.both(x - 4.0, below, "tick name", ["the end of the run", "运行结束"]);
            self.y += 8.0;
        }
    }

    /// Which task has the thread, if one has. `y` is the row's middle.
    fn thread(&mut self, course: &Course, layout: &Layout, y: f64) {
        let rows = course.rows.values();
        let mut turns: Vec<_> = rows.flat_map(|row| row.turns().map(move |t| (row, t))).collect();
        turns.sort_by_key(|(_, turn)| turn.from);
        let title = |row: &Row, turn: &Span| format!("{}: {}", name(row), title(turn));
        self.both(LEFT - 8.0, y + 4.0, "name", ["the thread", "线程"]);
        self.spans(turns, title, &Layout { step: HIGHEST_ROW, ..*layout }, Phase::Running, y);
    }

    /// What a task did. `y` is the row's middle.
    fn row(&mut self, course: &Course, row: &Row, layout: &Layout, y: f64) {
        let summary = summary(row, course.has_eras);
        self.put(format_args!("<g><title>{}</title>", Escaped(summary)));
        for look in LOOKS.iter().rev() {
            let spans = row.spans.iter().map(|span| (row, span));
            let spans = spans.filter(|(_, span)| Phase::of(&span.state) == look.kind);
            self.spans(spans, |_, span| title(span), layout, look.kind, y);
        }
        if let (Some(last), Some(failure)) = (row.spans.last(), failure(row)) {
            let x = LEFT + layout.scale.x(last.to, CHART);
            self.cross(x, y, (layout.step / 2.0 - 2.0).clamp(1.0, 4.0), &failure);
        }
        self.put(format_args!("</g>"));
    }

    /// All of a kind in a row: those that are wide enough with a title, the rest as one path.
    fn spans<'a>(
        &mut self,
        spans: impl IntoIterator<Item = (&'a Row, &'a Span)>,
        title: impl Fn(&Row, &Span) -> String,
        layout: &Layout,
        kind: Phase,
        y: f64,
    ) {
        let mut path = String::new();
        let mut titled = String::new();
        let mut end = f64::MIN;
        for (row, span) in spans {
            let x = |moment| LEFT + layout.scale.x(moment, CHART);
            let (from, mut to) = (x(span.from), x(span.to));
            if to - from >= layout.titled {
                let title = Escaped(title(row, span));
                to -= BETWEEN_TURNS;
                titled += &format!(
                    "<path d=\"M{from:.1} {y:.1}H{to:.1}\"><title>{title}</title></path>\n"
                );
                continue;
            }
            if kind == Phase::Running {
                to = to.max(from + THINNEST_TURN);
            }
            if to - from.max(end) < THINNEST {
                continue;
            }
            if from - end >= layout.fine {
                path += &format!("M{from:.1} {y:.1}");
            }
            end = to;
            path += &format!("H{end:.1}");
        }
        if !path.is_empty() {
            path = format!("<path d=\"{path}\"/>\n");
        }
        if path.len() + titled.len() > 0 {
            let (class, height) = (kind.look().class, height(kind) * layout.step);
            self.put(format_args!(
                "<g class=\"{class}\" stroke-width=\"{height:.1}\">\n{path}{titled}</g>"
            ));
        }
    }

    fn cross(&mut self, x: f64, y: f64, arm: f64, title: &str) {
        let (left, top) = (x - arm, y - arm);
        let long = 2.0 * arm;
        self.put(format_args!(
            r#"<path class="failed" d="M{left:.1} {top:.1}l{long} {long}m0 -{long}l-{long} {long}"><title>{title}</title></path>"#
        ));
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.put(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{}</text>"#,
            Escaped(text)
        ));
    }

    /// In English, and in a page in Chinese too: the page shows one of them.
    fn both(&mut self, x: f64, y: f64, class: &str, [english, chinese]: [&str; 2]) {
        if !self.in_page {
            return self.text(x, y, class, english);
        }
        for (language, text) in [("en", english), ("zh", chinese)] {
            self.put(format_args!(
                r#"<text lang="{language}" class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#
            ));
        }
    }

    fn put(&mut self, element: fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a String takes all");
    }
}

/// How the rows of a timeline are laid out.
struct Layout {
    scale: Scale,
    /// From one row to the next.
    step: f64,
    /// Turns that are nearer to one another are drawn as one.
    fine: f64,
    /// What is wider has a title.
    titled: f64,
}

/// How much of its row a kind takes. The more it is at work, the more.
pub(super) fn height(kind: Phase) -> f64 {
    match kind {
        Phase::Running => 0.84,
        Phase::Ready => 0.6,
        _ => 0.36,
    }
}

pub(super) fn name(row: &Row) -> String {
    format!("{} {}", row.task, label(row))
}

fn failure(row: &Row) -> Option<String> {
    match row.outcome? {
        Outcome::Panicked => Some("panicked".into()),
        Outcome::Cancelled => {
            let by = row.cancelled.map(|(_, by)| format!(" by {}", describe(by)));
            Some("cancelled".to_owned() + &by.unwrap_or_default())
        }
        Outcome::Returned => None,
    }
}

fn width_in_legend(meaning: &str) -> f64 {
    42.0 + 5.6 * meaning.chars().count() as f64
}

fn summary(row: &Row, has_era: bool) -> String {
    let turns = count(row.turns().count(), "turn");
    let running = row.running();
    let running = if running.is_zero() { String::new() } else { format!(", {running:.1?} in all") };
    let name = name(row);
    let era = if has_era { format!("{}, ", row.era) } else { String::new() };
    format!("task {name} ({era}spawned at {}): {turns}{running}", row.site)
}

fn title(span: &Span) -> String {
    let Span { state, from, to, woken, .. } = span;
    let woken = match woken {
        None | Some(Actor::Socket | Actor::Time) => String::new(), // as was to be expected
        Some(by) if *state == State::Running => format!(", woken in it by {}", describe(*by)),
        Some(by) => format!(", woken by {}", describe(*by)),
    };
    format!("{state}, {} to {}{woken}", short(from.time), short(to.time))
}

/// A text, for XML.
pub(super) struct Escaped<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                    f.write_char('\u{fffd}')?;
                }
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
