//! `cargo course`: lists, tests and shows the exercises, and grades answers to them.

mod runner {
    pub mod build;
    pub mod catalog;
    pub mod commands;
    pub mod grade;
    pub mod handout;
    pub mod messages;
    pub mod process;
    pub mod verify;
    pub mod words;
}

use std::path::Path;
use std::process::ExitCode;

use runner::catalog::Course;
use runner::messages::Messages;
use runner::words::Language;
use runner::{commands, grade, handout, verify};

const USAGE: &str = "\
cargo course                        the exercises, and which is next
cargo course test NN [--borrow]     test an answer; --borrow: with the solution of the exercise that it builds on
cargo course watch [NN]             test it each time that it is saved
cargo course hint NN [1-3]          a hint
cargo course show NN [--html]       what the tests draw; --html: pages to step through it, turn by turn
cargo course reset NN               the exercise as it was; what you wrote is kept beside it as .bak
cargo course solution NN [--spoil]  the solution, when yours passes
for teachers:
cargo course verify [NN..] [--drill] [--times N] [--messages]
cargo course grade SUBMISSION.. [--only NN,..] [--json FILE] [--junit FILE] [--csv FILE]
cargo course handout DIR [--vendor] [--borrow]
--zh: texts in Chinese (as where LANG begins with zh)
exit status: 0 all pass, 1 some do not, 2 a wrong command, 3 it does not compile, 4 a test did not end";

const USAGE_IN_CHINESE: &str = "\
cargo course                        全部练习，以及下一个是哪个
cargo course test NN [--borrow]     测试一个练习；--borrow：它所依据的那个练习用参考答案
cargo course watch [NN]             每次保存时都测试
cargo course hint NN [1-3]          看一条提示
cargo course show NN [--html]       测试画的图；--html：可以逐回合查看的网页
cargo course reset NN               练习恢复原样；你写的内容留在旁边的 .bak 里
cargo course solution NN [--spoil]  你的通过之后，看参考答案
教师用：
cargo course verify [NN..] [--drill] [--times N] [--messages]
cargo course grade SUBMISSION.. [--only NN,..] [--json FILE] [--junit FILE] [--csv FILE]
cargo course handout DIR [--vendor] [--borrow]
--zh：文字用中文（LANG 以 zh 开头时也是）
退出状态：0 全部通过，1 有未通过的，2 命令不对，3 不能编译，4 有测试没有结束";

/// Exit statuses.
pub const ALL: u8 = 0;
pub const SOME: u8 = 1;
pub const USAGE_STATUS: u8 = 2;
pub const COMPILE: u8 = 3;
pub const HUNG: u8 = 4;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let language = match flag(&mut words, "--zh") || is_chinese() {
        true => Language::Chinese,
        false => Language::English,
    };
    let root = std::env::var("CARGO_MANIFEST_DIR");
    let root = root.unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let why = match Course::open(Path::new(&root)) {
        Ok(course) => match run(&course, &mut words, language) {
            Ok(status) => return ExitCode::from(status),
            Err(why) => error(&course, language, &why),
        },
        Err(why) => why,
    };
    eprintln!("cargo course: {why}");
    ExitCode::from(USAGE_STATUS)
}

/// Why a command was not carried out, in the language that is wanted.
pub fn error(course: &Course, language: Language, why: &str) -> String {
    if language == Language::English {
        return why.to_owned();
    }
    let why = why.replace(USAGE, USAGE_IN_CHINESE);
    let messages = Messages::of_the_kit(course);
    messages.ok().and_then(|messages| messages.translated(&why)).unwrap_or(why)
}

fn run(course: &Course, words: &mut Vec<String>, language: Language) -> Result<u8, String> {
    let command = if words.is_empty() { String::new() } else { words.remove(0) };
    match command.as_str() {
        "" => {
            nothing_else(words)?;
            commands::overview(course, language)
        }
        "test" => {
            let borrow = flag(words, "--borrow");
            commands::test(course, course.find(&one(words)?)?, borrow, language)
        }
        "watch" => commands::watch(course, words.first().map(String::as_str), language),
        "hint" => {
            let which = (words.len() > 1).then(|| words.remove(1));
            commands::hint(course.find(&one(words)?)?, which.as_deref(), language)
        }
        "show" => {
            let (html, borrow) = (flag(words, "--html"), flag(words, "--borrow"));
            commands::show(course, course.find(&one(words)?)?, borrow, html, language)
        }
        "reset" => commands::reset(course, course.find(&one(words)?)?, language),
        "solution" => {
            let spoil = flag(words, "--spoil");
            commands::solution(course, course.find(&one(words)?)?, spoil, language)
        }
        "verify" => {
            let drill = flag(words, "--drill");
            let times = value(words, "--times")?.unwrap_or_else(|| "1".to_owned());
            let times = times.parse().map_err(|_| format!("--times {times:?} is not a number"))?;
            let show = flag(words, "--messages");
            verify::verify(course, words, drill, show, times)
        }
        "grade" => {
            let json = value(words, "--json")?;
            let junit = value(words, "--junit")?;
            let csv = value(words, "--csv")?;
            let only = value(words, "--only")?;
            grade::grade(course, words, only.as_deref(), &grade::Files { json, junit, csv })
        }
        "handout" => {
            let (vendor, borrow) = (flag(words, "--vendor"), flag(words, "--borrow"));
            handout::handout(course, Path::new(&one(words)?), vendor, borrow)
        }
        "help" | "--help" | "-h" => {
            runner::words::say!(language, "{USAGE}", "{USAGE_IN_CHINESE}");
            Ok(ALL)
        }
        other => Err(format!("there is no command {other:?}\n{USAGE}")),
    }
}

fn is_chinese() -> bool {
    let set = ["LC_ALL", "LC_MESSAGES", "LANG"].map(std::env::var);
    let first = set.into_iter().flatten().find(|value| !value.is_empty());
    first.is_some_and(|value| value.starts_with("zh"))
}

/// Takes a flag out of the words.
fn flag(words: &mut Vec<String>, name: &str) -> bool {
    let before = words.len();
    words.retain(|word| word != name);
    words.len() < before
}

/// Takes an option and its value out of the words.
fn value(words: &mut Vec<String>, name: &str) -> Result<Option<String>, String> {
    let Some(at) = words.iter().position(|word| word == name) else { return Ok(None) };
    words.remove(at);
    if at == words.len() {
        return Err(format!("a file is missing after {name}"));
    }
    Ok(Some(words.remove(at)))
}

fn one(words: &[String]) -> Result<String, String> {
    match words {
        [word] if !word.starts_with("--") => Ok(word.clone()),
        [] => Err(format!("one more word is needed\n{USAGE}")),
        [.., last] => Err(format!("{last:?} is not understood here\n{USAGE}")),
    }
}

fn nothing_else(words: &[String]) -> Result<(), String> {
    words.first().map_or(Ok(()), |word| Err(format!("{word:?} is not understood\n{USAGE}")))
}
