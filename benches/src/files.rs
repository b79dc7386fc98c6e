//! The server of `download`: a bare epoll loop that answers every request with the same file.
//!
//! HTTP/1.1 with keep-alive, no encoding, no date. Requests are not looked at: each blank line ends one. A
//! latency is the same for all answers, so that those under way stand in one queue, the earliest first.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
/// All the clients of a bench may connect at once.
const BACKLOG: i32 = 4096;
const END: &[u8] = b"\r\n\r\n";

/// Serves a file of `bytes` for ever, each answer beginning `latency` after its request.
pub(crate) fn serve(bytes: usize, latency: Duration) -> io::Result<()> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + bytes, b'x');
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    // SAFETY: the descriptor is that of a listening socket, whose backlog is set anew.
    if unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) } != 0 {
        return Err(io::Error::last_os_error());
    }
    println!("{}", listener.local_addr()?.port());

    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections = Vec::new();
    let mut due = VecDeque::<(Instant, usize)>::new();
    loop {
        let next = due.front().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, next) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let Token(index) = event.token();
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let token = Token(connections.len());
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, token, both)?;
                    connections.push(Some(Connection::new(stream)?));
                }
            } else if let Some(connection) = &mut connections[index] {
                match connection.requests() {
                    Ok(n) if latency.is_zero() => connection.owed += n,
                    Ok(n) => {
                        let at = Instant::now() + latency;
                        due.extend((0..n).map(|_| (at, index)));
                    }
                    Err(_) => connection.is_gone = true,
                }
                pay(&mut connections[index], &answer);
            }
        }
        while due.front().is_some_and(|(at, _)| *at <= Instant::now()) {
            let Some((_, index)) = due.pop_front() else { break };
            if let Some(connection) = &mut connections[index] {
                connection.owed += 1;
            }
            pay(&mut connections[index], &answer);
        }
    }
}

/// Sends what is owed, as far as there is room; a connection that has gone is given up.
fn pay(connection: &mut Option<Connection>, answer: &[u8]) {
    let Some(open) = connection else { return };
    if open.is_gone || open.send(answer).is_err() {
        *connection = None;
    }
}

struct Connection {
    stream: TcpStream,
    is_gone: bool,
    /// How much of [`END`] has been seen.
    matched: usize,
    /// Answers to send now.
    owed: usize,
    /// How much of the first of them has been sent.
    sent: usize,
}

impl Connection {
    fn new(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        Ok(Connection { stream, is_gone: false, matched: 0, owed: 0, sent: 0 })
    }

    /// How many requests have come in. An error is also the end of the connection.
    fn requests(&mut self) -> io::Result<usize> {
        let mut requests = 0;
        let mut buffer = [0; 4096];
        loop {
            let n = match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(requests),
                read => read?,
            };
            for &byte in &buffer[..n] {
                self.matched = match byte {
                    _ if byte == END[self.matched] => self.matched + 1,
                    b'\r' => 1,
                    _ => 0,
                };
                if self.matched == END.len() {
                    (self.matched, requests) = (0, requests + 1);
                }
            }
            if n < buffer.len() {
                return Ok(requests);
            }
        }
    }

    fn send(&mut self, answer: &[u8]) -> io::Result<()> {
        while self.owed > 0 {
            match self.stream.write(&answer[self.sent..]) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                written => self.sent += written?,
            }
            if self.sent == answer.len() {
                (self.sent, self.owed) = (0, self.owed - 1);
            }
        }
        Ok(())
    }
}
