//! One program written twice: as callbacks, and as a coroutine.
//!
//!     cargo run --release --example callback_vs_coroutine
//!     cargo run --example callback_vs_coroutine -- coroutine      only its log (or that of `callbacks`)
//!
//! An image service takes a job, answers at once with an id, and later posts the finished image to a message
//! queue. Each picture is scaled, then framed, then saved. Jobs get lost, fail, come too late, are posted twice
//! or under an id that nobody was given; so there is a time limit, and a second attempt.
//!
//! Put `callbacks.rs` and `coroutine.rs` side by side, and look for three things. Where does it say that
//! framing comes after scaling? Where is the number of the attempt kept? Who knows when all is finished? In the
//! one, the answers are a state, a field and a counter; in the other, two lines in a row, a loop, and the
//! end of a scope. What they share is in `service.rs`. Both print the same:
//!
//! ```text
//!    22 ms  small cat.png: frame it, job 8
//!    24 ms  job 1000006 is posted, but it is none of ours: ignored
//!    35 ms  gnu.png: job 7: out of memory
//!    35 ms  gnu.png: scale it, job 11
//!    50 ms  job 4 is posted, but it was over: ignored
//!    57 ms  ann.png: saved, framed small ann.png
//!   100 ms  bob.png: job 2: nothing came in time
//!   100 ms  bob.png: scale it, job 15
//!   107 ms  cat.png: given up, out of paint
//! ```
//!
//! (of which this is a part), and then what the two ways cost, in lines and in time:
//!
//! ```text
//!            lines of code   this story   3500 pictures at once
//! callbacks             97        283ms   27.3ms, 7.8µs each
//! coroutine             64        283ms   33.7ms, 9.6µs each
//! ```

mod callbacks;
mod coroutine;
mod service;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use service::Fate::{Doubled, Fails, Late, Lost, Misaddressed};
use service::{Album, Fate, Picture, Results, Service};
use wouldblock::Builder;
use wouldblock::time::now;

/// What goes wrong with the scaling and with the framing of each picture.
const STORY: [(&str, &[Fate], &[Fate]); 7] = [
    ("ann.png", &[], &[]),
    ("bob.png", &[Lost], &[]),
    ("cat.png", &[], &[Fails("out of paint"), Fails("out of paint")]),
    ("dog.png", &[Doubled], &[]),
    ("eel.png", &[], &[Late]),
    ("fox.png", &[Misaddressed], &[]),
    ("gnu.png", &[Fails("out of memory")], &[Lost, Lost]),
];

/// How often the story is repeated, all at once, to be timed.
const REPEATS: usize = 500;

/// One of the two.
struct Way {
    name: &'static str,
    source: &'static str,
    process: fn(&Rc<Service>, &Rc<Album>, &[Picture]),
}

const WAYS: [Way; 2] = [
    Way { name: "callbacks", source: include_str!("callbacks.rs"), process: callbacks::process },
    Way {
        name: "coroutine",
        source: include_str!("coroutine.rs"),
        process: |service, album, pictures| coroutine::process(service, album, pictures),
    },
];

/// What a way made of some pictures.
struct Outcome {
    log: String,
    results: Results,
    /// The time in which everybody waited.
    waited: Duration,
    /// The time that it took, without that.
    took: Duration,
}

fn main() -> ExitCode {
    let story = pictures(1);
    let Some(name) = std::env::args().nth(1) else {
        compare(&story);
        return ExitCode::SUCCESS;
    };
    let Some(way) = WAYS.iter().find(|way| way.name == name) else {
        eprintln!("callback_vs_coroutine: {name:?} is neither `callbacks` nor `coroutine`");
        return ExitCode::from(2);
    };
    print!("{}", way.run(&story, true).log);
    ExitCode::SUCCESS
}

fn compare(story: &[Picture]) {
    let [told, again] = WAYS.map(|way| way.run(story, true));
    assert_eq!(told.log, again.log, "the two ways tell different stories");
    assert_eq!(told.waited, again.waited, "the two ways wait differently");
    let n = story.len();
    println!("{n} pictures, most in trouble. Both ways print this, byte for byte:\n");
    println!("{}", told.log);

    let many = pictures(REPEATS);
    let costs = WAYS.map(|way| way.fastest(&many));
    assert_eq!(costs[0].results, costs[1].results, "the two ways have different results");
    println!("           lines of code   this story   {} pictures at once", many.len());
    for (way, Outcome { took, .. }) in WAYS.iter().zip(costs) {
        let (name, lines, each) = (way.name, way.lines_of_code(), took / many.len() as u32);
        println!("{name} {lines:>14}   {:>10?}   {took:.1?}, {each:.1?} each", told.waited);
    }
    println!("\nThe clock is virtual: it jumps over the time in which everybody waits. So the");
    println!("last column is what it costs to keep track of what goes on, service and all.");
}

impl Way {
    /// The clock is virtual: it jumps over the time in which everybody waits. So the course is the same each
    /// time, and what is measured is the cost of keeping track of it.
    fn run(&self, pictures: &[Picture], logs: bool) -> Outcome {
        Builder::new().virtual_clock().round_robin().run(|| {
            let service = Rc::new(Service::new(pictures));
            let album = Rc::new(Album::new(logs));
            let (start, wall_start) = (now(), Instant::now());
            (self.process)(&service, &album, pictures);
            let (waited, took) = (now() - start, wall_start.elapsed());
            let (log, results) = album.take();
            Outcome { log, results, waited, took }
        })
    }

    /// Without a log, and the fastest of some: the others were disturbed.
    fn fastest(&self, pictures: &[Picture]) -> Outcome {
        let runs = (0..5).map(|_| self.run(pictures, false));
        runs.min_by_key(|outcome| outcome.took).expect("five runs")
    }

    /// Without comments and blank lines.
    fn lines_of_code(&self) -> usize {
        let lines = self.source.lines().map(str::trim);
        lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
    }
}

/// The pictures of the story, so many times.
fn pictures(times: usize) -> Vec<Picture> {
    let name = |n, name| if n == 0 { String::from(name) } else { format!("{n}-{name}") };
    let story =
        |n| STORY.map(|(picture, scale, frame)| Picture { name: name(n, picture), scale, frame });
    (0..times).flat_map(story).collect()
}
