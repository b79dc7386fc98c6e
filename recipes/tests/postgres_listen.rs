//! A listener of PostgreSQL that survives a restart of the server: it connects again, LISTENs again, and reads from the table
//! what it has missed. A notification is not kept: one that is sent while no connection listens is gone. So a row of a table
//! is the message, and the notification only makes the listener look.
//!
//! A row is marked when it has been handled. (To remember the highest number instead would lose rows: a number is given out
//! before its transaction commits, and a lower one may become visible after a higher one.)
//!
//! It is not compared with tokio: it waits. `postgres.rs` has what a query costs.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use recipes::Server;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls};
use wouldblock::green::wait;
use wouldblock::net::TcpStream;
use wouldblock::op::timeout;
use wouldblock::sync::channel::{self, Receiver, RecvTimeoutError};
use wouldblock::{future, green};

/// The trigger notifies at the end of each transaction that has put in rows.
const SCHEMA: &str = "
    create table events (
        id bigint generated always as identity primary key,
        text text not null,
        handled bool not null default false
    );
    create index on events (id) where not handled;
    create function notify_events() returns trigger language plpgsql as
        $$ begin notify events; return null; end $$;
    create trigger notify_events after insert on events
        for each statement execute function notify_events();";

/// How long the server may take for an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// After so long without a notification, the listener looks all the same. So it notices that the server is gone where no
/// word of that comes: its machine has lost power, or the network is cut.
const LOOK: Duration = Duration::from_secs(60);

/// Between two attempts to connect: the shortest pause, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(5)];

/// Connects. Each notification on the channel `events` of the database's puts an item into the channel that is returned,
/// unless one is there; that channel is closed when the connection is lost.
async fn connect(server: SocketAddr) -> io::Result<(Client, Receiver<()>)> {
    let stream = TcpStream::connecting(server).await?;
    stream.set_nodelay(true)?;
    let mut config = Config::new();
    config.user("postgres").dbname("postgres");
    let (client, mut connection) =
        config.connect_raw(stream, NoTls).await.map_err(io::Error::other)?;
    let (sender, notes) = channel::bounded(1);
    // The task ends with the client or with the connection, and drops the only sender.
    drop(future::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                AsyncMessage::Notification(note) if note.channel() == "events" => {
                    let _full = sender.try_send(()); // One that is there stands for this one too.
                }
                _ => {} // Another channel's, or a warning of the server's.
            }
        }
    }));
    Ok((client, notes))
}

/// Waits for an answer, within the limit.
fn answer<T>(query: impl Future<Output = Result<T, Error>>) -> io::Result<T> {
    wait(timeout(LIMIT, query))?.map_err(io::Error::other)
}

/// Calls `handle` with the text of each row, those that are there and those that come, until it is cancelled. Each row is
/// handled at least once: again, where the server is lost before it has the mark.
fn listen(server: SocketAddr, mut handle: impl FnMut(&str)) -> Infallible {
    let [mut pause, longest] = PAUSES;
    loop {
        let mut connected = false;
        let Err(_why) = listen_once(server, &mut handle, &mut connected);
        pause = if connected { PAUSES[0] } else { longest.min(2 * pause) };
        green::sleep(pause);
    }
}

/// Until the connection is lost.
fn listen_once(
    server: SocketAddr,
    handle: &mut impl FnMut(&str),
    connected: &mut bool,
) -> io::Result<Infallible> {
    let (client, notes) = wait(timeout(LIMIT, connect(server)))??;
    // LISTEN, and then look: a row is committed before the LISTEN, and found, or after it, and notified of.
    answer(client.batch_execute("listen events"))?;
    *connected = true;
    loop {
        let select = "select id, text from events where not handled order by id limit 100";
        let rows = answer(client.query(select, &[]))?;
        for row in &rows {
            handle(row.get(1));
            let id: i64 = row.get(0);
            answer(client.execute("update events set handled = true where id = $1", &[&id]))?;
        }
        if !rows.is_empty() {
            continue; // There may be more.
        }
        match notes.recv_timeout(LOOK) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
    }
}

/// Puts in a row. It is committed if this returns `Ok`, and may be if it does not.
fn put(client: &Client, n: usize) -> io::Result<()> {
    answer(client.execute("insert into events (text) values ($1)", &[&n.to_string()])).map(drop)
}

#[test]
fn a_killed_server_loses_no_row_and_the_listener_listens_again() {
    recipes::run(|| {
        let mut server = Server::postgres();
        let address = server.address;
        let connect = || recipes::when_ready(|| wait(connect(address))).0;
        let client = connect();
        answer(client.batch_execute(SCHEMA)).unwrap();
        put(&client, 0).unwrap(); // While no connection listens.

        let handled = Rc::new(RefCell::new(BTreeSet::new()));
        let listener = {
            let handled = handled.clone();
            green::spawn(move || {
                listen(address, |text| {
                    handled.borrow_mut().insert(text.parse().unwrap());
                })
            })
        };
        let handled_all = |rows: &BTreeSet<usize>| {
            while !handled.borrow().is_superset(rows) {
                green::sleep(Duration::from_millis(1));
            }
        };
        handled_all(&[0].into());
        put(&client, 1).unwrap(); // Of this one, only a notification tells before `LOOK` is over.
        handled_all(&[1].into());

        // The server is killed while rows are put in and handled.
        let committed = Rc::new(RefCell::new(BTreeSet::new()));
        let putting = green::spawn({
            let committed = committed.clone();
            move || {
                (2..).find_map(|n| put(&client, n).map(|()| committed.borrow_mut().insert(n)).err())
            }
        });
        while committed.borrow().len() < 50 {
            green::sleep(Duration::from_millis(1));
        }
        server.kill();
        assert!(putting.join().unwrap().is_some());
        while !server.restart() {} // Its children of before may not have ended yet.

        // No notification tells of those that were committed and not handled.
        handled_all(&committed.borrow());
        let client = connect();
        put(&client, 1_000_000).unwrap();
        handled_all(&[1_000_000].into());
        put(&client, 1_000_001).unwrap(); // It listens again.
        handled_all(&[1_000_001].into());
        listener.cancel();
        assert!(listener.join().unwrap_err().is_cancelled());
    });
}
