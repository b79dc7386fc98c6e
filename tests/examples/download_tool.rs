//! `coop_download` as a tool: files that are there, names, links, checksums, kept connections, signals, and a thousand
//! URLs at once; and the outline of its four ways.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::util::examples::{Folder, Ran, example, ran};
use serde_json::Value;

const WAYS: [&str; 4] = ["sequential", "generator", "green", "async"];

// The outline.

/// They are to be read side by side.
#[test]
fn the_four_ways_have_one_outline() {
    let functions = ["download_all", "work", "download", "connect", "send", "receive", "wait"];
    for way in ["sequential", "generator", "green", "future"] {
        let path = format!("{}/examples/coop_download/{way}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).expect("an example of ours");
        assert!(text.lines().count() <= 90, "{way}.rs has {} lines", text.lines().count());
        let name = |line: &'_ str| {
            let line = line.trim_start_matches("pub ").trim_start_matches("async ");
            let name = line.strip_prefix("fn ")?.split(['(', '<']).next()?;
            Some(name.to_owned())
        };
        assert_eq!(text.lines().filter_map(name).collect::<Vec<_>>(), functions, "{way}.rs");
    }
}

// A server that keeps connections, and sends parts.

/// What a server has been asked: the connection's number, and the lines of the request.
type Asked = Arc<Mutex<Vec<(usize, Vec<String>)>>>;

/// Serves until the process ends. `answer` is given the lines of a request, and returns whether the connection stays.
fn serve(
    answer: impl Fn(&[String], &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let (answer, asked) = (Arc::new(answer), Asked::default());
    let log = asked.clone();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let (answer, log) = (answer.clone(), log.clone());
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone()?).lines();
                loop {
                    let mut request = Vec::new();
                    for line in lines.by_ref() {
                        match line? {
                            line if line.is_empty() => break,
                            line => request.push(line),
                        }
                    }
                    if request.is_empty() {
                        return io::Result::Ok(());
                    }
                    log.lock().unwrap().push((number, request.clone()));
                    if !answer(&request, &mut stream)? {
                        return Ok(());
                    }
                }
            });
        }
    });
    (address, asked)
}

fn path(request: &[String]) -> &str {
    request[0].split(' ').nth(1).expect("a request")
}

fn header<'a>(request: &'a [String], name: &str) -> Option<&'a str> {
    request.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn whole(stream: &mut TcpStream, headers: &str, body: &[u8]) -> io::Result<bool> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())?;
    Ok(true)
}

const OLD: &str = "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n";

/// Answers as a server that knows `Range` and `If-Range`; `version` is a header.
fn ranged(
    request: &[String],
    stream: &mut TcpStream,
    version: &str,
    body: &[u8],
) -> io::Result<bool> {
    let value = version.split_once(": ").map(|(_, value)| value.trim());
    let range = header(request, "range").filter(|_| {
        let wanted = header(request, "if-range");
        wanted.is_none() || wanted == value
    });
    let from =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let length = body.len();
    match from {
        None => whole(stream, version, body),
        Some(from) if from >= length => {
            let head = format!(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{length}\r\n"
            );
            stream.write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes())?;
            Ok(true)
        }
        Some(from) => {
            let (last, left) = (length - 1, length - from);
            let range = format!("Content-Range: bytes {from}-{last}/{length}\r\n");
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\n{version}{range}Content-Length: {left}\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), &body[from..]].concat())?;
            Ok(true)
        }
    }
}

fn body() -> Vec<u8> {
    static BODY: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..300_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect());
    BODY.clone()
}

// Running it.

fn run<A: AsRef<OsStr>>(arguments: &[A], folder: &Path) -> Ran {
    let mut command = example("coop_download");
    command.args(["--out", "."]).args(arguments).current_dir(folder);
    ran(command.spawn().expect("a built example"))
}

