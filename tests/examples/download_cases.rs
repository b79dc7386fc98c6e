//! What `coop_download` makes of answers, as a table: each case goes through all four ways, and through curl where that
//! is installed, against a server that sends bytes as they stand here.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::util::examples::{Folder, run_example};
use serde_json::Value;

const WAYS: [&str; 4] = ["sequential", "generator", "green", "async"];

/// What is to come of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Right {
    Saves(Vec<u8>),
    /// With a message that begins so.
    Fails(&'static str),
}
use Right::Fails;

fn saves(body: &str) -> Right {
    Right::Saves(body.into())
}

struct Row {
    name: String,
    path: &'static str,
    /// What a path is answered with: the first time by its first answer, and so on; the last one stays.
    answers: Vec<(&'static str, Vec<u8>)>,
    right: Right,
    /// Ways that do something else, and the limit of a library that is the reason.
    but: Vec<(&'static str, Right, &'static str)>,
    /// Why curl does something else.
    curl: Option<&'static str>,
}

impl Row {
    fn but(mut self, way: &'static str, right: Right, reason: &'static str) -> Row {
        self.but.push((way, right, reason));
        self
    }

    fn curl(mut self, reason: &'static str) -> Row {
        self.curl = Some(reason);
        self
    }
}

fn row(name: &str, path: &'static str, answers: &[(&'static str, &str)], right: Right) -> Row {
    let answers = answers.iter().map(|(path, answer)| (*path, answer.as_bytes().to_vec()));
    Row { name: name.into(), path, answers: answers.collect(), right, but: Vec::new(), curl: None }
}

/// One answer, to `/a.bin`.
fn answer(name: &str, answer: &str, right: Right) -> Row {
    row(name, "/a.bin", &[("/a.bin", answer)], right)
}

/// A redirect from `path`, and the file where it is to lead.
fn redirect(path: &'static str, location: &str, to: &'static str) -> Row {
    let moved = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    row(&format!("{path} to {location:?}"), path, &[(path, &moved), (to, FILE)], saves("file"))
}

