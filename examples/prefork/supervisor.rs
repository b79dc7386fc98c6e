//! The supervisor: a task for each worker, which starts it, waits for its end, and replaces it.

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use async_channel::Receiver as SignalReceiver;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use wouldblock::net::TcpListener;
use wouldblock::net::unix::UnixStream;
use wouldblock::op::{Either, select};
use wouldblock::sync::channel::{self, Receiver, Sender};
use wouldblock::sync::{Event, oneshot};
use wouldblock::{JoinHandle, green, offload, time};

/// How long a worker may take to become ready.
const READY: Duration = Duration::from_secs(10);

/// A worker that has served for so long is started anew at once when it dies.
const LIVED: Duration = Duration::from_secs(1);

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Serves at `address` by so many workers, until a signal stops it.
pub fn supervise(address: &str, workers: u16, limit: Duration) -> Result<(), Box<dyn Error>> {
    let signals = signals()?;
    wouldblock::run(|| {
        let listener = TcpListener::bind(address)?;
        println!("listening on {}", listener.local_addr()?);
        let team =
            Rc::new(Team { listener: RefCell::new(Some(listener)), limit, at_once: Event::new() });
        let places: Vec<Place> = (0..workers).map(|_| Place::new(&team)).collect();

        let (reload, reloads) = channel::unbounded();
        let orders: Vec<Sender<Order>> = places.iter().map(|place| place.orders.clone()).collect();
        let reloader = green::spawn(move || {
            for () in reloads.iter() {
                println!("{}", if replace_each(&orders) { "reloaded" } else { "reload given up" });
            }
        });

        while green::wait(signals.recv())? == SIGHUP {
            reload.send(()).expect("the reloader runs");
        }
        println!("stopping");
        // When the last worker has closed it too, new connections are refused, instead of waiting for nothing.
        team.listener.take();
        reloader.cancel();
        let _ = reloader.join(); // It has let go of the orders.
        let stopping = green::spawn(move || {
            // Without a sender of orders, each stops its worker.
            let tasks: Vec<JoinHandle<()>> = places.into_iter().map(|place| place.task).collect();
            green::wait(wouldblock::group::gather(tasks))
        });
        let at_once = {
            let team = team.clone();
            green::spawn(move || {
                // The second signal that is meant to stop it.
                while green::wait(signals.recv()).is_ok_and(|signal| signal == SIGHUP) {}
                team.at_once.set();
            })
        };
        for ended in stopping.join()? {
            ended?;
        }
        at_once.cancel();
        println!("stopped");
        Ok(())
    })
}

/// The signals that come from now on, by way of a thread: a handler may do next to nothing.
fn signals() -> io::Result<SignalReceiver<i32>> {
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT])?;
    let (sender, receiver) = async_channel::unbounded();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            if sender.send_blocking(signal).is_err() {
                return; // The supervisor is done.
            }
        }
    })?;
    Ok(receiver)
}

/// Replaces one worker after the other. Returns `false`, and leaves the rest as they are, if a new one does not become
/// ready.
fn replace_each(places: &[Sender<Order>]) -> bool {
    places.iter().all(|place| {
        let (done, replaced) = oneshot::channel();
        place.send(Order::Replace(done)).is_ok() && replaced.recv().unwrap_or(false)
    })
}

/// What the places of all workers share.
struct Team {
    /// Until it is to stop.
    listener: RefCell<Option<TcpListener>>,
    /// For the stop of a worker.
    limit: Duration,
    /// Set when workers that are to stop are killed.
    at_once: Event,
}

/// The place of one worker, which one process after the other takes.
struct Place {
    orders: Sender<Order>,
    task: JoinHandle<()>,
}

/// To the task of a place. When nothing can send one any more, the worker is to stop.
enum Order {
    /// By a new process; the answer is whether it became ready.
    Replace(oneshot::Sender<bool>),
}

impl Place {
    fn new(team: &Rc<Team>) -> Place {
        let (orders, receiver) = channel::unbounded();
        let team = team.clone();
        Place { orders, task: green::spawn(move || keep(&team, &receiver)) }
    }
}

