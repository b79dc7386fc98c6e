//! `verify`: for each exercise, that its skeleton fails, its solution passes, its wrong answers get the right message, and
//! its texts agree.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::runner::build::{Built, Overlay};
use crate::runner::catalog::{Course, Exercise, Files, minutes, read};
use crate::runner::handout;
use crate::runner::messages::Messages;
use crate::runner::process::{self, Tested, Verdict};
use crate::runner::words::Language;
use crate::{ALL, SOME};

/// What an answer is, and so what its tests have to come to.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Skeleton,
    Solution,
    Wrong,
    /// The solution with a turn in it that does not end.
    Drill,
    /// The solution with turns in it that do not end.
    Yields,
}

struct Answer<'a> {
    target: String,
    exercise: &'a Exercise,
    kind: Kind,
    /// What line 1 of a wrong answer says.
    says: String,
    /// It is code to be mended, without a `todo!`.
    is_given: bool,
    /// The messages of its exercise in Chinese.
    messages: &'a Messages,
}

/// Verifies these exercises, or all; runs each solution and each wrong answer so many times.
/// With `show`, prints the message that each wrong answer gets.
pub fn verify(
    course: &Course,
    which: &[String],
    drill: bool,
    show: bool,
    times: usize,
) -> Result<u8, String> {
    let exercises: Vec<&Exercise> = match which {
        [] => course.exercises.iter().collect(),
        _ => which.iter().map(|word| course.find(word)).collect::<Result<_, _>>()?,
    };
    let mut faults = Vec::new();
    let mut overlay = Overlay::new(course, "verify")?;
    let mut answers = Vec::new();
    let messages: Vec<Messages> = exercises
        .iter()
        .map(|exercise| Messages::of(course, exercise, Language::Chinese))
        .collect::<Result<_, _>>()?;
    for (exercise, messages) in exercises.iter().zip(&messages) {
        texts(course, exercise, &mut faults)?;
        answers.extend(add(course, exercise, messages, drill, &mut overlay, &mut faults)?);
    }
    if which.is_empty() {
        plans(course, &mut faults)?;
    }
    println!("{} exercises, {} answers: building", exercises.len(), answers.len());
    let begun = Instant::now();
    let mut built = overlay.build()?;
    println!("built in {} s", begun.elapsed().as_secs());
    let built: Vec<Built> =
        answers.iter().map(|answer| built.remove(&answer.target).unwrap_or_default()).collect();
    let mut todo = Vec::new();
    for (answer, built) in answers.iter().zip(&built) {
        let is_repeated = matches!(answer.kind, Kind::Solution | Kind::Wrong);
        let times = if is_repeated { times } else { 1 };
        todo.extend(std::iter::repeat_n((answer, built), times));
    }
    // Three at a time on two processors, since answers that hang sleep most of their time. Last come those that never end,
    // many at a time; they would take the processor from the others.
    let (drills, others) = todo.into_iter().partition(|(answer, _)| answer.kind == Kind::Drill);
    let mut found = Vec::new();
    for (threads, todo) in [(3, others), (8, drills)] {
        let todo: Vec<(&Answer<'_>, &Built)> = todo;
        found.extend(process::in_parallel(threads, todo, |(answer, built)| {
            judge(&overlay, answer, built, &answers, show)
        }));
    }
    faults.extend(found.into_iter().flatten());
    faults.sort();
    faults.dedup();
    for fault in &faults {
        println!("FAULT {fault}");
    }
    println!("{} answers judged, {} faults", answers.len(), faults.len());
    Ok(if faults.is_empty() { ALL } else { SOME })
}

/// Puts all answers to an exercise into the overlay.
fn add<'a>(
    course: &Course,
    exercise: &'a Exercise,
    messages: &'a Messages,
    drill: bool,
    overlay: &mut Overlay,
    faults: &mut Vec<String>,
) -> Result<Vec<Answer<'a>>, String> {
    let name = &exercise.name;
    let used = match &exercise.uses {
        Some(other) => Some(course.variant("solutions", other)?.remove(0).1),
        None => None,
    };
    let mut answers = Vec::new();
    let mut put = |target: String, kind: Kind, says: &str, files: &Files| {
        overlay.add(&target, exercise, files, used.as_deref())?;
        let is_given = !files.iter().any(|(_, text)| text.contains("todo!"));
        let says = says.to_owned();
        answers.push(Answer { target, exercise, kind, says, is_given, messages });
        Ok::<_, String>(())
    };
    let skeleton = course.variant("skeletons", name)?;
    if exercise.files()? != skeleton {
        faults.push(format!(
            "{name}: the files in tests/ differ from skeletons/ (cargo course reset)"
        ));
    }
    put(format!("skeleton_{name}"), Kind::Skeleton, "", &skeleton)?;
    let solution = course.variant("solutions", name)?;
    put(format!("solution_{name}"), Kind::Solution, "", &solution)?;
    let wrong = course.variants("wrong", exercise)?;
    if !exercise.tests.is_sorted() {
        faults.push(format!(
            "{name}: the names of the tests are not sorted (t01_.., t02_..), so that they run in another order than the file's"
        ));
    }
    if wrong.len() < 2 {
        faults.push(format!("{name}: {} wrong answers, at least two are wanted", wrong.len()));
    }
    for wrong in wrong {
        let files = over(&solution, course.variant("wrong", &wrong)?);
        let first = files.iter().find_map(|(_, text)| text.strip_prefix("//! says: "));
        match first.and_then(|text| text.lines().next()) {
            Some(says) => put(format!("wrong_{wrong}"), Kind::Wrong, says, &files)?,
            None => faults.push(format!("wrong/{wrong}: line 1 is not `//! says: TEXT`")),
        }
    }
    if drill {
        let endless =
            "let mut n = 0u64;\n    loop {\n        n = std::hint::black_box(n) + 1;\n    }";
        let blocked = "loop {\n        std::thread::park();\n    }";
        // Outside of a run, it is refused.
        let yields = "loop {\n        wouldblock::green::yield_now();\n    }";
        for (how, code) in [("endless", endless), ("blocked", blocked), ("yields", yields)] {
            let kind = if how == "yields" { Kind::Yields } else { Kind::Drill };
            match drilled(&solution, code) {
                Some(files) => put(format!("drill_{how}_{name}"), kind, "", &files)?,
                None => {
                    faults.push(format!("{name}: the solution has no `pub fn` to put a drill into"))
                }
            }
        }
    }
    Ok(answers)
}

