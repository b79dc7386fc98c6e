//! Three ordinary programs that know std only, and the same programs ported by the rule that the README gives: both
//! do the same. The port is made by replacing text, by [`ported`]; what is compiled here is compared with that.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::{env, fs, thread};

/// The programs, as they are for std and as they are for this crate. (In a port, imports stand where they stood.)
mod programs {
    pub mod chat;
    #[allow(clippy::arc_with_non_send_sync, reason = "the port keeps the program's `Arc`")]
    #[rustfmt::skip]
    pub mod chat_ported;
    pub mod web_server;
    #[allow(clippy::arc_with_non_send_sync, reason = "as above")]
    #[rustfmt::skip]
    pub mod web_server_ported;
    pub mod word_count;
    #[allow(clippy::arc_with_non_send_sync, reason = "as above")]
    #[rustfmt::skip]
    pub mod word_count_ported;
}

/// The rule, as an editor follows it:
///
/// 1. `std::{net, fs, thread, sync}` becomes `wouldblock::{net, fs, thread, sync}`;
/// 2. no `.unwrap()` after `lock()`, `read()`, `write()`, `into_inner()` and `wait..(guard ..)`;
/// 3. the body of `main` goes into `wouldblock::run(|| ..)`.
fn ported(program: &str) -> String {
    let mut text = program.to_owned();
    for room in ["net", "fs", "thread", "sync"] {
        text = text.replace(&format!("std::{room}"), &format!("wouldblock::{room}"));
    }
    for call in [".lock()", ".read()", ".write()", ".into_inner()"] {
        text = text.replace(&format!("{call}.unwrap()"), call);
    }
    for call in [".wait(", ".wait_while(", ".wait_timeout("] {
        text = without_unwrap_after(&text, call);
    }
    let (before, main) = text.split_once("pub fn main(").expect("a `main`");
    let (head, rest) = main.split_once(" {\n").expect("the body of `main`");
    let (body, after) = rest.split_once("\n}\n").expect("the end of `main`");
    let body: Vec<String> = body.lines().map(|line| format!("    {line}")).collect();
    let body = body.join("\n");
    format!(
        "{before}pub fn main({head} {{\n    wouldblock::run(|| {{\n{body}\n    }})\n}}\n{after}"
    )
}

fn without_unwrap_after(text: &str, call: &str) -> String {
    let Some((before, rest)) = text.split_once(call) else { return text.to_owned() };
    let mut open = 1;
    let is_end = |c: char| {
        open += i32::from(c == '(') - i32::from(c == ')');
        open == 0
    };
    let (arguments, rest) = rest.split_at(rest.find(is_end).expect("a `)`") + 1);
    let rest = if arguments == ")" { rest } else { rest.strip_prefix(".unwrap()").unwrap_or(rest) };
    format!("{before}{call}{arguments}{}", without_unwrap_after(rest, call))
}

/// With `WOULDBLOCK_PORT=1`, this writes the ports anew.
#[test]
fn the_ports_are_the_programs_with_the_rule_applied() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/port/programs");
    for name in ["chat", "web_server", "word_count"] {
        let expected = ported(&fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap());
        let port = folder.join(format!("{name}_ported.rs"));
        if env::var_os("WOULDBLOCK_PORT").is_some() {
            fs::write(&port, &expected).unwrap();
        }
        let same = fs::read_to_string(&port).unwrap() == expected;
        assert!(same, "{}: write it anew with WOULDBLOCK_PORT=1", port.display());
    }
}

#[test]
fn the_rule_takes_an_unwrap_away_after_what_is_poisoned_in_std_only() {
    let line = "guard = c.wait(f(a, b)).unwrap(); barrier.wait().unwrap(); d.wait(x).is_err()";
    let expected = "guard = c.wait(f(a, b)); barrier.wait().unwrap(); d.wait(x).is_err()";
    assert_eq!(without_unwrap_after(line, ".wait("), expected);
}

