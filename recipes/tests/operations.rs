//! The example `operations` as its reader meets it, with the servers and without. (`cargo test -p recipes` builds it.)
//!
//! It is not compared with threads: it shows what happens when.

use std::net::SocketAddr;

use recipes::Server;
use wouldblock::net::TcpListener;
use wouldblock::process::Command;

/// What it prints: the servers that it has found, the steps, the times.
fn printed(postgres: SocketAddr, redis: SocketAddr) -> [String; 3] {
    // This is target/PROFILE/deps/TEST, and examples are built in target/PROFILE/examples.
    let test = std::env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples/operations");
    let mut command = Command::new(example);
    command.env("POSTGRES", postgres.to_string()).env("REDIS", redis.to_string());
    for name in ["PGUSER", "PGDATABASE", "PGPASSWORD"] {
        command.env_remove(name);
    }
    let ran = command.output().unwrap();
    let errors = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success() && errors.is_empty(), "{errors}");
    let text = String::from_utf8(ran.stdout).unwrap();
    let parts: Vec<_> = text.split("\n\n").map(str::to_owned).collect();
    parts.try_into().expect("three parts")
}

fn check_steps(trace: &str) {
    let at = |step: &str| {
        let place = trace.lines().position(|line| line.ends_with(step));
        place.unwrap_or_else(|| panic!("no line ends with {step:?}:\n{trace}"))
    };
    assert_eq!(trace.lines().count(), 1 + 4 * 3, "{trace}");
    assert_eq!(trace.matches("8 MiB synced").count(), 3, "{trace}");
    assert!(at(" 50000 rows") < at("100000 rows") && at("100000 rows") < at("150000 rows"));
    assert!(at("answer 1") < at("answer 2") && at("answer 2") < at("answer 3"));
    assert!(at("message 1") < at("message 2") && at("message 2") < at("message 3"));
    // Neither waits until the other is done.
    assert!(at("answer 1") < at("message 3") && at("message 1") < at("answer 3"), "{trace}");
}

fn check_times(table: &str) {
    let times: Vec<u128> = table
        .lines()
        .map(|line| line.split_whitespace().find_map(|word| word.parse().ok()).expect("a time"))
        .collect();
    let [together, network, file, database, queue, sum] = times[..] else { panic!("{table}") };
    assert!(together > 0, "{table}");
    assert_eq!(network + file + database + queue, sum, "{table}");
}

#[test]
fn operations_with_servers_and_without() {
    recipes::run(|| {
        // Where nothing listens any more.
        let [no_postgres, no_redis] = [(); 2].map(|()| {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        });
        let [found, trace, times] = printed(no_postgres, no_redis);
        assert_eq!(
            found,
            format!(
                "database: SQLite; no PostgreSQL at {no_postgres}\n\
                 message queue: of this program; no Redis at {no_redis}"
            )
        );
        check_steps(&trace);
        check_times(&times);

        let (postgres, redis) = (Server::postgres(), Server::redis());
        let [found, trace, times] = printed(postgres.address, redis.address);
        assert_eq!(
            found,
            format!(
                "database: PostgreSQL at {}\nmessage queue: Redis at {}",
                postgres.address, redis.address
            )
        );
        check_steps(&trace);
        check_times(&times);
    });
}
