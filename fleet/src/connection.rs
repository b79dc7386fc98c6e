//! A connection to Redis: the commands and the protocol are the `redis` crate's, the socket is wouldblock's.
//!
//! The `redis` crate's own blocking connection opens a socket of std's, which would block all tasks of the thread. But
//! its commands take any [`ConnectionLike`], and its parser any [`Read`](std::io::Read): on a socket of wouldblock's,
//! the same code suspends the task.

use std::io::{self, Write};
use std::time::Duration;

use redis::{
    Cmd, ConnectionLike, FromRedisValue, Parser, Pipeline, RedisError, RedisResult, Value,
};
use wouldblock::net::TcpStream;
use wouldblock::sync::Mutex;
use wouldblock::{green, time};

/// How long an answer may take, on top of what the command itself waits.
const ANSWER: Duration = Duration::from_secs(10);

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A connection that is opened again when it is lost. Tasks may share it: each waits for its turn.
pub struct Connection {
    address: String,
    /// How long to try to reach the server; `None`: for ever.
    patience: Option<Duration>,
    wire: Mutex<Wire>,
}

impl Connection {
    /// To `address`, `HOST:PORT`. It is opened by the first command.
    pub fn new(address: &str, patience: Option<Duration>) -> Connection {
        let wire = Wire { address: address.into(), open: None };
        Connection { address: address.into(), patience, wire: Mutex::new(wire) }
    }

    /// Sends a command, and returns the answer. One whose answer was lost is sent again: it has to bear being
    /// carried out twice.
    pub fn call<T: FromRedisValue>(&self, command: &Cmd) -> io::Result<T> {
        self.again(|wire| command.query(wire))
    }

    /// As [`call`](Connection::call), for several commands at once.
    pub fn call_all<T: FromRedisValue>(&self, commands: &Pipeline) -> io::Result<T> {
        self.again(|wire| commands.query(wire))
    }

    fn again<T>(&self, attempt: impl Fn(&mut Wire) -> RedisResult<T>) -> io::Result<T> {
        let (start, mut pause) = (time::now(), SHORTEST_PAUSE);
        loop {
            let result = attempt(&mut self.wire.lock());
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) if !is_passing(&error) => return Err(self.named(&error)),
                Err(error) => error,
            };
            if self.patience.is_some_and(|patience| start.elapsed() > patience) {
                return Err(self.named(&error));
            }
            if pause >= LONGEST_PAUSE {
                eprintln!("fleet: redis at {}: {error}; trying again", self.address);
            }
            green::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn named(&self, error: &RedisError) -> io::Error {
        io::Error::other(format!("redis at {}: {error}", self.address))
    }
}

/// Whether another try may succeed: the server cannot be reached, or is still loading its data.
fn is_passing(error: &RedisError) -> bool {
    error.is_io_error() || matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "TRYAGAIN"))
}

/// The socket, while it is between two answers.
struct Wire {
    address: String,
    open: Option<(TcpStream, Parser)>,
}

impl Wire {
    /// Sends `commands`, and reads so many answers. When this fails, or is cancelled, half-way, the connection is closed
    /// instead of being left at an unknown place, since it is put back only at the end.
    fn talk(&mut self, commands: &[u8], answers: usize) -> RedisResult<Vec<Value>> {
        let (mut stream, mut parser) = match self.open.take() {
            Some(open) => open,
            None => {
                let connected = green::timeout(ANSWER, || TcpStream::connect(&*self.address));
                let stream = connected.map_err(io::Error::from)??;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER))?;
                stream.set_write_timeout(Some(ANSWER))?;
                (stream, Parser::new())
            }
        };
        stream.write_all(commands)?;
        let values = (0..answers).map(|_| parser.parse_value(&mut stream)).collect();
        if let Ok(values) = values {
            self.open = Some((stream, parser));
            return Ok(values);
        }
        values
    }
}

impl ConnectionLike for Wire {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        Ok(self.talk(command, 1)?.remove(0))
    }

    fn req_packed_commands(
        &mut self,
        commands: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        Ok(self.talk(commands, offset + count)?.split_off(offset))
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        self.talk(&redis::cmd("PING").get_packed_command(), 1).is_ok()
    }

    fn is_open(&self) -> bool {
        self.open.is_some()
    }
}