/// Runs a program on a thread of its own, and `clients` with its address; gives what both give.
fn serve<T>(
    program: impl FnOnce(Box<dyn FnOnce(SocketAddr)>) -> String + Send + 'static,
    clients: impl FnOnce(SocketAddr) -> T,
) -> (String, T) {
    let (sender, receiver) = mpsc::channel();
    let server = thread::spawn(move || program(Box::new(move |at| sender.send(at).unwrap())));
    let seen = clients(receiver.recv().expect("the program is ready"));
    (server.join().unwrap(), seen)
}

/// A folder with the files of the tests.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let path = folder.path().to_owned();
    (folder, path)
}

#[test]
fn a_web_server_with_a_pool_of_threads() {
    let (_folder, path) = folder(&[("hello.html", "<h1>Hello!</h1>"), ("404.html", "Oops!")]);
    let requests = ["/", "/slow", "/nothing", "/slow", "/slow", "/", "/slow", "/slow"];
    let clients = |at: SocketAddr| {
        let all = requests.map(|request| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(at).unwrap();
                write!(stream, "GET {request} HTTP/1.1\r\n\r\n").unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            })
        });
        all.map(|client| client.join().unwrap())
    };
    let (of_std, of_ours) = (path.clone(), path);
    let std = serve(|ready| programs::web_server::main(of_std, 8, ready), clients);
    let ours = serve(|ready| programs::web_server_ported::main(of_ours, 8, ready), clients);
    assert_eq!(std, ours);
    assert!(ours.1[0].starts_with("HTTP/1.1 200 OK\r\n") && ours.1[0].ends_with("Hello!</h1>"));
    assert!(ours.1[2].starts_with("HTTP/1.1 404") && ours.1[2].ends_with("Oops!"));
}

#[test]
fn a_chat_server() {
    let clients = |at: SocketAddr| {
        let connect = |name: &str| {
            let stream = TcpStream::connect(at).unwrap();
            writeln!(&stream, "{name}").unwrap();
            BufReader::new(stream)
        };
        fn hear(reader: &mut BufReader<TcpStream>, heard: &mut Vec<String>) {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            heard.push(line);
        }
        let mut heard = Vec::new();
        let mut ann = connect("ann");
        hear(&mut ann, &mut heard);
        let mut bob = connect("bob");
        for who in [&mut ann, &mut bob] {
            hear(who, &mut heard);
        }
        for (from, text) in [(0, "hello"), (1, "hi"), (0, "how are you?")] {
            writeln!([&ann, &bob][from].get_ref(), "{text}").unwrap();
            for who in [&mut ann, &mut bob] {
                hear(who, &mut heard);
            }
        }
        writeln!(ann.get_ref(), "/quit").unwrap();
        for who in [&mut ann, &mut bob] {
            hear(who, &mut heard);
        }
        bob.get_ref().shutdown(Shutdown::Write).unwrap();
        hear(&mut bob, &mut heard);
        heard
    };
    let std = serve(|ready| programs::chat::main(2, ready), clients);
    let ours = serve(|ready| programs::chat_ported::main(2, ready), clients);
    assert_eq!(std, ours);
    assert!(ours.0.starts_with("2 clients\n* ann has come\n* bob has come\nann: hello\nbob: hi"));
    assert_eq!(ours.1.len(), 12);
}

#[test]
fn a_program_with_files_scoped_threads_a_channel_and_a_condvar() {
    let files: Vec<(String, String)> = (0..20)
        .map(|n| (format!("{n}.txt"), "a few words\n".repeat(n) + "and a last one"))
        .collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    let (_folder, path) = folder(&files);
    let std = programs::word_count::main(path.clone());
    let ours = programs::word_count_ported::main(path);
    assert_eq!(std, ours);
    assert_eq!(ours, "440 words\nand 20\nfew 190\nlast 20\none 20\nwords 190\n");
}
