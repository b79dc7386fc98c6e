//! The async/await era: every function that waits is `async`, and so is the library, hyper.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::rt::ReadBufCursor;
use hyper::{Request, header::HOST};
use wouldblock::net::TcpStream;
use wouldblock::{Stats, future, gather, green, offload, stats};

use crate::CHUNK;
use crate::job::{Done, Error, Job, Target};

pub fn download_all(jobs: Vec<Job>) -> (Vec<Done>, Stats) {
    wouldblock::run(|| {
        let spawn =
            |job: Job| future::spawn(job.measure_async(async |_, target| download(target).await));
        let all = future::spawn(gather(jobs.into_iter().map(spawn)));
        let files = green::wait(all).expect("downloads keep their errors");
        (files.into_iter().map(|file| file.expect("a download keeps its error")).collect(), stats())
    })
}

async fn download(target: &Target) -> Result<u64, Error> {
    let stream = TcpStream::connecting((target.host.as_str(), target.port)).await?;
    let (mut sender, connection) = http1::handshake(HyperIo(stream)).await?;
    let connection = future::spawn(connection);
    let request =
        Request::get(&target.path).header(HOST, &target.authority).body(Empty::<Bytes>::new())?;
    let mut response = sender.send_request(request).await?;
    if response.status() != 200 {
        return Err(format!("HTTP status {}", response.status()).into());
    }

    let mut body = Vec::new();
    while let Some(frame) = response.frame().await {
        if let Some(data) = frame?.data_ref() {
            body.extend_from_slice(data);
        }
    }
    connection.cancel(); // it would keep the socket open for another request
    let (file, bytes) = (target.file.clone(), body.len() as u64);
    offload(move || std::fs::write(file, body)).await?;
    Ok(bytes)
}

/// hyper's I/O traits on our stream: each runtime's are a few lines over `poll_read` and `poll_write`.
struct HyperIo(TcpStream);

impl hyper::rt::Read for HyperIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; CHUNK];
        let most = into.remaining().min(CHUNK);
        self.0.poll_read(cx, &mut chunk[..most]).map_ok(|n| into.put_slice(&chunk[..n]))
    }
}

impl hyper::rt::Write for HyperIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown(std::net::Shutdown::Write))
    }
}
