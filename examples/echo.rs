//! An echo server and three of its clients, a greenlet for each connection and client, on one thread.
//!
//!     cargo run --example echo

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;

use wouldblock::green;
use wouldblock::net::{TcpListener, TcpStream};

fn serve(listener: TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        let stream = stream?;
        drop(green::spawn(move || io::copy(&mut &stream, &mut &stream))); // until the client hangs up
    }
    Ok(())
}

fn ask(name: &str, address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    let mut answers = BufReader::new(&stream).lines();
    for step in 1..=2 {
        writeln!(&stream, "{name} {step}")?;
        let answer = answers.next().ok_or(io::ErrorKind::UnexpectedEof)??; // the others run meanwhile
        println!("{answer}");
    }
    Ok(())
}

fn main() -> io::Result<()> {
    wouldblock::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        drop(green::spawn(move || serve(listener))); // cancelled when `run` ends
        let clients = ["ann", "bob", "eve"].map(|name| green::spawn(move || ask(name, address)));
        clients.into_iter().try_for_each(|client| client.join().expect("no panic"))
    })
}
