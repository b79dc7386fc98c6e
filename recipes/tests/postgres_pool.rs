//! PostgreSQL by a pool of connections: deadpool, with tokio-postgres on streams of this crate, without tokio's runtime. The
//! pool opens connections as they are needed, so many at most, and in place of those that were lost.
//!
//! A query costs what it costs on tokio, mostly the kernel's time, for a read and a write each; where a run measures up to
//! 1.2 of tokio's, the next may measure less than 1 (see `postgres.rs`).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult};
use recipes::Server;
use tokio_postgres::{Client, Config, NoTls};
use wouldblock::green::wait;
use wouldblock::net::TcpStream;
use wouldblock::op::timeout;
use wouldblock::{future, green, group::gather};

struct Manager {
    server: SocketAddr,
    config: Config,
}

impl managed::Manager for Manager {
    type Type = Client;
    type Error = io::Error;

    async fn create(&self) -> io::Result<Client> {
        // The green call: the operation could not be sent to another thread, which deadpool wants of this future.
        let stream = TcpStream::connect(self.server)?;
        stream.set_nodelay(true)?;
        let connecting = self.config.connect_raw(stream, NoTls).await;
        let (client, connection) = connecting.map_err(io::Error::other)?;
        drop(future::spawn(connection)); // Ends with the client or with the connection.
        Ok(client)
    }

    async fn recycle(&self, client: &mut Client, _: &Metrics) -> RecycleResult<io::Error> {
        if client.is_closed() { Err(RecycleError::message("it is closed")) } else { Ok(()) }
    }
}

type Pool = managed::Pool<Manager>;

/// How long a task waits for a connection.
const LIMIT: Duration = Duration::from_secs(2);

fn pool(server: SocketAddr, size: usize) -> Pool {
    let mut config = Config::new();
    config.user("postgres").dbname("postgres");
    // Its own time limits need a timer of tokio's: `op::timeout` is ours.
    Pool::builder(Manager { server, config }).max_size(size).build().expect("no time limits")
}

fn get(pool: &Pool) -> io::Result<Object<Manager>> {
    wait(timeout(LIMIT, pool.get()))?.map_err(io::Error::other)
}

/// Puts down a number, in a transaction. It is committed if this returns `Ok`, and may be if it does not.
fn put(pool: &Pool, n: i32) -> io::Result<()> {
    let mut client = get(pool)?;
    let put = async {
        let transaction = client.transaction().await?;
        transaction.execute("insert into numbers values ($1)", &[&n]).await?;
        transaction.commit().await
    };
    wait(timeout(LIMIT, put))?.map_err(io::Error::other)
}

fn numbers(pool: &Pool) -> io::Result<BTreeSet<i32>> {
    let rows = wait(get(pool)?.query("select n from numbers", &[])).map_err(io::Error::other)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[test]
fn many_tasks_few_connections_and_a_killed_server() {
    recipes::run(|| {
        let mut server = Server::postgres();
        let pool = pool(server.address, 4);
        let table = "create table numbers (n int primary key)";
        recipes::when_ready(|| wait(get(&pool)?.batch_execute(table)).map_err(io::Error::other));

        // Until the server is killed in the middle: an error to each of twenty tasks.
        let committed = Rc::new(RefCell::new(BTreeSet::new()));
        let putting = (0..20).map(|first| {
            let (pool, committed) = (pool.clone(), committed.clone());
            green::spawn(move || {
                (first..).step_by(20).find_map(|n| {
                    let put = put(&pool, n).map(|()| committed.borrow_mut().insert(n));
                    put.err()
                })
            })
        });
        let putting: Vec<_> = putting.collect();
        while committed.borrow().len() < 100 {
            green::sleep(Duration::from_millis(1));
        }
        assert_eq!(pool.status().size, 4);
        server.kill();
        for error in wait(gather(putting)) {
            assert!(error.unwrap().is_some());
        }
        while !server.restart() {} // Its children of before may not have ended yet.
        // The same pool, with new connections: all that was committed is there.
        let numbers = recipes::when_ready(|| numbers(&pool));
        assert!(numbers.is_superset(&committed.borrow()));

        // All connections are in use: who waits longer than the limit for one gets an error.
        let all: Vec<_> = (0..4).map(|_| get(&pool).unwrap()).collect();
        let late = wait(timeout(Duration::from_millis(10), pool.get()));
        assert!(late.is_err());
        drop(all);
        assert!(get(&pool).is_ok());
    });
}

#[test]
fn cost_beside_tokio() {
    const TASKS: u32 = 20;
    const QUERIES: u32 = 50;
    const QUERY: &str = "select 1";
    recipes::run(|| {
        let server = Server::postgres();
        let address = server.address;
        recipes::when_ready(|| get(&pool(address, 1)).map(drop));
        let ours = || {
            let pool = pool(address, 4);
            green::scope(|scope| {
                for _ in 0..TASKS {
                    scope.spawn(|| {
                        for _ in 0..QUERIES {
                            wait(get(&pool).unwrap().simple_query(QUERY)).unwrap();
                        }
                    });
                }
            });
        };
        let theirs = move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(async {
                let pool = tokios::pool(address, 4);
                let tasks = (0..TASKS).map(|_| {
                    let pool = pool.clone();
                    tokio::spawn(async move {
                        for _ in 0..QUERIES {
                            let client = tokio::time::timeout(LIMIT, pool.get()).await;
                            client.unwrap().unwrap().simple_query(QUERY).await.unwrap();
                        }
                    })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            });
        };
        recipes::beside("deadpool, a query", TASKS * QUERIES, ours, "tokio", theirs);
    });
}

/// The same on tokio, for the comparison.
mod tokios {
    use super::*;

    pub struct Manager(super::Manager);

    impl managed::Manager for Manager {
        type Type = Client;
        type Error = io::Error;

        async fn create(&self) -> io::Result<Client> {
            let stream = tokio::net::TcpStream::connect(self.0.server).await?;
            stream.set_nodelay(true)?;
            let connecting = self.0.config.connect_raw(stream, NoTls).await;
            let (client, connection) = connecting.map_err(io::Error::other)?;
            drop(tokio::spawn(connection));
            Ok(client)
        }

        async fn recycle(&self, _: &mut Client, _: &Metrics) -> RecycleResult<io::Error> {
            Ok(())
        }
    }

    pub fn pool(server: SocketAddr, size: usize) -> managed::Pool<Manager> {
        let mut config = Config::new();
        config.user("postgres").dbname("postgres");
        let manager = Manager(super::Manager { server, config });
        managed::Pool::builder(manager).max_size(size).build().unwrap()
    }
}
