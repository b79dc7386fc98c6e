//! A plain HTTP server behind nginx: one greenlet for each connection, straight-line code, `httparse` for the heads. nginx
//! is killed in the middle: an error to each client that waits, and none after it is there again.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use recipes::Server;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{green, group::gather};

/// Longer heads are refused.
const LONGEST_HEAD: usize = 16 << 10;

fn serve(listener: TcpListener) {
    for stream in listener.incoming().flatten() {
        green::spawn(move || {
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            stream.set_nodelay(true)?;
            connection(&stream)
        });
    }
}

/// Serves one request after the other, until the client closes the connection.
fn connection<S>(stream: &S) -> io::Result<()>
where
    for<'a> &'a S: Read + Write,
{
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while let Some((path, length)) = head(&mut reader)? {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        body.reverse();
        let mut response =
            format!("HTTP/1.1 200 OK\r\nx-path: {path}\r\ncontent-length: {length}\r\n\r\n")
                .into_bytes();
        response.append(&mut body);
        writer.write_all(&response)?;
    }
    Ok(())
}

/// The path and the length of the body of the next request; `None` at the end of the connection.
fn head(reader: &mut impl BufRead) -> io::Result<Option<(String, usize)>> {
    let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, e);
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let most = (LONGEST_HEAD - bytes.len()) as u64;
        if reader.by_ref().take(most).read_until(b'\n', &mut bytes)? == 0 {
            return if bytes.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(&bytes).map_err(invalid)?;
    let length =
        request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length =
        length.and_then(|header| str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0);
    Ok(Some((request.path.unwrap_or("/").to_owned(), length)))
}

fn client(server: SocketAddr, n: usize) -> io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let body = format!("body {n}");
    let length = body.len();
    write!(
        stream,
        "POST /{n} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

#[test]
fn a_green_server_behind_nginx() {
    recipes::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut nginx = Server::nginx(listener.local_addr().unwrap());
        let server = green::spawn(move || serve(listener));
        let front = nginx.address;
        let tasks = (0..100).map(|n| green::spawn(move || client(front, n)));
        for (n, response) in green::wait(gather(tasks)).into_iter().enumerate() {
            let response = response.unwrap().unwrap();
            assert!(response.contains(&format!("\r\nx-path: /{n}\r\n")), "{response}");
            let body: String = format!("body {n}").chars().rev().collect();
            assert!(response.ends_with(&format!("\r\n\r\n{body}")), "{response}");
        }

        // A client has sent one half of its request when nginx is killed.
        let mut stream = TcpStream::connect(front).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
        let waiting = green::spawn(move || stream.read(&mut [0; 64]));
        assert!(client(front, 1).is_ok());
        nginx.kill();
        let ended = waiting.join().unwrap();
        assert!(ended.as_ref().map_or_else(|e| e.kind() != io::ErrorKind::TimedOut, |n| *n == 0));
        assert_eq!(client(front, 1).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(nginx.restart());
        assert!(client(front, 1).unwrap().contains("\r\nx-path: /1\r\n"));
        server.cancel();
    });
}

#[test]
fn cost_beside_threads() {
    const CONNECTIONS: u32 = 20;
    const REQUESTS: u32 = 50;
    fn requests<S>(stream: &S)
    where
        for<'a> &'a S: Read + Write,
    {
        let (mut reader, mut writer) = (BufReader::new(stream), stream);
        for _ in 0..REQUESTS {
            writer.write_all(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello").unwrap();
            let (mut line, mut body) = (String::new(), [0; 5]);
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
            reader.read_exact(&mut body).unwrap();
            assert_eq!(&body, b"olleh");
        }
    }
    recipes::run(|| {
        let ours = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            green::scope(|scope| {
                for _ in 0..CONNECTIONS {
                    scope.spawn(move || requests(&TcpStream::connect(address).unwrap()));
                    let (stream, _) = listener.accept().unwrap();
                    scope.spawn(move || connection(&stream).unwrap());
                }
            });
        };
        let theirs = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::scope(|scope| {
                for _ in 0..CONNECTIONS {
                    scope.spawn(move || requests(&std::net::TcpStream::connect(address).unwrap()));
                    let (stream, _) = listener.accept().unwrap();
                    scope.spawn(move || connection(&stream).unwrap());
                }
            });
        };
        let what = "plain HTTP, a request and its answer";
        recipes::beside(what, CONNECTIONS * REQUESTS, ours, "threads", theirs);
    });
}
