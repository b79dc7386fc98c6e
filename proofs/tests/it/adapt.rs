//! What other crates want of this one's types, by the features `hyper`, `tokio` and `tracing`.
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use crate::util::*;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;
use wouldblock::hyper::{Executor, serve, serving};
use wouldblock::io::pipe;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::sync::{Event, oneshot};
use wouldblock::{JoinHandle, future, green, group::gather};

type Stop = oneshot::Sender<()>;

/// Starts a server that sets `asked` at each request, and whose answers wait for `go`.
fn server(asked: &Rc<Event>, go: &Rc<Event>) -> (SocketAddr, Stop, JoinHandle<io::Result<()>>) {
    let (asked, go) = (asked.clone(), go.clone());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let service = service_fn(move |request: Request<Incoming>| {
        let go = go.clone();
        asked.set();
        async move {
            go.waiting().await;
            assert_ne!(request.uri().path(), "/panic", "as the client wants it");
            let version = request.version();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(Response::new(format!("{version:?} {}", body.len())))
        }
    });
    (address, stop, green::spawn(|| serve(listener, service, stopped)))
}

/// A server that answers at once.
fn prompt_server() -> (SocketAddr, Stop, JoinHandle<io::Result<()>>) {
    let go = Rc::new(Event::new());
    go.set();
    server(&Rc::new(Event::new()), &go)
}

fn request(address: SocketAddr, text: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(text.as_bytes()).unwrap();
    client
}

fn rest(mut client: TcpStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

const CLOSING: &str = "GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";

#[test]
fn http_1_and_2_are_served_on_one_listener() {
    bounded(|| {
        let (address, stop, server) = prompt_server();
        assert!(rest(request(address, CLOSING)).ends_with("\r\n\r\nHTTP/1.1 0"));
        let second = future::spawn(async move {
            let stream = TcpStream::connecting(address).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(Executor, stream).await.unwrap();
            drop(future::spawn(connection));
            let body = http_body_util::Full::new(hyper::body::Bytes::from_static(b"body"));
            let response =
                sender.send_request(Request::post("/").body(body).unwrap()).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        });
        assert_eq!(second.join().unwrap(), "HTTP/2.0 4");
        stop.send(()).unwrap();
        server.join().unwrap().unwrap();
    });
}

#[test]
fn a_graceful_stop_finishes_requests_and_takes_no_further_ones() {
    bounded(|| {
        let (asked, go) = (Rc::new(Event::new()), Rc::new(Event::new()));
        let (address, stop, server) = server(&asked, &go);
        let idle = request(address, "");
        let busy = request(address, "GET / HTTP/1.1\r\nhost: here\r\n\r\n"); // It would be kept alive.
        asked.wait();
        stop.send(()).unwrap();
        assert_eq!(rest(idle), "", "a connection without a request is closed");
        assert!(!server.is_finished());
        go.set();
        assert!(rest(busy).ends_with("HTTP/1.1 0"));
        server.join().unwrap().unwrap();
        assert!(TcpStream::connect(address).is_err(), "the listener is closed");
    });
}

#[test]
fn a_panic_in_a_service_closes_its_connection_only() {
    bounded(|| {
        let (address, stop, server) = prompt_server();
        let text = "GET /panic HTTP/1.1\r\nhost: here\r\n\r\n";
        assert_eq!(rest(request(address, text)), "");
        assert_eq!(rest(request(address, "no HTTP at all\r\n\r\n")).split(' ').nth(1), Some("400"));
        assert!(rest(request(address, CLOSING)).ends_with("HTTP/1.1 0"));
        stop.send(()).unwrap();
        server.join().unwrap().unwrap();
    });
}

#[test]
fn a_cancelled_server_cancels_its_connections() {
    bounded(|| {
        let asked = Rc::new(Event::new());
        let (address, _stop, server) = server(&asked, &Rc::new(Event::new()));
        let client = request(address, CLOSING);
        asked.wait();
        server.cancel();
        assert!(server.join().unwrap_err().is_cancelled());
        assert_eq!(rest(client), "");
    });
}

#[test]
fn a_client_that_sends_no_request_is_closed_in_time() {
    virtually(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(String::new())));
        let server = future::spawn(serving(listener, service, std::future::pending::<()>()));
        let client = request(address, "GET / HTTP/1.1\r\nhost: "); // And no more.
        let answer = rest(client);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        server.cancel();
    });
}

