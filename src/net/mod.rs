//! Sockets with std's names, for all three eras: one type each.
//!
//! | | generator | green | future |
//! |---|---|---|---|
//! | read | `try_read`, and `y.wait(s.readable())` on `WouldBlock` | `s.read(buf)` ([`std::io::Read`]) | `s.read(buf).await` ([`futures_io::AsyncRead`]) |
//! | write | `try_write`, `writable` | [`std::io::Write`] | [`futures_io::AsyncWrite`] |
//! | accept | `try_accept`, or `y.wait(l.accepting())` | `l.accept()` | `l.accepting().await` |
//! | connect | `y.wait(TcpStream::connecting(a))` | `TcpStream::connect(a)` | `TcpStream::connecting(a).await` |
//! | receive | `try_recv_from`, or `y.wait(s.receiving_from(buf))` | `s.recv_from(buf)` | `s.receiving_from(buf).await` |
//! | send | `try_send_to`, or `y.wait(s.sending_to(buf, a))` | `s.send_to(buf, a)` | `s.sending_to(buf, a).await` |
//! | peek | `try_peek`, or `y.wait(s.peeking(buf))` | `s.peek(buf)` | `s.peeking(buf).await` |
//!
//! The rule: the green call has std's name; a `try_` call never waits; the operation, for `y.wait` and
//! `.await`, ends in -ing. What never waits (`local_addr`, `set_nodelay`, `shutdown`) is std's.
//!
//! The green calls suspend the task that makes them, in an `async fn` too. On a thread without a
//! scheduler, or outside of any task, they block the thread, as std's do.
//!
//! # Blocking
//!
//! While a task's stack unwinds, and in its panic hook, nothing suspends: the thread would stay panicking for all
//! other tasks. What has to wait for a socket then (a `BufWriter` that flushes when it is dropped, a hook that sends
//! the panic to a server) blocks the thread, as std's does: no other task has a turn meanwhile, and no `green::timeout`
//! ends it; the socket's own time limits hold, and so does a [`green::deadline`](crate::green::deadline).
//!
//! # Silent peers and half lines
//!
//! A server of a protocol of lines that drops a client which sends nothing for too long, or takes nothing:
//!
//! ```
//! use std::io::{self, BufRead, BufReader, ErrorKind, Write};
//! use std::time::Duration;
//! use wouldblock::net::{TcpListener, TcpStream};
//! use wouldblock::{Builder, green};
//!
//! /// Sends each line back, until the client has gone.
//! fn serve(stream: &TcpStream, limit: Duration) -> io::Result<()> {
//!     stream.set_read_timeout(Some(limit))?; // for each read and write: whatever comes or goes begins it anew
//!     stream.set_write_timeout(Some(limit))?;
//!     let (mut reader, mut line) = (BufReader::new(stream), Vec::new());
//!     loop {
//!         match reader.read_until(b'\n', &mut line) {
//!             Ok(0) => return Ok(()),
//!             Ok(_) => (&*stream).write_all(&line)?,
//!             Err(e) if e.kind() == ErrorKind::TimedOut => return writeln!(&*stream, "goodbye"),
//!             Err(e) => return Err(e),
//!         }
//!         line.clear();
//!     }
//! }
//!
//! # fn main() -> io::Result<()> { Builder::new().virtual_clock().run(|| {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = BufReader::new(TcpStream::connect(listener.local_addr()?)?);
//! green::spawn(move || for stream in listener.incoming().flatten() {
//!     green::spawn(move || serve(&stream, Duration::from_secs(60)));
//! });
//! client.get_mut().write_all(b"hello\nhalf a l")?;
//! let mut text = String::new();
//! std::io::Read::read_to_string(&mut client, &mut text)?; // after a minute, the server hangs up
//! assert_eq!(text, "hello\ngoodbye\n");
//! # Ok(()) }) }
//! ```
//!
//! There are several such limits, and they differ in what they bound, and in what becomes of a line of which one half has
//! been read:
//!
//! | limit | bounds | the half line |
//! |---|---|---|
//! | [`set_read_timeout`](TcpStream::set_read_timeout), as above | each silence; a client that sends a byte now and then may take for ever | stays in `line`, and another call goes on where this one was |
//! | [`green::deadline`](crate::green::deadline)`(limit, \|\| reader.read_until(b'\n', &mut line))` | the whole line | the same |
//! | `wait(`[`timeout`](crate::op::timeout)`(limit, stream.readable()))` while `reader.buffer()` is empty | the silence between two lines; with `y.wait` and `.await`, in the other eras | nothing of a line is read |
//! | [`green::timeout`](crate::green::timeout)`(limit, \|\| ..)` | all that is in it | is lost, as far as the unwound stack has it: close the connection |
//! | `timeout(limit, reader.read_line(&mut line)).await`, by futures' or futures-lite's `AsyncBufReadExt` | the whole line | is lost; by their `read_until`, it stays in the vector |
//!
//! `read_until`, since std's `read_line` drops what it has read if that ends in the middle of a character of several
//! bytes, and `lines()` drops all of it. A line without an end fills the memory: `reader.by_ref().take(most)` has one.
//!
//! # Threads
//!
//! A socket is plain data and may be sent to and shared with other threads, whether or not they have a
//! scheduler.
//!
//! # Porting from std
//!
//! `std::net` becomes `wouldblock::net`, and `std::os::unix::net` becomes [`wouldblock::net::unix`](unix).
//! What differs:
//!
//! * A time limit fails as `TimedOut` (std's, on Unix, as `WouldBlock`).
//! * [`accept`](TcpListener::accept) waits at the limit on open descriptors instead of failing.
//! * `set_nonblocking` is a mode of the green calls. For the operating system a socket of this crate is
//!   always non-blocking; `into_std` gives it the mode that was set.
//! * Errors of binding and connecting name the address. Their `kind` is the operating system's; `raw_os_error` is
//!   `None`.
//! * A listener's backlog is 4096 (std's is 128), or the operating system's limit if that is lower.
//! * [`ToSocketAddrs`] is a trait of this crate, of std's shape: std's would look names up on the scheduler's thread.
//! * What std deprecates (`only_v6`) or has not made stable is not there.

// The source, in the order in which to read it: `turn`, `addr` and `pauses` (what calls need besides a socket); `link`
// (where a socket is registered); `socket` (a call on it in three eras); `common`, `stream`, `connect`, `listener` and
// `datagram` (what socket types share); `tcp`, `udp`, `unix`. It imports the kernel, deadlines, times and `offload`.

pub(crate) mod addr;
mod common;
mod connect;
mod datagram;
mod link;
mod listener;
pub(crate) mod pauses;
pub(crate) mod socket;
mod stream;
mod tcp;
pub(crate) mod turn;
mod udp;
pub mod unix;

pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};

pub use addr::{LookingUp, ToSocketAddrs, looking_up};
pub use link::Readiness;
pub use tcp::{Accepting, Connecting, Incoming, TcpListener, TcpStream};
pub use udp::UdpSocket;
