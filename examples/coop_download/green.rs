//! The green era: straight-line, blocking-style code, and a blocking library, ureq, as it is.

use std::io::Read;
use std::rc::Rc;

use ureq::http::{Request, Response};
use ureq::{Agent, Body, BodyReader};
use wouldblock::{Stats, green, group::gather, http, offload, stats};

use crate::error::Error;
use crate::interrupt;
use crate::job::{Job, Kept};
use crate::list::List;
use crate::policy::LONGEST_HEAD;

type Connection = Agent; // with a pool of one

pub fn download_all(list: &Rc<List>) -> Stats {
    list.builder().run(|| {
        let worker = |n| {
            let list = list.clone();
            list.worker(n).spawn(move || work(&list))
        };
        green::wait(interrupt::or_done(gather((0..list.workers()).map(worker))));
        stats()
    })
}

fn work(list: &List) {
    let mut kept = Kept::new();
    while let Some(mut job) = list.next() {
        while let Some(pause) = job.again(download(&job, &mut kept)) {
            green::sleep(pause);
        }
    }
}

fn download(job: &Job<'_>, kept: &mut Kept<Connection>) -> Result<u64, Error> {
    let request = job.request()?;
    let connection = kept.take(job).unwrap_or_else(|| connect(job));
    let (head, body) = send(job, &connection, request)?.into_parts();
    job.answer(&head)?;
    let mut body = body.into_reader();
    let mut chunk = vec![0; job.chunk()];
    loop {
        let n = receive(job, &mut body, &mut chunk)?;
        if n == 0 {
            break;
        }
        if let Some(write) = job.take(&chunk[..n]) {
            green::wait(offload(write))?;
        }
    }
    green::wait(offload(job.rest()?))?;
    kept.put(job, connection);
    job.finish()
}

fn connect(job: &Job<'_>) -> Connection {
    let config = http::config_builder()
        .tls_config(job.trust().ureq())
        .proxy(None)
        .max_idle_connections(1)
        .input_buffer_size(LONGEST_HEAD)
        .max_response_header_size(LONGEST_HEAD - 1)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false);
    http::agent_with(config.build())
}

fn send(job: &Job<'_>, to: &Connection, request: Request<()>) -> Result<Response<Body>, Error> {
    Ok(wait(job, || to.run(request))??)
}

fn receive(job: &Job<'_>, from: &mut BodyReader<'_>, chunk: &mut [u8]) -> Result<usize, Error> {
    Ok(wait(job, || from.read(chunk))??)
}

fn wait<T>(job: &Job<'_>, call: impl FnOnce() -> T) -> Result<T, Error> {
    Ok(green::timeout(job.time_left()?, call).map_err(|_| job.timed_out())?)
}
