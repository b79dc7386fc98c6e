//! `grade`: the students' files over the tests as they are here.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::runner::build::{Built, Overlay};
use crate::runner::catalog::{self, Course, Exercise, file_name, write};
use crate::runner::process::{self, Tested, Verdict};
use crate::{ALL, COMPILE, HUNG, SOME};

/// Where the results are written to.
pub struct Files {
    pub json: Option<String>,
    pub junit: Option<String>,
    pub csv: Option<String>,
}

/// A test's result in a submission.
struct Line {
    submission: String,
    exercise: String,
    tested: Tested,
}

/// Grades folders: in each, the exercises that have a folder of their name there, or in `tests/` or `exercises/tests/`.
pub fn grade(
    course: &Course,
    submissions: &[String],
    only: Option<&str>,
    files: &Files,
) -> Result<u8, String> {
    if submissions.is_empty() {
        return Err("name the folders of the submissions".into());
    }
    let exercises: Vec<&Exercise> = match only {
        Some(only) => only.split(',').map(|word| course.find(word)).collect::<Result<_, _>>()?,
        None => course.exercises.iter().collect(),
    };
    let mut overlay = Overlay::new(course, "grade")?;
    let mut handed: Vec<(usize, &Exercise, Result<String, String>)> = Vec::new();
    let names: Vec<String> = submissions.iter().map(|path| file_name(Path::new(path))).collect();
    for (n, submission) in submissions.iter().enumerate() {
        let folder = root_of(Path::new(submission), course)?;
        for exercise in exercises.iter().copied() {
            let added = students_files(course, exercise, &folder).and_then(|theirs| {
                let used = match &exercise.uses {
                    Some(other) => Some(student_file(&folder.join(other).join("exercise.rs"))?),
                    None => None,
                };
                let target = format!("s{n}_{}", exercise.name);
                overlay.add(&target, exercise, &theirs, used.as_deref())?;
                Ok(target)
            });
            handed.push((n, exercise, added));
        }
    }
    let built = match handed.iter().any(|(_, _, added)| added.is_ok()) {
        true => overlay.build_what_can_be()?,
        false => HashMap::new(),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let results = process::in_parallel(cores, handed, |(n, exercise, added)| {
        let results = match added {
            Err(why) => all(exercise, Verdict::Fail, &why),
            Ok(target) => match built.get(&target) {
                Some(Built { program: Some(program), .. }) => {
                    process::run(program, &overlay.folder, &exercise.tests, true, &|| false)?
                }
                Some(Built { messages, .. }) => all(exercise, Verdict::Compile, &plain(messages)),
                None => {
                    all(exercise, Verdict::Compile, "the compiler did not come to an end with it")
                }
            },
        };
        let (submission, exercise) = (&names[n], &exercise.name);
        let line =
            |tested| Line { submission: submission.clone(), exercise: exercise.clone(), tested };
        Ok::<_, String>(results.into_iter().map(line).collect::<Vec<_>>())
    });
    let lines: Vec<Line> =
        results.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    print(&names, &lines);
    for (file, text) in
        [(&files.json, json(&lines)), (&files.junit, junit(&lines)), (&files.csv, csv(&lines))]
    {
        if let Some(file) = file {
            write(Path::new(file), text)?;
        }
    }
    let any = |verdict| lines.iter().any(|line| line.tested.verdict == verdict);
    Ok(match () {
        () if any(Verdict::Hang) => HUNG,
        () if any(Verdict::Compile) => COMPILE,
        () if any(Verdict::Fail) || any(Verdict::Crash) => SOME,
        () => ALL,
    })
}

/// Where in a submission the exercises are.
fn root_of(submission: &Path, course: &Course) -> Result<PathBuf, String> {
    if !submission.is_dir() {
        return Err(format!("{} is not a folder", submission.display()));
    }
    let places = ["", "tests", "exercises/tests"].map(|place| submission.join(place));
    let has_some = |place: &&PathBuf| course.exercises.iter().any(|e| place.join(&e.name).is_dir());
    Ok(places.iter().find(has_some).unwrap_or(&places[0]).clone())
}

/// The files that a skeleton has, as this student has left them.
fn students_files(
    course: &Course,
    exercise: &Exercise,
    folder: &Path,
) -> Result<catalog::Files, String> {
    let skeleton = course.variant("skeletons", &exercise.name)?;
    let file = |(name, _): &(String, String)| {
        let text = student_file(&folder.join(&exercise.name).join(name))?;
        Ok((name.clone(), text))
    };
    skeleton.iter().map(file).collect()
}

/// A student's file: text, no link; Windows' ends of lines are as good as any.
fn student_file(path: &Path) -> Result<String, String> {
    const MOST: u64 = 1 << 20;
    let name = path.components().rev().take(2).collect::<Vec<_>>();
    let name: PathBuf = name.into_iter().rev().collect();
    let name = name.display();
    let folder = path.parent().and_then(|folder| fs::symlink_metadata(folder).ok());
    match (folder, fs::symlink_metadata(path)) {
        (Some(folder), Ok(file)) if folder.is_symlink() || file.is_symlink() => {
            Err(format!("{name} is a link, and not a file: it was not read"))
        }
        (_, Ok(file)) if file.is_file() && file.len() <= MOST => {
            let text = fs::read(path).map_err(|e| format!("{name}: {e}"))?;
            let text =
                String::from_utf8(text).map_err(|_| format!("{name} is not a text in UTF-8"))?;
            Ok(text.trim_start_matches('\u{feff}').replace("\r\n", "\n"))
        }
        (_, Ok(_)) => Err(format!("{name} is not a file, or larger than 1 MiB: it was not read")),
        (_, Err(_)) => Err(format!("{name} was not handed in")),
    }
}

/// One result for all tests.
fn all(exercise: &Exercise, verdict: Verdict, message: &str) -> Vec<Tested> {
    let result = |name: &String| Tested::without_run(name, verdict, message);
    exercise.tests.iter().map(result).collect()
}

/// A line for each submission and exercise.
fn print(names: &[String], lines: &[Line]) {
    for name in names {
        let own: Vec<&Line> = lines.iter().filter(|line| line.submission == *name).collect();
        let passed = own.iter().filter(|line| line.tested.verdict == Verdict::Pass).count();
        println!("{name}: {passed} of {}", own.len());
        let mut exercises: Vec<&str> = own.iter().map(|line| line.exercise.as_str()).collect();
        exercises.dedup();
        for exercise in exercises {
            let own = || own.iter().filter(|line| line.exercise == exercise);
            let passed = own().filter(|line| line.tested.verdict == Verdict::Pass).count();
            let first = own().find(|line| line.tested.verdict != Verdict::Pass);
            let why = first.map_or_else(String::new, |line| {
                let message = line.tested.message.lines().next().unwrap_or_default();
                format!("; {}: {}: {message}", line.tested.name, line.tested.verdict.word())
            });
            println!("  {exercise:20} {passed} of {}{why}", own().count());
        }
    }
}

fn json(lines: &[Line]) -> String {
    let line = |line: &Line| {
        let Line { submission, exercise, tested } = line;
        format!(
            "{{\"submission\":{},\"exercise\":{},\"test\":{},\"verdict\":\"{}\",\"ms\":{},\"place\":{},\"message\":{}}}",
            quoted(submission),
            quoted(exercise),
            quoted(&tested.name),
            tested.verdict.word(),
            tested.ms,
            quoted(&tested.place),
            quoted(&tested.message)
        )
    };
    format!("[\n{}\n]\n", lines.iter().map(line).collect::<Vec<_>>().join(",\n"))
}

fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                json.push('\\');
                json.push(c);
            }
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                write!(json, "\\u{:04x}", u32::from(c)).expect("a String takes all");
            }
            c => json.push(c),
        }
    }
    json + "\""
}

