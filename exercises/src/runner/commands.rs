//! What a student types.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::runner::build::{self, Built, Overlay};
use crate::runner::catalog::{Course, Exercise, list, minutes, read, write};
use crate::runner::messages::Messages;
use crate::runner::process::{self, Tested, Verdict};
use crate::{ALL, COMPILE, HUNG, SOME};

/// Tests the student's answer in place, or, with a borrowed solution of another exercise, in the overlay.
fn results(
    course: &Course,
    exercise: &Exercise,
    borrow: bool,
    pages: Option<&Path>,
    stop: &dyn Fn() -> bool,
) -> Result<Result<Vec<Tested>, String>, String> {
    let (mut built, folder) = match (&exercise.uses, borrow) {
        (Some(other), true) => {
            let solution = course.variant("solutions", other).map_err(|_| {
                format!("there is no solution of {other} here to borrow: ask your teacher")
            })?;
            let mut overlay = Overlay::new(course, "borrow")?;
            overlay.add(&exercise.name, exercise, &exercise.files()?, Some(&solution[0].1))?;
            (overlay.build()?, overlay.folder)
        }
        _ => {
            let target = build::target_of(&course.root);
            let tests = [exercise.name.clone()];
            (build::build(&course.root, &target, &tests, None)?, course.root.clone())
        }
    };
    let Built { program, messages } = built.remove(&exercise.name).unwrap_or_default();
    let Some(program) = program else { return Ok(Err(messages)) };
    print!("{messages}"); // Warnings.
    let mut results =
        process::run_for_pages(&program, &folder, &exercise.tests, false, pages, stop)?;
    if folder != course.root {
        // The overlay's paths are within the package; the student's begin above it.
        let (inner, own) = (format!("tests/{}/", exercise.name), shown(course, &exercise.folder));
        for result in &mut results {
            for text in [&mut result.place, &mut result.message] {
                *text = text.replace(&inner, &format!("{own}/"));
            }
        }
    }
    Ok(Ok(results))
}

/// `test`: one message, one picture.
pub fn test(
    course: &Course,
    exercise: &Exercise,
    borrow: bool,
    chinese: bool,
) -> Result<u8, String> {
    test_until(course, exercise, borrow, chinese, &|| false)
}

fn test_until(
    course: &Course,
    exercise: &Exercise,
    borrow: bool,
    chinese: bool,
    stop: &dyn Fn() -> bool,
) -> Result<u8, String> {
    let results = match results(course, exercise, borrow, None, stop)? {
        Ok(results) => results,
        Err(messages) => {
            println!("{messages}\n{}: it does not compile.", exercise.title);
            return Ok(COMPILE);
        }
    };
    if stop() {
        println!("{}: it was saved again meanwhile.", exercise.title);
        return Ok(SOME);
    }
    let all = exercise.tests.len();
    let passed = results.iter().filter(|result| result.verdict == Verdict::Pass).count();
    let Some(first) = results.iter().find(|result| result.verdict != Verdict::Pass) else {
        if passed < all {
            println!("{}: {passed} of {all} tests came to an end.", exercise.title);
            return Ok(SOME);
        }
        let ms: u64 = results.iter().map(|result| result.ms).sum();
        println!("{}: all {all} tests pass ({ms} ms).", exercise.title);
        next(course, exercise, chinese);
        return Ok(ALL);
    };
    println!("{}: {passed} of {all} tests pass; first:\n", exercise.title);
    print_failure(first, &Messages::of(course, exercise, chinese)?);
    println!("A hint: cargo course hint {}", exercise.number);
    Ok(if first.verdict == Verdict::Hang { HUNG } else { SOME })
}

fn print_failure(result: &Tested, messages: &Messages) {
    println!("{} ({})", result.name, result.verdict.word());
    if !result.place.is_empty() {
        println!("  at {}", result.place);
    }
    println!("\n{}\n", result.message);
    if let Some(translated) = messages.translated(&result.message) {
        println!("{translated}\n");
    }
    if !result.picture.is_empty() {
        println!("{}\n", result.picture.trim_end());
    }
    if !result.output.is_empty() {
        println!("It printed:\n{}\n", result.output);
    }
}

fn next(course: &Course, exercise: &Exercise, chinese: bool) {
    if let Some(next) = course.exercises.iter().find(|other| other.name > exercise.name) {
        println!("Next: {}, {}", next.title, shown(course, &next.readme(chinese)));
    }
}

/// A path as it is to be typed in the folder above the package.
fn shown(course: &Course, path: &Path) -> String {
    let outer = course.root.parent().unwrap_or(&course.root);
    path.strip_prefix(outer).unwrap_or(path).display().to_string()
}

/// Nothing: the list. What the student has not edited is not built.
pub fn overview(course: &Course, chinese: bool) -> Result<u8, String> {
    let mut begun = Vec::new();
    for exercise in &course.exercises {
        if exercise.files()? != course.variant("skeletons", &exercise.name)? {
            begun.push(exercise.name.clone());
        }
    }
    let target = build::target_of(&course.root);
    let built = match begun.is_empty() {
        true => Default::default(),
        false => build::build(&course.root, &target, &begun, None)?,
    };
    let mut first = None;
    for exercise in &course.exercises {
        let minutes = minutes(&read(&exercise.readme(false))?).unwrap_or(0);
        let state = match built.get(&exercise.name) {
            _ if !begun.contains(&exercise.name) => "not begun".to_owned(),
            Some(Built { program: Some(program), .. }) => {
                let tests = &exercise.tests;
                let results = process::run(program, &course.root, tests, false, &|| false)?;
                let passes = |result: &&Tested| result.verdict == Verdict::Pass;
                match results.iter().filter(passes).count() {
                    passed if passed == tests.len() => "passes".to_owned(),
                    passed => format!("{passed} of {}", tests.len()),
                }
            }
            _ => "does not compile".to_owned(),
        };
        if state != "passes" && first.is_none() {
            first = Some(exercise);
        }
        println!("{:20} {minutes:3} min  {state}", exercise.title);
    }
    match first {
        Some(exercise) => println!(
            "\nNext: {}. Read {}, write {}, then: cargo course test {}",
            exercise.title,
            shown(course, &exercise.readme(chinese)),
            shown(course, &exercise.folder.join("exercise.rs")),
            exercise.number
        ),
        None => println!("\nAll exercises pass."),
    }
    Ok(ALL)
}

