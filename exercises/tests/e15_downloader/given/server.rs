//! A slow server for the tests. It counts its connections.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{green, task, time};

/// How long the server waits for the connections that it wants at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// A server of this process has waited for a request in vain: the next has less patience.
static IN_VAIN: AtomicBool = AtomicBool::new(false);

/// What the server does at a path.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub path: &'static str,
    pub status: u16,
    pub announced: usize,
    pub sent: usize,
    /// So long it waits in the middle.
    pub pause: Duration,
}

impl Page {
    /// A file of this length.
    pub fn whole(path: &'static str, length: usize) -> Page {
        Page { path, status: 200, announced: length, sent: length, pause: Duration::ZERO }
    }

    pub fn bytes(&self) -> Vec<u8> {
        (0..self.sent).map(|n| (n * 7 + self.path.len() + n / 251) as u8).collect()
    }
}

/// A server that waits with its answers until it has had `wanted` connections at once, or has lost its patience.
pub struct Server {
    pub address: SocketAddr,
    pages: Vec<Page>,
    wanted: usize,
    now: Cell<usize>,
    /// The most connections that it had at once.
    pub most: Cell<usize>,
    impatient: Cell<bool>,
    /// It has waited for a request in vain.
    pub unasked: Cell<bool>,
}

impl Server {
    pub fn start(pages: &[Page], wanted: usize) -> io::Result<Rc<Server>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Rc::new(Server {
            address: listener.local_addr()?,
            pages: pages.to_vec(),
            wanted,
            now: Cell::new(0),
            most: Cell::new(0),
            impatient: Cell::new(false),
            unasked: Cell::new(false),
        });
        let serving = server.clone();
        let accepting = move || {
            for stream in listener.incoming() {
                let (Ok(stream), server) = (stream, serving.clone()) else { return };
                // A client that has hung up ends its own connection only.
                let answering = move || drop(server.answer(stream));
                drop(task::Builder::new().name("server: one").spawn(answering));
            }
        };
        drop(task::Builder::new().name("server").spawn(accepting));
        Ok(server)
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
        let connected = Connected(&self.now);
        let mut request = Vec::new();
        let in_vain = IN_VAIN.load(Ordering::Relaxed);
        let patience = if in_vain { PATIENCE / 10 } else { PATIENCE };
        let reading = green::timeout(patience, || {
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                request.push(byte[0]);
            }
            io::Result::Ok(())
        });
        self.unasked.set(self.unasked.get() || reading.is_err());
        IN_VAIN.fetch_or(reading.is_err(), Ordering::Relaxed);
        reading??;
        let begun = time::now();
        while self.most.get() < self.wanted && !self.impatient.get() {
            self.impatient.set(time::now() - begun > PATIENCE);
            green::sleep(Duration::from_millis(1));
        }
        // More than that may come.
        green::sleep(Duration::from_millis(5));
        let request = String::from_utf8_lossy(&request).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let missing = Page { status: 404, ..Page::whole("", 9) };
        let page = *self.pages.iter().find(|page| page.path == path).unwrap_or(&missing);
        let head =
            format!("HTTP/1.1 {} _\r\nContent-Length: {}\r\n\r\n", page.status, page.announced);
        let mut answer = head.into_bytes();
        answer.extend(page.bytes());
        let (first, last) = answer.split_at(answer.len() / 2);
        for piece in first.chunks(700) {
            stream.write_all(piece)?;
            green::yield_now();
        }
        green::sleep(page.pause);
        // Before the client can have all of it, and make another connection.
        drop(connected);
        stream.write_all(last)
    }
}

/// One connection.
struct Connected<'a>(&'a Cell<usize>);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
