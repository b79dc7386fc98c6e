//! The async/await era: every function that waits is `async`, and so is the library, hyper.

use std::rc::Rc;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use wouldblock::op::timeout;
use wouldblock::time::sleeping;
use wouldblock::{Stats, group::gather, offload, stats, task};

use crate::error::{Error, check};
use crate::hyper_io;
use crate::interrupt;
use crate::job::{Job, List};

pub fn download_all(list: &Rc<List>) -> Stats {
    list.builder().run(|| {
        let list = list.clone();
        let all = task::Builder::new().name("all").spawn_future(async move {
            let worker = |n| {
                let list = list.clone();
                list.worker(n).spawn_future(async move { work(&list).await })
            };
            interrupt::or_done(gather((0..list.workers()).map(worker))).await;
        });
        all.join().expect("nobody cancels it");
        stats()
    })
}

async fn work(list: &List) {
    while let Some(mut job) = list.next() {
        while let Some(pause) = job.again(attempt(&job).await) {
            sleeping(pause).await;
        }
    }
}

async fn attempt(job: &Job<'_>) -> Result<u64, Error> {
    timeout(job.timeout(), download(job)).await?
}

async fn download(job: &Job<'_>) -> Result<u64, Error> {
    let target = &job.target;
    let (mut sender, connection) = http1::handshake(hyper_io::connect(job).await?).await?;
    let connection = job.task("hyper").spawn_future(connection.without_shutdown());
    let request = Request::get(&target.path).header(header::HOST, &target.authority);
    let mut response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let location = response.headers().get(header::LOCATION).map(HeaderValue::as_bytes);
    check(response.status().as_u16(), location)?;

    let mut part = job.part(response.size_hint().exact())?;
    while let Some(frame) = response.frame().await {
        if let Some(bytes) = frame.map_err(|e| part.broken_off(e))?.data_ref()
            && let Some(write) = part.take(bytes)?
        {
            offload(write).await?;
        }
    }
    drop(sender); // there is no other request
    if hyper_io::has_surplus(connection.await?) {
        return Err(part.too_long());
    }
    offload(part.rest()?).await?;
    part.finish()
}
