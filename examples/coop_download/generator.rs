//! The generator era: every wait is a `yield`, passed by hand through every function on the way.

use std::io::{self, ErrorKind::WouldBlock};
use std::rc::Rc;

use wouldblock::generator::Yielder;
use wouldblock::net::TcpStream;
use wouldblock::op::timeout;
use wouldblock::time::sleeping;
use wouldblock::{Stats, Wait, group::gather, offload, stats, task};

use crate::error::Error;
use crate::interrupt;
use crate::job::{Job, List};
use crate::protocol::{self, Response};

pub fn download_all(list: &Rc<List>) -> Stats {
    list.builder().run(|| {
        let list = list.clone();
        let all = task::Builder::new().name("all").spawn_generator(move |y| {
            let worker = |n| {
                let list = list.clone();
                list.worker(n).spawn_generator(move |y| work(y, &list))
            };
            y.wait(interrupt::or_done(gather((0..list.workers()).map(worker))));
        });
        all.join().expect("nobody cancels it");
        stats()
    })
}

fn work(y: &Yielder<Wait>, list: &List) {
    while let Some(mut job) = list.next() {
        while let Some(pause) = job.again(download(y, &job)) {
            y.wait(sleeping(pause));
        }
    }
}

fn download(y: &Yielder<Wait>, job: &Job<'_>) -> Result<u64, Error> {
    let target = &job.target;
    if target.https {
        let why = "the generator era has no https: as every protocol library, TLS would have to be \
                   written anew for it";
        return Err(Error::Lasting(why.into()));
    }
    let stream = wait(y, job, TcpStream::connecting((target.host.as_str(), target.port)))?;
    write_all(y, job, &stream, &protocol::request(target))?;

    let mut response = Response::new(job);
    let mut chunk = vec![0; job.chunk()];
    while !response.is_complete() {
        let n = match stream.try_read(&mut chunk) {
            Err(e) if e.kind() == WouldBlock => {
                wait(y, job, stream.readable())?;
                continue;
            }
            result => result?,
        };
        if let Some(write) = response.take(&chunk[..n])? {
            y.wait(offload(write))?;
        }
    }
    let mut body = response.into_body()?;
    y.wait(offload(body.rest()?))?;
    body.finish()
}

fn write_all(
    y: &Yielder<Wait>,
    job: &Job<'_>,
    stream: &TcpStream,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Err(e) if e.kind() == WouldBlock => wait(y, job, stream.writable())?,
            result => bytes = &bytes[result?..],
        }
    }
    Ok(())
}

/// A time limit, too, is passed to every wait by hand.
fn wait<T>(
    y: &Yielder<Wait>,
    job: &Job<'_>,
    operation: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    y.wait(timeout(job.time_left()?, operation)).map_err(|_| job.timed_out())?
}
