//! HTTP by ureq on this crate's sockets: what a user of an agent sees, wherever the agent is used.
#![cfg(feature = "ureq")]

mod support;

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::*;
use ureq::{Agent, Error, Timeout};
use wouldblock::http::agent_with;
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::time::{now, sleep};
use wouldblock::{JoinHandle, future, gather, generator, green};

/// An agent, whatever proxy the environment asks for.
fn agent() -> Agent {
    agent_with(Agent::config_builder().proxy(None).build())
}

fn get(agent: &Agent, url: &str) -> Result<String, Error> {
    agent.get(url).call()?.body_mut().read_to_string()
}

// A server, in the style of std, on the sockets that are tested.

struct Server {
    url: String,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    /// Serves in the present run.
    fn here() -> Server {
        let (listener, server) = Server::new();
        drop(green::spawn(move || serve(&listener)));
        server
    }

    /// Serves on a thread of its own, until the process ends.
    fn on_a_thread() -> Server {
        let (listener, server) = Server::new();
        thread::spawn(move || wouldblock::run(|| serve(&listener)));
        server
    }

    fn new() -> ((TcpListener, Arc<AtomicUsize>), Server) {
        // A burst of connections is to find room: std's backlog has it for 128.
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&any_port.into()).unwrap();
        socket.listen(1024).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let accepted = Arc::new(AtomicUsize::new(0));
        ((listener, accepted.clone()), Server { url, accepted })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn serve((listener, accepted): &(TcpListener, Arc<AtomicUsize>)) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        accepted.fetch_add(1, Ordering::Relaxed);
        // Else the kernel keeps small writes back for some milliseconds, for which no virtual clock waits.
        stream.set_nodelay(true).unwrap();
        // A client may go away whenever it likes; the test sees what becomes of it.
        drop(green::spawn(move || drop(converse(&stream))));
    }
}

/// Answers the requests on one connection, until one asks for its end.
fn converse(mut stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (path, body) = request(&mut reader)?;
        let text =
            |text: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        let answer = match path.as_str() {
            "/hello" => text("hello"),
            "/slow" => {
                green::sleep(10 * MS);
                text("at last")
            }
            "/echo" => text(&body),
            "/old" => "HTTP/1.1 302 Found\r\nlocation: /hello\r\ncontent-length: 0\r\n\r\n".into(),
            "/round" => {
                "HTTP/1.1 302 Found\r\nlocation: /round\r\ncontent-length: 0\r\n\r\n".into()
            }
            "/chunked" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                for word in ["one", "two", "three"] {
                    for part in [format!("{:x}\r\n", word.len()), word.into(), "\r\n".into()] {
                        stream.write_all(part.as_bytes())?;
                        green::sleep(MS);
                    }
                }
                "0\r\n\r\n".into()
            }
            "/until-the-end" => {
                return stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it");
            }
            "/cut" => {
                return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf");
            }
            "/cut-in-the-head" => return stream.write_all(b"HTTP/1.1 200 O"),
            "/not-http" => return stream.write_all(b"SSH-2.0-server\r\n"),
            "/once" => return stream.write_all(text("hello").as_bytes()),
            "/never" => {
                reader.read_exact(&mut [0])?; // until the client goes away
                return Ok(());
            }
            "/stalls" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")?;
                reader.read_exact(&mut [0])?;
                return Ok(());
            }
            "/trickle" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
                for _ in 0..100_000 {
                    green::sleep(MS);
                    stream.write_all(b".")?;
                }
                continue;
            }
            _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nmissing".into(),
        };
        stream.write_all(answer.as_bytes())?;
    }
}

