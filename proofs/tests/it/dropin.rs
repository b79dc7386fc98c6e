//! Programs that never heard of this crate, on its sockets: TLS, WebSocket, HTTP, std's and futures' own tools.
//!
//! The programs are in [`strangers`], which knows std and other people's crates. The tests give them our
//! sockets, over loopback, with buffers far smaller than what is sent.

use std::io;
use std::thread;

use crate::certificates::AUTHORITY;
use crate::util::*;
use socket2::SockRef;
use wouldblock::net::TcpStream;
use wouldblock::{future, generator, green, group::gather, stats};

/// How much is sent, in bytes: far more than the buffers of a [`connection`] hold.
const LARGE: usize = 512 << 10;

mod strangers {
    //! Nothing in here names this crate.

    use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
    use tungstenite::protocol::Role;
    use tungstenite::{Error, Message, WebSocket};

    use super::LARGE;

    /// Bytes in which no two neighbours are alike.
    pub fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n % 251) as u8).collect()
    }

    // rustls, blocking.

    pub fn tls_server<S: Read + Write>(stream: S, config: Arc<ServerConfig>) {
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut message = vec![0; LARGE];
        stream.read_exact(&mut message).unwrap();
        stream.write_all(&message).unwrap();
        assert_eq!(stream.read(&mut message).unwrap(), 0, "the client says goodbye");
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    }

    pub fn tls_client<S: Read + Write>(stream: S, config: Arc<ClientConfig>) {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream);
        let (sent, mut back) = (bytes(LARGE), vec![0; LARGE]);
        stream.write_all(&sent).unwrap();
        stream.read_exact(&mut back).unwrap();
        assert!(back == sent);
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        assert_eq!(stream.read(&mut back).unwrap(), 0, "the server says goodbye");
    }

    // tungstenite, blocking.

    pub fn web_socket_server<S: Read + Write>(stream: S) {
        let Ok(mut socket) = tungstenite::accept(stream) else { panic!("no handshake") };
        loop {
            match socket.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    socket.send(message).unwrap();
                }
                Ok(_) => {} // pings are answered, and the close too
                Err(Error::ConnectionClosed) => break,
                Err(e) => panic!("{e}"),
            }
        }
    }

    pub fn web_socket_client<S: Read + Write>(stream: S) {
        let Ok((mut socket, answer)) = tungstenite::client("ws://localhost/chat", stream) else {
            panic!("no handshake")
        };
        assert_eq!(answer.status(), 101);
        for message in [Message::text("hello"), Message::binary(bytes(LARGE))] {
            socket.send(message.clone()).unwrap();
            assert!(socket.read().unwrap() == message);
        }
        socket.send(Message::Ping("are you there?".into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong("are you there?".into()));
        socket.close(None).unwrap();
        assert!(matches!(socket.read(), Ok(Message::Close(_))));
        assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    }

    /// One half of a WebSocket whose handshake is over: it sends.
    pub fn web_socket_sender<S: Read + Write>(stream: S, role: Role) {
        let mut socket = WebSocket::from_raw_socket(stream, role, None);
        for _ in 0..3 {
            socket.send(Message::binary(bytes(LARGE))).unwrap();
        }
    }

    /// The other half: it receives.
    pub fn web_socket_receiver<S: Read + Write>(stream: S, role: Role) {
        let mut socket = WebSocket::from_raw_socket(stream, role, None);
        for _ in 0..3 {
            assert!(socket.read().unwrap() == Message::binary(bytes(LARGE)));
        }
    }

    // std's own tools, on shared references as on std's sockets.

    pub fn lines_server<S>(stream: S)
    where
        for<'a> &'a S: Read + Write,
    {
        let mut writer = BufWriter::new(&stream);
        for line in BufReader::new(&stream).lines() {
            let line = line.unwrap();
            writeln!(writer, "{}", line.to_uppercase()).unwrap();
            if line.is_empty() {
                break;
            }
        }
        writer.flush().unwrap();
    }

    pub fn lines_client<S>(stream: S)
    where
        for<'a> &'a S: Read + Write,
    {
        let mut writer = BufWriter::new(&stream);
        for n in 0..1000 {
            writeln!(writer, "line {n}").unwrap();
        }
        writeln!(writer).unwrap();
        writer.flush().unwrap();
        let mut answer = String::new();
        BufReader::new(&stream).read_to_string(&mut answer).unwrap();
        let wanted: String = (0..1000).map(|n| format!("LINE {n}\n")).collect();
        assert_eq!(answer, wanted + "\n");
    }

    /// Copies what comes, to its end.
    pub fn copy_in(mut stream: impl Read) {
        let mut copy = Vec::new();
        assert_eq!(io::copy(&mut stream, &mut copy).unwrap(), LARGE as u64);
        assert!(copy == bytes(LARGE));
    }

    pub fn copy_out(mut stream: impl Write) {
        assert_eq!(io::copy(&mut &bytes(LARGE)[..], &mut stream).unwrap(), LARGE as u64);
    }

    // An HTTP server over httparse.

    pub fn http_server<S: Read + Write>(mut stream: S) {
        let (mut input, mut chunk) = (Vec::new(), [0; 512]);
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut headers);
            match request.parse(&input).unwrap() {
                httparse::Status::Complete(length) => {
                    let path = request.path.unwrap();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", path.len());
                    stream.write_all((head + path).as_bytes()).unwrap();
                    input.drain(..length);
                }
                httparse::Status::Partial => match stream.read(&mut chunk).unwrap() {
                    0 => break,
                    n => input.extend_from_slice(&chunk[..n]),
                },
            }
        }
        assert!(input.is_empty());
    }

    /// Sends all its requests at once.
    pub fn http_client<S: Read + Write>(mut stream: S) {
        let paths: Vec<_> = (0..100).map(|n| format!("/file/{n}")).collect();
        let (mut requests, mut answers) = (String::new(), String::new());
        for path in paths {
            requests += &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            answers += &format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
        }
        stream.write_all(requests.as_bytes()).unwrap();
        let mut received = vec![0; answers.len()];
        stream.read_exact(&mut received).unwrap();
        assert_eq!(String::from_utf8(received).unwrap(), answers);
    }

    pub mod asynchronous {
        //! The same with futures.

        use std::sync::Arc;

        use futures_lite::future::zip;
        use futures_lite::io::{BufReader, copy, split};
        use futures_lite::{
            AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt,
        };
        use futures_rustls::{TlsAcceptor, TlsConnector};
        use rustls::pki_types::ServerName;
        use rustls::{ClientConfig, ServerConfig};

        use super::super::LARGE;
        use super::bytes;

        /// Sends back what comes, while it comes.
        pub async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) {
            let (reader, mut writer) = split(stream);
            copy(reader, &mut writer).await.unwrap();
            writer.close().await.unwrap();
        }

        /// Sends and receives at once.
        pub async fn both_ways(stream: impl AsyncRead + AsyncWrite + Unpin) {
            let (mut reader, mut writer) = split(stream);
            let (sent, mut back) = (bytes(LARGE), Vec::new());
            let send = async {
                writer.write_all(&sent).await?;
                writer.close().await
            };
            let (sending, receiving) = zip(send, reader.read_to_end(&mut back)).await;
            sending.and(receiving).unwrap();
            assert!(back == sent);
        }

        pub async fn lines_server(stream: impl AsyncRead + AsyncWrite + Unpin) {
            let (reader, mut writer) = split(stream);
            let mut lines = BufReader::new(reader).lines();
            while let Some(line) = lines.next().await {
                writer.write_all((line.unwrap().to_uppercase() + "\n").as_bytes()).await.unwrap();
            }
        }

        pub async fn lines_client(stream: impl AsyncRead + AsyncWrite + Unpin) {
            let mut stream = BufReader::new(stream);
            for n in 0..100 {
                let line = format!("line {n}\n");
                stream.get_mut().write_all(line.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_line(&mut answer).await.unwrap();
                assert_eq!(answer, line.to_uppercase());
            }
        }

        pub async fn tls_server(
            stream: impl AsyncRead + AsyncWrite + Unpin,
            config: Arc<ServerConfig>,
        ) {
            echo(TlsAcceptor::from(config).accept(stream).await.unwrap()).await;
        }

        pub async fn tls_client(
            stream: impl AsyncRead + AsyncWrite + Unpin,
            config: Arc<ClientConfig>,
        ) {
            let name = ServerName::try_from("localhost").unwrap();
            both_ways(TlsConnector::from(config).connect(name, stream).await.unwrap()).await;
        }
    }
}

