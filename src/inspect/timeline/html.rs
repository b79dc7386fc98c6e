//! The page that replays runs: one file, with everything that it shows in it.
//!
//! `replay.html` is the page, `replay.css` and `replay.js` go into it, and so does, for each run, what the script
//! shows: an object as [`Run::write`] has it. The script computes nothing of a run; it shows the frame that it is at.

use std::cell::Ref;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::rc::Rc;

use super::chart::{LOOKS, Scale, count, heading, short};
use super::frames::{End, Frame, Frames};
use super::lines::SourceLine;
use super::record::{Course, Mark, Recording};
use super::svg::{self, Escaped};
use super::trace::Json;
use super::words::{self, Both, Names};
use crate::kernel::edge::notes::Place;
use crate::kernel::edge::observe::Outcome;

/// The turns of a run that the page replays, at most.
const MOST_TURNS: usize = 5_000;

/// The tasks of one list that a frame shows, at most.
const MOST_LISTED: usize = 20;

pub(super) fn write(records: Vec<Ref<'_, Recording>>) -> String {
    let records: Vec<_> = records.into_iter().filter(|record| has_turns(record)).collect();
    let courses: Vec<_> = records.iter().map(|record| record.course()).collect();
    let scales = svg::scales(&courses);
    let (mut tabs, mut pictures, mut data) = (String::new(), String::new(), String::new());
    for (index, (course, scale)) in courses.iter().zip(&scales).enumerate() {
        let title = match course.title.as_str() {
            "" => [format!("run {}", index + 1), format!("运行 {}", index + 1)],
            title => [title.to_owned(), title.to_owned()],
        };
        let picture = svg::in_page(course, *scale);
        let [english, chinese] = [Escaped(heading(course)).to_string(), chinese_heading(course)];
        tabs += &format!("<button type=\"button\" class=\"tab\">{}</button>\n", both(&title));
        pictures += &format!(
            "<figure class=\"picture\"><figcaption>{}</figcaption>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" \
             aria-labelledby=\"whole\">{picture}</div></figure>\n",
            marked(&english, &Escaped(chinese).to_string())
        );
        data += if index == 0 { "" } else { ",\n" };
        data += &Run::new(&records[index], course, scale).write();
    }
    let looks = LOOKS.iter().map(|look| {
        let (class, height) = (look.class, svg::height(look.kind));
        format!(r#"{{"class":"{class}","height":{height}}}"#)
    });
    let legend = LOOKS.iter().map(|look| {
        let (class, height) = (look.class, 24.0 * svg::height(look.kind));
        format!(
            "<li><svg aria-hidden=\"true\" viewBox=\"0 0 26 22\"><path class=\"{class}\" stroke-width=\"{height:.1}\" \
             d=\"M0 11H26\"/></svg>{}</li>\n",
            both(&words::meaning(look.kind))
        )
    });
    let titles: Vec<_> = courses.iter().map(|course| course.title.as_str()).collect();
    let titles: Vec<_> = titles.into_iter().filter(|title| !title.is_empty()).collect();
    let title = if titles.is_empty() { "wouldblock".to_owned() } else { titles.join(", ") };
    let (looks_style, patterns) = svg::STYLE.split_at(svg::STYLE.find("<defs>").expect("patterns"));
    fill(&[
        ("title", &Escaped(title).to_string()),
        ("style", include_str!("replay.css")),
        ("looks", looks_style),
        ("patterns", patterns),
        ("tabs", &tabs),
        ("pictures", &pictures),
        ("legend", &legend.collect::<String>()),
        ("data", &format!("{{\"looks\":{},\n\"runs\":[{data}]}}", list(looks))),
        ("script", include_str!("replay.js")),
    ])
}

fn has_turns(record: &Recording) -> bool {
    record.events.iter().any(|entry| matches!(entry.mark, Mark::Turn))
}

/// `replay.html`, with each `{{name}}` replaced once, so that what is put in is not read again.
fn fill(parts: &[(&str, &str)]) -> String {
    let mut page = String::new();
    let mut rest = include_str!("replay.html");
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
    {
        let part = parts.iter().find(|(part, _)| *part == name);
        page += before;
        page += part.expect("replay.html names what there is").1;
        rest = after;
    }
    page + rest
}

fn both([english, chinese]: &Both) -> String {
    marked(&Escaped(english).to_string(), &Escaped(chinese).to_string())
}

/// Two texts of which the page shows one.
fn marked(english: &str, chinese: &str) -> String {
    match english == chinese {
        true => english.to_owned(),
        false => format!("<span lang=\"en\">{english}</span><span lang=\"zh\">{chinese}</span>"),
    }
}

fn chinese_heading(course: &Course) -> String {
    let turns: usize = course.rows.values().map(|row| row.turns().count()).sum();
    let lasted = short(course.now.time - course.from.time);
    let title =
        if course.title.is_empty() { String::new() } else { format!("{}：", course.title) };
    format!("{title}{} 个任务，{turns} 个轮次，{lasted}", course.rows.len())
}

/// What the page has of one run.
struct Run<'a> {
    record: &'a Recording,
    course: &'a Course,
    scale: &'a Scale,
    names: Names<'a>,
    /// Where in the page's list of them each task is.
    index: HashMap<u64, usize>,
    /// The lines that gave up a turn, as JSON, and where in the list each place is.
    lines: Vec<String>,
    places: HashMap<*const Place, Option<usize>>,
    /// What tasks wait for, as JSON in both languages, and where in the list each text is.
    texts: Vec<String>,
    known: HashMap<String, usize>,
    /// For each task: from which step on it is what, -1 for nothing.
    spans: Vec<Vec<(i8, usize)>>,
    /// The tasks do not run in the order of the queue: a seed decides.
    shuffled: bool,
}

