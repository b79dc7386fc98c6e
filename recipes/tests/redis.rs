//! Redis: the crate `redis`, with all its commands, on a stream of this crate; a pool of connections; and Redis Streams as
//! a queue of jobs of which none is lost when the server is killed.
//!
//! `redis::Client` connects by std's sockets, which block the thread. Its commands go over anything that is a
//! `ConnectionLike`, which takes a few lines:

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::time::Duration;

use recipes::Server;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Commands, ConnectionLike, Parser, RedisResult, Value};
use wouldblock::net::TcpStream;
use wouldblock::{green, group::gather};

/// A connection to Redis. An answer that takes longer than `LIMIT` is an error, and closes it.
struct Connection {
    stream: BufReader<TcpStream>,
    parser: Parser,
    is_open: bool,
}

const LIMIT: Duration = Duration::from_secs(5);

impl Connection {
    fn open(server: SocketAddr) -> RedisResult<Connection> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Connection { stream: BufReader::new(stream), parser: Parser::new(), is_open: true })
    }

    fn send(&mut self, command: &[u8]) -> RedisResult<()> {
        self.is_open = false; // Until the answer is there: a task that is cancelled between leaves it so.
        Ok(self.stream.get_mut().write_all(command)?)
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.send(command)?;
        let value = self.parser.parse_value(&mut self.stream)?;
        self.is_open = true;
        value.extract_error()
    }

    fn req_packed_commands(
        &mut self,
        commands: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.send(commands)?;
        let mut values = Vec::new();
        for _ in 0..offset + count {
            values.push(self.parser.parse_value(&mut self.stream)?);
        }
        self.is_open = true;
        Ok(values.split_off(offset))
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        redis::cmd("PING").query::<String>(self).is_ok()
    }

    fn is_open(&self) -> bool {
        self.is_open
    }
}

/// Connections that are not in use. One that failed, or whose task was cancelled in the middle, is closed instead.
struct Pool {
    server: SocketAddr,
    free: RefCell<Vec<Connection>>,
}

impl Pool {
    fn with<T>(&self, f: impl FnOnce(&mut Connection) -> RedisResult<T>) -> RedisResult<T> {
        let free = self.free.borrow_mut().pop();
        let mut connection = free.map_or_else(|| Connection::open(self.server), Ok)?;
        let result = f(&mut connection);
        if connection.is_open() {
            self.free.borrow_mut().push(connection);
        }
        result
    }
}

#[test]
fn commands_pipelines_and_a_pool() {
    recipes::run(|| {
        let server = Server::redis();
        let pool = Pool { server: server.address, free: RefCell::default() };
        green::scope(|scope| {
            for n in 0..50 {
                let pool = &pool;
                scope.spawn(move || {
                    pool.with(|redis| redis::cmd("INCRBY").arg("sum").arg(n).exec(redis)).unwrap();
                });
            }
        });
        let sum: u32 = pool.with(|redis| redis.get("sum")).unwrap();
        assert_eq!(sum, (0..50).sum());
        let both: (String, u32) = pool
            .with(|redis| {
                redis::pipe().atomic().set("a", "x").ignore().get("a").incr("n", 2).query(redis)
            })
            .unwrap();
        assert_eq!(both, ("x".to_owned(), 2));
        let wrong = pool.with(|redis| redis.lpush::<_, _, u32>("a", "not a list")).unwrap_err();
        assert_eq!(wrong.code(), Some("WRONGTYPE"));
        // A limit around a command that waits: the connection is closed, and no later answer is taken for another's.
        let late = green::timeout(Duration::from_millis(10), || {
            pool.with(|redis| redis.blpop::<_, Option<String>>("none", 60.0))
        });
        assert!(late.is_err());
        assert_eq!(pool.with(|redis| redis.get::<_, String>("a")).unwrap(), "x");
    });
}

/// Puts a job into the stream, until the server has acknowledged it.
fn put(server: SocketAddr, job: u32) {
    loop {
        let put =
            |mut redis: Connection| redis.xadd::<_, _, _, _, String>("jobs", "*", &[("job", job)]);
        match Connection::open(server).and_then(put) {
            Ok(_) => return,
            Err(_) => green::sleep(Duration::from_millis(20)), // It may have been put: jobs are done at least once.
        }
    }
}

/// Takes jobs and does them until it is cancelled. A job that was taken by a worker and not acknowledged is taken again.
fn work(server: SocketAddr, name: &str, done: &RefCell<BTreeSet<u32>>) {
    loop {
        if let Err(_broken) = Connection::open(server).and_then(|redis| serve(redis, name, done)) {
            green::sleep(Duration::from_millis(20));
        }
    }
}

fn serve(mut redis: Connection, name: &str, done: &RefCell<BTreeSet<u32>>) -> RedisResult<()> {
    let made: RedisResult<()> = redis.xgroup_create_mkstream("jobs", "workers", "0");
    made.or_else(|e| if e.code() == Some("BUSYGROUP") { Ok(()) } else { Err(e) })?;
    let mut from = "0"; // What this worker has taken before and not acknowledged, then new ones.
    loop {
        let options = StreamReadOptions::default().group("workers", name).count(4).block(1000);
        let taken: Option<StreamReadReply> = redis.xread_options(&["jobs"], &[from], &options)?;
        let jobs = taken.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        let jobs: Vec<_> = jobs.collect();
        if jobs.is_empty() {
            from = ">";
        }
        for job in jobs {
            done.borrow_mut().insert(job.get("job").expect("a job has a number"));
            let _: u32 = redis.xack("jobs", "workers", &[job.id])?;
        }
    }
}

#[test]
fn a_queue_of_jobs_loses_none_when_the_server_is_killed() {
    recipes::run(|| {
        let mut server = Server::redis();
        let address = server.address;
        let done = std::rc::Rc::new(RefCell::default());
        let workers: Vec<_> = ["ann", "bob"]
            .map(|name| {
                let done = done.clone();
                green::spawn(move || work(address, name, &done))
            })
            .into();
        let producers =
            (0..4).map(|n| green::spawn(move || (0..50).for_each(|m| put(address, 50 * n + m))));
        let producers: Vec<_> = producers.collect();
        while done.borrow().len() < 40 {
            green::yield_now();
        }
        server.kill();
        green::sleep(Duration::from_millis(50)); // All meet errors, and try again.
        assert!(server.restart());
        green::wait(gather(producers)).into_iter().for_each(|put| put.unwrap());
        while done.borrow().len() < 200 {
            green::sleep(Duration::from_millis(1));
        }
        for worker in workers {
            worker.cancel();
        }
    });
}

#[test]
fn cost_beside_threads() {
    const TASKS: u32 = 20;
    const COMMANDS: u32 = 100;
    fn commands(mut redis: impl Commands) {
        for n in 0..COMMANDS {
            redis.set::<_, _, ()>("key", n).unwrap();
        }
    }
    recipes::run(|| {
        let server = Server::redis();
        let address = server.address;
        let ours = || {
            green::scope(|scope| {
                for _ in 0..TASKS {
                    scope.spawn(|| commands(Connection::open(address).unwrap()));
                }
            });
        };
        let theirs = move || {
            let client = redis::Client::open(format!("redis://{address}")).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..TASKS {
                    scope.spawn(|| commands(client.get_connection().unwrap()));
                }
            });
        };
        recipes::beside("redis, a command", TASKS * COMMANDS, ours, "threads", theirs);
    });
}
