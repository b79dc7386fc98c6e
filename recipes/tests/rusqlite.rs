//! SQLite: rusqlite's connection blocks the thread that uses it, so it gets one of its own, `Blocking`. Tasks wait for their
//! calls; a transaction is one call. And a backup that takes long, behind which no other call waits: `offload`.
//!
//! A call costs more than on threads that share the connection by a lock: some 3 µs, for the way to the other thread and
//! back, where a short call itself takes 2. So what belongs together goes into one call.

use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, Result};
use wouldblock::{Blocking, green, group::gather, offload};

type Database = Blocking<Connection>;

fn open(path: &std::path::Path) -> Result<Database> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?; // So no call waits for ever for another program.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection
        .execute_batch("create table words (word text primary key, count integer not null)")?;
    Ok(Blocking::new(connection))
}

/// Counts each word of a text, all or none.
fn count(database: &Database, text: &'static str) -> Result<()> {
    const COUNT: &str =
        "insert into words values (?, 1) on conflict do update set count = count + 1";
    database.with(move |connection| {
        let transaction = connection.transaction()?;
        for word in text.split_whitespace() {
            transaction.execute(COUNT, [word])?;
        }
        transaction.commit()
    })
}

fn counted(database: &Database, word: &'static str) -> Result<u32> {
    database.with(move |connection| {
        connection.query_row("select count from words where word = ?", [word], |row| row.get(0))
    })
}

#[test]
fn many_tasks_one_connection_and_a_backup() {
    recipes::run(|| {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("words.db"), folder.path().join("copy.db"));
        let database = open(&path).unwrap();
        let tasks = (0..200).map(|_| {
            let database = database.clone();
            green::spawn(move || count(&database, "one two two"))
        });
        green::wait(gather(tasks)).into_iter().for_each(|counted| counted.unwrap().unwrap());
        assert_eq!((counted(&database, "one"), counted(&database, "two")), (Ok(200), Ok(400)));

        // A cancelled task takes its call back, or the call goes on to its end: all or none in both cases.
        let cancelled = green::spawn({
            let database = database.clone();
            move || count(&database, "one two two")
        });
        green::yield_now();
        cancelled.cancel();
        let _ = cancelled.join();
        let (one, two) = (counted(&database, "one").unwrap(), counted(&database, "two").unwrap());
        assert_eq!(two, 2 * one);

        let backup = green::spawn(move || {
            green::wait(offload(move || {
                Connection::open(path)?.execute("vacuum into ?", [copy.to_str()])
            }))
        });
        assert_eq!(counted(&database, "one").unwrap(), one);
        backup.join().unwrap().unwrap();
    });
}

#[test]
fn cost_beside_threads() {
    const TASKS: u32 = 20;
    const CALLS: u32 = 50;
    const INSERT: &str = "insert into numbers values (1)";
    let new = || -> Result<Connection> {
        let connection = Connection::open_in_memory()?;
        connection.execute("create table numbers (n integer)", [])?;
        Ok(connection)
    };
    recipes::run(|| {
        let (one, other) = (Blocking::new(new().unwrap()), Mutex::new(new().unwrap()));
        let ours = || {
            green::scope(|scope| {
                for _ in 0..TASKS {
                    scope.spawn(|| {
                        for _ in 0..CALLS {
                            one.with(|one| one.execute(INSERT, [])).unwrap();
                        }
                    });
                }
            });
        };
        let theirs = move || {
            std::thread::scope(|scope| {
                for _ in 0..TASKS {
                    scope.spawn(|| {
                        for _ in 0..CALLS {
                            other.lock().unwrap().execute(INSERT, []).unwrap();
                        }
                    });
                }
            });
        };
        recipes::beside("rusqlite, a call", TASKS * CALLS, ours, "threads", theirs);
    });
}
