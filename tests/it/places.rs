//! Reports name the line of the program where a task waits, for each call of this crate that waits.

use std::cell::RefCell;
use std::error::Error;
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::panic::Location;
use std::rc::Rc;

use crate::util::examples::Folder;
use crate::util::*;
use wouldblock::group::{Group, Pool, as_completed, race, share};
use wouldblock::io::{pipe, stdin};
use wouldblock::net::unix::{UnixDatagram, UnixListener, UnixStream};
use wouldblock::net::{TcpListener, TcpStream, UdpSocket};
use wouldblock::process::{Command, Stdio};
use wouldblock::signal::{SIGWINCH, Signals};
use wouldblock::sync::{self, broadcast, channel, oneshot, watch};
use wouldblock::{
    Blocking, JoinHandle, TaskInfo, TaskState, fs, generator, green, tasks, thread, time,
};

/// The row of the task in the table, when it waits.
fn row_of(task: &JoinHandle<()>, spawned: u64) -> TaskInfo {
    loop {
        let mut rows = tasks().tasks.into_iter();
        let row = rows.find(|row| row.task.id() == spawned).expect("it waits, and does not end");
        if let TaskState::Waiting { .. } = row.state {
            return row;
        }
        assert!(!task.is_finished());
        green::yield_now();
    }
}

/// Calls that each wait, with what was found wrong with their places.
#[derive(Default)]
struct Calls(String);

impl Calls {
    /// Makes a call, which waits, and cancels it. The place of the wait is to be the caller's line.
    #[track_caller]
    fn wait<T>(&mut self, call: impl FnOnce() -> T + 'static) {
        let line = Location::caller();
        let id = Rc::new(RefCell::new(0));
        let same = id.clone();
        let task = green::spawn(move || {
            *same.borrow_mut() = wouldblock::task::current().unwrap().id();
            drop(call());
        });
        while *id.borrow() == 0 {
            green::yield_now();
        }
        let spawned = *id.borrow();
        let row = row_of(&task, spawned);
        task.cancel();
        drop(task.join());
        let is_there = |at: &Location<'_>| {
            at.file() == line.file() && (0..4).contains(&(at.line() - line.line()))
        };
        if !row.waits_at.is_some_and(is_there) {
            let text = include_str!("places.rs").lines().nth(line.line() as usize - 1).unwrap();
            self.0 += &format!("\n{}: {}\n    {row}", line.line(), text.trim());
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "these do not name their line:{}", self.0);
        }
    }
}

/// A stream into which nothing more can be written, with its other end.
fn full() -> (TcpStream, TcpStream) {
    let (ours, theirs) = pair();
    while ours.try_write(&[0; 1 << 16]).is_ok() {}
    while green::timeout(MS, || (&ours).write(&[0])).is_ok() {}
    (ours, theirs)
}

#[test]
fn streams_and_listeners() {
    bounded(|| {
        let mut calls = Calls::default();
        let (tcp, _address) = listener();
        let tcp: &'static TcpListener = Box::leak(Box::new(tcp));
        calls.wait(|| tcp.accept());
        calls.wait(|| tcp.incoming().next());
        calls.wait(move || for _stream in tcp {});
        let (ours, _theirs) = pair();
        let ours: &'static TcpStream = Box::leak(Box::new(ours));
        let mut reads = ours;
        calls.wait(move || reads.read(&mut [0; 9]));
        calls.wait(move || reads.read_vectored(&mut [IoSliceMut::new(&mut [0; 9])]));
        calls.wait(move || reads.read_exact(&mut [0; 9]));
        calls.wait(move || reads.read_to_end(&mut Vec::new()));
        calls.wait(move || reads.read_to_string(&mut String::new()));
        calls.wait(|| TcpStream::peek(ours, &mut [0; 9]));
        let (full, _theirs) = full();
        let mut writes: &TcpStream = Box::leak(Box::new(full));
        calls.wait(move || writes.write(b"x"));
        calls.wait(move || writes.write_vectored(&[IoSlice::new(b"x")]));
        calls.wait(move || writes.write_all(b"x"));
        calls.wait(move || write!(writes, "{}", 1));
        calls.wait(move || writeln!(writes, "x"));
        let (silent, _filled) = silent();
        calls.wait(move || TcpStream::connect(silent));
        calls.wait(move || TcpStream::connect_timeout(&silent, HOUR));
    });
}

