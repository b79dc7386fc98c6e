//! Ctrl-C: a server that stops gracefully. It takes no further connections, finishes what each client has begun, says
//! goodbye, and cancels after a limit those that are left. A second Ctrl-C ends the program at once, since the first has
//! been received and [`Signals`] is dropped.
//!
//! It is not compared with threads: a signal comes once.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::op::{Either, select};
use wouldblock::process::Command;
use wouldblock::signal::{SIGINT, SIGTERM, Signals};
use wouldblock::sync::Event;
use wouldblock::{JoinHandle, green, group::Pool};

/// More connections than this wait until one ends.
const MOST: usize = 10_000;

/// Serves until a signal comes. Returns whether all clients had gone within `limit` after it.
fn serve(listener: TcpListener, limit: Duration) -> io::Result<bool> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (stop, connections) = (Rc::new(Event::new()), Pool::new(MOST));
    loop {
        let accepting = async {
            let place = connections.reserving().await; // First: what is accepted is also served.
            listener.accepting().await.map(|(stream, _)| (place, stream))
        };
        match green::wait(select(accepting, signals.receiving())) {
            Either::First(accepted) => {
                let ((place, stream), stop) = (accepted?, stop.clone());
                drop(place.spawn(move || connection(&stream, &stop)));
            }
            Either::Second(signal) => {
                signal?;
                break;
            }
        }
    }
    drop((listener, signals));
    stop.set();
    let all = connections.join_timeout(limit).is_ok();
    connections.cancel(); // They unwind from where they wait.
    connections.join();
    Ok(all)
}

/// Sends each line back, until the client has gone or the server stops.
fn connection(stream: &TcpStream, stop: &Event) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    loop {
        // A wait for the stop or for the next line; a line that has begun is read to its end.
        if lines.buffer().is_empty()
            && let Either::Second(()) = green::wait(select(stream.readable(), stop.waiting()))
        {
            return writeln!(&*stream, "goodbye");
        }
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        (&*stream).write_all(line.as_bytes())?;
    }
}

/// A connection that the server has answered.
fn connect(server: SocketAddr) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(server).unwrap());
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.get_mut().write_all(b"hello\n").unwrap();
    assert_eq!(line(&mut stream), "hello\n");
    stream
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

/// What `kill` does from a shell, or Ctrl-C in a terminal.
fn send(signal: &str) {
    let id = std::process::id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

fn started(limit: Duration) -> (SocketAddr, JoinHandle<io::Result<bool>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, green::spawn(move || serve(listener, limit)))
}

#[test]
fn each_client_gets_a_goodbye_and_one_that_does_not_end_is_cancelled() {
    drop(Signals::new([SIGINT])); // The first use opens a pipe that stays for the process.
    recipes::run(|| {
        let (address, server) = started(Duration::from_secs(10));
        let (mut idle, mut busy) = (connect(address), connect(address));
        busy.get_mut().write_all(b"half").unwrap();
        let mut last = connect(address); // Its answer shows that the server has begun to read the half by then.
        send("-INT");
        assert_eq!(line(&mut last), "goodbye\n");
        assert_eq!(line(&mut idle), "goodbye\n");
        busy.get_mut().write_all(b" a line\n").unwrap();
        assert_eq!([line(&mut busy), line(&mut busy)].concat(), "half a line\ngoodbye\n");
        assert!(server.join().unwrap().unwrap());
        assert!(TcpStream::connect(address).is_err());

        let (address, server) = started(Duration::from_millis(10));
        let mut stuck = connect(address);
        stuck.get_mut().write_all(b"half").unwrap();
        let mut other = connect(address);
        send("-TERM");
        assert_eq!(line(&mut other), "goodbye\n");
        assert!(!server.join().unwrap().unwrap());
        assert_eq!(line(&mut stuck), "", "it is closed");
    });
}