fn junit(lines: &[Line]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let mut suites: Vec<(&str, &str)> =
        lines.iter().map(|line| (line.submission.as_str(), line.exercise.as_str())).collect();
    suites.dedup();
    for (submission, exercise) in suites {
        let own = || lines.iter().filter(|l| l.submission == submission && l.exercise == exercise);
        let count =
            |verdicts: &[Verdict]| own().filter(|l| verdicts.contains(&l.tested.verdict)).count();
        let failures = count(&[Verdict::Fail]);
        let errors = count(&[Verdict::Hang, Verdict::Crash, Verdict::Compile]);
        let (all, name) = (own().count(), marked(&format!("{submission}/{exercise}")));
        xml += &format!(
            "  <testsuite name=\"{name}\" tests=\"{all}\" failures=\"{failures}\" errors=\"{errors}\">\n"
        );
        for Line { tested, .. } in own() {
            let (test, time) = (marked(&tested.name), tested.ms as f64 / 1000.0);
            let (word, message) = (tested.verdict.word(), marked(&tested.message));
            let tag = if tested.verdict == Verdict::Fail { "failure" } else { "error" };
            xml += &format!("    <testcase classname=\"{name}\" name=\"{test}\" time=\"{time}\">");
            if tested.verdict != Verdict::Pass {
                xml += &format!("<{tag} type=\"{word}\">{message}</{tag}>");
            }
            xml += "</testcase>\n";
        }
        xml += "  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

/// In XML; what it cannot hold is left out.
fn marked(text: &str) -> String {
    let mut xml = String::new();
    for c in text.chars() {
        match c {
            '&' => xml += "&amp;",
            '<' => xml += "&lt;",
            '>' => xml += "&gt;",
            '"' => xml += "&quot;",
            '\n' | '\t' => xml.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => xml.push(c),
        }
    }
    xml
}

fn csv(lines: &[Line]) -> String {
    let mut csv = String::from("submission,exercise,test,verdict,ms,message\r\n");
    for Line { submission, exercise, tested } in lines {
        let fields = [submission, exercise, &tested.name, tested.verdict.word(), &tested.message];
        let [submission, exercise, test, verdict, message] =
            fields.map(|field| format!("\"{}\"", field.replace('"', "\"\"")));
        csv += &format!("{submission},{exercise},{test},{verdict},{},{message}\r\n", tested.ms);
    }
    csv
}

/// The compiler's messages without colours.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain += before;
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}
