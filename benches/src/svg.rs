//! The ratios as a bar chart: one bar for each contender in each case, on a logarithmic axis.
//!
//! The line in the middle is the reference. A bar to its left is a contender that takes less than the
//! reference, one to its right takes more.

use std::fmt::Write;

use crate::OURS;
use crate::report::{Report, machine, short};

const WIDTH: f64 = 860.0;
const LABELS: f64 = 190.0;
/// Room on the right for the figures behind the longest bar.
const FIGURES: f64 = 130.0;
const TOP: f64 = 78.0;
const BAR: f64 = 15.0;
const STEP: f64 = 20.0;
const HEADING: f64 = 44.0;

/// A standalone SVG document.
pub(crate) fn draw(report: &Report) -> String {
    let ratios = report.groups.iter().flat_map(|g| g.rows.iter().filter_map(|r| g.ratio(r)));
    let (least, most) = ratios.fold((0.5, 2.0), |(a, b): (f64, f64), r| (a.min(r), b.max(r)));
    let axis = Axis { least, most };
    let mut marks = String::new();
    let mut y = TOP;
    for group in &report.groups {
        let heading = format!("{} · {} · {}", group.bench.name, group.case.name, group.bench.what);
        y += HEADING;
        text(&mut marks, 12.0, y - 12.0, "head", &heading);
        let top = y - 4.0;
        for row in &group.rows {
            text(&mut marks, LABELS - 8.0, y + BAR - 3.0, "name", row.name);
            match (group.ratio(row), row.spread(group.bench.figure)) {
                (Some(ratio), Some(figure)) => {
                    bar(&mut marks, &axis, y, row.name, ratio);
                    let label = format!("{} × ({})", short(ratio), short(figure.median));
                    let x = axis.x(ratio.max(1.0)) + 6.0;
                    text(&mut marks, x, y + BAR - 3.0, "figure", &label);
                }
                _ => text(&mut marks, axis.x(1.0) + 6.0, y + BAR - 3.0, "figure", "failed"),
            }
            y += STEP;
        }
        let x = axis.x(1.0);
        let _ = writeln!(marks, r#"<path class="one" d="M{x:.1} {top:.1}V{:.1}"/>"#, y - 1.0);
    }
    page(report, &axis, y, &marks)
}

/// Where a ratio lies, on a logarithmic axis.
struct Axis {
    least: f64,
    most: f64,
}

impl Axis {
    fn x(&self, ratio: f64) -> f64 {
        let part = (ratio / self.least).ln() / (self.most / self.least).ln();
        LABELS + part * (WIDTH - LABELS - FIGURES)
    }
}

fn bar(marks: &mut String, axis: &Axis, y: f64, name: &str, ratio: f64) {
    let (from, to) = (axis.x(ratio.min(1.0)), axis.x(ratio.max(1.0)));
    let class = match name {
        _ if name.starts_with(OURS) => "ours",
        _ if name.starts_with("bare-") => "floor",
        _ => "peer",
    };
    let width = (to - from).max(2.0);
    let _ = writeln!(
        marks,
        r#"<rect class="{class}" x="{from:.1}" y="{y:.1}" width="{width:.1}" height="{BAR}"/>"#
    );
}

fn text(marks: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(marks, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#);
}

fn page(report: &Report, axis: &Axis, bottom: f64, marks: &str) -> String {
    let mut rest = String::new();
    for tick in [0.001, 0.01, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0, 1_000.0, 10_000.0] {
        if (axis.least..=axis.most).contains(&tick) {
            let x = axis.x(tick);
            let _ = writeln!(rest, r#"<path class="grid" d="M{x:.1} {TOP}V{bottom:.1}"/>"#);
            text(&mut rest, x, TOP - 6.0, "tick", &format!("{tick}"));
        }
    }
    text(&mut rest, 12.0, 24.0, "title", "wouldblock beside its peers");
    let key = "How many times the reference's figure (the line at 1). Less is better; logarithmic.";
    text(&mut rest, 12.0, 44.0, "key", key);
    for (x, class, word) in
        [(610.0, "ours", "ours"), (680.0, "peer", "a peer"), (760.0, "floor", "the floor")]
    {
        let _ = writeln!(rest, r#"<rect class="{class}" x="{x}" y="34" width="12" height="12"/>"#);
        text(&mut rest, x + 17.0, 44.0, "key", word);
    }
    let left_out: Vec<_> = report.left_out.iter().map(|(name, _)| *name).collect();
    let mut foot = machine();
    let mut foot = format!(
        "{} cores, {}, Linux {}",
        foot["cores"].take(),
        foot["cpu"].as_str().unwrap_or_default(),
        foot["kernel"].as_str().unwrap_or_default()
    );
    if !left_out.is_empty() {
        let _ = write!(foot, "; left out, not installed: {}", left_out.join(", "));
    }
    text(&mut rest, 12.0, bottom + 22.0, "key", &foot);
    let height = bottom + 34.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">
<style>
text {{ font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #222; }}
.title {{ font-size: 16px; font-weight: bold; }}
.head {{ font-size: 13px; font-weight: bold; }}
.name {{ text-anchor: end; }}
.tick {{ text-anchor: middle; fill: #666; }}
.key {{ fill: #555; }}
.ours {{ fill: #2a7a4b; }}
.peer {{ fill: #7c93ad; }}
.floor {{ fill: #c9a227; }}
.grid {{ stroke: #e4e4e4; }}
.one {{ stroke: #222; }}
</style>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
{rest}{marks}</svg>
"##
    )
}
