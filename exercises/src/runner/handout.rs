//! `handout`: a folder for students, without solutions and wrong answers.

use std::path::Path;

use crate::ALL;
use crate::runner::build::cargo;
use crate::runner::catalog::{Course, Exercise, copy, read, write};

/// What a handout has of the crate. Its README is one of its own, and the guide, whose programs are the crate's examples, is left out.
const OF_THE_CRATE: [&str; 5] =
    ["src", "LICENSE-APACHE", "LICENSE-MIT", "rustfmt.toml", "Cargo.lock"];

const README: [(&str, &str); 2] = [
    ("README.md", include_str!("handout.md")),
    ("README.zh-CN.md", include_str!("handout.zh-CN.md")),
];

/// Whether a handout has what a text of an exercise names: a path from the exercise's folder, or from the folder above the
/// package.
pub fn has(course: &Course, exercise: &Exercise, path: &str) -> bool {
    let outer = course.root.parent().unwrap_or(&course.root);
    let first = path.split('/').next().unwrap_or_default();
    let is_handed = OF_THE_CRATE.contains(&first) || first == "exercises";
    exercise.folder.join(path).exists() || is_handed && outer.join(path).exists()
}

/// Copies the crate and the exercises as they are before a student edits them; with what they depend on, if that is wanted.
pub fn handout(course: &Course, folder: &Path, vendor: bool, borrow: bool) -> Result<u8, String> {
    if folder.exists() {
        return Err(format!("{} is there already: name a folder that is not", folder.display()));
    }
    let outer = course.root.parent().ok_or("the package lies in the crate's folder")?;
    for name in OF_THE_CRATE {
        if outer.join(name).exists() {
            copy(&outer.join(name), &folder.join(name))?;
        }
    }
    for (name, text) in README {
        write(&folder.join(name), text)?;
    }
    let guide = "//! The guide is in the crate's repository.\n";
    write(&folder.join("src/guide.rs"), guide)?;
    write(&folder.join("Cargo.toml"), manifest(&read(&outer.join("Cargo.toml"))?))?;
    let exercises = folder.join("exercises");
    for name in ["src", "Cargo.toml", "skeletons"] {
        copy(&course.root.join(name), &exercises.join(name))?;
    }
    for exercise in &course.exercises {
        let to = exercises.join("tests").join(&exercise.name);
        copy(&exercise.folder, &to)?;
        for entry in crate::runner::catalog::list(&to)? {
            if entry.extension().is_some_and(|extension| extension == "bak") {
                std::fs::remove_file(&entry).map_err(|e| format!("{}: {e}", entry.display()))?;
            }
        }
        for (name, text) in course.variant("skeletons", &exercise.name)? {
            write(&to.join(name), text)?;
        }
        if let (Some(other), true) = (&exercise.uses, borrow) {
            let [(_, solution), ..] = &course.variant("solutions", other)?[..] else { continue };
            write(&exercises.join("solutions").join(format!("{other}.rs")), solution)?;
        }
    }
    let mut config = read(&outer.join(".cargo/config.toml"))?;
    if vendor {
        let mut command = cargo();
        let vendored = command.current_dir(folder).args(["vendor", "--quiet", "vendor"]).output();
        let vendored = vendored.map_err(|e| format!("cannot run cargo: {e}"))?;
        if !vendored.status.success() {
            let why = String::from_utf8_lossy(&vendored.stderr).into_owned();
            return Err(format!("cargo vendor: {why}"));
        }
        config += "\n[net]\noffline = true\n\n[source.crates-io]\nreplace-with = \"vendored\"\n\n\
            [source.vendored]\ndirectory = \"vendor\"\n";
    }
    write(&folder.join(".cargo/config.toml"), config)?;
    println!("{}: {} exercises. In it: cargo course", folder.display(), course.exercises.len());
    Ok(ALL)
}

/// The crate's manifest with the exercises as the only other member, and without what only its own tests and optional
/// features need.
fn manifest(text: &str) -> String {
    let mut out = String::new();
    let mut section = "";
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let is_left_out = section.contains("dev-dependencies")
            || section.starts_with("[[")
            || section.starts_with("[profile")
            // Its documentation may name what optional features have.
            || section.contains("lints.rustdoc")
            || section == "[features]" && line.starts_with("##")
            || section == "[dependencies]" && line.contains("optional = true")
            || section == "[dependencies]" && line.starts_with('#');
        if is_left_out {
            continue;
        }
        match line.split_once(" = ") {
            Some(("members", _)) => out += "members = [\"exercises\"]",
            Some(("autobenches", _)) => {}
            Some((feature, _)) if section == "[features]" => out += &format!("{feature} = []"),
            _ => out += line,
        }
        out.push('\n');
    }
    out
}