impl<'a> Run<'a> {
    fn new(record: &'a Recording, course: &'a Course, scale: &'a Scale) -> Run<'a> {
        Run {
            record,
            course,
            scale,
            names: Names(&course.rows),
            index: course.rows.keys().copied().zip(0..).collect(),
            lines: Vec::new(),
            places: HashMap::new(),
            texts: Vec::new(),
            known: HashMap::new(),
            spans: vec![Vec::new(); course.rows.len()],
            shuffled: false,
        }
    }

    /// The run as an object: `cut` and `shuffled` (notes), `tasks`, `spans`, `lines`, `texts`, and `steps`, one for
    /// each turn. A task is named by its place in `tasks`; where a list ends in a negative number, so many more are
    /// left out.
    fn write(mut self) -> String {
        let mut past = self.record.past.clone();
        let entries: Vec<_> = self.record.events.iter().collect();
        let turns: Vec<_> =
            (0..entries.len()).filter(|at| matches!(entries[*at].mark, Mark::Turn)).collect();
        let first = if turns.len() > MOST_TURNS { turns[turns.len() - MOST_TURNS] } else { 0 };
        entries[..first].iter().for_each(|entry| past.apply(entry));
        let left_out = past.turns;
        let mut steps = String::new();
        for (step, frame) in Frames::new(&past, &entries[first..]).enumerate() {
            steps += if step == 0 { "" } else { ",\n" };
            self.step(&mut steps, step, &frame).expect("a String takes all");
        }
        let tasks: Vec<_> = self
            .course
            .rows
            .values()
            .map(|row| {
                let failed = matches!(row.outcome, Some(Outcome::Panicked | Outcome::Cancelled));
                format!(
                    r#"{{"name":{},"era":"{}","site":{},"failed":{failed}}}"#,
                    Json(svg::name(row)),
                    row.era,
                    Json(row.site)
                )
            })
            .collect();
        let spans: Vec<_> = self
            .spans
            .iter()
            .map(|spans| list(spans.iter().map(|(kind, step)| format!("[{kind},{step}]"))))
            .collect();
        let cut = match left_out {
            0 => Both::default(),
            n => [
                format!("The {} before these are not replayed here.", count(n as usize, "turn")),
                format!("此前的 {n} 个轮次不在此回放。"),
            ],
        };
        let shuffled = match self.shuffled {
            false => Both::default(),
            true => [
                "This run takes ready tasks in an order drawn from a seed, not in that of the queue.".into(),
                "此次运行按种子抽取的顺序，而不是队列顺序，选取就绪任务。".into(),
            ],
        };
        format!(
            "{{\"cut\":{},\"shuffled\":{},\n\"tasks\":{},\n\"spans\":{},\n\"lines\":{},\n\"texts\":{},\n\"steps\":[{steps}]}}",
            pair(&cut),
            pair(&shuffled),
            list(tasks.into_iter()),
            list(spans.into_iter()),
            list(self.lines.into_iter()),
            list(self.texts.into_iter()),
        )
    }

    fn step(&mut self, out: &mut String, step: usize, frame: &Frame) -> fmt::Result {
        self.shuffled |= frame.queue.first().is_some_and(|next| *next != frame.task);
        self.note_kinds(step, frame);
        let x = [frame.from, frame.to].map(|moment| svg::x(self.scale, moment));
        let (task, turn) = (self.at(frame.task), frame.turn);
        write!(out, r#"{{"turn":{turn},"task":{task},"at":{}"#, Json(words::at(frame.from.time)))?;
        write!(
            out,
            r#","x":[{:.1},{:.1}],"text":{}"#,
            x[0],
            x[1],
            pair(&self.names.sentence(frame))
        )?;
        write!(out, r#","before":{}"#, pair(&self.names.before(frame)))?;
        let tasks = |queue: &[u64]| -> Vec<_> {
            queue.iter().take(MOST_LISTED).map(|task| self.at(*task).to_string()).collect()
        };
        for (name, queue) in [("queue", &frame.queue), ("after", &frame.after)] {
            write!(out, r#","{name}":{}"#, short_list(tasks(queue).into_iter(), queue.len()))?;
        }
        let waits = frame.waiting.iter().take(MOST_LISTED);
        let waits: Vec<_> = waits.map(|waiting| pair(&self.names.waits(waiting))).collect();
        let waits: Vec<_> = waits.into_iter().map(|text| self.text(text)).collect();
        let waits = frame.waiting.iter().zip(waits);
        let waits = waits.map(|(waiting, text)| format!("[{},{text}]", self.at(waiting.task)));
        write!(out, r#","waiting":{}"#, short_list(waits, frame.waiting.len()))?;
        let sleepers = frame.waiting.iter();
        let sleepers = sleepers.filter_map(|waiting| Some((waiting.task, waiting.deadline?)));
        let all = sleepers.clone().count();
        let sleepers = sleepers.map(|(task, deadline)| {
            let left = short(deadline.saturating_sub(frame.to.time));
            format!("[{},{},{}]", self.at(task), Json(words::at(deadline)), Json(left))
        });
        write!(out, r#","sleepers":{}"#, short_list(sleepers, all))?;
        if let End::Yields(_) | End::Waits(..) = frame.end
            && let Some(place) = frame.noted.as_ref().and_then(|noted| noted.place.as_ref())
            && let Some(line) = self.line(place)
        {
            write!(out, r#","line":{line}"#)?;
        }
        out.push('}');
        Ok(())
    }

    /// Where in `texts` this one is.
    fn text(&mut self, text: String) -> usize {
        let next = self.texts.len();
        *self.known.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            next
        })
    }

    fn at(&self, task: u64) -> usize {
        self.index.get(&task).copied().unwrap_or(0)
    }

    fn note_kinds(&mut self, step: usize, frame: &Frame) {
        let mut kinds = vec![-1; self.spans.len()];
        for (task, kind) in &frame.kinds {
            kinds[self.at(*task)] = *kind as i8;
        }
        for (spans, kind) in self.spans.iter_mut().zip(kinds) {
            if spans.last().map_or(-1, |(last, _)| *last) != kind {
                spans.push((kind, step));
            }
        }
    }

    /// Where in `lines` the line of a place is.
    fn line(&mut self, place: &Rc<Place>) -> Option<usize> {
        if let Some(known) = self.places.get(&Rc::as_ptr(place)) {
            return *known;
        }
        let found = SourceLine::of(place).map(|line| {
            let (first, around) = line.around().unwrap_or_default();
            let text = list(around.iter().map(|line| Json(line).to_string()));
            let text = format!(
                r#"{{"file":{},"line":{},"function":{},"inside":{},"first":{first},"text":{text}}}"#,
                Json(line.name()),
                line.line,
                Json(line.function),
                Json(line.inside.unwrap_or_default())
            );
            let known = self.lines.iter().position(|known| *known == text);
            known.unwrap_or_else(|| {
                self.lines.push(text);
                self.lines.len() - 1
            })
        });
        self.places.insert(Rc::as_ptr(place), found);
        found
    }
}

fn pair([english, chinese]: &Both) -> String {
    match english.is_empty() {
        true => "0".to_owned(),
        false => format!("[{},{}]", Json(english), Json(chinese)),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// The first of so many items; if there are more, how many, as a negative number.
fn short_list(items: impl Iterator<Item = String>, all: usize) -> String {
    let more = all.saturating_sub(MOST_LISTED);
    list(items.take(MOST_LISTED).chain((more > 0).then(|| format!("-{more}"))))
}
