//! A connection to Redis: the commands and the protocol are the `redis` crate's, the socket is wouldblock's.
//!
//! The `redis` crate's own blocking connection opens a socket of std's, which would block all tasks of the thread. But
//! its commands take any [`ConnectionLike`], and its parser any [`Read`](std::io::Read): on a socket of wouldblock's,
//! the same code suspends the task.

use std::io::{self, ErrorKind};
use std::time::Duration;

use redis::{
    Cmd, ConnectionLike, FromRedisValue, Parser, Pipeline, RedisError, RedisResult, Value,
};
use wouldblock::sync::Mutex;
use wouldblock::{green, time};

use crate::server::{Server, Stream};

/// How long an answer may take, on top of what the command itself waits.
const ANSWER: Duration = Duration::from_secs(10);

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A connection that is opened again when it is lost. Tasks may share it: each waits for its turn.
pub struct Connection {
    server: Server,
    /// How long to try to reach the server; `None`: for ever.
    patience: Option<Duration>,
    wire: Mutex<Option<Wire>>,
}

impl Connection {
    /// It is opened by the first command.
    pub fn new(server: &Server, patience: Option<Duration>) -> Connection {
        Connection { server: server.clone(), patience, wire: Mutex::new(None) }
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
            let error = match self.once(&attempt) {
                Ok(value) => return Ok(value),
                Err(error) if !is_passing(&error) => return Err(self.named(&error)),
                Err(error) => error,
            };
            if self.patience.is_some_and(|patience| start.elapsed() > patience) {
                return Err(self.named(&error));
            }
            if pause >= LONGEST_PAUSE {
                eprintln!("fleet: redis at {}: {error}; trying again", self.server);
            }
            green::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn once<T>(&self, attempt: impl Fn(&mut Wire) -> RedisResult<T>) -> RedisResult<T> {
        let mut place = self.wire.lock();
        // When this fails, or is cancelled, half-way, the connection is closed instead of being left at an unknown
        // place, since it is put back only at the end.
        let mut wire = match place.take() {
            Some(wire) => wire,
            None => Wire::open(&self.server)?,
        };
        let result = attempt(&mut wire);
        if wire.between_answers {
            *place = Some(wire);
        }
        result
    }

    fn named(&self, error: &RedisError) -> io::Error {
        let advice = match error.code() {
            Some("NOAUTH") => " (redis://:PASSWORD@HOST:PORT is an address with a password)",
            _ => "",
        };
        io::Error::other(format!("redis at {}: {error}{advice}", self.server))
    }
}

/// Whether another try may succeed: the server cannot be reached, or is still loading its data.
fn is_passing(error: &RedisError) -> bool {
    error.is_io_error() || matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "TRYAGAIN"))
}

/// An open connection.
struct Wire {
    stream: Box<dyn Stream>,
    parser: Parser,
    /// Whether all answers have been read, and the next bytes are the next command's answer.
    between_answers: bool,
}

impl Wire {
    fn open(server: &Server) -> RedisResult<Wire> {
        let stream = server.connect(ANSWER).map_err(|error| match error.kind() {
            // Another try meets the same certificate.
            ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                let what = "no connection by TLS (--redis-ca FILE names the authorities)";
                RedisError::from((redis::ErrorKind::InvalidClientConfig, what, error.to_string()))
            }
            _ => error.into(),
        })?;
        let mut wire = Wire { stream, parser: Parser::new(), between_answers: true };
        for command in server.hello() {
            command.query::<()>(&mut wire)?;
        }
        Ok(wire)
    }

    /// Sends `commands`, and reads so many answers.
    fn talk(&mut self, commands: &[u8], answers: usize) -> RedisResult<Vec<Value>> {
        self.between_answers = false;
        self.stream.write_all(commands)?;
        self.stream.flush()?;
        let answer = |_| self.parser.parse_value(&mut *self.stream);
        let values = (0..answers).map(answer).collect::<RedisResult<_>>()?;
        self.between_answers = true;
        Ok(values)
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
        self.between_answers
    }
}
