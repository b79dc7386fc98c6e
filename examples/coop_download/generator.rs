//! The generator era: every wait is a `yield`, passed by hand through every function on the way.

use std::io::ErrorKind::WouldBlock;

use wouldblock::generator::{self, Yielder};
use wouldblock::net::TcpStream;
use wouldblock::{Stats, Wait, gather, offload, stats};

use crate::CHUNK;
use crate::job::{Done, Error, Job, Target};
use crate::protocol::{self, Response};

pub fn download_all(jobs: Vec<Job>) -> (Vec<Done>, Stats) {
    wouldblock::run(|| {
        let all = generator::spawn(|y| {
            let spawn =
                |job: Job| generator::spawn(|y| job.measure(|_, target| download(y, target)));
            y.wait(gather(jobs.into_iter().map(spawn)))
        });
        let files = all.join().expect("downloads keep their errors");
        (files.into_iter().map(|file| file.expect("a download keeps its error")).collect(), stats())
    })
}

fn download(y: &Yielder<Wait>, target: &Target) -> Result<u64, Error> {
    let stream = y.wait(TcpStream::connecting((target.host.as_str(), target.port)))?;
    write_all(y, &stream, &protocol::request(target))?;

    let mut response = Response::default();
    let mut chunk = [0; CHUNK];
    loop {
        let n = match stream.try_read(&mut chunk) {
            Err(e) if e.kind() == WouldBlock => {
                y.wait(stream.readable())?;
                continue;
            }
            result => result?,
        };
        if response.take(&chunk[..n])? {
            break;
        }
    }
    let (file, body) = (target.file.clone(), response.into_body());
    let bytes = body.len() as u64;
    y.wait(offload(move || std::fs::write(file, body)))?;
    Ok(bytes)
}

fn write_all(y: &Yielder<Wait>, stream: &TcpStream, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Err(e) if e.kind() == WouldBlock => y.wait(stream.writable())?,
            result => bytes = &bytes[result?..],
        }
    }
    Ok(())
}
