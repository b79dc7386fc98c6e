//! Addresses, and looking up names without blocking the thread.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use super::turn::can_suspend;
use crate::deadline;
use crate::kernel::door;
use crate::kernel::wait;
use crate::offload::{Offload, Pool, begin};

/// More than the name servers of most networks answer at a time.
static NAMES: Pool = Pool::new(
    "wouldblock name",
    64,
    "Names are looked up by the system's resolver, which waits for a name server that does not answer: look at \
     /etc/resolv.conf, and keep the addresses of names that are needed often",
);

/// What can be made into socket addresses: std's trait of the same name, for the same types, except that
/// a name is looked up on another thread (by the system's `getaddrinfo`) while the task waits.
pub trait ToSocketAddrs {
    /// What goes through the addresses.
    type Iter: Iterator<Item = SocketAddr>;

    /// The addresses.
    ///
    /// ```
    /// use wouldblock::net::ToSocketAddrs;
    ///
    /// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
    /// let address = "localhost:80".to_socket_addrs()?.next().unwrap();
    /// assert!(address.ip().is_loopback());
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`looking_up`]; `TimedOut`, if a [`green::deadline`](crate::green::deadline) around this passes first.
    ///
    /// # Blocking
    ///
    /// A name suspends the task while it is looked up; outside of one, and [while a stack unwinds](super#blocking),
    /// it blocks the thread.
    ///
    /// # Cancellation
    ///
    /// The look-up's result is dropped.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;

    /// The operation of [`to_socket_addrs`](Self::to_socket_addrs), which [`looking_up`] gives. For a type that does
    /// not have its own, this calls `to_socket_addrs` at once.
    fn looking_up(&self) -> LookingUp {
        LookingUp(State::Known(Some(self.to_socket_addrs().map(Iterator::collect))))
    }
}

/// Looks up the addresses of, say, `"example.org:80"`.
///
/// ```
/// use wouldblock::{green, net};
///
/// wouldblock::run(|| {
///     let addresses = green::wait(net::looking_up("localhost:80")).unwrap();
///     assert!(addresses.iter().all(|a| a.ip().is_loopback() && a.port() == 80));
/// });
/// ```
///
/// # Errors
///
/// The text is no address, or the name has none. There is always at least one address otherwise.
///
/// There is no thread for the look-up, and the system starts none (a limit on threads or memory, a sandbox).
/// Its kind is [`Other`](io::ErrorKind::Other), and the text has the system's error. The name is not looked up
/// on the scheduler's thread instead: a name server that does not answer would stop all tasks, and their time
/// limits, for many seconds. A later look-up tries again.
///
/// # Blocking
///
/// None. The threads of look-ups, up to 64, are shared with nothing else.
///
/// # Cancellation
///
/// The look-up's result is dropped.
///
/// # Panics
///
/// Polled again after it was ready.
pub fn looking_up(address: impl ToSocketAddrs) -> LookingUp {
    address.looking_up()
}

/// The green way to look up: suspends the task; where there is none to suspend, blocks the thread.
#[track_caller]
pub(crate) fn resolve(address: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let mut lookup = address.looking_up();
    match lookup.known() {
        Some(result) => result,
        None if can_suspend() => door::wait(lookup),
        None => futures_lite::future::block_on(lookup),
    }
}

/// Calls `attempt` with one address after the other until it succeeds. `what` is the attempt in the infinitive.
///
/// # Errors
///
/// [`all_failed`], if it never does.
pub(super) fn first_of<T>(
    what: &str,
    addresses: &[SocketAddr],
    mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut failed = Vec::new();
    for &address in addresses {
        match attempt(address) {
            Ok(value) => return Ok(value),
            Err(e) => failed.push(cannot(what, address, &e)),
        }
    }
    Err(all_failed(what, failed))
}

/// An error of the same kind, which names what was attempted with which address.
pub(super) fn cannot(what: &str, address: impl fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {address}: {error}"))
}

/// The errors of all addresses in one, of the kind of the last.
pub(crate) fn all_failed(what: &str, mut failed: Vec<io::Error>) -> io::Error {
    let text = failed.iter().map(io::Error::to_string).collect::<Vec<_>>().join("; ");
    match (failed.len(), failed.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => io::Error::new(last.kind(), text),
        (_, None) => io::Error::new(io::ErrorKind::InvalidInput, format!("no address to {what}")),
    }
}