/// Of a run with `--json`: each file's error, or none; and how many were there before.
fn outcomes(ran: &Ran) -> (Vec<Option<String>>, usize) {
    let json: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    let files = json["styles"][0]["files"].as_array().expect("a list");
    let skipped = files.iter().filter(|file| file["skipped"] == true).count();
    (files.iter().map(|file| file["error"].as_str().map(str::to_owned)).collect(), skipped)
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[track_caller]
fn until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never comes that {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

// Files that are there.

#[test]
fn a_whole_file_is_not_downloaded_again() {
    let (knows_ranges, _) = serve(|request, stream| ranged(request, stream, OLD, &body()));
    let (knows_none, _) = serve(|_, stream| whole(stream, "", &body()));
    for server in [knows_ranges, knows_none] {
        for way in WAYS {
            let folder = Folder::new();
            let url = format!("http://{server}/a.bin");
            for skipped in [0, 1] {
                let ran = run(&["--style", way, "--json", &url], folder.path());
                assert_eq!(outcomes(&ran), (vec![None], skipped), "{way}");
                assert_eq!(ran.status, 0, "{ran:?}");
                assert_eq!(fs::read(folder.path().join("a.bin")).unwrap(), body(), "{way}");
            }
            let ran = run(&["--style", way, &url], folder.path());
            assert!(ran.stdout.ends_with(&format!("already there ({way}): 1 of 1\n")), "{ran:?}");
        }
    }
}

#[test]
fn a_part_that_is_there_is_completed_if_the_server_has_no_newer_version() {
    let (old, asked) = serve(|request, stream| ranged(request, stream, OLD, &body()));
    let new = "Last-Modified: Fri, 31 Dec 2199 00:00:00 GMT\r\n";
    let (new, _) = serve(move |request, stream| ranged(request, stream, new, &body()));
    let (knows_none, _) = serve(|_, stream| whole(stream, OLD, &body()));
    for way in WAYS {
        let folder = Folder::new();
        let file = folder.path().join("a.bin");
        let download = |server, more: &[&str]| {
            let url = format!("http://{server}/a.bin");
            let ran = run(&[&["--style", way, "--json", &url], more].concat(), folder.path());
            (outcomes(&ran).0[0].clone(), fs::read(&file).unwrap())
        };
        let half = &body()[..100_000];
        let differs = "./a.bin is there, and is not the server's: --overwrite replaces it";
        fs::write(&file, half).unwrap();
        for server in [new, knows_none] {
            assert_eq!(download(server, &[]), (Some(differs.into()), half.to_vec()), "{way}");
        }
        assert_eq!(download(old, &[]), (None, body()), "{way}");
        assert_eq!(header(&asked.lock().unwrap().pop().unwrap().1, "range"), Some("bytes=100000-"));

        let longer = [body(), body()].concat();
        fs::write(&file, &longer).unwrap();
        assert_eq!(download(old, &[]), (Some(differs.into()), longer), "{way}");
        assert_eq!(download(old, &["--overwrite"]), (None, body()), "{way}");
        assert_eq!(names(folder.path()), ["a.bin"], "{way}");
    }
}

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    const POINTS: usize = 20;
    let mut random = 1_u64;
    for point in 0..POINTS {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let stop = (random >> 33) as usize % body().len();
        let way = WAYS[point % WAYS.len()];
        let folder = Folder::new();
        let first = Mutex::new(true);
        // At every fifth point, the server has another version by then, of the same length.
        let (version, new) = match point % 5 {
            4 => ("ETag: \"2\"\r\n", body().into_iter().rev().collect()),
            _ => ("ETag: \"1\"\r\n", body()),
        };
        let right = new.clone();
        let (server, asked) = serve(move |request, stream| {
            if std::mem::take(&mut *first.lock().unwrap()) {
                let length = body().len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {length}\r\n\r\n");
                stream.write_all(&[head.as_bytes(), &body()[..stop]].concat())?;
                io::copy(stream, &mut io::sink())?; // until the client has gone
                return Ok(false);
            }
            ranged(request, stream, version, &new)
        });
        let url = format!("http://{server}/a.bin");
        let mut command = example("coop_download");
        command
            .args(["--out", ".", "--style", way, "--chunk", "1000", &url])
            .current_dir(folder.path());
        let mut child = command.spawn().expect("a built example");
        let size = || {
            let entries = fs::read_dir(folder.path()).unwrap().flatten();
            entries
                .filter_map(|entry| entry.metadata().ok())
                .map(|file| file.len())
                .max()
                .unwrap_or(0)
        };
        // It writes when 64 KiB have come together.
        let is_asked = || !asked.lock().unwrap().is_empty();
        until("the blocks are written", || is_asked() && size() as usize + 66_000 > stop);
        child.kill().expect("it runs");
        child.wait().expect("it ends");

        let left = size();
        let ran = run(&["--style", way, &url], folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(fs::read(folder.path().join("a.bin")).unwrap() == right, "{way}, {stop}");
        assert_eq!(names(folder.path()), ["a.bin"]);
        let range = asked
            .lock()
            .unwrap()
            .pop()
            .map(|(_, request)| header(&request, "range").map(str::to_owned));
        let rest = (left > 3).then(|| format!("bytes={left}-")); // and not only the tag
        assert_eq!(range, Some(rest), "{way}, {stop}");
    }
}

// Names.

#[test]
fn names_that_collide_are_numbered_and_a_url_counts_once() {
    let (server, asked) = serve(|request, stream| whole(stream, "", path(request).as_bytes()));
    let paths = ["/x.bin", "/a/x.bin", "/x.bin?v=1", "/x", "/a/x", "/x.bin", "/.x", "/b/.x"];
    let urls: Vec<_> = paths.iter().map(|path| format!("http://{server}{path}")).collect();
    for way in WAYS {
        let folder = Folder::new();
        let arguments: Vec<&str> =
            ["--style", way].into_iter().chain(urls.iter().map(String::as_str)).collect();
        let ran = run(&arguments, folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        let read = |name: &String| fs::read_to_string(folder.path().join(name)).unwrap();
        let saved: BTreeMap<_, _> =
            names(folder.path()).into_iter().map(|name| (name.clone(), read(&name))).collect();
        let right = [
            (".x", "/.x"),
            (".x.1", "/b/.x"),
            ("x", "/x"),
            ("x.1", "/a/x"),
            ("x.1.bin", "/a/x.bin"),
            ("x.2.bin", "/x.bin?v=1"),
            ("x.bin", "/x.bin"),
        ];
        assert_eq!(
            saved,
            right.map(|(name, path)| (name.to_owned(), path.to_owned())).into(),
            "{way}"
        );
        assert_eq!(asked.lock().unwrap().drain(..).count(), 7, "{way}");
    }
}

#[test]
fn a_name_that_cannot_be_written_is_an_error_before_anything_is_asked_for() {
    let (server, asked) = serve(|_, stream| whole(stream, "", b"new"));
    for way in WAYS {
        let folder = Folder::new();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("read-only"), "old").unwrap();
        fs::set_permissions(at("read-only"), PermissionsExt::from_mode(0o400)).unwrap();
        symlink("round", at("round")).unwrap();
        symlink("/dev/null", at("device")).unwrap();
        let long = "x".repeat(256);
        let wrong = [
            (&*long, "File name too long"),
            ("folder", "Is a directory"),
            ("read-only", "it is read-only"),
            ("round", "Too many levels of symbolic links"),
            ("device", "it is no regular file"),
        ];
        let urls = wrong.map(|(name, _)| format!("http://{server}/{name}"));
        let mut arguments = vec!["--style", way, "--json", "--overwrite"];
        arguments.extend(urls.iter().map(String::as_str));
        let ran = run(&arguments, folder.path());
        assert_eq!(ran.status, 1);
        for ((name, why), outcome) in wrong.iter().zip(outcomes(&ran).0) {
            let outcome = outcome.expect("an error");
            assert!(
                outcome.starts_with(&format!("cannot write ./{name}: {why}")),
                "{way}: {outcome}"
            );
        }
        assert!(asked.lock().unwrap().is_empty(), "{way}");
        assert_eq!(fs::read(at("read-only")).unwrap(), b"old");
    }
}

#[test]
fn links_and_modes_stay_as_they_are() {
    let (server, _) = serve(|_, stream| whole(stream, "", b"new"));
    for way in WAYS {
        let folder = Folder::new();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("below")).unwrap();
        fs::write(at("below/file"), "old").unwrap();
        symlink("below/file", at("link")).unwrap();
        symlink("below/not-yet", at("dangling")).unwrap();
        fs::write(at("one"), "old").unwrap();
        fs::hard_link(at("one"), at("other")).unwrap();
        fs::write(at("private"), "old").unwrap();
        fs::set_permissions(at("private"), PermissionsExt::from_mode(0o600)).unwrap();
        let inode = fs::metadata(at("one")).unwrap().ino();
        let urls =
            ["link", "dangling", "one", "private"].map(|name| format!("http://{server}/{name}"));
        let mut arguments = vec!["--style", way, "--overwrite"];
        arguments.extend(urls.iter().map(String::as_str));
        let ran = run(&arguments, folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        for name in ["below/file", "below/not-yet", "link", "dangling", "one", "other", "private"] {
            assert_eq!(fs::read(at(name)).unwrap(), b"new", "{way}: {name}");
        }
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert!(fs::symlink_metadata(at("dangling")).unwrap().is_symlink());
        assert_eq!(fs::metadata(at("other")).unwrap().ino(), inode);
        assert_eq!(fs::metadata(at("private")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()).len(), 6, "{:?}", names(folder.path()));
        assert_eq!(names(&at("below")), ["file", "not-yet"]);
    }
}

// Checksums.

#[test]
fn a_file_has_the_checksum_that_it_is_to_have() {
    const SUM: &str = "sha256:3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80"; // of "file"
    let (server, asked) = serve(|_, stream| whole(stream, "", b"file"));
    let url = format!("http://{server}/a.bin");
    for way in WAYS {
        let folder = Folder::new();
        let wrong = SUM.replace('3', "4");
        let ran = run(&["--style", way, "--json", "--checksum", &wrong, &url], folder.path());
        assert_eq!(
            outcomes(&ran).0,
            [Some(format!("the file has another checksum: {SUM}"))],
            "{way}"
        );
        assert!(names(folder.path()).is_empty(), "{way}");

        fs::write(folder.path().join("list"), format!("{url} {SUM}\n")).unwrap();
        let ran = run(&["--style", way, "--urls", "list"], folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(asked.lock().unwrap().drain(..).count(), 2);
        let ran = run(&["--style", way, "--json", &url, "--checksum", SUM], folder.path());
        assert_eq!(outcomes(&ran), (vec![None], 1), "{way}");
        assert!(asked.lock().unwrap().is_empty(), "it is known to be whole");
        fs::write(folder.path().join("a.bin"), "fiLe").unwrap();
        let ran = run(&["--style", way, "--json", &url, "--checksum", SUM], folder.path());
        assert!(
            outcomes(&ran).0[0].as_ref().is_some_and(|why| why.contains("--overwrite")),
            "{way}"
        );
        asked.lock().unwrap().clear();
    }
    let folder = Folder::new();
    for sum in ["md5:00", "sha256:00", &format!("{SUM}0")] {
        let ran = run(&["--checksum", sum, &url], folder.path());
        assert!(ran.stderr.contains("a checksum is sha256: and 64 hexadecimal digits"), "{ran:?}");
    }
}

// Connections.

#[test]
fn a_connection_is_kept_for_the_next_file() {
    let (server, asked) = serve(|request, stream| match path(request) {
        "/2" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")?;
            Ok(false)
        }
        _ => whole(stream, "", b"x"),
    });
    let urls: Vec<_> = (0..6).map(|n| format!("http://{server}/{n}")).collect();
    for way in WAYS {
        let folder = Folder::new();
        let mut arguments = vec!["--style", way, "--concurrency", "1"];
        arguments.extend(urls.iter().map(String::as_str));
        let ran = run(&arguments, folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        let mut connections: Vec<_> =
            asked.lock().unwrap().drain(..).map(|(number, _)| number).collect();
        let first = connections[0];
        connections.iter_mut().for_each(|number| *number -= first);
        assert_eq!(connections, [0, 0, 0, 1, 1, 1], "{way}");
    }
}

/// RFC 9112, section 9.3.1.
#[test]
fn a_kept_connection_that_has_been_closed_is_replaced_by_one_fresh_one() {
    let (server, asked) = serve(|request, stream| match path(request) {
        "/once" => {
            static ASKED: Mutex<usize> = Mutex::new(0);
            let mut asked = ASKED.lock().unwrap();
            *asked += 1;
            if asked.is_multiple_of(2) { whole(stream, "", b"x") } else { Ok(false) }
        }
        "/never" => Ok(false),
        _ => whole(stream, "", b"x"),
    });
    let urls = ["0", "once", "2", "never"].map(|name| format!("http://{server}/{name}"));
    for way in WAYS {
        let folder = Folder::new();
        let mut arguments = vec!["--style", way, "--concurrency", "1", "--retries", "0", "--json"];
        arguments.extend(urls.iter().map(String::as_str));
        let ran = run(&arguments, folder.path());
        let (outcomes, _) = outcomes(&ran);
        assert!(outcomes[..3].iter().all(Option::is_none), "{way}: {outcomes:?}");
        assert!(
            outcomes[3].as_ref().is_some_and(|why| why.starts_with("no answer: ")),
            "{way}: {outcomes:?}"
        );
        let paths: Vec<_> =
            asked.lock().unwrap().drain(..).map(|(_, asked)| path(&asked).to_owned()).collect();
        assert_eq!(paths, ["/0", "/once", "/once", "/2", "/never", "/never"], "{way}");
    }
}

#[test]
fn silence_has_a_limit() {
    let (server, _) = serve(|request, stream| {
        if path(request) == "/body" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfile")?;
        }
        io::copy(stream, &mut io::sink())?;
        Ok(false)
    });
    let urls = ["head", "body"].map(|name| format!("http://{server}/{name}"));
    for way in WAYS {
        let folder = Folder::new();
        let arguments =
            ["--style", way, "--idle", "0.1", "--retries", "0", "--json", &urls[0], &urls[1]];
        let ran = run(&arguments, folder.path());
        let words = "timed out after 100ms without a byte";
        let right =
            [format!("no answer: {words}"), format!("the body ended after 4 of 9 bytes: {words}")];
        assert_eq!(outcomes(&ran).0, right.map(Some), "{way}");
    }
}

#[test]
fn a_proxy_of_the_environment_is_refused_in_words() {
    let (server, _) = serve(|_, stream| whole(stream, "", b"x"));
    let proxied = |name: &str, exempt: &str, url: &str, limit: &str| {
        let folder = Folder::new();
        let mut command = example("coop_download");
        command.args(["--out", ".", "--json", "--retries", "0", "--timeout", limit, url]);
        command.env(name, "http://127.0.0.1:9").env("no_proxy", exempt).current_dir(folder.path());
        let ran = ran(command.spawn().expect("a built example"));
        outcomes(&ran).0[0].clone().unwrap_or_default()
    };
    for (name, url, host) in [
        ("http_proxy", "http://192.0.2.1/a", "192.0.2.1"),
        ("ALL_PROXY", "http://no-such.example.invalid/a", "no-such.example.invalid"),
        ("https_proxy", "https://no-such.example.invalid/a", "no-such.example.invalid"),
        ("HTTPS_PROXY", "https://[2001:db8::1]/a", "2001:db8::1"),
    ] {
        let right = format!(
            "{name} names a proxy, which is not supported: unset it, or put {host} into no_proxy"
        );
        assert_eq!(proxied(name, "", url, "0.05"), right);
        let lists = match host {
            "192.0.2.1" => ["192.0.2.1", "10.0.0.0/8, 192.0.2.0/24", "a b,192.0.2.1"],
            "2001:db8::1" => ["[2001:db8::1]", "2001:db8::/32", "*"],
            _ => ["example.invalid", ".example.invalid", "other , no-such.EXAMPLE.invalid"],
        };
        for list in lists {
            let why = proxied(name, list, url, "0.05");
            assert!(why.starts_with("no answer: "), "{list}: {why}");
        }
        let other = proxied(name, "ample.invalid, 192.0.2.0/32, 2001:db8::/999", url, "0.05");
        assert_eq!(other, right);
    }
    assert_eq!(proxied("http_proxy", "", &format!("http://{server}/a"), "60"), "");
}

// Many.

#[test]
fn a_thousand_urls_are_each_answered_rightly_though_some_fail() {
    let (server, _) = serve(|request, stream| {
        let number: usize = path(request).trim_start_matches('/').parse().expect("a number");
        let moved = "HTTP/1.1 302 Found\r\nLocation: ";
        let fault: &[u8] = match number % 160 {
            0 => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            20 => {
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
            }
            40 => b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            60 => b"",
            80 => b"nonsense\r\n\r\n",
            100 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            120 => {
                stream.write_all(
                    format!("{moved}/{number}\r\nContent-Length: 0\r\n\r\n").as_bytes(),
                )?;
                return Ok(true);
            }
            140 => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nreset")?;
                socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                return Ok(false);
            }
            _ => return whole(stream, "", number.to_string().as_bytes()),
        };
        stream.write_all(fault)?;
        Ok(false)
    });
    let right = [
        "HTTP status 404 Not Found",
        "HTTP status 503 Service Unavailable",
        "the body ended after 5 of 9 bytes: ",
        "no answer: ",
        "the answer is malformed: ",
        "the body is malformed after 0 bytes: ",
        "too many redirects",
        "the body ended after ",
    ];
    let urls: String = (0..1000).map(|n| format!("http://{server}/{n}\n")).collect();
    let check = |way: &str| {
        let folder = Folder::new();
        fs::write(folder.path().join("urls"), &urls).unwrap();
        let arguments =
            ["--urls", "urls", "--style", way, "--concurrency", "100", "--retries", "1", "--json"];
        let ran = run(&arguments, folder.path());
        assert_eq!(ran.status, 1);
        for (number, outcome) in outcomes(&ran).0.iter().enumerate() {
            let file = fs::read_to_string(folder.path().join(number.to_string()));
            match outcome {
                None => assert_eq!(file.ok(), Some(number.to_string()), "{way}"),
                Some(why) => {
                    assert_eq!(number % 20, 0, "{way}: {number}: {why}");
                    assert!(why.starts_with(right[number % 160 / 20]), "{way}: {number}: {why}");
                    assert!(file.is_err(), "{way}: {number}");
                }
            }
        }
        assert_eq!(outcomes(&ran).0.iter().flatten().count(), 50, "{way}");
        assert_eq!(names(folder.path()).len(), 951, "{way}");
    };
    thread::scope(|threads| {
        WAYS[1..].iter().for_each(|way| drop(threads.spawn(|| check(way))));
    });
}

#[test]
fn few_descriptors_are_enough() {
    let (server, _) = serve(|_, stream| whole(stream, "", b"x"));
    let urls: Vec<_> = (0..60).map(|n| format!("http://{server}/{n}")).collect();
    for way in WAYS {
        let folder = Folder::new();
        let mut command = example("coop_download");
        command.args(["--out", ".", "--style", way]).args(&urls).current_dir(folder.path());
        let limited = || {
            let limit = libc::rlimit { rlim_cur: 24, rlim_max: 24 };
            // SAFETY: it reads a struct of this frame, and may be called between `fork` and `exec`.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
            Ok(())
        };
        // SAFETY: `limited` allocates nothing and takes no lock.
        unsafe { command.pre_exec(limited) };
        let ran = ran(command.spawn().expect("a built example"));
        assert_eq!(ran.status, 0, "{ran:?}");
    }
}

// Ends.

#[test]
fn each_ending_signal_cleans_up_unless_it_was_ignored() {
    let (server, _) = serve(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 9\r\n\r\nfile")?;
        io::copy(stream, &mut io::sink())?;
        Ok(false)
    });
    let url = format!("http://{server}/a.bin");
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        for ignored in [false, true] {
            let folder = Folder::new();
            let mut command = example("coop_download");
            command.args(["--out", ".", &url]).current_dir(folder.path());
            let ignore = move || {
                if ignored {
                    // SAFETY: it may be called between `fork` and `exec`.
                    unsafe { libc::signal(signal, libc::SIG_IGN) };
                }
                Ok(())
            };
            // SAFETY: `ignore` allocates nothing and takes no lock.
            unsafe { command.pre_exec(ignore) };
            let child = command.spawn().expect("a built example");
            until("the answer has come", || names(folder.path()).len() == 2);
            let id = child.id().try_into().expect("a process id");
            // SAFETY: it sends a signal to a process that is not waited for yet.
            unsafe { libc::kill(id, signal) };
            if ignored {
                // An end that is not ignored comes after it, and is the one that counts.
                let other = if signal == libc::SIGTERM { libc::SIGINT } else { libc::SIGTERM };
                // SAFETY: as above.
                unsafe { libc::kill(id, other) };
                assert_eq!(ran(child).status, 128 + other, "{signal}");
            } else {
                assert_eq!(ran(child).status, 128 + signal);
            }
            assert!(names(folder.path()).is_empty(), "{signal}: {:?}", names(folder.path()));
        }
    }
}

#[test]
fn a_result_that_cannot_be_printed_leaves_the_files() {
    let (server, _) = serve(|_, stream| whole(stream, "", b"x"));
    let folder = Folder::new();
    let mut command = example("coop_download");
    command.args(["--out", ".", &format!("http://{server}/a")]).current_dir(folder.path());
    command.stdout(File::options().write(true).open("/dev/full").expect("Linux"));
    let output = command.output().expect("a built example");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.status.signal(), None);
    assert_eq!(names(folder.path()), ["a"]);
}
