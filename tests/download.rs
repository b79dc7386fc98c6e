//! `coop_download` as its user meets it: the built program, its files, output and exit status.
#![cfg(feature = "ureq")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use common::{Folder, Ran, run_example};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

const WAYS: [&str; 4] = ["sequential", "generator", "green", "async"];

const PICTURES: [&str; 5] = [
    "boto3-s3-multipart-upload-1024x536.jpg",
    "github-actions-deployment-to-eks-with-kustomize-1024x536.jpg",
    "kafka-cluster-architecture.jpg",
    "pandas-dataframe-python-1024x512.png",
    "redis-cluster-topology.png",
];

#[test]
fn without_arguments_five_pictures_come_four_ways() {
    let folder = Folder::new();
    let ran = run_example("coop_download", &[], folder.path());
    assert_eq!(ran.status, 0, "{ran:?}");

    let mut table = ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let columns = ["way", "files", "bytes", "seconds", "turns", "WouldBlock", "speed-up"];
    assert_eq!(table.next().expect("a table"), columns);
    for (row, way) in table.zip(WAYS) {
        let number = |column: usize| row[column].parse::<u64>().expect("a number");
        assert_eq!((row[0], number(1)), (way, 5), "{}", ran.stdout);
        if way != "sequential" {
            assert!(number(4) > 0 && number(5) > 0, "turns and waits, in\n{}", ran.stdout);
        }
    }
    assert_eq!(ran.stdout.lines().count(), 1 + WAYS.len(), "{}", ran.stdout);

    let images = files(&folder.path().join("codeflex_images"));
    assert!(images.keys().eq(&PICTURES), "{:?}", images.keys());
    for (name, bytes) in images {
        let magic: &[u8] =
            if name.ends_with(".png") { b"\x89PNG\r\n\x1a\n" } else { b"\xff\xd8\xff" };
        assert!(bytes.starts_with(magic), "{name} begins with {:?}", &bytes[..8]);
    }
}

#[test]
fn the_log_says_what_was_downloaded_and_how_long_it_took() {
    let folder = Folder::new();
    let server = server();
    let url = format!("http://{server}/whole.bin");
    let ran = run_example("coop_download", &[&url], folder.path());
    let lines_with = |text: &str| ran.stderr.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines_with(&format!("Downloaded: {url}")), WAYS.len(), "{}", ran.stderr);
    assert_eq!(lines_with("Download time: "), WAYS.len(), "{}", ran.stderr);
    assert!(!ran.stderr.contains('\x1b'), "colours only for a terminal: {:?}", ran.stderr);
}

