//! What a connection of the green agent takes on the heap: the figures that the documentation of `http` has, by an allocator
//! that counts for each thread. The server is on a thread of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use certificates::AUTHORITY;
use rustls::{ServerConnection, StreamOwned};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use wouldblock::group::gather;
use wouldblock::net::TcpListener;
use wouldblock::{green, http};

#[allow(dead_code, reason = "this uses a part of it")]
#[path = "it/certificates.rs"]
mod certificates;

thread_local! {
    /// What the thread has allocated, without what it has freed.
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: isize) {
    let _ = BYTES.try_with(|all| all.set(all.get() + bytes)); // It fails at the end of a thread.
}

// SAFETY: each call goes to the system's allocator, with what the caller has passed.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's block, which is the system's, and its layout.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const CONNECTIONS: usize = 200;

/// How many requests wait for their answers, and whether they get them.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static ANSWERED: AtomicBool = AtomicBool::new(false);

/// Answers each request on a connection; one for `/wait` when [`ANSWERED`] says so.
fn serve(mut stream: impl Read + Write) -> io::Result<()> {
    loop {
        let (mut head, mut reader) = (String::new(), BufReader::new(&mut stream));
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        if head.starts_with("GET /wait ") {
            WAITING.fetch_add(1, SeqCst);
            while !ANSWERED.load(SeqCst) {
                green::sleep(Duration::from_millis(1));
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")?;
    }
}

/// A server on a thread of its own, which goes on until the process ends.
fn server(tls: bool) -> SocketAddr {
    let (sender, address) = mpsc::channel();
    thread::spawn(move || {
        wouldblock::run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let config = AUTHORITY.server();
            for stream in listener.incoming().flatten() {
                let config = config.clone();
                green::spawn(move || match tls {
                    true => serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)),
                    false => serve(stream),
                });
            }
        });
    });
    address.recv().unwrap()
}

fn agent() -> Agent {
    let root = Certificate::from_pem(AUTHORITY.pem().as_bytes()).unwrap();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root]));
    http::agent_with(http::config_builder().proxy(None).tls_config(tls.build()).build())
}

/// Bytes for a connection whose task waits for an answer, the task included, and for one that is idle.
fn measure(tls: bool) -> [usize; 2] {
    WAITING.store(0, SeqCst);
    ANSWERED.store(false, SeqCst);
    let (address, scheme) = (server(tls), if tls { "https" } else { "http" });
    wouldblock::run(|| {
        let agent = agent();
        let get = move |path: &str| {
            let mut response = agent.get(format!("{scheme}://{address}{path}")).call().unwrap();
            assert_eq!(response.body_mut().read_to_string().unwrap(), "hello");
        };
        get("/"); // What the agent has once, and the first connection.
        let before = BYTES.get();
        let tasks: Vec<_> = (0..=CONNECTIONS)
            .map(|_| {
                let get = get.clone();
                green::spawn(move || get("/wait"))
            })
            .collect();
        while WAITING.load(SeqCst) <= CONNECTIONS {
            green::sleep(Duration::from_millis(1));
        }
        let each = |now: isize| usize::try_from(now - before).unwrap() / CONNECTIONS;
        let waiting = each(BYTES.get());
        ANSWERED.store(true, SeqCst);
        green::wait(gather(tasks)).into_iter().for_each(|task| task.unwrap());
        [waiting, each(BYTES.get())]
    })
}

#[test]
fn a_connection_takes_what_the_documentation_says() {
    for (tls, most_kib) in [(false, [4, 3]), (true, [51, 50])] {
        let bytes = measure(tls);
        println!("tls: {tls}; bytes of one that waits, and of one that is idle: {bytes:?}");
        for (bytes, kib) in bytes.into_iter().zip(most_kib) {
            assert!(bytes <= kib << 10, "{bytes} bytes, {kib} KiB");
        }
    }
}
