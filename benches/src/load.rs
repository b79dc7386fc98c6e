//! The load generator of `echo`: a bare epoll loop, the same for all servers.
//!
//! It keeps one message of 64 bytes under way on each connection. After a warm-up of 0.3 s, it looks at
//! the server's CPU clock, goes on for one second, and looks again.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::child::{Sample, status_bytes};

const MESSAGE: [u8; 64] = *b"sixty-four bytes, sent and sent back, over and over and over ...";
const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_secs(1);

struct Connection {
    stream: TcpStream,
    sent: Instant,
    /// Bytes of the present message that have come back.
    back: usize,
}

/// Loads the server on `port`, whose process is `server`.
pub(crate) fn run(port: u16, connections: usize, server: u32) -> Sample {
    let mut poll = Poll::new().expect("an event queue");
    let mut connections: Vec<_> =
        (0..connections).map(|_| connect(port).expect("a connection")).collect();
    for (n, connection) in connections.iter_mut().enumerate() {
        let (registry, token) = (poll.registry(), Token(n));
        registry.register(&mut connection.stream, token, Interest::READABLE).expect("registered");
        connection.send(Instant::now());
    }

    exchange(&mut poll, &mut connections, WARM_UP, |_| {}).expect("warm-up");
    let mut times = Vec::with_capacity(1 << 20);
    let (start, cpu_ns) = (Instant::now(), process_cpu_ns(server));
    exchange(&mut poll, &mut connections, MEASURED, |time| times.push(time)).expect("messages");
    let (wall, cpu_ns) = (start.elapsed(), process_cpu_ns(server) - cpu_ns);

    times.sort_unstable();
    let percentile = |p: usize| times[(times.len() - 1) * p / 100].as_nanos() as f64 / 1e3;
    let sample = Sample::new(times.len() as u64, wall.as_nanos() as f64, cpu_ns);
    let sample = sample.with("messages_per_s", times.len() as f64 / wall.as_secs_f64());
    let sample = sample.with("p50_us", percentile(50)).with("p99_us", percentile(99));
    sample.with("peak_rss", status_bytes(server, "VmHWM"))
}

fn connect(port: u16) -> io::Result<Connection> {
    let stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(Connection { stream: TcpStream::from_std(stream), sent: Instant::now(), back: 0 })
}

impl Connection {
    fn send(&mut self, now: Instant) {
        self.stream.write_all(&MESSAGE).expect("there is room for one message");
        (self.sent, self.back) = (now, 0);
    }
}

fn exchange(
    poll: &mut Poll,
    connections: &mut [Connection],
    how_long: Duration,
    mut back: impl FnMut(Duration),
) -> io::Result<()> {
    let mut events = Events::with_capacity(1024);
    let mut buffer = [0; 1024];
    let end = Instant::now() + how_long;
    while Instant::now() < end {
        match poll.poll(&mut events, Some(Duration::from_secs(5))) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        assert!(!events.is_empty(), "the server has not answered for five seconds");
        for event in &events {
            let connection = &mut connections[event.token().0];
            match connection.stream.read(&mut buffer) {
                Ok(0) => return Err(io::Error::other("the server has closed a connection")),
                Ok(n) => connection.back += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
                Err(e) => return Err(e),
            }
            if connection.back == MESSAGE.len() {
                let now = Instant::now();
                back(now - connection.sent);
                connection.send(now);
            }
        }
    }
    Ok(())
}

/// The CPU time of a process, all its threads, from its beginning.
fn process_cpu_ns(pid: u32) -> f64 {
    // SAFETY: both calls fill in plain data that lives here; zero is a value of it.
    let time = unsafe {
        let (mut clock, mut time) = (0, std::mem::zeroed::<libc::timespec>());
        assert_eq!(libc::clock_getcpuclockid(pid as i32, &mut clock), 0, "the server is gone");
        assert_eq!(libc::clock_gettime(clock, &mut time), 0, "the server is gone");
        time
    };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
