//! A worker: takes jobs, downloads so many at once, renews what it has, and hands in the results.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use wouldblock::green;
use wouldblock::sync::Event;

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
                        let outcome = one(queue, web, manner, &job)?;
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

/// Does one job, in its place among those of its host.
fn one(queue: &dyn Queue, web: &dyn Download, manner: &Manner, job: &Job) -> io::Result<Outcome> {
    let Some(places) = manner.per_host else { return Ok(attempts(web, manner, job)) };
    let mut pause = SHORTEST_PAUSE;
    while !queue.enter(host(&job.url), job, places)? {
        green::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    let outcome = attempts(web, manner, job);
    queue.leave(host(&job.url), job)?;
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
