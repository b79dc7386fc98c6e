//! 08 would_block: readiness.

use std::io;

use kit::{Answer, Id, Op, Outside};
use wouldblock::Wait;
use wouldblock::generator::Yielder;
use wouldblock::net::{TcpListener, TcpStream};

/// The world with sockets: time is the machine's.
pub struct Sockets {}

impl Sockets {
    /// Its time begins now, with 0.
    pub fn new() -> Sockets {
        todo!("Sockets::new")
    }
}

impl Outside for Sockets {
    fn now(&self) -> u64 {
        todo!("Sockets::now: milliseconds since it was made")
    }

    fn sleep(&mut self, until: Option<u64>, waits: &[(Id, Wait)]) -> io::Result<Vec<Id>> {
        todo!("Sockets::sleep: until {until:?}, or one of {} sockets is ready", waits.len())
    }
}

/// Accepts so many clients, and has a job of its own send each of them back what it sends.
pub fn echo_server(
    y: &Yielder<Op, Answer>,
    listener: TcpListener,
    clients: usize,
) -> io::Result<()> {
    let _ = y;
    todo!("echo_server: accept {clients} clients of {listener:?}, and spawn a job for each")
}

/// Sends back what comes, until the client sends no more.
pub fn echo(y: &Yielder<Op, Answer>, stream: TcpStream) -> io::Result<()> {
    let _ = y;
    todo!("echo: read from {stream:?}, and write it back")
}
