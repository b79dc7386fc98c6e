//! Network, file, database and message queue at once: one coroutine each, on one thread.
//!
//!     cargo run --release -p recipes --example operations
//!
//! The database is PostgreSQL where it runs, and the message queue Redis: at their usual addresses, or where `POSTGRES` and
//! `REDIS` name others (`POSTGRES=127.0.0.1:5432`; the user and so on are in `PGUSER`, `PGPASSWORD` and `PGDATABASE`).
//! Nothing is left behind in them. Where they do not run, SQLite and a queue within the program take their places, and the
//! program says so.
//!
//! Each is plain code that blocks, or so it reads. Look at what it waits for: a socket, until the kernel says
//! that there is something to read; a file and SQLite, until another thread has made the blocking call; a
//! queue, until another coroutine has put something in. While one waits, the others run:
//!
//! ```text
//! database: SQLite; no PostgreSQL at 127.0.0.1:5432
//! message queue: of this program; no Redis at 127.0.0.1:6379
//!
//!    ms  network          file             database         message queue
//!    30                   8 MiB synced
//!    44                                                     message 1
//!    45  answer 1
//!    54                                    50000 rows
//!    54                   8 MiB synced
//!    72                                                     message 2
//!    76  answer 2
//!    81                   8 MiB synced
//!    86                                    100000 rows
//!    98                                                     message 3
//!   107  answer 3
//!   108                                    150000 rows
//!
//! all at once     109 ms; and one after the other:
//! network          94 ms
//! file             37 ms
//! database         67 ms
//! message queue    78 ms
//! the sum         276 ms
//! ```

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, RedisConnectionInfo, RedisResult};
use rusqlite::Connection;
use tokio_postgres::NoTls;
use wouldblock::green::wait;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::sync::Queue;
use wouldblock::{fs, future, green, offload, op::timeout};

type Outcome = Result<(), Box<dyn Error>>;

/// What does it, and says each step.
type Operation = fn(&dyn Fn(String)) -> Outcome;

/// How long a server has to answer the first time.
const LIMIT: Duration = Duration::from_secs(1);

/// Talks to a server that needs a while for each answer.
fn network(say: &dyn Fn(String)) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = BufReader::new(TcpStream::connect(listener.local_addr()?)?);
    let server = green::spawn(move || -> io::Result<()> {
        let (stream, _) = listener.accept()?;
        for line in BufReader::new(&stream).lines() {
            green::sleep(Duration::from_millis(30));
            (&stream).write_all(format!("answer {}\n", line?).as_bytes())?;
        }
        Ok(())
    });
    for n in 1..=3 {
        stream.get_mut().write_all(format!("{n}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_line(&mut answer)?;
        say(answer.trim_end().into());
    }
    drop(stream);
    Ok(server.join()??)
}

/// Writes a file, waits until it is on the disk, and reads it back.
fn file(say: &dyn Fn(String)) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    for n in 1..=3 {
        fs::write(&path, vec![n; 8 << 20])?;
        fs::File::open(&path)?.sync_all()?;
        say(format!("{} MiB synced", fs::read(&path)?.len() >> 20));
    }
    Ok(())
}

fn postgres_address() -> Result<SocketAddr, Box<dyn Error>> {
    Ok(env::var("POSTGRES").unwrap_or_else(|_| "127.0.0.1:5432".into()).parse()?)
}

/// Connects to PostgreSQL.
async fn postgres() -> Result<tokio_postgres::Client, Box<dyn Error>> {
    let stream = TcpStream::connecting(postgres_address()?).await?;
    stream.set_nodelay(true)?;
    let of = |name, default: &str| env::var(name).unwrap_or_else(|_| default.into());
    let mut config = tokio_postgres::Config::new();
    config.user(of("PGUSER", "postgres")).dbname(of("PGDATABASE", "postgres"));
    config.password(of("PGPASSWORD", ""));
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    drop(future::spawn(connection)); // It ends with the client.
    Ok(client)
}

/// Fills a table of PostgreSQL that ends with the connection.
fn database(say: &dyn Fn(String)) -> Outcome {
    const INSERT: &str = "INSERT INTO numbers SELECT generate_series(1, 50000)";
    let client = wait(postgres())?;
    wait(client.execute("CREATE TEMPORARY TABLE numbers (n INTEGER)", &[]))?;
    for _ in 1..=3 {
        wait(client.execute(INSERT, &[]))?;
        let rows: i64 = wait(client.query_one("SELECT count(*) FROM numbers", &[]))?.get(0);
        say(format!("{rows} rows"));
    }
    Ok(())
}

