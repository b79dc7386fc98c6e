//! All cores: one server over several runs, a run on each thread.
//!
//!     cargo run --release --example cores [-- RUNS]
//!
//! A run uses one core, so a server on N cores is N runs. The connections reach them in one of two ways:
//!
//! * `reuse_port`: each run has a listener of its own on the same address (`SO_REUSEPORT`), and the kernel chooses one
//!   for each connection, by a hash of the addresses. The runs share nothing. The shares are even only on average,
//!   and connections that wait in the backlog of a run that ends are lost.
//! * hand-off: one run accepts, and spawns a task for each connection in one of the other runs, by that run's
//!   [`Spawner`]. The shares are what the accepting run makes them (here: in turn), for one wake of another thread
//!   for each connection.
//!
//! What tasks of different runs say to each other goes through a channel whose operations are futures (here
//! `async-channel`); a channel of std would block the whole thread of a run that receives.
//!
//! ```text
//! 2 runs, 64 connections, 10 requests each; answers by run
//! way           run 0  run 1     ms
//! reuse_port      310    330     29
//! hand-off        320    320     28
//! ```

use std::error::Error;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use socket2::{Domain, Socket, Type};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::{Builder, Spawner, green, group::gather};

const CONNECTIONS: usize = 64;
const REQUESTS: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let runs = match std::env::args().nth(1) {
        Some(number) => number.parse()?,
        None => thread::available_parallelism()?.get(),
    };
    if runs == 0 {
        return Err("RUNS has to be at least 1".into());
    }
    println!("{runs} runs, {CONNECTIONS} connections, {REQUESTS} requests each; answers by run");
    print!("{:12}", "way");
    (0..runs).for_each(|run| print!(" {:>6}", format!("run {run}")));
    println!(" {:>6}", "ms");
    for (name, start) in [("reuse_port", reuse_port as Start), ("hand-off", hand_off)] {
        let (counts, took) = measure(runs, start)?;
        print!("{name:12}");
        counts.iter().for_each(|count| print!(" {count:>6}"));
        println!(" {:>6}", took.as_millis());
        let answers: u64 = counts.iter().sum();
        assert_eq!(answers, CONNECTIONS as u64 * REQUESTS, "each request has one answer");
    }
    Ok(())
}

/// What each run of a server has, to talk to the rest of the program.
#[derive(Clone)]
struct Ties {
    /// Takes the number of the run for each answer.
    answered: Sender<usize>,
    /// Nothing is sent; when its sender is dropped, the server ends.
    stop: Receiver<()>,
}

/// Starts a server over so many runs. It is called in the main thread's run, which is none of these.
type Start = fn(runs: usize, ties: Ties) -> io::Result<(SocketAddr, Vec<thread::JoinHandle<()>>)>;

/// Each run has a listener, and serves what the kernel gives it.
fn reuse_port(runs: usize, ties: Ties) -> io::Result<(SocketAddr, Vec<thread::JoinHandle<()>>)> {
    let first = listener_beside(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..runs {
        listeners.push(listener_beside(address)?);
    }
    let threads = listeners.into_iter().enumerate().map(|(run, listener)| {
        let ties = ties.clone();
        thread::spawn(move || {
            wouldblock::run(|| {
                let answered = ties.answered.clone();
                drop(green::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        let answered = answered.clone();
                        drop(green::spawn(move || serve(&stream, run, &answered)));
                    }
                }));
                let _ = green::wait(ties.stop.recv());
            });
        })
    });
    Ok((address, threads.collect()))
}

/// A listener on an address that others listen on too: all of them with `SO_REUSEPORT`, which is set before the
/// address is bound.
fn listener_beside(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// The calling run accepts, and gives each connection to the next of the other runs.
fn hand_off(runs: usize, ties: Ties) -> io::Result<(SocketAddr, Vec<thread::JoinHandle<()>>)> {
    let (spawner, spawners) = mpsc::channel();
    let threads = (0..runs).map(|_| {
        let (spawner, stop) = (spawner.clone(), ties.stop.clone());
        thread::spawn(move || {
            // It may have nothing to do for a night: no deadlock.
            Builder::new().deadlock_warning(None).run(|| {
                spawner.send(Spawner::current()).expect("the main thread waits for it");
                let _ = green::wait(stop.recv());
            });
        })
    });
    let threads = threads.collect();
    let spawners: Vec<Spawner> = spawners.iter().take(runs).collect();

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    drop(green::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let (run, answered) = (number % runs, ties.answered.clone());
            // An error gives back the connection, which is closed: the run has ended.
            let _ = spawners[run].spawn(move || drop(serve(&stream, run, &answered)));
        }
    }));
    Ok((address, threads))
}

/// Answers the requests of one connection, in the run numbered `run`.
fn serve(stream: &TcpStream, run: usize, answered: &Sender<usize>) -> io::Result<()> {
    let (reader, mut writer) = (BufReader::new(stream), stream);
    for line in reader.lines() {
        let seed = line?.parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        writer.write_all(format!("{}\n", work(seed)).as_bytes())?;
        let _ = green::wait(answered.send(run));
    }
    Ok(())
}

/// Some 100 us of computing, in a release build: what the cores are for.
fn work(seed: u64) -> u64 {
    (0..50_000).fold(seed, |hash, n| black_box((hash ^ n).wrapping_mul(0x0100_0000_01b3)))
}

/// The answers of each run, and how long all took.
fn measure(runs: usize, start: Start) -> Result<(Vec<u64>, Duration), Box<dyn Error>> {
    wouldblock::run(|| {
        let (answered, answers) = async_channel::unbounded();
        let (running, stop) = async_channel::bounded(1);
        let (address, threads) = start(runs, Ties { answered, stop })?;
        let expected: Rc<[u64]> = (0..REQUESTS).map(work).collect();

        let began = Instant::now();
        let clients = (0..CONNECTIONS).map(|_| {
            let expected = expected.clone();
            green::spawn(move || ask(address, &expected))
        });
        for client in green::wait(gather(clients)) {
            client??;
        }
        let took = began.elapsed();

        // Each run has sent its last count before the root of the run, which waits for this, goes on.
        let mut counts = vec![0; runs];
        for _ in 0..CONNECTIONS as u64 * REQUESTS {
            counts[green::wait(answers.recv())?] += 1;
        }
        drop::<Sender<()>>(running);
        for thread in threads {
            green::wait(wouldblock::offload(|| thread.join())).map_err(|_| "a run panicked")?;
        }
        Ok((counts, took))
    })
}

/// One client: a connection, and its requests one after the other.
fn ask(address: SocketAddr, expected: &[u64]) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    let (mut reader, mut writer) = (BufReader::new(&stream), &stream);
    for (seed, expected) in expected.iter().enumerate() {
        writer.write_all(format!("{seed}\n").as_bytes())?;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        assert_eq!(line.trim_end(), expected.to_string(), "the answer to request {seed}");
    }
    Ok(())
}
