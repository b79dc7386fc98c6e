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
//! ureq is a blocking client, and stays one: it calls [`std::io::Read`] and waits. What it waits on is this crate's: a
//! [`Connector`] that opens a [`TcpStream`](crate::net::TcpStream), a
//! [`Transport`](ureq::unversioned::transport::Transport) that reads and writes it, and a
//! [`Resolver`](ureq::unversioned::resolver::Resolver) that looks names up on another thread. Everything above these is
//! ureq's: TLS, redirects, keep-alive, compression, proxies, time limits, bodies.
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
//! An address that is silent does not hold up the next: see [`TcpStream::connect`](crate::net::TcpStream::connect).
//! Outside of a task, where the thread tries one after the other, each may take half of what is left of the time limit.
//!
//! # Many connections
//!
//! ureq's defaults are made for a few connections: its own transport keeps two buffers of 128 KiB for each, and at most
//! three idle ones for a host. [`agent`] and [`config_builder`] have 32 KiB to read into, 8 KiB to write from, and keep up
//! to 1 000 idle. A connection of this crate holds them only while there is something in them: neither while it is idle
//! nor while its task waits for an answer. With TLS, ureq keeps a pair of these sizes above that, for as long as the
//! connection lives:
//!
//! | on the heap, for a connection | it is idle | a task waits for an answer, the task included |
//! |---|---|---|
//! | http | 2 KiB | 3 KiB |
//! | https | 49 KiB | 50 KiB |
//!
//! (By an allocator that counts, with 200 connections to a server on loopback and answers of 5 bytes; the test is
//! `proofs/tests/https_memory.rs`. The stacks of the tasks are not in it.) With 1 000 requests of 5 KiB at once, all over http, the peak of the process's memory is 52 MB, 16 of
//! which are what the tasks read into; with the buffers of each connection kept, it was 94.
//!
//! A response's head must fit into the buffer it is read into, and a line of a request's into the one it is
//! written from. A larger head is an `Error::LargeResponseHeader`; a program that expects one sets `input_buffer_size`
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

mod buffers;
mod chain;

use ureq::Agent;
use ureq::config::{Config, ConfigBuilder};
use ureq::typestate::AgentScope;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};

#[cfg(feature = "rustls")]
use chain::Tls;
use chain::{Dial, Refuse, Resolve, Strict};

/// A ureq agent whose requests suspend the task that makes them: `agent_with(config_builder().build())`.
///
/// It may be cloned, shared between tasks and threads, and keeps connections for further requests.
pub fn agent() -> Agent {
    agent_with(config_builder().build())
}

/// As [`agent`], configured as you like: `config` is taken as it is. Begin with [`config_builder`]: with
/// ureq's own, a connection that is busy costs 256 KiB.
///
/// ```
/// use wouldblock::http;
///
/// let agent = http::agent_with(http::config_builder().user_agent("course/1.0").build());
/// ```
pub fn agent_with(config: Config) -> Agent {
    let connector = ().chain(Refuse).chain(ConnectProxyConnector::default()).chain(Dial);
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

// In bytes. 100 KiB are a tenth slower with 8 KiB to read into.
const INPUT_BUFFER: usize = 32 << 10;
const OUTPUT_BUFFER: usize = 8 << 10;

/// Tasks that do something else between two requests each leave a connection idle.
const MOST_IDLE: usize = 1000;
