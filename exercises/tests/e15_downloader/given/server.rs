//! A slow server for the tests. It counts its connections.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Error;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{green, task, time};

/// How long the server waits for what it wants. Where it has waited in vain before in this process, it has less patience.
fn patience() -> Duration {
    Duration::from_millis(if IN_VAIN.load(Ordering::Relaxed) { 200 } else { 2000 })
}

static IN_VAIN: AtomicBool = AtomicBool::new(false);

/// Waits until this is so. Returns `false` if patience has ended first.
fn patiently(is_so: impl Fn() -> bool) -> bool {
    let (begun, patience) = (time::now(), patience());
    while !is_so() {
        if time::now() - begun > patience {
            IN_VAIN.store(true, Ordering::Relaxed);
            return false;
        }
        green::sleep(Duration::from_millis(1));
    }
    true
}

/// What the server does at a path.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub path: &'static str,
    pub status: u16,
    pub announced: usize,
    pub sent: usize,
    /// So long it waits in the middle.
    pub pause: Duration,
    /// So many turns it gives to the others in the middle, in which no byte comes.
    pub turns: usize,
    /// It resets the connection in the middle.
    pub reset: bool,
    /// It answers only when this other page has been asked for, or the server has lost its patience.
    pub after: Option<&'static str>,
}

impl Page {
    /// A file of this length.
    pub fn whole(path: &'static str, length: usize) -> Page {
        Page {
            path,
            status: 200,
            announced: length,
            sent: length,
            pause: Duration::ZERO,
            turns: 0,
            reset: false,
            after: None,
        }
    }

    /// What its download comes to.
    pub fn result(&self) -> Result<u64, Error> {
        let (got, of) = (self.sent as u64, self.announced as u64);
        match () {
            () if self.status != 200 => Err(Error::Status(self.status)),
            () if self.reset => Err(Error::Io(io::ErrorKind::ConnectionReset)),
            () if got < of => Err(Error::BrokenOff { got, of }),
            () => Ok(got),
        }
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
    /// The paths that were asked for.
    asked: RefCell<Vec<String>>,
    /// A page whose answer waits for another was asked for, and the other was not, as long as it waited.
    pub held_up: Cell<Option<Page>>,
    /// Where the files come to.
    folder: PathBuf,
    /// The pages whose files were there while bytes were missing.
    pub early: RefCell<Vec<&'static str>>,
    /// It has waited for a request in vain.
    pub unasked: Cell<bool>,
}

impl Server {
    pub fn start(pages: &[Page], wanted: usize, folder: &Path) -> io::Result<Rc<Server>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Rc::new(Server {
            address: listener.local_addr()?,
            pages: pages.to_vec(),
            wanted,
            now: Cell::new(0),
            most: Cell::new(0),
            impatient: Cell::new(false),
            asked: RefCell::default(),
            held_up: Cell::new(None),
            folder: folder.to_owned(),
            early: RefCell::default(),
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
        let reading = green::timeout(patience(), || {
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
        let had = patiently(|| self.most.get() >= self.wanted || self.impatient.get());
        self.impatient.set(self.impatient.get() || !had);
        // More than that may come.
        green::sleep(Duration::from_millis(5));
        let request = String::from_utf8_lossy(&request).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let missing = Page { status: 404, ..Page::whole("", 9) };
        let page = *self.pages.iter().find(|page| page.path == path).unwrap_or(&missing);
        self.asked.borrow_mut().push(path.to_owned());
        if let Some(other) = page.after
            && !patiently(|| self.asked.borrow().iter().any(|path| path == other))
        {
            self.held_up.set(Some(page));
        }
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
        for _ in 0..page.turns {
            green::yield_now();
        }
        if self.folder.join(page.path.trim_start_matches('/')).is_file() {
            self.early.borrow_mut().push(page.path);
        }
        if page.reset {
            kit::reset_when_dropped(&stream)?;
            return Ok(());
        }
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
