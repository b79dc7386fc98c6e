//! A fleet on a virtual clock: the same workers, with a queue in memory, and a web that is drawn from a seed.
//!
//! What is simulated is the web (how long a download takes, that some fail, that some take very long) and the deaths of
//! workers (a task that is cancelled, and started anew after a second). What is not simulated is `worker.rs`: it is the
//! code of the real fleet. The same seed gives the same course.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use wouldblock::sync::Event;
use wouldblock::{Builder, JoinHandle, green, time};

use crate::download::{Download, Trouble};
use crate::local::{LocalQueue, Store};
use crate::queue::Outcome;
use crate::worker::{Manner, work};

/// What is simulated.
#[derive(Args, Clone, Debug)]
pub struct Setting {
    /// How many workers.
    #[arg(long, default_value_t = 1000)]
    pub workers: u32,
    /// How many URLs.
    #[arg(long, default_value_t = 100_000)]
    pub jobs: u32,
    /// Downloads at once, in each worker.
    #[arg(long, default_value_t = 10)]
    pub concurrency: usize,
    /// The median time of a download, in ms; half of them take from a half to twice that.
    #[arg(long, default_value_t = 500)]
    pub median: u64,
    /// Of a thousand attempts, how many fail.
    #[arg(long, default_value_t = 20)]
    pub faults: u64,
    /// Of a thousand downloads, how many take thirty times as long.
    #[arg(long, default_value_t = 5)]
    pub stragglers: u64,
    /// Workers that die in a second.
    #[arg(long, default_value_t = 10)]
    pub deaths: u32,
    /// Another seed gives another course.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Course {
    /// Of virtual time.
    pub took: Duration,
    /// The time that the workers would take without a death and with no end to wait for.
    pub ideal: Duration,
    pub done: usize,
    pub failed: usize,
    pub dead: usize,
    pub deaths: u32,
    /// Downloads that had their whole time, and whose URL another one had too.
    pub twice: u64,
    /// Calls of the queue; in Redis, a round trip each.
    pub calls: u64,
}

/// Simulates, and prints what came of it.
///
/// # Errors
///
/// When it cannot be printed.
pub fn show(setting: &Setting) -> io::Result<()> {
    let course = simulate(setting);
    let Course { took, ideal, done, failed, dead, deaths, twice, calls } = &course;
    let share = ideal.as_secs_f64() / took.as_secs_f64() * 100.0;
    let rate = *calls as f64 / took.as_secs_f64();
    let (took, ideal) = (took.as_secs_f64(), ideal.as_secs_f64());
    writeln!(
        io::stdout(),
        "{} workers, {} URLs: {took:.1} s of virtual time, ideal {ideal:.1} s ({share:.0} %)\n\
         done {done}, failed {failed}, dead {dead}; {deaths} workers died, {twice} downloads were done twice\n\
         {calls} calls of the queue, {rate:.0} a second",
        setting.workers,
        setting.jobs
    )
}

/// One course.
pub fn simulate(setting: &Setting) -> Course {
    let builder = Builder::new().virtual_clock().round_robin().stack_size(64 << 10).watchdog(None);
    builder.run(|| {
        let start = time::now();
        let urls = (0..setting.jobs).map(|n| Ok(format!("http://host-{}.example/{n}", n % 97)));
        let store = Store::of(urls).expect("URLs without an error");
        let web = Rc::new(Web::new(setting));
        let over = Rc::new(Event::new());

        let workers: Vec<Rc<RefCell<JoinHandle<()>>>> = (0..setting.workers)
            .map(|number| {
                Rc::new(RefCell::new(start_worker(setting, &store, &web, number.to_string())))
            })
            .collect();
        let deaths = Rc::new(Cell::new(0));
        let killer = {
            let (workers, web, store) = (workers.clone(), web.clone(), store.clone());
            let (setting, deaths, over) = (setting.clone(), deaths.clone(), over.clone());
            green::spawn(move || {
                while setting.deaths > 0
                    && over.wait_timeout(Duration::from_secs(1) / setting.deaths).is_err()
                {
                    let number = web.draw() as usize % workers.len();
                    workers[number].borrow().cancel();
                    deaths.set(deaths.get() + 1);
                    let name = format!("{number}-{}", deaths.get());
                    let next = start_worker(&setting, &store, &web, name);
                    drop(workers[number].replace(next));
                }
            })
        };
        store.until_empty();
        let took = time::now() - start;
        over.set();
        killer.join().expect("a killer that does not panic");
        for worker in workers {
            // It sees that no job is left.
            let worker = Rc::into_inner(worker).expect("the killer has ended").into_inner();
            worker.join().expect("a worker that does not panic");
        }

        let results = store.results();
        let count = |list| results.values().filter(|outcome| outcome.list() == list).count();
        assert_eq!(results.len(), setting.jobs as usize, "each URL has one result");
        let done_without_download = results.iter().filter(|(url, outcome)| {
            matches!(outcome, Outcome::Done { .. }) && !web.whole.borrow().contains_key(*url)
        });
        assert_eq!(done_without_download.count(), 0, "what is done has been downloaded");
        let lanes = u64::from(setting.workers) * setting.concurrency as u64;
        Course {
            took,
            ideal: Duration::from_micros(web.useful.get() / lanes),
            done: count("done"),
            failed: count("failed"),
            dead: count("dead"),
            deaths: deaths.get(),
            twice: web.whole.borrow().values().map(|times| times - 1).sum(),
            calls: store.calls(),
        }
    })
}

