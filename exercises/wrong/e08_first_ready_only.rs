//! says: ALL jobs at these places

use std::io::{self, ErrorKind::WouldBlock};
use std::time::{Duration, Instant};

use kit::{Answer, Id, Op, Outside, interest, job, poll};
use wouldblock::Wait;
use wouldblock::generator::Yielder;
use wouldblock::net::{TcpListener, TcpStream};

/// The world with sockets: time is the machine's.
pub struct Sockets {
    begun: Instant,
}

impl Sockets {
    /// Its time begins now, with 0.
    pub fn new() -> Sockets {
        Sockets { begun: Instant::now() }
    }
}

impl Outside for Sockets {
    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn sleep(&mut self, until: Option<u64>, waits: &[(Id, Wait)]) -> io::Result<Vec<Id>> {
        let sockets = waits.iter().map(|(_, wait)| interest(wait).expect("it waits for a socket"));
        let limit = until.map(|until| Duration::from_millis(until.saturating_sub(self.now())));
        let ready = poll(&sockets.collect::<Vec<_>>(), limit)?;
        Ok(ready.into_iter().take(1).map(|n| waits[n].0).collect())
    }
}

/// Accepts so many clients, and has a job of its own send each of them back what it sends.
pub fn echo_server(
    y: &Yielder<Op, Answer>,
    listener: TcpListener,
    clients: usize,
) -> io::Result<()> {
    for _ in 0..clients {
        let (stream, _) = loop {
            match listener.try_accept() {
                Err(e) if e.kind() == WouldBlock => y.wait(listener.readable())?,
                accepted => break accepted?,
            }
        };
        let client = job("echo", 3000, |y| echo(y, stream).expect("the client stays"));
        y.yield_(Op::Spawn("echo", client));
    }
    Ok(())
}

/// Sends back what comes, until the client sends no more.
pub fn echo(y: &Yielder<Op, Answer>, stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        let n = match stream.try_read(&mut buf) {
            Err(e) if e.kind() == WouldBlock => {
                y.wait(stream.readable())?;
                continue;
            }
            Ok(0) => return Ok(()),
            read => read?,
        };
        let mut rest = &buf[..n];
        while !rest.is_empty() {
            match stream.try_write(rest) {
                Err(e) if e.kind() == WouldBlock => y.wait(stream.writable())?,
                written => rest = &rest[written?..],
            }
        }
    }
}
