//! A job queue in PostgreSQL: `select … for update skip locked`, with attempts, back-off and leases, by a pool of connections.
//!
//! A worker takes a job by one statement, which counts the attempt and leases the job to it: another worker gets the job only
//! when the lease is over, and so it does if this one is never heard of again. The worker keeps no connection while it works,
//! and reports at the end: done, or failed, to be tried again later, each time later. The report names the attempt, so that
//! one which comes after the lease, when another worker has the job, changes nothing.
//!
//! A job whose report was acknowledged is never done again. One whose report is lost with the server is: so a job has to bear
//! that, or to put its effect into the transaction of its report.
//!
//! It is not compared with tokio: a job costs two queries of the pool's, and `postgres_pool.rs` has what one costs.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult};
use recipes::Server;
use tokio_postgres::{Client, Config, Error, NoTls};
use wouldblock::green::wait;
use wouldblock::net::TcpStream;
use wouldblock::op::timeout;
use wouldblock::{JoinHandle, future, green, time};

/// The pool, as in `postgres_pool.rs`.
struct Manager {
    server: SocketAddr,
    config: Config,
}

impl managed::Manager for Manager {
    type Type = Client;
    type Error = io::Error;

    async fn create(&self) -> io::Result<Client> {
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

/// How long a task waits for a connection, and for an answer.
const LIMIT: Duration = Duration::from_secs(2);

fn pool(server: SocketAddr, size: usize) -> Pool {
    let mut config = Config::new();
    config.user("postgres").dbname("postgres");
    Pool::builder(Manager { server, config }).max_size(size).build().expect("no time limits")
}

fn get(pool: &Pool) -> io::Result<Object<Manager>> {
    wait(timeout(LIMIT, pool.get()))?.map_err(io::Error::other)
}

/// Waits for an answer, within the limit.
fn answer<T>(query: impl Future<Output = Result<T, Error>>) -> io::Result<T> {
    wait(timeout(LIMIT, query))?.map_err(io::Error::other)
}

/// `run_at` is when a job may be taken: at once, after a back-off, or when a lease is over.
const SCHEMA: &str = "
    create table jobs (
        id bigint generated always as identity primary key,
        payload text not null,
        attempts int not null default 0,
        run_at timestamptz not null default now(),
        done bool not null default false,
        error text
    );
    create index on jobs (run_at) where not done;";

/// (`id = (select ..)`, and not `id in (select ..)`, which the server may evaluate more than once.)
const TAKE: &str = "
    update jobs set attempts = attempts + 1, run_at = now() + make_interval(secs => $1)
    where id = (
        select id from jobs where not done and attempts < $2 and run_at <= now()
        order by run_at limit 1 for update skip locked
    )
    returning id, payload, attempts";

const DONE: &str = "
    update jobs set done = true where id = $1 and attempts = $2 and not done";

const FAILED: &str = "
    update jobs set error = $3, run_at = now() + make_interval(secs => $4)
    where id = $1 and attempts = $2 and not done";

/// How long an attempt may take. (Here, all times are short, so that the test is.)
const LEASE: Duration = Duration::from_millis(500);

/// After so many attempts, a job stays in the table with its last error.
const MOST_ATTEMPTS: i32 = 6;

/// After the first failure, and after the last.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// How long a worker waits when there is no job, or no server. (With a listener as in `postgres_listen.rs`, it need not look
/// so often.)
const IDLE: Duration = Duration::from_millis(20);

struct Job {
    id: i64,
    payload: String,
    attempts: i32,
}

/// Puts a job into the queue, and returns its number. It is there if this returns `Ok`, and may be if it does not.
fn put(pool: &Pool, payload: &str) -> io::Result<i64> {
    let insert = "insert into jobs (payload) values ($1) returning id";
    Ok(answer(get(pool)?.query_one(insert, &[&payload]))?.get(0))
}

/// Takes jobs and does them by `run`, one after the other, until it is cancelled. `acknowledged` is called with each job that
/// is done, when the server has acknowledged that.
fn work(
    pool: &Pool,
    run: impl Fn(&Job) -> Result<(), String>,
    acknowledged: impl Fn(&Job),
) -> Infallible {
    loop {
        match attempt(pool, &run, &acknowledged) {
            Ok(true) => {}
            Ok(false) | Err(_) => green::sleep(IDLE),
        }
    }
}

/// One attempt at one job. Returns `false` if there is none.
///
/// # Errors
///
/// Those of the server. What was taken is another worker's when the lease is over.
fn attempt(
    pool: &Pool,
    run: &impl Fn(&Job) -> Result<(), String>,
    acknowledged: &impl Fn(&Job),
) -> io::Result<bool> {
    let end = time::now() + LEASE; // Before the server is asked: its lease ends later than this.
    let taken = answer(get(pool)?.query_opt(TAKE, &[&LEASE.as_secs_f64(), &MOST_ATTEMPTS]))?;
    let Some(row) = taken else { return Ok(false) };
    let job = Job { id: row.get(0), payload: row.get(1), attempts: row.get(2) };
    let left = end.saturating_duration_since(time::now());
    if left.is_zero() {
        return Ok(true); // The answer came too late.
    }
    // A task of its own, so that a panic is a failure of the attempt, and not of the worker.
    let ran = green::timeout(left, || green::scope(|scope| scope.spawn(|| run(&job)).join()));
    let result = match ran {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(panic.to_string()),
        Err(late) => Err(late.to_string()),
    };
    let client = get(pool)?;
    match result {
        Ok(()) => {
            if answer(client.execute(DONE, &[&job.id, &job.attempts]))? == 1 {
                acknowledged(&job);
            }
        }
        Err(error) => {
            let [first, last] = BACK_OFF;
            let pause = last.min(first * (1 << (job.attempts - 1).min(16))).as_secs_f64();
            answer(client.execute(FAILED, &[&job.id, &job.attempts, &error, &pause]))?;
        }
    }
    Ok(true)
}

/// The jobs of the test, by their payloads.
fn run(job: &Job) -> Result<(), String> {
    match (&*job.payload, job.attempts) {
        ("fails twice", ..=2) => return Err(format!("attempt {}", job.attempts)),
        ("panics once", 1) => panic!("the first time"),
        ("hangs once", 1) => green::sleep(Duration::from_secs(3600)),
        ("always fails", _) => return Err("as always".into()),
        _ => green::sleep(Duration::from_millis(1)),
    }
    Ok(())
}

#[test]
fn a_killed_server_loses_no_job_and_none_is_done_again_after_it_was_acknowledged() {
    recipes::run(|| {
        let mut server = Server::postgres();
        let pool = pool(server.address, 4);
        recipes::when_ready(|| answer(get(&pool)?.batch_execute(SCHEMA)));
        let special = ["fails twice", "panics once", "hangs once", "always fails"];
        let special = special.map(|payload| put(&pool, payload).unwrap());

        let acknowledged = Rc::new(RefCell::new(BTreeSet::new()));
        let done_again = Rc::new(RefCell::new(Vec::new()));
        let workers = [(); 8].map(|()| {
            let (pool, acknowledged) = (pool.clone(), acknowledged.clone());
            let done_again = done_again.clone();
            green::spawn(move || {
                let run = |job: &Job| {
                    if acknowledged.borrow().contains(&job.id) {
                        done_again.borrow_mut().push(job.id);
                    }
                    run(job)
                };
                work(&pool, run, |job| assert!(acknowledged.borrow_mut().insert(job.id), "once"))
            })
        });
        let [twice, panics, hangs, always] = special;
        while !acknowledged.borrow().is_superset(&[twice, panics, hangs].into()) {
            green::sleep(Duration::from_millis(1));
        }

        // The server is killed while jobs are put in, taken and done.
        let queued = Rc::new(RefCell::new(BTreeSet::from(special)));
        let putting = green::spawn({
            let (pool, queued) = (pool.clone(), queued.clone());
            move || {
                loop {
                    match put(&pool, "plain") {
                        Ok(id) => assert!(queued.borrow_mut().insert(id)),
                        Err(error) => return error,
                    }
                }
            }
        });
        while acknowledged.borrow().len() < 100 {
            green::sleep(Duration::from_millis(1));
        }
        server.kill();
        putting.join().unwrap();
        while !server.restart() {} // Its children of before may not have ended yet.

        // The same workers, with new connections, until no job is left that may be taken, now or later.
        let open = "select count(*) from jobs where not done and (attempts < $1 or run_at > now())";
        let open = || -> i64 {
            let query = || answer(get(&pool)?.query_one(open, &[&MOST_ATTEMPTS]));
            recipes::when_ready(query).get(0)
        };
        while open() > 0 {
            green::sleep(Duration::from_millis(5));
        }
        workers.iter().for_each(JoinHandle::cancel);
        for worker in workers {
            assert!(worker.join().unwrap_err().is_cancelled());
        }

        let ids = |query: &str| -> BTreeSet<i64> {
            let rows = answer(get(&pool).unwrap().query(query, &[])).unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        };
        let (all, done) = (ids("select id from jobs"), ids("select id from jobs where done"));
        assert!(all.is_superset(&queued.borrow()), "a job is lost");
        assert!(done.is_superset(&acknowledged.borrow()), "a report is lost");
        assert_eq!(all.difference(&done).collect::<Vec<_>>(), [&always]);
        assert_eq!(*done_again.borrow(), []);

        let outcome = |id: i64| -> (i32, String) {
            let query = "select attempts, error from jobs where id = $1";
            let row = answer(get(&pool).unwrap().query_one(query, &[&id])).unwrap();
            (row.get(0), row.get(1))
        };
        assert_eq!(outcome(always), (MOST_ATTEMPTS, "as always".into()));
        assert!(outcome(twice).0 >= 3);
        for (id, error) in [(panics, "the first time"), (hangs, "timed out")] {
            let (attempts, last) = outcome(id);
            assert!(attempts >= 2 && last.contains(error), "{attempts}, {last}");
        }
    });
}
