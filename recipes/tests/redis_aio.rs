//! Redis, async: the crate `redis`'s multiplexed connection on a stream of this crate, without tokio's runtime. One
//! connection for many tasks, whose commands it sends without waiting for the answers to those before; and a wrapper of a
//! few lines that connects again when the server was lost.
//!
//! The crate's features are `aio` alone in a program. (`tokio-comp` is for the comparison below.)

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use recipes::Server;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, RedisConnectionInfo, RedisResult};
use wouldblock::green::wait;
use wouldblock::net::TcpStream;
use wouldblock::op::timeout;
use wouldblock::{future, green, group::gather};

async fn connect(server: SocketAddr) -> RedisResult<MultiplexedConnection> {
    let stream = TcpStream::connecting(server).await?;
    stream.set_nodelay(true)?;
    let info = RedisConnectionInfo::default();
    // Its own limit on an answer needs a timer of tokio's: `op::timeout` is ours.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    // What drives the connection becomes a task, which ends with the last handle or with the connection.
    let connecting = MultiplexedConnection::new_with_config(&info, stream, config).await?;
    drop(future::spawn(connecting.1));
    Ok(connecting.0)
}

/// One connection for all tasks, which is opened when it is first needed and again when it was lost.
#[derive(Clone)]
struct Redis {
    server: SocketAddr,
    connection: Rc<RefCell<Option<MultiplexedConnection>>>,
}

const LIMIT: Duration = Duration::from_secs(2);

impl Redis {
    fn new(server: SocketAddr) -> Redis {
        Redis { server, connection: Rc::default() }
    }

    /// Calls `f` with the connection. A command that fails, or takes longer than `LIMIT`, is not repeated, since it may have
    /// been done; the next one gets a new connection where it was lost.
    async fn with<T>(
        &self,
        f: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let open = self.connection.borrow().clone();
        let mut connection = match open {
            Some(connection) => connection,
            None => {
                let connection = connect(self.server).await?;
                self.connection.borrow_mut().get_or_insert(connection).clone()
            }
        };
        let result = timeout(LIMIT, f(&mut connection))
            .await
            .unwrap_or_else(|late| Err(std::io::Error::from(late).into()));
        if result.as_ref().is_err_and(|e| e.is_unrecoverable_error() || e.is_timeout()) {
            *self.connection.borrow_mut() = None;
        }
        result
    }
}

#[test]
fn one_connection_for_many_tasks_and_a_killed_server() {
    recipes::run(|| {
        let mut server = Server::redis();
        let redis = Redis::new(server.address);
        // Futures and greenlets alike.
        let tasks = (0..100).map(|n| {
            let redis = redis.clone();
            let add = async move { redis.with(async |redis| redis.incr("sum", n).await).await };
            if n % 2 == 0 { future::spawn(add) } else { green::spawn(move || wait(add)) }
        });
        let sums: Vec<u32> =
            wait(gather(tasks)).into_iter().map(|sum| sum.unwrap().unwrap()).collect();
        assert_eq!(sums.into_iter().max(), Some((0..100).sum()));

        // The server is killed while it is waited for: an error to each that waits, and none waits for the limit.
        let waiting = (0..3).map(|_| {
            let redis = redis.clone();
            future::spawn(async move {
                redis.with(async |redis| redis.blpop::<_, Option<String>>("none", 60.0).await).await
            })
        });
        let waiting: Vec<_> = waiting.collect();
        green::yield_now();
        server.kill();
        for failed in wait(gather(waiting)) {
            assert!(failed.unwrap().unwrap_err().is_connection_dropped());
        }
        let refused = wait(redis.with(async |redis| redis.get::<_, u32>("sum").await)).unwrap_err();
        assert!(refused.is_connection_refusal(), "{refused}");
        assert!(server.restart());
        // What was acknowledged is there, when the server has read it from its file.
        let sum = loop {
            match wait(redis.with(async |redis| redis.get::<_, u32>("sum").await)) {
                Err(e) if e.code() == Some("LOADING") => green::sleep(Duration::from_millis(5)),
                sum => break sum.unwrap(),
            }
        };
        assert_eq!(sum, (0..100).sum());
    });
}

#[test]
fn cost_beside_tokio() {
    const TASKS: u32 = 20;
    const COMMANDS: u32 = 100;
    async fn commands(mut redis: MultiplexedConnection) {
        for n in 0..COMMANDS {
            redis.set::<_, _, ()>("key", n).await.unwrap();
        }
    }
    recipes::run(|| {
        let server = Server::redis();
        let address = server.address;
        let ours = || {
            let redis = wait(connect(address)).unwrap();
            let tasks = (0..TASKS).map(|_| future::spawn(commands(redis.clone())));
            wait(gather(tasks)).into_iter().for_each(|task| task.unwrap());
        };
        let theirs = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = redis::Client::open(format!("redis://{address}")).unwrap();
                let redis = client.get_multiplexed_async_connection().await.unwrap();
                let tasks = (0..TASKS).map(|_| tokio::spawn(commands(redis.clone())));
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            });
        };
        recipes::beside("redis aio, a command", TASKS * COMMANDS, ours, "tokio", theirs);
    });
}
