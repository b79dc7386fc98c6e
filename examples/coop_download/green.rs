//! The green era: straight-line, blocking-style code, and a blocking library, ureq, as it is.

use std::io::Read;

use wouldblock::{Stats, gather, green, http, offload, stats};

use crate::CHUNK;
use crate::job::{Done, Error, Job, Target};

pub fn download_all(jobs: Vec<Job>) -> (Vec<Done>, Stats) {
    wouldblock::run(|| {
        let agent = http::agent();
        let spawn = |job: Job| {
            let agent = agent.clone();
            green::spawn(move || job.measure(|job, target| download(&agent, &job.url, target)))
        };
        let files = green::wait(gather(jobs.into_iter().map(spawn)));
        (files.into_iter().map(|file| file.expect("a download keeps its error")).collect(), stats())
    })
}

fn download(agent: &ureq::Agent, url: &str, target: &Target) -> Result<u64, Error> {
    let mut reader = agent.get(url).call()?.into_body().into_reader();

    let mut body = Vec::new();
    let mut chunk = [0; CHUNK];
    loop {
        let n = reader.read(&mut chunk)?;
        if n == 0 {
            break;
        }
        body.extend_from_slice(&chunk[..n]);
    }
    let (file, bytes) = (target.file.clone(), body.len() as u64);
    green::wait(offload(move || std::fs::write(file, body)))?;
    Ok(bytes)
}
