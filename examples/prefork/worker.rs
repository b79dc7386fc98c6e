//! A worker: serves the listener that it has inherited, until its line to the supervisor ends.

use std::io::{self, Read, Write};
use std::net;
use std::os::fd::{AsFd, FromRawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use httparse::{EMPTY_HEADER, Request, Status};
use wouldblock::net::unix::UnixStream;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::op::{Either, select};
use wouldblock::sync::Event;
use wouldblock::{green, time};

/// How long a kept connection may be idle once the worker is to stop.
const IDLE: Duration = Duration::from_secs(1);

/// The longest head of a request.
const LONGEST_HEAD: usize = 8 << 10;

/// Serves until it is to stop, and then until the last connection has ended, or for so long.
pub fn work(limit: Duration) -> io::Result<()> {
    // SAFETY: it is open, since the supervisor starts workers with it, and nothing else in a worker uses standard input.
    let listener = unsafe { net::TcpListener::from_raw_fd(0) };
    let line = StdUnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    wouldblock::run(|| {
        let listener = TcpListener::from_std(listener)?;
        let mut line = UnixStream::from_std(line)?;
        line.write_all(b"r")?;
        let stop = &Event::new();
        green::scope(|scope| {
            let watch = scope.spawn(|| {
                // The supervisor writes nothing: whatever this returns, it is time to stop.
                let _ = line.read(&mut [0]);
                stop.set();
                green::sleep(limit);
                eprintln!("prefork[{}]: not done {limit:?} after the stop", std::process::id());
                std::process::exit(1);
            });
            let served = green::scope(move |connections| {
                let listener = listener; // Closed when the loop ends, before the last connections do.
                loop {
                    // A connection that is not taken here stays in the backlog, for the other workers.
                    match green::wait(select(listener.accepting(), stop.waiting())) {
                        Either::First(Ok((stream, _))) => drop(connections.spawn(move || {
                            // A client may go away whenever it likes.
                            let _ = converse(&stream, stop);
                        })),
                        Either::First(Err(error)) => return Err(error),
                        Either::Second(()) => return Ok(()),
                    }
                }
            }); // Each connection has ended.
            watch.cancel();
            served
        })
    })
}

/// Answers the requests of one connection, one after the other.
fn converse(stream: &TcpStream, stop: &Event) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        let too_long_idle = async {
            stop.waiting().await;
            time::sleeping(IDLE).await;
        };
        if head.is_empty()
            && let Either::Second(()) = green::wait(select(stream.readable(), too_long_idle))
        {
            return Ok(());
        }
        let Some(keep) = read_head(stream, &mut head)? else { return Ok(()) };
        green::sleep(Duration::from_millis(2)); // Stands for what a service waits for.
        let keep = keep && !stop.is_set();
        let body = format!("{}\n", std::process::id());
        let connection = if keep { "keep-alive" } else { "close" };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nconnection: {connection}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        (&*stream).write_all(answer.as_bytes())?;
        if !keep {
            return Ok(());
        }
    }
}

/// Takes the head of a request, to its end, off `read`, and reads more for it. Returns whether the client keeps the
/// connection; `None` when the client has closed it.
fn read_head(mut stream: &TcpStream, read: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    loop {
        let mut headers = [EMPTY_HEADER; 32];
        let mut request = Request::new(&mut headers);
        let parsed = request.parse(read).map_err(|e| invalid(e.to_string()))?;
        if let Status::Complete(length) = parsed {
            let closes = request.headers.iter().any(|header| {
                header.name.eq_ignore_ascii_case("connection")
                    && header.value.eq_ignore_ascii_case(b"close")
            });
            read.drain(..length);
            return Ok(Some(!closes));
        }
        if read.len() > LONGEST_HEAD {
            return Err(invalid("the head of a request is too long".into()));
        }
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            length => read.extend_from_slice(&buffer[..length]),
        }
    }
}