/// Fills a table of SQLite's. The connection goes to the other thread with the work, and comes back with the result.
fn sqlite(say: &dyn Fn(String)) -> Outcome {
    const INSERT: &str = "INSERT INTO numbers WITH RECURSIVE up(n) AS \
        (SELECT 1 UNION ALL SELECT n + 1 FROM up LIMIT 50000) SELECT n FROM up";
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("database");
    let mut connection = wait(offload(|| Connection::open(path)))?;
    for _ in 1..=3 {
        let rows: i64;
        (connection, rows) = wait(offload(move || -> rusqlite::Result<_> {
            connection.execute("CREATE TABLE IF NOT EXISTS numbers (n INTEGER)", ())?;
            connection.execute(INSERT, ())?;
            let rows =
                connection.query_row("SELECT count(*) FROM numbers", (), |row| row.get(0))?;
            Ok((connection, rows))
        }))?;
        say(format!("{rows} rows"));
    }
    Ok(())
}

fn redis_address() -> Result<SocketAddr, Box<dyn Error>> {
    Ok(env::var("REDIS").unwrap_or_else(|_| "127.0.0.1:6379".into()).parse()?)
}

/// Connects to Redis.
async fn redis() -> Result<MultiplexedConnection, Box<dyn Error>> {
    let stream = TcpStream::connecting(redis_address()?).await?;
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let info = RedisConnectionInfo::default();
    let connecting = MultiplexedConnection::new_with_config(&info, stream, config).await?;
    drop(future::spawn(connecting.1)); // It ends with the connection.
    Ok(connecting.0)
}

/// Gets from Redis what another coroutine puts there, until it has expired, should this fail.
fn broker(say: &dyn Fn(String)) -> Outcome {
    let (mut producer, mut consumer) = (wait(redis())?, wait(redis())?);
    let key = format!("wouldblock operations {}", std::process::id());
    let list = key.clone();
    let producer = green::spawn(move || -> RedisResult<()> {
        for n in 1..=3 {
            green::sleep(Duration::from_millis(25));
            wait(producer.rpush::<_, _, ()>(&key, format!("message {n}")))?;
            wait(producer.expire::<_, ()>(&key, 60))?;
        }
        Ok(())
    });
    for _ in 1..=3 {
        let (_, message): (String, String) = wait(consumer.blpop(&list, 10.0))?;
        say(message);
    }
    Ok(producer.join()??)
}

/// Gets what another coroutine puts in.
fn queue(say: &dyn Fn(String)) -> Outcome {
    let queue = Rc::new(Queue::bounded(1));
    let messages = queue.clone();
    let producer = green::spawn(move || {
        for n in 1..=3 {
            green::sleep(Duration::from_millis(25));
            queue.put(format!("message {n}"))?;
        }
        queue.shutdown();
        Ok(())
    });
    while let Ok(message) = messages.get() {
        say(message);
    }
    producer.join()?
}

/// Finds out which servers run, and says it.
fn operations() -> Result<[(&'static str, Operation); 4], Box<dyn Error>> {
    let (database, queue): (Operation, Operation) = (
        match wait(timeout(LIMIT, postgres())) {
            Ok(Ok(_)) => {
                println!("database: PostgreSQL at {}", postgres_address()?);
                database
            }
            _ => {
                println!("database: SQLite; no PostgreSQL at {}", postgres_address()?);
                sqlite
            }
        },
        match wait(timeout(LIMIT, async { Ok(redis().await?.ping::<()>().await?) })) {
            Ok(Ok::<_, Box<dyn Error>>(())) => {
                println!("message queue: Redis at {}\n", redis_address()?);
                broker
            }
            _ => {
                println!("message queue: of this program; no Redis at {}\n", redis_address()?);
                queue
            }
        },
    );
    Ok([("network", network), ("file", file), ("database", database), ("message queue", queue)])
}

/// All four, each in a column of its own.
fn all_at_once(operations: [(&'static str, Operation); 4]) -> Outcome {
    println!("   ms  {}", operations.map(|(name, _)| format!("{name:<17}")).concat().trim_end());
    let start = Instant::now();
    let tasks = (0..).step_by(17).zip(operations).map(|(column, (_, operation))| {
        green::spawn(move || {
            operation(&|step| {
                println!("{:>5}  {:column$}{step}", start.elapsed().as_millis(), "");
            })
        })
    });
    tasks.collect::<Vec<_>>().into_iter().try_for_each(|task| task.join()?)
}

/// How many milliseconds an operation takes.
fn timed(operation: impl FnOnce() -> Outcome) -> Result<u128, Box<dyn Error>> {
    let start = Instant::now();
    operation()?;
    Ok(start.elapsed().as_millis())
}

fn main() -> Outcome {
    wouldblock::run(|| {
        let operations = operations()?;
        let together = timed(|| all_at_once(operations))?;
        println!("\nall at once   {together:>5} ms; and one after the other:");
        let mut sum = 0;
        for (name, operation) in operations {
            let took = timed(|| operation(&drop))?;
            println!("{name:<13} {took:>5} ms");
            sum += took;
        }
        println!("the sum       {sum:>5} ms");
        Ok(())
    })
}