/// Files, some of them replaced.
fn over(files: &Files, by: Files) -> Files {
    let mut files = files.clone();
    for (name, text) in by {
        files.retain(|(other, _)| *other != name);
        files.push((name, text));
    }
    files
}

/// A solution with this code at the beginning of its first public function.
fn drilled(solution: &Files, code: &str) -> Option<Files> {
    let mut files = solution.clone();
    let exercise = files.iter_mut().find(|(name, _)| name == "exercise.rs")?;
    let text = &exercise.1;
    let head = text.match_indices("pub fn ").find_map(|(at, _)| {
        let end = at + text[at..].find("{\n")?;
        Some(end + 2)
    })?;
    let (before, after) = text.split_at(head);
    exercise.1 = format!(
        "{before}    if std::env::var_os(\"COURSE_NEVER\").is_none() {{\n    {code}\n    }}\n{after}"
    );
    Some(files)
}

/// Runs an answer. Returns what is wrong with what came of it.
fn judge(
    overlay: &Overlay,
    answer: &Answer<'_>,
    built: &Built,
    all: &[Answer<'_>],
    show: bool,
) -> Vec<String> {
    let target = &answer.target;
    let Some(program) = &built.program else {
        return vec![format!("{target}: it does not compile:\n{}", built.messages)];
    };
    let mut faults = Vec::new();
    if matches!(answer.kind, Kind::Skeleton | Kind::Solution) && !built.messages.is_empty() {
        faults.push(format!("{target}: warnings:\n{}", built.messages));
    }
    let begun = Instant::now();
    let tests = &answer.exercise.tests;
    let every = answer.kind == Kind::Solution;
    let results = match process::run(program, &overlay.folder, tests, every, &|| false) {
        Ok(results) => results,
        Err(why) => return vec![format!("{target}: {why}")],
    };
    let took = begun.elapsed();
    let first = results.iter().find(|result| result.verdict != Verdict::Pass);
    match answer.kind {
        Kind::Skeleton => {
            for result in &results {
                // What is to be mended has no `todo!`: it only has to fail.
                let is_todo = result.message.contains("not yet implemented") || answer.is_given;
                if result.verdict == Verdict::Pass || !is_todo {
                    faults.push(format!("{target}: {} {}", result.name, told(result)));
                }
            }
        }
        Kind::Solution => {
            for result in results.iter().filter(|result| result.verdict != Verdict::Pass) {
                faults.push(format!("{target}: {} {}", result.name, told(result)));
            }
        }
        Kind::Wrong => match first {
            None => faults.push(format!("{target}: it passes")),
            Some(first) => {
                if show {
                    println!("{target}: {}: {}", first.name, first.message);
                    println!(
                        "{}\n",
                        answer.messages.translated(&first.message).unwrap_or_default()
                    );
                }
                faults.extend(is_told(answer, first, all));
            }
        },
        Kind::Yields => match first {
            Some(first) if matches!(first.verdict, Verdict::Fail | Verdict::Hang) => {}
            Some(first) => faults.push(format!("{target}: {} {}", first.name, told(first))),
            None => faults.push(format!("{target}: it passes")),
        },
        Kind::Drill => match first {
            Some(first)
                if first.verdict == Verdict::Hang && first.place.contains("exercise.rs:") => {}
            Some(first) => faults.push(format!("{target}: {} {}", first.name, told(first))),
            None => faults.push(format!("{target}: it passes")),
        },
    }
    let limit = if answer.kind == Kind::Wrong { 10 } else { 15 };
    if matches!(answer.kind, Kind::Wrong | Kind::Drill | Kind::Yields)
        && took > Duration::from_secs(limit)
    {
        faults.push(format!("{target}: it took {} s", took.as_secs()));
    }
    faults
}

fn told(result: &Tested) -> String {
    format!("came to {}, at {}: {}", result.verdict.word(), result.place, result.message)
}

/// The first message contains what line 1 says, and what no other wrong answer's line 1 says.
fn is_told(answer: &Answer<'_>, first: &Tested, all: &[Answer<'_>]) -> Vec<String> {
    let mut faults = Vec::new();
    if !first.message.contains(&answer.says) {
        faults.push(format!(
            "{}: not {:?}; {} {}",
            answer.target,
            answer.says,
            first.name,
            told(first)
        ));
    }
    if answer.messages.translated(&first.message).is_none() {
        faults.push(format!(
            "{}: messages.zh-CN.txt has no Chinese for: {}",
            answer.target,
            first.message.lines().next().unwrap_or_default()
        ));
    }
    let others = all.iter().filter(|other| {
        other.kind == Kind::Wrong
            && other.exercise.name == answer.exercise.name
            && other.says != answer.says
    });
    for other in others.filter(|other| first.message.contains(&other.says)) {
        faults.push(format!(
            "{}: its message has the text of {}, {:?}: {}",
            answer.target, other.target, other.says, first.message
        ));
    }
    faults
}

