//! Chapter 11: five images, downloaded in each of the three eras.

use std::error::Error;
use std::io::{BufRead, BufReader, ErrorKind::WouldBlock};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::{Log, Metadata, Record, error, info};
use wouldblock::generator::Yielder;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{JoinError, Wait, fs, green, group::gather, offload, task};

use crate::stage::drawn;

pub fn run() {
    let _ = log::set_logger(&Printed).map(|()| log::set_max_level(log::LevelFilter::Info));
    drawn("in_generators", in_generators);
    drawn("in_greenlets", in_greenlets);
    drawn("in_futures", in_futures);
}

const IMAGES: [(&str, usize); 5] =
    [("a.png", 1300), ("b.png", 700), ("c.png", 1800), ("lost.png", 0), ("e.png", 400)];

type Outcome = Result<usize, Box<dyn Error>>;

fn request(name: &str) -> Vec<u8> {
    format!("GET /{name} HTTP/1.0\r\n\r\n").into_bytes()
}

/// The body of a whole answer with status 200.
fn body(answer: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("no whole head")?;
    let (head, body) = (std::str::from_utf8(&answer[..end])?, &answer[end + 4..]);
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        return Err(status.into());
    }
    let length: usize = head.rsplit(' ').next().unwrap_or_default().parse()?;
    if body.len() < length {
        return Err(format!("{} of {length} bytes", body.len()).into());
    }
    Ok(body.to_vec())
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("wouldblock-guide-{}", std::process::id())).join(name)
}

fn in_a_generator(y: &Yielder<Wait>, server: SocketAddr, name: &str) -> Outcome {
    info!("{name}: begins");
    let stream = y.wait(TcpStream::connecting(server))?;
    let request = request(name);
    let mut sent = 0;
    while sent < request.len() {
        match stream.try_write(&request[sent..]) {
            Err(error) if error.kind() == WouldBlock => y.wait(stream.writable())?,
            result => sent += result?,
        }
    }
    let (mut answer, mut chunk) = (Vec::new(), [0; 512]);
    loop {
        match stream.try_read(&mut chunk) {
            Err(error) if error.kind() == WouldBlock => y.wait(stream.readable())?,
            Ok(0) => break,
            result => answer.extend_from_slice(&chunk[..result?]),
        }
    }
    let (body, path) = (body(&answer)?, path(name));
    let size = body.len();
    y.wait(offload(move || std::fs::write(path, body)))?;
    info!("{name}: {size} bytes");
    Ok(size)
}

fn in_generators() {
    let server = serve();
    let all = task::Builder::new().name("all").spawn_generator(move |y| {
        let tasks = IMAGES.map(|(name, _)| {
            let builder = task::Builder::new().name(name);
            builder.spawn_generator(move |y| in_a_generator(y, server, name))
        });
        y.wait(gather(tasks))
    });
    report(all.join().unwrap());
}

fn in_a_greenlet(server: SocketAddr, name: &str) -> Outcome {
    use std::io::{Read, Write};
    info!("{name}: begins");
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(&request(name))?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 512]);
    loop {
        match stream.read(&mut chunk)? {
            0 => break,
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
    let body = body(&answer)?;
    fs::write(path(name), &body)?;
    info!("{name}: {} bytes", body.len());
    Ok(body.len())
}

fn in_greenlets() {
    let server = serve();
    let tasks = IMAGES.map(|(name, _)| {
        let builder = task::Builder::new().name(name);
        builder.spawn(move || in_a_greenlet(server, name))
    });
    report(green::wait(gather(tasks)));
}

async fn in_a_future(server: SocketAddr, name: &str) -> Outcome {
    use wouldblock::future::prelude::*;
    info!("{name}: begins");
    let mut stream = TcpStream::connecting(server).await?;
    stream.write_all(&request(name)).await?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 512]);
    loop {
        match stream.read(&mut chunk).await? {
            0 => break,
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
    let (body, path) = (body(&answer)?, path(name));
    let size = body.len();
    offload(move || std::fs::write(path, body)).await?;
    info!("{name}: {size} bytes");
    Ok(size)
}

fn in_futures() {
    let server = serve();
    let all = task::Builder::new().name("all").spawn_future(async move {
        let tasks = IMAGES.map(|(name, _)| {
            let builder = task::Builder::new().name(name);
            builder.spawn_future(in_a_future(server, name))
        });
        gather(tasks).await
    });
    report(all.join().unwrap());
}

/// Logs the errors. The files hold no pictures, and are removed.
fn report(results: Vec<Result<Outcome, JoinError>>) {
    for ((name, _), result) in IMAGES.iter().zip(results) {
        match result {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => error!("{name}: {why}"),
            Err(panic) => error!("{name}: {panic}"), // or it was cancelled
        }
    }
    let _ = std::fs::remove_dir_all(path(""));
}

/// A server in tasks of its own: it sends 512 bytes every 10 ms, to each client.
fn serve() -> SocketAddr {
    use std::io::Write;
    std::fs::create_dir_all(path("")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(task::Builder::new().name("server").spawn(move || {
        for (n, mut stream) in (1..).zip(listener.incoming().flatten()) {
            drop(task::Builder::new().name(format!("serves {n}")).spawn(move || {
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                let image = IMAGES.iter().find(|(name, size)| *size > 0 && line.contains(name));
                let head = match image {
                    Some((_, size)) => format!("HTTP/1.0 200 OK\r\nContent-Length: {size}\r\n\r\n"),
                    None => "HTTP/1.0 404 Not Found\r\n\r\n".into(),
                };
                let size = image.map_or(0, |(_, size)| *size);
                let answer = [head.into_bytes(), vec![7; size]].concat();
                for piece in answer.chunks(512) {
                    green::sleep(Duration::from_millis(10));
                    stream.write_all(piece).unwrap();
                }
            }));
        }
    }));
    address
}

/// A logger that prints on standard output.
struct Printed;

impl Log for Printed {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        println!("{:<5} {}", record.level(), record.args());
    }

    fn flush(&self) {}
}
