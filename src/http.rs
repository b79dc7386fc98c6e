//! HTTP and https by ureq, unmodified, on this crate's sockets. (Feature `ureq`, on by default.)
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
//! [`Resolver`] that looks names up on another thread. Everything above these is ureq's: TLS, redirects,
//! keep-alive, compression, proxies, time limits, bodies.
//!
//! # Three eras, and none
//!
//! The line `agent.get(&url).call()` is the same in all three: in a generator that was spawned, in a greenlet and in
//! an `async fn`, it suspends the task that it is called in, and no other. Outside of a task, or on a thread without
//! a scheduler, the same agent blocks the thread. One agent, with the connections it keeps, serves all of these at
//! once.
//!
//! # https
//!
//! With the feature `rustls` (on by default), by rustls with ring, and Mozilla's root certificates, which are
//! compiled in. Your own roots replace them:
//!
//! ```
//! # #[cfg(feature = "rustls")] mod with_tls {
//! use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
//! use wouldblock::http;
//!
//! /// An agent that trusts the authorities in the text of a PEM file, and no others.
//! fn trusting(pem: &str) -> Result<ureq::Agent, ureq::Error> {
//!     let mut roots = Vec::new();
//!     for item in parse_pem(pem.as_bytes()) {
//!         if let PemItem::Certificate(root) = item? {
//!             roots.push(root);
//!         }
//!     }
//!     let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build();
//!     Ok(http::agent_with(http::config_builder().tls_config(tls).build()))
//! }
//! # }
//! ```
//!
//! ureq's `TlsConfig` holds the rest too: a certificate of the client's, another provider of cryptography than
//! ring. A certificate that is not accepted is an `Error::Io` that names the host and the reason, such as
//! `no TLS with 127.0.0.1: invalid peer certificate: UnknownIssuer`: its issuer is not among the roots.
//!
//! With the feature `gzip` (on by default), answers may come compressed, and are unpacked as they are read.
//!
//! # Names with several addresses
//!
//! An address that is silent does not hold up the next: see [`TcpStream::connect`]. Outside of a task, where the
//! thread tries one after the other, each may take half of what is left of the time limit.
//!
//! # Many connections
//!
//! ureq's defaults are made for a few connections: it keeps two buffers of 128 KiB for each, and at most
//! three idle ones for a host. [`agent`] and [`config_builder`] have 32 KiB to read into, 8 KiB to write from
//! (TLS adds 25 KiB for its records), and keep up to 1 000 idle. Measured on loopback, with requests of 100 KiB
//! over connections that are kept alive, as the peak of the process's memory at 1 000 requests at once, and the
//! CPU time of one of 100, and of one of 1 000, requests at once:
//!
//! | buffers, in KiB | http | | | https | | |
//! |---|---|---|---|---|---|---|
//! | 128 + 128 (ureq's) | 198 MiB | 30 µs | 44 µs | 379 MiB | 60 µs | 77 µs |
//! | 64 + 8 | 92 MiB | 26 µs | 45 µs | 195 MiB | 56 µs | 75 µs |
//! | 32 + 8 | 81 MiB | 33 µs | 56 µs | 155 MiB | 58 µs | 77 µs |
//! | 16 + 8 | 65 MiB | 36 µs | 53 µs | 144 MiB | 58 µs | 72 µs |
//!
//! For files of 5 KiB, the sizes make no difference but to memory.
//!
//! A response's head must fit into the buffer it is read into, and a line of a request's into the one it is
//! written from. A larger head is an `Error::LargeResponseHeader`; who expects one sets `input_buffer_size`
//! and, below it, `max_response_header_size`.
//!
//! A default stack is enough: an https request with gzip touches 56 KiB of its 256 KiB in a release build, and
//! 124 KiB of its 1 MiB in a debug build. (Without gzip, 36 KiB in a release build; http, 20.)
//!
//! # Bodies that break off
//!
//! A body that announces no length ends with its connection. Should that be reset, or TLS end without its last
//! word, reading fails with an error that has the connection's own inside. (ureq on sockets of its own gives
//! what has come for the whole.)
//!
//! # Cancellation
//!
//! A request that is cancelled, or whose time is up, closes its connection. The server may have got the request,
//! and have acted on it. The agent and its other connections are as before.
//!
//! # What is not supported
//!
//! * SOCKS proxies. A request through one fails with an error; ureq would connect directly. (http and https
//!   proxies are: ureq asks them to `CONNECT`, be it for http or for https.)
//! * Another TLS than rustls. `RootCerts::PlatformVerifier` needs ureq's feature `platform-verifier`, and reads
//!   files with the thread blocked.
//! * Time limits that add up (`timeout_global` and its like) go by the machine's clock, not by a
//!   [virtual one](crate::Builder::virtual_clock); each single wait goes by the run's.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ureq::config::{Config, ConfigBuilder};
use ureq::http::Uri;
#[cfg(feature = "rustls")]
use ureq::tls::TlsProvider;
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
#[cfg(feature = "rustls")]
use ureq::unversioned::transport::RustlsConnector;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    ShutdownHandle, Transport,
};
use ureq::{Agent, Error, Timeout};

