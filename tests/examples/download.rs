//! `coop_download` as its user meets it: the built program, its files, output and exit status.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::util::examples::{self, Folder, Ran, ran, run_example, start_example};
use crate::util::{refusing, silent};
use serde_json::Value;

const WAYS: [&str; 4] = ["sequential", "generator", "green", "async"];

/// Of an entry of `files`.
const MEMBERS: [&str; 7] = ["url", "path", "bytes", "seconds", "attempts", "error", "skipped"];

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
    let ran = run_example("coop_download", &["--style", "all", &url], folder.path());
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
    let arguments = ["--style", "all", "--json", "--out", "o", &good, &bad];
    let ran = run_example("coop_download", &arguments, folder.path());
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
            let [url, path, bytes, seconds, attempts, error, skipped] = members(file, MEMBERS);
            assert_eq!(skipped, &Value::from(false));
            assert_eq!((url, attempts), (&Value::from(&**asked), &Value::from(1)));
            assert_eq!(bytes.as_u64(), Some(if saved { body().len() as u64 } else { 0 }));
            assert_eq!(path.as_str(), saved.then_some("o/whole.bin"), "{file}");
            assert!(seconds.is_f64(), "{file}");
            assert!(if saved { error.is_null() } else { error.is_string() }, "{file}");
        }
    }
}

#[test]
fn the_json_is_whole_though_a_path_is_not_unicode() {
    let url = format!("http://{}/whole.bin", server());
    let out = OsStr::from_bytes(b"\xff");
    let folder = Folder::new();
    let arguments = ["--json", "--out"].map(OsStr::new).into_iter().chain([out, url.as_ref()]);
    let child = start_example("coop_download", &arguments.collect::<Vec<_>>(), folder.path());
    let ran = ran(child);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(json(&ran)["styles"][0]["files"][0]["path"], "\u{fffd}/whole.bin");
    assert_eq!(names(&folder.path().join(out)), ["whole.bin"]);
}

