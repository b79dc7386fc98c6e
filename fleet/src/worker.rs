//! A worker: takes jobs, downloads so many at once, renews what it has, and hands in the results.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use wouldblock::green;
use wouldblock::sync::{Event, Mutex};

use crate::download::{Download, host};
use crate::queue::{Job, Outcome, Queue};

/// How often a worker renews what it has: several times within the time after which others claim it.
const RENEW: Duration = Duration::from_millis(750);

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a worker works.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Downloads at once.
    pub concurrency: usize,
    /// Downloads at once from one host, in the whole fleet.
    pub per_host: Option<u32>,
    /// Attempts after the first one.
    pub retries: u32,
    /// Ends when no job is left, with any worker.
    pub until_empty: bool,
}

/// Works until `stop` is set, and finishes what it has begun.
///
/// # Errors
///
/// The queue's.
pub fn work(
    queue: &dyn Queue,
    web: &dyn Download,
    manner: &Manner,
    stop: &Event,
) -> io::Result<()> {
    let (held, one_less) = (&RefCell::new(Vec::<Job>::new()), &Event::new());
    let lines = &Lines::default();
    green::scope(|scope| {
        let renewing = scope.spawn(|| keep_renewing(queue, held));
        let done = green::try_scope(|tasks| {
            while !stop.is_set() {
                let room = manner.concurrency - held.borrow().len();
                if room == 0 {
                    one_less.clear();
                    one_less.wait();
                    continue;
                }
                let jobs = queue.take(room)?;
                let none = jobs.is_empty();
                for job in jobs {
                    // Not renewed in time, and claimed by this very worker: it is under way.
                    if held.borrow().contains(&job) {
                        continue;
                    }
                    held.borrow_mut().push(job.clone());
                    drop(tasks.spawn(move || {
                        let outcome = one(queue, web, manner, lines, &job)?;
                        queue.finish(&job, &outcome)?;
                        held.borrow_mut().retain(|other| *other != job);
                        one_less.set();
                        Ok(())
                    }));
                }
                let idle = none && held.borrow().is_empty();
                if idle && manner.until_empty && queue.left()? == 0 {
                    break;
                }
            }
            Ok(())
        });
        renewing.cancel();
        done
    })
}

fn keep_renewing(queue: &dyn Queue, held: &RefCell<Vec<Job>>) {
    loop {
        green::sleep(RENEW);
        let jobs = held.borrow().clone();
        // What is not renewed is done twice, at worst.
        if let Err(error) = queue.renew(&jobs) {
            eprintln!("fleet: cannot renew {} jobs: {error}", jobs.len());
        }
    }
}

/// For each host whose downloads wait for a place, the line in which they do: only the first of a line asks the queue.
type Lines = RefCell<HashMap<String, Rc<Mutex<()>>>>;

/// Does one job, in its place among those of its host.
fn one(
    queue: &dyn Queue,
    web: &dyn Download,
    manner: &Manner,
    lines: &Lines,
    job: &Job,
) -> io::Result<Outcome> {
    let Some(places) = manner.per_host else { return Ok(attempts(web, manner, job)) };
    let host = host(&job.url);
    let line = lines.borrow_mut().entry(host.into()).or_default().clone();
    let first = line.lock();
    while !queue.enter(host, job, places)? {
        green::sleep(SHORTEST_PAUSE);
    }
    drop(first);
    if Rc::strong_count(&line) == 2 {
        lines.borrow_mut().remove(host); // The map's, and this task's: nothing stands in it.
    }
    let outcome = attempts(web, manner, job);
    queue.leave(host, job)?;
    Ok(outcome)
}

/// Tries until it succeeds, or it makes no sense to try again.
fn attempts(web: &dyn Download, manner: &Manner, job: &Job) -> Outcome {
    let mut pause = SHORTEST_PAUSE;
    let mut left = manner.retries;
    loop {
        match web.download(&job.url) {
            Ok((path, bytes)) => {
                return Outcome::Done { path: path.display().to_string(), bytes };
            }
            Err(trouble) if !trouble.passing || left == 0 => {
                return Outcome::Failed { why: trouble.why };
            }
            Err(_) => {}
        }
        left -= 1;
        green::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::PathBuf;
    use std::time::Duration;

    use wouldblock::sync::Event;
    use wouldblock::{Builder, green};

    use super::{Manner, work};
    use crate::download::{Download, Trouble};
    use crate::local::{LocalQueue, Store};

    /// How many downloads are under way, and were at most.
    #[derive(Default)]
    struct Web {
        now: Cell<u32>,
        most: Cell<u32>,
    }

    impl Download for Web {
        fn download(&self, url: &str) -> Result<(PathBuf, u64), Trouble> {
            self.now.set(self.now.get() + 1);
            self.most.set(self.most.get().max(self.now.get()));
            green::sleep(Duration::from_millis(100));
            self.now.set(self.now.get() - 1);
            match url.ends_with("missing") {
                true => Err(Trouble { why: "it is not there".into(), passing: false }),
                false => Ok((PathBuf::from("file"), 1)),
            }
        }
    }

    fn most_at_once(concurrency: usize, per_host: Option<u32>) -> u32 {
        Builder::new().virtual_clock().run(|| {
            let urls = (0..20).map(|n| Ok(format!("http://a.example/{n}")));
            let urls = urls.chain([Ok("http://a.example/missing".to_owned())]);
            let store = Store::of(urls).unwrap();
            let queue = LocalQueue { store: store.clone(), worker: "a".into() };
            let manner = Manner { concurrency, per_host, retries: 3, until_empty: true };
            let web = Web::default();
            work(&queue, &web, &manner, &Event::new()).unwrap();
            let results = store.results();
            assert_eq!(results.len(), 21);
            assert_eq!(results["http://a.example/missing"].list(), "failed");
            web.most.get()
        })
    }

    #[test]
    fn so_many_at_once_and_no_more() {
        assert_eq!(most_at_once(7, None), 7);
    }

    #[test]
    fn so_many_from_one_host_and_no_more() {
        assert_eq!(most_at_once(7, Some(3)), 3);
    }
}