/// A connection over loopback: of a server, and of a client.
fn connection() -> (TcpStream, TcpStream) {
    let (listener, address) = listener();
    let client = TcpStream::connect(address).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&server, &client] {
        SockRef::from(stream).set_send_buffer_size(64 << 10).unwrap();
        SockRef::from(stream).set_recv_buffer_size(128 << 10).unwrap();
        stream.set_nodelay(true).unwrap();
    }
    (server, client)
}

/// Runs two programs over one connection: as greenlets, as what a generator and a future call, and as threads
/// without a scheduler.
#[track_caller]
fn over_loopback(
    server: impl FnOnce(TcpStream) + Clone + Send + 'static,
    client: impl FnOnce(TcpStream) + Clone + Send + 'static,
) {
    bounded(|| {
        let ((serve, ask), (a, b)) = ((server.clone(), client.clone()), connection());
        let tasks = [green::spawn(|| serve(a)), green::spawn(|| ask(b))];
        tasks.into_iter().for_each(join);
        assert!(stats().would_block > 0, "they have waited for each other");

        let ((serve, ask), (a, b)) = ((server.clone(), client.clone()), connection());
        let tasks = [generator::spawn(|_| serve(a)), future::spawn(async { ask(b) })];
        tasks.into_iter().for_each(join);
    });
    let (a, b) = connection();
    let threads = [thread::spawn(|| server(a)), thread::spawn(|| client(b))];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Runs two futures over one connection.
#[track_caller]
fn over_loopback_async<A, B>(
    server: impl FnOnce(TcpStream) -> A,
    client: impl FnOnce(TcpStream) -> B,
) where
    A: Future<Output = ()> + 'static,
    B: Future<Output = ()> + 'static,
{
    bounded(|| {
        let (a, b) = connection();
        [future::spawn(server(a)), future::spawn(client(b))].into_iter().for_each(join);
        assert!(stats().would_block > 0, "they have waited for each other");
    });
}

#[test]
fn rustls_on_both_sides() {
    let (server, client) = (AUTHORITY.server(), AUTHORITY.client());
    over_loopback(
        |stream| strangers::tls_server(stream, server),
        |stream| strangers::tls_client(stream, client),
    );
}

#[test]
fn rustls_on_a_hundred_connections_at_once() {
    bounded(|| {
        let (server, client) = (AUTHORITY.server(), AUTHORITY.client());
        let tasks = (0..100).flat_map(|_| {
            let (a, b) = connection();
            let (server, client) = (server.clone(), client.clone());
            [
                green::spawn(move || strangers::tls_server(a, server)),
                green::spawn(move || strangers::tls_client(b, client)),
            ]
        });
        green::wait(gather(tasks)).into_iter().for_each(Result::unwrap);
    });
}

#[test]
fn tungstenite_on_both_sides() {
    over_loopback(strangers::web_socket_server, strangers::web_socket_client);
}

#[test]
fn tungstenite_in_both_directions_at_once() {
    use tungstenite::protocol::Role::{Client, Server};

    bounded(|| {
        let (a, b) = connection();
        let (a2, b2) = (a.try_clone().unwrap(), b.try_clone().unwrap());
        let tasks = [
            green::spawn(|| strangers::web_socket_sender(a, Server)),
            green::spawn(|| strangers::web_socket_receiver(a2, Server)),
            green::spawn(|| strangers::web_socket_sender(b, Client)),
            green::spawn(|| strangers::web_socket_receiver(b2, Client)),
        ];
        tasks.into_iter().for_each(join);
    });
}

#[test]
fn std_buffers_on_both_sides() {
    over_loopback(strangers::lines_server, strangers::lines_client);
}

#[test]
fn std_copy_on_both_sides() {
    over_loopback(strangers::copy_in, strangers::copy_out);
}

#[test]
fn std_copy_from_one_connection_to_another() {
    bounded(|| {
        let ((first, mut here), (mut there, last)) = (connection(), connection());
        let tasks = [
            green::spawn(|| strangers::copy_out(first)),
            green::spawn(move || {
                assert_eq!(io::copy(&mut here, &mut there).unwrap(), LARGE as u64);
            }),
            green::spawn(|| strangers::copy_in(last)),
        ];
        tasks.into_iter().for_each(join);
    });
}

#[test]
fn httparse_on_a_server() {
    over_loopback(strangers::http_server, strangers::http_client);
}

#[test]
fn futures_copy_and_split() {
    use strangers::asynchronous::{both_ways, echo};
    over_loopback_async(echo, both_ways);
}

#[test]
fn futures_lines() {
    use strangers::asynchronous::{lines_client, lines_server};
    over_loopback_async(lines_server, lines_client);
}

#[test]
fn futures_rustls_on_both_sides() {
    use strangers::asynchronous::{tls_client, tls_server};
    let (server, client) = (AUTHORITY.server(), AUTHORITY.client());
    over_loopback_async(|stream| tls_server(stream, server), |stream| tls_client(stream, client));
}

#[test]
fn a_server_that_blocks_and_a_client_that_awaits() {
    let (server, client) = (AUTHORITY.server(), AUTHORITY.client());
    over_loopback_async(
        |stream| async { strangers::tls_server(stream, server) },
        |stream| strangers::asynchronous::tls_client(stream, client),
    );
}
