//! The clients of `download` that are written in Rust.
//!
//! ureq is the same code on greenlets and on threads, hyper the same on our streams and on tokio's. The
//! generator era and the floor, a bare epoll loop, have a protocol of their own, by httparse: no library
//! of today's can be used there. The `-minimal` contenders are the other eras, and tokio, with that.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::Barrier;
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, Connection};
use hyper::rt::ReadBufCursor;
use hyper::{Request, header::HOST};
use mio::{Events, Interest, Token};
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use wouldblock::{future, generator, green, http, net};

use crate::download::{CHUNK, Job};

/// The same by the traits of tokio and by those of `futures-io`.
macro_rules! download_by_awaiting {
    ($stream:ident, $job:ident, $($io:ident)::+) => {{
        use $($io)::+::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, request, mut chunk) = ($stream, request($job), [0; CHUNK]);
        while $job.take() {
            AsyncWriteExt::write_all(&mut stream, &request).await?;
            let mut answer = Answer::default();
            while !answer.is_whole() {
                let n = AsyncReadExt::read(&mut stream, &mut chunk).await?;
                answer.take(&chunk[..n])?;
            }
            $job.check(answer.got);
        }
        io::Result::Ok(())
    }};
}

pub(crate) fn run(contender: &str, job: &'static Job) {
    match contender {
        "wouldblock-green" => wouldblock::run(|| {
            let config = config(job).input_buffer_size(IN).output_buffer_size(OUT).build();
            let agent = http::agent_with(config);
            green::scope(|scope| {
                for _ in 0..job.concurrency {
                    scope.spawn(|| download_by_ureq(&agent, job));
                }
            });
        }),
        "ureq-threads" => {
            let agent = ureq::Agent::new_with_config(config(job).build());
            let begun = Barrier::new(job.concurrency); // or the first would be done before the last begins
            std::thread::scope(|scope| {
                for _ in 0..job.concurrency {
                    scope.spawn(|| {
                        begun.wait();
                        download_by_ureq(&agent, job);
                    });
                }
            });
        }
        "wouldblock-generator" => wouldblock::run(|| {
            let work = move |y: &Yielder| download_by_yields(y, job).expect("files");
            let tasks: Vec<_> = (0..job.concurrency).map(|_| generator::spawn(work)).collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
        }),
        "wouldblock-future" => wouldblock::run(|| {
            let work = || async {
                let stream = net::TcpStream::connecting(("127.0.0.1", job.port)).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let spawn = |connection| drop(future::spawn(connection));
                download_by_hyper(OurIo(stream), spawn, job).await.expect("files");
            };
            let tasks: Vec<_> = (0..job.concurrency).map(|_| future::spawn(work())).collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
        }),
        "wouldblock-green-minimal" => wouldblock::run(|| {
            let work = move || download_by_blocking(job).expect("files");
            let tasks: Vec<_> = (0..job.concurrency).map(|_| green::spawn(work)).collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
        }),
        "wouldblock-future-minimal" => wouldblock::run(|| {
            let work = || async {
                let stream = net::TcpStream::connecting(("127.0.0.1", job.port)).await?;
                stream.set_nodelay(true)?;
                download_by_awaiting!(stream, job, futures_lite)
            };
            let tasks: Vec<_> = (0..job.concurrency).map(|_| future::spawn(work())).collect();
            tasks.into_iter().for_each(|task| task.join().unwrap().expect("files"));
        }),
        "tokio-minimal" => {
            let work = || async {
                let stream = tokio::net::TcpStream::connect(("127.0.0.1", job.port)).await?;
                stream.set_nodelay(true)?;
                download_by_awaiting!(stream, job, tokio::io)
            };
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_io().build().unwrap().block_on(async {
                let tasks: Vec<_> = (0..job.concurrency).map(|_| tokio::spawn(work())).collect();
                for task in tasks {
                    task.await.unwrap().expect("files");
                }
            });
        }
        "tokio-hyper" => {
            let work = || async {
                let stream = tokio::net::TcpStream::connect(("127.0.0.1", job.port)).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let spawn = |connection| drop(tokio::spawn(connection));
                download_by_hyper(TokioIo(stream), spawn, job).await.expect("files");
            };
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_io().build().unwrap().block_on(async {
                let tasks: Vec<_> = (0..job.concurrency).map(|_| tokio::spawn(work())).collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
        }
        "bare-epoll" => download_by_epoll(job).expect("files"),
        other => panic!("{other} does not take part in download"),
    }
}

/// ureq's buffers for each connection: enough for many at once. Its own are of 128 KiB each.
const IN: usize = 32 * 1024;
const OUT: usize = 8 * 1024;

/// As many connections are kept as are used at once.
fn config(job: &Job) -> ConfigBuilder<AgentScope> {
    let config = ureq::Agent::config_builder().proxy(None);
    config.max_idle_connections(job.concurrency).max_idle_connections_per_host(job.concurrency)
}

fn download_by_ureq(agent: &ureq::Agent, job: &Job) {
    let url = job.url();
    let mut chunk = [0; CHUNK];
    while job.take() {
        let mut body = agent.get(&url).call().expect("an answer").into_body().into_reader();
        let mut got = 0;
        loop {
            match body.read(&mut chunk).expect("a body") {
                0 => break,
                n => got += n,
            }
        }
        job.check(got);
    }
}

/// `spawn` starts the task that hyper wants for each connection.
async fn download_by_hyper<I>(
    io: I,
    spawn: impl FnOnce(Connection<I, Empty<Bytes>>),
    job: &Job,
) -> hyper::Result<()>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let (mut sender, connection) = http1::handshake(io).await?;
    spawn(connection);
    let authority = job.authority();
    while job.take() {
        let request = Request::get("/").header(HOST, &authority);
        let request = request.body(Empty::new()).expect("a request");
        let mut response = sender.send_request(request).await?;
        let mut got = 0;
        while let Some(frame) = response.frame().await {
            got += frame?.data_ref().map_or(0, Bytes::len);
        }
        job.check(got);
    }
    Ok(())
}

/// hyper's I/O on our stream.
struct OurIo(net::TcpStream);

impl hyper::rt::Read for OurIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: nothing is taken back that was initialised, and the first `n` bytes are.
        unsafe { self.0.poll_read_uninit(cx, into.as_mut()).map_ok(|n| into.advance(n)) }
    }
}

