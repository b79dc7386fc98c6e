//! A server to try a fleet on: every path is a file of the same length, which comes after a fixed time.
//!
//! ```text
//! cargo run --release -p fleet --example files -- [BYTES] [MILLISECONDS] [PORT]
//! ```
//!
//! It prints its port, which the system chooses unless one is given, and serves until it is killed.

use std::io::{self, BufRead, BufReader, Write};
use std::rc::Rc;
use std::time::Duration;

use wouldblock::green;
use wouldblock::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let mut number = |or| numbers.next().unwrap_or(Ok(or)).map_err(io::Error::other);
    let (bytes, latency) = (number(20_000)?, Duration::from_millis(number(0)?.into()));
    let port = u16::try_from(number(0)?).map_err(io::Error::other)?;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + bytes as usize, b'x');
    let answer: Rc<[u8]> = answer.into();
    wouldblock::run(|| {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        println!("{}", listener.local_addr()?.port());
        for stream in listener.incoming() {
            let (stream, answer) = (stream?, answer.clone());
            // A client that goes away ends its own connection, and no other.
            drop(green::spawn(move || serve(&stream, &answer, latency)));
        }
        Ok(())
    })
}

/// Answers one request after the other, whatever it asks for.
fn serve(mut stream: &TcpStream, answer: &[u8], latency: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream);
    let mut line = String::new();
    while requests.read_line(&mut line)? > 0 {
        // A request of a GET ends with an empty line.
        if line == "\r\n" {
            if !latency.is_zero() {
                green::sleep(latency);
            }
            stream.write_all(answer)?;
        }
        line.clear();
    }
    Ok(())
}
