//! An HTTP server for tests, in the style of std, on the sockets that are tested; with TLS or without.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use ureq::{Agent, Error};
use wouldblock::green;
use wouldblock::net::{TcpListener, TcpStream};

const MS: Duration = Duration::from_millis(1);

/// What `/gzip` is when it is unpacked: far more than any buffer holds.
pub fn poem() -> String {
    (0..20_000).map(|n| format!("line {n}, and so on;\n")).collect()
}

/// A server, and how many connections it has accepted.
pub struct Server {
    url: String,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    /// Serves in the present run.
    pub fn here() -> Server {
        Server::start(None, |serve| drop(green::spawn(serve)))
    }

    /// Serves on a thread of its own, until the process ends.
    pub fn on_a_thread() -> Server {
        Server::start(None, on_a_thread)
    }

    /// As [`here`](Server::here), for https.
    pub fn tls_here(tls: Arc<ServerConfig>) -> Server {
        Server::start(Some(tls), |serve| drop(green::spawn(serve)))
    }

    /// As [`on_a_thread`](Server::on_a_thread), for https.
    pub fn tls_on_a_thread(tls: Arc<ServerConfig>) -> Server {
        Server::start(Some(tls), on_a_thread)
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>),
    ) -> Server {
        let listener = listener_with_room();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = accepted.clone();
        spawn(Box::new(move || serve(&listener, tls, &counter)));
        Server { url, accepted }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn on_a_thread(serve: Box<dyn FnOnce() + Send>) {
    thread::spawn(move || wouldblock::run(serve));
}

/// A burst of connections finds room in it: std's backlog has it for 128.
fn listener_with_room() -> TcpListener {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&any_port.into()).unwrap();
    socket.listen(1024).unwrap();
    TcpListener::from_std(socket.into()).unwrap()
}

fn serve(listener: &TcpListener, tls: Option<Arc<ServerConfig>>, accepted: &AtomicUsize) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        accepted.fetch_add(1, Ordering::Relaxed);
        // Else the kernel keeps small writes back for some milliseconds, for which no virtual clock waits.
        stream.set_nodelay(true).unwrap();
        let tls = tls.clone();
        // A client may go away whenever it likes; the test sees what becomes of it.
        drop(green::spawn(move || drop(serve_one(stream, tls))));
    }
}

fn serve_one(mut stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let Some(tls) = tls else { return converse(&mut stream) };
    let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
    let result = converse(&mut stream);
    stream.conn.send_close_notify();
    stream.flush()?;
    result
}

/// Answers the requests on one connection, until one asks for its end.
fn converse(stream: impl Read + Write) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let Request { path, accepts_gzip, body } = request(&mut reader)?;
        let stream = reader.get_mut();
        let text =
            |text: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        let moved =
            |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        let answer = match path.as_str() {
            "/hello" => text("hello"),
            "/slow" => {
                green::sleep(10 * MS);
                text("at last")
            }
            "/echo" => text(&body),
            "/old" => moved("/hello"),
            "/round" => moved("/round"),
            "/gzip" if accepts_gzip => {
                let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
                packer.write_all(poem().as_bytes())?;
                let packed = packer.finish()?;
                let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ";
                write!(stream, "{head}{}\r\n\r\n", packed.len())?;
                stream.write_all(&packed)?;
                continue;
            }
            "/chunked" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                for word in ["one", "two", "three"] {
                    for part in [format!("{:x}\r\n", word.len()), word.into(), "\r\n".into()] {
                        stream.write_all(part.as_bytes())?;
                        green::sleep(MS);
                    }
                }
                "0\r\n\r\n".into()
            }
            "/until-the-end" => {
                return stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it");
            }
            "/long-head" => {
                format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(40_000))
            }
            "/cut" => {
                return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf");
            }
            "/cut-in-the-head" => return stream.write_all(b"HTTP/1.1 200 O"),
            "/not-http" => return stream.write_all(b"SSH-2.0-server\r\n"),
            "/once" => return stream.write_all(text("hello").as_bytes()),
            "/never" => return until_the_client_goes(&mut reader),
            "/stalls" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")?;
                return until_the_client_goes(&mut reader);
            }
            "/trickle" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
                for _ in 0..100_000 {
                    green::sleep(MS);
                    stream.write_all(b".")?;
                }
                continue;
            }
            path => match path.strip_prefix("/to/") {
                Some(elsewhere) => moved(elsewhere),
                None => "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nmissing".into(),
            },
        };
        stream.write_all(answer.as_bytes())?;
    }
}

fn until_the_client_goes(reader: &mut impl Read) -> io::Result<()> {
    reader.read_exact(&mut [0])
}

struct Request {
    path: String,
    accepts_gzip: bool,
    body: String,
}

fn request(reader: &mut impl BufRead) -> io::Result<Request> {
    let (mut path, mut accepts_gzip, mut length) = (String::new(), false, 0);
    for line in head(reader)? {
        match line.split_once(": ") {
            None => path = line.split(' ').nth(1).unwrap_or_default().into(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("accept-encoding") => {
                accepts_gzip = value.contains("gzip");
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { path, accepts_gzip, body: String::from_utf8(body).unwrap() })
}

/// The lines of a request's head.
pub fn head(reader: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => return Ok(lines),
            line => lines.push(line.to_owned()),
        }
    }
}

/// The body of what `url` is answered with.
pub fn get(agent: &Agent, url: &str) -> Result<String, Error> {
    agent.get(url).call()?.body_mut().read_to_string()
}

// What holds with TLS as without. The server is a fresh one.

pub fn a_connection_is_used_again(server: &Server, agent: &Agent) {
    for _ in 0..10 {
        assert_eq!(get(agent, &server.url("/hello")).unwrap(), "hello");
    }
    assert_eq!(server.accepted(), 1);
}

pub fn a_connection_that_the_server_closed_is_not_used_again(server: &Server, agent: &Agent) {
    for n in 1..=5 {
        assert_eq!(get(agent, &server.url("/once")).unwrap(), "hello");
        green::sleep(MS); // the end arrives
        assert_eq!(server.accepted(), n);
    }
}

pub fn a_large_body_goes_there_and_back(server: &Server, agent: &Agent) {
    let body = "0123456789".repeat(200_000);
    for _ in 0..2 {
        let mut response = agent.post(server.url("/echo")).send(&body).unwrap();
        assert!(response.body_mut().read_to_string().unwrap() == body);
    }
    assert_eq!(server.accepted(), 1);
}

pub fn its_host_is_looked_up(server: &Server, agent: &Agent) {
    let url = server.url("/hello").replace("127.0.0.1", "localhost");
    assert_eq!(get(agent, &url).unwrap(), "hello");
}
