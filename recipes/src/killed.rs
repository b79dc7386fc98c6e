//! What the recipes do to their servers, and how they wait for them.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::time::Duration;

use wouldblock::green;
use wouldblock::net::TcpListener;

use crate::Server;

/// Calls `f` until it succeeds: a server that takes connections may still refuse while it starts or recovers.
pub fn when_ready<T, E>(mut f: impl FnMut() -> Result<T, E>) -> T {
    loop {
        match f() {
            Ok(done) => return done,
            Err(_) => green::sleep(Duration::from_millis(20)),
        }
    }
}

/// Kills an nginx that speaks TLS while a client waits for its answer: that must be an error to the client, before its
/// time limit, and no end of the data. `get` requests a path of the server at an address, and returns the response.
pub fn kill_nginx_tls<G>(certificate: &str, key: &str, get: G)
where
    G: Fn(SocketAddr, &str) -> io::Result<String> + Clone + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut nginx = Server::nginx_tls(listener.local_addr().unwrap(), certificate, key);
    let (front, upstream) = (nginx.address, green::spawn(move || upstream(listener)));
    assert!(get(front, "/").unwrap().ends_with("hello"));
    let slow = get.clone();
    let waiting = green::spawn(move || slow(front, "/slow"));
    // The slow request has been sent when another has been answered.
    assert!(get(front, "/").unwrap().ends_with("hello"));
    nginx.kill();
    let error = waiting.join().unwrap().unwrap_err();
    assert_ne!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert_eq!(get(front, "/").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert!(nginx.restart());
    assert!(get(front, "/").unwrap().ends_with("hello"));
    upstream.cancel();
}

/// A server behind nginx that answers one request, and leaves those for `/slow` waiting.
fn upstream(listener: TcpListener) {
    for stream in listener.incoming().flatten() {
        green::spawn(move || -> io::Result<()> {
            let mut lines = BufReader::new(&stream).lines();
            let request = lines.next().transpose()?.unwrap_or_default();
            while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
            if request.contains(" /slow ") {
                green::sleep(Duration::from_secs(60));
            }
            (&stream).write_all(b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        });
    }
}
