//! What a student types.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::runner::build::{self, Built, Overlay};
use crate::runner::catalog::{Course, Exercise, list, minutes, read, write};
use crate::runner::messages::Messages;
use crate::runner::process::{self, Tested, Verdict};
use crate::runner::words::{Language, say, text};
use crate::{ALL, COMPILE, HUNG, SOME, error};

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
    language: Language,
) -> Result<u8, String> {
    test_until(course, exercise, borrow, language, &|| false)
}

fn test_until(
    course: &Course,
    exercise: &Exercise,
    borrow: bool,
    language: Language,
    stop: &dyn Fn() -> bool,
) -> Result<u8, String> {
    let results = match results(course, exercise, borrow, None, stop)? {
        Ok(results) => results,
        Err(messages) => {
            println!("{messages}");
            say!(language, "{}: it does not compile.", "{}：不能编译。", exercise.title);
            return Ok(COMPILE);
        }
    };
    if stop() {
        say!(language, "{}: it was saved again meanwhile.", "{}：其间又保存过了。", exercise.title);
        return Ok(SOME);
    }
    let all = exercise.tests.len();
    let passed = results.iter().filter(|result| result.verdict == Verdict::Pass).count();
    let Some(first) = results.iter().find(|result| result.verdict != Verdict::Pass) else {
        if passed < all {
            say!(
                language,
                "{}: {passed} of {all} tests came to an end.",
                "{}：{all} 个测试里只有 {passed} 个运行到了底。",
                exercise.title
            );
            return Ok(SOME);
        }
        let ms: u64 = results.iter().map(|result| result.ms).sum();
        say!(
            language,
            "{}: all {all} tests pass ({ms} ms).",
            "{}：{all} 个测试全部通过（{ms} 毫秒）。",
            exercise.title
        );
        next(course, exercise, language);
        return Ok(ALL);
    };
    say!(
        language,
        "{}: {passed} of {all} tests pass; first:\n",
        "{}：{all} 个测试里通过了 {passed} 个；第一个没有通过的：\n",
        exercise.title
    );
    print_failure(first, &Messages::of(course, exercise, language)?, language);
    let hint = format!("cargo course hint {}{}", exercise.number, language.option());
    say!(language, "A hint: {hint}", "看提示：{hint}");
    Ok(if first.verdict == Verdict::Hang { HUNG } else { SOME })
}

/// The message in Chinese, if that is wanted, stands first: it is what the student reads.
fn print_failure(result: &Tested, messages: &Messages, language: Language) {
    println!("{}{}", result.name, language.verdict(result.verdict));
    if !result.place.is_empty() {
        say!(language, "  at {}", "  位置：{}", result.place);
    }
    println!();
    if let Some(translated) = messages.translated(&result.message) {
        println!("{translated}\n");
    }
    println!("{}\n", result.message);
    if !result.picture.is_empty() {
        println!("{}\n", messages.picture(result.picture.trim_end()));
    }
    if !result.output.is_empty() {
        say!(language, "It printed:\n{}\n", "它打印了：\n{}\n", result.output);
    }
}

fn next(course: &Course, exercise: &Exercise, language: Language) {
    if let Some(next) = course.exercises.iter().find(|other| other.name > exercise.name) {
        let readme = shown(course, &next.readme(language));
        say!(language, "Next: {}, {readme}", "下一个：{}，{readme}", next.title);
    }
}

/// A path as it is to be typed in the folder above the package.
fn shown(course: &Course, path: &Path) -> String {
    let outer = course.root.parent().unwrap_or(&course.root);
    path.strip_prefix(outer).unwrap_or(path).display().to_string()
}

/// Nothing: the list. What the student has not edited is not built.
pub fn overview(course: &Course, language: Language) -> Result<u8, String> {
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
        let minutes = minutes(&read(&exercise.readme(Language::English))?).unwrap_or(0);
        let all = exercise.tests.len();
        let mut passes = false;
        let state = match built.get(&exercise.name) {
            _ if !begun.contains(&exercise.name) => text!(language, "not begun", "还没有开始"),
            Some(Built { program: Some(program), .. }) => {
                let tests = &exercise.tests;
                let results = process::run(program, &course.root, tests, false, &|| false)?;
                let passed = |result: &&Tested| result.verdict == Verdict::Pass;
                let passed = results.iter().filter(passed).count();
                passes = passed == all;
                match passes {
                    true => text!(language, "passes", "通过"),
                    false => text!(language, "{passed} of {all}", "{all} 个里通过 {passed} 个"),
                }
            }
            _ => text!(language, "does not compile", "不能编译"),
        };
        if !passes && first.is_none() {
            first = Some(exercise);
        }
        say!(
            language,
            "{:20} {minutes:3} min  {state}",
            "{:20} {minutes:3} 分钟  {state}",
            exercise.title
        );
    }
    match first {
        Some(exercise) => say!(
            language,
            "\nNext: {}. Read {}, write {}, then: cargo course test {}{}",
            "\n下一个：{}。读 {}，写 {}，然后：cargo course test {}{}",
            exercise.title,
            shown(course, &exercise.readme(language)),
            shown(course, &exercise.folder.join("exercise.rs")),
            exercise.number,
            language.option()
        ),
        None => say!(language, "\nAll exercises pass.", "\n全部练习都通过了。"),
    }
    Ok(ALL)
}