impl hyper::rt::Write for OurIo {
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

/// hyper's I/O on tokio's stream, as in hyper-util.
struct TokioIo(tokio::net::TcpStream);

impl hyper::rt::Read for TokioIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        use tokio::io::{AsyncRead, ReadBuf};
        // SAFETY: what `ReadBuf` has filled is initialised, and it never takes that back.
        unsafe {
            let mut buffer = ReadBuf::uninit(into.as_mut());
            let read = Pin::new(&mut self.0).poll_read(cx, &mut buffer);
            let n = buffer.filled().len();
            into.advance(n);
            read
        }
    }
}

impl hyper::rt::Write for TokioIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

type Yielder = generator::Yielder<wouldblock::Wait>;

fn download_by_blocking(job: &Job) -> io::Result<()> {
    let mut stream = net::TcpStream::connect(("127.0.0.1", job.port))?;
    stream.set_nodelay(true)?;
    let (request, mut chunk) = (request(job), [0; CHUNK]);
    while job.take() {
        stream.write_all(&request)?;
        let mut answer = Answer::default();
        while !answer.is_whole() {
            let n = stream.read(&mut chunk)?;
            answer.take(&chunk[..n])?;
        }
        job.check(answer.got);
    }
    Ok(())
}

fn download_by_yields(y: &Yielder, job: &Job) -> io::Result<()> {
    let stream = y.wait(net::TcpStream::connecting(("127.0.0.1", job.port)))?;
    stream.set_nodelay(true)?;
    let request = request(job);
    let mut chunk = [0; CHUNK];
    while job.take() {
        let mut rest = &request[..];
        while !rest.is_empty() {
            match stream.try_write(rest) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => y.wait(stream.writable())?,
                written => rest = &rest[written?..],
            }
        }
        let mut answer = Answer::default();
        while !answer.is_whole() {
            match stream.try_read(&mut chunk) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => y.wait(stream.readable())?,
                read => answer.take(&chunk[..read?])?,
            }
        }
        job.check(answer.got);
    }
    Ok(())
}

fn download_by_epoll(job: &Job) -> io::Result<()> {
    let request = request(job);
    let mut poll = mio::Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut chunk = [0; CHUNK];
    let mut connections = Vec::new();
    for n in 0..job.concurrency {
        let stream = std::net::TcpStream::connect(("127.0.0.1", job.port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(n), Interest::READABLE)?;
        if job.take() {
            stream.write_all(&request)?; // there is room for one request
        }
        connections.push((stream, Answer::default()));
    }
    let mut open = job.concurrency;
    while open > 0 {
        poll.poll(&mut events, None)?;
        for event in &events {
            let (stream, answer) = &mut connections[event.token().0];
            if !read_ready(stream, answer, &mut chunk)? {
                continue;
            }
            job.check(answer.got);
            *answer = Answer::default();
            if job.take() {
                stream.write_all(&request)?;
            } else {
                open -= 1;
            }
        }
    }
    Ok(())
}

/// Reads what is there; true: the answer is whole.
fn read_ready(
    stream: &mut mio::net::TcpStream,
    answer: &mut Answer,
    chunk: &mut [u8],
) -> io::Result<bool> {
    while !answer.is_whole() {
        match stream.read(chunk) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Ok(n) => {
                answer.take(&chunk[..n])?;
                if n < chunk.len() {
                    break;
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(answer.is_whole())
}

fn request(job: &Job) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", job.authority()).into_bytes()
}

/// An answer, as far as it has come; as much of HTTP as the server speaks.
#[derive(Default)]
struct Answer {
    /// What there is of an unfinished head.
    head: Vec<u8>,
    /// As the head says.
    length: Option<usize>,
    /// Bytes of the body.
    got: usize,
}

impl Answer {
    /// Takes what was read; nothing is the end of the connection.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if self.length.is_some() {
            self.got += bytes.len();
            return Ok(());
        }
        self.head.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut answer = httparse::Response::new(&mut headers);
        if let httparse::Status::Complete(end) =
            answer.parse(&self.head).map_err(io::Error::other)?
        {
            let length = answer.headers.iter().find(|h| h.name == "Content-Length");
            let length = length.and_then(|h| std::str::from_utf8(h.value).ok()?.parse().ok());
            self.length = Some(length.ok_or_else(|| io::Error::other("no Content-Length"))?);
            self.got = self.head.len() - end;
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.length.is_some_and(|length| self.got >= length)
    }
}
