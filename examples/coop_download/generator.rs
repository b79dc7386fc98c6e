//! The generator era: every wait is a `yield`, passed by hand through every function on the way. So is TLS: this rustls
//! does no I/O, and what it reads and writes is carried between it and the socket.

use std::{io, io::ErrorKind::WouldBlock, rc::Rc};

use rustls::ClientConnection;
use wouldblock::net::TcpStream;
use wouldblock::{Stats, Wait, generator::Yielder, group::gather, offload, stats, task};
use wouldblock::{op::timeout, time::sleeping};

use crate::job::{Job, Kept};
use crate::{error::Error, exchange::Exchange, interrupt, list::List, tls};

type Connection = (TcpStream, Option<ClientConnection>);
type Y = Yielder<Wait>;

pub fn download_all(list: &Rc<List>) -> Stats {
    list.builder().run(|| {
        let list = list.clone();
        let all = task::Builder::new().name("all").spawn_generator(move |y| {
            let worker = |n| {
                let list = list.clone();
                list.worker(n).spawn_generator(move |y| work(y, &list))
            };
            y.wait(interrupt::or_done(gather((0..list.workers()).map(worker))));
        });
        all.join().expect("nobody cancels it");
        stats()
    })
}

fn work(y: &Y, list: &List) {
    let mut kept = Kept::new();
    while let Some(mut job) = list.next() {
        while let Some(pause) = job.again(download(y, &job, &mut kept)) {
            y.wait(sleeping(pause));
        }
    }
}

fn download(y: &Y, job: &Job<'_>, kept: &mut Kept<Connection>) -> Result<u64, Error> {
    let mut exchange = Exchange::new(job)?;
    let mut connection = kept.take(job).map_or_else(|| connect(y, job), Ok)?;
    send(y, job, &mut connection, exchange.request())?;
    let mut chunk = vec![0; job.chunk()];
    while !exchange.is_over() {
        let n = receive(y, job, &mut connection, &mut chunk)?;
        if let Some(write) = exchange.take(&chunk[..n])? {
            y.wait(offload(write))?;
        }
    }
    y.wait(offload(job.rest()?))?;
    exchange.end(kept, connection);
    job.finish()
}

fn connect(y: &Y, job: &Job<'_>) -> Result<Connection, Error> {
    let stream = wait(y, job, TcpStream::connecting(job.target.address()))?;
    stream.set_nodelay(true)?;
    Ok((stream, tls::session(job)?))
}

fn send(y: &Y, job: &Job<'_>, to: &mut Connection, bytes: &[u8]) -> Result<(), Error> {
    let mut records = tls::seal(&mut to.1, bytes)?;
    while !records.is_empty() {
        match to.0.try_write(&records) {
            Err(e) if e.kind() == WouldBlock => wait(y, job, to.0.writable())?,
            written => drop(records.drain(..written?)),
        }
    }
    Ok(())
}

fn receive(y: &Y, job: &Job<'_>, from: &mut Connection, chunk: &mut [u8]) -> Result<usize, Error> {
    loop {
        if let Some(n) = tls::plain(&mut from.1, chunk)? {
            return Ok(n);
        }
        send(y, job, from, &[])?; // what TLS says of its own accord
        match (from.0.try_read(tls::room(&from.1, chunk)), &mut from.1) {
            (Err(e), _) if e.kind() == WouldBlock => wait(y, job, from.0.readable())?,
            (read, None) => return Ok(read?),
            (read, Some(session)) => tls::feed(session, &chunk[..read?])?,
        }
    }
}

fn wait<T>(y: &Y, job: &Job<'_>, op: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    y.wait(timeout(job.time_left()?, op)).map_err(|_| job.timed_out())?
}
