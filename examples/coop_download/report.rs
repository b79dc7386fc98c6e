//! What is printed at the end: a table, or one JSON object.

use serde_json::json;
use wouldblock::Stats;

use crate::list::{Done, INTERRUPTED};

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

pub fn table(ways: &[Way]) -> String {
    let mut lines = vec![format!(
        "{:<12}{:>6}{:>10}{:>9}{:>8}{:>12}{:>10}",
        "way", "files", "bytes", "seconds", "turns", "WouldBlock", "speed-up"
    )];
    let baseline = ways.iter().find(|way| way.name == "sequential");
    for way in ways {
        let (whole, turns, blocked) = (way.whole(), way.stats.turns, way.stats.would_block);
        let baseline = baseline.filter(|base| whole > 0 && base.whole() == whole);
        let speed_up = baseline.map(|base| format!("{:.1}x", base.seconds / way.seconds));
        let speed_up = speed_up.unwrap_or("-".into()); // it did not do the same
        lines.push(format!(
            "{:<12}{whole:>6}{:>10}{:>9.2}{turns:>8}{blocked:>12}{speed_up:>10}",
            way.name,
            way.bytes(),
            way.seconds
        ));
    }
    for Way { name, files, .. } in ways {
        let there = files.iter().filter(|file| file.skipped).count();
        if there > 0 {
            lines.push(format!("already there ({name}): {there} of {}", files.len()));
        }
        let mut interrupted = 0;
        for Done { url, outcome, .. } in files {
            match outcome {
                Err(why) if why == INTERRUPTED => interrupted += 1,
                Err(why) => lines.push(format!("failed ({name}): {url}: {why}")),
                Ok(_) => {}
            }
        }
        if interrupted > 0 {
            lines.push(format!("interrupted ({name}): {interrupted} of {}", files.len()));
        }
    }
    lines.join("\n")
}

pub fn json(ways: &[Way]) -> String {
    let file = |file: &Done| {
        json!({
            "url": file.url,
            "path": file.file.as_ref().map(|file| file.to_string_lossy()), // JSON has no other
            "bytes": file.outcome.as_ref().copied().unwrap_or(0),
            "seconds": file.seconds,
            "attempts": file.attempts,
            "skipped": file.skipped,
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
    json!({ "styles": ways.iter().map(way).collect::<Vec<_>>() }).to_string()
}