use crate::kernel::door;
use crate::net::addr::{all_failed, resolve};
use crate::net::turn::can_suspend;
use crate::net::{self, TcpStream};
use crate::op;

/// A ureq agent whose requests suspend the task that makes them: `agent_with(config_builder().build())`.
///
/// It may be cloned, shared between tasks and threads, and keeps connections for further requests.
pub fn agent() -> Agent {
    agent_with(config_builder().build())
}

/// As [`agent`], configured as you like: `config` is taken as it is. Begin with [`config_builder`]: with
/// ureq's own, a connection costs 256 KiB.
///
/// ```
/// use wouldblock::http;
///
/// let agent = http::agent_with(http::config_builder().user_agent("course/1.0").build());
/// ```
pub fn agent_with(config: Config) -> Agent {
    let connector = ().chain(Refuse).chain(ConnectProxyConnector::default()).chain(Connect);
    #[cfg(feature = "rustls")]
    let connector = connector.chain(Tls::default());
    Agent::with_parts(config, connector.chain(Strict), Resolve)
}

/// ureq's `Agent::config_builder()`, set up for [many connections](self#many-connections): smaller buffers, a
/// limit on a response's head that fits them, and more connections that are kept for further requests.
///
/// As with ureq's, the proxy is that of the environment (`ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
pub fn config_builder() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .input_buffer_size(INPUT_BUFFER)
        .output_buffer_size(OUTPUT_BUFFER)
        // A head that fills the buffer is refused as too large; ureq would take it for a lost connection.
        .max_response_header_size(INPUT_BUFFER - 1)
        .max_idle_connections(MOST_IDLE)
        .max_idle_connections_per_host(MOST_IDLE)
}

// In bytes; see the table above for how they were chosen.
const INPUT_BUFFER: usize = 32 << 10;
const OUTPUT_BUFFER: usize = 8 << 10;

/// Tasks that do something else between two requests each leave a connection idle.
const MOST_IDLE: usize = 1000;

/// What a record of TLS carries at most, and what it may add to that, in bytes.
const TLS_RECORD: usize = 1 << 14;
const TLS_OVERHEAD: usize = 5 + 256;

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
        let found = match limit.not_zero() {
            None => resolve(address)?,
            Some(after) if can_suspend() => {
                door::wait(op::timeout(*after, net::looking_up(address)))
                    .map_err(|_| Error::Timeout(limit.reason))??
            }
            Some(_) => return DefaultResolver::default().resolve(uri, config, limit),
        };
        let mut wanted = self.empty();
        for address in config.ip_family().keep_wanted(found.into_iter()).take(MOST_ADDRESSES) {
            wanted.push(address);
        }
        if wanted.is_empty() { Err(Error::HostNotFound) } else { Ok(wanted) }
    }
}

/// Refuses what the chain cannot do, before any connection is made. Without its SOCKS feature, ureq would connect
/// directly, and tell the site who asks; without TLS, it would greet an https proxy in the clear.
#[derive(Debug)]
struct Refuse;

impl<In: Transport> Connector<In> for Refuse {
    type Out = In;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<In>, Error> {
        use ureq::ProxyProtocol::{Http, Https};
        let proxy = details.config.proxy().filter(|proxy| !proxy.is_no_proxy(details.uri));
        match proxy {
            Some(proxy) if !matches!(proxy.protocol(), Http | Https) => Err(unsupported(format!(
                "the proxy {}:{} speaks SOCKS, which is not supported: use an http proxy",
                proxy.host(),
                proxy.port()
            ))),
            _ if details.needs_tls() => can_speak_tls(details.config).map(|()| chained),
            _ => Ok(chained),
        }
    }
}

#[cfg(feature = "rustls")]
fn can_speak_tls(config: &Config) -> Result<(), Error> {
    match config.tls_config().provider() {
        TlsProvider::Rustls => Ok(()),
        other => Err(unsupported(format!(
            "the TLS provider {other:?} is not supported: use TlsProvider::Rustls"
        ))),
    }
}

#[cfg(not(feature = "rustls"))]
fn can_speak_tls(_: &Config) -> Result<(), Error> {
    let text = "https needs wouldblock's feature `rustls`, without which this program was built";
    Err(unsupported(text.into()))
}

