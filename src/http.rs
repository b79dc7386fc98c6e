//! HTTP by ureq, unmodified, on this crate's sockets. (Feature `ureq`, on by default.)
//!
//! ```
//! use std::io::{Read, Write};
//! use wouldblock::{green, http, net::TcpListener};
//!
//! # fn main() -> Result<(), ureq::Error> { wouldblock::run(|| {
//! # let server = TcpListener::bind("127.0.0.1:0")?;
//! # let address = server.local_addr()?;
//! # green::spawn(move || {
//! #     let (mut stream, _) = server.accept().unwrap();
//! #     let _ = stream.read(&mut [0; 512]);
//! #     stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
//! # });
//! # let url = format!("http://{address}/");
//! let agent = http::agent();
//! let text = agent.get(&url).call()?.body_mut().read_to_string()?; // the task waits, not the thread
//! assert_eq!(text, "hello");
//! # Ok(()) }) }
//! ```
//!
//! ureq is a blocking client, and stays one: it calls [`std::io::Read`] and waits. What it waits on is
//! ours: a [`Connector`] that opens a [`TcpStream`], a [`Transport`] that reads and writes it, and a
//! [`Resolver`] that looks names up on another thread. Everything above these is ureq's: redirects,
//! keep-alive, time limits, bodies. Outside of a task, or on a thread without a scheduler, the same agent
//! blocks the thread.
//!
//! Not supported: SOCKS proxies. A request through one fails with an error; ureq would connect directly.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    ShutdownHandle, Transport,
};
use ureq::{Agent, Error, Timeout};

use crate::kernel::door;
use crate::kernel::scheduler::in_task;
use crate::net::{TcpStream, ToSocketAddrs};
use crate::time;

/// A ureq agent whose requests suspend the task that makes them.
///
/// It may be cloned, shared between tasks and threads, and keeps connections for further requests.
pub fn agent() -> Agent {
    agent_with(Config::default())
}

/// As [`agent`], configured by ureq's own `Agent::config_builder()`.
///
/// ```
/// let config = ureq::Agent::config_builder().user_agent("course/1.0").build();
/// let agent = wouldblock::http::agent_with(config);
/// ```
pub fn agent_with(config: Config) -> Agent {
    let connector = ().chain(RefuseSocks).chain(ConnectProxyConnector::default()).chain(Connect);
    Agent::with_parts(config, connector, Resolve)
}

/// The capacity of ureq's `ResolvedSocketAddrs`.
const MOST_ADDRESSES: usize = 16;

/// Looks names up on another thread while the task waits.
#[derive(Debug)]
struct Resolve;

impl Resolver for Resolve {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        limit: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let address = uri.scheme().zip(uri.authority());
        let address = address.and_then(|(s, a)| DefaultResolver::host_and_port(s, a));
        let address = address.ok_or_else(|| Error::BadUri(uri.to_string()))?;
        let lookup = address.to_socket_addrs();
        let found = match (in_task(), limit.not_zero()) {
            (true, None) => door::wait(lookup)?,
            (true, Some(after)) => door::wait(time::timeout(*after, lookup))
                .map_err(|_| Error::Timeout(limit.reason))??,
            (false, None) => futures_lite::future::block_on(lookup)?,
            (false, Some(_)) => return DefaultResolver::default().resolve(uri, config, limit),
        };
        let mut wanted = self.empty();
        for address in config.ip_family().keep_wanted(found.into_iter()).take(MOST_ADDRESSES) {
            wanted.push(address);
        }
        if wanted.is_empty() { Err(Error::HostNotFound) } else { Ok(wanted) }
    }
}

/// ureq without its SOCKS feature would connect directly, and tell the site who asks.
#[derive(Debug)]
struct RefuseSocks;

impl<In: Transport> Connector<In> for RefuseSocks {
    type Out = In;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<In>, Error> {
        use ureq::ProxyProtocol::{Http, Https};
        match details.config.proxy() {
            Some(proxy) if !matches!(proxy.protocol(), Http | Https) => {
                let text =
                    format!("the proxy {} speaks SOCKS, which is not supported", proxy.uri());
                Err(Error::Io(io::Error::new(io::ErrorKind::Unsupported, text)))
            }
            _ => Ok(chained),
        }
    }
}

/// Opens a TCP connection, unless a proxy's is there already.
#[derive(Debug)]
struct Connect;

impl<In: Transport> Connector<In> for Connect {
    type Out = Either<In, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(proxy) = chained {
            return Ok(Some(Either::A(proxy)));
        }
        let config = details.config;
        let stream = Arc::new(connect_any(&details.addrs, details.timeout)?);
        if config.no_delay() {
            stream.set_nodelay(true)?;
        }
        let handle = Arc::downgrade(&stream);
        (details.register_shutdown)(handle)?;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(Tcp { stream, buffers })))
    }
}

/// Connects to the first address that answers. While there is another to try, an address may take half of
/// the time that is left.
fn connect_any(addresses: &[SocketAddr], limit: NextTimeout) -> Result<TcpStream, Error> {
    let end = limit.not_zero().and_then(|after| time::now().checked_add(*after));
    let mut last = Error::HostNotFound;
    for (tried, address) in addresses.iter().enumerate() {
        let attempt = match end {
            None => TcpStream::connect(address),
            Some(end) => {
                let left = end.saturating_duration_since(time::now());
                if left.is_zero() {
                    return Err(Error::Timeout(limit.reason));
                }
                let is_last = tried + 1 == addresses.len();
                TcpStream::connect_timeout(address, if is_last { left } else { left / 2 })
            }
        };
        last = match attempt {
            Ok(stream) => return Ok(stream),
            Err(e) if e.kind() == io::ErrorKind::TimedOut && end.is_some() => {
                Error::Timeout(limit.reason)
            }
            Err(e) => Error::Io(e),
        };
    }
    Err(last)
}

/// A connection, as ureq sees it.
struct Tcp {
    /// Shared with the agent, whose `shutdown` may close it from another thread.
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, limit: NextTimeout) -> Result<(), Error> {
        let limit = limit.for_write();
        self.stream.set_write_timeout(duration(limit)?)?;
        let output = &self.buffers.output()[..amount];
        (&*self.stream).write_all(output).map_err(|e| timed_out(e, limit.reason))
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, Error> {
        let limit = limit.for_read();
        self.stream.set_read_timeout(duration(limit)?)?;
        let input = self.buffers.input_append_buf();
        let n = (&*self.stream).read(input).map_err(|e| timed_out(e, limit.reason))?;
        self.buffers.input_appended(n);
        Ok(n > 0)
    }

    /// ureq asks this with its pool locked: it may not wait.
    fn is_open(&mut self) -> bool {
        self.stream.is_idle()
    }
}

/// The time that is left, `None` being for ever.
fn duration(limit: NextTimeout) -> Result<Option<std::time::Duration>, Error> {
    if limit.after.is_zero() {
        return Err(Error::Timeout(limit.reason));
    }
    Ok(limit.not_zero().map(|after| *after))
}

fn timed_out(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout(reason),
        _ => Error::Io(error),
    }
}

impl ShutdownHandle for TcpStream {
    fn shutdown(&self) {
        // It fails when the connection is gone already.
        let _ = TcpStream::shutdown(self, Shutdown::Both);
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}
