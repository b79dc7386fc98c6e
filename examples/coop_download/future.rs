//! The async/await era: every function that waits is `async`, and so is the library, hyper.

use std::{future::poll_fn, pin::Pin, rc::Rc};

use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use wouldblock::op::timeout;
use wouldblock::time::sleeping;
use wouldblock::{Stats, group::gather, offload, stats, task};

use crate::error::Error;
use crate::hyper_io;
use crate::interrupt;
use crate::job::{Job, Kept};
use crate::list::List;
use crate::policy::{LONGEST_HEAD, MOST_HEADERS};

type Connection = SendRequest<String>;

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
    let mut kept = Kept::new();
    while let Some(mut job) = list.next() {
        while let Some(pause) = job.again(download(&job, &mut kept).await) {
            sleeping(pause).await;
        }
    }
}

async fn download(job: &Job<'_>, kept: &mut Kept<Connection>) -> Result<u64, Error> {
    let request = job.request()?;
    let mut connection = match kept.take(job) {
        Some(connection) => connection,
        None => connect(job).await?,
    };
    let (head, mut body) = send(job, &mut connection, request).await?.into_parts();
    job.answer(&head)?;
    while let Some(bytes) = receive(job, &mut body).await? {
        if let Some(write) = job.take(&bytes) {
            offload(write).await?;
        }
    }
    offload(job.rest()?).await?;
    kept.put(job, connection);
    job.finish()
}

async fn connect(job: &Job<'_>) -> Result<Connection, Error> {
    let io = wait(job, hyper_io::connect(job)).await??;
    let mut builder = http1::Builder::new();
    builder.max_headers(MOST_HEADERS).max_buf_size(LONGEST_HEAD);
    let (sender, connection) = builder.handshake(io).await?;
    drop(job.task("hyper").spawn_future(connection));
    Ok(sender)
}

async fn send(
    job: &Job<'_>,
    to: &mut Connection,
    request: Request<()>,
) -> Result<Response<Incoming>, Error> {
    wait(job, to.ready()).await??;
    Ok(wait(job, to.send_request(hyper_io::request(request)?)).await??)
}

async fn receive(job: &Job<'_>, from: &mut Incoming) -> Result<Option<Bytes>, Error> {
    let frame = poll_fn(|cx| Pin::new(&mut *from).poll_frame(cx));
    let frame = wait(job, frame).await?.transpose()?;
    Ok(frame.map(|frame| frame.into_data().unwrap_or_default())) // trailers are no data
}

async fn wait<O: Future>(job: &Job<'_>, operation: O) -> Result<O::Output, Error> {
    Ok(timeout(job.time_left()?, operation).await.map_err(|_| job.timed_out())?)
}
