//! The baseline: one after the other, on std's blocking sockets.

use std::rc::Rc;

use wouldblock::Stats;

use crate::error::Error;
use crate::interrupt;
use crate::job::{Job, List};
use crate::patient;
use crate::protocol::{self, Response};

pub fn download_all(list: &Rc<List>) -> Stats {
    while let Some(mut job) = list.next() {
        while let Some(pause) = job.again(download(&job)) {
            interrupt::sleep(pause);
        }
    }
    Stats::default()
}

fn download(job: &Job<'_>) -> Result<u64, Error> {
    let mut stream = patient::connect(job)?;
    stream.write_all(&protocol::request(&job.target))?;

    let mut response = Response::new(job);
    let mut chunk = vec![0; job.chunk()];
    while !response.is_complete() {
        let n = stream.read(&mut chunk)?;
        if let Some(write) = response.take(&chunk[..n])? {
            write()?;
        }
    }
    let mut body = response.into_body()?;
    body.rest()?()?;
    body.finish()
}