#[test]
fn unix_sockets_and_datagrams() {
    bounded(|| {
        let mut calls = Calls::default();
        let folder = Folder::new();
        let path: &'static _ = Box::leak(folder.path().join("s").into_boxed_path());
        let unix = UnixListener::bind(path).unwrap();
        calls.wait(move || unix.accept());
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        calls.wait(move || ours.read(&mut [0; 9]));
        let path: &'static _ = Box::leak(folder.path().join("t").into_boxed_path());
        let socket = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let (listener, filler) = (socket().unwrap(), socket().unwrap());
        let address = socket2::SockAddr::unix(path).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        filler.connect(&address).unwrap();
        calls.wait(move || UnixStream::connect(path));
        let address = wouldblock::net::unix::SocketAddr::from_pathname(path).unwrap();
        calls.wait(move || UnixStream::connect_addr(&address));

        let new = || -> &'static UdpSocket {
            Box::leak(Box::new(UdpSocket::bind("127.0.0.1:0").unwrap()))
        };
        let udp = new();
        calls.wait(|| udp.recv(&mut [0; 9]));
        calls.wait(|| udp.recv_from(&mut [0; 9]));
        calls.wait(|| udp.peek(&mut [0; 9]));
        calls.wait(|| udp.peek_from(&mut [0; 9]));
        let path: &'static _ = Box::leak(folder.path().join("u").into_boxed_path());
        let named: &UnixDatagram = Box::leak(Box::new(UnixDatagram::bind(path).unwrap()));
        calls.wait(|| named.recv(&mut [0; 9]));
        calls.wait(|| named.recv_from(&mut [0; 9]));
        let unnamed: &UnixDatagram = Box::leak(Box::new(UnixDatagram::unbound().unwrap()));
        while unnamed.try_send_to(b"x", path).is_ok() {}
        let address = wouldblock::net::unix::SocketAddr::from_pathname(path).unwrap();
        calls.wait(move || unnamed.send_to(b"x", path));
        calls.wait(move || unnamed.send_to_addr(b"x", &address));
        unnamed.connect(path).unwrap();
        calls.wait(move || unnamed.send(b"x"));
    });
}

#[test]
fn pipes_signals_children_and_files() {
    bounded(|| {
        let mut calls = Calls::default();
        let (mut reader, _writer) = pipe().unwrap();
        let same = reader.try_clone().unwrap();
        calls.wait(move || same.read_with(|mut pipe| pipe.read(&mut [0; 9])));
        let mut same = reader.try_clone().unwrap();
        calls.wait(move || same.read_exact(&mut [0; 9]));
        calls.wait(move || reader.read(&mut [0; 9]));
        let (_reader, mut writer) = pipe().unwrap();
        while writer.try_write_with(|mut pipe| pipe.write(&[0; 4096])).is_ok() {}
        while writer.try_write_with(|mut pipe| pipe.write(&[0])).is_ok() {}
        let same = writer.try_clone().unwrap();
        calls.wait(move || same.write_with(|mut pipe| pipe.write(b"x")));
        calls.wait(move || writer.write_all(b"x"));

        let mut signals = Signals::new([SIGWINCH]).unwrap();
        calls.wait(move || signals.recv());

        let patient = || {
            let mut command = Command::new("sleep");
            command.arg("3600").kill_on_drop(true).stdout(Stdio::piped());
            command
        };
        let mut child = patient().spawn().unwrap();
        calls.wait(move || child.wait());
        let child = patient().spawn().unwrap();
        calls.wait(move || child.wait_with_output());
        calls.wait(move || patient().output());
        calls.wait(move || patient().status());

        let folder = Folder::new();
        let path: &'static _ = Box::leak(folder.path().join("fifo").into_boxed_path());
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        calls.wait(move || fs::File::open(path));
        calls.wait(move || fs::read(path));
        let keeps = std::fs::File::options().read(true).write(true).open(path).unwrap();
        let mut file: &fs::File = Box::leak(Box::new(keeps.try_clone().unwrap().into()));
        calls.wait(move || file.read(&mut [0; 9]));
        calls.wait(move || file.read_exact(&mut [0; 9]));
        calls.wait(move || file.read_to_end(&mut Vec::new()));
        (&keeps).write_all(&[0; 99]).unwrap(); // So that their threads end.
    });
}