#[test]
fn failing_urls_do_not_stop_the_others() {
    let server = server();
    let here = |path: &str| format!("http://{server}/{path}");
    let (refusing, _kept) = refusing();

    // Each way has its own library, with its own words for the cause.
    let failing: [(String, &[&str]); 26] = [
        (here("missing.bin"), &["HTTP status 404 Not Found"]),
        (here("broken.bin"), &["HTTP status 500 Internal Server Error"]),
        (format!("http://{refusing}/refused.bin"), &["Connection refused"]),
        (
            "http://no-such-host.invalid/unknown.bin".into(),
            &["no answer: cannot look up the host \"no-such-host", "no answer: failed to lookup"],
        ),
        ("ftp://127.0.0.1/other.bin".into(), &["not an http or https URL, but one of ftp"]),
        ("other.bin".into(), &["not an http or https URL: it begins with neither"]),
        ("http://127.0.0.1:99999/port.bin".into(), &["not a URL: invalid port number"]),
        (format!("http://me:secret@{server}/user.bin"), &["a user name in the URL"]),
        ("http:///nowhere.bin".into(), &["no host in the URL"]),
        (here(""), &["no file name in the URL: nothing follows the host or the last slash"]),
        (
            here("a/%2e%2e"),
            &["no file name in the URL: nothing follows the host or the last slash"],
        ),
        (here("."), &["no file name in the URL: nothing follows the host or the last slash"]),
        (here("..%2Foutside.bin"), &["\"../outside.bin\" in the URL would leave the directory"]),
        (here("..%5Coutside.bin"), &["\"..\\\\outside.bin\" in the URL would leave the directory"]),
        (here("nul%00.bin"), &["\"nul\\0.bin\" in the URL has control characters"]),
        (here("latin-%e9.bin"), &["latin-%e9.bin in the URL is not UTF-8"]),
        (here("short.bin"), &["the body ended after 40 of 100 bytes"]),
        (here("reset.bin"), &["Connection reset by peer"]),
        (here("reset-without-length.bin"), &["Connection reset by peer"]),
        (here("closed.bin"), &["connection was closed", "connection closed", "disconnected"]),
        (here("not-a-length.bin"), &["ontent-", "not a number"]),
        (here("two-lengths.bin"), &["ontent-"]),
        (here("not-http.bin"), &["invalid HTTP version"]),
        (here("headers.bin"), &["too many headers", "too large"]),
        (here("round-and-round.bin"), &["too many redirects"]),
        (here("moved-to-ftp.bin"), &["redirected to ftp://127.0.0.1/x: not an http"]),
    ];
    let whole = ["whole.bin", "pieces.bin", "to-the-end.bin"];
    let mut urls = vec![here(whole[0])];
    urls.extend(failing.iter().map(|(url, _)| url.clone()));
    urls.extend(whole[1..].iter().map(|name| here(name)));

    for way in WAYS {
        let folder = Folder::new();
        let mut arguments = vec!["--style", way, "--retries", "0", "--out", "."];
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

/// HTTP counts what follows the announced body as no part of the answer.
#[test]
fn a_body_longer_than_announced_is_cut() {
    let url = format!("http://{}/long.bin", server());
    for way in WAYS {
        let folder = Folder::new();
        let ran =
            run_example("coop_download", &["--style", way, "--out", ".", &url], folder.path());
        assert_eq!(files(folder.path())["long.bin"], body()[..100], "{ran:?}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_before_anything_is_asked_for() {
    let url = format!("http://{}/whole.bin", server());
    for way in WAYS {
        // Nobody makes files there, root neither.
        let ran =
            run_example("coop_download", &["--style", way, "--out", "/sys", &url], Path::new("/"));
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.stderr.contains("cannot make files in the directory /sys: "), "{}", ran.stderr);
    }
    let folder = Folder::new();
    fs::write(folder.path().join("file"), "").expect("a file");
    for out in ["file", "file/below"] {
        let ran = run_example("coop_download", &["--out", out, &url], folder.path());
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(
            ran.stderr.contains(&format!("cannot make the directory {out}: ")),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_file_that_cannot_be_renamed_leaves_nothing_behind() {
    let url = format!("http://{}/whole.bin", server());
    for way in WAYS {
        let folder = Folder::new();
        fs::create_dir(folder.path().join("whole.bin")).expect("a directory of this name");
        let ran =
            run_example("coop_download", &["--style", way, "--out", ".", &url], folder.path());
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.stdout.contains("cannot write ./whole.bin: Is a directory"), "{}", ran.stdout);
        assert_eq!(names(folder.path()), ["whole.bin"]);
    }
}

#[test]
fn a_file_has_the_permissions_of_any_other() {
    let url = format!("http://{}/whole.bin", server());
    for way in WAYS {
        let folder = Folder::new();
        run_example("coop_download", &["--style", way, "--out", ".", &url], folder.path());
        let mode = |name: &str| {
            let metadata = fs::metadata(folder.path().join(name)).expect("a file");
            metadata.permissions().mode()
        };
        File::create(folder.path().join("other")).expect("a file");
        assert_eq!(mode("whole.bin"), mode("other"), "{way}");
    }
}

#[test]
fn a_file_name_is_decoded() {
    let url = format!("http://{}/caf%C3%A9%20100%25.bin?size=1/2", server());
    for way in WAYS {
        let folder = Folder::new();
        let ran =
            run_example("coop_download", &["--style", way, "--out", ".", &url], folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(files(folder.path())["caf\u{e9} 100%.bin"], body(), "{way}");
    }
}

#[test]
fn a_file_name_may_be_as_long_as_the_system_allows() {
    let name = "x".repeat(255);
    let url = format!("http://{}/{name}", server());
    for way in WAYS {
        let folder = Folder::new();
        let ran =
            run_example("coop_download", &["--style", way, "--out", ".", &url], folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(names(folder.path()), [&*name], "{way}");
    }
}

#[test]
fn redirects_are_followed_and_the_name_is_the_one_asked_for() {
    let server = server();
    for name in ["moved.bin", "moved-here.bin", "folder/moved-beside.bin", "moved-from.bin"] {
        let name = format!("http://{server}/{name}");
        for way in WAYS {
            let folder = Folder::new();
            let ran =
                run_example("coop_download", &["--style", way, "--out", ".", &name], folder.path());
            assert_eq!(ran.status, 0, "{ran:?}");
            let saved = files(folder.path());
            assert_eq!(saved.len(), 1, "{way}");
            assert_eq!(saved[name.rsplit('/').next().expect("a name")], body(), "{way}");
        }
    }
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
    let server = server();
    let (refusing, _kept) = refusing();
    for way in WAYS {
        let url = |name: &str| format!("http://{server}/{name}?{way}");
        let urls = [
            (url("unavailable-once.bin"), 2, true),
            (url("short-once.bin"), 2, true),
            (url("closed-once.bin"), 2, true),
            (url("slow-once.bin"), 2, true),
            (url("unavailable.bin"), 2, false),
            (format!("http://{refusing}/refused.bin"), 2, false),
            (url("missing.bin"), 1, false),
            (url("not-http.bin"), 1, false),
            (url("a/.."), 0, false),
        ];
        let folder = Folder::new();
        let mut arguments =
            vec!["--style", way, "--retries", "1", "--timeout", "3", "--out", ".", "--json"];
        arguments.extend(urls.iter().map(|(url, ..)| url.as_str()));
        let ran = run_example("coop_download", &arguments, folder.path());
        assert_eq!(ran.status, 1, "{ran:?}");
        let json = json(&ran);
        for (number, (asked, expected, whole)) in urls.iter().enumerate() {
            let [url, _, _, _, attempts, error, _] =
                members(&json["styles"][0]["files"][number], MEMBERS);
            assert_eq!(url, &Value::from(&**asked), "in the order of the command line");
            assert_eq!(attempts, &Value::from(*expected), "{way}: {asked}");
            assert_eq!(error.is_null(), *whole, "{way}: {asked}: {error}");
        }
        assert_eq!(files(folder.path()).len(), 4, "{way}");
    }
}

#[test]
fn an_attempt_has_a_time_limit() {
    let server = server();
    for way in WAYS {
        for name in ["stalls.bin", "says-nothing.bin", "drips.bin"] {
            let folder = Folder::new();
            let url = format!("http://{server}/{name}");
            let arguments =
                ["--style", way, "--timeout", "0.25", "--retries", "0", "--out", ".", &url];
            let ran = run_example("coop_download", &arguments, folder.path());
            assert_eq!(ran.status, 1, "{ran:?}");
            assert!(ran.stdout.contains("timed out after 250ms"), "{}", ran.stdout);
            assert!(names(folder.path()).is_empty(), "{way} left {:?}", names(folder.path()));
        }
    }
}

#[test]
fn no_more_are_under_way_than_allowed_and_no_fewer() {
    let server = server();
    for way in &WAYS[1..] {
        let urls: Vec<_> = (0..6).map(|n| format!("http://{server}/pair-{n}.bin?{way}")).collect();
        let folder = Folder::new();
        let mut arguments = vec!["--style", way, "--out", "."];
        arguments.extend(["--concurrency", "2", "--timeout", "30", "--retries", "0"]);
        arguments.extend(urls.iter().map(String::as_str));
        let ran = run_example("coop_download", &arguments, folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
    }
}

#[test]
fn a_read_may_be_of_any_size() {
    let url = format!("http://{}/whole.bin", server());
    for chunk in ["1", "513", "16777216"] {
        let folder = Folder::new();
        let arguments = ["--chunk", chunk, "--out", ".", &url];
        let ran = run_example("coop_download", &arguments, folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(files(folder.path())["whole.bin"], body(), "in reads of {chunk}");
    }
}

#[test]
fn a_body_larger_than_what_is_written_at_once_is_whole() {
    let url = format!("http://{}/large.bin", server());
    for way in WAYS {
        let folder = Folder::new();
        let arguments = ["--style", way, "--chunk", "30000", "--out", ".", &url];
        let ran = run_example("coop_download", &arguments, folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(files(folder.path())["large.bin"] == large(), "{way}");
    }
}

// Which URLs.

#[test]
fn urls_come_from_a_file_with_comments_and_bad_lines() {
    let server = server();
    let list = format!(
        "\u{feff}http://{server}/whole.bin \r\n# a list\n\nnonsense\nhttp://{server}/\nhttp://{server}/empty.bin"
    );
    let folder = Folder::new();
    fs::write(folder.path().join("list.txt"), list).expect("a file");
    let url = format!("http://{server}/pieces.bin");
    let arguments = ["--style", "green", "--urls", "list.txt", "--out", "o", &url];
    let ran = run_example("coop_download", &arguments, folder.path());
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!(names(&folder.path().join("o")), ["empty.bin", "pieces.bin", "whole.bin"]);
    let failed = |line| format!("failed (green): {line}");
    assert!(ran.stdout.contains(&failed("nonsense: list.txt:4: not an http")), "{}", ran.stdout);
    let slash = format!("http://{server}/: list.txt:5: no file name");
    assert!(ran.stdout.contains(&failed(&slash)), "{}", ran.stdout);
}

#[test]
fn urls_come_from_standard_input() {
    let url = format!("http://{}/whole.bin", server());
    let folder = Folder::new();
    let arguments = ["--style", "green", "--urls", "-", "--out", "."];
    let mut child = start_example("coop_download", &arguments, folder.path());
    writeln!(child.stdin.take().expect("a pipe"), "{url}").expect("it reads");
    let ran = ran(child);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(names(folder.path()), ["whole.bin"]);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let refused: [(&[&str], &str); 18] = [
        (&["--concurrency", "0"], "invalid value '0' for '--concurrency"),
        (&["--chunk", "0"], "invalid value '0' for '--chunk"),
        (&["--chunk", "1000000000000"], "for '--chunk"),
        (&["--timeout", "0"], "a time limit is a number of seconds greater than 0"),
        (&["--timeout", "-1"], "a time limit is a number of seconds greater than 0"),
        (&["--timeout", "soon"], "a time limit is a number of seconds greater than 0"),
        (&["--retries", "-1"], "'-1'"),
        (&["--bandwidth", "0"], "for '--bandwidth"),
        (&["--style", "green,fast"], "invalid value 'fast' for '--style"),
        (&["--quiet", "-v"], "cannot be used with"),
        (&["--serve", "--json"], "cannot be used with"),
        (&["--serve", "127.0.0.1:0", "http://127.0.0.1/a"], "cannot be used with"),
        (&["--latency", "5", "http://127.0.0.1/a"], "cannot be used with"),
        (&["--tls", "--article"], "cannot be used with"),
        (&["--urls", "no-such-list"], "cannot read the URLs in no-such-list: No such file"),
        (&["--urls", "-"], "no URL in standard input"),
        (&["--cacert", "no-such.pem"], "cannot read the certificates in no-such.pem: "),
        (&["--serve", "nonsense"], "cannot listen on nonsense: "),
    ];
    let folder = Folder::new();
    for (arguments, words) in refused {
        let mut child = start_example("coop_download", arguments, folder.path());
        drop(child.stdin.take());
        let ran = ran(child);
        assert_eq!(ran.status, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{arguments:?}: {}", ran.stdout);
    }
    fs::write(folder.path().join("empty.pem"), "").expect("a file");
    let ran = run_example("coop_download", &["--cacert", "empty.pem"], folder.path());
    assert!(ran.stderr.contains("no certificate in empty.pem"), "{ran:?}");
}

// What is said.

#[test]
fn quiet_is_quiet_and_verbose_is_not() {
    let url = format!("http://{}/moved.bin", server());
    let said = |how: &[&str]| {
        let folder = Folder::new();
        let arguments = [how, &["--style", "all", "--out", ".", &url]].concat();
        let ran = run_example("coop_download", &arguments, folder.path());
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(ran.stdout.lines().count(), 1 + WAYS.len(), "{}", ran.stdout);
        assert!(!ran.stderr.contains(['\r', '\x1b']), "no bars, no colours: {:?}", ran.stderr);
        ran.stderr
    };
    assert_eq!(said(&["--quiet"]), "");
    assert!(!said(&[]).contains("whole.bin"));
    assert!(said(&["-v"]).contains("moved.bin is at http://"));
}

#[test]
fn nobody_need_read_what_is_printed() {
    let url = format!("http://{}/whole.bin", server());
    let folder = Folder::new();
    let mut child = start_example("coop_download", &["--out", ".", &url], folder.path());
    drop(child.stdout.take());
    let ran = ran(child);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn styles_are_named_with_commas() {
    let url = format!("http://{}/whole.bin", server());
    let folder = Folder::new();
    let arguments = ["--style", "async,sequential", "--json", &url];
    let json = json(&run_example("coop_download", &arguments, folder.path()));
    let styles = json["styles"].as_array().expect("a list");
    let styles: Vec<_> = styles.iter().map(|style| &style["style"]).collect();
    assert_eq!(styles, ["async", "sequential"]);
}

// The embedded server, and https.

#[test]
fn the_server_serves_others() {
    let server = Serving::start(&[]);
    let host = server.urls[0].strip_prefix("http://").expect("no https").split('/').next();
    let host = host.expect("a host").parse().expect("an address");
    let get = format!("/{}", PICTURES[2]);
    let picture = ask(host, "GET", &get);
    assert!(
        picture.starts_with(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: ")
    );
    let head = ask(host, "HEAD", &get);
    assert!(
        picture.starts_with(&head) && head.ends_with(b"\r\n\r\n") && picture.len() > head.len()
    );
    assert!(ask(host, "GET", "/other").starts_with(b"HTTP/1.1 404 "));
    assert!(ask(host, "POST", &get).starts_with(b"HTTP/1.1 405 "));
    let mut endless = TcpStream::connect(host).expect("it listens");
    let mut lines = (0..1024).map(|_| endless.write_all(&[b'x'; 64 * 1024]));
    assert!(lines.any(|written| written.is_err()), "it took 64 MiB of a request's first line");

    let folder = Folder::new();
    fs::write(folder.path().join("list"), &server.said).expect("a file");
    let ran = run_example("coop_download", &["--urls", "list", "--style", "async"], folder.path());
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(names(&folder.path().join("codeflex_images")), PICTURES);
    assert_eq!(server.interrupt().status, 130);
}

#[test]
fn https_comes_from_whom_is_trusted_and_from_nobody_else() {
    let server = Serving::start(&["--tls"]);
    let certificate = server.said.split_once("--cacert ").expect("a certificate").1;
    let certificate = certificate.split(' ').next().expect("its file");
    assert!(server.urls.iter().all(|url| url.starts_with("https://")));
    let url = &server.urls[4];
    for way in WAYS {
        let folder = Folder::new();
        let run = |arguments: &[&str]| {
            let arguments = [arguments, &["--style", way, "--out", ".", url]].concat();
            run_example("coop_download", &arguments, folder.path())
        };
        let trusting = run(&["--cacert", certificate]);
        assert_eq!(trusting.status, 0, "{trusting:?}");
        assert_eq!(names(folder.path()), [PICTURES[4]]);

        fs::remove_file(folder.path().join(PICTURES[4])).expect("it is there");
        let wary = run(&[]);
        assert_eq!(wary.status, 1, "{wary:?}");
        let words =
            "no TLS with 127.0.0.1: invalid peer certificate: UnknownIssuer; `--cacert FILE`";
        assert!(wary.stdout.contains(words), "{way}: {}", wary.stdout);
        assert!(names(folder.path()).is_empty(), "{way}");
    }
    let certificate = certificate.to_owned();
    assert_eq!(server.interrupt().status, 130);
    assert!(!Path::new(&certificate).exists(), "{certificate} is left behind");
}

#[test]
fn the_embedded_server_may_speak_https() {
    let folder = Folder::new();
    let styles = WAYS.join(",");
    let arguments = ["--tls", "--latency", "0", "--bandwidth", "100000000", "--style", &styles];
    let ran = run_example("coop_download", &arguments, folder.path());
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(names(&folder.path().join("codeflex_images")), PICTURES);
}

// Ctrl-C.

#[test]
fn ctrl_c_cancels_and_leaves_whole_files_only() {
    let server = server();
    let [whole, stalls, later] =
        ["whole.bin", "stalls.bin", "pieces.bin"].map(|name| format!("http://{server}/{name}"));
    for way in WAYS {
        let folder = Folder::new();
        let arguments =
            ["--style", way, "--out", ".", "--concurrency", "1", "--json", &whole, &stalls, &later];
        let child = start_example("coop_download", &arguments, folder.path());
        until("a file is there and another under way", || {
            let names = names(folder.path());
            names.len() == 2 && names[0].starts_with(".stalls.bin.part-") && names[1] == "whole.bin"
        });
        interrupt(&child);
        let ran = ran(child);
        assert_eq!(ran.status, 130, "{ran:?}");
        assert_eq!(names(folder.path()), ["whole.bin"], "{way}");
        assert_eq!(files(folder.path())["whole.bin"], body(), "{way}");
        assert!(ran.stderr.contains("Interrupted: "), "{}", ran.stderr);
        let json = json(&ran);
        let files = json["styles"][0]["files"].as_array().expect("a list");
        let errors: Vec<_> = files.iter().map(|file| file["error"].as_str()).collect();
        assert_eq!(errors, [None, Some("interrupted"), Some("interrupted")], "{way}");
    }
}

#[test]
fn ctrl_c_ends_all_styles_that_were_asked_for() {
    let url = format!("http://{}/stalls.bin", server());
    let folder = Folder::new();
    let arguments = ["--style", "all", "--out", ".", &url];
    let child = start_example("coop_download", &arguments, folder.path());
    until_a_file_is_under_way(&folder);
    interrupt(&child);
    let ran = ran(child);
    assert_eq!(ran.status, 130, "{ran:?}");
    let last = ran.stdout.lines().last();
    assert_eq!(last, Some("interrupted (sequential): 1 of 1"), "{}", ran.stdout);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn being_asked_to_end_is_as_ctrl_c() {
    let url = format!("http://{}/stalls.bin", server());
    let folder = Folder::new();
    let child =
        start_example("coop_download", &["--style", "green", "--out", ".", &url], folder.path());
    until_a_file_is_under_way(&folder);
    send(&child, libc::SIGTERM);
    let ran = ran(child);
    assert_eq!(ran.status, 128 + libc::SIGTERM, "{ran:?}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn ctrl_c_ends_the_reading_of_urls() {
    let folder = Folder::new();
    let mut child = start_example("coop_download", &["--urls", "-"], folder.path());
    let mut list = child.stdin.take().expect("a pipe");
    list.write_all(&[b'#'; 1 << 20]).expect("more than a pipe holds, so it reads");
    interrupt(&child);
    drop(list);
    let status = child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status}");
}

/// std's `connect` cannot be called off.
#[test]
fn a_second_ctrl_c_kills_at_once() {
    let (silent, _kept) = silent();
    let connecting = || {
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
        let row = format!(":{:04X} 02 ", silent.port()); // SYN_SENT, to this port
        table.matches(&row).count()
    };
    let others = connecting();
    let folder = Folder::new();
    let url = format!("http://{silent}/never.bin");
    let mut child = start_example("coop_download", &["--style", "sequential", &url], folder.path());
    until("it connects", || connecting() > others);
    interrupt(&child);
    let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let words = "a second Ctrl-C kills at once";
    let said = stderr.lines().any(|line| line.is_ok_and(|line| line.contains(words)));
    assert!(said, "it does not say {words:?}");
    interrupt(&child);
    let status = child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status}");
}

#[test]
fn a_signal_asks_what_each_task_is_doing() {
    let url = format!("http://{}/stalls.bin", server());
    for (way, era) in [("generator", "generator"), ("green", "green"), ("async", "future")] {
        let folder = Folder::new();
        // With a limit, a wait to be woken by hyper counts as one for time.
        let arguments = ["--style", way, "--idle", "1e30", "--out", ".", &url];
        let mut child = start_example("coop_download", &arguments, folder.path());
        until_a_file_is_under_way(&folder);
        // The file is there before the first wait: another table follows each, until there is one with a wait. (Then no
        // signal is under way any more, which would end the program after its run.)
        let row = format!(" \"stalls.bin\" ({era}, spawned at examples/coop_download/");
        send(&child, libc::SIGUSR1);
        let mut tables = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let waits = tables.any(|line| {
            let line = line.expect("UTF-8");
            let is_row = line.starts_with(' ') && line.contains(&row);
            let waits = is_row && line.contains(": waits ");
            if is_row && !waits {
                send(&child, libc::SIGUSR1);
            }
            waits
        });
        assert!(waits, "{way}");
        interrupt(&child);
        thread::spawn(move || tables.for_each(drop)); // what is still printed has room
        assert_eq!(ran(child).status, 130, "{way}");
    }
}

// Answers.

#[test]
fn an_answer_may_come_in_pieces_or_without_its_length() {
    let server = server();
    assert_each_way_saves(server, "pieces.bin", &body());
    assert_each_way_saves(server, "to-the-end.bin", &body());
    assert_each_way_saves(server, "empty.bin", b"");
}

#[test]
fn an_address_may_be_one_of_ipv6() {
    match examples::serve("[::1]:0", answer) {
        Ok(server) => assert_each_way_saves(server, "whole.bin", &body()),
        Err(e) => eprintln!("not tested, there is no IPv6 here: {e}"),
    }
}

#[test]
fn chunks_are_never_saved_as_they_come() {
    assert_each_way_saves(server(), "chunked.bin", b"in chunks");
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

/// A running `coop_download --serve`.
struct Serving {
    child: Option<Child>,
    said: String,
    urls: Vec<String>,
}

impl Serving {
    #[track_caller]
    fn start(more: &[&str]) -> Serving {
        let fast = ["--serve", "127.0.0.1:0", "--latency", "0", "--bandwidth", "100000000"];
        let mut child = start_example("coop_download", &[&fast, more].concat(), Path::new("."));
        let mut lines = BufReader::new(child.stdout.as_mut().expect("a pipe")).lines();
        let mut said = String::new();
        while !said.ends_with("# Ctrl-C ends the server.\n") {
            said += &lines.next().expect("it says more").expect("UTF-8");
            said.push('\n');
        }
        let urls = said.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        Serving { child: Some(child), said, urls }
    }

    fn interrupt(mut self) -> Ran {
        let child = self.child.take().expect("it runs");
        interrupt(&child);
        ran(child)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill(); // The test has failed already.
            let _ = child.wait();
        }
    }
}

fn interrupt(child: &Child) {
    send(child, libc::SIGINT);
}

fn send(child: &Child, signal: i32) {
    let id = child.id().try_into().expect("a process id");
    // SAFETY: it sends a signal, to a process that is not waited for yet.
    assert_eq!(unsafe { libc::kill(id, signal) }, 0);
}

/// Waits for something that another process does.
#[track_caller]
fn until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never comes that {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a request, and reads the answer to the end of the connection.
fn ask(server: SocketAddr, method: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).expect("it listens");
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {server}\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    answer
}

/// What the server sends, whatever it is asked for: many reads of the example, and a bit of one.
fn body() -> Vec<u8> {
    (0..40 * 512 + 7_u32).map(|n| ((n * n) >> 5) as u8).collect()
}

fn server() -> SocketAddr {
    examples::serve("127.0.0.1:0", answer).expect("a port")
}

/// More than is written at once.
fn large() -> Vec<u8> {
    body().repeat(20)
}

fn answer(path: &str, stream: &mut TcpStream) -> io::Result<()> {
    let body = body();
    let ok = |length: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
            .into_bytes()
    };
    let moved = |to: &str| {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    let (name, query) = path.split_once('?').unwrap_or((path, ""));
    match name {
        "/whole.bin" | "/caf%C3%A9%20100%25.bin" => stream.write_all(&[ok(body.len()), body].concat()),
        _ if name.starts_with("/xxx") => answer("/whole.bin", stream),
        "/large.bin" => stream.write_all(&[ok(large().len()), large()].concat()),
        "/pieces.bin" => {
            stream.set_nodelay(true)?;
            let answer = [ok(body.len()), body].concat();
            answer.chunks(13).try_for_each(|piece| stream.write_all(piece))
        }
        "/to-the-end.bin" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            stream.write_all(&body)
        }
        "/empty.bin" => stream.write_all(&ok(0)),
        "/chunked.bin" => stream.write_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nin \r\n6\r\nchunks\r\n0\r\n\r\n",
        ),
        "/short.bin" => stream.write_all(&[ok(100), body[..40].into()].concat()),
        "/long.bin" => stream.write_all(&[ok(100), body[..120].into()].concat()),
        "/reset.bin" => {
            stream.write_all(&[ok(100), body[..40].into()].concat())?;
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)) // closing it resets it
        }
        "/reset-without-length.bin" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf")?;
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))
        }
        "/closed.bin" => Ok(()),
        "/not-a-length.bin" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nbody")
        }
        "/two-lengths.bin" => stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody"),
        "/not-http.bin" => stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
        "/headers.bin" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            let end = (0..10_000).try_for_each(|n| write!(stream, "X-{n}: {}\r\n", "x".repeat(50)));
            end.and_then(|()| to_the_end_of(stream))
        }
        "/moved.bin" => {
            let server = stream.local_addr()?;
            stream.write_all(moved(&format!("http://{server}/whole.bin")).as_bytes())
        }
        "/moved-here.bin" => stream.write_all(moved("/folder/moved-beside.bin").as_bytes()),
        "/moved-from.bin" => {
            stream.write_all(moved("whole.bin?from=http://127.0.0.1/moved-from.bin").as_bytes())
        }
        "/folder/moved-beside.bin" => stream.write_all(moved("../whole.bin").as_bytes()),
        "/folder/../whole.bin" => answer("/whole.bin", stream), // as it is asked for; ureq resolves the dots
        "/round-and-round.bin" => stream.write_all(moved(path).as_bytes()),
        "/moved-to-ftp.bin" => stream.write_all(moved("ftp://127.0.0.1/x").as_bytes()),
        "/broken.bin" => status(stream, "500 Internal Server Error"),
        "/unavailable.bin" => status(stream, "503 Service Unavailable"),
        "/unavailable-once.bin" if first(path) => status(stream, "503 Service Unavailable"),
        "/short-once.bin" if first(path) => answer("/short.bin", stream),
        "/closed-once.bin" if first(path) => Ok(()),
        "/slow-once.bin" if first(path) => answer("/stalls.bin", stream),
        _ if name.contains("-once.bin") => answer("/whole.bin", stream),
        "/stalls.bin" => {
            stream.write_all(&[ok(body.len()), body[..1000].into()].concat())?;
            to_the_end_of(stream)
        }
        "/says-nothing.bin" => to_the_end_of(stream),
        "/drips.bin" => {
            stream.set_read_timeout(Some(Duration::from_millis(10)))?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            while to_the_end_of(stream).is_err_and(|e| e.kind() == ErrorKind::WouldBlock) {
                stream.write_all(b"drip")?;
            }
            Ok(())
        }
        _ if name.starts_with("/pair-") => in_pairs(query, stream, &[ok(body.len()), body].concat()),
        _ => status(stream, "404 Not Found"),
    }
}

fn status(stream: &mut TcpStream, status: &str) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Waits until the client has closed its end.
fn to_the_end_of(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

/// Answers two requests at a time: one alone is kept waiting, and a third is refused.
fn in_pairs(way: &str, stream: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    static MEETINGS: Mutex<BTreeMap<String, &(Barrier, AtomicUsize)>> = Mutex::new(BTreeMap::new());
    let new = || &*Box::leak(Box::new((Barrier::new(2), AtomicUsize::new(0))));
    let (both, under_way) = {
        let mut meetings = MEETINGS.lock().expect("nobody panics with it");
        *meetings.entry(way.to_owned()).or_insert_with(new)
    };
    if under_way.fetch_add(1, Ordering::SeqCst) >= 2 {
        return status(stream, "409 Conflict");
    }
    both.wait();
    let (almost, last) = answer.split_at(answer.len() - 1);
    stream.write_all(almost)?;
    under_way.fetch_sub(1, Ordering::SeqCst); // Nobody has it all yet, and so asks for more.
    stream.write_all(last)
}

/// Whether a path is asked for the first time in this process.
fn first(path: &str) -> bool {
    static ASKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    ASKED.lock().expect("nobody panics with it").insert(path.to_owned())
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

/// (Before that, the program tries whether it can write there, with a file of its own name.)
fn until_a_file_is_under_way(folder: &Folder) {
    let is_part = |name: &String| name.contains(".part-");
    until("a file is under way", || {
        names(folder.path()).iter().filter(|name| is_part(name)).count() == 1
    });
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("readable").file_name().into_string();
    let mut names: Vec<_> = entries.map(|entry| name(entry).expect("UTF-8")).collect();
    names.sort_unstable();
    names
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

// The timelines.

#[test]
fn the_downloader_draws_its_four_ways() {
    let folder = Folder::new();
    let arguments = ["--timeline", "--svg", "a.svg", "--trace", "a.json", "--latency", "1"];
    let ran = run_example("coop_download", &arguments, folder.path());
    assert_eq!(ran.status, 0, "{ran:?}");
    let heads: Vec<_> = ran.stdout.lines().filter(|line| line.contains(" turns in ")).collect();
    assert_eq!(heads.len(), 4, "{}", ran.stdout);
    for (head, way) in heads.iter().zip(WAYS) {
        assert!(head.starts_with(&format!("{way}: ")), "{head}");
    }
    assert!(!ran.stdout.contains('\x1b'), "no colours in a pipe");
    let svg = fs::read_to_string(folder.path().join("a.svg")).unwrap();
    assert!(WAYS.iter().all(|way| svg.contains(&format!(">{way}: "))), "{svg}");
    let trace = fs::read_to_string(folder.path().join("a.json")).unwrap();
    let trace: Value = serde_json::from_str(&trace).unwrap();
    let events = trace["traceEvents"].as_array().or(trace.as_array()).unwrap();
    assert_eq!(named(events, "process_name"), WAYS);
    let tasks = named(events, "thread_name");
    assert!(!tasks.iter().any(|name| name.contains(".rs:")), "a task without a name in {tasks:?}");
    for (name, times) in [
        ("pandas-dataframe-python-1024x512.png", 5), // one after the other, three workers, hyper's
        ("hyper: redis-cluster-topology.png", 1),
        ("all", 2),
    ] {
        let count = tasks.iter().filter(|task| task.ends_with(name)).count();
        assert_eq!(count, times, "{name} in {tasks:?}");
    }
}

/// The names that a trace gives its processes or its threads.
fn named<'a>(events: &'a [Value], what: &str) -> Vec<&'a str> {
    let names = events.iter().filter(|event| event["name"] == what);
    names.map(|event| event["args"]["name"].as_str().unwrap()).collect()
}

#[test]
fn workers_that_download_several_files_have_numbers() {
    let folder = Folder::new();
    let arguments = ["--timeline", "--latency", "1", "--concurrency", "2"];
    let ran = run_example("coop_download", &arguments, folder.path());
    assert_eq!(ran.status, 0, "{ran:?}");
    for (name, times) in [(" worker 1 ", 3), (" worker 2 ", 3), ("worker 3", 0), (" hyper:", 5)] {
        assert_eq!(ran.stdout.matches(name).count(), times, "{name} in {}", ran.stdout);
    }
}

#[test]
fn the_downloader_says_when_a_picture_cannot_be_saved_or_shown() {
    let folder = Folder::new();
    let arguments = ["--style", "green", "--latency", "1", "--quiet", "--svg", "no/such/a.svg"];
    let ran = run_example("coop_download", &arguments, folder.path());
    assert_eq!(ran.status, 1, "{ran:?}"); // the files are there
    assert!(ran.stderr.contains("coop_download: cannot write no/such/a.svg: "), "{ran:?}");
    let ran = run_example("coop_download", &["--timeline", "--json"], folder.path());
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("'--timeline' cannot be used with '--json'"), "{ran:?}");
}
