//! Libraries that need tokio's runtime, such as async-nats: a runtime of tokio's is entered around the run. What the library
//! spawns, its sockets and its timers run on tokio's threads; a task of this crate waits for its futures, as for any other.
//!
//! Two rules: what is given to `tokio::spawn` holds no sockets, timers or locks of this crate (it is `Send`, and would be
//! polled on a thread that has no scheduler); and tokio's `block_on` is not called inside of the run, since it blocks the
//! thread.

use std::net::SocketAddr;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use recipes::Server;
use wouldblock::green::wait;
use wouldblock::op::timeout;
use wouldblock::{future, green, group::gather};

/// Runs as `wouldblock::run` does, with a runtime of tokio's for the libraries that need one.
fn run_with_tokio<T>(root: impl FnOnce() -> T) -> T {
    recipes::alone(|| {
        let mut tokio = tokio::runtime::Builder::new_multi_thread();
        let tokio = tokio.worker_threads(1).enable_all().build().expect("threads");
        let _entered = tokio.enter(); // For this thread, and so for all tasks of the run.
        recipes::within(Duration::from_secs(20), root)
    })
}

/// Connects, also where the server is not there yet; the library connects again by itself when it was lost.
fn connect(server: SocketAddr) -> Client {
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    wait(options.connect(format!("nats://{server}"))).unwrap()
}

#[test]
fn nats_by_way_of_an_entered_runtime() {
    use futures::StreamExt;
    run_with_tokio(|| {
        let mut server = Server::nats();
        let client = connect(server.address);

        // A service, as an async task, and many greenlets that ask it.
        let mut requests = wait(client.subscribe("double")).unwrap();
        wait(client.flush()).unwrap();
        let service = future::spawn({
            let client = client.clone();
            async move {
                while let Some(request) = requests.next().await {
                    let n: u32 = str::from_utf8(&request.payload).unwrap().parse().unwrap();
                    let answer = (2 * n).to_string().into();
                    client.publish(request.reply.expect("a request"), answer).await.unwrap();
                }
            }
        });
        let ask = |client: &Client, n: u32| -> Option<u32> {
            let answer = wait(timeout(
                Duration::from_secs(5),
                client.request("double", n.to_string().into()),
            ));
            str::from_utf8(&answer.ok()?.ok()?.payload).ok()?.parse().ok()
        };
        let tasks = (0..50).map(|n| {
            let client = client.clone();
            green::spawn(move || ask(&client, n))
        });
        for (n, double) in (0..).zip(wait(gather(tasks))) {
            assert_eq!(double.unwrap(), Some(2 * n));
        }

        // A killed server: a limit ends the wait, and the same client goes on with the next server.
        server.kill();
        let late = wait(timeout(Duration::from_millis(50), client.request("double", "1".into())));
        assert!(!matches!(late, Ok(Ok(_))));
        assert!(server.restart());
        while ask(&client, 21) != Some(42) {
            green::sleep(Duration::from_millis(20));
        }
        service.cancel();
    });
}

#[test]
fn tokios_own_sockets_timers_and_tasks() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    run_with_tokio(|| {
        wait(tokio::time::sleep(Duration::from_millis(1)));
        let listener = wait(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let echo = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await
        });
        // A stream of this crate on the other side.
        let task = future::spawn(async move {
            let mut stream = wouldblock::net::TcpStream::connecting(address).await.unwrap();
            AsyncWriteExt::write_all(&mut stream, b"hello").await.unwrap();
            AsyncWriteExt::shutdown(&mut stream).await.unwrap();
            let mut text = String::new();
            AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
            text
        });
        assert_eq!(task.join().unwrap(), "hello");
        assert_eq!(wait(echo).unwrap().unwrap(), 5);
    });
}

#[test]
fn cost_beside_tokio_alone() {
    use futures::StreamExt;
    const TASKS: u32 = 20;
    const REQUESTS: u32 = 50;
    const LIMIT: Duration = Duration::from_secs(5);
    async fn serve(client: Client, mut requests: Subscriber) {
        while let Some(request) = requests.next().await {
            client.publish(request.reply.unwrap(), request.payload).await.unwrap();
        }
    }
    run_with_tokio(|| {
        let server = Server::nats();
        let address = server.address;
        let ours = || {
            let client = connect(address);
            let requests = wait(client.subscribe("same")).unwrap();
            wait(client.flush()).unwrap();
            let service = future::spawn(serve(client.clone(), requests));
            green::scope(|scope| {
                for _ in 0..TASKS {
                    scope.spawn(|| {
                        for _ in 0..REQUESTS {
                            let answer = timeout(LIMIT, client.request("same", "x".into()));
                            wait(answer).unwrap().unwrap();
                        }
                    });
                }
            });
            service.cancel();
        };
        let theirs = move || {
            let mut tokio = tokio::runtime::Builder::new_multi_thread();
            tokio.worker_threads(1).enable_all().build().unwrap().block_on(async {
                let client = async_nats::connect(format!("nats://{address}")).await.unwrap();
                let requests = client.subscribe("same").await.unwrap();
                client.flush().await.unwrap();
                tokio::spawn(serve(client.clone(), requests));
                let tasks = (0..TASKS).map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move {
                        for _ in 0..REQUESTS {
                            let answer = client.request("same", "x".into());
                            tokio::time::timeout(LIMIT, answer).await.unwrap().unwrap();
                        }
                    })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            });
        };
        recipes::beside("async-nats, a request", TASKS * REQUESTS, ours, "tokio", theirs);
    });
}
