//! Connecting to one of several addresses, with RFC 8305's "happy eyeballs": an address that is silent does not hold
//! up the next.
//!
//! ```text
//!   0 ms          250 ms            500 ms
//!   [::1]:80 ─────────┬─ still silent ──────────────▶ closed, since another has connected
//!                     └ 127.0.0.1:80 ──▶ connected
//! ```

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::vec;

use super::addr::{LookingUp, all_failed, cannot};
use super::socket::Socket;
use crate::kernel::reactor::Direction;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::wait;
use crate::time::{Sleeping, sleeping};

/// How long an attempt goes on alone: RFC 8305's "Connection Attempt Delay".
const DELAY: Duration = Duration::from_millis(250);

/// What an attempt does, for errors.
pub(super) const WHAT: &str = "connect to";

/// The operation of connecting to the first of several addresses that accepts.
#[derive(Debug)]
pub(super) struct Connect {
    /// Until it is done.
    lookup: Option<LookingUp>,
    untried: vec::IntoIter<SocketAddr>,
    attempts: Vec<Attempt>,
    failed: Vec<io::Error>,
    /// Ends when the next address is to be tried beside those that are under way.
    delay: Option<Sleeping>,
}

impl Connect {
    pub(super) fn new(lookup: LookingUp) -> Connect {
        Connect {
            lookup: Some(lookup),
            untried: Vec::new().into_iter(),
            attempts: Vec::new(),
            failed: Vec::new(),
            delay: None,
        }
    }

    /// Polls the attempts from the one at `at`. Ready: one has connected. Those that have failed are taken out.
    fn poll_attempts(&mut self, mut at: usize, cx: &Context<'_>) -> Poll<Socket<net::TcpStream>> {
        while let Some(attempt) = self.attempts.get(at) {
            match attempt.socket.poll(cx, Direction::Write, is_connected) {
                Poll::Ready(Ok(())) => return Poll::Ready(self.attempts.swap_remove(at).socket),
                Poll::Ready(Err(e)) => {
                    self.failed.push(cannot(WHAT, self.attempts.remove(at).address, &e));
                }
                Poll::Pending => at += 1,
            }
        }
        Poll::Pending
    }

    /// Whether the attempts under way have gone on alone for long enough. (By hand, a generator waits for one thing
    /// at a time.)
    fn delay_is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let has_scheduler = Scheduler::with(|scheduler| scheduler.is_some());
        let delay = self.delay.as_mut().filter(|_| has_scheduler);
        delay.is_some_and(|delay| Pin::new(delay).poll(cx).is_ready())
    }
}

impl Future for Connect {
    type Output = io::Result<Socket<net::TcpStream>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        wait::poll_within_budget(cx, |cx| self.try_in_turn(cx))
    }
}

impl Connect {
    fn try_in_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Socket<net::TcpStream>>> {
        let this = self;
        if let Some(lookup) = &mut this.lookup {
            let found = ready!(Pin::new(lookup).poll(cx))?;
            this.lookup = None;
            this.untried = families_take_turns(found).into_iter();
        }
        let mut unpolled = 0;
        loop {
            let failed = this.failed.len();
            if let Poll::Ready(connected) = this.poll_attempts(unpolled, cx) {
                this.attempts.clear();
                return Poll::Ready(Ok(connected));
            }
            let next_is_due =
                this.attempts.is_empty() || this.failed.len() > failed || this.delay_is_over(cx);
            if !next_is_due {
                return Poll::Pending;
            }
            unpolled = this.attempts.len();
            match this.untried.next() {
                Some(address) => match start(address) {
                    Ok(socket) => {
                        this.attempts.push(Attempt { address, socket });
                        this.delay = (this.untried.len() > 0).then(|| sleeping(DELAY));
                    }
                    Err(e) => this.failed.push(cannot(WHAT, address, &e)),
                },
                None if this.attempts.is_empty() => {
                    return Poll::Ready(Err(all_failed(WHAT, std::mem::take(&mut this.failed))));
                }
                None => return Poll::Pending,
            }
        }
    }
}

/// A connection that is being made.
#[derive(Debug)]
struct Attempt {
    address: SocketAddr,
    socket: Socket<net::TcpStream>,
}

/// Begins to connect: the socket is non-blocking from its beginning, and the attempt goes on after this.
fn start(address: SocketAddr) -> io::Result<Socket<net::TcpStream>> {
    mio::net::TcpStream::connect(address).map(|stream| Socket::new(stream.into()))
}

/// # Errors
///
/// Why the connection has failed; `WouldBlock` if it is still being made.
fn is_connected(socket: &net::TcpStream) -> io::Result<()> {
    // In this order, so that a connection costs one system call here: a socket that has failed has no peer, either.
    match socket.peer_addr() {
        Err(e) if e.kind() == io::ErrorKind::NotConnected => {
            Err(socket.take_error()?.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
        }
        result => result.map(drop),
    }
}

/// The addresses in the order of RFC 8305, section 4: IPv4 and IPv6 take turns, from the family of the first on.
fn families_take_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let of_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (ones, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == of_first);
    let (mut ones, mut others) = (ones.into_iter(), others.into_iter());
    let mut ordered = Vec::new();
    while ones.len() + others.len() > 0 {
        ordered.extend(ones.next().into_iter().chain(others.next()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns() {
        let order = |addresses: &str| {
            let parse = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 80);
            let ordered = families_take_turns(addresses.split_whitespace().map(parse).collect());
            ordered.iter().map(|a| a.ip().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(""), "");
        assert_eq!(order("1.1.1.1 2.2.2.2"), "1.1.1.1 2.2.2.2");
        assert_eq!(order("::1 ::2 ::3 1.1.1.1"), "::1 1.1.1.1 ::2 ::3");
        assert_eq!(order("1.1.1.1 2.2.2.2 ::1 ::2 ::3"), "1.1.1.1 ::1 2.2.2.2 ::2 ::3");
    }
}