/// Reads a request: its path and its body.
fn request(reader: &mut impl BufRead) -> io::Result<(String, String)> {
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            None => path = line.split(' ').nth(1).unwrap_or_default().into(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((path, String::from_utf8(body).unwrap()))
}

// Where an agent may be used.

#[test]
fn a_request_is_made_in_all_eras() {
    bounded(|| {
        let server = Server::here();
        let (url, agent) = (server.url("/hello"), agent());
        let tasks: [JoinHandle<String>; 3] = [
            {
                let (agent, url) = (agent.clone(), url.clone());
                generator::spawn(move |_| get(&agent, &url).unwrap())
            },
            {
                let (agent, url) = (agent.clone(), url.clone());
                green::spawn(move || get(&agent, &url).unwrap())
            },
            future::spawn(async move { get(&agent, &url).unwrap() }),
        ];
        assert_eq!(tasks.map(join), ["hello"; 3]);
    });
}

#[test]
fn a_request_in_an_async_fn_suspends_only_its_task() {
    virtually(|| {
        let server = Server::here();
        let url = server.url("/slow");
        let (start, ticks) = (now(), Rc::new(Cell::new(0)));
        let counter = ticks.clone();
        drop(future::spawn(async move {
            loop {
                sleep(MS).await;
                counter.set(counter.get() + 1);
            }
        }));
        let requests = (0..10).map(|_| {
            let url = url.clone();
            future::spawn(async move {
                let agent = agent();
                sleep(MS).await;
                let first = get(&agent, &url).unwrap();
                sleep(MS).await;
                first + &get(&agent, &url).unwrap()
            })
        });
        for text in green::wait(gather(requests)) {
            assert_eq!(text.unwrap(), "at lastat last");
        }
        assert_eq!(now() - start, 22 * MS, "all at once");
        assert!(ticks.get() >= 20, "{} of others' turns", ticks.get());
    });
}

#[test]
fn a_request_is_made_outside_of_any_task() {
    let server = Server::on_a_thread();
    assert_eq!(get(&agent(), &server.url("/hello")).unwrap(), "hello");
    let url = server.url("/hello");
    assert_eq!(on_a_thread(move || get(&agent(), &url).unwrap()), "hello");
    let runtime = wouldblock::Builder::new().build().unwrap();
    assert_eq!(runtime.enter(|| get(&agent(), &server.url("/hello")).unwrap()), "hello");
}

#[test]
fn one_agent_and_its_connection_serve_threads_runs_and_tasks() {
    let server = Server::on_a_thread();
    let (agent, url) = (agent(), server.url("/hello"));
    let ask = move || assert_eq!(get(&agent, &url).unwrap(), "hello");
    ask();
    bounded(&ask);
    let elsewhere = ask.clone();
    on_a_thread(move || {
        elsewhere();
        bounded(&elsewhere);
    });
    ask();
    let inside = ask.clone();
    bounded(|| join(future::spawn(async move { inside() })));
    assert_eq!(server.accepted(), 1, "it is kept alive");
}

#[test]
fn two_hundred_requests_are_under_way_at_once() {
    virtually(|| {
        let server = Server::here();
        let (agent, url) = (agent(), server.url("/slow"));
        let start = now();
        let requests = (0..200).map(|_| {
            let (agent, url) = (agent.clone(), url.clone());
            green::spawn(move || get(&agent, &url).unwrap())
        });
        let texts = green::wait(gather(requests));
        assert!(texts.into_iter().all(|text| text.unwrap() == "at last"));
        assert_eq!(server.accepted(), 200);
        assert_eq!(now() - start, 10 * MS);
    });
}

// Connections.

#[test]
fn a_connection_is_used_again() {
    bounded(|| {
        let server = Server::here();
        let agent = agent();
        for _ in 0..10 {
            assert_eq!(get(&agent, &server.url("/hello")).unwrap(), "hello");
        }
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn a_connection_that_the_server_closed_is_not_used_again() {
    bounded(|| {
        let server = Server::here();
        let agent = agent();
        for n in 1..=5 {
            assert_eq!(get(&agent, &server.url("/once")).unwrap(), "hello");
            green::sleep(MS); // the end arrives
            assert_eq!(server.accepted(), n);
        }
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    bounded(|| {
        let (address, _socket) = refusing();
        match get(&agent(), &format!("http://{address}/")) {
            Err(Error::Io(e)) => assert_eq!(e.kind(), ErrorKind::ConnectionRefused),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_unknown_host_is_named() {
    // No name: its first part is longer than any may be, so that nobody is asked for it.
    let host = format!("{}.example", "x".repeat(64));
    let check = || {
        let text = get(&agent(), &format!("http://{host}/")).unwrap_err().to_string();
        assert!(text.contains(&host), "{text}");
    };
    check();
    bounded(check);
    bounded(|| {
        let config = Agent::config_builder().proxy(None).timeout_global(Some(HOUR)).build();
        let text = get(&agent_with(config), &format!("http://{host}/")).unwrap_err().to_string();
        assert!(text.contains(&host), "{text}");
    });
}

#[test]
fn localhost_is_looked_up() {
    bounded(|| {
        let server = Server::here();
        let url = server.url("/hello").replace("127.0.0.1", "localhost");
        assert_eq!(get(&agent(), &url).unwrap(), "hello");
    });
}

// Answers.

#[test]
fn a_status_of_failure_is_an_error_and_keeps_the_connection() {
    bounded(|| {
        let server = Server::here();
        let agent = agent();
        let missing = get(&agent, &server.url("/missing"));
        assert!(matches!(missing, Err(Error::StatusCode(404))), "{missing:?}");
        let config = Agent::config_builder().proxy(None).http_status_as_error(false).build();
        let mut response = agent_with(config).get(server.url("/missing")).call().unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(response.body_mut().read_to_string().unwrap(), "missing");
    });
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    bounded(|| {
        let server = Server::here();
        let agent = agent();
        assert_eq!(get(&agent, &server.url("/old")).unwrap(), "hello");
        let round = get(&agent, &server.url("/round"));
        assert!(matches!(round, Err(Error::TooManyRedirects)), "{round:?}");
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn a_chunked_body_that_comes_in_pieces_is_put_together() {
    virtually(|| {
        let server = Server::here();
        let agent = agent();
        for _ in 0..2 {
            assert_eq!(get(&agent, &server.url("/chunked")).unwrap(), "onetwothree");
        }
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    bounded(|| {
        let server = Server::here();
        assert_eq!(get(&agent(), &server.url("/until-the-end")).unwrap(), "all of it");
    });
}

#[test]
fn an_answer_cut_short_is_an_error() {
    bounded(|| {
        let server = Server::here();
        for path in ["/cut", "/cut-in-the-head", "/not-http"] {
            let result = get(&agent(), &server.url(path));
            assert!(result.is_err(), "{path}: {result:?}");
        }
    });
}

#[test]
fn a_large_body_goes_there_and_back() {
    bounded(|| {
        let server = Server::here();
        let body = "0123456789".repeat(200_000);
        let agent = agent();
        for _ in 0..2 {
            let mut response = agent.post(server.url("/echo")).send(&body).unwrap();
            assert!(response.body_mut().read_to_string().unwrap() == body);
        }
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn a_body_is_read_bit_by_bit_while_others_run() {
    virtually(|| {
        let server = Server::here();
        let response = agent().get(server.url("/trickle")).call().unwrap();
        let mut reader = response.into_body().into_reader();
        let start = now();
        let mut buf = [0; 100];
        reader.read_exact(&mut buf).unwrap();
        assert_eq!((buf, now() - start), ([b'.'; 100], 100 * MS));
    });
}

// Time limits.

fn limited(config: impl FnOnce(Limits) -> Limits) -> Agent {
    agent_with(config(Agent::config_builder().proxy(None)).build())
}

type Limits = ureq::config::ConfigBuilder<ureq::typestate::AgentScope>;

#[track_caller]
fn assert_timeout<T: std::fmt::Debug>(result: Result<T, Error>, expected: Timeout) {
    match result {
        Err(Error::Timeout(reason)) => assert_eq!(reason, expected),
        other => panic!("{other:?}"),
    }
}

const LIMIT: Option<Duration> = Some(Duration::from_millis(500));

#[test]
fn a_server_that_does_not_answer_meets_the_limits() {
    virtually(|| {
        let server = Server::here();
        let start = now();
        let never = |agent: &Agent| get(agent, &server.url("/never"));
        assert_timeout(never(&limited(|c| c.timeout_global(LIMIT))), Timeout::Global);
        assert_timeout(never(&limited(|c| c.timeout_per_call(LIMIT))), Timeout::PerCall);
        assert_timeout(never(&limited(|c| c.timeout_recv_response(LIMIT))), Timeout::RecvResponse);
        assert_timeout(never(&limited(|c| c.timeout_per_read(LIMIT))), Timeout::PerRead);
        assert!(now() - start <= 2000 * MS && now() - start > 1500 * MS, "{:?}", now() - start);
    });
}

#[test]
fn a_body_that_stalls_meets_the_limits() {
    virtually(|| {
        let server = Server::here();
        let stalls = |agent: &Agent| get(agent, &server.url("/stalls"));
        assert_timeout(stalls(&limited(|c| c.timeout_global(LIMIT))), Timeout::Global);
        assert_timeout(stalls(&limited(|c| c.timeout_recv_body(LIMIT))), Timeout::RecvBody);
        assert_timeout(stalls(&limited(|c| c.timeout_per_read(LIMIT))), Timeout::PerRead);
    });
}

#[test]
fn a_body_that_trickles_meets_the_limit_on_the_whole_and_not_that_on_each_read() {
    // On the machine's clock: ureq adds up the whole by it.
    bounded(|| {
        let server = Server::here();
        let agent = limited(|c| c.timeout_global(Some(50 * MS)).timeout_per_read(Some(HOUR)));
        assert_timeout(get(&agent, &server.url("/trickle")), Timeout::Global);
    });
}

#[test]
fn a_server_that_cannot_be_reached_meets_the_limits() {
    virtually(|| {
        let (address, _sockets) = silent();
        let url = format!("http://{address}/");
        let start = now();
        assert_timeout(get(&limited(|c| c.timeout_connect(LIMIT)), &url), Timeout::Connect);
        assert_timeout(get(&limited(|c| c.timeout_global(LIMIT)), &url), Timeout::Global);
        assert!(now() - start <= 1000 * MS, "{:?}", now() - start);
    });
}

#[test]
fn limits_hold_outside_of_any_task() {
    let server = Server::on_a_thread();
    let limit = Some(5 * MS);
    let never = server.url("/never");
    assert_timeout(get(&limited(|c| c.timeout_global(limit)), &never), Timeout::Global);
    let (address, _sockets) = silent();
    let silent = format!("http://{address}/");
    assert_timeout(get(&limited(|c| c.timeout_connect(limit)), &silent), Timeout::Connect);
}

#[test]
fn a_limit_that_is_kept_changes_nothing() {
    bounded(|| {
        let server = Server::here();
        let agent = limited(|c| {
            c.timeout_global(Some(HOUR)).timeout_connect(Some(HOUR)).timeout_resolve(Some(HOUR))
        });
        for _ in 0..3 {
            assert_eq!(get(&agent, &server.url("/hello")).unwrap(), "hello");
        }
        assert_eq!(server.accepted(), 1);
        let url = server.url("/hello").replace("127.0.0.1", "localhost");
        assert_eq!(get(&agent, &url).unwrap(), "hello");
    });
}

#[test]
fn green_timeout_limits_a_request() {
    virtually(|| {
        let server = Server::here();
        let (agent, start) = (agent(), now());
        assert!(green::timeout(50 * MS, || get(&agent, &server.url("/never"))).is_err());
        assert_eq!(now() - start, 50 * MS);
        assert_eq!(get(&agent, &server.url("/hello")).unwrap(), "hello");
    });
}

// Stopping.

#[test]
fn a_cancelled_request_closes_its_connection_and_leaves_the_agent_usable() {
    virtually(|| {
        let (listener, address) = listener();
        let agent = agent();
        let request = || {
            let (agent, url) = (agent.clone(), format!("http://{address}/"));
            move || get(&agent, &url)
        };
        let (a, b) = (request(), request());
        for task in [green::spawn(a), future::spawn(async move { b() })] {
            let (mut stream, _) = listener.accept().unwrap();
            green::sleep(MS);
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap(); // to the end, which the client has made
            assert!(text.starts_with("GET / HTTP/1.1\r\n"), "{text}");
        }
        let server = Server::here();
        assert_eq!(get(&agent, &server.url("/hello")).unwrap(), "hello");
    });
}

#[test]
fn shutting_the_agent_down_ends_requests_under_way_and_refuses_new_ones() {
    virtually(|| {
        let server = Server::here();
        let (agent, url) = (agent(), server.url("/never"));
        let requests: Vec<_> = ["/never", "/stalls", "/never"]
            .map(|path| (agent.clone(), server.url(path)))
            .map(|(agent, url)| green::spawn(move || get(&agent, &url)))
            .into();
        green::sleep(MS);
        let start = now();
        agent.clone().shutdown();
        for request in requests {
            let result = join(request);
            assert!(matches!(result, Err(Error::Io(_) | Error::Protocol(_))), "{result:?}");
        }
        assert!(get(&agent, &url).is_err());
        assert_eq!(now(), start, "at once");
    });
}

#[test]
fn another_thread_may_shut_the_agent_down() {
    bounded(|| {
        let server = Server::here();
        let (agent, url) = (agent(), server.url("/never"));
        let user = agent.clone();
        let request = green::spawn(move || get(&user, &url));
        while server.accepted() == 0 {
            green::sleep(MS);
        }
        green::sleep(MS);
        on_a_thread(move || agent.shutdown());
        assert!(join(request).is_err());
    });
}
