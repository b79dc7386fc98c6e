//! PostgreSQL: tokio-postgres on a stream of this crate, without tokio's runtime; one connection for many greenlets, whose
//! queries it pipelines; transactions, LISTEN, a limit on a query, and a killed server.
//!
//! A query costs what it costs on tokio, and mostly the kernel's time: how much depends on how many answers one read brings,
//! and so on who is quicker, the server or the client. From one run to the next, that is 0.7 to 1.5 of tokio's.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use recipes::Server;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls};
use wouldblock::green::wait;
use wouldblock::net::TcpStream;
use wouldblock::op::timeout;
use wouldblock::sync::channel;
use wouldblock::{future, green, group::gather};

/// Connects. What the server sends of its own accord, such as a NOTIFY, goes to `notes`.
async fn connect(server: SocketAddr, notes: channel::Sender<String>) -> io::Result<Client> {
    let stream = TcpStream::connecting(server).await?;
    stream.set_nodelay(true)?;
    let mut config = Config::new();
    config.user("postgres").dbname("postgres");
    let (client, mut connection) =
        config.connect_raw(stream, NoTls).await.map_err(io::Error::other)?;
    // The connection is driven by a task of its own, which ends with the client or with the connection.
    drop(future::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(note) = message {
                let _ = notes.sending(note.payload().to_owned()).await;
            }
        }
    }));
    Ok(client)
}

/// Moves money from one account to another, or does nothing.
fn transfer(client: &mut Client, from: i32, to: i32, amount: i64) -> Result<(), Error> {
    const MOVE: &str = "update accounts set balance = balance + $1 where id = $2";
    let transaction = wait(client.transaction())?;
    wait(transaction.execute(MOVE, &[&-amount, &from]))?;
    wait(transaction.execute(MOVE, &[&amount, &to]))?;
    wait(transaction.commit())
    // Where this unwinds or returns before, the transaction is rolled back.
}

fn balance(client: &Client, id: i32) -> i64 {
    wait(client.query_one("select balance from accounts where id = $1", &[&id])).unwrap().get(0)
}

/// Whether the connection is lost: closed, reset, or ended with the server's last word (SQLSTATE 57P01 and the like).
fn is_lost(error: &Error) -> bool {
    let is_io = || error.source().is_some_and(<dyn std::error::Error>::is::<io::Error>);
    let is_shutdown = || error.code().is_some_and(|state| state.code().starts_with("57P"));
    error.is_closed() || is_io() || is_shutdown()
}

fn connect_when_ready(server: SocketAddr, notes: &channel::Sender<String>) -> Client {
    recipes::when_ready(|| wait(connect(server, notes.clone())))
}

#[test]
fn queries_transactions_listen_and_a_killed_server() {
    recipes::run(|| {
        let mut server = Server::postgres();
        let (sender, notes) = channel::unbounded();
        let mut client = connect_when_ready(server.address, &sender);
        let schema =
            "create table accounts (id int primary key, balance bigint check (balance >= 0));
                      insert into accounts values (1, 100), (2, 0); listen done";
        wait(client.batch_execute(schema)).unwrap();
        transfer(&mut client, 1, 2, 30).unwrap();
        assert!(transfer(&mut client, 1, 2, 1000).is_err(), "the check refuses it");
        assert_eq!((balance(&client, 1), balance(&client, 2)), (70, 30));

        // A limit: the query is cancelled on the server too, and the connection stays of use.
        let slow =
            wait(timeout(Duration::from_millis(20), client.batch_execute("select pg_sleep(60)")));
        assert!(slow.is_err());
        let token = client.cancel_token();
        let stream = TcpStream::connect(server.address).unwrap();
        wait(token.cancel_query_raw(stream, NoTls)).unwrap();

        // Many greenlets, one connection.
        let client = Rc::new(client);
        let tasks = (0..100_i32).map(|n| {
            let client = client.clone();
            green::spawn(move || -> i32 {
                wait(client.query_one("select $1::int * 2", &[&n])).unwrap().get(0)
            })
        });
        for (n, double) in (0..).zip(wait(gather(tasks))) {
            assert_eq!(double.unwrap(), 2 * n);
        }
        wait(client.batch_execute("notify done, 'all of it'")).unwrap();
        assert_eq!(notes.recv().unwrap(), "all of it");

        // The server is killed in the middle of a query: an error, and what was committed is there afterwards.
        let query = green::spawn({
            let client = client.clone();
            move || wait(client.batch_execute("select pg_sleep(60)")).map_err(|e| is_lost(&e))
        });
        green::yield_now();
        server.kill();
        assert_eq!(query.join().unwrap(), Err(true));
        drop(client);
        while !server.restart() {} // Its children of before may not have ended yet.
        let client = connect_when_ready(server.address, &sender);
        assert_eq!((balance(&client, 1), balance(&client, 2)), (70, 30));
    });
}

#[test]
fn cost_beside_tokio() {
    const TASKS: u32 = 20;
    const QUERIES: u32 = 50;
    async fn queries(client: Arc<Client>) {
        for _ in 0..QUERIES {
            client.simple_query("select 1").await.unwrap();
        }
    }
    async fn connect_on_tokio(server: SocketAddr) -> Client {
        let stream = tokio::net::TcpStream::connect(server).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut config = Config::new();
        config.user("postgres").dbname("postgres");
        let (client, connection) = config.connect_raw(stream, NoTls).await.unwrap();
        drop(tokio::spawn(connection));
        client
    }
    recipes::run(|| {
        let server = Server::postgres();
        let (address, (sender, _notes)) = (server.address, channel::unbounded());
        drop(connect_when_ready(address, &sender));
        let ours = || {
            let client = Arc::new(wait(connect(address, sender.clone())).unwrap());
            let tasks = (0..TASKS).map(|_| future::spawn(queries(client.clone())));
            wait(gather(tasks)).into_iter().for_each(|task| task.unwrap());
        };
        let theirs = move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(async {
                let client = Arc::new(connect_on_tokio(address).await);
                let tasks = (0..TASKS).map(|_| tokio::spawn(queries(client.clone())));
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            });
        };
        recipes::beside("tokio-postgres, a query", TASKS * QUERIES, ours, "tokio", theirs);
    });
}
