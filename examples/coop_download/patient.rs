//! std's blocking socket, made to notice a time limit and Ctrl-C. No other task runs meanwhile: there are no
//! others. It has to wake up now and then to look around, which a scheduler would do for it; while it looks a
//! name up or connects, it cannot even do that.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::error::Error;
use crate::interrupt;
use crate::job::{INTERRUPTED, Job};
use crate::target::Target;
use crate::tls;

pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// Connects, with TLS if the URL says https.
pub fn connect<'a>(job: &'a Job<'a>) -> Result<Box<dyn Stream + 'a>, Error> {
    let target = &job.target;
    let mut last = Error::Lasting("no address to connect to".into());
    let addresses = (target.host.as_str(), target.port).to_socket_addrs();
    for address in addresses.map_err(|e| cannot_look_up(target, &e))? {
        match TcpStream::connect_timeout(&address, time_left(job)?) {
            Err(e) => last = e.into(),
            Ok(stream) => {
                stream.set_nodelay(true)?; // or TLS's last word delays the request by 40 ms
                stream.set_read_timeout(Some(interrupt::PATIENCE))?;
                stream.set_write_timeout(Some(interrupt::PATIENCE))?;
                let stream = Patient { stream, job };
                if !target.https {
                    return Ok(Box::new(stream));
                }
                let connection =
                    ClientConnection::new(job.trust().rustls(), tls::server_name(target)?)?;
                return Ok(Box::new(StreamOwned::new(connection, stream)));
            }
        }
    }
    Err(last)
}

fn cannot_look_up(target: &Target, error: &io::Error) -> Error {
    Error::Lasting(format!("cannot look up the host {:?}: {error}", target.host))
}

struct Patient<'a> {
    stream: TcpStream,
    job: &'a Job<'a>,
}

impl Patient<'_> {
    fn until_ready<T>(&self, mut call: impl FnMut(&TcpStream) -> io::Result<T>) -> io::Result<T> {
        loop {
            time_left(self.job)?;
            match call(&self.stream) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                result => return result,
            }
        }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.until_ready(|mut stream| stream.read(buf))
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.until_ready(|mut stream| stream.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fails when none is left, or after Ctrl-C.
fn time_left(job: &Job<'_>) -> io::Result<Duration> {
    match interrupt::has_come() {
        true => Err(io::Error::other(INTERRUPTED)),
        false => job.time_left(),
    }
}
