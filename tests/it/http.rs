//! HTTP by ureq on this crate's sockets: what a user of an agent sees, wherever the agent is used.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use crate::util::server::{self, Server, get};
use crate::util::*;
use ureq::{Agent, Error, Timeout};
use wouldblock::http::{agent_with, config_builder};
use wouldblock::time::{now, sleeping};
use wouldblock::{JoinHandle, future, generator, green, group::gather};

/// An agent, whatever proxy the environment asks for.
fn agent() -> Agent {
    agent_with(config_builder().proxy(None).build())
}

/// The error that an error has inside.
fn cause(error: &io::Error) -> Option<ErrorKind> {
    error.get_ref()?.downcast_ref::<io::Error>().map(io::Error::kind)
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
                sleeping(MS).await;
                counter.set(counter.get() + 1);
            }
        }));
        let requests = (0..10).map(|_| {
            let url = url.clone();
            future::spawn(async move {
                let agent = agent();
                sleeping(MS).await;
                let first = get(&agent, &url).unwrap();
                sleeping(MS).await;
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
    bounded(|| server::a_connection_is_used_again(&Server::here(), &agent()));
}

#[test]
fn a_connection_that_the_server_closed_is_not_used_again() {
    virtually(|| {
        server::a_connection_that_the_server_closed_is_not_used_again(&Server::here(), &agent());
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
fn where_no_address_can_be_connected_to_the_address_is_named() {
    let (address, _socket) = refusing();
    let check = |limit| {
        let config = config_builder().proxy(None).timeout_connect(limit).build();
        let error = get(&agent_with(config), &format!("http://{address}/")).unwrap_err();
        let expected = format!("cannot connect to {address}: Connection refused (os error 111)");
        assert!(error.to_string().contains(&expected), "{error}");
        assert_eq!(error.to_string().matches("cannot connect").count(), 1, "{error}");
    };
    for limit in [None, Some(HOUR)] {
        check(limit);
        bounded(|| check(limit));
    }
}

#[test]
fn a_panic_hook_may_make_a_request() {
    let ended = in_child_in_order(|| {
        let server = Server::on_a_thread();
        let (agent, url) = (agent(), server.url("/hello"));
        std::panic::set_hook(Box::new(move |_| {
            let limited = limited(|c| c.timeout_global(Some(HOUR)));
            for agent in [&agent, &agent, &limited] {
                get(agent, &url).unwrap();
            }
        }));
        bounded(|| {
            let task = green::spawn(|| panic!("the reason"));
            assert!(task.join().is_err_and(|e| e.is_panic()));
            let task = future::spawn(async { panic!("the reason") });
            assert!(task.join().is_err_and(|e| e.is_panic()));
        });
    });
    ended.assert_fine();
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
        let config = config_builder().proxy(None).timeout_global(Some(HOUR)).build();
        let text = get(&agent_with(config), &format!("http://{host}/")).unwrap_err().to_string();
        assert!(text.contains(&host), "{text}");
    });
}

#[test]
fn localhost_is_looked_up() {
    bounded(|| server::its_host_is_looked_up(&Server::here(), &agent()));
}

// Answers.

#[test]
fn a_status_of_failure_is_an_error_and_keeps_the_connection() {
    bounded(|| {
        let server = Server::here();
        let agent = agent();
        let missing = get(&agent, &server.url("/missing"));
        assert!(matches!(missing, Err(Error::StatusCode(404))), "{missing:?}");
        let config = config_builder().proxy(None).http_status_as_error(false).build();
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
fn a_body_without_a_length_does_not_end_with_a_reset() {
    bounded(|| {
        let (listener, address) = listener();
        let server = green::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").unwrap();
            stream
        });
        let response = agent().get(format!("http://{address}/")).call().unwrap();
        let mut body = response.into_body().into_reader();
        body.read_exact(&mut [0; 4]).unwrap();
        let stream = server.join().unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        let error = body.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(cause(&error), Some(ErrorKind::ConnectionReset), "{error:?}");
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
    bounded(|| server::a_large_body_goes_there_and_back(&Server::here(), &agent()));
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
    agent_with(config(config_builder().proxy(None)).build())
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
        for in_a_future in [false, true] {
            let (agent, url) = (agent.clone(), format!("http://{address}/"));
            let request = move || get(&agent, &url);
            let task = match in_a_future {
                false => green::spawn(request),
                true => future::spawn(async move { request() }),
            };
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
