//! What ureq's agent is made of: a resolver that waits, and connectors that one after the other refuse, dial, and add
//! TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ureq::config::Config;
use ureq::http::Uri;
#[cfg(feature = "rustls")]
use ureq::tls::TlsProvider;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
#[cfg(feature = "rustls")]
use ureq::unversioned::transport::RustlsConnector;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

use super::buffers::Lent;
use crate::kernel::door;
use crate::net::addr::{all_failed, resolve};
use crate::net::turn::can_suspend;
use crate::net::{self, TcpStream};
use crate::op;

/// What a record of TLS carries at most, and what it may add to that, in bytes.
const TLS_RECORD: usize = 1 << 14;
const TLS_OVERHEAD: usize = 5 + 256;

/// The capacity of ureq's `ResolvedSocketAddrs`.
const MOST_ADDRESSES: usize = 16;

/// Looks names up on another thread while the task waits.
#[derive(Debug)]
pub(super) struct Resolve;

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
/// directly, and show the site the address of the user; without TLS, it would greet an https proxy in the clear.
#[derive(Debug)]
pub(super) struct Refuse;

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
pub(super) struct Dial;

impl<In: Transport> Connector<In> for Dial {
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
        let buffers = Lent::new(room(input), room(output));
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
pub(super) struct Tcp {
    /// Shared with the agent, whose `shutdown` may close it from another thread.
    stream: Arc<TcpStream>,
    buffers: Lent,
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, limit: NextTimeout) -> Result<(), Error> {
        let limit = limit.for_write();
        self.stream.set_write_timeout(duration(limit)?)?;
        let output = self.buffers.take_output();
        let written = (&*self.stream).write_all(&output[..amount]);
        self.buffers.sent(output);
        written.map_err(|e| timed_out(e, limit.reason))
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, Error> {
        let limit = limit.for_read();
        let Tcp { stream, buffers } = self;
        stream.set_read_timeout(duration(limit)?)?;
        let read = stream.read_by(|mut stream| {
            let room = buffers.input_append_buf();
            let (read, len) = (stream.read(room), room.len());
            buffers.input_appended(*read.as_ref().unwrap_or(&0));
            buffers.give_unused();
            read.map(|n| (n, len))
        });
        Ok(read.map_err(|e| timed_out(e, limit.reason))? > 0)
    }

    /// ureq calls this with its pool locked: it may not wait.
    fn is_open(&mut self) -> bool {
        self.stream.is_idle()
    }
}

/// ureq's own TLS over what the chain has connected, and errors that name the host.
#[cfg(feature = "rustls")]
#[derive(Debug, Default)]
pub(super) struct Tls(RustlsConnector);

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

/// Last in the chain: gives ureq an error that it does not take for the end of a body, where a connection breaks.
#[derive(Debug)]
pub(super) struct Strict;

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
pub(super) struct Strictly<T>(T);

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

    /// What would be worse than an error: the request, with its cookies and passwords, in clear text.
    #[cfg(not(feature = "rustls"))]
    #[test]
    fn https_without_its_feature_is_refused_and_the_feature_is_named() {
        use std::io::{BufRead, BufReader, Write};
        crate::run(|| {
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let (address, listener) = (listener.local_addr().unwrap(), std::rc::Rc::new(listener));
            let (plain, secret) = (format!("http://{address}"), format!("https://{address}"));
            let refused = |proxy: Option<ureq::Proxy>, url: &str| {
                let config = crate::http::config_builder().proxy(proxy).build();
                let error = crate::http::agent_with(config).get(url).call().unwrap_err();
                assert!(error.to_string().contains("feature `rustls`"), "{error}");
            };
            refused(None, &secret);
            refused(Some(ureq::Proxy::new(&secret).unwrap()), &plain);
            let (accepts, onward) = (listener.clone(), secret.clone());
            let redirects = crate::green::spawn(move || {
                let (mut stream, _) = accepts.accept().unwrap();
                let lines = BufRead::lines(BufReader::new(&stream)).map(Result::unwrap);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nLocation: {onward}\r\nContent-Length: 0\r\n\r\n"
                )
                .unwrap();
            });
            refused(None, &plain);
            redirects.join().unwrap();
            let more = listener.try_accept();
            assert!(more.is_err(), "only the redirect has connected: {more:?}");
        });
    }
}
