//! The embedded image server: on a thread of its own, on this crate's own sockets. It is slow on purpose,
//! as a server far away is: it thinks before it answers, and sends no faster than its bandwidth.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use log::debug;
use wouldblock::green;
use wouldblock::net::{TcpListener, TcpStream};

use crate::pictures::Picture;

const LATENCY: Duration = Duration::from_millis(150);
/// What is sent at once, and how long the next piece is in coming: 256 KiB/s for each connection.
const PIECE: usize = 4096;
const PAUSE: Duration = Duration::from_millis(16);

/// Starts it on a port that the system chooses; it ends with the process.
pub fn start(pictures: Vec<Picture>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let thread = std::thread::Builder::new().name("image server".into());
    thread.spawn(move || wouldblock::run(|| serve(&listener, pictures.into())))?;
    Ok(address)
}

fn serve(listener: &TcpListener, pictures: Rc<[Picture]>) {
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                let pictures = pictures.clone();
                drop(green::spawn(move || {
                    if let Err(e) = answer(&stream, &pictures) {
                        debug!("a client went away: {e}");
                    }
                }));
            }
            Err(e) => {
                debug!("a connection could not be accepted: {e}");
                green::sleep(PAUSE); // no file descriptor is left, say: others give theirs back now
            }
        }
    }
}

/// Answers one request, and closes the connection.
fn answer(mut stream: &TcpStream, pictures: &[Picture]) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    green::sleep(LATENCY);
    let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let Some(picture) = pictures.iter().find(|p| p.name == name) else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    let (length, kind) = (picture.bytes.len(), picture.media_type());
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    for piece in picture.bytes.chunks(PIECE) {
        stream.write_all(piece)?;
        green::sleep(PAUSE);
    }
    Ok(())
}
