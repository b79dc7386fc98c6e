//! echo: a server that sends back what it is sent, 64 bytes at a time, on many connections.
//!
//! Two processes. The server, one contender, is bound to core 0. The load generator (`load.rs`, the same
//! for all) is bound to core 1 and keeps one message under way on each connection. What is compared is
//! the CPU time of the server's process, all its threads, for a message: one read and one write, and the
//! waiting in between. Each server reads with a buffer of 1 KiB, so that a short read tells it that there
//! is no more.
//!
//! `bare-epoll` is the floor: an edge-triggered `epoll` loop with nothing around it. `bare-corosensei` is the same
//! loop, with a coroutine of that crate for each connection.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd};

use async_executor::LocalExecutor;
use async_io::Async;
use corosensei::{Coroutine, CoroutineResult, stack::DefaultStack};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use mio::{Events, Interest, Poll, Token};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{future, generator, green};

use crate::child::{self, Sample, one_may_worker};
use crate::server::Server;
use crate::{Bench, Case, load};

pub(crate) const BENCH: Bench = Bench {
    name: "echo",
    what: "64 bytes sent back: CPU ns of the server for a message",
    figure: "cpu_ns_per_op",
    reference: "wouldblock-green",
    contenders: &[
        "wouldblock-green",
        "wouldblock-generator",
        "wouldblock-future",
        "bare-epoll",
        "bare-corosensei",
        "tokio",
        "smol",
        "may",
        "gevent",
    ],
    cases: &[
        Case { name: "100 connections", size: 100, big: false },
        Case { name: "1 000 connections", size: 1_000, big: false },
    ],
    columns: &[("messages_per_s", "messages/s"), ("p50_us", "p50 us"), ("p99_us", "p99 us")],
    run,
};

/// The largest read; more than a message.
const BUFFER: usize = 1024;

fn run(contender: &str, connections: u64) -> Sample {
    let server = child::python(contender, "echo", connections)
        .unwrap_or_else(|| child::this_program(&["serve", contender]));
    let server = Server::start(server);
    load::run(server.port, connections as usize, server.pid())
}

/// Is the server.
pub(crate) fn serve(contender: &str) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("it is bound").port());
    let served = match contender {
        "wouldblock-green" => wouldblock::run(|| serve_green(&TcpListener::from_std(listener)?)),
        "wouldblock-generator" => {
            let task = move || generator::spawn(move |y| serve_generator(y, listener)).join();
            wouldblock::run(task).unwrap()
        }
        "wouldblock-future" => {
            wouldblock::run(|| future::spawn(serve_future(listener)).join()).unwrap()
        }
        "bare-epoll" => serve_epoll(listener, |stream| stream, echo_ready),
        "bare-corosensei" => {
            serve_epoll(listener, coroutine, |coroutine| match coroutine.resume(()) {
                CoroutineResult::Yield(()) => Ok(()),
                CoroutineResult::Return(end) => Err(end),
            })
        }
        "tokio" => {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_io().build().unwrap().block_on(serve_tokio(listener))
        }
        "smol" => {
            let executor = LocalExecutor::new();
            async_io::block_on(executor.run(serve_smol(&executor, listener)))
        }
        "may" => serve_may(listener),
        other => panic!("{other} does not take part in echo"),
    };
    panic!("the server has ended: {served:?}");
}

fn serve_green(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        drop(green::spawn(move || echo(&mut stream)));
    }
}

/// Straight-line echo: for greenlets and for `may`.
fn echo(stream: &mut (impl Read + Write)) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n])?;
    }
}

type Yielder = generator::Yielder<wouldblock::Wait>;

fn serve_generator(y: &Yielder, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = y.wait(listener.accepting())?;
        stream.set_nodelay(true)?;
        drop(generator::spawn(move |y| echo_generator(y, &stream)));
    }
}

fn echo_generator(y: &Yielder, stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let n = match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                y.wait(stream.readable())?;
                continue;
            }
            Err(e) => return Err(e),
        };
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            match stream.try_write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => y.wait(stream.writable())?,
                Err(e) => return Err(e),
            }
        }
    }
}

async fn serve_future(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accepting().await?;
        stream.set_nodelay(true)?;
        drop(future::spawn(echo_async(stream)));
    }
}

/// For all whose streams have the traits of `futures-io`.
async fn echo_async<S>(mut stream: S) -> io::Result<()>
where
    S: futures_lite::AsyncRead + futures_lite::AsyncWrite + Unpin,
{
    let mut buffer = [0; BUFFER];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

async fn serve_smol(
    executor: &LocalExecutor<'_>,
    listener: std::net::TcpListener,
) -> io::Result<()> {
    let listener = Async::new(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.get_ref().set_nodelay(true)?;
        executor.spawn(echo_async(stream)).detach();
    }
}

async fn serve_tokio(listener: std::net::TcpListener) -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        drop(tokio::spawn(async move {
            let mut buffer = [0; BUFFER];
            loop {
                let n = stream.read(&mut buffer).await?;
                if n == 0 {
                    return io::Result::Ok(());
                }
                stream.write_all(&buffer[..n]).await?;
            }
        }));
    }
}

fn serve_may(listener: std::net::TcpListener) -> io::Result<()> {
    one_may_worker();
    // SAFETY: the descriptor is a listening socket, and given up by the one that owned it.
    let listener = unsafe { may::net::TcpListener::from_raw_fd(listener.into_raw_fd()) };
    let server = may::go!(move || {
        loop {
            let (mut stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            drop(may::go!(move || echo(&mut stream)));
        }
    });
    server.join().unwrap()
}

/// `accept` makes of a new stream what `ready` is called with when there may be bytes to read.
fn serve_epoll<C>(
    listener: std::net::TcpListener,
    accept: impl Fn(mio::net::TcpStream) -> C,
    ready: impl Fn(&mut C) -> io::Result<()>,
) -> io::Result<()> {
    const LISTENER: Token = Token(usize::MAX);

    listener.set_nonblocking(true)?;
    let mut listener = mio::net::TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut connections = Vec::new();
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let token = Token(connections.len());
                    poll.registry().register(&mut stream, token, Interest::READABLE)?;
                    connections.push(Some(accept(stream)));
                }
                continue;
            }
            let connection = &mut connections[event.token().0];
            if let Some(Err(end)) = connection.as_mut().map(&ready) {
                *connection = None;
                if end.kind() != ErrorKind::UnexpectedEof {
                    return Err(end);
                }
            }
        }
    }
}

/// Sends back what is there. So little is under way that there is always room to write it.
fn echo_ready(stream: &mut mio::net::TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                stream.write_all(&buffer[..n])?;
                if n < BUFFER {
                    return Ok(());
                }
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

/// Runs until the connection ends, and returns how.
fn coroutine(mut stream: mio::net::TcpStream) -> Coroutine<(), (), io::Error> {
    let stack = DefaultStack::new(64 << 10).expect("a stack");
    Coroutine::with_stack(stack, move |yielder, ()| {
        loop {
            match echo_ready(&mut stream) {
                Ok(()) => yielder.suspend(()),
                Err(end) => return end,
            }
        }
    })
}