#[test]
fn standard_input() {
    in_child(|| {
        let (reader, _writer) = std::io::pipe().unwrap();
        // SAFETY: replaces a descriptor of this process, which nothing uses yet.
        assert_eq!(unsafe { libc::dup2(reader.as_raw_fd(), 0) }, 0);
        bounded(|| {
            let mut calls = Calls::default();
            calls.wait(|| stdin().read_line(&mut String::new()));
            calls.wait(|| stdin().lines().next());
            calls.wait(|| stdin().read(&mut [0; 9]));
            calls.wait(|| stdin().read_exact(&mut [0; 9]));
        });
    })
    .assert_fine();
}

#[test]
fn tasks_scopes_groups_and_pools() {
    bounded(|| {
        let mut calls = Calls::default();
        let endless = || green::spawn(|| green::sleep(HOUR));
        calls.wait(|| green::sleep(HOUR));
        calls.wait(|| green::wait(time::sleeping(HOUR)));
        calls.wait(|| time::interval(HOUR).tick());
        calls.wait(|| green::timeout(HOUR, || green::sleep(HOUR)));
        calls.wait(move || endless().join());
        calls.wait(move || endless().join_timeout(HOUR));
        calls.wait(|| green::scope(|scope| drop(scope.spawn(|| green::sleep(HOUR)))));
        calls.wait(|| green::scope(|scope| scope.spawn(|| green::sleep(HOUR)).join()));
        calls.wait(|| {
            green::try_scope(|scope| {
                drop(scope.spawn(|| {
                    green::sleep(HOUR);
                    Ok::<_, ()>(())
                }));
                Ok(())
            })
        });
        calls.wait(|| thread::scope(|scope| drop(scope.spawn(|| green::sleep(HOUR)))));
        calls.wait(|| thread::spawn(|| green::sleep(HOUR)).join());
        calls.wait(|| thread::park());
        calls.wait(|| thread::park_timeout(HOUR));
        calls.wait(|| {
            Group::<Box<dyn Error>>::run(|group| {
                drop(group.spawn(|| {
                    green::sleep(HOUR);
                    Ok(())
                }));
                Ok(())
            })
        });
        calls.wait(move || as_completed([endless()]).next());
        calls.wait(move || green::wait(race([endless()])));
        calls.wait(move || share(endless()).join().is_ok());
        calls.wait(move || share(endless()).join_timeout(HOUR).is_ok());
        let pool = || {
            let pool = Pool::new(1);
            drop(pool.reserve().spawn(|| green::sleep(HOUR)));
            pool
        };
        calls.wait(|| Pool::new(1).map([1], |_| green::sleep(HOUR)));
        calls.wait(|| Pool::new(1).imap([1], |_| green::sleep(HOUR)).next());
        calls.wait(move || pool().reserve());
        calls.wait(move || pool().reserve_timeout(HOUR));
        calls.wait(move || pool().join());
        calls.wait(move || pool().join_timeout(HOUR));
        let remote = || wouldblock::Spawner::current().spawn(|| green::sleep(HOUR));
        calls.wait(move || remote().ok().unwrap().join());
        calls.wait(|| {
            let pauses = generator::spawn(|y| y.wait(time::sleeping(HOUR)));
            pauses.join()
        });
    });
}