/// `watch`: tests an exercise each time that one of its files is saved; a test that runs then is ended.
pub fn watch(course: &Course, which: Option<&str>, chinese: bool) -> Result<u8, String> {
    let watched: Vec<&Exercise> = match which {
        Some(which) => vec![course.find(which)?],
        None => course.exercises.iter().collect(),
    };
    let mut seen = saved(&watched);
    let mut now = which.map(|_| watched[0]);
    loop {
        if let Some(exercise) = now.take() {
            println!("\n--- {}", exercise.title);
            let stop = || saved(&watched) != seen;
            // It does not end for a mistake in a file that is being edited.
            if let Err(why) = test_until(course, exercise, false, chinese, &stop) {
                println!("{why}");
            }
            println!("(watching; Ctrl-C ends it)");
        }
        thread::sleep(Duration::from_millis(200));
        let saved = saved(&watched);
        let changed = saved.iter().find(|file| !seen.contains(file));
        now = changed
            .and_then(|(path, _)| watched.iter().find(|e| path.starts_with(&e.folder)).copied());
        seen = saved;
    }
}

/// When each file of the exercises was saved.
fn saved(exercises: &[&Exercise]) -> Vec<(PathBuf, SystemTime)> {
    let mut times = Vec::new();
    for exercise in exercises {
        for entry in fs::read_dir(&exercise.folder).into_iter().flatten().flatten() {
            if let Some(time) = entry.metadata().and_then(|data| data.modified()).ok()
                && entry.path().extension().is_some_and(|extension| extension == "rs")
            {
                times.push((entry.path(), time));
            }
        }
    }
    times
}

/// `hint`: one of them; without a number the first, and how to see the next.
pub fn hint(exercise: &Exercise, which: Option<&str>, chinese: bool) -> Result<u8, String> {
    let hints = exercise.hints(chinese)?;
    let number: usize = match which.unwrap_or("1").parse() {
        Ok(number) if (1..=hints.len()).contains(&number) => number,
        _ => return Err(format!("there are the hints 1 to {}", hints.len())),
    };
    println!("{}", hints[number - 1]);
    if number < hints.len() {
        println!("\nThe next: cargo course hint {} {}", exercise.number, number + 1);
    }
    Ok(ALL)
}

/// `show`: the pictures of all tests, of those that pass too; or, of those with a timeline, pages that replay it.
pub fn show(course: &Course, exercise: &Exercise, borrow: bool, html: bool) -> Result<u8, String> {
    let pages = build::target_of(&course.root).join("course/html").join(&exercise.name);
    if html {
        fs::remove_dir_all(&pages).ok();
        fs::create_dir_all(&pages).map_err(|e| format!("{}: {e}", pages.display()))?;
    }
    let results = results(course, exercise, borrow, html.then_some(&pages), &|| false)?;
    let results = match results {
        Ok(results) => results,
        Err(messages) => {
            println!("{messages}\n{}: it does not compile.", exercise.title);
            return Ok(COMPILE);
        }
    };
    for result in &results {
        println!("--- {} ({})", result.name, result.verdict.word());
        if result.verdict != Verdict::Pass {
            println!("{}", result.message);
        }
        if !html {
            println!("{}", result.picture.trim_end());
        }
        let page = pages.join(format!("{}.html", result.name));
        if html && page.exists() {
            println!("{}", page.display());
        }
    }
    if html && list(&pages)?.is_empty() {
        println!(
            "No test of this exercise has a timeline to be replayed; without --html, pictures are drawn here."
        );
    }
    Ok(ALL)
}

/// `reset`: the skeleton again; the student's files are kept as `.bak`.
pub fn reset(course: &Course, exercise: &Exercise) -> Result<u8, String> {
    let skeleton = course.variant("skeletons", &exercise.name)?;
    for (name, text) in exercise.files()? {
        let backup = exercise.folder.join(format!("{name}.bak"));
        if !skeleton.iter().any(|(other, old)| *other == name && *old == text) {
            write(&backup, text)?;
            println!("What you wrote is in {}.", shown(course, &backup));
        }
    }
    for (name, text) in skeleton {
        write(&exercise.folder.join(name), text)?;
    }
    println!("{} is as it was.", exercise.title);
    Ok(ALL)
}

/// `solution`: after the student's own passes.
pub fn solution(course: &Course, exercise: &Exercise, spoil: bool) -> Result<u8, String> {
    let solution = course
        .variant("solutions", &exercise.name)
        .map_err(|_| "the solutions are not in this handout: ask your teacher".to_owned())?;
    if !spoil {
        let passes = |result: &Tested| result.verdict == Verdict::Pass;
        let results = results(course, exercise, false, None, &|| false)?.unwrap_or_default();
        if results.len() < exercise.tests.len() || !results.iter().all(passes) {
            println!("Yours does not pass yet. To see the solution all the same: --spoil");
            return Ok(SOME);
        }
    }
    for (name, text) in solution {
        println!("// {name}\n{text}");
    }
    Ok(ALL)
}
