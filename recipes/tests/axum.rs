//! axum behind nginx: a router as it is, served on this crate's listener, with a graceful stop. nginx is killed in the
//! middle: an error to each client that waits, and what it had answered is done.
//!
//! `axum::serve` needs tokio's runtime. `wouldblock::hyper::serve` takes its place; the router becomes a service of
//! hyper's by one call. Handlers run as tasks of this thread, and may call green code.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use recipes::Server;
use wouldblock::hyper::{TowerToHyperService, serve};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::sync::oneshot;
use wouldblock::{Blocking, future, green, group::gather};

fn router(log: Blocking<Vec<String>>) -> Router {
    Router::new()
        .route("/hello/{name}", get(async |Path(name): Path<String>| format!("hello, {name}")))
        .route(
            "/log",
            post(async |State(log): State<Blocking<Vec<String>>>, line: String| {
                // Green code in an `async fn`: it suspends the request's task, and no thread.
                green::sleep(Duration::from_millis(1));
                log.with(|log| {
                    log.push(line);
                    log.len().to_string()
                })
            }),
        )
        .with_state(log)
}

/// Sends a request, and returns the body of the response.
fn request(server: SocketAddr, method: &str, path: &str, body: &str) -> String {
    try_request(server, method, path, body).unwrap()
}

fn try_request(server: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: {length}"
    );
    write!(stream, "{head}\r\n\r\n{body}")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    if head.starts_with("HTTP/1.1 200") { Ok(body.to_owned()) } else { Err(io::Error::other(head)) }
}

#[test]
fn axum_behind_nginx_stops_gracefully() {
    recipes::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = green::spawn(move || {
            let router = router(Blocking::new(Vec::new()));
            serve(listener, TowerToHyperService::new(router), stopped)
        });
        let mut nginx = Server::nginx(address);
        assert_eq!(request(nginx.address, "GET", "/hello/ann", ""), "hello, ann");
        let front = nginx.address;
        let tasks = (0..100).map(|n| {
            green::spawn(move || {
                request(front, "POST", "/log", &format!("line {n}")).parse::<u32>()
            })
        });
        let mut counts: Vec<_> =
            green::wait(gather(tasks)).into_iter().map(|count| count.unwrap().unwrap()).collect();
        counts.sort();
        assert_eq!(counts, (1..=100).collect::<Vec<_>>());

        // Clients go on until nginx is gone, which is an error to each of them.
        let answered = Rc::new(Cell::new(100));
        let tasks = (0..20).map(|n| {
            let answered = answered.clone();
            green::spawn(move || {
                loop {
                    match try_request(front, "POST", "/log", &format!("client {n}")) {
                        Ok(_) => answered.set(answered.get() + 1),
                        Err(error) => return error.kind(),
                    }
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        while answered.get() < 200 {
            green::sleep(Duration::from_millis(1));
        }
        nginx.kill();
        for kind in green::wait(gather(tasks)) {
            assert_ne!(kind.unwrap(), io::ErrorKind::TimedOut);
        }
        assert!(nginx.restart());
        // All that was answered is in the log; so may be what was not.
        let lines: u32 = request(front, "POST", "/log", "one more").parse().unwrap();
        assert!((answered.get() + 1..=answered.get() + 1 + 20).contains(&lines), "{lines}");

        // nginx keeps connections open to us: a graceful stop closes those that serve nothing.
        stop.send(()).unwrap();
        server.join().unwrap().unwrap();
    });
}

#[test]
fn cost_beside_tokio() {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    const CONNECTIONS: u32 = 20;
    const REQUESTS: u32 = 50;
    async fn requests(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        for _ in 0..REQUESTS {
            stream.write_all(b"GET /hello/ann HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
            let (mut response, mut buf) = (Vec::new(), [0; 1024]);
            while !response.ends_with(b"hello, ann") {
                let n = stream.read(&mut buf).await.unwrap();
                response.extend_from_slice(&buf[..n]);
            }
        }
    }
    fn hello() -> Router {
        Router::new()
            .route("/hello/{name}", get(async |Path(name): Path<String>| format!("hello, {name}")))
    }
    recipes::run(|| {
        let ours = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let service = TowerToHyperService::new(hello());
            let server =
                green::spawn(move || serve(listener, service, std::future::pending::<()>()));
            let tasks = (0..CONNECTIONS).map(|_| {
                future::spawn(async move {
                    requests(TcpStream::connecting(address).await.unwrap()).await;
                })
            });
            green::wait(gather(tasks)).into_iter().for_each(|task| task.unwrap());
            server.cancel();
        };
        let theirs = || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                tokio::spawn(async move { axum::serve(listener, hello()).await });
                let tasks = (0..CONNECTIONS).map(|_| {
                    let connect = tokio::net::TcpStream::connect(address);
                    tokio::spawn(async move { requests(connect.await.unwrap()).await })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            });
        };
        let what = "axum, a request and its answer";
        recipes::beside(what, CONNECTIONS * REQUESTS, ours, "tokio", theirs);
    });
}