/// The plans for teachers: a row `| 10 | **01** countdown` has the minutes of this exercise, and a row `| 1 | 01, 02 | 30`
/// their sum.
fn plans(course: &Course, faults: &mut Vec<String>) -> Result<(), String> {
    let of = |number: &str| -> Option<u32> {
        let exercise = course.exercises.iter().find(|exercise| exercise.number == number)?;
        minutes(&read(&exercise.readme(Language::English)).ok()?)
    };
    for file in ["TEACHING.md", "TEACHING.zh-CN.md"] {
        let text = read(&course.root.join(file))?;
        lines_end_between_words(file, &text, faults);
        let mut checked = 0;
        for line in text.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, first, second, rest @ ..] = &cells[..] else { continue };
            let (minutes, sum): (Option<u32>, Option<u32>) =
                match second.strip_prefix("**").and_then(|it| it.split_once("**")) {
                    Some((number, _)) => (first.parse().ok(), of(number)),
                    None => {
                        let numbers = second.split([',', '、']).map(|number| of(number.trim()));
                        (rest.first().and_then(|cell| cell.parse().ok()), numbers.sum())
                    }
                };
            if let (Some(minutes), Some(sum)) = (minutes, sum) {
                checked += 1;
                if minutes != sum {
                    faults.push(format!("{file}: {minutes} minutes, and not {sum}, in: {line}"));
                }
            }
        }
        if checked < 10 {
            faults.push(format!("{file}: only {checked} rows have an exercise and its minutes"));
        }
    }
    Ok(())
}

