//! WebSocket: a chat of 1 000 connections by tungstenite, whose blocking API goes over this crate's streams as it is. Each
//! connection is a greenlet.
//!
//! tungstenite's buffers are 128 KiB and more for a connection by default: smaller ones are the difference between some
//! 200 MB and some 40.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};
use wouldblock::net::{TcpListener, TcpStream};
use wouldblock::sync::Event;
use wouldblock::{green, group::gather, task};

type Connection = WebSocket<TcpStream>;

const STACK: usize = 128 << 10;

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(1 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(64 << 10)
}

/// Sends each line of each client to all clients.
fn chat(listener: TcpListener, everyone: Rc<RefCell<Vec<Connection>>>) {
    for stream in listener.incoming().flatten() {
        let everyone = everyone.clone();
        let serve = move || -> tungstenite::Result<()> {
            let copy = stream.try_clone()?;
            let mut socket = tungstenite::accept_with_config(stream, Some(config()))
                .map_err(|_| tungstenite::Error::AttackAttempt)?;
            let writer = WebSocket::from_raw_socket(
                copy,
                tungstenite::protocol::Role::Server,
                Some(config()),
            );
            everyone.borrow_mut().push(writer);
            loop {
                let message = socket.read()?;
                if message.is_text() {
                    // Taken out while they are written to, which may wait: a borrow would meet that of another task.
                    let mut all = everyone.take();
                    all.retain_mut(|to| to.send(message.clone()).is_ok());
                    everyone.borrow_mut().append(&mut all);
                }
            }
        };
        drop(task::Builder::new().stack_size(STACK).spawn(serve));
    }
}

fn connect(server: SocketAddr) -> Connection {
    let stream = TcpStream::connect(server).unwrap();
    let connected =
        tungstenite::client::client_with_config(format!("ws://{server}/"), stream, Some(config()));
    connected.unwrap_or_else(|e| panic!("{e}")).0
}

#[test]
fn a_chat_of_a_thousand_connections() {
    const CLIENTS: usize = 1000;
    recipes::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let everyone = Rc::default();
        let chat = green::spawn({
            let everyone = Rc::clone(&everyone);
            move || chat(listener, everyone)
        });
        let go = Rc::new(Event::new());
        let clients = (0..CLIENTS).map(|n| {
            let go = go.clone();
            task::Builder::new().stack_size(STACK).spawn(move || {
                let mut socket = connect(server);
                if n == 0 {
                    go.wait();
                    socket.send(Message::text("hello, all")).unwrap();
                }
                socket.read().unwrap().into_text().unwrap().to_string()
            })
        });
        let clients: Vec<_> = clients.collect();
        while RefCell::<Vec<Connection>>::borrow(&everyone).len() < CLIENTS {
            green::yield_now();
        }
        go.set();
        for text in green::wait(gather(clients)) {
            assert_eq!(text.unwrap(), "hello, all");
        }
        chat.cancel();
    });
}

#[test]
fn cost_beside_threads() {
    const CONNECTIONS: u32 = 20;
    const MESSAGES: u32 = 50;
    fn echo(stream: impl Read + Write) {
        let Ok(mut socket) = tungstenite::accept_with_config(stream, Some(config())) else {
            return;
        };
        while let Ok(message) = socket.read() {
            if message.is_text() && socket.send(message).is_err() {
                return;
            }
        }
    }
    fn client(stream: impl Read + Write) {
        let connected =
            tungstenite::client::client_with_config("ws://here/", stream, Some(config()));
        let mut socket = connected.unwrap_or_else(|_| panic!("no handshake")).0;
        for _ in 0..MESSAGES {
            socket.send(Message::text("hello")).unwrap();
            assert!(socket.read().unwrap().is_text());
        }
    }
    recipes::run(|| {
        let ours = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            green::scope(|scope| {
                for _ in 0..CONNECTIONS {
                    scope.spawn(move || client(TcpStream::connect(address).unwrap()));
                    let (stream, _) = listener.accept().unwrap();
                    scope.spawn(move || echo(stream));
                }
            });
        };
        let theirs = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::scope(|scope| {
                for _ in 0..CONNECTIONS {
                    scope.spawn(move || client(std::net::TcpStream::connect(address).unwrap()));
                    let (stream, _) = listener.accept().unwrap();
                    scope.spawn(move || echo(stream));
                }
            });
        };
        let what = "tungstenite, a message there and back";
        recipes::beside(what, CONNECTIONS * MESSAGES, ours, "threads", theirs);
    });
}
