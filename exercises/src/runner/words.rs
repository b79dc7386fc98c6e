//! The runner's own lines, in two languages: each stands in both where it is printed.

use crate::runner::process::Verdict;

/// In which language a student is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

/// A line's text in the language that is wanted, from an English and a Chinese format string.
macro_rules! text {
    ($language:expr, $english:literal, $chinese:literal $(, $value:expr)* $(,)?) => {
        match $language {
            $crate::runner::words::Language::English => format!($english $(, $value)*),
            $crate::runner::words::Language::Chinese => format!($chinese $(, $value)*),
        }
    };
}

/// Prints a line in the language that is wanted.
macro_rules! say {
    ($($line:tt)*) => { println!("{}", $crate::runner::words::text!($($line)*)) };
}

pub(crate) use {say, text};

impl Language {
    /// What a command that is proposed ends with, so that it answers in the same language.
    pub fn option(self) -> &'static str {
        match self {
            Language::English => "",
            Language::Chinese => " --zh",
        }
    }

    /// What became of a test, to stand after its name.
    pub fn verdict(self, verdict: Verdict) -> String {
        match (self, verdict) {
            (Language::English, verdict) => format!(" ({})", verdict.word()),
            (Language::Chinese, Verdict::Pass) => "（通过）".to_owned(),
            (Language::Chinese, Verdict::Fail) => "（未通过）".to_owned(),
            (Language::Chinese, Verdict::Hang) => "（没有结束）".to_owned(),
            (Language::Chinese, Verdict::Crash) => "（进程中途结束）".to_owned(),
            (Language::Chinese, Verdict::Compile) => "（不能编译）".to_owned(),
        }
    }
}
