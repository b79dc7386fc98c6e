//! axum behind nginx: a router as it is, served on this crate's listener, with a graceful stop.
//!
//! `axum::serve` needs tokio's runtime. `wouldblock::hyper::serve` takes its place; the router becomes a service of
//! hyper's by one call. Handlers run as tasks of this thread, and may call green code.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use recipes::Server;
use wouldblock::hyper::{TowerToHyperService, serve};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::sync::oneshot;
use wouldblock::{Blocking, green, group::gather};

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
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: {length}"
    );
    write!(stream, "{head}\r\n\r\n{body}").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
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
        let nginx = Server::nginx(address);
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

        // nginx keeps connections open to us: a graceful stop closes those that serve nothing.
        stop.send(()).unwrap();
        server.join().unwrap().unwrap();
    });
}