/// What stands in backticks in a line of a text, and the lines of its blocks that are no Rust.
fn named(text: &str) -> Vec<&str> {
    let blocks = text.split("```").enumerate();
    let named = blocks.flat_map(|(n, part)| match (n % 2, part.strip_prefix("text\n")) {
        (0, _) => part.split('`').skip(1).step_by(2).collect::<Vec<_>>(),
        (_, Some(block)) => block.lines().collect(),
        (_, None) => Vec::new(),
    });
    named.collect()
}

/// The texts: three hints in both languages, none with a line of the solution; the same minutes, and the same code;
/// nothing that a handout does not have.
fn texts(course: &Course, exercise: &Exercise, faults: &mut Vec<String>) -> Result<(), String> {
    let solution = course.variant("solutions", &exercise.name)?;
    let skeleton = course.variant("skeletons", &exercise.name)?;
    let given: Vec<&str> =
        skeleton.iter().flat_map(|(_, text)| text.lines()).map(str::trim).collect();
    let lines: Vec<&str> = solution
        .iter()
        .flat_map(|(_, text)| text.lines())
        .map(str::trim)
        .filter(|line| line.len() > 12 && !line.starts_with("//") && !given.contains(line))
        .collect();
    let mut found: HashMap<&str, Vec<String>> = HashMap::new();
    for language in [Language::English, Language::Chinese] {
        let path = exercise.readme(language);
        let text = read(&path)?;
        let name = format!("{}/{}", exercise.name, crate::runner::catalog::file_name(&path));
        if !text.starts_with(&format!("# {}\n", exercise.title)) {
            faults.push(format!("{name}: it does not begin with `# {}`", exercise.title));
        }
        lines_end_between_words(&name, &text, faults);
        let hints = exercise.hints(language)?;
        hints.iter().for_each(|hint| lines_end_between_words(&name, hint, faults));
        if hints.len() != 3 {
            faults.push(format!("{name}: {} hints, and not 3", hints.len()));
        }
        for line in &lines {
            if hints.iter().any(|hint| hint.contains(line)) {
                faults.push(format!("{name}: a hint has a line of the solution: {line}"));
            }
        }
        for named in [&text].into_iter().chain(&hints).flat_map(|text| named(text)) {
            let is_path = named.contains('/') && !named.contains([' ', ':']);
            if named.starts_with("cargo ") && !named.starts_with("cargo course")
                || is_path && !handout::has(course, exercise, named)
            {
                faults.push(format!("{name}: a handout has no {named}"));
            }
        }
        let minutes =
            minutes(&text).map_or_else(|| "no line".into(), |minutes| minutes.to_string());
        found.entry("`minutes: N`").or_default().push(minutes);
        let code = text.split("```rust").skip(1).filter_map(|code| code.split("```").next());
        found.entry("Rust code").or_default().push(code.collect());
        let command = format!("`cargo course hint {}`", exercise.number);
        if !text.contains(&command) {
            faults.push(format!("{name}: there is no {command}"));
        }
    }
    for (what, texts) in found {
        if texts[0] != texts[1] {
            faults.push(format!("{}: {what} differs between the two READMEs", exercise.name));
        }
    }
    Ok(())
}

/// Markdown makes a blank of the end of a line; Chinese has none between two characters, and so a line ends after a mark.
fn lines_end_between_words(name: &str, text: &str, faults: &mut Vec<String>) {
    let is_han = |c: char| ('\u{3400}'..='\u{9fff}').contains(&c);
    for (line, next) in text.lines().zip(text.lines().skip(1)) {
        if line.ends_with(is_han) && next.trim_start().starts_with(is_han) {
            faults.push(format!("{name}: a line ends between two Chinese characters: {line}"));
        }
    }
}