/// See [`looking_up`].
#[must_use = "an operation does nothing until it is waited for"]
pub struct LookingUp(State);

enum State {
    Known(Option<io::Result<Vec<SocketAddr>>>),
    Asking(Offload<io::Result<Vec<SocketAddr>>>),
}

impl LookingUp {
    fn of(addresses: Vec<SocketAddr>) -> LookingUp {
        LookingUp(State::Known(Some(Ok(addresses))))
    }

    /// The result, if no look-up is needed for it. It is taken.
    pub(super) fn known(&mut self) -> Option<io::Result<Vec<SocketAddr>>> {
        match &mut self.0 {
            State::Known(result) => result.take(),
            State::Asking(_) => None,
        }
    }

    fn failed(what: String) -> LookingUp {
        LookingUp(State::Known(Some(Err(io::Error::new(io::ErrorKind::InvalidInput, what)))))
    }

    fn name(host: &str, port: u16) -> LookingUp {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return LookingUp::of(vec![SocketAddr::new(ip, port)]);
        }
        let name = host.to_owned();
        let look_up = move || {
            let found = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), port));
            let found: Vec<_> = found.map_err(|e| unknown(&name, &e))?.collect();
            match found.is_empty() {
                true => {
                    let error = io::Error::new(io::ErrorKind::NotFound, "it has no address");
                    Err(unknown(&name, &error))
                }
                false => Ok(found),
            }
        };
        LookingUp(match begin(&NAMES, look_up) {
            Ok(operation) => State::Asking(operation),
            Err((error, _)) => State::Known(Some(Err(unknown(host, &error)))),
        })
    }
}

fn unknown(host: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot look up the host {host:?}: {error}"))
}

impl Future for LookingUp {
    type Output = io::Result<Vec<SocketAddr>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Known(result) => wait::poll_within_budget(cx, |_| {
                Poll::Ready(result.take().expect("polled until it is ready"))
            }),
            State::Asking(offload) => match Pin::new(offload).poll(cx) {
                Poll::Ready(found) => Poll::Ready(found),
                Poll::Pending => {
                    deadline::pending(cx)?;
                    Poll::Pending
                }
            },
        }
    }
}

impl fmt::Debug for LookingUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookingUp")
    }
}

/// The green call, by way of the operation.
macro_rules! std_shape {
    () => {
        type Iter = vec::IntoIter<SocketAddr>;

        fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
            Ok(resolve(self)?.into_iter())
        }
    };
}

macro_rules! already_an_address {
    ($($type:ty),*) => {$(
        impl ToSocketAddrs for $type {
            std_shape!();

            fn looking_up(&self) -> LookingUp {
                LookingUp::of(vec![SocketAddr::from(*self)])
            }
        }
    )*};
}

already_an_address!(SocketAddr, SocketAddrV4, SocketAddrV6);
already_an_address!((IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for [SocketAddr] {
    std_shape!();

    fn looking_up(&self) -> LookingUp {
        LookingUp::of(self.to_vec())
    }
}

impl ToSocketAddrs for (&str, u16) {
    std_shape!();

    fn looking_up(&self) -> LookingUp {
        LookingUp::name(self.0, self.1)
    }
}

impl ToSocketAddrs for (String, u16) {
    std_shape!();

    fn looking_up(&self) -> LookingUp {
        LookingUp::name(&self.0, self.1)
    }
}

impl ToSocketAddrs for str {
    std_shape!();

    fn looking_up(&self) -> LookingUp {
        if let Ok(address) = self.parse() {
            return LookingUp::of(vec![address]);
        }
        match self.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port))) => LookingUp::name(host, port),
            Some((_, Err(_))) => LookingUp::failed(format!("invalid port in the address {self:?}")),
            None => LookingUp::failed(format!("no port in the address {self:?}: write host:port")),
        }
    }
}

impl ToSocketAddrs for String {
    std_shape!();

    fn looking_up(&self) -> LookingUp {
        (**self).looking_up()
    }
}

impl<A: ToSocketAddrs + ?Sized> ToSocketAddrs for &A {
    std_shape!();

    fn looking_up(&self) -> LookingUp {
        (**self).looking_up()
    }
}
