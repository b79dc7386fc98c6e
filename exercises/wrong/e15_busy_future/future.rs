//! says: asked again and again

use std::rc::Rc;

use wouldblock::future::prelude::*;
use wouldblock::net::TcpStream;
use wouldblock::sync::Semaphore;
use wouldblock::{future, group::gather};

use crate::exercise::Incoming;
use crate::given::{Error, Target};

/// Downloads one target. Returns its length.
pub async fn download(target: &Target) -> Result<u64, Error> {
    let mut stream = TcpStream::connecting(target.address).await?;
    stream.write_all(&target.request()).await?;
    let mut incoming = Incoming::new(target);
    let mut buf = [0; 512];
    loop {
        match stream.try_read(&mut buf) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => future::yield_now().await,
            Ok(0) => return incoming.end(),
            read => incoming.take(&buf[..read?])?,
        }
    }
}

/// Downloads all targets, no more than so many at once. Returns what each came to, in their order.
pub async fn all(targets: Vec<Target>, at_once: usize) -> Vec<Result<u64, Error>> {
    let places = Rc::new(Semaphore::new(at_once));
    let tasks = targets.into_iter().map(|target| {
        let places = places.clone();
        future::spawn(async move {
            let _place = places.acquiring().await;
            download(&target).await
        })
    });
    let tasks: Vec<_> = tasks.collect();
    gather(tasks).await.into_iter().map(|result| result?).collect()
}