#[test]
fn tokios_traits_read_and_write_streams_and_pipes() {
    async fn read(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut chunk = [0; 3];
            let mut buf = ReadBuf::new(&mut chunk);
            poll_fn(|cx| Pin::new(&mut from).poll_read(cx, &mut buf)).await.unwrap();
            match buf.filled() {
                [] => return all,
                bytes => all.extend_from_slice(bytes),
            }
        }
    }
    async fn write(mut to: impl AsyncWrite + Unpin) {
        let n = poll_fn(|cx| Pin::new(&mut to).poll_write(cx, b"hello")).await.unwrap();
        assert_eq!(n, 5);
        poll_fn(|cx| Pin::new(&mut to).poll_flush(cx)).await.unwrap();
        poll_fn(|cx| Pin::new(&mut to).poll_shutdown(cx)).await.unwrap();
    }
    bounded(|| {
        let (one, two) = pair();
        let task = future::spawn(read(one));
        green::yield_now();
        future::spawn(write(two)).join().unwrap();
        assert_eq!(task.join().unwrap(), b"hello");
        let (reader, writer) = pipe().unwrap();
        let task = future::spawn(read(reader));
        green::yield_now();
        future::spawn(write(writer)).join().unwrap();
        assert_eq!(task.join().unwrap(), b"hello");
    });
}

fn name() -> Option<&'static str> {
    Span::current().metadata().map(tracing::Metadata::name)
}

/// Runs with a subscriber of which spans follow their tasks.
fn traced(root: impl FnOnce()) {
    let subscriber = Registry::default().with(wouldblock::tracing::layer());
    tracing::subscriber::with_default(subscriber, || {
        wouldblock::run(root);
    });
}

#[test]
fn spans_follow_their_greenlets() {
    let outside = |name| {
        let _span = tracing::info_span!("of one").entered();
        let inner = tracing::info_span!("inner").entered();
        green::yield_now();
        assert_eq!(self::name(), Some("inner"));
        drop(inner);
        green::yield_now();
        assert_eq!(self::name(), Some("of one"));
        name
    };
    traced(|| {
        let one = green::spawn(move || outside("one"));
        let two = green::spawn(|| {
            let span = tracing::info_span!("of two");
            for _ in 0..3 {
                assert_eq!(name(), None);
                span.in_scope(|| {
                    green::yield_now();
                    assert_eq!(name(), Some("of two"));
                });
            }
        });
        while !one.is_finished() || !two.is_finished() {
            assert_eq!(name(), None, "the root has entered none");
            green::yield_now();
        }
        one.join().unwrap();
        two.join().unwrap();
    });
}

#[test]
fn spans_around_a_run_stay_and_a_cancelled_task_leaves_none() {
    let subscriber = Registry::default().with(wouldblock::tracing::layer());
    tracing::subscriber::with_default(subscriber, || {
        let _around = tracing::info_span!("around").entered();
        wouldblock::run(|| {
            assert_eq!(name(), Some("around"));
            let task = green::spawn(|| {
                let _span = tracing::info_span!("cancelled").entered();
                green::sleep(HOUR);
            });
            green::yield_now();
            assert_eq!(name(), Some("around"));
            task.cancel();
            assert!(task.join().is_err());
            assert_eq!(name(), Some("around"));
        });
        assert_eq!(name(), Some("around"));
    });
    traced(|| {
        let tasks = (0..100).map(|_| {
            green::spawn(|| {
                tracing::info_span!("many").in_scope(green::yield_now);
                name().is_none()
            })
        });
        assert!(green::wait(gather(tasks)).into_iter().all(Result::unwrap));
    });
}