#[test]
fn what_synchronises() {
    bounded(|| {
        let mut calls = Calls::default();
        let mutex: &sync::Mutex<()> = Box::leak(Box::new(sync::Mutex::new(())));
        let _held = mutex.lock();
        calls.wait(|| mutex.lock());
        calls.wait(|| mutex.lock_timeout(HOUR));
        let rwlock: &sync::RwLock<()> = Box::leak(Box::new(sync::RwLock::new(())));
        let _written = rwlock.write();
        calls.wait(|| rwlock.read());
        calls.wait(|| rwlock.write());
        calls.wait(|| rwlock.read_timeout(HOUR));
        calls.wait(|| rwlock.write_timeout(HOUR));
        let semaphore: &sync::Semaphore = Box::leak(Box::new(sync::Semaphore::new(0)));
        calls.wait(|| semaphore.acquire());
        calls.wait(|| semaphore.acquire_many(2));
        calls.wait(|| semaphore.acquire_timeout(HOUR));
        let event: &sync::Event = Box::leak(Box::default());
        calls.wait(|| event.wait());
        calls.wait(|| event.wait_timeout(HOUR));
        let (lock, condvar) = (sync::Mutex::new(()), sync::Condvar::new());
        let pair: &(sync::Mutex<()>, sync::Condvar) = Box::leak(Box::new((lock, condvar)));
        calls.wait(|| pair.1.wait(pair.0.lock()));
        calls.wait(|| pair.1.wait_while(pair.0.lock(), |()| true));
        calls.wait(|| pair.1.wait_timeout(pair.0.lock(), HOUR));
        calls.wait(|| pair.1.wait_timeout_while(pair.0.lock(), HOUR, |()| true));
        calls.wait(|| sync::Barrier::new(2).wait());
        calls.wait(|| sync::Barrier::new(2).wait_timeout(HOUR));
        let (sender, receiver) = channel::bounded(1);
        let same = receiver.clone();
        calls.wait(move || same.recv());
        let same = receiver.clone();
        calls.wait(move || same.recv_timeout(HOUR));
        let same = receiver.clone();
        calls.wait(move || same.iter().next());
        let same = receiver.clone();
        calls.wait(move || for () in same {});
        sender.send(()).unwrap();
        let same = sender.clone();
        calls.wait(move || same.send(()));
        calls.wait(move || sender.send_timeout((), HOUR));
        let (_sender, receiver) = oneshot::channel::<()>();
        calls.wait(move || receiver.recv());
        let (_sender, mut receiver) = oneshot::channel::<()>();
        calls.wait(move || receiver.recv_timeout(HOUR));
        let (_sender, receiver) = watch::channel(());
        let mut same = receiver.clone();
        calls.wait(move || same.recv());
        let mut same = receiver.clone();
        calls.wait(move || same.recv_timeout(HOUR));
        let mut same = receiver.clone();
        calls.wait(move || same.iter().next());
        let mut same = receiver;
        calls.wait(move || for () in same.iter() {});
        let (_sender, mut receiver) = broadcast::channel::<()>(1);
        calls.wait(move || receiver.recv());
        let mut receiver = _sender.subscribe();
        calls.wait(move || receiver.recv_timeout(HOUR));
        let mut receiver = _sender.subscribe();
        calls.wait(move || receiver.iter().next());
        let queue: &sync::Queue<()> = Box::leak(Box::new(sync::Queue::bounded(1)));
        calls.wait(|| queue.get());
        calls.wait(|| queue.get_timeout(HOUR));
        queue.put(()).unwrap();
        calls.wait(|| queue.put(()));
        calls.wait(|| queue.put_timeout((), HOUR));
        calls.wait(|| queue.join());
        calls.wait(|| queue.join_timeout(HOUR));
        calls.wait(|| sync::PriorityQueue::<()>::new().get());
        calls.wait(|| sync::PriorityQueue::<()>::new().get_timeout(HOUR));
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        calls.wait(|| Blocking::new(stopped).with(|stopped| stopped.recv()));
        drop(stop);
    });
}

/// A line of std's helps nobody.
#[test]
fn a_library_that_waits_is_no_place() {
    bounded(|| {
        let (ours, theirs) = pair();
        let task = green::spawn(move || {
            BufReader::new(ours).read_line(&mut String::new()).unwrap();
        });
        let row = loop {
            green::yield_now(); // With a seed, its turn may come later.
            let row = tasks().tasks.pop().unwrap();
            if row.state.to_string().contains("to read") {
                break row;
            }
        };
        assert!(row.waits_at.is_none(), "{row}");
        drop(theirs);
        task.join().unwrap();
    });
}
