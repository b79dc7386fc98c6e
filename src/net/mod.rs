//! Sockets with std's names, for all three eras: one type each.
//!
//! | | generator | green | future |
//! |---|---|---|---|
//! | read | `try_read`, and `y.wait(s.readable())` on `WouldBlock` | `s.read(buf)` ([`std::io::Read`]) | `s.read(buf).await` ([`futures_io::AsyncRead`]) |
//! | write | `try_write`, `writable` | [`std::io::Write`] | [`futures_io::AsyncWrite`] |
//! | accept | `try_accept`, or `y.wait(l.accepting())` | `l.accept()` | `l.accepting().await` |
//! | connect | `y.wait(TcpStream::connecting(a))` | `TcpStream::connect(a)` | `TcpStream::connecting(a).await` |
//!
//! The green calls suspend the task that makes them, in an `async fn` too. On a thread without a
//! scheduler, or outside of any task, they block the thread, as std's do.
//!
//! A socket is plain data and may be sent to and shared with other threads, whether or not they have a
//! scheduler.

mod addr;
mod socket;
mod tcp;

pub use addr::{Lookup, ToSocketAddrs, lookup};
pub use socket::Readiness;
pub use tcp::{Accepting, Connecting, Incoming, TcpListener, TcpStream};
