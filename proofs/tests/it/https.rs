//! https by ureq on this crate's sockets: TLS, gzip, proxies, and what may go wrong with each.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::certificates::AUTHORITY;
use crate::util::server::{self, Server, get, poem};
use crate::util::*;
use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsAcceptor;
use rustls::{CipherSuite, ServerConnection, StreamOwned};
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsConfigBuilder, TlsProvider};
use ureq::typestate::AgentScope;
use ureq::{Agent, Error, Proxy, Timeout};
use wouldblock::http::{agent_with, config_builder};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::time::{now, sleeping};
use wouldblock::{future, generator, green, group::gather, stats, task};

/// Trusts the tests' authority.
fn tls() -> TlsConfigBuilder {
    let root = Certificate::from_pem(AUTHORITY.pem().as_bytes()).unwrap();
    TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root]))
}

/// Trusts the tests' authority, and goes by no proxy of the environment.
fn config() -> ConfigBuilder<AgentScope> {
    config_builder().proxy(None).tls_config(tls().build())
}

fn agent() -> Agent {
    agent_with(config().build())
}

fn server() -> Server {
    Server::tls_here(AUTHORITY.server())
}

// Requests.

#[test]
fn a_connection_is_used_again() {
    bounded(|| server::a_connection_is_used_again(&server(), &agent()));
}

#[test]
fn a_connection_that_the_server_closed_is_not_used_again() {
    virtually(|| {
        server::a_connection_that_the_server_closed_is_not_used_again(&server(), &agent());
    });
}

