//! The baseline: one after the other, on std's blocking sockets.

use std::io::{Read, Write};
use std::net::TcpStream;

use wouldblock::Stats;

use crate::CHUNK;
use crate::job::{Done, Error, Job, Target};
use crate::protocol::{self, Response};

pub fn download_all(jobs: Vec<Job>) -> (Vec<Done>, Stats) {
    let files = jobs.into_iter().map(|job| job.measure(|_, target| download(target)));
    (files.collect(), Stats::default())
}

fn download(target: &Target) -> Result<u64, Error> {
    let mut stream = TcpStream::connect((target.host.as_str(), target.port))?;
    stream.write_all(&protocol::request(target))?;

    let mut response = Response::default();
    let mut chunk = [0; CHUNK];
    loop {
        let n = stream.read(&mut chunk)?;
        if response.take(&chunk[..n])? {
            break;
        }
    }
    let body = response.into_body();
    std::fs::write(&target.file, &body)?;
    Ok(body.len() as u64)
}
