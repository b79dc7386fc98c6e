//! says: asked again and again

use std::io::ErrorKind::WouldBlock;
use std::rc::Rc;

use wouldblock::generator::{self, Yielder};
use wouldblock::net::TcpStream;
use wouldblock::sync::Semaphore;
use wouldblock::{Wait, group::gather};

use crate::exercise::Incoming;
use crate::given::{Error, Target};

/// Downloads one target. Returns its length.
pub fn download(y: &Yielder<Wait>, target: &Target) -> Result<u64, Error> {
    let stream = y.wait(TcpStream::connecting(target.address))?;
    let request = target.request();
    let mut rest = &request[..];
    while !rest.is_empty() {
        match stream.try_write(rest) {
            Err(e) if e.kind() == WouldBlock => y.wait(stream.writable())?,
            sent => rest = &rest[sent?..],
        }
    }
    let mut incoming = Incoming::new(target);
    let mut buf = [0; 512];
    loop {
        match stream.try_read(&mut buf) {
            Err(e) if e.kind() == WouldBlock => y.yield_now(),
            Ok(0) => return incoming.end(),
            read => incoming.take(&buf[..read?])?,
        }
    }
}

/// Downloads all targets, no more than so many at once. Returns what each came to, in their order.
pub fn all(y: &Yielder<Wait>, targets: Vec<Target>, at_once: usize) -> Vec<Result<u64, Error>> {
    let places = Rc::new(Semaphore::new(at_once));
    let tasks = targets.into_iter().map(|target| {
        let places = places.clone();
        generator::spawn(move |y: &Yielder<Wait>| {
            let _place = y.wait(places.acquiring());
            download(y, &target)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    y.wait(gather(tasks)).into_iter().map(|result| result?).collect()
}
