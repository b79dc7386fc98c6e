//! The baseline: one after the other, on std's blocking sockets. Nothing else runs meanwhile; it wakes up now and then to
//! see to time limits and Ctrl-C, which a scheduler would do for it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::rc::Rc;

use rustls::StreamOwned;
use wouldblock::Stats;

use crate::error::Error;
use crate::exchange::Exchange;
use crate::interrupt;
use crate::job::{Job, Kept};
use crate::list::List;
use crate::tls;

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}
type Connection = Box<dyn Stream>;

pub fn download_all(list: &Rc<List>) -> Stats {
    work(list);
    Stats::default()
}

fn work(list: &List) {
    let mut kept = Kept::new();
    while let Some(mut job) = list.next() {
        while let Some(pause) = job.again(download(&job, &mut kept)) {
            interrupt::sleep(pause);
        }
    }
}

fn download(job: &Job<'_>, kept: &mut Kept<Connection>) -> Result<u64, Error> {
    let mut exchange = Exchange::new(job)?;
    let mut connection = kept.take(job).map_or_else(|| connect(job), Ok)?;
    send(job, &mut connection, exchange.request())?;
    let mut chunk = vec![0; job.chunk()];
    while !exchange.is_over() {
        let n = receive(job, &mut connection, &mut chunk)?;
        if let Some(write) = exchange.take(&chunk[..n])? {
            write()?;
        }
    }
    job.rest()?()?;
    exchange.end(kept, connection);
    job.finish()
}

fn connect(job: &Job<'_>) -> Result<Connection, Error> {
    let mut connected = Err(Error::closed());
    for address in job.target.address().to_socket_addrs()? {
        connected = TcpStream::connect_timeout(&address, job.time_left()?).map_err(Error::from);
        if connected.is_ok() {
            break;
        }
    }
    let stream = connected?;
    job.connected(&stream);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(interrupt::PATIENCE))?;
    stream.set_write_timeout(Some(interrupt::PATIENCE))?;
    Ok(match tls::session(job)? {
        Some(session) => Box::new(StreamOwned::new(session, stream)),
        None => Box::new(stream),
    })
}

fn send(job: &Job<'_>, connection: &mut Connection, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[wait(job, || connection.write(bytes))?..];
    }
    Ok(())
}

fn receive(job: &Job<'_>, connection: &mut Connection, chunk: &mut [u8]) -> io::Result<usize> {
    wait(job, || connection.read(chunk))
}

fn wait<T>(job: &Job<'_>, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        job.time_left()?;
        match job.blocking(&mut call) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            result => return result,
        }
    }
}