fn start_worker(
    setting: &Setting,
    store: &Rc<Store>,
    web: &Rc<Web>,
    name: String,
) -> JoinHandle<()> {
    let manner =
        Manner { concurrency: setting.concurrency, per_host: None, retries: 5, until_empty: true };
    let (queue, web) = (LocalQueue { store: store.clone(), worker: name }, web.clone());
    green::spawn(move || {
        green::sleep(Duration::from_secs(1)); // Of starting.
        work(&queue, &*web, &manner, &Event::new()).expect("a queue without errors");
    })
}

/// The web: downloads are drawn from the seed.
struct Web {
    setting: Setting,
    state: Cell<u64>,
    /// By URL, how often it was downloaded to the end.
    whole: RefCell<HashMap<String, u64>>,
    /// The time, in us, of the first whole download of each URL.
    useful: Cell<u64>,
}

impl Web {
    fn new(setting: &Setting) -> Web {
        Web {
            setting: setting.clone(),
            state: Cell::new(setting.seed),
            whole: RefCell::default(),
            useful: Cell::new(0),
        }
    }

    /// A number of 31 bits, by Knuth's generator.
    fn draw(&self) -> u64 {
        let state = self.state.get();
        self.state.set(
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407),
        );
        self.state.get() >> 33
    }

    /// A number from 0 to 999.
    fn per_mille(&self) -> u64 {
        self.draw() % 1000
    }
}

impl Download for Web {
    fn download(&self, url: &str) -> Result<(PathBuf, u64), Trouble> {
        // The median times a power of two between -2 and 2, of which half lie between -1 and 1.
        let exponent = self.per_mille() as f64 / 250.0 - 2.0;
        let mut micros = (self.setting.median as f64 * 1000.0 * exponent.exp2()) as u64;
        if self.per_mille() < self.setting.stragglers {
            micros *= 30;
        }
        let fails = self.per_mille() < self.setting.faults;
        green::sleep(Duration::from_micros(micros));
        if fails {
            return Err(Trouble { why: "a fault of the simulation".into(), passing: true });
        }
        let mut whole = self.whole.borrow_mut();
        let times = whole.entry(url.into()).or_default();
        *times += 1;
        if *times == 1 {
            self.useful.set(self.useful.get() + micros);
        }
        Ok((PathBuf::from("simulated"), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::{Setting, simulate};

    fn setting(seed: u64) -> Setting {
        Setting {
            workers: 20,
            jobs: 600,
            concurrency: 4,
            median: 500,
            faults: 50,
            stragglers: 5,
            deaths: 10,
            seed,
        }
    }

    #[test]
    fn each_url_ends_once_whatever_dies() {
        for seed in 1..=3 {
            let course = simulate(&setting(seed)); // It checks that itself.
            assert!(course.deaths > 20, "{course:?}");
            assert_eq!(course.done + course.failed + course.dead, 600, "{course:?}");
        }
    }

    #[test]
    fn a_seed_is_a_course() {
        assert_eq!(simulate(&setting(7)), simulate(&setting(7)));
        assert_ne!(simulate(&setting(7)).took, simulate(&setting(8)).took);
    }

    #[test]
    fn without_deaths_nothing_is_done_twice() {
        let course = simulate(&Setting { deaths: 0, ..setting(1) });
        assert_eq!((course.twice, course.dead, course.deaths), (0, 0, 0), "{course:?}");
    }
}
