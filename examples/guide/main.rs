//! The programs of the guide, a file for each chapter.
//!
//!     cargo run --example guide              the chapters
//!     cargo run --example guide -- 4         runs the programs of chapter 4, and draws what their tasks did
//!
//! The text that belongs to them is in `guide/en` and `guide/zh-CN`. A test holds that the chapters show this code, and
//! what it prints.

mod chapter_01;
mod chapter_02;
mod chapter_03;
mod chapter_04;
mod chapter_05;
mod chapter_06;
mod chapter_07;
mod chapter_08;
mod chapter_09;
mod chapter_10;
mod chapter_11;
mod stage;

use std::process::ExitCode;

const CHAPTERS: [(&str, fn()); 11] = [
    ("Stop in the middle", chapter_01::run),
    ("Who ends a turn: preemptive and cooperative", chapter_02::run),
    ("Asynchronous, with callbacks: a job id and a queue", chapter_03::run),
    ("WouldBlock, and the scheduler", chapter_04::run),
    ("Python 2: yield, send, the trampoline; and yield from", chapter_05::run),
    ("gevent: a stack for each task", chapter_06::run),
    ("asyncio, async/await, asyncio.run", chapter_07::run),
    ("Network, file, database, message queue", chapter_08::run),
    ("One core, and what lies beyond it", chapter_09::run),
    ("Deadlock, freeze, leak", chapter_10::run),
    ("Five images", chapter_11::run),
];

fn main() -> ExitCode {
    let Some(argument) = std::env::args().nth(1) else {
        for (n, (title, _)) in (1..).zip(CHAPTERS) {
            println!("{n:>2}  {title}");
        }
        println!("\ncargo run --example guide -- N    runs the programs of chapter N");
        return ExitCode::SUCCESS;
    };
    let number = argument.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
    let Some((title, run)) = number.and_then(|n| CHAPTERS.get(n)) else {
        eprintln!("guide: {argument:?} is no chapter: give a number from 1 to 11");
        return ExitCode::from(2);
    };
    println!("Chapter {argument}. {title}");
    run();
    ExitCode::SUCCESS
}
