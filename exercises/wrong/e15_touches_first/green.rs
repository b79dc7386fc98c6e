//! says: still to come, and the file had its name: until it is whole, it is a `Part`

use std::io::{Read, Write};
use std::rc::Rc;

use wouldblock::net::TcpStream;
use wouldblock::sync::Semaphore;
use wouldblock::{green, group::gather};

use crate::exercise::Incoming;
use crate::given::{Error, Target};

/// Downloads one target. Returns its length.
pub fn download(target: &Target) -> Result<u64, Error> {
    std::fs::File::create(&target.file)?;
    let result = fetch(target);
    if result.is_err() {
        std::fs::remove_file(&target.file)?;
    }
    result
}

fn fetch(target: &Target) -> Result<u64, Error> {
    let mut stream = TcpStream::connect(target.address)?;
    stream.write_all(&target.request())?;
    let mut incoming = Incoming::new(target);
    let mut buf = [0; 512];
    loop {
        match stream.read(&mut buf)? {
            0 => return incoming.end(),
            n => incoming.take(&buf[..n])?,
        }
    }
}

/// Downloads all targets, no more than so many at once. Returns what each came to, in their order.
pub fn all(targets: Vec<Target>, at_once: usize) -> Vec<Result<u64, Error>> {
    let places = Rc::new(Semaphore::new(at_once));
    let tasks = targets.into_iter().map(|target| {
        let places = places.clone();
        green::spawn(move || {
            let _place = places.acquire();
            download(&target)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    green::wait(gather(tasks)).into_iter().map(|result| result?).collect()
}
