//! What hyper needs of us: a connection, with TLS where the URL says https, under hyper's own traits; and its form of a
//! request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use hyper::rt::ReadBufCursor;
use hyper::{Request, Uri};
use wouldblock::net::TcpStream;

use crate::error::Error;
use crate::job::Job;
use crate::tls;

pub trait Stream: AsyncRead + AsyncWrite {}
impl<S: AsyncRead + AsyncWrite> Stream for S {}

pub async fn connect(job: &Job<'_>) -> Result<HyperIo, Error> {
    let target = &job.target;
    let stream = TcpStream::connecting(target.address()).await?;
    stream.set_nodelay(true)?; // or TLS's last word delays the request by 40 ms
    let stream: Pin<Box<dyn Stream>> = match target.https() {
        false => Box::pin(stream),
        true => {
            let connector = TlsConnector::from(job.trust().rustls());
            Box::pin(connector.connect(tls::server_name(target)?, stream).await?)
        }
    };
    Ok(HyperIo { stream, chunk: vec![0; job.chunk()] })
}

/// hyper asks for a path, of the server that it is connected to. The body is empty.
pub fn request(request: Request<()>) -> Result<Request<String>, Error> {
    let (mut head, ()) = request.into_parts();
    head.uri = head.uri.path_and_query().map_or_else(Uri::default, |path| path.clone().into());
    Ok(Request::from_parts(head, String::new()))
}

/// hyper's I/O traits over those of the `futures` crates: a few lines, as for each runtime.
pub struct HyperIo {
    stream: Pin<Box<dyn Stream>>,
    chunk: Vec<u8>,
}

impl hyper::rt::Read for HyperIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let HyperIo { stream, chunk } = &mut *self;
        let most = into.remaining().min(chunk.len());
        let n = ready!(stream.as_mut().poll_read(cx, &mut chunk[..most]))?;
        into.put_slice(&chunk[..n]);
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for HyperIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_close(cx)
    }
}
