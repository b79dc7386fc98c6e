//! redb: an embedded database whose transactions wait for the disk, and for each other, by blocking the thread. It gets a
//! thread of its own, `Blocking`, and a call of it is a transaction. (SQLite, with a backup beside: `rusqlite.rs`.)
//!
//! A call costs some microseconds more than on threads that share the database, for the way to the other thread and back: a
//! tenth of the shortest transaction, and nothing beside one that waits for the disk.

#![allow(clippy::result_large_err, reason = "redb's error is large")]

use std::path::Path;

use redb::{Database, Durability, Error, ReadableTable, TableDefinition};
use wouldblock::{Blocking, green, group::gather};

const WORDS: TableDefinition<'_, &str, u64> = TableDefinition::new("words");

fn open(path: &Path) -> Result<Blocking<Database>, Error> {
    Ok(Blocking::new(Database::create(path)?))
}

/// Counts each word of a text, all or none. They are on the disk when this returns.
fn count(database: &Blocking<Database>, text: &'static str) -> Result<(), Error> {
    database.with(move |database| write(database, text, Durability::Immediate))
}

fn write(database: &Database, text: &str, durability: Durability) -> Result<(), Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability);
    {
        let mut words = transaction.open_table(WORDS)?;
        for word in text.split_whitespace() {
            let count = words.get(word)?.map_or(0, |count| count.value());
            words.insert(word, count + 1)?;
        }
    }
    Ok(transaction.commit()?)
}

fn counted(database: &Blocking<Database>, word: &'static str) -> Result<u64, Error> {
    database.with(move |database| {
        let words = database.begin_read()?.open_table(WORDS)?;
        Ok(words.get(word)?.map_or(0, |count| count.value()))
    })
}

#[test]
fn many_tasks_one_database() {
    recipes::run(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.redb");
        let database = open(&path).unwrap();
        let tasks = (0..20).map(|_| {
            let database = database.clone();
            green::spawn(move || count(&database, "one two two"))
        });
        green::wait(gather(tasks)).into_iter().for_each(|counted| counted.unwrap().unwrap());
        assert_eq!(counted(&database, "one").unwrap(), 20);
        assert_eq!(counted(&database, "two").unwrap(), 40);

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

        // The last handle ends the thread, which closes the database: it can be opened again when that is done.
        drop(database);
        let database = loop {
            match open(&path) {
                Err(Error::DatabaseAlreadyOpen) => green::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        assert_eq!(counted(&database, "two").unwrap(), two);
    });
}

#[test]
fn cost_beside_threads() {
    const TASKS: u32 = 20;
    const CALLS: u32 = 25;
    let new =
        |folder: &tempfile::TempDir, name| Database::create(folder.path().join(name)).unwrap();
    recipes::run(|| {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Blocking::new(new(&folder, "ours")), new(&folder, "theirs"));
        // Not on the disk each time, whose time would be all.
        let ours = || {
            green::scope(|scope| {
                for _ in 0..TASKS {
                    scope.spawn(|| {
                        for _ in 0..CALLS {
                            one.with(|one| write(one, "word", Durability::None)).unwrap();
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
                            write(&other, "word", Durability::None).unwrap();
                        }
                    });
                }
            });
        };
        recipes::beside("redb, a transaction", TASKS * CALLS, ours, "threads", theirs);
    });
}
