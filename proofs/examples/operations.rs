//! Network, file, database and message queue at once: one coroutine each, on one thread.
//!
//!     cargo run --release -p proofs --example operations
//!
//! Each is plain code that blocks, or so it reads. Look at what it waits for: a socket, until the kernel says
//! that there is something to read; a file and SQLite, until another thread has made the blocking call; a
//! queue, until another coroutine has put something in. While one waits, the others run:
//!
//! ```text
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

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::sync::Queue;
use wouldblock::{fs, green, offload};

type Outcome = Result<(), Box<dyn Error>>;

/// What does it, and says each step.
type Operation = fn(&dyn Fn(String)) -> Outcome;

const OPERATIONS: [(&str, Operation); 4] =
    [("network", network), ("file", file), ("database", database), ("message queue", queue)];

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

/// Fills a table. The connection goes to the other thread with the work, and comes back with the result.
fn database(say: &dyn Fn(String)) -> Outcome {
    const INSERT: &str = "INSERT INTO numbers WITH RECURSIVE up(n) AS \
        (SELECT 1 UNION ALL SELECT n + 1 FROM up LIMIT 50000) SELECT n FROM up";
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("database");
    let mut connection = green::wait(offload(|| Connection::open(path)))?;
    for _ in 1..=3 {
        let rows: i64;
        (connection, rows) = green::wait(offload(move || -> rusqlite::Result<_> {
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

/// All four, each in a column of its own.
fn all_at_once() -> Outcome {
    println!("   ms  {}", OPERATIONS.map(|(name, _)| format!("{name:<17}")).concat().trim_end());
    let start = Instant::now();
    let tasks = (0..).step_by(17).zip(OPERATIONS).map(|(column, (_, operation))| {
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
        let together = timed(all_at_once)?;
        println!("\nall at once   {together:>5} ms; and one after the other:");
        let mut sum = 0;
        for (name, operation) in OPERATIONS {
            let took = timed(|| operation(&drop))?;
            println!("{name:<13} {took:>5} ms");
            sum += took;
        }
        println!("the sum       {sum:>5} ms");
        Ok(())
    })
}
