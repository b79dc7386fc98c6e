//! hyper on this crate's sockets and tasks: its I/O traits, its timer and executor, and a server with a graceful stop.
//! (The feature `hyper`.)
//!
//! [`TcpStream`] and [`UnixStream`] have hyper's `rt::Read` and `rt::Write`, so that they go into hyper's connections as
//! they are, those of its client too. [`serve`] is a whole server: HTTP/1 and HTTP/2, one task for each connection.
//!
//! axum is a service of tower's: [`TowerToHyperService`] makes it one of hyper's. (`axum::serve` needs tokio's runtime.)
//! Its handlers must be `Send`, which tasks of this crate need not be: a handler shares the types of
//! [`sync`](crate::sync) with other tasks by way of a task that owns them, or uses std's.
//!
//! | | generator | green | future |
//! |---|---|---|---|
//! | serve | `y.wait(serving(listener, service, stop))` | `serve(listener, service, stop)` | `serving(listener, service, stop).await` |

use std::error::Error;
use std::future::{Future, IntoFuture};
use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::hyper::body::{Body, Incoming};
use ::hyper::rt::{self, ReadBufCursor};
use ::hyper::service::Service;
use ::hyper::{Request, Response};
use futures_lite::FutureExt;
use hyper_util::server::conn::auto;

use crate::eras::future;
use crate::group::Group;
use crate::kernel::door;
use crate::net::unix::UnixStream;
use crate::net::{TcpListener, TcpStream};
use crate::op::{Either, select};
use crate::sync::Event;
use crate::task::is_cancellation;
use crate::time::{self, Sleeping};

pub use hyper_util::service::TowerToHyperService;

macro_rules! streams {
    ($($Stream:ty),*) => {$(
        impl rt::Read for $Stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                mut buf: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                // SAFETY: what is initialised there stays so: bytes are only written to it.
                let unfilled = unsafe { buf.as_mut() };
                let n = ready!(self.poll_read_uninit(cx, unfilled))?;
                // SAFETY: so many bytes at the beginning of what is unfilled have been written.
                unsafe { buf.advance(n) };
                Poll::Ready(Ok(()))
            }
        }

        impl rt::Write for $Stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                <$Stream>::poll_write(&self, cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                futures_io::AsyncWrite::poll_write_vectored(self, cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                futures_io::AsyncWrite::poll_flush(self, cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                futures_io::AsyncWrite::poll_close(self, cx)
            }
        }
    )*};
}

streams!(TcpStream, UnixStream);

/// Spawns hyper's tasks as tasks of the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor;

impl<F: Future + 'static> rt::Executor<F> for Executor
where
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        drop(future::spawn(task));
    }
}

/// The run's clock, as hyper's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer;

impl rt::Sleep for Sleeping {}

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(time::sleeping(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(time::sleeping_until(deadline))
    }

    /// In the same box: hyper does this for each request of a connection.
    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleeping>() {
            Some(mut ours) => ours.set(time::sleeping_until(new_deadline)),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }

    fn now(&self) -> Instant {
        time::now()
    }
}

/// How long a client may take to send the head of a request, by HTTP/1.
const HEAD: Duration = Duration::from_secs(30);

/// Serves the connections of `listener` by `service`, HTTP/1 or HTTP/2 as each client begins, until `stop` is ready; then
/// the listener is closed, each connection ends after the request that it is serving, and this returns.
///
/// ```
/// use std::convert::Infallible;
/// use std::io::{Read, Write};
/// use hyper::{Request, Response, body::Incoming, service::service_fn};
/// use wouldblock::{green, hyper::serve, net::{TcpListener, TcpStream}, sync::oneshot};
///
/// # fn main() -> std::io::Result<()> { wouldblock::run(|| {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let (stop, stopped) = oneshot::channel();
/// let server = green::spawn(|| {
///     let hello = service_fn(async |request: Request<Incoming>| {
///         Ok::<_, Infallible>(Response::new(format!("hello, {}", request.uri())))
///     });
///     serve(listener, hello, stopped)
/// });
/// let mut client = TcpStream::connect(address)?;
/// client.write_all(b"GET /you HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.ends_with("hello, /you"));
/// stop.send(()).unwrap();
/// server.join().unwrap()
/// # }) }
/// ```
///
/// `stop` may be any operation: [`Signals::receiving`](crate::signal::Signals::receiving), the end of a task, an
/// [`Event`].
///
/// A connection whose client breaks the protocol, or goes away, is closed; so is one whose service panics, after the panic
/// hook has reported that. A client has 30 seconds for the head of a request. To bound what a stop may take, put
/// a [`timeout`](crate::green::timeout) around the rest: connections that are left are cancelled then.
///
/// # Errors
///
/// Those of [`accept`](TcpListener::accept), which end the server; the connections are cancelled.
///
/// # Panics
///
/// Outside of a task.
///
/// # Cancellation
///
/// The connections are cancelled, in the middle of a response too.
#[track_caller]
pub fn serve<S, B>(listener: TcpListener, service: S, stop: impl IntoFuture) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Future: 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: 'static, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    door::wait(serving(listener, service, stop))
}

/// [`serve`] as an operation: `y.wait(..)` or `.await` it.
///
/// # Errors
///
/// As [`serve`].
///
/// # Cancellation
///
/// The connections are cancelled, in the middle of a response too.
pub async fn serving<S, B>(
    listener: TcpListener,
    service: S,
    stop: impl IntoFuture,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Future: 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: 'static, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let mut http = auto::Builder::new(Executor);
    http.http1().timer(Timer).header_read_timeout(HEAD);
    http.http2().timer(Timer);
    let (http, stopping) = (Rc::new(http), Rc::new(Event::new()));
    let mut stop = pin!(stop.into_future());
    let served = Group::running(async |group: &Group<io::Error>| {
        loop {
            let stream = match select(listener.accepting(), stop.as_mut()).await {
                Either::First(accepted) => accepted?.0,
                Either::Second(_) => break,
            };
            let _ = stream.set_nodelay(true); // It fails where the client has gone already.
            let (http, service, stopping) = (http.clone(), service.clone(), stopping.clone());
            group.spawn_future(async move {
                let connection = connection(&http, stream, service, &stopping);
                match AssertUnwindSafe(connection).catch_unwind().await {
                    Err(payload) if is_cancellation(&*payload) => resume_unwind(payload),
                    _ => Ok(()), // Of a panic, the hook has reported all.
                }
            });
        }
        drop(listener);
        stopping.set();
        Ok(())
    });
    served.await.map_err(|failures| failures.into_errors().next().expect("a group fails with one"))
}

/// Serves one connection; after its present request, no further one when `stopping` is set.
async fn connection<S, B>(
    http: &auto::Builder<Executor>,
    stream: TcpStream,
    service: S,
    stopping: &Event,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + 'static,
    S::Future: 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: 'static, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let mut connection = pin!(http.serve_connection(stream, service));
    if let Either::Second(()) = select(connection.as_mut(), stopping.waiting()).await {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