#[test]
fn each_way_saves_the_same_pictures() {
    let saved = WAYS.map(|way| {
        let folder = Folder::new();
        let ran = run_example("coop_download", &["--style", way, "--json"], folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        let styles = &json(&ran)["styles"];
        assert_eq!(styles.as_array().map(Vec::len), Some(1), "{styles}");
        assert_eq!(styles[0]["style"], way);
        for count in ["turns", "would_block"] {
            let count = styles[0][count].as_u64().expect("a count");
            assert_eq!(count > 0, way != "sequential", "{styles}");
        }
        files(&folder.path().join("codeflex_images"))
    });
    for (way, files) in WAYS.iter().zip(&saved) {
        assert_eq!(files.len(), PICTURES.len(), "{way}");
        assert!(*files == saved[0], "{way} saved something else than {}", WAYS[0]);
    }
}

#[test]
fn the_json_has_the_promised_shape() {
    let folder = Folder::new();
    let server = server();
    let (good, bad) =
        (format!("http://{server}/whole.bin"), format!("http://{server}/missing.bin"));
    let ran = run_example("coop_download", &["--json", "--out", "o", &good, &bad], folder.path());
    assert_eq!(ran.stdout.lines().count(), 1, "one object: {}", ran.stdout);
    let json = json(&ran);
    let styles = members(&json, ["styles"]);
    let styles = styles[0].as_array().expect("a list");
    assert_eq!(styles.len(), WAYS.len());

    for (style, way) in styles.iter().zip(WAYS) {
        let [name, seconds, bytes, turns, would_block, files] =
            members(style, ["style", "seconds", "bytes", "turns", "would_block", "files"]);
        assert_eq!((name, bytes), (&Value::from(way), &Value::from(body().len())));
        assert!(seconds.is_f64() && turns.is_u64() && would_block.is_u64(), "{style}");
        let files = files.as_array().expect("a list");
        assert_eq!(files.len(), 2);
        for (file, (asked, saved)) in files.iter().zip([(&good, true), (&bad, false)]) {
            let [url, path, bytes, seconds, attempts, error] =
                members(file, ["url", "path", "bytes", "seconds", "attempts", "error"]);
            assert_eq!((url, attempts), (&Value::from(&**asked), &Value::from(1)));
            assert_eq!(bytes.as_u64(), Some(if saved { body().len() as u64 } else { 0 }));
            assert!(path.as_str().is_some_and(|path| path.starts_with("o/")), "{file}");
            assert!(seconds.is_f64(), "{file}");
            assert!(if saved { error.is_null() } else { error.is_string() }, "{file}");
        }
    }
}

#[test]
fn failing_urls_do_not_stop_the_others() {
    let server = server();
    let here = |path: &str| format!("http://{server}/{path}");
    // Bound and not listening: nobody else gets this port, and it refuses.
    let refusing = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    refusing.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let refusing_address = refusing.local_addr().expect("its address").as_socket().expect("TCP");

    // Each way has its own library, with its own words for the cause.
    let failing: [(String, &[&str]); 8] = [
        (here("missing.bin"), &["404"]),
        (format!("http://{refusing_address}/refused.bin"), &["refused"]),
        ("http://no-such-host.invalid/unknown.bin".into(), &["lookup address information"]),
        ("ftp://127.0.0.1/other.bin".into(), &["not an http URL"]),
        (here(""), &["no file name in the URL"]),
        (here("elsewhere/whole.bin"), &["another URL is saved as"]),
        (here("short.bin"), &["ended after 40 of 100 bytes", "end of file", "disconnected"]),
        (here("closed.bin"), &["connection was closed", "connection closed", "disconnected"]),
    ];
    let whole = ["whole.bin", "pieces.bin", "to-the-end.bin"];
    let mut urls = vec![here(whole[0])];
    urls.extend(failing.iter().map(|(url, _)| url.clone()));
    urls.extend(whole[1..].iter().map(|name| here(name)));

    for way in WAYS {
        let folder = Folder::new();
        let mut arguments = vec!["--style", way, "--out", "."];
        arguments.extend(urls.iter().map(String::as_str));
        let ran = run_example("coop_download", &arguments, folder.path());
        assert_eq!(ran.status, 1, "{ran:?}");

        let saved = files(folder.path());
        assert!(saved.keys().eq(&sorted(whole)), "{way} saved {:?}", saved.keys());
        assert!(saved.values().all(|bytes| *bytes == body()), "{way}");
        for (url, causes) in &failing {
            let listed = format!("failed ({way}): {url}: ");
            let why = ran.stdout.lines().find_map(|line| line.strip_prefix(&listed));
            let why = why.unwrap_or_else(|| panic!("{url} is not listed in\n{}", ran.stdout));
            assert!(causes.iter().any(|cause| why.contains(cause)), "{way}: {url}: {why}");
            assert!(ran.stderr.contains(&format!("Failed: {url}: {why}")), "{}", ran.stderr);
        }
        assert_eq!(ran.stdout.matches("failed (").count(), failing.len(), "{}", ran.stdout);
    }
}

#[test]
fn an_answer_may_come_in_pieces_or_without_its_length() {
    let server = server();
    assert_each_way_saves(server, "pieces.bin", &body());
    assert_each_way_saves(server, "to-the-end.bin", &body());
    assert_each_way_saves(server, "empty.bin", b"");
}

#[test]
fn an_address_may_be_one_of_ipv6() {
    match common::serve("[::1]:0", answer) {
        Ok(server) => assert_each_way_saves(server, "whole.bin", &body()),
        Err(e) => eprintln!("not tested, there is no IPv6 here: {e}"),
    }
}

/// Two of the four ways speak HTTP/1.0, which knows no chunks.
#[test]
fn chunks_are_never_saved_as_they_come() {
    let server = server();
    for way in WAYS {
        let folder = Folder::new();
        let url = format!("http://{server}/chunked.bin");
        let ran =
            run_example("coop_download", &["--style", way, "--out", ".", &url], folder.path());
        match ran.status {
            0 => assert_eq!(files(folder.path())["chunked.bin"], b"in chunks", "{way}"),
            _ => assert!(files(folder.path()).is_empty(), "{way}"),
        }
    }
}

#[track_caller]
fn assert_each_way_saves(server: SocketAddr, name: &str, bytes: &[u8]) {
    for way in WAYS {
        let folder = Folder::new();
        let url = format!("http://{server}/{name}");
        let ran =
            run_example("coop_download", &["--style", way, "--out", ".", &url], folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(files(folder.path())[name] == bytes, "{way} saved another {name}");
    }
}

/// What the server sends, whatever it is asked for: many reads of the example, and a bit of one.
fn body() -> Vec<u8> {
    (0..40 * 512 + 7_u32).map(|n| ((n * n) >> 5) as u8).collect()
}

fn server() -> SocketAddr {
    common::serve("127.0.0.1:0", answer).expect("a port")
}

fn answer(path: &str, stream: &mut TcpStream) -> io::Result<()> {
    let body = body();
    match path {
        "/whole.bin" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
            stream.write_all(&body)
        }
        "/pieces.bin" => {
            stream.set_nodelay(true)?;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), &body].concat().chunks(13).try_for_each(|piece| stream.write_all(piece))
        }
        "/to-the-end.bin" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            stream.write_all(&body)
        }
        "/empty.bin" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        "/chunked.bin" => stream.write_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nin \r\n6\r\nchunks\r\n0\r\n\r\n",
        ),
        "/short.bin" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")?;
            stream.write_all(&body[..40])
        }
        "/closed.bin" => Ok(()),
        _ => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    }
}

/// The files in a folder, and what they hold.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the example makes the folder");
    let file = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.expect("a readable folder");
        let name = entry.file_name().into_string().expect("UTF-8");
        (name, fs::read(entry.path()).expect("a readable file"))
    };
    entries.map(file).collect()
}

#[track_caller]
fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("no JSON: {e}\n{ran:?}"))
}

/// The members of an object, which has these and no others.
#[track_caller]
fn members<'a, const N: usize>(object: &'a Value, names: [&str; N]) -> [&'a Value; N] {
    let members = object.as_object().expect("an object");
    assert_eq!(members.keys().collect::<Vec<_>>(), sorted(names), "the members of {object}");
    names.map(|name| &members[name])
}

fn sorted<const N: usize>(mut names: [&str; N]) -> [&str; N] {
    names.sort_unstable();
    names
}