fn unsupported(what: String) -> Error {
    Error::Io(io::Error::new(io::ErrorKind::Unsupported, what))
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
        // Beneath TLS, they hold one of its records: what the user has sized comes above.
        let room = |size: usize| match details.needs_tls() {
            true => size.min(TLS_RECORD) + TLS_OVERHEAD,
            false => size,
        };
        let (input, output) = (config.input_buffer_size(), config.output_buffer_size());
        let buffers = LazyBuffers::new(room(input), room(output));
        Ok(Some(Either::B(Tcp { stream, buffers })))
    }
}

/// Connects to the first address that answers, as [`TcpStream::connect`] does. Where that blocks the thread, an
/// address may take half of the time that is left while there is another to try.
fn connect_any(addresses: &[SocketAddr], limit: NextTimeout) -> Result<TcpStream, Error> {
    let Some(limit_after) = limit.not_zero() else { return Ok(TcpStream::connect(addresses)?) };
    if can_suspend() {
        let connected = door::wait(op::timeout(*limit_after, TcpStream::connecting(addresses)));
        return Ok(connected.map_err(|_| Error::Timeout(limit.reason))??);
    }
    let start = Instant::now();
    let mut addresses = addresses.iter().peekable();
    let mut failed = Vec::new();
    while let Some(address) = addresses.next() {
        let left = limit_after.saturating_sub(start.elapsed());
        let share = if addresses.peek().is_some() { left / 2 } else { left };
        if share.is_zero() {
            return Err(Error::Timeout(limit.reason));
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(e) => failed.push(e),
        }
    }
    Err(timed_out(all_failed("connect to", failed), limit.reason))
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

/// ureq's own TLS over what the chain has connected, and errors that say with whom.
#[cfg(feature = "rustls")]
#[derive(Debug, Default)]
struct Tls(RustlsConnector);

#[cfg(feature = "rustls")]
impl<In: Transport> Connector<In> for Tls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        self.0.connect(details, chained).map_err(|error| match error {
            Error::Io(e) => {
                let host = details.uri.host().unwrap_or_default();
                Error::Io(io::Error::new(e.kind(), format!("no TLS with {host}: {e}")))
            }
            other => other,
        })
    }
}

/// Last in the chain: tells ureq of a connection that breaks in words that it does not take for an end.
#[derive(Debug)]
struct Strict;

impl<In: Transport> Connector<In> for Strict {
    type Out = Strictly<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(Strictly))
    }
}

#[derive(Debug)]
struct Strictly<T>(T);

impl<T: Transport> Transport for Strictly<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, limit: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, limit)
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, Error> {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
        self.0.await_input(limit).map_err(|error| match error {
            Error::Io(e)
                if matches!(e.kind(), ConnectionAborted | ConnectionReset | UnexpectedEof) =>
            {
                Error::Io(io::Error::other(e))
            }
            other => other,
        })
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;
    use std::time::Duration;
    use ureq::unversioned::transport::time::Duration as After;

    const MS: Duration = Duration::from_millis(1);

    /// A listener whose backlog is full, and what fills it.
    fn silent() -> (SocketAddr, Vec<socket2::Socket>) {
        let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut sockets = vec![new().unwrap()];
        sockets[0].bind(&any_port.into()).unwrap();
        sockets[0].listen(0).unwrap();
        let address = sockets[0].local_addr().unwrap();
        for _ in 0..4 {
            let filler = new().unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address);
            sockets.push(filler);
        }
        (address.as_socket().unwrap(), sockets)
    }

    fn within(after: After) -> NextTimeout {
        NextTimeout { after, reason: Timeout::Connect, per_read: None, per_write: None }
    }

    #[test]
    fn a_silent_address_holds_up_no_request() {
        let (silent, _sockets) = silent();
        crate::Builder::new().virtual_clock().run(|| {
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let listening = listener.local_addr().unwrap();
            for after in [After::NotHappening, After::Exact(1000 * MS)] {
                let start = time::now();
                let stream = connect_any(&[silent, listening], within(after)).unwrap();
                assert_eq!(stream.peer_addr().unwrap(), listening);
                assert_eq!(time::now() - start, 250 * MS);
            }
            let none = connect_any(&[silent, silent], within(After::Exact(1000 * MS)));
            assert!(matches!(none, Err(Error::Timeout(Timeout::Connect))), "{none:?}");
        });
    }

    #[test]
    fn outside_of_any_task_a_silent_address_has_its_share_of_the_limit() {
        let (silent, _sockets) = silent();
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = listener.local_addr().unwrap();
        let limit = || within(After::Exact(50 * MS));
        let stream = connect_any(&[silent, listening], limit()).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listening);
        let none = connect_any(&[silent, silent], limit());
        assert!(matches!(none, Err(Error::Timeout(Timeout::Connect))), "{none:?}");
    }
}