/// Keeps one worker serving.
fn keep(team: &Rc<Team>, orders: &Receiver<Order>) {
    let mut pause = Duration::ZERO;
    loop {
        if !pause.is_zero() {
            match green::wait(select(time::sleeping(pause), orders.receiving())) {
                Either::First(()) => {}
                Either::Second(Ok(Order::Replace(done))) => {
                    let _ = done.send(true);
                } // It starts now.
                Either::Second(Err(_)) => return,
            }
        }
        let lived = match Worker::start(team) {
            Ok(worker) => match serve(team, worker, orders) {
                Some(lived) => lived,
                None => return,
            },
            Err(error) => {
                println!("no worker: {error}");
                Duration::ZERO
            }
        };
        pause = match lived >= LIVED {
            true => Duration::ZERO,
            false => (pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
        };
    }
}

/// Carries out orders until the worker dies, and returns how long the last has lived; `None` once it was stopped.
fn serve(team: &Rc<Team>, mut worker: Worker, orders: &Receiver<Order>) -> Option<Duration> {
    loop {
        match green::wait(select(worker.line.readable(), orders.receiving())) {
            Either::First(_) => {
                let lived = worker.ready.elapsed();
                worker.reap();
                return Some(lived);
            }
            Either::Second(Ok(Order::Replace(done))) => match Worker::start(team) {
                Ok(new) => {
                    let (old, team) = (std::mem::replace(&mut worker, new), team.clone());
                    let stopped = green::spawn(move || old.stop(&team));
                    // The next is replaced while this one finishes what it has begun.
                    let _ = done.send(true);
                    drop(stopped);
                }
                Err(error) => {
                    println!("no new worker: {error}");
                    let _ = done.send(false);
                }
            },
            Either::Second(Err(_)) => {
                worker.stop(team);
                return None;
            }
        }
    }
}

/// A worker that accepts connections, or did.
struct Worker {
    process: Child,
    line: UnixStream,
    /// Since when.
    ready: Instant,
}

impl Worker {
    /// Starts a process, and waits until it is about to accept.
    fn start(team: &Team) -> io::Result<Worker> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let listener = match &*team.listener.borrow() {
            Some(listener) => listener.as_fd().try_clone_to_owned()?,
            None => return Err(io::Error::other("the server is stopping")),
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--worker", "--limit", &team.limit.as_secs().to_string()]);
        command.stdin(Stdio::from(listener)).stdout(Stdio::from(OwnedFd::from(theirs)));
        // All other descriptors are closed by the kernel when the new program begins: std opens them so. The command,
        // and with it this process's copy of the worker's end, ends with the call, which blocks until then.
        let process = green::wait(offload(move || command.spawn()))?;
        let mut worker = Worker { process, line: UnixStream::from_std(ours)?, ready: time::now() };
        let said = green::timeout(READY, || worker.line.read_exact(&mut [0]));
        let pid = worker.process.id();
        match said {
            Ok(Ok(())) => {
                worker.ready = time::now();
                println!("worker {pid} is ready");
                Ok(worker)
            }
            Ok(Err(_)) => {
                let how = worker.reap();
                Err(io::Error::other(format!("worker {pid} has ended before it was ready: {how}")))
            }
            Err(elapsed) => {
                worker.process.kill()?;
                worker.reap();
                Err(io::Error::other(format!("worker {pid} does not become ready: {elapsed}")))
            }
        }
    }

    /// Lets it finish what it has begun, for as long as the limit allows.
    fn stop(mut self, team: &Team) {
        let given_up = select(time::sleeping(team.limit), team.at_once.waiting());
        // An error: the worker is dead already.
        let _ = self.line.shutdown(Shutdown::Write);
        if let Either::Second(_) = green::wait(select(self.line.readable(), given_up)) {
            println!("worker {} is killed: it has not stopped", self.process.id());
            let _ = self.process.kill();
        }
        self.reap();
    }

    /// Takes the exit status of a worker whose line has ended, or that was killed.
    fn reap(self) -> String {
        let (pid, mut process) = (self.process.id(), self.process);
        let status: io::Result<ExitStatus> = green::wait(offload(move || process.wait()));
        let how = status.map_or_else(|e| e.to_string(), |status| status.to_string());
        println!("worker {pid} has ended: {how}");
        how
    }
}
