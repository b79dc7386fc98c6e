//! What is printed at the end: a table, or one JSON object.

use serde_json::json;
use wouldblock::Stats;

use crate::job::{Done, INTERRUPTED};

/// One way of downloading, and what came of it.
pub struct Way {
    pub name: &'static str,
    pub seconds: f64,
    pub stats: Stats,
    pub files: Vec<Done>,
}

impl Way {
    fn whole(&self) -> usize {
        self.files.iter().filter(|file| file.outcome.is_ok()).count()
    }

    fn bytes(&self) -> u64 {
        self.files.iter().filter_map(|file| file.outcome.as_ref().ok()).sum()
    }
}

pub fn table(ways: &[Way]) {
    println!(
        "{:<12}{:>6}{:>10}{:>9}{:>8}{:>12}{:>10}",
        "way", "files", "bytes", "seconds", "turns", "WouldBlock", "speed-up"
    );
    let baseline = ways.iter().find(|way| way.name == "sequential");
    for way in ways {
        let (whole, turns, blocked) = (way.whole(), way.stats.turns, way.stats.would_block);
        let baseline = baseline.filter(|base| whole > 0 && base.whole() == whole);
        let speed_up = baseline.map(|base| format!("{:.1}x", base.seconds / way.seconds));
        let speed_up = speed_up.unwrap_or("-".into()); // it did not do the same
        println!(
            "{:<12}{whole:>6}{:>10}{:>9.2}{turns:>8}{blocked:>12}{speed_up:>10}",
            way.name,
            way.bytes(),
            way.seconds
        );
    }
    for way in ways {
        for file in &way.files {
            match &file.outcome {
                Err(why) if why != INTERRUPTED => {
                    println!("failed ({}): {}: {why}", way.name, file.url);
                }
                _ => {}
            }
        }
        let interrupted = |file: &&Done| matches!(&file.outcome, Err(why) if why == INTERRUPTED);
        match way.files.iter().filter(interrupted).count() {
            0 => {}
            missing => println!("interrupted ({}): {missing} of {}", way.name, way.files.len()),
        }
    }
}

pub fn json(ways: &[Way]) {
    let file = |file: &Done| {
        json!({
            "url": file.url,
            "path": file.file,
            "bytes": file.outcome.as_ref().copied().unwrap_or(0),
            "seconds": file.seconds,
            "attempts": file.attempts,
            "error": file.outcome.as_ref().err(),
        })
    };
    let way = |way: &Way| {
        json!({
            "style": way.name,
            "seconds": way.seconds,
            "bytes": way.bytes(),
            "turns": way.stats.turns,
            "would_block": way.stats.would_block,
            "files": way.files.iter().map(file).collect::<Vec<_>>(),
        })
    };
    println!("{}", json!({ "styles": ways.iter().map(way).collect::<Vec<_>>() }));
}