#[test]
fn a_packed_body_is_unpacked() {
    bounded(|| {
        let server = server();
        let agent = agent();
        for _ in 0..2 {
            let mut response = agent.get(server.url("/gzip")).call().unwrap();
            assert_eq!(response.headers().get("content-encoding"), None, "it is unpacked");
            assert!(response.body_mut().read_to_string().unwrap() == poem());
        }
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn a_large_body_goes_there_and_back() {
    bounded(|| server::a_large_body_goes_there_and_back(&server(), &agent()));
}

#[test]
fn bodies_end_as_http_says() {
    virtually(|| {
        let server = server();
        assert_eq!(get(&agent(), &server.url("/chunked")).unwrap(), "onetwothree");
        assert_eq!(get(&agent(), &server.url("/until-the-end")).unwrap(), "all of it");
        assert!(get(&agent(), &server.url("/cut")).is_err());
    });
}

/// Anybody on the way can end a TCP connection, though not TLS.
#[test]
fn a_body_without_a_length_ends_with_tls_and_not_before() {
    bounded(|| {
        let (listener, address) = listener();
        let server = green::spawn(move || {
            let mut stream = accept_tls(&listener);
            let _ = stream.read(&mut [0; 512]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").unwrap(); // and no goodbye
        });
        let response = agent().get(format!("https://{address}/")).call().unwrap();
        let mut body = Vec::new();
        let error = response.into_body().into_reader().read_to_end(&mut body).unwrap_err();
        assert_eq!(body, b"half");
        assert!(error.to_string().contains("close_notify"), "{error}");
        server.join().unwrap();
    });
}

#[test]
fn a_redirect_leads_from_http_to_https() {
    bounded(|| {
        let (plain, secret) = (Server::here(), server());
        let url = plain.url(&format!("/to/{}", secret.url("/old")));
        assert_eq!(get(&agent(), &url).unwrap(), "hello");
        assert_eq!((plain.accepted(), secret.accepted()), (1, 1));
    });
}

#[test]
fn a_host_is_looked_up_and_its_certificate_is_for_its_name() {
    bounded(|| server::its_host_is_looked_up(&server(), &agent()));
}

#[test]
fn a_head_larger_than_the_buffer_is_said_to_be_too_large() {
    bounded(|| {
        for server in [server(), Server::here()] {
            let result = get(&agent(), &server.url("/long-head"));
            assert!(matches!(result, Err(Error::LargeResponseHeader(..))), "{result:?}");
            let patient = config().input_buffer_size(64 << 10).max_response_header_size(48 << 10);
            assert_eq!(get(&agent_with(patient.build()), &server.url("/long-head")).unwrap(), "");
        }
    });
}

// Where an agent may be used.

#[test]
fn a_request_is_made_in_all_eras() {
    bounded(|| {
        let server = server();
        let ask = |path| {
            let (agent, url) = (agent(), server.url(path));
            move || get(&agent, &url).unwrap()
        };
        let (a, b, c) = (ask("/hello"), ask("/hello"), ask("/hello"));
        let tasks =
            [generator::spawn(move |_| a()), green::spawn(b), future::spawn(async move { c() })];
        assert_eq!(tasks.map(join), ["hello"; 3]);
    });
}

#[test]
fn a_request_in_an_async_fn_suspends_only_its_task() {
    virtually(|| {
        let server = server();
        let ticks = Rc::new(Cell::new(0));
        let counter = ticks.clone();
        drop(future::spawn(async move {
            loop {
                sleeping(MS).await;
                counter.set(counter.get() + 1);
            }
        }));
        let start = now();
        let requests = (0..10).map(|_| {
            let (agent, url) = (agent(), server.url("/slow"));
            future::spawn(async move {
                sleeping(MS).await;
                get(&agent, &url).unwrap()
            })
        });
        for text in green::wait(gather(requests)) {
            assert_eq!(text.unwrap(), "at last");
        }
        assert_eq!(now() - start, 11 * MS, "all at once");
        assert!(ticks.get() >= 10, "{} of the other's turns", ticks.get());
    });
}

#[test]
fn a_request_is_made_outside_of_any_task() {
    let server = Server::tls_on_a_thread(AUTHORITY.server());
    let (agent, url) = (agent(), server.url("/hello"));
    let ask = move || assert_eq!(get(&agent, &url).unwrap(), "hello");
    ask();
    on_a_thread(ask.clone());
    bounded(&ask);
    wouldblock::Builder::new().build().unwrap().enter(&ask);
    assert_eq!(server.accepted(), 1, "one connection serves them all");
}

#[test]
fn two_runs_on_two_threads_share_an_agent() {
    let server = Server::tls_on_a_thread(AUTHORITY.server());
    let (agent, url) = (agent_with(config().max_idle_connections(4).build()), server.url("/hello"));
    let run = move || {
        bounded(|| {
            let tasks = (0..20).map(|_| {
                let (agent, url) = (agent.clone(), url.clone());
                green::spawn(move || {
                    for _ in 0..5 {
                        assert_eq!(get(&agent, &url).unwrap(), "hello");
                        green::yield_now();
                    }
                })
            });
            green::wait(gather(tasks)).into_iter().for_each(Result::unwrap);
        });
    };
    let other = std::thread::spawn(run.clone());
    run();
    other.join().unwrap();
}

#[test]
fn five_hundred_requests_are_under_way_at_once() {
    assert!(may_open(2000), "raise the limit on open files (`ulimit -n`)");
    virtually(|| {
        let server = server();
        let (agent, start) = (agent(), now());
        let requests = (0..500).map(|_| {
            let (agent, url) = (agent.clone(), server.url("/slow"));
            green::spawn(move || get(&agent, &url).unwrap())
        });
        let texts = green::wait(gather(requests));
        assert!(texts.into_iter().all(|text| text.unwrap() == "at last"));
        assert_eq!((server.accepted(), now() - start), (500, 10 * MS));
    });
}

// What the docs promise about the pool, and about stacks.

#[test]
fn the_pool_is_used_by_many_tasks_at_once_and_keeps_few() {
    bounded(|| {
        let server = server();
        let few = config().max_idle_connections(2).max_idle_connections_per_host(2);
        let agent = agent_with(few.build());
        let tasks = (0..30).map(|_| {
            let (agent, url) = (agent.clone(), server.url("/hello"));
            green::spawn(move || {
                for _ in 0..4 {
                    assert_eq!(get(&agent, &url).unwrap(), "hello");
                    green::yield_now();
                }
            })
        });
        green::wait(gather(tasks)).into_iter().for_each(Result::unwrap);
        assert!(server.accepted() >= 30, "{}", server.accepted());
    });
}

/// ureq asks connections whether they are open, and drops them, with its pool locked by a std mutex.
#[test]
fn keeping_and_dropping_a_connection_takes_no_turn() {
    bounded(|| {
        let server = server();
        let agent = agent();
        let turns = || stats().turns;
        let mut body = agent.get(server.url("/hello")).call().unwrap().into_body().into_reader();
        body.read_exact(&mut [0; 5]).unwrap();
        let before = turns();
        assert_eq!(body.read(&mut [0]).unwrap(), 0); // the pool asks whether it is open
        assert_eq!(turns(), before, "keeping it");
        let response = agent.get(server.url("/stalls")).call().unwrap();
        assert_eq!(server.accepted(), 1, "it was kept");
        let before = turns();
        drop(response);
        assert_eq!(turns(), before, "dropping one in mid-body");
        assert_eq!(get(&agent, &server.url("/hello")).unwrap(), "hello");
        let before = turns();
        drop(agent);
        assert_eq!(turns(), before, "dropping those that are kept");
    });
}

#[test]
fn half_a_stack_is_enough_for_https_with_gzip() {
    bounded(|| {
        let (url, agent) = (server().url("/gzip"), agent());
        let request = green::spawn(move || {
            assert!(get(&agent, &url).unwrap() == poem());
            let task = task::current().unwrap();
            (task.stack_used().expect("it is on its stack"), task.stack_size())
        });
        let (used, size) = join(request);
        println!("{} KiB of {} KiB", used >> 10, size >> 10);
        assert!(used <= size / 2, "{used} bytes of {size}");
    });
}

// Certificates.

#[track_caller]
fn assert_says(result: Result<impl std::fmt::Debug, Error>, parts: &[&str]) {
    let text = result.expect_err("an error").to_string();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

#[test]
fn a_certificate_that_is_not_good_is_refused_with_its_reason() {
    bounded(|| {
        let ask = |agent: Agent, server: &Server| get(&agent, &server.url("/hello"));
        let stranger = agent_with(config_builder().proxy(None).build());
        let refused = ask(stranger, &server());
        assert_says(refused, &["no TLS with 127.0.0.1", "certificate", "UnknownIssuer"]);

        let other = AUTHORITY.server_that(|c| c.subject_alt_names.truncate(0));
        let refused = ask(agent(), &Server::tls_here(other));
        assert_says(refused, &["no TLS with 127.0.0.1", "not valid for"]);

        let old = AUTHORITY.server_that(|c| c.not_after = rcgen::date_time_ymd(2001, 1, 1));
        let refused = ask(agent(), &Server::tls_here(old));
        assert_says(refused, &["no TLS with 127.0.0.1", "expired"]);
    });
}

#[test]
fn a_server_without_tls_is_said_to_have_none() {
    bounded(|| {
        let (listener, address) = listener();
        let server = green::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut first = [0];
            stream.read_exact(&mut first).unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            io::copy(&mut stream, &mut io::sink()).unwrap();
            first
        });
        let refused = get(&agent(), &format!("https://{address}/secret"));
        assert_says(refused, &["no TLS with 127.0.0.1", "InvalidContentType"]);
        assert_eq!(join(server), [22], "a handshake: nothing is sent in clear text");
    });
}

#[test]
fn ones_own_provider_of_cryptography_is_used() {
    bounded(|| {
        let (listener, address) = listener();
        let mut provider = rustls::crypto::ring::default_provider();
        let wanted = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256; // not what they would agree on
        provider.cipher_suites.retain(|known| known.suite() == wanted);
        let tls = tls().unversioned_rustls_crypto_provider(Arc::new(provider)).build();
        let agent = agent_with(config().tls_config(tls).build());
        let request = green::spawn(move || get(&agent, &format!("https://{address}/")));
        let mut stream = accept_tls(&listener);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
        assert_eq!(stream.conn.negotiated_cipher_suite().unwrap().suite(), wanted);
        assert_eq!(join(request).unwrap(), "hello");
    });
}

#[test]
fn a_provider_of_tls_that_is_not_there_is_named() {
    bounded(|| {
        let server = server();
        let tls = tls().provider(TlsProvider::NativeTls).build();
        let agent = agent_with(config().tls_config(tls).build());
        assert_says(get(&agent, &server.url("/hello")), &["NativeTls", "TlsProvider::Rustls"]);
        assert_eq!(server.accepted(), 0);
    });
}

// Time limits, an hour of virtual time each: ureq's own clock, the machine's, is far from it.

#[track_caller]
fn assert_timeout<T>(expected: Timeout, request: impl FnOnce() -> Result<T, Error>) {
    let start = now();
    match request().map(|_| "an answer") {
        Err(Error::Timeout(reason)) => assert_eq!(reason, expected),
        other => panic!("{other:?}"),
    }
    // Twice: rustls keeps a failed write to itself until the next, for which ureq's clock has time left.
    let taken = now() - start;
    assert!(taken <= 2 * HOUR && taken > HOUR - HOUR / 10, "{taken:?}");
}

const LIMIT: Option<std::time::Duration> = Some(HOUR);

#[test]
fn a_server_that_cannot_be_reached_meets_the_limits() {
    virtually(|| {
        let (address, _sockets) = silent();
        let url = format!("https://{address}/");
        let connect = agent_with(config().timeout_connect(LIMIT).build());
        assert_timeout(Timeout::Connect, || get(&connect, &url));
    });
}

#[test]
fn a_handshake_that_is_never_answered_meets_the_limits() {
    virtually(|| {
        let (_listener, address) = listener(); // connects, by its backlog, and is silent
        let ask = |config: ConfigBuilder<AgentScope>| {
            get(&agent_with(config.build()), &format!("https://{address}/"))
        };
        assert_timeout(Timeout::Connect, || ask(config().timeout_connect(LIMIT)));
        assert_timeout(Timeout::Global, || ask(config().timeout_global(LIMIT)));
        assert_timeout(Timeout::PerRead, || ask(config().timeout_per_read(LIMIT)));
    });
}

#[test]
fn a_request_that_is_not_read_meets_the_limits() {
    virtually(|| {
        let (listener, address) = listener();
        drop(green::spawn(move || {
            let mut streams = Vec::new();
            loop {
                let mut stream = accept_tls(&listener);
                stream.read_exact(&mut [0; 100]).unwrap();
                streams.push(stream);
            }
        }));
        let body = vec![0; 32 << 20];
        let send = |config: ConfigBuilder<AgentScope>| {
            agent_with(config.build()).post(format!("https://{address}/")).send(&body[..])
        };
        assert_timeout(Timeout::SendBody, || send(config().timeout_send_body(LIMIT)));
        assert_timeout(Timeout::PerWrite, || send(config().timeout_per_write(LIMIT)));
    });
}

#[test]
fn an_answer_that_does_not_come_or_stalls_meets_the_limits() {
    virtually(|| {
        let server = server();
        let ask = |config: ConfigBuilder<AgentScope>, path| {
            get(&agent_with(config.build()), &server.url(path))
        };
        let response = || config().timeout_recv_response(LIMIT);
        assert_timeout(Timeout::RecvResponse, || ask(response(), "/never"));
        assert_timeout(Timeout::Global, || ask(config().timeout_global(LIMIT), "/never"));
        assert_timeout(Timeout::RecvBody, || ask(config().timeout_recv_body(LIMIT), "/stalls"));
        assert_timeout(Timeout::PerRead, || ask(config().timeout_per_read(LIMIT), "/stalls"));
    });
}

// Cancellation.

fn accept_tls(listener: &TcpListener) -> StreamOwned<ServerConnection, TcpStream> {
    let (stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap(); // no virtual clock waits for what the kernel keeps back
    StreamOwned::new(ServerConnection::new(AUTHORITY.server()).unwrap(), stream)
}

/// Cancels a request, in each era, once `serve` has done its part; `serve` gives the connection, which must
/// then come to its end, and nothing else may be left of the request.
#[track_caller]
fn assert_nothing_is_left<S: Read>(serve: impl Fn(&TcpListener) -> S) {
    virtually(|| {
        let (listener, address) = listener();
        let agent = agent();
        let request = || {
            let (agent, url) = (agent.clone(), format!("https://{address}/"));
            move || get(&agent, &url)
        };
        let (a, b, c) = (request(), request(), request());
        let spawns: [Box<dyn FnOnce() -> _>; 3] = [
            Box::new(|| generator::spawn(move |_| a())),
            Box::new(|| green::spawn(b)),
            Box::new(|| future::spawn(async move { c() })),
        ];
        for spawn in spawns {
            let stacks = stats().stacks_used;
            let task = spawn();
            let mut stream = serve(&listener);
            green::sleep(MS);
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            assert_eq!(stats().stacks_used, stacks);
            // To the end, which the client has made without a goodbye.
            let end = io::copy(&mut stream, &mut io::sink());
            assert!(end.is_ok() || end.unwrap_err().kind() == io::ErrorKind::UnexpectedEof);
        }
        let server = server();
        assert_eq!(get(&agent, &server.url("/hello")).unwrap(), "hello", "the agent is as before");
    });
}

#[test]
fn a_request_cancelled_in_its_handshake_leaves_nothing() {
    assert_nothing_is_left(|listener| listener.accept().unwrap().0);
}

#[test]
fn a_request_cancelled_in_its_body_leaves_nothing() {
    assert_nothing_is_left(|listener| {
        let mut stream = accept_tls(listener);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf").unwrap();
        stream
    });
}

// Proxies: ureq asks each to CONNECT, be it for http or for https.

/// A proxy in the present run, and the heads of the requests it was sent.
struct Tunnels {
    address: SocketAddr,
    asked: Log<Vec<String>>,
}

impl Tunnels {
    fn new(tls: Option<TlsAcceptor>, refusal: Option<&'static str>) -> Tunnels {
        let (listener, address) = listener();
        let asked = Log::new();
        let log = asked.clone();
        drop(future::spawn(async move {
            loop {
                let (stream, _) = listener.accepting().await.unwrap();
                let (tls, log) = (tls.clone(), log.clone());
                // Its client may go away whenever it likes; the test sees what becomes of it.
                drop(future::spawn(async move {
                    drop(match tls {
                        None => tunnel(stream, refusal, log).await,
                        Some(tls) => tunnel(tls.accept(stream).await?, refusal, log).await,
                    });
                    io::Result::Ok(())
                }));
            }
        }));
        Tunnels { address, asked }
    }

    fn agent(&self, scheme_and_user: &str) -> Agent {
        let proxy = Proxy::new(&format!("{scheme_and_user}{}", self.address)).unwrap();
        agent_with(config().proxy(Some(proxy)).build())
    }

    /// The first lines of the requests since the last time.
    fn asked(&self) -> Vec<String> {
        self.asked.take().into_iter().map(|mut head| head.swap_remove(0)).collect()
    }
}

async fn tunnel(
    client: impl AsyncRead + AsyncWrite,
    refusal: Option<&str>,
    asked: Log<Vec<String>>,
) -> io::Result<()> {
    use futures_lite::future::zip;
    use futures_lite::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy, split};

    let (reader, mut writer) = split(Box::pin(client));
    let mut reader = BufReader::new(reader);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let target = head[0].split(' ').nth(1).expect("CONNECT host:port HTTP/1.1").to_owned();
    asked.push(head);
    if let Some(refusal) = refusal {
        return writer.write_all(format!("HTTP/1.1 {refusal}\r\n\r\n").as_bytes()).await;
    }
    let server = TcpStream::connecting(target).await?;
    server.set_nodelay(true)?;
    writer.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    let there = async { copy(reader, &mut &server).await.and((&server).close().await) };
    let back = async { copy(&server, &mut writer).await.and(writer.close().await) };
    let (there, back) = zip(there, back).await;
    there.and(back)
}

#[test]
fn requests_go_through_a_proxy() {
    bounded(|| {
        let proxy = Tunnels::new(None, None);
        for server in [server(), Server::here()] {
            let agent = proxy.agent("http://");
            for path in ["/hello", "/old"] {
                assert_eq!(get(&agent, &server.url(path)).unwrap(), "hello");
            }
            let host = server.url("").split("://").nth(1).unwrap().to_owned();
            assert_eq!(proxy.asked(), [format!("CONNECT {host} HTTP/1.1")], "one connection");
        }
    });
}

#[test]
fn a_proxy_may_speak_tls_itself() {
    bounded(|| {
        let proxy = Tunnels::new(Some(AUTHORITY.server().into()), None);
        let server = server();
        assert!(get(&proxy.agent("https://"), &server.url("/gzip")).unwrap() == poem());
        assert_eq!((proxy.asked().len(), server.accepted()), (1, 1));
        let result = get(&Tunnels::new(None, None).agent("https://"), &server.url("/hello"));
        assert_says(result, &["no TLS with 127.0.0.1"]);
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn a_proxy_is_told_who_asks_and_a_refusal_is_passed_on() {
    bounded(|| {
        let server = server();
        for (refusal, code) in
            [("407 Proxy Authentication Required", "407"), ("502 Bad Gateway", "502")]
        {
            let proxy = Tunnels::new(None, Some(refusal));
            assert_says(
                get(&proxy.agent("http://ann:secret@"), &server.url("/hello")),
                &["proxy", code],
            );
            let head = proxy.asked.take().concat().join("\n").to_lowercase();
            assert!(head.contains("proxy-authorization: basic "), "{head}");
        }
        assert_eq!(server.accepted(), 0);
    });
}

#[test]
fn a_proxy_that_is_gone_is_an_error() {
    bounded(|| {
        let (address, _socket) = refusing();
        let proxy = Tunnels { address, asked: Log::new() };
        let result = get(&proxy.agent("http://"), "https://127.0.0.1:1/");
        match result {
            Err(Error::Io(e)) => assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_host_for_which_no_proxy_is_wanted_is_asked_directly() {
    bounded(|| {
        let server = server();
        for protocol in [ureq::ProxyProtocol::Http, ureq::ProxyProtocol::Socks5] {
            let proxy = Proxy::builder(protocol).host("127.0.0.1").port(1).no_proxy("127.0.0.1");
            let agent = agent_with(config().proxy(Some(proxy.build().unwrap())).build());
            assert_eq!(get(&agent, &server.url("/hello")).unwrap(), "hello");
        }
    });
}

#[test]
fn a_proxy_that_never_answers_meets_the_limits() {
    virtually(|| {
        let (_listener, address) = listener();
        let proxy = Proxy::new(&format!("http://{address}")).unwrap();
        let agent = agent_with(config().proxy(Some(proxy)).timeout_connect(LIMIT).build());
        assert_timeout(Timeout::Connect, || get(&agent, "https://127.0.0.1:1/"));
    });
}
