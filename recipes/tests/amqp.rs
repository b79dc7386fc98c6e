//! AMQP: lapin, which needs tokio's runtime, with one entered around the run, and RabbitMQ. A queue of jobs of which none
//! that was acknowledged is lost when the server is killed: durable, with publisher confirms, and a worker that
//! acknowledges what it has done.
//!
//! The connection's sockets are on tokio's thread; a task of this crate waits for its futures. See `tokio.rs` for the two
//! rules of this.
//!
//! A message costs up to 1.2 of what it costs with tokio alone: the task that waits for it is on another thread than the
//! connection, and each confirmation wakes that thread.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Error};
use recipes::Server;
use wouldblock::green::wait;
use wouldblock::op::timeout;
use wouldblock::{green, group::gather};

const QUEUE: &str = "jobs";
/// What a job may take to be confirmed, and a connection to be made.
const LIMIT: Duration = Duration::from_secs(5);

fn run_with_tokio<T>(root: impl FnOnce() -> T) -> T {
    recipes::alone(|| {
        let mut tokio = tokio::runtime::Builder::new_multi_thread();
        let tokio = tokio.worker_threads(1).enable_all().build().expect("threads");
        let _entered = tokio.enter(); // For this thread, and so for all tasks of the run.
        // The server takes long to start, and is started twice.
        recipes::within(Duration::from_secs(120), root)
    })
}

/// A channel whose messages the server confirms when they are on its disk. The connection ends with it.
async fn open(server: SocketAddr) -> Result<(Connection, Channel), Error> {
    let address = format!("amqp://guest:guest@{server}/%2f");
    let connection = Connection::connect(&address, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions::durable();
    channel.queue_declare(QUEUE.into(), durable, FieldTable::default()).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// Opens one as soon as the server is there.
fn open_when_ready(server: SocketAddr) -> (Connection, Channel) {
    recipes::when_ready(|| wait(timeout(LIMIT, open(server)))?.map_err(io::Error::other))
}

/// Returns when the server has confirmed the job. One that fails may have been put all the same.
fn put(channel: &Channel, job: u32, properties: BasicProperties) -> io::Result<()> {
    let confirmed = wait(timeout(LIMIT, publish(channel, job, properties)));
    let confirmed = confirmed?.map_err(io::Error::other)?;
    if confirmed.is_ack() { Ok(()) } else { Err(io::Error::other("the server refuses the job")) }
}

async fn publish(
    channel: &Channel,
    job: u32,
    properties: BasicProperties,
) -> Result<Confirmation, Error> {
    let (options, job) = (BasicPublishOptions::default(), job.to_string());
    channel.basic_publish("".into(), QUEUE.into(), options, job.as_bytes(), properties).await?.await
}

/// Of a message that is on the server's disk when it is confirmed.
fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

/// Does jobs until the connection is lost. What was not acknowledged comes again.
fn work(channel: &Channel, done: &RefCell<BTreeSet<u32>>) -> Result<(), Error> {
    wait(channel.basic_qos(10, BasicQosOptions::default()))?;
    let options = BasicConsumeOptions::default();
    let mut jobs =
        wait(channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()))?;
    while let Some(job) = wait(jobs.next()) {
        let job = job?;
        done.borrow_mut().insert(str::from_utf8(&job.data).unwrap().parse().unwrap());
        wait(job.ack(BasicAckOptions::default()))?;
    }
    Ok(())
}

#[test]
fn no_confirmed_job_is_lost_when_the_server_is_killed() {
    run_with_tokio(|| {
        let mut server = Server::rabbitmq();
        let address = server.address;
        let (connection, channel) = open_when_ready(address);
        let channel = Rc::new(channel);
        // Twenty greenlets put jobs, until the server is gone, which is an error to each of them.
        let confirmed = Rc::new(RefCell::new(BTreeSet::new()));
        let putting = (0..20).map(|n| {
            let (channel, confirmed) = (channel.clone(), confirmed.clone());
            green::spawn(move || {
                for job in (n..).step_by(20) {
                    if let Err(error) = put(&channel, job, persistent()) {
                        return error;
                    }
                    confirmed.borrow_mut().insert(job);
                }
                unreachable!()
            })
        });
        let putting: Vec<_> = putting.collect();
        while confirmed.borrow().len() < 60 {
            green::sleep(Duration::from_millis(1));
        }
        server.kill();
        for error in wait(gather(putting)) {
            assert!(error.unwrap().to_string().contains("reset"));
        }
        drop((connection, channel));
        assert!(server.restart());

        // A worker connects, again if need be, and finds all that was confirmed.
        let done = Rc::new(RefCell::new(BTreeSet::new()));
        let worker = green::spawn({
            let done = done.clone();
            move || {
                loop {
                    let (_connection, channel) = open_when_ready(address);
                    let _lost = work(&channel, &done);
                }
            }
        });
        while !done.borrow().is_superset(&confirmed.borrow()) {
            green::sleep(Duration::from_millis(1));
        }
        worker.cancel();
        let _ = worker.join();

        cost(address);
    });
}

fn cost(server: SocketAddr) {
    const TASKS: u32 = 20;
    const JOBS: u32 = 50;
    // Not on the disk, for which the server takes its time.
    let ours = || {
        let (connection, channel) = open_when_ready(server);
        green::scope(|scope| {
            for _ in 0..TASKS {
                scope.spawn(|| {
                    for job in 0..JOBS {
                        put(&channel, job, BasicProperties::default()).unwrap();
                    }
                });
            }
        });
        wait(connection.close(200, "done".into())).unwrap();
    };
    let theirs = move || {
        let mut tokio = tokio::runtime::Builder::new_multi_thread();
        tokio.worker_threads(1).enable_all().build().unwrap().block_on(async {
            let (connection, channel) = open(server).await.unwrap();
            let tasks = (0..TASKS).map(|_| {
                let channel = channel.clone();
                tokio::spawn(async move {
                    for job in 0..JOBS {
                        let put = publish(&channel, job, BasicProperties::default());
                        let confirmed = tokio::time::timeout(LIMIT, put).await;
                        assert!(confirmed.unwrap().unwrap().is_ack());
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
            connection.close(200, "done".into()).await.unwrap();
        });
    };
    recipes::beside("lapin, a confirmed message", TASKS * JOBS, ours, "tokio", theirs);
}