/// A status with a body of four bytes.
fn status(status: &str, right: Right) -> Row {
    answer(status, &format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nfile"), right)
}

/// A status that is followed by the file at the next attempt.
fn once(status: &str, header: &str) -> Row {
    let first = format!("HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\n\r\n");
    row(
        &format!("{status} once, {header}"),
        "/a.bin",
        &[("/a.bin", &first), ("/a.bin", FILE)],
        saves("file"),
    )
}

const FILE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn headers(count: usize) -> String {
    let headers: String = (0..count - 1).map(|n| format!("X-{n}: x\r\n")).collect();
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 4\r\n\r\nfile")
}

const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x4b\xcb\xcc\x49\x05\x00\x10\x36\x9f\x8c\x04\x00\x00\x00";

#[rustfmt::skip] // A row each.
fn table() -> Vec<Row> {
    let malformed = Fails("the answer is malformed: ");
    let ended = Fails("the body ended after ");
    let plus = "ureq-proto reads the size of a chunk with its sign";
    let mut rows = vec![
        // Redirects: RFC 3986, section 5.
        redirect("/q/query.bin", "?v=2", "/q/query.bin?v=2"),
        redirect("/q/a.bin?st=1", "", "/q/a.bin?st=1").curl("it takes an empty Location for none"),
        redirect("/q/a.bin?st=1", "#x", "/q/a.bin?st=1"),
        redirect("/d/e/dots.bin", "../../target.bin", "/target.bin"),
        redirect("/above.bin", "../../target.bin", "/target.bin"),
        redirect("/absdots.bin", "/x/../target.bin", "/target.bin"),
        redirect("/q/s.bin", "s.bin?u=http://a/../b", "/q/s.bin?u=http://a/../b"),
        redirect("/space.bin", "/with space.bin", "/with%20space.bin"),
        redirect("/utf8.bin", "/caf\u{e9}.bin", "/caf%C3%A9.bin").curl("it asks for the bytes as they are"),
        redirect("/here.bin", "http://{host}/target.bin", "/target.bin"),
        redirect("/here.bin", "//{host}/target.bin", "/target.bin"),
        redirect("/here.bin", "HTTP://{host}/target.bin#part", "/target.bin"),
        redirect("/d/e.bin", ".", "/d/"),
        redirect("/d/e.bin", "./x;y=1/../f.bin", "/d/f.bin"),
        Row {
            answers: vec![
                ("/latin1.bin", b"HTTP/1.1 302 Found\r\nLocation: /caf\xe9.bin\r\nContent-Length: 0\r\n\r\n".into()),
                ("/caf%E9.bin", FILE.into()),
            ],
            ..row("a Location with the byte E9", "/latin1.bin", &[], saves("file"))
        }.curl("it asks for the bytes as they are"),
        row("a redirect with a body", "/a.bin", &[("/a.bin", "HTTP/1.1 302 Found\r\nLocation: /b.bin\r\nContent-Length: 5\r\n\r\nmoved"), ("/b.bin", FILE)], saves("file")),
        row("a chunked redirect", "/a.bin", &[("/a.bin", "HTTP/1.1 302 Found\r\nLocation: /b.bin\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), ("/b.bin", FILE)], saves("file")),
        row("round and round", "/a.bin", &[("/a.bin", "HTTP/1.1 302 Found\r\nLocation: /a.bin\r\nContent-Length: 0\r\n\r\n")], Fails("too many redirects")),
        answer("a redirect to ftp", "HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\nContent-Length: 0\r\n\r\n", Fails("redirected to ftp://127.0.0.1/x: not an http")),
        answer("a redirect to nowhere", "HTTP/1.1 302 Found\r\nLocation: http://\r\nContent-Length: 0\r\n\r\n", Fails("redirected to http://: ")),
        answer("a redirect without a Location", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", Fails("HTTP status 302 Found")).curl("it saves nothing and calls it a success"),
        // Lengths.
        answer("a length of 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", saves("")),
        answer("a length twice in a header", "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\nfile", saves("file")).curl("it takes no list"),
        answer("a length in two headers", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nfile", saves("file")),
        answer("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfile", malformed.clone()).curl("it takes one of them"),
        answer("a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nfile", malformed.clone()).curl("it reads to the end"),
        answer("a length below zero", "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nfile", malformed.clone()),
        answer("a length in words", "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nfile", malformed.clone()),
        answer("an empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nfile", malformed.clone()),
        answer("a length that is too long", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nfile", malformed.clone()).curl("it reads to the end"),
        answer("the largest length", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nfile", malformed.clone()).curl("it reads to the end"),
        answer("a length with zeros and blanks", "HTTP/1.1 200 OK\r\nContent-Length:   004  \r\n\r\nfile", saves("file")),
        answer("a body that is longer", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile, and more", saves("file")),
        answer("a body that is shorter", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfile", Fails("the body ended after 4 of 5 bytes: ")),
        answer("no length", "HTTP/1.1 200 OK\r\n\r\nfile", saves("file")),
        answer("neither length nor body", "HTTP/1.1 200 OK\r\n\r\n", saves("")),
        answer("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nfile", saves("file")),
        answer("HTTP/1.0 with a length", "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfile", saves("file")),
        // Chunks.
        answer("chunks", &format!("{CHUNKED}2\r\nfi\r\n2\r\nle\r\n0\r\n\r\n"), saves("file")),
        answer("chunks with extensions", &format!("{CHUNKED}4;a=b\r\nfile\r\n0;c\r\n\r\n"), saves("file")),
        answer("chunks with zeros and capitals", &format!("{CHUNKED}000A\r\n0123456789\r\n0\r\n\r\n"), saves("0123456789")),
        answer("chunks and trailers", &format!("{CHUNKED}4\r\nfile\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n"), saves("file")),
        answer("no chunk but the last", &format!("{CHUNKED}0\r\n\r\n"), saves("")),
        answer("chunks in capitals", "HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n4\r\nfile\r\n0\r\n\r\n", saves("file")),
        answer("chunks and a length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfile\r\n0\r\n\r\n", saves("file")),
        answer("chunks and a greater length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfile\r\n0\r\n\r\n", saves("file")),
        answer("a chunk with a sign", &format!("{CHUNKED}+4\r\nfile\r\n0\r\n\r\n"), Fails("the body is malformed after 0 bytes: "))
            .but("sequential", saves("file"), plus).but("generator", saves("file"), plus).but("green", saves("file"), plus),
        answer("a chunk in words", &format!("{CHUNKED}four\r\nfile\r\n0\r\n\r\n"), Fails("the body is malformed after ")),
        answer("a chunk that is longer than its size", &format!("{CHUNKED}2\r\nfile\r\n0\r\n\r\n"), Fails("the body is malformed after ")),
        answer("chunks that end early", &format!("{CHUNKED}4\r\nfi"), ended.clone()),
        answer("chunks that end between two", &format!("{CHUNKED}4\r\nfile\r\n"), ended.clone()),
        answer("the last chunk without its end", &format!("{CHUNKED}4\r\nfile\r\n0\r\n"), ended.clone())
            .but("green", saves("file"), "ureq takes it for the end"),
        answer("a long extension of a chunk", &format!("{CHUNKED}4;{}\r\nfile\r\n0\r\n\r\n", "x".repeat(100)), saves("file"))
            .but("sequential", Fails("the body is malformed"), "ureq-proto takes 20 bytes").but("generator", Fails("the body is malformed"), "as above")
            .but("green", Fails("the body is malformed"), "as above"),
        answer("another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4\r\nfile\r\n0\r\n\r\n", malformed.clone()),
        answer("identity, no coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nfile", malformed.clone()).curl("it knows it from RFC 2616"),
        answer("chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfile\r\n0\r\n\r\n", malformed.clone()).curl("it takes them"),
        // Codings of the content are saved as they are.
        answer("a deflated body", "HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 4\r\n\r\nfile", saves("file")),
        answer("a coding that is none", "HTTP/1.1 200 OK\r\nContent-Encoding: aws-chunked\r\nContent-Length: 4\r\n\r\nfile", saves("file")),
        Row {
            answers: vec![("/a.bin", [format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", GZIP.len()).as_bytes(), GZIP].concat())],
            ..answer("gzip that was not asked for", "", Right::Saves(GZIP.into()))
        }.but("green", saves("file"), "ureq unpacks it, asked for or not"),
        answer("gzip, and no body", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", saves(""))
            .but("green", Fails("the body ended after 0 bytes: "), "ureq unpacks it, asked for or not"),
        // Heads.
        answer("early hints", &format!("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n{FILE}"), saves("file")),
        answer("continue", &format!("HTTP/1.1 100 Continue\r\n\r\n{FILE}"), saves("file")),
        answer("three interim answers", &format!("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{FILE}"), saves("file")),
        answer("another protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", Fails("HTTP status 101 Switching Protocols")).curl("it saves nothing and calls it a success"),
        answer("no reason", "HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nfile", saves("file")),
        answer("an empty reason", "HTTP/1.1 200 \r\nContent-Length: 4\r\n\r\nfile", saves("file")),
        answer("lines that end with LF", "HTTP/1.1 200 OK\nContent-Length: 4\n\nfile", saves("file")),
        answer("70 headers", &headers(70), saves("file")),
        answer("128 headers", &headers(128), saves("file")),
        answer("200 headers", &headers(200), malformed.clone()).curl("ureq-proto takes 128, and so all ways do; curl takes 300 KB of them"),
        answer("a head of 40 KB", &format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 4\r\n\r\nfile", "x".repeat(40_000)), saves("file")),
        answer("a head of 100 KB", &format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 4\r\n\r\nfile", "x".repeat(100_000)), malformed.clone()).curl("the limit is ours, for a hundred connections at once"),
        answer("a folded header", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 4\r\n\r\nfile", malformed.clone()).curl("httparse, which is beneath all four ways, takes none"),
        answer("a blank before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nfile", malformed.clone()).curl("it is lenient"),
        answer("a header without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 4\r\n\r\nfile", malformed.clone()).curl("it is lenient"),
        answer("a NUL in a header", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 4\r\n\r\nfile", malformed.clone()),
        answer("a tab in a header", "HTTP/1.1 200 OK\r\nX:\ta\tb\r\nContent-Length: 4\r\n\r\nfile", saves("file")),
        answer("not HTTP", "SSH-2.0-OpenSSH_9.9\r\n\r\n", malformed.clone()),
        answer("HTTP/2", "HTTP/2 200 OK\r\nContent-Length: 4\r\n\r\nfile", malformed.clone()).curl("it is lenient"),
        answer("HTTP/3.7", "HTTP/3.7 200 OK\r\nContent-Length: 4\r\n\r\nfile", malformed.clone()),
        answer("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 4\r\n\r\nfile", malformed.clone()),
        answer("a status below 100", "HTTP/1.1 099 OK\r\nContent-Length: 4\r\n\r\nfile", malformed.clone()),
        answer("nothing", "", Fails("no answer: ")),
        answer("half of a head", "HTTP/1.1 200 OK\r\nContent-Le", Fails("no answer: ")).curl("it takes it for an empty file"),
        answer("an interim answer only", "HTTP/1.1 100 Continue\r\n\r\n", Fails("no answer: ")),
        // Statuses.
        status("201 Created", saves("file")),
        status("203 Non-Authoritative Information", saves("file")),
        status("226 IM Used", saves("file")),
        status("299 Else", saves("file")),
        answer("204", "HTTP/1.1 204 No Content\r\n\r\n", Fails("HTTP status 204 No Content")).curl("it saves nothing and calls it a success"),
        answer("205", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", Fails("HTTP status 205 Reset Content")).curl("it saves nothing and calls it a success"),
        answer("206", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/9\r\nContent-Length: 4\r\n\r\nfile", Fails("HTTP status 206 Partial Content, though no part")).curl("it does not look"),
        status("300 Multiple Choices", Fails("HTTP status 300 Multiple Choices")).curl("it saves what comes"),
        answer("304", "HTTP/1.1 304 Not Modified\r\n\r\n", Fails("HTTP status 304 Not Modified")).curl("it saves nothing and calls it a success"),
        status("501 Not Implemented", Fails("HTTP status 501 Not Implemented")),
        status("505 HTTP Version Not Supported", Fails("HTTP status 505 HTTP Version Not Supported")),
        status("999 Else", Fails("HTTP status 999 (unknown)")),
        once("503 Service Unavailable", "Retry-After: 0\r\n"),
        once("503 Service Unavailable", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n"),
        once("503 Service Unavailable", "Retry-After: soon\r\n"),
        answer("a Retry-After of an hour", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n", Fails("HTTP status 429 Too Many Requests; the server asks to come back in 3600 s")),
        row("a body that ends early, once", "/a.bin", &[("/a.bin", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfi"), ("/a.bin", FILE)], saves("file")),
        row("nothing, once", "/a.bin", &[("/a.bin", ""), ("/a.bin", FILE)], saves("file")),
        row("a body that ends early, and the rest", "/a.bin", &[
            ("/a.bin", "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 4\r\n\r\nfi"),
            ("/a.bin", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-3/4\r\nContent-Length: 2\r\n\r\nle"),
        ], saves("file")).curl("it begins anew"),
    ];
    for (number, words) in [(400, "Bad Request"), (401, "Unauthorized"), (403, "Forbidden"), (404, "Not Found"), (405, "Method Not Allowed"),
        (407, "Proxy Authentication Required"), (410, "Gone"), (416, "Range Not Satisfiable"), (418, "I'm a teapot"), (426, "Upgrade Required")] {
        rows.push(status(&format!("{number} {words}"), Fails(format!("HTTP status {number} {words}").leak())));
    }
    for words in ["301 Moved Permanently", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let moved = format!("HTTP/1.1 {words}\r\nLocation: /b.bin\r\nContent-Length: 0\r\n\r\n");
        rows.push(row(words, "/a.bin", &[("/a.bin", &moved), ("/b.bin", FILE)], saves("file")));
    }
    rows.extend(["408 Request Timeout", "425 Too Early", "429 Too Many Requests", "500 Internal Server Error", "502 Bad Gateway",
        "504 Gateway Timeout"].map(|words| once(words, "Retry-After: 0\r\n")));
    rows
}

/// A request as it came.
type Requests = Arc<Mutex<Vec<Vec<String>>>>;

/// Serves the answers of a row on a port of its own, until the process ends.
fn serve(row: &Row, requests: &Requests) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let (answers, requests) = (row.answers.clone(), requests.clone());
    let mut asked: HashMap<String, usize> = HashMap::new();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let request = BufReader::new(&stream).lines().map_while(Result::ok);
            let request: Vec<_> = request.take_while(|line| !line.is_empty()).collect();
            let path = request.first().and_then(|line| line.split(' ').nth(1));
            let path = path.unwrap_or_default().to_owned();
            requests.lock().unwrap().push(request);
            let of_path: Vec<_> = answers.iter().filter(|(of, _)| *of == path).collect();
            let count = asked.entry(path).or_default();
            let answer = match of_path.get((*count).min(of_path.len().saturating_sub(1))) {
                Some((_, answer)) => answer.clone(),
                None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            };
            *count += 1;
            let answer = replaced(&answer, b"{host}", address.to_string().as_bytes());
            // The client may go away before it has read everything.
            let _ = stream.write_all(&answer);
            let _ = stream.shutdown(Shutdown::Write);
            thread::spawn(move || drain(stream));
        }
    });
    address
}

/// Reads until the client has closed its end: a socket that is closed with something unread resets the connection.
fn drain(mut stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match text.windows(from.len()).position(|window| window == from) {
        Some(at) => [&text[..at], to, &text[at + from.len()..]].concat(),
        None => text.to_vec(),
    }
}

/// What a way makes of the table other than is right.
fn faults_of(way: &str, table: &[Row]) -> Vec<String> {
    let mut faults = Vec::new();
    let expected = |row: &Row| {
        let but = row.but.iter().find(|(of, ..)| *of == way);
        but.map_or_else(|| row.right.clone(), |(_, right, _)| right.clone())
    };
    // Those that succeed together, and those that fail: the exit status is one for all.
    for succeeds in [true, false] {
        let is_wanted = |row: &&Row| matches!(expected(row), Right::Saves(_)) == succeeds;
        let rows: Vec<_> = table.iter().filter(is_wanted).collect();
        let folder = Folder::new();
        let urls: String = rows
            .iter()
            .map(|row| format!("http://{}{}\n", serve(row, &Requests::default()), row.path))
            .collect();
        fs::write(folder.path().join("urls"), urls).expect("a file");
        let arguments =
            ["--urls", "urls", "--out", ".", "--style", way, "--retries", "1", "--json"];
        let ran = run_example("coop_download", &arguments, folder.path());
        if ran.status != i32::from(!succeeds) {
            faults.push(format!("{way}: the exit status is {}", ran.status));
        }
        let json: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let files = json["styles"][0]["files"].as_array().expect("a list");
        for (row, file) in rows.iter().zip(files) {
            let (path, error) = (file["path"].as_str(), file["error"].as_str());
            let right = match (expected(row), path, error) {
                (Right::Saves(body), Some(path), None) => {
                    fs::read(folder.path().join(path)).expect("a file") == body
                }
                (Fails(words), None, Some(error)) => error.starts_with(words),
                _ => false,
            };
            if !right {
                faults.push(format!("{way}: {}: {path:?}, {error:?}", row.name));
            }
        }
    }
    faults
}

#[test]
fn each_way_makes_the_same_of_each_answer() {
    let table = table();
    assert!(table.len() >= 100, "{}", table.len());
    let differing = table.iter().filter(|row| !row.but.is_empty()).count();
    assert!(differing <= 8, "{differing} rows differ for a limit of a library");

    let faults = thread::scope(|threads| {
        let table = &table;
        let ways = WAYS.map(|way| threads.spawn(move || faults_of(way, table)));
        ways.map(|way| way.join().expect("no panic")).concat()
    });
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Where curl is installed: the table says what is right, and not only what is alike.
#[test]
fn curl_makes_the_same_of_each_answer() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("not tested, there is no curl here");
        return;
    }
    let folder = Folder::new();
    let table: Vec<_> = table().into_iter().filter(|row| row.curl.is_none()).collect();
    let file = |number: usize| folder.path().join(number.to_string());
    let curl = |(number, row): (usize, &Row)| {
        let url = format!("http://{}{}", serve(row, &Requests::default()), row.path);
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--location",
            "--fail",
            "--max-time",
            "20",
            "--max-redirs",
            "10",
            "--noproxy",
            "*",
        ]);
        curl.arg("--output").arg(file(number)).arg(url);
        // It tries a body that ends early no second time, and gives up where a server asks for an hour.
        let again = row.answers.len() > 1 && row.answers[0].0 == row.answers[1].0;
        (curl, if again { 2 } else { 1 })
    };
    let fault = |(number, row): (usize, &Row)| {
        let (mut curl, times) = curl((number, row));
        let succeeded = (0..times).any(|_| curl.status().expect("it runs").success());
        let right = match &row.right {
            Right::Saves(body) => succeeded && fs::read(file(number)).unwrap_or_default() == *body,
            Fails(_) => !succeeded,
        };
        (!right).then(|| format!("{}: success {succeeded}", row.name))
    };
    let rows: Vec<_> = table.iter().enumerate().collect();
    let some =
        &|rows: &[(usize, &Row)]| -> Vec<_> { rows.iter().copied().filter_map(fault).collect() };
    let faults: Vec<String> = thread::scope(|threads| {
        let threads: Vec<_> =
            rows.chunks(16).map(|rows| threads.spawn(move || some(rows))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn each_way_asks_in_the_same_words() {
    let row = answer("", FILE, saves("file"));
    let asked = WAYS.map(|way| {
        let (folder, requests) = (Folder::new(), Requests::default());
        let address = serve(&row, &requests);
        let url = format!("http://{address}/a.bin?b=c");
        run_example("coop_download", &["--style", way, "--out", ".", &url], folder.path());
        let mut request = requests.lock().unwrap().remove(0);
        request.iter_mut().skip(1).for_each(|header| *header = header.to_lowercase());
        request[1..].sort();
        let host = address.to_string();
        request.into_iter().map(|line| line.replace(&host, "HOST")).collect::<Vec<_>>()
    });
    let agent = format!("user-agent: coop_download/{}", env!("CARGO_PKG_VERSION"));
    let right = [
        "GET /a.bin?b=c HTTP/1.1",
        "accept-encoding: identity",
        "accept: */*",
        "host: HOST",
        &agent,
    ];
    for (way, asked) in WAYS.iter().zip(asked) {
        assert_eq!(asked, right, "{way}");
    }
}
