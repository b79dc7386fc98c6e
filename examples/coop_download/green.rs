//! The green era: straight-line, blocking-style code, and a blocking library, ureq, as it is.

use std::io::Read;
use std::rc::Rc;

use ureq::config::AutoHeaderValue;
use wouldblock::{Stats, green, group::gather, http, offload, stats};

use crate::error::{Error, check};
use crate::interrupt;
use crate::job::{Job, List};

pub fn download_all(list: &Rc<List>) -> Stats {
    list.builder().run(|| {
        let agent = agent(list);
        let worker = |n| {
            let (list, agent) = (list.clone(), agent.clone());
            list.worker(n).spawn(move || work(&agent, &list))
        };
        green::wait(interrupt::or_done(gather((0..list.workers()).map(worker))));
        stats()
    })
}

fn work(agent: &ureq::Agent, list: &List) {
    while let Some(mut job) = list.next() {
        while let Some(pause) = job.again(attempt(agent, &job)) {
            green::sleep(pause);
        }
    }
}

fn attempt(agent: &ureq::Agent, job: &Job<'_>) -> Result<u64, Error> {
    green::timeout(job.timeout(), || download(agent, job))?
}

fn download(agent: &ureq::Agent, job: &Job<'_>) -> Result<u64, Error> {
    let response = agent.get(job.target.url()).call()?;
    check(response.status().as_u16(), None)?;

    let mut part = job.part(response.body().content_length())?;
    let mut body = response.into_body().into_reader();
    let mut chunk = vec![0; job.chunk()];
    loop {
        let n = body.read(&mut chunk).map_err(|e| part.broken_off(e))?;
        if n == 0 {
            break;
        }
        if let Some(write) = part.take(&chunk[..n])? {
            green::wait(offload(write))?;
        }
    }
    green::wait(offload(part.rest()?))?;
    part.finish()
}

/// As the other ways do, it asks the server itself, for the file as it is, and sees the status first.
fn agent(list: &List) -> ureq::Agent {
    let config = http::config_builder()
        .tls_config(list.trust.ureq())
        .proxy(None)
        .accept_encoding(AutoHeaderValue::None)
        .http_status_as_error(false);
    http::agent_with(config.build())
}
