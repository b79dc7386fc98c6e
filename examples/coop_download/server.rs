//! The embedded image server, on this crate's own sockets. It is slow on purpose, as a server far away is:
//! it thinks before it answers, and sends no faster than its bandwidth.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, warn};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use wouldblock::green;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::time::{now, sleeping_until};

use crate::cli::ServerOptions;
use crate::interrupt;
use crate::pictures::Picture;
use crate::tls;

/// How often it sends a piece, in each second.
const PIECES: u32 = 64;

/// It reads no more of a request, in bytes.
const LONGEST_REQUEST: u64 = 64 * 1024;

pub struct Server {
    listener: TcpListener,
    pub address: SocketAddr,
    /// If it speaks https.
    pub config: Option<Arc<ServerConfig>>,
    site: Site,
}

/// What its tasks share.
#[derive(Clone)]
struct Site {
    pictures: Arc<[Picture]>,
    options: ServerOptions,
}

impl Server {
    pub fn bind(
        address: &str,
        pictures: &[Picture],
        options: &ServerOptions,
    ) -> Result<Server, String> {
        let listener = TcpListener::bind(address)
            .and_then(|listener| Ok((listener.local_addr()?, listener)))
            .map_err(|e| format!("cannot listen on {address}: {e}"));
        let (address, listener) = listener?;
        if options.tls && !address.ip().is_loopback() {
            return Err(format!(
                "cannot speak https on {address}: its certificate is for 127.0.0.1 and ::1"
            ));
        }
        let config = options.tls.then(tls::server_config).transpose();
        let config = config.map_err(|e| format!("cannot use the certificate: {e}"))?;
        let site = Site { pictures: pictures.into(), options: options.clone() };
        Ok(Server { listener, address, config, site })
    }

    pub fn urls(&self) -> impl Iterator<Item = String> {
        let scheme = if self.config.is_some() { "https" } else { "http" };
        self.site.pictures.iter().map(move |p| format!("{scheme}://{}/{}", self.address, p.name))
    }

    /// Serves on a thread of its own, which ends with the process.
    pub fn start(self) -> io::Result<()> {
        std::thread::Builder::new().name("image server".into()).spawn(move || self.run())?;
        Ok(())
    }

    /// Serves until Ctrl-C.
    pub fn run(self) {
        wouldblock::run(|| {
            let _accepting =
                green::spawn(move || accept(&self.listener, &self.site.into(), self.config));
            green::wait(interrupt::coming());
        });
    }
}

fn accept(listener: &TcpListener, site: &Rc<Site>, config: Option<Arc<ServerConfig>>) {
    let mut reported = None;
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                let (site, config) = (site.clone(), config.clone());
                drop(green::spawn(move || {
                    let answered = match config {
                        None => site.answer(stream),
                        Some(config) => site.answer_with_tls(stream, config),
                    };
                    if let Err(e) = answered {
                        debug!("a client went away: {e}");
                    }
                }));
            }
            Err(e) => {
                if reported != Some(e.kind()) {
                    warn!("The server cannot accept connections: {e}; it tries again");
                    reported = Some(e.kind());
                }
                green::sleep(Duration::from_millis(20)); // others give back the descriptors that are missing
            }
        }
    }
}

impl Site {
    fn answer_with_tls(&self, stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        self.answer(&mut stream)?;
        stream.conn.send_close_notify();
        stream.flush()
    }

    /// Answers one request, after which the connection is closed.
    fn answer(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(stream).take(LONGEST_REQUEST);
        let (mut request, mut line) = (String::new(), String::new());
        stream.read_line(&mut request)?;
        while stream.read_line(&mut line)? > 2 {
            line.clear(); // a header; the empty line after the last is CR and LF
        }
        let stream = stream.get_mut().get_mut();
        green::sleep(Duration::from_millis(self.options.latency.into()));

        let (method, path) = request.split_once(' ').unwrap_or_default();
        let path = path.split([' ', '?']).next().unwrap_or_default();
        let picture = self.pictures.iter().find(|p| Some(p.name) == path.strip_prefix('/'));
        let (status, length, kind) = match (method, picture) {
            ("GET" | "HEAD", Some(picture)) => {
                ("200 OK", picture.bytes.len(), picture.media_type())
            }
            ("GET" | "HEAD", None) => ("404 Not Found", 0, "text/plain"),
            _ => ("405 Method Not Allowed\r\nAllow: GET, HEAD", 0, "text/plain"),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        match picture {
            Some(picture) if method == "GET" => self.send(stream, &picture.bytes),
            _ => Ok(()),
        }
    }

    fn send(&self, stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        let bandwidth = self.options.bandwidth;
        let mut due = now();
        for piece in bytes.chunks((bandwidth / PIECES).max(1) as usize) {
            stream.write_all(piece)?;
            due += Duration::from_secs_f64(piece.len() as f64 / f64::from(bandwidth));
            green::wait(sleeping_until(due));
        }
        Ok(())
    }
}