/// `watch`: tests an exercise each time that one of its files is saved; a test that runs then is ended.
pub fn watch(course: &Course, which: Option<&str>, language: Language) -> Result<u8, String> {
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
            if let Err(why) = test_until(course, exercise, false, language, &stop) {
                println!("{}", error(course, language, &why));
            }
            say!(language, "(watching; Ctrl-C ends it)", "（正在等待保存；按 Ctrl-C 结束）");
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
pub fn hint(exercise: &Exercise, which: Option<&str>, language: Language) -> Result<u8, String> {
    let hints = exercise.hints(language)?;
    let number: usize = match which.unwrap_or("1").parse() {
        Ok(number) if (1..=hints.len()).contains(&number) => number,
        _ => return Err(format!("there are the hints 1 to {}", hints.len())),
    };
    println!("{}", hints[number - 1]);
    if number < hints.len() {
        let next = format!("{} {}{}", exercise.number, number + 1, language.option());
        say!(
            language,
            "\nThe next: cargo course hint {next}",
            "\n下一条：cargo course hint {next}"
        );
    }
    Ok(ALL)
}

/// `show`: the pictures of all tests, of those that pass too; or, of those with a timeline, pages that replay it.
pub fn show(
    course: &Course,
    exercise: &Exercise,
    borrow: bool,
    html: bool,
    language: Language,
) -> Result<u8, String> {
    let messages = Messages::of(course, exercise, language)?;
    let pages = build::target_of(&course.root).join("course/html").join(&exercise.name);
    if html {
        fs::remove_dir_all(&pages).ok();
        fs::create_dir_all(&pages).map_err(|e| format!("{}: {e}", pages.display()))?;
    }
    let results = results(course, exercise, borrow, html.then_some(&pages), &|| false)?;
    let results = match results {
        Ok(results) => results,
        Err(messages) => {
            println!("{messages}");
            say!(language, "{}: it does not compile.", "{}：不能编译。", exercise.title);
            return Ok(COMPILE);
        }
    };
    for result in &results {
        println!("--- {}{}", result.name, language.verdict(result.verdict));
        if result.verdict != Verdict::Pass {
            if let Some(translated) = messages.translated(&result.message) {
                println!("{translated}");
            }
            println!("{}", result.message);
        }
        if !html {
            println!("{}", messages.picture(result.picture.trim_end()));
        }
        let page = pages.join(format!("{}.html", result.name));
        if html && page.exists() {
            println!("{}", page.display());
        }
    }
    if html && list(&pages)?.is_empty() {
        say!(
            language,
            "No test of this exercise has a timeline to be replayed; without --html, pictures are drawn here.",
            "这个练习的测试没有可以重放的时间线；不加 --html，图就画在这里。"
        );
    }
    Ok(ALL)
}

/// `reset`: the skeleton again; the student's files are kept as `.bak`.
pub fn reset(course: &Course, exercise: &Exercise, language: Language) -> Result<u8, String> {
    let skeleton = course.variant("skeletons", &exercise.name)?;
    for (name, text) in exercise.files()? {
        let backup = exercise.folder.join(format!("{name}.bak"));
        if !skeleton.iter().any(|(other, old)| *other == name && *old == text) {
            write(&backup, text)?;
            let backup = shown(course, &backup);
            say!(language, "What you wrote is in {backup}.", "你写的内容在 {backup} 里。");
        }
    }
    for (name, text) in skeleton {
        write(&exercise.folder.join(name), text)?;
    }
    say!(language, "{} is as it was.", "{} 恢复了原样。", exercise.title);
    Ok(ALL)
}

/// `solution`: after the student's own passes.
pub fn solution(
    course: &Course,
    exercise: &Exercise,
    spoil: bool,
    language: Language,
) -> Result<u8, String> {
    let solution = course
        .variant("solutions", &exercise.name)
        .map_err(|_| "the solutions are not in this handout: ask your teacher".to_owned())?;
    if !spoil {
        let passes = |result: &Tested| result.verdict == Verdict::Pass;
        let results = results(course, exercise, false, None, &|| false)?.unwrap_or_default();
        if results.len() < exercise.tests.len() || !results.iter().all(passes) {
            say!(
                language,
                "Yours does not pass yet. To see the solution all the same: --spoil",
                "你的还没有通过。仍想看答案：--spoil"
            );
            return Ok(SOME);
        }
    }
    for (name, text) in solution {
        println!("// {name}\n{text}");
    }
    Ok(ALL)
}
