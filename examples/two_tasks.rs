//! The program of the crate's front page, recorded: writes a page that replays it turn by turn.
//!
//!     cargo run --example two_tasks                 to two_tasks.html
//!     cargo run --example two_tasks -- FILE         to FILE

use std::env;
use std::io;
use std::path::PathBuf;

use wouldblock::timeline::Timeline;
use wouldblock::{Builder, green, task};

fn main() -> io::Result<()> {
    let timeline = Timeline::titled("two tasks").with_lines();
    Builder::new().observe(timeline.clone()).run(two_tasks);
    let file = env::args_os().nth(1).map_or_else(|| "two_tasks.html".into(), PathBuf::from);
    std::fs::write(&file, timeline.html())?;
    println!("To step through it, open {} in a browser.", file.display());
    Ok(())
}

/// As on the front page; but the tasks have names.
fn two_tasks() {
    for name in ["ann", "bob"] {
        drop(task::Builder::new().name(name).spawn(move || {
            for step in 1..=2 {
                println!("{name} {step}");
                green::yield_now();
            }
        }));
    }
    println!("both are queued");
    for _ in 0..3 {
        green::yield_now();
    }
}
